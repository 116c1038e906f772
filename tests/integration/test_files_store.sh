#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The tests of real servers again, with targets that keep their bytes in local files.
# Only what fails is shown.

# shellcheck source=tests/integration/lib.sh
. "$WEFT_TOP_SRCDIR/tests/integration/lib.sh"

# Locks and the cluster map know nothing of stores: their tests need not run twice.
for test in test_storaged test_client test_client_faults test_gather_client test_holes test_kills test_losses; do
    if ! WEFT_TEST_STORE=files "$build/tests/integration/$test" >"$scratch/$test.log" 2>&1; then
        cat "$scratch/$test.log" >&2
        fail "$test with store = \"files\""
    fi
done
