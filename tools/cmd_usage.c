/* SPDX-License-Identifier: Apache-2.0 */
/* weft usage: how much there is below directories, and of whom. */
#include "tool.h"

#include <stdlib.h>

struct showing {
    struct tool *tool;
    const char *user, *group; /* --user, --group */
    bool users, groups, plain, as_json;
    struct table *table; /* NULL until there is a row */
    json_t *json;
    unsigned kind; /* WEFT_USAGE_*; 0: of paths */
};

static const char *size_text(const struct showing *showing, char text[FORMAT_BYTES], uint64_t bytes)
{
    if (!showing->plain)
        return format_bytes(text, bytes);
    snprintf(text, FORMAT_BYTES, "%llu", (unsigned long long)bytes);
    return text;
}

static const char *count_text(char text[FORMAT_BYTES], uint64_t count)
{
    snprintf(text, FORMAT_BYTES, "%llu", (unsigned long long)count);
    return text;
}

/* JSON's integers have a sign here. */
static json_int_t number(uint64_t value)
{
    return value > INT64_MAX ? INT64_MAX : (json_int_t)value;
}

static void show(struct showing *showing, const char *name, const struct weft_usage *usage)
{
    char size[FORMAT_BYTES], bytes[FORMAT_BYTES], files[FORMAT_BYTES], directories[FORMAT_BYTES];
    static const char *const names[] = {"path", "user", "group"}, *const ids[] = {"inode", "uid", "gid"};
    if (showing->as_json) {
        json_array_append_new(showing->json,
                              json_pack("{s:o, s:I, s:I, s:I, s:I, s:I}", names[showing->kind],
                                        format_json_text(name), ids[showing->kind], number(usage->id), "size",
                                        number(usage->size), "bytes", number(usage->bytes), "files",
                                        number(usage->files), "directories", number(usage->directories)));
        return;
    }
    if (!showing->table) {
        static const char *const headings[] = {"PATH", "USER", "GROUP"};
        showing->table = table_new("rrrrl");
        table_row(showing->table, "SIZE", "SPACE", "FILES", "DIRECTORIES", headings[showing->kind], NULL);
    }
    table_row(showing->table, size_text(showing, size, usage->size), size_text(showing, bytes, usage->bytes),
              count_text(files, usage->files), count_text(directories, usage->directories), name, NULL);
}

static void show_owner(void *arg, const struct weft_usage *usage)
{
    struct showing *showing = arg;
    char name[FORMAT_BYTES];
    if (showing->kind == WEFT_USAGE_USER)
        format_user(name, (uint32_t)usage->id);
    else
        format_group(name, (uint32_t)usage->id);
    show(showing, name, usage);
}

static void show_one_owner(struct showing *showing, uint32_t id)
{
    struct weft_usage usage;
    int error = weft_usage_of(showing->tool->session, showing->kind, id, &usage);
    if (error)
        tool_complain_weft(showing->tool, NULL, error);
    else
        show_owner(showing, &usage);
}

static void show_owners(struct showing *showing)
{
    int error = weft_usage_each(showing->tool->session, showing->kind, show_owner, showing);
    if (error)
        tool_complain_weft(showing->tool, NULL, error);
}

static void show_path(struct showing *showing, const char *path)
{
    struct weft_usage usage;
    struct place place = {.in_cluster = true, .path = (char *)path};
    int error = weft_usage(showing->tool->session, path, 0, &usage);
    char *text = place_text(&place);
    if (error)
        tool_complain_weft(showing->tool, path, error);
    else
        show(showing, showing->as_json || !text ? path : text, &usage);
    free(text);
}

/* -1 to go on, or the status to exit with. */
static int choose(struct showing *showing, bool has_paths, uint32_t *id)
{
    const char *who = showing->user ? showing->user : showing->group;
    int chosen =
        (showing->user != NULL) + (showing->group != NULL) + showing->users + showing->groups + has_paths;
    if (chosen > 1)
        return tool_usage_error(showing->tool,
                                "paths, --user, --group, --users and --groups: one of them at a time");
    if (showing->user || showing->users)
        showing->kind = WEFT_USAGE_USER;
    if (showing->group || showing->groups)
        showing->kind = WEFT_USAGE_GROUP;
    if (who && !options_parse_id(who, showing->group != NULL, id))
        return tool_usage_error(showing->tool, "there is no %s \"%s\"", showing->group ? "group" : "user",
                                who);
    return -1;
}

static void run(struct showing *showing, const char *const *paths, size_t count, uint32_t id)
{
    if (showing->as_json)
        showing->json = json_array();
    if (showing->users || showing->groups)
        show_owners(showing);
    else if (showing->kind)
        show_one_owner(showing, id);
    for (size_t i = 0; !showing->kind && i < count; i++)
        show_path(showing, paths[i]);
    if (showing->as_json)
        format_json_print(showing->json);
    else
        table_print(showing->table, stdout);
}

int cmd_usage(struct tool *tool, int argc, char **argv)
{
    struct showing showing = {.tool = tool};
    const struct option_spec options[] = {
        {"user", 'u', OPTION_TEXT, "USER", &showing.user, "of this user, a name or a number"},
        {"group", 'g', OPTION_TEXT, "GROUP", &showing.group, "of this group, likewise"},
        {"users", 0, OPTION_FLAG, NULL, &showing.users, "of all users that have something"},
        {"groups", 0, OPTION_FLAG, NULL, &showing.groups, "of all groups, likewise"},
        {"bytes", 'b', OPTION_FLAG, NULL, &showing.plain, "plain numbers of bytes"},
        {"json", 0, OPTION_FLAG, NULL, &showing.as_json, "as a JSON array"},
        OPTION_CONF(tool),
        {0},
    };
    int first;
    int status =
        options_parse(tool, argc, argv, options,
                      "Shows how much there is below directories, or of users and groups: the sizes of\n"
                      "files, the space they take, how many they are, and how many directories. The\n"
                      "cluster keeps these sums, so that it takes no time. A file that is open for\n"
                      "writing counts with the size that it had before. Without a path: weft:/",
                      &first);
    if (status >= 0)
        return status;
    const size_t count = (size_t)(argc - first);
    uint32_t id = 0;
    status = choose(&showing, count > 0, &id);
    if (status >= 0)
        return status;
    const char **paths = calloc(count ? count : 1, sizeof *paths);
    if (!paths)
        return TOOL_FAILED;
    paths[0] = "/";
    for (size_t i = 0; i < count; i++)
        if (!(paths[i] = place_cluster_path(tool, argv[first + (int)i])))
            goto free_paths;
    if (tool_session(tool))
        run(&showing, paths, count ? count : 1, id);
free_paths:
    free(paths);
    return tool->status;
}
