/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seed.h: how tests with a random course are told which one to take, and how long. After <cmocka.h>.
 */
#ifndef TEST_SEED_H
#define TEST_SEED_H

#include <stdlib.h>
#include <time.h>

/* The number in the environment, or `usual`. */
static inline unsigned number_wanted(const char *name, unsigned usual)
{
    const char *wanted = getenv(name);
    return wanted ? (unsigned)strtoul(wanted, NULL, 0) : usual;
}

/* WEFT_TEST_SEED, else another one each second; printed, so that the run can be repeated. */
static inline unsigned seed_wanted(void)
{
    const unsigned seed = number_wanted("WEFT_TEST_SEED", (unsigned)time(NULL));
    print_message("WEFT_TEST_SEED=%u\n", seed);
    return seed;
}

#endif
