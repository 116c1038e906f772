#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The benchmark's patterns on a weft: path, in little: each strategy writes what another
# rank then reads, and every byte is right. Its summary is computed from known times.

# shellcheck source=tests/mpi/lib.sh
. "$(dirname "$0")/lib.sh"
start_cluster

program=$WEFT_TOP_BUILDDIR/benchmarks/mpiio/mpiio
results=$scratch/results
run_mpi 300 4 "$program" --header --bytes 1m --call-bytes 128k \
    --target auto,collective,weft:,weft_collective=auto \
    --target direct,collective,weft:,weft_collective=direct \
    --target two_phase,collective,weft:,weft_collective=two_phase \
    --target independent,independent,weft: all >"$results" || fail "$program: exit code $?"

# Each pattern on each target in both directions, and all bytes of the payload on the wire.
expected=$(("$("$program" --list | wc -l)" * 4 * 2))
lines=$(awk -F, 'NR > 1 && $5 > 0 && $10 > 0 && $12 >= $5' "$results" | wc -l)
[ "$lines" -eq "$expected" ] || fail "$lines lines that make sense, not $expected: $(head -n 3 "$results")"
expect 0 weft ls weft:/
same "" "$output" "files are left behind"

expect 2 run_mpi 60 1 "$program" --target direct,sideways,weft: contiguous
expect 2 run_mpi 60 1 "$program" --target direct,collective,weft: sideways

cat >"$scratch/known" <<'LINES'
round,pattern,target,direction,ranks,bytes,calls,open_s,transfer_s,close_s,requests,store_operations,wire_bytes
1,contiguous,auto,write,4,104857600,1,0,1,0,10,10,104857600
1,contiguous,independent,write,4,104857600,1,0,0.5,0,10,10,104857600
2,contiguous,auto,write,4,104857600,1,0,1,0,10,10,104857600
2,contiguous,independent,write,4,104857600,1,0,2,0,10,10,104857600
3,contiguous,auto,write,4,104857600,1,0,1,0,10,10,104857600
3,contiguous,independent,write,4,104857600,1,0,0.8,0,10,10,104857600
LINES
benchmarks=$WEFT_TOP_SRCDIR/benchmarks
expect 0 awk -f "$benchmarks/common/rounds.awk" -f "$benchmarks/mpiio/summary.awk" -v csv="$scratch/known.csv" "$scratch/known"
grep -qx 'auto/independent,contiguous,write,0.8,0.5,2,0.95,no' "$scratch/known.csv" ||
    fail "the summary of known times is wrong: $(cat "$scratch/known.csv")"
finish
