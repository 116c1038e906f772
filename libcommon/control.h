/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h: the control socket of a connection: a TCP stream on which two
 * peers prove that they know the cluster key, exchange the addresses of their
 * transport workers, and which then stays open so that its end tells of the
 * other's death. Nothing else travels on it.
 *
 * A frame is its length (u32), its type (u8) and an encoded message:
 *
 *   client                          server
 *   HELLO (identity, transports)          ->
 *                                         <-   CHALLENGE (nonce, transports)
 *   PROOF (keyed hash, transport, address) ->
 *                                         <-   WELCOME (keyed hash, address, credit)   or REFUSAL
 *
 * The client chooses the transport, among those that both have.
 *
 * What it promises: no frame is read further than its bound; a peer that says
 * nothing, or nonsense, is let go of with a line in the log; nothing of the
 * transport is touched before the proof.
 */
#ifndef COMMON_CONTROL_H
#define COMMON_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf.h"
#include "wire.h"

enum control_state {
    CONTROL_CONNECTING, /* client: the TCP connection is being made */
    CONTROL_HELLO,      /* server: awaits HELLO; client: awaits CHALLENGE */
    CONTROL_PROOF,      /* server: awaits PROOF; client: awaits WELCOME */
    CONTROL_OPEN,
};

/* The transport of a connection, on one's own side. */
struct control_transport {
    const char *name;
    const void *address; /* of its worker */
    size_t address_length;
    void *own; /* whatever stands for it there */
};

/* What each side tells the other. */
struct control_self {
    uint8_t client[16]; /* the client's identity; random, made once per rpc */
    uint8_t host[16];   /* of the running host: peers with the same may share memory */
    uint32_t role;
    const char *name;
    const char *transports; /* "ucx,ofi", in the order in which they are preferred */
    /* The one to be used: the first of ours that stands in `names`. 0, or a negative errno with a text. */
    int (*transport)(void *arg, const char *names, struct control_transport *chosen);
    void *arg;
};

struct control {
    int fd;
    enum control_state state;
    bool is_server;
    const uint8_t *key;
    const struct control_self *self;
    uint64_t token_in;  /* the other puts it into messages to us */
    uint64_t token_out; /* we put it into messages to the other */
    uint64_t deadline_ns; /* of the handshake */
    char peer_name[LIMITS_SERVER_NAME_MAX + 1 + 64];

    /* server: what it grants */
    uint32_t credit_requests;
    uint64_t credit_bytes;
    struct wire_bytes (*greeting)(void *arg);
    void *greeting_arg;

    struct control_transport transport; /* ours, from the proof on */

    /* Valid once open. Texts and bytes point into `in`, those of the hello into its copy. */
    struct wire_hello hello;     /* of the client (server side) */
    struct wire_proof proof;     /* likewise */
    struct wire_welcome welcome; /* of the server (client side) */
    bool same_host;

    struct wire_mac nonce_client, nonce_server;
    uint8_t hello_hash[16];
    uint8_t *hello_copy; /* server side: what `hello` points into */

    uint8_t *in;
    size_t in_length, in_size;
    uint8_t *out;
    size_t out_length, out_sent;
};

/* Starts a client's side: a socket that is being connected. */
int control_dial(struct control *control, const char *address, const uint8_t *key,
                 const struct control_self *self, uint64_t token, uint64_t deadline_ns);
/* Starts a server's side on an accepted socket, which it takes over. */
void control_accept(struct control *control, int fd, const uint8_t *key, const struct control_self *self,
                    uint64_t token, uint64_t deadline_ns);
/* Whether it waits to write (then poll for that too). */
bool control_wants_write(const struct control *control);
/* Reads and writes what can be; moves the handshake on. 0, or a negative errno
 * with a text: the connection is over (-ECONNRESET: the other end closed it). */
int control_progress(struct control *control);
void control_close(struct control *control);

/* Whether two lists of transports have one in common. */
bool control_transports_meet(const char *names, const char *others);

/* A listening socket on "host:port"; its real address goes to `bound`. */
int control_listen(const char *address, char bound[LIMITS_ADDRESS_MAX + 1]);

/* The identity of the running host (its boot id), and of the namespaces without which processes on it can't
 * use shared memory with each other: containers are hosts of their own. */
int control_host_identity(uint8_t host[16]);

#endif
