/* SPDX-License-Identifier: Apache-2.0 */
/* What a change of the table moves. */
#include "placement.h"

#include <errno.h>
#include <stdlib.h>

#include "err.h"

static bool contains(const uint32_t *ids, uint32_t count, uint32_t id)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ids[i] == id)
            return true;
    }
    return false;
}

/* Those who came, each with one of those who went, in the order of their places. */
static uint32_t moves_of(const uint32_t *old, const uint32_t *now, uint32_t members, uint32_t group,
                         struct placement_move *moves)
{
    uint32_t count = 0, left = 0;
    for (uint32_t i = 0; i < members; i++) {
        if (contains(old, members, now[i]))
            continue;
        while (contains(now, members, old[left]))
            left++;
        moves[count++] = (struct placement_move){.group = group, .from = old[left++], .to = now[i]};
    }
    return count;
}

int placement_moves(const struct placement_table *old, const struct placement_table *table,
                    struct placement_move **moves, uint32_t *count)
{
    uint32_t n = old->members;
    *moves = NULL;
    *count = 0;
    if (table->members != n || table->group_count < old->group_count)
        return err_set(-EINVAL, "a table of %u groups of %u is none that became one of %u groups of %u",
                       old->group_count, n, table->group_count, table->members);
    *moves = malloc(((size_t)old->group_count * n + 1) * sizeof **moves);
    if (!*moves)
        return err_set(-ENOMEM, "out of memory for the moves in %u groups", old->group_count);
    for (uint32_t group = 0; group < old->group_count; group++)
        *count +=
            moves_of(old->ids + (size_t)group * n, table->ids + (size_t)group * n, n, group, *moves + *count);
    return 0;
}
