/* SPDX-License-Identifier: Apache-2.0 */
/* A target that is a disk by itself, or a file that stands for one. */
#include "target_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "chunks/cs_io.h"
#include "chunks/volume.h"
#include "err.h"
#include "log.h"
#include "probe.h"
#include "store.h"

/* ---- the disk ----------------------------------------------------------- */

/* Where a block device is mounted, if it is. */
static bool mounted_at(dev_t device, char *place, size_t size)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    char line[4096], path[4096];
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file)) {
        unsigned major, minor;
        if (sscanf(line, "%*u %*u %u:%u %*s %4095s", &major, &minor, path) == 3)
            found = makedev(major, minor) == device;
    }
    if (file)
        fclose(file);
    if (found)
        snprintf(place, size, "%s", path);
    return found;
}

static int in_use(const struct target *target, const struct stat *stat)
{
    char place[512];
    if (S_ISBLK(stat->st_mode) && mounted_at(stat->st_rdev, place, sizeof place))
        return err_set(-EBUSY, "target %" PRIu32 ": %s is mounted at %s", target->id, target->dir, place);
    return err_set(
        -EBUSY, "target %" PRIu32 ": %s is in use by another process%s; lsblk and fuser -v %s show by whom",
        target->id, target->dir, S_ISBLK(stat->st_mode) ? ", or mounted in part, or part of a volume" : "",
        target->dir);
}

/* Nobody else has it from then on: the kernel sees to that for a block device, mounts included; servers among
 * themselves for a file. */
static int open_disk(struct target *target)
{
    struct stat stat;
    target->disk_fd = open(target->dir, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (target->disk_fd < 0 && errno == EISDIR)
        return err_set(-EINVAL, "target %" PRIu32 ": %s is a directory, no disk; name it as \"dir\"",
                       target->id, target->dir);
    if (target->disk_fd < 0 || fstat(target->disk_fd, &stat))
        return err_sys("target %" PRIu32 ": open %s", target->id, target->dir);
    if (!S_ISBLK(stat.st_mode) && !S_ISREG(stat.st_mode))
        return err_set(-EINVAL, "target %" PRIu32 ": %s is no block device, and no plain file", target->id,
                       target->dir);
    if (S_ISBLK(stat.st_mode)) {
        close(target->disk_fd);
        target->disk_fd = open(target->dir, O_RDWR | O_EXCL | O_CLOEXEC);
        if (target->disk_fd < 0)
            return errno == EBUSY ? in_use(target, &stat)
                                  : err_sys("target %" PRIu32 ": open %s", target->id, target->dir);
    } else if (flock(target->disk_fd, LOCK_EX | LOCK_NB)) {
        return errno == EWOULDBLOCK ? in_use(target, &stat)
                                    : err_sys("target %" PRIu32 ": lock %s", target->id, target->dir);
    }
    return 0;
}

int target_disk_raw(const struct target *target, struct cs_io **raw)
{
    char name[256];
    snprintf(name, sizeof name, "target %" PRIu32 ": %s", target->id, target->dir);
    return cs_io_raw_open(target->disk_fd, name, raw);
}

/* ---- opening ------------------------------------------------------------ */

static int open_volume(struct target *target)
{
    struct cs_io *raw;
    char text[512];
    int error = target_disk_raw(target, &raw);
    if (!error)
        error = volume_open(raw, &target->volume);
    if (error != -ENOENT && error != -EINVAL)
        return error;
    snprintf(text, sizeof text, "%s", err_text());
    return err_set(error, "target %" PRIu32 ": %s is of no use: %s%s", target->id, target->dir, text,
                   error == -ENOENT ? "; weft-format makes it a target" : "");
}

int target_disk_open(struct target *target)
{
    int error = open_disk(target);
    if (!error)
        error = open_volume(target);
    if (!error)
        error = target_text_take(target, volume_text(target->volume));
    if (error)
        target_close(target);
    return error;
}

void target_disk_close(struct target *target)
{
    if (target->volume)
        volume_close(target->volume);
    if (target->disk_fd >= 0)
        close(target->disk_fd);
    target->volume = NULL;
    target->disk_fd = -1;
}

int target_disk_describe(struct target *target)
{
    char text[TARGET_TEXT_MAX];
    target_describe(target, text);
    return volume_text_set(target->volume, text);
}

/* ---- making ------------------------------------------------------------- */

static int make_file(const struct conf_target *conf, uint64_t size, bool force)
{
    const int flags = O_RDWR | O_CREAT | O_CLOEXEC | (force ? 0 : O_EXCL);
    int fd = open(conf->dir, flags, 0600);
    struct stat stat;
    if (fd < 0)
        return errno == EEXIST ? err_set(-EEXIST, "%s is there already; --force takes it", conf->dir)
                               : err_sys("make %s", conf->dir);
    int error = 0;
    if (fstat(fd, &stat) || !S_ISREG(stat.st_mode))
        error = err_set(-EINVAL, "%s is no plain file, and has its size", conf->dir);
    else if (flock(fd, LOCK_EX | LOCK_NB))
        error = err_set(-EBUSY, "%s is in use by another process", conf->dir);
    else if (ftruncate(fd, (off_t)size) || (fallocate(fd, 0, 0, (off_t)size) && errno != EOPNOTSUPP) ||
             fsync(fd))
        error = err_sys("make %s %" PRIu64 " bytes long", conf->dir, size);
    close(fd);
    return error;
}

/* What of the target, or of others, is there. Returns as probe_disk(). */
static int look_inside(const struct target *target, char *text, size_t size)
{
    struct cs_io *raw;
    struct volume *volume;
    uint64_t bytes = 0;
    uint32_t id;
    int error = target_disk_raw(target, &raw);
    if (error)
        return error;
    error = raw->type->size(raw, CS_DATA, &bytes);
    if (error) {
        raw->type->close(raw);
        return error;
    }
    error = volume_open(raw, &volume);
    if (error == -EINVAL) {
        snprintf(text, size, "a target of Weft (%s)", err_text());
        return 1;
    }
    if (error)
        return error == -ENOENT ? probe_disk(target->disk_fd, bytes, text, size) : error;
    if (target_text_id(volume_text(volume), &id))
        snprintf(text, size, "target %" PRIu32 " of a Weft cluster", id);
    else
        snprintf(text, size, "a target of Weft");
    volume_close(volume);
    return 1;
}

static int make_volume(struct target *target)
{
    struct cs_io *raw;
    if (getrandom(target->uuid, sizeof target->uuid, 0) != sizeof target->uuid)
        return err_sys("target %" PRIu32 ": random numbers", target->id);
    int error = target_disk_raw(target, &raw);
    if (!error)
        error = volume_make(raw, 0, &target->volume);
    if (!error)
        error = target->store_type->format(target);
    /* Only with this label it is a target. */
    return error ? error : target_disk_describe(target);
}

int target_format(const struct conf_target *conf, uint32_t shard_count, uint64_t size, bool force)
{
    struct target target = {.id = conf->id,
                            .shard_count = shard_count,
                            .dir = conf->dir,
                            .is_disk = true,
                            .dir_fd = -1,
                            .disk_fd = -1,
                            .store_type = &store_chunks};
    char found[512];
    int error = size ? make_file(conf, size, force) : 0;
    if (!error)
        error = open_disk(&target);
    if (!error)
        error = look_inside(&target, found, sizeof found);
    if (error > 0 && !force)
        error =
            err_set(-EEXIST, "target %" PRIu32 ": %s holds %s; if that is not needed, --force takes the disk",
                    conf->id, conf->dir, found);
    if (error > 0)
        log_warn("target %" PRIu32 ": %s held %s, which is given up", conf->id, conf->dir, found);
    if (error >= 0)
        error = make_volume(&target);
    target_close(&target);
    return error;
}
