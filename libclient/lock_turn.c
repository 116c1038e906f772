/* SPDX-License-Identifier: Apache-2.0 */
#include "lock_turn.h"

#define LINE_WAIT_MS 50u

static uint32_t asked_max(const weft_session_t *session)
{
    return session->conf->credit_requests > 1 ? session->conf->credit_requests / 2 : 1;
}

uint32_t lock_turn_wait_ms(const weft_session_t *session)
{
    /* Less than the quarter that makes shard_calls_look() ask for a newer map. */
    uint32_t long_ms = session->conf->deadline_ms / 5 + 1;
    bool line = session->locks_asked >= asked_max(session) / 2 || !list_empty(&session->locks_in_line);
    return line && long_ms > LINE_WAIT_MS ? LINE_WAIT_MS : long_ms;
}

void lock_turn_pump(weft_session_t *session)
{
    struct list_link *first;
    while (session->locks_asked < asked_max(session) && (first = list_pop(&session->locks_in_line))) {
        struct lock_turn *turn = list_item(first, struct lock_turn, link);
        if (turn->begin(turn))
            session->locks_asked++;
    }
}

void lock_turn_join(weft_session_t *session, struct lock_turn *turn)
{
    list_push_back(&session->locks_in_line, &turn->link);
}

void lock_turn_answered(weft_session_t *session)
{
    session->locks_asked--;
}
