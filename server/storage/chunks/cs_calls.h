/* SPDX-License-Identifier: Apache-2.0 */
/* cs_calls.h: reads and writes by calls of the system, gone on with until all is done. */
#ifndef CS_CALLS_H
#define CS_CALLS_H

#include <stdint.h>
#include <sys/uio.h>

/* What is left to be done; the list is changed. */
struct cs_call {
    uint64_t offset;
    struct iovec *iov;
    size_t left; /* pieces */
};

/* 0, or a negative errno without a text, with what was done taken off the call. `flags` are preadv2()'s.
 * -ENODATA: the file ends before. */
int cs_calls_read(int fd, struct cs_call *call, int flags);
/* -ENOSPC also when nothing can be written any more. */
int cs_calls_write(int fd, struct cs_call *call);

#endif
