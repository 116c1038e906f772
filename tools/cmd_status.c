/* SPDX-License-Identifier: Apache-2.0 */
/* weft status and weft df: what the cluster says of itself. */
#include "cluster.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf.h"
#include "err.h"

struct status {
    struct tool *tool;
    struct cluster *cluster; /* of --dir; NULL without */
    bool counters, hosts, as_json;
    struct table *table;
    json_t *servers, *counts;
    struct weft_server *items; /* as they come, then sorted */
    size_t count;
    unsigned down;
    char counters_of[64]; /* whose counters are being printed */
};

static const char *used_text(char text[FORMAT_BYTES], const struct weft_server *server)
{
    if (server->is_metadata || !server->is_up)
        snprintf(text, FORMAT_BYTES, "-");
    else
        format_bytes(text, server->bytes_total - server->bytes_free);
    return text;
}

static const char *number_text(char text[FORMAT_BYTES], bool known, uint64_t value)
{
    if (known)
        snprintf(text, FORMAT_BYTES, "%llu", (unsigned long long)value);
    else
        snprintf(text, FORMAT_BYTES, "-");
    return text;
}

/* The server in the directory that weft up made; NULL without one. */
static const struct cluster_server *local_server(const struct status *status,
                                                 const struct weft_server *server)
{
    for (uint32_t i = 0; status->cluster && i < status->cluster->server_count; i++) {
        const struct cluster_server *local = &status->cluster->servers[i];
        if (server->is_metadata ? !local->storage : local->storage && strcmp(local->name, server->name) == 0)
            return local;
    }
    return NULL;
}

/* Its process; 0 when there is none, or none that can be known. */
static pid_t pid_of(const struct status *status, const struct weft_server *server)
{
    const struct cluster_server *local = local_server(status, server);
    return local ? local->pid : 0;
}

/* The cluster learns of a death when the lease ends; here it can be seen at once. */
static bool is_gone(const struct status *status, const struct weft_server *server)
{
    const struct cluster_server *local = local_server(status, server);
    return local && local->pid == 0 && strncmp(local->listen, "127.", 4) == 0;
}

/* Keeps a copy: the cluster tells them in the order in which they joined. */
static void take_server(void *arg, const struct weft_server *server)
{
    struct status *status = arg;
    struct weft_server *items = realloc(status->items, (status->count + 1) * sizeof *items);
    if (!items)
        return;
    status->items = items;
    items[status->count] = *server;
    items[status->count].name = strdup(server->name);
    items[status->count].address = strdup(server->address);
    items[status->count].host = strdup(server->host);
    items[status->count].chassis = strdup(server->chassis);
    items[status->count].rack = strdup(server->rack);
    items[status->count].is_up = server->is_up && !is_gone(status, server);
    status->down += !items[status->count].is_up;
    status->count++;
}

/* The metadata server first, then s2 before s10. */
static int compare_servers(const void *left, const void *right)
{
    const struct weft_server *a = left, *b = right;
    if (a->is_metadata != b->is_metadata)
        return a->is_metadata ? -1 : 1;
    return a->name && b->name ? strverscmp(a->name, b->name) : 0;
}

static void add_json(struct status *status, const struct weft_server *server)
{
    pid_t process = pid_of(status, server);
    json_t *json = json_pack("{s:o, s:s, s:b, s:o, s:I, s:I}", "name", format_json_text(server->name), "role",
                             server->is_metadata ? "metadata" : "storage", "up", server->is_up, "address",
                             format_json_text(server->address), "targets", (json_int_t)server->targets,
                             "shards", (json_int_t)server->shards);
    if (!server->is_metadata) {
        json_object_set_new(json, "bytes_total", json_integer((json_int_t)server->bytes_total));
        json_object_set_new(json, "bytes_free", json_integer((json_int_t)server->bytes_free));
        json_object_set_new(json, "host", format_json_text(server->host));
        json_object_set_new(json, "chassis", format_json_text(server->chassis));
        json_object_set_new(json, "rack", format_json_text(server->rack));
    }
    if (process)
        json_object_set_new(json, "pid", json_integer(process));
    json_array_append_new(status->servers, json);
}

static void add_row(struct status *status, const struct weft_server *server)
{
    char targets[FORMAT_BYTES], shards[FORMAT_BYTES], used[FORMAT_BYTES], total[FORMAT_BYTES],
        pid[FORMAT_BYTES];
    pid_t process = pid_of(status, server);
    bool storage = !server->is_metadata;
    table_row(status->table, server->name, storage ? "storage" : "metadata", server->is_up ? "up" : "DOWN",
              server->address, number_text(targets, storage, server->targets),
              number_text(shards, server->shards > 0, server->shards), used_text(used, server),
              storage && server->is_up ? format_bytes(total, server->bytes_total) : "-",
              number_text(pid, process > 0, (uint64_t)process), NULL);
}

static const char *name_or_dash(const char *name)
{
    return name && *name ? name : "-";
}

static void add_host_row(struct status *status, const struct weft_server *server)
{
    char targets[FORMAT_BYTES], total[FORMAT_BYTES];
    if (!server->is_metadata)
        table_row(status->table, server->name, server->is_up ? "up" : "DOWN", name_or_dash(server->host),
                  name_or_dash(server->chassis), name_or_dash(server->rack),
                  number_text(targets, true, server->targets),
                  server->is_up ? format_bytes(total, server->bytes_total) : "-", NULL);
}

static void take_counter(void *arg, const char *server, const char *name, uint64_t value)
{
    struct status *status = arg;
    if (status->as_json) {
        json_t *of_server = json_object_get(status->counts, server);
        if (!of_server) {
            json_object_set_new(status->counts, server, json_object());
            of_server = json_object_get(status->counts, server);
        }
        json_object_set_new(of_server, name, json_integer((json_int_t)value));
        return;
    }
    if (strcmp(status->counters_of, server) != 0) {
        snprintf(status->counters_of, sizeof status->counters_of, "%s", server);
        printf("\n%s\n", server);
    }
    printf("  %-32s %20llu\n", name, (unsigned long long)value);
}

static void print_space(const struct weft_statfs *space)
{
    char used[FORMAT_BYTES], total[FORMAT_BYTES];
    printf(
        "\n%u of %u storage servers up, %u of %u targets up, %s of %s in use, %llu files, map version %llu\n",
        space->servers_up, space->servers, space->targets_up, space->targets,
        format_bytes(used, space->bytes_total - space->bytes_free), format_bytes(total, space->bytes_total),
        (unsigned long long)space->files, (unsigned long long)space->map_version);
    if (space->replicas > 1)
        printf(
            "%u groups with %u replicas each: %u have all, %u are being brought up to date, %u lack some\n",
            space->groups, space->replicas, space->groups - space->groups_syncing - space->groups_lacking,
            space->groups_syncing, space->groups_lacking);
}

static json_t *space_json(const struct weft_statfs *space)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "groups",
                     (json_int_t)space->groups, "replicas", (json_int_t)space->replicas, "groups_syncing",
                     (json_int_t)space->groups_syncing, "groups_lacking", (json_int_t)space->groups_lacking,
                     "bytes_total", (json_int_t)space->bytes_total, "bytes_free",
                     (json_int_t)space->bytes_free, "files", (json_int_t)space->files, "targets",
                     (json_int_t)space->targets, "targets_up", (json_int_t)space->targets_up, "servers",
                     (json_int_t)space->servers, "servers_up", (json_int_t)space->servers_up, "map_version",
                     (json_int_t)space->map_version);
}

/* The servers as the cluster knows them; when it does not answer, what is
 * known without it. 0 or a negative errno, complained of. */
static int show_servers(struct status *status)
{
    int error = weft_servers(status->tool->session, take_server, status);
    if (error)
        tool_complain_weft(status->tool, NULL, error);
    if (status->count)
        qsort(status->items, status->count, sizeof *status->items, compare_servers);
    for (size_t i = 0; i < status->count; i++) {
        struct weft_server *server = &status->items[i];
        if (status->as_json)
            add_json(status, server);
        else if (status->hosts)
            add_host_row(status, server);
        else
            add_row(status, server);
        free((char *)server->name);
        free((char *)server->address);
        free((char *)server->host);
        free((char *)server->chassis);
        free((char *)server->rack);
    }
    free(status->items);
    return error;
}

static void show_space(struct status *status, json_t *json)
{
    struct weft_statfs space;
    int error = weft_statfs(status->tool->session, &space);
    if (error)
        tool_complain_weft(status->tool, NULL, error);
    else if (status->as_json)
        json_object_set_new(json, "space", space_json(&space));
    else
        print_space(&space);
}

/* Processes of a local cluster whose metadata server does not answer. */
static void show_processes(const struct status *status)
{
    const struct cluster *cluster = status->cluster;
    if (!cluster || status->as_json)
        return;
    printf("\nServers of %s on this machine:\n", cluster->dir);
    for (uint32_t i = 0; i < cluster->server_count; i++) {
        const struct cluster_server *server = &cluster->servers[i];
        if (server->pid)
            printf("  %-10s runs (pid %d)\n", server->name, (int)server->pid);
        else
            printf("  %-10s does not run; its log: %s\n", server->name, server->log_path);
    }
    char *word = cluster_shell_word(cluster->dir);
    if (word)
        printf("weft up --dir %s starts what is missing.\n", word);
    free(word);
}

static void show_counters(struct status *status, json_t *json)
{
    status->counts = status->as_json ? json_object() : NULL;
    int error = weft_server_counters(status->tool->session, take_counter, status);
    if (error)
        tool_complain_weft(status->tool, NULL, error);
    if (status->as_json)
        json_object_set_new(json, "counters", status->counts);
}

/* With a configuration that weft up wrote, the processes can be looked at too. */
static void open_local_cluster(struct status *status)
{
    struct conf *conf;
    if (conf_load(status->tool->conf, &conf))
        return; /* tool_session() will complain */
    char *slash = strrchr(conf->file, '/'), *lock = NULL;
    if (slash && strcmp(slash, "/weft.conf") == 0) {
        *slash = 0;
        if (asprintf(&lock, "%s/run/lock", conf->file) >= 0 && access(lock, F_OK) == 0)
            cluster_open(status->tool, conf->file, &status->cluster);
        free(lock);
    }
    conf_free(conf);
}

static void run(struct status *status)
{
    struct tool *tool = status->tool;
    json_t *json = status->as_json ? json_object() : NULL;
    if (status->as_json) {
        status->servers = json_array();
        if (status->cluster)
            json_object_set_new(json, "dir", format_json_text(status->cluster->dir));
        json_object_set_new(json, "servers", status->servers);
    } else if (status->hosts) {
        status->table = table_new("lllllrr");
        table_row(status->table, "SERVER", "STATE", "HOST", "CHASSIS", "RACK", "TARGETS", "SIZE", NULL);
    } else {
        status->table = table_new("llllrrrrr");
        table_row(status->table, "SERVER", "ROLE", "STATE", "ADDRESS", "TARGETS", "SHARDS", "USED", "SIZE",
                  "PID", NULL);
    }
    int error = show_servers(status);
    table_print(status->table, stdout);
    status->table = NULL;
    if (error) {
        show_processes(status);
    } else {
        show_space(status, json);
        if (status->counters)
            show_counters(status, json);
    }
    if (json)
        format_json_print(json);
    /* For scripts: not all is well. */
    if (status->down && tool->status == TOOL_DONE)
        tool->status = TOOL_FAILED;
}

int cmd_status(struct tool *tool, int argc, char **argv)
{
    struct status status = {.tool = tool};
    const char *dir = NULL;
    const struct option_spec options[] = {
        {"counters", 'c', OPTION_FLAG, NULL, &status.counters, "show the counters of each server too"},
        {"hosts", 0, OPTION_FLAG, NULL, &status.hosts,
         "show the host, the chassis and the rack of each storage server"},
        {"json", 0, OPTION_FLAG, NULL, &status.as_json, "as a JSON object"},
        {"dir", 0, OPTION_TEXT, "DIR", &dir, "the cluster of this directory"},
        OPTION_CONF(tool),
        {0},
    };
    int first;
    int result =
        options_parse(tool, argc, argv, options,
                      "Shows the servers of the cluster, which of them are up, and how much space is in\n"
                      "use. The exit status is 1 when a server is down.",
                      &first);
    if (result >= 0)
        return result;
    if (first < argc)
        return tool_usage_error(tool, "%s: what is it for?", argv[first]);
    if (dir && tool->conf)
        return tool_usage_error(tool, "either --dir or --conf");
    if (dir) {
        result = cluster_open(tool, dir, &status.cluster);
        if (result)
            return result;
        tool->conf = status.cluster->conf_path;
    } else {
        open_local_cluster(&status);
    }
    if (tool_session(tool))
        run(&status);
    cluster_close(status.cluster);
    tool->conf = NULL;
    return tool->status;
}

/* ---- df ------------------------------------------------------------------- */

int cmd_df(struct tool *tool, int argc, char **argv)
{
    bool as_json = false, bytes = false;
    const struct option_spec options[] = {
        {"bytes", 'b', OPTION_FLAG, NULL, &bytes, "plain numbers of bytes"},
        {"json", 0, OPTION_FLAG, NULL, &as_json, "as a JSON object"},
        OPTION_CONF(tool),
        {0},
    };
    int first;
    int status = options_parse(tool, argc, argv, options,
                               "Shows how much space the cluster has, and how much is in use.", &first);
    if (status >= 0)
        return status;
    if (first < argc)
        return tool_usage_error(tool, "%s: the space is that of the whole cluster", argv[first]);
    struct weft_statfs space;
    if (!tool_session(tool))
        return tool->status;
    int error = weft_statfs(tool->session, &space);
    if (error) {
        tool_complain_weft(tool, NULL, error);
        return tool->status;
    }
    if (as_json) {
        format_json_print(space_json(&space));
        return tool->status;
    }
    uint64_t used = space.bytes_total - space.bytes_free;
    const uint64_t sizes[] = {space.bytes_total, used, space.bytes_free};
    char texts[3][FORMAT_BYTES], part[FORMAT_BYTES], files[FORMAT_BYTES], targets[FORMAT_BYTES];
    for (size_t i = 0; i < 3; i++) {
        if (bytes)
            number_text(texts[i], true, sizes[i]);
        else
            format_bytes(texts[i], sizes[i]);
    }
    snprintf(part, sizeof part, "%.0f%%",
             space.bytes_total ? 100.0 * (double)used / (double)space.bytes_total : 0);
    snprintf(targets, sizeof targets, "%u of %u", space.targets_up, space.targets);
    struct table *table = table_new("rrrrrr");
    table_row(table, "SIZE", "USED", "FREE", "USE", "FILES", "TARGETS UP", NULL);
    table_row(table, texts[0], texts[1], texts[2], part, number_text(files, true, space.files), targets,
              NULL);
    table_print(table, stdout);
    return tool->status;
}
