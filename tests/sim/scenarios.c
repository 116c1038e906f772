/* SPDX-License-Identifier: Apache-2.0 */
#include "scenarios.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "scenarios_internal.h"
#include "sim.h"
#include "wire.h"

/* One client, one storage server with one shard. */
static void prepare_small(void)
{
    cluster.storage_count = cluster.client_count = cluster.shards = cluster.targets = 1;
    cluster.moves = false;
}

weft_session_t *connect_client(void)
{
    weft_session_t *session;
    if (weft_connect(process_current->conf_path, &session))
        sim_fail("%s", weft_error());
    return session;
}

static weft_file_t *open_new(weft_session_t *session, const char *path)
{
    weft_file_t *file;
    if (weft_file_open(session, path, O_RDWR | O_CREAT | O_EXCL, 0600, NULL, &file))
        sim_fail("%s", weft_error());
    return file;
}

void must(int64_t result, int64_t wanted)
{
    if (result != wanted)
        sim_fail("%" PRId64 ", not %" PRId64 ": %s", result, wanted, weft_error());
}

/* ---- an old write arrives late -------------------------------------------------- */

/* The client's connection is cut while a write is on its way, and the server does not see it. The client
 * connects anew, sends the write again, and another one. The first copy of the first one comes in the end.
 * */
static void *run_late_write(void *unused)
{
    weft_session_t *session = connect_client();
    weft_file_t *file = open_new(session, "/f");
    char first[512], second[512], found[512];
    (void)unused;
    memset(first, 'a', sizeof first);
    memset(second, 'b', sizeof second);
    must(weft_file_write(file, second, sizeof second, 0), sizeof second); /* connects */
    weather_hold(process_current->host, SIM_S);
    sim_at(sim_now() + SIM_MS, (void (*)(void *))streams_cut_unnoticed, process_current);
    must(weft_file_write(file, first, sizeof first, 0), sizeof first);
    must(weft_file_write(file, second, sizeof second, 0), sizeof second);
    fiber_sleep(2 * SIM_S);
    must(weft_file_read(file, found, sizeof found, 0), sizeof found);
    if (memcmp(found, second, sizeof found) != 0)
        sim_fail("a write that was replaced is there again");
    must(weft_file_close(file), 0);
    weft_disconnect(session);
    return NULL;
}

/* ---- a message comes twice ------------------------------------------------------- */

static void prepare_twice(void)
{
    prepare_small();
    weather.twice = 1000000;
}

/* A renaming that found nothing, and comes again when there is something. */
static void *run_twice(void *unused)
{
    weft_session_t *session = connect_client();
    struct weft_attr attr;
    (void)unused;
    for (unsigned i = 0; i < 20; i++) {
        must(weft_rename(session, "/a", "/b"), -ENOENT);
        must(weft_file_close(open_new(session, "/a")), 0);
        fiber_sleep(SIM_S);
        must(weft_stat(session, "/b", 0, &attr), -ENOENT);
        must(weft_unlink(session, "/a"), 0);
    }
    weft_disconnect(session);
    return NULL;
}

/* ---- a storage server moves ------------------------------------------------------- */

static void prepare_move(void)
{
    prepare_small();
    cluster.moves = true;
}

static void kill_storage(void *unused)
{
    (void)unused;
    cluster_server_end(&cluster.storage[0], SERVER_KILLED, 10 * SIM_MS);
}

static void *truncate_other(void *file)
{
    fiber_sleep(SIM_S);
    must(weft_file_truncate(file, 100), 0);
    return NULL;
}

/* While the metadata server has it cut a file, a storage server is killed, and comes back on another port,
 * which the next question to it brings to light. */
static void *run_move(void *unused)
{
    weft_session_t *session = connect_client();
    weft_file_t *file = open_new(session, "/f"), *other = open_new(session, "/g");
    char bytes[512] = {1};
    pthread_t thread;
    uint64_t size;
    (void)unused;
    must(weft_file_write(file, bytes, sizeof bytes, 0), sizeof bytes);
    must(weft_file_write(other, bytes, sizeof bytes, 0), sizeof bytes);
    must(weft_file_truncate(file, 300), 0); /* the metadata server connects */
    weather_hold(cluster.metadata.host, SIM_S);
    sim_at(sim_now() + SIM_MS, kill_storage, NULL);
    pthread_create(&thread, NULL, truncate_other, other);
    must(weft_file_truncate(file, 200), 0);
    pthread_join(thread, NULL);
    must(weft_file_size(file, &size), 0);
    must((int64_t)size, 200);
    must(weft_file_close(file), 0);
    must(weft_file_close(other), 0);
    weft_disconnect(session);
    return NULL;
}

/* ---- a host crashes between a write and its sync -------------------------------------- */

static void crash_storage(void *how)
{
    cluster_server_end(&cluster.storage[0], (enum server_end)(uintptr_t)how, 10 * SIM_MS);
}

static void lose_storage(enum server_end how)
{
    sim_at(sim_now(), crash_storage, (void *)(uintptr_t)how);
    fiber_sleep(5 * SIM_S);
}

/* The death of the server alone loses nothing, and a stop even less. A crash of its host does, and whoever
 * has the file open since before is told once, also of what was written by another handle. */
static void *run_lost(void *unused)
{
    static const struct weft_layout striped = {0};
    weft_session_t *session = connect_client();
    weft_file_t *file, *other;
    char bytes[512] = {1}, blob[4096];
    (void)unused;
    must(weft_file_open(session, "/f", O_RDWR | O_CREAT, 0600, &striped, &file), 0);
    const ssize_t length = weft_file_export(file, blob, sizeof blob);
    must(length > 0 && length <= (ssize_t)sizeof blob, 1);
    must(weft_file_import(session, blob, (size_t)length, &other), 0);
    for (enum server_end how = SERVER_STOPS; how <= SERVER_CRASHES; how++) {
        must(weft_file_write(other, bytes, sizeof bytes, 0), sizeof bytes);
        lose_storage(how);
        must(weft_file_sync(file), how == SERVER_CRASHES ? -EIO : 0);
    }
    must(weft_file_sync(file), 0);
    must(weft_file_sync(other), -EIO);
    must(weft_file_sync(other), 0);
    must(weft_file_close(other), 0);
    must(weft_file_close(file), 0);
    weft_disconnect(session);
    return NULL;
}

/* ---- a host crashes while a small file is moved to it --------------------------------- */

/* What a small file has is durable, and stays so when it spills, whenever the host that gets it crashes. */
static void *run_spill(void *unused)
{
    weft_session_t *session = connect_client();
    char bytes[512], found[512], path[16];
    ssize_t result;
    (void)unused;
    memset(bytes, 'a', sizeof bytes);
    for (unsigned i = 0; i < 40; i++) {
        snprintf(path, sizeof path, "/f%u", i);
        weft_file_t *file = open_new(session, path);
        must(weft_file_write(file, bytes, sizeof bytes, 0), sizeof bytes);
        sim_at(sim_now() + sim_below(4 * SIM_MS), crash_storage, (void *)(uintptr_t)SERVER_CRASHES);
        do /* who was connected learns of the crash late */
            result = weft_file_write(file, bytes, sizeof bytes, 8192);
        while (result == -ETIMEDOUT);
        must(result, sizeof bytes);
        fiber_sleep(5 * SIM_S);
        must(weft_file_read(file, found, sizeof found, 0), sizeof found);
        if (memcmp(found, bytes, sizeof found) != 0)
            sim_fail("%s lost what was durable when it spilled", path);
        must(weft_file_close(file), 0);
        must(weft_unlink(session, path), 0);
    }
    weft_disconnect(session);
    return NULL;
}

/* ---- a host crashes between a removal and the next commit ------------------------------ */

/* A removal that was answered is asked for by nobody any more, so no crash may undo it. */
static void *run_removed(void *unused)
{
    static const struct weft_layout striped = {0};
    weft_session_t *session = connect_client();
    char bytes[512] = {1};
    weft_file_t *file;
    ssize_t result;
    (void)unused;
    for (unsigned i = 0; i < 4; i++) {
        must(weft_file_open(session, "/f", O_RDWR | O_CREAT, 0600, &striped, &file), 0);
        do /* who was connected learns of the crash late */
            result = weft_file_write(file, bytes, sizeof bytes, 0);
        while (result == -ETIMEDOUT);
        must(result, sizeof bytes);
        must(weft_file_sync(file), 0);
        must(weft_file_close(file), 0);
        must(weft_unlink(session, "/f"), 0);
        fiber_sleep(sim_below(3 * SIM_S));
        lose_storage(SERVER_CRASHES);
    }
    fiber_sleep(10 * SIM_S);
    weft_disconnect(session);
    return NULL;
}

/* ---- what is said of a lock is not heard ------------------------------------------------ */

static void hear(void *unused)
{
    (void)unused;
    weather.lost = 0;
}

/* Nothing arrives for longer than the deadline of one request. */
static void be_deaf(void)
{
    weather.lost = 1000000;
    sim_at(sim_now() + 6 * SIM_S, hear, NULL);
}

static void wait_for_hearing(weft_session_t *session)
{
    struct weft_attr attr;
    while (weather.lost)
        fiber_sleep(SIM_S);
    for (unsigned i = 0; i < 10; i++) { /* each lets the session go on with what it owes */
        (void)weft_stat(session, "/f", 0, &attr);
        fiber_sleep(SIM_S);
    }
}

/* A lock that could not be given back is not kept for as long as its client is there. */
static void *run_unheard(void *unused)
{
    weft_session_t *session = connect_client(), *other = connect_client();
    weft_file_t *file = open_new(session, "/f"), *same;
    const struct weft_extent extent = {0, 10};
    weft_lock_t *lock;
    (void)unused;
    must(weft_file_open(other, "/f", O_RDWR, 0, NULL, &same), 0);

    must(weft_file_lock(file, &extent, 1, true, &lock), 0);
    be_deaf();
    must(weft_file_unlock(lock), -ETIMEDOUT);
    wait_for_hearing(session);
    must(weft_file_trylock(same, &extent, 1, true, &lock), 0);
    must(weft_file_unlock(lock), 0);
    must(weft_file_close(file), 0);
    must(weft_file_close(same), 0);
    weft_disconnect(session);
    weft_disconnect(other);
    return NULL;
}

/* ---- a record that failed, as its owner was told ------------------------------------------ */

static int set_record(weft_file_t *file, enum weft_lock_type type, uint64_t offset, uint64_t length)
{
    const struct weft_record record = {.owner = 1, .extent = {offset, length}, .type = type};
    return weft_file_lock_set(file, &record, 0);
}

/* The next request, or answer to one, takes longer than its deadline. */
static void hold_up(enum wire_operation operation, bool is_reply, uint64_t ns)
{
    const unsigned client = process_current->host, server = cluster.storage[0].host;
    weather_watch(&(struct weather_watch){.from = is_reply ? server : client,
                                          .to = is_reply ? client : server,
                                          .operation = operation,
                                          .is_reply = is_reply,
                                          .hold_ns = ns});
}

/* What somebody else finds in the way of a lock of 0-100. */
static void must_find(weft_file_t *file, enum weft_lock_type type, uint64_t offset, uint64_t length)
{
    const struct weft_record all = {.owner = 1, .extent = {0, 100}, .type = WEFT_LOCK_EXCLUSIVE};
    struct weft_record found = {.type = WEFT_LOCK_NONE};
    must(weft_file_lock_test(file, &all, &found), type != WEFT_LOCK_NONE);
    must(found.type, type);
    must((int64_t)found.extent.offset, (int64_t)offset);
    must((int64_t)found.extent.length, (int64_t)length);
}

/* A failure changes nothing, whatever the server has made of the request. */
static void *run_unsaid(void *unused)
{
    weft_session_t *session = connect_client(), *other = connect_client();
    weft_file_t *file = open_new(session, "/f"), *same;
    (void)unused;
    must(weft_file_open(other, "/f", O_RDWR, 0, NULL, &same), 0);

    /* It was granted, and nobody heard of it. */
    hold_up(WIRE_OP_record, true, 6 * SIM_S);
    must(set_record(file, WEFT_LOCK_EXCLUSIVE, 5, 10), -ETIMEDOUT);
    fiber_sleep(SIM_S);
    must_find(same, WEFT_LOCK_NONE, 0, 0);

    /* Likewise, and its owner had something there, which he keeps. */
    must(set_record(file, WEFT_LOCK_SHARED, 0, 20), 0);
    hold_up(WIRE_OP_record, true, 6 * SIM_S);
    must(set_record(file, WEFT_LOCK_EXCLUSIVE, 5, 10), -ETIMEDOUT);
    fiber_sleep(SIM_S);
    must_find(same, WEFT_LOCK_SHARED, 0, 20);

    /* It is not heard yet that it is not wanted when its owner goes on. */
    hold_up(WIRE_OP_record, true, 6 * SIM_S);
    hold_up(WIRE_OP_record_cancel, false, 2 * SIM_S);
    must(set_record(file, WEFT_LOCK_EXCLUSIVE, 10, 20), -ETIMEDOUT);
    must(set_record(file, WEFT_LOCK_EXCLUSIVE, 25, 15), 0);
    fiber_sleep(3 * SIM_S);
    must_find(same, WEFT_LOCK_SHARED, 0, 20);

    /* What could not be given back is given back later, */
    be_deaf();
    must(set_record(file, WEFT_LOCK_NONE, 0, 100), -ETIMEDOUT);
    wait_for_hearing(session);
    must_find(same, WEFT_LOCK_NONE, 0, 0);

    /* but not what is asked for after that. */
    must(set_record(file, WEFT_LOCK_EXCLUSIVE, 0, 10), 0);
    hold_up(WIRE_OP_record, false, 6 * SIM_S);
    hold_up(WIRE_OP_record, false, 2 * SIM_S);
    must(set_record(file, WEFT_LOCK_NONE, 0, 10), -ETIMEDOUT);
    must(set_record(file, WEFT_LOCK_EXCLUSIVE, 5, 10), 0);
    fiber_sleep(3 * SIM_S);
    must_find(same, WEFT_LOCK_EXCLUSIVE, 5, 10);
    must(weft_file_close(file), 0);
    must(weft_file_close(same), 0);
    weft_disconnect(session);
    weft_disconnect(other);
    return NULL;
}

const struct scenario scenarios[] = {
    {"late-write", prepare_small, run_late_write, false},
    {"twice", prepare_twice, run_twice, false},
    {"move", prepare_move, run_move, false},
    {"lost", prepare_small, run_lost, false},
    {"spill", prepare_small, run_spill, false},
    {"removed", prepare_small, run_removed, .leaves_nothing = true},
    {"unheard", prepare_small, run_unheard, false},
    {"unsaid", prepare_small, run_unsaid, false},
    {"older-map", prepare_three, run_older_map, false},
    {"promise", prepare_replicas, run_promise, false},
    {"newer-map", prepare_replicas, run_newer_map, false},
    {"overtaken", prepare_replicas, run_overtaken, .leaves_nothing = true},
    {"unclean", prepare_fetched, run_unclean, false},
    {"cut-off", prepare_replicas, run_cut_off, false},
    {"read-moved", prepare_replicas, run_read_moved, false},
    {"late-copy", prepare_replicas, run_late_copy, false},
    {"late-change", prepare_whole, run_late_change, false},
    {"replica-lost", prepare_replicas, run_replica_lost, false},
    {"line-moved", prepare_replicas, run_line_moved, false},
    {"fetch-moved", prepare_fetched, run_fetch_moved, false},
    {"lease-lost", prepare_swept, run_lease_lost, .leaves_nothing = true},
    {"replicas-swept", prepare_swept_replicas, run_lease_lost, .leaves_nothing = true},
    {"asked-early", prepare_swept, run_asked_early, .leaves_nothing = true},
    {"size-lost", prepare_reopened, run_size_lost, .leaves_nothing = true},
    {"told-moved", prepare_replicas, run_told_moved, .leaves_nothing = true},
};
const unsigned scenario_count = sizeof scenarios / sizeof scenarios[0];

const struct scenario *scenario_find(const char *name)
{
    for (unsigned i = 0; i < scenario_count; i++)
        if (strcmp(scenarios[i].name, name) == 0)
            return &scenarios[i];
    fprintf(stderr, "there is no scenario %s\n", name);
    exit(2);
}
