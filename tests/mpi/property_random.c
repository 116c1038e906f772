/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property_random.c: numbers that only depend on a seed and the number of a case.
 */
#include "property.h"

static uint64_t next(struct random *random)
{
    uint64_t word = random->state += 0x9e3779b97f4a7c15u;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
    return word ^ (word >> 31);
}

void random_start(struct random *random, uint64_t seed, uint64_t number)
{
    random->state = seed * 0xd1342543de82ef95u + number;
    random->state = next(random);
}

int64_t pick(struct random *random, int64_t below)
{
    return (int64_t)(next(random) % (uint64_t)below);
}

bool chance(struct random *random, int percent)
{
    return pick(random, 100) < percent;
}
