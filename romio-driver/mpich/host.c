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

#include "mpir_ext.h"

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
