#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# h5py with MPI, as Debian has it: 4 ranks write and read a file on a weft: path, and what
# came out is an HDF5 file like any other for a process that knows no Weft.

vfd_hdf5=${HDF5_OPENMPI:-hdf5-openmpi}
vfd_folder=${WEFT_TOP_BUILDDIR:-build}/hdf5-vfd/openmpi
# shellcheck source=tests/hdf5/lib.sh
. "$(dirname "$0")/lib.sh"

# Debian's modules are this Python's, whichever other is first in PATH.
python=${PYTHON3:-/usr/bin/python3}
H5PY_ALWAYS_USE_MPI=1 "$python" -c 'import h5py, mpi4py; assert h5py.get_config().mpi' 2>/dev/null ||
    skip "$python has no h5py with MPI (python3-h5py-mpi, python3-mpi4py)"

program=$WEFT_TOP_SRCDIR/tests/hdf5/h5py_file.py
export PYTHONDONTWRITEBYTECODE=1
start_cluster
# An exception in one rank must not leave the others waiting: mpi4py's runner aborts the job.
expect 0 run_mpi 300 4 "$python" -m mpi4py "$program" write weft:/h5py.h5
printf '%s\n' "$output"

expect 0 weft cp weft:/h5py.h5 "$scratch/h5py.h5"
expect 0 timeout 120 "$python" "$program" read "$scratch/h5py.h5"
printf '%s\n' "$output"
# HDF5's own tool, which belongs to neither h5py nor this HDF5: the last row that was appended.
if command -v h5dump >/dev/null; then
    expect 0 timeout 60 h5dump -d /fields/filtered -s 159,208 -c 1,3 "$scratch/h5py.h5"
    says "(159,208): 159208, 159209, 159210"
fi
