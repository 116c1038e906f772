#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a sync covered was flushed when it ended, seen from outside: strace shows
# the calls of a program that uses the store and says "synced INODE" at each
# sync's end. At that moment every write and truncation of the object's file must lie
# before the start of an fdatasync of it that has ended, its final name must have
# been given after that, and an fsync of its directory must have followed.
set -u

program=${WEFT_TOP_BUILDDIR:-.}/tests/integration/test_sync_durability
command -v strace >/dev/null || { echo "skipped: strace is not installed"; exit 77; }
strace -o /dev/null true 2>/dev/null || { echo "skipped: strace may not trace here (ptrace is forbidden)"; exit 77; }

dir=$(mktemp -d "${TMPDIR:-/tmp}/weft-test-XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT

# Leak detection can't work under ptrace.
ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 \
    strace -f -y -s 80 -o "$dir/trace" \
    -e trace=openat,pwrite64,pwritev,ftruncate,renameat,renameat2,unlinkat,fdatasync,fsync,write \
    "$program" --run "$dir" 2>"$dir/errors" || { cat "$dir/errors" >&2; exit 1; }

awk '
function complain(text) { if (++faults <= 20) printf "line %d: %s: %s\n", NR, object, text }
# The object of a path: its file name without .new, which is unique.
function object_in(text) {
    return match(text, /[0-9a-f][0-9a-f]\/[0-9a-f]+\.[0-9a-f]+/) ? substr(text, RSTART + 3, RLENGTH - 3) : "" }
function ended(call) { if (call == "") return
    split(call, part, " ")
    if (part[1] == "data") data_flushed[part[2]] = part[3]
    if (part[1] == "dir") dir_flushed[part[2]] = part[3] }
{ pid = $1 }
/pwritev\(/ { writes++ }
/pwrite64\(|pwritev\(|ftruncate\(/ && (object = object_in($0)) != "" { changes[object]++; next }
/fdatasync\(/ && (object = object_in($0)) != "" {
    call = "data " object " " changes[object] + 0
    if (/unfinished/) under_way[pid] = call; else if (/= 0$/) ended(call)
    next }
/ fsync\(/ && match($0, /shard-0\/[0-9a-f][0-9a-f]>/) {
    dir = substr($0, RSTART + 8, 2)
    call = "dir " dir " " names[dir] + 0
    if (/unfinished/) under_way[pid] = call; else if (/= 0$/) ended(call)
    next }
/(fdatasync|fsync) resumed/ { if (/= 0$/) ended(under_way[pid]); delete under_way[pid]; next }
/renameat2?\(/ && (object = object_in($0)) != "" {
    if (data_flushed[object] == "") complain("was given its name before its data was flushed")
    names[substr(object, 15, 2)]++
    named[object] = names[substr(object, 15, 2)]
    renames++
    next }
/unlinkat\(/ && / = 0$/ && (object = object_in($0)) != "" {
    names[substr(object, 15, 2)]++
    delete named[object]; delete data_flushed[object]; delete changes[object]
    next }
/write\(2/ && match($0, /synced [0-9a-f]+/) {
    object = substr($0, RSTART + 7, RLENGTH - 7) ".0"
    syncs++
    if (data_flushed[object] == "" || data_flushed[object] < changes[object]) complain("synced, but not all was flushed")
    if (!(object in named)) complain("synced, but it has not got its name")
    else if (dir_flushed[substr(object, 15, 2)] < named[object]) complain("synced, but its directory was not flushed")
}
END {
    printf "%d syncs, %d names, %d writes, %d faults\n", syncs, renames, writes, faults
    if (syncs < 50 || renames < 10 || writes < 50) { print "too little was traced to tell anything"; faults++ }
    exit faults > 0
}' "$dir/trace" || { echo "the trace is not as promised" >&2; exit 1; }
