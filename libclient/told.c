/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that was empty, that one handle wrote, and that no one else did: the answers to the writes have told
 * all that the metadata server would ask the storage servers for after the close, so the close tells it.
 * The metadata server knows who else had the file open, and asks all the same when there was someone.
 *
 * The time of the last write has to be the very one that the shards have: a stat before the close has
 * told it.
 */
#include "client.h"

#include "err.h"

/* Telling costs the shard two looks at its objects; a file of so many writes need not have that. */
enum { REQUESTS_MAX = 64 };

void told_begin(weft_file_t *file, const struct wire_attr *attr)
{
    file->told = (struct file_told){.whole = attr->size == 0 && attr->bytes == 0};
}

void told_lose(weft_file_t *file)
{
    file->told.whole = false;
}

bool told_wanted(weft_file_t *file)
{
    struct file_told *told = &file->told;
    if (told->requests++ >= REQUESTS_MAX)
        told->whole = false;
    return told->whole;
}

/* The space that one shard uses only grows. */
static bool note_shard(struct file_told *told, uint32_t shard, uint64_t bytes)
{
    uint32_t i = 0;
    while (i < told->shard_count && told->shards[i].shard != shard)
        i++;
    if (i == FILE_TOLD_SHARDS)
        return false;
    if (i == told->shard_count) {
        told->shards[told->shard_count++].shard = shard;
        told->shards[i].bytes = 0;
    }
    if (bytes > told->shards[i].bytes)
        told->shards[i].bytes = bytes;
    return true;
}

void told_take(weft_file_t *file, uint32_t shard, uint64_t map_version, const void *reply, size_t length)
{
    struct file_told *told = &file->told;
    struct wire_object_stat_reply answer;
    if (!told->whole)
        return;
    if (told->shard_count == 0)
        told->map_version = map_version;
    /* Another map may count the shards in another way. */
    if (length == 0 || told->map_version != map_version ||
        wire_decode_object_stat_reply(reply, length, &answer) < 0 ||
        !note_shard(told, shard, answer.bytes)) {
        told->whole = false;
        return;
    }
    if (answer.end > told->end)
        told->end = answer.end;
    if (answer.mtime_ns > told->mtime_ns)
        told->mtime_ns = answer.mtime_ns;
}

void told_close(const weft_file_t *file, struct wire_closing *closing)
{
    const struct file_told *told = &file->told;
    if (!told->whole || !file->wrote || told->end > INT64_MAX)
        return;
    closing->told = 1;
    closing->end = told->end;
    closing->mtime_ns = told->mtime_ns;
    for (uint32_t i = 0; i < told->shard_count; i++)
        closing->bytes += told->shards[i].bytes;
}
