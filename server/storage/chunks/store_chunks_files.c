/* SPDX-License-Identifier: Apache-2.0 */
/* store_chunks_files.c: a shard's store as it lies in the target's directory or on its disk, and what is done
 * with it while no server has it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_chunks.h"
#include "cs_overlay.h"
#include "err.h"
#include "volume.h"
#include "storage/target.h"

/* Those on a disk that is the target. */
static int open_on_disk(const struct target *target, uint32_t shard, struct cs_io **io)
{
    struct cs_io *raw;
    int error = target_disk_raw(target, &raw);
    return error ? error : volume_shard_open(target->volume, shard, raw, io);
}

/* Opens the files of a shard; `create` makes what is missing. */
static int open_files(const struct target *target, uint32_t shard, bool create, struct cs_io **io)
{
    char dir[32], name[256];
    snprintf(dir, sizeof dir, "shard-%" PRIu32, shard);
    snprintf(name, sizeof name, "target %" PRIu32 ": %s/%s", target->id, target->dir, dir);
    if (create && mkdirat(target->dir_fd, dir, 0700) && errno != EEXIST)
        return err_sys("%s: make the directory", name);
    int fd = openat(target->dir_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys("%s: open", name);
    int error = cs_io_files_open(fd, name, create, io);
    close(fd);
    return error;
}

int store_chunks_configure(const struct target *target, uint32_t shard, bool create,
                           char name[STORE_CHUNKS_NAME_BYTES], struct cs_config *config)
{
    snprintf(name, STORE_CHUNKS_NAME_BYTES, "target %" PRIu32 " shard %" PRIu32, target->id, shard);
    *config = (struct cs_config){.name = name, .shard = shard, .shard_count = target->shard_count};
    memcpy(config->uuid, target->uuid, sizeof config->uuid);
    return target->volume ? open_on_disk(target, shard, &config->io)
                          : open_files(target, shard, create, &config->io);
}

int store_chunks_format(const struct target *target)
{
    for (uint32_t shard = 0; shard < target->shard_count; shard++) {
        struct cs_config config;
        char name[STORE_CHUNKS_NAME_BYTES];
        int error = store_chunks_configure(target, shard, true, name, &config);
        if (error)
            return error;
        error = cs_format(&config);
        /* On a disk that fills up later, no shard should be without a log. */
        for (enum cs_file file = CS_LOG; target->volume && !error && file <= CS_LOG_OTHER; file++)
            error = config.io->type->grow(config.io, file, 1);
        config.io->type->close(config.io);
        if (error)
            return error;
    }
    return !target->volume && syncfs(target->dir_fd)
               ? err_sys("target %" PRIu32 ": flush %s", target->id, target->dir)
               : 0;
}

static int check(struct cs_store *cs, const struct store_chunks_checking *checking,
                 struct store_chunks_checked *checked)
{
    int error = 0;
    if (checking->repair)
        error = cs_repair(cs, checking->drop_lost, checking->report, checking->arg, &checked->repair);
    if (!error)
        error = cs_check(cs, checking->read_data, checking->report, checking->arg, &checked->check);
    if (!error)
        error = cs_log_count(cs, &checked->check.logged);
    checked->supers_bad = cs->supers_bad;
    return error;
}

int store_chunks_check(const struct target *target, uint32_t shard,
                       const struct store_chunks_checking *checking, struct store_chunks_checked *checked)
{
    struct cs_store *cs;
    struct cs_config config;
    char name[STORE_CHUNKS_NAME_BYTES];
    *checked = (struct store_chunks_checked){0};
    int error = store_chunks_configure(target, shard, false, name, &config);
    if (!error && !(checking->repair && checking->write))
        error = cs_overlay_open(config.io, &config.io);
    if (!error)
        error = cs_open(&config, &cs);
    if (error)
        return error;
    error = check(cs, checking, checked);
    cs_close(cs);
    return error;
}
