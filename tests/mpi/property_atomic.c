/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property_atomic.c: atomic mode. Ranks write and read places at random that overlap, at the
 * same time. There must be one order of all these accesses, the order of each rank's own
 * among it, by which each read gives what it gave and the file is what it is.
 *
 * Each write has its own mark, a byte. Who wrote a byte last came after all others that
 * write it; who read a mark came after its write, and no other write of that byte came
 * between the two. property_order.c looks for an order.
 */
#include <stdlib.h>
#include <string.h>

#include "property_order.h"

enum { marks_tag = 77 };

struct race {
    struct property *property;
    struct random random;
    int64_t room; /* bytes of the file */
    struct view views[property_ranks_max];
    struct order order;
    int64_t positions[order_max];
    int64_t bytes[order_max];
    unsigned char *data[order_max]; /* of this rank's accesses; on rank 0 at the end of all */
    enum way way;
    bool is_posted; /* nonblocking accesses of a rank under way together, in no order */
    MPI_File file;
};

/* ---- drawn at random -------------------------------------------------- */

static void draw_race_view(struct race *race, int rank)
{
    struct random *random = &race->random;
    struct type *byte = type_byte();
    const struct type_rules rules = {.leaf = byte,
                                     .is_view = true,
                                     .size_max = 8000,
                                     .span_max = 20000,
                                     .rank = (int)pick(random, race->property->ranks),
                                     .ranks = race->property->ranks};
    struct type *filetype = type_make(random, &rules, 1 + (int)pick(random, 4));
    if (filetype->map.size * 20 < filetype->map.upper) { /* hardly anything would overlap */
        type_drop(filetype);
        int64_t run = 1 + pick(random, chance(random, 50) ? 100 : 6000);
        filetype = type_runs(run, run + pick(random, run + 10));
    }
    view_set(&race->views[rank], pick(random, 300), byte, filetype);
}

static void draw_access(struct race *race, int number, int rank)
{
    struct random *random = &race->random;
    int64_t all = view_before(&race->views[rank], race->room);
    struct access *access = &race->order.accesses[number];
    access->rank = rank;
    access->is_write = chance(random, 65);
    race->positions[number] = chance(random, 50) ? 0 : pick(random, all / 2 + 1);
    int64_t left = all - race->positions[number];
    race->bytes[number] = chance(random, 60) ? left : pick(random, left + 1);
}

static void draw_race(struct race *race)
{
    struct random *random = &race->random;
    struct property *property = race->property;
    bool is_collective = chance(random, 30);
    race->room = 1000 + pick(random, chance(random, 50) ? 20000 : 120000);
    race->is_posted = !is_collective && chance(random, 30);
    if (is_collective)
        race->way = chance(random, 50) || !property->test->is_weft ? way_at_all : way_iat_all;
    else
        race->way = race->is_posted || chance(random, 30) ? way_iat : way_at;
    int each = 1 + (int)pick(random, order_max / property->ranks);
    race->order.count = each * property->ranks;
    race->order.has_own_order = !race->is_posted;
    for (int rank = 0; rank < property->ranks; rank++)
        draw_race_view(race, rank);
    for (int number = 0; number < race->order.count; number++)
        draw_access(race, number, number % property->ranks);
    if (is_collective) /* one call is a read or a write on all ranks */
        for (int number = 0; number < race->order.count; number++)
            race->order.accesses[number].is_write =
                race->order.accesses[number - number % property->ranks].is_write;
}

static void note_race(const struct race *race)
{
    FILE *history = race->property->history;
    const struct order *order = &race->order;
    for (int rank = 0; rank < race->property->ranks; rank++) {
        fprintf(history, "rank %d: view ", rank);
        view_print(&race->views[rank], history);
        fprintf(history, "\n");
    }
    for (int i = 0; i < order->count; i++)
        fprintf(history, "mark %d: rank %d, %s%s(offset %lld, %lld bytes)\n", i + 1, order->accesses[i].rank,
                way_name(race->way, order->accesses[i].is_write), race->is_posted ? ", posted" : "",
                (long long)race->positions[i], (long long)race->bytes[i]);
}

/* ---- run -------------------------------------------------------------- */

static bool open_race(struct race *race)
{
    struct property *property = race->property;
    struct random *random = &race->random;
    char chunk[24];
    MPI_Info info;
    if (property->rank == 0)
        MPI_File_delete(property->path, MPI_INFO_NULL);
    MPI_Barrier(property->comm);
    MPI_Info_create(&info);
    snprintf(chunk, sizeof chunk, "%lld", (long long)(4096 + pick(random, 9000)));
    MPI_Info_set(info, "weft_chunk_size", chunk);
    MPI_Info_set(info, "cb_buffer_size", "4096");
    MPI_Info_set(info, "weft_progress", chance(random, 50) ? "calls" : "thread");
    int code =
        MPI_File_open(property->comm, property->path, MPI_MODE_CREATE | MPI_MODE_RDWR, info, &race->file);
    MPI_Info_free(&info);
    if (!property_check(property, code, "open"))
        return false;
    const struct view *view = &race->views[property->rank];
    MPI_Datatype filetype;
    property_check(property, MPI_File_set_size(race->file, race->room), "set_size");
    property_check(property, MPI_File_set_atomicity(race->file, 1), "set_atomicity");
    property_check(property, type_handle(view->filetype, &filetype), "the filetype");
    property_check(
        property,
        MPI_File_set_view(race->file, view->displacement, MPI_BYTE, filetype, "native", MPI_INFO_NULL),
        "set_view");
    type_forget(view->filetype, &filetype);
    return true;
}

static void post(struct race *race, int number, MPI_Request *request)
{
    bool is_write = race->order.accesses[number].is_write;
    void *data = race->data[number];
    int bytes = (int)race->bytes[number];
    int code = is_write
                   ? MPI_File_iwrite_at(race->file, race->positions[number], data, bytes, MPI_BYTE, request)
                   : MPI_File_iread_at(race->file, race->positions[number], data, bytes, MPI_BYTE, request);
    property_check(race->property, code, "a nonblocking access");
}

static void run_race(struct race *race)
{
    struct property *property = race->property;
    MPI_Request requests[order_max];
    MPI_Status status;
    int posted = 0;
    MPI_Barrier(property->comm);
    for (int number = property->rank; number < race->order.count; number += property->ranks) {
        bool is_write = race->order.accesses[number].is_write;
        race->data[number] = test_alloc((size_t)race->bytes[number]);
        memset(race->data[number], is_write ? number + 1 : 0xEE, (size_t)race->bytes[number]);
        if (race->is_posted) {
            post(race, number, &requests[posted++]);
            continue;
        }
        int code = way_call(race->way, is_write, race->file, race->positions[number], race->data[number],
                            (int)race->bytes[number], MPI_BYTE, &status);
        if (property_check(property, code, way_name(race->way, is_write)) &&
            test_status_bytes(&status) != race->bytes[number])
            property_fail(property, "the status of access %d tells of %lld bytes", number + 1,
                          test_status_bytes(&status));
    }
    if (!property->has_failed)
        property_check(property, MPI_Waitall(posted, requests, MPI_STATUSES_IGNORE), "Waitall");
    MPI_Barrier(property->comm);
}

/* ---- judged by rank 0 ------------------------------------------------- */

static void gather_reads(struct race *race)
{
    struct property *property = race->property;
    for (int number = 0; number < race->order.count; number++) {
        int bytes = (int)race->bytes[number], from = race->order.accesses[number].rank;
        if (race->order.accesses[number].is_write || from == 0)
            continue;
        if (property->rank == from)
            MPI_Send(race->data[number], bytes, MPI_BYTE, 0, marks_tag, property->comm);
        if (property->rank == 0) {
            race->data[number] = test_alloc((size_t)bytes);
            MPI_Recv(race->data[number], bytes, MPI_BYTE, from, marks_tag, property->comm, MPI_STATUS_IGNORE);
        }
    }
}

/* Which accesses name each byte of the file. */
static void cover(const struct race *race, unsigned *writers)
{
    for (int number = 0; number < race->order.count; number++) {
        const struct view *view = &race->views[race->order.accesses[number].rank];
        for (int64_t done = 0, length; done < race->bytes[number]; done += length) {
            int64_t offset = view_run(view, race->positions[number] + done, &length);
            if (length > race->bytes[number] - done)
                length = race->bytes[number] - done;
            for (int64_t i = 0; i < length && race->order.accesses[number].is_write; i++)
                writers[offset + i] |= 1u << number;
        }
    }
}

static void judge(struct race *race)
{
    struct order *order = &race->order;
    struct property *property = race->property;
    unsigned *writers = calloc((size_t)race->room, sizeof *writers);
    unsigned char *found = test_alloc((size_t)race->room);
    MPI_File reader;
    MPI_Info info;
    MPI_Info_create(&info);
    MPI_Info_set(info, "cb_buffer_size", "4096");
    int code = MPI_File_open(MPI_COMM_SELF, property->path, MPI_MODE_RDONLY, info, &reader);
    MPI_Info_free(&info);
    if (writers == NULL)
        abort();
    if (property_check(property, code, "open by one rank")) {
        code = MPI_File_read_at(reader, 0, found, (int)race->room, MPI_BYTE, MPI_STATUS_IGNORE);
        property_check(property, code, "read_at of all the file");
        MPI_File_close(&reader);
        cover(race, writers);
        for (int64_t at = 0; at < race->room; at++)
            order_add_final(order, at, found[at], writers[at]);
        for (int number = 0; number < order->count; number++) {
            const struct view *view = &race->views[order->accesses[number].rank];
            for (int64_t i = 0; i < race->bytes[number] && !order->accesses[number].is_write; i++) {
                int64_t at = view_offset(view, race->positions[number] + i);
                order_add_read(order, number, at, race->data[number][i], writers[at]);
            }
        }
        const char *why = order_explain(order);
        if (why != NULL)
            property_fail(property, "%s", why);
    }
    free(writers);
    free(found);
}

void case_run_writers(struct property *property)
{
    struct race *race = test_alloc(sizeof *race);
    *race = (struct race){.property = property, .file = MPI_FILE_NULL};
    random_start(&race->random, property->seed + 1, (uint64_t)property->number);
    draw_race(race);
    note_race(race);
    fflush(property->history);
    bool is_open = open_race(race);
    if (!property_agree(property)) {
        run_race(race);
        if (!property_agree(property)) {
            gather_reads(race);
            if (property->rank == 0)
                judge(race);
        }
    }
    if (is_open)
        property_check(property, MPI_File_close(&race->file), "close");
    if (property->rank == 0)
        MPI_File_delete(property->path, MPI_INFO_NULL);
    for (int rank = 0; rank < property->ranks; rank++)
        view_clear(&race->views[rank]);
    for (int number = 0; number < race->order.count; number++)
        free(race->data[number]);
    free(race);
}
