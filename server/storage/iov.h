/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iov.h: lists of memory pieces on their way to a disk, which takes them in parts. Pure.
 */
#ifndef STORAGE_IOV_H
#define STORAGE_IOV_H

#include <stddef.h>
#include <sys/uio.h>

static inline size_t iov_length(const struct iovec *iov, size_t iov_count)
{
    size_t length = 0;
    for (size_t i = 0; i < iov_count; i++)
        length += iov[i].iov_len;
    return length;
}

/* Takes the first `length` bytes off the list, which has as many. */
static inline void iov_skip(struct iovec **iov, size_t *iov_count, size_t length)
{
    for (; *iov_count && length >= (*iov)->iov_len; ++*iov, --*iov_count)
        length -= (*iov)->iov_len;
    if (length == 0)
        return;
    (*iov)->iov_base = (char *)(*iov)->iov_base + length;
    (*iov)->iov_len -= length;
}

#endif
