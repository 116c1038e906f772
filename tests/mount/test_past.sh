#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Interfaces that are given a path on a mount and go past the kernel: MPI-IO, the preload library and HDF5's
# driver. Each says itself which way it went; that the bytes are there is seen through the other mount.

# shellcheck source=tests/mount/lib.sh
. "$WEFT_TOP_SRCDIR/tests/mount/lib.sh"
eval "$("$WEFT_TOP_SRCDIR/scripts/env" --sh --dir "$WEFT_TOP_BUILDDIR")"
export PATH=$build/mount:$PATH
unset ROMIO_FSTYPE_FORCE LD_PRELOAD WEFT_MOUNT WEFT_REPORT WEFT_BYPASS WEFT_HINTS
export WEFT_PRELOAD=$WEFT_TOP_BUILDDIR/libclient/posix/.libs/libweft_preload.so
begin
mkdir "$one/dir" "$one/dir/inside"
cd /
is_root=
[ "$(id -u)" -ne 0 ] || is_root=yes

# ---- the ways of the path: each names the file dir/NAME of the cluster ----------------------------

ln -s "$one/dir" "$scratch/folder-link"
ln -s dir "$one/inner-link"
ln -s "$one/dir/linked" "$scratch/file-link"
: >"$one/dir/linked"
binds=()
unbind()
{
    local at
    for at in "${binds[@]}"; do
        umount "$at"
    done
    end_mounts
}
trap unbind EXIT
if [ -n "$is_root" ]; then
    mkdir "$scratch/bound" "$scratch/lines"
    mount --bind "$one/dir" "$scratch/bound" && binds+=("$scratch/bound")
    mount -t tmpfs none "$one/dir/inside" && binds+=("$one/dir/inside")
fi

# Lines "NAME PATH": the file's name in dir, and a path that leads to it.
ways()
{
    cat <<END
plain $one/dir/plain
dots $one/dir/../dir/./dots
links $scratch/folder-link/links
inner $one/inner-link/inner
relative relative
linked $scratch/file-link
END
    [ ${#binds[@]} -eq 0 ] || echo "bound $scratch/bound/bound"
}

# a_mount MOUNT OPTIONS...: one more, which can't be "past" for the reason in its options.
third=$scratch/third
with_third()
{
    mount_at "$third" "$@"
}
without_third()
{
    weft umount "$third" || fail "weft umount $third"
}

# ---- MPI-IO -------------------------------------------------------------------------------------------

mpi_options=(-n 3)
if mpirun --version 2>/dev/null | grep -q 'Open MPI'; then
    mpi_options+=(--oversubscribe)
    [ -z "$is_root" ] || mpi_options+=(--allow-run-as-root)
fi
mpi()
{
    timeout --kill-after=10 120 mpirun "${mpi_options[@]}" "$@" </dev/null
}

test_mpi()
{
    local name path size
    mpicc -std=gnu17 -O1 -Wall -Wextra -Werror "$WEFT_TOP_SRCDIR/tests/mount/past.c" -o "$scratch/past" || exit 99
    size=$((64 * 47008 * 3))
    cd "$one/dir" || exit 99
    while read -r name path; do
        expect 0 mpi "$scratch/past" "$path"
        says "past the mount: $path"
        same "$(stat -c %s "$two/dir/$name")" $size "$path"
        # The kernel's readers and MPI's have the same bytes, from both sides.
        WEFT_BYPASS=no expect 0 mpi "$scratch/past" "$two/dir/$name" read
        says 'by the mount'
        cp "$two/dir/$name" "$one/dir/copy-$name"
        expect 0 mpi "$scratch/past" "weft:/dir/copy-$name" read
    done < <(ways)
    cd /
    same "$(find "$two" "$scratch" -maxdepth 2 -name '*.gone*')" '' 'what was deleted'
    # What is told of it, and the counters of the ranks: the bytes went from them to the servers.
    WEFT_HINTS=weft_explain=true WEFT_COUNTERS=1 expect 0 mpi "$scratch/past" "$one/dir/told"
    says "past the mount on which it is $one/dir/told" 'weft_past_mount '
    same "$(grep -o ' bytes_written=[0-9]*' <<<"$output" | awk -F= '{sum += $2} END {print sum}')" $((size + 3)) \
        'a byte of each rank is of a file that is deleted'
    # MPI's options, and one rank that may not.
    expect 0 mpi --mca io ompio "$scratch/past" "$one/dir/ompio"
    says 'by the mount'
    expect 0 mpi -n 1 "$scratch/past" "$one/dir/mixed" : -n 1 env WEFT_BYPASS=no "$scratch/past" "$one/dir/mixed"
    says 'by the mount'
    expect 0 mpi -n 1 env WEFT_BYPASS=no "$scratch/past" "$one/dir/mixed" : -n 1 "$scratch/past" "$one/dir/mixed"
    says 'by the mount'
    if [ ${#binds[@]} -gt 0 ]; then
        expect 0 mpi "$scratch/past" "$one/dir/inside/file"
        says 'by the mount'
        [ -e "$one/dir/inside/file" ] && [ ! -e "$two/dir/inside/file" ] || fail 'it is not on what is mounted inside'
    fi
    expect 0 mpi "$scratch/past" "$scratch/local"
    says 'by the mount'
    # Without any configuration: the mount has one.
    WEFT_CONF='' expect 0 mpi "$scratch/past" "$one/dir/no-conf"
    says 'past the mount'
    # Where the kernel keeps something, and where nobody may write.
    with_third --cache
    expect 0 mpi "$scratch/past" "$third/dir/cached"
    says 'by the mount'
    without_third
    with_third --read-only --path /dir
    expect 1 mpi "$scratch/past" "$third/plain"
    expect 0 mpi "$scratch/past" "$third/plain" read
    says 'by the mount'
    without_third
}
if command -v mpicc >/dev/null && [ -e "$build/romio-driver/mca/mca_io_weft.so" ]; then
    test_mpi
else
    echo 'MPI-IO was not tried: there is no Open MPI'
fi

# ---- the preload library ------------------------------------------------------------------------------

head -c 300000 /dev/urandom >"$scratch/data"
pass()
{
    weft run --report -- "$@"
}

# not_passed: the program's last words are the library's report, and say nothing of mounts.
not_passed()
{
    local depth=1
    [[ $output != *'past a mount'* ]] || fail "$output"
    [ "$(grep -c 'weft: ' <<<"$output")" -le 1 ] || fail "$output"
}

# What the library has no part in: the kernel's answers count.
test_preload_leaves()
{
    expect 0 env WEFT_BYPASS=no weft run --report -- cat "$one/dir/data"
    not_passed
    expect 1 pass cat "$one/dir/none"
    says 'No such file'
    mkfifo "$one/dir/fifo"
    (echo through >"$one/dir/fifo" &)
    expect 0 pass cat "$one/dir/fifo"
    says through
    ln -s /dev/null "$one/dir/out"
    ln -s "$one/dir/data" "$one/dir/absolute"
    expect 0 pass cmp "$one/dir/absolute" "$scratch/data"
    says 'past a mount 1'
    expect 0 pass sh -c "echo gone >'$one/dir/out'"
    [ "$(readlink "$one/dir/out")" = /dev/null ] || fail 'the link is gone'
    printf '#!/bin/sh\necho started\n' >"$one/dir/script"
    chmod +x "$one/dir/script"
    expect 0 pass "$one/dir/script"
    says started
    if [ ${#binds[@]} -gt 0 ]; then
        expect 0 pass cp "$scratch/data" "$one/dir/inside/data"
        not_passed
        cmp "$scratch/data" "$one/dir/inside/data" || fail 'it is not on what is mounted inside'
    fi
    with_third --cache
    expect 0 pass cmp "$scratch/data" "$third/dir/data"
    not_passed
    without_third
    with_third --read-only
    expect 0 pass cmp "$scratch/data" "$third/dir/data"
    says 'past a mount 1'
    expect 2 pass sh -c "echo more >>'$third/dir/data'"
    says 'Read-only'
    without_third
}

test_preload()
{
    local name path
    cp "$scratch/data" "$one/dir/data"
    cd "$one/dir" || exit 99
    while read -r name path; do
        expect 0 pass cp "$scratch/data" "$path"
        says 'past a mount 1' 'wrote 300000'
        cmp "$scratch/data" "$two/dir/$name" || fail "not seen through the other mount: $path"
        printf x >>"$two/dir/$name"
        expect 0 pass tail -c 1 "$path"
        says x 'past a mount 1'
    done < <(ways)
    cd /
    # A program that is told of a file by its parent, streams, and what fstat says beside what stat says.
    expect 0 pass python3 - "$one/dir" <<'END'
import os, shutil, subprocess, sys
os.chdir(sys.argv[1])
with open('python', 'w') as file:
    file.write('x' * 100000)
    file.flush()
    assert os.stat('python').st_size == 100000
    a, b = os.fstat(file.fileno()), os.stat('python')
    assert (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino), (a, b)
    subprocess.run(['sh', '-c', 'echo from a child'], stdout=file, check=True)
os.rename('python', 'renamed')
shutil.copyfile('renamed', 'copied')
assert open('copied').read() == 'x' * 100000 + 'from a child\n'
assert not os.path.exists('python') and not os.path.samefile('renamed', 'copied')
END
    says 'past a mount'
    # The child of a program without a configuration finds what it was given.
    expect 0 env -u WEFT_CONF weft run --report -- sh -c "exec cmp - '$scratch/data' <'$one/dir/data'"
    says 'read 300000'
    test_preload_leaves
}

# Two clusters on one host: a mount of one is no road to the other.
test_other_cluster()
{
    local other=$scratch/other
    will_stop "$other"
    expect 0 weft up --dir "$other" --servers 1
    expect 0 env WEFT_CONF="$other/weft.conf" weft run --report -- cmp "$scratch/data" "$one/dir/data"
    not_passed
    weft down --quiet --dir "$other"
    # Nor is one whose servers are gone, when that is what the process was told of.
    expect 0 env WEFT_CONF="$other/weft.conf" weft run --report -- cmp "$scratch/data" "$one/dir/data"
    not_passed
}

# A container with the mount and without a way to the servers.
test_unreachable()
{
    unshare -n true 2>/dev/null || return
    expect 0 timeout 60 unshare -n "$build/tools/weft" run --report -- cmp "$scratch/data" "$one/dir/data"
    not_passed
}

# Somebody who may not read the cluster's key, and one whom only a supplementary group lets in.
test_users()
{
    # Shared memory of another user is closed to them.
    as() { UCX_TLS=tcp,self setpriv --reuid=1234 --regid=1234 --groups="$1" "${@:2}"; }
    chmod 755 "$scratch" "$scratch/third"
    with_third --allow-other
    mkdir "$third/shared" && chgrp 77 "$third/shared" && chmod 2770 "$third/shared"
    cp "$scratch/data" "$third/shared/data" && chgrp 77 "$third/shared/data" && chmod 660 "$third/shared/data"
    expect 0 as 77 weft run --report -- cmp "$scratch/data" "$third/shared/data"
    not_passed
    mkdir "$scratch/key" && cp "$dir/weft.conf" "$dir/cluster.key" "$scratch/key"
    chown -R 1234 "$scratch/key"
    expect 0 as 77 env WEFT_CONF="$scratch/key/weft.conf" weft run --report -- cmp "$scratch/data" "$third/shared/data"
    says 'past a mount 1'
    mkdir "$third/own" && chown 1234 "$third/own"
    expect 0 as 77 env WEFT_CONF="$scratch/key/weft.conf" weft run --report -- cp "$scratch/data" "$third/own/data"
    says 'past a mount 1'
    same "$(stat -c %u "$third/own/data")" 1234
    if [ -x "$scratch/past" ]; then
        expect 0 as 77 env WEFT_CONF="$scratch/key/weft.conf" HOME="$scratch/key" TMPDIR="$scratch/key" \
            timeout 60 mpirun "${mpi_options[@]}" "$scratch/past" "$third/shared/mpi"
        says 'past the mount'
        expect 0 as 77 env WEFT_CONF="$scratch/key/weft.conf" HOME="$scratch/key" TMPDIR="$scratch/key" \
            timeout 60 mpirun "${mpi_options[@]}" "$scratch/past" "$third/own/mpi"
        says 'past the mount'
    fi
    without_third
}

if [ -e "$WEFT_PRELOAD" ]; then
    mkdir -p "$third"
    test_preload
    test_other_cluster
    if [ -n "$is_root" ]; then
        test_unreachable
        ! command -v setpriv >/dev/null || test_users
    fi
else
    echo 'the preload library was not tried: it was not built'
fi

# ---- HDF5's driver --------------------------------------------------------------------------------------

test_hdf5()
{
    local folder=$build/hdf5-vfd/serial name path flags
    flags=$(pkg-config --cflags hdf5-serial)
    # shellcheck disable=SC2046,SC2086
    "${CC:-cc}" -g -O1 -D_GNU_SOURCE -DWITH_LINKED_DRIVER -I"$WEFT_TOP_SRCDIR/include" ${flags//-I/-isystem } \
        "$WEFT_TOP_SRCDIR/tests/hdf5/serial.c" -o "$scratch/serial" -L"$folder" -Wl,-rpath,"$folder" -lweft-hdf5 \
        $(pkg-config --libs hdf5-serial) || exit 99
    cd "$one/dir" || exit 99
    while read -r name path; do
        rm -f "$one/dir/$name"
        expect 0 env WEFT_COUNTERS=1 timeout 120 "$scratch/serial" "$path"
        says weft-counters
        expect 0 weft stat "weft:/dir/$name"
    done < <(ways | head -n 3; echo relative relative)
    cd /
    # A path of the cluster is one as ever.
    expect 0 timeout 120 "$scratch/serial" /dir/inside.h5
    expect 0 weft stat weft:/dir/inside.h5
    with_third --read-only
    expect 1 timeout 120 "$scratch/serial" "$third/dir/read-only.h5"
    says 'the mount is read-only'
    without_third
}
if [ -e "$build/hdf5-vfd/serial/libweft-hdf5.so" ] && pkg-config --exists hdf5-serial; then
    test_hdf5
else
    echo "HDF5's driver was not tried: there is no HDF5"
fi
