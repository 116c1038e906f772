/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The working folder. When it is one of ours, the kernel's is a folder that was removed: whatever gets
 * past this library with a relative name then fails with ENOENT, and does nothing in a folder
 * that the program has left.
 */
#include "px.h"

#include <stdlib.h>
#include <string.h>

static int leave_local_folders(void)
{
    char folder[] = "/tmp/weft-cwd-XXXXXX";
    int error = 0;
    px_inside++; /* these are not the program's calls */
    if (!PX_NEXT(mkdtemp)(folder))
        error = -errno;
    else if (PX_NEXT(chdir)(folder) < 0 || PX_NEXT(rmdir)(folder) < 0)
        error = -errno;
    px_inside--;
    return error;
}

static int work_in(const char *path)
{
    char canonical[PX_PATH_ROOM], before[PX_PATH_ROOM];
    struct weft_attr attr;
    int result = px_place_canonical(path, canonical);
    if (result == 0)
        result = PX_ASK(stat, canonical, 0, &attr);
    if (result == 0 && !S_ISDIR(attr.mode))
        result = -ENOTDIR;
    if (result == 0)
        result = PX_ASK(access, canonical, X_OK);
    if (result == 0 && !px_place_working(before))
        result = leave_local_folders();
    if (result == 0)
        px_place_work_in(canonical);
    return result;
}

PX_EXPORT int chdir(const char *path)
{
    struct px_place place;
    if (px_find(AT_FDCWD, path, &place)) {
        PX_COUNT(chdir);
        return (int)px_return(place.error ? place.error : work_in(place.path));
    }
    int result = PX_NEXT(chdir)(place.local);
    if (result == 0 && !px_is_inside())
        px_place_work_in("");
    return result;
}

PX_EXPORT int fchdir(int fd)
{
    struct px_desc *desc = px_is_inside() ? NULL : px_desc_get(fd);
    if (desc) {
        PX_COUNT(fchdir);
        int result = desc->kind == PX_FOLDER ? work_in(desc->path) : -ENOTDIR;
        px_desc_put(desc);
        return (int)px_return(result);
    }
    int result = PX_NEXT(fchdir)(fd);
    if (result == 0 && !px_is_inside())
        px_place_work_in("");
    return result;
}

static char *getcwd_ours(const char *path, char *buffer, size_t size)
{
    char outside[2 * PX_PATH_ROOM];
    int error = px_place_outside(path, outside, sizeof outside) ? 0 : -ENAMETOOLONG;
    size_t length = strlen(outside);
    if (error == 0 && buffer && size == 0)
        error = -EINVAL;
    else if (error == 0 && (buffer || size) && length >= size)
        error = -ERANGE;
    if (px_return(error) < 0)
        return NULL;
    if (!buffer)
        buffer = malloc(size ? size : length + 1);
    return buffer ? memcpy(buffer, outside, length + 1) : NULL;
}

/* The folder may have been removed, or moved, meanwhile; a kernel would know. */
static bool is_working(char path[PX_PATH_ROOM])
{
    return !px_is_inside() && px_place_working(path);
}

#define GETCWD(name, parameters, next)          \
    PX_EXPORT char *name parameters             \
    {                                           \
        char path[PX_PATH_ROOM];                \
        if (!is_working(path))                  \
            return PX_NEXT(name) next;          \
        PX_COUNT(name);                         \
        return getcwd_ours(path, buffer, size); \
    }
GETCWD(getcwd, (char *buffer, size_t size), (buffer, size))
GETCWD(__getcwd_chk, (char *buffer, size_t size, size_t room), (buffer, size, room))

PX_EXPORT char *get_current_dir_name(void)
{
    char path[PX_PATH_ROOM];
    if (!is_working(path))
        return PX_NEXT(get_current_dir_name)();
    PX_COUNT(get_current_dir_name);
    return getcwd_ours(path, NULL, 0);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
PX_EXPORT char *getwd(char *buffer)
{
    char path[PX_PATH_ROOM];
    if (!is_working(path))
        return PX_NEXT(getwd)(buffer);
    PX_COUNT(getwd);
    return getcwd_ours(path, buffer, PX_PATH_ROOM - 1);
}
#pragma GCC diagnostic pop
