#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The manual page and --help say the same: every command, and every option of
# each command, stands in both. Needs no cluster.

set -u
weft=$WEFT_TOP_BUILDDIR/tools/weft
page=$WEFT_TOP_SRCDIR/docs/man/weft.1
failures=0

fail()
{
    printf '%s\n' "$*" >&2
    failures=$((failures + 1))
}

# compare WHAT HELP MANUAL: two sorted lists.
compare()
{
    local line
    while IFS= read -r line; do
        case $line in
        '') ;;
        $'\t'*) fail "$1: ${line#$'\t'} is in $page but not in --help" ;;
        *) fail "$1: $line is in --help but not in $page" ;;
        esac
    done < <(comm -3 <(printf '%s\n' "$2" | sort -u) <(printf '%s\n' "$3" | sort -u))
}

# The lines of the page below ".Ss weft COMMAND".
section_of()
{
    awk -v heading=".Ss weft $1" '/^\.S[hs] / { inside = $0 == heading; next } inside' "$page"
}

# "--name" and "-n" of the option list there.
manual_options()
{
    section_of "$1" | sed -n 's/^\.It Fl //p' | sed 's/ , Fl /\n/g' | awk 'NF { print "-" $1 }' | sort -u
}

# The same, of --help: "  -r, --recursive" or "      --sync"; --help itself is not in the page's lists.
help_options()
{
    "$weft" "$1" --help | sed -n '/^Options:/,$p' | grep -oE '^ {2,6}(-[a-zA-Z], )?--[a-z0-9-]+' | tr -d , |
        tr -s ' ' '\n' | grep -v -x -e '--help' -e '' | sort -u
}

commands=$("$weft" --list-commands) || fail "weft --list-commands failed"
[ "$(wc -l <<<"$commands")" -ge 10 ] || fail "weft --list-commands names too few: $commands"
compare commands "$("$weft" --help | sed -nE 's/^  ([a-z]+) {2,}[a-z].*/\1/p')" "$commands"
compare commands "$commands" "$(sed -n 's/^\.Ss weft //p' "$page")"

for command in $commands; do
    help=$("$weft" "$command" --help) || fail "weft $command --help: exit code $?"
    [[ $help == "Usage: weft $command"* ]] || fail "weft $command --help does not begin with its usage"
    options=$(help_options "$command")
    [ -n "$options" ] || fail "weft $command --help shows no option"
    compare "weft $command" "$options" "$(manual_options "$command")"
    listed=$("$weft" "$command" --list-options | sed 's/=$//' | grep -v -x -e --help | sort -u)
    [ "$listed" = "$options" ] || fail "weft $command --list-options and --help differ: $listed / $options"
    [ "$("$weft" help "$command")" = "$help" ] || fail "weft help $command is not weft $command --help"
done

# Wrong usage: exit code 2, and where to look.
for arguments in '' nonsense --nonsense 'cp' 'cp --nonsense a weft:/' 'ls /tmp' 'up' 'truncate weft:/a'; do
    # shellcheck disable=SC2086
    text=$("$weft" $arguments 2>&1)
    code=$?
    [ $code -eq 2 ] || fail "weft $arguments: exit code $code, not 2"
    [[ $text == *"Try weft"*"--help"* ]] || fail "weft $arguments does not say where to look: $text"
done

[ $failures -eq 0 ] || exit 1
printf 'the manual page and --help agree\n'
