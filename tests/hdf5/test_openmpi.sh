#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# One process and its HDF5 files, with the driver that was built for Open MPI's HDF5.

vfd_hdf5=${HDF5_OPENMPI:-hdf5-openmpi}
vfd_folder=${WEFT_TOP_BUILDDIR:-build}/hdf5-vfd/openmpi
# shellcheck source=tests/hdf5/lib.sh
. "$(dirname "$0")/lib.sh"

compile_for_hdf5 linked serial serial.c
start_cluster
expect 0 timeout 120 "$scratch/serial" weft:/serial.h5
WEFT_HDF5_CONFIG='cache_size=0;chunk_size=64K' expect 0 timeout 120 "$scratch/serial" /no-cache.h5
