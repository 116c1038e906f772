/* SPDX-License-Identifier: Apache-2.0 */
/* lead.c: the line of changes. */
#include "lead.h"

#include <errno.h>
#include <stdlib.h>

#include "err.h"
#include "lead_internal.h"
#include "shard.h"

/* ---- ranges --------------------------------------------------------------------- */

static int compare_ranges(const void *a, const void *b)
{
    const struct lead_range *left = a, *right = b;
    if (left->position != right->position)
        return left->position < right->position ? -1 : 1;
    return left->start < right->start ? -1 : left->start > right->start;
}

/* Both are in rising order. */
static bool overlap(const struct lead_change *a, const struct lead_change *b)
{
    for (uint32_t i = 0, k = 0; i < a->range_count && k < b->range_count;) {
        const struct lead_range *left = &a->ranges[i], *right = &b->ranges[k];
        if (left->position == right->position && left->start < right->end && right->start < left->end)
            return true;
        if (left->position < right->position ||
            (left->position == right->position && left->end <= right->start))
            i++;
        else
            k++;
    }
    return false;
}

static int ranges_make(struct lead_change *change, uint32_t count)
{
    change->ranges = count <= LEAD_RANGES_FEW ? change->few : malloc(count * sizeof *change->ranges);
    change->range_count = count;
    return change->ranges ? 0 : err_set(-ENOMEM, "no memory for a request");
}

/* What no member can have must not be given to any: it would be taken for one that failed. */
static int check_end(const struct shard_io *io, uint32_t target, uint64_t end)
{
    const uint64_t most = io->shard->stores[target]->type->object_bytes_max;
    return most && end > most ? err_set(-EFBIG, "the file would end beyond what a storage server can hold")
                              : 0;
}

int lead_check_size(const struct shard_io *io)
{
    int error = 0;
    for (uint32_t position = 0; position < io->layout.stripe_count && !error; position++) {
        const struct layout_part part = shard_part_of(io, position);
        error = check_end(io, 0, layout_part_length(&io->layout, &part, io->size));
    }
    return error;
}

int lead_of_runs(struct shard_io *io)
{
    struct lead_change *change = &io->change;
    int error = 0;
    for (uint32_t i = 0; i < io->run_count && !error; i++)
        error = check_end(io, io->runs[i].target, io->runs[i].offset + io->runs[i].length);
    if (!error)
        error = ranges_make(change, io->run_count);
    if (error)
        return error;
    for (uint32_t i = 0; i < io->run_count; i++)
        change->ranges[i] = (struct lead_range){.position = io->runs[i].position,
                                                .start = io->runs[i].offset,
                                                .end = io->runs[i].offset + io->runs[i].length};
    qsort(change->ranges, change->range_count, sizeof *change->ranges, compare_ranges);
    return 0;
}

int lead_of_positions(struct lead_change *change, uint32_t count)
{
    int error = ranges_make(change, count);
    for (uint32_t position = 0; position < count && !error; position++)
        change->ranges[position] = (struct lead_range){.position = position, .start = 0, .end = UINT64_MAX};
    return error;
}

int lead_of_file(struct shard_io *io)
{
    return lead_of_positions(&io->change, io->layout.stripe_count);
}

void lead_of_object(struct lead_change *change, uint32_t position, uint64_t start, uint64_t end)
{
    change->ranges = change->few;
    change->range_count = 1;
    change->few[0] = (struct lead_range){.position = position, .start = start, .end = end};
}

/* ---- the line ----------------------------------------------------------------- */

/* Whether one that came earlier is to end first. */
static bool must_wait(const struct lead *lead, const struct lead_change *change)
{
    for (const struct list_link *link = lead->line.head.next; link != &change->link; link = link->next) {
        const struct lead_change *before = list_item(link, struct lead_change, link);
        if (before->ino == change->ino && overlap(before, change))
            return true;
    }
    return false;
}

bool lead_has_others(const struct shard *shard)
{
    return map_has_replicas(shard->map);
}

void lead_enter(struct shard *shard, struct lead_change *change, uint64_t ino,
                void (*begin)(struct lead_change *change))
{
    struct lead *lead = shard->lead;
    change->runs = false;
    change->ino = ino;
    change->begin = begin;
    list_push_back(&lead->line, &change->link);
    if (must_wait(lead, change)) {
        shard_counter_add(shard, SHARD_CHANGES_WAITED, 1);
        lead->waiting++;
        return;
    }
    change->runs = true;
    begin(change);
}

static struct lead_change *next_to_begin(const struct lead *lead)
{
    list_each(&lead->line, link, after)
    {
        struct lead_change *change = list_item(link, struct lead_change, link);
        if (!change->runs && !must_wait(lead, change))
            return change;
    }
    return NULL;
}

void lead_leave(struct shard *shard, struct lead_change *change)
{
    struct lead *lead = shard->lead;
    if (!change->ranges)
        return;
    if (change->link.next) { /* else it never was in line */
        list_remove(&change->link);
        lead->waiting -= !change->runs;
    }
    if (change->ranges != change->few)
        free(change->ranges);
    change->ranges = NULL;
    lead->has_left = true;
}

/* One that begins may end inside, and leave: so each search begins anew. */
void lead_begin_waiting(struct shard *shard)
{
    struct lead *lead = shard->lead;
    struct lead_change *next;
    while (lead->has_left) {
        lead->has_left = false;
        while (lead->waiting && (next = next_to_begin(lead))) {
            lead->waiting--;
            next->runs = true;
            next->begin(next);
        }
    }
}
