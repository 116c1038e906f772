/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host.c: the driver beside an MPICH that stays as it is.
 *
 * MPICH's library holds a ROMIO that can't be added to. So the whole of ROMIO is
 * built once more, with the driver, as a library that has MPI's calls for files;
 * programs find them there first when it is preloaded, or linked ahead of
 * MPICH's. All their files then are this ROMIO's, also those of other file
 * systems. What it needs of MPI it gets by MPI's public calls.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "driver.h"
#include "mpir_ext.h"

/* ---- one thread at a time --------------------------------------------- */

static pthread_mutex_t romio_lock;
static pthread_once_t romio_lock_once = PTHREAD_ONCE_INIT;

static void make_lock(void)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&romio_lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

void MPIR_Ext_cs_enter(void)
{
    pthread_once(&romio_lock_once, make_lock);
    pthread_mutex_lock(&romio_lock);
}

void MPIR_Ext_cs_exit(void)
{
    pthread_mutex_unlock(&romio_lock);
}

int MPIR_Ext_init(void)
{
    return MPI_SUCCESS;
}

int MPIR_Ext_datatype_iscommitted(MPI_Datatype datatype)
{
    (void)datatype;
    return MPI_SUCCESS;
}

/* ---- progress --------------------------------------------------------- */

/*
 * MPICH makes progress of generalized requests while a program tests or waits for
 * them, by these two. A request is told of and then completed in one go under this
 * lock, so that a thread that waits finds it complete for MPI too.
 */
static pthread_mutex_t progress_lock = PTHREAD_MUTEX_INITIALIZER;

static void make_progress(void)
{
    pthread_mutex_lock(&progress_lock);
    nonblocking_progress();
    pthread_mutex_unlock(&progress_lock);
}

static int poll(void *state, MPI_Status *status)
{
    (void)state;
    (void)status;
    make_progress();
    return MPI_SUCCESS;
}

/* MPICH takes all these requests for complete afterwards. */
static int wait_for_all(int count, void **states, double seconds, MPI_Status *status)
{
    (void)seconds;
    (void)status;
    for (int i = 0; i < count; i++)
        while (!nonblocking_is_complete(states[i]))
            make_progress();
    return MPI_SUCCESS;
}

int host_request_start(MPI_Grequest_query_function *query, MPI_Grequest_free_function *forget,
                       MPI_Grequest_cancel_function *cancel, void *state, MPI_Request *request)
{
    return MPIX_Grequest_start(query, forget, cancel, poll, wait_for_all, state, request);
}
