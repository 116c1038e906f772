/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answers.h: what requests that changed something were answered, so that a
 * request that comes again (its client lost the connection, or this server was
 * killed) gets the same answer and changes nothing a second time.
 *
 * Only successes are kept: a failure has changed nothing, so the request may
 * simply run again. An answer goes when its client says that it has it, and
 * when it is older than a day and its client is not there.
 *
 * Threads: belongs to the store's thread.
 */
#ifndef METADATA_ANSWERS_H
#define METADATA_ANSWERS_H

#include <stddef.h>
#include <stdint.h>

#include "opens.h"
#include "store.h"

/* 1 with the body of the answer (valid until the transaction's next change), 0 when there is none. */
int answers_get(struct store_txn *txn, const uint8_t client[16], uint64_t request, uint16_t operation,
                struct store_bytes *body);
int answers_put(struct store_txn *txn, const uint8_t client[16], uint64_t request, uint16_t operation,
                int64_t now_ns, struct store_bytes body);
/* Drops the client's answers to requests below `settled`. */
int answers_prune(struct store_txn *txn, const uint8_t client[16], uint64_t settled);

/* Where answers_expire() goes on. */
struct answers_cursor {
    uint8_t key[24];
    bool begun;
};
/* Looks at some answers, and drops those from before `before_ns` whose clients have no connection. */
int answers_expire(struct store_txn *txn, struct answers_cursor *cursor, struct opens *opens,
                   int64_t before_ns);

#endif
