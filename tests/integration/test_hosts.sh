#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Six hosts in two racks, each a network namespace with a name of its own: where servers say that they are, where
# files go that are to be spread, on the host of who makes them, or on a named one, and what still works when a
# rack is cut off. The counters of the servers tell where bytes went. All that is made here is removed at the end.

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"

tag=weft$$
hosts=(r1h1 r1h2 r1h3 r2h1 r2h2 r2h3)
dir=$scratch/cluster

command -v ip >/dev/null || { echo "SKIP: there is no ip command; Debian has it in iproute2" && trap - EXIT && rm -rf "$scratch" && exit 77; }
ip netns add "$tag-fabric" 2>/dev/null ||
    { echo "SKIP: network namespaces need root" && trap - EXIT && rm -rf "$scratch" && exit 77; }

remove_hosts()
{
    local host pid
    for pid in $(servers_of "$dir"); do
        kill "$pid"
    done
    wait
    for pid in $(servers_of "$dir"); do
        fail "process $pid was left: $(tr '\0' ' ' <"/proc/$pid/cmdline")"
        kill -9 "$pid"
    done
    for host in "${hosts[@]}" fabric; do
        ip netns delete "$tag-$host" 2>/dev/null
    done
    check_logs "$dir"
    [ $failures -eq 0 ] || tail -n 20 "$dir"/log/*.log >&2
    finish
}
trap remove_hosts EXIT

# address HOST: r2h3 is 10.77.2.3
address()
{
    printf '10.77.%s.%s' "${1:1:1}" "${1:3:1}"
}

# on HOST COMMAND...: there, under its name.
on()
{
    local host=$1
    shift
    # shellcheck disable=SC2016
    ip netns exec "$tag-$host" unshare --uts sh -c 'echo "$0" >/proc/sys/kernel/hostname && exec "$@"' "$host" "$@"
}

# One switch a rack, and a cable between them.
make_hosts()
{
    local host rack
    for rack in 1 2; do
        ip -n "$tag-fabric" link add "rack$rack" type bridge
        ip -n "$tag-fabric" link set "rack$rack" up
    done
    ip -n "$tag-fabric" link add up1 type veth peer name up2
    for rack in 1 2; do
        ip -n "$tag-fabric" link set "up$rack" master "rack$rack" up
    done
    for host in "${hosts[@]}"; do
        ip netns add "$tag-$host"
        ip -n "$tag-$host" link set lo up
        ip -n "$tag-$host" link add eth0 type veth peer name "$host" netns "$tag-fabric"
        ip -n "$tag-$host" address add "$(address "$host")/16" dev eth0
        ip -n "$tag-$host" link set eth0 up
        ip -n "$tag-fabric" link set "$host" master "rack${host:1:1}" up
    done
}

write_conf()
{
    local host comma=
    mkdir -p "$dir/log"
    (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$dir/cluster.key")
    {
        printf 'cluster = { name = "racks"; key_file = "cluster.key"; };\n'
        printf 'metadata = { listen = "%s:7470"; dir = "metadata"; };\n' "$(address r1h1)"
        printf 'storage = (\n'
        for host in "${hosts[@]}"; do
            printf '%s  { name = "s-%s"; listen = "%s:7471"; rack = "%s"; targets = ( { id = %d%d; dir = "%s"; } ); }' \
                "$comma" "$host" "$(address "$host")" "${host:0:2}" "${host:1:1}" "${host:3:1}" "$host"
            comma=$',\n'
        done
        printf '\n);\nlayout = { chunk_size = "64K"; };\n'
        printf 'limits = { deadline_ms = 3000; heartbeat_ms = 200; lease_ms = 2000; };\n'
    } >"$dir/weft.conf"
}

# start HOST PROGRAM...
start()
{
    local host=$1
    shift
    on "$host" "$@" >>"$dir/log/${1##*/}-$host.log" 2>&1 &
}

up_are()
{
    [ "$(on r1h1 weft status 2>/dev/null | grep -c ' storage  *up ')" = "$1" ]
}

# writes HOST: requests to write that its server has had.
writes()
{
    on r1h1 weft status --counters | awk -v server="s-$1" '
        NF == 1 { here = $1 == server }
        here && $1 == "served_write" { print $2 }'
}

all_writes()
{
    local host
    for host in "${hosts[@]}"; do
        printf '%s ' "$(writes "$host")"
    done
}

# wrote BEFORE AFTER: the hosts whose number has grown.
wrote()
{
    local -a old new
    local i
    read -ra old <<<"$1"
    read -ra new <<<"$2"
    for i in "${!hosts[@]}"; do
        [ "${new[i]:-0}" -le "${old[i]:-0}" ] || printf '%s ' "${hosts[i]}"
    done
}

# libpciaccess, by which hwloc reads devices, leaks, and the leak checker would say so.
! grep -q __asan_init "$build/server/storage/weft-storaged" || export HWLOC_COMPONENTS=-pci
make_hosts
write_conf
export WEFT_CONF=$dir/weft.conf
head -c 1000000 /dev/urandom >"$scratch/file"
start r1h1 "$build/server/metadata/weft-metad" --conf "$WEFT_CONF"
for host in "${hosts[@]}"; do
    start "$host" "$build/server/storage/weft-storaged" --conf "$WEFT_CONF" --name "s-$host"
done
within 20 up_are 6
[ $failures -eq 0 ] || exit 1

echo "1. where the servers are"
expect 0 on r1h1 weft status --hosts
for host in "${hosts[@]}"; do
    grep -Eq "^s-$host +up +$host +- +${host:0:2} +1 " <<<"$output" || fail "s-$host is not shown with $host: $output"
done
expect 0 on r2h2 weft plan --members 2 --level rack
says "6 targets on 6 hosts, 2 racks"

echo "2. spread: all of them"
before=$(all_writes)
expect 0 on r2h3 weft cp --quiet "$scratch/file" weft:/spread
same "${hosts[*]} " "$(wrote "$before" "$(all_writes)")"

echo "3. local: each host's file is on that host alone"
expect 0 on r1h1 weft mkdir weft:/local
expect 0 on r1h1 weft layout --set --placement local weft:/local
for host in "${hosts[@]}"; do
    before=$(all_writes)
    expect 0 on "$host" weft cp --quiet "$scratch/file" "weft:/local/$host"
    same "$host " "$(wrote "$before" "$(all_writes)")"
    expect 0 on r1h1 weft layout --summary "weft:/local/$host"
    says "of host $host" "s-$host"
    expect 0 on r2h2 weft cp --quiet "weft:/local/$host" "$scratch/back"
    cmp "$scratch/file" "$scratch/back" || fail "the file of $host came back changed"
done

echo "4. a named host, by name and by WEFT_HOST; a host without storage; one that there is not"
before=$(all_writes)
expect 0 on r1h1 weft mkdir weft:/named
expect 0 on r1h1 weft layout --set --placement host:r2h1 weft:/named
expect 0 on r1h2 weft cp --quiet "$scratch/file" weft:/named/file
expect 0 env WEFT_HOST=r2h1 ip netns exec "$tag-r1h3" weft cp --quiet "$scratch/file" weft:/local/as-r2h1
same "r2h1 " "$(wrote "$before" "$(all_writes)")"
before=$(all_writes)
expect 0 env WEFT_HOST=login ip netns exec "$tag-r1h3" weft cp --quiet "$scratch/file" weft:/local/login
same "${hosts[*]} " "$(wrote "$before" "$(all_writes)")"
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
