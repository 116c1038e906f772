#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Usage: test_topologies.sh [--print NAME | --update NAME]
#
# Goes through tests/topologies: what weft topo says of each machine is what stands beside it. --print shows
# what it says, --update writes that into the file, to be looked at before it is committed. Needs no cluster.

# shellcheck source=tests/integration/lib.sh
. "${WEFT_TOP_SRCDIR:?}/tests/integration/lib.sh"
unset WEFT_TOPOLOGY HWLOC_XMLFILE HWLOC_SYNTHETIC HWLOC_THISSYSTEM
topologies=$WEFT_TOP_SRCDIR/tests/topologies

# machine_of NAME: the file or the text that describes it. Of NAME.VARIANT, that of NAME.
machine_of()
{
    local name
    for name in "$1" "${1%.*}"; do
        if [ -e "$topologies/$name.xml" ]; then
            printf '%s.xml\n' "$name"
            return
        elif [ -e "$topologies/$name.synthetic" ]; then
            grep -v '^#' "$topologies/$name.synthetic"
            return
        fi
    done
    return 1
}

# actual_of NAME [OPTION...]: what the command says, in the configuration that its expected file begins with.
actual_of()
{
    local name=$1 machine
    shift
    machine=$(machine_of "$name") || return
    {
        printf 'cluster = { name = "lab"; key_file = "cluster.key"; };\n'
        sed -n '/^----$/q; p' "$topologies/$name.expected"
    } >"$scratch/weft.conf"
    # Names without a folder are in the output; the configuration's file is not.
    (cd "$topologies" && weft topo --conf "$scratch/weft.conf" --topology "$machine" "$@" 2>&1) |
        sed "s|$scratch/||g"
}

printf '%064d\n' 7 >"$scratch/cluster.key"
chmod 600 "$scratch/cluster.key"

case ${1-} in
--print)
    actual_of "$2" || fail "there is no $2"
    exit
    ;;
--update)
    actual_of "$2" >"$scratch/actual" || fail "there is no $2"
    sed -i '/^----$/,$d' "$topologies/$2.expected"
    { echo ----; cat "$scratch/actual"; } >>"$topologies/$2.expected"
    exit
    ;;
esac

count=0
for file in "$topologies"/*.expected; do
    name=${file##*/}
    name=${name%.expected}
    actual_of "$name" >"$scratch/actual" || fail "$name: there is no $name.xml and no $name.synthetic"
    sed '1,/^----$/d' "$file" >"$scratch/expected"
    diff "$scratch/expected" "$scratch/actual" >&2 || fail "$name: not as expected (< expected, > actual)"
    actual_of "$name" --svg - >"$scratch/drawing.svg"
    if [ "$(head -n 1 "$scratch/expected" | cut -c 1-9)" != 'weft topo' ] && command -v xmllint >/dev/null; then
        xmllint --noout "$scratch/drawing.svg" || fail "$name: the drawing is no XML"
    fi
    count=$((count + 1))
done
[ $count -ge 12 ] || fail "only $count expected placements"

# Each machine has one.
for file in "$topologies"/*.xml "$topologies"/*.synthetic; do
    name=${file##*/}
    [ -e "$topologies/${name%.*}.expected" ] || fail "$name: no expected placement stands beside it"
done
printf '%d placements\n' $count
