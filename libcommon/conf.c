/* SPDX-License-Identifier: Apache-2.0 */
#include "conf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_binding.h"
#include "conf_read.h"
#include "err.h"
#include "hostname.h"
#include "transport.h"

/* The build says where, below its sysconfdir. */
#ifndef WEFT_CONF_DEFAULT
#define WEFT_CONF_DEFAULT "/etc/weft/weft.conf"
#endif

#define KEY_DIGITS (2 * CONF_KEY_BYTES)

enum { SCRUB_PAUSE_MAX_S = 365 * 24 * 60 * 60 };

/* ---- defaults ------------------------------------------------------------- */

static struct conf *conf_new(void)
{
    struct conf *conf = calloc(1, sizeof *conf);
    if (!conf)
        return NULL;
    conf->chunk_size = UINT64_C(1) << 20;
    conf->small_file = CONF_SMALL_FILE;
    conf->replicas = 1;
    conf->failure_domain = PLACEMENT_HOST;
    conf->groups_per_target = 4;
    conf->wire_checksums = true;
    conf->scrub_rate = UINT64_C(1) << 20;
    conf->scrub_pause_s = 24 * 60 * 60;
    conf->discard_rate = CONF_DISCARD_RATE_BY_TARGET;
    conf->deadline_ms = 30000;
    conf->heartbeat_ms = 1000;
    conf->lease_ms = 10000;
    conf->memory_bytes = UINT64_C(64) << 20;
    conf->credit_bytes = UINT64_C(8) << 20;
    conf->credit_requests = 64;
    conf->gather_ms = 100;
    conf->connections_max = 4096;
    conf->metadata_bytes_max = UINT64_C(16) << 30;
    conf->log_level = LOG_LEVEL_INFO;
    conf->transport = strdup("auto");
    conf->store = strdup("chunks");
    if (!conf->transport || !conf->store) {
        conf_free(conf);
        return NULL;
    }
    return conf;
}

void conf_free(struct conf *conf)
{
    if (!conf)
        return;
    for (uint32_t i = 0; i < conf->storage_count; i++) {
        for (uint32_t k = 0; k < conf->storage[i].target_count; k++) {
            free(conf->storage[i].targets[k].dir);
            free(conf->storage[i].targets[k].store);
            free(conf->storage[i].targets[k].device);
            free(conf->storage[i].targets[k].device_where);
        }
        conf_binding_free(&conf->storage[i]);
        free(conf->storage[i].targets);
        free(conf->storage[i].faults);
        free(conf->storage[i].host);
        free(conf->storage[i].chassis);
        free(conf->storage[i].rack);
        free(conf->storage[i].listen);
        free(conf->storage[i].name);
    }
    free(conf->storage);
    free(conf->transport);
    free(conf->store);
    free(conf->mount);
    free(conf->metadata_dir);
    free(conf->metadata_listen);
    free(conf->cluster_name);
    free(conf->file);
    sodium_memzero(conf->key, sizeof conf->key);
    free(conf);
}

/* ---- the key -------------------------------------------------------------- */

static int key_parse(const char *file, const char *text, size_t length, uint8_t key[CONF_KEY_BYTES])
{
    size_t bytes;
    if (length == KEY_DIGITS + 1 && text[KEY_DIGITS] == '\n')
        length--;
    if (length != KEY_DIGITS || sodium_hex2bin(key, CONF_KEY_BYTES, text, length, NULL, &bytes, NULL) != 0 ||
        bytes != CONF_KEY_BYTES)
        return err_set(-EINVAL, "%s: is no cluster key (%u hexadecimal digits and a newline)", file,
                       KEY_DIGITS);
    return 0;
}

/* Reads one byte more than a key has, to see that there is none. */
static int key_read(int fd, const char *file, uint8_t key[CONF_KEY_BYTES])
{
    char text[KEY_DIGITS + 2];
    size_t length = 0;
    int error = 0;
    while (length < sizeof text) {
        ssize_t got = read(fd, text + length, sizeof text - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            error = err_sys("%s: the cluster key cannot be read", file);
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    if (!error)
        error = key_parse(file, text, length, key);
    sodium_memzero(text, sizeof text);
    return error;
}

static int key_load(const char *file, uint8_t key[CONF_KEY_BYTES])
{
    struct stat stat;
    int error;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_sys("%s: the cluster key cannot be opened", file);
    if (fstat(fd, &stat) != 0)
        error = err_sys("%s", file);
    else if (!S_ISREG(stat.st_mode))
        error = err_set(-EINVAL, "%s: the cluster key must be a plain file", file);
    else if (stat.st_mode & (S_IRWXG | S_IRWXO))
        error = err_set(-EACCES, "%s: the cluster key is open to others; mend it with \"chmod 600 %s\"", file,
                        file);
    else
        error = key_read(fd, file, key);
    close(fd);
    return error;
}

/* ---- the sections --------------------------------------------------------- */

static const config_setting_t *member(const config_setting_t *group, const char *name)
{
    return config_setting_get_member(group, name);
}

/* `name` stands in the group, was read into `text`, and must be "host:port" with
 * room for `ports` ports; port 0 means any. */
static int check_address(const struct conf_source *source, const config_setting_t *group, const char *name,
                         const char *text, uint32_t ports)
{
    const config_setting_t *setting = member(group, name);
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text)
        return conf_refuse(source, setting, "\"%s\" is no address; write \"host:port\"", text);
    char *end;
    errno = 0;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end || errno || port > 65535)
        return conf_refuse(source, setting, "\"%s\" is no port; write a number up to 65535", colon + 1);
    if (port > 0 && port + ports - 1 > 65535)
        return conf_refuse(source, setting, "%u shards need ports up to %lu, but there are 65535", ports,
                           port + ports - 1);
    return 0;
}

/* Names stand in logs, file names and on the wire. */
static int check_name(const struct conf_source *source, const config_setting_t *group, const char *setting,
                      const char *text)
{
    if (!hostname_valid(text))
        return conf_refuse(source, member(group, setting),
                           "\"%s\" is no name; use letters, digits, '.', '_' and '-' only", text);
    return 0;
}

static int read_cluster(const struct conf_source *source, const config_setting_t *root, struct conf *conf)
{
    static const char *const known[] = {"name", "key_file", NULL};
    const config_setting_t *group = NULL;
    char *key_file = NULL;
    int error = conf_get_group(source, root, "cluster", CONF_REQUIRED, &group);
    if (!error)
        error = conf_group_check(source, group, known);
    if (!error)
        error = conf_get_string(source, group, "name", CONF_REQUIRED, LIMITS_SERVER_NAME_MAX,
                                &conf->cluster_name);
    if (!error)
        error = check_name(source, group, "name", conf->cluster_name);
    if (!error)
        error = conf_get_path(source, group, "key_file", CONF_REQUIRED, &key_file);
    if (!error) {
        error = key_load(key_file, conf->key);
        if (error)
            error = conf_refuse_as(source, member(group, "key_file"), error);
    }
    free(key_file);
    return error;
}

static int read_metadata(const struct conf_source *source, const config_setting_t *root, struct conf *conf)
{
    static const char *const known[] = {"listen", "dir", NULL};
    const config_setting_t *group = NULL;
    int error = conf_get_group(source, root, "metadata", CONF_REQUIRED, &group);
    if (!error)
        error = conf_group_check(source, group, known);
    if (!error)
        error = conf_get_string(source, group, "listen", CONF_REQUIRED, LIMITS_ADDRESS_MAX,
                                &conf->metadata_listen);
    if (!error)
        error = check_address(source, group, "listen", conf->metadata_listen, 1);
    if (!error)
        error = conf_get_path(source, group, "dir", CONF_REQUIRED, &conf->metadata_dir);
    return error;
}

/* The names are store_type_by_name()'s; checked here, an error can tell the line. */
static int read_store(const struct conf_source *source, const config_setting_t *group, char **store)
{
    int error = conf_get_string(source, group, "store", CONF_OPTIONAL, 31, store);
    if (error || !member(group, "store"))
        return error;
    if (strcmp(*store, "files") != 0 && strcmp(*store, "chunks") != 0)
        return conf_refuse(source, member(group, "store"),
                           "\"%s\" is no store; write \"files\" or \"chunks\"", *store);
    return 0;
}

static int read_target(const struct conf_source *source, const config_setting_t *group,
                       struct conf_target *target)
{
    static const char *const known[] = {"id", "dir", "disk", "store", "device", NULL};
    const config_setting_t *disk = member(group, "disk");
    int error = conf_group_check(source, group, known);
    if (!error)
        error = conf_get_u32(source, group, "id", CONF_REQUIRED, 0, UINT32_MAX, &target->id);
    if (!error && disk && member(group, "dir"))
        error = conf_refuse(source, disk, "a target has a dir or a disk, not both");
    target->is_disk = disk != NULL;
    if (!error)
        error = conf_get_path(source, group, disk ? "disk" : "dir", CONF_REQUIRED, &target->dir);
    if (!error)
        error = read_store(source, group, &target->store);
    if (!error && disk && target->store && strcmp(target->store, "chunks") != 0)
        error = conf_refuse(source, member(group, "store"), "a disk has the store \"chunks\" and no other");
    if (!error)
        error = conf_get_string(source, group, "device", CONF_OPTIONAL, 31, &target->device);
    if (!error && target->device) {
        target->device_where = conf_where(source, member(group, "device"));
        error = target->device_where ? 0 : err_set(-ENOMEM, "%s: out of memory", source->file);
    }
    return error;
}

/* The elements of a list of groups; *elements is zeroed memory for `size` bytes of each. */
static int open_list(const struct conf_source *source, const config_setting_t *group, const char *name,
                     enum conf_need need, uint32_t count_max, size_t size, uint32_t *count, void **elements)
{
    const config_setting_t *list = NULL;
    int error = conf_get_group(source, group, name, need, &list);
    if (error || !list)
        return error;
    if (!config_setting_is_list(list))
        return conf_refuse(source, list, "must be a list of groups: ( { ... }, { ... } )");
    uint32_t length = (uint32_t)config_setting_length(list);
    if (length > count_max)
        return conf_refuse(source, list, "has %u entries; the most is %u", length, count_max);
    if (length == 0 && need == CONF_REQUIRED)
        return conf_refuse(source, list, "must not be empty");
    *elements = calloc(length ? length : 1, size);
    if (!*elements)
        return err_set(-ENOMEM, "%s: out of memory", source->file);
    *count = length;
    return 0;
}

/* A host, a chassis or a rack. */
static int read_place(const struct conf_source *source, const config_setting_t *group, const char *setting,
                      char **name)
{
    int error = conf_get_string(source, group, setting, CONF_OPTIONAL, LIMITS_HOST_NAME_MAX, name);
    return error || !*name ? error : check_name(source, group, setting, *name);
}

static int read_server(const struct conf_source *source, const config_setting_t *group,
                       struct conf_storage *server)
{
    static const char *const known[] = {"name", "listen",  "shards", "targets", "faults",  "host", "chassis",
                                        "rack", "binding", "cores",  "numa",    "devices", NULL};
    void *targets = NULL;
    int error = conf_group_check(source, group, known);
    if (!error)
        error = conf_get_string(source, group, "name", CONF_REQUIRED, LIMITS_SERVER_NAME_MAX, &server->name);
    if (!error)
        error = check_name(source, group, "name", server->name);
    server->shards = 1;
    if (!error)
        error = conf_get_u32(source, group, "shards", CONF_OPTIONAL, 1, LIMITS_SHARDS_MAX, &server->shards);
    if (!error)
        error = conf_get_string(source, group, "listen", CONF_REQUIRED, LIMITS_ADDRESS_MAX, &server->listen);
    if (!error)
        error = check_address(source, group, "listen", server->listen, server->shards);
    if (!error)
        error = open_list(source, group, "targets", CONF_REQUIRED, LIMITS_TARGETS_MAX,
                          sizeof *server->targets, &server->target_count, &targets);
    server->targets = targets;
    if (!error)
        error = conf_get_path(source, group, "faults", CONF_OPTIONAL, &server->faults);
    if (!error)
        error = read_place(source, group, "host", &server->host);
    if (!error)
        error = read_place(source, group, "chassis", &server->chassis);
    if (!error)
        error = read_place(source, group, "rack", &server->rack);
    if (!error)
        error = conf_binding_read(source, group, server);
    for (uint32_t i = 0; !error && i < server->target_count; i++)
        error =
            read_target(source, config_setting_get_elem(member(group, "targets"), i), &server->targets[i]);
    return error;
}

static int read_storage(const struct conf_source *source, const config_setting_t *root, struct conf *conf)
{
    void *servers = NULL;
    int error = open_list(source, root, "storage", CONF_OPTIONAL, LIMITS_SERVERS_MAX, sizeof *conf->storage,
                          &conf->storage_count, &servers);
    conf->storage = servers;
    for (uint32_t i = 0; !error && i < conf->storage_count; i++)
        error = read_server(source, config_setting_get_elem(member(root, "storage"), i), &conf->storage[i]);
    return error;
}

static int read_layout(const struct conf_source *source, const config_setting_t *root, struct conf *conf)
{
    static const char *const known[] = {"chunk_size", "stripe_count", "small_file", NULL};
    uint64_t small_file = conf->small_file;
    const config_setting_t *group = NULL;
    int error = conf_get_group(source, root, "layout", CONF_OPTIONAL, &group);
    if (error || !group)
        return error;
    error = conf_group_check(source, group, known);
    if (!error)
        error = conf_get_size(source, group, "chunk_size", CONF_OPTIONAL, WEFT_CHUNK_BYTES_MIN,
                              WEFT_CHUNK_BYTES_MAX, &conf->chunk_size);
    if (!error)
        error = conf_get_u32(source, group, "stripe_count", CONF_OPTIONAL, 0, LIMITS_GROUPS_MAX,
                             &conf->stripe_count);
    if (!error)
        error =
            conf_get_size(source, group, "small_file", CONF_OPTIONAL, 0, LIMITS_SMALL_BYTES_MAX, &small_file);
    conf->small_file = (uint32_t)small_file;
    return error;
}

static int read_redundancy(const struct conf_source *source, const config_setting_t *root, struct conf *conf)
{
    static const char *const known[] = {"replicas", "failure_domain", "groups_per_target", NULL};
    const config_setting_t *group = NULL;
    char *word = NULL;
    int error = conf_get_group(source, root, "redundancy", CONF_OPTIONAL, &group);
    if (error || !group)
        return error;
    error = conf_group_check(source, group, known);
    if (!error)
        error = conf_get_u32(source, group, "replicas", CONF_OPTIONAL, 1, LIMITS_GROUP_MEMBERS_MAX,
                             &conf->replicas);
    if (!error)
        error = conf_get_u32(source, group, "groups_per_target", CONF_OPTIONAL, 1, 1024,
                             &conf->groups_per_target);
    if (!error)
        error = conf_get_string(source, group, "failure_domain", CONF_OPTIONAL, 32, &word);
    if (!error && word && strcmp(word, "server") == 0)
        conf->failure_domain = PLACEMENT_TARGET;
    else if (!error && word &&
             (placement_level_parse(word, &conf->failure_domain) || conf->failure_domain == PLACEMENT_TARGET))
        error = conf_refuse(source, config_setting_get_member(group, "failure_domain"),
                            "\"%s\" is none of server, host, chassis and rack", word);
    free(word);
    return error;
}

static int read_limits(const struct conf_source *source, const config_setting_t *root, struct conf *conf)
{
    static const char *const known[] = {
        "deadline_ms",     "heartbeat_ms",    "lease_ms",           "memory_bytes", "credit_bytes",
        "credit_requests", "connections_max", "metadata_bytes_max", "gather_ms",    NULL};
    enum { DAY_MS = 24 * 60 * 60 * 1000 };
    const struct {
        const char *name;
        uint32_t min, max;
        uint32_t *value;
    } numbers[] = {
        {"deadline_ms", 100, DAY_MS, &conf->deadline_ms},
        {"heartbeat_ms", 10, DAY_MS, &conf->heartbeat_ms},
        {"lease_ms", 20, DAY_MS, &conf->lease_ms},
        {"gather_ms", 0, DAY_MS, &conf->gather_ms},
        {"credit_requests", 1, 65536, &conf->credit_requests},
        {"connections_max", 1, 1u << 20, &conf->connections_max},
    };
    const struct {
        const char *name;
        uint64_t min, max;
        uint64_t *value;
    } sizes[] = {
        {"memory_bytes", LIMITS_PAYLOAD_MAX, UINT64_C(1) << 40, &conf->memory_bytes},
        {"credit_bytes", 64 << 10, UINT64_C(1) << 40, &conf->credit_bytes},
        {"metadata_bytes_max", 1 << 20, UINT64_C(1) << 46, &conf->metadata_bytes_max},
    };
    const config_setting_t *group = NULL;
    int error = conf_get_group(source, root, "limits", CONF_OPTIONAL, &group);
    if (error || !group)
        return error;
    error = conf_group_check(source, group, known);
    for (size_t i = 0; !error && i < sizeof numbers / sizeof numbers[0]; i++)
        error = conf_get_u32(source, group, numbers[i].name, CONF_OPTIONAL, numbers[i].min, numbers[i].max,
                             numbers[i].value);
    for (size_t i = 0; !error && i < sizeof sizes / sizeof sizes[0]; i++)
        error = conf_get_size(source, group, sizes[i].name, CONF_OPTIONAL, sizes[i].min, sizes[i].max,
                              sizes[i].value);
    /* One lost heartbeat must not make a server look dead. */
    if (!error && conf->lease_ms < 2 * conf->heartbeat_ms)
        return conf_refuse(source, group, "lease_ms (%u) must be at least twice heartbeat_ms (%u)",
                           conf->lease_ms, conf->heartbeat_ms);
    return error;
}

static int read_log(const struct conf_source *source, const config_setting_t *root, struct conf *conf)
{
    static const char *const known[] = {"level", NULL};
    const config_setting_t *group = NULL;
    char *word = NULL;
    int error = conf_get_group(source, root, "log", CONF_OPTIONAL, &group);
    if (error || !group)
        return error;
    error = conf_group_check(source, group, known);
    if (!error)
        error = conf_get_string(source, group, "level", CONF_OPTIONAL, 32, &word);
    if (!error && word) {
        error = log_level_parse(word, &conf->log_level);
        if (error)
            error = conf_refuse_as(source, member(group, "level"), error);
    }
    free(word);
    return error;
}

static int read_direct_io(const struct conf_source *source, const config_setting_t *root, struct conf *conf)
{
    static const char *const words[] = {
        [CONF_DIRECT_AUTO] = "auto", [CONF_DIRECT_ON] = "on", [CONF_DIRECT_OFF] = "off"};
    char *word = NULL;
    int error = conf_get_string(source, root, "direct_io", CONF_OPTIONAL, 31, &word);
    if (error || !word)
        return error;
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(word, words[i]) == 0) {
            conf->direct_io = i;
            free(word);
            return 0;
        }
    error = conf_refuse(source, member(root, "direct_io"), "\"%s\": write \"auto\", \"on\" or \"off\"", word);
    free(word);
    return error;
}

static int read_mount(const struct conf_source *source, const config_setting_t *root, struct conf *conf)
{
    int error = conf_get_string(source, root, "mount", CONF_OPTIONAL, WEFT_PATH_BYTES_MAX, &conf->mount);
    if (error || !conf->mount)
        return error;
    if (conf->mount[0] != '/' || !conf->mount[strspn(conf->mount, "/")])
        return conf_refuse(source, member(root, "mount"), "must be an absolute path below /");
    return 0;
}

/* ---- what must differ ----------------------------------------------------- */

/* Two entries of the file that would clash when their keys are the same. */
struct claim {
    const char *text; /* NULL: the number alone is the key */
    uint64_t number;
    uint32_t server, target;
};

static int compare_claims(const void *a, const void *b)
{
    const struct claim *x = a, *y = b;
    int order = x->text && y->text ? strcmp(x->text, y->text) : 0;
    if (order)
        return order;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* The first clash among `count` claims, sorted by this; NULL when there is none. */
static const struct claim *find_clash(struct claim *claims, size_t count)
{
    qsort(claims, count, sizeof *claims, compare_claims);
    for (size_t i = 1; i < count; i++) {
        if (compare_claims(&claims[i - 1], &claims[i]) == 0)
            return &claims[i];
    }
    return NULL;
}

static const config_setting_t *server_setting(const config_setting_t *root, uint32_t server)
{
    return config_setting_get_elem(member(root, "storage"), server);
}

static int check_names(const struct conf_source *source, const config_setting_t *root,
                       const struct conf *conf, struct claim *claims)
{
    for (uint32_t i = 0; i < conf->storage_count; i++)
        claims[i] = (struct claim){.text = conf->storage[i].name, .server = i};
    const struct claim *clash = find_clash(claims, conf->storage_count);
    if (clash)
        return conf_refuse(source, member(server_setting(root, clash->server), "name"),
                           "another storage server is named \"%s\" too", clash->text);
    return 0;
}

static int check_targets(const struct conf_source *source, const config_setting_t *root,
                         const struct conf *conf, struct claim *claims)
{
    size_t count = 0;
    for (uint32_t i = 0; i < conf->storage_count; i++) {
        for (uint32_t k = 0; k < conf->storage[i].target_count; k++)
            claims[count++] =
                (struct claim){.number = conf->storage[i].targets[k].id, .server = i, .target = k};
    }
    const struct claim *clash = find_clash(claims, count);
    if (clash) {
        const config_setting_t *targets = member(server_setting(root, clash->server), "targets");
        return conf_refuse(source, member(config_setting_get_elem(targets, clash->target), "id"),
                           "another target has the id %u too", (unsigned)clash->number);
    }
    /* Servers on different hosts may well use folders of the same name. */
    count = 0;
    for (uint32_t i = 0; i < conf->storage_count; i++) {
        for (uint32_t k = 0; k < conf->storage[i].target_count; k++)
            claims[count++] = (struct claim){
                .text = conf->storage[i].targets[k].dir, .number = i, .server = i, .target = k};
    }
    clash = find_clash(claims, count);
    if (clash) {
        const config_setting_t *targets = member(server_setting(root, clash->server), "targets");
        const config_setting_t *target = config_setting_get_elem(targets, clash->target);
        const config_setting_t *disk = member(target, "disk");
        return conf_refuse(source, disk ? disk : member(target, "dir"),
                           "another target of this server has %s too", clash->text);
    }
    return 0;
}

static int check_unique(const struct conf_source *source, const config_setting_t *root,
                        const struct conf *conf)
{
    uint64_t targets = 0;
    for (uint32_t i = 0; i < conf->storage_count; i++)
        targets += conf->storage[i].target_count;
    if (targets > LIMITS_TARGETS_MAX)
        return conf_refuse(source, member(root, "storage"), "has %llu targets in all; the most is %u",
                           (unsigned long long)targets, LIMITS_TARGETS_MAX);
    /* Every server has a target. */
    struct claim *claims = calloc(targets + 1, sizeof *claims);
    if (!claims)
        return err_set(-ENOMEM, "%s: out of memory", source->file);
    int error = check_names(source, root, conf, claims);
    if (!error)
        error = check_targets(source, root, conf, claims);
    free(claims);
    return error;
}

/* ---- all of it ------------------------------------------------------------ */

/* One process of a cluster may have another transport than the file says. */
static int read_transport(const struct conf_source *source, const config_setting_t *root, struct conf *conf)
{
    struct transport_wish wishes[TRANSPORTS_MAX];
    const char *given = getenv("WEFT_TRANSPORT");
    int error =
        conf_get_string(source, root, "transport", CONF_OPTIONAL, TRANSPORT_TEXT_MAX, &conf->transport);
    if (error)
        return error;
    if (!given || !*given) {
        error = transport_text_read(conf->transport, wishes);
        return error < 0 ? conf_refuse_as(source, config_setting_get_member(root, "transport"), error) : 0;
    }
    error = transport_text_read(given, wishes);
    if (error < 0)
        return err_prefix(error, "WEFT_TRANSPORT");
    char *copy = strdup(given);
    if (!copy)
        return err_set(-ENOMEM, "out of memory for the configuration");
    free(conf->transport);
    conf->transport = copy;
    return 0;
}

static int read_all(const struct conf_source *source, struct conf *conf)
{
    static const char *const known[] = {
        "cluster",       "metadata",     "storage",   "layout", "redundancy",     "limits",
        "log",           "transport",    "store",     "mount",  "wire_checksums", "scrub_rate",
        "scrub_pause_s", "discard_rate", "direct_io", NULL};
    static int (*const sections[])(const struct conf_source *, const config_setting_t *, struct conf *) = {
        read_cluster, read_metadata, read_storage, read_layout, read_redundancy, read_limits, read_log,
    };
    const config_setting_t *root = config_root_setting(&source->tree);
    int error = conf_group_check(source, root, known);
    for (size_t i = 0; !error && i < sizeof sections / sizeof sections[0]; i++)
        error = sections[i](source, root, conf);
    if (!error)
        error = read_transport(source, root, conf);
    if (!error)
        error = conf_get_bool(source, root, "wire_checksums", CONF_OPTIONAL, &conf->wire_checksums);
    if (!error)
        error =
            conf_get_size(source, root, "scrub_rate", CONF_OPTIONAL, 0, UINT64_C(1) << 40, &conf->scrub_rate);
    if (!error)
        error = conf_get_u32(source, root, "scrub_pause_s", CONF_OPTIONAL, 1, SCRUB_PAUSE_MAX_S,
                             &conf->scrub_pause_s);
    if (!error)
        error = conf_get_size(source, root, "discard_rate", CONF_OPTIONAL, 0, UINT64_C(1) << 40,
                              &conf->discard_rate);
    if (!error && conf->discard_rate > 0 && conf->discard_rate < UINT64_C(1) << 20)
        return conf_refuse(source, member(root, "discard_rate"), "must be 0, or 1M at the least");
    if (!error)
        error = read_store(source, root, &conf->store);
    if (!error)
        error = read_direct_io(source, root, conf);
    if (!error)
        error = read_mount(source, root, conf);
    if (!error)
        error = check_unique(source, root, conf);
    return error;
}

int conf_load(const char *path, struct conf **conf)
{
    struct conf_source source;
    int error;

    if (!path)
        path = getenv("WEFT_CONF");
    if (!path || !*path)
        path = WEFT_CONF_DEFAULT;
    error = conf_source_open(path, &source);
    if (error)
        return error;
    struct conf *result = conf_new();
    if (!result) {
        error = err_set(-ENOMEM, "%s: out of memory", path);
        goto close_source;
    }
    error = read_all(&source, result);
    if (!error) {
        result->file = strdup(source.file);
        if (!result->file)
            error = err_set(-ENOMEM, "%s: out of memory", path);
    }
    if (error)
        conf_free(result);
    else
        *conf = result;
close_source:
    conf_source_close(&source);
    return error;
}

const struct conf_storage *conf_storage_by_name(const struct conf *conf, const char *name)
{
    for (uint32_t i = 0; i < conf->storage_count; i++) {
        if (strcmp(conf->storage[i].name, name) == 0)
            return &conf->storage[i];
    }
    return NULL;
}

int conf_target_by_id(const struct conf *conf, uint32_t id, uint32_t *shards,
                      const struct conf_target **target)
{
    for (uint32_t i = 0; i < conf->storage_count; i++) {
        *shards = conf->storage[i].shards;
        for (uint32_t k = 0; k < conf->storage[i].target_count; k++) {
            *target = &conf->storage[i].targets[k];
            if ((*target)->id == id)
                return 0;
        }
    }
    return err_set(-ENOENT, "%s has no target %" PRIu32, conf->file, id);
}

int conf_target_id(const char *text, uint32_t *id)
{
    char *end;
    errno = 0;
    const unsigned long value = strtoul(text, &end, 10);
    if (*end || end == text || errno || value > UINT32_MAX)
        return err_set(-EINVAL, "\"%s\" is no target's id", text);
    *id = (uint32_t)value;
    return 0;
}
