/* SPDX-License-Identifier: Apache-2.0 */
#include "px.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOUNT_DEFAULT "/weft"
#define LINKS_MAX     40 /* as the kernel follows at most */

static char mount[PX_PATH_ROOM] = MOUNT_DEFAULT;
/* The working folder inside the cluster; "" when it is a local one. */
static char working[PX_PATH_ROOM];
static atomic_bool is_working;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;

const char *px_mount(void)
{
    return mount;
}

void px_place_init(void)
{
    const char *wanted = getenv("WEFT_MOUNT"), *folder = getenv("WEFT_WORKING_FOLDER");
    if (wanted && *wanted && !px_path_mount(wanted, mount, sizeof mount)) {
        snprintf(mount, sizeof mount, "%s", MOUNT_DEFAULT);
        px_say_once("mount", "WEFT_MOUNT is no absolute path below /; " MOUNT_DEFAULT " is taken");
    }
    if (folder && folder[0] == '/' && strlen(folder) < sizeof working)
        px_place_work_in(folder);
}

bool px_place_working(char out[PX_PATH_ROOM])
{
    if (!atomic_load_explicit(&is_working, memory_order_acquire))
        return false;
    pthread_rwlock_rdlock(&lock);
    memcpy(out, working, strlen(working) + 1);
    pthread_rwlock_unlock(&lock);
    return out[0] != '\0';
}

void px_place_work_in(const char *path)
{
    pthread_rwlock_wrlock(&lock);
    snprintf(working, sizeof working, "%s", path);
    atomic_store(&is_working, path[0] != '\0');
    pthread_rwlock_unlock(&lock);
}

static bool place_found(enum px_path found, struct px_place *place)
{
    if (found == PX_PATH_TOO_LONG)
        place->error = -ENAMETOOLONG;
    else if (found == PX_PATH_LEFT)
        place->local = place->path;
    return found == PX_PATH_OURS || found == PX_PATH_TOO_LONG;
}

/* A relative path, of a working folder or a descriptor of ours. */
static bool find_relative(int dirfd, const char *path, struct px_place *place)
{
    char base[PX_PATH_ROOM];
    if (dirfd == AT_FDCWD) {
        if (!px_place_working(base))
            return false;
    } else {
        struct px_desc *desc = px_desc_get(dirfd);
        if (!desc)
            return false;
        if (desc->kind == PX_FILE)
            place->error = -ENOTDIR;
        memcpy(base, desc->path, strlen(desc->path) + 1);
        px_desc_put(desc);
    }
    if (path[0] == '\0')
        place->error = -ENOENT;
    if (place->error)
        return true;
    return place_found(px_path_relative(mount, base, path, place->path), place);
}

bool px_find(int dirfd, const char *path, struct px_place *place)
{
    place->local = path;
    place->error = 0;
    if (!path || px_is_inside())
        return false;
    if (path[0] == '/' || (path[0] == 'w' && strncmp(path, "weft:", 5) == 0))
        return place_found(px_path_absolute(mount, path, place->path), place);
    return find_relative(dirfd, path, place);
}

bool px_place_outside(const char *path, char *out, size_t room)
{
    return (size_t)snprintf(out, room, "%s%s", mount, path[1] ? path : "") < room;
}

/* ---- without symbolic links ------------------------------------------------------- */

/* Takes the first component off `rest`. */
static bool take_part(char *rest, char part[PX_PATH_ROOM])
{
    char *from = rest + strspn(rest, "/");
    size_t length = strcspn(from, "/");
    memcpy(part, from, length);
    part[length] = '\0';
    memmove(rest, from + length, strlen(from + length) + 1);
    return length > 0;
}

/* `out` gets the component; what a symbolic link says goes in front of the rest. */
static int step(const char *part, char out[PX_PATH_ROOM], char rest[2 * PX_PATH_ROOM], int *links)
{
    char next[PX_PATH_ROOM + NAME_MAX + 2], target[PX_PATH_ROOM], joined[2 * PX_PATH_ROOM];
    struct weft_attr attr;
    if ((size_t)snprintf(next, sizeof next, "%s/%s", out[1] ? out : "", part) >= PX_PATH_ROOM)
        return -ENAMETOOLONG;
    int result = PX_ASK(stat, next, WEFT_STAT_NOFOLLOW, &attr);
    if (result < 0)
        return result;
    if (!S_ISLNK(attr.mode)) {
        if (rest[strspn(rest, "/")] && !S_ISDIR(attr.mode))
            return -ENOTDIR;
        memcpy(out, next, strlen(next) + 1);
        return 0;
    }
    if (++*links > LINKS_MAX)
        return -ELOOP;
    ssize_t length = PX_ASK(readlink, next, target, sizeof target - 1);
    if (length < 0)
        return (int)length;
    target[length] = '\0';
    if ((size_t)snprintf(joined, sizeof joined, "%s/%s", target, rest) >= sizeof joined)
        return -ENAMETOOLONG;
    memcpy(rest, joined, strlen(joined) + 1);
    if (target[0] == '/')
        memcpy(out, "/", 2);
    return 0;
}

int px_place_canonical(const char *path, char out[PX_PATH_ROOM])
{
    char rest[2 * PX_PATH_ROOM], part[PX_PATH_ROOM];
    int links = 0, result = 0;
    snprintf(rest, sizeof rest, "%s", path);
    memcpy(out, "/", 2);
    while (result == 0 && take_part(rest, part)) {
        if (strcmp(part, "..") == 0) {
            char *slash = strrchr(out, '/');
            slash[slash == out] = '\0';
        } else if (strcmp(part, ".") != 0) {
            result = strlen(part) > NAME_MAX ? -ENAMETOOLONG : step(part, out, rest, &links);
        }
    }
    return result;
}

bool px_place_leads_out(const char *path, char local[PX_PATH_ROOM])
{
    char at[PX_PATH_ROOM], next[2 * PX_PATH_ROOM], target[PX_PATH_ROOM];
    snprintf(at, sizeof at, "%s", path);
    for (int links = 0; links < LINKS_MAX; links++) {
        ssize_t length = PX_ASK(readlink, at, target, sizeof target - 1);
        if (length <= 0)
            return false;
        target[length] = '\0';
        const char *outside = px_path_target_outside(target), *slash = strrchr(at, '/');
        if (outside) {
            snprintf(local, PX_PATH_ROOM, "%s", outside);
            return true;
        }
        int folder = target[0] == '/' || !slash ? 0 : (int)(slash + 1 - at);
        if ((size_t)snprintf(next, sizeof next, "%.*s%s", folder, at, target) >= sizeof at)
            return false;
        memcpy(at, next, strlen(next) + 1);
    }
    return false;
}
