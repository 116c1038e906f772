/* SPDX-License-Identifier: Apache-2.0 */
#include "agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "capability.h"
#include "err.h"
#include "rpc.h"
#include "wire.h"

/* A call with its request. */
struct question {
    struct agent_call call; /* first */
    struct agent *agent;
    struct agent_work *work;
    uint32_t file_count; /* of a removal: those that it names, indexes into the work's files */
    uint32_t files[LIMITS_REMOVES_MAX];
    uint8_t body[];
};

enum { BODY_BYTES = 256, CAPABILITY_BYTES = 64, REMOVE_BYTES = LIMITS_REMOVES_MAX * CAPABILITY_BYTES + 16 };
#define NS_PER_MS UINT64_C(1000000)
/* Of files of so few chunks the places are found one by one. */
enum { CHUNKS_FEW = 64 };

void agent_init(struct agent *agent, const struct conf *conf, const struct agent_net *net,
                const struct map *(*map)(void *arg), void *arg)
{
    *agent = (struct agent){.conf = conf, .net = *net, .map = map, .arg = arg};
    agent->counters[AGENT_WORKS].name = "agent_works";
    agent->counters[AGENT_CALLS].name = "agent_calls";
    agent->counters[AGENT_FAILURES].name = "agent_failures";
    list_init(&agent->finished);
}

/* ---- ending ------------------------------------------------------------- */

/* The first failure is the one that is told. */
static void fail(struct agent_work *work, int status)
{
    if (work->status)
        return;
    work->status = status;
    snprintf(work->text, sizeof work->text, "%s", err_text());
}

static void part_ended(struct agent *agent, struct agent_work *work)
{
    if (--work->waiting)
        return;
    if (work->status)
        counter_add(&agent->counters[AGENT_FAILURES], 1);
    list_push_back(&agent->finished, &work->link);
}

static void begin(struct agent *agent, struct agent_work *work);

static void begin_next(struct agent *agent, struct opens_file *file)
{
    struct list_link *next = list_pop(&file->works);
    file->working = next != NULL;
    if (next)
        begin(agent, list_item(next, struct agent_work, link));
}

/* Our map is as new as any, so one that was refused for an older one's sake may try by it. */
static bool may_try_again(const struct agent *agent, const struct agent_work *work)
{
    return work->status == -ESTALE && agent->map(agent->arg)->version > work->map_version &&
           rpc_now_ns() < work->end_ns;
}

bool agent_run(struct agent *agent)
{
    struct list_link *link = list_pop(&agent->finished);
    if (!link)
        return false;
    for (; link; link = list_pop(&agent->finished)) {
        struct agent_work *work = list_item(link, struct agent_work, link);
        /* Not when it ended: that is inside of an answer, where no connection may be given up. */
        if (may_try_again(agent, work)) {
            begin(agent, work);
            continue;
        }
        /* Whoever asked for this has not named anything that is gone. Who removes begins anew by himself. */
        if (work->status == -ESTALE && work->kind != AGENT_REMOVE)
            work->status = -ETIMEDOUT;
        if (work->file)
            begin_next(agent, work->file);
        work->done(work);
    }
    return true;
}

/* ---- asking ------------------------------------------------------------- */

/* Those whose objects could not be removed at one shard. */
static void take_failed(struct question *question, const void *reply, size_t length)
{
    struct agent_work *work = question->work;
    struct wire_object_remove_reply answer;
    struct wire_number number;
    int error = wire_decode_object_remove_reply(reply, length, &answer);
    struct wire_reader reader = wire_list_reader(&answer.failed);
    for (uint32_t i = 0; !error && i < answer.failed.count; i++) {
        wire_get_number(&reader, &number);
        if (reader.bad || number.value >= question->file_count) {
            error = err_set(-EBADMSG, "the answer to a removal makes no sense");
        } else {
            work->files[question->files[number.value]].failed = true;
            fail(work, err_set(-EIO, "a storage server could not remove an object; its log tells why"));
        }
    }
    for (uint32_t i = 0; error && i < question->file_count; i++)
        work->files[question->files[i]].failed = true;
    if (error)
        fail(work, error);
}

static void take_answer(struct question *question, const void *reply, size_t length)
{
    struct agent_work *work = question->work;
    struct wire_object_stat_reply answer;
    if (work->kind == AGENT_REMOVE) {
        take_failed(question, reply, length);
        return;
    }
    if (work->kind == AGENT_WRITE || work->kind == AGENT_SYNC)
        return;
    int error = wire_decode_object_stat_reply(reply, length, &answer);
    if (error) {
        fail(work, error);
        return;
    }
    if (answer.end > work->end)
        work->end = answer.end;
    if (answer.mtime_ns > work->mtime_ns)
        work->mtime_ns = answer.mtime_ns;
    work->bytes += answer.bytes;
}

static void answered(struct agent_call *call, int status, const void *reply, size_t reply_length)
{
    struct question *question = (struct question *)call;
    struct agent_work *work = question->work;
    struct agent *agent = question->agent;
    if (status < 0) {
        fail(work, status);
        for (uint32_t i = 0; i < question->file_count; i++)
            work->files[question->files[i]].failed = true;
    } else {
        take_answer(question, reply, reply_length);
    }
    free(question);
    part_ended(agent, work);
}

static ssize_t encode_removal(const struct agent *agent, const struct agent_work *work,
                              struct question *question)
{
    uint8_t list[LIMITS_REMOVES_MAX * CAPABILITY_BYTES];
    struct wire_writer writer = wire_writer_on(list, sizeof list);
    for (uint32_t i = 0; i < question->file_count; i++) {
        const struct agent_file *file = &work->files[question->files[i]];
        struct wire_capability capability =
            capability_make(agent->conf->key, file->ino, &file->layout, WIRE_ACCESS_WRITE);
        wire_put_capability(&writer, &capability);
    }
    struct wire_object_remove remove = {.map_version = work->map_version,
                                        .files = wire_list_of(&writer, question->file_count),
                                        .hurry = work->hurry};
    question->call.operation = WIRE_OP_object_remove;
    return wire_encode_object_remove(question->body, REMOVE_BYTES, &remove);
}

static ssize_t encode(const struct agent *agent, const struct agent_work *work, struct question *question)
{
    if (work->kind == AGENT_REMOVE)
        return encode_removal(agent, work, question);
    struct wire_capability capability = capability_make(agent->conf->key, work->ino, &work->layout,
                                                        work->kind == AGENT_STAT ? 0 : WIRE_ACCESS_WRITE);
    switch (work->kind) {
    case AGENT_STAT:
        question->call.operation = WIRE_OP_object_stat;
        return wire_encode_object_stat(
            question->body, BODY_BYTES,
            &(struct wire_object_stat){.capability = capability,
                                       .map_version = agent->map(agent->arg)->version});
    default:
        question->call.operation = WIRE_OP_object_truncate;
        return wire_encode_object_truncate(
            question->body, BODY_BYTES,
            &(struct wire_object_truncate){.capability = capability,
                                           .map_version = agent->map(agent->arg)->version,
                                           .size = work->size,
                                           .grow_only = work->grow_only});
    }
}

static int send(struct agent *agent, struct question *question, const struct map_server *server,
                uint32_t shard)
{
    struct agent_work *work = question->work;
    question->call.server = server;
    question->call.shard = shard;
    question->call.body = question->body;
    question->call.end_ns = work->end_ns;
    question->call.done = answered;
    work->waiting++;
    counter_add(&agent->counters[AGENT_CALLS], 1);
    int error = agent->net.call(agent->net.arg, &question->call);
    if (error) {
        work->waiting--;
        free(question);
    }
    return error;
}

/* `files` are those of a removal. */
static int ask(struct agent *agent, struct agent_work *work, const struct map_server *server, uint32_t shard,
               const uint32_t *files, uint32_t file_count)
{
    struct question *question = calloc(1, sizeof *question + (file_count ? REMOVE_BYTES : BODY_BYTES));
    if (!question)
        return err_set(-ENOMEM, "no memory for a request to storage server %s", server->name);
    question->agent = agent;
    question->work = work;
    question->file_count = file_count;
    for (uint32_t i = 0; i < file_count; i++)
        question->files[i] = files[i];
    ssize_t length = encode(agent, work, question);
    if (length < 0) {
        free(question);
        return (int)length;
    }
    question->call.body_length = (uint32_t)length;
    return send(agent, question, server, shard);
}

static int check_layout(const struct map *map, uint64_t ino, const struct layout *layout)
{
    if (map_layout_check(map, layout) == 0)
        return 0;
    return err_set(-EUCLEAN, "inode %llu has a layout over %u groups, and there are not so many",
                   (unsigned long long)ino, layout->group_count);
}

/* Sets wanted[i] for each server that leads a group of the stripe. */
static int find_servers(const struct agent_work *work, const struct map *map, uint8_t *wanted)
{
    int error = check_layout(map, work->ino, &work->layout);
    if (error)
        return error;
    for (uint32_t s = 0; s < work->layout.stripe_count; s++) {
        wanted[map_leader(map, map_group_of(map, &work->layout, s))->server] = 1;
    }
    return 0;
}

static int is_down(const struct map_server *server)
{
    if (server->state == MAP_STATE_UP)
        return 0;
    return err_set(-EHOSTDOWN, "storage server %s, which holds a part of the file, is down", server->name);
}

/* A file is not to be cut in one place when it can't be in another, so this
 * comes before anything is asked. */
static int check_servers(const struct map *map, const uint8_t *wanted)
{
    int error = 0;
    for (uint32_t i = 0; i < map->server_count && !error; i++)
        error = wanted[i] ? is_down(&map->servers[i]) : 0;
    return error;
}

static int ask_all(struct agent *agent, struct agent_work *work, const struct map *map)
{
    uint8_t *wanted = calloc(map->server_count + 1u, 1);
    if (!wanted)
        return err_set(-ENOMEM, "no memory to ask the storage servers");
    int error = find_servers(work, map, wanted);
    if (!error)
        error = check_servers(map, wanted);
    for (uint32_t i = 0; i < map->server_count && !error; i++) {
        const struct map_server *server = &map->servers[i];
        for (uint32_t shard = 0; wanted[i] && shard < server->shard_count && !error; shard++)
            error = ask(agent, work, server, shard, NULL, 0);
    }
    free(wanted);
    return error;
}

/* ---- writing, and making it durable --------------------------------------------------------- */

static ssize_t encode_write(const struct agent *agent, const struct map *map,
                            const struct map_location *location, uint64_t offset, uint32_t length,
                            struct question *question)
{
    const struct agent_work *work = question->work;
    uint8_t extents[32];
    struct wire_writer writer = wire_writer_on(extents, sizeof extents);
    struct wire_capability capability =
        capability_make(agent->conf->key, work->ino, &work->layout, WIRE_ACCESS_WRITE);
    if (work->kind == AGENT_SYNC) {
        question->call.operation = WIRE_OP_sync;
        return wire_encode_sync(question->body, BODY_BYTES,
                                &(struct wire_sync){.capability = capability, .map_version = map->version});
    }
    wire_put_extent(&writer,
                    &(struct wire_extent){.offset = offset, .length = length, .target = location->target_id});
    question->call.operation = WIRE_OP_write;
    question->call.payload = work->data + offset;
    question->call.payload_length = length;
    return wire_encode_write(question->body, BODY_BYTES,
                             &(struct wire_write){.capability = capability,
                                                  .map_version = map->version,
                                                  .extents = wire_list_of(&writer, 1)});
}

/* A run of bytes in one chunk. */
static int write_piece(struct agent *agent, struct agent_work *work, const struct map *map, uint64_t offset,
                       uint32_t length)
{
    struct map_location location;
    int error = map_locate(map, &work->layout, offset, &location);
    if (!error)
        error = is_down(&map->servers[location.server]);
    if (error)
        return error;
    struct question *question = calloc(1, sizeof *question + BODY_BYTES);
    if (!question)
        return err_set(-ENOMEM, "no memory for a write to a storage server");
    question->agent = agent;
    question->work = work;
    ssize_t size = encode_write(agent, map, &location, offset, length, question);
    if (size < 0) {
        free(question);
        return (int)size;
    }
    question->call.body_length = (uint32_t)size;
    return send(agent, question, &map->servers[location.server], location.shard);
}

static int write_all(struct agent *agent, struct agent_work *work, const struct map *map)
{
    const uint64_t chunk_size = work->layout.chunk_size;
    int error = check_layout(map, work->ino, &work->layout);
    for (uint64_t offset = 0; offset < work->data_length && !error; offset += chunk_size) {
        uint64_t left = work->data_length - offset;
        error = write_piece(agent, work, map, offset, (uint32_t)(left < chunk_size ? left : chunk_size));
    }
    return error;
}

/* ---- removing many files -------------------------------------------------- */

/* One file at one shard that may hold an object of it. */
struct place {
    uint32_t server, shard, file;
};

struct places {
    struct place *items;
    size_t count, size;
};

static int places_add(struct places *places, const struct place *place)
{
    if (places->count == places->size) {
        size_t size = places->size ? 2 * places->size : 256;
        struct place *bigger = realloc(places->items, size * sizeof *bigger);
        if (!bigger)
            return err_set(-ENOMEM, "no memory to remove objects");
        places->items = bigger;
        places->size = size;
    }
    places->items[places->count++] = *place;
    return 0;
}

/* The shards of one group's leader that hold the given row, or any (UINT64_MAX). */
static int add_group(struct places *places, const struct map *map, uint32_t file, uint32_t group,
                     uint64_t row)
{
    int error = 0;
    uint32_t server = map_leader(map, group)->server;
    uint32_t shard_count = map->servers[server].shard_count;
    uint32_t first = row == UINT64_MAX ? 0 : layout_shard_of(row, shard_count);
    uint32_t end = row == UINT64_MAX ? shard_count : first + 1;
    for (uint32_t shard = first; shard < end && !error; shard++)
        error = places_add(places, &(struct place){.server = server, .shard = shard, .file = file});
    return error;
}

static int add_file(struct places *places, const struct agent_work *work, uint32_t index,
                    const struct map *map)
{
    const struct agent_file *file = &work->files[index];
    const struct layout *layout = &file->layout;
    int error = check_layout(map, file->ino, layout);
    if (error)
        return error;
    if (file->end <= CHUNKS_FEW * layout->chunk_size) {
        for (uint64_t offset = 0; offset < file->end && !error; offset += layout->chunk_size) {
            struct layout_place place = layout_place_of(layout, offset);
            error = add_group(places, map, index, map_group_of(map, layout, place.position), place.row);
        }
        return error;
    }
    for (uint32_t position = 0; position < layout->stripe_count && !error; position++)
        error = add_group(places, map, index, map_group_of(map, layout, position), UINT64_MAX);
    return error;
}

static bool is_same_shard(const struct place *a, const struct place *b)
{
    return a->server == b->server && a->shard == b->shard;
}

static int compare_places(const void *left, const void *right)
{
    const struct place *a = left, *b = right;
    if (a->server != b->server)
        return a->server < b->server ? -1 : 1;
    if (a->shard != b->shard)
        return a->shard < b->shard ? -1 : 1;
    return (a->file > b->file) - (a->file < b->file);
}

/* Takes the next files of one shard off the sorted places; a file that is there twice is named once. */
static uint32_t next_files(const struct place **at, const struct place *end,
                           uint32_t files[LIMITS_REMOVES_MAX])
{
    const struct place *first = *at;
    uint32_t count = 0;
    for (; *at < end && is_same_shard(*at, first); ++*at) {
        if (count && files[count - 1] == (*at)->file)
            continue;
        if (count == LIMITS_REMOVES_MAX)
            break;
        files[count++] = (*at)->file;
    }
    return count;
}

/* It does what it can; what fails is repeated by whoever wants it. */
static void remove_all(struct agent *agent, struct agent_work *work, const struct map *map)
{
    struct places places = {0};
    for (uint32_t i = 0; i < work->file_count; i++) {
        int error = add_file(&places, work, i, map);
        work->files[i].failed = error < 0;
        if (error)
            fail(work, error);
    }
    if (places.count)
        qsort(places.items, places.count, sizeof *places.items, compare_places);
    const struct place *at = places.items, *end = at + places.count;
    while (at < end) {
        const struct map_server *server = &map->servers[at->server];
        uint32_t shard = at->shard, files[LIMITS_REMOVES_MAX];
        uint32_t count = next_files(&at, end, files);
        int error = is_down(server);
        if (!error)
            error = ask(agent, work, server, shard, files, count);
        for (uint32_t i = 0; error && i < count; i++)
            work->files[files[i]].failed = true;
        if (error)
            fail(work, error);
    }
    free(places.items);
}

static void begin(struct agent *agent, struct agent_work *work)
{
    if (!work->end_ns)
        work->end_ns = rpc_now_ns() + work->deadline_ms * NS_PER_MS;
    work->status = 0;
    work->end = work->bytes = 0;
    work->mtime_ns = 0;
    work->waiting = 1; /* until all have been asked */
    counter_add(&agent->counters[AGENT_WORKS], 1);
    const struct map *map = agent->map(agent->arg);
    work->map_version = map->version;
    if (work->kind == AGENT_REMOVE) {
        remove_all(agent, work, map);
    } else {
        bool in_pieces = work->kind == AGENT_WRITE || work->kind == AGENT_SYNC;
        int error = in_pieces ? write_all(agent, work, map) : ask_all(agent, work, map);
        if (error)
            fail(work, error);
    }
    part_ended(agent, work);
}

void agent_start(struct agent *agent, struct agent_work *work)
{
    list_link_init(&work->link);
    work->end_ns = 0;
    if (work->file && work->file->working) {
        list_push_back(&work->file->works, &work->link);
        return;
    }
    if (work->file)
        work->file->working = true;
    begin(agent, work);
}
