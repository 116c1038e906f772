#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Python's modules for files, and SQLite in its rollback mode.

# shellcheck source=tests/posix/lib.sh
. "$WEFT_TOP_SRCDIR/tests/posix/lib.sh"
command -v python3 >/dev/null || { echo "there is no python3"; exit; }
both python3 "$WEFT_TOP_SRCDIR/tests/posix/files.py" FOLDER/files
grep -q 'to the end' "$scratch/said.there" || fail "the program did not come to its end"

echo "two processes, one database"
both python3 "$WEFT_TOP_SRCDIR/tests/posix/database.py" FOLDER/files/shared.db
