/* SPDX-License-Identifier: Apache-2.0 */
#include "settle.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "err.h"
#include "log.h"
#include "records.h"

enum { RUNNING_MAX = 64, LOAD_BATCH = 256, BACKOFF_MS_MIN = 500, BACKOFF_MS_MAX = 30000 };

struct settling {
    struct settle *settle;
    struct agent_work work;
    struct job job;
    struct opens_file *file; /* pinned */
    uint64_t generation;     /* of the file when it was asked for */
    bool running;
    bool again;
    bool is_open; /* its size was still the storage servers' when the job ran */
    bool settled;
    struct list_link link;
};

void settle_init(struct settle *settle, struct turn *turn, struct agent *agent, uint32_t deadline_ms)
{
    *settle = (struct settle){
        .turn = turn,
        .agent = agent,
        .opens = turn->opens,
        .deadline_ms = deadline_ms,
        .counters = {{.name = "settled"}, {.name = "settles_overtaken"}, {.name = "settles_failed"}},
    };
    list_init(&settle->ready);
    list_init(&settle->failed);
}

static void free_settling(struct settling *settling)
{
    list_remove(&settling->link);
    settling->file->settling = NULL;
    opens_file_unpin(settling->settle->opens, settling->file);
    free(settling);
}

void settle_end(struct settle *settle)
{
    struct list *lists[] = {&settle->ready, &settle->failed};
    for (int i = 0; i < 2; i++) {
        while (!list_empty(lists[i]))
            free_settling(list_item(list_first(lists[i]), struct settling, link));
    }
}

void settle_want(struct settle *settle, const struct inode *inode)
{
    struct opens_file *file = opens_file_pin(settle->opens, inode->ino);
    if (!file)
        goto give_up;
    if (file->settling) {
        file->settling->again = file->settling->running;
        opens_file_unpin(settle->opens, file);
        return;
    }
    struct settling *settling = calloc(1, sizeof *settling);
    if (!settling) {
        opens_file_unpin(settle->opens, file);
        goto give_up;
    }
    settling->settle = settle;
    settling->file = file;
    settling->work.ino = inode->ino;
    settling->work.layout = inode->layout;
    file->settling = settling;
    file->dirty = true;
    list_push_back(&settle->ready, &settling->link);
    return;
give_up:
    /* It stays marked in the store, so sizes stay right; the next start tries again. */
    log_warn("no memory to settle the size of inode %" PRIu64, inode->ino);
}

/* ---- one file ----------------------------------------------------------- */

static bool writes(struct job *job)
{
    (void)job;
    return true;
}

static bool is_overtaken(const struct settling *settling)
{
    const struct opens_file *file = settling->file;
    return file->writers || file->truncations || file->generation != settling->generation;
}

static int run(struct job *job, struct ns *ns)
{
    struct settling *settling = list_item(job, struct settling, job);
    const struct agent_work *work = &settling->work;
    struct inode inode;
    settling->settled = settling->is_open = false;
    if (work->status)
        return err_set(work->status, "%s", work->text);
    int error = records_inode_get(ns->txn, work->ino, &inode);
    if (error == -ENOENT)
        return 0;
    settling->is_open = !error && (inode.flags & INODE_SIZE_OPEN);
    if (is_overtaken(settling) || !settling->is_open)
        return error;
    struct ns_size size = {.end = work->end, .bytes = work->bytes, .mtime_ns = work->mtime_ns};
    settling->settled = true;
    return ns_size_settle(ns, &inode, &size);
}

static void put_off(struct settling *settling, int status)
{
    struct settle *settle = settling->settle;
    counter_add(&settle->counters[SETTLE_FAILED], 1);
    if (list_empty(&settle->failed)) {
        settle->backoff_ms = settle->backoff_ms ? settle->backoff_ms * 2 : BACKOFF_MS_MIN;
        if (settle->backoff_ms > BACKOFF_MS_MAX)
            settle->backoff_ms = BACKOFF_MS_MAX;
        settle->retry_ns = 0; /* from the next settle_run() on */
        log_info("the size of inode %" PRIu64 " cannot be settled yet (%s): %s; trying again in %u ms",
                 settling->work.ino, err_name(status), err_text(), settle->backoff_ms);
    }
    list_remove(&settling->link);
    list_push_back(&settle->failed, &settling->link);
}

/* Who overtook it asks again when he is done. But his opening may have been undone. */
static bool is_left(const struct settling *settling)
{
    const struct opens_file *file = settling->file;
    return settling->is_open && !settling->settled && !file->writers && !file->truncations;
}

static void done(struct job *job, int status)
{
    struct settling *settling = list_item(job, struct settling, job);
    struct settle *settle = settling->settle;
    settling->running = false;
    settle->running--;
    if (status < 0) {
        put_off(settling, status);
        return;
    }
    counter_add(&settle->counters[settling->settled ? SETTLE_DONE : SETTLE_OVERTAKEN], 1);
    if (settling->settled) {
        settling->file->dirty = false;
        settle->backoff_ms = 0;
    }
    if (settling->again || is_left(settling)) {
        settling->again = false;
        settling->file->dirty = true;
        list_push_back(&settle->ready, &settling->link);
        return;
    }
    free_settling(settling);
}

static void answered(struct agent_work *work)
{
    struct settling *settling = list_item(work, struct settling, work);
    settling->job = (struct job){.writes = writes, .run = run, .done = done};
    turn_submit(settling->settle->turn, &settling->job);
}

static void start(struct settle *settle, struct settling *settling)
{
    list_remove(&settling->link);
    /* Whoever writes now asks for it again when he is done. */
    if (settling->file->writers || settling->file->truncations) {
        counter_add(&settle->counters[SETTLE_OVERTAKEN], 1);
        free_settling(settling);
        return;
    }
    settle->running++;
    settling->running = true;
    settling->generation = settling->file->generation;
    settling->work.kind = AGENT_STAT;
    settling->work.deadline_ms = settle->deadline_ms;
    settling->work.file = settling->file;
    settling->work.done = answered;
    agent_start(settle->agent, &settling->work);
}

/* ---- all of them -------------------------------------------------------- */

/* Files that an earlier server on this store has left unsettled, a few at a time. */
struct loading {
    struct job job;
    struct settle *settle;
    struct inode inodes[LOAD_BATCH];
    size_t count;
    bool end;
    uint64_t next;
};

static bool reads(struct job *job)
{
    (void)job;
    return false;
}

static int load_run(struct job *job, struct ns *ns)
{
    struct loading *loading = list_item(job, struct loading, job);
    uint64_t inos[LOAD_BATCH];
    ssize_t count = records_marked(ns->txn, STORE_UNSETTLED, loading->settle->load_next, inos, LOAD_BATCH);
    if (count < 0)
        return (int)count;
    loading->count = 0;
    loading->end = count < LOAD_BATCH;
    loading->next = count ? inos[count - 1] + 1 : 0;
    for (ssize_t i = 0; i < count; i++) {
        struct inode *inode = &loading->inodes[loading->count];
        int error = records_inode_get(ns->txn, inos[i], inode);
        if (error)
            log_error("while settling sizes: %s", err_text());
        else
            loading->count++;
    }
    return 0;
}

static void load_done(struct job *job, int status)
{
    struct loading *loading = list_item(job, struct loading, job);
    struct settle *settle = loading->settle;
    settle->loading = false;
    if (status < 0)
        log_error("cannot read which sizes are to be settled: %s", err_text());
    for (size_t i = 0; status == 0 && i < loading->count; i++)
        settle_want(settle, &loading->inodes[i]);
    settle->loaded = status < 0 || loading->end;
    settle->load_next = loading->next;
    free(loading);
}

static void load_more(struct settle *settle)
{
    struct loading *loading = malloc(sizeof *loading);
    if (!loading)
        return;
    loading->job = (struct job){.writes = reads, .run = load_run, .done = load_done};
    loading->settle = settle;
    settle->loading = true;
    turn_submit(settle->turn, &loading->job);
}

void settle_hurry(struct settle *settle)
{
    settle->retry_ns = 1;
    settle->backoff_ms = 0;
}

void settle_run(struct settle *settle, uint64_t now_ns)
{
    if (!list_empty(&settle->failed)) {
        if (settle->retry_ns == 0)
            settle->retry_ns = now_ns + (uint64_t)settle->backoff_ms * 1000000;
        if (now_ns >= settle->retry_ns) {
            settle->retry_ns = 0;
            for (struct list_link *link = list_pop(&settle->failed); link; link = list_pop(&settle->failed))
                list_push_back(&settle->ready, link);
        }
    }
    while (settle->running < RUNNING_MAX && !list_empty(&settle->ready))
        start(settle, list_item(list_first(&settle->ready), struct settling, link));
    if (!settle->loaded && !settle->loading && settle->running < RUNNING_MAX && list_empty(&settle->failed))
        load_more(settle);
}
