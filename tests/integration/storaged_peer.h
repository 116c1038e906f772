/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storaged_peer.h: what a test of one weft-storaged needs around it: a metadata
 * server that knows nothing but membership, and clients, all in the test's own
 * process and thread.
 *
 * The cluster map has two servers. "s0" is the real one, with targets 0 and 1 (groups
 * 0 and 1) and two shards; "elsewhere" has target 7 (group 2) and does not exist.
 */
#ifndef TEST_STORAGED_PEER_H
#define TEST_STORAGED_PEER_H

#include <sys/types.h>

#include "capability.h"
#include "map.h"
#include "rpc.h"

enum { PEER_SHARDS = 2, PEER_TARGETS = 2, PEER_GROUPS = 3, PEER_CHUNK = 4096 };

struct peer {
    char dir[128];
    struct conf *conf;
    pid_t pid; /* of weft-storaged; 0: none */
    char ready[LIMITS_ADDRESS_MAX + 16];

    /* the metadata server */
    struct rpc *metadata;
    struct map *map;     /* current; the tests may change it */
    int register_status; /* how registrations are answered */
    bool forget;         /* answer the next heartbeat with -ENOENT */
    unsigned registrations, heartbeats;
    uint32_t registered_targets[8], registered_target_count;
    uint64_t registered_losses[8], registered_capacities[8];
    uint64_t registered_total, registered_free;

    /* clients: an ordinary one, and one that has the metadata server's role */
    struct rpc *client, *manager;
    struct rpc_connection *to_shard[PEER_SHARDS], *manager_to_shard[PEER_SHARDS];
    /* and "elsewhere", as what leads groups with targets of the real one */
    struct rpc *leader;
    struct rpc_connection *leader_to_shard[PEER_SHARDS];
};

/* Writes the configuration (with `limits` in its limits section), makes the metadata
 * server and the clients; `extra` of weft-storaged's own comes with peer_start(). */
void peer_open(struct peer *peer, const char *limits);
/* The same, with more settings: "redundancy = { replicas = 2; };" */
void peer_open_more(struct peer *peer, const char *limits, const char *more);
void peer_close(struct peer *peer); /* kills the server; removes the files */

/* Starts weft-storaged and waits until it is ready. */
void peer_start(struct peer *peer);
/* The same, but waits until it ended; returns its exit status, and its log in `text`. */
int peer_run(struct peer *peer, char *text, size_t size);
/* Sends the signal and waits for the end; the exit status as of waitpid(). */
int peer_signal(struct peer *peer, int number);
/* The targets have the chunk store; WEFT_TEST_STORE in the environment names another one. */
bool peer_keeps_files(void);
/* Everything runs under valgrind (WEFT_VALGRIND). */
bool peer_is_slow(void);
/* Lets everyone progress for so long. */
void peer_idle(struct peer *peer, unsigned ms);
/* A new map, one version on, that differs from the current one in nothing else. */
void peer_map_next(struct peer *peer);

/* What a request brought back. */
struct answer {
    int status;
    char text[LIMITS_ERROR_TEXT_MAX + 1];
    uint8_t body[65536];
    uint32_t body_length;
    uint8_t *payload; /* the test's memory, or NULL */
    uint64_t payload_size, payload_length;
};

/* A call, from start to end; -ETIMEDOUT after 3 s. */
void peer_call(struct peer *peer, struct rpc_connection *connection, unsigned operation, const void *body,
               size_t body_length, const void *payload, size_t payload_length, struct answer *answer);

struct wire_capability peer_capability(const struct peer *peer, uint64_t ino, uint32_t access);
struct layout peer_layout(void);

/* Encodes a write or read (WIRE_OP_*) of these extents. */
size_t peer_encode_io(unsigned operation, const struct wire_capability *capability, uint64_t map_version,
                      const struct wire_extent *extents, uint32_t count, void *body, size_t size);

/* Writes or reads a run of the file by as many requests as it takes, leaving out what lies
 * on the server that does not exist. Reads give zeros where nothing is present. */
int peer_write(struct peer *peer, uint64_t ino, uint64_t offset, const void *data, size_t length);
int peer_read(struct peer *peer, uint64_t ino, uint64_t offset, void *data, size_t length);
int peer_sync(struct peer *peer, uint64_t ino);
/* What only the metadata server may ask of a shard. */
int peer_truncate(struct peer *peer, struct rpc_connection *connection, uint64_t ino, uint64_t size,
                  bool grow_only);
int peer_remove(struct peer *peer, struct rpc_connection *connection, uint64_t ino);
/* The largest end over all shards. */
int peer_end(struct peer *peer, uint64_t ino, uint64_t *end);
bool peer_is_elsewhere(uint64_t offset);
/* The first chunk at or behind `from` that lies on this target and shard. */
uint64_t peer_chunk_on(const struct peer *peer, uint32_t target, uint32_t shard, uint64_t from);

/* The counter of that name, summed over the shards. */
uint64_t peer_counter(struct peer *peer, const char *name);

#endif
