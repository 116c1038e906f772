/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock_turn.h: the line of a session's requests for locks, of both kinds: those as such (lock.c) and
 * records (record.c).
 *
 * Requests for locks that wait take up the server's credit. Only some are under way at once, those beyond
 * stand in a line here; when there is one, each waits only shortly.
 *
 * All of it wants the session's lock held.
 */
#ifndef CLIENT_LOCK_TURN_H
#define CLIENT_LOCK_TURN_H

#include "client.h"

struct lock_turn {
    struct list_link link; /* in session->locks_in_line */
    /* It is its turn: asks, and returns true when a request is under way. */
    bool (*begin)(struct lock_turn *turn);
};

/* The request's turn comes at once, or later. */
void lock_turn_join(weft_session_t *session, struct lock_turn *turn);
/* The request that begin() made was answered: to be followed by lock_turn_pump(). */
void lock_turn_answered(weft_session_t *session);
/* Lets those begin that there is room for. */
void lock_turn_pump(weft_session_t *session);
/* How long the server may keep a request. */
uint32_t lock_turn_wait_ms(const weft_session_t *session);

#endif
