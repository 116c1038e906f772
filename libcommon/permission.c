/* SPDX-License-Identifier: Apache-2.0 */
#include "permission.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

void permission_caller_take(struct permission_caller *caller, uint32_t room[LIMITS_CALLER_GROUPS_MAX])
{
    *caller = (struct permission_caller){.uid = geteuid(), .gid = getegid(), .groups = room};
    const int all = getgroups(0, NULL);
    gid_t *groups = all > 0 ? malloc((size_t)all * sizeof *groups) : NULL;
    const int count = groups ? getgroups(all, groups) : 0;
    for (int i = 0; i < count && caller->group_count < LIMITS_CALLER_GROUPS_MAX; i++)
        room[caller->group_count++] = groups[i];
    free(groups);
    static atomic_bool told; /* each connection takes them */
    if (all > 0 && caller->group_count < (uint32_t)all && !atomic_exchange(&told, true))
        log_warn("only %u of this user's %d groups count", caller->group_count, all);
}

bool permission_is_in_group(const struct permission_caller *caller, uint32_t gid)
{
    if (gid == caller->gid)
        return true;
    for (uint32_t i = 0; i < caller->group_count; i++)
        if (gid == caller->groups[i])
            return true;
    return false;
}

bool permission_has(const struct permission_caller *caller, const struct permission *of, unsigned wanted)
{
    if (caller->uid == 0) {
        /* Even root executes only what someone may execute. */
        return !(wanted & X_OK) || S_ISDIR(of->mode) || (of->mode & 0111);
    }
    const unsigned shift = caller->uid == of->uid ? 6 : permission_is_in_group(caller, of->gid) ? 3 : 0;
    return ((of->mode >> shift) & wanted) == wanted;
}
