/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atomic.c: atomic mode.
 *
 * Each access takes one lock over the runs of the file that it names, shared to
 * read and exclusive to write, holds it until its last byte has moved, and gives it
 * back. So accesses of any datatypes take effect one after the other where they
 * overlap, and at once where they don't. A rank that dies loses its locks.
 *
 * ROMIO's own notion, fd->atomicity, stays 0: it would lock by fcntl(2), and turn
 * nonblocking calls into blocking ones. The calls that set and get it are in calls.c.
 */
#include <sched.h>

#include "driver.h"

/*
 * Who waits here for a lock may wait for one that nonblocking I/O of this very
 * process holds, or asked for before. That has to go on meanwhile.
 */
static int wait_for_lock(weft_op_t *op)
{
    while (nonblocking_is_any() && !weft_test(op))
        nonblocking_advance();
    return (int)weft_wait(op);
}

int atomic_lock(struct driver_file *file, const struct weft_extent *extents, size_t count, bool is_exclusive,
                weft_lock_t **lock)
{
    weft_op_t *op;
    *lock = NULL;
    if (!file->is_atomic || count == 0)
        return 0;
    int error = weft_file_lock_async(file->file, extents, count, is_exclusive, lock, &op);
    if (error == 0)
        error = wait_for_lock(op);
    if (error < 0)
        *lock = NULL; /* the library has freed it */
    return error;
}

int64_t atomic_unlock(weft_lock_t *lock, int64_t result)
{
    int error = lock != NULL ? weft_file_unlock(lock) : 0;
    return result < 0 || error == 0 ? result : error;
}
