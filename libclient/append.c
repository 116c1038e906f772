/* SPDX-License-Identifier: Apache-2.0 */
/* Writing behind the end of a file. */
#include "client.h"

/* Everyone who appends locks the same byte, so nobody else does between the question where the end is and the
 * bytes. An operation of the storage servers would need one message instead of four, and is to come. */
ssize_t weft_file_append(weft_file_t *file, const struct iovec *iov, size_t iov_count, uint64_t *offset)
{
    const struct weft_extent byte = {.offset = WEFT_LOCK_APPEND, .length = 1};
    weft_lock_t *lock;
    uint64_t end;
    ssize_t result = weft_file_lock(file, &byte, 1, true, &lock);
    if (result < 0)
        return result;
    result = weft_file_size(file, &end);
    if (result == 0)
        result = weft_file_writev(file, iov, iov_count, end);
    if (result >= 0 && offset)
        *offset = end;
    int error = weft_file_unlock(lock);
    return result >= 0 && error < 0 ? error : result;
}
