/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_internal.h: what the files of the rpc module share.
 *
 *   rpc.c        opening, the loop, waiting, timers, watches
 *   rpc_road.c   roads: the transports in use, and what they all do
 *   rpc_link.c   links: a control socket and a transport peer, and their tokens
 *   rpc_call.c   the client side: connections, calls, deadlines, retries
 *   rpc_serve.c  the server side: peers, requests, replies
 *   rpc_renew.c  what follows when a peer's death has jammed the transport
 *   rpc_count.c  the counters
 */
#ifndef COMMON_RPC_INTERNAL_H
#define COMMON_RPC_INTERNAL_H

#include "bufpool.h"
#include "control.h"
#include "rpc.h"

#define ENVELOPE_BYTES 56u
#define TIMERS_MAX 4u
#define WATCHES_MAX 4u
#define HANDSHAKE_MS 5000u

/* What a descriptor in the epoll set stands for: kind in the upper half, index below. */
enum event_kind { EVENT_WAKE = 1, EVENT_TRANSPORT, EVENT_LISTENER, EVENT_LINK, EVENT_WATCH };

enum rpc_count {
    COUNT_BYTES_WIRE_SENT,
    COUNT_BYTES_WIRE_RECEIVED,
    COUNT_BYTES_PAYLOAD_SENT,
    COUNT_BYTES_PAYLOAD_RECEIVED,
    COUNT_REQUESTS_SENT,
    COUNT_REQUESTS_RESENT,
    COUNT_REQUESTS_RECEIVED,
    COUNT_REPLIES_SENT,
    COUNT_REPLIES_RECEIVED,
    COUNT_CONNECTIONS_MADE,
    COUNT_CONNECTIONS_LOST,
    COUNT_CONNECTIONS_REFUSED,
    COUNT_MESSAGES_REFUSED,
    COUNT_MESSAGES_DAMAGED,
    COUNT_DEADLINES_MISSED,
    COUNT_RENEWALS,
    COUNT_SLEEPS,
    COUNT_WAKEUPS,
    COUNT_BASE, /* then sent_<operation>, then served_<operation> */
};

/* One transport of this rpc. */
struct rpc_road {
    struct rpc *rpc;
    unsigned index;
    const struct transport *transport;
    char options[TRANSPORT_TEXT_MAX + 1];
    struct transport_worker *worker; /* NULL: not opened yet */
    const void *address;             /* the worker's */
    size_t address_length;
    unsigned links;          /* with a transport peer */
    bool rests;              /* nothing is under way and no link is there: not looked at */
    bool muted;              /* its descriptor is readable all the time, and wakes nobody */
    bool renewal_due;        /* it failed as a whole */
    uint64_t arm_failing_ns; /* since when arm() says busy with nothing to do */
    uint64_t suspect_ns;     /* since when it may be jammed; 0: it is not */
    uint64_t probed_ns;      /* since when that is being checked; 0: it is not */
};

struct rpc_link {
    struct rpc *rpc;
    struct rpc_road *road; /* with `peer` */
    struct control control;
    struct transport_peer *peer;
    uint32_t slot;
    uint32_t events;              /* asked of epoll */
    int broken;                   /* 0, or why it is to be broken */
    char *broken_text;
    struct list_link broken_link;
    struct rpc_connection *connection; /* client side */
    struct rpc_peer *served;           /* server side, once open */
};

struct rpc_timer {
    uint64_t due_ns;
    uint64_t interval_ns;
    void (*fn)(void *arg);
    void *arg;
};

struct rpc_watch {
    int fd; /* -1: free */
    void (*fn)(void *arg);
    void *arg;
};

struct rpc {
    struct rpc_config config;
    struct rpc_road roads[TRANSPORTS_MAX];
    unsigned road_count;
    char transports[TRANSPORT_NAME_MAX + 1]; /* their names, as in the handshake */
    struct list memories;                    /* struct rpc_memory */
    struct control_self self;
    int epoll_fd, wake_fd, listen_fd;

    struct rpc_link **links; /* by slot */
    uint32_t link_count;     /* slots made */
    uint32_t served_count;   /* links accepted */
    struct list broken;

    struct list connections;
    uint64_t next_id;

    struct list peers;
    struct list requests;    /* being served */
    struct list sent_due;    /* replies whose peer was gone: `sent` is due */
    struct bufpool *bodies;  /* payloads that are fetched to get at a body in front */

    struct rpc_timer timers[TIMERS_MAX];
    uint32_t timer_count;
    struct rpc_watch watches[WATCHES_MAX];
    uint64_t due_ns;         /* when rpc_tick() has something to do next */
    uint64_t polled_ns;      /* when the sockets were last looked at */
    bool sleeping;
    bool sockets_due;
    bool closing;            /* what breaks now does so on purpose */
    uint64_t refused_logged_ns;

    struct counter *counters;
};

enum call_state { CALL_QUEUED = 1, CALL_SENT, CALL_RECEIVING, CALL_REPLIED };

struct rpc_connection {
    struct rpc *rpc;
    struct list_link link_in_rpc;
    struct list calls;       /* not ended, in the order of their ids */
    struct rpc_link *link;
    char address[LIMITS_ADDRESS_MAX + 1];
    char name[160];
    void *arg;
    uint32_t requests_under_way;
    uint64_t bytes_under_way;
    uint32_t backoff_ms;
    uint64_t retry_ns;       /* not before */
    uint64_t refused_ns;     /* since when there is nobody there; 0: not so */
    bool was_open;           /* once, in its life */
    bool expected;           /* as rpc_connection_expect() said */
    bool kept;               /* as rpc_connection_keep() said */
    uint32_t leading;        /* calls that lead */
    char problem[256];       /* why the last attempt failed */
    int problem_error;
};

/* What a message's sender says of its payload. */
struct rpc_sum {
    bool known;
    uint32_t crc;
};

/* The part of a call that lives as long as the transport works on it. */
struct rpc_transfer {
    struct rpc *rpc;
    struct rpc_call *call;   /* NULL: nobody waits any more */
    bool sending;
    bool receiving;
    void *whole;             /* a reply whose body is in the payload */
    const void *place;       /* where the payload goes */
    struct rpc_sum sum;      /* of it */
    uint32_t body_length;
    uint64_t payload_length;
    uint8_t body[LIMITS_HEADER_MAX];
};

enum { PEER_IDS = 256 };

struct rpc_peer {
    struct rpc *rpc;
    struct list_link link_in_rpc;
    struct rpc_link *link;   /* NULL: gone */
    struct rpc_identity identity;
    char name[LIMITS_SERVER_NAME_MAX + 72];
    void *arg;
    uint32_t requests;       /* not yet answered, or whose answer is under way */
    uint32_t replies;        /* of them: whose answer is under way */
    uint64_t settled;        /* the client has the answers to all requests below */
    uint64_t ids[PEER_IDS];  /* of the latest requests, each at its remainder */
};

/* rpc_road.c */

/* Those that the configuration's text names, none of them opened. */
int rpc_roads_make(struct rpc *rpc, const char *text);
int rpc_road_open(struct rpc_road *road);
void rpc_road_close(struct rpc_road *road);
/* The worker has another address and descriptor. */
int rpc_road_renewed(struct rpc_road *road);
/* For the handshake: see control.h. */
int rpc_road_choose(void *arg, const char *names, struct control_transport *chosen);
/* A link has it now. */
void rpc_road_take(struct rpc_road *road);
unsigned rpc_roads_progress(struct rpc *rpc);
/* Something happened: none of them is stuck. */
void rpc_roads_moved(struct rpc *rpc);
/* Before a sleep. 0: their descriptors wake it. -EBUSY: sleep by the clock. -EAGAIN: progress first. */
int rpc_roads_arm(struct rpc *rpc, uint64_t now_ns);

/* rpc_link.c */
struct rpc_link *rpc_link_dial(struct rpc *rpc, struct rpc_connection *connection, int *error);
void rpc_link_accept(struct rpc *rpc);
void rpc_link_progress(struct rpc_link *link);
/* Breaks the link from the next progress(); the text is err_text(). Safe anywhere. */
void rpc_link_fail(struct rpc_link *link, int error);
void rpc_link_break(struct rpc_link *link, int error);
struct rpc_link *rpc_link_by_token(struct rpc *rpc, uint64_t token);
unsigned rpc_links_break_due(struct rpc *rpc);

/* rpc_call.c */
void rpc_connection_open(struct rpc_connection *connection);
void rpc_connection_down(struct rpc_connection *connection, int error);
void rpc_reply_came(struct rpc_connection *connection, const struct wire_envelope *envelope,
                    const struct transport_message *message);
/* Returns how many calls it ended. */
unsigned rpc_calls_tick(struct rpc *rpc, uint64_t now_ns);
void rpc_calls_cancel(struct rpc *rpc);

/* rpc_serve.c */
int rpc_peer_up(struct rpc_link *link);
void rpc_peer_down(struct rpc_peer *peer);
void rpc_request_came(struct rpc_peer *peer, const struct wire_envelope *envelope,
                      const struct transport_message *message);
unsigned rpc_sent_run(struct rpc *rpc);
/* Frees what the service never answered; the transport's worker is closed. */
void rpc_requests_drop(struct rpc *rpc);

/* rpc.c */
void rpc_message_came(struct rpc_road *road, const struct transport_message *message);
/* Something is to be done at `ns`: the sleep must not last beyond it. */
void rpc_due(struct rpc *rpc, uint64_t ns);
int rpc_poll_set(struct rpc *rpc, int operation, int fd, uint32_t events, enum event_kind kind,
                 uint32_t index);
/* A message is not for us: says so, at most once a second. */
void rpc_refuse_message(struct rpc *rpc, const char *who, const char *why);
/* Builds header (envelope and inline body) in `header`; returns its length. When the body
 * does not fit, it is put first into `iov`, whose count grows. With WIRE_PAYLOAD_CRC in the envelope's flags
 * the payload's checksum stands there already. */
size_t rpc_header_make(const struct rpc *rpc, struct wire_envelope *envelope, const void *body,
                       size_t body_length, uint8_t header[LIMITS_HEADER_MAX], struct iovec *iov,
                       size_t *iov_count, const struct iovec *payload, size_t payload_count);

/* rpc_check.c: whether a message is what was sent */

/* A header with its checksum, to be made when all else of it is. */
void rpc_header_sum(uint8_t *header, size_t length);
bool rpc_header_is_whole(const void *header, size_t length);
/* What stands there for the connection's number, in a header that is not whole; 0 when it is too short. */
uint64_t rpc_header_token(const void *header, size_t length);
uint32_t rpc_payload_crc(const struct iovec *payload, size_t count);
struct rpc_sum rpc_sum_of(const struct wire_envelope *envelope);
/* -EBADMSG, counted: the connection is to be ended, so that all of it is sent again. `who` sent it. */
int rpc_payload_damaged(struct rpc *rpc, const char *who, size_t length);
/* 0, or that. */
int rpc_payload_check(struct rpc *rpc, const char *who, struct rpc_sum sum, const void *payload,
                      size_t length);

/* rpc_renew.c */
/* A peer on this host went away. */
void rpc_suspect(struct rpc_road *road);
/* The transport said that nothing waits to be received. */
void rpc_trust(struct rpc_road *road);
/* Returns how many transports it made anew, which ends their links. */
unsigned rpc_suspicion_tick(struct rpc *rpc, uint64_t now_ns);
/* The transport must be made anew, whatever a check says. */
void rpc_renewal_want(struct rpc_road *road);

/* rpc_count.c */
int rpc_counters_make(struct rpc *rpc);
void rpc_count(struct rpc *rpc, enum rpc_count which, uint64_t amount);
void rpc_count_sent(struct rpc *rpc, unsigned operation);
void rpc_count_served(struct rpc *rpc, unsigned operation);

#endif
