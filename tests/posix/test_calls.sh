#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Programs that call and print, in a local folder and in the cluster.

# shellcheck source=tests/posix/lib.sh
. "$WEFT_TOP_SRCDIR/tests/posix/lib.sh"

for options in "-D_FILE_OFFSET_BITS=64" "-O2 -D_FORTIFY_SOURCE=2"; do
    echo "calls, compiled with $options"
    # shellcheck disable=SC2086
    compile calls -D_GNU_SOURCE $options
    both mkdir FOLDER/c
    both "$scratch/calls" FOLDER/c
    [ "$(wc -l <"$scratch/said.here")" -gt 250 ] || fail "the program did not come to its end"
    both rmdir FOLDER/c
done

echo "processes"
compile processes -D_GNU_SOURCE
both "$scratch/processes" FOLDER
[ "$(wc -l <"$scratch/said.here")" -gt 60 ] || fail "the program did not come to its end"
both ls -A FOLDER

echo "another mount point, and none"
expect 0 weft run --mount /some/where -- sh -c 'echo text >/some/where/file; cat /some/where/file weft:/file'
same $'text\ntext' "$output"
expect 1 weft run -- cat /some/where/file
WEFT_CONF=$scratch/none expect 1 weft run -- cat "$there"/file
says "weft_connect" "$scratch/none" "Input/output error"
expect 0 weft ls weft:/file

echo "the report"
expect 0 weft run --report="$scratch/report" -- cat "$there"/file
grep -q 'weft: cat\[[0-9]*\]: read 5 bytes, wrote 0; open 1 close 1 read 2' "$scratch/report" ||
    fail "the report is: $(cat "$scratch/report")"
expect 0 weft run --report -- cp "$there"/file "$there"/copy
says "read 5 bytes, wrote 5"
expect 0 weft run --report -- true
same "" "$output"

echo "a pipe is made, but not opened"
expect 0 weft run -- mkfifo "$there/pipe"
expect 0 weft run -- test -p "$there/pipe"
expect 1 weft run -- cat "$there/pipe"
says "No such device or address"
expect 2 weft run -- sh -c "echo >'$there/pipe'; echo >'$there/pipe'"
same 1 "$(grep -c 'on a mount only' <<<"$output")"
expect 0 weft rm weft:/pipe

echo "requests"
export WEFT_COUNTERS=1
expect 0 weft run -- dd if=/dev/zero of="$there"/counted bs=4096 count=10 status=none
# Opening and closing are two, and one that the file is too large to lie with the metadata server.
says "metadata_requests=3 " "storage_requests=10 "
# A listing asks for names and types, and for nobody's size.
weft run -- sh -c "exec 3>'$there/growing'; touch '$scratch/opened'; exec sleep 60" 2>/dev/null &
writer=$!
within 20 test -e "$scratch/opened"
expect 0 weft run -- ls -U "$there"
says growing "storage_requests=0 "
kill $writer
unset WEFT_COUNTERS
