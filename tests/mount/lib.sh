# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# lib.sh: what the tests of the mount share: a small cluster, mounted twice, at $one and $two, as two clients
# that know nothing of each other. Without the right to mount the test is skipped. It is sourced, not run.

# The reason, where nothing can be mounted here.
why_no_mount()
{
    [ -x "$WEFT_TOP_BUILDDIR/mount/weft-mount" ] || { echo 'weft-mount was not built: there is no libfuse3-dev'; return; }
    [ -e /dev/fuse ] || { echo 'there is no /dev/fuse'; return; }
    [ -r /dev/fuse ] && [ -w /dev/fuse ] || { echo 'no right to use /dev/fuse'; return; }
    [ "$(id -u)" -eq 0 ] || command -v fusermount3 >/dev/null || echo 'there is no fusermount3'
}
reason=$(why_no_mount)
if [ -n "$reason" ]; then
    printf 'skipped: %s\n' "$reason" >&2
    exit 77
fi

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"
export PATH=$build/mount:$PATH
dir=$scratch/cluster
one=$scratch/one
two=$scratch/two
mounts=()

# Nothing stays mounted, whatever happened; what sanitizers say stands in the mounts' logs.
end_mounts()
{
    local at
    cd / || exit
    for at in "${mounts[@]}"; do
        mountpoint -q "$at" || continue
        "$build/tools/weft" umount "$at" || { fail "weft umount $at"; umount -l "$at"; }
    done
    for at in "$scratch"/*.mount-log; do
        [ -e "$at" ] || continue
        ! grep -nE 'AddressSanitizer|LeakSanitizer|runtime error:' "$at" >&2 || fail "see $at above"
        [ $failures -eq 0 ] || tail -n 20 "$at" >&2
    done
    finish
}
trap end_mounts EXIT

# mount_at DIR OPTIONS...
mount_at()
{
    local at=$1
    shift
    mkdir -p "$at"
    mounts+=("$at")
    output=$(weft mount --log "$at.mount-log" "$@" "$at" 2>&1) || { fail "weft mount $at: $output"; exit; }
}

# begin OPTIONS...: the cluster, and both mounts with these options.
begin()
{
    will_stop "$dir"
    weft up --dir "$dir" --servers 2 >/dev/null || { fail 'weft up'; exit; }
    eval "$(weft env --dir "$dir")"
    # A sandbox may have the device and yet refuse to mount.
    mkdir -p "$one"
    if ! output=$(weft mount "$one" 2>&1); then
        case $output in
        *[Pp]ermitted* | *[Pp]ermission*) printf 'skipped: %s\n' "$output" >&2; trap - EXIT; (finish); exit 77 ;;
        esac
        fail "$output"
        exit
    fi
    weft umount "$one" || fail 'weft umount'
    mount_at "$one" "$@"
    mount_at "$two" "$@"
}

# step COMMAND...: it succeeds; what it says is shown only when it does not.
step()
{
    local said depth=1
    said=$("$@" 2>&1) || fail "exit code $?: $*"$'\n'"$said"
}
