/* SPDX-License-Identifier: Apache-2.0 */
/*
 * requests.c: generalized requests that MPICH makes progress of.
 *
 * MPICH asks how they are, by two functions, while a program tests or waits for them.
 * A request is told of and then completed in one go under a lock, so that a thread that
 * waits finds it complete for MPI too.
 */
#include <pthread.h>

#include "driver.h"

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
