/* SPDX-License-Identifier: Apache-2.0 */
#include "model.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "cluster.h"
#include "sim.h"

enum { FILES_MAX = 64, CHANGES_MAX = 1024 };

#define NEVER UINT64_MAX

struct change {
    uint32_t value;      /* what it writes: its number; 0: zeros */
    uint64_t begin, end; /* a truncation goes on for ever */
    uint64_t began_ns, ended_ns;
    bool cuts, synced;
    bool is_seen;  /* a part of a change, noted when a read saw it: it had ended by then */
    bool may_lack; /* a crash may have lost it */
};

struct model_file {
    uint64_t ino;
    unsigned count;
    unsigned loose;    /* clients because of which the metadata server need not know the size */
    uint64_t tight_ns; /* when the latest of those was back */
    struct change changes[CHANGES_MAX];
};

struct unit {
    uint32_t value, ino;
    uint64_t offset;
};

static_assert(sizeof(struct unit) == MODEL_UNIT, "a unit");

static struct model_file files[FILES_MAX];
static unsigned file_count;
static uint64_t crashed_ns; /* when a host did last */

void model_begin(void)
{
    file_count = 0;
    crashed_ns = 0;
}

struct model_file *model_file(uint64_t ino)
{
    for (unsigned i = 0; i < file_count; i++)
        if (files[i].ino == ino)
            return &files[i];
    if (file_count == FILES_MAX)
        sim_fail("the model has no room for more files");
    struct model_file *file = &files[file_count++];
    file->ino = ino;
    file->count = 0;
    file->loose = 0;
    file->tight_ns = 0;
    return file;
}

/* ---- changes ------------------------------------------------------------------ */

static struct change *add(struct model_file *file)
{
    if (file->count == CHANGES_MAX)
        sim_fail("the model has no room for more changes");
    struct change *change = &file->changes[file->count++];
    *change = (struct change){.began_ns = sim_now(), .ended_ns = NEVER};
    return change;
}

uint32_t model_write(struct model_file *file, void *bytes, uint64_t offset, uint64_t length)
{
    struct change *change = add(file);
    change->value = file->count;
    change->begin = offset;
    change->end = offset + length;
    for (uint64_t at = 0; at < length; at += MODEL_UNIT) {
        const struct unit unit = {change->value, (uint32_t)file->ino, offset + at};
        memcpy((uint8_t *)bytes + at, &unit, sizeof unit);
    }
    return file->count;
}

uint32_t model_cut(struct model_file *file, uint64_t size)
{
    struct change *change = add(file);
    change->cuts = true;
    change->begin = size;
    change->end = NEVER;
    return file->count;
}

uint32_t model_punch(struct model_file *file, uint64_t offset, uint64_t length)
{
    struct change *change = add(file);
    change->begin = offset;
    change->end = offset + length;
    return file->count;
}

void model_done(struct model_file *file, uint32_t number)
{
    file->changes[number - 1].ended_ns = sim_now();
}

void model_synced(struct model_file *file, uint64_t began_ns, uint64_t since_ns)
{
    for (unsigned i = 0; i < file->count; i++) {
        struct change *change = &file->changes[i];
        if (change->ended_ns >= began_ns || (change->may_lack && change->began_ns < since_ns))
            continue;
        change->synced = true;
        change->may_lack = false;
    }
}

void model_crash(void)
{
    crashed_ns = sim_now();
    for (unsigned i = 0; i < file_count; i++)
        for (unsigned k = 0; k < files[i].count; k++)
            if (!files[i].changes[k].synced)
                files[i].changes[k].may_lack = true;
}

/* ---- bytes -------------------------------------------------------------------- */

/* What `of` wrote from `begin` to `end` had been replaced, somewhere, when a read began. */
static const struct change *replaced(const struct model_file *file, const struct change *of, uint64_t begin,
                                     uint64_t end, uint64_t began_ns)
{
    const uint64_t ended_ns = of ? of->ended_ns : 0;
    for (unsigned i = 0; i < file->count; i++) {
        const struct change *by = &file->changes[i];
        if (by->began_ns > ended_ns && by->ended_ns < began_ns && by->begin < end && begin < by->end &&
            !by->may_lack && !(of && by->value == of->value && !by->cuts))
            return by;
    }
    return NULL;
}

static bool is_zeros(const struct change *change)
{
    return change->value == 0;
}

static void tell(const char *what, const struct change *change)
{
    sim_trace("%s: %s of %" PRIu64 "-%" PRIu64 ", from %" PRIu64 " to %" PRIu64 " us%s%s", what,
              change->cuts       ? "the cut"
              : is_zeros(change) ? "the punch"
                                 : "the write",
              change->begin, change->end, change->began_ns / 1000,
              change->ended_ns == NEVER ? 0 : change->ended_ns / 1000, change->is_seen ? ", seen" : "",
              change->may_lack ? ", perhaps lost" : "");
}

static void check_value(struct model_file *file, uint32_t value, uint64_t begin, uint64_t end,
                        uint64_t began_ns)
{
    if (value > file->count || file->changes[value - 1].value != value || file->changes[value - 1].is_seen)
        sim_fail("file %" PRIu64 ": %" PRIu64 "-%" PRIu64 " has bytes that nobody wrote: %" PRIu32, file->ino,
                 begin, end, value);
    const struct change *change = &file->changes[value - 1];
    if (begin < change->begin || end > change->end)
        sim_fail("file %" PRIu64 ": bytes at %" PRIu64 "-%" PRIu64 " belong to %" PRIu64 "-%" PRIu64,
                 file->ino, begin, end, change->begin, change->end);
    const struct change *by = replaced(file, change, begin, end, began_ns);
    if (by) {
        tell("seen", change);
        tell("though replaced by", by);
        sim_fail("file %" PRIu64 ": %" PRIu64 "-%" PRIu64 " is old (write %" PRIu32 ", replaced by %" PRIu32
                 " when the read began at %" PRIu64 " us)",
                 file->ino, begin, end, value, by->value, began_ns / 1000);
    }
    /* Of one that is not answered some replicas may have it, and not the one that leads next. */
    if (change->ended_ns == NEVER && cluster.replicas > 1)
        return;
    /* What is there after a crash outlived it: until the next one that is as good as written again. */
    if ((change->ended_ns != NEVER && !change->may_lack) || began_ns <= crashed_ns)
        return;
    struct change *note = add(file);
    *note = *change;
    note->is_seen = true;
    note->may_lack = false;
    note->begin = begin;
    note->end = end;
    note->ended_ns = sim_now();
}

/* Zeros: never written, or cut, or punched. */
static bool may_be_zero(const struct model_file *file, uint64_t begin, uint64_t end, uint64_t began_ns)
{
    if (!replaced(file, NULL, begin, end, began_ns))
        return true;
    for (unsigned i = 0; i < file->count; i++) {
        const struct change *zeros = &file->changes[i];
        if (is_zeros(zeros) && zeros->begin <= begin && zeros->end >= end &&
            !replaced(file, zeros, begin, end, began_ns))
            return true;
    }
    return false;
}

/* The next offset where anything begins or ends. */
static uint64_t next_border(const struct model_file *file, uint64_t begin, uint64_t end)
{
    for (unsigned i = 0; i < file->count; i++) {
        const struct change *change = &file->changes[i];
        if (change->begin > begin && change->begin < end)
            end = change->begin;
        if (change->end > begin && change->end < end)
            end = change->end;
    }
    return end;
}

static void check_zeros(const struct model_file *file, uint64_t begin, uint64_t end, uint64_t began_ns)
{
    while (begin < end) {
        const uint64_t border = next_border(file, begin, end);
        if (!may_be_zero(file, begin, border, began_ns)) {
            tell("replaced by", replaced(file, NULL, begin, border, began_ns));
            sim_fail("file %" PRIu64 ": %" PRIu64 "-%" PRIu64 " is lost: zeros", file->ino, begin, border);
        }
        begin = border;
    }
}

void model_hole(const struct model_file *file, uint64_t begin, uint64_t end, uint64_t began_ns)
{
    check_zeros(file, begin, end, began_ns);
}

/* ---- sizes -------------------------------------------------------------------- */

/* So much a change makes the file long at least. */
static uint64_t reach(const struct change *change)
{
    return change->cuts ? change->begin : is_zeros(change) ? 0 : change->end;
}

/* No truncation may have come after it, or beside it. */
static bool is_uncut(const struct model_file *file, const struct change *change)
{
    for (unsigned i = 0; i < file->count; i++) {
        const struct change *cut = &file->changes[i];
        if (cut != change && cut->cuts && (cut->ended_ns >= change->began_ns || cut->may_lack))
            return false;
    }
    return true;
}

/* A truncation has surely come after it. */
static bool is_cut(const struct model_file *file, const struct change *change, uint64_t began_ns)
{
    for (unsigned i = 0; i < file->count; i++) {
        const struct change *cut = &file->changes[i];
        if (cut->cuts && cut->began_ns > change->ended_ns && cut->ended_ns < began_ns && !cut->may_lack)
            return true;
    }
    return false;
}

/* A size was seen, or one that is no larger. */
static void check_end(const struct model_file *file, uint64_t size, bool may_be_less, uint64_t began_ns)
{
    uint64_t low = 0, high = 0;
    for (unsigned i = 0; i < file->count; i++) {
        const struct change *change = &file->changes[i];
        if (change->is_seen)
            continue;
        if (reach(change) > high && !is_cut(file, change, began_ns))
            high = reach(change);
        if (reach(change) > low && change->ended_ns < began_ns && !change->may_lack && is_uncut(file, change))
            low = reach(change);
    }
    if (size < low || (size > high && !may_be_less))
        sim_fail("file %" PRIu64 " has %" PRIu64 " bytes, and must have from %" PRIu64 " to %" PRIu64,
                 file->ino, size, low, high);
}

void model_size(const struct model_file *file, uint64_t size, uint64_t began_ns)
{
    check_end(file, size, false, began_ns);
}

void model_size_of_name(const struct model_file *file, uint64_t size, uint64_t began_ns)
{
    if (file->loose == 0 && began_ns >= file->tight_ns)
        check_end(file, size, false, began_ns);
}

void model_size_loosen(struct model_file *file)
{
    file->loose++;
}

void model_size_tighten(struct model_file *file)
{
    file->loose--;
    file->tight_ns = sim_now();
}

/* ---- reads -------------------------------------------------------------------- */

/* The unit at `at`, of which the last bytes may be beyond the end. */
static uint32_t value_at(const struct model_file *file, const uint8_t *bytes, uint64_t offset, uint64_t at,
                         uint64_t got)
{
    struct unit unit = {0};
    const size_t length = got - at < sizeof unit ? (size_t)(got - at) : sizeof unit;
    memcpy(&unit, bytes + at, length);
    const struct unit wanted = {unit.value, unit.value ? (uint32_t)file->ino : 0,
                                unit.value ? offset + at : 0};
    if (memcmp(&unit, &wanted, length) != 0)
        sim_fail("file %" PRIu64 ": wrong bytes at %" PRIu64 ": of write %" PRIu32 ", file %" PRIu32
                 ", offset %" PRIu64,
                 file->ino, offset + at, unit.value, unit.ino, unit.offset);
    return unit.value;
}

void model_read(struct model_file *file, const void *bytes, uint64_t offset, uint64_t asked, uint64_t got,
                uint64_t began_ns)
{
    if (got < asked)
        check_end(file, offset + got, got == 0, began_ns);
    uint64_t from = 0;
    while (from < got) {
        const uint32_t value = value_at(file, bytes, offset, from, got);
        uint64_t to = from + MODEL_UNIT;
        while (to < got && value_at(file, bytes, offset, to, got) == value)
            to += MODEL_UNIT;
        if (to > got)
            to = got;
        if (value)
            check_value(file, value, offset + from, offset + to, began_ns);
        else
            check_zeros(file, offset + from, offset + to, began_ns);
        from = to;
    }
}
