#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# netCDF-4 with MPI, as Debian has it: 4 ranks write, extend and read a file on a weft: path, and
# processes that know no Weft read it as well.

vfd_hdf5=${HDF5_OPENMPI:-hdf5-openmpi}
vfd_folder=${WEFT_TOP_BUILDDIR:-build}/hdf5-vfd/openmpi
# shellcheck source=tests/hdf5/lib.sh
. "$(dirname "$0")/lib.sh"

pkg-config --exists netcdf-mpi || skip "no netCDF with MPI (libnetcdf-mpi-dev)"
# Debian's file for pkg-config knows another folder of headers than its package has.
# shellcheck disable=SC2046
"$mpi_cc" -g -O1 -Wall -Wextra -Werror -D_GNU_SOURCE -isystem "$(pkg-config --variable=prefix netcdf-mpi)/include" \
    $(pkg-config --cflags netcdf-mpi) "$WEFT_TOP_SRCDIR/tests/hdf5/netcdf.c" -o "$scratch/netcdf" \
    $(pkg-config --libs netcdf-mpi) || fail "netcdf.c is not to be compiled"
start_cluster
expect 0 run_mpi 300 4 "$scratch/netcdf" write weft:/netcdf.nc
printf '%s\n' "$output"

# Without Weft: the local file by the MPI's own means, and by HDF5's tool.
expect 0 weft cp weft:/netcdf.nc "$scratch/netcdf.nc"
expect 0 run_mpi_with 120 4 "${mpi_local_options[@]}" "$scratch/netcdf" read "$scratch/netcdf.nc"
if command -v h5dump >/dev/null; then
    expect 0 timeout 60 h5dump -d /wind -s 10,44,74 -c 1,1,3 "$scratch/netcdf.nc"
    says "(10,44,74): 104474, 104475, 104476"
fi
