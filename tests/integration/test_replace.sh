#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A disk is lost, and another one takes its place: it does not by itself, is not let in while nobody else has what the lost
# one had, and has all of it in the end.

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"

dir=$scratch/cluster
storaged=$build/server/storage/weft-storaged
will_stop "$dir"

servers_up()
{
    weft status | grep -oE '[0-9]+ of 3 storage servers up'
}

# kill_server NAME: without a chance to end well. It counts as down before another one is killed: who goes last is
# the last one that has all.
kill_server()
{
    local up
    up=$(servers_up)
    kill -9 "$(weft status | awk -v name="$1" '$1 == name { print $NF }')" || fail "there is no server $1"
    within 20 are_up "$((${up%% *} - 1))"
}

are_up()
{
    [ "$(servers_up)" = "$1 of 3 storage servers up" ]
}

expect 0 weft up --dir "$dir" --servers 3 --replicas 2
expect 0 weft down --dir "$dir"
printf '\nlimits = { lease_ms = 2000; heartbeat_ms = 300; };\n' >>"$dir/weft.conf"
expect 0 weft up --dir "$dir"
export WEFT_CONF=$dir/weft.conf
within 10 is_whole
head -c 7000000 /dev/urandom >"$scratch/large"
head -c 70001 /dev/urandom >"$scratch/odd"
for file in large odd; do
    expect 0 weft cp --quiet "$scratch/$file" "weft:/$file"
done

echo "1. an empty target does not start by itself"
expect 1 weft up --dir "$dir" --replace 1
says 's1 runs' 'stop it first'
kill_server s1
rm -r "$dir/s1/t0"
expect 1 weft up --dir "$dir"
says 'is new and empty' '--replace 1'
comes_back large odd

echo "2. it does not when nobody else has what it had"
expect 0 weft up --dir "$dir" --replace 1
within 30 is_whole
kill_server s1
kill_server s0
mv "$dir/s0/t0" "$dir/s0/kept"
expect 1 timeout 20 "$storaged" --name s0 --replace 7
says 'has no such target'
"$storaged" --name s0 --replace 0 2>"$scratch/log" &
waiting=$!
within 10 grep -q "target 0 can't be replaced.*start the servers of its other members first" "$scratch/log"
expect 2 weft up --dir "$dir" --replace one
expect 1 weft up --dir "$dir" --replace 7
says 'has no target 7'

kill $waiting
wait $waiting || fail "a server that waits to be let in ended with $?"
rm -r "$dir/s0/t0"
mv "$dir/s0/kept" "$dir/s0/t0"
expect 0 weft up --dir "$dir"
within 60 is_whole

echo "3. with those who have it there, it gets all, and can be what is left"
kill_server s0
rm -r "$dir/s0/t0"
expect 0 weft up --dir "$dir" --replace 0
within 60 is_whole
comes_back large odd
kill_server s1
comes_back large odd
expect 0 weft up --dir "$dir"
within 60 is_whole
kill_server s2
comes_back large odd
expect 0 weft verify weft:/
expect 0 weft up --dir "$dir"
within 60 is_whole
finish
