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

# The MPI that compiles and runs the programs: WEFT_MPI names it, and all that is
# particular to one of them stands here.
#   mpi_cc              its compiler
#   mpirun_command      its launcher, with what it needs on any machine
#   mpi_preload         libraries that bring weft: paths into reach, for LD_PRELOAD
#   mpi_weft_options    options of the launcher that do so
#   mpi_local_options   options by which the MPI's own ROMIO does all I/O, for comparison
#   mpi_default_options the same for what it takes by itself, its other implementation if it has two
: "${WEFT_MPI:=openmpi}"
case $WEFT_MPI in
openmpi)
    mpi_cc=${MPICC:-mpicc}
    # Ranks may be more than cores, and containers run as root.
    mpirun_command=("${MPIRUN:-mpirun}" --oversubscribe)
    [ "$(id -u)" -ne 0 ] || mpirun_command+=(--allow-run-as-root)
    mpi_preload= # scripts/env has said where the component is
    mpi_weft_options=()
    mpi_local_options=(--mca io '^weft,ompio')
    mpi_default_options=(--mca io '^weft')
    ;;
mpich)
    mpi_cc=${MPICH_MPICC:-mpicc.mpich}
    mpirun_command=("${MPICH_MPIRUN:-mpirun.mpich}")
    mpi_preload=${WEFT_MPICH-}
    mpi_weft_options=(-genv LD_PRELOAD "$mpi_preload")
    # Programs that are linked with the library need no more.
    [ -z "${MPICH_IS_LINKED-}" ] || mpi_weft_options=()
    mpi_local_options=()
    mpi_default_options=()
    ;;
*)
    printf 'no MPI named %s is known to %s\n' "$WEFT_MPI" "${BASH_SOURCE[0]}" >&2
    exit 99
    ;;
esac

# run_mpi_with SECONDS RANKS [MPIRUN-OPTION...] PROGRAM [ARGUMENT...]: the launcher, for
# no longer than that, with these options only.
run_mpi_with()
{
    local seconds=$1 ranks=$2
    shift 2
    timeout --kill-after=10 "$seconds" "${mpirun_command[@]}" -n "$ranks" "$@" </dev/null
}

# run_mpi: the same with weft: paths in reach.
run_mpi()
{
    local seconds=$1 ranks=$2
    shift 2
    run_mpi_with "$seconds" "$ranks" "${mpi_weft_options[@]}" "$@"
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
