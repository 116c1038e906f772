# SPDX-License-Identifier: Apache-2.0
#
# vfd.mk: how the driver is compiled for one HDF5. build-vfd calls it and sets:
#
#   DRIVER       this folder                  OUT         where everything goes
#   COMPILE      the compiler; that of the MPI where HDF5 is parallel
#   HDF5_CFLAGS, HDF5_LIBS                    of that HDF5
#   EXCHANGE     what lets ranks exchange their data, where that HDF5 has drivers with ranks; else nothing
#   WEFT_INCLUDE folder with weft/weft.h      WEFT_LIBDIR folder with libweft.so
#   RPATH        where libweft.so will be     CFLAGS, LDFLAGS as usual

COMMON = $(DRIVER)/../libcommon
product = $(OUT)/libweft-hdf5.so
preloaded = $(OUT)/libweft-hdf5-mpio.so

driver_objects := $(patsubst $(DRIVER)/%.c,$(OUT)/vfd/%.o,$(filter-out %/mpio.c,$(wildcard $(DRIVER)/*.c)))
# Of libcommon: what hints mean, the names of errors, and how ranks share work; that wants an MPI.
objects = $(driver_objects) $(patsubst %,$(OUT)/vfd/common/%.o,hint_set hostname err strategy $(EXCHANGE))

# Texts are cut to their buffers on purpose; not every compiler knows that warning.
tolerated = -Wno-unknown-warning-option -Wno-format-truncation
flags = $(CFLAGS) -fPIC -pthread -fvisibility=hidden -Wall -Wextra -Werror $(tolerated) -std=gnu17 -MMD -MP -D_GNU_SOURCE \
	-I$(WEFT_INCLUDE) -I$(DRIVER) -iquote $(COMMON) $(patsubst -I%,-isystem %,$(HDF5_CFLAGS))
# Linked with HDF5 itself: a program may have loaded it where others can't see it. Never
# unloaded: libraries below it keep threads and memory until the process ends.
link_flags = -shared -Wl,-z,now -Wl,-z,nodelete -Wl,--no-undefined -Wl,--version-script=$(DRIVER)/library.map \
	-Wl,-soname,$(notdir $(product)) -Wl,--enable-new-dtags -Wl,-rpath,$(RPATH)

# build-vfd says which of the products this HDF5 has a use for.
all: $(product)

$(OUT)/vfd/%.o: $(DRIVER)/%.c $(OUT)/vfd/flags
	@mkdir -p $(@D)
	@$(COMPILE) $(flags) -c $< -o $@

$(OUT)/vfd/common/%.o: $(COMMON)/%.c $(OUT)/vfd/flags
	@mkdir -p $(@D)
	@$(COMPILE) $(flags) -c $< -o $@

# Another compiler or another HDF5 means everything anew.
$(OUT)/vfd/flags: always
	@mkdir -p $(@D)
	@printf '%s\n' '$(COMPILE) $(flags) $(HDF5_LIBS) $(RPATH)' | cmp -s - $@ || printf '%s\n' '$(COMPILE) $(flags) $(HDF5_LIBS) $(RPATH)' >$@
always:

$(product): $(objects) $(DRIVER)/library.map
	@echo "  LINK     $@"
	@$(COMPILE) $(CFLAGS) $(objects) -o $@ $(link_flags) $(LDFLAGS) -L$(WEFT_LIBDIR) -lweft $(HDF5_LIBS) -ldl -pthread

# It stands in front of HDF5 by being preloaded, and links with nothing: a program that
# has no parallel HDF5 must not get one by it.
$(preloaded): $(DRIVER)/mpio.c $(OUT)/vfd/flags
	@$(COMPILE) $(flags) $< -o $@ -shared -Wl,-soname,$(notdir $(preloaded)) $(LDFLAGS) -ldl

# HDF5 loads whatever is in a folder of plug-ins: this one has nothing else.
$(OUT)/plugin/libweft-hdf5.so: $(product)
	@mkdir -p $(@D)
	@ln -sf ../libweft-hdf5.so $@

.PHONY: all always
-include $(objects:.o=.d)
