/* SPDX-License-Identifier: Apache-2.0 */
#include "client_locks.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "sim.h"

enum { APPENDS_MAX = 256, HOLDS_MAX = 512, ENTRY_BYTES = 48, SPAN = 64 };

struct append {
    uint64_t offset;
    bool sure;
};

/* A lock that was held from beginning to end, as its holder was told. */
struct hold {
    uint64_t first, end, from_ns, to_ns;
    unsigned thread;
};

static struct append appends[APPENDS_MAX];
static unsigned append_count;
static struct hold holds[HOLDS_MAX];
static unsigned hold_count;
static bool crashed;

void locks_begin(void)
{
    append_count = hold_count = 0;
    crashed = false;
}

void locks_crashed(void)
{
    crashed = true;
}

/* ---- appends ------------------------------------------------------------------ */

static void entry_make(char entry[ENTRY_BYTES], unsigned number)
{
    memset(entry, 'a' + (int)(number % 26), ENTRY_BYTES);
    memcpy(entry, &number, sizeof number);
}

int64_t locks_append(weft_file_t *file, unsigned *number)
{
    char entry[ENTRY_BYTES];
    struct iovec iov = {entry, sizeof entry};
    *number = append_count;
    if (append_count == APPENDS_MAX)
        return 0;
    struct append *append = &appends[append_count++];
    append->sure = false;
    entry_make(entry, *number);
    const ssize_t result = weft_file_append(file, &iov, 1, &append->offset);
    append->sure = result == ENTRY_BYTES;
    sim_trace("append %u: %zd at %" PRIu64, *number, result, append->sure ? append->offset : 0);
    return result < 0 ? result : 0;
}

void locks_append_unsure(unsigned number)
{
    if (number < append_count)
        appends[number].sure = false;
}

static void check_entry(weft_file_t *file, unsigned number)
{
    char entry[ENTRY_BYTES], found[ENTRY_BYTES];
    unsigned other;
    const ssize_t got = weft_file_read(file, found, sizeof found, appends[number].offset);
    if (got != ENTRY_BYTES)
        sim_fail("what was appended at %" PRIu64 " is not there: %zd", appends[number].offset, got);
    memcpy(&other, found, sizeof other);
    entry_make(entry, other);
    if (other >= append_count || memcmp(entry, found, sizeof found) != 0)
        sim_fail("what was appended at %" PRIu64 " is damaged", appends[number].offset);
    if (other != number && appends[other].sure)
        sim_fail("what was appended at %" PRIu64 " (%u) was written over by %u", appends[number].offset,
                 number, other);
}

static void check_appends(weft_file_t *file)
{
    for (unsigned i = 0; i < append_count && !crashed; i++) {
        if (!appends[i].sure)
            continue;
        for (unsigned k = 0; k < i; k++)
            if (appends[k].sure && appends[k].offset < appends[i].offset + ENTRY_BYTES &&
                appends[i].offset < appends[k].offset + ENTRY_BYTES)
                sim_fail("%u and %u were appended at %" PRIu64 " and %" PRIu64, k, i, appends[k].offset,
                         appends[i].offset);
        check_entry(file, i);
    }
}

/* ---- locks -------------------------------------------------------------------- */

static void hold_note(struct hold hold)
{
    for (unsigned i = 0; i < hold_count; i++) {
        const struct hold *other = &holds[i];
        if (hold.first < other->end && other->first < hold.end && hold.from_ns < other->to_ns &&
            other->from_ns < hold.to_ns)
            sim_fail("threads %u and %u both held a lock of %" PRIu64 "-%" PRIu64 " and %" PRIu64 "-%" PRIu64
                     ", from %" PRIu64 " to %" PRIu64 " and %" PRIu64 " to %" PRIu64 " us",
                     other->thread, hold.thread, other->first, other->end, hold.first, hold.end,
                     other->from_ns / 1000, other->to_ns / 1000, hold.from_ns / 1000, hold.to_ns / 1000);
    }
    if (hold_count < HOLDS_MAX)
        holds[hold_count++] = hold;
}

static struct hold hold_draw(unsigned thread)
{
    const uint64_t first = sim_below(SPAN), length = sim_between(1, SPAN / 2);
    return (struct hold){.first = first, .end = first + length, .thread = thread};
}

int64_t locks_exclude(weft_file_t *file, unsigned thread)
{
    struct hold hold = hold_draw(thread);
    const struct weft_extent extent = {hold.first, hold.end - hold.first};
    weft_lock_t *lock;
    const bool waits = sim_chance(700000);
    int result = waits ? weft_file_lock(file, &extent, 1, true, &lock)
                       : weft_file_trylock(file, &extent, 1, true, &lock);
    sim_trace("lock %" PRIu64 "-%" PRIu64 ": %d", hold.first, hold.end, result);
    if (result)
        return !waits && result == -EAGAIN ? 0 : result;
    hold.from_ns = sim_now();
    fiber_sleep(sim_below(20 * SIM_MS));
    hold.to_ns = sim_now();
    result = weft_file_unlock(lock);
    sim_trace("unlock: %d", result);
    if (!result)
        hold_note(hold);
    return result;
}

int64_t locks_record(weft_file_t *file, unsigned thread)
{
    struct hold hold = hold_draw(thread);
    struct weft_record record = {
        .owner = thread + 1, .extent = {hold.first, hold.end - hold.first}, .type = WEFT_LOCK_EXCLUSIVE};
    const bool waits = sim_chance(700000);
    int result = weft_file_lock_set(file, &record, waits ? WEFT_LOCK_WAIT | WEFT_LOCK_DETECT : 0);
    sim_trace("record %" PRIu64 "-%" PRIu64 ": %d", hold.first, hold.end, result);
    if (result)
        return !waits && result == -EAGAIN ? 0 : result;
    hold.from_ns = sim_now();
    fiber_sleep(sim_below(20 * SIM_MS));
    hold.to_ns = sim_now();
    record.type = WEFT_LOCK_NONE;
    result = weft_file_lock_set(file, &record, 0);
    sim_trace("record given back: %d", result);
    if (!result)
        hold_note(hold);
    return result;
}

void locks_check(weft_file_t *file)
{
    const struct weft_extent extent = {0, 2 * SPAN};
    weft_lock_t *lock;
    int result = weft_file_trylock(file, &extent, 1, true, &lock);
    if (result)
        sim_fail("a lock of someone who is gone: %d: %s", result, weft_error());
    result = weft_file_unlock(lock);
    if (result)
        sim_fail("a lock is lost though all is well: %s", weft_error());
    check_appends(file);
}
