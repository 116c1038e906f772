#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# weft-fsck --repair on the target of a real cluster: a superblock, a file that was cut, and the page in which the
# blocks in use end and files' records begin. The server writes and reads what was repaired.

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"

fsck=$build/server/storage/weft-fsck
dir=$scratch/cluster

# number BYTES OFFSET: the number that stands there in meta.
number()
{
    od -An -tu"$1" -j"$2" -N"$1" "$store/meta" | tr -d ' '
}

# damage FILE OFFSET: another byte stands there.
damage()
{
    local byte
    byte=$(od -An -tu1 -j"$2" -N1 "$store/$1" | tr -d ' ')
    # shellcheck disable=SC2059
    printf "\\x$(printf %x $((byte ^ 85)))" | dd of="$store/$1" bs=1 seek="$2" conv=notrunc status=none
}

# The first leaf: the root's first page, as the newest superblock has it.
first_leaf()
{
    local slot=0
    [ "$(number 8 16)" -gt "$(number 8 $((2 * 4096 + 16)))" ] || slot=2
    same "$(number 4 $((slot * 4096 + 68)))" 1 "the tree has a root and leaves"
    number 4 $(($(number 4 $((slot * 4096 + 60))) * 4096 + 32 + 24))
}

digest()
{
    (cd "$store" && sha256sum data meta log-0 log-1)
}

# try_then_repair CODE OPTION...: once without writing anything, which tells the same.
try_then_repair()
{
    local wanted=$1 before told depth=1
    shift
    before=$(digest)
    expect "$wanted" "$fsck" --repair --dry-run "$@" 0
    says 'tried in memory, nothing was written'
    [ "$before" = "$(digest)" ] || fail "a repair that was only tried has written something"
    told=$(grep '^target' <<<"${output%; tried in memory*}")
    expect "$wanted" "$fsck" --repair "$@" 0
    same "$(grep '^target' <<<"$output")" "$told" "what was tried, and what was done"
}

will_stop "$dir"
expect 0 weft up --dir "$dir" --servers 1
export WEFT_CONF=$dir/weft.conf
head -c 5000000 /dev/urandom >"$scratch/file"
head -c 70000 /dev/urandom >"$scratch/small"
expect 0 weft cp "$scratch/file" weft:/file
expect 0 weft cp "$scratch/small" weft:/small
expect 0 weft down --dir "$dir"
store=$dir/$(sed -nE 's/.*id = 0; dir = "([^"]*)".*/\1/p' "$WEFT_CONF")/shard-0

echo "options, and nothing to do"
expect 8 "$fsck" --dry-run 0
says 'go with --repair'
expect 8 "$fsck" --drop-lost 0
before=$(digest)
expect 0 "$fsck" --repair 0
says ', 0 faults'
[ "$before" = "$(digest)" ] || fail "a repair of nothing has written something"

echo "a superblock"
damage meta 20
expect 0 "$fsck" 0
says ', 0 faults; 1 of 4 superblocks can'
try_then_repair 1
says '1 of 4 superblocks' '1 repaired'
expect 0 "$fsck" 0
[[ $output != *superblock* ]] || fail "$output"

echo "a file that was cut where nothing is in use"
size=$(stat -c %s "$store/data")
truncate -s $((size - 4096)) "$store/data"
expect 4 "$fsck" 0
says 'shorter than it was'
try_then_repair 1
says 'a file was too short'
same "$(stat -c %s "$store/data")" "$size"
expect 0 "$fsck" 0
expect 0 weft up --dir "$dir"
expect 0 weft cp weft:/file "$scratch/back"
cmp "$scratch/file" "$scratch/back" || fail "a file is not what it was"
expect 0 weft down --dir "$dir"

echo "a page with the blocks in use, and with records of files"
damage meta $(($(first_leaf) * 4096 + 2000))
expect 4 "$fsck" 0
expect 0 weft up --dir "$dir"
expect 1 weft cp "$scratch/small" weft:/refused
says 'can only be read'
expect 0 weft down --dir "$dir"
try_then_repair 4
says 'what they had stays an error' 'is known again'
expect 0 weft up --dir "$dir"
expect 1 weft cp weft:/file "$scratch/back"
says 'is damaged'
expect 0 weft cp "$scratch/file" weft:/new
expect 0 weft cp weft:/new "$scratch/back"
cmp "$scratch/file" "$scratch/back" || fail "a new file is not what was written"
expect 0 weft down --dir "$dir"
try_then_repair 1 --drop-lost
says 'they are given up'
expect 0 "$fsck" 0
expect 0 weft up --dir "$dir"
expect 0 weft cp weft:/new "$scratch/back"
cmp "$scratch/file" "$scratch/back" || fail "a file is not what it was before something else was dropped"
expect 0 weft cp "$scratch/small" weft:/last
expect 0 weft verify weft:/new weft:/last
expect 0 weft rm weft:/file
expect 0 weft down --dir "$dir"
expect 0 "$fsck" 0
