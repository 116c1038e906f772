#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All ranks of a job in one HDF5 file through Weft's driver, with every way in which they can share the work:
# each by itself, put together by the storage shards, exchanged before. Needs a parallel HDF5 of at
# least 1.14 (find_parallel_hdf5).
#
#   RANKS_SEED   draws the same data sets again (default: another each time)

vfd_hdf5=
vfd_folder=
# shellcheck source=tests/hdf5/lib.sh
. "$(dirname "$0")/lib.sh"

find_parallel_hdf5
vfd_folder=$scratch/vfd
MPICC=$mpi_cc "$WEFT_TOP_SRCDIR/hdf5-vfd/build-vfd" --hdf5 "$vfd_hdf5" --output "$vfd_folder" \
    --weft-include "$WEFT_TOP_SRCDIR/include" --weft-libdir "$WEFT_TOP_BUILDDIR/libclient/.libs" >"$scratch/vfd.log" 2>&1 ||
    fail "the driver is not to be built: $(cat "$scratch/vfd.log")"
compile_for_hdf5 linked ranks ranks.c
start_cluster
seed=${RANKS_SEED:-$((SRANDOM % 1000000))}
printf 'RANKS_SEED=%d draws the same data sets again\n' "$seed"

# run_ranks COUNT CONFIG [ROUNDS]: sets extents to how many the storage servers were asked for in it.
run_ranks()
{
    local before=${extents_so_far:-0}
    WEFT_HDF5_CONFIG=$2 expect 0 run_mpi 300 "$1" "$scratch/ranks" /ranks.h5 "${3:-2}" "$seed"
    extents_so_far=$(sed -n 's/^extents //p' <<<"$output")
    extents=$((${extents_so_far:-0} - before))
}

run_ranks 4 'chunk_size=64K' 0
exchanged=$extents
run_ranks 4 'chunk_size=64K;weft_collective=direct' 0
[ "$exchanged" -gt 0 ] && [ $((10 * exchanged)) -lt "$extents" ] ||
    fail "$exchanged extents where tiny pieces are exchanged, and $extents where they are not"
for config in 'chunk_size=64K' 'chunk_size=64K;weft_collective=direct' \
    'chunk_size=64K;weft_collective=two_phase' 'weft_collective=two_phase;cb_nodes=1;cb_buffer_size=5000' \
    'chunk_size=4K;stripe_count=3;weft_collective=two_phase;cb_nodes=3' 'cache_size=0'; do
    run_ranks 4 "$config"
done
for count in 1 2 5; do
    run_ranks $count 'chunk_size=64K'
done
finish
