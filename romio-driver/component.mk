# SPDX-License-Identifier: Apache-2.0
#
# component.mk: compiles pristine ROMIO, Open MPI's glue for it and the Weft
# driver, and links the three into mca_io_weft.so. Called by build-component,
# which sets:
#
#   DRIVER       this folder                  ROMIO       the configured ROMIO
#   GLUE         folder of Open MPI's glue    GLUE_NAME   its name, romio321
#   OUT          where everything goes        MPI_DIRS    include folders of Open MPI
#   MPI_LIBDIRS  folders with libmpi.so
#   WEFT_INCLUDE folder with weft/weft.h      WEFT_LIBDIR folder with libweft.so
#   RPATH        where libweft.so will be     CC, CFLAGS, LDFLAGS as usual

component = $(OUT)/mca_io_weft.so

# The makefile that ROMIO's configure made knows which of its files belong to
# a build inside Open MPI. large_count.c is left out: it cuts sizes to an int.
include $(OUT)/romio-sources.mk
# The others are those that the driver has in their place, in calls.c.
romio_sources := $(filter-out mpi-io/glue/large_count.c mpi-io/get_atom.c mpi-io/set_atom.c \
	mpi-io/read_ord.c mpi-io/read_ordb.c mpi-io/write_ord.c mpi-io/write_ordb.c,$(romio_sources))

# Of the glue only the component itself is replaced, by component.c here.
glue_sources := $(filter-out %_component.c,$(notdir $(wildcard $(GLUE)/*.c)))
driver_sources := $(notdir $(wildcard $(DRIVER)/*.c))

# What hints mean is known to libcommon, and needs nothing else of it.
COMMON = $(DRIVER)/../libcommon
common_sources = hint_set.c

romio_objects := $(romio_sources:%.c=$(OUT)/romio/%.o)
glue_objects := $(glue_sources:%.c=$(OUT)/glue/%.o)
common_objects := $(common_sources:%.c=$(OUT)/common/%.o)
driver_objects := $(driver_sources:%.c=$(OUT)/driver/%.o)

# Calls of these functions inside ROMIO reach the driver first; this is what
# lets ROMIO's source stay as it is.
wrapped = ADIO_ResolveFileType ADIOI_Datatype_iscontig ADIOI_cb_config_list_parse \
	ADIOI_Flatten_datatype ADIOI_Flatten_and_find ADIO_Get_shared_fp ADIO_Set_shared_fp \
	ADIOI_Shfp_fname ADIO_Set_view

romio_features := $(shell $(DRIVER)/romio-features $(ROMIO))
romio_includes = -I$(ROMIO)/include -I$(ROMIO)/adio/include -I$(ROMIO)/mpi-io
glue_includes = -I$(GLUE) -I$(ROMIO)/.. $(romio_includes)
mpi_includes = $(MPI_DIRS:%=-isystem %)
common_flags = $(CFLAGS) -fPIC -pthread
warnings = -Wall -Wextra -Werror

# Others' code: no warnings, and their names for what they expect of a build.
foreign_flags = $(common_flags) -w -DHAVE_CONFIG_H -DOMPI_BUILDING=1 -D__EXTENSIONS__
driver_flags = $(common_flags) $(warnings) -std=gnu17 -MMD -MP -DHAVE_CONFIG_H \
	$(romio_features) -DWEFT_GLUE=$(GLUE_NAME) -DWEFT_GLUE_HEADER='"io_$(GLUE_NAME).h"' \
	-I$(WEFT_INCLUDE) -I$(DRIVER) -iquote $(COMMON)

all: $(component)
	@:

$(romio_objects): $(OUT)/romio/%.o: $(ROMIO)/%.c $(ROMIO)/adio/include/romioconf.h
	@mkdir -p $(@D)
	@$(CC) $(foreign_flags) $(romio_includes) $(mpi_includes) -c $< -o $@

$(glue_objects): $(OUT)/glue/%.o: $(GLUE)/%.c $(ROMIO)/adio/include/romioconf.h
	@mkdir -p $(@D)
	@$(CC) $(foreign_flags) $(glue_includes) $(mpi_includes) -c $< -o $@

$(OUT)/driver/component.o: driver_flags += -DOMPI_BUILDING=1 -D__EXTENSIONS__ $(glue_includes:-I%=-isystem %)

$(driver_objects): $(OUT)/driver/%.o: $(DRIVER)/%.c $(ROMIO)/adio/include/romioconf.h
	@mkdir -p $(@D)
	@echo "  CC       romio-driver/$*.c"
	@$(CC) $(driver_flags) $(romio_includes:-I%=-isystem %) $(mpi_includes) -c $< -o $@

$(common_objects): $(OUT)/common/%.o: $(COMMON)/%.c
	@mkdir -p $(@D)
	@echo "  CC       libcommon/$*.c"
	@$(CC) $(common_flags) $(warnings) -std=gnu17 -MMD -MP -D_GNU_SOURCE= -I$(WEFT_INCLUDE) -c $< -o $@

$(component): $(romio_objects) $(glue_objects) $(common_objects) $(driver_objects) $(DRIVER)/component.map
	@echo "  LINK     mca_io_weft.so"
	@$(CC) $(common_flags) -shared -o $@ $(filter %.o,$^) $(LDFLAGS) \
		-Wl,-soname,mca_io_weft.so -Wl,-z,now -Wl,--no-undefined -Wl,--no-undefined-version \
		-Wl,--version-script=$(DRIVER)/component.map \
		$(wrapped:%=-Wl,--wrap=%) -Wl,--enable-new-dtags -Wl,-rpath,$(RPATH) \
		-L$(WEFT_LIBDIR) -lweft $(MPI_LIBDIRS:%=-L%) -lmpi -lopen-pal

-include $(driver_objects:.o=.d) $(common_objects:.o=.d)

.PHONY: all
.DELETE_ON_ERROR:
