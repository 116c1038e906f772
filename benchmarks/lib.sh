# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# lib.sh: what the scripts share that compare Weft with a local directory: what was
# built, a folder for both, a cluster in it, and what mpirun needs here. It is
# sourced; bench_begin sets $dir.

# shellcheck source=../scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

build=${WEFT_BUILD:-$top/build}

# Ranks may be more than cores, and containers run as root. Without OMPIO the stock ROMIO
# has all paths but weft: ones.
mpirun_options=(--oversubscribe --mca io '^ompio')
[ "$(id -u)" -ne 0 ] || mpirun_options+=(--allow-run-as-root)

bench_end()
{
    [ -z "${bench_cluster-}" ] || weft down --dir "$bench_cluster" >/dev/null 2>&1
    [ -z "${bench_temporary-}" ] || rm -rf "$bench_temporary"
}

# bench_begin DIR SERVERS: sets $dir, to a folder in memory unless DIR names one, with
# a local folder $dir/local and a cluster that runs. Both are gone when the script ends.
bench_begin()
{
    [ -x "$build/tools/weft" ] || die "nothing is built; run scripts/build first"
    command -v mpirun >/dev/null || die "there is no mpirun; see scripts/packages"
    eval "$("$top/scripts/env" --sh --dir "$build")"
    trap bench_end EXIT
    trap 'exit 130' INT TERM
    if [ -n "$1" ]; then
        mkdir -p "$1" || die "can't make the folder $1"
        dir=$(cd "$1" && pwd -P)
        [ ! -e "$dir/cluster" ] || die "$dir/cluster is there already: name an empty folder"
    else
        dir=$(mktemp -d "/dev/shm/weft-bench.XXXXXX") || die "can't make a folder in /dev/shm"
        bench_temporary=$dir
    fi
    mkdir -p "$dir/local"
    weft up --dir "$dir/cluster" --servers "$2" >"$dir/up.log" 2>&1 ||
        die "the cluster did not start: $(tail -n 5 "$dir/up.log")"
    bench_cluster=$dir/cluster
    eval "$(weft env --dir "$bench_cluster")"
    unset ROMIO_FSTYPE_FORCE
}

# One line that is written over on a terminal; elsewhere nothing, or a line with --always.
bench_progress()
{
    if [ -t 2 ]; then
        printf '\r\033[K%s' "${1-}" >&2
    elif [ "${2-}" = --always ]; then
        printf '%s\n' "$1" >&2
    fi
}

# bench_number NAME VALUE: VALUE must be a whole number from 1 on.
bench_number()
{
    [[ $2 =~ ^[1-9][0-9]{0,8}$ ]] || usage_error "$1 wants a whole number from 1 on, not '$2'"
}
