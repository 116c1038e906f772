/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_faults.h: the faults on purpose of one server: which rules are in force, and what they make of each
 * operation. All of its stores' disks (cs_io_faults.h) share them.
 *
 * What it promises
 *  - A thread of its own looks at the file every second, and takes its rules when it has changed. A file
 *    that is not there means no faults; one that can't be read or is wrong is logged once, with the reason,
 *    and the rules stay as they are.
 *  - With the same rules and the same operations in the same order, the same faults are made.
 *  - Nobody who asks waits for the file.
 *
 * Threads: all functions but cs_faults_close() may be called from several at once.
 */
#ifndef CS_FAULTS_H
#define CS_FAULTS_H

#include "cs_fault_rules.h"

struct cs_faults;

/* An operation of a disk. */
struct cs_fault_place {
    uint32_t target, shard;
    enum cs_fault_on on;
    enum cs_file file;
};

/* What goes wrong with one. */
struct cs_fault_draw {
    uint32_t ms;         /* it waits so long first; 0: not at all */
    enum cs_fault fault; /* NONE, or anything but a delay */
    uint64_t random;     /* for what the fault leaves open */
    unsigned made;       /* faults that this counts as */
};

/* `file` is kept as a copy. -ENOMEM, or the thread's errno; a wrong file is no error. */
int cs_faults_open(const char *file, struct cs_faults **faults);
/* When nobody uses it any more. NULL is allowed. */
void cs_faults_close(struct cs_faults *faults);

/* Whether such an operation may have to wait. Draws nothing. */
bool cs_faults_may_wait(struct cs_faults *faults, const struct cs_fault_place *place);
struct cs_fault_draw cs_faults_draw(struct cs_faults *faults, const struct cs_fault_place *place);
/* Returns after so many milliseconds, or when the rules have changed: a disk that is no longer slow lets all
 * go that wait for it. */
void cs_faults_sleep(struct cs_faults *faults, uint32_t ms);

#endif
