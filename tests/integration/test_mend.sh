#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Damage on the disk of one of two replicas: who reads gets the bytes from the other one, and what is damaged is written
# anew, when it was read and when the scrubber comes by. In the end each replica alone has all.

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"

export WEFT_PRELOAD=$build/libclient/posix/.libs/libweft_preload.so
fsck=$build/server/storage/weft-fsck
dir=$scratch/cluster
will_stop "$dir"

# data_of TARGET: the file with its blocks.
data_of()
{
    printf '%s/%s/shard-0/data' "$dir" "$(sed -nE "s/.*id = $1; dir = \"([^\"]*)\".*/\\1/p" "$WEFT_CONF")"
}

# counter NAME: of all storage servers together.
counter()
{
    weft status --counters | awk -v name="$1" '$1 == name { sum += $2 } END { print sum + 0 }'
}

# spoil TARGET: no block of it is what it was.
spoil()
{
    local file bytes
    file=$(data_of "$1")
    bytes=$(stat -c %s "$file")
    head -c "$bytes" /dev/urandom | dd of="$file" conv=notrunc status=none
}

has_mended()
{
    [ "$(counter bytes_mended)" -gt 0 ]
}

# The scrubber has been everywhere twice, and has found nothing.
is_clean()
{
    local damaged passes
    damaged=$(counter blocks_damaged) passes=$(counter scrubs)
    sleep 3
    [ "$(counter scrubs)" -ge $((passes + 4)) ] && [ "$(counter blocks_damaged)" -eq "$damaged" ]
}

# alone TARGET: only its server is there, and has all.
alone()
{
    local name pid
    name=$(sed -nE "s/.*id = $((1 - $1)); dir = \"([^\/]*).*/\\1/p" "$WEFT_CONF")
    for pid in $(servers_of "$dir"); do
        ! tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q -- "$name" || kill -9 "$pid"
    done
    comes_back large odd
    expect 0 weft verify weft:/
}

expect 0 weft up --dir "$dir" --servers 2 --replicas 2 --shards 1
export WEFT_CONF=$dir/weft.conf
head -c 6000000 /dev/urandom >"$scratch/large"
head -c 70001 /dev/urandom >"$scratch/odd"
for file in large odd; do
    expect 0 weft cp --quiet "$scratch/$file" "weft:/$file"
done

echo "1. all blocks of one replica are damaged: what is read is right"
expect 0 weft down --dir "$dir"
spoil 0
expect 0 weft up --dir "$dir"
within 10 is_whole
for _ in 1 2 3 4 5 6; do
    comes_back large odd
done
within 20 has_mended

echo "2. the scrubber finds what nobody has read; then the replica alone has all"
expect 0 weft down --dir "$dir"
printf '%s\n' 'scrub_rate = "1G";' 'scrub_pause_s = 1;' >>"$WEFT_CONF"
expect 0 weft up --dir "$dir"
within 60 is_clean
alone 0
expect 0 weft down --dir "$dir"
expect 0 "$fsck" 0
says ', 0 faults'

echo "3. the same of the other one, while the servers run, and with a record that goes into a damaged block"
expect 0 weft up --dir "$dir"
within 10 is_whole
spoil 1
for at in $([ ! -e "$WEFT_PRELOAD" ] || echo 1234 2000000 5999000); do
    printf 'a record' | weft run -- dd of=/weft/large bs=8 seek=$at oflag=seek_bytes conv=notrunc status=none ||
        fail "a record could not be written at $at"
    printf 'a record' | dd of="$scratch/large" bs=8 seek=$at oflag=seek_bytes conv=notrunc status=none
done
within 60 is_clean
within 30 is_whole
alone 1
expect 0 weft down --dir "$dir"
expect 0 "$fsck" 1
says ', 0 faults'
