/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "crc.h"

/* RFC 3720, appendix B.4, and the check value of the catalogues. */
static void known_values(void **state)
{
    (void)state;
    uint8_t bytes[32];
    assert_int_equal(crc_of(0, "123456789", 9), 0xe3069283);
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(crc_of(0, bytes, sizeof bytes), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(crc_of(0, bytes, sizeof bytes), 0x62a8ab43);
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    assert_int_equal(crc_of(0, bytes, sizeof bytes), 0x46dd794e);
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(31 - i);
    assert_int_equal(crc_of(0, bytes, sizeof bytes), 0x113fdb5c);
}

static void nothing_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(crc_of(0, "", 0), 0);
    assert_int_equal(crc_of(0x12345678, NULL, 0), 0x12345678);
}

/* The definition, bit by bit. */
static uint32_t slow_crc(uint32_t crc, const uint8_t *data, size_t length)
{
    crc = ~crc;
    while (length--) {
        crc ^= *data++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

static void joins(void **state)
{
    (void)state;
    static uint8_t bytes[3 * CRC_BLOCK];
    static const size_t lengths[] = {0, 1, 2, 7, 100, 4095, CRC_BLOCK, 4097, 2 * CRC_BLOCK};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + (i >> 7));
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
            const size_t a = lengths[i], b = lengths[k];
            if (a + b <= sizeof bytes)
                assert_int_equal(crc_join(crc_of(0, bytes, a), crc_of(0, bytes + a, b), b),
                                 crc_of(0, bytes, a + b));
        }
    /* A billion times zero. */
    assert_int_equal(crc_join(0, 0, UINT64_C(1) << 40), 0);
}

static void agrees_with_the_definition(void **state)
{
    (void)state;
    static uint8_t bytes[9000];
    uint32_t random = 1;
    for (size_t i = 0; i < sizeof bytes; i++) {
        random = random * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(random >> 24);
    }
    for (size_t start = 0; start < 17; start++) {
        for (size_t length = 0; start + length <= sizeof bytes; length = length * 5 / 4 + 1)
            assert_int_equal(crc_of(0, bytes + start, length), slow_crc(0, bytes + start, length));
    }
}

static void continues_where_it_stopped(void **state)
{
    (void)state;
    static uint8_t bytes[4096];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 31);
    uint32_t whole = crc_of(0, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut += 13)
        assert_int_equal(crc_of(crc_of(0, bytes, cut), bytes + cut, sizeof bytes - cut), whole);
}

/* More than an int can count; untouched pages take no memory. The value comes
 * from squaring the step over one zero bit. */
static void long_data_is_no_special_case(void **state)
{
    (void)state;
    const size_t length = ((size_t)2 << 30) + 5;
    const char *valgrind = getenv("WEFT_VALGRIND");
    if (valgrind && *valgrind) {
        print_message("2 GiB take too long under valgrind\n");
        skip();
    }
    void *zeros = mmap(NULL, length, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(zeros, MAP_FAILED);
    assert_int_equal(crc_of(0, zeros, length), 0x572a7c8a);
    munmap(zeros, length);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values),
        cmocka_unit_test(joins),
        cmocka_unit_test(nothing_changes_nothing),
        cmocka_unit_test(agrees_with_the_definition),
        cmocka_unit_test(continues_where_it_stopped),
        cmocka_unit_test(long_data_is_no_special_case),
    };
    return cmocka_run_group_tests_name("crc", tests, NULL, NULL);
}
