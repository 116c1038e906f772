/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open.c: opening and closing, by one rank for all.
 *
 * Rank 0 asks the metadata server, once, and broadcasts the handle; the other
 * ranks make their own out of it and send nothing. Whatever goes wrong on
 * whatever rank, all ranks return the same error.
 */
#include <errno.h>
#include <fcntl.h>

#include "driver.h"

/* Rank 0's answer to the others; the exported handle follows. */
struct answer {
    struct failure failure;
    bool can_read;
    bool is_list_refused; /* see aggregators_refuse_list() */
    int64_t end;          /* the file's size, when it is opened to append */
    int64_t blob_length;
};

/* A hint never makes an open fail: when the pool or the host that it names is refused, the
 * directory's is taken. */
static int open_placed(ADIO_File fd, weft_session_t *session, const char *path, int flags, mode_t mode,
                       weft_file_t **file)
{
    struct weft_layout layout;
    hints_layout(fd, &layout);
    int error = weft_file_open(session, path, flags, mode, &layout, file);
    if (error == -EADDRNOTAVAIL && layout.placement[0] != '\0') {
        hints_refuse(fd, HINT_weft_placement, weft_error());
        hints_layout(fd, &layout);
        error = weft_file_open(session, path, flags, mode, &layout, file);
    }
    if (error == -EINVAL && layout.pool[0] != '\0') {
        hints_refuse(fd, HINT_weft_pool, weft_error());
        hints_layout(fd, &layout);
        error = weft_file_open(session, path, flags, mode, &layout, file);
    }
    return error;
}

/*
 * Two-phase I/O reads where the ranks leave holes in what they write, so a file
 * that is opened for writing is opened for reading too, if the user may.
 */
static int open_file(ADIO_File fd, int access_mode, struct driver_file *file)
{
    weft_session_t *session;
    char path[DRIVER_PATH_BYTES];
    driver_path(fd->filename, path);
    int error = session_get(&session);
    if (error < 0)
        return error;
    int flags = (access_mode & ADIO_CREATE ? O_CREAT : 0) | (access_mode & ADIO_EXCL ? O_EXCL : 0);
    mode_t mode = fd->perm == ADIO_PERM_NULL ? hints_file_mode(fd) : (mode_t)fd->perm;

    file->can_read = true;
    if (access_mode & ADIO_RDONLY)
        return open_placed(fd, session, path, flags | O_RDONLY, mode, &file->file);
    error = open_placed(fd, session, path, flags | O_RDWR, mode, &file->file);
    if (error == -EACCES && (access_mode & ADIO_WRONLY)) {
        file->can_read = false;
        error = open_placed(fd, session, path, flags | O_WRONLY, mode, &file->file);
    }
    return error;
}

static int end_of_file(weft_file_t *file, int access_mode, int64_t *end)
{
    uint64_t size = 0;
    int error = access_mode & ADIO_APPEND ? weft_file_size(file, &size) : 0;
    *end = (int64_t)size;
    return error;
}

static int export_handle(weft_file_t *file, void **blob, int64_t *length)
{
    ssize_t bytes = weft_file_export(file, NULL, 0);
    if (bytes >= 0) {
        *blob = ADIOI_Malloc((size_t)bytes);
        bytes = weft_file_export(file, *blob, (size_t)bytes);
    }
    *length = bytes;
    return bytes < 0 ? (int)bytes : 0;
}

/* Rank 0's part. */
static void answer_make(ADIO_File fd, int access_mode, int ranks, struct answer *answer, void **blob)
{
    struct driver_file *file = driver_file(fd);
    int error = open_file(fd, access_mode, file);
    if (error == 0)
        session_hold();
    answer->can_read = file->can_read;
    answer->is_list_refused = aggregators_list_was_refused();
    if (error == 0)
        error = end_of_file(file->file, access_mode, &answer->end);
    if (error == 0 && ranks > 1)
        error = export_handle(file->file, blob, &answer->blob_length);
    if (error < 0)
        failure_set(&answer->failure, error);
}

/* The other ranks' part. */
static void answer_take(ADIO_File fd, struct answer *answer, const void *blob)
{
    struct driver_file *file = driver_file(fd);
    weft_session_t *session;
    file->can_read = answer->can_read;
    int error = session_get(&session);
    if (error == 0)
        error = weft_file_import(session, blob, (size_t)answer->blob_length, &file->file);
    if (error == 0)
        session_hold();
    if (error < 0)
        failure_set(&answer->failure, error);
}

/* Collective: brings the answer to all; whether it is a failure is the same on
 * all ranks afterwards. */
static void answer_spread(ADIO_File fd, int rank, struct answer *answer, void **blob)
{
    MPI_Bcast(answer, sizeof *answer, MPI_BYTE, 0, fd->comm);
    if (answer->failure.class != MPI_SUCCESS)
        return;
    if (rank != 0)
        *blob = ADIOI_Malloc((size_t)answer->blob_length);
    MPI_Bcast(*blob, (int)answer->blob_length, MPI_BYTE, 0, fd->comm);
    if (rank != 0)
        answer_take(fd, answer, *blob);
    failure_agree(&answer->failure, fd->comm);
}

/* Collective. Handles that were made out of rank 0's are closed before it. */
static int close_handle(ADIO_File fd)
{
    struct driver_file *file = driver_file(fd);
    bool is_open = file->file != NULL;
    int rank, ranks, error = 0;
    MPI_Comm_rank(fd->comm, &rank);
    MPI_Comm_size(fd->comm, &ranks);
    if (is_open)
        nonblocking_finish(file->file);
    if (rank != 0 && is_open)
        error = weft_file_close(file->file);
    if (ranks > 1)
        MPI_Barrier(fd->comm);
    if (rank == 0 && is_open)
        error = weft_file_close(file->file);
    view_forget(file);
    explain_forget(file);
    aggregators_forget(file);
    if (file->mounted != NULL)
        ADIOI_Free(file->mounted);
    ADIOI_Free(file);
    fd->fs_ptr = NULL;
    if (is_open)
        session_release();
    return error;
}

void driver_open_coll(ADIO_File fd, int rank, int access_mode, int *error_code)
{
    struct answer answer = {.failure = {.class = MPI_SUCCESS}};
    void *blob = NULL;
    int ranks;

    MPI_Comm_size(fd->comm, &ranks);
    mounts_take(fd);
    fd->access_mode = access_mode;
    fd->fd_sys = -1;
    if (rank == 0)
        answer_make(fd, access_mode, ranks, &answer, &blob);
    if (ranks > 1)
        answer_spread(fd, rank, &answer, &blob);
    if (blob != NULL)
        ADIOI_Free(blob);

    *error_code = failure_code(&answer.failure);
    if (answer.failure.class != MPI_SUCCESS) {
        close_handle(fd);
        return;
    }
    fd->is_open = 1;
    driver_file(fd)->grain = INT64_MAX; /* of the view that a file begins with */
    if (access_mode & ADIO_APPEND)
        fd->fp_ind = answer.end;
    if (answer.is_list_refused)
        aggregators_refuse_list(fd);
    hints_take_directory(fd);
    hints_publish(fd);
    if (driver_file(fd)->hints.is_explained)
        explain_start(fd);
}

/* What is deleted right behind the close need not last. */
static bool wants_sync(ADIO_File fd)
{
    return driver_file(fd)->hints.is_durable_at_close &&
           !(fd->access_mode & (ADIO_RDONLY | ADIO_DELETE_ON_CLOSE));
}

void driver_close(ADIO_File fd, int *error_code)
{
    struct failure failure = {.class = MPI_SUCCESS};
    int sync_code = MPI_SUCCESS;
    if (wants_sync(fd))
        driver_flush(fd, &sync_code);
    explain_tell(fd);
    int error = close_handle(fd);
    if (error < 0)
        failure_set(&failure, error);
    *error_code = sync_code != MPI_SUCCESS ? sync_code : failure_code(&failure);
}
