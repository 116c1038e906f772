/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A buddy allocator over one reservation. Memory comes in blocks of the largest
 * size; a block is halved until a half would be too small, and two free halves
 * become one again. A lone waiter for a large buffer therefore gets it once
 * enough small ones are back, whatever their sizes were.
 *
 * Everything is counted in units, the smallest buffers. A run of 2^order units
 * begins at a multiple of 2^order within its block, and its other half lies at
 * the unit whose number differs in that one bit.
 */
#include "bufpool.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "err.h"
#include "rpc.h"

#define UNIT_BYTES_MIN ((size_t)64 << 10)
#define ORDERS_MAX     16u
#define NONE           UINT32_MAX

enum run_state { RUN_INSIDE, RUN_FREE, RUN_USED };

/* Of the unit that a run begins with. */
struct run {
    uint8_t state;
    uint8_t order;
    uint32_t next, previous; /* in the list of free runs of its order */
};

struct bufpool {
    struct rpc *rpc;
    struct rpc_memory *memory;
    uint8_t *start;
    size_t bytes;
    size_t unit_bytes;
    size_t buffer_max;
    unsigned order_max; /* a whole block */
    uint32_t used;      /* runs */
    bool serving;
    struct run *runs;
    uint32_t free[ORDERS_MAX + 1];
    struct bufpool_waiter *first, *last;
};

/* ---- free runs ------------------------------------------------------------ */

static void free_push(struct bufpool *pool, uint32_t unit, unsigned order)
{
    struct run *run = &pool->runs[unit];
    *run =
        (struct run){.state = RUN_FREE, .order = (uint8_t)order, .next = pool->free[order], .previous = NONE};
    if (run->next != NONE)
        pool->runs[run->next].previous = unit;
    pool->free[order] = unit;
}

static void free_remove(struct bufpool *pool, uint32_t unit)
{
    struct run *run = &pool->runs[unit];
    if (run->next != NONE)
        pool->runs[run->next].previous = run->previous;
    if (run->previous != NONE)
        pool->runs[run->previous].next = run->next;
    else
        pool->free[run->order] = run->next;
    run->state = RUN_INSIDE;
}

static unsigned order_for(const struct bufpool *pool, size_t length)
{
    unsigned order = 0;
    while (pool->unit_bytes << order < length)
        order++;
    return order;
}

static void *take(struct bufpool *pool, size_t length)
{
    unsigned wanted = order_for(pool, length), order = wanted;
    while (order <= pool->order_max && pool->free[order] == NONE)
        order++;
    if (order > pool->order_max)
        return NULL;
    uint32_t unit = pool->free[order];
    free_remove(pool, unit);
    while (order > wanted) {
        order--;
        free_push(pool, unit + (UINT32_C(1) << order), order);
    }
    pool->runs[unit] = (struct run){.state = RUN_USED, .order = (uint8_t)wanted};
    pool->used++;
    return pool->start + unit * pool->unit_bytes;
}

static void give_back(struct bufpool *pool, void *buffer)
{
    size_t distance = (size_t)((uint8_t *)buffer - pool->start);
    assert((uint8_t *)buffer >= pool->start && distance < pool->bytes && distance % pool->unit_bytes == 0);
    uint32_t unit = (uint32_t)(distance / pool->unit_bytes);
    assert(pool->runs[unit].state == RUN_USED);
    unsigned order = pool->runs[unit].order;
    pool->runs[unit].state = RUN_INSIDE;
    pool->used--;
    for (; order < pool->order_max; order++) {
        uint32_t other = unit ^ (UINT32_C(1) << order);
        if (pool->runs[other].state != RUN_FREE || pool->runs[other].order != order)
            break;
        free_remove(pool, other);
        unit = unit < other ? unit : other;
    }
    free_push(pool, unit, order);
}

/* ---- making and ending ---------------------------------------------------- */

/* Halves the block while its halves are neither too small nor no longer whole pages. */
static int choose_sizes(struct bufpool *pool, size_t bytes_max, size_t buffer_max)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (buffer_max == 0 || buffer_max > SIZE_MAX / 4 || bytes_max < buffer_max)
        return err_set(-EINVAL, "a buffer pool of %zu bytes cannot hold a buffer of %zu", bytes_max,
                       buffer_max);
    while (pool->order_max < ORDERS_MAX && buffer_max >> (pool->order_max + 1) >= UNIT_BYTES_MIN)
        pool->order_max++;
    size_t step = page << pool->order_max;
    size_t block = (buffer_max + step - 1) / step * step;
    size_t blocks = bytes_max / block;
    if (blocks == 0)
        return err_set(-EINVAL, "a buffer pool of %zu bytes cannot hold a buffer of %zu, which takes %zu",
                       bytes_max, buffer_max, block);
    if (blocks > (NONE - 1) >> pool->order_max)
        return err_set(-EINVAL, "a buffer pool of %zu bytes is too large", bytes_max);
    pool->buffer_max = buffer_max;
    pool->unit_bytes = block >> pool->order_max;
    pool->bytes = blocks * block;
    return 0;
}

static int make_memory(struct bufpool *pool)
{
    /* Address space only: pages come when first used, and stay. */
    void *start =
        mmap(NULL, pool->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        return err_sys("%zu bytes for payload buffers", pool->bytes);
    pool->start = start;
    if (!pool->rpc)
        return 0;
    int error = rpc_memory_register(pool->rpc, start, pool->bytes, &pool->memory);
    if (error)
        munmap(start, pool->bytes);
    return error;
}

int bufpool_open(struct rpc *rpc, size_t bytes_max, size_t buffer_max, struct bufpool **result)
{
    struct bufpool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return err_set(-ENOMEM, "out of memory for a buffer pool");
    pool->rpc = rpc;
    for (unsigned order = 0; order <= ORDERS_MAX; order++)
        pool->free[order] = NONE;
    int error = choose_sizes(pool, bytes_max, buffer_max);
    if (error)
        goto free_pool;
    uint32_t units = (uint32_t)(pool->bytes / pool->unit_bytes), block = UINT32_C(1) << pool->order_max;
    pool->runs = calloc(units, sizeof *pool->runs);
    if (!pool->runs) {
        error = err_set(-ENOMEM, "out of memory for a buffer pool");
        goto free_pool;
    }
    error = make_memory(pool);
    if (error)
        goto free_runs;
    /* The first block is to be used first. */
    for (uint32_t unit = units; unit > 0; unit -= block)
        free_push(pool, unit - block, pool->order_max);
    *result = pool;
    return 0;

free_runs:
    free(pool->runs);
free_pool:
    free(pool);
    return error;
}

void bufpool_close(struct bufpool *pool)
{
    if (!pool)
        return;
    assert(pool->used == 0 && !pool->first);
    if (pool->memory)
        rpc_memory_release(pool->rpc, pool->memory);
    munmap(pool->start, pool->bytes);
    free(pool->runs);
    free(pool);
}

void bufpool_memory(const struct bufpool *pool, void **start, size_t *bytes)
{
    *start = pool->start;
    *bytes = pool->bytes;
}

/* ---- the line ------------------------------------------------------------- */

/* First come, first served, whatever the sizes: a large wish is not passed by
 * small ones for ever. A put() from inside `ready` only frees, and is seen by
 * the loop that called it, so that a long line does not become a deep stack. */
static void serve(struct bufpool *pool)
{
    if (pool->serving)
        return;
    pool->serving = true;
    while (pool->first) {
        struct bufpool_waiter *waiter = pool->first;
        void *buffer = take(pool, waiter->length);
        if (!buffer)
            break;
        pool->first = waiter->next;
        if (!pool->first)
            pool->last = NULL;
        waiter->next = NULL;
        waiter->ready(waiter, buffer);
    }
    pool->serving = false;
}

int bufpool_get(struct bufpool *pool, struct bufpool_waiter *waiter)
{
    if (waiter->length > pool->buffer_max)
        return err_set(-EMSGSIZE, "%zu bytes do not fit a payload buffer; the most is %zu", waiter->length,
                       pool->buffer_max);
    waiter->next = NULL;
    void *buffer = bufpool_try(pool, waiter->length);
    if (buffer) {
        waiter->ready(waiter, buffer);
        return 0;
    }
    if (pool->last)
        pool->last->next = waiter;
    else
        pool->first = waiter;
    pool->last = waiter;
    return 0;
}

bool bufpool_is_short(const struct bufpool *pool)
{
    return pool->first;
}

void *bufpool_try(struct bufpool *pool, size_t length)
{
    if (pool->first || length > pool->buffer_max)
        return NULL;
    return take(pool, length);
}

void bufpool_put(struct bufpool *pool, void *buffer)
{
    give_back(pool, buffer);
    serve(pool);
}

void bufpool_leave(struct bufpool *pool, struct bufpool_waiter *waiter)
{
    struct bufpool_waiter *previous = NULL, *at = pool->first;
    while (at && at != waiter) {
        previous = at;
        at = at->next;
    }
    if (!at)
        return;
    if (previous)
        previous->next = waiter->next;
    else
        pool->first = waiter->next;
    if (pool->last == waiter)
        pool->last = previous;
    waiter->next = NULL;
    /* Those behind may want less. */
    serve(pool);
}
