#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# MPI programs on a cluster with two replicas of each chunk: those that try the most, and one under which each storage
# server is killed and started again, one after the other, without a rank noticing.

# shellcheck source=tests/mpi/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$scratch" || exit 99
dir=$scratch/cluster
tests=$WEFT_TOP_BUILDDIR/tests/mpi

will_stop "$dir"
expect 0 weft up --dir "$dir" --servers 4 --replicas 2
expect 0 weft down --dir "$dir"
# Who is silent is out soon.
printf '\nlimits = { lease_ms = 2000; heartbeat_ms = 300; };\n' >>"$dir/weft.conf"
expect 0 weft up --dir "$dir"
export WEFT_CONF=$dir/weft.conf TEST_LOCAL_FOLDER=$scratch
within 20 is_whole

expect 0 weft mkdir weft:/programs
for program in atomic collective nonblocking shared size strided; do
    run_mpi 200 4 "$tests/$program.mpi" weft:/programs || fail "$program: exit code $?"
done
# A quarter of what there is without replicas: each takes longer, and tries the same paths of the driver.
run_mpi 400 6 "$tests/property.mpi" weft:/programs --cases "$((${WEFT_TEST_CASES:-120} / 4))" || fail "property: exit code $?"

run_mpi 300 4 "$tests/dead_replica" weft:/file "$scratch/ready" "$scratch/stop" &
job=$!
within 60 test -e "$scratch/ready"
for server in s0 s1 s2 s3; do
    kill -9 "$(weft status | awk -v name="$server" '$1 == name { print $NF }')" || fail "there is no server $server"
    sleep 4
    kill -0 $job 2>/dev/null || break
    expect 0 weft up --dir "$dir"
    within 60 is_whole
done
touch "$scratch/stop"
wait $job || fail "dead_replica: exit code $?"
expect 0 weft verify weft:/
finish
