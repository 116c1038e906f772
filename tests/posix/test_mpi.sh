#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Four ranks that use POSIX calls, each run by weft run.

# shellcheck source=tests/posix/lib.sh
. "$WEFT_TOP_SRCDIR/tests/posix/lib.sh"
if ! command -v mpicc >/dev/null || ! command -v mpirun >/dev/null; then
    echo "there is no MPI"
    exit
fi
mpicc -std=gnu17 -D_GNU_SOURCE -O1 "$WEFT_TOP_SRCDIR/tests/posix/ranks.c" -o "$scratch/ranks" || exit 99
options=(-n 4)
if mpirun --version 2>/dev/null | grep -q 'Open MPI'; then
    options+=(--oversubscribe)
    [ "$(id -u)" -ne 0 ] || options+=(--allow-run-as-root)
fi
expect 0 timeout 100 mpirun "${options[@]}" weft run -- "$scratch/ranks" "$there"/ranks </dev/null
says "all ranks are content"
