/* SPDX-License-Identifier: Apache-2.0 */
#include "turn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "log.h"

/* Bounds the size of a transaction, and how long the first of it waits for the last. */
enum { JOBS_MAX = 2048 };

/* How long a lazy job waits for others that write, and how many may. */
#define LAZY_NS UINT64_C(20000000)
#define LOG_INTERVAL_NS UINT64_C(10000000000)

void turn_init(struct turn *turn, struct store *store, struct opens *opens,
               void (*prepare)(void *arg, struct ns *ns), void *arg)
{
    static const char *const names[TURN_COUNT] = {
        [TURN_COMMITS] = "commits",       [TURN_COMMITTED_JOBS] = "commits_jobs",
        [TURN_READ_TURNS] = "read_turns", [TURN_READ_JOBS] = "read_turns_jobs",
        [TURN_RERUNS] = "reruns",
    };
    *turn = (struct turn){.store = store, .opens = opens, .prepare = prepare, .arg = arg};
    for (int i = 0; i < TURN_COUNT; i++)
        turn->counters[i].name = names[i];
    list_init(&turn->queue);
    list_init(&turn->lazy);
}

void turn_submit(struct turn *turn, struct job *job)
{
    job->text = NULL;
    if (job->lazy && list_empty(&turn->lazy))
        turn->lazy_due_ns = turn->now_ns + LAZY_NS;
    list_push_back(job->lazy ? &turn->lazy : &turn->queue, &job->link);
}

bool turn_waiting(const struct turn *turn, uint64_t now_ns)
{
    return !list_empty(&turn->queue) || (!list_empty(&turn->lazy) && now_ns >= turn->lazy_due_ns);
}

uint64_t turn_due_ns(const struct turn *turn)
{
    return list_empty(&turn->lazy) ? 0 : turn->lazy_due_ns;
}

void turn_hurry(struct turn *turn)
{
    turn->lazy_due_ns = 0;
}

/* ---- one transaction ---------------------------------------------------- */

static void set_status(struct job *job, int status)
{
    free(job->text);
    job->text = status < 0 ? strdup(err_text()) : NULL;
    job->status = status;
}

/* False when the transaction must be aborted. */
static bool run_jobs(struct turn *turn, struct list *jobs, struct store_txn *txn)
{
    struct ns ns = {.txn = txn, .opens = turn->opens, .inos = &turn->inos};
    turn->prepare(turn->arg, &ns);
    list_each(jobs, link, after)
    {
        struct job *job = list_item(link, struct job, link);
        uint64_t changes = store_changes(txn);
        set_status(job, job->run(job, &ns));
        if (store_broken(txn) || (job->status < 0 && store_changes(txn) != changes))
            return false;
    }
    return true;
}

/* All of it before the first job runs again: that must not see what later ones have changed. */
static void take_back(struct turn *turn, struct list *jobs)
{
    opens_rollback(turn->opens);
    turn->inos = (struct ino_range){0};
    list_each(jobs, link, after)
    {
        struct job *job = list_item(link, struct job, link);
        if (job->undone)
            job->undone(job);
    }
}

/* One transaction over all jobs: 0, or what kept it from being committed. */
static int transact(struct turn *turn, struct list *jobs, bool write)
{
    struct store_txn *txn;
    int error = store_begin(turn->store, write, &txn);
    if (error)
        return error;
    bool whole = run_jobs(turn, jobs, txn);
    if (!whole || !write)
        store_abort(txn);
    else
        error = store_commit(txn);
    if (!whole || error) {
        take_back(turn, jobs);
    } else {
        opens_commit(turn->opens);
    }
    return whole ? error : -ECANCELED;
}

/* A job that failed by itself keeps its own error; one that could not be committed gets the store's. */
static void fail(struct job *job, int error)
{
    if (error != -ECANCELED)
        set_status(job, error);
    else if (job->status >= 0)
        set_status(job, err_set(-EIO, "the metadata store failed"));
}

static bool any_writes(const struct list *jobs)
{
    list_each(jobs, link, after)
    {
        struct job *job = list_item(link, struct job, link);
        if (job->writes(job))
            return true;
    }
    return false;
}

static void tell(struct job *job)
{
    char *text = job->text;
    job->text = NULL;
    if (job->status < 0)
        err_set(job->status, "%s", text ? text : "out of memory");
    free(text);
    job->done(job, job->status);
}

/* The lazy jobs join in front when others write anyway, or when their time has come. */
static size_t take_lazy(struct turn *turn, struct list *jobs, bool write)
{
    size_t count = 0;
    if (!write && turn->now_ns < turn->lazy_due_ns)
        return 0;
    while (!list_empty(&turn->lazy)) {
        struct list_link *last = turn->lazy.head.previous;
        list_remove(last);
        list_push_front(jobs, last);
        count++;
    }
    return count;
}

static void count(struct turn *turn, bool write, size_t jobs)
{
    counter_add(&turn->counters[write ? TURN_COMMITS : TURN_READ_TURNS], 1);
    counter_add(&turn->counters[write ? TURN_COMMITTED_JOBS : TURN_READ_JOBS], jobs);
}

static void run_alone(struct turn *turn, struct job *job)
{
    struct list one;
    list_init(&one);
    list_push_back(&one, &job->link);
    bool write = job->writes(job);
    count(turn, write, 1);
    int error = transact(turn, &one, write);
    list_remove(&job->link);
    if (error)
        fail(job, error);
}

static size_t take(struct turn *turn, struct list *jobs)
{
    size_t count = 0;
    list_init(jobs);
    while (count < JOBS_MAX && !list_empty(&turn->queue)) {
        struct job *job = list_item(list_first(&turn->queue), struct job, link);
        if (job->alone && count)
            break;
        list_remove(&job->link);
        list_push_back(jobs, &job->link);
        count++;
        if (job->alone)
            break;
    }
    return count;
}

/* That a request fails after it has begun to write is its own matter, and its sender is told. A full
 * store fails every transaction: the log is not to fill what is left of the disk. */
static void log_rerun(struct turn *turn, size_t job_count, int error)
{
    if (error == -ECANCELED || (turn->logged_ns && turn->now_ns - turn->logged_ns < LOG_INTERVAL_NS))
        return;
    turn->logged_ns = turn->now_ns;
    log_warn("a transaction of %zu requests failed (%s); running each by itself", job_count, err_text());
}

void turn_run(struct turn *turn, uint64_t now_ns)
{
    struct list jobs;
    turn->now_ns = now_ns;
    size_t job_count = take(turn, &jobs);
    bool write = any_writes(&jobs);
    size_t lazy_count = take_lazy(turn, &jobs, write);
    write = write || lazy_count;
    job_count += lazy_count;
    if (!job_count)
        return;
    count(turn, write, job_count);
    int error = transact(turn, &jobs, write);
    if (error && job_count > 1) {
        counter_add(&turn->counters[TURN_RERUNS], 1);
        log_rerun(turn, job_count, error);
    }
    for (struct list_link *link = list_pop(&jobs); link; link = list_pop(&jobs)) {
        struct job *job = list_item(link, struct job, link);
        if (error && job_count > 1)
            run_alone(turn, job);
        else if (error)
            fail(job, error);
        tell(job);
    }
    if (error && store_dead(turn->store))
        log_error("%s", err_text());
}
