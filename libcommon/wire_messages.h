/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_messages.h: the one description of every wire message. From it come the
 * C structs, the encoders, the decoders with their bounds checks (wire.c), and
 * the table that the fuzzer walks. docs/protocol.md tells what the messages mean.
 *
 * X(kind, name, max): kinds and the meaning of max:
 *   u8 u16 u32 u64   value at most max
 *   i64              max is not used (0)
 *   str              text without NUL of at most max bytes
 *   bytes            at most max bytes
 *   mac              16 bytes (max 0)
 *   list             at most max elements, each an encoded message
 *   another message  nested (max 0)
 *
 * Compatibility: a message is only ever changed together with
 * LIMITS_PROTOCOL_VERSION; peers of different versions refuse each other.
 */
#ifndef COMMON_WIRE_MESSAGES_H
#define COMMON_WIRE_MESSAGES_H

#include "weft_limits.h"
#include "wire_usage.h"

#define U32 UINT32_MAX
#define U64 UINT64_MAX

/* ---- operations ------------------------------------------------------- */

/* X(number, name): a request of operation `name` carries the body
 * <name> and is answered by the body <name>_reply, where these exist. */
#define WIRE_OPERATIONS(X) \
    X(1, stat)             \
    X(2, open)             \
    X(3, close)            \
    X(4, mkdir)            \
    X(5, rmdir)            \
    X(6, unlink)           \
    X(7, rename)           \
    X(8, symlink)          \
    X(9, link)             \
    X(10, readlink)        \
    X(11, setattr)         \
    X(12, truncate)        \
    X(13, readdir)         \
    X(14, statfs)          \
    X(15, layout_set)      \
    X(16, access)          \
    X(17, pointer)         \
    X(18, hints_set)       \
    X(19, hints_get)       \
    X(20, mknod)           \
    X(21, lock_wait)       \
    X(22, small_read)      \
    X(23, small_write)     \
    X(24, spill)           \
    X(25, delegation_wait) \
    X(26, xattr_set)       \
    X(27, xattr_get)       \
    X(28, xattr_list)      \
    X(29, xattr_remove)    \
    X(30, map_get)         \
    X(31, server_register) \
    X(32, heartbeat)       \
    X(33, counters)        \
    X(34, group_report)    \
    X(35, inodes_gone)     \
    X(36, reopen)          \
    X(37, usage)           \
    X(38, names)           \
    X(50, read)            \
    X(51, write)           \
    X(52, sync)            \
    X(53, object_stat)     \
    X(54, object_truncate) \
    X(55, object_remove)   \
    X(56, lock)            \
    X(57, unlock)          \
    X(58, write_gather)    \
    X(59, record)          \
    X(60, record_test)     \
    X(61, record_cancel)   \
    X(62, object_punch)    \
    X(63, object_seek)     \
    X(64, object_mend)     \
    X(70, copy)            \
    X(71, copy_truncate)   \
    X(72, copy_punch)      \
    X(73, copy_sync)       \
    X(74, copy_list)       \
    X(75, copy_digest)     \
    X(76, copy_cut)        \
    X(77, copy_settle)     \
    X(78, copy_remove)     \
    X(79, copy_fetch)

/* ---- envelope: in front of every message on the transport -------------- */

#define WIRE_FIELDS_envelope(X)                                                                   \
    X(u32, magic, U32) /* WIRE_MAGIC */                                                           \
    X(u16, operation, 0xffff)                                                                     \
    X(u8, kind, 2)       /* WIRE_REQUEST, WIRE_REPLY */                                           \
    X(u8, flags, 7)      /* WIRE_BODY_IN_PAYLOAD, WIRE_PAYLOAD_CRC, WIRE_REPEATABLE */            \
    X(u64, token, U64)   /* names the connection; given by the receiver in the handshake */       \
    X(u64, id, U64)      /* of the request; grows by one for each of a client */                  \
    X(u64, settled, U64) /* requests: all ids of this client below it have been answered, or */   \
                         /* are of repeatable requests */                                         \
    X(u32, body_length, LIMITS_BODY_MAX)                                                          \
    X(u32, status, U32)                        /* replies: 0 or an errno, as a positive number */ \
    X(u64, payload_length, LIMITS_PAYLOAD_MAX) /* includes a body that travels in it */           \
    X(u32, payload_crc, U32)                   /* CRC32C of the payload, with WIRE_PAYLOAD_CRC */ \
    X(u32, header_crc, U32) /* CRC32C of the envelope, taken with 0 here, and a body that follows */

/* ---- handshake on the control socket ------------------------------------ */

#define WIRE_FIELDS_hello(X)                                                     \
    X(u32, magic, U32)                                                           \
    X(u32, version, U32)                                                         \
    X(u64, fingerprint, U64) /* limits_fingerprint() */                          \
    X(mac, client, 0)        /* identity of the client; stays over reconnects */ \
    X(mac, nonce, 0)                                                             \
    X(u64, token, U64) /* for messages to the client */                          \
    X(u32, role, 2)    /* WIRE_ROLE_* */                                         \
    X(u32, uid, U32)                                                             \
    X(u32, gid, U32)                                                             \
    X(list, groups, LIMITS_CALLER_GROUPS_MAX) /* group_number: supplementary */  \
    X(mac, host, 0)                      /* identity of the running host */      \
    X(str, name, LIMITS_SERVER_NAME_MAX) /* for logs: program and process id */  \
    X(str, transports, 15)               /* that the client has: "ucx,ofi" */    \
    X(bytes, unused, 8192)               /* empty; older servers want it, to find that the versions differ */

#define WIRE_FIELDS_group_number(X) X(u32, gid, U32)

#define WIRE_FIELDS_challenge(X) X(mac, nonce, 0) X(str, transports, 15) /* that the server has */

#define WIRE_FIELDS_proof(X)                                 \
    X(mac, proof, 0)                                         \
    X(str, transport, 15)   /* the one that is to be used */ \
    X(bytes, address, 8192) /* of the client's worker of that transport */

#define WIRE_FIELDS_welcome(X)                                                                  \
    X(mac, proof, 0)                                                                            \
    X(u64, token, U64) /* for messages to the server */                                         \
    X(mac, host, 0)                                                                             \
    X(u32, credit_requests, U32)                                                                \
    X(u64, credit_bytes, U64)                                                                   \
    X(bytes, address, 8192) /* of the server's worker of the transport that the client chose */ \
    X(bytes, greeting, LIMITS_CONTROL_FRAME_MAX / 2) /* metadata server: the cluster map */

#define WIRE_FIELDS_refusal(X) \
    X(u32, status, U32)        \
    X(str, text, LIMITS_ERROR_TEXT_MAX)

/* ---- libfabric: what stands in front of a message, and a worker's address ---- */

#define WIRE_FIELDS_ofi_piece(X)                                           \
    X(u64, address, U64) /* in the memory of the process that holds it */  \
    X(u64, offset, U64)  /* in the registered memory, which begins at 0 */ \
    X(u64, key, U64)                                                       \
    X(u64, length, LIMITS_PAYLOAD_MAX)

#define WIRE_FIELDS_ofi_frame(X)                                                   \
    X(u8, kind, 3)      /* OFI_FRAME_* */                                          \
    X(u64, sender, U64) /* id of the worker that sent it */                        \
    X(u64, cookie, U64) /* of a payload that is to be fetched, or was */           \
    X(u32, status, U32) /* of the fetching: 0 or an errno, as a positive number */ \
    X(u32, header_length, LIMITS_HEADER_MAX)                                       \
    X(u64, payload_length, LIMITS_PAYLOAD_MAX)                                     \
    X(list, pieces, LIMITS_OFI_PIECES_MAX) /* ofi_piece: the payload, where it is to be fetched */

#define WIRE_FIELDS_ofi_lane(X) X(str, provider, 31) X(bytes, address, 256)

#define WIRE_FIELDS_ofi_address(X)                                                            \
    X(u64, id, U64)         /* of the worker; random */                                       \
    X(u64, id_address, U64) /* where the id stands in the memory of the process */            \
    X(u32, pid, U32)                                                                          \
    X(u64, awake_address, U64) /* where it says whether it sleeps; 0: it need not be woken */ \
    X(str, doorbell, 63)       /* the socket that wakes it; "" when there is none */          \
    X(list, lanes, 2)          /* ofi_lane, in the order in which they are preferred */

/* ---- parts of other messages ------------------------------------------- */

#define WIRE_FIELDS_error(X) X(str, text, LIMITS_ERROR_TEXT_MAX) X(bytes, map, LIMITS_BODY_MAX / 2)

#define WIRE_FIELDS_layout(X)                \
    X(u64, chunk_size, WEFT_CHUNK_BYTES_MAX) \
    X(u64, seed, U64)                        \
    X(u32, stripe_count, LIMITS_GROUPS_MAX)  \
    X(u32, group_count, LIMITS_GROUPS_MAX)   \
    X(u32, host, LIMITS_HOSTS_MAX) /* number of the host that has the file; 0: spread over all */

/* What a client may do with one file, signed by the metadata server. */
#define WIRE_FIELDS_capability(X)                    \
    X(u64, ino, U64)                                 \
    X(layout, layout, 0)                             \
    X(u32, access, 3) /* WIRE_ACCESS_READ, _WRITE */ \
    X(mac, mac, 0)

#define WIRE_FIELDS_attr(X)                                                                                \
    X(u64, ino, U64)                                                                                       \
    X(u64, size, U64)   /* as far as the metadata server knows */                                          \
    X(u8, size_open, 1) /* may have grown since: ask the storage servers */                                \
    X(u64, bytes, U64)                                                                                     \
    X(u32, mode, U32)                                                                                      \
    X(u32, nlink, U32)                                                                                     \
    X(u32, uid, U32)                                                                                       \
    X(u32, gid, U32)                                                                                       \
    X(i64, atime_ns, 0)                                                                                    \
    X(i64, mtime_ns, 0)                                                                                    \
    X(i64, mtime_base_ns, 0) /* with size_open: writes no later than this have not changed mtime */        \
    X(i64, ctime_ns, 0)                                                                                    \
    X(u64, rdev, U64) /* of a device: its number, as st_rdev */                                            \
    X(u8, small, 1)   /* a small file */                                                                   \
    X(u8, xattrs, 1)  /* it has extended attributes */                                                     \
    X(layout, layout, 0)                                                                                   \
    X(u8, placement, 3)                /* WIRE_PLACEMENT_*: of a directory, what it wants for new files */ \
    X(str, host, LIMITS_HOST_NAME_MAX) /* with WIRE_PLACEMENT_HOST: its name */                            \
    X(str, pool, WEFT_POOL_BYTES_MAX)

#define WIRE_FIELDS_extent(X)                                                     \
    X(u64, offset, INT64_MAX) /* in the file; the extent lies within one chunk */ \
    X(u32, length, WEFT_CHUNK_BYTES_MAX)                                          \
    X(u32, target, U32) /* id of the target that holds it */

#define WIRE_FIELDS_number(X) X(u32, value, U32)

/* ---- metadata operations ------------------------------------------------ */

/* A handle that its client gives back. Lists of them ride with the requests below; they take effect before
 * the request, and whatever becomes of it. */
#define WIRE_FIELDS_closing(X)                                                                  \
    X(u64, handle, U64)                                                                         \
    X(u8, wrote, 1)        /* something may have been written through it */                     \
    X(u8, told, 1)         /* all that was written to the file came through it, and is this: */ \
    X(u64, end, INT64_MAX) /* behind the last byte */                                           \
    X(u64, bytes, U64)     /* of space used */                                                  \
    X(i64, mtime_ns, 0)    /* of the last write, by the storage shard's clock */

/* What the metadata server promises of the inode and the path of an answer (docs/protocol.md). */
#define WIRE_FIELDS_delegation(X)                                            \
    X(u64, generation, U64) /* of what this client has; 0: it has nothing */ \
    X(u32, recalls, U32)    /* made so far */                                \
    X(u8, given, 1)         /* the attributes stay so until they are recalled */

#define WIRE_FIELDS_stat(X)                                                         \
    X(str, path, WEFT_PATH_BYTES_MAX) /* "" with an ino: that inode */              \
    X(u64, ino, U64)                                                                \
    X(u32, flags, 3)                   /* WEFT_STAT_NOFOLLOW, WIRE_STAT_DELEGATE */ \
    X(list, closes, LIMITS_CLOSES_MAX) /* closing */
#define WIRE_FIELDS_stat_reply(X)                                                        \
    X(attr, attr, 0)                                                                     \
    X(capability, capability, 0) /* to ask the storage servers for the size; access 0 */ \
    X(u8, absent, 1)             /* the path names nothing; all else is told of its folder */ \
    X(delegation, delegation, 0)

#define WIRE_FIELDS_open(X)                                                                               \
    X(str, path, WEFT_PATH_BYTES_MAX)                                                                     \
    X(u32, flags, U32) /* WIRE_OPEN_* */                                                                  \
    X(u32, mode, 07777)                                                                                   \
    X(layout, layout, 0)               /* zero fields: the directory's default */                         \
    X(u8, placement, 3)                /* WIRE_PLACEMENT_* */                                             \
    X(str, host, LIMITS_HOST_NAME_MAX) /* the client's; with WIRE_PLACEMENT_HOST the one that is meant */ \
    X(str, pool, WEFT_POOL_BYTES_MAX)                                                                     \
    X(list, closes, LIMITS_CLOSES_MAX)
#define WIRE_FIELDS_open_reply(X)                                                                          \
    X(u64, handle, U64) /* names this opening in close */                                                  \
    X(u8, created, 1)                                                                                      \
    X(attr, attr, 0)                                                                                       \
    X(capability, capability, 0)                                                                           \
    X(u64, map_version, U64) /* when newer than the client's, it asks for the map. Of losses that later */ \
                             /* ones tell of the handle's next sync tells */                               \
    X(str, hints, WEFT_HINTS_BYTES_MAX)       /* of the directory that holds the file */                   \
    X(u32, small_max, LIMITS_SMALL_BYTES_MAX) /* not 0: it is a small file, and may grow so far as one */  \
    X(small, small, 0)                        /* with a lease: what is in it */                            \
    X(delegation, delegation, 0)                                                                           \
    X(holding, holding, 0) /* of the folder that holds the file */

/* ---- folders that one client holds (docs/protocol.md) -------------------------------- */

/* Numbers for new inodes, given to one client. */
#define WIRE_FIELDS_inode_range(X)                     \
    X(u64, first, U64)                                 \
    X(u32, count, LIMITS_INODES_GIVEN_MAX) /* 0: none */ \
    X(mac, mac, 0) /* the metadata server's, over the client's identity and the above */

#define WIRE_FIELDS_held_entry(X)      \
    X(str, name, WEFT_NAME_BYTES_MAX)  \
    X(u64, ino, U64)                   \
    X(u8, is_file, 1) /* a regular one */
/* A folder that is the client's alone until it is recalled as a delegation: nobody else sees its names. */
#define WIRE_FIELDS_holding(X)                                                                     \
    X(u64, folder, U64) /* its inode; 0: none is held */                                           \
    X(u32, gid, U32)    /* of files that are made in it */                                         \
    X(u32, small_max, LIMITS_SMALL_BYTES_MAX) /* they are small ones, and may grow so far */       \
    X(inode_range, range, 0)                                                                       \
    X(list, others, LIMITS_HELD_OTHERS_MAX) /* held_entry: all that is in it, but for the file */

/* One name in it. */
#define WIRE_FIELDS_naming(X)                                                                         \
    X(str, name, WEFT_NAME_BYTES_MAX)                                                                 \
    X(u64, ino, U64) /* of the file that is made, or that loses this name */                          \
    X(u8, kind, 1)   /* WIRE_NAMING_* */                                                              \
    X(u8, access, 3) /* of one that is made: WIRE_ACCESS_*, as which the client has it open; 0: not */ \
    X(u32, mode, 07777)                                                                               \
    X(i64, made_ns, 0)    /* by the client's clock */                                                 \
    X(i64, changed_ns, 0) /* its last write, or the removal */                                        \
    X(bytes, data, LIMITS_SMALL_BYTES_MAX) /* all that is in it */

/* What a client has done to the names of a folder that it holds, in this order. A name that has been made
 * with the same number before is there, and one that is gone is gone. */
#define WIRE_FIELDS_names(X)                                                             \
    X(u64, folder, U64)                                                                  \
    X(inode_range, range, 0) /* that the numbers are of */                               \
    X(u8, wants_range, 1)                                                                \
    X(list, namings, LIMITS_NAMINGS_MAX)
/* One for each that failed, or that is to be open. */
#define WIRE_FIELDS_named(X)                                     \
    X(u32, place, LIMITS_NAMINGS_MAX) /* in the list */          \
    X(u32, status, U32) /* 0 or an errno, as a positive number */ \
    X(u64, handle, U64)                                          \
    X(capability, capability, 0)
#define WIRE_FIELDS_names_reply(X)                                           \
    X(delegation, delegation, 0) /* given: the folder is still held */       \
    X(u8, late, 1) /* it was not held any more when this came: others may have looked before */ \
    X(inode_range, range, 0)     /* when wanted, and the folder is held */   \
    X(list, named, LIMITS_NAMINGS_MAX)

/* ---- small files, which lie with the metadata server (docs/protocol.md) ---- */

/* What is in one, and how long the metadata server lets no one change that, counted from when the request
 * was sent. */
#define WIRE_FIELDS_small(X)                                        \
    X(u32, lease_us, U32) /* 0: nothing is said about what comes */ \
    X(bytes, data, LIMITS_SMALL_BYTES_MAX)

#define WIRE_FIELDS_small_read(X) \
    X(capability, capability, 0)  \
    X(u64, handle, U64) /* that may have a lease; 0: none */
#define WIRE_FIELDS_small_read_reply(X)                                     \
    X(u8, spilled, 1) /* it is no small file any more: ask by its layout */ \
    X(small, small, 0)

#define WIRE_FIELDS_small_piece(X)         \
    X(u32, offset, LIMITS_SMALL_BYTES_MAX) \
    X(u32, length, LIMITS_SMALL_BYTES_MAX)
#define WIRE_FIELDS_small_write(X)                                                                       \
    X(capability, capability, 0)                                                                         \
    X(u64, handle, U64)                                                                                  \
    X(list, pieces, LIMITS_SMALL_PIECES_MAX) /* small_piece: where the data goes, one after the other */ \
    X(bytes, data, LIMITS_SMALL_BYTES_MAX)
#define WIRE_FIELDS_small_write_reply(X)                                                     \
    X(u8, spilled, 1)            /* it is no small file any more, and nothing was written */ \
    X(u8, sole, 1)               /* as of spill_reply */                                     \
    X(delegation, delegation, 0) /* given: what the client had of the file goes on, with: */ \
    X(attr, attr, 0)

/* Makes a small file one of the storage servers', if it is not already. */
#define WIRE_FIELDS_spill(X)       X(capability, capability, 0) X(u64, handle, U64)
#define WIRE_FIELDS_spill_reply(X) X(u8, sole, 1) /* it is empty, and no one else has it open for writing */

#define WIRE_FIELDS_close(X) X(list, closes, LIMITS_CLOSES_MAX)

/* Handles of which this client has heard nothing since its connection broke: those that the server has
 * closed for it are open again. */
#define WIRE_FIELDS_reopening(X) \
    X(u64, handle, U64)          \
    X(capability, capability, 0) /* of the open file */
#define WIRE_FIELDS_reopen(X) X(list, handles, LIMITS_REOPENS_MAX) /* reopening */
#define WIRE_FIELDS_reopen_reply(X) \
    X(list, lost, LIMITS_REOPENS_MAX) /* number: place in the list; it can't be open any more */

/* Waits until the metadata server recalls something, and tells that what it recalled is forgotten. */
#define WIRE_FIELDS_delegation_wait(X)                       \
    X(u64, generation, U64)                                  \
    X(u32, recalls, U32) /* all up to this one are heeded */ \
    X(u8, ends, 1)       /* everything is */
#define WIRE_FIELDS_delegation_wait_reply(X)                                 \
    X(delegation, delegation, 0)      /* recalls: that are told of so far */ \
    X(u8, all, 1)                     /* everything is recalled */           \
    X(list, inos, LIMITS_RECALLS_MAX) /* inode_number */
#define WIRE_FIELDS_inode_number(X) X(u64, ino, U64)

/* A wait for a record that lasts, and for whom. */
#define WIRE_FIELDS_lock_wait(X)                                                                   \
    X(u64, owner, U64)                                                                             \
    X(u64, id, U64)    /* of the record that he waits for */                                       \
    X(u64, token, U64) /* of the latest answer, had before the blockers were asked for; 0: none */ \
    X(list, blockers, LIMITS_LOCK_BLOCKERS_MAX) /* lock_blocker */
#define WIRE_FIELDS_lock_wait_reply(X) \
    X(u64, token, U64)                 \
    X(u8, verdict, 2) /* WIRE_WAIT_* */

#define WIRE_FIELDS_mkdir(X) X(str, path, WEFT_PATH_BYTES_MAX) X(u32, mode, 07777)
#define WIRE_FIELDS_mknod(X)                                     \
    X(str, path, WEFT_PATH_BYTES_MAX)                            \
    X(u32, mode, 0177777) /* type and permissions, as st_mode */ \
    X(u64, rdev, U64)     /* of a device */
#define WIRE_FIELDS_rmdir(X)  X(str, path, WEFT_PATH_BYTES_MAX)
#define WIRE_FIELDS_unlink(X) X(str, path, WEFT_PATH_BYTES_MAX) X(list, closes, LIMITS_CLOSES_MAX)
#define WIRE_FIELDS_rename(X)         \
    X(str, from, WEFT_PATH_BYTES_MAX) \
    X(str, to, WEFT_PATH_BYTES_MAX)   \
    X(list, closes, LIMITS_CLOSES_MAX)
#define WIRE_FIELDS_symlink(X)        X(str, target, LIMITS_SYMLINK_MAX) X(str, path, WEFT_PATH_BYTES_MAX)
#define WIRE_FIELDS_link(X)           X(str, from, WEFT_PATH_BYTES_MAX) X(str, to, WEFT_PATH_BYTES_MAX)
#define WIRE_FIELDS_readlink(X)       X(str, path, WEFT_PATH_BYTES_MAX)
#define WIRE_FIELDS_readlink_reply(X) X(str, target, LIMITS_SYMLINK_MAX)

#define WIRE_FIELDS_setattr(X)                                         \
    X(str, path, WEFT_PATH_BYTES_MAX) /* "" with an ino: that inode */ \
    X(u64, ino, U64)                                                   \
    X(u32, flags, 1)   /* WEFT_STAT_NOFOLLOW */                        \
    X(u32, mask, 0x3f) /* WIRE_SETATTR_* */                            \
    X(u32, mode, 07777)                                                \
    X(u32, uid, U32)                                                   \
    X(u32, gid, U32)                                                   \
    X(i64, atime_ns, 0)                                                \
    X(i64, mtime_ns, 0)                                                \
    X(list, closes, LIMITS_CLOSES_MAX)

#define WIRE_FIELDS_truncate(X)                                              \
    X(str, path, WEFT_PATH_BYTES_MAX) /* "" with a handle: that open file */ \
    X(u64, handle, U64)                                                      \
    X(capability, capability, 0) /* of the handle, when it was imported */   \
    X(u64, size, INT64_MAX)                                                  \
    X(u8, grow_only, 1) /* do nothing when the file is longer */             \
    X(list, closes, LIMITS_CLOSES_MAX)

#define WIRE_FIELDS_readdir(X)                           \
    X(str, path, WEFT_PATH_BYTES_MAX)                    \
    X(str, after, WEFT_NAME_BYTES_MAX) /* "" to begin */ \
    X(u32, count_max, 4096)
#define WIRE_FIELDS_dirent(X)         \
    X(str, name, WEFT_NAME_BYTES_MAX) \
    X(attr, attr, 0)
#define WIRE_FIELDS_readdir_reply(X) \
    X(u8, end, 1)                    \
    X(list, entries, 4096) /* dirent */

#define WIRE_FIELDS_statfs_reply(X)                                                         \
    X(u64, bytes_total, U64)                                                                \
    X(u64, bytes_free, U64)                                                                 \
    X(u64, files, U64)                                                                      \
    X(u32, targets, U32)                                                                    \
    X(u32, targets_up, U32)                                                                 \
    X(u32, servers, U32)                                                                    \
    X(u32, servers_up, U32)                                                                 \
    X(u32, groups, U32)                                                                     \
    X(u32, groups_syncing, U32) /* with a member that is syncing, and none that is worse */ \
    X(u32, groups_lacking, U32) /* with one that is stale or leaving */                     \
    X(u32, replicas, U32)       /* members of a group */                                    \
    X(u64, map_version, U64)

#define WIRE_FIELDS_layout_set(X)                                                  \
    X(str, path, WEFT_PATH_BYTES_MAX)                                              \
    X(layout, layout, 0)                                                           \
    X(u8, placement, 3)                /* WIRE_PLACEMENT_*; _DEFAULT: as it was */ \
    X(str, host, LIMITS_HOST_NAME_MAX) /* with WIRE_PLACEMENT_HOST */              \
    X(str, pool, WEFT_POOL_BYTES_MAX)

#define WIRE_FIELDS_hints_set(X)      \
    X(str, path, WEFT_PATH_BYTES_MAX) \
    X(str, hints, WEFT_HINTS_BYTES_MAX) /* "": none */
#define WIRE_FIELDS_hints_get(X)       X(str, path, WEFT_PATH_BYTES_MAX)
#define WIRE_FIELDS_hints_get_reply(X) X(str, hints, WEFT_HINTS_BYTES_MAX)

/* Extended attributes, as xattr(7) has them. All name their file in the same way. */
#define WIRE_FIELDS_xattr_set(X)                                                         \
    X(str, path, WEFT_PATH_BYTES_MAX) /* "" : the open file that the capability is of */ \
    X(capability, capability, 0)                                                         \
    X(u32, flags, 7) /* WEFT_STAT_NOFOLLOW, WEFT_XATTR_CREATE, _REPLACE */               \
    X(str, name, WEFT_XATTR_NAME_BYTES_MAX)                                              \
    X(bytes, value, WEFT_XATTR_VALUE_BYTES_MAX)
#define WIRE_FIELDS_xattr_get(X)              \
    X(str, path, WEFT_PATH_BYTES_MAX)         \
    X(capability, capability, 0)              \
    X(u32, flags, 1) /* WEFT_STAT_NOFOLLOW */ \
    X(str, name, WEFT_XATTR_NAME_BYTES_MAX)
#define WIRE_FIELDS_xattr_get_reply(X) X(bytes, value, WEFT_XATTR_VALUE_BYTES_MAX)
#define WIRE_FIELDS_xattr_list(X)     \
    X(str, path, WEFT_PATH_BYTES_MAX) \
    X(capability, capability, 0)      \
    X(u32, flags, 1)                                                          /* WEFT_STAT_NOFOLLOW */
#define WIRE_FIELDS_xattr_list_reply(X) X(bytes, names, WEFT_XATTR_BYTES_MAX) /* each with a NUL behind it */
#define WIRE_FIELDS_xattr_remove(X)           \
    X(str, path, WEFT_PATH_BYTES_MAX)         \
    X(capability, capability, 0)              \
    X(u32, flags, 1) /* WEFT_STAT_NOFOLLOW */ \
    X(str, name, WEFT_XATTR_NAME_BYTES_MAX)

#define WIRE_FIELDS_access(X) X(str, path, WEFT_PATH_BYTES_MAX) X(u32, mode, 7)

/* The shared file pointer of an open file. */
#define WIRE_FIELDS_pointer(X)                                                    \
    X(u64, handle, U64)                                                           \
    X(capability, capability, 0) /* of the handle */                              \
    X(u8, set, 1)                /* the value is the new one; else it is added */ \
    X(i64, value, 0)
#define WIRE_FIELDS_pointer_reply(X) X(i64, before, 0)

/* ---- cluster operations ------------------------------------------------- */

#define WIRE_FIELDS_map_host(X)           \
    X(str, name, LIMITS_HOST_NAME_MAX)    \
    X(str, chassis, LIMITS_HOST_NAME_MAX) \
    X(str, rack, LIMITS_HOST_NAME_MAX)
#define WIRE_FIELDS_map_server(X)                                                   \
    X(u32, id, U32)                                                                 \
    X(u8, state, 1)                                                                 \
    X(str, name, LIMITS_SERVER_NAME_MAX)                                            \
    X(u64, bytes_total, U64)                                                        \
    X(u64, bytes_free, U64)                                                         \
    X(u32, host, U32)                     /* its number, from 1 on; 0: not known */ \
    X(list, addresses, LIMITS_SHARDS_MAX) /* address, one for each shard */
#define WIRE_FIELDS_address(X) X(str, text, LIMITS_ADDRESS_MAX)
#define WIRE_FIELDS_map_target(X)                                               \
    X(u32, id, U32)                                                             \
    X(u32, server, LIMITS_SERVERS_MAX)                                          \
    X(u8, state, 1)                                                             \
    X(u64, losses, U64)   /* how often it may have lost what was not synced */  \
    X(u64, lost_at, U64)  /* the version that told of the latest; 0: of none */ \
    X(u64, capacity, U64) /* bytes that it counts for when groups are made; 0: not known */
#define WIRE_FIELDS_map_group(X)                                                                    \
    X(u32, home, U32)    /* its number, from 1 on; 0: not known */                                  \
    X(u64, changed, U64) /* the version with which leader or states became what they are */         \
    X(u64, lost_at, U64) /* the version that told that all may have lost something; 0: none */      \
    X(u32, leader, LIMITS_GROUP_MEMBERS_MAX - 1) /* place in the list */                            \
    X(bytes, states, LIMITS_GROUP_MEMBERS_MAX)   /* of the members, a byte each: enum map_member */ \
    X(list, members, LIMITS_GROUP_MEMBERS_MAX)   /* number */
#define WIRE_FIELDS_map(X)                       \
    X(u64, version, U64)                         \
    X(mac, cluster, 0)                           \
    X(str, metadata_address, LIMITS_ADDRESS_MAX) \
    X(list, hosts, LIMITS_LIST_MAX)              \
    X(list, servers, LIMITS_LIST_MAX)            \
    X(list, targets, LIMITS_LIST_MAX)            \
    X(list, groups, LIMITS_LIST_MAX)

#define WIRE_FIELDS_map_get_reply(X) X(bytes, map, LIMITS_BODY_MAX / 2) /* an encoded map */

#define WIRE_FIELDS_server_register(X)                                                      \
    X(str, name, LIMITS_SERVER_NAME_MAX)                                                    \
    X(map_host, host, 0)                  /* where it runs */                               \
    X(list, addresses, LIMITS_SHARDS_MAX) /* address */                                     \
    X(list, targets, LIMITS_LIST_MAX)     /* served_target */                               \
    X(u8, unclean, 1) /* a new process, and the one before did not end what it had begun */ \
    X(u64, bytes_total, U64)                                                                \
    X(u64, bytes_free, U64)
#define WIRE_FIELDS_served_target(X) \
    X(u32, id, U32)                  \
    X(u64, losses, U64)              \
    X(u64, capacity, U64)            \
    X(u8, is_empty, 1) /* it replaces one that was lost, and has nothing of what that had */
#define WIRE_FIELDS_server_register_reply(X) X(bytes, map, LIMITS_BODY_MAX / 2)

#define WIRE_FIELDS_heartbeat(X)                                                    \
    X(str, name, LIMITS_SERVER_NAME_MAX)                                            \
    X(u64, map_version, U64) /* of the newest map that it has */                    \
    X(u64, adopted, U64)     /* of the oldest map that one of its shards goes by */ \
    X(u64, bytes_total, U64)                                                        \
    X(u64, bytes_free, U64)
#define WIRE_FIELDS_heartbeat_reply(X) X(bytes, map, LIMITS_BODY_MAX / 2) /* empty: yours is current */

/* What a leader says of members of its groups. The answer is a heartbeat_reply. */
#define WIRE_FIELDS_group_report(X)      \
    X(str, name, LIMITS_SERVER_NAME_MAX) \
    X(u64, map_version, U64)             \
    X(list, verdicts, LIMITS_VERDICTS_MAX) /* group_verdict */
#define WIRE_FIELDS_group_verdict(X)                                                            \
    X(u32, group, LIMITS_GROUPS_MAX)                                                            \
    X(u64, changed, U64) /* as the leader's map has it: it counts only as long as that holds */ \
    X(u32, target, U32)  /* the member; the leader's own: it can't keep what it leads */        \
    X(u8, synced, 1)     /* it has everything now; 0: it failed */

/* Which of these inodes there will never be again, so that nobody can have a use for what is left of them.
 * From a storage server only. */
#define WIRE_FIELDS_inodes_gone(X)       \
    X(str, name, LIMITS_SERVER_NAME_MAX) \
    X(list, inos, LIMITS_SWEEP_INODES_MAX) /* inode_number */
#define WIRE_FIELDS_inodes_gone_reply(X) \
    X(list, gone, LIMITS_SWEEP_INODES_MAX) /* number: place in the list */

#define WIRE_FIELDS_counter(X)        X(str, name, 63) X(u64, value, U64)
#define WIRE_FIELDS_counters_reply(X) X(list, counters, 1024) /* counter */
/* ---- storage operations ------------------------------------------------- */

#include "wire_storage.h"

/* ---- an open file on its way to another process --------------------------- */

#define WIRE_FIELDS_handle_blob(X)                                                                    \
    X(u32, version, U32) /* LIMITS_PROTOCOL_VERSION; stands first in every version */                 \
    X(mac, cluster, 0)                                                                                \
    X(u64, handle, U64)                                                                               \
    X(u32, access, 3)   /* WIRE_ACCESS_*: what the file was opened for */                             \
    X(u64, synced, U64) /* map version; losses that later ones tell of are the next sync's to tell */ \
    X(str, path, WEFT_PATH_BYTES_MAX)                                                                 \
    X(str, pool, WEFT_POOL_BYTES_MAX)                                                                 \
    X(str, hints, WEFT_HINTS_BYTES_MAX)                                                               \
    X(capability, capability, 0)                                                                      \
    X(bytes, map, LIMITS_BODY_MAX / 2)                                                                \
    X(u32, small_max, LIMITS_SMALL_BYTES_MAX) /* as in open_reply; only of one open for reading */    \
    X(mac, mac, 0)                            /* of all that stands before it, with the cluster key */

/* ---- all of them ---------------------------------------------------------- */

#define WIRE_MESSAGES(M)     \
    M(envelope)              \
    M(hello)                 \
    M(group_number)          \
    M(challenge)             \
    M(proof)                 \
    M(welcome)               \
    M(refusal)               \
    M(ofi_piece)             \
    M(ofi_frame)             \
    M(ofi_lane)              \
    M(ofi_address)           \
    M(error)                 \
    M(layout)                \
    M(capability)            \
    M(attr)                  \
    M(extent)                \
    M(number)                \
    M(closing)               \
    M(delegation)            \
    M(stat)                  \
    M(stat_reply)            \
    M(open)                  \
    M(small)                 \
    M(inode_range)           \
    M(held_entry)            \
    M(holding)               \
    M(open_reply)            \
    M(naming)                \
    M(names)                 \
    M(named)                 \
    M(names_reply)           \
    M(small_read)            \
    M(small_read_reply)      \
    M(small_piece)           \
    M(small_write)           \
    M(small_write_reply)     \
    M(spill)                 \
    M(spill_reply)           \
    M(close)                 \
    M(reopening)             \
    M(reopen)                \
    M(reopen_reply)          \
    M(mkdir)                 \
    M(mknod)                 \
    M(rmdir)                 \
    M(unlink)                \
    M(rename)                \
    M(symlink)               \
    M(link)                  \
    M(readlink)              \
    M(readlink_reply)        \
    M(setattr)               \
    M(truncate)              \
    M(readdir)               \
    M(dirent)                \
    M(readdir_reply)         \
    M(statfs_reply)          \
    M(layout_set)            \
    M(hints_set)             \
    M(hints_get)             \
    M(hints_get_reply)       \
    M(xattr_set)             \
    M(xattr_get)             \
    M(xattr_get_reply)       \
    M(xattr_list)            \
    M(xattr_list_reply)      \
    M(xattr_remove)          \
    M(usage)                 \
    M(usage_sums)            \
    M(usage_reply)           \
    M(access)                \
    M(pointer)               \
    M(pointer_reply)         \
    M(address)               \
    M(map_host)              \
    M(map_server)            \
    M(map_target)            \
    M(map_group)             \
    M(map)                   \
    M(map_get_reply)         \
    M(server_register)       \
    M(served_target)         \
    M(server_register_reply) \
    M(heartbeat)             \
    M(heartbeat_reply)       \
    M(group_report)          \
    M(group_verdict)         \
    M(inodes_gone)           \
    M(inodes_gone_reply)     \
    M(counter)               \
    M(counters_reply)        \
    M(write)                 \
    M(copy)                  \
    M(copy_piece)            \
    M(copy_truncate)         \
    M(copy_punch)            \
    M(copy_sync)             \
    M(copy_list)             \
    M(copy_object)           \
    M(copy_list_reply)       \
    M(copy_digest)           \
    M(copy_digest_reply)     \
    M(copy_cut)              \
    M(copy_settle)           \
    M(copy_remove)           \
    M(copy_fetch)            \
    M(write_gather)          \
    M(gather_chunk)          \
    M(read)                  \
    M(read_reply)            \
    M(sync)                  \
    M(object_stat)           \
    M(object_stat_reply)     \
    M(object_truncate)       \
    M(object_remove)         \
    M(object_remove_reply)   \
    M(object_punch)          \
    M(object_mend)           \
    M(object_seek)           \
    M(object_seek_reply)     \
    M(lock_range)            \
    M(lock)                  \
    M(lock_reply)            \
    M(unlock)                \
    M(record)                \
    M(record_reply)          \
    M(lock_blocker)          \
    M(record_test)           \
    M(record_test_reply)     \
    M(record_cancel)         \
    M(record_cancel_reply)   \
    M(delegation_wait)       \
    M(delegation_wait_reply) \
    M(inode_number)          \
    M(lock_wait)             \
    M(lock_wait_reply)       \
    M(handle_blob)

#endif
