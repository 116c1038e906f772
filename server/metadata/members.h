/* SPDX-License-Identifier: Apache-2.0 */
/*
 * members.h: the storage servers of the cluster and the map made from them.
 *
 * What it promises
 *  - Servers, targets and groups are only ever added. Group g stays group g, since the
 *    layouts of files name groups by their number.
 *  - The map's version is kept in the store and grows with every change.
 *  - What a target may have lost is told by exactly one version, and never taken back: who names
 *    that version, or a later one, knows of it.
 *  - A change is prepared inside a transaction and adopted after its commit,
 *    so that no one sees a map that a crash could take back.
 *
 * A server is up from its registration until it has been silent for a lease. A server
 * that is down, or unknown, is told so by the answer to its heartbeat
 * (-ENOENT) and registers again.
 *
 * Threads: belongs to one thread.
 */
#ifndef METADATA_MEMBERS_H
#define METADATA_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "conf.h"
#include "map.h"
#include "store.h"
#include "wire.h"

struct members;

/* Reads what the store knows; `address` is the metadata server's own. All servers count as heard at
 * `now_ns` (monotonic). Writes to the store when the address is another one than before. `conf` outlives the
 * members. -EINVAL: it wants other groups than there are. */
int members_load(struct store_txn *txn, const struct conf *conf, const uint8_t cluster[16],
                 const char *address, uint64_t now_ns, struct members **members);
void members_free(struct members *members); /* NULL is allowed */

/* The present map, with the space that the servers last reported; valid until members_adopt(). */
const struct map *members_map(const struct members *members);
/* The same, encoded. Valid until the next call. -ENOMEM */
int members_encoded(struct members *members, struct wire_bytes *encoded);

/* A change to come: freed by members_adopt() or members_forget(). */
struct members_change;

/* A server registers. *change is NULL when that changes nothing in the map. Refusals have a text:
 * -EEXIST (a target is another server's), -EINVAL. */
int members_register(struct members *members, struct store_txn *txn,
                     const struct wire_server_register *request, struct members_change **change);
/* Every server that has been silent since `silent_since_ns` goes down. *change is NULL when there is none. */
int members_expire(struct members *members, struct store_txn *txn, uint64_t silent_since_ns,
                   struct members_change **change);
bool members_any_silent(const struct members *members, uint64_t silent_since_ns);
const struct map *members_change_map(const struct members_change *change);
void members_adopt(struct members *members, struct members_change *change);
void members_forget(struct members_change *change);

/* -ENOENT: there is no such storage server, or it counts as down. */
int members_find_up(const struct map *map, const char *name, const struct map_server **server);
/* What a leader says of members of its groups. What is not so any more is passed over. -ENOENT: there is no
 * such server. */
int members_report(struct members *members, struct store_txn *txn, const struct wire_group_report *report,
                   uint64_t now_ns, struct members_change **change);
/* What is due without anybody asking: members that were leaving and know it now are out, and those that are
 * out are to get what they missed, as soon as they are there. */
bool members_any_due(struct members *members, uint64_t now_ns);
int members_tend(struct members *members, struct store_txn *txn, uint64_t now_ns,
                 struct members_change **change);

/* The server is alive, has this much space, and all of its shards go by that version of the map or a later
 * one. -ENOENT: it has to register (again). */
int members_heard(struct members *members, const char *name, uint64_t bytes_total, uint64_t bytes_free,
                  uint64_t adopted, uint64_t now_ns);

/* This server was deaf for so long: no one's silence in that time counts. */
void members_pardon(struct members *members, uint64_t deaf_ns, uint64_t now_ns);

/* ---- members_records.c: the rows of the table ----------------------------- */

int members_rows_load(struct store_txn *txn, struct map **map);
/* Writes server `server` (UINT32_MAX: none), its host, all its targets, and the groups that `old` has not, or
 * with another home or other states. */
int members_rows_save(struct store_txn *txn, const struct map *map, uint32_t server, const struct map *old);

/* ---- members_groups.c: groups of several members --------------------------- */

/* Makes groups for targets that are in none, once all that the configuration names are known: *map is
 * replaced by one with more groups of the same version. Groups that are there stay as they are. 0 also when
 * nothing is to be done yet. Where it can't be done: -EHOSTDOWN and the like, with a text, and *map stays. */
int members_groups_grow(const struct conf *conf, struct map **map);
/* -EINVAL with a text when the map has groups of another number of members. */
int members_groups_check(const struct conf *conf, const struct map *map);

/* ---- members_states.c: what becomes of the groups' members ------------------- */

/* A server has just registered: its targets are up. `lost` tells of which of them, by index into
 * the map, something may be lost that was answered. */
void members_states_registered(struct map *map, uint32_t server, const bool *lost, bool unclean);
/* The servers that are down in `map` and were not in `old` serve nobody any more. */
void members_states_expired(struct map *map, const struct map *old);

/* ---- members.c ------------------------------------------------------------------ */

struct members_growth {
    uint32_t hosts, servers, shards /* of each server */, targets, groups;
};
/* A copy with room for more, of the next version. NULL: no memory. */
struct map *members_map_copy(const struct map *old, const struct members_growth *more);

#endif
