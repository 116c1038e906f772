#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The file commands of weft against a real cluster: every byte that goes in comes
# out again, whatever the size and the layout; sums of layout are right; a copy
# that fails or is interrupted leaves no part behind; errors name the path.

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"
dir=$scratch/cluster
will_stop "$dir"
expect 0 weft up --dir "$dir" --servers 3 --shards 2
[ $failures -eq 0 ] || exit 1
eval "$(weft env --dir "$dir")"
cd "$scratch" || exit 99

# Bytes that show where they are from: no two pieces of 16 bytes are the same.
make_file()
{
    seq -f '%015.0f' $((($1 + 15) / 16)) | head -c "$1" >"$2"
}

echo "1. sizes around chunks and pieces, there, inside and back"
sizes="0 1 4095 4096 4097 65535 65536 65537 1048576 5000001 20971533"
[ -z "$slow" ] || sizes="0 1 4096 4097 65537 5000001"
largest=${sizes##* }
for size in $sizes; do
    make_file $size "f$size"
    expect 0 weft cp "f$size" weft:/
    expect 0 weft cp "weft:/f$size" "weft:/g$size"
    expect 0 weft cp --in-flight 3 "weft:/g$size" "h$size"
    cmp "f$size" "h$size" || fail "size $size"
    same $size "$(weft stat --json "weft:/f$size" | sed -nE 's/.*"size": ([0-9]+),/\1/p' | head -n 1)" "size in stat"
done
weft cat weft:/f4097 weft:/f0 weft:/f65537 | cmp - <(cat f4097 f0 f65537) || fail "cat"

echo "2. layouts: any chunk size, any stripe count; the sums are right"
layouts=("4096 1" "470080 3" "5000 2" "1048577 3")
[ -z "$slow" ] || layouts=("${layouts[@]:0:2}")
for layout in "${layouts[@]}"; do
    # shellcheck disable=SC2086
    set -- $layout
    expect 0 weft cp --chunk-size "$1" --stripe-count "$2" f5000001 "weft:/chunk$1"
    weft cat "weft:/chunk$1" | cmp - f5000001 || fail "layout $layout"
    expect 0 weft layout --json "weft:/chunk$1"
    same "$1" "$(sed -nE 's/.*"chunk_size": ([0-9]+).*/\1/p' <<<"$output")" "chunk size"
    same "$2" "$(sed -nE 's/.*"stripe_count": ([0-9]+).*/\1/p' <<<"$output")" "stripe count"
    # The extents lie one behind the other and end with the file.
    same "5000001 $(((5000001 + $1 - 1) / $1))" "$(sed -n '/"extents"/,$p' <<<"$output" | awk '
        /"offset":/ { gsub(/[^0-9]/, ""); offset = $0 + 0; if (offset != end) print "hole at", end }
        /"length":/ { gsub(/[^0-9]/, ""); end = offset + $0; count++ }
        END { print end, count }')" "extents"
    same "$2" "$(weft layout --summary "weft:/chunk$1" | grep -c '^s[0-9]')" "targets of $layout"
    same 5000001 "$(weft layout --summary "weft:/chunk$1" | awk '/^s[0-9]/ { sum += $4 } END { print sum }')" "sum"
done
expect 1 weft cp --chunk-size 8192 f1 weft:/chunk4096
says "keeps its layout"
expect 0 weft mkdir --chunk-size 12345 --stripe-count 2 weft:/defaults
expect 0 weft mkdir weft:/defaults/below
expect 0 weft cp f65537 weft:/defaults/below/file
expect 0 weft layout weft:/defaults/below/file
says "chunks of 12345 bytes" "over 2 of 3 groups" "12344"
expect 0 weft layout --set --stripe-count 1 weft:/defaults
expect 0 weft layout weft:/defaults
says "chunks of 12345 bytes" "over 1"
expect 1 weft layout --set --stripe-count 1 weft:/f1
says "the layout of a file is fixed"

echo "3. trees, both ways, with links and permissions"
mkdir -p tree/a/b/c tree/empty
cp f65537 tree/a/b/c/
: >tree/a/nothing
ln -s b/c/f65537 tree/a/link
chmod 640 tree/a/nothing
chmod 500 tree/a/b/c
touch -d '2020-02-02 02:02:02' tree/a/nothing
printf 'hidden' >tree/.hidden
expect 0 weft cp -r -p tree weft:/
expect 0 weft cp -r weft:/tree weft:/tree2
expect 0 weft cp -r -p weft:/tree back
diff -r tree back || fail "trees differ"
same "b/c/f65537" "$(readlink back/a/link)"
same "$(stat -c '%a %Y' tree/a/nothing)" "$(stat -c '%a %Y' back/a/nothing)" "mode and time"
same 500 "$(stat -c %a back/a/b/c)"
expect 0 weft ls -R weft:/tree2
says "weft:/tree2/a/b/c:" "f65537"
[[ $output != *.hidden* ]] || fail "ls shows hidden names"
expect 0 weft ls -a weft:/tree2
says ".hidden"
expect 0 weft ls -l weft:/tree
says "drwx"
expect 0 weft ls -l weft:/tree/a
says "link -> b/c/f65537" "-rw-r-----"
expect 1 weft cp tree weft:/tree3
says "weft cp -r"
expect 1 weft cp -r weft:/tree2 weft:/tree2/a
says "not copied into itself"
expect 1 weft cp weft:/f4096 weft:/f4096
says "the same file"
weft cat weft:/f4096 | cmp - f4096 || fail "a file was lost when it was copied onto itself"

mkdir many same1 same2
for i in $(seq 120); do echo "number $i" >"many/$i"; done
echo first >same1/name
echo second >same2/name
expect 0 weft cp -r many same1 weft:/
same 120 "$(weft ls weft:/many | wc -l)"
expect 0 weft cp -r -j 3 weft:/many many-back
diff -r many many-back || fail "many files"
expect 0 weft cp same1/name same2/name weft:/same1
same second "$(weft cat weft:/same1/name)" "the last one of two with the same name"
rm -r many-back
mkdir -p many-back/60
expect 1 weft cp -r weft:/many/. many-back
says "many-back/60"
same 119 "$(find many-back -type f | wc -l)" "what could be copied"
expect 0 weft rm -r -v weft:/many weft:/same1
same 123 "$(grep -c '^removed ' <<<"$output")"
expect 1 weft stat weft:/many

echo "4. pipes"
weft cp - weft:/piped <"f$largest" || fail "from stdin"
head -c 5000000 f5000001 | weft cp - weft:/piped2 || fail "from a pipe"
same 5000000 "$(weft cp weft:/piped2 - | wc -c)"
weft cp weft:/piped - | cmp - "f$largest" || fail "to stdout"

echo "4b. holes"
truncate -s 30M sparse
printf 'in the middle' | dd of=sparse bs=1 seek=13000001 conv=notrunc status=none
truncate -s 30M all-hole
for file in sparse all-hole; do
    expect 0 weft cp "$file" "weft:/$file"
    expect 0 weft cp "weft:/$file" "weft:/$file-copy"
    expect 0 weft cp "weft:/$file-copy" "$file-back"
    expect 0 cmp "$file" "$file-back"
    [ "$(stat -c %b "$file-back")" -lt 200 ] || fail "$file-back has no holes"
    weft cp "weft:/$file-copy" - | cmp - "$file" || fail "to stdout, which has none"
done

echo "5. the namespace"
expect 1 weft mkdir weft:/p/q/r
says "weft:/p/q/r" "-p"
expect 0 weft mkdir -p weft:/p/q/r
expect 0 weft mkdir -p weft:/p/q/r
expect 1 weft mkdir weft:/p
expect 0 weft mv weft:/f1 weft:/p/q
expect 0 weft mv weft:/p/q/f1 weft:/p/one
expect 1 weft mv weft:/p weft:/p/q/inside
says "inside it"
expect 1 weft mv weft:/missing weft:/p
says "weft:/missing"
expect 0 weft ln weft:/p/one weft:/p/two
expect 0 weft ln -s weft:/p/one weft:/p/three
expect 0 weft ln -s one weft:/p/four
same 1 "$(weft cat weft:/p/two weft:/p/three weft:/p/four | wc -l | awk '{ print $1 + 1 }')"
cmp <(weft cat weft:/p/four) f1 || fail "through a relative link"
cmp <(weft cat weft:/p/three) f1 || fail "through an absolute link"
expect 1 weft ln -s one weft:/p/four
expect 0 weft ln -s -f two weft:/p/four
expect 0 weft chmod 604 weft:/p/one
expect 0 weft chmod u=rwx,g+r weft:/p/one
expect 0 weft stat weft:/p/two
says "0744 (-rwxr--r--)" "links 2"
expect 0 weft truncate -s 10K weft:/p/one
same 10240 "$(weft cat weft:/p/two | wc -c)"
same "$(head -c 1 f1)" "$(weft cat weft:/p/one | head -c 1)"
expect 0 weft truncate -s 3 weft:/p/one
same 3 "$(weft cat weft:/p/one | wc -c)"
expect 0 weft touch weft:/p/new weft:/p/one
expect 0 weft touch -c weft:/p/never
expect 1 weft stat weft:/p/never
expect 1 weft rm weft:/p
says "weft rm -r"
expect 1 weft rm -r weft:/
expect 0 weft rm -f weft:/p/never
expect 1 weft rm weft:/p/never
says "weft:/p/never"
# What is in a folder without write permission stays, but for root.
if [ "$(id -u)" -ne 0 ]; then
    expect 1 weft rm -r weft:/tree2
    says "permission denied"
fi
expect 0 weft chmod u+w weft:/tree2/a/b/c weft:/tree2/a/tree2/a/b/c
expect 0 weft rm -r weft:/p weft:/tree2
expect 1 weft ls weft:/p
expect 0 weft df
expect 0 weft status --counters
says "requests"

echo "6. what fails leaves no part behind"
mkdir far
expect 1 weft cp f1 missing weft:/piped/
says "not a directory"
expect 1 weft cp missing f4096 weft:/defaults
says "missing: No such file"
expect 0 weft stat weft:/defaults/f4096
# --foreground: else timeout signals its group too, and a second SIGINT kills at once.
(head -c 9000000 /dev/zero; sleep 5) | timeout --foreground --preserve-status -s INT 2 "$build/tools/weft" cp - weft:/cut
same 1 "${PIPESTATUS[1]}" "an interrupted copy"
expect 1 weft stat weft:/cut
# A full device in the way: the file of the cluster stays as it is.
expect 1 weft cp weft:/piped /dev/full
says "/dev/full"
expect 1 weft cp weft:/piped "$scratch/far/deep/er"
[ -z "$(ls far)" ] || fail "something was left in far"
# So long, without a hole, that it is surely not done when it is interrupted.
head -c 1G /dev/zero | weft cp - weft:/long || fail "a long file"
timeout --foreground --preserve-status -s INT 0.2 "$build/tools/weft" cp weft:/long far/cut
same 1 $? "an interrupted copy to here"
[ ! -e far/cut ] || fail "an incomplete local file was left"

echo "7. when the cluster is gone, it says so and what to do"
expect 0 weft down --dir "$dir"
expect 1 weft ls
says "127.0.0.1:" "is the server running"
