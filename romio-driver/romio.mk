# SPDX-License-Identifier: Apache-2.0
#
# romio.mk: how pristine ROMIO and the Weft driver are compiled, whatever the
# MPI. openmpi/component.mk and mpich/library.mk include it, add what is
# particular to their MPI, and link. build-driver calls one of them and sets:
#
#   DRIVER       this folder                  ROMIO       the configured ROMIO
#   OUT          where everything goes        MPI         openmpi or mpich
#   COMPILE      the compiler, as it is called for that MPI
#   WEFT_INCLUDE folder with weft/weft.h      WEFT_LIBDIR folder with libweft.so
#   RPATH        where libweft.so will be     CFLAGS, LDFLAGS as usual
#   HWLOC_CFLAGS, HWLOC_LIBS                  how hwloc is used
#
# The including file sets, before it includes this one:
#
#   product        the shared object that is linked from $(objects)
#   mpi_includes   include folders of the MPI that the compiler does not know
#   foreign_names  what others' code expects to be defined
#   left_out       files of ROMIO that are not compiled
#   call_names     what the names of ROMIO's calls for files begin with, as FROM=TO
#                  pairs: see answered_calls

# The makefile that ROMIO's configure made knows which of its files belong to
# the build. large_count.c is left out everywhere: it cuts sizes to an int.
include $(OUT)/romio-sources.mk
romio_sources := $(filter-out mpi-io/glue/large_count.c $(left_out),$(romio_sources))
romio_objects := $(romio_sources:%.c=$(OUT)/romio/%.o)

# The calls that calls.c answers for Weft's files. ROMIO's own functions are
# there for all others, under another name.
answered_calls = set_atomicity get_atomicity \
	$(foreach way,read write,$(foreach kind,ordered ordered_begin,$(way)_$(kind) $(way)_$(kind)_c))
answered_objects = $(filter $(patsubst %,$(OUT)/romio/mpi-io/%.o, \
	get_atom set_atom read_ord read_ordb write_ord write_ordb),$(romio_objects))
renaming = $(foreach call,$(answered_calls),$(foreach pair,$(call_names),\
	--redefine-sym $(subst =,$(call)=,$(pair))$(call)))

# Calls of these functions inside ROMIO reach the driver first; this is what
# lets ROMIO's source stay as it is.
wrapped = ADIO_ResolveFileType ADIOI_cb_config_list_parse \
	ADIOI_Flatten_datatype ADIOI_Flatten_and_find ADIO_Get_shared_fp ADIO_Set_shared_fp \
	ADIOI_Shfp_fname ADIO_Set_view

# The driver: what all MPIs share is in this folder, the rest in that of the MPI.
driver_sources := $(notdir $(wildcard $(DRIVER)/*.c)) $(patsubst $(DRIVER)/%,%,$(wildcard $(DRIVER)/$(MPI)/*.c))
driver_objects := $(driver_sources:%.c=$(OUT)/driver/%.o)
# What hints mean, which method is best and how ranks exchange is known to libcommon, and needs nothing else
# of it.
COMMON = $(DRIVER)/../libcommon
common_objects = $(patsubst %,$(OUT)/common/%.o,hint_set hostname strategy domains runs two_phase)
# ROMIO's own little library, where it has one.
mpl_objects := $(patsubst %.c,$(OUT)/mpl/%.o,$(filter %.c,$(mpl_sources)))
objects = $(romio_objects) $(mpl_objects) $(common_objects) $(driver_objects)

romio_features := $(shell $(DRIVER)/romio-features $(ROMIO))
romio_includes += -I$(ROMIO)/include -I$(ROMIO)/adio/include -I$(ROMIO)/mpi-io \
	$(patsubst %,-I%,$(wildcard $(ROMIO)/mpl/include))
common_flags = $(CFLAGS) -fPIC -pthread
warnings = -Wall -Wextra -Werror

# Others' code: no warnings, and their names for what they expect of a build.
foreign_flags = $(common_flags) -w -DHAVE_CONFIG_H $(foreign_names)
driver_flags = $(common_flags) $(warnings) -std=gnu17 -MMD -MP -DHAVE_CONFIG_H \
	$(romio_features) -I$(WEFT_INCLUDE) -I$(DRIVER) -iquote $(COMMON) $(HWLOC_CFLAGS)
system_includes = $(romio_includes:-I%=-isystem %) $(mpi_includes:%=-isystem %)

link_flags = -shared -Wl,-z,now -Wl,--no-undefined -Wl,--no-undefined-version \
	-Wl,-soname,$(notdir $(product)) $(wrapped:%=-Wl,--wrap=%) \
	-Wl,--enable-new-dtags -Wl,-rpath,$(RPATH)
weft_libs = -L$(WEFT_LIBDIR) -lweft $(HWLOC_LIBS)

all: $(product)
	@:

$(romio_objects): $(OUT)/romio/%.o: $(ROMIO)/%.c $(ROMIO)/adio/include/romioconf.h
	@mkdir -p $(@D)
	@$(COMPILE) $(foreign_flags) $(romio_includes) $(mpi_includes:%=-isystem %) -c $< -o $@
	@$(if $(filter $@,$(answered_objects)),$(OBJCOPY) $(renaming) $@)

$(mpl_objects): $(OUT)/mpl/%.o: $(ROMIO)/mpl/%.c $(ROMIO)/adio/include/romioconf.h
	@mkdir -p $(@D)
	@$(COMPILE) $(foreign_flags) $(romio_includes) -c $< -o $@

$(driver_objects): $(OUT)/driver/%.o: $(DRIVER)/%.c $(ROMIO)/adio/include/romioconf.h
	@mkdir -p $(@D)
	@echo "  CC       romio-driver/$*.c"
	@$(COMPILE) $(driver_flags) $(system_includes) -c $< -o $@

$(common_objects): $(OUT)/common/%.o: $(COMMON)/%.c
	@mkdir -p $(@D)
	@echo "  CC       libcommon/$*.c"
	@$(COMPILE) $(common_flags) $(warnings) -std=gnu17 -MMD -MP -D_GNU_SOURCE= -I$(WEFT_INCLUDE) \
		$(mpi_includes:%=-isystem %) -c $< -o $@

-include $(driver_objects:.o=.d) $(common_objects:.o=.d)

OBJCOPY = objcopy

.PHONY: all
.DELETE_ON_ERROR:
