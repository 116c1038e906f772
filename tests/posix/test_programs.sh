#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Programs that everyone has, in a local folder and in the cluster.

# shellcheck source=tests/posix/lib.sh
. "$WEFT_TOP_SRCDIR/tests/posix/lib.sh"
tree=$WEFT_TOP_SRCDIR/scripts

echo "files and trees"
both cp -r "$tree" FOLDER/tree
same_trees
both cp -a FOLDER/tree FOLDER/copy
both mv FOLDER/copy FOLDER/moved
both mkdir FOLDER/tree/sub FOLDER/tree/sub/deep
both touch -d '2001-02-03 04:05:06.789' FOLDER/tree/sub/file
both stat -c '%s %a %h %F %y' FOLDER/tree/sub/file
both stat -c '%s %a %h %F %n' FOLDER/tree/build FOLDER/tree/test
both stat -c '%a %h %F %n' FOLDER/tree/sub FOLDER/tree
both ln -s ../build FOLDER/tree/sub/link
both ln FOLDER/tree/build FOLDER/tree/sub/hard
both readlink -f FOLDER/tree/sub/link
both sh -c 'find FOLDER -mindepth 1 -printf "%P %y %l %m\n" | sort'
both find FOLDER -name '*.sh' -newer FOLDER/tree/sub/file
both sh -c 'cd FOLDER/tree && find . -type l -exec cat {} + | md5sum'
both sh -c 'cd FOLDER/tree && ls -R | sort'
both chmod -R u=rwX,go= FOLDER/moved
both sh -c 'cd FOLDER && stat -c "%n %a" moved/*'
same_trees
both rm -r FOLDER/moved
both ls FOLDER
both ls FOLDER/none
both rm FOLDER/tree
both mv FOLDER/tree/build FOLDER/tree/sub/renamed
both mv -n FOLDER/tree/test FOLDER/tree/sub/renamed
same_trees

echo "between the cluster and a local folder"
expect 0 weft run -- mv "$here/tree" "$scratch/away"
expect 0 weft run -- cp -r "$scratch/away" "$here/tree"
expect 0 weft run -- cp -r "$there/tree" "$scratch/back"
expect 0 diff -r --no-dereference "$scratch/away" "$scratch/back"
expect 0 weft run -- mv "$scratch/back" "$there/from-local"
expect 0 cp -r "$scratch/away" "$here/from-local"
same_trees

echo "holes"
both truncate -s 20M FOLDER/sparse
for at in 1000 9000001 15000003; do
    both sh -c "seq 1 100000 | dd of=FOLDER/sparse bs=500000 count=1 iflag=fullblock seek=$at oflag=seek_bytes conv=notrunc status=none"
done
both cp --sparse=always FOLDER/sparse FOLDER/sparse-copy
both cp FOLDER/sparse-copy FOLDER/sparse-again
both cp --sparse=never FOLDER/sparse FOLDER/sparse-dug
both fallocate -d FOLDER/sparse-dug
both sh -c 'cd FOLDER && mkdir sparse-x && tar -Scf sparse.tar sparse-copy && tar -C sparse-x -Sxf sparse.tar && rm sparse.tar'
for file in sparse sparse-copy sparse-again sparse-dug sparse-x/sparse-copy; do
    both cmp "$here/sparse" "FOLDER/$file"
    kib=$(($(weft run -- stat -c %b "$there/$file") / 2))
    most=1600
    [ "$file" != sparse-dug ] || most=8000 # in steps of st_blksize
    [ $kib -lt $most ] || fail "$file takes $kib KiB"
done
both fallocate -p -o 20000 -l 400001 FOLDER/sparse-copy
both fallocate -p -o 19M -l 90M FOLDER/sparse-copy
both fallocate -n -o 19M -l 90M FOLDER/sparse-copy
both stat -c %s FOLDER/sparse-copy
same_trees
expect 0 weft run -- fallocate -z -o 10M -l 11M "$there/sparse-copy"
same "$(weft run -- stat -c %s "$there/sparse-copy")" $((21 << 20))
expect 0 weft run -- fallocate -z -n -o 0 -l 9000100 "$there/sparse-copy"
kib=$(($(weft run -- stat -c %b "$there/sparse-copy") / 2))
[ $kib -lt 600 ] || fail "sparse-copy takes $kib KiB"
both sh -c 'rm -r FOLDER/sparse*'

echo "archives and streams"
both sh -c 'cd FOLDER && tar cf t.tar tree && tar tf t.tar | sort && mkdir x && tar xf t.tar -C x && ls x/tree'
both sh -c 'cd FOLDER && tar czf - tree | tar tzf - | sort'
both dd if="$tree/test" of=FOLDER/dd bs=1000 count=7 seek=3 conv=notrunc status=none
both cmp FOLDER/dd "$tree/test"
both sort -r -o FOLDER/sorted "$tree/test"
both sh -c 'sort -u FOLDER/sorted | head -n 5; wc FOLDER/sorted; tail -n 3 FOLDER/sorted'
both sed -i 's/a/A/' FOLDER/sorted
both grep -c A FOLDER/sorted
both truncate -s 100 FOLDER/sorted
both split -b 30 FOLDER/sorted FOLDER/part-
both sh -c 'cat FOLDER/part-*| md5sum'
both tee FOLDER/teed
both sh -c 'du -bl FOLDER/x/tree/sub/* | sort | grep -v deep'
rm "$here/t.tar" && weft run -- rm "$there/t.tar" # holds times of the copies
same_trees

echo "redirections"
cat >"$scratch/redirect.sh" <<'END'
cd "$1" || exit
echo one >r; echo two >>r; cat <r
echo error >&2 2>e; cat e
{ echo a; pwd | sed 's,.*/,,'; ls -d r; } >g; cat g
exec 3>three 4<r; echo to three >&3; read -r line <&4; echo "$line"; read -r line <&4; echo "$line"; exec 3>&- 4<&-; cat three
cat <<E >h
here $((1 + 1))
E
while read -r line; do echo "<$line>"; sh -c 'echo sub >>s'; done <h; cat h s
(echo in a subshell; exit 3) >sub; echo $?; cat sub
for i in 1 2 3; do echo $i; done | tee t | wc -l; cat t
printf '%s\n' x y z >p; mapfile -t lines <p; echo "${lines[@]}"
set -C; echo no >p; echo $?; set +C
[ -s p ] && [ -f p ] && [ ! -e none ] && [ p -ef ./p ] && [ -d . ] && echo tests
echo *; echo ../*/none
cd .. && cd - >/dev/null && pwd | sed 's,.*/,,'
END
both mkdir FOLDER/r
both bash "$scratch/redirect.sh" FOLDER/r
both sh -c 'cd FOLDER/r && echo "$PWD" && /bin/pwd && cd .. && pwd && cd "$OLDPWD" && ls'
same_trees

echo "streams of C++"
cat >"$scratch/streams.cc" <<'END'
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
int main(int, char **argv)
{
    std::string line, last;
    while (std::getline(std::cin, line))
        last = line;
    std::ofstream(argv[1]) << "to a file\n";
    std::getline(std::ifstream(argv[1]), line);
    std::cout << last << ", " << line << ", " << std::filesystem::file_size(argv[1]) << std::endl;
}
END
if command -v c++ >/dev/null && c++ -std=c++17 "$scratch/streams.cc" -o "$scratch/streams"; then
    both sh -c "seq 5 >FOLDER/in; $scratch/streams FOLDER/file <FOLDER/in >FOLDER/out; cat FOLDER/out"
fi

echo "away with it"
both sh -c 'rm -r FOLDER/*'
same_trees
