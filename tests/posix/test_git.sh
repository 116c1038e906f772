#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# git in the cluster: init, add, commit, branch, merge, clone, gc.

# shellcheck source=tests/posix/lib.sh
. "$WEFT_TOP_SRCDIR/tests/posix/lib.sh"
command -v git >/dev/null || { echo "there is no git"; exit; }
export GIT_CONFIG_NOSYSTEM=1 HOME=$scratch GIT_AUTHOR_DATE='2001-02-03T04:05:06Z' GIT_COMMITTER_DATE='2001-02-03T04:05:06Z'
git config --global user.email nobody@example.org
git config --global user.name Nobody
git config --global init.defaultBranch main
git config --global safe.directory '*'
cat >"$scratch/story.sh" <<'END'
set -e
cd "$1"
git init -q project
cd project
cp -r "$2" scripts
git add .
git commit -q -m first
echo more >>scripts/lib.sh
git diff --stat
git checkout -q -b side
git commit -q -am second
git checkout -q main
echo other >new
git add new
git commit -q -m third
git merge -q --no-edit side
git log --oneline --graph
git gc -q
git fsck
cd ..
git clone -q project clone
cd clone
git log -1 --format=%H
git status --short
git mv new newer
git commit -q -m fourth
git push -q origin HEAD:refs/heads/back
cd ../project
git branch
END
both bash "$scratch/story.sh" FOLDER "$WEFT_TOP_SRCDIR/scripts"
both sh -c 'cd FOLDER/project && git ls-tree -r back && cd .. && rm -rf project clone && ls -A'
