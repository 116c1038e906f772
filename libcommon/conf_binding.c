/* SPDX-License-Identifier: Apache-2.0 */
#include "conf_binding.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

enum { CPU_NUMBER_MAX = 65535, NODE_NUMBER_MAX = 65535, NAME_BYTES_MAX = 31 };

static void each_free(struct conf_each *each, uint32_t shards)
{
    for (uint32_t i = 0; each->items && i < shards; i++)
        free(each->items[i]);
    free(each->items);
    free(each->where);
    *each = (struct conf_each){0};
}

void conf_binding_free(struct conf_storage *server)
{
    each_free(&server->binding.cores, server->shards);
    each_free(&server->binding.numa, server->shards);
    each_free(&server->binding.devices, server->shards);
}

static int each_open(const struct conf_source *source, const config_setting_t *setting, uint32_t shards,
                     struct conf_each *each)
{
    each->where = conf_where(source, setting);
    each->items = calloc(shards, sizeof *each->items);
    return each->where && each->items ? 0 : err_set(-ENOMEM, "%s: out of memory", source->file);
}

static bool is_sequence(const config_setting_t *setting)
{
    return config_setting_is_array(setting) || config_setting_is_list(setting);
}

static int check_count(const struct conf_source *source, const config_setting_t *setting, uint32_t shards)
{
    if (config_setting_length(setting) == (int)shards)
        return 0;
    return conf_refuse(source, setting, "has %d entries for %u shards; write one for each shard",
                       config_setting_length(setting), shards);
}

/* ---- cores and numa ------------------------------------------------------- */

/* "0-3,8": numbers, ranges that do not go down, commas between. */
static bool is_cpu_list(const char *text)
{
    for (;;) {
        char *end;
        if (!isdigit((unsigned char)*text))
            return false;
        unsigned long first = strtoul(text, &end, 10), last = first;
        if (*end == '-') {
            if (!isdigit((unsigned char)end[1]))
                return false;
            last = strtoul(end + 1, &end, 10);
        }
        if (first > last || last > CPU_NUMBER_MAX)
            return false;
        if (!*end)
            return true;
        if (*end != ',')
            return false;
        text = end + 1;
    }
}

/* A whole number up to `max`, as text. */
static int read_number(const struct conf_source *source, const config_setting_t *setting, long long max,
                       char **text)
{
    long long number = config_setting_get_int64(setting);
    if (number < 0 || number > max)
        return conf_refuse(source, setting, "%lld is not from 0 to %lld", number, max);
    if (asprintf(text, "%lld", number) >= 0)
        return 0;
    *text = NULL;
    return err_set(-ENOMEM, "%s: out of memory", source->file);
}

static bool is_number(const config_setting_t *setting)
{
    int type = config_setting_type(setting);
    return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
}

static int read_cpus(const struct conf_source *source, const config_setting_t *setting, char **text)
{
    if (is_number(setting))
        return read_number(source, setting, CPU_NUMBER_MAX, text);
    const char *list =
        config_setting_type(setting) == CONFIG_TYPE_STRING ? config_setting_get_string(setting) : NULL;
    if (!list || !is_cpu_list(list))
        return conf_refuse(source, setting, "must be the number of a CPU, or CPUs as \"0-3,8\"");
    *text = strdup(list);
    return *text ? 0 : err_set(-ENOMEM, "%s: out of memory", source->file);
}

static int read_cores(const struct conf_source *source, const config_setting_t *group,
                      struct conf_storage *server)
{
    const config_setting_t *setting = config_setting_get_member(group, "cores");
    if (!setting)
        return 0;
    if (!is_sequence(setting))
        return conf_refuse(source, setting,
                           "must have one entry for each shard: [ 0, 2 ] or ( \"0-1\", 2 )");
    int error = check_count(source, setting, server->shards);
    if (!error)
        error = each_open(source, setting, server->shards, &server->binding.cores);
    for (uint32_t i = 0; !error && i < server->shards; i++)
        error = read_cpus(source, config_setting_get_elem(setting, i), &server->binding.cores.items[i]);
    return error;
}

static int read_numa(const struct conf_source *source, const config_setting_t *group,
                     struct conf_storage *server)
{
    const config_setting_t *setting = config_setting_get_member(group, "numa");
    if (!setting)
        return 0;
    bool is_one = is_number(setting);
    if (!is_one && !is_sequence(setting))
        return conf_refuse(source, setting,
                           "must be the number of a NUMA node, or one for each shard: [ 0, 1 ]");
    int error = is_one ? 0 : check_count(source, setting, server->shards);
    if (!error)
        error = each_open(source, setting, server->shards, &server->binding.numa);
    for (uint32_t i = 0; !error && i < server->shards; i++) {
        const config_setting_t *node = is_one ? setting : config_setting_get_elem(setting, i);
        error = is_number(node) ? read_number(source, node, NODE_NUMBER_MAX, &server->binding.numa.items[i])
                                : conf_refuse(source, node, "must be the number of a NUMA node");
    }
    return error;
}

/* ---- devices -------------------------------------------------------------- */

/* Names as the kernel has them, or with the port of an InfiniBand card behind. */
static bool is_device(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:@";
    size_t length = strlen(name);
    return length > 0 && length <= NAME_BYTES_MAX && strspn(name, allowed) == length;
}

/* An array of names, joined. */
static int read_names(const struct conf_source *source, const config_setting_t *setting, char **text)
{
    char *names = NULL, *longer;
    int count = is_sequence(setting) ? config_setting_length(setting) : 0;
    if (!count)
        return conf_refuse(source, setting, "must be names of network devices: [ \"mlx5_0\" ]");
    for (int i = 0; i < count; i++) {
        const config_setting_t *item = config_setting_get_elem(setting, (unsigned)i);
        const char *name =
            config_setting_type(item) == CONFIG_TYPE_STRING ? config_setting_get_string(item) : NULL;
        if (!name || !is_device(name)) {
            free(names);
            return conf_refuse(source, item,
                               "must be the name of a network device, as \"mlx5_0\" or \"eth0\"");
        }
        int length = asprintf(&longer, "%s%s%s", names ? names : "", names ? "," : "", name);
        free(names);
        if (length < 0)
            return err_set(-ENOMEM, "%s: out of memory", source->file);
        names = longer;
    }
    *text = names;
    return 0;
}

/* [ "a", "b" ]: for all shards; ( [ "a" ], [ "b" ] ): for each. */
static int read_devices(const struct conf_source *source, const config_setting_t *group,
                        struct conf_storage *server)
{
    const config_setting_t *setting = config_setting_get_member(group, "devices");
    if (!setting)
        return 0;
    if (!is_sequence(setting) || config_setting_length(setting) == 0)
        return conf_refuse(source, setting,
                           "must be names of network devices: [ \"mlx5_0\" ], or such an array "
                           "for each shard: ( [ \"mlx5_0\" ], [ \"mlx5_1\" ] )");
    bool is_each = is_sequence(config_setting_get_elem(setting, 0));
    int error = is_each ? check_count(source, setting, server->shards) : 0;
    if (!error)
        error = each_open(source, setting, server->shards, &server->binding.devices);
    for (uint32_t i = 0; !error && i < server->shards; i++)
        error = read_names(source, is_each ? config_setting_get_elem(setting, i) : setting,
                           &server->binding.devices.items[i]);
    return error;
}

/* ---- all of it -------------------------------------------------------------- */

static int read_mode(const struct conf_source *source, const config_setting_t *group,
                     struct conf_binding *binding)
{
    static const char *const names[] = {"auto", "always", "none"};
    const config_setting_t *setting = config_setting_get_member(group, "binding");
    char *word = NULL;
    int error = conf_get_string(source, group, "binding", CONF_OPTIONAL, 32, &word);
    if (error || !word)
        return error;
    unsigned mode = CONF_BINDING_AUTO;
    while (mode <= CONF_BINDING_NONE && strcmp(word, names[mode]) != 0)
        mode++;
    if (mode > CONF_BINDING_NONE)
        error = conf_refuse(source, setting,
                            "\"%s\" is no way to bind; write \"auto\", \"always\" or \"none\"", word);
    else
        binding->mode = mode;
    free(word);
    return error;
}

int conf_binding_read(const struct conf_source *source, const config_setting_t *group,
                      struct conf_storage *server)
{
    int error = read_mode(source, group, &server->binding);
    if (!error)
        error = read_cores(source, group, server);
    if (!error && server->binding.mode == CONF_BINDING_NONE && server->binding.cores.where)
        return conf_refuse(source, config_setting_get_member(group, "cores"),
                           "says where shards run, but binding is \"none\"; leave one of the two out");
    if (!error)
        error = read_numa(source, group, server);
    if (!error)
        error = read_devices(source, group, server);
    return error;
}
