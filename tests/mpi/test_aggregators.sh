#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Ranks that run beside a host's network device are aggregators before others. The host is
# this one, with its first two cores, described as two sockets of which the second has the device.

# shellcheck source=tests/mpi/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$scratch" || exit 99
taskset -c 0 true && taskset -c 1 true || {
    echo "skipped: it needs the cores 0 and 1"
    exit 77
}
start_cluster

# Even ranks run on core 0, odd ones on core 1.
cat >on-a-core <<'END'
#!/bin/sh
rank=${OMPI_COMM_WORLD_RANK:-$PMI_RANK}
exec taskset -c $((rank % 2)) env ${TOPOLOGY:+HWLOC_XMLFILE=$TOPOLOGY HWLOC_THISSYSTEM=1} "$@"
END
chmod +x on-a-core

# aggregators_are LIST [HINT=VALUE]
aggregators_are()
{
    local wanted=$1
    shift
    run_mpi 60 4 ./on-a-core "$WEFT_TOP_BUILDDIR/tests/mpi/aggregators" weft:/file "$@" >out 2>&1 ||
        fail "exit code $?: $(cat out)"
    grep -qx "aggregators: $wanted *" out || fail "wanted the aggregators $wanted of ${TOPOLOGY:-no topology}: $(cat out)"
}

unset TOPOLOGY HWLOC_XMLFILE HWLOC_SYNTHETIC
aggregators_are '0 1' cb_nodes=2
export TOPOLOGY=$WEFT_TOP_SRCDIR/tests/topologies/two-cores-one-hca.xml
aggregators_are '1 3' cb_nodes=2
aggregators_are '1 3 0' cb_nodes=3
aggregators_are '1 3 0 2'
# The user's own list counts as it stands.
aggregators_are '0' 'cb_config_list=*:1'
# So do the hints of a directory, which come with the open.
expect 0 weft hints weft:/ cb_nodes=2
aggregators_are '1 3'
