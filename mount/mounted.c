/* SPDX-License-Identifier: Apache-2.0 */
#include "mounted.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "mountpoint.h"

struct wanted {
    const char *dir;
    struct mounted *mounted;
    int result;
};

static bool take(void *arg, const struct mountpoint *mount)
{
    struct wanted *wanted = arg;
    if (strcmp(mount->dir, wanted->dir) != 0)
        return true;
    *wanted->mounted = (struct mounted){.major = mount->major, .minor = mount->minor};
    memcpy(wanted->mounted->dir, mount->dir, sizeof mount->dir);
    wanted->result = 1;
    return true; /* the last one is the uppermost */
}

int mounted_find(const char *dir, struct mounted *mounted)
{
    struct wanted wanted = {dir, mounted, 0};
    if (!mountpoint_each("/proc/self/mountinfo", take, &wanted))
        return err_sys("/proc/self/mountinfo");
    return wanted.result;
}

void mounted_address(const struct mounted *mounted, struct sockaddr_un *address, socklen_t *length)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int used = snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "weft-mount-%u:%u",
                        mounted->major, mounted->minor);
    *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)used);
}
