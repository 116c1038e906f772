#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Extended attributes by the preload library: as in a local folder, and carried there and back by cp, rsync and tar.

# shellcheck source=tests/posix/lib.sh
. "$WEFT_TOP_SRCDIR/tests/posix/lib.sh"
command -v python3 >/dev/null || { echo "there is no python3"; exit; }
has_local=yes
touch "$scratch/probe"
python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.probe", b"")' "$scratch/probe" 2>/dev/null || has_local=no

echo "all calls"
if [ $has_local = yes ]; then
    both python3 "$WEFT_TOP_SRCDIR/tests/posix/xattrs.py" FOLDER/calls
else
    echo "the local file system has none: not compared"
    weft run -- python3 "$WEFT_TOP_SRCDIR/tests/posix/xattrs.py" "$there/calls" >"$scratch/said.there" 2>&1
fi
grep -q 'to the end' "$scratch/said.there" || fail "the program did not come to its end: $(tail -n 5 "$scratch/said.there")"

echo "what is not supported is said, and only when it is asked for"
expect 0 weft run -- touch "$there/plain"
expect 1 weft run -- python3 -c 'import os, sys; os.setxattr(sys.argv[1], "security.a", b"")' "$there/plain"
says 'Operation not supported'
expect 0 weft run -- ls -l "$there/plain"
says plain
expect 0 weft run -- cp -a /etc/hostname "$there/copied"
same '' "$output"

echo "there and back"
tree=$scratch/tree
mkdir -p "$tree/sub"
echo some >"$tree/some"
seq 1 20000 >"$tree/sub/numbers"
ln -s some "$tree/link"
show='
import os, sys
for folder, names, files in sorted(os.walk(sys.argv[1])):
    for name in sorted(files) + ["."]:
        path = os.path.join(folder, name)
        for attribute in sorted(os.listxattr(path, follow_symlinks=False)):
            if attribute.startswith("user."):
                print(os.path.relpath(path, sys.argv[1]), attribute, os.getxattr(path, attribute).hex())
'
set='
import os, sys
os.chdir(sys.argv[1])
os.setxattr("some", "user.comment", b"a comment")
os.setxattr("some", "user.empty", b"")
os.setxattr("sub", "user.folder", b"\0\xff")
os.setxattr("sub/numbers", "user.long", b"x" * 500)
'
# carried COMMAND...: the tree at TO has what the tree at FROM has.
carried()
{
    local depth=1 from=$1 to=$2
    shift 2
    expect 0 weft run -- "$@"
    same '' "$output" "$*"
    weft run -- python3 -c "$show" "$from" >"$scratch/from"
    weft run -- python3 -c "$show" "$to" >"$scratch/to"
    [ "$(wc -l <"$scratch/from")" -eq 4 ] || fail "there is not what was set: $(cat "$scratch/from")"
    diff "$scratch/from" "$scratch/to" >&2 || fail "not the same attributes: $*"
}
if [ $has_local = yes ]; then
    python3 -c "$set" "$tree"
    carried "$tree" "$there/cp" cp -a "$tree" "$there/cp"
    carried "$there/cp" "$scratch/cp" cp -a "$there/cp" "$scratch/cp"
    carried "$tree" "$there/tar" sh -c "mkdir $there/tar && tar -C $tree --xattrs -cf - . | tar -C $there/tar --xattrs -xf -"
    carried "$there/tar" "$scratch/tar" sh -c "mkdir $scratch/tar && tar -C $there/tar --xattrs -cf - . | tar -C $scratch/tar --xattrs -xf -"
    # Later versions look at folders by system calls of their own, which nothing can come in between of.
    mkdir "$scratch/empty"
    if weft run -- rsync -a "$scratch/empty/" "$there/probe" >/dev/null 2>&1; then
        carried "$tree" "$there/rsync" rsync -aX "$tree/" "$there/rsync"
        carried "$there/rsync" "$scratch/rsync" rsync -aX "$there/rsync/" "$scratch/rsync"
    else
        echo "rsync does not work here: not tried"
    fi
else
    expect 0 weft run -- cp -r "$tree" "$there/cp"
    expect 0 weft run -- python3 -c "$set" "$there/cp"
fi
carried "$there/cp" "$there/again" cp -a "$there/cp" "$there/again"
if command -v getfattr >/dev/null; then
    expect 0 weft run -- setfattr -n user.set -v by-setfattr "$there/again/some"
    expect 0 weft run -- getfattr --absolute-names --only-values -n user.set "$there/again/some"
    same by-setfattr "$output"
    expect 0 weft run -- setfattr -x user.set "$there/again/some"
    expect 0 weft run -- getfattr --absolute-names -d "$there/again/some"
    says 'user.comment="a comment"'
    expect 1 weft run -- getfattr --absolute-names -n user.set "$there/again/some"
    says 'No such attribute'
else
    echo "there is no getfattr: not tried"
fi
