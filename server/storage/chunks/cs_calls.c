/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_calls.h"

#include <errno.h>
#include <limits.h>

#include "storage/iov.h"

static int pieces_of(const struct cs_call *call)
{
    return call->left < IOV_MAX ? (int)call->left : IOV_MAX;
}

static void take_off(struct cs_call *call, ssize_t count)
{
    call->offset += (uint64_t)count;
    iov_skip(&call->iov, &call->left, (size_t)count);
}

int cs_calls_read(int fd, struct cs_call *call, int flags)
{
    while (call->left > 0) {
        const ssize_t count = preadv2(fd, call->iov, pieces_of(call), (off_t)call->offset, flags);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return count ? -errno : -ENODATA;
        take_off(call, count);
    }
    return 0;
}

int cs_calls_write(int fd, struct cs_call *call)
{
    while (call->left > 0) {
        const ssize_t count = pwritev(fd, call->iov, pieces_of(call), (off_t)call->offset);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return count ? -errno : -ENOSPC;
        take_off(call, count);
    }
    return 0;
}
