#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Extended attributes on a mount: seen by the other one at once, carried by cp, rsync and tar, and judged by
# who asks.

# shellcheck source=tests/mount/lib.sh
. "$WEFT_TOP_SRCDIR/tests/mount/lib.sh"
export WEFT_PRELOAD=$WEFT_TOP_BUILDDIR/libclient/posix/.libs/libweft_preload.so
python=$(command -v /usr/bin/python3 || command -v python3)
[ -n "$python" ] || { echo 'there is no python3'; exit; }
begin
cd "$one" || exit

# ---- all calls -----------------------------------------------------------------
"$python" "$WEFT_TOP_SRCDIR/tests/posix/xattrs.py" "$one/calls" >"$scratch/mounted" 2>&1
says_end=$(tail -n 1 "$scratch/mounted")
same "$says_end" 'to the end'
if touch "$scratch/probe" && "$python" -c 'import os, sys; os.setxattr(sys.argv[1], "user.probe", b"")' "$scratch/probe" 2>/dev/null; then
    "$python" "$WEFT_TOP_SRCDIR/tests/posix/xattrs.py" "$scratch/calls" >"$scratch/local" 2>&1
    diff "$scratch/local" "$scratch/mounted" >&2 || fail 'not the same as locally'
fi

# ---- two mounts ------------------------------------------------------------------
attr()
{
    "$python" -c '
import errno, os, sys
verb, path, *rest = sys.argv[1:]
try:
    if verb == "set":
        os.setxattr(path, rest[0], rest[1].encode())
    elif verb == "get":
        print(os.getxattr(path, rest[0]).decode())
    elif verb == "list":
        print(" ".join(sorted(name for name in os.listxattr(path) if name[:8] != "security")))
    else:
        os.removexattr(path, rest[0])
except OSError as error:
    print(errno.errorcode[error.errno])' "$@" 2>&1
}
echo bytes >f
mkdir d
attr set f user.a one
same "$(attr get "$two/f" user.a)" one
same "$(attr set "$two/f" user.a two)" ''
same "$(attr get f user.a)" two
same "$(attr list "$two/f")" user.a
exec 5<f
mv "$two/f" "$two/d/g"
same "$(attr get /dev/fd/5 user.a)" two
rm "$two/d/g"
same "$(attr get /dev/fd/5 user.a)" two
exec 5<&-
same "$(attr get d/g user.a)" ENOENT
if [ -e "$WEFT_PRELOAD" ]; then
    expect 0 weft run --mount /weft -- "$python" -c 'import os; os.setxattr("/weft/d", "user.past", b"the mount")'
    same "$(attr get d user.past)" 'the mount'
    same "$(attr remove "$two/d" user.past)" ''
    # An open file of a mount, whose bytes go past it.
    : >past
    expect 0 weft run -- "$python" -c 'import os; os.setxattr(os.open("past", os.O_RDONLY), "user.past", b"it")'
    same "$(attr get "$two/past" user.past)" it
fi
same "$(attr get d user.past)" ENODATA

# ---- what there is not -----------------------------------------------------------
same "$(attr set d security.a x)" ENOTSUP
same "$(attr get d system.posix_acl_access)" ENOTSUP
step ls -l d
cp -a /etc/hostname copied >"$scratch/said" 2>&1 || fail 'cp -a failed'
same "$(cat "$scratch/said")" ''
if command -v setfacl >/dev/null; then
    expect 1 setfacl -m u:1:r copied
    says 'not supported'
fi
# Labels are left out in silence.
echo labelled >"$scratch/labelled"
if [ "$(attr set "$scratch/labelled" security.weft label)" = '' ]; then
    expect 0 cp -a "$scratch/labelled" labelled
    same "$output" ''
    same "$(attr get labelled security.weft)" ENOTSUP
fi

# ---- there and back ----------------------------------------------------------------
mkdir -p source/sub
echo some >source/some
attr set source/some user.comment 'a comment'
attr set source/some user.empty ''
attr set source/sub user.folder of-a-folder
names_of()
{
    (cd "$1" && "$python" -c '
import os
for path in ("some", "sub"):
    for name in sorted(os.listxattr(path)):
        if name.startswith("user."):
            print(path, name, os.getxattr(path, name))')
}
wanted=$(names_of source)
same "$(wc -l <<<"$wanted")" 3
there_and_back()
{
    local depth=1
    expect 0 "$@"
    same "$output" '' "$*"
    same "$(names_of "$two/carried")" "$wanted" "$*"
    rm -r carried
}
there_and_back cp -a source carried
there_and_back sh -c 'mkdir carried && tar -C source --xattrs -cf - . | tar -C carried --xattrs -xf -'
command -v rsync >/dev/null && there_and_back rsync -aX source/ carried
if [ -e "$scratch/local" ]; then
    step cp -a source "$scratch/away"
    same "$(names_of "$scratch/away")" "$wanted"
    there_and_back cp -a "$scratch/away" carried
fi

# ---- without any -------------------------------------------------------------------
third=$scratch/third
mount_at "$third" --cache
for i in 1 2 3; do echo $i >>"$third/written"; done
same "$(attr set "$third/written" user.a x)" ''
same "$(attr get written user.a)" x
cd "$scratch" || exit
expect 0 weft umount "$third"
mount_at "$third" --cache --no-xattrs
same "$(attr get "$third/written" user.a)" ENOTSUP
same "$(attr set "$third/written" user.a y)" ENOTSUP
same "$(attr list "$third/written")" ENOTSUP
expect 0 weft umount "$third"
same "$(attr get "$one/written" user.a)" x

# ---- users -----------------------------------------------------------------------
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
    chmod 755 "$scratch"
    mount_at "$third" --allow-other
    cd "$third" || exit
    mkdir -m 1777 shared
    echo text >shared/roots
    attr set shared/roots trusted.secret x
    attr set shared/roots user.open y
    as_user=(setpriv --reuid 1234 --regid 1234 --clear-groups)
    user_attr()
    {
        "${as_user[@]}" bash -c "$(declare -f attr); python=$python; attr \"\$@\"" attr "$@"
    }
    same "$(user_attr list shared/roots)" user.open
    same "$(attr list shared/roots)" 'trusted.secret user.open'
    same "$(user_attr get shared/roots trusted.secret)" ENODATA
    same "$(user_attr set shared/roots trusted.secret y)" EPERM
    same "$(user_attr get shared/roots user.open)" y
    same "$(user_attr set shared/roots user.open z)" EACCES
    same "$(user_attr set shared user.a z)" EPERM
    "${as_user[@]}" touch shared/own
    same "$(user_attr set shared/own user.a mine)" ''
    same "$(attr get "$one/shared/own" user.a)" mine
    cd "$scratch" || exit
fi

# ---- a user's own mount -------------------------------------------------------------
# Others' files have no name there but the one that they were seen under. The device may be closed to users
# here: this one gets one of his own, which nobody else sees.
user=$(id -u nobody 2>/dev/null)
if [ "$(id -u)" -eq 0 ] && [ -n "$user" ] && command -v setpriv >/dev/null && unshare -m true 2>/dev/null; then
    own=$scratch/own
    mkdir "$own" "$scratch/key"
    cp "$dir/weft.conf" "$dir/cluster.key" "$scratch/key"
    chown -R "$user" "$own" "$scratch/key"
    mkdir -m 1777 "$one/open"
    for name in anyones roots unread; do echo text >"$one/open/$name"; done
    chmod 666 "$one/open/anyones"
    chmod 622 "$one/open/unread"
    attr set "$one/open/unread" user.a x
    {
        declare -f attr
        printf 'python=%q\n' "$python"
        cat <<'END'
cd "$1/open" || exit
while read -r call; do
    # shellcheck disable=SC2086
    echo "$call = $(attr $call)."
done <<CALLS
set anyones user.a by-user
get anyones user.a
list anyones
remove anyones user.a
remove anyones user.a
set roots user.a x
get unread user.a
set unread user.b x
set own user.a mine
get own user.a
set own trusted.a mine
CALLS
END
    } >"$scratch/calls.sh"
    cat >"$scratch/mount.sh" <<'END'
mknod "$1/fuse" c 10 229 && chmod 666 "$1/fuse" && mount --bind "$1/fuse" /dev/fuse || exit 77
as_user="setpriv --reuid $2 --regid $2 --clear-groups"
export UCX_TLS=tcp,self WEFT_CONF=$1/key/weft.conf
$as_user weft mount --log "$1/key/own.mount-log" "$1/own" || exit 77
$as_user touch "$1/own/open/own"
$as_user bash "$1/calls.sh" "$1/own"
$as_user weft umount "$1/own" || umount -l "$1/own"
END
    # What others unmount meanwhile is to go here, too.
    unshare -m --propagation slave bash "$scratch/mount.sh" "$scratch" "$user" >"$scratch/said" 2>&1
    if [ $? -eq 77 ]; then
        echo "a user's own mount is not tried: $(cat "$scratch/said")"
    else
        diff - "$scratch/said" >&2 <<'END' || fail 'on a mount of a user'
set anyones user.a by-user = .
get anyones user.a = by-user.
list anyones = user.a.
remove anyones user.a = .
remove anyones user.a = ENODATA.
set roots user.a x = EACCES.
get unread user.a = EACCES.
set unread user.b x = .
set own user.a mine = .
get own user.a = mine.
set own trusted.a mine = EPERM.
END
        same "$(attr get "$one/open/unread" user.b)" x
    fi
fi
