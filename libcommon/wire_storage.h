/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_storage.h: the messages to and between storage servers; a part of wire_messages.h, which includes it
 * and has the rules.
 */
#ifndef COMMON_WIRE_STORAGE_H
#define COMMON_WIRE_STORAGE_H

/* ---- storage operations ------------------------------------------------- */

/* The payload is the extents' bytes, one after the other. */
#define WIRE_FIELDS_write(X)                                                                                 \
    X(capability, capability, 0)                                                                             \
    X(u64, map_version, U64)                                                                                 \
    X(u8, tell, 1)                       /* the answer is to be an object_stat_reply; else it has no body */ \
    X(list, extents, LIMITS_EXTENTS_MAX) /* extent */

/* A part of a collective write: the server puts the pieces of a chunk together, from whichever
 * clients they come, before it writes them. */
#define WIRE_FIELDS_write_gather(X)                                                                    \
    X(capability, capability, 0)                                                                       \
    X(u64, map_version, U64)                                                                           \
    X(u64, gather, U64)                       /* names the collective write among those of the file */ \
    X(list, chunks, LIMITS_GATHER_CHUNKS_MAX) /* gather_chunk, in rising order */                      \
    X(list, extents, LIMITS_EXTENTS_MAX)      /* extent; in chunks that are not listed: as in write */
#define WIRE_FIELDS_gather_chunk(X)                                \
    X(u64, chunk, U64)                                             \
    X(u32, bytes, U32) /* that all clients together write in it */ \
    X(u8, hold, 1)     /* 0: write what is here at once, there is more to come */

/* From the leader of groups to their other members: what it gives to them. The payload is the pieces' bytes,
 * one after the other. */
#define WIRE_FIELDS_copy(X)                                                                      \
    X(capability, capability, 0)                                                                 \
    X(u64, map_version, U64)                                                                     \
    X(u32, leader, U32)                     /* id of the server that leads the pieces' groups */ \
    X(list, pieces, LIMITS_COPY_PIECES_MAX) /* copy_piece */
#define WIRE_FIELDS_copy_piece(X)                 \
    X(u32, position, U32)                         \
    X(u64, offset, INT64_MAX) /* in the object */ \
    X(u32, length, LIMITS_IO_BYTES_MAX)
/* Of all the file's objects here of which that server leads the groups. */
#define WIRE_FIELDS_copy_truncate(X) \
    X(capability, capability, 0)     \
    X(u64, map_version, U64)         \
    X(u32, leader, U32)              \
    X(u64, size, INT64_MAX)          \
    X(u8, grow_only, 1)
#define WIRE_FIELDS_copy_punch(X) \
    X(capability, capability, 0)  \
    X(u64, map_version, U64)      \
    X(u32, leader, U32)           \
    X(u64, offset, INT64_MAX)     \
    X(u64, length, INT64_MAX)
#define WIRE_FIELDS_copy_sync(X) X(capability, capability, 0) X(u64, map_version, U64) X(u32, leader, U32)

/* Objects of one target here, behind that one, in rising order: also those of groups that others lead. */
#define WIRE_FIELDS_copy_list(X)                                    \
    X(u64, map_version, U64)                                        \
    X(u32, leader, U32)                                             \
    X(u32, target, U32) /* id of the one whose objects these are */ \
    X(u64, ino, U64)                                                \
    X(u32, position, U32)
#define WIRE_FIELDS_copy_list_reply(X) \
    X(u8, end, 1) X(list, objects, LIMITS_COPY_OBJECTS_MAX) /* copy_object */
#define WIRE_FIELDS_copy_object(X) X(u64, ino, U64) X(u32, position, U32) X(layout, layout, 0)
/* What is there of one object: its length, and the hash of some of its bytes. */
#define WIRE_FIELDS_copy_digest(X) \
    X(capability, capability, 0)   \
    X(u64, map_version, U64)       \
    X(u32, leader, U32)            \
    X(u32, position, U32)          \
    X(u64, offset, INT64_MAX)      \
    X(u32, length, LIMITS_IO_BYTES_MAX)
#define WIRE_FIELDS_copy_digest_reply(X)     \
    X(u64, length, U64)  /* of the object */ \
    X(bytes, digest, 32) /* BLAKE2b of what is there of the bytes asked for */
/* Bytes of one object; the payload is what is there of them. Only who is current is asked. */
#define WIRE_FIELDS_copy_fetch(X) \
    X(capability, capability, 0)  \
    X(u64, map_version, U64)      \
    X(u32, leader, U32)           \
    X(u32, position, U32)         \
    X(u64, offset, INT64_MAX)     \
    X(u32, length, LIMITS_IO_BYTES_MAX)
/* Of one file, as object_remove has it; a crash may undo it. */
#define WIRE_FIELDS_copy_remove(X) \
    X(u64, map_version, U64)       \
    X(u32, leader, U32)            \
    X(list, files, 1) /* capability */
/* One object becomes so long. */
#define WIRE_FIELDS_copy_cut(X)  \
    X(capability, capability, 0) \
    X(u64, map_version, U64)     \
    X(u32, leader, U32)          \
    X(u32, position, U32)        \
    X(u64, length, INT64_MAX)    \
    X(u8, gone, 1) /* there is none */
/* From a member to the leader of its group: what it has of these bytes can't be read any more, and is to be
 * given anew. Answered when that has been done. */
#define WIRE_FIELDS_object_mend(X)                      \
    X(capability, capability, 0)                        \
    X(u64, map_version, U64)                            \
    X(u32, target, U32) /* id of the member's target */ \
    X(u32, position, U32)                               \
    X(u64, offset, INT64_MAX)                           \
    X(u32, length, LIMITS_IO_BYTES_MAX)
/* All that was given is durable when it is answered. */
#define WIRE_FIELDS_copy_settle(X) X(u64, map_version, U64) X(u32, leader, U32) X(u8, hurry, 1)

#define WIRE_FIELDS_read(X)      \
    X(capability, capability, 0) \
    X(u64, map_version, U64)     \
    X(list, extents, LIMITS_EXTENTS_MAX) /* extent */
/* The payload is what is there of each extent, one after the other. */
#define WIRE_FIELDS_read_reply(X) \
    X(list, present, LIMITS_EXTENTS_MAX) /* number: bytes there of each extent; empty: all of all */

#define WIRE_FIELDS_sync(X) X(capability, capability, 0) X(u64, map_version, U64)

#define WIRE_FIELDS_object_stat(X) X(capability, capability, 0) X(u64, map_version, U64)
#define WIRE_FIELDS_object_stat_reply(X)                                                      \
    X(u64, end, U64)    /* file offset behind the last byte that this shard holds; 0: none */ \
    X(i64, mtime_ns, 0) /* of the last write; 0: none */                                      \
    X(u64, bytes, U64)

/* From the metadata server only. The answer is an object_stat_reply. */
#define WIRE_FIELDS_object_truncate(X) \
    X(capability, capability, 0)       \
    X(u64, map_version, U64)           \
    X(u64, size, INT64_MAX)            \
    X(u8, grow_only, 1)
/* Answered when no crash can undo it. */
#define WIRE_FIELDS_object_remove(X)                                  \
    X(u64, map_version, U64)                                          \
    X(list, files, LIMITS_REMOVES_MAX) /* capability; at least one */ \
    X(u8, hurry, 1)                    /* more wait behind these, so that is to be soon */
#define WIRE_FIELDS_object_remove_reply(X) X(list, failed, LIMITS_REMOVES_MAX) /* number: place in the list */

/* What this shard holds of a run of the file, which may be of any number of chunks, becomes zeros. */
#define WIRE_FIELDS_object_punch(X)             \
    X(capability, capability, 0) /* to write */ \
    X(u64, map_version, U64)                    \
    X(u64, offset, INT64_MAX) /* in the file */ \
    X(u64, length, INT64_MAX)

#define WIRE_FIELDS_object_seek(X)                                       \
    X(capability, capability, 0)                                         \
    X(u64, map_version, U64)                                             \
    X(u64, offset, INT64_MAX) /* in the file, where the search begins */ \
    X(u8, hole, 1)            /* is what is looked for; else data */
#define WIRE_FIELDS_object_seek_reply(X)                                                        \
    X(u64, offset, U64) /* in the file: of the first that this shard holds; U64: it has none */ \
    X(u8, found, 1)     /* 0: not before `offset`, from where the search is to go on */         \
    X(u64, end, U64)    /* as in object_stat_reply */

/* A run of bytes of the file to be locked; longer than an extent may be. */
#define WIRE_FIELDS_lock_range(X) X(u64, start, INT64_MAX) X(u64, end, INT64_MAX)
#define WIRE_FIELDS_lock(X)                                                                      \
    X(capability, capability, 0) /* to write, when the lock is exclusive */                      \
    X(u64, map_version, U64)                                                                     \
    X(u32, target, U32) /* the one that holds chunk 0 */                                         \
    X(u64, id, U64)     /* chosen by the client, not used by it before; not 0 */                 \
    X(u8, exclusive, 1)                                                                          \
    X(u32, wait_ms, U32) /* the answer may take so long; 0: at once, and not kept in the line */ \
    X(list, ranges, LIMITS_LOCK_RANGES_MAX)         /* lock_range; ascending, not overlapping */
#define WIRE_FIELDS_lock_reply(X) X(u8, granted, 1) /* 0: not yet; ask again */

#define WIRE_FIELDS_unlock(X) X(u64, id, U64) /* held, or asked for */

/* What an owner locks of a file: takes the place of what he has there. */
#define WIRE_FIELDS_record(X)                                                                      \
    X(capability, capability, 0)                                                                   \
    X(u64, map_version, U64)                                                                       \
    X(u32, target, U32)   /* the one that holds chunk 0 */                                         \
    X(u64, id, INT64_MAX) /* as of lock, from the same numbers */                                  \
    X(u64, owner, U64)    /* the client's number for him */                                        \
    X(u32, pid, U32)      /* told to others */                                                     \
    X(u8, type, 2)        /* WIRE_LOCK_* */                                                        \
    X(u8, flags, 7)       /* WIRE_RECORD_* */                                                      \
    X(u32, wait_ms, U32)  /* as of lock */                                                         \
    X(u64, start, INT64_MAX)                                                                       \
    X(u64, end, INT64_MAX)                                                                         \
    X(u64, epoch, U64) /* the owner has something here since this one; 0: nothing. -EOWNERDEAD: */ \
                       /* it is another one by now, what he had is lost */
#define WIRE_FIELDS_record_reply(X)                                      \
    X(u8, granted, 1) /* 0: not yet; ask again */                        \
    X(u8, holds, 1)   /* granted: the owner has something of the file */ \
    X(u64, epoch, U64)                                                   \
    X(list, blockers, LIMITS_LOCK_BLOCKERS_MAX) /* lock_blocker */

/* Whom somebody waits for. */
#define WIRE_FIELDS_lock_blocker(X)                                              \
    X(mac, client, 0)                                                            \
    X(u64, owner, U64)                                                           \
    X(u64, serial, U64) /* the same as long as what he has there only shrinks */ \
    X(u8, direct, 1)    /* 0: it is others in the line that wait for him */

#define WIRE_FIELDS_record_test(X) \
    X(capability, capability, 0)   \
    X(u64, map_version, U64)       \
    X(u32, target, U32)            \
    X(u64, owner, U64)             \
    X(u8, type, 2)                 \
    X(u64, start, INT64_MAX)       \
    X(u64, end, INT64_MAX)
#define WIRE_FIELDS_record_test_reply(X)                          \
    X(u8, type, 2) /* WIRE_LOCK_NONE: nothing is in the way */    \
    X(u64, start, INT64_MAX)                                      \
    X(u64, end, INT64_MAX)                                        \
    X(mac, client, 0)                                             \
    X(u64, owner, U64) /* 0, as client and pid: a lock as such */ \
    X(u32, pid, U32)

#define WIRE_FIELDS_record_cancel(X) \
    X(u64, id, INT64_MAX)            \
    X(u8, undo, 1) /* its owner was told that it failed: what was granted is to be as if it had */
#define WIRE_FIELDS_record_cancel_reply(X)            \
    X(u8, granted, 1) /* it had been, and stays so */ \
    X(u64, epoch, U64)

#endif
