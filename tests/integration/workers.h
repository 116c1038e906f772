/* SPDX-License-Identifier: Apache-2.0 */
/*
 * workers.h: other processes of a job, for tests with real servers: the test's own program, run again, each
 * with a session of its own and the file that the test has exported. After <cmocka.h>.
 *
 * They end with the test. What they say are lines for it to read.
 */
#ifndef TEST_WORKERS_H
#define TEST_WORKERS_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include "weft/weft.h"

/* What a worker can be told to do; the last one has no name. */
struct task {
    const char *name;
    void (*run)(weft_file_t *file, unsigned count);
};

/* First in main(): does the task where this process is a worker, and ends it. Else an argument is a pattern
 * of the names of the tests to run. */
void workers_main(int argc, char **argv, const struct task *tasks);
/* Exports the file for the workers that are started from now on, by way of this folder. */
void workers_export(weft_file_t *file, const char *dir);

struct worker {
    pid_t pid;
    FILE *out; /* what it says */
};

struct worker worker_start(const char *task, unsigned count);
/* The next line is this one. */
void worker_expect(struct worker *worker, const char *line);
/* Waits until it has ended well. */
void worker_end(struct worker *worker);
void worker_kill(struct worker *worker);

/* In a worker: there is no test to fail. */
#define must(call)                                                                   \
    do {                                                                             \
        long result_ = (long)(call);                                                 \
        if (result_ < 0) {                                                           \
            fprintf(stderr, "worker: %s = %ld: %s\n", #call, result_, weft_error()); \
            exit(1);                                                                 \
        }                                                                            \
    } while (0)

#endif
