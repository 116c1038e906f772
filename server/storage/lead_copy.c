/* SPDX-License-Identifier: Apache-2.0 */
/* lead_copy.c: a copy for one server; where it can't be given, the map decides what becomes of it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "lead_internal.h"
#include "log.h"
#include "shard.h"

#define MS UINT64_C(1000000)
/* What waits for the map is looked at, and said again, so often. */
enum { TICK_MS = 250 };

/* ---- its life ------------------------------------------------------------------ */

void lead_copy_free(struct lead_copy *copy)
{
    free(copy->duties);
    free(copy->pieces);
    free(copy->iov);
    free(copy);
}

struct lead_copy *lead_copy_new(struct shard_io *io, uint32_t server, uint32_t piece_room, uint32_t duty_room)
{
    struct lead_copy *copy = calloc(1, sizeof *copy);
    if (!copy)
        return NULL;
    list_link_init(&copy->link);
    copy->io = io;
    copy->capability = io->capability;
    copy->server = server;
    copy->duties = malloc((duty_room + 1) * sizeof *copy->duties);
    copy->pieces = malloc((piece_room + 1) * sizeof *copy->pieces);
    copy->iov = malloc((piece_room + 1) * sizeof *copy->iov);
    if (copy->duties && copy->pieces && copy->iov)
        return copy;
    lead_copy_free(copy);
    return NULL;
}

void lead_copy_add_duty(struct lead_copy *copy, uint32_t group, uint32_t target_id)
{
    if (copy->duty_count && copy->duties[copy->duty_count - 1].group == group)
        return;
    for (uint32_t i = 0; i < copy->duty_count; i++)
        if (copy->duties[i].group == group)
            return;
    copy->duties[copy->duty_count++] = (struct lead_duty){.group = group, .target = target_id};
}

static void copy_end(struct lead_copy *copy, int error)
{
    struct shard_io *io = copy->io;
    void (*ended)(void *arg, int error) = copy->ended;
    void *arg = copy->arg;
    list_remove(&copy->link);
    lead_copy_free(copy);
    if (ended) {
        ended(arg, error);
        return;
    }
    if (error == -ESTALE)
        shard_io_stale(io);
    if (--io->pending == 0)
        io->end(io);
}

/* ---- sending ---------------------------------------------------------------------- */

static ssize_t encode(struct lead_copy *copy)
{
    const struct shard_io *io = copy->io;
    const uint64_t version = io->shard->map->version;
    const uint32_t leader = lead_own_id(io->shard);
    uint8_t list[LIMITS_COPY_PIECES_MAX * 16];
    struct wire_writer writer = wire_writer_on(list, sizeof list);
    if (copy->settles) {
        copy->call.operation = WIRE_OP_copy_settle;
        return wire_encode_copy_settle(
            copy->body, sizeof copy->body,
            &(struct wire_copy_settle){.map_version = version, .leader = leader, .hurry = io->hurry});
    }
    switch (io->request->operation) {
    case WIRE_OP_object_remove:
        wire_put_capability(&writer, &copy->capability);
        copy->call.operation = WIRE_OP_copy_remove;
        return wire_encode_copy_remove(copy->body, sizeof copy->body,
                                       &(struct wire_copy_remove){.map_version = version,
                                                                  .leader = leader,
                                                                  .files = wire_list_of(&writer, 1)});
    case WIRE_OP_object_truncate:
        copy->call.operation = WIRE_OP_copy_truncate;
        return wire_encode_copy_truncate(copy->body, sizeof copy->body,
                                         &(struct wire_copy_truncate){.capability = io->capability,
                                                                      .map_version = version,
                                                                      .leader = leader,
                                                                      .size = io->size,
                                                                      .grow_only = io->grow_only});
    case WIRE_OP_object_punch:
        copy->call.operation = WIRE_OP_copy_punch;
        return wire_encode_copy_punch(copy->body, sizeof copy->body,
                                      &(struct wire_copy_punch){.capability = io->capability,
                                                                .map_version = version,
                                                                .leader = leader,
                                                                .offset = io->offset,
                                                                .length = io->length});
    case WIRE_OP_sync:
        copy->call.operation = WIRE_OP_copy_sync;
        return wire_encode_copy_sync(
            copy->body, sizeof copy->body,
            &(struct wire_copy_sync){.capability = io->capability, .map_version = version, .leader = leader});
    }
    for (uint32_t i = 0; i < copy->piece_count; i++)
        wire_put_copy_piece(&writer, &copy->pieces[i]);
    copy->call.operation = WIRE_OP_copy;
    copy->call.payload = copy->iov;
    copy->call.payload_count = copy->piece_count;
    return wire_encode_copy(copy->body, sizeof copy->body,
                            &(struct wire_copy){.capability = io->capability,
                                                .map_version = version,
                                                .leader = leader,
                                                .pieces = wire_list_of(&writer, copy->piece_count)});
}

static void report(const struct lead_copy *copy)
{
    const struct server *server = copy->io->shard->server;
    const struct map *map = copy->io->shard->map;
    for (uint32_t i = 0; i < copy->duty_count; i++) {
        const struct lead_duty *duty = &copy->duties[i];
        server->verdict(server->map_wanted_arg,
                        &(struct wire_group_verdict){.group = duty->group,
                                                     .changed = map->groups[duty->group].changed,
                                                     .target = duty->target});
    }
}

static void judge(struct lead_copy *copy);

static void copy_failed(struct lead_copy *copy, int status)
{
    struct shard *shard = copy->io->shard;
    /* Or its server has moved, as the map says that has just come. */
    copy->refused = status == -ESTALE || status == -EAGAIN ||
                    (status == -ECANCELED && shard->map->version > copy->map_version);
    if (copy->refused) {
        shard->server->map_wanted(shard->server->map_wanted_arg);
    } else {
        shard_counter_add(shard, SHARD_COPIES_FAILED, 1);
        lead_sync_void(shard, copy->server);
        log_debug("shard %" PRIu32 ": a copy for storage server %s failed: %s", shard->index,
                  shard->map->servers[copy->server].name, err_text());
        report(copy);
    }
    /* The map may have changed while it was under way. */
    judge(copy);
}

static void copy_done(struct rpc_call *call)
{
    struct lead_copy *copy = call->arg;
    copy->under_way = false;
    if (call->status == 0)
        copy_end(copy, 0);
    else
        copy_failed(copy, call->status);
}

static void copy_send(struct lead_copy *copy)
{
    struct shard *shard = copy->io->shard;
    struct rpc_connection *connection;
    ssize_t length = encode(copy);
    int error = length < 0 ? (int)length : lead_connect(shard, copy->server, &connection);
    copy->call.body = copy->body;
    copy->call.body_length = length > 0 ? (uint32_t)length : 0;
    copy->call.deadline_ms = lead_deadline_ms(shard, copy->call.operation);
    copy->call.done = copy_done;
    copy->call.arg = copy;
    copy->map_version = shard->map->version;
    copy->refused = false;
    copy->under_way = true;
    if (!error)
        error = rpc_call_start(connection, &copy->call);
    if (!error)
        return;
    copy->under_way = false;
    copy_failed(copy, error);
}

void lead_copy_start(struct lead_copy *copy)
{
    struct shard *shard = copy->io->shard;
    copy->io->pending += !copy->ended;
    list_push_back(&shard->lead->copies, &copy->link);
    shard_counter_add(shard, SHARD_COPIES_SENT, 1);
    copy_send(copy);
}

/* ---- when the map decides ----------------------------------------------------------- */

/* Whether anyone for whom the copy is could still be asked by readers; *lost: another one leads by now. Who
 * is being brought up to date gets it when it was only a map too old or too new; otherwise that begins
 * anew. */
static bool is_needed(const struct lead_copy *copy, bool *lost)
{
    const struct shard *shard = copy->io->shard;
    bool needed = false;
    for (uint32_t i = 0; i < copy->duty_count; i++) {
        const struct lead_duty *duty = &copy->duties[i];
        const int state = map_member_state(shard->map, duty->group, duty->target, NULL);
        if (!lead_is_own(shard, map_leader(shard->map, duty->group)->id))
            *lost = true;
        else if (copy->server == shard->lead->own || state == MAP_MEMBER_CURRENT ||
                 state == MAP_MEMBER_LEAVING ||
                 (state == MAP_MEMBER_SYNCING && (copy->refused || lead_is_promised(shard->lead, duty))))
            needed = true;
    }
    return needed;
}

static void judge(struct lead_copy *copy)
{
    const struct shard *shard = copy->io->shard;
    bool lost = false;
    /* Who knows a newer map may be another thing there than here. */
    if (copy->under_way || (copy->refused && shard->map->version == copy->map_version))
        return;
    const bool needed = is_needed(copy, &lost);
    if (lost || !needed)
        copy_end(copy, lost ? err_set(-ESTALE, "another storage server leads by now") : 0);
    else if (copy->refused && shard->map->version > copy->map_version)
        copy_send(copy);
}

/* Copies end, and others begin, while we look: those that were there are looked at once each. */
static void judge_all(struct shard *shard)
{
    struct list list;
    struct list_link *link;
    list_init(&list);
    while ((link = list_pop(&shard->lead->copies)))
        list_push_back(&list, link);
    while ((link = list_pop(&list))) {
        list_push_back(&shard->lead->copies, link);
        judge(list_item(link, struct lead_copy, link));
    }
}

/* Somebody waits until we know that. */
static bool is_leaving(const struct shard *shard)
{
    const struct map *map = shard->map;
    for (uint32_t g = 0; g < map->group_count; g++)
        for (uint32_t m = 0; m < map->groups[g].member_count; m++)
            if (map->groups[g].states[m] == MAP_MEMBER_LEAVING &&
                lead_is_own(shard, map->targets[map->groups[g].members[m]].id))
                return true;
    return false;
}

void lead_map_changed(struct shard *shard)
{
    struct lead *lead = shard->lead;
    const struct map *map = shard->map;
    lead->leads = false;
    const struct map_server *own = map_server_by_name(map, shard->server->storage->name);
    lead->own = own ? (uint32_t)(own - map->servers) : UINT32_MAX;
    for (uint32_t g = 0; g < map->group_count && !lead->leads; g++)
        lead->leads = map->groups[g].member_count > 1 && lead_is_own(shard, map_leader(map, g)->id);
    lead_drop_moved(shard);
    lead_forget_promises(lead, map);
    judge_all(shard);
    lead_sync_look(shard);
    if (is_leaving(shard))
        shard->server->map_wanted(shard->server->map_wanted_arg);
}

/* Reports may be lost, and what is late is to be answered. */
void lead_tick(struct shard *shard)
{
    const uint64_t now = rpc_now_ns();
    lead_begin_waiting(shard);
    lead_mend_look(shard);
    if (now < shard->lead->tick_ns)
        return;
    shard->lead->tick_ns = now + TICK_MS * MS;
    lead_sync_look(shard);
    list_each(&shard->lead->copies, link, after)
    {
        struct lead_copy *copy = list_item(link, struct lead_copy, link);
        if (copy->under_way)
            continue;
        if (copy->until_ns && now >= copy->until_ns) {
            copy_end(copy, 0);
            return; /* others may have ended with it; the next tick has the rest */
        }
        if (copy->refused)
            shard->server->map_wanted(shard->server->map_wanted_arg);
        else
            report(copy);
    }
}

int lead_timeout_ms(const struct shard *shard)
{
    if (shard->lead->has_left && shard->lead->waiting)
        return 0;
    if ((shard->lead->to_walk && !shard->lead->walk) || lead_mend_waits(shard))
        return TICK_MS;
    list_each(&shard->lead->copies, link, after)
    {
        if (!list_item(link, struct lead_copy, link)->under_way)
            return TICK_MS;
    }
    return -1;
}

/* Whether others could be asked for what our own store does not have. Who is being brought up to date got it,
 * and must not become current with what we lack. */
static bool have_others(struct shard *shard, uint32_t number)
{
    const struct map *map = shard->map;
    const struct map_group *group = &map->groups[number];
    for (uint32_t m = 0; m < group->member_count; m++)
        if (group->states[m] == MAP_MEMBER_SYNCING)
            lead_sync_void(shard, map->targets[group->members[m]].server);
    return map_group_current(group) > 1 || lead_has_promised(shard, number);
}

static void add_own_duties(struct lead_copy *copy)
{
    const struct shard_io *io = copy->io;
    const struct map *map = io->shard->map;
    for (uint32_t i = 0; i < io->change.range_count; i++) {
        const uint32_t group = map_group_of(map, &io->layout, io->change.ranges[i].position);
        const struct map_target *leader = map_leader(map, group);
        if (lead_is_own(io->shard, leader->id) && have_others(io->shard, group))
            lead_copy_add_duty(copy, group, leader->id);
    }
}

bool lead_failed_here(struct shard_io *io)
{
    const struct shard *shard = io->shard;
    if (io->was_reported || io->is_stale || !io->change.ranges)
        return false;
    if (shard_is_outdated(io)) {
        shard_io_stale(io);
        return false;
    }
    io->was_reported = true;
    struct lead_copy *copy = lead_copy_new(io, shard->lead->own, 0, io->change.range_count);
    if (!copy)
        return false;
    add_own_duties(copy);
    if (copy->duty_count == 0) {
        lead_copy_free(copy);
        return false;
    }
    copy->until_ns = rpc_now_ns() + shard->server->conf->lease_ms / 2 * MS;
    io->pending = 1;
    list_push_back(&shard->lead->copies, &copy->link);
    report(copy);
    return true;
}

/* ---- life ------------------------------------------------------------------------------ */

int lead_open(struct shard *shard)
{
    struct lead *lead = calloc(1, sizeof *lead);
    if (!lead)
        return err_set(-ENOMEM, "no memory for a shard");
    list_init(&lead->line);
    list_init(&lead->copies);
    shard->lead = lead;
    return lead_mender_open(shard);
}

void lead_close(struct shard *shard)
{
    if (!shard->lead)
        return;
    lead_begin_waiting(shard); /* what is no request ends when its turn has come */
    lead_mender_close(shard);
    free(shard->lead->promises);
    free(shard->lead->peers);
    free(shard->lead);
    shard->lead = NULL;
}
