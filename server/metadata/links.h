/* SPDX-License-Identifier: Apache-2.0 */
/*
 * links.h: in which directories an inode with several names has them, so that it can be counted in one
 * (usage.h), and in another one when its last name there is gone.
 *
 * What it promises
 *  - Of an inode with two names or more the table "links" has, for each directory with names of it, how many.
 *    Of others it has nothing.
 *  - inode.parent is one of these directories, that of the only name, or 0.
 *
 * None of this is for directories. All calls return 0 or a failure of the store; rows that can't be are no
 * reason to refuse an operation, see usage_give_up().
 *
 * Threads: as store.h.
 */
#ifndef METADATA_LINKS_H
#define METADATA_LINKS_H

#include "inode.h"
#include "store.h"

/* A name of an inode that has one or more comes to be in `dir`, or goes: nlink and parent are set; the record
 * is the caller's to write. */
int links_add(struct store_txn *txn, struct inode *inode, uint64_t dir);
int links_remove(struct store_txn *txn, struct inode *inode, uint64_t dir);
/* A name goes from one directory to another, or stays where it is. */
int links_move(struct store_txn *txn, struct inode *inode, uint64_t from, uint64_t to);

/* For usage_rebuild.c: one more name was met of an inode that has several. */
int links_met(struct store_txn *txn, struct inode *inode, uint64_t dir);

#endif
