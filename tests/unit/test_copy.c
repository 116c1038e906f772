/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of all lengths and alignments that are treated apart: every byte is there, and none beside it
 * changed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "copy.h"

enum { PAGE = 4096, LENGTH_MAX = 40000, GUARD = 0xee };

static _Alignas(PAGE) uint8_t from[LENGTH_MAX + PAGE], to[LENGTH_MAX + 3 * PAGE];

static void copies_all_and_no_more(void **state)
{
    (void)state;
    static const size_t lengths[] = {0,    1,    63,   64,   65,    2047,  2048, 2049,
                                     4095, 4096, 4097, 8191, 16383, 16384, 40000};
    static const size_t behind[] = {0, 1, 7, 8, 15, 16, 31, 32, 63, 64, 100, 255, 256, 257, 2000, 4095};
    for (size_t i = 0; i < sizeof from; i++)
        from[i] = (uint8_t)((i * 2654435761u) >> 13);
    for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++)
        for (size_t b = 0; b < sizeof behind / sizeof behind[0]; b++)
            for (size_t at = 0; at < 48; at += 24) {
                uint8_t *target = to + PAGE + at + behind[b];
                memset(to, GUARD, sizeof to);
                copy_bytes(target, from + at, lengths[l]);
                assert_memory_equal(target, from + at, lengths[l]);
                for (uint8_t *byte = to; byte < to + sizeof to; byte++)
                    if ((byte < target || byte >= target + lengths[l]) && *byte != GUARD)
                        fail_msg("a copy of %zu bytes changed one at %td", lengths[l], byte - target);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(copies_all_and_no_more)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
