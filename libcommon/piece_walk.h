/* SPDX-License-Identifier: Apache-2.0 */
/*
 * piece_walk.h: what one rank has to do in a call of all ranks: pieces that are gone through once, from the
 * first to the last. Whoever has them says how; the drivers have different lists.
 */
#ifndef COMMON_PIECE_WALK_H
#define COMMON_PIECE_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A run that is unbroken in memory and in the file. */
struct piece {
    char *memory;
    int64_t offset;
    int64_t length;
};

struct piece_walk {
    void *at; /* how far one has come. A copy of its bytes can go on by itself */
    size_t at_bytes;
    /* Takes the next piece, cut at `file_end`; false when it begins there or behind, or nothing is left. */
    bool (*next)(void *at, int64_t file_end, struct piece *piece);
    /* Where the next piece begins; INT64_MAX when nothing is left. */
    int64_t (*offset)(void *at);
};

#endif
