/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "capability.h"
#include "err.h"
#include "shard.h"

enum { WAIT_FOR_MAP = 1 };

static bool is_same(const struct wire_capability *a, const struct wire_capability *b)
{
    return a->ino == b->ino && a->access == b->access && a->layout.chunk_size == b->layout.chunk_size &&
           a->layout.seed == b->layout.seed && a->layout.stripe_count == b->layout.stripe_count &&
           a->layout.group_count == b->layout.group_count && a->layout.host == b->layout.host &&
           memcmp(a->mac.bytes, b->mac.bytes, sizeof a->mac.bytes) == 0;
}

int shard_check_capability(struct shard_io *io, uint32_t access)
{
    const struct wire_capability *capability = &io->capability;
    struct wire_capability *known = &io->shard->verified[layout_hash(capability->ino) % SHARD_CAPABILITIES];
    bool is_known = known->layout.chunk_size && is_same(known, capability);
    if (!is_known || (capability->access & access) != access) {
        int error = capability_check(io->shard->server->conf->key, capability, access);
        if (error)
            return error;
        *known = *capability;
    }
    io->layout = capability_layout(capability);
    return 0;
}

/* Something in the request does not fit our map: whose map is older? */
static int mismatch(const struct shard_io *io, int error)
{
    if (io->map_version > io->shard->map->version)
        return WAIT_FOR_MAP;
    if (io->map_version < io->shard->map->version)
        return err_set(-ESTALE, "the cluster map has changed from version %" PRIu64 " to %" PRIu64,
                       io->map_version, io->shard->map->version);
    return error;
}

static bool is_of_all_objects(const struct shard_io *io)
{
    switch (io->request->operation) {
    case WIRE_OP_sync:
    case WIRE_OP_object_stat:
    case WIRE_OP_object_truncate:
    case WIRE_OP_object_remove:
    case WIRE_OP_object_punch:
    case WIRE_OP_object_seek:
        return true;
    }
    return false;
}

int shard_check_map(struct shard_io *io)
{
    const struct shard *shard = io->shard;
    int error = io->layout.chunk_size ? map_layout_check(shard->map, &io->layout) : 0;
    if (error)
        return mismatch(io, error);
    /* What we are in groups may be another thing there, and these find out by it what is meant. */
    if (io->map_version > shard->map->version && shard->server->conf->replicas > 1 &&
        (shard_is_copy(io) || is_of_all_objects(io)))
        return WAIT_FOR_MAP;
    if (shard_is_outdated(io))
        return mismatch(io, -ESTALE);
    return 0;
}

bool shard_is_outdated(const struct shard_io *io)
{
    return io->map_version < io->shard->map_changed;
}

int shard_target_index(const struct server *server, uint32_t id)
{
    for (uint32_t i = 0; i < server->target_count; i++)
        if (server->targets[i].id == id)
            return (int)i;
    return -1;
}

/* Whether our target is what the request asks for: current for reads, the leader for all else. */
static int check_member(const struct shard_io *io, uint64_t offset, uint32_t group, uint32_t target_id)
{
    uint32_t member;
    const int state = map_member_state(io->shard->map, group, target_id, &member);
    if (state < 0)
        return mismatch(io, err_set(-EINVAL,
                                    "the extent at %" PRIu64 " belongs to group %" PRIu32
                                    ", which target %" PRIu32 " is not in",
                                    offset, group, target_id));
    if (io->request->operation == WIRE_OP_read ? state == MAP_MEMBER_CURRENT
                                               : member == io->shard->map->groups[group].leader)
        return 0;
    return mismatch(
        io, err_set(-EINVAL, "target %" PRIu32 " %s group %" PRIu32, target_id,
                    io->request->operation == WIRE_OP_read ? "is not current in" : "does not lead", group));
}

/* An extent, checked: where its bytes are. */
struct spot {
    bool is_known;
    uint32_t target_id;
    uint32_t target;
    uint32_t position;
    uint64_t chunk_offset; /* of the chunk's first byte, in the object */
    uint64_t chunk;
};

/* Whether we have the chunk of it, and where. */
static int find_chunk(const struct shard_io *io, const struct wire_extent *extent, struct spot *spot)
{
    const struct shard *shard = io->shard;
    const struct layout *layout = &io->layout;
    struct layout_place place = layout_place_of(layout, extent->offset);
    int target = shard_target_index(shard->server, extent->target);
    if (target < 0)
        return mismatch(io, err_set(-EINVAL, "target %" PRIu32 " is not served here", extent->target));
    uint32_t group = map_group_of(shard->map, layout, place.position);
    int verdict = check_member(io, extent->offset, group, extent->target);
    if (verdict)
        return verdict;
    uint32_t shard_of = layout_shard_of(place.row, shard->server->shard_count);
    if (shard_of != shard->index)
        return err_set(-EINVAL,
                       "the extent at %" PRIu64 " belongs to shard %" PRIu32 ", this is shard %" PRIu32,
                       extent->offset, shard_of, shard->index);
    *spot = (struct spot){
        .is_known = true,
        .target_id = extent->target,
        .target = (uint32_t)target,
        .position = place.position,
        .chunk_offset =
            layout_part_offset(layout, shard->server->shard_count, place.chunk * layout->chunk_size),
        .chunk = place.chunk,
    };
    return 0;
}

/* *spot is that of the extent before: many have a chunk in common. */
static int check_extent(const struct shard_io *io, const struct wire_extent *extent, struct spot *spot)
{
    const uint64_t chunk_size = io->layout.chunk_size, chunk = extent->offset / chunk_size;
    if (extent->length == 0)
        return err_set(-EINVAL, "an extent is empty");
    if (extent->offset > INT64_MAX - (uint64_t)extent->length)
        return err_set(-EINVAL, "an extent ends beyond the largest file offset");
    if (extent->length > chunk_size - (extent->offset - chunk * chunk_size))
        return err_set(-EINVAL, "the extent at %" PRIu64 " goes beyond its chunk", extent->offset);
    return spot->is_known && spot->chunk == chunk && spot->target_id == extent->target
               ? 0
               : find_chunk(io, extent, spot);
}

int shard_check_first(struct shard_io *io, uint32_t target)
{
    const struct wire_extent first = {.offset = 0, .length = 1, .target = target};
    struct spot spot = {0};
    int verdict = check_extent(io, &first, &spot);
    io->runs[0] = (struct shard_run){.target = spot.target, .position = spot.position};
    io->run_count = verdict ? 0 : 1;
    return verdict;
}

/* Lengthens the last run, or begins a new one. */
static void add_to_runs(struct shard_io *io, struct shard_run *last, const struct spot *spot,
                        const struct wire_extent *extent, uint32_t room)
{
    const uint64_t offset = spot->chunk_offset + (extent->offset - spot->chunk * io->layout.chunk_size);
    const uint32_t length = extent->length;
    if (io->run_count && last->target == spot->target && last->position == spot->position &&
        last->offset + last->length == offset && (!io->by_chunk || last->chunk == spot->chunk)) {
        last->length += length;
        last->extent_count++;
    } else {
        *last = (struct shard_run){
            .target = spot->target,
            .position = spot->position,
            .offset = offset,
            .length = length,
            .chunk = spot->chunk,
            .data_offset = io->bytes,
            .extent_count = 1,
        };
        io->run_count++;
    }
    if (io->run_count <= room)
        io->runs[io->run_count - 1] = *last;
}

int shard_check_extents(struct shard_io *io, uint32_t room)
{
    struct wire_reader reader = wire_list_reader(&io->extents);
    struct shard_run last = {0};
    struct spot spot = {0};
    io->bytes = 0;
    io->run_count = 0;
    for (uint32_t i = 0; i < io->extents.count; i++) {
        struct wire_extent extent;
        wire_get_extent(&reader, &extent);
        if (reader.bad)
            break;
        int verdict = check_extent(io, &extent, &spot);
        if (verdict)
            return verdict;
        add_to_runs(io, &last, &spot, &extent, room);
        io->bytes += extent.length;
        if (io->bytes > LIMITS_IO_BYTES_MAX)
            return err_set(-EMSGSIZE, "the extents have more than %u bytes", LIMITS_IO_BYTES_MAX);
    }
    return wire_read_all(&reader, "list of extents");
}

/* Whether another member is read, or could be by a map that we don't know yet. */
static bool is_shared(const struct shard *shard, uint32_t number)
{
    const struct map_group *group = &shard->map->groups[number];
    unsigned count = 0;
    for (uint32_t m = 0; m < group->member_count; m++)
        count += group->states[m] == MAP_MEMBER_CURRENT || group->states[m] == MAP_MEMBER_LEAVING;
    return count > 1 || lead_has_promised(shard, number);
}

bool shard_lease_lasts(const struct shard *shard)
{
    const struct server *server = shard->server;
    /* In this order: who gives a lease notes its version before its end. */
    const bool lasts = rpc_now_ns() < atomic_load(&server->lease_until_ns);
    return lasts && shard->map->version >= atomic_load(&server->lease_version);
}

bool shard_check_lease(const struct shard_io *io)
{
    const struct shard *shard = io->shard;
    if (shard_lease_lasts(shard))
        return true;
    for (uint32_t i = 0; i < io->run_count; i++)
        if (is_shared(shard, map_group_of(shard->map, &io->layout, io->runs[i].position)))
            return false;
    return true;
}

static bool is_impossible(const struct shard_io *io, const struct wire_copy_piece *piece)
{
    return piece->length == 0 || piece->offset > INT64_MAX - (uint64_t)piece->length ||
           piece->position >= io->layout.stripe_count;
}

/* Whether the piece is of a group that the sender leads, and of which we have a member that gets it. */
static int check_piece(struct shard_io *io, const struct wire_copy_piece *piece, uint32_t *target)
{
    const struct map *map = io->shard->map;
    if (is_impossible(io, piece))
        return err_set(-EINVAL, "a piece is empty, or beyond what a file can have");
    const uint32_t number = map_group_of(map, &io->layout, piece->position);
    const struct map_group *group = &map->groups[number];
    if (map->servers[map_leader(map, number)->server].id != io->leader)
        return mismatch(
            io, err_set(-EINVAL, "server %" PRIu32 " does not lead group %" PRIu32, io->leader, number));
    for (uint32_t m = 0; m < group->member_count; m++) {
        const int index = shard_target_index(io->shard->server, map->targets[group->members[m]].id);
        if (index < 0 || m == group->leader || group->states[m] == MAP_MEMBER_STALE ||
            (io->request->operation == WIRE_OP_copy_fetch && group->states[m] != MAP_MEMBER_CURRENT))
            continue;
        *target = (uint32_t)index;
        return 0;
    }
    return mismatch(io, err_set(-EINVAL, "no target here gets what is written to group %" PRIu32, number));
}

/* Whether we lead the piece's group, and who asks has another member that gets it. */
static int check_mend(const struct shard_io *io, const struct wire_copy_piece *piece, uint32_t *target)
{
    const struct map *map = io->shard->map;
    uint32_t member;
    if (is_impossible(io, piece))
        return err_set(-EINVAL, "bytes that are to be mended are none, or beyond what a file can have");
    const uint32_t number = map_group_of(map, &io->layout, piece->position);
    const int index = shard_target_index(io->shard->server, map_leader(map, number)->id);
    const int state = map_member_state(map, number, io->mend_target, &member);
    if (index < 0 || state < 0 || state == MAP_MEMBER_STALE || member == map->groups[number].leader)
        return mismatch(io, err_set(-EINVAL, "target %" PRIu32 " is not to get what group %" PRIu32 " has",
                                    io->mend_target, number));
    *target = (uint32_t)index;
    return 0;
}

int shard_check_object(struct shard_io *io)
{
    const bool is_whole = io->request->operation == WIRE_OP_copy_cut;
    const struct wire_copy_piece piece = {
        .position = io->position, .offset = io->offset, .length = is_whole ? 1 : (uint32_t)io->bytes};
    io->runs[0] = (struct shard_run){.position = io->position, .offset = io->offset, .length = io->bytes};
    io->run_count = 1;
    return io->request->operation == WIRE_OP_object_mend ? check_mend(io, &piece, &io->runs[0].target)
                                                         : check_piece(io, &piece, &io->runs[0].target);
}

int shard_check_pieces(struct shard_io *io)
{
    struct wire_reader reader = wire_list_reader(&io->extents);
    io->bytes = 0;
    io->run_count = io->extents.count;
    int verdict = shard_runs_make(io);
    for (uint32_t i = 0; i < io->extents.count && !verdict; i++) {
        struct wire_copy_piece piece;
        wire_get_copy_piece(&reader, &piece);
        if (reader.bad)
            break;
        struct shard_run *run = &io->runs[i];
        *run = (struct shard_run){.position = piece.position,
                                  .offset = piece.offset,
                                  .length = piece.length,
                                  .data_offset = io->bytes,
                                  .extent_count = 1};
        verdict = check_piece(io, &piece, &run->target);
        io->bytes += piece.length;
        if (!verdict && io->bytes > LIMITS_IO_BYTES_MAX)
            verdict = err_set(-EMSGSIZE, "the pieces have more than %u bytes", LIMITS_IO_BYTES_MAX);
    }
    return verdict ? verdict : wire_read_all(&reader, "list of pieces");
}

int shard_check_chunks(const struct shard_io *io)
{
    struct wire_reader reader = wire_list_reader(&io->chunks);
    struct wire_gather_chunk before = {0}, chunk;
    for (uint32_t i = 0; i < io->chunks.count; i++) {
        wire_get_gather_chunk(&reader, &chunk);
        if (!reader.bad && ((i > 0 && chunk.chunk <= before.chunk) || chunk.bytes == 0))
            return err_set(-EINVAL, "the list of gathered chunks does not rise, or has an empty one");
        before = chunk;
    }
    return wire_read_all(&reader, "list of gathered chunks");
}

int shard_runs_make(struct shard_io *io)
{
    if (io->run_count <= SHARD_RUNS_FEW)
        return 0;
    if (io->runs != io->few)
        free(io->runs);
    io->runs = io->few;
    struct shard_run *runs = malloc(io->run_count * sizeof *runs);
    if (!runs)
        return err_set(-ENOMEM, "no memory for a request");
    io->runs = runs;
    return 0;
}

int shard_runs_keep(struct shard_io *io)
{
    uint32_t count = io->run_count;
    if (count <= SHARD_RUNS_FEW || io->runs != io->few)
        return 0;
    int verdict = shard_runs_make(io);
    if (!verdict)
        verdict = shard_check_extents(io, count);
    /* All was right before, but the map may be another one by now. */
    return verdict > 0 ? err_set(-EAGAIN, "the cluster map changed") : verdict;
}

/* Whether a request for all objects of a file is for those of that member of the group: what a leader gives
 * to others for those that get it, and all else for those that we lead. */
static bool is_meant(const struct shard_io *io, const struct map_group *group, uint32_t member)
{
    const struct map *map = io->shard->map;
    switch (io->request->operation) {
    case WIRE_OP_copy_remove:
    case WIRE_OP_copy_truncate:
    case WIRE_OP_copy_punch:
    case WIRE_OP_copy_sync:
        return map->servers[map->targets[group->members[group->leader]].server].id == io->leader &&
               member != group->leader && group->states[member] != MAP_MEMBER_STALE;
    }
    return member == group->leader;
}

static void visit_objects(struct shard_io *io, uint32_t room)
{
    const struct shard *shard = io->shard;
    const struct map *map = shard->map;
    io->run_count = 0;
    for (uint32_t position = 0; position < io->layout.stripe_count; position++) {
        const struct map_group *group = &map->groups[map_group_of(map, &io->layout, position)];
        for (uint32_t m = 0; m < group->member_count; m++) {
            int target = shard_target_index(shard->server, map->targets[group->members[m]].id);
            if (target < 0 || !is_meant(io, group, m))
                continue;
            if (io->run_count < room)
                io->runs[io->run_count] =
                    (struct shard_run){.target = (uint32_t)target, .position = position};
            io->run_count++;
        }
    }
}

int shard_find_objects(struct shard_io *io)
{
    visit_objects(io, SHARD_RUNS_FEW);
    int error = shard_runs_make(io);
    if (!error && io->runs != io->few)
        visit_objects(io, io->run_count);
    return error;
}

struct store_object shard_object_of(const struct shard_io *io, const struct shard_run *run)
{
    return (struct store_object){.ino = io->capability.ino, .position = run->position, .layout = io->layout};
}
