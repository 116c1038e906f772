#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A server's manual page and its --help name the same options, and wrong options
# are answered with exit code 2 and a hint. Needs no cluster.
set -u

failures=0
fail()
{
    printf '%s\n' "$*" >&2
    failures=$((failures + 1))
}

check()
{
    local server=$WEFT_TOP_BUILDDIR/$1 page=$WEFT_TOP_SRCDIR/docs/man/${1##*/}.8 name=${1##*/} help status
    shift
    help=$("$server" --help) || fail "$name --help: exit code $?"
    [[ $help == "Usage: $name"* ]] || fail "$name --help does not begin with its usage"
    [[ $("$server" --version) == "$name (Weft) "* ]] || fail "$name --version does not say what it is"
    diff <(grep -oE '^ +(-[a-z], )?--[a-z-]+' <<<"$help" | grep -oE -- '--[a-z-]+' | sort) \
        <(sed -nE '/^\.It Fl/s/.*Fl (-[a-z-]+).*/-\1/p' "$page" | sort) >&2 ||
        fail "$name: --help and $page name other options (< help, > page)"
    for wrong in --no-such-option surplus '--log-level=loud' '--ready-fd=x' '--ready-fd=999' "$@"; do
        "$server" "$wrong" >/dev/null 2>"$errors"
        status=$?
        [ $status -eq 2 ] || fail "$name $wrong: exit code $status instead of 2"
        grep -q "Try $name --help" "$errors" || fail "$name $wrong: no hint at --help"
    done
}

errors=$(mktemp) || exit 1
trap 'rm -f "$errors"' EXIT
check server/metadata/weft-metad --name=s0
check server/storage/weft-storaged --log-level=info
exit $((failures > 0))
