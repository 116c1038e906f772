#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Holes on a mount, by the programs that make, find and keep them.

# shellcheck source=tests/mount/lib.sh
. "$WEFT_TOP_SRCDIR/tests/mount/lib.sh"
begin
cd "$one" || exit

# takes FILE LEAST MOST: so many KiB are its blocks.
takes()
{
    local depth=1 kib
    kib=$(($(stat -c %b "$1") / 2))
    [ $kib -ge "$2" ] && [ $kib -le "$3" ] || fail "$1 takes $kib KiB, not $2 to $3"
}

# 40 MiB, of which three pieces are data, at places where no block begins.
sparse=$scratch/sparse
truncate -s 40M "$sparse"
for at in 1000 9000001 30000003; do
    dd if=/dev/urandom of="$sparse" bs=700000 count=1 iflag=fullblock seek=$at oflag=seek_bytes conv=notrunc status=none
done

step cp --sparse=always "$sparse" copy
step cmp "$sparse" "$two/copy"
takes copy 2050 2200
# What reads finds the holes.
step cp "$two/copy" again
step cmp copy "$two/again"
takes "$two/again" 2050 2200
step tar -Scf "$scratch/archive.tar" copy
[ "$(stat -c %s "$scratch/archive.tar")" -lt 2500000 ] || fail 'tar -S has kept the holes as bytes'
mkdir unpacked
step tar -C "$two/unpacked" -Sxf "$scratch/archive.tar"
step cmp "$sparse" unpacked/copy
takes unpacked/copy 2050 2200
if command -v rsync >/dev/null; then
    step rsync --sparse "$sparse" synced
    step cmp "$sparse" "$two/synced"
    takes synced 2050 2200
fi

# What was written is dug out again, in steps of st_blksize.
step cp --sparse=never "$sparse" full
takes full 40960 40968
step fallocate -d "$two/full"
step cmp "$sparse" full
takes full 2050 9300
for file in "$sparse" full; do
    step fallocate -p -o 20000 -l 400001 "$file"
    step fallocate -p -o 41000000 -l 90000000 "$file"
done
step cmp "$sparse" "$two/full"
kib=$(($(stat -c %b full) / 2))
takes "$two/full" 1650 8910
step fallocate -z -o 39M -l 3M full
same "$(stat -c %s "$two/full")" $((42 << 20))
step fallocate -z -n -o 9M -l 400M full
same "$(stat -c %s "$two/full")" $((42 << 20))
truncate -s 42M "$sparse"
dd if=/dev/zero of="$sparse" bs=1M seek=9 count=33 conv=notrunc status=none
step cmp "$sparse" "$two/full"
step fallocate -n -o 0 -l 100M full
same "$(stat -c %s "$two/full")" $((42 << 20))
takes full 200 $((kib - 700))
expect 1 fallocate -c -o 0 -l 4096 full
says "not supported"

# A small file, too.
printf 0123456789 >small
step fallocate -p -o 2 -l 5 small
same "$(tr '\0' . <"$two/small")" 01.....789
