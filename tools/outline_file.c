/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A description of a cluster by libconfig:
 *
 *   uplink = "100G";
 *   servers = ( { name = "s[0-1999]"; rack = "r[0-49]"; chassis = "c[0-499]"; host = "h[0-1999]";
 *                 targets = 5; capacity = "8T"; network = "12G"; disk = "3G"; }, ... );
 *
 * Names are lists; of hosts, chassis and racks each serves equally many servers, in order.
 */
#include "outline.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "conf_read.h"
#include "err.h"
#include "weft_limits.h"

enum { LIST_BYTES_MAX = 4096 };

/* One entry of `servers`. */
struct entry {
    struct outline_names names, hosts, chassis, racks;
    uint32_t targets;
    uint64_t capacity, network, disk;
};

static void entry_free(struct entry *entry)
{
    outline_names_free(&entry->names);
    outline_names_free(&entry->hosts);
    outline_names_free(&entry->chassis);
    outline_names_free(&entry->racks);
}

static int read_names(const struct conf_source *source, const config_setting_t *group, const char *setting,
                      enum conf_need need, struct outline_names *names)
{
    char *text = NULL;
    int error = conf_get_string(source, group, setting, need, LIST_BYTES_MAX, &text);
    if (!error && text && outline_names_expand(text, names))
        error = conf_refuse_as(source, config_setting_get_member(group, setting), -EINVAL);
    free(text);
    return error;
}

static int read_entry(const struct conf_source *source, const config_setting_t *group, struct entry *entry)
{
    static const char *const known[] = {"name",     "host",    "chassis", "rack", "targets",
                                        "capacity", "network", "disk",    NULL};
    entry->targets = 1;
    int error = conf_group_check(source, group, known);
    if (!error)
        error = read_names(source, group, "name", CONF_REQUIRED, &entry->names);
    if (!error)
        error = read_names(source, group, "host", CONF_OPTIONAL, &entry->hosts);
    if (!error)
        error = read_names(source, group, "chassis", CONF_OPTIONAL, &entry->chassis);
    if (!error)
        error = read_names(source, group, "rack", CONF_OPTIONAL, &entry->racks);
    if (!error)
        error = conf_get_u32(source, group, "targets", CONF_OPTIONAL, 1, LIMITS_TARGETS_MAX, &entry->targets);
    if (!error)
        error = conf_get_size(source, group, "capacity", CONF_OPTIONAL, 1, INT64_MAX, &entry->capacity);
    if (!error)
        error = conf_get_size(source, group, "network", CONF_OPTIONAL, 1, INT64_MAX, &entry->network);
    if (!error)
        error = conf_get_size(source, group, "disk", CONF_OPTIONAL, 1, INT64_MAX, &entry->disk);
    return error;
}

/* The one that serves the i-th of `count`; "" when there are none. */
static const char *share_of(const struct outline_names *names, uint32_t i, uint32_t count)
{
    return names->count ? names->items[(uint64_t)i * names->count / count] : "";
}

static int add_entry(struct outline *outline, const struct entry *entry)
{
    uint32_t count = entry->names.count;
    int error = 0;
    for (uint32_t i = 0; i < count && !error; i++) {
        uint32_t index;
        const char *host = entry->hosts.count ? share_of(&entry->hosts, i, count) : entry->names.items[i];
        error = outline_host_add(outline, host, share_of(&entry->chassis, i, count),
                                 share_of(&entry->racks, i, count), &index);
        if (error)
            break;
        struct outline_host *at = &outline->hosts[index];
        if (at->targets && (at->capacity != entry->capacity || at->disk != entry->disk))
            error = err_set(-EINVAL, "the targets of the host %s have different capacities or disks", host);
        at->targets += entry->targets;
        at->capacity = entry->capacity;
        at->disk = entry->disk;
        at->network = entry->network > at->network ? entry->network : at->network;
    }
    return error;
}

static int read_entries(const struct conf_source *source, const config_setting_t *list,
                        struct outline *outline)
{
    int error = 0;
    if (!config_setting_is_list(list) || config_setting_length(list) == 0)
        return conf_refuse(source, list, "must be a list of groups: ( { name = \"...\"; }, ... )");
    bool chassis = true, racks = true;
    for (int i = 0; i < config_setting_length(list) && !error; i++) {
        const config_setting_t *group = config_setting_get_elem(list, (unsigned)i);
        struct entry entry = {0};
        error = read_entry(source, group, &entry);
        if (!error) {
            error = add_entry(outline, &entry);
            if (error)
                error = conf_refuse_as(source, group, error);
        }
        chassis = chassis && entry.chassis.count;
        racks = racks && entry.racks.count;
        entry_free(&entry);
    }
    outline->knows_chassis = chassis;
    outline->knows_racks = racks;
    return error;
}

static int read_description(const char *path, struct outline *outline)
{
    static const char *const known[] = {"servers", "uplink", NULL};
    const config_setting_t *list = NULL;
    struct conf_source source;
    int error = conf_source_open(path, &source);
    if (error)
        return error;
    const config_setting_t *root = config_root_setting(&source.tree);
    error = conf_group_check(&source, root, known);
    if (!error)
        error = conf_get_size(&source, root, "uplink", CONF_OPTIONAL, 1, INT64_MAX, &outline->uplink);
    if (!error)
        error = conf_get_group(&source, root, "servers", CONF_REQUIRED, &list);
    if (!error)
        error = read_entries(&source, list, outline);
    conf_source_close(&source);
    return error;
}

/* Does the first line that says anything begin as Slurm's do? */
static bool looks_like_slurm(FILE *file)
{
    static const char *const words[] = {"SwitchName=", "BlockName=", "BlockSizes="};
    char *line = NULL;
    size_t size = 0;
    bool found = false, is_slurm = false;
    while (!found && getline(&line, &size, file) >= 0) {
        const char *text = line + strspn(line, " \t\r\n");
        found = *text && *text != '#';
        for (size_t i = 0; found && i < sizeof words / sizeof words[0]; i++)
            is_slurm = is_slurm || strncasecmp(text, words[i], strlen(words[i])) == 0;
    }
    free(line);
    return is_slurm;
}

int outline_read(const char *path, struct outline *outline)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return err_sys("%s: cannot be opened", path);
    bool is_slurm = looks_like_slurm(file);
    fclose(file);
    return is_slurm ? outline_read_slurm(path, outline) : read_description(path, outline);
}
