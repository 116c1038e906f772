/* SPDX-License-Identifier: Apache-2.0 */
#include "space.h"

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "chunks/volume.h"
#include "shard.h"

/* What the stores of a target have and do not use. */
static uint64_t room_of(const struct server *server, uint32_t target)
{
    uint64_t room = 0;
    for (uint32_t k = 0; k < server->shard_count; k++) {
        const struct store *store = server->shards[k].stores[target];
        room += store->type->room ? store->type->room(store) : 0;
    }
    return room;
}

/* Folders, not volumes. */
static bool share_file_system(const struct target *a, const struct target *b)
{
    struct stat of_a, of_b;
    return !a->volume && !b->volume && !fstat(a->dir_fd, &of_a) && !fstat(b->dir_fd, &of_b) &&
           of_a.st_dev == of_b.st_dev;
}

/* How many of the first `count` targets share a file system with the target. */
static uint32_t sharing(const struct server *server, uint32_t target, uint32_t count)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++)
        found += share_file_system(&server->targets[i], &server->targets[target]);
    return found;
}

struct space space_measure(const struct server *server)
{
    struct space space = {0};
    for (uint32_t i = 0; i < server->target_count; i++) {
        struct statvfs fs;
        struct volume *volume = server->targets[i].volume;
        space.free += room_of(server, i);
        if (volume) {
            space.total += volume_bytes(volume);
            space.free += volume_free_bytes(volume);
            continue;
        }
        if (sharing(server, i, i) > 0 || fstatvfs(server->targets[i].dir_fd, &fs))
            continue;
        space.total += (uint64_t)fs.f_blocks * fs.f_frsize;
        space.free += (uint64_t)fs.f_bavail * fs.f_frsize;
    }
    return space;
}

uint64_t space_capacity(const struct server *server, uint32_t target)
{
    struct statvfs fs;
    const struct target *of = &server->targets[target];
    const uint64_t said = server->storage->targets[target].capacity;
    if (said)
        return said;
    if (of->volume)
        return volume_bytes(of->volume);
    const uint32_t sharers = sharing(server, target, server->target_count);
    if (sharers == 0 || fstatvfs(of->dir_fd, &fs))
        return 0;
    return (uint64_t)fs.f_blocks * fs.f_frsize / sharers;
}
