/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mounted.c: names that are paths on a mount of Weft. Whoever chose this driver wants its road, so the kernel
 * is only asked where the path leads. A path on no mount, or on that of a cluster which is not this
 * process's, is one inside the cluster, as ever.
 */
#include <errno.h>
#include <fcntl.h>

#include "driver.h"

int vfd_mounted(const char *local, unsigned find_flags, int open_flags, struct weft_mounted *mounted)
{
    weft_session_t *session;
    if (!local || !weft_mounted_find(AT_FDCWD, local, find_flags, mounted) ||
        vfd_session_mounted(mounted, &session) < 0)
        return 0;
    int error = weft_mounted_reach(session, mounted, open_flags);
    return error == 0 ? 1 : error == -EROFS ? error : 0;
}
