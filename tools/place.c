/* SPDX-License-Identifier: Apache-2.0 */
/* A path, here or in the cluster, and what can be done with either. */
#include "tool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NS_PER_S INT64_C(1000000000)

struct place_list {
    weft_dir_t *remote;
    DIR *local;
};

/* ---- paths ---------------------------------------------------------------- */

const char *place_cluster_path(struct tool *tool, const char *argument)
{
    if (!weft_path_match(argument)) {
        tool_usage_error(tool, "%s is a local path; a path in the cluster is written weft:%s%s", argument,
                         argument[0] == '/' ? "" : "/", argument);
        return NULL;
    }
    const char *path = argument + strlen(WEFT_PATH_PREFIX);
    if (*path == 0)
        return "/"; /* "weft:" alone */
    if (*path == '/' && strlen(path) <= WEFT_PATH_BYTES_MAX)
        return path;
    if (*path == '/')
        tool_usage_error(tool, "%.64s...: a path has at most %u bytes", argument, WEFT_PATH_BYTES_MAX);
    else
        tool_usage_error(tool, "%s: a path in the cluster begins with /: weft:/%s", argument, path);
    return NULL;
}

int place_from(struct tool *tool, struct place *place, const char *argument)
{
    place->in_cluster = weft_path_match(argument);
    const char *path = place->in_cluster ? place_cluster_path(tool, argument) : argument;
    if (!path)
        return -1;
    place->path = strdup(path);
    if (!place->path)
        tool_complain(tool, "no memory");
    return place->path ? 0 : -1;
}

int place_join(const struct place *directory, const char *name, struct place *result)
{
    size_t length = strlen(directory->path);
    while (length > 0 && directory->path[length - 1] == '/')
        length--;
    if (directory->in_cluster && length + 1 + strlen(name) > WEFT_PATH_BYTES_MAX)
        return -ENAMETOOLONG;
    result->in_cluster = directory->in_cluster;
    if (asprintf(&result->path, "%.*s/%s", (int)length, directory->path, name) < 0) {
        result->path = NULL;
        return -ENOMEM;
    }
    return 0;
}

void place_free(struct place *place)
{
    free(place->path);
    place->path = NULL;
}

char *place_base_name(const struct place *place)
{
    const char *path = place->path;
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    return strndup(path + start, end - start);
}

char *place_text(const struct place *place)
{
    char *text;
    if (asprintf(&text, "%s%s", place->in_cluster ? WEFT_PATH_PREFIX : "", place->path) < 0)
        return NULL;
    return text;
}

void place_complain(struct tool *tool, const struct place *place, int error)
{
    if (place->in_cluster)
        tool_complain_weft(tool, place->path, error);
    else
        tool_complain_local(tool, place->path, -error);
}

/* ---- operations ----------------------------------------------------------- */

static int result_of(int status)
{
    return status < 0 ? -errno : 0;
}

static int64_t ns_of(const struct timespec *time)
{
    return (int64_t)time->tv_sec * NS_PER_S + time->tv_nsec;
}

static struct timespec timespec_of(int64_t ns)
{
    struct timespec time = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
    if (time.tv_nsec < 0) {
        time.tv_nsec += NS_PER_S;
        time.tv_sec--;
    }
    return time;
}

int place_stat(struct tool *tool, const struct place *place, bool follow, struct weft_attr *attr)
{
    if (place->in_cluster) {
        weft_session_t *session = tool_session(tool);
        return session ? weft_stat(session, place->path, follow ? 0 : WEFT_STAT_NOFOLLOW, attr) : -ENOTCONN;
    }
    struct stat local;
    if (fstatat(AT_FDCWD, place->path, &local, follow ? 0 : AT_SYMLINK_NOFOLLOW))
        return -errno;
    *attr = (struct weft_attr){
        .ino = local.st_ino,
        .size = (uint64_t)local.st_size,
        .bytes = (uint64_t)local.st_blocks * 512,
        .mode = local.st_mode,
        .nlink = (uint32_t)local.st_nlink,
        .uid = local.st_uid,
        .gid = local.st_gid,
        .atime_ns = ns_of(&local.st_atim),
        .mtime_ns = ns_of(&local.st_mtim),
        .ctime_ns = ns_of(&local.st_ctim),
    };
    return 0;
}

int place_mkdir(struct tool *tool, const struct place *place, mode_t mode)
{
    return place->in_cluster ? weft_mkdir(tool->session, place->path, mode)
                             : result_of(mkdir(place->path, mode));
}

int place_unlink(struct tool *tool, const struct place *place)
{
    return place->in_cluster ? weft_unlink(tool->session, place->path) : result_of(unlink(place->path));
}

int place_symlink(struct tool *tool, const char *target, const struct place *place)
{
    return place->in_cluster ? weft_symlink(tool->session, target, place->path)
                             : result_of(symlink(target, place->path));
}

int place_chmod(struct tool *tool, const struct place *place, mode_t mode)
{
    return place->in_cluster ? weft_chmod(tool->session, place->path, mode)
                             : result_of(chmod(place->path, mode));
}

int place_set_times(struct tool *tool, const struct place *place, const struct weft_attr *attr)
{
    const struct timespec times[2] = {timespec_of(attr->atime_ns), timespec_of(attr->mtime_ns)};
    return place->in_cluster ? weft_utimens(tool->session, place->path, times)
                             : result_of(utimensat(AT_FDCWD, place->path, times, 0));
}

int place_readlink(struct tool *tool, const struct place *place, char **target)
{
    char text[WEFT_PATH_BYTES_MAX + 1];
    ssize_t length;
    if (place->in_cluster) {
        length = weft_readlink(tool->session, place->path, text, sizeof text - 1);
        if (length < 0)
            return (int)length;
    } else {
        length = readlink(place->path, text, sizeof text - 1);
        if (length < 0)
            return -errno;
    }
    *target = strndup(text, (size_t)length);
    return *target ? 0 : -ENOMEM;
}

/* ---- listing -------------------------------------------------------------- */

int place_list_open(struct tool *tool, const struct place *place, struct place_list **list)
{
    struct place_list *result = calloc(1, sizeof *result);
    if (!result)
        return -ENOMEM;
    int error = 0;
    if (place->in_cluster) {
        error = weft_dir_open(tool->session, place->path, &result->remote);
    } else {
        result->local = opendir(place->path);
        error = result->local ? 0 : -errno;
    }
    if (error) {
        free(result);
        return error;
    }
    *list = result;
    return 0;
}

int place_list_next(struct place_list *list, const char **name)
{
    if (list->remote)
        return weft_dir_next(list->remote, name, NULL);
    const struct dirent *entry;
    do {
        errno = 0;
        entry = readdir(list->local);
        if (!entry)
            return -errno;
    } while (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    *name = entry->d_name;
    return 1;
}

void place_list_close(struct place_list *list)
{
    if (list->remote)
        weft_dir_close(list->remote);
    else
        closedir(list->local);
    free(list);
}
