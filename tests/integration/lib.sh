# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# lib.sh: what the scripts of this folder share: the programs of the build tree,
# a scratch folder, checks that tell what they found, and an end that leaves
# nothing behind. It is sourced, not run.

set -u

build=$WEFT_TOP_BUILDDIR
export PATH=$build/tools:$PATH
unset WEFT_CONF WEFT_SBINDIR WEFT_COUNTERS
failures=0
slow= # not empty when scripts should make do with less
scratch=$(mktemp -d "${TMPDIR:-/tmp}/weft-test.XXXXXX") || exit 99
clusters=()

# One kind of memory checking at a time; its reports end up in the servers' logs.
if [ -n "${WEFT_VALGRIND-}" ]; then
    export WEFT_SERVER_WRAPPER="valgrind --quiet --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite --suppressions=${WEFT_TOP_SRCDIR}/tests/valgrind.supp"
    slow=yes
    # Each command three times under valgrind, then as it is: it takes seconds.
    weft()
    {
        printf x >>"$scratch/ran-${1-}"
        if [ "$(wc -c <"$scratch/ran-${1-}")" -gt 3 ]; then
            "$build/tools/weft" "$@"
            return
        fi
        # shellcheck disable=SC2086
        "$build/libtool" --mode=execute $WEFT_SERVER_WRAPPER --error-exitcode=99 "$build/tools/weft" "$@"
    }
fi

fail()
{
    printf 'FAILED (line %s): %s\n' "${BASH_LINENO[${depth:-0}]}" "$*" >&2
    failures=$((failures + 1))
}

# expect CODE COMMAND...: runs it, keeps its output in $output, and checks the exit code.
expect()
{
    local wanted=$1 code depth=1
    shift
    output=$("$@" 2>&1)
    code=$?
    [ $code -eq "$wanted" ] || fail "exit code $code, not $wanted: $*"$'\n'"$output"
}

# says TEXT...: each stands in $output.
says()
{
    local text depth=1
    for text in "$@"; do
        [[ $output == *"$text"* ]] || fail "\"$text\" is not in: $output"
    done
}

same()
{
    local depth=1
    [ "$1" = "$2" ] || fail "\"$1\" is not \"$2\"${3:+: $3}"
}

# within SECONDS COMMAND...: it succeeds before long.
within()
{
    local until=$((SECONDS + $1)) depth=1
    shift
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $until ]; then
            fail "not within the time: $*"
            return 1
        fi
        sleep 0.1
    done
}

# is_whole [on HOST]: all groups have members that have all; told there (racks.sh).
is_whole()
{
    "$@" weft status 2>/dev/null | grep -q ' 0 are being brought up to date, 0 lack some'
}

# comes_back [on HOST] FILE...: what was written as weft:/FILE is read as it is in $scratch.
comes_back()
{
    local command=() file depth=1
    if [ "$1" = on ]; then
        command=("$1" "$2")
        shift 2
    fi
    for file in "$@"; do
        "${command[@]}" weft cp --quiet "weft:/$file" "$scratch/back" && cmp "$scratch/$file" "$scratch/back" ||
            fail "$file came back changed, or not at all${command[1]:+, to ${command[1]}}"
    done
}

# Processes that were given the configuration of a cluster.
servers_of()
{
    local file
    for file in /proc/[0-9]*/cmdline; do
        tr '\0' '\n' 2>/dev/null <"$file" | grep -qxF "$1/weft.conf" || continue
        file=${file#/proc/}
        printf '%s\n' "${file%/cmdline}"
    done
}

# Everything that is to be stopped at the end, whatever happens.
will_stop()
{
    clusters+=("$1")
}

# What sanitizers and valgrind say stands in the logs.
check_logs()
{
    local log
    for log in "$1"/log/*.log; do
        [ -e "$log" ] || continue
        ! grep -nE 'AddressSanitizer|LeakSanitizer|runtime error:|^==[0-9]+== ' "$log" |
            grep -v '== WARNING: valgrind ignores' >&2 || fail "see $log above"
    done
}

finish()
{
    local dir pid
    trap - EXIT
    for dir in "${clusters[@]}"; do
        [ -e "$dir/weft.conf" ] || continue
        "$build/tools/weft" down --quiet --timeout 10 --dir "$dir" || fail "weft down --dir $dir"
        for pid in $(servers_of "$(realpath "$dir")"); do
            fail "process $pid was left: $(tr '\0' ' ' <"/proc/$pid/cmdline")"
            kill -9 "$pid"
        done
        check_logs "$dir"
    done
    if [ $failures -gt 0 ]; then
        for dir in "${clusters[@]}"; do
            tail -n 20 "$dir"/log/*.log >&2 2>/dev/null
        done
        printf '%d checks failed\n' $failures >&2
    fi
    # A read-only folder would keep what is in it from anyone but root.
    chmod -R u+w "$scratch"
    rm -rf "$scratch"
    # In a trap, exit alone would give the status from before it.
    exit $((failures > 0))
}
trap finish EXIT
trap 'failures=$((failures + 1)); exit' INT TERM
