/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weft_limits.h: every bound that two parts of Weft must agree on, in one place.
 *
 * limits_fingerprint() condenses the ones that matter on the wire; peers
 * exchange it when they connect and refuse each other when it differs.
 */
#ifndef COMMON_WEFT_LIMITS_H
#define COMMON_WEFT_LIMITS_H

#include <assert.h>
#include <stdint.h>

#include "weft/weft.h"

#define LIMITS_PROTOCOL_VERSION 17u

/* Names */
#define LIMITS_SERVER_NAME_MAX 63u
#define LIMITS_ADDRESS_MAX 255u /* "host:port" */
#define LIMITS_HOST_NAME_MAX WEFT_HOST_BYTES_MAX /* also of a chassis and a rack */
#define LIMITS_SYMLINK_MAX WEFT_PATH_BYTES_MAX
#define LIMITS_SYMLINK_DEPTH_MAX 40u /* as Linux */

/* Messages */
#define LIMITS_HEADER_MAX 2048u                  /* envelope plus a body that travels with it */
#define LIMITS_BODY_INLINE_MAX (2048u - 64u)     /* longer bodies travel in front of the payload */
#define LIMITS_BODY_MAX (1u << 20)
#define LIMITS_PAYLOAD_MAX (8u << 20)            /* one message; includes a body that travels in it */
#define LIMITS_OFI_PIECES_MAX 48u                /* that one message over libfabric names */
#define LIMITS_ERROR_TEXT_MAX 511u
#define LIMITS_CONTROL_FRAME_MAX (1u << 20)      /* handshake frames on the control socket */
#define LIMITS_EXTENTS_MAX 8192u                 /* of one read or write request */
#define LIMITS_IO_BYTES_MAX (4u << 20)           /* data bytes of one read or write request */
#define LIMITS_GATHER_CHUNKS_MAX 1024u           /* chunks that one request lists as gathered */
#define LIMITS_LIST_MAX 65536u
#define LIMITS_LOCK_RANGES_MAX 1024u             /* of one lock */
#define LIMITS_REMOVES_MAX 32u                   /* files of one object_remove, which fits the header */
#define LIMITS_CLOSES_MAX 32u                    /* that one request brings: it still fits the header */
#define LIMITS_REOPENS_MAX 30u                   /* handles that one reopen names, which fits the header */
#define LIMITS_LOCK_BLOCKERS_MAX 64u             /* that one answer names */
#define LIMITS_SMALL_BYTES_MAX (16u << 10)       /* of a file that lies with the metadata server */
#define LIMITS_SMALL_PIECES_MAX 256u             /* of one write to such a file */
#define LIMITS_DELEGATION_MS 1000u               /* so long holds what a silent client was promised */
#define LIMITS_DELEGATIONS_MAX 16384u            /* of one client */
#define LIMITS_HELD_OTHERS_MAX 64u               /* what a folder that comes to be held has in it already */
#define LIMITS_NAMINGS_MAX 128u                  /* of a held folder, that one request tells of */
#define LIMITS_INODES_GIVEN_MAX 4096u            /* numbers for new inodes that a client has at a time */
#define LIMITS_RECALLS_MAX 64u                   /* that one answer tells of */
#define LIMITS_USAGES_MAX 1024u                  /* users or groups of which one answer tells */

/* Cluster */
#define LIMITS_SERVERS_MAX 65536u
#define LIMITS_TARGETS_MAX 65536u
#define LIMITS_GROUPS_MAX 65536u
#define LIMITS_HOSTS_MAX LIMITS_SERVERS_MAX
#define LIMITS_SHARDS_MAX 256u /* of one server */
#define LIMITS_GROUP_MEMBERS_MAX 32u
/* Pieces of one copy, so that they travel in its header: a server that waits for copies may have no other
 * room for them. */
#define LIMITS_COPY_PIECES_MAX   96u
#define LIMITS_COPY_OBJECTS_MAX  512u
/* What one group_report tells of; the rest comes with the next. */
#define LIMITS_VERDICTS_MAX      4096u
/* Supplementary groups of a client's user that count. */
#define LIMITS_CALLER_GROUPS_MAX 256u
/* Of one inodes_gone, which fits the header. */
#define LIMITS_SWEEP_INODES_MAX  128u

static_assert(LIMITS_IO_BYTES_MAX + LIMITS_BODY_MAX <= LIMITS_PAYLOAD_MAX,
              "a body and its data fit a message");
static_assert(LIMITS_EXTENTS_MAX * 16u <= LIMITS_BODY_MAX / 2, "a full extent list fits a body");
static_assert(LIMITS_GATHER_CHUNKS_MAX * 13u <= LIMITS_BODY_MAX / 4, "and a full list of chunks beside it");
static_assert(LIMITS_BODY_INLINE_MAX < LIMITS_HEADER_MAX, "the envelope needs room");

/* The fingerprint of this build's wire limits (FNV-1a over their values). */
static inline uint64_t limits_fingerprint(void)
{
    const uint64_t values[] = {
        LIMITS_PROTOCOL_VERSION, LIMITS_HEADER_MAX,  LIMITS_BODY_INLINE_MAX, LIMITS_BODY_MAX,
        LIMITS_PAYLOAD_MAX,      LIMITS_EXTENTS_MAX, LIMITS_IO_BYTES_MAX,    LIMITS_GATHER_CHUNKS_MAX,
        LIMITS_CLOSES_MAX,       LIMITS_REMOVES_MAX, LIMITS_OFI_PIECES_MAX,  WEFT_PATH_BYTES_MAX,
        LIMITS_DELEGATION_MS,    LIMITS_RECALLS_MAX, LIMITS_REOPENS_MAX,     LIMITS_CALLER_GROUPS_MAX,
        LIMITS_NAMINGS_MAX,      LIMITS_INODES_GIVEN_MAX, LIMITS_HELD_OTHERS_MAX,
    };
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++) {
        for (unsigned shift = 0; shift < 64; shift += 8) {
            hash ^= (values[i] >> shift) & 0xff;
            hash *= UINT64_C(0x100000001b3);
        }
    }
    return hash;
}

#endif
