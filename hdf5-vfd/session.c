/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.c: the one session of a process with the cluster. It begins with the first file and ends
 * when HDF5 lets go of the driver. A child of fork() makes its own.
 */
#include <pthread.h>
#include <unistd.h>

#include "driver.h"

static weft_session_t *the_session;
static pid_t owner;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int get(const struct weft_mounted *mounted, weft_session_t **session)
{
    int error = 0;
    pthread_mutex_lock(&lock);
    /* A parent's session can't even be closed here. */
    if (!the_session || owner != getpid()) {
        error = mounted ? weft_mounted_connect(mounted, &the_session) : weft_connect(NULL, &the_session);
        owner = getpid();
        if (error < 0)
            the_session = NULL;
    }
    *session = the_session;
    pthread_mutex_unlock(&lock);
    return error;
}

int vfd_session(weft_session_t **session)
{
    return get(NULL, session);
}

int vfd_session_mounted(const struct weft_mounted *mounted, weft_session_t **session)
{
    return get(mounted, session);
}

void vfd_session_end(void)
{
    pthread_mutex_lock(&lock);
    if (the_session && owner == getpid())
        weft_disconnect(the_session);
    the_session = NULL;
    pthread_mutex_unlock(&lock);
}
