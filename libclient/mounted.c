/* SPDX-License-Identifier: Apache-2.0 */
/* Files on mounts of Weft: mountpoint.h finds where they are; here, whether a session can have them. */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <sodium.h>

#include "err.h"
#include "mountpoint.h"

/* There is another way to the file, so nobody waits as long as for a server that has to answer. */
enum { REACH_DEADLINE_MS_MAX = 2000 };

/* `deadline_ms` of 0: the session's. */
static int session_cluster(weft_session_t *session, char cluster[WEFT_CLUSTER_BYTES], uint32_t deadline_ms)
{
    struct map *map = NULL;
    int result = session_check(session);
    if (result == 0)
        result = session_map_within(session, &map, deadline_ms);
    if (result < 0)
        return result;
    _Static_assert(2 * sizeof map->cluster + 1 == WEFT_CLUSTER_BYTES, "two digits for each byte");
    sodium_bin2hex(cluster, WEFT_CLUSTER_BYTES, map->cluster, sizeof map->cluster);
    map_unref(map);
    return 0;
}

int weft_session_cluster(weft_session_t *session, char cluster[WEFT_CLUSTER_BYTES])
{
    return (int)client_result(__func__, session_cluster(session, cluster, 0));
}

const char *weft_session_conf(const weft_session_t *session)
{
    return session->conf->file;
}

bool weft_mounted_find(int dirfd, const char *path, unsigned flags, struct weft_mounted *found)
{
    return mountpoint_find(dirfd, path, flags, found);
}

bool weft_mounted_of(const char *cluster, struct weft_mounted *found)
{
    return mountpoint_of(cluster, found);
}

int weft_mounted_connect(const struct weft_mounted *mounted, weft_session_t **session)
{
    int result = weft_connect(NULL, session);
    return result == -ENOENT && mounted->conf[0] ? weft_connect(mounted->conf, session) : result;
}

static int reach_cluster(weft_session_t *session, char cluster[WEFT_CLUSTER_BYTES])
{
    uint32_t deadline_ms = session->conf->deadline_ms;
    int result = atomic_load(&session->mounted_error);
    if (result)
        return err_set(result, "the cluster of a mount was not to be reached before, and is not asked again");
    result = session_cluster(session, cluster,
                             deadline_ms < REACH_DEADLINE_MS_MAX ? deadline_ms : REACH_DEADLINE_MS_MAX);
    if (result < 0)
        atomic_store(&session->mounted_error, result);
    return result;
}

static int reach(weft_session_t *session, const struct weft_mounted *mounted, int flags)
{
    char cluster[WEFT_CLUSTER_BYTES];
    bool would_write = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
    int result = session_check(session);
    if (result == 0)
        result = reach_cluster(session, cluster);
    if (result < 0)
        return result;
    if (strcmp(cluster, mounted->cluster) != 0)
        return err_set(-EXDEV, "the mount is of another cluster than %s names", session->conf->file);
    return mounted->is_read_only && would_write ? err_set(-EROFS, "the mount is read-only") : 0;
}

int weft_mounted_reach(weft_session_t *session, const struct weft_mounted *mounted, int flags)
{
    return (int)client_result(__func__, reach(session, mounted, flags));
}
