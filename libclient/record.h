/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.h: what the files that make records share. All of it wants the session's lock held.
 */
#ifndef CLIENT_RECORD_H
#define CLIENT_RECORD_H

#include "client.h"

/* ---- record_holdings.c ---------------------------------------------------------- */

/* What an owner has of one file; there while he has something, or asks. */
struct record_holding {
    struct list_link link;
    struct record_owner *owner;
    uint64_t ino;
    uint64_t epoch;     /* of the server that he has it from; 0: nothing */
    uint32_t pending;   /* requests under way */
    bool overlaps;      /* more than one at a time */
    uint32_t unsettled; /* of them: it is not known what the server has done, and it is being told */
    struct list parked; /* lock_turn: requests that wait for that */
};

struct record_holding *record_holding_find(const weft_session_t *session, uint64_t owner, uint64_t ino);
/* A request begins. -ENOMEM. */
int record_holding_begin(weft_session_t *session, uint64_t owner, uint64_t ino,
                         struct record_holding **holding);
/* The server said so. */
void record_holding_told(struct record_holding *holding, bool holds, uint64_t epoch);
void record_holding_lost(struct record_holding *holding);
/* The request ends; the holding may be freed. */
void record_holding_end(weft_session_t *session, struct record_holding *holding);
/* Whether he has anything of any file. */
bool record_owner_holds(const weft_session_t *session, uint64_t owner);
void record_holdings_free(weft_session_t *session);

#endif
