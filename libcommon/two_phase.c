/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two-phase I/O goes in rounds. A round is about one window of the file, which begins where
 * the first byte is that some rank has left; so windows in which nobody has anything cost nothing. In
 * each round every rank tells each aggregator which of the aggregator's bytes it has.
 *   write: it sends the bytes too. The aggregator puts them in order and starts to write
 *          them; the write ends while the next round's data is on its way.
 *   read:  the aggregator reads what was asked for, and sends everyone his bytes.
 * An error does not keep a rank from the exchanges that the others wait for.
 */
#include "two_phase.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "domains.h"
#include "runs.h"

enum { TAG_RUNS = 1901, TAG_BYTES = 1902 }; /* none that ROMIO uses on this communicator */

/* What one rank has for one aggregator in a round. */
struct parcel {
    struct runs runs;
    char *bytes; /* for a read, behind the END_BYTES of an offset */
    size_t room;
    char *at; /* how far it was unpacked */
};

/* An aggregator tells with each reply to a read where the file ended for it. */
#define END_BYTES (int64_t)sizeof(int64_t)

/* What a rank tells each of the others before a round. */
struct notice {
    int64_t runs; /* for that one as an aggregator */
    int64_t bytes;
    int64_t next; /* offset of the first byte that is left after the round; INT64_MAX: none */
};

/* An aggregator's own bytes of the file in a round. */
struct block {
    char *buffer;
    size_t room;
    struct merge_extents extents;
    weft_op_t *op; /* the write under way; NULL: none */
};

struct two_phase {
    const struct two_phase_call *call;
    const struct piece_walk *part; /* this rank's */
    struct piece_walk ahead;       /* of a read: what is told, before the bytes come */
    int rank, ranks;
    struct domains domains;
    bool is_aggregator;
    int64_t window_end;
    struct parcel *out;          /* by aggregator: what this rank has for it */
    struct parcel *in;           /* by rank: what each has for this aggregator */
    struct notice *told, *heard; /* by rank */
    struct merge_source *sources;
    MPI_Datatype run_type; /* a count of these stays below 2^31 where one of bytes might not */
    MPI_Request *requests;
    MPI_Status *statuses; /* not looked at, but gcc warns of what MPICH has for ignored ones */
    int request_count;
    struct block blocks[2]; /* taken in turn */
    unsigned round;
    int64_t moved;  /* of this rank, up to the end of the file */
    bool is_at_end; /* a read met the end of the file */
    int error;      /* the latest, whose text weft_error() has */
};

static void *checked(void *memory, size_t bytes)
{
    if (memory == NULL) {
        fprintf(stderr, "weft: out of memory for %zu bytes of a collective call\n", bytes);
        abort();
    }
    return memory;
}

static void *zeros(size_t count, size_t size)
{
    return checked(calloc(count, size), count * size);
}

static void make_room(char **bytes, size_t *room, size_t wanted)
{
    if (wanted <= *room)
        return;
    free(*bytes);
    *room = wanted;
    *bytes = checked(malloc(wanted), wanted);
}

static bool is_in_order(const struct two_phase *two)
{
    return two->error == 0 && !two->call->has_failed;
}

/* ---- this rank's part ------------------------------------------------- */

/* Calls `visit` for each run of the part in the window, cut where another aggregator's begin. */
typedef void visit_fn(struct two_phase *two, struct parcel *parcel, const struct piece *piece);

static void visit_window(struct two_phase *two, const struct piece_walk *part, visit_fn *visit)
{
    int64_t offset, end;
    struct piece piece;
    while ((offset = part->offset(part->at)) < two->window_end) {
        struct parcel *parcel = &two->out[domains_owner(&two->domains, offset, &end)];
        while (part->next(part->at, end < two->window_end ? end : two->window_end, &piece))
            visit(two, parcel, &piece);
    }
}

static void tell(struct two_phase *two, struct parcel *parcel, const struct piece *piece)
{
    (void)two;
    runs_add(&parcel->runs, piece->offset, piece->length);
}

static void pack(struct two_phase *two, struct parcel *parcel, const struct piece *piece)
{
    size_t packed = (size_t)parcel->runs.bytes, wanted = packed + (size_t)piece->length;
    tell(two, parcel, piece);
    if (wanted > parcel->room) {
        parcel->room = wanted > 2 * parcel->room ? wanted : 2 * parcel->room;
        parcel->bytes = checked(realloc(parcel->bytes, parcel->room), parcel->room);
    }
    memcpy(parcel->bytes + packed, piece->memory, (size_t)piece->length);
}

/* Nothing behind the end of the file is touched in the user's memory. */
static void unpack(struct two_phase *two, struct parcel *parcel, const struct piece *piece)
{
    int64_t end, length = piece->length;
    memcpy(&end, parcel->bytes, sizeof end);
    if (piece->offset + length > end)
        length = piece->offset < end ? end - piece->offset : 0;
    memcpy(piece->memory, parcel->at, (size_t)length);
    parcel->at += piece->length;
    if (!two->is_at_end)
        two->moved += length;
    two->is_at_end = two->is_at_end || length < piece->length;
}

/* Describes this rank's part of the window, and packs it for a write. For a read the part
 * stays where it is, since its bytes are yet to come. */
static void part_begin(struct two_phase *two)
{
    const struct piece_walk *part = two->call->is_write ? two->part : &two->ahead;
    if (!two->call->is_write)
        memcpy(two->ahead.at, two->part->at, two->part->at_bytes);
    for (int i = 0; i < two->domains.aggregators; i++)
        runs_clear(&two->out[i].runs);
    visit_window(two, part, two->call->is_write ? pack : tell);
    for (int i = 0; i < two->domains.aggregators; i++) {
        struct notice *notice = &two->told[two->call->aggregators[i]];
        notice->runs = (int64_t)two->out[i].runs.count;
        notice->bytes = two->out[i].runs.bytes;
        if (!two->call->is_write)
            make_room(&two->out[i].bytes, &two->out[i].room, (size_t)(END_BYTES + notice->bytes));
    }
    for (int rank = 0; rank < two->ranks; rank++)
        two->told[rank].next = part->offset(part->at);
}

/* ---- between the ranks ------------------------------------------------ */

static void give(struct two_phase *two, const void *data, int64_t count, MPI_Datatype type, int rank, int tag)
{
    if (count > 0)
        MPI_Isend(data, (int)count, type, rank, tag, two->call->comm, &two->requests[two->request_count++]);
}

static void take(struct two_phase *two, void *data, int64_t count, MPI_Datatype type, int rank, int tag)
{
    if (count > 0)
        MPI_Irecv(data, (int)count, type, rank, tag, two->call->comm, &two->requests[two->request_count++]);
}

static void wait_for_all(struct two_phase *two)
{
    MPI_Waitall(two->request_count, two->requests, two->statuses);
    two->request_count = 0;
}

/* What others have for this aggregator, with the bytes of a write. */
static void receive_parts(struct two_phase *two)
{
    int64_t head = two->call->is_write ? 0 : END_BYTES;
    for (int rank = 0; rank < two->ranks; rank++) {
        struct parcel *parcel = &two->in[rank];
        const struct notice *notice = &two->heard[rank];
        if (rank == two->rank)
            continue;
        runs_reserve(&parcel->runs, (size_t)notice->runs, notice->bytes);
        make_room(&parcel->bytes, &parcel->room, (size_t)(head + notice->bytes));
        take(two, parcel->runs.list, notice->runs, two->run_type, rank, TAG_RUNS);
        if (two->call->is_write)
            take(two, parcel->bytes, notice->bytes, MPI_BYTE, rank, TAG_BYTES);
    }
}

/* An aggregator's own part goes no way: it changes places with what would be received. */
static void swap_own(struct two_phase *two, int aggregator)
{
    struct parcel own = two->out[aggregator];
    two->out[aggregator] = two->in[two->rank];
    two->in[two->rank] = own;
}

static void send_parts(struct two_phase *two)
{
    for (int i = 0; i < two->domains.aggregators; i++) {
        const struct parcel *parcel = &two->out[i];
        int rank = two->call->aggregators[i];
        if (rank == two->rank) {
            swap_own(two, i);
            continue;
        }
        give(two, parcel->runs.list, (int64_t)parcel->runs.count, two->run_type, rank, TAG_RUNS);
        if (two->call->is_write)
            give(two, parcel->bytes, parcel->runs.bytes, MPI_BYTE, rank, TAG_BYTES);
    }
}

/* Returns where the next window begins; INT64_MAX: nobody has anything left. */
static int64_t exchange(struct two_phase *two)
{
    MPI_Alltoall(two->told, sizeof *two->told, MPI_BYTE, two->heard, sizeof *two->heard, MPI_BYTE,
                 two->call->comm);
    if (two->is_aggregator)
        receive_parts(two);
    send_parts(two);
    wait_for_all(two);
    int64_t next = INT64_MAX;
    for (int rank = 0; rank < two->ranks; rank++)
        if (two->heard[rank].next < next)
            next = two->heard[rank].next;
    return next;
}

/* ---- an aggregator's part --------------------------------------------- */

/* Lists what the ranks have here; the bytes of the file that it comes to. */
static int64_t sources_list(struct two_phase *two, int64_t head)
{
    int64_t bytes = 0;
    for (int rank = 0; rank < two->ranks; rank++) {
        struct parcel *parcel = &two->in[rank];
        two->sources[rank] = (struct merge_source){.runs = &parcel->runs, .bytes = parcel->bytes + head};
        bytes += parcel->runs.bytes;
    }
    return bytes;
}

static void block_wait(struct two_phase *two, struct block *block)
{
    if (block->op == NULL)
        return;
    ssize_t result = weft_wait(block->op);
    block->op = NULL;
    if (result < 0)
        two->error = (int)result;
}

static void aggregate_write(struct two_phase *two)
{
    struct block *block = &two->blocks[two->round % 2];
    int64_t bytes = sources_list(two, 0);
    block_wait(two, block);
    if (bytes == 0 || !is_in_order(two))
        return;
    make_room(&block->buffer, &block->room, (size_t)bytes);
    block->extents.count = 0;
    bytes = merge(two->sources, (size_t)two->ranks, MERGE_IN, block->buffer, &block->extents);
    struct iovec iov = {.iov_base = block->buffer, .iov_len = (size_t)bytes};
    int error = weft_file_write_list_async(two->call->file, &iov, 1, block->extents.list,
                                           block->extents.count, &block->op);
    if (error < 0)
        two->error = error;
}

/* Where the file ended for a read of these extents that found so many bytes. */
static int64_t end_of(const struct merge_extents *extents, int64_t found)
{
    for (size_t i = 0; i < extents->count; i++) {
        const struct weft_extent *extent = &extents->list[i];
        if ((uint64_t)found < extent->length)
            return (int64_t)extent->offset + found;
        found -= (int64_t)extent->length;
    }
    return INT64_MAX;
}

static void aggregate_read(struct two_phase *two)
{
    struct block *block = &two->blocks[0];
    int64_t bytes = sources_list(two, END_BYTES), end = 0;
    if (bytes > 0 && is_in_order(two)) {
        make_room(&block->buffer, &block->room, (size_t)bytes);
        block->extents.count = 0;
        bytes = merge(two->sources, (size_t)two->ranks, MERGE_LIST, NULL, &block->extents);
        struct iovec iov = {.iov_base = block->buffer, .iov_len = (size_t)bytes};
        ssize_t found =
            weft_file_read_list(two->call->file, &iov, 1, block->extents.list, block->extents.count);
        if (found < 0)
            two->error = (int)found;
        else
            end = end_of(&block->extents, found);
        if (found < bytes) /* what is sent all the same, and looked at by nobody */
            memset(block->buffer + (found > 0 ? found : 0), 0, (size_t)(bytes - (found > 0 ? found : 0)));
        merge(two->sources, (size_t)two->ranks, MERGE_OUT, block->buffer, NULL);
    }
    for (int rank = 0; rank < two->ranks; rank++)
        if (two->in[rank].runs.count > 0)
            memcpy(two->in[rank].bytes, &end, sizeof end);
}

/* The way back of what was read. */
static void reply(struct two_phase *two)
{
    for (int i = 0; i < two->domains.aggregators; i++) {
        struct parcel *parcel = &two->out[i];
        int rank = two->call->aggregators[i];
        if (rank != two->rank && parcel->runs.count > 0)
            take(two, parcel->bytes, END_BYTES + parcel->runs.bytes, MPI_BYTE, rank, TAG_BYTES);
    }
    for (int rank = 0; rank < two->ranks && two->is_aggregator; rank++) {
        const struct parcel *parcel = &two->in[rank];
        if (rank != two->rank && parcel->runs.count > 0)
            give(two, parcel->bytes, END_BYTES + parcel->runs.bytes, MPI_BYTE, rank, TAG_BYTES);
    }
    wait_for_all(two);
    for (int i = 0; i < two->domains.aggregators; i++) {
        if (two->call->aggregators[i] == two->rank)
            swap_own(two, i);
        two->out[i].at = two->out[i].bytes + END_BYTES;
    }
}

static int64_t run_round(struct two_phase *two, int64_t start)
{
    two->window_end = start + two->domains.window;
    part_begin(two);
    int64_t next = exchange(two);
    if (two->is_aggregator) {
        if (two->call->is_write)
            aggregate_write(two);
        else
            aggregate_read(two);
    }
    if (!two->call->is_write) {
        reply(two);
        visit_window(two, two->part, unpack);
    }
    two->round++;
    return next;
}

/* ---- the call --------------------------------------------------------- */

static void begin(struct two_phase *two)
{
    const struct two_phase_call *call = two->call;
    struct weft_layout layout;
    weft_file_layout(call->file, &layout);
    MPI_Comm_rank(call->comm, &two->rank);
    MPI_Comm_size(call->comm, &two->ranks);
    domains_init(&two->domains, call->aggregator_count, (int64_t)layout.chunk_size, layout.stripe_count,
                 call->buffer_bytes);
    for (int i = 0; i < two->domains.aggregators; i++)
        two->is_aggregator = two->is_aggregator || call->aggregators[i] == two->rank;
    size_t ranks = (size_t)two->ranks, aggregators = (size_t)two->domains.aggregators;
    two->ahead = *two->part;
    two->ahead.at = zeros(1, two->part->at_bytes);
    two->out = zeros(aggregators, sizeof *two->out);
    two->in = zeros(ranks, sizeof *two->in);
    two->told = zeros(ranks, sizeof *two->told);
    two->heard = zeros(ranks, sizeof *two->heard);
    two->sources = zeros(ranks, sizeof *two->sources);
    two->requests = zeros(2 * (ranks + aggregators), sizeof *two->requests);
    two->statuses = zeros(2 * (ranks + aggregators), sizeof *two->statuses);
    MPI_Type_contiguous(sizeof(struct run), MPI_BYTE, &two->run_type);
    MPI_Type_commit(&two->run_type);
}

static void parcels_free(struct parcel *parcels, int count)
{
    for (int i = 0; i < count; i++) {
        runs_free(&parcels[i].runs);
        free(parcels[i].bytes);
    }
    free(parcels);
}

static void end(struct two_phase *two)
{
    for (int i = 0; i < 2; i++) {
        struct block *block = &two->blocks[i];
        block_wait(two, block);
        free(block->extents.list);
        free(block->buffer);
    }
    parcels_free(two->out, two->domains.aggregators);
    parcels_free(two->in, two->ranks);
    free(two->ahead.at);
    free(two->told);
    free(two->heard);
    free(two->sources);
    free(two->requests);
    free(two->statuses);
    MPI_Type_free(&two->run_type);
}

int two_phase(const struct two_phase_call *call, const struct piece_walk *part, int64_t *moved)
{
    struct two_phase two = {.call = call, .part = part};
    int64_t next = INT64_MAX;
    begin(&two);
    for (int rank = 0; rank < two.ranks; rank++)
        if (call->reaches[rank].bytes > 0 && call->reaches[rank].start < next)
            next = call->reaches[rank].start;
    while (next != INT64_MAX)
        next = run_round(&two, domains_start(&two.domains, next));
    end(&two);
    *moved = call->is_write ? call->reaches[two.rank].bytes : two.moved;
    return two.error;
}
