/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recorder.h: what the files store changes on the disk, in the order in which it was done.
 *
 * A program with recorder.c in it defines the calls of libc by which that store makes, writes, renames,
 * removes and flushes files, so that they are noted on their way to the kernel.
 */
#ifndef TEST_RECORDER_H
#define TEST_RECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../server/storage/store_files.h"

enum { EVENTS_MAX = 8192 };

enum kind { CREATE, WRITE, CUT, RENAME, UNLINK, FLUSH_FILE, FLUSH_DIR };

struct event {
    enum kind kind;
    unsigned file; /* which file, over all renames */
    unsigned dir;
    unsigned covers; /* of a flush: the events before this one */
    char name[FILES_NAME_MAX], to[FILES_NAME_MAX];
    off_t offset;
    size_t length;
    uint8_t *data;
};

extern struct recorder {
    bool on;
    bool skips_flushes; /* while crashes are played: nothing depends on it then */
    struct event events[EVENTS_MAX];
    unsigned count;
} recorder;

/* How many events there are, from any thread. */
unsigned recorder_now(void);
/* While it is off: forgets all. */
void recorder_reset(void);

#endif
