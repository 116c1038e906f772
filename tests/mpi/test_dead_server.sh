#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A storage server is killed while ranks read and write. Every rank gets an error
# that names the server, soon after the deadline of a request; none waits for ever
# for another that has given up.

# shellcheck source=tests/mpi/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$scratch" || exit 99
deadline=4

run_way()
{
    local way=$1 dir=$scratch/$1 job pid
    will_stop "$dir"
    expect 0 weft up --dir "$dir" --servers 4
    expect 0 weft down --dir "$dir"
    printf '\nlimits = { deadline_ms = %d000; };\n' $deadline >>"$dir/weft.conf"
    expect 0 weft up --dir "$dir"
    export WEFT_CONF=$dir/weft.conf
    run_mpi 150 4 "$WEFT_TOP_BUILDDIR/tests/mpi/dead_server" weft:/file "$way" $((3 * deadline)) \
        "$scratch/$way.ready" >"$scratch/$way.out" 2>&1 &
    job=$!
    within 60 test -e "$scratch/$way.ready"
    pid=$(weft status | awk '$1 == "s2" { print $NF }')
    kill -9 "$pid" || fail "there is no server s2 to kill"
    wait $job || fail "$way: exit code $?"
    cat "$scratch/$way.out"
    grep -q 'class.*s2' "$scratch/$way.out" || fail "$way: no rank was told that it is s2"
    weft down --dir "$dir" >/dev/null 2>&1
}

for way in write read iwrite; do
    run_way $way
done
