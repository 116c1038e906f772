/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_state.h: what the members of a group become when something happens to one of
 * them; docs/replication.md has the table. Pure: a map that is being made goes in, and is changed.
 *
 * What it promises
 *  - A group has a leader, which is current, before and after.
 *  - A member becomes current when its leader says that it has everything, and by nothing else; but for one
 *    that was leaving, which has all that was answered, and leads when nobody else can.
 *  - What changes in a group is told by the map's version: group->changed becomes that.
 *
 * Each function returns whether anything changed. A group with one member never does.
 *
 * Threads: nothing is shared.
 */
#ifndef METADATA_GROUP_STATE_H
#define METADATA_GROUP_STATE_H

#include <stdbool.h>

#include "map.h"

/* The member's server has been silent for a lease, and serves nobody by now. It is out, if another one can
 * lead; else it stays what it is. */
bool group_state_lost(struct map *map, uint32_t group, uint32_t member);

/* The member's server is there, but it does not have all that it answered, or does not know whether others
 * have what it was giving them. As above; where it goes on leading, none that is not there has
 * everything any more. */
bool group_state_doubtful(struct map *map, uint32_t group, uint32_t member);

/* The leader could not give the member something, or, when it names itself, could not keep it. */
bool group_state_failed(struct map *map, uint32_t group, uint32_t member);

/* The server of a leaving member knows that, and answers no reads of the group any more. */
bool group_state_left(struct map *map, uint32_t group, uint32_t member);

/* A stale member is to get what it missed. Nothing happens while its server, or its leader's, is down. */
bool group_state_rejoin(struct map *map, uint32_t group, uint32_t member);

/* The leader has given a syncing member all that it missed. */
bool group_state_synced(struct map *map, uint32_t group, uint32_t member);

#endif
