/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bits flip on the wire (transport_flaky.h), in whatever this client sends and receives: names, sizes, data.
 * Nothing wrong ever reaches a caller or a file, no call fails, and each flip is noticed by who got it.
 *
 *   WEFT_TEST_SEED=N   another run (the seed is printed)
 *   WEFT_TEST_FLIPS=N  at least so many (default 60), a tenth of them in headers and a tenth in payloads
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client_pair.h"
#include "seed.h"
#include "transport_flaky.h"

enum { FLIPS = 60, PERIOD = 40, BYTES = 10 * CHUNK, FILES = 4 };

static uint8_t expected[FILES][BYTES], seen[BYTES];
static uint64_t lengths[FILES];

static int setup(void **state)
{
    random_state = seed_wanted();
    return pair_setup(state);
}

static void path_of(char path[32], unsigned i)
{
    snprintf(path, 32, "/flips-%u", i);
}

static void write_piece(weft_file_t *file, unsigned i)
{
    const uint64_t at = below(BYTES);
    uint64_t length = 1 + below(below(3) ? 2000 : BYTES);
    if (length > BYTES - at)
        length = BYTES - at;
    for (uint64_t k = 0; k < length; k++)
        expected[i][at + k] = (uint8_t)below(256);
    assert_int_equal(weft_file_write(file, expected[i] + at, length, at), length);
    if (lengths[i] < at + length)
        lengths[i] = at + length;
}

static void check(weft_file_t *file, unsigned i)
{
    struct weft_attr attr;
    char path[32];
    path_of(path, i);
    memset(seen, 0, sizeof seen);
    ssize_t result = weft_file_read(file, seen, sizeof seen, 0);
    ok(result);
    assert_int_equal(result, lengths[i]);
    assert_memory_equal(seen, expected[i], sizeof seen);
    ok(weft_stat(other, path, 0, &attr));
    assert_int_equal(attr.size, lengths[i]);
}

/* Names that differ in one bit are other names: a flip that is not noticed makes one. */
static void count_entry(void *arg, const char *name)
{
    unsigned number;
    char after;
    assert_int_equal(sscanf(name, "flips-%u%c", &number, &after), 1);
    assert_true(number < FILES);
    ++*(unsigned *)arg;
}

static void check_names(void)
{
    weft_dir_t *dir;
    const char *name;
    unsigned count = 0;
    int result;
    ok(weft_dir_open(session, "/", &dir));
    while ((result = weft_dir_next(dir, &name, NULL)) > 0)
        count_entry(&count, name);
    ok(result);
    weft_dir_close(dir);
    assert_int_equal(count, FILES);
}

/* Which message a flip meets is chance: the run goes on until both kinds had their share. */
static bool enough(unsigned flips)
{
    const unsigned all = flaky_headers + flaky_payloads;
    if (flaky_headers > flips / 10 && flaky_payloads > flips / 10)
        return all >= flips;
    return all > 20 * flips;
}

static void test_flips(void **state)
{
    const unsigned flips = number_wanted("WEFT_TEST_FLIPS", FLIPS);
    weft_file_t *files[FILES];
    char path[32];
    (void)state;
    flaky_period = PERIOD;
    for (unsigned i = 0; i < FILES; i++) {
        path_of(path, i);
        files[i] = open_file(session, path, O_RDWR | O_CREAT);
    }
    while (!enough(flips)) {
        const unsigned i = below(FILES);
        for (unsigned n = 0; n < 5; n++)
            write_piece(files[i], i);
        check(files[i], i);
    }
    check_names();
    for (unsigned i = 0; i < FILES; i++)
        ok(weft_file_close(files[i]));
    flaky_period = 0;
    const uint64_t here = counter(session, "messages_damaged") + counter(other, "messages_damaged");
    const uint64_t there = server_counter(other, "messages_damaged");
    print_message("%u flips in headers, %u in payloads; noticed: %llu here, %llu by servers\n", flaky_headers,
                  flaky_payloads, (unsigned long long)here, (unsigned long long)there);
    assert_true(flaky_headers > flips / 10 && flaky_payloads > flips / 10 && here > 0 && there > 0);
    /* Some met a connection that was ending already, and were not looked at. */
    assert_in_range(here + there, (flaky_headers + flaky_payloads) / 2, flaky_headers + flaky_payloads);
    for (unsigned i = 0; i < FILES; i++) {
        path_of(path, i);
        files[i] = open_file(other, path, O_RDONLY);
        check(files[i], i);
        ok(weft_file_close(files[i]));
    }
}

int main(void)
{
    const char *transport = getenv("WEFT_TRANSPORT");
    if (transport && (strncmp(transport, "ucx", 3) != 0 || strchr(transport, '+'))) {
        printf("SKIP: the network that flips bits is in the place of UCX alone, not of %s\n", transport);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_flips)};
    return cmocka_run_group_tests(tests, setup, pair_teardown);
}
