/* SPDX-License-Identifier: Apache-2.0 */
#include "path.h"

#include <stdio.h>
#include <string.h>

#define PREFIX       "weft:"
#define OUTSIDE      "/.."
#define OUTSIDE_SIZE (sizeof OUTSIDE - 1)

/* The next component of a path; false at its end. */
static bool next_part(const char **path, const char **part, size_t *length)
{
    while (**path == '/')
        ++*path;
    *part = *path;
    *length = strcspn(*path, "/");
    *path += *length;
    return *length > 0;
}

static bool is_dot(const char *part, size_t length)
{
    return length == 1 && part[0] == '.';
}

static bool is_dot_dot(const char *part, size_t length)
{
    return length == 2 && part[0] == '.' && part[1] == '.';
}

/* How many levels the path climbs above where it begins, at its worst. */
static int climbs(const char *path)
{
    const char *part;
    size_t length;
    int depth = 0, worst = 0;
    while (next_part(&path, &part, &length)) {
        if (is_dot_dot(part, length))
            depth--;
        else if (!is_dot(part, length))
            depth++;
        worst = depth < worst ? depth : worst;
    }
    return -worst;
}

static int depth_of(const char *path)
{
    const char *part;
    size_t length;
    int depth = 0;
    while (next_part(&path, &part, &length))
        depth += is_dot_dot(part, length) ? -1 : !is_dot(part, length);
    return depth;
}

/* What is behind the mount point in an absolute path, or NULL. `plain` is the path without
 * dots and double slashes where those stood on the way. */
static const char *behind_mount(const char *mount, const char *path)
{
    const char *part, *mount_part;
    size_t length, mount_length;
    while (next_part(&mount, &mount_part, &mount_length)) {
        do {
            if (!next_part(&path, &part, &length))
                return NULL;
        } while (is_dot(part, length));
        if (length != mount_length || memcmp(part, mount_part, length) != 0)
            return NULL;
    }
    return path;
}

/* The path with all dots resolved as text. */
static bool flatten(const char *path, char *out, size_t room)
{
    const char *part;
    size_t length, used = 0;
    while (next_part(&path, &part, &length)) {
        if (is_dot(part, length))
            continue;
        if (is_dot_dot(part, length)) {
            while (used > 0 && out[--used] != '/')
                ;
            continue;
        }
        if (used + length + 2 > room)
            return false;
        out[used++] = '/';
        memcpy(out + used, part, length);
        used += length;
    }
    if (used == 0)
        out[used++] = '/';
    out[used] = '\0';
    return true;
}

static bool has_dot_dot(const char *path)
{
    const char *part;
    size_t length;
    while (next_part(&path, &part, &length))
        if (is_dot_dot(part, length))
            return true;
    return false;
}

static enum px_path put(const char *inside, char out[PX_PATH_ROOM])
{
    int length = snprintf(out, PX_PATH_ROOM, "%s%s", inside[0] == '/' ? "" : "/", inside);
    return (size_t)length >= PX_PATH_ROOM ? PX_PATH_TOO_LONG : PX_PATH_OURS;
}

enum px_path px_path_absolute(const char *mount, const char *path, char out[PX_PATH_ROOM])
{
    if (strncmp(path, PREFIX, sizeof PREFIX - 1) == 0)
        return put(path + sizeof PREFIX - 1, out);
    const char *inside = behind_mount(mount, path);
    if (inside && climbs(inside) == 0)
        return put(inside, out);
    /* A way through other folders and back, or out of the mount point. */
    char flat[PX_PATH_ROOM];
    if (!has_dot_dot(path) || !flatten(path, flat, sizeof flat))
        return PX_PATH_OTHER;
    const char *flat_inside = behind_mount(mount, flat);
    if (flat_inside)
        return put(flat_inside, out);
    if (!inside)
        return PX_PATH_OTHER;
    memcpy(out, flat, strlen(flat) + 1);
    return PX_PATH_LEFT;
}

enum px_path px_path_relative(const char *mount, const char *base, const char *path, char out[PX_PATH_ROOM])
{
    bool is_root = base[0] == '/' && base[1] == '\0';
    if (climbs(path) > depth_of(base)) {
        char whole[3 * PX_PATH_ROOM], flat[PX_PATH_ROOM];
        if ((size_t)snprintf(whole, sizeof whole, "%s%s/%s", mount, is_root ? "" : base, path) >=
                sizeof whole ||
            !flatten(whole, flat, sizeof flat))
            return PX_PATH_TOO_LONG;
        const char *inside = behind_mount(mount, flat);
        if (inside)
            return put(inside, out);
        memcpy(out, flat, strlen(flat) + 1);
        return PX_PATH_LEFT;
    }
    if (path[0] == '.' && path[1] == '\0')
        return put(base, out);
    int length = snprintf(out, PX_PATH_ROOM, "%s/%s", is_root ? "" : base, path);
    return (size_t)length >= PX_PATH_ROOM ? PX_PATH_TOO_LONG : PX_PATH_OURS;
}

bool px_path_mount(const char *text, char *out, size_t room)
{
    if (!text || text[0] != '/' || room < 2 || !flatten(text, out, room))
        return false;
    return out[1] != '\0';
}

bool px_path_target_in(const char *mount, const char *target, char *out, size_t room)
{
    char inside[PX_PATH_ROOM];
    const char *front = "";
    if (target[0] == '/') {
        if (px_path_absolute(mount, target, inside) == PX_PATH_OURS)
            target = inside;
        else
            front = OUTSIDE;
    }
    return (size_t)snprintf(out, room, "%s%s", front, target) < room;
}

const char *px_path_target_outside(const char *target)
{
    return strncmp(target, OUTSIDE "/", OUTSIDE_SIZE + 1) == 0 ? target + OUTSIDE_SIZE : NULL;
}

bool px_path_target_out(const char *mount, const char *target, char *out, size_t room)
{
    const char *front = "", *outside = px_path_target_outside(target);
    if (outside)
        target = outside;
    else if (target[0] == '/')
        front = mount;
    if (front[0] && target[1] == '\0')
        target++;
    return (size_t)snprintf(out, room, "%s%s", front, target) < room;
}
