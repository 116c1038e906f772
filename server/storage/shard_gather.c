/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_gather.c: chunks that several clients write together.
 *
 * The ranks of a collective write send the small pieces that each has of a chunk. Each
 * request tells how many bytes all ranks together write in the chunk, so the pieces wait
 * here, in their requests' own buffers, until they are complete, and become
 * one write for each run of bytes without a hole. Nothing is answered before it was
 * written: what a crash could lose was never acknowledged.
 *
 * That they will be complete is a client's word. When it does not come true within
 * the configuration's gather_ms, or buffers run short, what is there is written, and what comes later is
 * written at once: gathering changes how often the store is called, never the result.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "err.h"
#include "shard.h"

/* So much later, what still comes is gathered anew. */
#define GATHER_FORGET_MS 10000u
/* Memory of those that are only remembered; beyond it, chunks are not gathered. */
#define GATHERS_MAX 16384u
#define PARTS_FEW 8u

/* A run of one request's bytes in the chunk. */
struct part {
    uint64_t offset; /* local */
    uint64_t length;
    const uint8_t *data;
    struct shard_io *io;
};

/* What is written at once: parts without a hole between them. */
struct piece {
    struct store_op op;
    struct gather *gather;
};

struct gather {
    struct list_link in_bucket, by_age;
    struct shard *shard;
    uint64_t ino, id, chunk;
    uint64_t expected, arrived; /* bytes */
    uint64_t begun_ns;
    bool in_table;
    bool late; /* no longer waited for: what comes is written at once */

    uint32_t target, position;
    struct layout layout;
    struct part *parts;
    uint32_t part_count, part_room;

    struct piece *pieces; /* as many as parts, of which each that begins a run has one in use */
    struct iovec *iov;    /* one for each part */
    uint32_t pending; /* pieces, and one while they are being started */
    int status;
    char *text; /* of the error */
};

/* ---- the table ---------------------------------------------------------- */

static struct list *bucket_of(struct shard_gathers *gathers, uint64_t ino, uint64_t id, uint64_t chunk)
{
    return &gathers->buckets[layout_hash(ino ^ layout_hash(id ^ layout_hash(chunk))) % SHARD_GATHER_BUCKETS];
}

static struct gather *gather_find(struct shard_gathers *gathers, uint64_t ino, uint64_t id, uint64_t chunk)
{
    list_each(bucket_of(gathers, ino, id, chunk), link, after)
    {
        struct gather *gather = list_item(link, struct gather, in_bucket);
        if (gather->ino == ino && gather->id == id && gather->chunk == chunk)
            return gather;
    }
    return NULL;
}

/* The clock ticks while something waits, and once more: a chunk is complete long before that, and setting it
 * costs two calls of the system each time. */
static void tick(struct shard_gathers *gathers, bool on)
{
    if (gathers->ticking == on)
        return;
    uint64_t ns = on ? gathers->wait_ms * UINT64_C(1000000) / 4 : 0;
    struct timespec time = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    struct itimerspec every = {.it_interval = time, .it_value = time};
    timerfd_settime(gathers->timer_fd, 0, &every, NULL);
    gathers->ticking = on;
}

/* NULL when it can't be had: then nothing is gathered. */
static struct gather *gather_new(const struct shard_io *io, const struct shard_run *run,
                                 const struct wire_gather_chunk *chunk)
{
    struct shard_gathers *gathers = &io->shard->gathers;
    struct gather *gather = gathers->count < GATHERS_MAX ? calloc(1, sizeof *gather) : NULL;
    if (!gather)
        return NULL;
    gather->shard = io->shard;
    gather->ino = io->capability.ino;
    gather->id = io->gather;
    gather->chunk = run->chunk;
    gather->expected = chunk->bytes;
    gather->begun_ns = rpc_now_ns();
    gather->target = run->target;
    gather->position = run->position;
    gather->layout = io->layout;
    list_push_back(bucket_of(gathers, gather->ino, gather->id, gather->chunk), &gather->in_bucket);
    list_push_back(&gathers->by_age, &gather->by_age);
    gathers->count++;
    gather->in_table = true;
    tick(gathers, true);
    return gather;
}

static void gather_forget(struct gather *gather)
{
    struct shard_gathers *gathers = &gather->shard->gathers;
    list_remove(&gather->in_bucket);
    list_remove(&gather->by_age);
    gather->in_table = false;
    gathers->count--;
}

static void gather_free(struct gather *gather)
{
    free(gather->parts);
    free(gather->pieces);
    free(gather->iov);
    free(gather->text);
    free(gather);
}

/* ---- writing ------------------------------------------------------------ */

static int by_offset(const void *a, const void *b)
{
    const struct part *first = a, *second = b;
    return (first->offset > second->offset) - (first->offset < second->offset);
}

/* Lets go of the requests. The gather may be gone afterwards. */
static void pieces_end(struct gather *gather)
{
    struct part *parts = gather->parts;
    uint32_t count = gather->part_count;
    gather->pending = 1; /* a buffer that gets free may bring what completes it */
    for (uint32_t i = 0; i < count; i++) {
        struct shard_io *io = parts[i].io;
        if (gather->status)
            shard_io_fail(io, err_set(gather->status, "%s", gather->text ? gather->text : "a write failed"));
        if (--io->pending == 0)
            shard_write_end(io);
    }
    gather->part_count = gather->pending = 0;
    if (!gather->in_table)
        gather_free(gather);
}

static void gather_fail(struct gather *gather, int error)
{
    if (gather->status)
        return;
    gather->status = error;
    gather->text = strdup(err_text());
}

static void piece_over(struct gather *gather, int status)
{
    if (status >= 0)
        return;
    gather_fail(gather, status);
    shard_io_store_failed(gather->parts[0].io, status);
}

static void piece_written(struct store_op *op, ssize_t status)
{
    struct gather *gather = list_item(op, struct piece, op)->gather;
    piece_over(gather, status < 0 ? (int)status : 0);
    if (--gather->pending == 0)
        pieces_end(gather);
}

/*
 * Lists the memory of the parts from `first` on that follow each other without a hole, and returns how
 * many they are. Of bytes that several ranks wrote, those of the part that begins first count: MPI leaves
 * it open.
 */
static uint32_t run_list(struct gather *gather, uint32_t first, size_t *iov_count)
{
    const struct part *parts = gather->parts;
    uint64_t end = parts[first].offset;
    uint32_t i = first;
    *iov_count = 0;
    for (; i < gather->part_count && parts[i].offset <= end; i++) {
        uint64_t known = end - parts[i].offset;
        if (known >= parts[i].length)
            continue;
        gather->iov[first + (*iov_count)++] =
            (struct iovec){(void *)(parts[i].data + known), parts[i].length - known};
        end += parts[i].length - known;
    }
    return i - first;
}

/* Writes the run that begins with this part, and returns how many parts it has. */
static uint32_t run_write(struct gather *gather, uint32_t first)
{
    struct shard *shard = gather->shard;
    struct store *store = shard->stores[gather->target];
    struct store_object object = {.ino = gather->ino, .position = gather->position, .layout = gather->layout};
    struct piece *piece = &gather->pieces[first];
    size_t iov_count;
    uint32_t count = run_list(gather, first, &iov_count);
    *piece = (struct piece){.op = {.done = piece_written}, .gather = gather};
    shard_counter_add(shard, SHARD_STORE_WRITES, 1);
    int result = store->type->write(store, &object, gather->parts[first].offset, &gather->iov[first],
                                    iov_count, &piece->op);
    if (result == STORE_PENDING)
        gather->pending++;
    else
        piece_over(gather, result);
    return count;
}

/* Writes what has come. */
static void gather_write(struct gather *gather)
{
    qsort(gather->parts, gather->part_count, sizeof *gather->parts, by_offset);
    gather->pieces = calloc(gather->part_count, sizeof *gather->pieces);
    gather->iov = calloc(gather->part_count, sizeof *gather->iov);
    gather->pending = 1;
    if (!gather->pieces || !gather->iov)
        gather_fail(gather, err_set(-ENOMEM, "no memory to write a chunk"));
    for (uint32_t i = 0; i < gather->part_count && !gather->status;)
        i += run_write(gather, i);
    if (--gather->pending == 0)
        pieces_end(gather);
}

/* All that was announced is here. */
static void gather_complete(struct gather *gather)
{
    gather_forget(gather);
    if (gather->part_count > 0 && !gather->late) {
        shard_counter_add(gather->shard, SHARD_CHUNKS_GATHERED, 1);
        gather_write(gather);
    } else if (gather->pending == 0) {
        gather_free(gather);
    }
}

/* The rest is not waited for. */
static void gather_give_up(struct gather *gather)
{
    gather->late = true;
    shard_counter_add(gather->shard, SHARD_GATHERS_LATE, 1);
    if (gather->part_count > 0)
        gather_write(gather);
}

/* ---- time --------------------------------------------------------------- */

void shard_gathers_flush(struct shard *shard)
{
    list_each(&shard->gathers.by_age, link, after)
    {
        struct gather *gather = list_item(link, struct gather, by_age);
        if (!gather->late)
            gather_give_up(gather);
    }
}

/* Gives up those that have waited too long; forgets those that nothing came for in long. */
static void look(struct shard_gathers *gathers)
{
    uint64_t now = rpc_now_ns();
    list_each(&gathers->by_age, link, after)
    {
        struct gather *gather = list_item(link, struct gather, by_age);
        uint64_t age_ms = (now - gather->begun_ns) / 1000000;
        if (age_ms < gathers->wait_ms)
            break;
        if (!gather->late) {
            gather_give_up(gather);
        } else if (gather->pending == 0 && age_ms > gathers->wait_ms + GATHER_FORGET_MS) {
            gather_forget(gather);
            gather_free(gather);
        }
    }
}

static void ticked(void *arg)
{
    struct shard_gathers *gathers = &((struct shard *)arg)->gathers;
    uint64_t times;
    if (read(gathers->timer_fd, &times, sizeof times) == sizeof times)
        look(gathers);
    if (gathers->count == 0)
        tick(gathers, false);
}

int shard_gathers_open(struct shard *shard)
{
    struct shard_gathers *gathers = &shard->gathers;
    for (uint32_t i = 0; i < SHARD_GATHER_BUCKETS; i++)
        list_init(&gathers->buckets[i]);
    list_init(&gathers->by_age);
    gathers->wait_ms = shard->server->conf->gather_ms;
    gathers->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (gathers->timer_fd < 0)
        return err_sys("timerfd_create");
    return rpc_watch(shard->rpc, gathers->timer_fd, ticked, shard);
}

void shard_gathers_close(struct shard *shard)
{
    struct shard_gathers *gathers = &shard->gathers;
    struct list_link *link;
    if (gathers->timer_fd < 0)
        return;
    while ((link = list_first(&gathers->by_age))) {
        struct gather *gather = list_item(link, struct gather, by_age);
        gather_forget(gather);
        gather_free(gather);
    }
    rpc_unwatch(shard->rpc, gathers->timer_fd);
    close(gathers->timer_fd);
    gathers->timer_fd = -1;
}

/* ---- taking in ---------------------------------------------------------- */

static bool add_part(struct gather *gather, struct shard_io *io, const struct shard_run *run,
                     const uint8_t *data)
{
    if (gather->part_count == gather->part_room) {
        uint32_t room = gather->part_room ? 2 * gather->part_room : PARTS_FEW;
        struct part *parts = realloc(gather->parts, room * sizeof *parts);
        if (!parts)
            return false;
        gather->parts = parts;
        gather->part_room = room;
    }
    gather->parts[gather->part_count++] = (struct part){
        .offset = run->offset, .length = run->length, .data = data + run->data_offset, .io = io};
    io->pending++;
    return true;
}

/* Gives one run to the gather of its chunk, or writes it. */
static void take_run(struct shard_io *io, struct shard_run *run, const uint8_t *data,
                     const struct wire_gather_chunk *chunk)
{
    struct shard_gathers *gathers = &io->shard->gathers;
    struct gather *gather = gather_find(gathers, io->capability.ino, io->gather, run->chunk);
    if (!gather)
        gather = gather_new(io, run, chunk);
    if (!gather || gather->late || !chunk->hold || !add_part(gather, io, run, data))
        shard_write_run(io, run, data);
    if (gather && (gather->arrived += run->length) >= gather->expected)
        gather_complete(gather);
}

/* Moves on to the entry of chunk `index`, if the list, which rises, has one. */
static bool find_chunk(struct wire_reader *reader, uint32_t *left, uint64_t index,
                       struct wire_gather_chunk *chunk)
{
    while (chunk->bytes == 0 || chunk->chunk < index) {
        if (*left == 0)
            return false;
        wire_get_gather_chunk(reader, chunk);
        --*left;
    }
    return chunk->chunk == index;
}

void shard_gather_runs(struct shard_io *io, const uint8_t *data)
{
    struct wire_reader reader = wire_list_reader(&io->chunks);
    struct wire_gather_chunk chunk = {0};
    uint32_t left = io->chunks.count;
    for (uint32_t i = 0; i < io->run_count && !io->status; i++) {
        struct shard_run *run = &io->runs[i];
        if (find_chunk(&reader, &left, run->chunk, &chunk))
            take_run(io, run, data, &chunk);
        else
            shard_write_run(io, run, data);
    }
    /* Those in line may be the ones that are waited for. */
    if (bufpool_is_short(io->shard->pool) || rpc_is_short(io->shard->rpc))
        shard_gathers_flush(io->shard);
}
