/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular files on mounts of Weft (weft-mount(8)). Names, folders, links, locks of a path and programs are
 * the kernel's business there, as without this library; what a program opens goes past the kernel to the
 * servers. Whatever speaks against that leaves the open to the kernel, whose answer then counts: no error
 * comes from here.
 */
#include "px.h"

#include <string.h>

#include "mountpoint.h"

atomic_ulong px_mounted_opens;

/* Where the kernel has more to say than a file's bytes, or keeps some of them. */
static bool is_plain(int flags)
{
    return !(flags & (O_DIRECTORY | O_PATH)) && (flags & O_TMPFILE) != O_TMPFILE;
}

/* A link at the end of the path was followed, or must not be. */
static bool find(int dirfd, const char *path, int flags, struct weft_mounted *mounted)
{
    bool is_exact = (flags & O_NOFOLLOW) || (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL);
    px_inside++; /* these are not the program's calls */
    bool found = mountpoint_find(dirfd, path, is_exact ? WEFT_STAT_NOFOLLOW : 0, mounted);
    px_inside--;
    return found && !mounted->is_cached;
}

int px_mounted_open(int dirfd, const char *path, int flags, mode_t mode)
{
    struct weft_mounted mounted;
    struct px_place place = {.error = 0};
    if (px_is_inside() || !path || !is_plain(flags) || !find(dirfd, path, flags, &mounted) ||
        px_library_reach(&mounted, flags) < 0)
        return -1;
    memcpy(place.path, mounted.path, strlen(mounted.path) + 1);
    int fd = px_open_past(&place, flags, mode, mounted.device);
    if (fd < 0)
        return -1;
    atomic_fetch_add_explicit(&px_mounted_opens, 1, memory_order_relaxed);
    return fd;
}
