/* SPDX-License-Identifier: Apache-2.0 */
#include "conf_storage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "conf_binding.h"
#include "err.h"

static const config_setting_t *member(const config_setting_t *group, const char *name)
{
    return config_setting_get_member(group, name);
}

void conf_storage_free(struct conf *conf)
{
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
}

/* ---- reading -------------------------------------------------------------- */

/* The names are store_type_by_name()'s; checked here, an error can tell the line. */
int conf_storage_read_store(const struct conf_source *source, const config_setting_t *group, char **store)
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
    static const char *const known[] = {"id", "dir", "disk", "capacity", "store", "device", NULL};
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
        error = conf_get_size(source, group, "capacity", CONF_OPTIONAL, 1, INT64_MAX, &target->capacity);
    if (!error)
        error = conf_storage_read_store(source, group, &target->store);
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

static int read_server(const struct conf_source *source, const config_setting_t *group,
                       struct conf_storage *server)
{
    static const char *const known[] = {"name", "listen",  "shards", "targets", "faults",  "host", "chassis",
                                        "rack", "binding", "cores",  "numa",    "devices", NULL};
    void *targets = NULL;
    int error = conf_group_check(source, group, known);
    if (!error)
        error = conf_get_name(source, group, "name", CONF_REQUIRED, LIMITS_SERVER_NAME_MAX, &server->name);
    server->shards = 1;
    if (!error)
        error = conf_get_u32(source, group, "shards", CONF_OPTIONAL, 1, LIMITS_SHARDS_MAX, &server->shards);
    if (!error)
        error = conf_get_address(source, group, "listen", server->shards, &server->listen);
    if (!error)
        error = open_list(source, group, "targets", CONF_REQUIRED, LIMITS_TARGETS_MAX,
                          sizeof *server->targets, &server->target_count, &targets);
    server->targets = targets;
    if (!error)
        error = conf_get_path(source, group, "faults", CONF_OPTIONAL, &server->faults);
    if (!error)
        error = conf_get_name(source, group, "host", CONF_OPTIONAL, LIMITS_HOST_NAME_MAX, &server->host);
    if (!error)
        error =
            conf_get_name(source, group, "chassis", CONF_OPTIONAL, LIMITS_HOST_NAME_MAX, &server->chassis);
    if (!error)
        error = conf_get_name(source, group, "rack", CONF_OPTIONAL, LIMITS_HOST_NAME_MAX, &server->rack);
    if (!error)
        error = conf_binding_read(source, group, server);
    for (uint32_t i = 0; !error && i < server->target_count; i++)
        error =
            read_target(source, config_setting_get_elem(member(group, "targets"), i), &server->targets[i]);
    return error;
}

int conf_storage_read(const struct conf_source *source, const config_setting_t *root, struct conf *conf)
{
    void *servers = NULL;
    int error = open_list(source, root, "storage", CONF_OPTIONAL, LIMITS_SERVERS_MAX, sizeof *conf->storage,
                          &conf->storage_count, &servers);
    conf->storage = servers;
    for (uint32_t i = 0; !error && i < conf->storage_count; i++)
        error = read_server(source, config_setting_get_elem(member(root, "storage"), i), &conf->storage[i]);
    return error;
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

int conf_storage_check(const struct conf_source *source, const config_setting_t *root,
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

/* ---- asking ----------------------------------------------------------------- */

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
