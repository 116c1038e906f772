#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# weft verify on a cluster of three storage servers: a whole tree; then one with blocks of two files damaged on
# the disk, of which exactly the damaged ranges are told, and all else is read; what is missing, and what
# nobody can tell of since a server is down, is no damage and no success.

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"
dir=$scratch/cluster
will_stop "$dir"
expect 0 weft up --dir "$dir" --servers 3
[ $failures -eq 0 ] || exit 1
export WEFT_CONF=$dir/weft.conf
cd "$scratch" || exit 99

# make_file BYTES SEED FILE: each block of 4 KiB begins with a text that is nowhere else.
make_file()
{
    local block
    for ((block = 0; block * 4096 < $1; block++)); do
        printf '%-4096s' "block $block of $2."
    done | head -c "$1" >"$3"
}

# damage SEED BLOCK...: writes over the beginnings of those blocks, where the servers keep them.
damage()
{
    local seed=$1 block where file at
    shift
    for block in "$@"; do
        where=$(grep -robUaF "block $block of $seed." "$dir" --include=data)
        same 1 "$(grep -c . <<<"$where")" "places of block $block of $seed"
        file=${where%%:*}
        at=${where#*:}
        printf 'BLOCK' | dd of="$file" bs=1 seek="${at%%:*}" conv=notrunc status=none
    done
}

# damaged LINE...: "PATH: bytes A to B"; these ranges are told of in $output, in this order, and no others.
damaged()
{
    local depth=1
    same "$(printf '%s\n' "$@")" "$(sed -nE 's/^weft verify: (.*) are damaged: .*/\1/p' <<<"$output")" "$output"
}

echo "1. a whole tree"
large=9000001 # more than two of the pieces that are read at a time, and a last block of which a part is there
make_file $large large large
make_file 100000 small small
make_file 3000000 other other
expect 0 weft mkdir -p weft:/tree/below/deep
expect 0 weft cp --chunk-size 64K large weft:/tree/below/large
expect 0 weft cp small weft:/tree/below/deep/small
expect 0 weft cp other weft:/tree/other
expect 0 weft touch weft:/tree/empty
expect 0 weft truncate --size 5M weft:/tree/empty
expect 0 weft touch weft:/tree/none
expect 0 weft ln --symbolic nowhere weft:/tree/dangling
expect 0 weft ln --symbolic below weft:/tree/link
expect 0 weft verify weft:/tree
same "5 files, 16.5 MiB read: no damage" "$output"
expect 0 weft verify weft:/tree/link weft:/tree/none
same "3 files, 8.7 MiB read: no damage" "$output"
expect 0 weft verify --quiet weft:/
same "" "$output"

echo "2. what is not there, and wrong usage"
expect 1 weft verify weft:/missing weft:/tree/none weft:/tree/dangling
says 'weft:/missing' 'weft:/tree/dangling' '1 file, 0 B read: no damage; 2 could not be read'
damaged
expect 2 weft verify
says 'which file?'
expect 2 weft verify "$scratch/small"
expect 2 weft verify --nonsense weft:/

echo "3. damaged blocks: one, several in a row over the bounds of what is read at a time, the last one"
expect 0 weft down --dir "$dir"
last=$((large / 4096))
# Blocks 15 and 16 are on both sides of 64 KiB, and in chunks of two servers; 1023 and 1024 of 4 MiB.
damage large 3 15 16 1023 1024 1025 $last
damage small 7
expect 0 weft up --dir "$dir"
expect 1 weft verify weft:/tree
damaged \
    "weft:/tree/below/deep/small: bytes 28672 to 32767" \
    "weft:/tree/below/large: bytes 12288 to 16383" \
    "weft:/tree/below/large: bytes 61440 to 69631" \
    "weft:/tree/below/large: bytes 4190208 to 4202495" \
    "weft:/tree/below/large: bytes $((last * 4096)) to $((large - 1))"
says '5 files, 16.5 MiB read: 5 damaged ranges, 29.1 KiB' 'is damaged at offset 28672 of the file'
expect 1 weft verify --quiet weft:/tree/other weft:/tree/below/deep weft:/missing
damaged "weft:/tree/below/deep/small: bytes 28672 to 32767"
says 'weft:/missing'
same 2 "$(wc -l <<<"$output")" "$output"
expect 0 weft verify weft:/tree/other

echo "4. on a terminal there is a bar"
# It comes after a tenth of a second. A server that does not have the small file, whose damage is told first, is slow.
holder=$(weft layout --summary weft:/tree/below/deep/small | grep -oE '^s[0-9]')
slow_server=s0
[ "$holder" != s0 ] || slow_server=s1
pid=$(cat "$dir/run/$slow_server.pid")
kill -STOP "$pid"
script -qfec "'$build/tools/weft' verify weft:/tree" "$scratch/screen" </dev/null >/dev/null 2>&1 &
within 20 grep -q 'are damaged' "$scratch/screen"
sleep 0.3
kill -CONT "$pid"
wait $!
output=$(<"$scratch/screen")
says '% ' ' of 16.5 MiB' '5 damaged ranges'

echo "5. written anew, it is whole"
expect 0 weft cp small weft:/tree/below/deep/small
expect 0 weft verify weft:/tree/below/deep

echo "6. a server that is gone has damaged nothing"
expect 0 weft down --dir "$dir"
printf 'limits = { deadline_ms = 3000; };\n' >>"$WEFT_CONF"
expect 0 weft up --dir "$dir"
holder=$(weft layout --summary weft:/tree/below/deep/small | grep -oE '^s[0-9]')
kill -9 "$(cat "$dir/run/$holder.pid")"
expect 1 weft verify weft:/tree/below/deep weft:/tree/none
damaged
says 'weft:/tree/below/deep/small' '1 file, 0 B read: no damage; 1 could not be read'
