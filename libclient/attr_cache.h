/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attr_cache.h: attributes that need not be asked for again, since the metadata server has promised to tell
 * before they change (docs/protocol.md, "Delegations"; the other half is server/metadata/delegations.h).
 *
 * What it promises
 *  - What is found here is what the metadata server would have answered at some time since the call began:
 *    attributes, or that there is nothing of that name.
 *  - That holds by the clock alone: who does not hear from the metadata server for LIMITS_DELEGATION_MS finds
 *    nothing here. So a process may be stopped, or cut off, at any time.
 *  - A session's own changes are seen at once by all of its threads: what is named in a request that may
 *    change something is forgotten before it is sent, and what others have asked meanwhile is not kept.
 *
 * A thread of the session (keeper.h) hears recalls while the program does something else. It sleeps while
 * nothing is kept, and what is not used for LIMITS_DELEGATION_MS is given up.
 *
 * Threads: any; all state is guarded by the session's lock. Functions marked (locked) want it held.
 */
#ifndef CLIENT_ATTR_CACHE_H
#define CLIENT_ATTR_CACHE_H

#include "client.h"
#include "path_name.h"

/* A request that asks for attributes, from before it is sent until its answer is there. */
struct attr_ticket {
    uint64_t sent_ns;
    uint64_t name; /* 0: nothing is wanted */
    uint64_t stamp;
};

/* A request that may change what is known, likewise. */
struct attr_change {
    struct path_parts parts[2];
    unsigned part_count;
    uint64_t ino; /* that is named without a path; 0: none */
};

/* Turns it on; `begins` is called in the keeper first (may be NULL). */
int attr_cache_open(weft_session_t *session, void (*begins)(void));
/* Gives everything up and tells the metadata server, if that can be done soon. */
void attr_cache_close(weft_session_t *session);
void attr_cache_free(weft_session_t *session);

enum attr_known { ATTR_UNKNOWN, ATTR_KNOWN, ATTR_ABSENT /* nothing has that name */ };
/* What is known, without a request. `path` as client_path() has it; "": of the inode. `flags` are of
 * weft_stat(). */
enum attr_known attr_cache_find(weft_session_t *session, const char *path, uint64_t ino, unsigned flags,
                                struct weft_attr *attr);

/* Whether it is known that nothing has that name. */
bool attr_cache_absent(weft_session_t *session, const char *path);
/* Whether the metadata server would allow this session, which keeps attributes, to do that (R_OK, W_OK, X_OK)
 * with what has these. */
bool attr_cache_allows(const weft_session_t *session, const struct weft_attr *attr, unsigned wanted);

/* Whether the request is to ask for a delegation. */
bool attr_cache_ask(weft_session_t *session, const char *path, struct attr_ticket *ticket);
/* `own`: the change that the request made, which began before it was asked and ends after this; NULL: it
 * made none. */
void attr_cache_learn(weft_session_t *session, const struct attr_ticket *ticket, const char *path,
                      const struct attr_change *own, const struct wire_delegation *delegation,
                      const struct weft_attr *attr);

/* Nothing has the name `path`, as the metadata server says with the attributes of the folder that could have
 * it. */
void attr_cache_learn_absent(weft_session_t *session, const struct attr_ticket *ticket, const char *path,
                             const struct wire_delegation *delegation, const struct weft_attr *folder);

/* A promise that the inode does not change, as a number that no other has; 0: there is none (locked). */
uint64_t attr_cache_held(weft_session_t *session, uint64_t ino);
/* From the next request on delegations are asked for. */
void attr_cache_want(weft_session_t *session);

/* Around each request that may change names or attributes: by its paths (`other` may be NULL), or, when
 * `path` is "", by the inode. */
void attr_change_begin(weft_session_t *session, struct attr_change *change, const char *path,
                       const char *other, uint64_t ino);
void attr_change_end(weft_session_t *session, const struct attr_change *change);

/* Around a write to a small file, whose answer tells its attributes (locked). */
void attr_write_begin(weft_session_t *session, uint64_t ino, struct attr_ticket *ticket);
/* `delegation` NULL: it failed, or told nothing. */
void attr_write_end(weft_session_t *session, uint64_t ino, const struct attr_ticket *ticket,
                    const struct wire_delegation *delegation, const struct weft_attr *attr);

/* ---- for held.h (locked) ---- */

/* What was promised in this generation still holds. */
bool attr_cache_holds(weft_session_t *session, uint64_t generation);
/* Whether the answer's promise that a folder is held can be relied upon; then it is from now on. */
bool attr_cache_may_hold(weft_session_t *session, const struct attr_ticket *ticket,
                         const struct attr_change *own, const struct wire_delegation *delegation);
/* The session has just changed what has this path, and so the folder that holds it. */
void attr_cache_changed(weft_session_t *session, const char *path, uint64_t folder);
/* The inode is gone. */
void attr_cache_gone(weft_session_t *session, uint64_t ino);
/* An answer says that the metadata server has heard us. */
void attr_cache_heard(weft_session_t *session, const struct wire_delegation *delegation, uint64_t sent_ns);
/* What was to be told before recalls are acknowledged has been told. */
void attr_cache_left(weft_session_t *session);
/* held_look() has something to wait for. */
void attr_cache_hurry(weft_session_t *session);

#endif
