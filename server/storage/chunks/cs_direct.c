/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_direct.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cs_format.h"
#include "err.h"
#include "storage/iov.h"

/* Copied at once. */
enum { COPY_BYTES = 1 << 20 };

/* ---- what the disk wants --------------------------------------------------- */

/* Of offsets and memory; 0: it can't. Kernels before 6.1 don't tell it of files. */
static void alignment_of(int fd, uint32_t *offset, uint32_t *memory)
{
    struct statx status;
    int sector;
    *offset = *memory = CS_BLOCK;
#ifdef STATX_DIOALIGN
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 && status.stx_mask & STATX_DIOALIGN) {
        *offset = status.stx_dio_offset_align;
        *memory = status.stx_dio_mem_align;
        return;
    }
#endif
    if (ioctl(fd, BLKSSZGET, &sector) == 0 && sector > 0)
        *offset = *memory = (uint32_t)sector;
}

int cs_direct_open(int fd, const char *name, struct cs_direct *direct)
{
    char path[64];
    uint32_t offset;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    direct->fd = open(path, O_RDWR | O_CLOEXEC | O_DIRECT);
    if (direct->fd < 0)
        return errno == EINVAL ? err_set(-ENOTSUP, "%s: the file system has no direct I/O", name)
                               : err_sys("%s: open for direct I/O", name);
    alignment_of(direct->fd, &offset, &direct->memory);
    if (offset > 0 && offset <= CS_BLOCK && direct->memory > 0 && direct->memory <= CS_BLOCK)
        return 0;
    cs_direct_close(direct);
    return err_set(-ENOTSUP, "%s: the disk takes no direct I/O in blocks of %d", name, CS_BLOCK);
}

void cs_direct_close(struct cs_direct *direct)
{
    if (direct->fd >= 0)
        close(direct->fd);
    direct->fd = -1;
}

bool cs_direct_fits(const struct cs_direct *direct, const struct iovec *iov, size_t iov_count)
{
    /* Pieces of a block are refused by some disks even where the memory would do. */
    for (size_t i = 0; i < iov_count; i++)
        if ((uintptr_t)iov[i].iov_base % direct->memory || iov[i].iov_len % CS_BLOCK)
            return false;
    return true;
}

/* ---- copies --------------------------------------------------------------- */

/* The first `length` bytes of the list, to or from one place. */
static void copy_list(const struct cs_call *call, uint8_t *place, size_t length, bool to_list)
{
    const struct iovec *iov = call->iov;
    for (size_t done = 0; done < length; iov++) {
        const size_t left = length - done, part = iov->iov_len < left ? iov->iov_len : left;
        memcpy(to_list ? iov->iov_base : place + done, to_list ? place + done : iov->iov_base, part);
        done += part;
    }
}

static int transfer(const struct cs_direct *direct, struct cs_call *call, bool write)
{
    int error = 0;
    if (cs_direct_fits(direct, call->iov, call->left))
        return write ? cs_calls_write(direct->fd, call) : cs_calls_read(direct->fd, call, 0);
    size_t length = iov_length(call->iov, call->left);
    const size_t room = length < COPY_BYTES ? length : COPY_BYTES;
    uint8_t *place = aligned_alloc(CS_BLOCK, (room + CS_BLOCK - 1) / CS_BLOCK * CS_BLOCK);
    if (!place)
        return -ENOMEM;
    while (length > 0 && !error) {
        const size_t part = length < room ? length : room;
        struct iovec iov = {place, part};
        struct cs_call one = {call->offset, &iov, 1};
        if (write)
            copy_list(call, place, part, false);
        error = write ? cs_calls_write(direct->fd, &one) : cs_calls_read(direct->fd, &one, 0);
        if (!write && !error)
            copy_list(call, place, part, true);
        call->offset += part;
        iov_skip(&call->iov, &call->left, part);
        length -= part;
    }
    free(place);
    return error;
}

int cs_direct_read(const struct cs_direct *direct, struct cs_call *call)
{
    return transfer(direct, call, false);
}

int cs_direct_write(const struct cs_direct *direct, struct cs_call *call)
{
    return transfer(direct, call, true);
}

/* ---- batches -------------------------------------------------------------- */

/* Between the caller's memory and the copy. */
static void copy_wanted(const struct cs_piece *piece, bool to_caller)
{
    struct iovec wanted[sizeof piece->wanted / sizeof piece->wanted[0]];
    memcpy(wanted, piece->wanted, sizeof wanted);
    const struct cs_call call = {.iov = wanted, .left = (size_t)piece->wanted_count};
    copy_list(&call, piece->copy, iov_length(wanted, call.left), to_caller);
}

bool cs_direct_begin(const struct cs_direct *direct, struct cs_batch *batch)
{
    bool good = true;
    for (unsigned i = 0; i < batch->count && direct->fd >= 0; i++) {
        struct cs_piece *piece = &batch->pieces[i];
        const size_t length = iov_length(piece->iov, (size_t)piece->iov_count);
        piece->copy = NULL;
        if (!good || cs_direct_fits(direct, piece->iov, (size_t)piece->iov_count))
            continue;
        piece->copy = aligned_alloc(CS_BLOCK, length); /* whole blocks */
        good = piece->copy != NULL;
        if (!good)
            continue;
        memcpy(piece->wanted, piece->iov, sizeof piece->wanted);
        piece->wanted_count = piece->iov_count;
        piece->iov[0] = (struct iovec){piece->copy, length};
        piece->iov_count = 1;
        if (batch->is_write)
            copy_wanted(piece, false);
    }
    if (!good)
        cs_direct_end(direct, batch);
    return good;
}

void cs_direct_end(const struct cs_direct *direct, struct cs_batch *batch)
{
    for (unsigned i = 0; i < batch->count && direct->fd >= 0; i++) {
        struct cs_piece *piece = &batch->pieces[i];
        if (!piece->copy)
            continue;
        if (!batch->is_write)
            copy_wanted(piece, true);
        free(piece->copy);
        piece->copy = NULL;
    }
}
