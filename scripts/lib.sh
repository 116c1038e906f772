# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# lib.sh: what the scripts of this folder share. It is sourced, not run.

set -u

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
me=${0##*/}

die()
{
    printf '%s: %s\n' "$me" "$*" >&2
    exit 1
}

usage_error()
{
    printf '%s: %s\nTry %s --help.\n' "$me" "$*" "$me" >&2
    exit 2
}

# The heading of a step, with the time since the script began.
step()
{
    printf '[%3ds] %s\n' "$SECONDS" "$*"
}

# The comment at the head of the calling script is its help.
show_help()
{
    sed -n '/^# Usage:/,/^[^#]*$/{/^#/!q; s/^# \{0,1\}//p}' "$0"
}

# How many jobs make may run.
job_count()
{
    nproc 2>/dev/null || echo 2
}

# make_with_progress DIR LOG ARGUMENTS...: make, with one line that moves on a
# terminal, or a line for each quarter elsewhere. The whole output is in LOG.
make_with_progress()
{
    local dir=$1 log=$2 total
    shift 2
    total=$(make -C "$dir" -n "$@" 2>/dev/null | grep -c 'echo "  [A-Z]' || true)
    make -C "$dir" -j"${JOBS:-$(job_count)}" "$@" 2>&1 | tee "$log" | progress_of "$total"
    [ "${PIPESTATUS[0]}" -eq 0 ] && return 0
    printf '%s: make %s failed in %s; the end of %s:\n' "$me" "$*" "$dir" "$log" >&2
    { grep -nE '(error|Error|undefined reference)' "$log" | head -n 20; echo ...; tail -n 25 "$log"; } >&2
    return 1
}

progress_of()
{
    local on_terminal=0
    [ -t 1 ] && on_terminal=1
    awk -v total="$1" -v on_terminal=$on_terminal '
        /warning:/ { warnings++ }
        /^  [A-Z]+ / {
            done++
            if (total < done) total = done
            percent = int(100 * done / total)
            if (on_terminal) {
                printf "\r\033[K       %3d%%  %s", percent, $0
                fflush()
            } else if (int(percent / 25) > shown) {
                shown = int(percent / 25)
                printf "       %3d%%  (%d of %d)\n", percent, done, total
                fflush()
            }
        }
        END {
            if (on_terminal) printf "\r\033[K"
            if (warnings) printf "       %d warnings\n", warnings
        }'
}
