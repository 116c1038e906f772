#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two builds must never disagree about where a chunk is: the tables of many clusters,
# computed by gcc's code and by clang's, without optimization and with much of it.

set -u
scratch=$(mktemp -d "${TMPDIR:-/tmp}/weft-test.XXXXXX") || exit 99
trap 'rm -rf "$scratch"' EXIT

for compiler in gcc clang; do
    command -v $compiler >/dev/null || {
        printf 'skipped: there is no %s here to compare with\n' $compiler
        exit 77
    }
done

top=$WEFT_TOP_SRCDIR
sources=("$top"/tests/unit/placement_digest.c "$top"/libcommon/placement*.c "$top"/libcommon/layout.c
    "$top"/libcommon/err.c)
[ -e "${sources[1]}" ] || exit 99

digests=()
for build in 'gcc -O0 -fwrapv' 'gcc -O3' 'clang -O1' 'clang -O3 -fno-strict-aliasing'; do
    # shellcheck disable=SC2086
    $build -std=c17 -D_GNU_SOURCE -iquote "$top/libcommon" -I "$top/include" -o "$scratch/digest" \
        "${sources[@]}" || exit 1
    digest=$("$scratch/digest") || exit 1
    [[ $digest =~ ^[0-9a-f]{16}$ ]] || { printf 'no digest: %s\n' "$digest" >&2; exit 1; }
    printf '%-32s %s\n' "$build" "$digest"
    digests+=("$digest")
done
for digest in "${digests[@]}"; do
    [ "$digest" = "${digests[0]}" ] || { printf 'the builds differ\n' >&2; exit 1; }
done
