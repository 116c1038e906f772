/* SPDX-License-Identifier: Apache-2.0 */
/* weft hints: what a directory has for MPI-IO on its files, and all hints that there are. */
#include "tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "hint_set.h"

enum { LINE_COLUMNS = 80, INDENT = 4 };

/* ---- all of them ---------------------------------------------------------- */

/* A paragraph, in lines that are not too long. */
static void print_paragraph(const char *text)
{
    size_t column = 0;
    while (*text) {
        size_t length = strcspn(text, " ");
        if (column + 1 + length > LINE_COLUMNS) {
            putchar('\n');
            column = 0;
        }
        printf("%*s%.*s", column ? 1 : INDENT, "", (int)length, text);
        column += length + (column ? 1 : INDENT);
        text += length + (text[length] == ' ');
    }
    putchar('\n');
}

static const char *place_name(enum hint_place place)
{
    static const char *const names[] = {
        [HINT_IN_NOWHERE] = "not kept with a directory",
        [HINT_IN_TEXT] = "kept with a directory",
        [HINT_IN_LAYOUT] = "kept with a directory, in its layout",
    };
    return names[place];
}

static void print_hint(enum hint_id id)
{
    const struct hint_row *row = &hint_rows[id];
    char accepted[256], line[512];
    const char *form = hint_form(id);
    hint_accepted(id, accepted, sizeof accepted);
    printf("%s%s%s\n", row->name, *form ? "=" : "", form);
    if (row->type != HINT_TOLD) {
        snprintf(line, sizeof line, "%s; default: %s; takes effect %s; %s", accepted,
                 *row->preset ? row->preset : "none", hint_when_name(row->when), place_name(row->place));
        print_paragraph(line);
    }
    print_paragraph(row->text);
    putchar('\n');
}

static void print_hints(void)
{
    for (enum hint_id id = 0; id < HINT_COUNT; id++)
        print_hint(id);
    puts("Without a meaning here, and passed over:");
    for (size_t i = 0; i < HINT_OTHER_COUNT; i++)
        printf("%*s%-24s %s\n", INDENT, "", hint_others[i].name, hint_others[i].text);
}

/* ---- those of a directory -------------------------------------------------- */

/* What is kept with the directory, and what is to become of it. */
struct kept {
    struct tool *tool;
    const char *path;
    char text[WEFT_HINTS_BYTES_MAX + 1]; /* the hints as the cluster has them */
    struct weft_layout layout;
    struct hint_set wanted;    /* from the command line, source HINT_FROM_DIRECTORY */
    bool is_named[HINT_COUNT]; /* on the command line */
    char *result;              /* the text to keep instead */
    size_t length, room;
    json_t *json;
};

static int load(struct kept *kept)
{
    struct weft_attr attr;
    ssize_t length = weft_hints_get(kept->tool->session, kept->path, kept->text, sizeof kept->text);
    int error = length < 0 ? (int)length : weft_stat(kept->tool->session, kept->path, 0, &attr);
    if (!error)
        kept->layout = attr.layout;
    return error;
}

static void complain_kept(void *arg, const char *complaint)
{
    const struct kept *kept = arg;
    tool_complain(kept->tool, "weft:%s: %s", kept->path, complaint);
}

static void print_kept(void *arg, const char *name, const char *value)
{
    (void)arg;
    printf("%s%s%s\n", name, value ? "=" : "", value ? value : "");
}

static void add_json(void *arg, const char *name, const char *value)
{
    struct kept *kept = arg;
    json_object_set_new(kept->json, name, value ? format_json_text(value) : json_null());
}

static void show_text(struct kept *kept)
{
    const struct weft_layout *layout = &kept->layout;
    hint_each(kept->text, print_kept, kept);
    /* A field that is 0 is the cluster's business. */
    if (layout->chunk_size)
        printf("%s=%llu\n", hint_rows[HINT_weft_chunk_size].name, (unsigned long long)layout->chunk_size);
    if (layout->stripe_count)
        printf("%s=%u\n", hint_rows[HINT_weft_stripe_count].name, layout->stripe_count);
    if (*layout->pool)
        printf("%s=%s\n", hint_rows[HINT_weft_pool].name, layout->pool);
    if (*layout->placement)
        printf("%s=%s\n", hint_rows[HINT_weft_placement].name, layout->placement);
}

static int show(struct kept *kept, bool as_json)
{
    int error = load(kept);
    if (error)
        return error;
    if (as_json) {
        kept->json = json_object();
        hint_each(kept->text, add_json, kept);
        format_json_print(json_pack("{s:o, s:o, s:o}", "path", format_json_text(kept->path), "hints",
                                    kept->json, "layout", format_layout_json(&kept->layout)));
    } else {
        show_text(kept);
    }
    /* Another version may have set what this one does not know. */
    struct hint_set set;
    hint_set_init(&set);
    hint_set_parse(&set, HINT_FROM_DIRECTORY, kept->text, complain_kept, kept);
    return 0;
}

/* ---- setting them ----------------------------------------------------------- */

static int refuse_name(struct tool *tool, const char *name)
{
    const char *why = hint_why_meaningless(name), *nearest = hint_nearest(name);
    if (why)
        return tool_usage_error(tool, "%s has no meaning here: %s", name, why);
    return tool_usage_error(tool, "there is no hint \"%s\"%s%s%s", name, nearest ? "; did you mean " : "",
                            nearest ? nearest : ": weft hints --list shows all", nearest ? "?" : "");
}

/* The text of a directory's hints has no way to say that a ; belongs to a value. */
static bool can_be_kept(const char *value)
{
    for (; *value; value++)
        if (*value < ' ' || *value > '~' || *value == ';')
            return false;
    return true;
}

static int take_value(struct kept *kept, enum hint_id id, const char *value)
{
    char complaint[HINT_COMPLAINT_BYTES];
    const struct hint_row *row = &hint_rows[id];
    struct hint_value *wanted = &kept->wanted.values[id];
    bool is_layout = row->place == HINT_IN_LAYOUT;
    if (row->place == HINT_IN_NOWHERE)
        return tool_usage_error(kept->tool, "%s can't be kept with a directory%s", row->name,
                                row->type == HINT_TOLD ? ": it is only told" : "");
    if (!can_be_kept(value))
        return tool_usage_error(kept->tool, "%s: a value is printable ASCII without \";\"", row->name);
    kept->is_named[id] = true;
    *wanted = (struct hint_value){0};
    if (*value && hint_set_put(&kept->wanted, HINT_FROM_DIRECTORY, row->name, value, complaint) != HINT_TAKEN)
        return tool_usage_error(kept->tool, "%s", complaint);
    /* A file may ask for the directory's; the directory has one of its own. */
    if (is_layout &&
        (!wanted->is_set || (row->type != HINT_TEXT && row->type != HINT_PLACEMENT && wanted->number == 0)))
        return tool_usage_error(
            kept->tool, "%s is part of the directory's layout: it can be changed, not removed", row->name);
    return 0;
}

/* Checks all before anything is changed: "name=value", "name=". */
static int take_arguments(struct kept *kept, int count, char **arguments)
{
    hint_set_init(&kept->wanted);
    for (int i = 0; i < count; i++) {
        char *equals = strchr(arguments[i], '=');
        if (!equals)
            return tool_usage_error(kept->tool, "\"%s\" is no NAME=VALUE", arguments[i]);
        *equals = 0;
        enum hint_id id = hint_find(arguments[i]);
        int status =
            id == HINT_COUNT ? refuse_name(kept->tool, arguments[i]) : take_value(kept, id, equals + 1);
        if (status)
            return status;
    }
    return 0;
}

static void append(struct kept *kept, const char *name, const char *value)
{
    if (kept->length < kept->room)
        kept->length += (size_t)snprintf(kept->result + kept->length, kept->room - kept->length, "%s%s%s%s",
                                         kept->length ? ";" : "", name, value ? "=" : "", value ? value : "");
}

/* What the command line doesn't name stays as it was, understood or not. */
static void keep_unnamed(void *arg, const char *name, const char *value)
{
    struct kept *kept = arg;
    enum hint_id id = hint_find(name);
    if (id == HINT_COUNT || !kept->is_named[id])
        append(kept, name, value);
}

static int set_text(struct kept *kept, bool is_cleared)
{
    kept->room = 2 * sizeof kept->text + HINT_COUNT * sizeof kept->wanted.values[0].text;
    kept->result = calloc(1, kept->room);
    if (!kept->result)
        return -ENOMEM;
    if (!is_cleared)
        hint_each(kept->text, keep_unnamed, kept);
    for (enum hint_id id = 0; id < HINT_COUNT; id++)
        if (hint_rows[id].place == HINT_IN_TEXT && kept->wanted.values[id].source == HINT_FROM_DIRECTORY)
            append(kept, hint_rows[id].name, kept->wanted.values[id].text);
    int error =
        strcmp(kept->result, kept->text) ? weft_hints_set(kept->tool->session, kept->path, kept->result) : 0;
    free(kept->result);
    return error;
}

static int set_layout(struct kept *kept)
{
    struct weft_layout layout = {
        .chunk_size = hint_set_chunk_size(&kept->wanted),
        .stripe_count = hint_set_stripe_count(&kept->wanted),
    };
    memcpy(layout.pool, kept->wanted.values[HINT_weft_pool].text, WEFT_POOL_BYTES_MAX);
    memcpy(layout.placement, kept->wanted.values[HINT_weft_placement].text, WEFT_PLACEMENT_BYTES_MAX);
    if (!layout.chunk_size && !layout.stripe_count && !*layout.pool && !*layout.placement)
        return 0;
    return weft_layout_set(kept->tool->session, kept->path, &layout);
}

/* The layout first: only there can the cluster refuse what the table accepts. */
static int set(struct kept *kept, bool is_cleared)
{
    int error = load(kept);
    if (!error)
        error = set_layout(kept);
    return error ? error : set_text(kept, is_cleared);
}

/* ---- the command ---------------------------------------------------------- */

static int run(struct tool *tool, int count, char **arguments, bool is_cleared, bool as_json)
{
    struct kept *kept = calloc(1, sizeof *kept);
    if (!kept) {
        tool_complain(tool, "out of memory");
        return TOOL_FAILED;
    }
    int status = TOOL_USAGE;
    kept->tool = tool;
    kept->path = place_cluster_path(tool, arguments[0]);
    if (kept->path)
        status = take_arguments(kept, count - 1, arguments + 1);
    if (!status && tool_session(tool)) {
        bool is_change = is_cleared || count > 1;
        int error = is_change ? set(kept, is_cleared) : show(kept, as_json);
        if (error)
            tool_complain_weft(tool, kept->path, error);
    }
    free(kept);
    return status ? status : tool->status;
}

int cmd_hints(struct tool *tool, int argc, char **argv)
{
    bool is_cleared = false, is_list = false, as_json = false;
    const struct option_spec options[] = {
        {"list", 'l', OPTION_FLAG, NULL, &is_list, "show all hints that there are, with their text"},
        {"clear", 0, OPTION_FLAG, NULL, &is_cleared, "remove the directory's hints; its layout stays"},
        {"json", 0, OPTION_FLAG, NULL, &as_json, "print a JSON object"},
        OPTION_CONF(tool),
        {0},
    };
    int first;
    int status =
        options_parse(tool, argc, argv, options,
                      "Shows the hints that MPI-IO takes for the files of a directory, as NAME=VALUE, or\n"
                      "sets them; NAME= removes one. Hints of the layout become the directory's layout for\n"
                      "new files. New directories in it begin with all of them. WEFT_HINTS and the\n"
                      "MPI_Info of a program go before them: see man weft-hints.",
                      &first);
    if (status >= 0)
        return status;
    if (is_list && (first < argc || is_cleared || as_json))
        return tool_usage_error(tool, "--list stands alone");
    if (is_list) {
        print_hints();
        return TOOL_DONE;
    }
    if (first == argc)
        return tool_usage_error(tool, "which directory?");
    if (as_json && (is_cleared || argc - first > 1))
        return tool_usage_error(tool, "--json is for showing hints, not for setting them");
    return run(tool, argc - first, argv + first, is_cleared, as_json);
}
