/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iov.h: lists of memory pieces on their way to a disk, which takes them in parts. Pure.
 */
#ifndef STORAGE_IOV_H
#define STORAGE_IOV_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
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

/* Adds a piece to a list with room for `room`, as part of the last one where it goes on there. False: it is
 * full, and as before. */
static inline bool iov_append(struct iovec *iov, int *iov_count, int room, struct iovec piece)
{
    struct iovec *last = *iov_count ? &iov[*iov_count - 1] : NULL;
    if (last && (uint8_t *)last->iov_base + last->iov_len == piece.iov_base) {
        last->iov_len += piece.iov_len;
        return true;
    }
    if (*iov_count == room)
        return false;
    iov[(*iov_count)++] = piece;
    return true;
}

/* A way through a list that stays as it is. */
struct iov_source {
    const struct iovec *iov;
    size_t left; /* pieces, this one included */
    size_t at;   /* in this one */
};

/* The next piece, of `length` at most, but not empty. There must be one. */
static inline struct iovec iov_next(struct iov_source *source, size_t length)
{
    while (source->left && source->at == source->iov->iov_len) {
        source->iov++;
        source->left--;
        source->at = 0;
    }
    assert(source->left);
    const size_t there = source->iov->iov_len - source->at;
    struct iovec piece = {(uint8_t *)source->iov->iov_base + source->at, there < length ? there : length};
    source->at += piece.iov_len;
    return piece;
}

#endif
