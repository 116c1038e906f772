#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Files and names on a mount: what was made by one is there for the other at once.

# shellcheck source=tests/mount/lib.sh
. "$WEFT_TOP_SRCDIR/tests/mount/lib.sh"
begin
cd "$one" || exit

# ---- names -------------------------------------------------------------------
printf 'some bytes\n' >a
same "$(cat "$two/a")" 'some bytes'
mkdir d
mv a d/b
same "$(ls "$two")" d
same "$(cat "$two/d/b")" 'some bytes'
mv "$two/d" "$two/e" # under the feet of a process that is in it
same "$(cat e/b)" 'some bytes'
ln e/b hard
ln -s e/b soft
same "$(readlink "$two/soft")" e/b
same "$(stat -c '%h %i' hard)" "2 $(stat -c %i "$two/e/b")"
same "$(cat "$two/soft")" 'some bytes'
expect 1 ln e directory
expect 1 rmdir e
says 'not empty'
expect 1 mkdir e
expect 1 cat "$(printf '%0256d' 0)"
says 'too long'
same "$(weft cat weft:/hard)" 'some bytes'
printf 'by the command\n' >"$scratch/file"
weft cp "$scratch/file" weft:/by-command
same "$(cat by-command)" 'by the command'

# ---- pipes, sockets, devices ----------------------------------------------------
mkfifo -m 640 pipe
same "$(stat -c '%F %a' "$two/pipe")" 'fifo 640'
cat pipe >"$scratch/heard" &
echo through the pipe >pipe # the kernel's, so of one mount
wait $!
same "$(cat "$scratch/heard")" 'through the pipe'
expect 0 weft stat weft:/pipe
says fifo 'prw-r-----'
expect 1 weft cat weft:/pipe
says 'on a mount'
if mknod "$scratch/device" c 1 3 2>/dev/null; then # the right to is there
    expect 0 mknod device c 1 3
    same "$(stat -c '%F %t,%T' "$two/device")" 'character special file 1,3'
    expect 0 weft ls -l weft:/device
    says 'crw' ' 1,3 '
    expect 0 weft stat weft:/device
    says 'character device' '1:3'
    rm "$two/device"
fi
rm "$two/pipe"
expect 2 ls pipe

# ---- contents ----------------------------------------------------------------
: >f
printf 0123456789 | dd of=f bs=3 seek=2 conv=notrunc status=none
printf AB | dd of="$two/f" bs=1 seek=7 conv=notrunc status=none
same "$(tail -c +7 f)" 0AB3456789
same "$(stat -c %s "$two/f")" 16
truncate -s 8 "$two/f"
same "$(tail -c +7 f)" 0A
truncate -s 3000000 f
same "$(stat -c %s "$two/f")" 3000000
same "$(tail -c 1000 "$two/f" | tr -d '\0' | wc -c)" 0
dd if=/dev/urandom of="$scratch/random" bs=1M count=5 status=none
dd if="$scratch/random" of=f bs=700k oflag=direct status=none
step cmp "$scratch/random" "$two/f"
dd if="$two/f" of=g bs=64k iflag=direct status=none
step cmp "$scratch/random" g
fallocate -l 9000000 g || fail fallocate
same "$(stat -c %s "$two/g")" 9000000
expect 1 fallocate -c -o 0 -l 4096 g
says "not supported"

# ---- attributes ----------------------------------------------------------------
chmod 640 hard
touch -d '2020-01-02 03:04:05.678 UTC' hard
same "$(stat -c %a "$two/e/b")" 640
same "$(stat -c %Y "$two/e/b")" 1577934245
if [ "$(id -u)" -eq 0 ]; then
    chown 12:34 hard
    chown -h 56:78 soft
    same "$(stat -c '%u:%g' "$two/e/b" "$two/soft" | tr '\n' ' ')" '12:34 56:78 '
fi
same "$(df --output=source,fstype . | tail -n 1 | tr -s ' ' | sed 's/?[^ ]*//')" 'weft:/ fuse.weft'
[ "$(df --output=size . | tail -n 1)" -gt 0 ] || fail 'df shows no size'

# ---- what is open and has lost its name -----------------------------------------
printf 'still there' >gone
exec 5<>gone
rm "$two/gone"
expect 1 cat gone
same "$(cat <&5)" 'still there'
printf ', and more' >&5
same "$(cat /dev/fd/5)" 'still there, and more'
same "$(stat -L -c %h /dev/fd/5)" 0
exec 5>&-

# ---- what there is not, and with which errno --------------------------------------
python=$(command -v /usr/bin/python3 || command -v python3)
[ -z "$python" ] || step "$python" "$WEFT_TOP_SRCDIR/tests/mount/refusals.py" .

# ---- directories -----------------------------------------------------------------
mkdir many
seq -f 'many/an entry with a name of some length %05g' 1 2500 | xargs -d '\n' touch
same "$(find "$two/many" -type f | wc -l)" 2500
same "$(find "$two/many" -type f | sort -u | wc -l)" 2500
step rm -r "$two/many"
same "$(find many 2>&1 | wc -l)" 1
