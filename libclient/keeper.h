/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper.h: a thread that drives a session's rpc when nobody else does, for answers that no caller waits for.
 *
 * What it promises
 *  - It leaves the rpc to whoever drove it in the last milliseconds, and sleeps where nothing is needed.
 *  - It blocks all signals, and is never in the middle of anything when the process forks: a child would find
 *    the locks of libraries held for ever.
 *
 * Threads: keeper_open() and keeper_close() without the session's lock, the others with it.
 */
#ifndef CLIENT_KEEPER_H
#define CLIENT_KEEPER_H

#include "client.h"

struct keeper {
    weft_session_t *session;
    bool (*is_needed)(weft_session_t *session);
    void (*begins)(void); /* called in the thread first; may be NULL */
    enum { KEEPER_NOT_YET, KEEPER_RUNS, KEEPER_IMPOSSIBLE } state;
    bool ends;
    bool sleeps; /* where the rpc wakes it */
    pthread_t thread;
    pthread_cond_t wake;
};

void keeper_open(struct keeper *keeper, weft_session_t *session, bool (*is_needed)(weft_session_t *session),
                 void (*begins)(void));
/* Starts the thread, the first time. False: there can be none. */
bool keeper_start(struct keeper *keeper);
/* It may be needed now. */
void keeper_wake(struct keeper *keeper);
/* What it looks after (held_look()) is due sooner than before. */
void keeper_hurry(struct keeper *keeper);
/* Ends the thread. */
void keeper_close(struct keeper *keeper);

#endif
