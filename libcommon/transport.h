/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport.h: the table that a network implementation fills: messages with a
 * header and a payload between two workers that know each other's address.
 *
 * It knows nothing of requests, retries, deadlines or authentication; these
 * exist once, above it (rpc.h). Addresses are exchanged by the caller, over the
 * control socket (control.h), so an implementation needs no listener.
 *
 * Contracts
 *  - One thread owns a worker and all that came from it; only that thread calls. Callbacks run
 *    inside progress(), and may send, receive, release and register; nothing else.
 *  - A submit function that returns 0 runs its callback exactly once, never
 *    from inside the submit; one that returns a negative errno never does.
 *  - Every message arrives whole or not at all. Messages of one peer may
 *    overtake each other.
 *  - A payload is either "here" (message->data set, valid until released) or
 *    still with the sender; transport->receive() places it, or takes it over,
 *    in both cases. Until then it takes no memory of the receiver's choosing.
 *  - A payload that is still with the sender can be placed only by who is connected with him: both sides
 *    connect before the first message.
 *  - The death of a peer may go unseen by the transport. Whoever knows of it
 *    calls disconnect(), which ends all that was under way with the peer.
 */
#ifndef COMMON_TRANSPORT_H
#define COMMON_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct transport_worker;  /* one thread's doorway to the network */
struct transport_peer;    /* a connection to another worker */
struct transport_memory;  /* registered memory */

struct transport_message {
    struct transport_worker *worker;
    const void *header; /* valid inside the callback only */
    size_t header_length;
    size_t payload_length;
    const void *data;   /* the payload when it is here already, else NULL */
    void *private;      /* the implementation's */
    void *origin;
};

typedef void transport_done_fn(void *arg, int status);

struct transport_events {
    /* A message came. The payload, if any, must be given to receive() or
     * release() once, now or later; `message` itself is copied by whoever
     * keeps it. */
    void (*message)(void *arg, const struct transport_message *message);
    /* The transport itself saw the peer fail. The peer stays to be disconnected. */
    void (*peer_failed)(void *arg, struct transport_peer *peer, int error);
    /* The worker reaches nobody any more. All peers are to be disconnected, and renew() called. */
    void (*worker_failed)(void *arg, int error);
};

/* Something of this host that a transport can use. */
struct transport_device {
    char text[128];       /* what names it in the configuration: "ofi:tcp;ofi_rxm@eth0" */
    char name[64];        /* the device: "eth0" */
    bool is_local;        /* reaches this host only */
    bool is_by_name_only; /* never chosen by itself */
    bool is_aid;          /* helps others, and carries no messages itself */
    char why[256];        /* its place in the order, or what it is */
};

struct transport {
    const char *name;
    bool chooses_itself; /* among its devices, for each peer */

    /* What can be used on this host, the best first; *devices is malloc'ed. */
    int (*devices)(struct transport_device **devices, unsigned *count);

    /* `options` is the user's, of this implementation's own kind; NULL or "": none. `devices`: UCX's names of
     * the network devices to use, with commas between; NULL: all that there are. What the user has told the
     * implementation itself counts more, ways inside this host are not affected, and one that knows
     * no such names passes them over. */
    int (*open)(const char *options, const char *devices, const struct transport_events *events, void *arg,
                struct transport_worker **worker);
    /* All peers must be disconnected. Receives that a peer's death left unfinished end
     * without their callback. */
    void (*close)(struct transport_worker *worker);

    /* The worker's address: opaque bytes, owned by the worker. */
    int (*address)(struct transport_worker *worker, const void **address, size_t *length);

    /* `same_host` lets shared memory be used. `peer_arg` comes back by peer_arg(). */
    int (*connect)(struct transport_worker *worker, const void *address, size_t length, bool same_host,
                   void *peer_arg, struct transport_peer **peer);
    void *(*peer_arg)(struct transport_peer *peer);
    /* Callbacks of what is under way run with -ECONNRESET, from a later
     * progress(). After it the memory that they named is the caller's again. */
    void (*disconnect)(struct transport_peer *peer);

    /* Sends a message. The header (at most LIMITS_HEADER_MAX) is copied; the
     * payload pieces must stay until `done`. */
    int (*send)(struct transport_peer *peer, const void *header, size_t header_length,
                const struct iovec *payload, size_t payload_count, transport_done_fn *done, void *arg);
    /* Places the message's payload in `buffer`, which has room for all of it. */
    int (*receive)(const struct transport_message *message, void *buffer, transport_done_fn *done, void *arg);
    /* Gives the payload up without reading it. */
    void (*release)(const struct transport_message *message);

    /* Registers memory so that bulk transfers to and from it need no
     * registration each. Optional for correctness. */
    int (*memory_register)(struct transport_worker *worker, void *start, size_t length,
                           struct transport_memory **memory);
    void (*memory_release)(struct transport_memory *memory);

    /* Moves things on, runs callbacks; returns how many things happened. */
    unsigned (*progress)(struct transport_worker *worker);
    /* A descriptor that becomes readable when there is something to progress,
     * provided arm() returned 0 since the last progress(). -EBUSY from arm()
     * means: progress first. */
    int (*fd)(struct transport_worker *worker);
    int (*arm)(struct transport_worker *worker);

    /* Whether messages of peers on this host still arrive: a peer that was killed may have
     * jammed what they all write to. Starts a check, or moves it on; to be called again and
     * again, between calls of progress(). 0: they do, and the check is over. -EAGAIN: it is
     * not known yet. Other errors end the check. */
    int (*probe)(struct transport_worker *worker);
    /* Makes the worker anew in its place, with another address and descriptor. All peers
     * must be disconnected; messages that came, and registered memory, stay valid. */
    int (*renew)(struct transport_worker *worker);
};

#define TRANSPORTS_MAX     2u
#define TRANSPORT_NAME_MAX 15u
#define TRANSPORT_TEXT_MAX 127u

extern const struct transport transport_ucx;
extern const struct transport transport_ofi; /* in builds with libfabric */

/* The implementation of that name; NULL when this build has none. */
const struct transport *transport_by_name(const char *name);
/* Those of this build, for messages: "ucx, ofi". */
const char *transport_names(void);
/* What `transport = "auto"` stands for: all of this build, joined by '+', the best for this host first. */
const char *transport_preferred(void);
/* Why, as the end of a sentence. */
const char *transport_preferred_why(void);

/* What the user says: "auto", or NAME[:OPTIONS], several joined by '+', the preferred first. Returns how many
 * these are, or -EINVAL with a text. */
struct transport_wish {
    const struct transport *transport;
    char options[TRANSPORT_TEXT_MAX + 1];
};
int transport_text_read(const char *text, struct transport_wish wishes[TRANSPORTS_MAX]);

#endif
