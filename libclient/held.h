/* SPDX-License-Identifier: Apache-2.0 */
/*
 * held.h: folders whose names are this session's alone until the metadata server recalls that
 * (docs/protocol.md, "Held folders"; the other half is server/metadata/delegations_hold.c). Files are made
 * and removed here, in memory, and the metadata server is told of many with one request.
 *
 * What it promises
 *  - Nobody can tell the difference while this process lives: who looks at such a folder waits until the
 *    metadata server has been told of everything, and so does every other request of this session.
 *  - What is not told yet gets told within some milliseconds, without the program's doing anything. Only a
 *    process or machine that is gone before, or is silent for LIMITS_DELEGATION_MS while somebody else looks,
 *    loses it, which is what fsync() is for.
 *  - A file that is made here and still open is one of the metadata server's as soon as anything is done with
 *    it that can't be done here: all but small writes, stat and close.
 *
 * A folder comes to be held with a file that is made in it while it has few others, which are told, so all
 * the names that it has are known.
 *
 * Threads: any; all state is guarded by the session's lock. Functions marked (locked) want it held, the
 * others want it free.
 */
#ifndef CLIENT_HELD_H
#define CLIENT_HELD_H

#include "attr_cache.h"
#include "client.h"

/* Where the configuration wants it; else session->held stays NULL, and nothing below costs anything. */
int held_open(weft_session_t *session);
/* Tells all that is not told; what can't be is lost, and logged. */
void held_end(weft_session_t *session);
void held_free(weft_session_t *session);

/* The metadata server says with the answer to this open, which made the file, that the folder is held. */
void held_learn(weft_session_t *session, const struct attr_ticket *ticket, const struct attr_change *own,
                const char *path, const struct wire_open_reply *reply);

/* ---- names ---------------------------------------------------------------- */

/* Makes a file, open as `open` wants it. 1: done; 0: it can't be done here, and a request may change the
 * folder; -EEXIST and others. */
int held_create(weft_session_t *session, const struct wire_open *open, weft_file_t **file);
/* 1: done; 0: likewise; -ENOENT. */
int held_remove(weft_session_t *session, const char *path);
/* What is known of a name in a held folder (locked). */
enum attr_known held_find(weft_session_t *session, const char *path, struct weft_attr *attr);
/* Attributes of what is there may change, by its path, or its number when `path` is "" (locked). */
void held_forget(weft_session_t *session, const char *path, uint64_t ino);
/* A request is about to change names in the folder of `path`: it is held no more. */
void held_leave(weft_session_t *session, const char *path);
/* Likewise the folder `path` itself, or that of this number when `path` is "". */
void held_leave_itself(weft_session_t *session, const char *path, uint64_t ino);

/* ---- files that are open here alone ------------------------------------------ */

/* From here on the file is one that the metadata server knows to be open. */
int held_settle(weft_file_t *file);
/* 1: written, and *result; 0: it is not to be done here. */
int held_write(weft_file_t *file, const struct iovec *iov, size_t iov_count, uint64_t offset,
               ssize_t *result);
/* 1: told; 0: it is not to be done here. */
int held_stat(weft_file_t *file, struct weft_attr *attr);
/* Whether it was open here alone, and is closed now. */
bool held_close(weft_file_t *file);

/* ---- telling ---------------------------------------------------------------- */

/* Returns when the metadata server has been told of everything; the first failure. */
int held_flush(weft_session_t *session);
/* Something of the delegations' was lost or recalled: the folder, or (ino 0) all (locked). */
void held_recalled(weft_session_t *session, uint64_t ino);
/* A folder that is held no more has not been told of to the end (locked). */
bool held_is_leaving(const weft_session_t *session);
/* Tells what has waited for long; returns after how many milliseconds to look again, -1: no need (locked). */
int held_look(weft_session_t *session);

#endif
