/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "storage/chunks/store_chunks.h"
#include "storage/store.h"
#include "storage/target.h"

enum { CLIENT_HOST = 8 }; /* of the first one; each has its own */

struct cluster cluster;

/* ---- files -------------------------------------------------------------------- */

static void folder_remove(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (entry->d_type == DT_DIR)
            folder_remove(fd, entry->d_name);
        else
            unlinkat(fd, entry->d_name, 0);
    }
    if (dir)
        closedir(dir);
    unlinkat(parent, name, AT_REMOVEDIR);
}

static FILE *file_new(const char *name, char path[CLUSTER_PATH_BYTES + 16])
{
    snprintf(path, CLUSTER_PATH_BYTES + 16, "%s/%s", cluster.folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!file)
        sim_fail("%s: %s", path, strerror(errno));
    return file;
}

static void write_key(void)
{
    char path[CLUSTER_PATH_BYTES + 16];
    FILE *file = file_new("key", path);
    for (int i = 0; i < 64; i++)
        fputc('a', file);
    fputc('\n', file);
    fclose(file);
}

static void write_conf(void)
{
    FILE *file = file_new("conf", cluster.conf);
    fprintf(file, "cluster = { name = \"sim\"; key_file = \"key\"; };\n"
                  "metadata = { listen = \"127.0.0.1:7470\"; dir = \"metadata\"; };\n"
                  "storage = (");
    unsigned target = 0;
    for (unsigned i = 0; i < cluster.storage_count; i++) {
        fprintf(file, "%s\n  { name = \"s%u\"; listen = \"127.0.0.1:%u\"; shards = %u; targets = (",
                i ? "," : "", i, cluster.moves ? 0 : 7500 + 10 * i, cluster.shards);
        for (unsigned k = 0; k < cluster.targets; k++, target++)
            fprintf(file, "%s { id = %u; dir = \"t%u\"; }", k ? "," : "", target, target);
        fprintf(file, " ); }");
    }
    fprintf(file, " );\nredundancy = { replicas = %u; failure_domain = \"server\"; };\n", cluster.replicas);
    fprintf(file,
            "layout = { chunk_size = %u; };\n"
            "limits = { deadline_ms = %u; heartbeat_ms = %u; lease_ms = %u; memory_bytes = \"8M\";\n"
            "  credit_bytes = \"%uK\"; credit_requests = %u; metadata_bytes_max = \"4M\"; };\n"
            "transport = \"sim\";\nstore = \"chunks\";\nscrub_rate = 0;\nwire_checksums = true;\n"
            "hold_folders = true;\n"
            "sweep_interval_s = %u;\n",
            sim_chance(500000) ? 4096 : 5008, CLUSTER_DEADLINE_MS, 300, CLUSTER_LEASE_MS,
            sim_chance(300000) ? 64 : 8192, sim_chance(300000) ? 2 : 64, cluster.sweep_interval_s);
    fclose(file);
}

/* ---- servers ------------------------------------------------------------------ */

static void server_start(void *arg);

static void server_ended(struct process *process)
{
    struct server_slot *slot = process->arg;
    const bool was_told = slot->was_told;
    slot->process = NULL;
    slot->was_told = false;
    if (!cluster.stopping && was_told)
        sim_at(sim_now() + slot->away_ns, server_start, slot);
    if (process->status && !was_told)
        sim_fail("%s ended with %d", process->name, process->status);
    if (!cluster.stopping && !was_told)
        sim_fail("%s ended, and nobody had asked it to", process->name);
}

static void server_start(void *arg)
{
    struct server_slot *slot = arg;
    if (cluster.stopping)
        return;
    slot->process = slot->name[0] ? storaged_start(cluster.conf, slot->name, slot->host)
                                  : metad_start(cluster.conf, slot->host);
    slot->process->arg = slot;
    slot->process->ended = server_ended;
}

void cluster_draw(void)
{
    cluster = (struct cluster){
        .storage_count = (unsigned)sim_between(1, 2),
        .replicas = 1,
        .client_count = (unsigned)sim_between(1, CLUSTER_CLIENTS_MAX),
        .shards = (unsigned)sim_between(1, 2),
        .targets = (unsigned)sim_between(1, 2),
        .moves = sim_chance(300000),
    };
    if (sim_chance(400000)) {
        cluster.storage_count = (unsigned)sim_between(2, CLUSTER_STORAGE_MAX);
        cluster.replicas = (unsigned)sim_between(2, cluster.storage_count);
    }
}

void cluster_begin(const char *folder, uint64_t number)
{
    snprintf(cluster.folder, sizeof cluster.folder, "%s/%" PRIu64, folder, number);
    if (mkdir(cluster.folder, 0700))
        sim_fail("%s: %s", cluster.folder, strerror(errno));
    if (cluster.replicas > cluster.storage_count) /* a scenario has fewer servers */
        cluster.replicas = cluster.storage_count;
    write_key();
    write_conf();
    cluster.metadata.host = 1;
    server_start(&cluster.metadata);
    for (unsigned i = 0; i < cluster.storage_count; i++) {
        struct server_slot *slot = &cluster.storage[i];
        snprintf(slot->name, sizeof slot->name, "s%u", i);
        slot->host = 2 + i;
        sim_at(sim_now() + sim_below(50 * SIM_MS), server_start, slot);
    }
}

static bool is_ready(const struct server_slot *slot)
{
    return slot->process && slot->process->ready;
}

bool cluster_is_ready(void)
{
    bool ready = is_ready(&cluster.metadata);
    for (unsigned i = 0; i < cluster.storage_count; i++)
        ready = ready && is_ready(&cluster.storage[i]);
    return ready;
}

void cluster_stop(void)
{
    cluster.stopping = true;
    for (unsigned i = 0; i < cluster.storage_count; i++)
        if (cluster.storage[i].process)
            process_stop(cluster.storage[i].process);
    if (cluster.metadata.process)
        process_stop(cluster.metadata.process);
}

bool cluster_is_down(void)
{
    return list_empty(&processes);
}

static void complain(void *arg, const char *text)
{
    (void)arg;
    fprintf(stderr, "  %s\n", text);
}

/* What weft-fsck does. */
static void check_store(uint32_t id, uint32_t shard)
{
    char dir[CLUSTER_PATH_BYTES + 16];
    snprintf(dir, sizeof dir, "%s/t%u", cluster.folder, id);
    const struct store_chunks_checking checking = {.read_data = true, .report = complain};
    struct store_chunks_checked checked;
    struct target opened;
    struct conf_target conf = {.id = id, .dir = dir};
    if (target_open(&conf, cluster.shards, &store_chunks, &opened) ||
        store_chunks_check(&opened, shard, &checking, &checked))
        sim_fail("the store of target %u: %s", id, err_text());
    target_close(&opened);
    if (checked.check.faults)
        sim_fail("the store of target %u, shard %u, has %" PRIu64 " faults", id, shard, checked.check.faults);
    if (checked.check.objects)
        sim_fail("target %u, shard %u, still has %" PRIu64 " objects, and there are no files", id, shard,
                 checked.check.objects);
}

void cluster_check_stores(void)
{
    for (uint32_t id = 0; id < cluster.storage_count * cluster.targets; id++)
        for (uint32_t shard = 0; shard < cluster.shards; shard++)
            check_store(id, shard);
}

void cluster_end(void)
{
    folder_remove(AT_FDCWD, cluster.folder);
}

static void note_back(struct server_slot *slot)
{
    if (!slot->has_crashed || !is_ready(slot))
        return;
    slot->has_crashed = false;
    slot->back_ns = slot->process->ready_ns;
}

bool cluster_lost_since(uint64_t ns)
{
    bool has_lost = false;
    for (unsigned i = 0; i < cluster.storage_count; i++) {
        struct server_slot *slot = &cluster.storage[i];
        note_back(slot);
        has_lost = has_lost || slot->has_crashed || slot->back_ns > ns;
    }
    return has_lost;
}

bool cluster_server_end(struct server_slot *slot, enum server_end how, uint64_t away_ns)
{
    struct process *process = slot->process;
    if (!process || slot->was_told || process->ending || cluster.stopping)
        return false;
    note_back(slot);
    slot->was_told = true;
    slot->away_ns = away_ns;
    if (how == SERVER_STOPS)
        process_stop(process);
    else if (how == SERVER_KILLED)
        process_kill(process);
    else
        process_vanish(process);
    if (how == SERVER_CRASHES) {
        slot->has_crashed = true;
        disks_crash(slot->host);
    }
    return true;
}

/* ---- clients ------------------------------------------------------------------ */

static void client_ended(struct process *process)
{
    for (unsigned i = 0; i < CLUSTER_CLIENTS_MAX; i++)
        if (cluster.clients[i] == process)
            cluster.clients[i] = NULL;
    cluster.clients_left--;
    if (process->status)
        sim_fail("%s ended with %d", process->name, process->status);
}

static void client_start(const char *name, unsigned number, unsigned host, void *(*run)(void *number))
{
    struct process *process = process_start(name, host, run, (void *)(uintptr_t)number);
    process->conf_path = cluster.conf;
    process->ended = client_ended;
    cluster.clients[number] = process;
    cluster.clients_left++;
}

void cluster_client_start_on(unsigned number, unsigned host, void *(*run)(void *number))
{
    char name[16];
    snprintf(name, sizeof name, "client-%u", number);
    client_start(name, number, host, run);
}

void cluster_clients_start(void *(*run)(void *number))
{
    for (unsigned i = 0; i < cluster.client_count; i++)
        cluster_client_start_on(i, CLIENT_HOST + i, run);
}

void cluster_client_start_one(void *(*run)(void *number))
{
    client_start("client-last", 0, CLIENT_HOST, run);
}

bool cluster_clients_ended(void)
{
    return cluster.clients_left == 0;
}

bool cluster_client_kill(unsigned number)
{
    struct process *process = cluster.clients[number];
    if (!process || process->ending)
        return false;
    process_kill(process);
    return true;
}
