/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_world.h: what tests of the client's inside need around them: a scratch folder with
 * configurations, and sessions and files that were made without a server.
 */
#ifndef TEST_CLIENT_WORLD_H
#define TEST_CLIENT_WORLD_H

#include "../../libclient/client.h"

enum { WORLD_PATH_MAX = 128 };

/* A scratch folder; world_close() removes it with all that world_conf() made. */
int world_open(void);
int world_close(void);

/* A port that nobody listens on. */
unsigned world_free_port(void);
/* Writes NAME.conf and its key of 64 times `key_digit`; `limits` is the inside of that section. */
void world_conf(const char *name, char key_digit, unsigned metadata_port, const char *limits,
                char path[WORLD_PATH_MAX]);
weft_session_t *world_connect(const char *conf_path);

/* A map of cluster `cluster`, with servers of one shard at these addresses, and as many targets and
 * groups as `target_count`; target (and group) t is on server owners[t]. */
struct map *world_map(uint8_t cluster, uint64_t version, unsigned server_count, const char *const *addresses,
                      unsigned target_count, const unsigned *owners);
/* Gives it to the session, as a metadata server would; the reference is the caller's still. */
void world_give_map(weft_session_t *session, struct map *map);

/* A file as if it had been opened for `access`, striped over `groups`; world_file_drop() closes it. */
weft_file_t *world_file(weft_session_t *session, uint32_t access, uint64_t chunk_size, uint32_t groups);
void world_file_drop(weft_file_t *file);

/* A counter of the session. */
uint64_t world_counter(weft_session_t *session, const char *name);

#endif
