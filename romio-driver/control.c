/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.c: size, durability, deletion, and what the driver can do at all.
 */
#include "driver.h"

static int refuse(const char *text)
{
    struct failure failure;
    failure_say(&failure, MPI_ERR_UNSUPPORTED_OPERATION, text);
    return failure_code(&failure);
}

typedef int size_fn(weft_file_t *file, uint64_t size);

/* In atomic mode a new size is like a write to all of the file. */
static int change_size(struct driver_file *file, size_fn *change, uint64_t size)
{
    const struct weft_extent whole = {.offset = 0, .length = INT64_MAX};
    weft_lock_t *lock;
    int result = atomic_lock(file, &whole, 1, true, &lock);
    if (result == 0)
        result = change(file->file, size);
    return (int)atomic_unlock(lock, result);
}

static int allocate(weft_file_t *file, uint64_t size)
{
    return weft_file_allocate(file, 0, size);
}

void driver_fcntl(ADIO_File fd, int flag, ADIO_Fcntl_t *arguments, int *error_code)
{
    struct driver_file *file = driver_file(fd);
    uint64_t size = 0;
    explain_begin(file, EXPLAIN_SIZE);
    switch (flag) {
    case ADIO_FCNTL_GET_FSIZE:
        *error_code = failure_report(weft_file_size(file->file, &size));
        arguments->fsize = (ADIO_Offset)size;
        break;
    case ADIO_FCNTL_SET_DISKSPACE: /* rank 0 alone calls this */
        *error_code = failure_report(change_size(file, allocate, (uint64_t)arguments->diskspace));
        break;
    default:
        *error_code = refuse("this file operation is unknown to the Weft driver");
        break;
    }
    explain_end(file, 0);
}

/* What rank 0 does for all, when all have come to this point. */
typedef int once_fn(struct driver_file *file, uint64_t argument);

static void once_for_all(ADIO_File fd, once_fn *act, uint64_t argument, int *error_code)
{
    struct failure failure = {.class = MPI_SUCCESS};
    int rank;
    MPI_Comm_rank(fd->comm, &rank);
    MPI_Barrier(fd->comm);
    if (rank == 0) {
        int error = act(driver_file(fd), argument);
        if (error < 0)
            failure_set(&failure, error);
    }
    MPI_Bcast(&failure, sizeof failure, MPI_BYTE, 0, fd->comm);
    *error_code = failure_code(&failure);
}

static int sync_file(struct driver_file *file, uint64_t unused)
{
    (void)unused;
    return weft_file_sync(file->file);
}

static int resize_file(struct driver_file *file, uint64_t size)
{
    return change_size(file, weft_file_truncate, size);
}

/*
 * Durable for all: a sync covers what anyone wrote before it began, so one of
 * rank 0 is enough, after every rank has come here with its writes done.
 */
void driver_flush(ADIO_File fd, int *error_code)
{
    explain_begin(driver_file(fd), EXPLAIN_SYNC);
    once_for_all(fd, sync_file, 0, error_code);
    explain_end(driver_file(fd), 0);
}

void driver_resize(ADIO_File fd, ADIO_Offset size, int *error_code)
{
    explain_begin(driver_file(fd), EXPLAIN_SIZE);
    once_for_all(fd, resize_file, (uint64_t)size, error_code);
    explain_end(driver_file(fd), 0);
}

void driver_delete(const char *given, int *error_code)
{
    struct failure failure = {.class = MPI_SUCCESS};
    weft_session_t *session;
    char path[DRIVER_PATH_BYTES];
    driver_path(given, path);
    int error = session_get(&session);
    if (error == 0)
        error = weft_unlink(session, path);
    if (error < 0)
        failure_set(&failure, error);
    *error_code = failure_code(&failure);
}

int driver_feature(ADIO_File fd, int flag)
{
    (void)fd;
    switch (flag) {
    case ADIO_SCALABLE_OPEN:   /* one rank opens for all */
    case ADIO_SCALABLE_RESIZE: /* one rank resizes for all */
    case ADIO_TWO_PHASE:
    case ADIO_SHARED_FP:
    case ADIO_ATOMIC_MODE:
        return 1;
    case ADIO_LOCKS: /* of fcntl(2): never */
    case ADIO_DATA_SIEVING_WRITES:
    case ADIO_UNLINK_AFTER_CLOSE:
    default:
        return 0;
    }
}
