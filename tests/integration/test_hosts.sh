#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Six hosts in two racks, each a network namespace with a name of its own: where servers say that they are, where
# files go that are to be spread, on the host of who makes them, or on a named one, and what still works when a
# rack is cut off. The counters of the servers tell where bytes went.

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"

# shellcheck source=tests/integration/racks.sh
. "$WEFT_TOP_SRCDIR/tests/integration/racks.sh"

head -c 1000000 /dev/urandom >"$scratch/file"
start_racks ""

echo "1. where the servers are"
expect 0 on r1h1 weft status --hosts
for host in "${hosts[@]}"; do
    grep -Eq "^s-$host +up +$host +- +${host:0:2} +1 " <<<"$output" || fail "s-$host is not shown with $host: $output"
done
expect 0 on r2h2 weft plan --members 2 --level rack
says "6 targets on 6 hosts, 2 racks"

echo "2. spread: all of them"
before=$(all_of served_write)
expect 0 on r2h3 weft cp --quiet "$scratch/file" weft:/spread
same "${hosts[*]} " "$(grew "$before" "$(all_of served_write)")"

echo "3. local: each host's file is on that host alone"
expect 0 on r1h1 weft mkdir weft:/local
expect 0 on r1h1 weft layout --set --placement local weft:/local
for host in "${hosts[@]}"; do
    before=$(all_of served_write)
    expect 0 on "$host" weft cp --quiet "$scratch/file" "weft:/local/$host"
    same "$host " "$(grew "$before" "$(all_of served_write)")"
    expect 0 on r1h1 weft layout --summary "weft:/local/$host"
    says "of host $host" "s-$host"
    expect 0 on r2h2 weft cp --quiet "weft:/local/$host" "$scratch/back"
    cmp "$scratch/file" "$scratch/back" || fail "the file of $host came back changed"
done

echo "4. a named host, by name and by WEFT_HOST; a host without storage; one that there is not"
before=$(all_of served_write)
expect 0 on r1h1 weft mkdir weft:/named
expect 0 on r1h1 weft layout --set --placement host:r2h1 weft:/named
expect 0 on r1h2 weft cp --quiet "$scratch/file" weft:/named/file
expect 0 env WEFT_HOST=r2h1 ip netns exec "$tag-r1h3" weft cp --quiet "$scratch/file" weft:/local/as-r2h1
same "r2h1 " "$(grew "$before" "$(all_of served_write)")"
before=$(all_of served_write)
expect 0 env WEFT_HOST=login ip netns exec "$tag-r1h3" weft cp --quiet "$scratch/file" weft:/local/login
same "${hosts[*]} " "$(grew "$before" "$(all_of served_write)")"
expect 1 on r1h1 weft layout --set --placement host:nowhere weft:/named
says 'no host "nowhere"' 'weft status --hosts'

echo "5. rack 2 is cut off: what is on hosts of rack 1 is still read and written there"
ip -n "$tag-fabric" link set up1 down
within 20 up_are 3
expect 0 on r1h2 weft cp --quiet weft:/local/r1h3 "$scratch/back"
cmp "$scratch/file" "$scratch/back" || fail "the file of r1h3 came back changed"
expect 0 on r1h2 weft cp --quiet "$scratch/file" weft:/local/after
expect 1 on r1h2 weft cp --quiet weft:/local/r2h2 "$scratch/back"
says s-r2h2
ip -n "$tag-fabric" link set up1 up
within 20 up_are 6
expect 0 on r1h2 weft cp --quiet weft:/local/r2h2 "$scratch/back"
cmp "$scratch/file" "$scratch/back" || fail "the file of r2h2 came back changed"
expect 0 on r2h1 weft verify weft:/
