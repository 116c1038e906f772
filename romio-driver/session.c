/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.c: the one session of a process with the cluster.
 *
 * MPI has no call that begins a job's use of a file system, and many files may
 * be open at once: connections must outlive each of them. So the session begins
 * with the first file and ends in MPI_Finalize, when MPI takes the attributes
 * off MPI_COMM_SELF. That is before MPI itself is gone, but a program, or a library
 * like HDF5, may close its files by such an attribute of its own, which MPI takes off
 * after ours. So the session belongs to the attribute and to each open file, and
 * ends with the last of them.
 */
#include <pthread.h>

#include "driver.h"

static weft_session_t *the_session;
static unsigned users;     /* open files, and the attribute */
static bool is_finalizing; /* the attribute is gone */
static pthread_mutex_t the_session_lock = PTHREAD_MUTEX_INITIALIZER;

static int end_session(MPI_Comm comm, int keyval, void *value, void *extra)
{
    (void)comm;
    (void)value;
    (void)extra;
    pthread_mutex_lock(&the_session_lock);
    is_finalizing = true;
    pthread_mutex_unlock(&the_session_lock);
    /* The thread must not run on when MPI unloads the driver, even if a file stays open. */
    progress_end();
    session_release();
    MPI_Comm_free_keyval(&keyval);
    return MPI_SUCCESS;
}

/* (locked) */
static void end_at_finalize(void)
{
    int keyval;
    if (!is_finalizing &&
        MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, end_session, &keyval, NULL) == MPI_SUCCESS &&
        MPI_Comm_set_attr(MPI_COMM_SELF, keyval, NULL) == MPI_SUCCESS)
        users++;
}

static int get(const struct weft_mounted *mounted, weft_session_t **session)
{
    int error = 0;
    pthread_mutex_lock(&the_session_lock);
    if (the_session == NULL) {
        error = mounted != NULL ? weft_mounted_connect(mounted, &the_session)
                                : weft_connect(NULL, &the_session);
        if (error == 0)
            end_at_finalize();
        else
            the_session = NULL;
    }
    *session = the_session;
    pthread_mutex_unlock(&the_session_lock);
    return error;
}

int session_get(weft_session_t **session)
{
    return get(NULL, session);
}

int session_get_mounted(const struct weft_mounted *mounted, weft_session_t **session)
{
    return get(mounted, session);
}

void session_hold(void)
{
    pthread_mutex_lock(&the_session_lock);
    users++;
    pthread_mutex_unlock(&the_session_lock);
}

void session_release(void)
{
    weft_session_t *unused = NULL;
    pthread_mutex_lock(&the_session_lock);
    if (--users == 0) {
        unused = the_session;
        the_session = NULL;
    }
    pthread_mutex_unlock(&the_session_lock);
    if (unused == NULL)
        return;
    progress_end();
    weft_disconnect(unused);
}
