/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_io_faults.h: a disk that goes wrong on purpose, by rules (cs_faults.h), around one that does not.
 *
 * A delay is never waited for where that is not wanted: a read with `nowait` says -EAGAIN as long as there is
 * a rule that may delay it, and write_waits() tells of those for writes.
 */
#ifndef CS_IO_FAULTS_H
#define CS_IO_FAULTS_H

#include "counters.h"
#include "cs_faults.h"

struct cs_io_faults_config {
    struct cs_io *inner; /* taken over, also when it fails */
    struct cs_faults *faults;
    const char *name; /* in errors' texts, "target 3 shard 0"; must outlive the disk */
    uint32_t target, shard;
    struct counter *made; /* counter_add_shared(); NULL: not counted */
};

/* -ENOMEM. */
int cs_io_faults_open(const struct cs_io_faults_config *config, struct cs_io **io);

#endif
