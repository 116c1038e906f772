/* SPDX-License-Identifier: Apache-2.0 */
/* weft ls and weft stat. */
#include "tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

struct listing {
    struct tool *tool;
    bool details, recursive, all, human, directory, as_json;
    bool headings;  /* name each directory before its contents */
    bool not_first; /* something was printed already */
    json_t *json;   /* array of entries, when as_json */
};

/* A subdirectory or an entry that waits for its turn. */
struct names {
    char **items;
    size_t count, room;
};

static bool names_add(struct names *names, const char *name)
{
    if (names->count == names->room) {
        size_t room = names->room ? 2 * names->room : 16;
        char **items = realloc(names->items, room * sizeof *items);
        if (!items)
            return false;
        names->items = items;
        names->room = room;
    }
    names->items[names->count] = strdup(name);
    return names->items[names->count] && ++names->count;
}

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
}

static const char *type_of(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "directory";
    case S_IFLNK:
        return "link";
    case S_IFIFO:
        return "fifo";
    case S_IFSOCK:
        return "socket";
    case S_IFCHR:
        return "character device";
    case S_IFBLK:
        return "block device";
    default:
        return "other";
    }
}

static bool is_device(uint32_t mode)
{
    return S_ISCHR(mode) || S_ISBLK(mode);
}

/* The text of a symbolic link; "" when it can't be read. Caller frees. */
static char *link_target(struct tool *tool, const char *path)
{
    struct place place = {.in_cluster = true, .path = (char *)path};
    char *target = NULL;
    if (place_readlink(tool, &place, &target))
        target = strdup("");
    return target;
}

static json_t *attr_json(struct tool *tool, const char *path, const struct weft_attr *attr)
{
    json_t *json = json_pack(
        "{s:o, s:s, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "path", format_json_text(path),
        "type", type_of(attr->mode), "inode", (json_int_t)attr->ino, "size", (json_int_t)attr->size, "bytes",
        (json_int_t)attr->bytes, "mode", json_sprintf("%04o", attr->mode & 07777), "links",
        (json_int_t)attr->nlink, "uid", (json_int_t)attr->uid, "gid", (json_int_t)attr->gid, "atime_ns",
        (json_int_t)attr->atime_ns, "mtime_ns", (json_int_t)attr->mtime_ns, "ctime_ns",
        (json_int_t)attr->ctime_ns, "layout", format_layout_json(&attr->layout));
    if (json && is_device(attr->mode))
        json_object_set_new(json, "device", json_sprintf("%u:%u", major(attr->rdev), minor(attr->rdev)));
    if (json && S_ISLNK(attr->mode)) {
        char *target = link_target(tool, path);
        json_object_set_new(json, "target", format_json_text(target ? target : ""));
        free(target);
    }
    return json;
}

/* ---- ls ------------------------------------------------------------------- */

static void add_row(struct listing *listing, struct table *table, const char *name, const char *path,
                    const struct weft_attr *attr)
{
    char mode[FORMAT_MODE], user[FORMAT_BYTES], group[FORMAT_BYTES], size[FORMAT_BYTES], time[FORMAT_TIME];
    char links[FORMAT_BYTES], *shown = NULL, *target = NULL;
    if (S_ISLNK(attr->mode) && (target = link_target(listing->tool, path)) &&
        asprintf(&shown, "%s -> %s", name, target) < 0)
        shown = NULL;
    snprintf(links, sizeof links, "%u", attr->nlink);
    if (is_device(attr->mode))
        snprintf(size, sizeof size, "%u,%u", major(attr->rdev), minor(attr->rdev));
    else if (listing->human)
        format_bytes(size, attr->size);
    else
        snprintf(size, sizeof size, "%llu", (unsigned long long)attr->size);
    table_row(table, format_mode(mode, attr->mode), links, format_user(user, attr->uid),
              format_group(group, attr->gid), size, format_time(time, attr->mtime_ns, false),
              shown ? shown : name, NULL);
    free(shown);
    free(target);
}

/* One entry, in the form that was asked for. */
static void show(struct listing *listing, struct table *table, const char *name, const char *path,
                 const struct weft_attr *attr)
{
    if (listing->as_json) {
        json_array_append_new(listing->json, attr_json(listing->tool, path, attr));
    } else if (listing->details) {
        add_row(listing, table, name, path, attr);
    } else {
        format_name(stdout, name);
        putchar('\n');
    }
    listing->not_first = true;
}

static struct table *new_table(const struct listing *listing)
{
    return listing->details && !listing->as_json ? table_new("lrllrll") : NULL;
}

static void heading(struct listing *listing, const char *path)
{
    if (listing->as_json || !listing->headings)
        return;
    if (listing->not_first)
        putchar('\n');
    printf("weft:");
    format_name(stdout, path);
    puts(":");
    listing->not_first = true;
}

static void list_directory(struct listing *listing, const char *path)
{
    struct tool *tool = listing->tool;
    struct names below = {0};
    struct weft_attr attr;
    const char *name;
    weft_dir_t *dir;
    int more = weft_dir_open(tool->session, path, &dir);
    if (more) {
        tool_complain_weft(tool, path, more);
        return;
    }
    heading(listing, path);
    struct table *table = new_table(listing);
    bool attr_needed = listing->details || listing->recursive || listing->as_json;
    while ((more = weft_dir_next(dir, &name, attr_needed ? &attr : NULL)) > 0) {
        struct place here = {.in_cluster = true, .path = (char *)path}, child;
        if ((name[0] == '.' && !listing->all) || place_join(&here, name, &child))
            continue;
        show(listing, table, name, child.path, &attr);
        if (listing->recursive && S_ISDIR(attr.mode) && !names_add(&below, child.path))
            tool_complain(tool, "weft:%s: no memory to list it too", child.path);
        place_free(&child);
    }
    if (more < 0)
        tool_complain_weft(tool, path, more);
    weft_dir_close(dir);
    table_print(table, stdout);
    for (size_t i = 0; i < below.count; i++)
        list_directory(listing, below.items[i]);
    names_free(&below);
}

/* Files of the command line come first, as one list; their names are as they were given. */
static void list_arguments(struct listing *listing, const char *const *paths, size_t count)
{
    struct names directories = {0};
    struct table *table = new_table(listing);
    for (size_t i = 0; i < count; i++) {
        struct weft_attr attr;
        bool keep_links = listing->directory || listing->details;
        int error = weft_stat(listing->tool->session, paths[i], keep_links ? WEFT_STAT_NOFOLLOW : 0, &attr);
        /* A link that leads nowhere is still an entry. */
        if (error == -ENOENT && !keep_links)
            error = weft_stat(listing->tool->session, paths[i], WEFT_STAT_NOFOLLOW, &attr);
        if (error) {
            tool_complain_weft(listing->tool, paths[i], error);
        } else if (S_ISDIR(attr.mode) && !listing->directory) {
            names_add(&directories, paths[i]);
        } else {
            char *name;
            if (asprintf(&name, "weft:%s", paths[i]) < 0)
                continue;
            show(listing, table, name, paths[i], &attr);
            free(name);
        }
    }
    table_print(table, stdout);
    listing->headings = listing->recursive || count > 1;
    for (size_t i = 0; i < directories.count; i++)
        list_directory(listing, directories.items[i]);
    names_free(&directories);
}

int cmd_ls(struct tool *tool, int argc, char **argv)
{
    struct listing listing = {.tool = tool};
    const struct option_spec options[] = {
        {"long", 'l', OPTION_FLAG, NULL, &listing.details, "show permissions, owner, size and time"},
        {"recursive", 'R', OPTION_FLAG, NULL, &listing.recursive, "go down into directories"},
        {"all", 'a', OPTION_FLAG, NULL, &listing.all, "show names that begin with a dot too"},
        {"directory", 'd', OPTION_FLAG, NULL, &listing.directory, "show directories themselves"},
        {"human", 'h', OPTION_FLAG, NULL, &listing.human, "sizes as 1.5 GiB"},
        {"json", 0, OPTION_FLAG, NULL, &listing.as_json, "a JSON array with all that is known"},
        OPTION_CONF(tool),
        {0},
    };
    int first;
    int status = options_parse(tool, argc, argv, options,
                               "Lists files and directories, one name a line, in the order of their bytes.\n"
                               "Without a path: weft:/",
                               &first);
    if (status >= 0)
        return status;
    size_t count = (size_t)(argc - first);
    const char **paths = calloc(count ? count : 1, sizeof *paths);
    if (!paths)
        return TOOL_FAILED;
    paths[0] = "/";
    for (size_t i = 0; i < count; i++)
        if (!(paths[i] = place_cluster_path(tool, argv[first + (int)i])))
            goto free_paths;
    if (!tool_session(tool))
        goto free_paths;
    if (listing.as_json)
        listing.json = json_array();
    list_arguments(&listing, paths, count ? count : 1);
    if (listing.as_json)
        format_json_print(listing.json);
free_paths:
    free(paths);
    return tool->status;
}

/* ---- stat ----------------------------------------------------------------- */

static void print_time(const char *what, int64_t ns)
{
    char text[FORMAT_TIME];
    printf("%10s: %s\n", what, format_time(text, ns, true));
}

static void print_stat(struct tool *tool, const char *path, const struct weft_attr *attr)
{
    char size[FORMAT_BYTES], used[FORMAT_BYTES], mode[FORMAT_MODE], user[FORMAT_BYTES], group[FORMAT_BYTES];
    printf("%10s: weft:", "Path");
    format_name(stdout, path);
    if (S_ISLNK(attr->mode)) {
        char *target = link_target(tool, path);
        printf(" -> ");
        format_name(stdout, target ? target : "");
        free(target);
    }
    printf("\n%10s: %s, inode %llu, links %u\n", "Type", type_of(attr->mode), (unsigned long long)attr->ino,
           attr->nlink);
    if (is_device(attr->mode))
        printf("%10s: %u:%u\n", "Device", major(attr->rdev), minor(attr->rdev));
    printf("%10s: %llu bytes (%s), space in use %s\n", "Size", (unsigned long long)attr->size,
           format_bytes(size, attr->size), format_bytes(used, attr->bytes));
    printf("%10s: %04o (%s), owner %s (%u), group %s (%u)\n", "Mode", attr->mode & 07777,
           format_mode(mode, attr->mode), format_user(user, attr->uid), attr->uid,
           format_group(group, attr->gid), attr->gid);
    print_time("Accessed", attr->atime_ns);
    print_time("Modified", attr->mtime_ns);
    print_time("Changed", attr->ctime_ns);
    if (S_ISLNK(attr->mode) || attr->layout.chunk_size == 0)
        return;
    printf("%10s: ", S_ISDIR(attr->mode) ? "New files" : "Layout");
    format_layout_print(&attr->layout);
}

int cmd_stat(struct tool *tool, int argc, char **argv)
{
    bool follow = false, as_json = false;
    const struct option_spec options[] = {
        {"follow", 'L', OPTION_FLAG, NULL, &follow, "follow symbolic links"},
        {"json", 0, OPTION_FLAG, NULL, &as_json, "a JSON array"},
        OPTION_CONF(tool),
        {0},
    };
    int first;
    int status = options_parse(tool, argc, argv, options,
                               "Shows all that is known of files and directories: type, exact size, owner,\n"
                               "permissions, times and layout.",
                               &first);
    if (status >= 0)
        return status;
    if (first == argc)
        return tool_usage_error(tool, "which file?");
    json_t *json = as_json ? json_array() : NULL;
    for (int i = first; i < argc; i++) {
        struct weft_attr attr;
        const char *path = place_cluster_path(tool, argv[i]);
        if (!path || !tool_session(tool))
            break;
        int error = weft_stat(tool->session, path, follow ? 0 : WEFT_STAT_NOFOLLOW, &attr);
        if (error)
            tool_complain_weft(tool, path, error);
        else if (as_json)
            json_array_append_new(json, attr_json(tool, path, &attr));
        else
            print_stat(tool, path, &attr);
    }
    if (json)
        format_json_print(json);
    return tool->status;
}
