# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# lib.sh: what the scripts share that run other projects' test suites: where the
# source comes from, and an outcome line for each program. It is sourced.

# shellcheck source=tests/mpi/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../mpi/lib.sh"

suite=
passed=0
failed=0
skipped=0

# pass NAME [NOTE], skip NAME REASON
pass()
{
    printf 'PASS: %s %s%s\n' "$suite" "$1" "${2:+ ($2)}"
    passed=$((passed + 1))
}

skip()
{
    printf 'SKIP: %s %s (%s)\n' "$suite" "$1" "$2"
    skipped=$((skipped + 1))
}

# not_passed NAME REASON [FILE]: a program failed; FILE's end is shown, and all of it kept in the folder
# that KEEP_OUTPUT names.
not_passed()
{
    printf 'FAIL: %s %s (%s)\n' "$suite" "$1" "$2"
    failed=$((failed + 1))
    failures=$((failures + 1))
    [ -z "${3-}" ] || tail -n 30 "$3" | sed 's/^/       /'
    [ -z "${3-}" ] || [ -z "${KEEP_OUTPUT-}" ] || cp "$3" "$KEEP_OUTPUT"
}

closing_count()
{
    printf '%s: %d passed, %d failed, %d skipped\n' "$suite" $passed $failed $skipped
    [ $((passed + failed)) -gt 0 ] || fail "$suite: ran nothing"
}

# Ends the script when what it runs can't be had. 77 is the test harness's number for that.
nothing_to_run()
{
    printf 'SKIP: %s (%s)\n' "$suite" "$1"
    exit 77
}

# source_of PACKAGE GIVEN: prints the folder of a source package, or that which a user has given.
source_of()
{
    if [ -n "$2" ]; then
        printf '%s\n' "$2"
    else
        "$WEFT_TOP_SRCDIR/scripts/fetch-source" --quiet "$1"
    fi
}

# has_memory GIB: so much is free.
has_memory()
{
    local kib
    kib=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
    [ "${kib:-0}" -gt $(($1 << 20)) ]
}

# The first line of a program's output that tells something, shortened.
first_words()
{
    grep -m 1 '[[:alnum:]]' "$1" | cut -c 1-100
}
