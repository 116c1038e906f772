#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# weft-fsck on the targets of a real cluster with the chunk store: whole, then with a
# block and a page of metadata damaged, which clients see as an error and nothing else; and weft verify.

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"

fsck=$build/server/storage/weft-fsck
dir=$scratch/cluster

diff <("$fsck" --help | grep -oE '^ +-[a-zA-Z], --[a-z-]+' | grep -oE -- '--[a-z-]+' | sort) \
    <(sed -nE '/^\.It Fl/s/.*Fl (-[a-z-]+).*/-\1/p' "$WEFT_TOP_SRCDIR/docs/man/weft-fsck.8" | sort) ||
    fail "--help and the manual page name other options"

will_stop "$dir"
expect 0 weft up --dir "$dir" --servers 1
export WEFT_CONF=$dir/weft.conf
expect 0 weft down --dir "$dir"
expect 0 "$fsck" 0
says '0 objects, 0 blocks, 0 faults'
expect 8 "$fsck" 99
says 'has no target 99'
expect 8 "$fsck"
expect 8 "$fsck" x

# The same cluster again, with the other store, and once more with this one.
target_dir=$(sed -nE 's/.*id = 0; dir = "([^"]*)".*/\1/p' "$WEFT_CONF")
target_dir=$dir/$target_dir
rm -rf "$dir/metadata" "$target_dir"
printf 'store = "files";\n' >>"$WEFT_CONF"
expect 0 weft up --dir "$dir"
expect 0 weft down --dir "$dir"
expect 8 "$fsck" 0
says 'keeps no checksums'
rm -rf "$dir/metadata" "$target_dir"
sed -i '/^store = /d' "$WEFT_CONF"
expect 8 "$fsck" 0
[ ! -e "$target_dir" ] || fail "a check has made a target"
expect 0 weft up --dir "$dir"
head -c 3000000 /dev/urandom >"$scratch/file"
printf 'here is the second block' | dd of="$scratch/file" bs=1 seek=4096 conv=notrunc status=none
expect 0 weft cp "$scratch/file" weft:/file
expect 0 weft cp "$scratch/file" weft:/other
expect 0 weft rm weft:/other
expect 8 "$fsck" 0
says 'in use by another process'
expect 0 weft down --dir "$dir"
expect 0 "$fsck" 0
says ', 0 faults' '733 blocks'

# The beginning of the file's second block. Where the removed copy was, it may stand, too.
place=$(grep -obUaF 'here is the second block' "$target_dir/shard-0/data" | cut -d: -f1)
for at in $place; do
    printf 'HERE' | dd of="$target_dir/shard-0/data" bs=1 seek="$at" conv=notrunc status=none
done
expect 4 "$fsck" 0
says 'is damaged at offset 4096 of the file' ', 1 blocks damaged'
expect 0 "$fsck" --metadata 0
expect 0 weft up --dir "$dir"
expect 1 weft cp weft:/file "$scratch/back"
says 'is damaged at offset 4096 of the file'

expect 0 weft status --counters
says bytes_scrubbed scrubs blocks_damaged

echo "weft verify tells of it, and of nothing else"
expect 0 weft mkdir weft:/tree
expect 0 weft mv weft:/file weft:/tree
head -c 100000 "$scratch/file" | weft cp - weft:/tree/whole
expect 0 weft ln --symbolic nowhere weft:/tree/link
expect 1 weft verify weft:/tree
says 'weft:/tree/file: bytes 4096 to 8191 are damaged: ' 'is damaged at offset 4096 of the file' '2 files, '
says '1 damaged range, 4 KiB'
[ "$(grep -c 'are damaged' <<<"$output")" = 1 ] || fail "there is one damaged range"
expect 0 weft verify weft:/tree/whole
says '1 file, 97.7 KiB read: no damage'
expect 1 weft verify --quiet weft:/tree weft:/missing
says 'bytes 4096 to 8191' 'weft:/missing'
expect 2 weft verify
expect 0 weft rm weft:/tree/file
expect 0 weft verify weft:/
says 'no damage'
expect 0 weft down --dir "$dir"
