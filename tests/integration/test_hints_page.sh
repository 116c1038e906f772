#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# weft-hints(7) and weft hints --list say the same of every hint that stands in the
# table, and the page is good mdoc. Needs no cluster.

set -u
weft=$WEFT_TOP_BUILDDIR/tools/weft
page=$WEFT_TOP_BUILDDIR/docs/man/weft-hints.7
template=$WEFT_TOP_SRCDIR/docs/man/weft-hints.7.in
table=$WEFT_TOP_SRCDIR/libcommon/hint_table.h
failures=0

fail()
{
    printf '%s\n' "$*" >&2
    failures=$((failures + 1))
}

# same WHAT ONE OTHER
same()
{
    [ "$2" = "$3" ] || fail "$1 differ:"$'\n'"$(diff <(printf '%s\n' "$2") <(printf '%s\n' "$3"))"
}

[ -e "$page" ] || { fail "$page was not made"; exit 1; }
list=$("$weft" hints --list) || fail "weft hints --list: exit code $?"

# The names, in the order of the table's source.
names=$(sed -n '/define HINT_TABLE(/,/^$/s/^    X(\([a-z_]*\),.*/\1/p' "$table")
others=$(sed -n '/define HINT_TABLE_WITHOUT_MEANING(/,/^$/s/^    X(\([a-z_]*\),.*/\1/p' "$table")
[ "$(wc -l <<<"$names")" -ge 20 ] || fail "too few hints were found in $table: $names"
[ "$(wc -l <<<"$others")" -ge 10 ] || fail "too few hints without a meaning were found in $table: $others"
section()
{
    awk -v heading=".Sh $1" '/^\.Sh / { inside = $0 == heading; next } inside' "$page"
}
same "names in the table and in the page" "$names" "$(section HINTS | sed -n 's/^\.It Li \([a-z_]*\).*/\1/p')"
same "names in the table and in --list" "$names" "$(sed -nE 's/^([a-z_]+)(=.*)?$/\1/p' <<<"$list")"
same "names without a meaning in the page" "$others" \
    "$(section 'HINTS WITHOUT A MEANING HERE' | sed -n 's/^\.It Li //p')"
same "names without a meaning in --list" "$others" "$(sed '1,/^Without a meaning/d' <<<"$list" | awk '{ print $1 }')"

# Every word of a text as one line, without what only makes up its form.
one_line()
{
    tr -s ' \n' ' ' | sed 's/^ //; s/ $//'
}
for name in $names; do
    item=$(section HINTS | awk -v name="$name" '/^\.It / { inside = $3 == name } inside')
    entry=$(awk -v name="$name" '/^[a-zA-Z]/ { split($0, part, "="); inside = part[1] == name } inside' <<<"$list")
    values=$(head -n 1 <<<"$entry" | sed -n 's/^[^=]*=//p')
    same "values of $name" "$values" "$(head -n 1 <<<"$item" | sed -nE 's/.* Ns = Ns (Li|Ar) //p' | sed 's/ | /|/g')"
    # In --list the text follows the line with values and defaults.
    text=$(sed '/^\.Pp/,$d' <<<"$item" | grep -v '^\.' | one_line)
    [[ "$(sed 1d <<<"$entry" | one_line)" == *"$text" ]] || fail "the texts of $name differ: $text"
    [ ${#text} -ge 20 ] || fail "$name has no text in the page: $text"
    default=$(one_line <<<"$entry" | sed -nE 's/.*default: ([^;]*); takes effect.*/\1/p')
    [ -z "$default" ] || same "defaults of $name" "$default" \
        "$(sed '1,/^\.Pp/d' <<<"$item" | one_line | sed -nE 's/.*Default:( \.Li)? ([^ ]*[^ .]).*/\2/p')"
done

# What the page's own text names is there.
for name in $(grep -oE '\b(weft|romio|cb)_[a-z_]+' "$template" | sort -u); do
    [ "$name" = weft_ ] || grep -qxF -- "$name" <<<"$names" || fail "$template names $name, which is no hint"
done
! grep -q '^@' "$page" || fail "$page still has lines of the template"

if command -v mandoc >/dev/null; then
    mandoc -T lint -W warning "$page" >&2 || fail "mandoc found something in $page"
else
    echo 'mandoc is not installed: the form of the page was not checked'
fi

[ $failures -eq 0 ] || exit 1
printf 'the table, the page and --list agree\n'
