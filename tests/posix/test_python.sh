#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Python's modules for files, and SQLite in its rollback mode.

# shellcheck source=tests/posix/lib.sh
. "$WEFT_TOP_SRCDIR/tests/posix/lib.sh"
command -v python3 >/dev/null || { echo "there is no python3"; exit; }
both python3 "$WEFT_TOP_SRCDIR/tests/posix/files.py" FOLDER/files
grep -q 'to the end' "$scratch/said.there" || fail "the program did not come to its end"

echo "a virtual environment"
if python3 -m venv --without-pip "$scratch/probe" 2>/dev/null; then
    both python3 -m venv --without-pip FOLDER/env
    both env FOLDER/env/bin/python -c 'import sys; print(sys.prefix, sys.executable)'
    grep -q 'FOLDER/env FOLDER/env/bin/python' "$scratch/said.there" || fail "the environment is not in use"
    # By its name, which the shell looks for in the folders of PATH.
    both sh -c '. FOLDER/env/bin/activate && python -c "import sys; print(sys.prefix)"'
    both env PATH=FOLDER/env/bin:/usr/bin:/bin python3 -c 'import sys; print(sys.prefix)'
    both python3 -c 'import subprocess; print(subprocess.check_output(["FOLDER/env/bin/python", "-c", "import sys; print(sys.prefix)"]))'
    both test -x FOLDER/env/bin/python3
fi

echo "two processes, one database"
both python3 "$WEFT_TOP_SRCDIR/tests/posix/database.py" FOLDER/files/shared.db
