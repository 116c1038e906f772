#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two replicas of each chunk, one in each of two racks: who is read, told by the counters of the servers; and what is
# there when a server is killed, when a rack is cut off, and when only those are left that were away before.

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"

# shellcheck source=tests/integration/racks.sh
. "$WEFT_TOP_SRCDIR/tests/integration/racks.sh"

# kill_storage HOST...: without a chance to end well.
kill_storage()
{
    local host pid
    for host in "$@"; do
        for pid in $(servers_of "$dir"); do
            ! tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q -- "--name s-$host " || kill -9 "$pid"
        done
    done
}

for file in first second third fourth; do
    head -c 1500000 /dev/urandom >"$scratch/$file"
done
start_racks 'redundancy = { replicas = 2; failure_domain = "rack"; };'

echo "1. groups of two, one in each rack"
within 10 is_whole on r1h1
expect 0 on r1h1 weft status
says "with 2 replicas each"
expect 0 on r1h1 weft cp --quiet "$scratch/first" weft:/first
within 5 is_whole on r1h1

echo "2. who reads asks the rack that he is in"
before=$(all_of served_read)
comes_back on r1h2 first
same "r1h1 r1h2 r1h3 " "$(grew "$before" "$(all_of served_read)")"
before=$(all_of served_read)
comes_back on r2h3 first
same "r2h1 r2h2 r2h3 " "$(grew "$before" "$(all_of served_read)")"

echo "3. what is written is copied to the other rack, and read there"
before=$(all_of copies_taken)
expect 0 on r2h1 weft cp --quiet "$scratch/second" weft:/second
[ -n "$(grew "$before" "$(all_of copies_taken)")" ] || fail "nobody got copies"
comes_back on r1h3 second

echo "4. a server is killed: all is there, and can be written"
kill_storage r2h2
comes_back on r2h3 first second
expect 0 on r1h1 weft cp --quiet "$scratch/third" weft:/third
expect 0 on r1h1 weft rm weft:/second
expect 0 on r1h1 weft truncate --size 777777 weft:/first
truncate -s 777777 "$scratch/first"
comes_back on r2h1 first third
expect 1 on r1h1 weft status
says "5 of 6 storage servers up"
! is_whole on r1h1 || fail "a group has all, and a server is away"

echo "5. it comes back, and gets what it has missed"
before=$(all_of bytes_resynced)
start_storage r2h2
within 30 is_whole on r1h1
[ -n "$(grew "$before" "$(all_of bytes_resynced)")" ] || fail "nothing was brought up to date"

echo "6. the other rack is gone: what is left has all"
kill_storage r1h1 r1h2 r1h3
within 20 up_are 3
comes_back on r2h3 first third
expect 1 on r2h3 weft stat weft:/second
expect 0 on r2h3 weft cp --quiet "$scratch/fourth" weft:/fourth
expect 0 on r2h3 weft verify weft:/
for host in r1h1 r1h2 r1h3; do
    start_storage "$host"
done
within 20 up_are 6
within 30 is_whole on r1h1

echo "7. a rack is cut off while it is written to, and has it when it is back"
expect 0 on r1h1 weft rm weft:/fourth
ip -n "$tag-fabric" link set up1 down
expect 0 on r1h2 weft cp --quiet "$scratch/second" weft:/second
comes_back on r1h3 first second third
ip -n "$tag-fabric" link set up1 up
within 20 up_are 6
within 30 is_whole on r1h1
kill_storage r1h1 r1h2 r1h3
within 20 up_are 3
comes_back on r2h1 first second third
expect 1 on r2h1 weft stat weft:/fourth
expect 0 on r2h1 weft verify weft:/
