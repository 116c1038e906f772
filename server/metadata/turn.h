/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn.h: group commit. Whatever is to be done to the store is a job; the jobs
 * that have gathered are run in one transaction, which is committed, and only
 * then each job is told that it is done.
 *
 * What it promises
 *  - Jobs run in the order of their submission, and see what those before them did.
 *  - `done` runs once for each job, after the commit, with what `run` returned; or
 *    with the error that kept it from being committed.
 *  - A job that fails has changed nothing: when one has made changes before it
 *    failed, or the store itself fails, the whole transaction is aborted and its
 *    jobs are run again, each in a transaction of its own. `run` may thus run
 *    more than once, and starts from the beginning each time. What it changes in memory is taken back by
 *    opens_rollback() or by `undone`, before any job runs again; else it must do no harm that it stays.
 *
 * Threads: belongs to one thread.
 */
#ifndef METADATA_TURN_H
#define METADATA_TURN_H

#include <stdbool.h>

#include "counters.h"
#include "list.h"
#include "namespace.h"
#include "records.h"

struct job {
    /* Whether it may change the store; asked just before it runs. */
    bool (*writes)(struct job *job);
    /* 0 or a negative errno with a text. */
    int (*run)(struct job *job, struct ns *ns);
    /* The transaction in which it has run, or was to, was aborted. May be NULL. */
    void (*undone)(struct job *job);
    /* err_text() is that of `status`. May free the job and submit others. */
    void (*done)(struct job *job, int status);
    bool alone; /* in a transaction of its own: it changes what lives in memory, too */
    /* No one waits for it to be durable: it may wait for the next transaction that writes, and goes in
     * front of what else is in that. */
    bool lazy;

    /* the turn's */
    struct list_link link;
    int status;
    char *text;
};

enum turn_count {
    TURN_COMMITS,
    TURN_COMMITTED_JOBS,
    TURN_READ_TURNS,
    TURN_READ_JOBS,
    TURN_RERUNS,
    TURN_COUNT
};

struct turn {
    struct store *store;
    struct opens *opens;
    struct ino_range inos;
    /* Fills in what all jobs of a transaction share: the time and the defaults. */
    void (*prepare)(void *arg, struct ns *ns);
    void *arg;
    struct list queue;
    struct list lazy;
    uint64_t lazy_due_ns; /* when they are to run by themselves */
    uint64_t now_ns;      /* of the latest turn_run() */
    uint64_t logged_ns;
    struct counter counters[TURN_COUNT];
};

void turn_init(struct turn *turn, struct store *store, struct opens *opens,
               void (*prepare)(void *arg, struct ns *ns), void *arg);
void turn_submit(struct turn *turn, struct job *job);
/* Whether turn_run() has something to do at `now_ns` (monotonic). */
bool turn_waiting(const struct turn *turn, uint64_t now_ns);
/* When it will, if nothing else comes; 0: never. */
uint64_t turn_due_ns(const struct turn *turn);
/* Runs one transaction of what waits. */
void turn_run(struct turn *turn, uint64_t now_ns);
/* Lazy jobs run with the next turn_run(), as if they were not lazy. */
void turn_hurry(struct turn *turn);

#endif
