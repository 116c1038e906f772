/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nonblocking.c: reads and writes that go on while the caller computes.
 *
 * Each is a chain of operations of the library behind one of MPI's generalized
 * requests: one batch of pieces after the other, in atomic mode between taking a
 * lock and giving it back. Whoever finds an operation of a chain done starts the
 * next: MPI's own progress (host.h), or the thread of progress.c. Only the
 * first may tell MPI that a request is complete.
 *
 * Memory: a chain belongs to its request. MPI gives it back by forget() when it
 * is complete and the caller has waited for it, or has freed it. MPICH calls forget()
 * as soon as the caller frees the request, complete or not; the chain then goes when
 * it is complete.
 *
 * Lock: under_way_lock guards the list and who is at work on which chain; it is
 * never held during a call of MPI or of the library.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "driver.h"
#include "mpiu_greq.h"

/* The library's call to read, or to write. */
typedef int start_fn(weft_file_t *file, const struct iovec *iov, size_t iov_count,
                     const struct weft_extent *extents, size_t extent_count, weft_op_t **op);

#define END_COMPLETE  1u /* MPI has been told */
#define END_FORGOTTEN 2u /* MPI needs it no more */

enum step { STEP_LOCK, STEP_MOVE, STEP_UNLOCK };

struct chain {
    struct access access;
    struct batch batch;
    weft_file_t *file;
    start_fn *start;
    enum step step;
    weft_op_t *op; /* under way; NULL: all is done */
    weft_lock_t *lock;
    int64_t moved;
    struct failure failure;
    struct explain_op explained;
    MPI_Request request;
    bool is_taken;      /* by a thread that moves it on */
    atomic_uint ends;   /* which of these have come */
    struct chain *next; /* of those under way */
};

static struct chain *under_way;
static atomic_uint under_way_count;
static pthread_mutex_t under_way_lock = PTHREAD_MUTEX_INITIALIZER;

static void chain_free(struct chain *chain)
{
    batch_free(&chain->batch);
    access_end(&chain->access);
    ADIOI_Free(chain);
}

/* ---- one chain -------------------------------------------------------- */

static int start_lock(struct chain *chain, bool is_exclusive)
{
    size_t count;
    struct weft_extent *extents = access_extents(&chain->access, &count);
    chain->step = STEP_LOCK;
    int error = weft_file_lock_async(chain->file, extents, count, is_exclusive, &chain->lock, &chain->op);
    if (error < 0)
        chain->lock = NULL;
    ADIOI_Free(extents);
    return error;
}

/* Begins the next batch, if there is one. 0 or a negative errno. */
static int start_batch(struct chain *chain)
{
    struct batch *batch = &chain->batch;
    chain->step = STEP_MOVE;
    if (!batch_fill(batch, &chain->access))
        return 0;
    return chain->start(chain->file, batch->iov, batch->iov_count, batch->extents, batch->extent_count,
                        &chain->op);
}

/* Follows all ways to an end. */
static int start_unlock(struct chain *chain)
{
    weft_lock_t *lock = chain->lock;
    chain->lock = NULL;
    chain->step = STEP_UNLOCK;
    return lock != NULL ? weft_file_unlock_async(lock, &chain->op) : 0;
}

/* What follows from the end of the operation of this step. */
static int next_operation(struct chain *chain, ssize_t result)
{
    if (chain->step == STEP_LOCK) {
        if (result < 0)
            chain->lock = NULL; /* the library has freed it */
        return result < 0 ? (int)result : start_batch(chain);
    }
    if (chain->step == STEP_UNLOCK || result < 0)
        return (int)result;
    chain->moved += result;
    return result == chain->batch.bytes ? start_batch(chain) : 0; /* less: the end of the file */
}

/* The first failure of a chain is the request's. */
static void note_result(struct chain *chain, int result)
{
    if (result < 0 && chain->failure.class == MPI_SUCCESS)
        failure_set(&chain->failure, result);
}

/* The operation is done: starts the next one. */
static void move_on(struct chain *chain)
{
    bool is_explained = chain->explained.explain != NULL;
    if (is_explained)
        explain_op_step(&chain->explained);
    ssize_t result = weft_wait(chain->op);
    chain->op = NULL;
    note_result(chain, next_operation(chain, result));
    if (chain->op == NULL)
        note_result(chain, start_unlock(chain));
    if (is_explained)
        explain_op_stepped(&chain->explained, chain->op == NULL);
}

/* ---- all of them ------------------------------------------------------ */

/* (locked, and so again at its end) A chain that is taken stays in the list. */
static void advance_locked(void)
{
    for (struct chain *chain = under_way; chain != NULL; chain = chain->next) {
        if (chain->is_taken || chain->op == NULL)
            continue;
        chain->is_taken = true;
        pthread_mutex_unlock(&under_way_lock);
        while (chain->op != NULL && weft_test(chain->op))
            move_on(chain);
        pthread_mutex_lock(&under_way_lock);
        chain->is_taken = false;
    }
}

/* (locked) Whether one is not at its end; of this file, or of any when it is NULL. */
static bool is_moving(const weft_file_t *file)
{
    for (const struct chain *chain = under_way; chain != NULL; chain = chain->next)
        if ((file == NULL || chain->file == file) && (chain->is_taken || chain->op != NULL))
            return true;
    return false;
}

bool nonblocking_advance(void)
{
    pthread_mutex_lock(&under_way_lock);
    advance_locked();
    bool is_any = is_moving(NULL);
    pthread_mutex_unlock(&under_way_lock);
    return is_any;
}

bool nonblocking_is_any(void)
{
    pthread_mutex_lock(&under_way_lock);
    bool is_any = is_moving(NULL);
    pthread_mutex_unlock(&under_way_lock);
    return is_any;
}

void nonblocking_finish(const weft_file_t *file)
{
    pthread_mutex_lock(&under_way_lock);
    while (is_moving(file)) {
        advance_locked();
        pthread_mutex_unlock(&under_way_lock);
        sched_yield();
        pthread_mutex_lock(&under_way_lock);
    }
    pthread_mutex_unlock(&under_way_lock);
}

/* (locked) Takes the chains out that are at their end. */
static struct chain *take_complete(void)
{
    struct chain *complete = NULL;
    for (struct chain **link = &under_way; *link != NULL;) {
        struct chain *chain = *link;
        if (chain->is_taken || chain->op != NULL) {
            link = &chain->next;
            continue;
        }
        *link = chain->next;
        chain->next = complete;
        complete = chain;
        atomic_fetch_sub(&under_way_count, 1);
    }
    return complete;
}

int nonblocking_progress(void)
{
    int completed = 0;
    progress_step_back();
    /* MPI asks all the time: it need not wait for another thread that looks. */
    if (atomic_load(&under_way_count) == 0 || pthread_mutex_trylock(&under_way_lock) != 0)
        return 0;
    advance_locked();
    struct chain *complete = take_complete();
    bool is_idle = complete == NULL && under_way != NULL;
    pthread_mutex_unlock(&under_way_lock);

    while (complete != NULL) {
        struct chain *chain = complete;
        complete = chain->next;
        completed++;
        bool is_forgotten = atomic_fetch_or(&chain->ends, END_COMPLETE) & END_FORGOTTEN;
        MPI_Grequest_complete(chain->request); /* the chain may be gone after it */
        if (is_forgotten)
            chain_free(chain);
    }
    if (is_idle) /* MPI asks without a pause, and a server may need this core */
        sched_yield();
    return completed;
}

bool nonblocking_is_complete(const void *state)
{
    const struct chain *chain = state;
    return atomic_load(&chain->ends) & END_COMPLETE;
}

/* ---- what MPI calls --------------------------------------------------- */

static int query(void *state, MPI_Status *status)
{
    const struct chain *chain = state;
    MPI_Status_set_elements_x(status, MPI_BYTE, chain->moved);
    MPI_Status_set_cancelled(status, 0);
    status->MPI_SOURCE = MPI_UNDEFINED;
    status->MPI_TAG = MPI_UNDEFINED;
    return failure_code(&chain->failure);
}

static int forget(void *state)
{
    struct chain *chain = state;
    if (atomic_fetch_or(&chain->ends, END_FORGOTTEN) & END_COMPLETE)
        chain_free(chain);
    return MPI_SUCCESS;
}

static int cancel(void *state, int is_complete)
{
    (void)state;
    (void)is_complete;
    return MPI_SUCCESS; /* I/O is not cancelled */
}

/* ---- what ROMIO calls ------------------------------------------------- */

static void give_request(struct chain *chain, const struct driver_file *file, ADIO_Request *request)
{
    host_request_start(query, forget, cancel, chain, request);
    chain->request = *request;
    pthread_mutex_lock(&under_way_lock);
    chain->next = under_way;
    under_way = chain;
    atomic_fetch_add(&under_way_count, 1);
    pthread_mutex_unlock(&under_way_lock);
    if (file->hints.has_progress_thread)
        progress_begin();
}

/* `kind` is EXPLAIN_COLLECTIVE or 0. */
static void begin(ADIO_File fd, bool is_write, unsigned kind, const void *buffer, romio_count_t count,
                  MPI_Datatype datatype, int file_ptr_type, ADIO_Offset offset, ADIO_Request *request,
                  int *error_code)
{
    struct driver_file *file = driver_file(fd);
    struct chain *chain = ADIOI_Calloc(1, sizeof *chain);
    struct access *access = &chain->access;
    chain->file = file->file;
    chain->start = is_write ? weft_file_write_list_async : weft_file_read_list_async;
    chain->failure.class = MPI_SUCCESS;
    explain_begin_access(fd, is_write, kind | EXPLAIN_NONBLOCKING, datatype);

    if (access_begin(access, fd, buffer, count, datatype, file_ptr_type, offset)) {
        access_keep(access);
        if (access->bytes > 0 && file_ptr_type == ADIO_INDIVIDUAL)
            fd->fp_ind = access_offset_after(access, access->bytes);
        bool is_locked = file->is_atomic && access->bytes > 0;
        *error_code = failure_report(is_locked ? start_lock(chain, is_write) : start_batch(chain));
    } else {
        failure_before_start(&chain->failure);
        *error_code = failure_code(&chain->failure);
    }
    if (chain->op != NULL) {
        if (file->explain != NULL)
            explain_op_begin(file->explain, &chain->explained, access->bytes);
        give_request(chain, file, request);
        return;
    }
    explain_end_access(fd, count, datatype);
    chain_free(chain);
    if (*error_code == MPI_SUCCESS)
        MPIO_Completed_request_create(&fd, 0, error_code, request);
    else
        *request = MPI_REQUEST_NULL;
}

void driver_iread_strided(ADIO_File fd, void *buffer, romio_count_t count, MPI_Datatype datatype,
                          int file_ptr_type, ADIO_Offset offset, ADIO_Request *request, int *error_code)
{
    begin(fd, false, 0, buffer, count, datatype, file_ptr_type, offset, request, error_code);
}

void driver_iwrite_strided(ADIO_File fd, const void *buffer, romio_count_t count, MPI_Datatype datatype,
                           int file_ptr_type, ADIO_Offset offset, ADIO_Request *request, int *error_code)
{
    begin(fd, true, 0, buffer, count, datatype, file_ptr_type, offset, request, error_code);
}

void driver_iread_coll(ADIO_File fd, void *buffer, romio_count_t count, MPI_Datatype datatype,
                       int file_ptr_type, ADIO_Offset offset, ADIO_Request *request, int *error_code)
{
    begin(fd, false, EXPLAIN_COLLECTIVE, buffer, count, datatype, file_ptr_type, offset, request, error_code);
}

void driver_iwrite_coll(ADIO_File fd, const void *buffer, romio_count_t count, MPI_Datatype datatype,
                        int file_ptr_type, ADIO_Offset offset, ADIO_Request *request, int *error_code)
{
    begin(fd, true, EXPLAIN_COLLECTIVE, buffer, count, datatype, file_ptr_type, offset, request, error_code);
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
