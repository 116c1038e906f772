/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host_crash.h: what a crash of a storage server's host leaves of a target, without a host that crashes.
 * While the server does not run its description is given another start of the host than this one; what of
 * the bytes is lost is the test's choice. After <cmocka.h>.
 */
#ifndef TEST_HOST_CRASH_H
#define TEST_HOST_CRASH_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc.h"

static inline void shell(const char *format, const char *a, const char *b)
{
    char command[512];
    snprintf(command, sizeof command, format, a, b);
    if (system(command) != 0)
        fail_msg("%s", command);
}

static inline void host_started_anew(const char *target_dir)
{
    char path[256], text[1024] = "";
    snprintf(path, sizeof path, "%s/target", target_dir);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    char *boot = strstr(text, "\nboot "), *crc = strstr(text, "\ncrc ");
    assert_non_null(boot);
    assert_non_null(crc);
    boot[6] = boot[6] == '0' ? '1' : '0';
    snprintf(crc + 1, 14, "crc %08" PRIx32 "\n", crc_of(0, text, (size_t)(crc + 1 - text)));
    rewind(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

#endif
