/* SPDX-License-Identifier: Apache-2.0 */
/* weft cp and weft cat: whole files and trees, in every direction that touches the cluster. */
#include "transfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IN_FLIGHT_DEFAULT = 4, IN_FLIGHT_MAX = 64, FILES_DEFAULT = 8, FILES_MAX = 256 };

/* ---- the command ---------------------------------------------------------- */

/* One source of the command line. */
static void copy_argument(struct copy *copy, const char *argument, const struct place *to, bool into)
{
    const struct weft_attr plain = {.mode = S_IFREG | 0666};
    struct place from;
    if (strcmp(argument, "-") == 0) {
        if (into)
            tool_complain(copy->tool, "%s: is a directory: give the new file a name", to->path);
        else
            transfer_file(copy, &transfer_stdin, to, &plain);
        return;
    }
    if (place_from(copy->tool, &from, argument))
        return;
    char *name = place_base_name(&from);
    struct place inside = {0};
    if (!into) {
        transfer_entry(copy, &from, to, true);
    } else if (name && (*name == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)) {
        transfer_entry(copy, &from, to, true); /* "weft:/" or "dir/." means what is in it */
    } else if (!name || place_join(to, name, &inside)) {
        tool_complain(copy->tool, "%s: no memory, or the path becomes too long", argument);
    } else {
        transfer_entry(copy, &from, &inside, true);
        place_free(&inside);
    }
    free(name);
    place_free(&from);
}

/* The destination, and whether sources go into it; a complaint and -1 when that can't be. */
static int resolve_destination(struct tool *tool, int sources, const struct place *to, bool *into)
{
    struct weft_attr attr;
    size_t length = strlen(to->path);
    bool slash = length > 1 && to->path[length - 1] == '/';
    int error = place_stat(tool, to, true, &attr);
    if (error == -ENOTCONN)
        return -1; /* complained of already */
    *into = error == 0 && S_ISDIR(attr.mode);
    if (*into || (sources == 1 && !slash && (error == 0 || error == -ENOENT)))
        return 0;
    if (error && error != -ENOENT)
        place_complain(tool, to, error);
    else
        tool_complain(tool, "%s%s: is not a directory: weft mkdir -p makes one",
                      to->in_cluster ? WEFT_PATH_PREFIX : "", to->path);
    return -1;
}

/* Between two local paths there is nothing for us to do. */
static bool check_sides(struct tool *tool, int sources, char **arguments, bool to_cluster)
{
    for (int i = 0; i < sources; i++) {
        if (weft_path_match(arguments[i]) ? place_cluster_path(tool, arguments[i]) != NULL : to_cluster)
            continue;
        if (weft_path_match(arguments[i]))
            return false;
        tool_usage_error(tool,
                         "neither %s nor %s is in the cluster: paths there begin with weft:", arguments[i],
                         arguments[sources]);
        return false;
    }
    return true;
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

/* No two sources can get to the same place, so they may be copied at a time. */
static bool are_distinct(int count, char **arguments)
{
    char **names = calloc((size_t)count, sizeof *names);
    bool distinct = names != NULL;
    for (int i = 0; i < count && distinct; i++) {
        const struct place place = {.path = arguments[i]};
        names[i] = place_base_name(&place);
        /* Of "dir/." it is not known what comes from it. */
        distinct = names[i] && *names[i] && strcmp(names[i], ".") != 0 && strcmp(names[i], "..") != 0;
    }
    if (distinct)
        qsort(names, (size_t)count, sizeof *names, compare_names);
    for (int i = 1; i < count && distinct; i++)
        distinct = strcmp(names[i - 1], names[i]) != 0;
    for (int i = 0; i < count && names; i++)
        free(names[i]);
    free(names);
    return distinct;
}

static void run_copies(struct copy *copy, int sources, char **arguments, const struct place *to)
{
    struct tool *tool = copy->tool;
    bool into = false;
    if (!tool_session(tool))
        return;
    if (to != &transfer_stdout && resolve_destination(tool, sources, to, &into))
        return;
    uint64_t total = 0;
    bool show = !copy->quiet && isatty(STDERR_FILENO);
    for (int i = 0; i < sources && show && total != UINT64_MAX; i++) {
        struct place from;
        if (strcmp(arguments[i], "-") == 0) {
            total = UINT64_MAX;
        } else if (place_from(tool, &from, arguments[i]) == 0) {
            total += transfer_bytes(tool, &from, copy->recursive);
            place_free(&from);
        }
    }
    struct progress *progress = progress_new(tool, total, copy->quiet || to == &transfer_stdout);
    if (copy->files > 1 && (copy->recursive || sources > 1))
        copy->workers = workers_new(copy->files);
    bool distinct = are_distinct(sources, arguments);
    for (int i = 0; i < sources && !tool_interrupted(); i++) {
        copy_argument(copy, arguments[i], to, into);
        if (!distinct)
            workers_drain(copy->workers);
    }
    workers_free(copy->workers);
    transfer_finish(copy);
    progress_free(progress);
    if (tool_interrupted())
        tool_complain(tool, "interrupted");
}

int cmd_cp(struct tool *tool, int argc, char **argv)
{
    struct copy copy = {.tool = tool, .in_flight = IN_FLIGHT_DEFAULT, .files = FILES_DEFAULT};
    const char *pool = NULL;
    const struct option_spec options[] = {
        {"recursive", 'r', OPTION_FLAG, NULL, &copy.recursive, "copy directories with all in them"},
        {"preserve", 'p', OPTION_FLAG, NULL, &copy.preserve, "keep permissions and times"},
        {"sync", 0, OPTION_FLAG, NULL, &copy.sync, "return when the copies would survive a crash"},
        {"chunk-size", 0, OPTION_CHUNK, "SIZE", &copy.layout.chunk_size,
         "chunk size of files made in the cluster"},
        {"stripe-count", 0, OPTION_COUNT, "N", &copy.layout.stripe_count,
         "spread each of them over N groups"},
        {"pool", 0, OPTION_TEXT, "NAME", &pool, "put them into this pool"},
        {"in-flight", 0, OPTION_COUNT, "N", &copy.in_flight,
         "pieces of a file under way at a time (default 4)"},
        {"jobs", 'j', OPTION_COUNT, "N", &copy.files, "files under way at a time (default 8)"},
        {"quiet", 'q', OPTION_FLAG, NULL, &copy.quiet, "show no progress bar"},
        {"verbose", 'v', OPTION_FLAG, NULL, &copy.verbose, "name each file that was copied"},
        OPTION_CONF(tool),
        {0},
    };
    int first;
    int status =
        options_parse(tool, argc, argv, options,
                      "Copies files to, from and inside the cluster. With several sources, or when the\n"
                      "destination is a directory, the copies go into it. - is standard input as the\n"
                      "source, standard output as the destination. Existing files are overwritten. The\n"
                      "size of each copy is checked; an incomplete new file is removed.",
                      &first);
    if (status >= 0)
        return status;
    int sources = argc - first - 1;
    if (sources < 1)
        return tool_usage_error(tool, "%s", sources < 0 ? "what is to be copied?" : "where to?");
    if (copy.in_flight > IN_FLIGHT_MAX)
        return tool_usage_error(tool, "--in-flight is at most %d", IN_FLIGHT_MAX);
    if (copy.files > FILES_MAX)
        return tool_usage_error(tool, "--jobs is at most %d", FILES_MAX);
    if (pool && strlen(pool) > WEFT_POOL_BYTES_MAX)
        return tool_usage_error(tool, "--pool: a pool's name has at most %u bytes", WEFT_POOL_BYTES_MAX);
    if (pool)
        memcpy(copy.layout.pool, pool, strlen(pool) + 1);

    const char *last = argv[argc - 1];
    bool to_stdout = strcmp(last, "-") == 0;
    struct place to;
    if (!check_sides(tool, sources, argv + first, weft_path_match(last)))
        return TOOL_USAGE;
    if (to_stdout ? sources != 1 || copy.recursive : false)
        return tool_usage_error(tool, "only one file can be copied to standard output; see weft cat");
    if (place_from(tool, &to, last))
        return tool->status;
    copy.mask = umask(0);
    umask(copy.mask);
    tool_catch_interrupts();
    run_copies(&copy, sources, argv + first, to_stdout ? &transfer_stdout : &to);
    place_free(&to);
    return tool->status;
}

int cmd_cat(struct tool *tool, int argc, char **argv)
{
    struct copy copy = {.tool = tool, .in_flight = IN_FLIGHT_DEFAULT};
    const struct option_spec options[] = {OPTION_CONF(tool), {0}};
    int first;
    int status = options_parse(tool, argc, argv, options,
                               "Writes the files to standard output, one after the other.", &first);
    if (status >= 0)
        return status;
    if (first == argc)
        return tool_usage_error(tool, "which file?");
    tool_catch_interrupts();
    for (int i = first; i < argc && !tool_interrupted(); i++) {
        struct place from;
        if (!place_cluster_path(tool, argv[i]) || place_from(tool, &from, argv[i]))
            break;
        transfer_entry(&copy, &from, &transfer_stdout, true);
        place_free(&from);
    }
    return tool->status;
}
