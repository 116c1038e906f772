/* SPDX-License-Identifier: Apache-2.0 */
#include "removals.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "err.h"
#include "log.h"
#include "records.h"

/* An answer comes with a commit of the storage servers, so that many have to be under way. */
enum { RUNNING_MAX = 1024, BACKOFF_MS_MIN = 500, BACKOFF_MS_MAX = 60000 };

/* Files whose objects are removed together. */
struct removing {
    struct removals *removals;
    struct agent_work work;
    struct job job;
    uint32_t count;
    struct agent_file files[];
};

void removals_init(struct removals *removals, struct turn *turn, struct agent *agent, uint32_t deadline_ms)
{
    *removals = (struct removals){
        .turn = turn,
        .agent = agent,
        .deadline_ms = deadline_ms,
        .wanted = true, /* an earlier server may have left some */
        .counters = {{.name = "removals"}, {.name = "removals_failed"}},
    };
}

void removals_want(struct removals *removals)
{
    removals->wanted = true;
}

void removals_hurry(struct removals *removals)
{
    removals->retry_ns = 0;
    removals->backoff_ms = 0;
}

static bool writes(struct job *job)
{
    (void)job;
    return true;
}
static bool reads(struct job *job)
{
    (void)job;
    return false;
}

/* ---- a batch of files ---------------------------------------------------- */

static void failed(struct removals *removals, uint32_t count, uint64_t ino, const char *text)
{
    counter_add(&removals->counters[REMOVALS_FAILED], count);
    if (removals->failed == 0)
        log_info("the objects of inode %" PRIu64 " cannot be removed yet: %s", ino, text);
    removals->failed += count;
}

static int forget_run(struct job *job, struct ns *ns)
{
    struct removing *removing = list_item(job, struct removing, job);
    int error = 0;
    for (uint32_t i = 0; i < removing->count && !error; i++) {
        if (!removing->files[i].failed)
            error = records_removal_delete(ns->txn, removing->files[i].ino);
    }
    return error;
}

static void end(struct removing *removing)
{
    removing->removals->running -= removing->count;
    free(removing);
}

static void forget_done(struct job *job, int status)
{
    struct removing *removing = list_item(job, struct removing, job);
    uint32_t done = 0;
    for (uint32_t i = 0; i < removing->count; i++)
        done += !removing->files[i].failed;
    if (status < 0)
        failed(removing->removals, done, removing->files[0].ino, err_text());
    else
        counter_add(&removing->removals->counters[REMOVALS_DONE], done);
    end(removing);
}

static void answered(struct agent_work *work)
{
    struct removing *removing = list_item(work, struct removing, work);
    uint32_t left = 0, last = 0;
    for (uint32_t i = 0; i < removing->count; i++) {
        if (!removing->files[i].failed)
            continue;
        left++;
        last = i;
    }
    if (left)
        failed(removing->removals, left, removing->files[last].ino, work->text);
    if (left == removing->count) {
        end(removing);
        return;
    }
    removing->job = (struct job){.writes = writes, .run = forget_run, .done = forget_done};
    turn_submit(removing->removals->turn, &removing->job);
}

static void start(struct removals *removals, const struct removal *found, size_t count)
{
    struct removing *removing = calloc(1, sizeof *removing + count * sizeof removing->files[0]);
    if (!removing) {
        removals->failed++;
        return;
    }
    for (size_t i = 0; i < count; i++)
        removing->files[i] =
            (struct agent_file){.ino = found[i].ino, .layout = found[i].layout, .end = found[i].end};
    removing->removals = removals;
    removing->count = (uint32_t)count;
    removing->work.kind = AGENT_REMOVE;
    removing->work.files = removing->files;
    removing->work.file_count = removing->count;
    removing->work.hurry = !removals->end;
    removing->work.deadline_ms = removals->deadline_ms;
    removing->work.done = answered;
    removals->running += removing->count;
    agent_start(removals->agent, &removing->work);
}

/* ---- the sweep ---------------------------------------------------------- */

struct reading {
    struct job job;
    struct removals *removals;
    struct removal found[RUNNING_MAX];
    size_t wanted, count;
};

static int read_run(struct job *job, struct ns *ns)
{
    struct reading *reading = list_item(job, struct reading, job);
    ssize_t count = records_removals(ns->txn, reading->removals->next, reading->found, reading->wanted);
    reading->count = count < 0 ? 0 : (size_t)count;
    return count < 0 ? (int)count : 0;
}

static void read_done(struct job *job, int status)
{
    struct reading *reading = list_item(job, struct reading, job);
    struct removals *removals = reading->removals;
    removals->reading = false;
    if (status < 0) {
        log_error("cannot read which objects are to be removed: %s", err_text());
        removals->failed++;
        reading->count = 0; /* an earlier run, which was undone, may have found what is not to be removed */
    }
    removals->end = status < 0 || reading->count < reading->wanted;
    if (reading->count)
        removals->next = reading->found[reading->count - 1].ino + 1;
    if (reading->count)
        start(removals, reading->found, reading->count);
    free(reading);
}

static void read_more(struct removals *removals)
{
    struct reading *reading = malloc(sizeof *reading);
    if (!reading)
        return;
    reading->job = (struct job){.writes = reads, .run = read_run, .done = read_done};
    reading->removals = removals;
    reading->wanted = RUNNING_MAX - removals->running;
    removals->reading = true;
    turn_submit(removals->turn, &reading->job);
}

static void end_sweep(struct removals *removals, uint64_t now_ns)
{
    removals->sweeping = false;
    if (!removals->failed) {
        removals->backoff_ms = 0;
        return;
    }
    removals->backoff_ms = removals->backoff_ms ? removals->backoff_ms * 2 : BACKOFF_MS_MIN;
    if (removals->backoff_ms > BACKOFF_MS_MAX)
        removals->backoff_ms = BACKOFF_MS_MAX;
    removals->retry_ns = now_ns + (uint64_t)removals->backoff_ms * 1000000;
    removals->wanted = true;
}

void removals_run(struct removals *removals, uint64_t now_ns)
{
    if (removals->sweeping && removals->end && !removals->running)
        end_sweep(removals, now_ns);
    if (!removals->sweeping && removals->wanted && now_ns >= removals->retry_ns) {
        removals->sweeping = true;
        removals->wanted = removals->end = false;
        removals->next = 0;
        removals->failed = 0;
    }
    /* A batch at a time, not one for each answer. */
    if (removals->sweeping && !removals->reading && !removals->end && removals->running <= RUNNING_MAX / 2)
        read_more(removals);
}
