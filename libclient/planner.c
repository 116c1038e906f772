/* SPDX-License-Identifier: Apache-2.0 */
#include "planner.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

/* ---- the table ---------------------------------------------------------- */

/* Gives the server's shards their places in the table, when it has none yet. */
static void table_add_server(struct planner_table *table, const struct map *map, uint32_t server,
                             uint32_t *first_shards)
{
    if (first_shards[server] != UINT32_MAX)
        return;
    first_shards[server] = table->shard_count;
    for (uint32_t shard = 0; shard < map->servers[server].shard_count; shard++)
        table->shards[table->shard_count++] = (struct planner_shard){.server = server, .shard = shard};
}

static int table_lead(struct planner_table *table, const struct map *map, uint32_t *first_shards)
{
    for (uint32_t position = 0; position < table->layout.stripe_count; position++) {
        struct map_location location;
        /* The first chunk of a position has the position's number. */
        int result = map_locate(map, &table->layout, position * table->layout.chunk_size, &location);
        if (result < 0)
            return result;
        const struct map_server *server = &map->servers[location.server];
        if (server->shard_count == 0)
            return err_set(-EINVAL, "storage server %s has no shards in cluster map %" PRIu64, server->name,
                           map->version);
        table_add_server(table, map, location.server, first_shards);
        struct planner_target leader = {.id = location.target_id,
                                        .first_shard = first_shards[location.server]};
        table->positions[position] = (struct planner_position){
            .leader = leader, .nearest = leader, .other = leader, .shard_count = server->shard_count};
    }
    table->leading_count = table->shard_count;
    return 0;
}

/* A chunk is in the shard of the same number on all servers of a group, or they are asked for nothing. */
static bool table_add_target(struct planner_table *table, const struct map *map,
                             const struct map_target *target, uint32_t shard_count, uint32_t *first_shards,
                             struct planner_target *out)
{
    if (!target || map->servers[target->server].shard_count != shard_count)
        return false;
    table_add_server(table, map, target->server, first_shards);
    *out = (struct planner_target){.id = target->id, .first_shard = first_shards[target->server]};
    return true;
}

static void table_read(struct planner_table *table, const struct map *map,
                       const struct planner_reader *reader, uint32_t *first_shards)
{
    const uint32_t host = reader->host ? map_host_by_name(map, reader->host) : 0;
    if (!map_has_replicas(map))
        return;
    for (uint32_t position = 0; position < table->layout.stripe_count; position++) {
        const uint32_t group = map_group_of(map, &table->layout, position);
        const struct map_target *nearest = map_nearest(map, group, host, layout_hash(reader->number ^ group));
        struct planner_position *at = &table->positions[position];
        if (!table_add_target(table, map, nearest, at->shard_count, first_shards, &at->nearest))
            nearest = map_leader(map, group);
        at->other = at->nearest;
        table_add_target(table, map, map_other(map, group, nearest), at->shard_count, first_shards,
                         &at->other);
    }
}

int planner_table_new(struct map *map, const struct layout *layout, const struct planner_reader *reader,
                      struct planner_table **out)
{
    static const struct planner_reader anyone = {0};
    int result = -ENOMEM;
    size_t shards = 0;

    if (!layout_valid(layout))
        return err_set(-EINVAL, "a file's layout makes no sense (chunk size %" PRIu64 ", %u of %u groups)",
                       layout->chunk_size, layout->stripe_count, layout->group_count);
    for (uint32_t server = 0; server < map->server_count; server++)
        shards += map->servers[server].shard_count;

    struct planner_table *table =
        calloc(1, sizeof *table + layout->stripe_count * sizeof table->positions[0]);
    uint32_t *first_shards = malloc((map->server_count + 1) * sizeof *first_shards);
    if (!table || !first_shards)
        goto err;
    memset(first_shards, 0xff, map->server_count * sizeof *first_shards);
    table->shards = calloc(shards + 1, sizeof *table->shards);
    if (!table->shards)
        goto err;
    table->references = 1;
    table->layout = *layout;
    result = table_lead(table, map, first_shards);
    if (result < 0)
        goto err;
    table_read(table, map, reader ? reader : &anyone, first_shards);
    table->map = map_ref(map);
    free(first_shards);
    *out = table;
    return 0;

err:
    if (result == -ENOMEM)
        err_set(result, "out of memory for the places of a file");
    if (table)
        free(table->shards);
    free(table);
    free(first_shards);
    return result;
}

struct planner_table *planner_table_ref(struct planner_table *table)
{
    table->references++;
    return table;
}

void planner_table_unref(struct planner_table *table)
{
    if (!table)
        return;
    assert(table->references > 0);
    if (--table->references > 0)
        return;
    map_unref(table->map);
    free(table->shards);
    free(table);
}

void planner_table_first(const struct planner_table *table, uint32_t *shard, uint32_t *target)
{
    struct layout_place place = layout_place_of(&table->layout, 0);
    const struct planner_position *position = &table->positions[place.position];
    *shard = position->leader.first_shard + layout_shard_of(place.row, position->shard_count);
    *target = position->leader.id;
}

bool planner_table_has(const struct planner_table *table, uint32_t shard, uint64_t offset, uint64_t length)
{
    const struct layout *layout = &table->layout;
    for (uint32_t i = 0; i < layout->stripe_count; i++) {
        const struct planner_position *position = &table->positions[i];
        const uint32_t first = position->leader.first_shard;
        if (shard < first || shard - first >= position->shard_count)
            continue;
        const struct layout_part part = {
            .position = i, .shard = shard - first, .shard_count = position->shard_count};
        if (layout_part_length(layout, &part, offset) < layout_part_length(layout, &part, offset + length))
            return true;
    }
    return false;
}

/* ---- checking ----------------------------------------------------------- */

int planner_check(const struct iovec *iov, size_t iov_count, const struct weft_extent *extents,
                  size_t extent_count, uint64_t *total)
{
    uint64_t memory = 0, file = 0;

    if ((iov_count && !iov) || (extent_count && !extents))
        return err_set(-EINVAL, "a list is NULL but its count is not 0");
    for (size_t i = 0; i < iov_count; i++) {
        if (iov[i].iov_len && !iov[i].iov_base)
            return err_set(-EINVAL, "memory piece %zu is NULL but has %zu bytes", i, iov[i].iov_len);
        if (__builtin_add_overflow(memory, iov[i].iov_len, &memory) || memory > INT64_MAX)
            return err_set(-EINVAL, "the memory pieces have more bytes together than a call can transfer");
    }
    for (size_t i = 0; i < extent_count; i++) {
        uint64_t end;
        if (__builtin_add_overflow(extents[i].offset, extents[i].length, &end) || end > INT64_MAX)
            return err_set(-EFBIG,
                           "%" PRIu64 " bytes at offset %" PRIu64 " end beyond the largest file offset",
                           extents[i].length, extents[i].offset);
        if (__builtin_add_overflow(file, extents[i].length, &file) || file > INT64_MAX)
            return err_set(-EINVAL, "the file extents have more bytes together than a call can transfer");
    }
    if (memory != file)
        return err_set(-EINVAL, "the memory pieces have %" PRIu64 " bytes but the file extents %" PRIu64,
                       memory, file);
    *total = file;
    return 0;
}

uint64_t planner_count_before(const struct weft_extent *extents, size_t extent_count, uint64_t size)
{
    uint64_t count = 0;
    for (size_t i = 0; i < extent_count; i++) {
        if (extents[i].offset + extents[i].length <= size || extents[i].length == 0) {
            count += extents[i].length;
            continue;
        }
        if (extents[i].offset < size)
            count += size - extents[i].offset;
        break;
    }
    return count;
}

/* ---- one request -------------------------------------------------------- */

static int grow(void **items, uint32_t *room, const void *inlined, size_t item_size)
{
    uint32_t wanted = *room * 2;
    void *grown = realloc(*items == inlined ? NULL : *items, wanted * item_size);
    if (!grown)
        return err_set(-ENOMEM, "out of memory for the plan of a transfer");
    if (*items == inlined)
        memcpy(grown, inlined, *room * item_size);
    *items = grown;
    *room = wanted;
    return 0;
}

/* The bytes [offset, offset + length) go on where the request's last extent ends, in
 * the same chunk. */
static bool extends_extent(const struct planner *planner, const struct planner_request *request,
                           uint64_t offset)
{
    if (request->extent_count == 0 || offset == planner->chunk_start)
        return false;
    const struct planner_extent *last = &request->extents[request->extent_count - 1];
    return last->offset + last->length == offset;
}

static bool extends_piece(const struct planner_request *request, const char *memory)
{
    if (request->piece_count == 0)
        return false;
    const struct iovec *last = &request->pieces[request->piece_count - 1];
    return (const char *)last->iov_base + last->iov_len == memory;
}

static int add_extent(struct planner_request *request, uint64_t offset, uint32_t target)
{
    if (request->extent_count == request->extent_room &&
        grow((void **)&request->extents, &request->extent_room, request->extents_few,
             sizeof *request->extents) < 0)
        return -ENOMEM;
    request->extents[request->extent_count++] = (struct planner_extent){.offset = offset, .target = target};
    return 0;
}

static int add_piece(struct planner_request *request, char *memory)
{
    if (request->piece_count == request->piece_room && grow((void **)&request->pieces, &request->piece_room,
                                                            request->pieces_few, sizeof *request->pieces) < 0)
        return -ENOMEM;
    request->pieces[request->piece_count++] = (struct iovec){.iov_base = memory};
    return 0;
}

void planner_request_free(struct planner_request *request)
{
    if (!request)
        return;
    if (request->extents != request->extents_few)
        free(request->extents);
    if (request->pieces != request->pieces_few)
        free(request->pieces);
    free(request);
}

/* ---- one round ---------------------------------------------------------- */

static int slots_make(struct planner *planner, const struct planner_table *table)
{
    struct planner_request **slots = calloc(table->shard_count, sizeof *slots);
    if (!slots)
        return err_set(-ENOMEM, "out of memory for the plan of a transfer");
    free(planner->slots);
    planner->slots = slots;
    planner->table = table;
    planner->chunk_start = planner->chunk_end = 0;
    return 0;
}

int planner_open(struct planner *planner, const struct planner_table *table, const struct iovec *iov,
                 size_t iov_count, const struct weft_extent *extents, size_t extent_count,
                 const struct planner_limits *limits, size_t request_size)
{
    assert(request_size >= sizeof(struct planner_request));
    assert(limits->bytes_max > 0 && limits->extents_max > 0 && limits->pieces_max > 0);
    *planner = (struct planner){
        .iov = iov,
        .extents = extents,
        .iov_count = iov_count,
        .extent_count = extent_count,
        .limits = *limits,
        .request_size = request_size,
    };
    return slots_make(planner, table);
}

void planner_close(struct planner *planner)
{
    free(planner->slots);
    planner->slots = NULL;
}

int planner_table_set(struct planner *planner, const struct planner_table *table)
{
    return slots_make(planner, table);
}

/* The chunk of file offset `offset` becomes the current one. */
static const struct planner_target *target_of(const struct planner_position *position,
                                              enum planner_member member)
{
    switch (member) {
    case PLANNER_NEAREST:
        return &position->nearest;
    case PLANNER_OTHER:
        return &position->other;
    default:
        return &position->leader;
    }
}

static void enter_chunk(struct planner *planner, uint64_t offset)
{
    const struct planner_table *table = planner->table;
    const struct layout *layout = &table->layout;
    uint64_t chunk = offset / layout->chunk_size;
    const struct planner_position *position = &table->positions[chunk % layout->stripe_count];

    planner->chunk_start = chunk * layout->chunk_size;
    planner->chunk_end = planner->chunk_start + layout->chunk_size;
    const struct planner_target *target = target_of(position, planner->limits.member);
    planner->chunk_target = target->id;
    planner->chunk_shard =
        target->first_shard + layout_shard_of(chunk / layout->stripe_count, position->shard_count);
}

static struct planner_request *request_of_chunk(struct planner *planner)
{
    struct planner_request *request = planner->slots[planner->chunk_shard];
    if (request)
        return request;
    request = calloc(1, planner->request_size);
    if (!request) {
        err_set(-ENOMEM, "out of memory for the plan of a transfer");
        return NULL;
    }
    request->shard = planner->chunk_shard;
    request->extents = request->extents_few;
    request->pieces = request->pieces_few;
    request->extent_room = request->piece_room = PLANNER_INLINE;
    planner->slots[planner->chunk_shard] = request;
    *planner->last = request;
    planner->last = &request->next;
    return request;
}

/* A large piece shares no request with others, so that it needs no packing. */
static bool keeps_apart(const struct planner *planner, const struct planner_request *request,
                        const char *memory, uint64_t length)
{
    uint64_t alone_min = planner->limits.alone_min;
    if (alone_min == 0 || request->piece_count == 0 || extends_piece(request, memory))
        return false;
    return length >= alone_min || request->pieces[request->piece_count - 1].iov_len >= alone_min;
}

/* Adds up to `length` bytes at `offset`, all in one chunk and one memory piece. Returns
 * the bytes added, 0 when the round is full, or -ENOMEM. */
static int64_t add_bytes(struct planner *planner, struct planner_request *request, uint64_t offset,
                         char *memory, uint64_t length)
{
    const struct planner_limits *limits = &planner->limits;
    bool new_extent = !extends_extent(planner, request, offset);
    bool new_piece = !extends_piece(request, memory);

    if (length > limits->bytes_max - request->bytes)
        length = limits->bytes_max - request->bytes;
    if (length == 0 || (new_extent && request->extent_count == limits->extents_max) ||
        (new_piece && planner->pieces == limits->pieces_max))
        return 0;
    if (new_extent && add_extent(request, offset, planner->chunk_target) < 0)
        return -ENOMEM;
    if (new_piece && add_piece(request, memory) < 0)
        return -ENOMEM;
    planner->pieces += new_piece;
    request->extents[request->extent_count - 1].length += (uint32_t)length;
    request->pieces[request->piece_count - 1].iov_len += length;
    request->bytes += length;
    return (int64_t)length;
}

/*
 * Adds the run of `run` bytes at the current place of the file: what is left of the
 * current extent in the current chunk. Returns 1 when all of it was added, 0 when the
 * round is full, or -ENOMEM.
 */
static int add_run(struct planner *planner, uint64_t offset, uint64_t run)
{
    const struct planner_limits *limits = &planner->limits;
    struct planner_request *request = planner->slots[planner->chunk_shard];

    /* Rather end the round than cut a run that fits a request whole: a cut in the
     * middle of a chunk makes two unaligned writes of one. */
    if (request && run <= limits->bytes_max && run > limits->bytes_max - request->bytes)
        return 0;
    request = request_of_chunk(planner);
    if (!request)
        return -ENOMEM;
    while (run > 0) {
        const struct iovec *piece = &planner->iov[planner->iov_index];
        uint64_t left = piece->iov_len - planner->iov_done;
        if (left == 0) {
            planner->iov_index++;
            planner->iov_done = 0;
            continue;
        }
        char *memory = (char *)piece->iov_base + planner->iov_done;
        left = left < run ? left : run;
        if (keeps_apart(planner, request, memory, left))
            return 0;
        int64_t added = add_bytes(planner, request, offset, memory, left);
        if (added <= 0)
            return (int)added;
        planner->iov_done += (uint64_t)added;
        planner->extent_done += (uint64_t)added;
        offset += (uint64_t)added;
        run -= (uint64_t)added;
    }
    return 1;
}

static int fill_round(struct planner *planner)
{
    while (planner->extent_index < planner->extent_count) {
        const struct weft_extent *extent = &planner->extents[planner->extent_index];
        uint64_t run = extent->length - planner->extent_done;
        if (run == 0) {
            planner->extent_index++;
            planner->extent_done = 0;
            continue;
        }
        uint64_t offset = extent->offset + planner->extent_done;
        if (offset < planner->chunk_start || offset >= planner->chunk_end)
            enter_chunk(planner, offset);
        if (run > planner->chunk_end - offset)
            run = planner->chunk_end - offset;
        int result = add_run(planner, offset, run);
        if (result <= 0)
            return result;
    }
    return 0;
}

/* A request may have been made for a run of which no byte fitted any more. */
static void drop_empty(struct planner *planner)
{
    for (struct planner_request **link = &planner->first; *link;) {
        struct planner_request *request = *link;
        planner->slots[request->shard] = NULL;
        if (request->bytes > 0) {
            link = &request->next;
            continue;
        }
        *link = request->next;
        planner_request_free(request);
    }
}

int planner_round(struct planner *planner, struct planner_request **requests)
{
    planner->first = NULL;
    planner->last = &planner->first;
    planner->pieces = 0;
    int result = fill_round(planner);
    drop_empty(planner);
    if (result < 0) {
        while (planner->first) {
            struct planner_request *request = planner->first;
            planner->first = request->next;
            planner_request_free(request);
        }
    }
    *requests = planner->first;
    return result;
}

uint64_t planner_chunk_cut(const struct planner *planner, const struct planner_request *requests)
{
    uint64_t chunk_size = planner->table->layout.chunk_size, done = planner->extent_done;
    size_t i = planner->extent_index;
    for (; i < planner->extent_count && planner->extents[i].length == done; i++)
        done = 0;
    if (i == planner->extent_count)
        return UINT64_MAX;
    uint64_t next = (planner->extents[i].offset + done) / chunk_size;
    for (; requests; requests = requests->next)
        for (uint32_t e = 0; e < requests->extent_count; e++)
            if (requests->extents[e].offset / chunk_size == next)
                return next;
    return UINT64_MAX;
}
