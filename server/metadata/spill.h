/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spill.h: a small file becomes one of the storage servers'. In three steps, like a truncation: a transaction
 * notes that they may have something of it from now on, and nothing changes the file any more; its bytes are
 * written and synced, and once more when a host with some of them has crashed meanwhile; a second transaction
 * says so in the inode. A crash in between leaves a small file, and what it has
 * left on the storage servers is cut away before the next try, and removed with the file.
 *
 * Threads: belongs to the service's thread.
 */
#ifndef METADATA_SPILL_H
#define METADATA_SPILL_H

#include "inode.h"
#include "namespace.h"

struct request;

/* The request waits for it, and runs again after it; if it fails, its error is the request's. Begins it,
 * unless it is under way. */
void spill_want(struct request *request);
/* The last step; for an empty file, the only one. All who have it open for writing count as writers. */
int spill_note(struct ns *ns, struct inode *inode);
/* A handle that was opened when the file was small is going to be used with the storage servers. One that
 * this server does not know is of an earlier one, or was given up while its client was out of touch. */
int spill_join(struct request *request, struct ns *ns, struct inode *inode, uint64_t handle,
               uint32_t access);
/* Such a handle of a small file that has no name any more keeps it. */
int spill_keep_orphan(struct request *request, struct ns *ns, const struct inode *inode, uint64_t handle,
                      uint32_t access);

#endif
