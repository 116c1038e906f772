/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_direct.h: a file past the page cache (O_DIRECT). It takes whole blocks of 4 KiB at places that are
 * multiples of that; memory that the disk would not take is copied to some that it does.
 *
 * Threads: from several at once.
 */
#ifndef CS_DIRECT_H
#define CS_DIRECT_H

#include <stdbool.h>

#include "cs_calls.h"
#include "cs_io.h"

struct cs_direct {
    int fd;          /* -1: it is not open */
    uint32_t memory; /* what pieces of memory must be multiples of, in place and length */
};

/* The file of `fd`, by a descriptor of its own. -ENOTSUP with a text: its file system can't, or wants more
 * than 4 KiB. */
int cs_direct_open(int fd, const char *name, struct cs_direct *direct);
void cs_direct_close(struct cs_direct *direct);

/* Whether the disk takes these pieces of memory as they are. */
bool cs_direct_fits(const struct cs_direct *direct, const struct iovec *iov, size_t iov_count);
/* Before a batch is begun: gives it other memory where the disk does not take its own. False: there is none.
 * Of a file that is not open nothing has to be done, here and there. */
bool cs_direct_begin(const struct cs_direct *direct, struct cs_batch *batch);
/* After it has ended, or was not begun: puts the bytes in place. */
void cs_direct_end(const struct cs_direct *direct, struct cs_batch *batch);
/* As cs_calls_read() and cs_calls_write(). */
int cs_direct_read(const struct cs_direct *direct, struct cs_call *call);
int cs_direct_write(const struct cs_direct *direct, struct cs_call *call);

#endif
