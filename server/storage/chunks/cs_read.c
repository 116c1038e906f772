/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_read.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "crc.h"
#include "err.h"

/* A read on its way through the object, run by run. */
struct reading {
    struct cs_store *store;
    struct cs_name name;
    uint64_t offset, end; /* in the object */
    uint8_t *place;
    bool has_strip; /* the one at `offset` */
    struct cs_strip strip;
};

/* -ENOENT: there is nothing to read. */
static int reading_begin(struct reading *reading, struct cs_store *store, struct cs_name name,
                         const struct layout *layout, uint64_t offset, void *buffer, size_t length)
{
    struct cs_object object;
    int error = cs_check_range(store, offset, 0);
    if (!error)
        error = cs_object_get(store, name, layout, &object);
    if (error)
        return error;
    if (!object.exists || offset >= object.record.length || length == 0)
        return -ENOENT;
    const uint64_t there = object.record.length - offset;
    reading->store = store;
    reading->name = name;
    reading->offset = offset;
    reading->end = offset + (length < there ? length : there);
    reading->place = buffer;
    reading->has_strip = false;
    return 0;
}

/* The run at `offset`, and moves on behind it. */
static int reading_next(struct reading *reading, struct cs_run *run)
{
    const struct cs_strip *strip = &reading->strip;
    const uint64_t index = reading->offset / CS_STRIP, start = index * CS_STRIP;
    const uint32_t from = (uint32_t)(reading->offset - start);
    const uint32_t most = reading->end - start < CS_STRIP ? (uint32_t)(reading->end - start) : CS_STRIP;
    int error = reading->has_strip ? 0 : cs_strip_get(reading->store, reading->name, index, &reading->strip);
    if (error)
        return error;
    const unsigned first = from / CS_BLOCK, end = (most - 1) / CS_BLOCK;
    const bool hole = strip->block[first] == CS_HOLE;
    unsigned last = first;
    while (last < end &&
           (hole ? strip->block[last + 1] == CS_HOLE
                 : strip->block[last + 1] != CS_HOLE && strip->block[last + 1] == strip->block[last] + 1))
        last++;
    run->index = index;
    run->block = strip->block[first];
    run->first = (uint8_t)first;
    run->last = (uint8_t)last;
    run->from = from;
    run->to = (last + 1) * CS_BLOCK < most ? (last + 1) * CS_BLOCK : most;
    run->place = reading->place;
    if (!hole)
        memcpy(run->crc, &strip->crc[first], (last - first + 1) * sizeof run->crc[0]);
    reading->place += run->to - run->from;
    reading->offset = start + run->to;
    reading->has_strip = run->to < CS_STRIP;
    return 0;
}

/* Where block i of the strip is read to. Only a read's first block lacks bytes in front. */
static uint8_t *place_of(const struct cs_run *run, cs_edges edges, unsigned i)
{
    const uint32_t at = i * CS_BLOCK;
    if (run->from > at)
        return edges[0];
    return run->to < at + CS_BLOCK ? edges[1] : run->place + (at - run->from);
}

int cs_run_list(const struct cs_run *run, cs_edges edges, struct iovec iov[CS_RUN_PIECES])
{
    int count = 0;
    for (unsigned i = run->first; i <= run->last && run->block != CS_HOLE; i++) {
        uint8_t *place = place_of(run, edges, i);
        if (count && (uint8_t *)iov[count - 1].iov_base + iov[count - 1].iov_len == place)
            iov[count - 1].iov_len += CS_BLOCK;
        else
            iov[count++] = (struct iovec){place, CS_BLOCK};
    }
    return count;
}

static void zero_run(const struct cs_run *run, uint32_t *crc)
{
    memset(run->place, 0, run->to - run->from);
    if (crc)
        *crc = crc_of(*crc, run->place, run->to - run->from);
}

/* *bad gets the block of the strip that fails. */
static int run_check(const struct cs_run *run, cs_edges edges, uint32_t *crc, unsigned *bad)
{
    if (run->block == CS_HOLE) {
        zero_run(run, crc);
        return 0;
    }
    for (unsigned i = run->first; i <= run->last; i++) {
        const uint32_t at = i * CS_BLOCK, begin = run->from > at ? run->from - at : 0;
        const uint32_t end = run->to - at < CS_BLOCK ? run->to - at : CS_BLOCK;
        const uint8_t *bytes = place_of(run, edges, i);
        const uint32_t wanted = run->crc[i - run->first];
        *bad = i;
        if (crc_of(0, bytes, CS_BLOCK) != wanted)
            return -EBADMSG;
        if (end - begin < CS_BLOCK)
            memcpy(run->place + (at + begin - run->from), bytes + begin, end - begin);
        if (crc)
            *crc = end - begin == CS_BLOCK ? crc_join(*crc, wanted, CS_BLOCK)
                                           : crc_of(*crc, bytes + begin, end - begin);
    }
    return 0;
}

/* ---- at once ------------------------------------------------------------ */

static int read_run(struct cs_store *store, struct cs_name name, const struct cs_run *run, cs_edges edges,
                    uint32_t *crc)
{
    struct iovec iov[CS_RUN_PIECES];
    const int count = cs_run_list(run, edges, iov);
    unsigned bad = run->first;
    int error = count == 0 ? 0
                           : store->io->type->read(store->io, CS_DATA, cs_run_offset(run), iov, count,
                                                   store->pages.nowait);
    if (error)
        return cs_unreadable(store, name, run->index * CS_STRIP + bad * CS_BLOCK, error);
    error = run_check(run, edges, crc, &bad);
    if (error == -EBADMSG)
        err_set(error, "the checksum of block %" PRIu32 " is wrong", run->block + (bad - run->first));
    return error ? cs_damage(store, name, run->index * CS_STRIP + bad * CS_BLOCK, error) : 0;
}

int cs_read(struct cs_store *store, struct cs_name name, const struct layout *layout, uint64_t offset,
            void *buffer, size_t length, size_t *count, uint32_t *crc)
{
    struct reading reading; /* these are large, and not worth filling with zeros for each record */
    struct cs_run run;
    cs_edges edges;
    *count = 0;
    if (crc)
        *crc = 0;
    int error = reading_begin(&reading, store, name, layout, offset, buffer, length);
    if (error)
        return error == -ENOENT ? 0 : error;
    while (reading.offset < reading.end && !error) {
        error = reading_next(&reading, &run);
        if (!error)
            error = read_run(store, name, &run, edges, crc);
    }
    if (!error)
        *count = (size_t)(reading.end - offset);
    return error;
}

/* ---- later -------------------------------------------------------------- */

static struct cs_run *plan_add(struct cs_plan *plan)
{
    if (plan->count == plan->room) {
        const unsigned room = plan->room ? 2 * plan->room : 4;
        struct cs_run *runs = realloc(plan->runs, room * sizeof *runs);
        if (!runs)
            return NULL;
        plan->runs = runs;
        plan->room = room;
    }
    return &plan->runs[plan->count++];
}

int cs_plan_make(struct cs_store *store, struct cs_name name, const struct layout *layout, uint64_t offset,
                 void *buffer, size_t length, struct cs_plan *plan)
{
    struct reading reading;
    plan->length = 0;
    plan->runs = NULL;
    plan->count = plan->room = 0;
    int error = reading_begin(&reading, store, name, layout, offset, buffer, length);
    if (error)
        return error == -ENOENT ? 0 : error;
    while (reading.offset < reading.end && !error) {
        struct cs_run *run = plan->count < CS_PLAN_RUNS ? plan_add(plan) : NULL;
        error = run ? reading_next(&reading, run) : -EAGAIN;
    }
    if (error)
        cs_plan_free(plan);
    else
        plan->length = (size_t)(reading.end - offset);
    return error;
}

void cs_plan_free(struct cs_plan *plan)
{
    free(plan->runs);
    plan->runs = NULL;
    plan->count = plan->room = 0;
}

int cs_plan_check(struct cs_plan *plan, uint32_t *crc)
{
    unsigned bad;
    for (unsigned i = 0; i < plan->count; i++)
        if (run_check(&plan->runs[i], plan->edges, crc, &bad))
            return -EBADMSG;
    return 0;
}

int cs_plan_read(struct cs_io *io, struct cs_plan *plan, uint32_t *crc)
{
    for (unsigned i = 0; i < plan->count; i++) {
        struct iovec iov[CS_RUN_PIECES];
        const struct cs_run *run = &plan->runs[i];
        const int count = cs_run_list(run, plan->edges, iov);
        int error = count ? io->type->read(io, CS_DATA, cs_run_offset(run), iov, count, false) : 0;
        if (error)
            return error;
    }
    return cs_plan_check(plan, crc);
}
