/* SPDX-License-Identifier: Apache-2.0 */
#include "target.h"

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

#include "crc.h"
#include "err.h"
#include "log.h"
#include "store.h"

enum { DESCRIPTION_MAX = 1024, DESCRIPTION_VERSION = 1 };

static const char name_final[] = "target";
/* Stands there from the first to the last step of making a target, so that an
 * interrupted start is told from a directory whose description was lost. */
static const char name_making[] = "target.making";
static const char name_next[] = "target.next";

static const uint8_t no_cluster[TARGET_UUID_BYTES];

/* ---- the description ---------------------------------------------------- */

static void hex_of(const uint8_t bytes[TARGET_UUID_BYTES], char text[2 * TARGET_UUID_BYTES + 1])
{
    for (unsigned i = 0; i < TARGET_UUID_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

static bool hex_read(const char *text, uint8_t bytes[TARGET_UUID_BYTES])
{
    for (unsigned i = 0; i < TARGET_UUID_BYTES; i++) {
        unsigned value;
        if (sscanf(text + 2 * i, "%2x", &value) != 1)
            return false;
        bytes[i] = (uint8_t)value;
    }
    return true;
}

static int describe(const struct target *target, char text[DESCRIPTION_MAX])
{
    char uuid[2 * TARGET_UUID_BYTES + 1], cluster[2 * TARGET_UUID_BYTES + 1];
    hex_of(target->uuid, uuid);
    hex_of(target->cluster, cluster);
    int length = snprintf(
        text, DESCRIPTION_MAX,
        "weft target %d\nid %" PRIu32 "\nshards %" PRIu32 "\nstore %s\nuuid %s\ncluster %s\n",
        DESCRIPTION_VERSION, target->id, target->shard_count, target->store_type->name, uuid, cluster);
    uint32_t crc = crc_of(0, text, (size_t)length);
    return length + snprintf(text + length, DESCRIPTION_MAX - (size_t)length, "crc %08" PRIx32 "\n", crc);
}

static int damaged(const struct target *target, const char *why)
{
    return err_set(-EBADMSG,
                   "target %" PRIu32
                   ": the description %s/%s is damaged (%s); restore it, or, when the target's "
                   "data is not needed, empty the directory",
                   target->id, target->dir, name_final, why);
}

/* What a description says, before it is compared with what was asked for. */
struct description {
    int version;
    uint32_t id, shard_count;
    char store[32];
    uint8_t uuid[TARGET_UUID_BYTES], cluster[TARGET_UUID_BYTES];
};

static int parse(const struct target *target, const char *text, struct description *said)
{
    char uuid[33], cluster[33];
    uint32_t crc;
    int crc_at = 0, end = 0;
    if (sscanf(text, "weft target %d\n", &said->version) != 1)
        return damaged(target, "its first line is not \"weft target N\"");
    if (said->version != DESCRIPTION_VERSION)
        return err_set(-EINVAL,
                       "target %" PRIu32 ": %s was made by another version of Weft (format %d, this is %d)",
                       target->id, target->dir, said->version, DESCRIPTION_VERSION);
    if (sscanf(text,
               "weft target %*d\nid %" SCNu32 "\nshards %" SCNu32 "\nstore %31s\nuuid %32[0-9a-f]\n"
               "cluster %32[0-9a-f]\n%ncrc %8" SCNx32 "%n",
               &said->id, &said->shard_count, said->store, uuid, cluster, &crc_at, &crc, &end) != 6 ||
        !crc_at || strcmp(text + end, "\n") != 0)
        return damaged(target, "a line is missing or altered");
    if (crc != crc_of(0, text, (size_t)crc_at) || !hex_read(uuid, said->uuid) ||
        !hex_read(cluster, said->cluster))
        return damaged(target, "its checksum is wrong");
    return 0;
}

static int compare(struct target *target, const struct description *said)
{
    if (said->id != target->id)
        return err_set(-EINVAL,
                       "%s holds target %" PRIu32 ", but the configuration says %" PRIu32
                       "; correct the id or the dir of that target",
                       target->dir, said->id, target->id);
    if (said->shard_count != target->shard_count)
        return err_set(-EINVAL,
                       "target %" PRIu32 " in %s was made for %" PRIu32
                       " shards, but the configuration says %" PRIu32
                       "; the number of shards of a target can't be changed",
                       target->id, target->dir, said->shard_count, target->shard_count);
    target->store_type = store_type_by_name(said->store);
    if (!target->store_type)
        return err_set(-EINVAL,
                       "target %" PRIu32 " in %s has a store of type \"%s\", which this build does not know",
                       target->id, target->dir, said->store);
    memcpy(target->uuid, said->uuid, sizeof target->uuid);
    memcpy(target->cluster, said->cluster, sizeof target->cluster);
    return 0;
}

/* -ENOENT without a text when there is no description. */
static int read_description(struct target *target, const char *name)
{
    char text[DESCRIPTION_MAX];
    struct description said;
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
        return damaged(target, "it is not a text");
    error = parse(target, text, &said);
    return error ? error : compare(target, &said);
}

static int sync_dir(const struct target *target)
{
    return fsync(target->dir_fd) ? err_sys("target %" PRIu32 ": fsync %s", target->id, target->dir) : 0;
}

/* Durable when it returns: file, then its name. */
static int write_description(const struct target *target, const char *name)
{
    char text[DESCRIPTION_MAX];
    int length = describe(target, text), error = 0;
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
    *target = (struct target){.id = conf->id, .shard_count = shard_count, .dir = conf->dir, .dir_fd = -1};
    int error = make_directories(target->dir);
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
    if (target->dir_fd >= 0)
        close(target->dir_fd);
    target->dir_fd = -1;
}

int target_join(struct target *target, const uint8_t cluster[TARGET_UUID_BYTES], bool is_known)
{
    if (!memcmp(target->cluster, cluster, TARGET_UUID_BYTES))
        return 0;
    if (memcmp(target->cluster, no_cluster, TARGET_UUID_BYTES))
        return err_set(-EINVAL,
                       "target %" PRIu32
                       ": %s belongs to another cluster, or the metadata server's directory was made "
                       "anew; serve it to its own cluster, or empty it when its data is not needed",
                       target->id, target->dir);
    if (is_known)
        return err_set(-EINVAL,
                       "target %" PRIu32
                       ": %s is new and empty, but the cluster has this target, maybe with data: is "
                       "its file system mounted? When it is lost, give the new directory an id of its own",
                       target->id, target->dir);
    memcpy(target->cluster, cluster, TARGET_UUID_BYTES);
    int error = write_description(target, name_next);
    if (!error)
        error = rename_description(target, name_next);
    if (error)
        memset(target->cluster, 0, TARGET_UUID_BYTES);
    return error;
}
