#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A real storage server runs where weft topo says, as /proc and hwloc see it: by itself, by the configuration, and
# within what it was started with. What the host lacks is refused, with file, line and setting.

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"
unset WEFT_TOPOLOGY HWLOC_XMLFILE HWLOC_SYNTHETIC HWLOC_THISSYSTEM UCX_NET_DEVICES WEFT_UCX_NET_DEVICES

# libpciaccess, which this part of hwloc calls, leaves memory behind, and sanitizers tell of it.
! grep -q __asan_init "$build/server/storage/weft-storaged" || export HWLOC_COMPONENTS=-pci

# Two CPUs that this test may use.
mapfile -t cpus < <(taskset -cp $$ | sed 's/.*: //' | tr , '\n' |
    while IFS=- read -r first last; do seq "$first" "${last:-$first}"; done)
[ ${#cpus[@]} -ge 2 ] || {
    echo "skipped: it needs two CPUs"
    trap - EXIT
    exit 77
}
a=${cpus[0]} b=${cpus[1]}

dir=$scratch/cluster
conf=$dir/weft.conf
will_stop "$dir"
expect 0 weft up --dir "$dir" --servers 1 --shards 2
expect 0 weft down --dir "$dir"
[ $failures -eq 0 ] || exit 1
cp "$conf" "$scratch/plain.conf"

# configure SETTINGS: these stand in the storage section, in a line of their own.
configure()
{
    sed "s/shards = 2;/&\n$*/" "$scratch/plain.conf" >"$conf"
    line=$(($(grep -n 'shards = 2;' "$conf" | cut -d: -f1) + 1))
}

# threads NAME: the tasks of the server that are called that.
threads()
{
    local task
    for task in /proc/"$(cat "$dir/run/s0.pid")"/task/*; do
        [ "$(cat "$task/comm")" = "$1" ] && basename "$task"
    done
}

# allowed TASK: where the kernel lets it run.
allowed()
{
    sed -n 's/^Cpus_allowed_list:\t//p' "/proc/$1/status"
}

# said SHARD COLUMN: what weft topo shows of the shard, in the column of that heading.
said()
{
    weft topo --conf "$conf" | awk -v shard="s0/$1" -v column="$2" '
        $1 == "SHARD" { for (i = 1; i <= NF; i++) if ($i == column) at = i }
        $1 == shard { print $at }'
}

# bound SHARD CPUS: the shard's thread is bound to these, says everybody.
bound()
{
    local depth=1 task
    task=$(threads "shard-$1")
    same 1 "$(wc -w <<<"$task")" "threads called shard-$1"
    same "$2" "$(said "$1" CPU)" "weft topo"
    same "$2" "$(allowed "$task")" "/proc"
    if command -v hwloc-bind >/dev/null; then
        same "$2" "$(hwloc-calc --po -I pu "$(hwloc-bind --get --tid "$task")")" "hwloc-bind"
    fi
}

start()
{
    local depth=2
    expect 0 "$@" "$build/tools/weft" up --dir "$dir"
}
stop()
{
    local depth=2
    expect 0 weft down --dir "$dir"
}

echo "1. on the loopback nothing is bound by itself"
configure ''
all=$(allowed $$)
start
for k in 0 1; do
    same "$all" "$(allowed "$(threads "shard-$k")")" "shard $k"
    same - "$(said "$k" CPU)"
done
stop

echo "2. cores, as the configuration says; other threads of the server stay off them where there are others"
configure "cores = [ $b, $b ];"
start
bound 0 "$b"
bound 1 "$b"
helpers=$(said 0 HELPERS)
[ "$helpers" != "$b" ] || fail "the helper threads are said to run on CPU $b"
seen=0
for task in $(threads weft-storaged); do
    [ "$task" = "$(cat "$dir/run/s0.pid")" ] && continue
    same "$helpers" "$(allowed "$task" | tr -d ' ')" "a thread that a shard began"
    seen=$((seen + 1))
done
[ $seen -ge 2 ] || fail "only $seen threads of the stores"
export WEFT_CONF=$conf
head -c 3000000 /dev/urandom >"$scratch/file"
expect 0 weft cp "$scratch/file" weft:/file
expect 0 weft cp weft:/file "$scratch/back"
cmp "$scratch/file" "$scratch/back" || fail "bytes differ"
unset WEFT_CONF
stop

echo "3. each shard its own"
configure "cores = [ $b, $a ];"
start
bound 0 "$b"
bound 1 "$a"
stop

echo "4. bound by itself, on the loopback too"
configure 'binding = "always";'
start
for k in 0 1; do
    cpu=$(said "$k" CPU)
    if [ "$cpu" = - ]; then # the metadata server and two shards, on two CPUs
        same "$all" "$(allowed "$(threads "shard-$k")")"
        grep -q "shard $k is not bound: all CPUs have a server thread already" "$dir"/log/s0.log ||
            fail "the log does not say why shard $k is not bound"
    else
        bound "$k" "$cpu"
    fi
done
[ "$(said 0 CPU)" != - ] || fail "shard 0 is not bound"
stop

echo "5. memory from the node that is named"
if [ -e /proc/self/numa_maps ] && [ -e /sys/devices/system/node/node0 ]; then
    configure 'numa = 0;'
    start
    grep -qE '^[0-9a-f]+ (prefer|bind)[^:]*:0' "/proc/$(cat "$dir/run/s0.pid")/numa_maps" ||
        fail "no memory is bound to NUMA node 0"
    same 0 "$(said 0 MEMORY)"
    stop
fi

echo "6. within what it was started with"
configure "cores = [ $b, $b ];"
start taskset -c "$b"
task=$(threads shard-0)
same "$b" "$(allowed "$task")"
stop
configure 'binding = "always";'
start taskset -c "$b"
for task in /proc/"$(cat "$dir/run/s0.pid")"/task/*; do
    same "$b" "$(allowed "${task##*/}")" "a thread of a server that has CPU $b only"
done
stop

# refused TEXT COMMAND...: the server does not start, and its log and weft topo have the text.
refused()
{
    local text=$1 depth=1
    shift
    expect 1 "$@" "$build/tools/weft" up --dir "$dir"
    grep -qF "weft.conf:$line: $text" "$dir/log/s0.log" || fail "not in the log: weft.conf:$line: $text"
    expect 1 "$@" "$build/tools/weft" topo --conf "$conf"
    says "weft.conf:$line: $text"
}

echo "7. what is not there, or not to be used, is refused"
configure "cores = [ $a, $b ];"
refused "storage[0].cores: CPU $a for shard 0 is not among those that this process may use" taskset -c "$b"
configure 'cores = [ 0, 60000 ];'
refused 'storage[0].cores: CPU 60000 for shard 1 is not among'
configure 'numa = 60000;'
refused 'storage[0].numa: NUMA node 60000 is not among'
if weft topo --conf "$scratch/plain.conf" 2>/dev/null | grep -q '^DEVICE'; then
    configure 'devices = [ "no-such-device" ];'
    refused 'storage[0].devices: this machine has no network device "no-such-device"'
fi

echo "8. a description in the place of the machine: nothing is bound, unless it is said to be of this one"
configure 'binding = "always";'
start env WEFT_TOPOLOGY='pack:2 [numa] core:4 pu:1'
for k in 0 1; do
    same "$all" "$(allowed "$(threads "shard-$k")")" "shard $k"
done
grep -q 'is the description of another machine' "$dir/log/s0.log" || fail "the log does not say that nothing is bound"
stop
if [ "$a $b" = '0 1' ]; then
    configure 'cores = [ 1, 1 ];'
    export WEFT_TOPOLOGY=$WEFT_TOP_SRCDIR/tests/topologies/two-cores-one-hca.xml HWLOC_THISSYSTEM=1
    start
    bound 0 1
    same 1 "$(said 0 MEMORY)" "the second socket of the description has NUMA node 1"
    stop
    unset WEFT_TOPOLOGY HWLOC_THISSYSTEM
fi
