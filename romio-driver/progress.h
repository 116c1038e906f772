/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress.h: the thread of weft_progress=thread, and what it needs of the rest of the driver, none of
 * which knows MPI.
 *
 * What it promises: I/O that has begun goes on though nobody calls MPI; nothing is spent while there is
 * none; and the thread ends when it is told to, whatever is under way.
 */
#ifndef ROMIO_DRIVER_PROGRESS_H
#define ROMIO_DRIVER_PROGRESS_H

#include <stdbool.h>

#include "weft/weft.h"

/* progress_begin(): nonblocking I/O has begun that a thread is to keep going. */
void progress_begin(void);
/* progress_step_back(): MPI makes progress by itself just now. */
void progress_step_back(void);
/* progress_end(): ends the thread, before the session ends. */
void progress_end(void);

/* session_get(): the process's session, made at the first call and ended in MPI_Finalize,
 * or, where files are still open then, with the last of them. Returns 0, or a negative
 * errno with weft_error() set. */
int session_get(weft_session_t **session);
/* nonblocking_advance(): moves all operations on, without waiting and without calling
 * MPI; from any thread. True while there are some that are not at their end. */
bool nonblocking_advance(void);
bool nonblocking_is_any(void);

#endif
