/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What time does: clients that are gone lose their handles, storage servers
 * that are silent go down, old answers and orphans are cleared away.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "log.h"
#include "records.h"
#include "service_internal.h"

#define MS UINT64_C(1000000)
#define DAY_NS (INT64_C(86400) * 1000000000)
#define ANSWERS_INTERVAL_NS (UINT64_C(60) * 1000000000)

enum { ORPHANS_BATCH = 256 };

static bool always(struct job *job)
{
    (void)job;
    return true;
}

/* ---- after a start ------------------------------------------------------ */

struct restoring {
    struct service *service;
    struct store_txn *txn;
    struct writer *lost; /* writers of inodes that do not exist */
    size_t lost_count, lost_size;
};

static int note_lost(struct restoring *restoring, const struct writer *writer)
{
    if (restoring->lost_count == restoring->lost_size) {
        size_t size = restoring->lost_size ? 2 * restoring->lost_size : 64;
        struct writer *bigger = realloc(restoring->lost, size * sizeof *bigger);
        if (!bigger)
            return err_set(-ENOMEM, "no memory for the files that were open for writing");
        restoring->lost = bigger;
        restoring->lost_size = size;
    }
    restoring->lost[restoring->lost_count++] = *writer;
    return 0;
}

static int restore(void *arg, const struct writer *writer)
{
    struct restoring *restoring = arg;
    struct service *service = restoring->service;
    struct inode inode;
    int error = records_inode_get(restoring->txn, writer->ino, &inode);
    if (error) {
        log_error("file open for writing: %s", err_text());
        return error == -ENOENT ? note_lost(restoring, writer) : 0;
    }
    struct opens_client *client = opens_client_get(service->opens, writer->client);
    if (!client)
        return -ENOMEM;
    client->lost_ns = service->started_ns;
    error = opens_restore(service->opens, client, writer->ino, writer->access, writer->handle);
    if (!error && inode.nlink == 0)
        opens_file_find(service->opens, writer->ino)->orphan = true;
    return error;
}

int leases_restore(struct service *service, struct store_txn *txn)
{
    struct restoring restoring = {.service = service, .txn = txn};
    int error = records_writer_each(txn, restore, &restoring);
    for (size_t i = 0; i < restoring.lost_count && !error; i++)
        error = records_writer_delete(txn, restoring.lost[i].handle);
    free(restoring.lost);
    return error;
}

/* ---- clients ------------------------------------------------------------ */

struct farewell {
    struct job job;
    struct service *service;
    uint8_t client[16];
    bool orphans_only;
};

static int farewell_run(struct job *job, struct ns *ns)
{
    struct farewell *farewell = list_item(job, struct farewell, job);
    struct opens_client *client = opens_client_find(ns->opens, farewell->client);
    if (!client || client->connections)
        return 0;
    list_each(&client->handles, link, after)
    {
        struct opens_handle *handle = list_item(link, struct opens_handle, link);
        if (handle->closed || (farewell->orphans_only && !handle->file->orphan))
            continue;
        /* Whether it has written, only it knew. */
        int error = request_release(farewell->service, ns, handle, &(struct wire_closing){.wrote = 1});
        if (error)
            return error;
    }
    return 0;
}

static void farewell_done(struct job *job, int status)
{
    struct farewell *farewell = list_item(job, struct farewell, job);
    struct opens_client *client = opens_client_find(farewell->service->opens, farewell->client);
    if (client)
        client->leaving = false;
    if (status < 0)
        log_error("closing the files of a client that is gone: %s", err_text());
    free(farewell);
}

static void say_farewell(struct service *service, struct opens_client *client, bool orphans_only)
{
    struct farewell *farewell = calloc(1, sizeof *farewell);
    if (!farewell)
        return; /* the next tick tries again */
    farewell->job = (struct job){.writes = always, .run = farewell_run, .done = farewell_done};
    farewell->service = service;
    farewell->orphans_only = orphans_only;
    memcpy(farewell->client, client->id, sizeof farewell->client);
    client->leaving = true;
    turn_submit(&service->turn, &farewell->job);
}

static bool has_orphans(const struct opens_client *client)
{
    list_each(&client->handles, link, after)
    {
        if (list_item(link, struct opens_handle, link)->file->orphan)
            return true;
    }
    return false;
}

static void check_client(struct service *service, struct opens_client *client, uint64_t now_ns)
{
    uint64_t lease_ns = service->conf->lease_ms * MS;
    if (client->connections || client->leaving || now_ns - client->lost_ns < lease_ns)
        return;
    if (list_empty(&client->handles)) {
        opens_client_drop(service->opens, client);
        return;
    }
    /* One that has not been heard since this server's start may still be writing to the storage servers,
     * which needs no word to us. Its files stay marked, so that their sizes stay right; only what no one
     * can reach by a name any more is let go. */
    bool unsure = !client->seen && now_ns - client->lost_ns < (uint64_t)DAY_NS;
    if (!unsure || has_orphans(client))
        say_farewell(service, client, unsure);
}

/* ---- files without names, of earlier starts ----------------------------- */

struct burial {
    struct job job;
    struct service *service;
    uint64_t next;
    bool end;
};

static int burial_run(struct job *job, struct ns *ns)
{
    struct burial *burial = list_item(job, struct burial, job);
    uint64_t inos[ORPHANS_BATCH];
    ssize_t count =
        records_marked(ns->txn, STORE_ORPHANS, burial->service->orphans_next, inos, ORPHANS_BATCH);
    if (count < 0)
        return (int)count;
    burial->end = count < ORPHANS_BATCH;
    burial->next = count ? inos[count - 1] + 1 : 0;
    for (ssize_t i = 0; i < count; i++) {
        struct inode inode;
        if (opens_in_use(ns->opens, inos[i]))
            continue;
        int error = records_inode_get(ns->txn, inos[i], &inode);
        if (!error)
            error = request_end_orphan(burial->service, ns, &inode);
        else if (error == -ENOENT)
            error = records_unmark(ns->txn, STORE_ORPHANS, inos[i]);
        else
            log_error("a file without names: %s", err_text());
        if (store_broken(ns->txn))
            return error;
    }
    return 0;
}

static void burial_done(struct job *job, int status)
{
    struct burial *burial = list_item(job, struct burial, job);
    struct service *service = burial->service;
    service->orphans_noted = false;
    if (status < 0)
        log_error("clearing away files without names: %s", err_text());
    service->orphans_done = status < 0 || burial->end;
    service->orphans_next = burial->next;
    free(burial);
}

static void bury_orphans(struct service *service)
{
    struct burial *burial = calloc(1, sizeof *burial);
    if (!burial)
        return;
    burial->job = (struct job){.writes = always, .run = burial_run, .done = burial_done};
    burial->service = service;
    service->orphans_noted = true;
    turn_submit(&service->turn, &burial->job);
}

/* ---- storage servers ---------------------------------------------------- */

struct silence {
    struct job job;
    struct service *service;
    uint64_t since_ns;
    struct members_change *change;
};

static int silence_run(struct job *job, struct ns *ns)
{
    struct silence *silence = list_item(job, struct silence, job);
    members_forget(silence->change);
    return members_expire(silence->service->members, ns->txn, silence->since_ns, &silence->change);
}

static void log_down(const struct map *before, const struct map *after)
{
    for (uint32_t i = 0; i < before->server_count; i++) {
        if (before->servers[i].state == MAP_STATE_UP && after->servers[i].state == MAP_STATE_DOWN)
            log_warn("storage server %s has been silent for its lease and counts as down",
                     before->servers[i].name);
    }
}

static void silence_done(struct job *job, int status)
{
    struct silence *silence = list_item(job, struct silence, job);
    struct members *members = silence->service->members;
    silence->service->silence_noted = false;
    if (status < 0) {
        log_error("noting a silent storage server: %s", err_text());
        members_forget(silence->change);
    } else if (silence->change) {
        log_down(members_map(members), members_change_map(silence->change));
        members_adopt(members, silence->change);
    }
    free(silence);
}

static void check_servers(struct service *service, uint64_t now_ns)
{
    uint64_t lease_ns = service->conf->lease_ms * MS;
    uint64_t since_ns = now_ns > lease_ns ? now_ns - lease_ns : 0;
    if (service->silence_noted || !members_any_silent(service->members, since_ns))
        return;
    struct silence *silence = calloc(1, sizeof *silence);
    if (!silence)
        return;
    silence->job = (struct job){.writes = always, .run = silence_run, .done = silence_done, .alone = true};
    silence->service = service;
    silence->since_ns = since_ns;
    service->silence_noted = true;
    turn_submit(&service->turn, &silence->job);
}

/* ---- groups with several members ------------------------------------------ */

struct tending {
    struct job job;
    struct service *service;
    struct members_change *change;
};

static int tending_run(struct job *job, struct ns *ns)
{
    struct tending *tending = list_item(job, struct tending, job);
    struct service *service = tending->service;
    members_forget(tending->change);
    return members_tend(service->members, ns->txn, service_now(service), &tending->change);
}

static void tending_done(struct job *job, int status)
{
    struct tending *tending = list_item(job, struct tending, job);
    tending->service->groups_noted = false;
    if (status < 0) {
        log_error("noting what members of groups have become: %s", err_text());
        members_forget(tending->change);
    } else {
        members_adopt(tending->service->members, tending->change);
    }
    free(tending);
}

static void check_groups(struct service *service, uint64_t now_ns)
{
    if (service->groups_noted || !members_any_due(service->members, now_ns))
        return;
    struct tending *tending = calloc(1, sizeof *tending);
    if (!tending)
        return;
    tending->job = (struct job){.writes = always, .run = tending_run, .done = tending_done, .alone = true};
    tending->service = service;
    service->groups_noted = true;
    turn_submit(&service->turn, &tending->job);
}

/* ---- old answers -------------------------------------------------------- */

struct clearing {
    struct job job;
    struct service *service;
    struct answers_cursor cursor;
};

static int clearing_run(struct job *job, struct ns *ns)
{
    struct clearing *clearing = list_item(job, struct clearing, job);
    clearing->cursor = clearing->service->answers_cursor;
    return answers_expire(ns->txn, &clearing->cursor, ns->opens, ns->now_ns - DAY_NS);
}

static void clearing_done(struct job *job, int status)
{
    struct clearing *clearing = list_item(job, struct clearing, job);
    struct service *service = clearing->service;
    service->answers_noted = false;
    if (status < 0)
        log_error("clearing away old answers: %s", err_text());
    else
        service->answers_cursor = clearing->cursor;
    free(clearing);
}

static void clear_answers(struct service *service)
{
    struct clearing *clearing = calloc(1, sizeof *clearing);
    if (!clearing)
        return;
    clearing->job = (struct job){.writes = always, .run = clearing_run, .done = clearing_done};
    clearing->service = service;
    service->answers_noted = true;
    turn_submit(&service->turn, &clearing->job);
}

/* ---- the tick ----------------------------------------------------------- */

/* When the disk, or the whole machine, has kept this server from listening, others could not
 * make themselves heard: the time is not held against them. */
static void pardon(struct service *service, uint64_t now_ns)
{
    uint64_t tick_ns = service_tick_ms(service) * MS;
    uint64_t passed_ns = now_ns - service->ticked_ns;
    service->ticked_ns = now_ns;
    if (passed_ns <= 2 * tick_ns)
        return;
    uint64_t deaf_ns = passed_ns - tick_ns;
    if (deaf_ns > service->conf->lease_ms * MS / 2)
        log_warn("this server was kept from working for %" PRIu64 " ms; is the disk of %s slow?",
                 deaf_ns / MS, service->conf->metadata_dir);
    members_pardon(service->members, deaf_ns, now_ns);
    list_each(&service->opens->clients, link, after)
    {
        struct opens_client *client = list_item(link, struct opens_client, link);
        client->lost_ns = client->lost_ns + deaf_ns < now_ns ? client->lost_ns + deaf_ns : now_ns;
    }
}

void leases_tick(struct service *service, uint64_t now_ns)
{
    pardon(service, now_ns);
    list_each(&service->opens->clients, link, after)
        check_client(service, list_item(link, struct opens_client, link), now_ns);
    check_servers(service, now_ns);
    check_groups(service, now_ns);
    if (!service->orphans_done && !service->orphans_noted &&
        now_ns - service->started_ns >= service->conf->lease_ms * MS)
        bury_orphans(service);
    if (!service->answers_noted && now_ns - service->answers_ns >= ANSWERS_INTERVAL_NS) {
        service->answers_ns = now_ns;
        clear_answers(service);
    }
}
