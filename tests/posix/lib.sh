# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# lib.sh: what the scripts of this folder share: a cluster, a folder in it and a local one of the
# same name and content, and the same words run in both. It is sourced.

: "${WEFT_TOP_SRCDIR:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}"
: "${WEFT_TOP_BUILDDIR:=$WEFT_TOP_SRCDIR/build}"

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"
unset LD_PRELOAD WEFT_MOUNT WEFT_REPORT WEFT_WORKING_FOLDER WEFT_DESCRIPTORS
export WEFT_PRELOAD=$WEFT_TOP_BUILDDIR/libclient/posix/.libs/libweft_preload.so
if [ ! -e "$WEFT_PRELOAD" ]; then
    echo "this build has no preload library (--disable-shared)"
    trap - EXIT
    rm -rf "$scratch"
    exit 77
fi

will_stop "$scratch/cluster"
expect 0 weft up --dir "$scratch/cluster" --servers 2
[ $failures -eq 0 ] || exit 1
export WEFT_CONF=$scratch/cluster/weft.conf
# A name that stands in no other path.
there=/mounted-there here=$scratch/here
export WEFT_MOUNT=$there
mkdir "$here"

# compile NAME OPTION...: a program of this folder.
compile()
{
    local name=$1
    shift
    "${CC:-cc}" -std=gnu17 -O1 "$@" "$WEFT_TOP_SRCDIR/tests/posix/$name.c" -o "$scratch/$name" -pthread || exit 99
}

# both COMMAND...: with FOLDER in the words replaced, in the local folder and in the cluster; same output, same end.
both()
{
    local word depth=1 code_here code_there words_here=() words_there=()
    for word in "$@"; do
        words_here+=("${word//FOLDER/$here}")
        words_there+=("${word//FOLDER/$there}")
    done
    timeout 100 "${words_here[@]}" >"$scratch/said.here" 2>&1 </dev/null
    code_here=$?
    timeout 100 weft run -- "${words_there[@]}" >"$scratch/said.there" 2>&1 </dev/null
    code_there=$?
    [ $code_here -eq $code_there ] || fail "exit code $code_there, locally $code_here: $*"
    sed -i "s,$here,FOLDER,g" "$scratch/said.here"
    sed -i "s,$there,FOLDER,g" "$scratch/said.there"
    diff "$scratch/said.here" "$scratch/said.there" >"$scratch/difference" || {
        fail "not the same as locally: $*"
        head -n 20 "$scratch/difference" >&2
    }
}

# same_trees: what is in the cluster is what is in the local folder.
same_trees()
{
    local depth=1
    weft run -- diff -r --no-dereference "$here" "$there" >"$scratch/difference" 2>&1 || {
        fail "the trees differ"
        head -n 20 "$scratch/difference" >&2
    }
}
