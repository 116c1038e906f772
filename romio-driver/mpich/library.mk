# SPDX-License-Identifier: Apache-2.0
#
# library.mk: ROMIO with the Weft driver as a library of its own that answers
# MPI's calls for files in place of MPICH's: libweft-mpich.so. See host.c.

product = $(OUT)/libweft-mpich.so
romio_includes = -I$(DRIVER)/mpich
# The first makes ROMIO ask mpir_ext.h, which is ours, for locks; the second makes it
# tell how many bytes a collective call has moved.
foreign_names = -DROMIO_INSIDE_MPICH -DHAVE_STATUS_SET_BYTES
# What needs MPICH's inside: contiguous.c and errors.c are in its place.
left_out = adio/common/iscontig.c mpi-io/mpir_cst_filesys.c mpi-io/mpich_fileutil.c \
	mpi-io/glue/mpich/mpio_err.c mpi-io/glue/default/mpio_err.c
# Each call has two names.
call_names = PMPI_File_=romio_File_ MPI_File_=romio_weak_File_

include $(DRIVER)/romio.mk

driver_flags += $(foreign_names)
wrapped += MPIO_File_free

$(product): $(objects) $(DRIVER)/mpich/library.map
	@echo "  LINK     $(@F)"
	@$(COMPILE) $(common_flags) -o $@ $(filter %.o,$^) $(LDFLAGS) $(link_flags) \
		-Wl,--version-script=$(DRIVER)/mpich/library.map $(weft_libs) -ldl
