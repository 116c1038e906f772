# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# lib.sh: what the scripts share that run MPI programs on weft: paths: the build
# tree's settings, mpirun with what it needs here, and a cluster. It is sourced.

: "${WEFT_TOP_SRCDIR:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}"
: "${WEFT_TOP_BUILDDIR:=$WEFT_TOP_SRCDIR/build}"

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"
eval "$("$WEFT_TOP_SRCDIR/scripts/env" --sh --dir "$WEFT_TOP_BUILDDIR")"
unset ROMIO_FSTYPE_FORCE

# Ranks may be more than cores, and containers run as root.
mpirun_options=(--oversubscribe)
[ "$(id -u)" -ne 0 ] || mpirun_options+=(--allow-run-as-root)

# run_mpi SECONDS RANKS [MPIRUN-OPTION...] PROGRAM [ARGUMENT...]: mpirun, for no
# longer than that.
run_mpi()
{
    local seconds=$1 ranks=$2
    shift 2
    timeout --kill-after=10 "$seconds" "${MPIRUN:-mpirun}" "${mpirun_options[@]}" -n "$ranks" "$@"
}

# A cluster of 4 storage servers, unless WEFT_TEST_CONF names one that runs.
start_cluster()
{
    if [ -n "${WEFT_TEST_CONF-}" ]; then
        export WEFT_CONF=$WEFT_TEST_CONF
        return 0
    fi
    will_stop "$scratch/cluster"
    expect 0 weft up --dir "$scratch/cluster" --servers 4
    [ $failures -eq 0 ] || exit 1
    export WEFT_CONF=$scratch/cluster/weft.conf
}
