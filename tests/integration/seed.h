/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seed.h: how tests with a random course are told which one to take, and how long, and how they draw it.
 * After <cmocka.h>.
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

/* From 0 to `bound` - 1, and the state goes on. */
static inline unsigned below_of(unsigned *state, unsigned bound)
{
    return (unsigned)rand_r(state) % bound;
}

/* The same for tests with one course, which begins with the seed. */
static unsigned random_state;

static inline unsigned below(unsigned bound)
{
    return below_of(&random_state, bound);
}

#endif
