/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc.h: requests and replies between Weft processes: connections with a
 * handshake, the request table, deadlines, retries, flow control, and the
 * adaptive wait. Written once, above whatever transport is in use.
 *
 * What it promises
 *  - A call that was accepted ends by its callback, once, within its deadline:
 *    with the reply, or with an error that tells what failed.
 *  - A connection that breaks is made anew while its calls' deadlines last, and
 *    what was not answered is sent again under the same id. A server must
 *    therefore treat a repeated id as the same request (data requests are
 *    repeatable by nature; the metadata server remembers its answers).
 *  - A server serves a request once for each connection that it came by, and of each client
 *    the latest connection only: nothing of an earlier one is served once a later one is open.
 *  - Peers prove that they know the cluster key before anything else is heard.
 *  - A peer may have only so many requests and bytes under way (credit); calls
 *    beyond it wait here. A server drops a peer that ignores its credit.
 *
 * Threads: an rpc and all its connections, calls and requests belong to one
 * thread (or to whoever holds the lock that its owner put around it).
 * rpc_wake() alone may be called from anywhere. Callbacks run inside
 * rpc_progress() and rpc_wait(); they may call anything here but rpc_close(),
 * rpc_disconnect(), rpc_progress() and rpc_wait().
 */
#ifndef COMMON_RPC_H
#define COMMON_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "conf.h"
#include "counters.h"
#include "list.h"
#include "transport.h"
#include "wire.h"

struct rpc;
struct rpc_connection; /* the client side: a server's address, connected when needed */
struct rpc_peer;       /* the server side: one connected client */
struct rpc_request;    /* the server side: one request being served */

/* Who a server's peer is, as proved in the handshake (the ids are the peer's
 * word, which the cluster key makes trusted). */
struct rpc_identity {
    uint8_t client[16];
    uint32_t role; /* WIRE_ROLE_* */
    uint32_t uid;
    uint32_t gid;
    uint32_t group_count;
    const uint32_t *groups; /* supplementary ones */
    const char *name;
};

/* What a server does with its peers; every callback may be NULL. */
struct rpc_service {
    /* A request came. It must be answered by rpc_reply() once, now or later. */
    void (*request)(void *arg, struct rpc_request *request);
    /* A client connected (its first message comes after), or went away. */
    void (*peer_up)(void *arg, struct rpc_peer *peer);
    void (*peer_down)(void *arg, struct rpc_peer *peer);
    /* A request finds no memory while unanswered ones hold it: whoever keeps some back, for
     * whatever reason, should let go of them. */
    void (*shortage)(void *arg);
    /* Bytes for the welcome (the metadata server's map); valid until the next call. */
    struct wire_bytes (*greeting)(void *arg);
};

struct rpc_config {
    const struct conf *conf;           /* key, limits, transport; must outlive the rpc */
    const char *name;                  /* for peers' logs: "weft-storaged s0"; outlives the rpc */
    uint32_t role;                     /* WIRE_ROLE_* that this process claims as a client */
    const struct rpc_service *service; /* NULL: a client only */
    void *arg;                         /* of the service's callbacks */
    const char *devices;               /* the transport's, see there; NULL: all */
    /* A welcome of a server carried a greeting; NULL to ignore. */
    void (*greeting)(void *arg, struct rpc_connection *connection, const void *data, size_t length);
    /* A connection is there, or there again, and nothing was sent over it yet: a call that leads goes first.
     * NULL to ignore. */
    void (*opened)(void *arg, struct rpc_connection *connection);
};

int rpc_open(const struct rpc_config *config, struct rpc **rpc);
/* Ends all that is open; callbacks of calls under way run with -ECANCELED. Requests that
 * were not answered are freed: the service must not touch them any more. */
void rpc_close(struct rpc *rpc);

/* Listens on "host:port" (port 0: any); `bound` gets the real address. */
int rpc_listen(struct rpc *rpc, const char *address, char bound[LIMITS_ADDRESS_MAX + 1]);

/* Handles what is there, without waiting; returns how many things happened: a timer that ran and a call that
 * ran out of time are among them, so no callback runs that is not counted. */
unsigned rpc_progress(struct rpc *rpc);
/* Waits until something happened or `timeout_ms` (-1: no limit) is over:
 * progress with sched_yield for some tens of microseconds, then sleep. Returns what
 * rpc_progress() returned last. */
unsigned rpc_wait(struct rpc *rpc, int timeout_ms);
/* The two halves of the sleep, for an owner that must let go of a lock in
 * between: rpc_sleep_begin() returns a descriptor to poll (readable when there is work)
 * and in *timeout_ms how long at most, or -EAGAIN: do not sleep, progress first. */
int rpc_sleep_begin(struct rpc *rpc, int *timeout_ms);
void rpc_sleep_end(struct rpc *rpc);
/* Makes a wait return. From any thread, and from signal handlers. */
void rpc_wake(struct rpc *rpc);
/* Runs `fn` from rpc_progress() every `interval_ms`, for heartbeats and the
 * like; at most 4 for each rpc. */
int rpc_every(struct rpc *rpc, uint32_t interval_ms, void (*fn)(void *arg), void *arg);
/* Lets rpc_wait() of this rpc watch a descriptor of its owner; `fn` runs from
 * rpc_progress() when it is readable. */
int rpc_watch(struct rpc *rpc, int fd, void (*fn)(void *arg), void *arg);
void rpc_unwatch(struct rpc *rpc, int fd);

uint64_t rpc_now_ns(void); /* CLOCK_MONOTONIC */

/* ---- calling ------------------------------------------------------------ */

/* A server at "host:port". Connects when the first call is made. The same address gives a
 * new connection each time, which ends the one before where it is served: keep them. */
int rpc_connect(struct rpc *rpc, const char *address, struct rpc_connection **connection);
/* Calls under way end with -ECANCELED. */
void rpc_disconnect(struct rpc_connection *connection);
/* A text for messages: "storage server s0 at 127.0.0.1:7471". Copied. */
void rpc_connection_name(struct rpc_connection *connection, const char *name);
/* Whether a server is known to be there: then calls wait for it until their deadline, though nobody
 * listens for now, as they do where one answered before. Otherwise they end after 2 seconds of that. */
void rpc_connection_expect(struct rpc_connection *connection, bool expected);
/* Whether a connection that breaks is made anew also while no call waits for it. */
void rpc_connection_keep(struct rpc_connection *connection, bool kept);
const char *rpc_connection_address(const struct rpc_connection *connection);
void rpc_connection_arg_set(struct rpc_connection *connection, void *arg);
void *rpc_connection_arg(const struct rpc_connection *connection);

struct rpc_call;
struct rpc_transfer;
typedef void rpc_call_fn(struct rpc_call *call);

/* A call belongs to the caller, who fills the first part, and must not touch it
 * between rpc_call_start() and `done`. */
struct rpc_call {
    /* filled by the caller */
    uint16_t operation;
    const void *body;          /* encoded; must stay until done */
    uint32_t body_length;
    const struct iovec *payload; /* must stay until done, as must its bytes */
    uint32_t payload_count;
    uint32_t deadline_ms;      /* 0: the configuration's */
    uint64_t reply_bytes_max;  /* payload expected in the reply; counts against the credit */
    rpc_call_fn *done;
    /* Where the reply's payload goes: called with the reply's body (valid
     * inside only) when a payload came; returns room for `length` bytes that
     * stays until `done`, or NULL to drop it. NULL when no payload is expected. */
    void *(*place)(struct rpc_call *call, const void *body, uint32_t body_length, uint64_t length);
    void *arg;
    /* It may be served late, or twice, and no answer of it is kept: a request that takes long does not keep
     * the server from forgetting its answers to later ones. */
    bool repeatable;
    /* What is not sent yet waits until it has ended, so that the server knows of it first. It is never sent
     * again: when the connection breaks it ends (-ECONNRESET), and one that is not answered in time breaks
     * it. One at a time, or the next from its `done`; -ENOTCONN when the connection is not open. */
    bool leads;

    /* filled when done runs; the reply's body is valid inside `done` only */
    int status;                /* 0 or negative errno: the server's or our own; err_text() tells */
    const void *reply;
    uint32_t reply_length;
    uint64_t reply_payload_length;
    bool resent;               /* over another connection, so an earlier copy may have been served too */

    /* rpc's own */
    struct rpc_connection *connection;
    struct list_link link;
    uint64_t id;
    uint64_t deadline_ns;
    uint32_t state;
    struct rpc_transfer *transfer;
};

/* Starts the call. 0: `done` will run, once, from a later rpc_progress(). On
 * failure it never will. */
int rpc_call_start(struct rpc_connection *connection, struct rpc_call *call);

/* ---- serving ------------------------------------------------------------ */

struct rpc_request {
    struct rpc_peer *peer;
    uint16_t operation;
    uint64_t id;               /* the client's; the same for a repeated request */
    uint64_t settled;          /* the client will not repeat ids below this */
    const void *body;          /* valid until rpc_reply() */
    uint32_t body_length;
    uint64_t payload_length;   /* bytes to fetch by rpc_request_receive() */
    const void *data;          /* the payload when it is here already (then no fetching is
                                * needed), else NULL; valid until rpc_reply() */
    void *arg;                 /* the service's own */
    bool checks_payload;       /* set by the service before rpc_request_receive(): it compares the payload
                                * with rpc_request_crc() itself, and calls rpc_request_damaged() */
    bool reply_crc_known;      /* set by the service: that of the reply's payload is known, and need not */
    uint32_t reply_crc;        /* be made */
};

const struct rpc_identity *rpc_peer_identity(const struct rpc_peer *peer);
void rpc_peer_arg_set(struct rpc_peer *peer, void *arg);
void *rpc_peer_arg(const struct rpc_peer *peer);

/* Requests wait for memory that unanswered ones hold; see shortage() above. */
bool rpc_is_short(const struct rpc *rpc);

/* Fetches the payload into `buffer` (request->payload_length bytes); `done`
 * runs with 0 or a negative errno, never from inside. The request must still be
 * answered in both cases. Not needed when the payload is to be ignored. */
int rpc_request_receive(struct rpc_request *request, void *buffer,
                        void (*done)(struct rpc_request *request, int status));

/* The checksum (CRC32C) that the payload had where it was sent. False: it was sent without. */
bool rpc_request_crc(const struct rpc_request *request, uint32_t *crc);
/* The payload does not have it: ends the connection, so that the client sends anew what was not
 * answered. Returns -EBADMSG with a text, with which the request is still to be answered. */
int rpc_request_damaged(struct rpc_request *request);

/* Answers and frees the request. `status` is 0 or a negative errno; for an error the
 * body is made from err_text() of the thread (pass NULL, 0), or given (an encoded
 * `error`). The payload pieces must stay until `sent` runs (NULL when there are none);
 * it runs exactly once, never from inside, also when the peer is gone. */
void rpc_reply(struct rpc_request *request, int status, const void *body, size_t body_length,
               const struct iovec *payload, size_t payload_count, void (*sent)(void *arg), void *arg);

/* Registers memory for payloads; see transport.h. */
struct rpc_memory;
int rpc_memory_register(struct rpc *rpc, void *start, size_t length, struct rpc_memory **memory);
void rpc_memory_release(struct rpc *rpc, struct rpc_memory *memory);

/* ---- counting ----------------------------------------------------------- */

/* What every rpc counts (names in rpc.c: requests_sent, requests_received,
 * requests_<operation>, bytes_wire_sent, bytes_payload_sent, ..., wakeups, sleeps). Any
 * thread may read them. */
size_t rpc_counters(const struct rpc *rpc, const struct counter **counters);

#endif
