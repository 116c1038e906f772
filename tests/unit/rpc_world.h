/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc_world.h: what tests of requests between processes share: a server that is a process of its own, a
 * client that is connected to it, calls that are waited for, and a run over each transport.
 *
 * The server is the test's own program, run again. After <cmocka.h>.
 */
#ifndef TESTS_RPC_WORLD_H
#define TESTS_RPC_WORLD_H

#include <sys/types.h>

#include "err.h"
#include "rpc_internal.h"

#define PAYLOAD_MAX (5u << 20)

/* Of the test and of the processes that it starts; its transport is that of the run. */
extern struct conf conf;

/* ---- the server ------------------------------------------------------------- */

struct server {
    pid_t pid;
    char address[LIMITS_ADDRESS_MAX + 1];
};

/* On a free port of "127.0.0.1:0", or again on its old one; `key` is a number, and the clients' is "1".
 * What it answers:
 *   write: sums of body and payload. read: body[0..4] bytes of payload and a body of body[4..8] bytes.
 *   sync: nothing, ever. unlink: ends the server. statfs: how many peers are up, and how often the transport
 *   was made anew. access: an error. */
void server_start(struct server *server, const char *address, const char *key);
void server_kill(struct server *server);
/* What it says of a body or a payload. */
uint32_t sum_of(const uint8_t *data, size_t length);

/* ---- a client ---------------------------------------------------------------- */

struct rpc *client_open(void);

/* One server, and a client with a connection to it. */
struct world {
    struct server server;
    struct rpc *rpc;
    struct rpc_connection *connection;
};

void world_begin(struct world *world, const char *key);
void world_end(struct world *world);

struct waited {
    struct rpc_call call;
    bool over;
    void *place;
    uint64_t placed;
    uint8_t reply[64];
    char text[512];
};

/* Starts a call, which is over when call_over() was called. */
int call_start(struct rpc_connection *connection, struct waited *waited, unsigned operation, const void *body,
               size_t body_length, struct iovec *payload);
void call_over(struct rpc_call *call);
void wait_over(struct rpc *rpc, struct waited *waited);
/* All of that; its status. */
int call(struct rpc *rpc, struct rpc_connection *connection, struct waited *waited, unsigned operation,
         const void *body, size_t body_length, struct iovec *payload);

/* ---- the program ------------------------------------------------------------- */

/* The path of this program. */
const char *own_program(void);
/* Makes it the conf's. When it cannot be used here, that is told. */
bool transport_is_usable(const char *transport);
/* The server's main() where this is one. Else the arguments are a test's name, and a transport, which choose.
 * run_each() is called for each transport that is there, with the conf's set; then run_last(), unless a
 * transport was chosen. Both return how many tests failed. */
int world_main(int argc, char **argv, int (*run_each)(void), int (*run_last)(void));

#endif
