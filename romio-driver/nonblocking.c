/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nonblocking.c: reads and writes that go on while the caller computes.
 *
 * Each is an operation of the library behind one of MPI's generalized requests.
 * MPI knows nothing of their progress, so a list of those under way is gone
 * through from MPI's own progress (component.c); when an access has more pieces
 * than one batch, the next batch begins there.
 *
 * Memory: an operation belongs to its request. MPI gives it back by forget()
 * when it is complete and the caller has waited for it, or has freed it.
 */
#include <pthread.h>
#include <sched.h>

#include "driver.h"
#include "mpiu_greq.h"

/* The library's call to read, or to write. */
typedef int start_fn(weft_file_t *file, const struct iovec *iov, size_t iov_count,
                     const struct weft_extent *extents, size_t extent_count, weft_op_t **op);

struct operation {
    struct access access;
    struct batch batch;
    weft_file_t *file;
    start_fn *start;
    weft_op_t *op; /* under way; NULL: all is done */
    int64_t moved;
    struct failure failure;
    MPI_Request request;
    struct operation *next; /* of those under way */
};

static struct operation *under_way;
static pthread_mutex_t under_way_lock = PTHREAD_MUTEX_INITIALIZER;

static void operation_free(struct operation *operation)
{
    batch_free(&operation->batch);
    access_end(&operation->access);
    ADIOI_Free(operation);
}

/* Begins the next batch, if there is one. 0 or a negative errno. */
static int start_batch(struct operation *operation)
{
    struct batch *batch = &operation->batch;
    operation->op = NULL;
    if (!batch_fill(batch, &operation->access))
        return 0;
    return operation->start(operation->file, batch->iov, batch->iov_count, batch->extents,
                            batch->extent_count, &operation->op);
}

/* ---- progress --------------------------------------------------------- */

/* Moves one operation on; true when it is complete. */
static bool move_on(struct operation *operation)
{
    if (!weft_test(operation->op))
        return false;
    ssize_t result = weft_wait(operation->op);
    operation->op = NULL;
    if (result >= 0) {
        operation->moved += result;
        if (result == operation->batch.bytes) /* else the end of the file */
            result = start_batch(operation);
    }
    if (result < 0)
        failure_set(&operation->failure, (int)result);
    return operation->op == NULL;
}

int nonblocking_progress(void)
{
    int completed = 0;
    /* Who finds the list taken has another thread at work on it. */
    if (under_way == NULL || pthread_mutex_trylock(&under_way_lock) != 0)
        return 0;
    for (struct operation **link = &under_way; *link != NULL;) {
        struct operation *operation = *link;
        if (!move_on(operation)) {
            link = &operation->next;
            continue;
        }
        *link = operation->next;
        /* From here on the operation may be gone. */
        MPI_Grequest_complete(operation->request);
        completed++;
    }
    bool is_idle = completed == 0 && under_way != NULL;
    pthread_mutex_unlock(&under_way_lock);
    if (is_idle) /* MPI asks without a pause, and a server may need this core */
        sched_yield();
    return completed;
}

/* ---- what MPI calls --------------------------------------------------- */

static int query(void *state, MPI_Status *status)
{
    const struct operation *operation = state;
    MPI_Status_set_elements_x(status, MPI_BYTE, operation->moved);
    MPI_Status_set_cancelled(status, 0);
    status->MPI_SOURCE = MPI_UNDEFINED;
    status->MPI_TAG = MPI_UNDEFINED;
    return failure_code(&operation->failure);
}

static int forget(void *state)
{
    operation_free(state);
    return MPI_SUCCESS;
}

static int cancel(void *state, int is_complete)
{
    (void)state;
    (void)is_complete;
    return MPI_SUCCESS; /* I/O is not cancelled */
}

/* ---- what ROMIO calls ------------------------------------------------- */

static void give_request(struct operation *operation, ADIO_Request *request)
{
    host_request_start(query, forget, cancel, operation, request);
    operation->request = *request;
    pthread_mutex_lock(&under_way_lock);
    operation->next = under_way;
    under_way = operation;
    pthread_mutex_unlock(&under_way_lock);
}

static void begin(ADIO_File fd, start_fn *start, const void *buffer, romio_count_t count,
                  MPI_Datatype datatype, int file_ptr_type, ADIO_Offset offset, ADIO_Request *request,
                  int *error_code)
{
    struct driver_file *file = driver_file(fd);
    struct operation *operation = ADIOI_Calloc(1, sizeof *operation);
    struct access *access = &operation->access;
    operation->file = file->file;
    operation->start = start;
    operation->failure.class = MPI_SUCCESS;

    if (access_begin(access, fd, buffer, count, datatype, file_ptr_type, offset)) {
        access_keep(access);
        if (access->bytes > 0 && file_ptr_type == ADIO_INDIVIDUAL)
            fd->fp_ind = access_offset_after(access, access->bytes);
        *error_code = failure_report(file, start_batch(operation));
    } else {
        *error_code = failure_before_start(file);
    }
    if (operation->op != NULL) {
        give_request(operation, request);
        return;
    }
    operation_free(operation);
    if (*error_code == MPI_SUCCESS)
        MPIO_Completed_request_create(&fd, 0, error_code, request);
    else
        *request = MPI_REQUEST_NULL;
}

void driver_iread_strided(ADIO_File fd, void *buffer, romio_count_t count, MPI_Datatype datatype,
                          int file_ptr_type, ADIO_Offset offset, ADIO_Request *request, int *error_code)
{
    begin(fd, weft_file_read_list_async, buffer, count, datatype, file_ptr_type, offset, request, error_code);
}

void driver_iwrite_strided(ADIO_File fd, const void *buffer, romio_count_t count, MPI_Datatype datatype,
                           int file_ptr_type, ADIO_Offset offset, ADIO_Request *request, int *error_code)
{
    begin(fd, weft_file_write_list_async, buffer, count, datatype, file_ptr_type, offset, request,
          error_code);
}

/* ROMIO's contiguous calls have their offset in bytes, the others in the view's
 * etypes. The view is contiguous here, and what was added to the one is taken off. */
static ADIO_Offset in_etypes(ADIO_File fd, int file_ptr_type, ADIO_Offset offset)
{
    return file_ptr_type == ADIO_INDIVIDUAL ? 0 : (offset - fd->disp) / fd->etype_size;
}

void driver_iread_contig(ADIO_File fd, void *buffer, romio_count_t count, MPI_Datatype datatype,
                         int file_ptr_type, ADIO_Offset offset, ADIO_Request *request, int *error_code)
{
    driver_iread_strided(fd, buffer, count, datatype, file_ptr_type, in_etypes(fd, file_ptr_type, offset),
                         request, error_code);
}

void driver_iwrite_contig(ADIO_File fd, const void *buffer, romio_count_t count, MPI_Datatype datatype,
                          int file_ptr_type, ADIO_Offset offset, ADIO_Request *request, int *error_code)
{
    driver_iwrite_strided(fd, buffer, count, datatype, file_ptr_type, in_etypes(fd, file_ptr_type, offset),
                          request, error_code);
}
