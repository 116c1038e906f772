# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# lib.sh: what the scripts share that compare Weft with a local directory: what was
# built, a folder for both, a cluster in it, what mpirun needs here, and rounds of a
# benchmark that prints comma-separated values. It is sourced; bench_begin sets $dir.

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

# bench_begin DIR SERVERS [LINE...]: sets $dir, to a folder in memory unless DIR names one, with a local
# folder $dir/local and a cluster that runs. Its weft.conf has those lines as well. Both are gone when the
# script ends.
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
    if [ $# -gt 2 ]; then
        # What weft up has written may be changed while the cluster is down.
        weft down --dir "$bench_cluster" >"$dir/down.log" 2>&1 ||
            die "the cluster did not stop: $(tail -n 5 "$dir/down.log")"
        printf '%s\n' "${@:3}" >>"$bench_cluster/weft.conf"
        weft up --dir "$bench_cluster" >"$dir/up.log" 2>&1 ||
            die "the cluster did not start with ${*:3}: $(tail -n 5 "$dir/up.log")"
    fi
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

# ---- rounds of mpiio and hdf5 ---------------------------------------------------

# bench_check_plot FILE: that it can be drawn, if it is named at all.
bench_check_plot()
{
    case $1 in
    '') return ;;
    *.svg | *.png) ;;
    *) usage_error "--plot draws .svg and .png, not $1" ;;
    esac
    command -v gnuplot >/dev/null ||
        die "--plot needs gnuplot; install it with scripts/packages --install bench, or leave --plot out"
}

# bench_choose KIND NAMES: leaves only these, with commas between, of what $list has, unless it is "all".
bench_choose()
{
    local known=" ${list[*]} " name
    [ "$2" != all ] || return 0
    IFS=, read -ra list <<<"$2"
    for name in "${list[@]}"; do
        [[ $known == *" $name "* ]] || usage_error "there is no $1 '$name'; see --list"
    done
}

# bench_check_files FILE...: where results go is known to work before half an hour is spent on them. A name
# may be empty.
bench_check_files()
{
    local file
    for file; do
        [ -z "$file" ] || : >"$file" || die "can't write $file"
    done
}

# bench_once KIND ROUND NAME RANKS COMMAND...: the command for that name, with the round's seed; its lines are
# added to $results, each after the round.
bench_once()
{
    local kind=$1 round=$2 name=$3 ranks=$4 header=()
    shift 4
    [ -s "$results" ] || header=(--header)
    mpirun "${mpirun_options[@]}" -n "$ranks" "$@" --seed "$round" "${header[@]}" "$name" </dev/null >"$dir/out" 2>"$dir/errors" || {
        bench_progress
        cat "$dir/errors" >&2
        die "$kind $name failed in round $round"
    }
    # Other libraries print as well.
    awk -v round="$round" -v kind="$kind" '
        index($0, kind ",") == 1 { print "round," $0; next }
        /^[a-z0-9_-]+(,[^,]*)+$/ { print round "," $0 }' "$dir/out" >>"$results"
}

# bench_rounds KIND ROUNDS RANKS COMMAND...: the command for each name in $list, in each round, with another
# seed and another target that begins. Sets $results to a file with the lines of all, each after its round.
bench_rounds()
{
    local kind=$1 rounds=$2 ranks=$3 round name done_count=0
    shift 3
    results=$dir/results.csv
    : >"$results"
    for ((round = 1; round <= rounds; round++)); do
        for name in "${list[@]}"; do
            bench_progress "$((100 * done_count++ / (rounds * ${#list[@]})))%: round $round of $rounds, $name ($SECONDS s)"
            bench_once "$kind" "$round" "$name" "$ranks" "$@" --first $((round - 1))
        done
    done
    bench_progress
}

# bench_summarize FOLDER CSV: the folder's summary of $results, also as $dir/summary.csv and, unless that name
# is empty, as CSV.
bench_summarize()
{
    awk -f "$top/benchmarks/common/rounds.awk" -f "$1/summary.awk" -v csv="$dir/summary.csv" "$results" ||
        die "the results make no sense"
    [ -z "$2" ] || cp "$dir/summary.csv" "$2" || die "can't write $2"
}

# bench_plot FOLDER FILE: by the folder's plot.gnuplot, of what was put into $dir for it.
bench_plot()
{
    gnuplot -e "folder='$dir'; out='$2'; kind='${2##*.}'" "$1/plot.gnuplot" || die "gnuplot failed"
    echo "The plot is in $2."
}
