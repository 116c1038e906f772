/* SPDX-License-Identifier: Apache-2.0 */
/* lead_give.c: which members are to have a change, and what is given to the server of each. */
#include <errno.h>
#include <stdlib.h>

#include "err.h"
#include "lead_internal.h"
#include "shard.h"

/* ---- who leads, and who is to have it ------------------------------------------------------------ */

bool lead_is_own(const struct shard *shard, uint32_t target_id)
{
    return shard_target_index(shard->server, target_id) >= 0;
}

uint32_t lead_own_id(const struct shard *shard)
{
    return shard->map->servers[shard->lead->own].id;
}

bool lead_check(struct shard_io *io)
{
    const struct shard *shard = io->shard;
    for (uint32_t i = 0; i < io->run_count; i++) {
        const uint32_t group = map_group_of(shard->map, &io->layout, io->runs[i].position);
        if (map_leader(shard->map, group)->id == shard->server->targets[io->runs[i].target].id)
            continue;
        shard_io_stale(io);
        return false;
    }
    return true;
}

static bool gets_changes(const struct map_group *group, uint32_t member)
{
    return member != group->leader && group->states[member] != MAP_MEMBER_STALE;
}

/* Which of the group's members are on that server and get changes; the first, or UINT32_MAX. */
static uint32_t member_on(const struct map *map, uint32_t number, uint32_t server)
{
    const struct map_group *group = &map->groups[number];
    for (uint32_t m = 0; m < group->member_count; m++)
        if (map->targets[group->members[m]].server == server && gets_changes(group, m))
            return group->members[m];
    return UINT32_MAX;
}

/* ---- giving ------------------------------------------------------------------------ */

/* To one server, in copies of bounded length. */
static int give_runs(struct shard_io *io, uint32_t server)
{
    const struct map *map = io->shard->map;
    struct lead_copy *copy = NULL;
    for (uint32_t i = 0; i < io->run_count; i++) {
        const struct shard_run *run = &io->runs[i];
        const uint32_t group = map_group_of(map, &io->layout, run->position);
        const uint32_t target = member_on(map, group, server);
        if (target == UINT32_MAX)
            continue;
        const uint32_t left = io->run_count - i;
        const uint32_t room = left < LIMITS_COPY_PIECES_MAX ? left : LIMITS_COPY_PIECES_MAX;
        if (!copy)
            copy = lead_copy_new(io, server, room, room);
        if (!copy)
            return err_set(-ENOMEM, "no memory for a copy");
        lead_copy_add_duty(copy, group, map->targets[target].id);
        copy->pieces[copy->piece_count] = (struct wire_copy_piece){
            .position = run->position, .offset = run->offset, .length = (uint32_t)run->length};
        copy->iov[copy->piece_count++] =
            (struct iovec){.iov_base = (void *)(io->data + run->data_offset), .iov_len = run->length};
        if (copy->piece_count < LIMITS_COPY_PIECES_MAX)
            continue;
        lead_copy_start(copy);
        copy = NULL;
    }
    if (copy)
        lead_copy_start(copy);
    return 0;
}

/* A mark for each server that has a member of the run's group which gets changes. */
static void mark_servers(const struct map *map, uint32_t number, bool *marks)
{
    const struct map_group *group = &map->groups[number];
    for (uint32_t m = 0; m < group->member_count; m++)
        if (gets_changes(group, m))
            marks[map->targets[group->members[m]].server] = true;
}

void lead_give_write(struct shard_io *io)
{
    const struct map *map = io->shard->map;
    bool *marks = calloc(map->server_count, sizeof *marks);
    int error = marks ? 0 : err_set(-ENOMEM, "no memory for a copy");
    for (uint32_t i = 0; i < io->run_count && !error; i++)
        mark_servers(map, map_group_of(map, &io->layout, io->runs[i].position), marks);
    for (uint32_t server = 0; server < map->server_count && !error; server++)
        error = marks[server] ? give_runs(io, server) : 0;
    if (error)
        shard_io_fail(io, error);
    free(marks);
}

void lead_give_piece(struct shard_io *io, size_t length)
{
    const struct map *map = io->shard->map;
    const uint32_t group = map_group_of(map, &io->layout, io->position);
    const struct map_target *target = map_target_by_id(map, io->mend_target);
    struct lead_copy *copy = lead_copy_new(io, target->server, 1, 1);
    if (!copy) {
        shard_io_fail(io, err_set(-ENOMEM, "no memory for a copy"));
        return;
    }
    lead_copy_add_duty(copy, group, target->id);
    copy->pieces[0] =
        (struct wire_copy_piece){.position = io->position, .offset = io->offset, .length = (uint32_t)length};
    copy->iov[0] = (struct iovec){.iov_base = io->buffer, .iov_len = length};
    copy->piece_count = 1;
    lead_copy_start(copy);
}

/* One copy for all groups of the file that we lead and that have a member there; NULL: there are none. */
static int make_of_file(struct shard_io *io, uint32_t server, struct lead_copy **made)
{
    const struct map *map = io->shard->map;
    struct lead_copy *copy = NULL;
    for (uint32_t position = 0; position < io->layout.stripe_count; position++) {
        const uint32_t group = map_group_of(map, &io->layout, position);
        const uint32_t target = member_on(map, group, server);
        if (target == UINT32_MAX || !lead_is_own(io->shard, map_leader(map, group)->id))
            continue;
        if (!copy)
            copy = lead_copy_new(io, server, 0, io->layout.stripe_count);
        if (!copy)
            return err_set(-ENOMEM, "no memory for a copy");
        lead_copy_add_duty(copy, group, map->targets[target].id);
    }
    *made = copy;
    return 0;
}

void lead_give_file(struct shard_io *io)
{
    const struct map *map = io->shard->map;
    for (uint32_t server = 0; server < map->server_count && !io->status; server++) {
        struct lead_copy *copy = NULL;
        int error = make_of_file(io, server, &copy);
        if (error)
            shard_io_fail(io, error);
        else if (copy)
            lead_copy_start(copy);
    }
}

int lead_give_removal(struct shard_io *io, uint32_t *pending, void (*ended)(void *arg, int error), void *arg)
{
    const struct map *map = io->shard->map;
    int error = 0;
    for (uint32_t server = 0; server < map->server_count && !error; server++) {
        struct lead_copy *copy = NULL;
        error = make_of_file(io, server, &copy);
        if (error || !copy)
            continue;
        copy->ended = ended;
        copy->arg = arg;
        ++*pending;
        lead_copy_start(copy);
    }
    return error;
}

/* For all groups that we lead and that have a member there; NULL: there are none. */
static int make_settling(struct shard_io *io, uint32_t server, struct lead_copy **made)
{
    const struct map *map = io->shard->map;
    struct lead_copy *copy = NULL;
    for (uint32_t group = 0; group < map->group_count; group++) {
        const uint32_t target = member_on(map, group, server);
        if (target == UINT32_MAX || !lead_is_own(io->shard, map_leader(map, group)->id))
            continue;
        if (!copy)
            copy = lead_copy_new(io, server, 0, map->group_count);
        if (!copy)
            return err_set(-ENOMEM, "no memory for a copy");
        copy->duties[copy->duty_count++] =
            (struct lead_duty){.group = group, .target = map->targets[target].id};
        copy->settles = true;
    }
    *made = copy;
    return 0;
}

void lead_give_settle(struct shard_io *io)
{
    const struct map *map = io->shard->map;
    for (uint32_t server = 0; server < map->server_count && !io->status; server++) {
        struct lead_copy *copy = NULL;
        int error = make_settling(io, server, &copy);
        if (error)
            shard_io_fail(io, error);
        else if (copy)
            lead_copy_start(copy);
    }
}
