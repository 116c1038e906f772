/* SPDX-License-Identifier: Apache-2.0 */
/* shard_decode.c: what each operation brings, and what it needs. */
#include <errno.h>

#include "err.h"
#include "shard.h"

/* What any of them brings. */
union body {
    struct wire_write write;
    struct wire_write_gather write_gather;
    struct wire_read read;
    struct wire_sync sync;
    struct wire_object_stat object_stat;
    struct wire_object_truncate object_truncate;
    struct wire_object_remove object_remove;
    struct wire_object_punch object_punch;
    struct wire_object_seek object_seek;
    struct wire_lock lock;
    struct wire_record record;
    struct wire_record_test record_test;
    struct wire_copy copy;
    struct wire_copy_truncate copy_truncate;
    struct wire_copy_punch copy_punch;
    struct wire_copy_sync copy_sync;
    struct wire_copy_digest copy_digest;
    struct wire_copy_cut copy_cut;
    struct wire_copy_list copy_list;
    struct wire_copy_settle copy_settle;
    struct wire_copy_remove copy_remove;
    struct wire_copy_fetch copy_fetch;
    struct wire_object_mend object_mend;
};

/* Decodes what comes with an operation, and takes what all have; then what those about one file have, those
 * of leaders, and those of leaders about one file. */
#define TAKE(name)                                                                    \
    do {                                                                              \
        error = wire_decode_##name(request->body, request->body_length, &body->name); \
        io->map_version = body->name.map_version;                                     \
    } while (0)
#define TAKE_FILE(name)                         \
    do {                                        \
        TAKE(name);                             \
        io->capability = body->name.capability; \
    } while (0)
#define TAKE_COPY(name)                 \
    do {                                \
        TAKE(name);                     \
        io->leader = body->name.leader; \
    } while (0)
#define TAKE_FILE_COPY(name)            \
    do {                                \
        TAKE_FILE(name);                \
        io->leader = body->name.leader; \
    } while (0)

static int decode_unknown(void)
{
    return err_set(-EOPNOTSUPP, "a storage server knows no such request");
}

static int decode_bytes(struct shard_io *io, union body *body, uint32_t *access)
{
    const struct rpc_request *request = io->request;
    int error;
    switch (request->operation) {
    case WIRE_OP_write:
        TAKE_FILE(write);
        io->extents = body->write.extents;
        io->tell = body->write.tell;
        *access = WIRE_ACCESS_WRITE;
        return error;
    case WIRE_OP_write_gather:
        TAKE_FILE(write_gather);
        io->extents = body->write_gather.extents;
        io->chunks = body->write_gather.chunks;
        io->gather = body->write_gather.gather;
        io->by_chunk = true;
        *access = WIRE_ACCESS_WRITE;
        return error;
    case WIRE_OP_read:
        TAKE_FILE(read);
        io->extents = body->read.extents;
        *access = WIRE_ACCESS_READ;
        return error;
    }
    return decode_unknown();
}

static int decode_lock(struct shard_io *io, union body *body, uint32_t *access)
{
    const struct rpc_request *request = io->request;
    int error;
    switch (request->operation) {
    case WIRE_OP_lock:
        TAKE_FILE(lock);
        io->lock_target = body->lock.target;
        *access = body->lock.exclusive ? WIRE_ACCESS_WRITE : 0;
        return error;
    case WIRE_OP_record:
        TAKE_FILE(record);
        io->lock_target = body->record.target;
        return error;
    case WIRE_OP_record_test:
        TAKE_FILE(record_test);
        io->lock_target = body->record_test.target;
        return error;
    }
    return decode_unknown();
}

static int decode_object(struct shard_io *io, union body *body, uint32_t *access)
{
    const struct rpc_request *request = io->request;
    int error;
    switch (request->operation) {
    case WIRE_OP_sync:
        TAKE_FILE(sync);
        return error;
    case WIRE_OP_object_stat:
        TAKE_FILE(object_stat);
        return error;
    case WIRE_OP_object_truncate:
        TAKE_FILE(object_truncate);
        io->size = body->object_truncate.size;
        io->grow_only = body->object_truncate.grow_only;
        return error;
    case WIRE_OP_object_remove:
        TAKE(object_remove);
        io->removes = body->object_remove.files;
        io->hurry = body->object_remove.hurry;
        return error;
    case WIRE_OP_object_punch:
        TAKE_FILE(object_punch);
        io->offset = body->object_punch.offset;
        io->length = body->object_punch.length;
        *access = WIRE_ACCESS_WRITE;
        return error;
    case WIRE_OP_object_seek:
        TAKE_FILE(object_seek);
        io->offset = body->object_seek.offset;
        io->hole = body->object_seek.hole;
        return error;
    case WIRE_OP_object_mend:
        TAKE_FILE(object_mend);
        io->mend_target = body->object_mend.target;
        io->position = body->object_mend.position;
        io->offset = body->object_mend.offset;
        io->bytes = body->object_mend.length;
        return error;
    }
    return decode_unknown();
}

static int decode_copy(struct shard_io *io, union body *body)
{
    const struct rpc_request *request = io->request;
    int error;
    switch (request->operation) {
    case WIRE_OP_copy:
        TAKE_FILE_COPY(copy);
        io->extents = body->copy.pieces;
        return error;
    case WIRE_OP_copy_truncate:
        TAKE_FILE_COPY(copy_truncate);
        io->size = body->copy_truncate.size;
        io->grow_only = body->copy_truncate.grow_only;
        return error;
    case WIRE_OP_copy_punch:
        TAKE_FILE_COPY(copy_punch);
        io->offset = body->copy_punch.offset;
        io->length = body->copy_punch.length;
        return error;
    case WIRE_OP_copy_sync:
        TAKE_FILE_COPY(copy_sync);
        return error;
    case WIRE_OP_copy_digest:
        TAKE_FILE_COPY(copy_digest);
        io->position = body->copy_digest.position;
        io->offset = body->copy_digest.offset;
        io->bytes = body->copy_digest.length;
        return error;
    case WIRE_OP_copy_fetch:
        TAKE_FILE_COPY(copy_fetch);
        io->position = body->copy_fetch.position;
        io->offset = body->copy_fetch.offset;
        io->bytes = body->copy_fetch.length;
        return error;
    case WIRE_OP_copy_cut:
        TAKE_FILE_COPY(copy_cut);
        io->position = body->copy_cut.position;
        io->size = body->copy_cut.length;
        io->is_gone = body->copy_cut.gone;
        return error;
    case WIRE_OP_copy_remove:
        TAKE_COPY(copy_remove);
        io->removes = body->copy_remove.files;
        return error;
    case WIRE_OP_copy_list:
        TAKE_COPY(copy_list);
        io->list = body->copy_list;
        return error;
    case WIRE_OP_copy_settle:
        TAKE_COPY(copy_settle);
        io->hurry = body->copy_settle.hurry;
        return error;
    }
    return decode_unknown();
}

#undef TAKE
#undef TAKE_FILE
#undef TAKE_COPY
#undef TAKE_FILE_COPY

int shard_decode(struct shard_io *io, uint32_t *access)
{
    union body body;
    *access = 0;
    io->map_version = io->shard->map->version;
    switch (io->request->operation) {
    case WIRE_OP_write:
    case WIRE_OP_write_gather:
    case WIRE_OP_read:
        return decode_bytes(io, &body, access);
    case WIRE_OP_lock:
    case WIRE_OP_record:
    case WIRE_OP_record_test:
        return decode_lock(io, &body, access);
    }
    return shard_is_copy(io) ? decode_copy(io, &body) : decode_object(io, &body, access);
}
