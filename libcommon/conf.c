/* SPDX-License-Identifier: Apache-2.0 */
#include "conf.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_read.h"
#include "conf_storage.h"
#include "err.h"
#include "transport.h"

/* The build says where, below its sysconfdir. */
#ifndef WEFT_CONF_DEFAULT
#define WEFT_CONF_DEFAULT "/etc/weft/weft.conf"
#endif

#define KEY_DIGITS (2 * CONF_KEY_BYTES)

enum { SCRUB_PAUSE_MAX_S = 365 * 24 * 60 * 60, SWEEP_INTERVAL_MAX_S = SCRUB_PAUSE_MAX_S };

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
    conf->sweep_interval_s = 60 * 60;
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
    conf_storage_free(conf);
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

static int read_cluster(const struct conf_source *source, const config_setting_t *root, struct conf *conf)
{
    static const char *const known[] = {"name", "key_file", NULL};
    const config_setting_t *group = NULL;
    char *key_file = NULL;
    int error = conf_get_group(source, root, "cluster", CONF_REQUIRED, &group);
    if (!error)
        error = conf_group_check(source, group, known);
    if (!error)
        error =
            conf_get_name(source, group, "name", CONF_REQUIRED, LIMITS_SERVER_NAME_MAX, &conf->cluster_name);
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
        error = conf_get_address(source, group, "listen", 1, &conf->metadata_listen);
    if (!error)
        error = conf_get_path(source, group, "dir", CONF_REQUIRED, &conf->metadata_dir);
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
        "cluster",          "metadata",   "storage",       "layout",       "redundancy",
        "limits",           "log",        "transport",     "store",        "mount",
        "wire_checksums",   "scrub_rate", "scrub_pause_s", "discard_rate", "direct_io",
        "sweep_interval_s", "hold_folders", NULL};
    static int (*const sections[])(const struct conf_source *, const config_setting_t *, struct conf *) = {
        read_cluster, read_metadata, conf_storage_read, read_layout, read_redundancy, read_limits, read_log,
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
        error = conf_get_bool(source, root, "hold_folders", CONF_OPTIONAL, &conf->hold_folders);
    if (!error)
        error =
            conf_get_size(source, root, "scrub_rate", CONF_OPTIONAL, 0, UINT64_C(1) << 40, &conf->scrub_rate);
    if (!error)
        error = conf_get_u32(source, root, "scrub_pause_s", CONF_OPTIONAL, 1, SCRUB_PAUSE_MAX_S,
                             &conf->scrub_pause_s);
    if (!error)
        error = conf_get_u32(source, root, "sweep_interval_s", CONF_OPTIONAL, 0, SWEEP_INTERVAL_MAX_S,
                             &conf->sweep_interval_s);
    if (!error)
        error = conf_get_size(source, root, "discard_rate", CONF_OPTIONAL, 0, UINT64_C(1) << 40,
                              &conf->discard_rate);
    if (!error && conf->discard_rate > 0 && conf->discard_rate < UINT64_C(1) << 20)
        return conf_refuse(source, member(root, "discard_rate"), "must be 0, or 1M at the least");
    if (!error)
        error = conf_storage_read_store(source, root, &conf->store);
    if (!error)
        error = read_direct_io(source, root, conf);
    if (!error)
        error = read_mount(source, root, conf);
    if (!error)
        error = conf_storage_check(source, root, conf);
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
