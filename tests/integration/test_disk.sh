#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A target that is a disk: on a file that stands for one, and, where root has loop devices, on a block device. Made on
# purpose only, never over what somebody else has there; whole after the death of its server.

set -u
# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"

fsck=$build/server/storage/weft-fsck
format=$build/server/storage/weft-format
dir=$scratch/cluster
loop=

diff <("$format" --help | grep -oE '^ +-[a-zA-Z], --[a-z-]+' | grep -oE -- '--[a-z-]+' | sort) \
    <(sed -nE '/^\.It Fl/s/.*Fl (-[a-z-]+).*/-\1/p' "$WEFT_TOP_SRCDIR/docs/man/weft-format.8" | sort) ||
    fail "--help and the manual page name other options"

end()
{
    umount "$scratch/mounted" 2>/dev/null
    weft down --quiet --dir "$dir" 2>/dev/null
    [ -z "$loop" ] || losetup --detach "$loop"
    finish
}
trap end EXIT

# The cluster's only target is that disk, with two shards. What it had is forgotten.
on_disk()
{
    weft down --quiet --dir "$dir" 2>/dev/null
    rm -rf "$dir/metadata"
    sed -i -E "s#(id = 0; )(dir|disk) = \"[^\"]*\"#\1disk = \"$1\"#" "$WEFT_CONF"
}

will_stop "$dir"
expect 0 weft up --dir "$dir" --servers 1 --shards 2
expect 0 weft down --dir "$dir"
export WEFT_CONF=$dir/weft.conf
expect 1 "$format" 0
says 'needs no formatting'
head -c 9000000 /dev/urandom >"$scratch/file"

# allocated FILE: its bytes on the file system.
allocated()
{
    echo $(($(stat -c %b "$1") * 512))
}

# Where nothing is, the file below has no space either: label, metadata and logs take some, twice 4 MiB at the most.
is_given_back()
{
    [ "$(allocated "$1")" -lt 20000000 ]
}

# life DISK FILE: from the first start to the last, on a disk of 64 MiB that is a target already.
life()
{
    local first below=$2
    expect 0 weft up --dir "$dir"
    expect 0 weft df
    says '64 MiB'
    expect 0 weft cp "$scratch/file" weft:/file
    for first in 1 2 3; do
        expect 0 weft cp "$scratch/file" "weft:/again$first"
        expect 0 weft rm weft:/file
        expect 0 weft mv "weft:/again$first" weft:/file
        kill -9 "$(cat "$dir/run/s0.pid")"
        # A disk may have to be written before the process is quite gone.
        within 30 weft up --dir "$dir"
        expect 0 weft cp weft:/file "$scratch/back"
        cmp "$scratch/file" "$scratch/back" || fail "other bytes came back from $1"
    done
    expect 8 "$fsck" 0
    says 'in use by another process'
    expect 1 "$format" --force 0
    says 'in use by another process'
    expect 0 weft verify weft:/
    says 'no damage'
    expect 0 weft down --dir "$dir"
    expect 0 "$fsck" 0
    says '1 objects, 1174 blocks, 0 faults' '1 objects, 1024 blocks, 0 faults'
    expect 0 "$fsck" --repair --dry-run 0
    expect 0 "$fsck" --repair 0
    # Full, and empty again.
    expect 0 weft up --dir "$dir"
    head -c 70000000 /dev/zero | tr '\0' x >"$scratch/large"
    expect 1 weft cp "$scratch/large" weft:/large
    says 'is full: weft df tells what is in use'
    expect 0 weft cp weft:/file "$scratch/back"
    cmp "$scratch/file" "$scratch/back" || fail "other bytes came back from $1, which was full"
    within 10 weft cp "$scratch/file" weft:/more
    # What is free goes back to the file system below, and all else stays: runs of 64 blocks, so that how much it
    # is as long as there are files depends on how they lie.
    expect 0 weft rm weft:/more
    sleep 4
    expect 0 weft cp weft:/file "$scratch/back"
    cmp "$scratch/file" "$scratch/back" || fail "other bytes came back from $1, which gave space back"
    expect 0 weft rm weft:/file
    within 30 is_given_back "$below" || echo "allocated: $(allocated "$below")"
    expect 0 weft status --counters
    [ "$(grep -oE 'bytes_discarded +[0-9]+' <<<"$output" | awk '$2 > 20000000' | wc -l)" -gt 0 ] ||
        fail "the counters do not tell what was given back: $output"
    expect 0 weft cp "$scratch/file" weft:/file
    expect 0 weft cp weft:/file "$scratch/back"
    cmp "$scratch/file" "$scratch/back" || fail "other bytes came back from $1, whose space was given back"
    expect 0 weft down --dir "$dir"
    expect 0 "$fsck" 0
}

echo "a file that stands for a disk"
on_disk "$scratch/disk"
expect 1 weft up --dir "$dir"
says 'No such file'
expect 1 "$format" 0
expect 2 "$format" --size nothing 0
expect 0 "$format" --size 64M 0
says 'is target 0 now, empty, for 2 shards'
expect 1 "$format" 0
says 'holds target 0 of a Weft cluster'
life "$scratch/disk" "$scratch/disk"

echo "one that is another cluster's, or damaged at its beginning"
cp "$scratch/disk" "$scratch/kept"
rm -rf "$dir/metadata"
expect 1 weft up --dir "$dir"
says 'belongs to another cluster'
dd if=/dev/urandom of="$scratch/disk" bs=64k count=1 conv=notrunc status=none
expect 0 "$fsck" 0
dd if=/dev/urandom of="$scratch/disk" bs=64k count=1 seek=1008 conv=notrunc status=none
expect 8 "$fsck" 0
says 'has no label of a target'
expect 1 "$format" 0
says 'holds data of an unknown kind'

echo "what others have there"
truncate -s 0 "$scratch/disk"
truncate -s 64M "$scratch/disk"
if command -v mkfs.ext4 >/dev/null; then
    mkfs.ext4 -q "$scratch/disk" || fail "mkfs.ext4"
    expect 1 "$format" 0
    says "$scratch/disk holds "
    expect 1 weft up --dir "$dir"
    says 'weft-format makes it a target'
fi

echo "a block device"
if [ "$(id -u)" -ne 0 ] || [ ! -e /dev/loop-control ]; then
    echo "skipped: it takes root and loop devices"
    exit
fi
cp --sparse=never "$scratch/disk" "$scratch/below"
if ! loop=$(losetup --find --show "$scratch/below" 2>&1); then
    echo "skipped: losetup: $loop"
    loop=
    exit
fi
on_disk "$loop"
expect 1 "$format" 0
says "$loop holds "
mkdir "$scratch/mounted"
if mount "$loop" "$scratch/mounted" 2>/dev/null; then
    expect 1 "$format" --force 0
    says "$loop is mounted at $scratch/mounted"
    expect 1 weft up --dir "$dir"
    says "$loop is mounted at"
    umount "$scratch/mounted"
fi
expect 0 "$format" --force 0
life "$loop" "$scratch/below"

echo "the same past the page cache"
weft down --quiet --dir "$dir"
rm -rf "$dir/metadata"
expect 0 "$format" --force 0
printf 'direct_io = "on";\n' >>"$WEFT_CONF"
life "$loop" "$scratch/below"
