/* SPDX-License-Identifier: Apache-2.0 */
#include "target_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot.h"
#include "err.h"
#include "log.h"
#include "store.h"

static const char name_final[] = "target";
/* Stands there from the first to the last step of making a target, so that an
 * interrupted start is told from a directory whose description was lost. */
static const char name_making[] = "target.making";
static const char name_next[] = "target.next";

static const uint8_t none[TARGET_UUID_BYTES];

/* ---- the description ---------------------------------------------------- */

/* -ENOENT without a text when there is no description. */
static int read_description(struct target *target, const char *name)
{
    char text[TARGET_TEXT_MAX];
    int fd = openat(target->dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ENOENT
                               : err_sys("target %" PRIu32 ": open %s/%s", target->id, target->dir, name);
    ssize_t length = read(fd, text, sizeof text - 1);
    int error = length < 0 ? err_sys("target %" PRIu32 ": read %s/%s", target->id, target->dir, name) : 0;
    close(fd);
    if (length < 0)
        return error;
    text[length] = 0;
    if (strlen(text) != (size_t)length)
        return target_damaged(target, "it is not a text");
    return target_text_take(target, text);
}

static int sync_dir(const struct target *target)
{
    return fsync(target->dir_fd) ? err_sys("target %" PRIu32 ": fsync %s", target->id, target->dir) : 0;
}

/* Durable when it returns: file, then its name. */
static int write_description(const struct target *target, const char *name)
{
    char text[TARGET_TEXT_MAX];
    int length = target_describe(target, text), error = 0;
    int fd = openat(target->dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys("target %" PRIu32 ": create %s/%s", target->id, target->dir, name);
    ssize_t written = write(fd, text, (size_t)length);
    if (written >= 0 && written != length) {
        errno = ENOSPC;
        written = -1;
    }
    if (written < 0 || fsync(fd))
        error = err_sys("target %" PRIu32 ": write %s/%s", target->id, target->dir, name);
    close(fd);
    return error ? error : sync_dir(target);
}

static int rename_description(const struct target *target, const char *from)
{
    if (renameat(target->dir_fd, from, target->dir_fd, name_final))
        return err_sys("target %" PRIu32 ": rename %s/%s", target->id, target->dir, from);
    return sync_dir(target);
}

/* ---- making ------------------------------------------------------------- */

/* A fresh file system's own directory does not count. */
static int check_empty(const struct target *target)
{
    int error = 0;
    int fd = openat(target->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        error = err_sys("target %" PRIu32 ": list %s", target->id, target->dir);
        if (fd >= 0)
            close(fd);
        return error;
    }
    const struct dirent *entry;
    while ((entry = readdir(dir)) && !error) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
            !strcmp(entry->d_name, "lost+found"))
            continue;
        error = err_set(-EEXIST,
                        "target %" PRIu32 ": %s is not a target, and not empty (it has \"%s\"); "
                        "name an empty directory, or a new one",
                        target->id, target->dir, entry->d_name);
    }
    closedir(dir);
    return error;
}

static int make(struct target *target, const struct store_type *type)
{
    int error = read_description(target, name_making);
    /* One that was not even written to its end has nothing beside it yet. */
    bool begins = error == -ENOENT || error == -EBADMSG;
    if (error && !begins)
        return error;
    if (error == -ENOENT) {
        error = check_empty(target);
        if (error)
            return error;
    }
    if (begins) {
        target->store_type = type;
        if (getrandom(target->uuid, sizeof target->uuid, 0) != sizeof target->uuid)
            return err_sys("target %" PRIu32 ": random numbers", target->id);
        error = write_description(target, name_making);
        if (error)
            return error;
    }
    error = target->store_type->format(target);
    if (!error)
        error = sync_dir(target);
    if (!error)
        error = rename_description(target, name_making);
    if (!error)
        log_info("target %" PRIu32 ": made a new, empty target in %s", target->id, target->dir);
    return error;
}

static int sync_parent(const char *path)
{
    char parent[4096];
    int length = snprintf(parent, sizeof parent, "%s", path);
    if (length < 0 || (size_t)length >= sizeof parent)
        return err_set(-ENAMETOOLONG, "the name of the directory %s is too long", path);
    char *slash = strrchr(parent, '/');
    if (slash)
        slash[slash == parent] = 0;
    int fd = open(slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = fd < 0 || fsync(fd) ? err_sys("fsync the directory around %s", path) : 0;
    if (fd >= 0)
        close(fd);
    return error;
}

/* Makes the directory, and those around it, durably. */
static int make_directories(const char *path)
{
    char part[4096];
    if (strlen(path) >= sizeof part)
        return err_set(-ENAMETOOLONG, "the name of the directory %s is too long", path);
    for (size_t i = 1; i <= strlen(path); i++) {
        if (path[i] != '/' && path[i] != 0)
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (!mkdir(part, 0700)) {
            int error = sync_parent(part);
            if (error)
                return error;
        } else if (errno != EEXIST) {
            return err_sys("make the directory %s", part);
        }
    }
    return 0;
}

/* ---- opening ------------------------------------------------------------ */

int target_open(const struct conf_target *conf, uint32_t shard_count, const struct store_type *type,
                struct target *target)
{
    *target = (struct target){.id = conf->id,
                              .shard_count = shard_count,
                              .dir = conf->dir,
                              .is_disk = conf->is_disk,
                              .dir_fd = -1,
                              .disk_fd = -1};
    int error = conf->is_disk ? 0 : make_directories(target->dir);
    if (conf->is_disk)
        return target_disk_open(target);
    if (error)
        return error;
    target->dir_fd = open(target->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (target->dir_fd < 0)
        return err_sys("target %" PRIu32 ": open %s", target->id, target->dir);
    if (flock(target->dir_fd, LOCK_EX | LOCK_NB)) {
        error = errno == EWOULDBLOCK
                    ? err_set(-EBUSY,
                              "target %" PRIu32 ": %s is in use by another process; stop that server first "
                              "(fuser -v %s shows which)",
                              target->id, target->dir, target->dir)
                    : err_sys("target %" PRIu32 ": lock %s", target->id, target->dir);
        goto close;
    }
    error = read_description(target, name_final);
    if (error == -ENOENT)
        error = make(target, type);
    if (error)
        goto close;
    return 0;
close:
    target_close(target);
    return error;
}

void target_close(struct target *target)
{
    if (target->is_disk)
        target_disk_close(target);
    if (target->dir_fd >= 0)
        close(target->dir_fd);
    target->dir_fd = -1;
}

/* Replaces the description, durably. */
static int describe_anew(struct target *target)
{
    int error = target->is_disk ? target_disk_describe(target) : write_description(target, name_next);
    return error || target->is_disk ? error : rename_description(target, name_next);
}

bool target_is_new(const struct target *target)
{
    return !memcmp(target->cluster, none, TARGET_UUID_BYTES);
}

int target_join(struct target *target, const uint8_t cluster[TARGET_UUID_BYTES], bool is_known)
{
    if (!memcmp(target->cluster, cluster, TARGET_UUID_BYTES))
        return 0;
    if (!target_is_new(target))
        return err_set(-EINVAL,
                       "target %" PRIu32
                       ": %s belongs to another cluster, or the metadata server's directory was made "
                       "anew; serve it to its own cluster, or %s when its data is not needed",
                       target->id, target->dir, target->is_disk ? "format it anew" : "empty it");
    if (is_known && target->replaces)
        return 0;
    if (is_known)
        return err_set(-EINVAL,
                       "target %" PRIu32 ": %s is new and empty, but the cluster has this target, maybe with "
                       "data%s When it is lost, give the new %s an id of its own; where there are replicas, "
                       "start with --replace %" PRIu32 " instead",
                       target->id, target->dir, target->is_disk ? "." : ": is its file system mounted?",
                       target->is_disk ? "disk" : "directory", target->id);
    memcpy(target->cluster, cluster, TARGET_UUID_BYTES);
    int error = describe_anew(target);
    if (error)
        memset(target->cluster, 0, TARGET_UUID_BYTES);
    return error;
}

/* ---- losses ------------------------------------------------------------- */

/* Both in one step: a crash in between would count twice, or not at all. */
static int note(struct target *target, uint64_t losses, const uint8_t boot[TARGET_UUID_BYTES])
{
    uint64_t losses_before = target->losses;
    uint8_t boot_before[TARGET_UUID_BYTES];
    memcpy(boot_before, target->boot, sizeof boot_before);
    target->losses = losses;
    memmove(target->boot, boot, sizeof target->boot);
    int error = describe_anew(target);
    if (error) {
        target->losses = losses_before;
        memcpy(target->boot, boot_before, sizeof target->boot);
    }
    return error;
}

int target_begin(struct target *target)
{
    uint8_t boot[BOOT_ID_BYTES];
    int error = boot_id(boot);
    if (error)
        return error;
    target->was_left = !memcmp(target->boot, boot, sizeof boot);
    if (target->was_left)
        return 0;
    bool was_ended = !memcmp(target->boot, none, sizeof none);
    error = note(target, target->losses + !was_ended, boot);
    if (!error && !was_ended)
        log_warn("target %" PRIu32 ": its host has crashed since it was served last: what was written then "
                 "and not synced may be lost; who syncs it is told",
                 target->id);
    return error;
}

/* Stores flush what they know of: that of an earlier process may be in the page cache still. */
static int flush_rest(const struct target *target)
{
    if (target->is_disk ? fsync(target->disk_fd) : syncfs(target->dir_fd))
        return err_sys("target %" PRIu32 ": flush %s", target->id, target->dir);
    return 0;
}

int target_end(struct target *target)
{
    if (target->was_left && flush_rest(target))
        atomic_store(&target->has_failed, true);
    return atomic_load(&target->has_failed) ? note(target, target->losses + 1, target->boot)
                                            : note(target, target->losses, none);
}

int target_losses_raise(struct target *target, uint64_t known)
{
    if (target->losses >= known)
        return 0;
    log_warn("target %" PRIu32 ": it was put back to what it was earlier: what was written since is lost",
             target->id);
    return note(target, known + 1, target->boot);
}
