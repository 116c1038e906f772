#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two mounts and one file: appends lose nothing, locks keep others out, and what is read is what was written last.

# shellcheck source=tests/mount/lib.sh
. "$WEFT_TOP_SRCDIR/tests/mount/lib.sh"
begin
cd / || exit

# ---- appends: each line whole, and each once ------------------------------------
append()
{
    local i
    for i in $(seq 1 150); do printf '%s line %04d of some length, to be found whole\n' "$1" "$i"; done >>"$2/log"
}
append first "$one" &
append second "$two" &
wait
same "$(wc -l <"$one/log")" 300
same "$(sort -u "$two/log" | grep -cE '^(first|second) line [0-9]{4} of some length, to be found whole$')" 300

# ---- locks -------------------------------------------------------------------------
step "$build/tests/mount/locks" "$one/locked" "$two/locked"
# Nobody who waits (and has not inherited the descriptor with the lock) holds up the rest, and a killed one is out of the line.
: >"$one/door"
exec 6>"$one/door"
flock 6
flock "$two/door" true 6>&- &
waiter=$!
same "$(flock -n "$two/door" echo got; echo $?)" 1
step timeout 5 ls "$two"
kill -9 $waiter
wait $waiter 2>/dev/null
flock "$two/door" touch "$scratch/got" 6>&- &
sleep 0.2
[ ! -e "$scratch/got" ] || fail 'the lock was given to two'
exec 6>&-
within 10 test -e "$scratch/got"
wait

# ---- random reads, writes and truncates, one after the other by either mount ---------
step "$build/tests/mount/fsx" --operations 3000 "$one/fsx" "$two/fsx"
step "$build/tests/mount/fsx" --operations 1500 --size 20000 "$one/small" "$two/small"
