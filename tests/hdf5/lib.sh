# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# lib.sh: what the tests of the HDF5 driver share: a cluster, and programs compiled for one HDF5.
# It is sourced, after vfd_hdf5 was set to that HDF5's name for pkg-config or its folder, and
# vfd_folder to where its driver was built.

# shellcheck source=tests/mpi/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../mpi/lib.sh"

# skip REASON: the test can't be run here, which is no failure.
skip()
{
    printf 'skipped: %s\n' "$*"
    trap - EXIT
    rm -rf "$scratch"
    exit 77
}

# find_parallel_hdf5: sets vfd_hdf5 to a parallel HDF5 of at least 1.14: HDF5_PARALLEL (a folder, or its name
# for pkg-config), or the distribution's, or what tests/hdf5/build-hdf5 has built before; skips when there
# is none.
find_parallel_hdf5()
{
    local built=${HDF5_BUILDS:-${XDG_CACHE_HOME:-$HOME/.cache}/weft}/hdf5-build-1.14-parallel-$WEFT_MPI/install
    if [ -n "${HDF5_PARALLEL-}" ]; then
        vfd_hdf5=$HDF5_PARALLEL
    elif [ "$WEFT_MPI" = openmpi ] && pkg-config --exists 'hdf5-openmpi >= 1.14'; then
        vfd_hdf5=hdf5-openmpi
    elif [ -e "$built/lib/libhdf5.so" ]; then
        vfd_hdf5=$built
    else
        skip "there is no parallel HDF5 1.14: name one in HDF5_PARALLEL, or let tests/hdf5/build-hdf5 1.14-parallel build it"
    fi
}

# compile_for_hdf5 linked|unlinked PROGRAM SOURCE: PROGRAM is put into the scratch folder.
compile_for_hdf5()
{
    local kind=$1 program=$2 source=$3 cflags libs compiler=${CC:-cc} linked=()
    if [ -d "$vfd_hdf5" ]; then
        cflags=-I$vfd_hdf5/include
        libs="-L$vfd_hdf5/lib -Wl,-rpath,$vfd_hdf5/lib -lhdf5"
    else
        cflags=$(pkg-config --cflags "$vfd_hdf5")
        libs=$(pkg-config --libs "$vfd_hdf5")
    fi
    # A parallel HDF5 has mpi.h in its headers.
    # shellcheck disable=SC2086
    if printf '#include <H5pubconf.h>\n#ifdef H5_HAVE_PARALLEL\nparallel\n#endif\n' | "$compiler" -E -P $cflags - 2>/dev/null | grep -q parallel; then
        compiler=$mpi_cc
    fi
    [ "$kind" = unlinked ] || linked=(-DWITH_LINKED_DRIVER "-L$vfd_folder" "-Wl,-rpath,$vfd_folder" -lweft-hdf5
        "-L$WEFT_TOP_BUILDDIR/libclient/.libs" "-Wl,-rpath,$WEFT_TOP_BUILDDIR/libclient/.libs" -lweft)
    # shellcheck disable=SC2086
    "$compiler" -g -O1 -Wall -Wextra -Werror -D_GNU_SOURCE -I"$WEFT_TOP_SRCDIR/include" ${cflags//-I/-isystem } \
        "$WEFT_TOP_SRCDIR/tests/hdf5/$source" -o "$scratch/$program" "${linked[@]}" $libs || fail "$source is not to be compiled"
}
