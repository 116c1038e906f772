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
#include <stdlib.h>
#include <string.h>

#include "domains.h"
#include "runs.h"
#include "two_phase.h"

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
    ADIO_File fd;
    weft_file_t *file;
    bool is_write;
    int rank, ranks;
    struct domains domains;
    const int *aggregators; /* their ranks */
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
    int64_t moved;           /* of this rank, up to the end of the file */
    bool is_at_end;          /* a read met the end of the file */
    struct failure *failure; /* the first */
};

static void fail(struct two_phase *two, int error)
{
    if (two->failure->class == MPI_SUCCESS)
        failure_set(two->failure, error);
}

static void make_room(char **bytes, size_t *room, size_t wanted)
{
    if (wanted <= *room)
        return;
    if (*bytes != NULL)
        ADIOI_Free(*bytes);
    *room = wanted;
    *bytes = ADIOI_Malloc(wanted);
}

/* ---- this rank's part ------------------------------------------------- */

/* Calls `visit` for each run of the access in the window, cut where another aggregator's begin. */
typedef void visit_fn(struct two_phase *two, struct parcel *parcel, const struct piece *piece);

static void walk(struct two_phase *two, struct access *access, visit_fn *visit)
{
    int64_t offset, end;
    struct piece piece;
    while ((offset = access_offset(access)) < two->window_end) {
        struct parcel *parcel = &two->out[domains_owner(&two->domains, offset, &end)];
        while (access_next(access, end < two->window_end ? end : two->window_end, &piece))
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
        parcel->bytes =
            parcel->bytes != NULL ? ADIOI_Realloc(parcel->bytes, parcel->room) : ADIOI_Malloc(parcel->room);
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

/* Describes this rank's part of the window, and packs it for a write. For a read the access
 * stays where it is, since its bytes are yet to come. */
static void part_begin(struct two_phase *two, struct access *access)
{
    struct access ahead = *access;
    for (int i = 0; i < two->domains.aggregators; i++)
        runs_clear(&two->out[i].runs);
    if (two->is_write)
        walk(two, access, pack);
    else
        walk(two, &ahead, tell);
    for (int i = 0; i < two->domains.aggregators; i++) {
        struct notice *notice = &two->told[two->aggregators[i]];
        notice->runs = (int64_t)two->out[i].runs.count;
        notice->bytes = two->out[i].runs.bytes;
        if (!two->is_write)
            make_room(&two->out[i].bytes, &two->out[i].room, (size_t)(END_BYTES + notice->bytes));
    }
    for (int rank = 0; rank < two->ranks; rank++)
        two->told[rank].next = access_offset(two->is_write ? access : &ahead);
}

/* ---- between the ranks ------------------------------------------------ */

static void give(struct two_phase *two, const void *data, int64_t count, MPI_Datatype type, int rank, int tag)
{
    if (count > 0)
        MPI_Isend(data, (int)count, type, rank, tag, two->fd->comm, &two->requests[two->request_count++]);
}

static void take(struct two_phase *two, void *data, int64_t count, MPI_Datatype type, int rank, int tag)
{
    if (count > 0)
        MPI_Irecv(data, (int)count, type, rank, tag, two->fd->comm, &two->requests[two->request_count++]);
}

static void wait_for_all(struct two_phase *two)
{
    MPI_Waitall(two->request_count, two->requests, two->statuses);
    two->request_count = 0;
}

/* What others have for this aggregator, with the bytes of a write. */
static void receive_parts(struct two_phase *two)
{
    int64_t head = two->is_write ? 0 : END_BYTES;
    for (int rank = 0; rank < two->ranks; rank++) {
        struct parcel *parcel = &two->in[rank];
        const struct notice *notice = &two->heard[rank];
        if (rank == two->rank)
            continue;
        runs_reserve(&parcel->runs, (size_t)notice->runs, notice->bytes);
        make_room(&parcel->bytes, &parcel->room, (size_t)(head + notice->bytes));
        take(two, parcel->runs.list, notice->runs, two->run_type, rank, TAG_RUNS);
        if (two->is_write)
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
        int rank = two->aggregators[i];
        if (rank == two->rank) {
            swap_own(two, i);
            continue;
        }
        give(two, parcel->runs.list, (int64_t)parcel->runs.count, two->run_type, rank, TAG_RUNS);
        if (two->is_write)
            give(two, parcel->bytes, parcel->runs.bytes, MPI_BYTE, rank, TAG_BYTES);
    }
}

/* Returns where the next window begins; INT64_MAX: nobody has anything left. */
static int64_t exchange(struct two_phase *two)
{
    MPI_Alltoall(two->told, sizeof *two->told, MPI_BYTE, two->heard, sizeof *two->heard, MPI_BYTE,
                 two->fd->comm);
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
        fail(two, (int)result);
}

static void aggregate_write(struct two_phase *two)
{
    struct block *block = &two->blocks[two->round % 2];
    int64_t bytes = sources_list(two, 0);
    block_wait(two, block);
    if (bytes == 0 || two->failure->class != MPI_SUCCESS)
        return;
    make_room(&block->buffer, &block->room, (size_t)bytes);
    block->extents.count = 0;
    bytes = merge(two->sources, (size_t)two->ranks, MERGE_IN, block->buffer, &block->extents);
    struct iovec iov = {.iov_base = block->buffer, .iov_len = (size_t)bytes};
    int error =
        weft_file_write_list_async(two->file, &iov, 1, block->extents.list, block->extents.count, &block->op);
    if (error < 0)
        fail(two, error);
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
    if (bytes > 0 && two->failure->class == MPI_SUCCESS) {
        make_room(&block->buffer, &block->room, (size_t)bytes);
        block->extents.count = 0;
        bytes = merge(two->sources, (size_t)two->ranks, MERGE_LIST, NULL, &block->extents);
        struct iovec iov = {.iov_base = block->buffer, .iov_len = (size_t)bytes};
        ssize_t found = weft_file_read_list(two->file, &iov, 1, block->extents.list, block->extents.count);
        if (found < 0)
            fail(two, (int)found);
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
        int rank = two->aggregators[i];
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
        if (two->aggregators[i] == two->rank)
            swap_own(two, i);
        two->out[i].at = two->out[i].bytes + END_BYTES;
    }
}

static int64_t run_round(struct two_phase *two, struct access *access, int64_t start)
{
    two->window_end = start + two->domains.window;
    part_begin(two, access);
    int64_t next = exchange(two);
    if (two->is_aggregator) {
        if (two->is_write)
            aggregate_write(two);
        else
            aggregate_read(two);
    }
    if (!two->is_write) {
        reply(two);
        walk(two, access, unpack);
    }
    two->round++;
    return next;
}

/* ---- the call --------------------------------------------------------- */

static void begin(struct two_phase *two)
{
    struct weft_layout layout;
    weft_file_layout(two->file, &layout);
    MPI_Comm_rank(two->fd->comm, &two->rank);
    MPI_Comm_size(two->fd->comm, &two->ranks);
    domains_init(&two->domains, two->fd->hints->cb_nodes, (int64_t)layout.chunk_size, layout.stripe_count,
                 two->fd->hints->cb_buffer_size);
    two->aggregators = two->fd->hints->ranklist;
    for (int i = 0; i < two->domains.aggregators; i++)
        two->is_aggregator = two->is_aggregator || two->aggregators[i] == two->rank;
    size_t ranks = (size_t)two->ranks, aggregators = (size_t)two->domains.aggregators;
    two->out = ADIOI_Calloc(aggregators, sizeof *two->out);
    two->in = ADIOI_Calloc(ranks, sizeof *two->in);
    two->told = ADIOI_Calloc(ranks, sizeof *two->told);
    two->heard = ADIOI_Calloc(ranks, sizeof *two->heard);
    two->sources = ADIOI_Calloc(ranks, sizeof *two->sources);
    two->requests = ADIOI_Calloc(2 * (ranks + aggregators), sizeof *two->requests);
    two->statuses = ADIOI_Calloc(2 * (ranks + aggregators), sizeof *two->statuses);
    MPI_Type_contiguous(sizeof(struct run), MPI_BYTE, &two->run_type);
    MPI_Type_commit(&two->run_type);
}

static void parcels_free(struct parcel *parcels, int count)
{
    for (int i = 0; i < count; i++) {
        runs_free(&parcels[i].runs);
        if (parcels[i].bytes != NULL)
            ADIOI_Free(parcels[i].bytes);
    }
    ADIOI_Free(parcels);
}

static void end(struct two_phase *two)
{
    for (int i = 0; i < 2; i++) {
        struct block *block = &two->blocks[i];
        block_wait(two, block);
        free(block->extents.list);
        if (block->buffer != NULL)
            ADIOI_Free(block->buffer);
    }
    parcels_free(two->out, two->domains.aggregators);
    parcels_free(two->in, two->ranks);
    ADIOI_Free(two->told);
    ADIOI_Free(two->heard);
    ADIOI_Free(two->sources);
    ADIOI_Free(two->requests);
    ADIOI_Free(two->statuses);
    MPI_Type_free(&two->run_type);
}

int64_t two_phase(ADIO_File fd, struct access *access, bool is_write, const struct reach *reaches,
                  struct failure *failure)
{
    struct two_phase two = {
        .fd = fd, .file = driver_file(fd)->file, .is_write = is_write, .failure = failure};
    int64_t next = INT64_MAX;
    begin(&two);
    for (int rank = 0; rank < two.ranks; rank++)
        if (reaches[rank].bytes > 0 && reaches[rank].start < next)
            next = reaches[rank].start;
    while (next != INT64_MAX)
        next = run_round(&two, access, domains_start(&two.domains, next));
    end(&two);
    return is_write ? access->bytes : two.moved;
}
