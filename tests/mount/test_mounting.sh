#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# weft mount and weft umount themselves: what they say, what they wait for, and the options.

# shellcheck source=tests/mount/lib.sh
. "$WEFT_TOP_SRCDIR/tests/mount/lib.sh"
begin
weft mkdir weft:/sub weft:/sub/inner
weft chmod 777 weft:/sub

not()
{
    ! "$@"
}

# ---- refusals ------------------------------------------------------------------
third=$scratch/third
mkdir "$third"
expect 1 weft mount "$scratch/nowhere"
says nowhere 'No such file'
expect 1 weft mount --path /none "$third"
says '/none'
expect 1 weft mount --conf "$scratch/none.conf" "$third"
says none.conf
expect 2 weft mount
says 'where shall it be mounted'
expect 2 weft mount -o nonsense "$third"
says nonsense
expect 2 weft mount --threads none "$third"
expect 1 weft umount "$third"
says 'no Weft is mounted there'
mountpoint -q "$third" && fail 'something is mounted after a refusal'

# ---- a busy one ------------------------------------------------------------------
exec 5>"$one/open"
expect 1 weft umount "$one"
says busy fuser "$one"
exec 5>&-
process=$(pgrep -f "weft-mount .*$two\$" | head -n 1)
expect 0 weft umount "$two"
mountpoint -q "$two" && fail 'it is still mounted'
[ -z "$process" ] || ! grep -qs weft "/proc/$process/cmdline" || fail "process $process has not ended"

# ---- options ---------------------------------------------------------------------
mount_at "$third" --path /sub --read-only
same "$(ls "$third")" inner
expect 1 touch "$third/new"
says 'Read-only'
expect 0 weft umount "$third"
# As mount(8) calls it: source, directory, options.
expect 0 weft-mount weft:/sub "$third" -o "rw,noexec,nosuid,_netdev,conf=$WEFT_CONF,log=$scratch/o.mount-log"
same "$(ls "$third")" inner
grep -q " $third fuse.weft .*noexec" /proc/mounts || fail 'noexec did not reach the kernel'
expect 0 weft umount "$third/"
# As /sbin/mount.weft, which is a link to it: what mount -t weft calls.
ln -s "$build/mount/weft-mount" "$scratch/mount.weft"
expect 0 "$scratch/mount.weft" weft:/sub "$third" -n -o "ro,conf=$WEFT_CONF"
expect 1 touch "$third/new"
expect 0 weft umount "$third/"
# As a line of fstab without that link has it.
if [ "$(id -u)" -eq 0 ] && command -v mount.fuse3 >/dev/null; then
    expect 0 mount -t fuse "$build/mount/weft-mount#weft:/sub" "$third" -o "conf=$WEFT_CONF,allow_other"
    same "$(ls "$third")" inner
    expect 0 umount "$third"
fi

# ---- a process that was killed leaves a mount behind that can be taken away ----------------
mount_at "$third"
kill -9 "$(pgrep -f "weft-mount .*$third\$")"
within 10 not ls "$third"
expect 0 weft umount "$third"

# ---- in the foreground; a signal ends it ---------------------------------------------
weft mount --foreground "$third" 2>"$scratch/foreground.mount-log" &
process=$!
within 10 mountpoint -q "$third"
touch "$third/from-foreground"
kill -TERM $process
wait $process
mountpoint -q "$third" && fail 'the signal left it mounted'

# ---- others ---------------------------------------------------------------------------
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
    chmod 755 "$scratch"
    as() { setpriv --reuid="$1" --regid="$1" --clear-groups sh -c "$2"; }
    expect 2 as 1234 "ls '$one'"
    says denied
    mount_at "$third" --allow-other
    expect 0 as 1234 "cd '$third/sub' && umask 022 && echo mine >file && mkdir dir && ln -s file link && chmod 600 file"
    same "$(cd "$third/sub" && stat -c '%n %u:%g' dir file link | tr '\n' ' ')" 'dir 1234:1234 file 1234:1234 link 1234:1234 '
    expect 1 as 4321 "cat '$third/sub/file'"
    says denied
    expect 1 as 4321 "chmod 777 '$third/sub/file'"
    says 'not permitted'
    mkdir "$third/closed"
    expect 1 as 1234 "touch '$third/closed/file'"
    says denied
    # In a directory that passes on its group.
    mkdir "$third/shared" && chgrp 77 "$third/shared" && chmod 2777 "$third/shared"
    expect 0 as 1234 "touch '$third/shared/file'"
    same "$(stat -c %u:%g "$third/shared/file")" 1234:77
    # Who writes to a program takes its owner's rights from it.
    : >"$third/program" && chmod 6777 "$third/program"
    expect 0 as 1234 "echo changed >>'$third/program'"
    same "$(stat -c %a "$one/program")" 777
    expect 0 weft umount "$third"
    expect 1 setpriv --reuid=1234 --clear-groups weft mount --allow-other "$third"
    says 'only root'
fi

# ---- with the kernel's cache: a change is seen by whoever opens the file later ------------
mount_at "$two" -o cache=auto
printf first >"$one/cached"
same "$(cat "$two/cached")" first
printf second >"$one/cached"
sleep 1.2
same "$(cat "$two/cached")" second
printf third >"$two/cached"
same "$(cat "$one/cached")" third
