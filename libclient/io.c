/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing: the calls. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "held.h"
#include "transfer.h"

/* ---- the blocking forms ---------------------------------------------------------- */

ssize_t transfer_blocking(weft_file_t *file, bool write, const struct iovec *iov, size_t iov_count,
                          const struct weft_extent *extents, size_t extent_count)
{
    struct transfer transfer = {
        .iov = iov, .iov_count = iov_count, .extents = extents, .extent_count = extent_count};
    int result = file_check(file);
    if (result == 0)
        result = transfer_start(&transfer, file, write, NULL);
    return result < 0 ? result : op_wait(&transfer.op);
}

/* One run of the file. */
static ssize_t transfer_run(weft_file_t *file, bool write, const struct iovec *iov, size_t iov_count,
                            uint64_t offset)
{
    struct weft_extent extent = {.offset = offset};
    for (size_t i = 0; iov && i < iov_count; i++) {
        if (__builtin_add_overflow(extent.length, iov[i].iov_len, &extent.length))
            return err_set(-EINVAL, "the memory pieces have more bytes together than a call can transfer");
    }
    ssize_t result;
    if (write && file && held_write(file, iov, iov_count, offset, &result))
        return result;
    return transfer_blocking(file, write, iov, iov_count, &extent, 1);
}

ssize_t weft_file_read(weft_file_t *file, void *buffer, size_t length, uint64_t offset)
{
    struct iovec iov = {.iov_base = buffer, .iov_len = length};
    ssize_t result;
    if (file_check(file) == 0 && file_ahead_read(file, buffer, length, offset, &result))
        return result;
    return client_result(__func__, transfer_run(file, false, &iov, 1, offset));
}

ssize_t weft_file_write(weft_file_t *file, const void *buffer, size_t length, uint64_t offset)
{
    struct iovec iov = {.iov_base = (void *)buffer, .iov_len = length};
    return client_result(__func__, transfer_run(file, true, &iov, 1, offset));
}

ssize_t weft_file_readv(weft_file_t *file, const struct iovec *iov, size_t iov_count, uint64_t offset)
{
    return client_result(__func__, transfer_run(file, false, iov, iov_count, offset));
}

ssize_t weft_file_writev(weft_file_t *file, const struct iovec *iov, size_t iov_count, uint64_t offset)
{
    return client_result(__func__, transfer_run(file, true, iov, iov_count, offset));
}

ssize_t weft_file_read_list(weft_file_t *file, const struct iovec *iov, size_t iov_count,
                            const struct weft_extent *extents, size_t extent_count)
{
    return client_result(__func__, transfer_blocking(file, false, iov, iov_count, extents, extent_count));
}

ssize_t weft_file_write_list(weft_file_t *file, const struct iovec *iov, size_t iov_count,
                             const struct weft_extent *extents, size_t extent_count)
{
    return client_result(__func__, transfer_blocking(file, true, iov, iov_count, extents, extent_count));
}

/* ---- the asynchronous forms ------------------------------------------------------ */

static void transfer_release(struct weft_op *op)
{
    struct transfer *transfer = list_item(op, struct transfer, op);
    free(transfer->own_iov);
    free(transfer->own_extents);
    gather_release(transfer);
    free(transfer);
}

static int copy_lists(struct transfer *transfer, const struct iovec *iov, size_t iov_count,
                      const struct weft_extent *extents, size_t extent_count)
{
    if ((iov_count && !iov) || (extent_count && !extents))
        return err_set(-EINVAL, "a list is NULL but its count is not 0");
    transfer->own_iov = calloc(iov_count ? iov_count : 1, sizeof *iov);
    transfer->own_extents = calloc(extent_count ? extent_count : 1, sizeof *extents);
    if (!transfer->own_iov || !transfer->own_extents)
        return err_set(-ENOMEM, "out of memory for the lists of a transfer");
    if (iov_count)
        memcpy(transfer->own_iov, iov, iov_count * sizeof *iov);
    if (extent_count)
        memcpy(transfer->own_extents, extents, extent_count * sizeof *extents);
    transfer->iov = transfer->own_iov;
    transfer->iov_count = iov_count;
    transfer->extents = transfer->own_extents;
    transfer->extent_count = extent_count;
    return 0;
}

static int transfer_async(weft_file_t *file, bool write, const struct iovec *iov, size_t iov_count,
                          const struct weft_extent *extents, size_t extent_count,
                          const struct weft_gather *gather, weft_op_t **op)
{
    int result = file_check(file);
    if (result < 0)
        return result;
    if (!op)
        return err_set(-EINVAL, "there is no place for the operation (NULL)");
    struct transfer *transfer = calloc(1, sizeof *transfer);
    if (!transfer)
        return err_set(-ENOMEM, "out of memory for a transfer");
    result = copy_lists(transfer, iov, iov_count, extents, extent_count);
    if (result == 0 && gather)
        result = gather_copy(transfer, gather);
    if (result == 0)
        result = transfer_start(transfer, file, write, transfer_release);
    if (result < 0) {
        transfer_release(&transfer->op);
        return result;
    }
    *op = &transfer->op;
    return 0;
}

int weft_file_read_list_async(weft_file_t *file, const struct iovec *iov, size_t iov_count,
                              const struct weft_extent *extents, size_t extent_count, weft_op_t **op)
{
    return (int)client_result(__func__,
                              transfer_async(file, false, iov, iov_count, extents, extent_count, NULL, op));
}

int weft_file_write_list_async(weft_file_t *file, const struct iovec *iov, size_t iov_count,
                               const struct weft_extent *extents, size_t extent_count, weft_op_t **op)
{
    return (int)client_result(__func__,
                              transfer_async(file, true, iov, iov_count, extents, extent_count, NULL, op));
}

int weft_file_write_gather_async(weft_file_t *file, const struct iovec *iov, size_t iov_count,
                                 const struct weft_extent *extents, size_t extent_count,
                                 const struct weft_gather *gather, weft_op_t **op)
{
    static const struct weft_gather nothing = {0};
    return (int)client_result(__func__, transfer_async(file, true, iov, iov_count, extents, extent_count,
                                                       gather ? gather : &nothing, op));
}
