#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Programs that know nothing of Weft, on a mount.

# shellcheck source=tests/mount/lib.sh
. "$WEFT_TOP_SRCDIR/tests/mount/lib.sh"
begin
cd "$one" || exit

# A tree with some of everything, to be carried about.
tree=$scratch/tree
mkdir -p "$tree/sub/deeper" "$tree/empty"
seq 1 20000 >"$tree/numbers"
dd if=/dev/urandom of="$tree/sub/random" bs=1M count=3 status=none
for i in $(seq 1 60); do printf '%s\n' "$i" >"$tree/sub/deeper/file $i"; done
ln -s ../numbers "$tree/sub/link"
ln "$tree/numbers" "$tree/sub/same"
chmod 750 "$tree/sub"
touch -d '2021-05-06 07:08:09.5 UTC' "$tree/numbers"

step cp -a "$tree" copy
step diff -r "$tree" "$two/copy"
sleep 1 # the last closes have been told
same "$(stat -c '%a %.Y' copy/sub copy/numbers | tr '\n' ' ')" "$(stat -c '%a %.Y' "$tree/sub" "$tree/numbers" | tr '\n' ' ')"
step tar -C "$tree" --format=posix -cf archive.tar .
mkdir unpacked
step tar -C unpacked -xf "$two/archive.tar"
step diff -r "$tree" unpacked
same "$(stat -c %.Y unpacked/numbers)" "$(stat -c %.Y "$tree/numbers")"
same "$(stat -c %h unpacked/sub/same)" 2
same "$(cd "$two" && find unpacked -type f -size +2M)" unpacked/sub/random
step mv unpacked "$two/moved"
step rm -rf copy moved archive.tar
same "$(ls "$two")" ''

if command -v rsync >/dev/null; then
    step rsync -a "$tree/" synced/
    step rsync -a --checksum --delete "$tree/" "$two/synced/"
    step diff -r "$tree" synced
    # With what has no bytes, and the other way round.
    mkfifo synced/pipe
    step rsync -a synced/ "$scratch/back"
    [ -p "$scratch/back/pipe" ] || fail 'rsync brought no pipe back'
    rm synced/pipe
    step rsync -a --delete --inplace --no-whole-file "$scratch/back/" synced/
    step rsync -a --sparse --append-verify "$tree/" "$two/synced/"
    [ -p "$two/synced/pipe" ] || fail 'rsync brought no pipe'
else
    echo 'rsync is not installed: not tried'
fi

if command -v git >/dev/null; then
    export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
    who=(-c user.name=Nobody -c user.email=nobody@example.com -c init.defaultBranch=main)
    step git "${who[@]}" init -q repository
    step cp -r "$tree/sub" repository/sub
    step git "${who[@]}" -C repository add -A
    step git "${who[@]}" -C repository commit -q -m first
    step git "${who[@]}" clone -q "$two/repository" "$two/clone"
    same "$(git -C clone rev-parse HEAD)" "$(git -C "$two/repository" rev-parse HEAD)"
    step git -C clone fsck --full
    same "$(git -C clone status --porcelain)" ''
fi

python=$(command -v /usr/bin/python3 || command -v python3)
if [ -n "$python" ] && "$python" -c 'import sqlite3' 2>/dev/null; then
    step "$python" "$WEFT_TOP_SRCDIR/tests/mount/database.py" "$one/base" "$two/base"
fi
if [ -n "$python" ] && "$python" -m venv --without-pip "$scratch/probe" 2>/dev/null; then
    step "$python" -m venv --without-pip environment
    same "$("$two/environment/bin/python" -c 'import sys; print(sys.prefix)')" "$two/environment"
fi
