/* SPDX-License-Identifier: Apache-2.0 */
/* weft layout: on which servers the bytes of a file are, and the choice for new files. */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { ROWS_SHOWN = 16, BATCH = 1024 };

/* What one target holds of the file. */
struct share {
    char server[64];
    uint32_t target;
    uint64_t chunks;
    uint64_t bytes;
};

struct shares {
    struct share *items;
    size_t count, room;
};

struct view {
    struct tool *tool;
    bool as_json, all, summary;
    uint64_t offset, length; /* the part that is looked at */
};

static int shares_add(struct shares *shares, const struct weft_location *location)
{
    size_t i = 0;
    while (i < shares->count && (shares->items[i].target != location->target ||
                                 strcmp(shares->items[i].server, location->server) != 0))
        i++;
    if (i == shares->count) {
        if (shares->count == shares->room) {
            size_t room = shares->room ? 2 * shares->room : 16;
            struct share *items = realloc(shares->items, room * sizeof *items);
            if (!items)
                return -ENOMEM;
            shares->items = items;
            shares->room = room;
        }
        struct share *share = &shares->items[shares->count++];
        *share = (struct share){.target = location->target};
        snprintf(share->server, sizeof share->server, "%s", location->server);
    }
    shares->items[i].chunks++;
    shares->items[i].bytes += location->length;
    return 0;
}

static int compare_shares(const void *left, const void *right)
{
    const struct share *a = left, *b = right;
    return a->target < b->target ? -1 : a->target > b->target;
}

/* Calls `each` for every chunk of the part that is looked at. */
typedef int location_fn(void *arg, const struct weft_location *location);

static int each_location(weft_file_t *file, uint64_t offset, uint64_t length, location_fn *each, void *arg)
{
    struct weft_location *locations = malloc(BATCH * sizeof *locations);
    if (!locations)
        return -ENOMEM;
    int result = 0;
    while (length > 0 && result == 0) {
        ssize_t count = weft_file_locate(file, offset, length, locations, BATCH);
        if (count <= 0) {
            result = count < 0 ? (int)count : -EPROTO;
            break;
        }
        for (ssize_t i = 0; i < count && i < BATCH && result == 0; i++) {
            result = each(arg, &locations[i]);
            /* The next batch begins behind the last one. */
            uint64_t end = locations[i].offset + locations[i].length;
            length -= end - offset;
            offset = end;
        }
    }
    free(locations);
    return result;
}

/* ---- as text -------------------------------------------------------------- */

struct rows {
    struct table *table;
    struct shares shares;
    uint64_t shown, passed_over;
    bool all, summary;
};

static int take_row(void *arg, const struct weft_location *location)
{
    struct rows *rows = arg;
    char chunk[FORMAT_BYTES], first[FORMAT_BYTES], last[FORMAT_BYTES], target[FORMAT_BYTES],
        shard[FORMAT_BYTES];
    if (rows->summary || (!rows->all && rows->shown == ROWS_SHOWN)) {
        rows->passed_over++;
    } else {
        rows->shown++;
        snprintf(chunk, sizeof chunk, "%llu", (unsigned long long)location->chunk);
        snprintf(first, sizeof first, "%llu", (unsigned long long)location->offset);
        snprintf(last, sizeof last, "%llu", (unsigned long long)(location->offset + location->length - 1));
        snprintf(target, sizeof target, "%u", location->target);
        snprintf(shard, sizeof shard, "%u", location->shard);
        table_row(rows->table, chunk, first, last, location->server, target, shard, NULL);
    }
    return shares_add(&rows->shares, location);
}

static void print_shares(struct shares *shares, uint64_t total)
{
    struct table *table = table_new("lrrrr");
    table_row(table, "SERVER", "TARGET", "CHUNKS", "BYTES", "SHARE", NULL);
    if (shares->count)
        qsort(shares->items, shares->count, sizeof *shares->items, compare_shares);
    for (size_t i = 0; i < shares->count; i++) {
        const struct share *share = &shares->items[i];
        char target[FORMAT_BYTES], chunks[FORMAT_BYTES], bytes[FORMAT_BYTES], part[FORMAT_BYTES];
        snprintf(target, sizeof target, "%u", share->target);
        snprintf(chunks, sizeof chunks, "%llu", (unsigned long long)share->chunks);
        snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)share->bytes);
        snprintf(part, sizeof part, "%.1f%%", total ? 100.0 * (double)share->bytes / (double)total : 0);
        table_row(table, share->server, target, chunks, bytes, part, NULL);
    }
    table_print(table, stdout);
}

/* What is said of a small file, whose chunks are nowhere yet. */
static int show_small(const char *path, const struct weft_attr *attr, json_t *json)
{
    char human[FORMAT_BYTES];
    if (json) {
        json_object_set_new(json, "size", json_integer((json_int_t)attr->size));
        json_object_set_new(json, "small", json_true());
        json_object_set_new(json, "layout", format_layout_json(&attr->layout));
        json_object_set_new(json, "targets", json_array());
        json_object_set_new(json, "extents", json_array());
        return 0;
    }
    printf("weft:%s: %llu bytes (%s), with the metadata server; when it grows, ", path,
           (unsigned long long)attr->size, format_bytes(human, attr->size));
    format_layout_print(&attr->layout);
    return 0;
}

static int print_file(const struct view *view, const char *path, weft_file_t *file, uint64_t size,
                      uint64_t length)
{
    char human[FORMAT_BYTES];
    struct weft_layout layout;
    struct rows rows = {.table = table_new("rrrlrr"), .all = view->all, .summary = view->summary};
    weft_file_layout(file, &layout);
    printf("weft:%s: %llu bytes (%s), ", path, (unsigned long long)size, format_bytes(human, size));
    format_layout_print(&layout);
    table_row(rows.table, "CHUNK", "FIRST", "LAST", "SERVER", "TARGET", "SHARD", NULL);
    int error = each_location(file, view->offset, length, take_row, &rows);
    if (rows.shown) {
        putchar('\n');
        table_print(rows.table, stdout);
        if (rows.passed_over)
            printf("... and %llu more chunks: --all shows them\n", (unsigned long long)rows.passed_over);
    } else {
        table_free(rows.table);
    }
    if (!error && rows.shares.count) {
        putchar('\n');
        print_shares(&rows.shares, length);
    }
    free(rows.shares.items);
    return error;
}

/* ---- as JSON -------------------------------------------------------------- */

struct json_rows {
    json_t *extents;
    struct shares shares;
    bool summary;
};

static int take_json(void *arg, const struct weft_location *location)
{
    struct json_rows *rows = arg;
    if (!rows->summary)
        json_array_append_new(
            rows->extents,
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "chunk", (json_int_t)location->chunk, "offset",
                      (json_int_t)location->offset, "length", (json_int_t)location->length, "group",
                      (json_int_t)location->group, "target", (json_int_t)location->target, "shard",
                      (json_int_t)location->shard, "server", format_json_text(location->server)));
    return shares_add(&rows->shares, location);
}

static int json_of_file(const struct view *view, weft_file_t *file, uint64_t size, uint64_t length,
                        json_t *json)
{
    struct weft_layout layout;
    struct json_rows rows = {.extents = json_array(), .summary = view->summary};
    weft_file_layout(file, &layout);
    int error = each_location(file, view->offset, length, take_json, &rows);
    json_t *targets = json_array();
    if (rows.shares.count)
        qsort(rows.shares.items, rows.shares.count, sizeof *rows.shares.items, compare_shares);
    for (size_t i = 0; i < rows.shares.count; i++) {
        const struct share *share = &rows.shares.items[i];
        json_array_append_new(targets,
                              json_pack("{s:o, s:I, s:I, s:I}", "server", format_json_text(share->server),
                                        "target", (json_int_t)share->target, "chunks",
                                        (json_int_t)share->chunks, "bytes", (json_int_t)share->bytes));
    }
    json_object_set_new(json, "size", json_integer((json_int_t)size));
    json_object_set_new(json, "layout", format_layout_json(&layout));
    json_object_set_new(json, "targets", targets);
    if (view->summary)
        json_decref(rows.extents);
    else
        json_object_set_new(json, "extents", rows.extents);
    free(rows.shares.items);
    return error;
}

/* ---- the command ---------------------------------------------------------- */

static void show_directory(const char *path, const struct weft_layout *layout, json_t *json)
{
    if (json) {
        json_object_set_new(json, "layout", format_layout_json(layout));
    } else {
        printf("weft:%s/: new files get ", strcmp(path, "/") == 0 ? "" : path);
        format_layout_print(layout);
    }
}

static int show_file(const struct view *view, const char *path, json_t *json)
{
    uint64_t size;
    weft_file_t *file;
    int error = weft_file_open(view->tool->session, path, O_RDONLY, 0, NULL, &file);
    if (error)
        return error;
    error = weft_file_size(file, &size);
    if (!error) {
        uint64_t rest = size > view->offset ? size - view->offset : 0;
        uint64_t length = rest < view->length ? rest : view->length;
        error =
            json ? json_of_file(view, file, size, length, json) : print_file(view, path, file, size, length);
    }
    weft_file_close(file);
    return error;
}

static void show(const struct view *view, const char *path, bool first, json_t *all)
{
    struct weft_attr attr;
    json_t *json = all ? json_object() : NULL;
    int error = weft_stat(view->tool->session, path, 0, &attr);
    if (json)
        json_object_set_new(json, "path", format_json_text(path));
    if (!error && !json && !first)
        putchar('\n');
    if (!error && S_ISDIR(attr.mode))
        show_directory(path, &attr.layout, json);
    else if (!error && attr.small)
        error = show_small(path, &attr, json);
    else if (!error)
        error = show_file(view, path, json);
    if (error) {
        tool_complain_weft(view->tool, path, error);
        json_decref(json);
    } else if (json) {
        json_array_append_new(all, json);
    }
}

static void set(struct tool *tool, const char *path, const struct weft_layout *layout)
{
    int error = weft_layout_set(tool->session, path, layout);
    if (error == -ENOTDIR)
        tool_complain(tool,
                      "weft:%s: the layout of a file is fixed when it is made: set it on a directory, or use "
                      "weft cp --chunk-size for a new file",
                      path);
    else if (error)
        tool_complain_weft(tool, path, error);
}

int cmd_layout(struct tool *tool, int argc, char **argv)
{
    struct view view = {.tool = tool, .length = UINT64_MAX};
    struct weft_layout layout = {0};
    const char *pool = NULL, *placement = NULL;
    bool setting = false;
    const struct option_spec options[] = {
        {"all", 'a', OPTION_FLAG, NULL, &view.all, "show every chunk, not only the first 16"},
        {"summary", 0, OPTION_FLAG, NULL, &view.summary, "only the sums of each target"},
        {"offset", 0, OPTION_SIZE, "SIZE", &view.offset, "begin at this byte of the file"},
        {"length", 0, OPTION_SIZE, "SIZE", &view.length, "look at so many bytes"},
        {"json", 0, OPTION_FLAG, NULL, &view.as_json, "a JSON array, with every chunk"},
        {"set", 0, OPTION_FLAG, NULL, &setting, "choose the layout of new files in a directory"},
        {"chunk-size", 0, OPTION_CHUNK, "SIZE", &layout.chunk_size, "with --set: bytes of a chunk, 4K to 1G"},
        {"stripe-count", 0, OPTION_COUNT, "N", &layout.stripe_count,
         "with --set: spread each file over N groups"},
        {"pool", 0, OPTION_TEXT, "NAME", &pool, "with --set: the pool"},
        {"placement", 0, OPTION_TEXT, "WHERE", &placement,
         "with --set: spread, local (on the host of who makes a file) or host:NAME"},
        OPTION_CONF(tool),
        {0},
    };
    int first;
    int status =
        options_parse(tool, argc, argv, options,
                      "Shows which bytes of a file are on which server and target, and the layout that\n"
                      "new files of a directory get. With --set that layout is chosen; existing files\n"
                      "keep theirs, and what is not given stays as it was.",
                      &first);
    if (status >= 0)
        return status;
    if (first == argc)
        return tool_usage_error(tool, "which file or directory?");
    if (pool && strlen(pool) > WEFT_POOL_BYTES_MAX)
        return tool_usage_error(tool, "--pool: a pool's name has at most %u bytes", WEFT_POOL_BYTES_MAX);
    if (pool)
        memcpy(layout.pool, pool, strlen(pool) + 1);
    if (placement && strlen(placement) > WEFT_PLACEMENT_BYTES_MAX)
        return tool_usage_error(tool, "--placement: spread, local or host:NAME");
    if (placement)
        memcpy(layout.placement, placement, strlen(placement) + 1);
    bool chosen = layout.chunk_size || layout.stripe_count || pool || placement;
    if (setting != chosen)
        return tool_usage_error(tool,
                                setting ? "--set needs --chunk-size, --stripe-count, --pool or --placement"
                                        : "--chunk-size, --stripe-count, --pool and --placement need --set");
    json_t *json = view.as_json && !setting ? json_array() : NULL;
    for (int i = first; i < argc; i++) {
        const char *path = place_cluster_path(tool, argv[i]);
        if (!path || !tool_session(tool))
            break;
        if (setting)
            set(tool, path, &layout);
        else
            show(&view, path, i == first, json);
    }
    if (json)
        format_json_print(json);
    return tool->status;
}
