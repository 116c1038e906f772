#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The benchmark of HDF5 in little: all kernels on all targets, each value right, and a summary that is
# computed from known times. Needs a parallel HDF5 of at least 1.14 (find_parallel_hdf5).

vfd_hdf5=
vfd_folder=
# shellcheck source=tests/hdf5/lib.sh
. "$(dirname "$0")/lib.sh"

find_parallel_hdf5
benchmark=$WEFT_TOP_SRCDIR/benchmarks/hdf5
WEFT_BUILD=$WEFT_TOP_BUILDDIR
export WEFT_BUILD
which=(--hdf5 "$vfd_hdf5")

expect 0 "$benchmark/run" --list
kernels=$(wc -l <<<"$output")
expect 2 "$benchmark/run" --kernels sideways
expect 1 "$benchmark/run" --hdf5 "$scratch"

expect 0 timeout --kill-after=10 400 "$benchmark/run" "${which[@]}" --rounds 1 --size 1m --data-sets 60 \
    --raw "$scratch/raw.csv" --csv "$scratch/summary.csv"
# Reading by all ranks is a direction of its own of the small data sets.
lines=$(awk -F, 'NR > 1 && $6 > 0 && $8 > 0 && $11 > 0' "$scratch/raw.csv" | wc -l)
[ "$lines" -eq $((6 * (2 * kernels + 1))) ] || fail "$lines lines that make sense of $kernels kernels: $(head -n 3 "$scratch/raw.csv")"
rates=$(grep -c '^rate,.*,\(MiB/s\|sets/s\)$' "$scratch/summary.csv")
[ "$rates" -eq "$lines" ] || fail "$rates rates, not $lines"

cat >"$scratch/known" <<'LINES'
round,kernel,target,direction,ranks,bytes,items,calls,open_s,define_s,transfer_s,flush_s,close_s,requests,store_operations,other_requests,metadata_requests,wire_bytes,ranks_cpu_s,io_mode
1,slab-1d,vfd,write,4,104857600,4,4,0,0,1,0.5,0.5,40,40,4,2,104857600,1,contiguous-collective
1,slab-1d,local,write,4,104857600,4,4,0,0,0.5,0,0,,,,,,1,contiguous-collective
2,slab-1d,vfd,write,4,104857600,4,4,0,0,1,0.5,0.5,40,40,4,2,104857600,1,contiguous-collective
2,slab-1d,local,write,4,104857600,4,4,0,0,2,0,0,,,,,,1,contiguous-collective
3,slab-1d,vfd,write,4,104857600,4,4,0,0,1,0.5,0.5,40,40,4,2,104857600,1,contiguous-collective
3,slab-1d,local,write,4,104857600,4,4,0,0,0.8,0,0,,,,,,1,contiguous-collective
3,small,vfd,write,4,204800,100,25,0.5,0.5,0.5,0.25,0.25,40,40,4,2,104857600,1,
LINES
expect 0 awk -f "$benchmark/../common/rounds.awk" -f "$benchmark/summary.awk" -v csv="$scratch/known.csv" "$scratch/known"
for line in '/local,slab-1d,write,vfd,0.8,0.5,2,' 'rate,slab-1d,write,vfd,100,100,100,MiB/s' \
    'whole rate,slab-1d,write,vfd,50,50,50,MiB/s' 'rate,small,write,vfd,50,50,50,sets/s'; do
    grep -qxF "$line" "$scratch/known.csv" || fail "no line $line in the summary of known times: $(cat "$scratch/known.csv")"
done
finish
