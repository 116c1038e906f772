/* SPDX-License-Identifier: Apache-2.0 */
#include "shard.h"

#include <errno.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "err.h"
#include "log.h"
#include "pin.h"
#include "signals.h"
#include "sweep.h"

/* What is under way gets so long to end after a stop was asked for. */
enum { SHARD_STOP_MS = 5000 };

static const char *const counter_names[SHARD_COUNTERS] = {
    [SHARD_BYTES_WRITTEN] = "bytes_written",
    [SHARD_BYTES_READ] = "bytes_read",
    [SHARD_EXTENTS_WRITTEN] = "extents_written",
    [SHARD_EXTENTS_READ] = "extents_read",
    [SHARD_STORE_WRITES] = "store_writes",
    [SHARD_STORE_READS] = "store_reads",
    [SHARD_STORE_ERRORS] = "store_errors",
    [SHARD_SYNCS] = "syncs",
    [SHARD_COPIES] = "copies",
    [SHARD_BUFFER_WAITS] = "buffer_waits",
    [SHARD_REQUESTS_PARKED] = "requests_parked",
    [SHARD_REQUESTS_REFUSED] = "requests_refused",
    [SHARD_REQUESTS_STALE] = "requests_stale",
    [SHARD_LOCKS_GRANTED] = "locks_granted",
    [SHARD_LOCKS_WAITED] = "locks_waited",
    [SHARD_LOCKS_RELEASED] = "locks_released",
    [SHARD_LOCKS_LOST] = "locks_lost",
    [SHARD_CHUNKS_GATHERED] = "chunks_gathered",
    [SHARD_GATHERS_LATE] = "gathers_late",
    [SHARD_BYTES_SCRUBBED] = "bytes_scrubbed",
    [SHARD_BYTES_DISCARDED] = "bytes_discarded",
    [SHARD_SCRUBS] = "scrubs",
    [SHARD_BLOCKS_DAMAGED] = "blocks_damaged",
    [SHARD_FAULTS_MADE] = "faults_made",
    [SHARD_CHANGES_WAITED] = "changes_waited",
    [SHARD_COPIES_SENT] = "copies_sent",
    [SHARD_COPIES_FAILED] = "copies_failed",
    [SHARD_COPIES_TAKEN] = "copies_taken",
    [SHARD_PIECES_COMPARED] = "pieces_compared",
    [SHARD_BYTES_RESYNCED] = "bytes_resynced",
    [SHARD_BYTES_MENDED] = "bytes_mended",
    [SHARD_MENDS_FAILED] = "mends_failed",
    [SHARD_LEASES_WAITED] = "leases_waited",
    [SHARD_SWEEPS] = "sweeps",
    [SHARD_OBJECTS_SWEPT] = "objects_swept",
};

void shard_counter_add(struct shard *shard, enum shard_counter which, uint64_t amount)
{
    counter_add(&shard->counters[which], amount);
}

/* ---- requests that wait ------------------------------------------------- */

struct parked {
    struct list_link link;
    struct rpc_request *request;
    unsigned tries;
};

void shard_park(struct shard *shard, struct rpc_request *request, unsigned tries)
{
    struct parked *parked = malloc(sizeof *parked);
    if (!parked) {
        rpc_reply(request, err_set(-ENOMEM, "no memory for a request"), NULL, 0, NULL, 0, NULL, NULL);
        return;
    }
    parked->request = request;
    parked->tries = tries;
    list_push_back(&shard->parked, &parked->link);
    shard_counter_add(shard, SHARD_REQUESTS_PARKED, 1);
}

/* Looks at all of them again; what must wait on goes into the list anew. `asked`: the metadata server was,
 * since they came. A newer map that comes by itself need not be the one that they wait for. */
static void unpark(struct shard *shard, bool asked)
{
    struct list list;
    struct list_link *link;
    list_init(&list);
    while ((link = list_pop(&shard->parked)))
        list_push_back(&list, link);
    while ((link = list_pop(&list))) {
        struct parked *parked = list_item(link, struct parked, link);
        shard_serve(shard, parked->request, asked || !parked->tries ? parked->tries : parked->tries - 1);
        free(parked);
    }
}

void shard_older_ended(struct shard *shard)
{
    shard->older_ended = true;
    rpc_wake(shard->rpc);
}

static void unpark_older(struct shard *shard)
{
    if (!shard->older_ended)
        return;
    shard->older_ended = false;
    unpark(shard, false);
}

/* Nobody waits for these any more. */
static void peer_down(void *arg, struct rpc_peer *peer)
{
    struct shard *shard = arg;
    list_each(&shard->parked, link, after)
    {
        struct parked *parked = list_item(link, struct parked, link);
        if (parked->request->peer != peer)
            continue;
        list_remove(link);
        rpc_reply(parked->request, err_set(-ECONNRESET, "the client is gone"), NULL, 0, NULL, 0, NULL, NULL);
        free(parked);
    }
    shard_locks_peer_down(shard, peer);
}

static void request_came(void *arg, struct rpc_request *request)
{
    shard_serve(arg, request, 0);
}

/* ---- the map ------------------------------------------------------------ */

void shard_map_put(struct shard *shard, struct map *map)
{
    map_unref(atomic_exchange(&shard->map_new, map));
    rpc_wake(shard->rpc);
}

void shard_map_confirm(struct shard *shard)
{
    atomic_store(&shard->map_confirmed, true);
    rpc_wake(shard->rpc);
}

static bool is_ours(const struct server *server, uint32_t target_id)
{
    for (uint32_t i = 0; i < server->target_count; i++)
        if (server->targets[i].id == target_id)
            return true;
    return false;
}

/* Of the members of all groups with a target of ours: when it stays the same,
 * a client with the older map is right about everything here. */
static uint64_t digest_of(const struct server *server, const struct map *map)
{
    uint64_t digest = 0;
    for (uint32_t g = 0; g < map->group_count; g++) {
        const struct map_group *group = &map->groups[g];
        uint64_t of_group = layout_hash(g);
        bool ours = false;
        for (uint32_t m = 0; m < group->member_count; m++) {
            uint32_t id = map->targets[group->members[m]].id;
            ours = ours || is_ours(server, id);
            of_group = layout_hash(of_group ^ id);
        }
        if (ours)
            digest = layout_hash(digest ^ of_group);
    }
    return digest;
}

/* The version that told of our targets' latest loss. Who names an earlier one does not know of it, and would
 * take what he writes for a part of what may be lost, or what is lost for synced. */
static uint64_t lost_at(const struct server *server, const struct map *map)
{
    uint64_t latest = 0;
    for (uint32_t i = 0; i < server->target_count; i++) {
        const struct map_target *target = map_target_by_id(map, server->targets[i].id);
        if (target && target->lost_at > latest)
            latest = target->lost_at;
    }
    return latest; /* a group's is a change of the group, too */
}

/* The version with which leader or states of a group of ours have changed last. */
static uint64_t changed_at(const struct server *server, const struct map *map)
{
    uint64_t latest = 0;
    for (uint32_t g = 0; g < map->group_count; g++) {
        const struct map_group *group = &map->groups[g];
        for (uint32_t m = 0; m < group->member_count; m++)
            if (group->changed > latest && is_ours(server, map->targets[group->members[m]].id))
                latest = group->changed;
    }
    return latest;
}

static void take_map(struct shard *shard)
{
    struct map *map = atomic_exchange(&shard->map_new, NULL);
    if (!map || (shard->map && shard->map->version >= map->version)) {
        map_unref(map);
        if (shard->map && atomic_exchange(&shard->map_confirmed, false))
            unpark(shard, true);
        return;
    }
    const uint64_t changed_before = shard->map_changed;
    uint64_t digest = digest_of(shard->server, map);
    if (shard->map && shard->map_digest != digest)
        shard->map_changed = map->version;
    const uint64_t lost = lost_at(shard->server, map), changed = changed_at(shard->server, map);
    if (lost > shard->map_changed)
        shard->map_changed = lost;
    if (changed > shard->map_changed)
        shard->map_changed = changed;
    if (shard->map_changed != changed_before)
        shard->changing_now = 0;
    shard->map_digest = digest;
    map_unref(shard->map);
    shard->map = map;
    atomic_store(&shard->map_adopted, map->version);
    lead_map_changed(shard);
    unpark(shard, false);
}

/* ---- the stores --------------------------------------------------------- */

static void stores_progress(void *arg)
{
    struct shard *shard = arg;
    for (uint32_t i = 0; i < shard->server->target_count; i++)
        shard->stores[i]->type->progress(shard->stores[i]);
}

/* Where nothing is said: a disk is told, since nobody else is who would tell it. A file system is not: it
 * knows what is in use anyhow, and what is given back may be gone when it is wanted again. */
static uint64_t discard_rate(const struct conf *conf, const struct target *target)
{
    enum { DISK_RATE = 64 << 20 };
    if (conf->discard_rate != CONF_DISCARD_RATE_BY_TARGET)
        return conf->discard_rate;
    return target->is_disk ? DISK_RATE : 0;
}

/* The scrubber's. */
static void damage_found(void *arg, uint64_t ino, uint32_t position, uint64_t offset, uint64_t length)
{
    const struct shard_target *of = arg;
    const struct store_object object = {.ino = ino, .position = position};
    lead_mend_want(of->shard, of->target, &object, offset, length);
}

static int store_open(struct shard *shard, uint32_t i)
{
    const struct target *target = &shard->server->targets[i];
    struct store_config config = {
        .target = target,
        .shard = shard->index,
        .direct_io = shard->server->conf->direct_io == CONF_DIRECT_ON,
        .scrub = {.rate = shard->server->conf->scrub_rate,
                  .pause_ms = shard->server->conf->scrub_pause_s * UINT64_C(1000),
                  .bytes = &shard->counters[SHARD_BYTES_SCRUBBED],
                  .passes = &shard->counters[SHARD_SCRUBS],
                  .damaged = &shard->counters[SHARD_BLOCKS_DAMAGED],
                  .found = damage_found,
                  .arg = &shard->damage_args[i]},
        .discard = {.rate = discard_rate(shard->server->conf, target),
                    .bytes = &shard->counters[SHARD_BYTES_DISCARDED]},
        .faults = {.rules = shard->server->faults, .made = &shard->counters[SHARD_FAULTS_MADE]},
    };
    shard->damage_args[i] = (struct shard_target){.shard = shard, .target = i};
    int error = target->store_type->open(&config, &shard->stores[i]);
    if (error)
        return error;
    struct epoll_event event = {.events = EPOLLIN};
    struct store *store = shard->stores[i];
    return epoll_ctl(shard->stores_fd, EPOLL_CTL_ADD, store->type->fd(store), &event) ? err_sys("epoll_ctl")
                                                                                      : 0;
}

/* One descriptor stands for all stores, so that rpc has one to watch. */
static int stores_open(struct shard *shard)
{
    shard->stores = calloc(shard->server->target_count, sizeof(struct store *));
    shard->damage_args = calloc(shard->server->target_count, sizeof *shard->damage_args);
    if (!shard->stores || !shard->damage_args)
        return err_set(-ENOMEM, "no memory for the stores");
    shard->stores_fd = epoll_create1(EPOLL_CLOEXEC);
    if (shard->stores_fd < 0)
        return err_sys("epoll_create1");
    for (uint32_t i = 0; i < shard->server->target_count; i++) {
        int error = store_open(shard, i);
        if (error)
            return error;
    }
    return 0;
}

static int stores_close(struct shard *shard)
{
    int first = 0;
    for (uint32_t i = 0; shard->stores && i < shard->server->target_count; i++) {
        struct store *store = shard->stores[i];
        int error = store ? store->type->close(store) : 0;
        if (error) {
            log_error("shard %" PRIu32 ": %s", shard->index, err_text());
            atomic_store(&shard->server->targets[i].has_failed, true);
        }
        first = first ? first : error;
    }
    free(shard->stores);
    free(shard->damage_args);
    shard->stores = NULL;
    shard->damage_args = NULL;
    if (shard->stores_fd >= 0)
        close(shard->stores_fd);
    shard->stores_fd = -1;
    return first;
}

/* ---- the thread --------------------------------------------------------- */

struct start {
    struct shard *shard;
    sem_t done;
    int status;
    char text[LIMITS_ERROR_TEXT_MAX + 1];
};

static void shortage(void *arg)
{
    shard_gathers_flush(arg);
}

static const struct rpc_service service = {
    .request = request_came, .peer_down = peer_down, .shortage = shortage};

/* Shard k listens on port + k, or on any port. */
static int listen_address(const struct shard *shard, char address[LIMITS_ADDRESS_MAX + 1])
{
    const char *text = shard->server->storage->listen, *colon = strrchr(text, ':');
    unsigned long port = colon ? strtoul(colon + 1, NULL, 10) : 0;
    if (!colon || port > 65535 || (port && port + shard->index > 65535))
        return err_set(-EINVAL, "shard %" PRIu32 " can't listen: %s leaves it no port", shard->index, text);
    snprintf(address, LIMITS_ADDRESS_MAX + 1, "%.*s:%lu", (int)(colon - text), text,
             port ? port + shard->index : 0);
    return 0;
}

static int open_all(struct shard *shard)
{
    const struct conf *conf = shard->server->conf;
    struct rpc_config config = {.conf = conf,
                                .name = shard->server->who,
                                .role = WIRE_ROLE_STORAGE,
                                .service = &service,
                                .arg = shard,
                                .devices = pin_devices(shard->server->pins, shard->index)};
    char address[LIMITS_ADDRESS_MAX + 1];
    pin_begin(shard->server->pins, shard->index);
    int error = stores_open(shard);
    if (!error)
        error = shard_locks_open(shard);
    if (!error)
        error = listen_address(shard, address);
    if (!error)
        error = rpc_open(&config, &shard->rpc);
    if (!error)
        error = bufpool_open(shard->rpc, conf->memory_bytes, LIMITS_IO_BYTES_MAX, &shard->pool);
    if (!error && conf->replicas > 1)
        error = bufpool_open(shard->rpc, conf->memory_bytes, LIMITS_IO_BYTES_MAX, &shard->copy_pool);
    if (!error)
        error = lead_open(shard);
    if (!error)
        pin_memory(shard->server->pins, shard->index, shard->pool);
    if (!error)
        error = rpc_watch(shard->rpc, shard->stores_fd, stores_progress, shard);
    if (!error)
        error = shard_gathers_open(shard);
    if (!error)
        error = sweep_open(shard);
    if (!error)
        error = rpc_listen(shard->rpc, address, shard->bound);
    /* What has begun threads of its own has done so by now. */
    if (!error)
        pin_end(shard->server->pins, shard->index);
    return error;
}

static int close_all(struct shard *shard)
{
    if (shard->under_way) {
        /* Memory is in use by what did not end: the end of the process frees it. */
        log_warn("shard %" PRIu32 ": %" PRIu32 " requests did not end in time and are given up", shard->index,
                 shard->under_way);
        return -ETIMEDOUT;
    }
    sweep_close(shard);
    shard_gathers_close(shard);
    bufpool_close(shard->pool);
    if (shard->copy_pool)
        bufpool_close(shard->copy_pool);
    shard->pool = shard->copy_pool = NULL;
    if (shard->rpc) {
        if (shard->stores_fd >= 0)
            rpc_unwatch(shard->rpc, shard->stores_fd);
        rpc_close(shard->rpc);
    }
    shard->rpc = NULL;
    /* Of clients that had gone before these were parked. */
    for (struct list_link *link; (link = list_pop(&shard->parked));)
        free(list_item(link, struct parked, link));
    lead_close(shard);
    shard_locks_close(shard);
    int error = stores_close(shard);
    map_unref(shard->map);
    shard->map = NULL;
    return error;
}

/* For top, hwloc-ps and the like. Threads inherit it, so those that the shard began come first. */
static void set_name(const struct shard *shard)
{
    char name[16];
    snprintf(name, sizeof name, "shard-%" PRIu32, shard->index);
    pthread_setname_np(pthread_self(), name);
}

/* Who waits for a commit that comes by itself would hold up the end. */
static void hurry_stores(struct shard *shard)
{
    for (uint32_t i = 0; i < shard->server->target_count; i++) {
        struct store *store = shard->stores[i];
        if (store && store->type->settle)
            store->type->settle(store, true, NULL);
    }
}

/* Negative: no limit. */
static int sooner_ms(int a_ms, int b_ms)
{
    return a_ms < 0 || (b_ms >= 0 && b_ms < a_ms) ? b_ms : a_ms;
}

static int timeout_ms(const struct shard *shard)
{
    const int ms = sooner_ms(shard_locks_timeout_ms(shard), lead_timeout_ms(shard));
    return sooner_ms(ms, sweep_timeout_ms(shard));
}

static void run_loop(struct shard *shard)
{
    while (!atomic_load(&shard->stop)) {
        rpc_wait(shard->rpc, timeout_ms(shard));
        take_map(shard);
        unpark_older(shard);
        shard_locks_tick(shard);
        lead_tick(shard);
        sweep_tick(shard);
    }
    lead_sync_stop(shard);
    shard_gathers_flush(shard);
    hurry_stores(shard);
    uint64_t end = rpc_now_ns() + SHARD_STOP_MS * UINT64_C(1000000), now;
    /* Changes may wait for the map. */
    while (shard->under_way && (now = rpc_now_ns()) < end) {
        const int left_ms = (int)((end - now) / 1000000) + 1, lead_ms = lead_timeout_ms(shard);
        rpc_wait(shard->rpc, lead_ms >= 0 && lead_ms < left_ms ? lead_ms : left_ms);
        take_map(shard);
        lead_tick(shard);
    }
}

static void *run(void *arg)
{
    struct start *start = arg;
    struct shard *shard = start->shard;
    int error = open_all(shard);
    if (error) {
        start->status = error;
        snprintf(start->text, sizeof start->text, "%s", err_text());
        close_all(shard);
    } else
        set_name(shard);
    sem_post(&start->done); /* `start` is gone after this */
    if (error)
        return NULL;
    run_loop(shard);
    return (void *)(intptr_t)close_all(shard);
}

/* Signals are the main thread's. */
static int create_thread(struct shard *shard, struct start *start)
{
    sigset_t before;
    signals_hold(&before);
    errno = pthread_create(&shard->thread, NULL, run, start);
    int error = errno ? err_sys("start the thread of shard %" PRIu32, shard->index) : 0;
    signals_release(&before);
    return error;
}

int shard_start(struct shard *shard, struct server *server, uint32_t index)
{
    struct start start = {.shard = shard};
    memset(shard, 0, sizeof *shard);
    shard->server = server;
    shard->index = index;
    shard->stores_fd = shard->gathers.timer_fd = -1;
    list_init(&shard->parked);
    for (unsigned i = 0; i < SHARD_COUNTERS; i++)
        shard->counters[i].name = counter_names[i];
    sem_init(&start.done, 0, 0);
    int error = create_thread(shard, &start);
    if (!error) {
        while (sem_wait(&start.done) && errno == EINTR)
            ;
        if (start.status) {
            pthread_join(shard->thread, NULL);
            error = err_set(start.status, "%s", start.text);
        }
    }
    sem_destroy(&start.done);
    shard->thread_runs = !error;
    return error;
}

void shard_stop_ask(struct shard *shard)
{
    atomic_store(&shard->stop, true);
    if (shard->thread_runs)
        rpc_wake(shard->rpc);
}

int shard_stop_wait(struct shard *shard)
{
    void *status = NULL;
    if (shard->thread_runs)
        pthread_join(shard->thread, &status);
    shard->thread_runs = false;
    map_unref(atomic_exchange(&shard->map_new, NULL));
    return (int)(intptr_t)status;
}
