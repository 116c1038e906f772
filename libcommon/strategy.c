/* SPDX-License-Identifier: Apache-2.0 */
#include "strategy.h"

#include <stddef.h>

/* Where the one method becomes faster than the other; see docs/performance.md. Below so many bytes in
 * a piece it is two-phase: for a write, which can be gathered instead, and for a read, which can't. */
#define TINY_WRITE                  384
#define TINY_READ                   768
/* Pieces of so many bytes are worth a store operation each: less than what is gathered when the user
 * asks for as few of them as can be. */
#define GATHER_PIECE_AUTO           4096
#define GATHER_PIECE_MAX            65536
/* Bounds of what gathering has to count: chunks of a call, and a rank's pieces in one chunk. */
#define GATHER_CHUNKS_MAX           65536
#define GATHER_PIECES_PER_CHUNK_MAX 16384

/* What all ranks' parts come to. */
struct sum {
    int64_t start, end;
    int64_t bytes, pieces;
    int64_t mean; /* bytes of a piece */
    bool is_interleaved;
    bool rises;
};

static struct sum add_up(const struct reach *reaches, int ranks)
{
    struct sum sum = {.start = INT64_MAX, .end = -1, .rises = true};
    const struct reach *before = NULL;
    for (int rank = 0; rank < ranks; rank++) {
        const struct reach *reach = &reaches[rank];
        if (reach->bytes == 0)
            continue;
        if (before != NULL && reach->start <= before->end)
            sum.is_interleaved = true;
        before = reach;
        if (sum.start > reach->start)
            sum.start = reach->start;
        if (sum.end < reach->end)
            sum.end = reach->end;
        sum.bytes += reach->bytes;
        sum.pieces += reach->pieces;
        sum.rises = sum.rises && reach->rises;
    }
    sum.mean = sum.pieces > 0 ? sum.bytes / sum.pieces : 0;
    return sum;
}

static bool can_gather(const struct sum *sum, int ranks, int64_t chunk_size)
{
    return (sum->end / chunk_size - sum->start / chunk_size) < GATHER_CHUNKS_MAX &&
           chunk_size / ranks / (sum->mean > 0 ? sum->mean : 1) < GATHER_PIECES_PER_CHUNK_MAX;
}

static struct choice choose_direct(const struct sum *sum, bool is_write, int64_t piece_max, int ranks,
                                   int64_t chunk_size, const char *why_separate, const char *why_gather)
{
    if (is_write && sum->is_interleaved && sum->mean < piece_max && can_gather(sum, ranks, chunk_size))
        return (struct choice){METHOD_GATHER, why_gather};
    return (struct choice){METHOD_SEPARATE, why_separate};
}

struct choice strategy_choose(enum strategy asked, bool is_write, const struct reach *reaches, int ranks,
                              int64_t chunk_size)
{
    struct sum sum = add_up(reaches, ranks);
    if (sum.bytes == 0)
        return (struct choice){METHOD_SEPARATE, "no rank has anything to do"};
    if (!sum.rises)
        return (struct choice){METHOD_SEPARATE, "a rank's file view goes back"};
    if (asked == STRATEGY_TWO_PHASE)
        return (struct choice){METHOD_TWO_PHASE, "asked for"};
    if (asked == STRATEGY_DIRECT)
        return choose_direct(&sum, is_write, GATHER_PIECE_MAX, ranks, chunk_size, "asked for",
                             "asked for, and pieces are small");
    if (!sum.is_interleaved)
        return (struct choice){METHOD_SEPARATE, "the ranks' parts don't interleave"};
    if (sum.mean < (is_write ? TINY_WRITE : TINY_READ))
        return (struct choice){METHOD_TWO_PHASE, "interleaved in tiny pieces"};
    return choose_direct(&sum, is_write, GATHER_PIECE_AUTO, ranks, chunk_size, "interleaved in large pieces",
                         "interleaved in small pieces");
}

bool strategy_is_known(enum strategy asked, bool is_write, int64_t grain, struct choice *choice)
{
    *choice = (struct choice){METHOD_SEPARATE, "asked for"};
    if (asked == STRATEGY_DIRECT)
        return !is_write || grain >= GATHER_PIECE_MAX;
    if (asked != STRATEGY_AUTO)
        return false;
    choice->reason =
        grain == INT64_MAX ? "the file views are contiguous" : "the file views' pieces are large";
    return grain >= (is_write ? GATHER_PIECE_AUTO : TINY_READ);
}

const char *strategy_method_name(enum method method)
{
    static const char *const names[METHOD_COUNT] = {
        [METHOD_SEPARATE] = "separate",
        [METHOD_GATHER] = "gather",
        [METHOD_TWO_PHASE] = "two_phase",
    };
    return names[method];
}
