/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "capability.h"
#include "err.h"

static uint8_t key[CONF_KEY_BYTES];

static int make_key(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    return 0;
}

static struct wire_capability make(void)
{
    struct wire_capability capability = {
        .ino = UINT64_C(0x1122334455667788),
        .layout = {.chunk_size = 1 << 20,
                   .seed = UINT64_C(0xdeadbeefcafef00d),
                   .stripe_count = 3,
                   .group_count = 4,
                   .host = 5},
        .access = WIRE_ACCESS_READ | WIRE_ACCESS_WRITE,
    };
    capability_sign(key, &capability);
    return capability;
}

/* Computed by another implementation of BLAKE2b over "weft capability 1", a
 * NUL, the encoded fields and 16 zeros. */
static void the_signature_is_golden(void **state)
{
    (void)state;
    static const uint8_t expected[WIRE_MAC_BYTES] = {0x83, 0xd3, 0xef, 0x7e, 0xdd, 0x31, 0xf5, 0x01,
                                                     0xd1, 0x60, 0xe9, 0x90, 0x0e, 0xca, 0x01, 0x36};
    struct wire_capability capability = make();
    assert_memory_equal(capability.mac.bytes, expected, sizeof expected);
}

static void what_was_signed_is_good(void **state)
{
    (void)state;
    struct wire_capability capability = make();
    assert_int_equal(capability_check(key, &capability, 0), 0);
    assert_int_equal(capability_check(key, &capability, WIRE_ACCESS_READ), 0);
    assert_int_equal(capability_check(key, &capability, WIRE_ACCESS_WRITE), 0);
    assert_int_equal(capability_check(key, &capability, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE), 0);
    /* The mac that stood there before plays no part. */
    capability_sign(key, &capability);
    assert_int_equal(capability_check(key, &capability, WIRE_ACCESS_READ), 0);
}

static void expect_forged(const struct wire_capability *capability)
{
    assert_int_equal(capability_check(key, capability, 0), -EACCES);
    assert_non_null(strstr(err_text(), "not signed"));
}

static void every_field_is_signed(void **state)
{
    (void)state;
    const struct wire_capability good = make();
    struct wire_capability capability = good;
    for (unsigned bit = 0; bit < 64; bit++, capability = good) {
        capability.ino ^= UINT64_C(1) << bit;
        expect_forged(&capability);
    }
    for (unsigned bit = 0; bit < 64; bit++, capability = good) {
        capability.layout.seed ^= UINT64_C(1) << bit;
        expect_forged(&capability);
    }
    for (unsigned bit = 0; bit < 64; bit++, capability = good) {
        capability.layout.chunk_size ^= UINT64_C(1) << bit;
        expect_forged(&capability);
    }
    for (unsigned bit = 0; bit < 32; bit++, capability = good) {
        capability.layout.stripe_count ^= UINT32_C(1) << bit;
        expect_forged(&capability);
        capability = good;
        capability.layout.group_count ^= UINT32_C(1) << bit;
        expect_forged(&capability);
        capability = good;
        capability.access ^= UINT32_C(1) << bit;
        expect_forged(&capability);
        capability = good;
        capability.layout.host ^= UINT32_C(1) << bit;
        expect_forged(&capability);
    }
    for (unsigned bit = 0; bit < 8 * WIRE_MAC_BYTES; bit++, capability = good) {
        capability.mac.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        expect_forged(&capability);
    }
}

/* What cannot be sent cannot be signed either; no mac may fit it by accident. */
static void values_out_of_bounds_have_no_signature(void **state)
{
    (void)state;
    struct wire_capability capability = make();
    capability.access = 8;
    memset(&capability.mac, 0, sizeof capability.mac);
    expect_forged(&capability);
}

static void another_key_is_no_good(void **state)
{
    (void)state;
    struct wire_capability capability = make();
    uint8_t other[CONF_KEY_BYTES];
    for (unsigned i = 0; i < sizeof other; i++) {
        memcpy(other, key, sizeof other);
        other[i] ^= 0x80;
        assert_int_equal(capability_check(other, &capability, 0), -EACCES);
    }
}

static void only_what_is_granted_is_allowed(void **state)
{
    (void)state;
    struct wire_capability capability = make();
    capability.access = WIRE_ACCESS_READ;
    capability_sign(key, &capability);
    assert_int_equal(capability_check(key, &capability, WIRE_ACCESS_READ), 0);
    assert_int_equal(capability_check(key, &capability, WIRE_ACCESS_WRITE), -EACCES);
    assert_non_null(strstr(err_text(), "write"));
    assert_int_equal(capability_check(key, &capability, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE), -EACCES);
    capability.access = 0;
    capability_sign(key, &capability);
    assert_int_equal(capability_check(key, &capability, 0), 0);
    assert_int_equal(capability_check(key, &capability, WIRE_ACCESS_READ), -EACCES);
    assert_non_null(strstr(err_text(), "read"));
}

static void a_layout_without_sense_is_refused_though_signed(void **state)
{
    (void)state;
    struct wire_capability capability = make();
    capability.layout.stripe_count = 0;
    capability_sign(key, &capability);
    assert_int_equal(capability_check(key, &capability, WIRE_ACCESS_READ), -EINVAL);
    capability.layout.stripe_count = 5; /* of 4 groups */
    capability_sign(key, &capability);
    assert_int_equal(capability_check(key, &capability, WIRE_ACCESS_READ), -EINVAL);
}

static void the_layout_is_handed_out(void **state)
{
    (void)state;
    struct wire_capability capability = make();
    struct layout layout = capability_layout(&capability);
    assert_int_equal(layout.chunk_size, 1 << 20);
    assert_int_equal(layout.seed, UINT64_C(0xdeadbeefcafef00d));
    assert_int_equal(layout.stripe_count, 3);
    assert_int_equal(layout.group_count, 4);
    assert_int_equal(layout.host, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_signature_is_golden),
        cmocka_unit_test(what_was_signed_is_good),
        cmocka_unit_test(every_field_is_signed),
        cmocka_unit_test(values_out_of_bounds_have_no_signature),
        cmocka_unit_test(another_key_is_no_good),
        cmocka_unit_test(only_what_is_granted_is_allowed),
        cmocka_unit_test(a_layout_without_sense_is_refused_though_signed),
        cmocka_unit_test(the_layout_is_handed_out),
    };
    return cmocka_run_group_tests_name("capability", tests, make_key, NULL);
}
