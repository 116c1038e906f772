/* SPDX-License-Identifier: Apache-2.0 */
/* weft-storaged: serves the targets of one storage section of the configuration. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "chunks/cs_faults.h"
#include "daemon.h"
#include "err.h"
#include "log.h"
#include "member.h"
#include "pin.h"
#include "shard.h"

static const struct daemon_program program = {
    .name = "weft-storaged",
    .summary = "Serves the targets of one storage section of a Weft cluster's configuration.",
    .named = true,
};

static int targets_open(struct server *server)
{
    const struct conf_storage *storage = server->storage;
    server->targets = calloc(storage->target_count, sizeof *server->targets);
    if (!server->targets)
        return err_set(-ENOMEM, "no memory for targets");
    for (uint32_t i = 0; i < storage->target_count; i++) {
        const char *name = storage->targets[i].store ? storage->targets[i].store : server->conf->store;
        const struct store_type *type = store_type_by_name(name);
        if (!type)
            return err_set(-EINVAL,
                           "target %" PRIu32 ": there is no store \"%s\"; write \"files\" or \"chunks\"",
                           storage->targets[i].id, name);
        int error = target_open(&storage->targets[i], storage->shards, type, &server->targets[i]);
        if (error)
            return error;
        server->target_count++;
        error = target_begin(&server->targets[i]);
        if (error)
            return error;
    }
    return 0;
}

/* Shards that could not end have not closed their stores: then that is as if the server had been killed. */
static int targets_end(struct server *server)
{
    int first = 0;
    for (uint32_t k = 0; k < server->shard_count; k++)
        if (server->shards[k].stores)
            return 0;
    for (uint32_t i = 0; i < server->target_count; i++) {
        /* That an earlier process was killed is still to be told, by the next one. */
        if (server->conf->replicas > 1 && server->targets[i].was_left && !server->was_heard)
            continue;
        int error = target_end(&server->targets[i]);
        if (error)
            log_error("%s", err_text());
        first = first ? first : error;
    }
    return first;
}

static void targets_close(struct server *server)
{
    for (uint32_t i = 0; i < server->target_count; i++)
        target_close(&server->targets[i]);
    free(server->targets);
}

/* What --replace names must be here, and is only for targets that are new. */
static int mark_replaced(const struct daemon *daemon, struct server *server)
{
    for (uint32_t r = 0; r < daemon->replaced_count; r++) {
        struct target *target = NULL;
        for (uint32_t i = 0; i < server->target_count && !target; i++)
            if (server->targets[i].id == daemon->replaced[r])
                target = &server->targets[i];
        if (!target)
            return err_set(-EINVAL, "--replace %" PRIu32 ": storage server %s has no such target",
                           daemon->replaced[r], server->storage->name);
        if (server->conf->replicas <= 1)
            return err_set(-EINVAL,
                           "--replace %" PRIu32 ": this cluster has no replicas, so nobody else has what "
                           "that target had",
                           daemon->replaced[r]);
        if (!target_is_new(target))
            log_warn("--replace %" PRIu32 ": %s is not new, and goes on being what it is", target->id,
                     target->dir);
        target->replaces = true;
    }
    return 0;
}

/* A leader has to find all objects of a target. */
static int check_stores(const struct server *server)
{
    for (uint32_t i = 0; server->conf->replicas > 1 && i < server->target_count; i++)
        if (!server->targets[i].store_type->next)
            return err_set(-EINVAL,
                           "target %" PRIu32
                           " has the store \"%s\", which can't be used with redundancy.replicas "
                           "above 1",
                           server->targets[i].id, server->targets[i].store_type->name);
    return 0;
}

static int faults_open(struct server *server)
{
    if (!server->storage->faults)
        return 0;
    for (uint32_t i = 0; i < server->target_count; i++)
        if (server->targets[i].store_type != &store_chunks)
            log_warn("target %" PRIu32 " has the store \"%s\", of which no faults are made on purpose",
                     server->targets[i].id, server->targets[i].store_type->name);
    return cs_faults_open(server->storage->faults, &server->faults);
}

static int shards_start(struct server *server)
{
    server->shards = calloc(server->storage->shards, sizeof *server->shards);
    if (!server->shards)
        return err_set(-ENOMEM, "no memory for shards");
    server->shard_count = server->storage->shards;
    for (uint32_t k = 0; k < server->shard_count; k++) {
        int error = shard_start(&server->shards[k], server, k);
        if (error)
            return error;
        log_debug("shard %" PRIu32 " listens on %s", k, server->shards[k].bound);
    }
    return 0;
}

static int shards_stop(struct server *server)
{
    int first = 0;
    for (uint32_t k = 0; k < server->shard_count; k++)
        shard_stop_ask(&server->shards[k]);
    for (uint32_t k = 0; k < server->shard_count; k++) {
        int error = shard_stop_wait(&server->shards[k]);
        first = first ? first : error;
    }
    return first;
}

static int serve(struct daemon *daemon, struct server *server)
{
    struct member *member = NULL;
    struct pins *pins = NULL;
    int error = targets_open(server);
    if (!error)
        error = check_stores(server);
    if (!error)
        error = mark_replaced(daemon, server);
    if (!error)
        error = faults_open(server);
    if (!error)
        error = pin_open(server->conf, server->storage, &pins);
    server->pins = pins;
    if (!error)
        error = shards_start(server);
    if (!error)
        error = member_open(daemon, server, &member);
    if (!error) {
        server->map_wanted_arg = member;
        error = member_run(member);
    }
    if (error)
        log_error("%s", err_text());
    else
        log_info("ending");
    daemon_leaving();
    /* Shards may call map_wanted(), so the member ends after them. */
    int stop_error = shards_stop(server);
    int end_error = targets_end(server);
    stop_error = stop_error ? stop_error : end_error;
    if (member)
        member_close(member);
    pin_close(pins);
    server->pins = NULL;
    return error ? error : stop_error;
}

int main(int argc, char **argv)
{
    struct daemon daemon;
    daemon_open(&daemon, &program, argc, argv);
    struct server server = {
        .conf = daemon.conf,
        .storage = daemon.storage,
        .who = daemon.who,
        .map_wanted = member_map_wanted,
        .verdict = member_verdict,
        .synced = member_synced,
        .sweep_asks = member_sweep_wanted,
    };
    int error = serve(&daemon, &server);
    /* With a shard that could not end, its memory must stay. */
    if (error)
        exit(EXIT_FAILURE);
    free(server.shards);
    targets_close(&server);
    cs_faults_close(server.faults);
    daemon_close(&daemon);
    return 0;
}
