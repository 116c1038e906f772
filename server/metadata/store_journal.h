/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_journal.h: the journal of the metadata store: what transactions have changed since the last
 * checkpoint, flushed at the end of each. A file of a fixed size whose bytes have all been written before:
 * so to make a transaction durable is one write and one flush of some blocks, where a B+tree writes a dozen
 * pages in two flushes. (Write-ahead logging with redo records; Mohan et al., "ARIES", 1992, without its
 * undo: what is not committed is never in the journal.)
 *
 * What it promises
 *  - A transaction whose journal_write() has returned 0 is found by journal_replay() after any crash, as
 *    a whole and in its order.
 *  - One that was cut off by a crash is found as a whole or not at all.
 *  - Nothing is found that was written before the checkpoint that replay is told of, nor of another store.
 *
 * The file is a row of records from its start on: a head, and the changes. They have consecutive numbers,
 * which are never used again, and a checksum (CRC32C). The first record that is not the next one ends the
 * row. Integers are little-endian.
 *
 * Threads: as store.h.
 */
#ifndef METADATA_STORE_JOURNAL_H
#define METADATA_STORE_JOURNAL_H

#include "store.h"

#define JOURNAL_BYTES (1u << 20) /* of a new one */

struct journal_change {
    bool is_delete;
    uint8_t table;
    struct store_bytes key, value;
};

/* 0, or an error that ends the replay. */
typedef int journal_each_fn(void *arg, const struct journal_change *change);

struct journal;

/* Opens the file in the folder. `bytes` is its length; 0: there need not be one, and nothing that it has is
 * wanted: one of JOURNAL_BYTES is made, durably, unless there is such a one. -EUCLEAN when it is missing or
 * has another length. `id` is the store's, a random number that no other one has. */
int journal_open(const char *dir, uint64_t id, uint64_t bytes, struct journal **journal);
void journal_close(struct journal *journal); /* NULL is allowed */

/* Somebody has decided to do without what a journal has that is missing or damaged, by naming it
 * "journal.given-up". When the store has gone on from there it becomes "journal.old", if there is one. */
bool journal_is_given_up(const char *dir);
void journal_give_up(const char *dir);
/* The numbers of transactions go on so much further then, so that none of before is met again. */
#define JOURNAL_JUMP (UINT64_C(1) << 32)

/* Calls `each` for all changes of the transactions behind the number `done`, in order; the next one that is
 * written follows them. Returns how many transactions that were, or an error. */
int64_t journal_replay(struct journal *journal, uint64_t done, journal_each_fn *each, void *arg);

/* Adds a change to the transaction that is under way. Without memory, or when it is too long for the
 * file, journal_fits() is false from then on. */
void journal_note(struct journal *journal, const struct journal_change *change);
/* The transaction does not happen, or is durable by other means. */
void journal_forget(struct journal *journal);
bool journal_fits(const struct journal *journal);
/* Makes the transaction durable. After an error nobody knows whether it is. */
int journal_write(struct journal *journal);

uint64_t journal_bytes(const struct journal *journal);
/* The number of the last transaction that was written. */
uint64_t journal_last(const struct journal *journal);
/* All that was written is durable by other means: the next record is the first one of the file. */
void journal_restart(struct journal *journal);
/* Whether anything was written since. */
bool journal_is_empty(const struct journal *journal);

/* Of bytes from anywhere: the length of the record of that number at their beginning; 0: there is none.
 * Then its changes: -EUCLEAN with a text when they make no sense. */
size_t journal_record_check(const uint8_t *bytes, size_t length, uint64_t id, uint64_t number);
int journal_record_each(const uint8_t *record, size_t length, journal_each_fn *each, void *arg);

#endif
