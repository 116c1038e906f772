# SPDX-License-Identifier: Apache-2.0
#
# component.mk: adds Open MPI's glue for ROMIO and links mca_io_weft.so. Beside
# what romio.mk tells of, build-driver sets:
#
#   GLUE         folder of Open MPI's glue    GLUE_NAME   its name, romio321
#   MPI_DIRS     include folders of Open MPI  MPI_LIBDIRS folders with libmpi.so
#   MPI_SOURCE   Open MPI's source, for headers that are not installed, or nothing

product = $(OUT)/mca_io_weft.so
mpi_includes = $(MPI_DIRS)
foreign_names = -DOMPI_BUILDING=1 -D__EXTENSIONS__
# Open MPI gives ROMIO's functions names of their own.
call_names = mca_io_romio_dist_MPI_File_=romio_File_

include $(DRIVER)/romio.mk

wrapped += ADIOI_Datatype_iscontig

# Of the glue only the component itself is replaced, by component.c here.
glue_sources := $(filter-out %_component.c,$(notdir $(wildcard $(GLUE)/*.c)))
glue_objects := $(glue_sources:%.c=$(OUT)/glue/%.o)
# It names ROMIO's headers as Open MPI's tree has them: romio/ or 3rd-party/romio341/.
glue_includes = -I$(GLUE) -I$(ROMIO)/.. -I$(ROMIO)/../.. $(romio_includes) $(MPI_SOURCE:%=-idirafter %)

$(glue_objects): $(OUT)/glue/%.o: $(GLUE)/%.c $(ROMIO)/adio/include/romioconf.h
	@mkdir -p $(@D)
	@$(COMPILE) $(foreign_flags) $(glue_includes) $(mpi_includes:%=-isystem %) -c $< -o $@

$(OUT)/driver/openmpi/component.o: driver_flags += $(foreign_names) $(patsubst -I%,-isystem %,$(glue_includes)) \
	-DWEFT_GLUE=$(GLUE_NAME) -DWEFT_GLUE_HEADER='"io_$(GLUE_NAME).h"'

$(product): $(objects) $(glue_objects) $(DRIVER)/openmpi/component.map
	@echo "  LINK     $(@F)"
	@$(COMPILE) $(common_flags) -o $@ $(filter %.o,$^) $(LDFLAGS) $(link_flags) \
		-Wl,--version-script=$(DRIVER)/openmpi/component.map \
		$(weft_libs) $(MPI_LIBDIRS:%=-L%) -lmpi -lopen-pal
