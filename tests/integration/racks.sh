# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# racks.sh: six hosts in two racks, each a network namespace with a name of its own, with a storage server on each, and
# the metadata server on the first. What is made here is removed at the end. It is sourced, after lib.sh.

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

# write_conf SETTINGS: of the cluster, with some more settings.
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
        printf 'limits = { deadline_ms = 3000; heartbeat_ms = 200; lease_ms = 2000; };\n%s\n' "$1"
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

# all_of COUNTER: of each host's server, in their order.
all_of()
{
    on r1h1 weft status --counters 2>/dev/null | awk -v counter="$1" -v hosts="${hosts[*]}" '
        NF == 1 { here = substr($1, 3) }
        $1 == counter { value[here] += $2 }
        END { n = split(hosts, names, " "); for (i = 1; i <= n; i++) printf "%s ", value[names[i]] + 0 }'
}

# grew BEFORE AFTER: the hosts whose number has grown.
grew()
{
    local -a old new
    local i
    read -ra old <<<"$1"
    read -ra new <<<"$2"
    for i in "${!hosts[@]}"; do
        [ "${new[i]:-0}" -le "${old[i]:-0}" ] || printf '%s ' "${hosts[i]}"
    done
}

# start_racks SETTINGS: the hosts, and all servers on them.
start_racks()
{
    local host
    # libpciaccess, by which hwloc reads devices, leaks, and the leak checker would say so.
    ! grep -q __asan_init "$build/server/storage/weft-storaged" || export HWLOC_COMPONENTS=-pci
    make_hosts
    write_conf "$1"
    export WEFT_CONF=$dir/weft.conf
    start r1h1 "$build/server/metadata/weft-metad" --conf "$WEFT_CONF"
    for host in "${hosts[@]}"; do
        start_storage "$host"
    done
    within 20 up_are 6
    [ $failures -eq 0 ] || exit 1
}

start_storage()
{
    start "$1" "$build/server/storage/weft-storaged" --conf "$WEFT_CONF" --name "s-$1"
}
