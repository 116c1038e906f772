/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pieces.h: moves bytes between the memory pieces of a request and the run of
 * bytes that travels. Pure.
 *
 * Small pieces are packed into one buffer before they are sent, and unpacked from
 * one when they came: one copy at the speed of memcpy costs less than what a transport
 * does to gather many pieces. Large ones have requests of their own (io.c).
 */
#ifndef CLIENT_PIECES_H
#define CLIENT_PIECES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "planner.h"

/* Copies all pieces, one after the other, to `packed`. Empty ones may be NULL. */
void pieces_pack(const struct iovec *pieces, size_t piece_count, void *packed);

/* A place in the pieces, moving forward. */
struct pieces_place {
    const struct iovec *piece;
    size_t done; /* bytes of it */
};

/* Fills the next `length` bytes, which are there, from `source`, or with zeros when that is NULL. */
void pieces_fill(struct pieces_place *place, const void *source, uint64_t length);

/*
 * Puts what came of a read where it belongs, and zeros where nothing is. `packed` holds
 * present[i] bytes of extent i, one after the other (`present` NULL: all of all), and
 * may be the request's own memory when that is one piece.
 */
void pieces_unpack(const struct planner_request *request, const uint32_t *present, const void *packed);

#endif
