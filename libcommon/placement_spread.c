/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Better pairs for the targets whose recovery spreads worst, where that is below nine
 * tenths of the ideal: exchanges by which the worst gain, even if others lose more.
 * What counts is the measure of placement_measure.c, in whole numbers.
 * docs/placement.md, "The worst targets".
 */
#include "placement_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

enum { TRIES = 48, PASSES_UPHILL = 16, PASSES = 76 };

/* A target below this, in ten-thousandths, begins a search; it ends when all have a little more, so that
 * nine tenths are there whoever rounds. */
enum { POOR = 9000, GOAL = 9001 };

/* An exchange may lose so much, in the passes that are no more uphill only: less from pass to pass. */
#define LOSS_STEP 100

/* Pairs of slots looked at, at most, times four times the members of a group: some seconds. */
#define WORK_MAX UINT64_C(3000000000)

/* A new table is searched again where the proof's part has undone too much, so many times in all. */
enum { ROUNDS = 4 };

struct spread {
    struct placement_board *board;
    struct placement_ledger *ledger;
    struct placement_standing *standings; /* of each target */
    uint32_t *loose, loose_count;         /* slots that are exchanged with each other without a move more */
    uint8_t *domain_mark;                 /* of each domain: it has a member in the offer's group */
    int64_t least;                        /* an exchange gains more than this */
    uint32_t *kept; /* the board as it was at its best: members, where they are listed, lists */
    int64_t kept_loss;
    bool changed;
};

/* A slot that is to be exchanged. */
struct offer {
    uint32_t slot, target, first;              /* its member, and where its group begins */
    int64_t less;                              /* what its member would have less in place */
    int64_t hope;                              /* what the others gain at most */
    int64_t less_of[LIMITS_GROUP_MEMBERS_MAX]; /* and the others of the group, each */
};

/* Has a target less than so many ten-thousandths of the best? */
static bool any_below(const struct spread *spread, int64_t share)
{
    for (uint32_t t = 0; t < spread->board->pool->target_count; t++) {
        if (spread->standings[t].in_place * 10000 < spread->standings[t].best * share)
            return true;
    }
    return false;
}

/* ---- exchanges ------------------------------------------------------------------ */

static inline int64_t gain_of(const struct placement_standing *standing, int64_t more)
{
    return more ? standing->loss - placement_standing_loss(standing, standing->in_place + more) : 0;
}

/* Members of the offer's group are marked by their places, from 1; those of both groups by this as well. */
enum { IN_BOTH = 64 };

static void mark_group(struct spread *spread, uint32_t first, bool is_marked)
{
    const struct placement_board *board = spread->board;
    for (uint32_t i = 0; i < board->members; i++) {
        uint32_t member = board->member[first + i];
        board->mark[member] = is_marked ? (int32_t)i + 1 : 0;
        spread->domain_mark[spread->standings[member].domain] = is_marked;
    }
}

/* What changes by its member's going is the same whoever comes. */
static void make_offer(struct spread *spread, uint32_t slot, struct offer *offer)
{
    const struct placement_board *board = spread->board;
    uint32_t target = board->member[slot];
    const struct placement_standing *own = &spread->standings[target];
    const uint16_t *shared = placement_ledger_row(spread->ledger, target);
    *offer = (struct offer){.slot = slot, .target = target, .first = slot - slot % board->members};
    for (uint32_t i = 0; i < board->members; i++) {
        uint32_t other = board->member[offer->first + i];
        const struct placement_standing *standing = &spread->standings[other];
        if (offer->first + i == slot)
            continue;
        offer->less_of[i] = placement_standing_part(own, standing, shared[other]);
        offer->less += offer->less_of[i];
        offer->hope += gain_of(standing, (int64_t)PL_LOAD - offer->less_of[i]);
    }
    mark_group(spread, offer->first, true);
}

/* An exchange that is weighed: what it gains, and what the offer's member and the other one have more in
 * place, as far as it is known. */
struct weighing {
    int64_t gain, of_own, of_other;
    uint32_t in_both; /* members of both groups: for them nothing changes */
};

/* In the group of slot `b`, whose member leaves, and which that of the offer joins. False: somebody else
 * there is of its domain. */
static bool weigh_there(struct spread *spread, const struct offer *offer, uint32_t b, struct weighing *w)
{
    const struct placement_board *board = spread->board;
    const struct placement_standing *own = &spread->standings[offer->target];
    const struct placement_standing *leaver = &spread->standings[board->member[b]];
    const uint16_t *shared = placement_ledger_row(spread->ledger, offer->target);
    const uint16_t *shared_by_leaver = placement_ledger_row(spread->ledger, board->member[b]);
    uint32_t first = b - b % board->members;
    *w = (struct weighing){.of_own = -offer->less};
    for (uint32_t i = first; i < first + board->members; i++) {
        uint32_t other = board->member[i];
        const struct placement_standing *standing = &spread->standings[other];
        int32_t *mark = &board->mark[other];
        if (i == b)
            continue;
        if (standing->domain == own->domain)
            return false;
        if (*mark) {
            w->of_own += offer->less_of[*mark - 1];
            *mark |= IN_BOTH;
            w->in_both++;
            continue;
        }
        int64_t less = placement_standing_part(leaver, standing, shared_by_leaver[other]);
        int64_t more = placement_standing_part(own, standing, shared[other] + 1);
        w->of_other -= less;
        w->of_own += more;
        w->gain += gain_of(standing, more - less);
    }
    return true;
}

/* In the offer's own group, which `v` joins. */
static void weigh_here(const struct spread *spread, const struct offer *offer, uint32_t v, struct weighing *w)
{
    const struct placement_board *board = spread->board;
    const struct placement_standing *joiner = &spread->standings[v];
    const uint16_t *shared = placement_ledger_row(spread->ledger, v);
    for (uint32_t i = 0; i < board->members; i++) {
        uint32_t other = board->member[offer->first + i];
        const struct placement_standing *standing = &spread->standings[other];
        if (offer->first + i == offer->slot || board->mark[other] & IN_BOTH)
            continue;
        int64_t more = placement_standing_part(joiner, standing, shared[other] + 1);
        w->of_other += more;
        w->gain += gain_of(standing, more - offer->less_of[i]);
    }
}

static void unmark_both(const struct placement_board *board, const struct offer *offer)
{
    for (uint32_t i = offer->first; i < offer->first + board->members; i++)
        board->mark[board->member[i]] &= ~IN_BOTH;
}

/* Does the exchange gain enough, if it can be? Most can't, whatever the offer's own group has of it. */
static bool is_better(struct spread *spread, const struct offer *offer, uint32_t b)
{
    struct placement_board *board = spread->board;
    uint32_t u = offer->target, v = board->member[b];
    const struct placement_standing *own = &spread->standings[u], *other = &spread->standings[v];
    struct weighing w;
    int moves;
    board->work += 4 * (uint64_t)board->members;
    if (u == v || b - offer->first < board->members)
        return false;
    if (spread->domain_mark[other->domain] && other->domain != own->domain)
        return false;
    if (spread->ledger->old_slots && !placement_ledger_allows(spread->ledger, offer->slot, b, &moves))
        return false;
    bool is_hopeful = weigh_there(spread, offer, b, &w);
    if (is_hopeful) {
        int64_t most = w.of_other + (int64_t)(PL_LOAD * (board->members - 1 - w.in_both));
        w.gain += gain_of(own, w.of_own);
        is_hopeful = w.gain + offer->hope + gain_of(other, most) > spread->least;
    }
    if (is_hopeful)
        weigh_here(spread, offer, v, &w);
    unmark_both(board, offer);
    return is_hopeful && w.gain + gain_of(other, w.of_other) > spread->least;
}

/* Nothing more would be moved if somebody else stood there. */
static bool is_loose(const struct spread *spread, uint32_t slot)
{
    const struct placement_ledger *ledger = spread->ledger;
    return slot >= ledger->old_slots || placement_ledger_is_moved(ledger, slot, spread->board->member[slot]);
}

/* Is somebody of the slot's group below the aim? */
static bool is_wanting(const struct spread *spread, uint32_t slot)
{
    const struct placement_board *board = spread->board;
    uint32_t first = slot - slot % board->members;
    for (uint32_t i = first; i < first + board->members; i++) {
        const struct placement_standing *standing = &spread->standings[board->member[i]];
        if (standing->in_place < standing->aim)
            return true;
    }
    return false;
}

/* What its weighing reads comes from all over the matrix: it is asked for while the one before is weighed. */
static void fetch_ahead(const struct spread *spread, uint32_t b)
{
    const struct placement_board *board = spread->board;
    const uint16_t *shared = placement_ledger_row(spread->ledger, board->member[b]);
    for (uint32_t i = b - b % board->members, end = i + board->members; i < end; i++)
        __builtin_prefetch(&shared[board->member[i]]);
}

/* Slots to exchange slot `a` with: those of whoever stood there, then random ones. */
static uint32_t candidate(const struct spread *spread, const uint32_t *own, uint32_t own_count, uint32_t k)
{
    const struct placement_board *board = spread->board;
    if (k < own_count)
        return own[k];
    const bool full = spread->ledger->moved >= spread->ledger->moved_max;
    if (spread->ledger->old_slots && full)
        return spread->loose[placement_board_random_at(board, k - own_count, spread->loose_count)];
    return placement_board_random_at(board, k - own_count, board->slot_count);
}

/* The first exchange that gains enough, of those with slots of whoever stood here, and with random ones. */
static void improve_slot(struct spread *spread, uint32_t a)
{
    struct placement_board *board = spread->board;
    const struct placement_ledger *ledger = spread->ledger;
    uint32_t owner = a < ledger->old_slots ? ledger->old[a] : PL_NOBODY, found = PL_NOBODY, k;
    uint32_t own_count = owner == PL_NOBODY ? 0 : board->count[owner];
    const uint32_t *own = owner == PL_NOBODY ? NULL : board->places + board->first[owner];
    struct offer offer;
    make_offer(spread, a, &offer);
    uint32_t next = candidate(spread, own, own_count, 0);
    for (k = 0; k < own_count + TRIES && found == PL_NOBODY; k++) {
        uint32_t b = next;
        next = candidate(spread, own, own_count, k + 1);
        fetch_ahead(spread, next);
        if (is_better(spread, &offer, b))
            found = b;
    }
    if (k > own_count)
        placement_board_random_skip(board, k - own_count);
    mark_group(spread, offer.first, false);
    if (found == PL_NOBODY)
        return;
    placement_standing_exchange(spread->ledger, spread->standings, a, found);
    spread->changed = true;
}

/* One look at all slots that are loose, in groups in want of better; -ECANCELED. */
static int pass(struct spread *spread)
{
    struct placement_board *board = spread->board;
    spread->changed = false;
    spread->loose_count = 0;
    if (placement_board_report(board))
        return -ECANCELED;
    for (uint32_t slot = 0; slot < board->slot_count; slot++) {
        if (is_loose(spread, slot))
            spread->loose[spread->loose_count++] = slot;
    }
    for (uint32_t slot = 0; slot < board->slot_count && board->work < board->work_max; slot++) {
        if (is_loose(spread, slot) && is_wanting(spread, slot))
            improve_slot(spread, slot);
    }
    return 0;
}

/* ---- the search -------------------------------------------------------------------- */

static int64_t greatest_loss(const struct spread *spread)
{
    int64_t greatest = 0;
    for (uint32_t t = 0; t < spread->board->pool->target_count; t++) {
        int64_t loss = spread->standings[t].loss;
        greatest = loss > greatest ? loss : greatest;
    }
    return greatest;
}

static size_t place_count(const struct placement_board *board)
{
    uint32_t last = board->pool->target_count - 1;
    return (size_t)board->first[last] + board->room[last] + 1;
}

/* Keeps the board if it is better for the worst target than what is kept. */
static void keep(struct spread *spread)
{
    const struct placement_board *board = spread->board;
    size_t size = board->slot_count * sizeof *spread->kept;
    int64_t loss = greatest_loss(spread);
    if (loss >= spread->kept_loss)
        return;
    spread->kept_loss = loss;
    memcpy(spread->kept, board->member, size);
    memcpy(spread->kept + board->slot_count, board->at, size);
    memcpy(spread->kept + 2 * (size_t)board->slot_count, board->places,
           place_count(board) * sizeof *board->places);
}

/* Puts back what is kept. The ledger and the measure are not: nobody asks them any more. */
static void restore(const struct spread *spread)
{
    struct placement_board *board = spread->board;
    size_t size = board->slot_count * sizeof *spread->kept;
    memcpy(board->member, spread->kept, size);
    memcpy(board->at, spread->kept + board->slot_count, size);
    memcpy(board->places, spread->kept + 2 * (size_t)board->slot_count,
           place_count(board) * sizeof *board->places);
}

/* The pass after this one, if each takes as much work: some are left out when not all would be done. */
static uint32_t next_pass(const struct placement_board *board, uint32_t pass, uint64_t work)
{
    uint64_t left = board->work < board->work_max ? board->work_max - board->work : 0;
    uint32_t passes = PASSES - 1 - pass, possible = passes;
    if (work && left / work < passes)
        possible = (uint32_t)(left / work);
    if (pass < PASSES_UPHILL || passes == 0)
        return pass + 1;
    return pass + (possible ? (passes + possible - 1) / possible : passes);
}

/* Uphill only at first; where that leads to no good end, with steps down that get smaller. */
static int run(struct spread *spread, uint64_t work)
{
    struct placement_board *board = spread->board;
    int error = 0;
    board->work_max = board->work + work;
    spread->kept_loss = INT64_MAX;
    keep(spread);
    for (uint32_t i = 0; i < PASSES && !error && board->work < board->work_max && any_below(spread, GOAL);) {
        uint64_t before = board->work;
        spread->least = i < PASSES_UPHILL ? 0 : -LOSS_STEP * (int64_t)(PASSES - 1 - i);
        error = pass(spread);
        keep(spread);
        if (i < PASSES_UPHILL && !spread->changed)
            i = PASSES_UPHILL;
        else
            i = next_pass(board, i, board->work - before);
    }
    if (any_below(spread, GOAL))
        restore(spread);
    return error ? error : 1;
}

/* Such a domain is in every group: who meets its targets is forced. */
static bool any_capped(const struct placement_pool *pool)
{
    for (uint32_t d = 0; d < pool->domain_count; d++) {
        if (pool->domains[d].capped)
            return true;
    }
    return false;
}

static int begin(struct placement_ledger *ledger, struct spread *spread)
{
    struct placement_board *board = ledger->board;
    *spread = (struct spread){.board = board, .ledger = ledger};
    spread->loose = malloc((size_t)board->slot_count * sizeof *spread->loose);
    spread->domain_mark = calloc(board->pool->domain_count, sizeof *spread->domain_mark);
    spread->kept = malloc((2 * (size_t)board->slot_count + place_count(board)) * sizeof *spread->kept);
    if (!spread->loose || !spread->domain_mark || !spread->kept)
        return err_set(-ENOMEM, "out of memory for a placement of %u targets", board->pool->target_count);
    return placement_standing_make(ledger, &spread->standings);
}

static void end(struct spread *spread)
{
    free(spread->standings);
    free(spread->loose);
    free(spread->domain_mark);
    free(spread->kept);
}

/* *work: how much may be done, less what is. 1: there was a poor target; 0: nothing was done. */
static int raise_once(struct placement_ledger *ledger, uint64_t *work)
{
    struct spread spread;
    uint64_t before = ledger->board->work;
    int error = begin(ledger, &spread);
    if (!error && any_below(&spread, POOR))
        error = run(&spread, *work);
    end(&spread);
    uint64_t done = ledger->board->work - before;
    *work -= done < *work ? done : *work;
    return error;
}

int placement_spread_raise(struct placement_ledger *ledger)
{
    uint64_t work = WORK_MAX;
    int error = any_capped(ledger->board->pool) ? 0 : raise_once(ledger, &work);
    return error < 0 ? error : 0;
}

/* The search, and the proof's part, which exchanges what two targets share too often and may make one poor
 * again. */
static int raise_and_prove(struct placement_board *board, uint64_t *work)
{
    struct placement_ledger ledger;
    int error = placement_ledger_make(board, NULL, 0, 0, &ledger);
    if (error)
        return error;
    error = raise_once(&ledger, work);
    placement_ledger_free(&ledger);
    if (error <= 0)
        return error;
    error = placement_swap_prove(board);
    return error ? error : 1;
}

int placement_spread_raise_new(struct placement_board *board)
{
    uint64_t work = WORK_MAX;
    int error = 1;
    if (any_capped(board->pool) || !placement_ledger_is_useful(board))
        return 0;
    for (uint32_t round = 0; round < ROUNDS && error > 0; round++)
        error = raise_and_prove(board, &work);
    return error < 0 ? error : 0;
}
