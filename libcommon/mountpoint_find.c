/* SPDX-License-Identifier: Apache-2.0 */
/* From a path to the file of a cluster, by way of the kernel. */
#include "mountpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define TABLE     "/proc/self/mountinfo"
/* The number that FUSE gives to what is mounted, until it has asked. */
#define FUSE_ROOT 1u

/* ---- the switch -------------------------------------------------------------------- */

static bool is_off(void)
{
    static const char *const words[] = {"0", "no", "off", "false"};
    const char *said = getenv("WEFT_BYPASS");
    for (size_t i = 0; said && i < sizeof words / sizeof words[0]; i++)
        if (strcasecmp(said, words[i]) == 0)
            return true;
    return false;
}

/* ---- which devices are Weft's, a second ago at the most ------------------------------ */

enum { DEVICES_MAX = 32 };
#define KEPT_NS INT64_C(1000000000)

struct devices {
    uint64_t items[DEVICES_MAX];
    unsigned count; /* DEVICES_MAX: there may be others */
};

static bool add_device(void *arg, const struct mountpoint *mount)
{
    struct devices *devices = arg;
    devices->items[devices->count++] = makedev(mount->major, mount->minor);
    return devices->count < DEVICES_MAX;
}

/* Who can't have the lock reads for himself: a child of fork() may find it taken by nobody. */
static void devices_get(struct devices *devices)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct devices kept;
    static int64_t kept_until;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    int64_t now_ns = now.tv_sec * KEPT_NS + now.tv_nsec;
    bool is_mine = pthread_mutex_trylock(&lock) == 0;
    if (is_mine && now_ns < kept_until) {
        *devices = kept;
    } else {
        devices->count = 0;
        (void)mountpoint_each(TABLE, add_device, devices);
        if (is_mine) {
            kept = *devices;
            kept_until = now_ns + KEPT_NS;
        }
    }
    if (is_mine)
        pthread_mutex_unlock(&lock);
}

static bool devices_have(const struct devices *devices, const struct statx *file)
{
    uint64_t device = makedev(file->stx_dev_major, file->stx_dev_minor);
    for (unsigned i = 0; i < devices->count; i++)
        if (devices->items[i] == device)
            return true;
    return devices->count == DEVICES_MAX && file->stx_dev_major == 0;
}

/* ---- the walk ------------------------------------------------------------------------ */

/* Nothing of what is asked ever changes, so what the kernel knows is good enough. */
static int look(int dirfd, const char *path, int flags, struct statx *file)
{
    if (statx(dirfd, path, flags | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO | STATX_MNT_ID, file) != 0)
        return -errno;
    return file->stx_mask & STATX_MNT_ID ? 0 : -ENOTSUP; /* Linux 5.8 */
}

static bool is_same(const struct statx *one, const struct statx *other)
{
    return one->stx_mnt_id == other->stx_mnt_id && one->stx_ino == other->stx_ino;
}

/* Where a symbolic link leads, without any; false when there is nothing. */
static bool resolve(int dirfd, const char *path, char out[PATH_MAX], struct statx *file)
{
    struct statx there;
    char link[40];
    int fd = openat(dirfd, path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, out, PATH_MAX);
    bool found = length > 0 && length < PATH_MAX && look(fd, "", AT_EMPTY_PATH, &there) == 0;
    close(fd);
    if (!found)
        return false;
    out[length] = '\0';
    return out[0] == '/' && look(AT_FDCWD, out, AT_SYMLINK_NOFOLLOW, file) == 0 && is_same(file, &there);
}

/* The folder of a path, and the name in it; false when the path does not end with a name. */
static bool split(const char *path, char folder[PATH_MAX], char name[WEFT_NAME_BYTES_MAX + 1])
{
    const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;
    size_t length = slash == path ? 1 : slash ? (size_t)(slash - path) : 0;
    if (!last[0] || strcmp(last, ".") == 0 || strcmp(last, "..") == 0 || strlen(last) > WEFT_NAME_BYTES_MAX ||
        length >= PATH_MAX)
        return false;
    memcpy(name, last, strlen(last) + 1);
    snprintf(folder, PATH_MAX, "%.*s", slash ? (int)length : 1, slash ? path : ".");
    return true;
}

/* What is known of the place that a path leads to. */
struct walk {
    struct statx folder;
    char name[WEFT_NAME_BYTES_MAX + 1];
};

static bool is_fit(const struct statx *file, unsigned flags)
{
    return S_ISREG(file->stx_mode) || ((flags & WEFT_STAT_NOFOLLOW) && S_ISLNK(file->stx_mode));
}

/* False: it does not lead into a mount of Weft, or to no file that could be there. */
static bool walk(int dirfd, const char *path, unsigned flags, const struct devices *devices,
                 struct walk *walk)
{
    struct statx file;
    char resolved[PATH_MAX], folder[PATH_MAX];
    int error = look(dirfd, path, AT_SYMLINK_NOFOLLOW, &file);
    if (!error && S_ISLNK(file.stx_mode) && !(flags & WEFT_STAT_NOFOLLOW)) {
        if (!resolve(dirfd, path, resolved, &file))
            return false;
        dirfd = AT_FDCWD;
        path = resolved;
    }
    if (error ? error != -ENOENT : !is_fit(&file, flags) || !devices_have(devices, &file))
        return false;
    if (!split(path, folder, walk->name) || look(dirfd, folder, 0, &walk->folder) != 0)
        return false;
    /* A file that something else is mounted on is not the folder's. */
    return S_ISDIR(walk->folder.stx_mode) && devices_have(devices, &walk->folder) &&
           (error || file.stx_mnt_id == walk->folder.stx_mnt_id);
}

/* ---- the mount ------------------------------------------------------------------------ */

struct wanted {
    const struct statx *folder; /* NULL: any of the cluster */
    const char *cluster;
    bool is_found;
    struct mountpoint mount;
    struct mountpoint_source source;
};

static bool is_wanted(void *arg, const struct mountpoint *mount)
{
    struct wanted *wanted = arg;
    const struct statx *folder = wanted->folder;
    if (folder && (mount->id != folder->stx_mnt_id || mount->major != folder->stx_dev_major ||
                   mount->minor != folder->stx_dev_minor))
        return true;
    if (mount->user != 0 && mount->user != geteuid())
        return true;
    if (!mountpoint_source_read(mount->source, &wanted->source) ||
        (!folder && strcmp(wanted->source.cluster, wanted->cluster) != 0))
        return true;
    wanted->mount = *mount;
    wanted->is_found = true;
    return false;
}

static bool look_up(struct wanted *wanted, struct weft_mounted *found)
{
    (void)mountpoint_each(TABLE, is_wanted, wanted);
    if (!wanted->is_found)
        return false;
    memset(found, 0, sizeof *found);
    memcpy(found->cluster, wanted->source.cluster, sizeof found->cluster);
    memcpy(found->conf, wanted->source.conf, sizeof found->conf);
    found->device = makedev(wanted->mount.major, wanted->mount.minor);
    found->is_cached = wanted->source.is_cached;
    found->is_read_only = wanted->mount.is_read_only;
    return true;
}

static bool find(int dirfd, const char *path, unsigned flags, struct weft_mounted *found)
{
    struct devices devices;
    struct walk way;
    if (!path || !*path || is_off())
        return false;
    devices_get(&devices);
    if (devices.count == 0 || !walk(dirfd, path, flags, &devices, &way))
        return false;
    struct wanted *wanted = calloc(1, sizeof *wanted);
    if (!wanted)
        return false;
    wanted->folder = &way.folder;
    bool is_found = look_up(wanted, found);
    if (is_found)
        snprintf(found->path, sizeof found->path, WEFT_INODE_PREFIX "%" PRIu64 "/%s",
                 way.folder.stx_ino == FUSE_ROOT ? wanted->source.root : (uint64_t)way.folder.stx_ino,
                 way.name);
    free(wanted);
    return is_found;
}

bool mountpoint_find(int dirfd, const char *path, unsigned flags, struct weft_mounted *found)
{
    int saved = errno;
    bool is_found = find(dirfd, path, flags, found);
    errno = saved;
    return is_found;
}

bool mountpoint_of(const char *cluster, struct weft_mounted *found)
{
    int saved = errno;
    struct wanted *wanted = is_off() ? NULL : calloc(1, sizeof *wanted);
    if (wanted)
        wanted->cluster = cluster;
    bool is_found = wanted && look_up(wanted, found);
    free(wanted);
    errno = saved;
    return is_found;
}
