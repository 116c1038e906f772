/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counters.h: named counts of what matters (requests, bytes, wake-ups).
 *
 * A set belongs to one thread that adds to it, but for counters that are only
 * added to by counter_add_shared(); any thread may read it at any
 * time (relaxed atomics, so a reader may see one counter newer than another).
 */
#ifndef COMMON_COUNTERS_H
#define COMMON_COUNTERS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct counter {
    const char *name; /* "requests_write": noun last parts refine */
    _Atomic uint64_t value;
};

static inline void counter_add(struct counter *counter, uint64_t amount)
{
    /* One writer: a plain add, published without a locked instruction. */
    uint64_t value = atomic_load_explicit(&counter->value, memory_order_relaxed);
    atomic_store_explicit(&counter->value, value + amount, memory_order_relaxed);
}

/* For a counter that several threads add to. */
static inline void counter_add_shared(struct counter *counter, uint64_t amount)
{
    atomic_fetch_add_explicit(&counter->value, amount, memory_order_relaxed);
}

static inline uint64_t counter_get(const struct counter *counter)
{
    return atomic_load_explicit(&((struct counter *)counter)->value, memory_order_relaxed);
}

#endif
