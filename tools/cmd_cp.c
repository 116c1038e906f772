/* SPDX-License-Identifier: Apache-2.0 */
/* weft cp and weft cat: whole files and trees, in every direction that touches the cluster. */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IN_FLIGHT_DEFAULT = 4, IN_FLIGHT_MAX = 64 };

struct copy {
    struct tool *tool;
    bool recursive, preserve, sync, verbose, quiet;
    uint32_t in_flight;
    struct weft_layout layout; /* for files that are made in the cluster; zero fields: default */
    mode_t mask;               /* umask */
    /* The top directory that is being made in the cluster: never a source. */
    uint64_t made_ino;
};

/* One file on its way. */
struct transfer {
    const struct place *from, *to;
    struct copy_job job;
    struct weft_attr attr; /* of the source */
    bool created;          /* the destination was not there before */
};

static const struct place stdin_place = {.path = (char *)"standard input"};
static const struct place stdout_place = {.path = (char *)"standard output"};

/* ---- opening and closing -------------------------------------------------- */

static void end_open(struct copy_end *end)
{
    if (end->file)
        weft_file_close(end->file);
    else if (end->fd > STDERR_FILENO)
        close(end->fd);
    *end = (struct copy_end){.fd = -1};
}

static int open_source(struct copy *copy, struct transfer *transfer)
{
    struct copy_job *job = &transfer->job;
    if (transfer->from->in_cluster) {
        weft_session_t *session = tool_session(copy->tool);
        int error = session
                        ? weft_file_open(session, transfer->from->path, O_RDONLY, 0, NULL, &job->from.file)
                        : -ENOTCONN;
        if (error) {
            job->from.file = NULL;
            return error;
        }
        return weft_file_size(job->from.file, &job->size);
    }
    struct stat local;
    if (transfer->from != &stdin_place)
        job->from.fd = open(transfer->from->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    else
        job->from.fd = STDIN_FILENO;
    if (job->from.fd < 0 || fstat(job->from.fd, &local))
        return -errno;
    posix_fadvise(job->from.fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    /* Files of /proc say that they are empty, and are not. */
    bool size_known = transfer->from != &stdin_place && S_ISREG(local.st_mode) && local.st_size > 0;
    job->size = size_known ? (uint64_t)local.st_size : COPY_SIZE_UNKNOWN;
    return 0;
}

static bool layout_wanted(const struct copy *copy)
{
    return copy->layout.chunk_size || copy->layout.stripe_count || copy->layout.pool[0];
}

/* Opens for writing, empty. First as a new file, to know what may be removed
 * when the copy fails. */
static int open_destination(struct copy *copy, struct transfer *transfer)
{
    struct copy_job *job = &transfer->job;
    const char *path = transfer->to->path;
    mode_t mode = transfer->attr.mode & 0777 & ~copy->mask;
    if (transfer->to == &stdout_place) {
        job->to.fd = STDOUT_FILENO;
        return 0;
    }
    if (!transfer->to->in_cluster) {
        job->to.fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        transfer->created = job->to.fd >= 0;
        if (!transfer->created && errno == EEXIST)
            job->to.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, mode);
        return job->to.fd < 0 ? -errno : 0;
    }
    weft_session_t *session = tool_session(copy->tool);
    if (!session)
        return -ENOTCONN;
    int error =
        weft_file_open(session, path, O_WRONLY | O_CREAT | O_EXCL, mode, &copy->layout, &job->to.file);
    transfer->created = error == 0;
    if (error == -EEXIST && layout_wanted(copy)) {
        job->to.file = NULL;
        tool_complain(copy->tool,
                      "weft:%s: exists and keeps its layout: remove it first, or leave out "
                      "--chunk-size, --stripe-count and --pool",
                      path);
        return -ECANCELED;
    }
    if (error == -EEXIST)
        error = weft_file_open(session, path, O_WRONLY | O_CREAT | O_TRUNC, mode, NULL, &job->to.file);
    if (error)
        job->to.file = NULL;
    return error;
}

/* The destination is complete, has the right size, and is where it should be. */
static int finish_destination(struct copy *copy, struct transfer *transfer)
{
    struct copy_job *job = &transfer->job;
    uint64_t size = 0;
    int error = 0;
    if (job->to.file) {
        error = weft_file_size(job->to.file, &size);
        if (!error && size != job->copied)
            error = -EIO;
        if (!error && copy->sync)
            error = weft_file_sync(job->to.file);
        int close_error = weft_file_close(job->to.file);
        job->to = (struct copy_end){.fd = -1};
        error = error ? error : close_error;
    } else if (transfer->to != &stdout_place) {
        struct stat local;
        if (fstat(job->to.fd, &local) || (copy->sync && fsync(job->to.fd) && errno != EINVAL))
            error = -errno;
        else if (S_ISREG(local.st_mode) && (size = (uint64_t)local.st_size) != job->copied)
            error = -EIO;
        if (close(job->to.fd) && !error)
            error = -errno;
        job->to = (struct copy_end){.fd = -1};
    }
    if (error == -EIO && size != job->copied) {
        tool_complain(copy->tool,
                      "%s%s: has %llu bytes after %llu were copied: did something else write to it?",
                      transfer->to->in_cluster ? WEFT_PATH_PREFIX : "", transfer->to->path,
                      (unsigned long long)size, (unsigned long long)job->copied);
        return -ECANCELED;
    }
    return error;
}

static void preserve(struct copy *copy, const struct place *to, const struct weft_attr *attr)
{
    int error = place_chmod(copy->tool, to, attr->mode & 07777);
    if (!error)
        error = place_set_times(copy->tool, to, attr);
    if (error)
        place_complain(copy->tool, to, error);
}

/* ---- one file ------------------------------------------------------------- */

/* Says why, and what became of the destination. -ECANCELED: it was said already. */
static void complain(struct copy *copy, struct transfer *transfer, int error, bool at_source)
{
    struct tool *tool = copy->tool;
    const struct place *place = at_source ? transfer->from : transfer->to;
    if (error == -EINTR && tool_interrupted())
        tool_complain(tool, "interrupted");
    else if (error == -ENODATA && at_source)
        tool_complain(tool, "%s%s: became shorter while it was copied",
                      place->in_cluster ? WEFT_PATH_PREFIX : "", place->path);
    else if (error == -ENOTCONN || error == -ECANCELED)
        tool->status = TOOL_FAILED; /* said where it happened */
    else if (error == -EPIPE && transfer->to == &stdout_place)
        tool->status = TOOL_FAILED; /* the reader has seen enough */
    else
        place_complain(tool, place, error);
}

static void clear_away(struct copy *copy, struct transfer *transfer)
{
    char *text = place_text(transfer->to);
    char copied[FORMAT_BYTES];
    if (!transfer->created)
        tool_complain(copy->tool, "%s: left incomplete, with about %s of the new contents", text ? text : "?",
                      format_bytes(copied, transfer->job.copied));
    else if (place_unlink(copy->tool, transfer->to))
        tool_complain(copy->tool, "%s: left incomplete, and could not be removed", text ? text : "?");
    else
        tool_complain(copy->tool, "%s: the incomplete file was removed", text ? text : "?");
    free(text);
}

static void say_verbose(const struct copy *copy, const struct place *from, const struct place *to)
{
    char *from_text = copy->verbose ? place_text(from) : NULL,
         *to_text = copy->verbose ? place_text(to) : NULL;
    if (from_text && to_text) {
        progress_hide(copy->tool->progress);
        printf("%s -> %s\n", from_text, to_text);
    }
    free(from_text);
    free(to_text);
}

static void copy_file(struct copy *copy, const struct place *from, const struct place *to,
                      const struct weft_attr *attr)
{
    struct transfer transfer = {
        .from = from,
        .to = to,
        .attr = *attr,
        .job = {.from.fd = -1, .to.fd = -1, .in_flight = copy->in_flight},
    };
    struct copy_job *job = &transfer.job;
    struct weft_layout layout = {0};
    bool at_source = true, opened = false;

    progress_label(copy->tool->progress, from->path);
    int error = open_source(copy, &transfer);
    if (error)
        goto out;
    at_source = false;
    error = open_destination(copy, &transfer);
    if (error)
        goto out;
    opened = to != &stdout_place;
    if (job->to.file || job->from.file)
        weft_file_layout(job->to.file ? job->to.file : job->from.file, &layout);
    job->piece = copy_piece(layout.chunk_size);
    error = copy_run(copy->tool, job);
    at_source = job->failed_reading;
    if (error)
        goto out;
    error = finish_destination(copy, &transfer);
    at_source = false;
out:
    end_open(&job->from);
    end_open(&job->to);
    if (error) {
        complain(copy, &transfer, error, at_source);
        if (opened)
            clear_away(copy, &transfer);
        return;
    }
    if (copy->preserve && opened)
        preserve(copy, to, attr);
    if (opened)
        say_verbose(copy, from, to);
}

static void copy_link(struct copy *copy, const struct place *from, const struct place *to)
{
    char *target = NULL;
    struct weft_attr old;
    int error = place_readlink(copy->tool, from, &target);
    if (error) {
        place_complain(copy->tool, from, error);
        return;
    }
    /* A link in the way is replaced, as a file would be. */
    if (place_stat(copy->tool, to, false, &old) == 0 && !S_ISDIR(old.mode))
        place_unlink(copy->tool, to);
    error = place_symlink(copy->tool, target, to);
    if (error)
        place_complain(copy->tool, to, error);
    else
        say_verbose(copy, from, to);
    free(target);
}

/* ---- trees ---------------------------------------------------------------- */

static void copy_entry(struct copy *copy, const struct place *from, const struct place *to, bool top);

static void copy_children(struct copy *copy, const struct place *from, const struct place *to)
{
    struct place_list *list;
    const char *name;
    int more = place_list_open(copy->tool, from, &list);
    if (more) {
        place_complain(copy->tool, from, more);
        return;
    }
    while (!tool_interrupted() && (more = place_list_next(list, &name)) > 0) {
        struct place child_from, child_to;
        int error = place_join(from, name, &child_from);
        if (error) {
            place_complain(copy->tool, from, error);
            continue;
        }
        error = place_join(to, name, &child_to);
        if (error) {
            place_complain(copy->tool, to, error);
        } else {
            copy_entry(copy, &child_from, &child_to, false);
            place_free(&child_to);
        }
        place_free(&child_from);
    }
    if (more < 0)
        place_complain(copy->tool, from, more);
    place_list_close(list);
}

static void copy_directory(struct copy *copy, const struct place *from, const struct place *to,
                           const struct weft_attr *attr, bool top)
{
    struct weft_attr made;
    mode_t mode = attr->mode & 0777 & ~copy->mask;
    if (from->in_cluster && !top && copy->made_ino && attr->ino == copy->made_ino) {
        tool_complain(copy->tool,
                      "weft:%s: is the directory that is being made, so it is not copied into itself",
                      from->path);
        return;
    }
    int error = to->in_cluster && !tool_session(copy->tool) ? -ENOTCONN : 0;
    if (!error)
        error = place_mkdir(copy->tool, to, mode | 0700);
    bool created = error == 0;
    if (created || error == -EEXIST)
        error = place_stat(copy->tool, to, true, &made);
    if (!error && !S_ISDIR(made.mode))
        error = -ENOTDIR;
    if (error == -ENOTDIR)
        tool_complain(copy->tool, "%s%s: is in the way: it is no directory",
                      to->in_cluster ? WEFT_PATH_PREFIX : "", to->path);
    else if (error && error != -ENOTCONN)
        place_complain(copy->tool, to, error);
    if (error)
        return;
    if (top)
        copy->made_ino = from->in_cluster && to->in_cluster ? made.ino : 0;
    if (top && copy->made_ino == attr->ino) {
        tool_complain(copy->tool, "weft:%s: source and destination are the same directory", from->path);
        return;
    }
    copy_children(copy, from, to);
    if (copy->preserve) {
        preserve(copy, to, attr);
    } else if (created && (mode | 0700) != mode) {
        error = place_chmod(copy->tool, to, mode);
        if (error)
            place_complain(copy->tool, to, error);
    }
}

/* Both in the cluster, and the same file: truncating it would lose it. */
static bool is_same_file(struct copy *copy, const struct place *from, const struct place *to,
                         const struct weft_attr *attr)
{
    struct weft_attr there;
    if (!from->in_cluster || !to->in_cluster || place_stat(copy->tool, to, true, &there) ||
        there.ino != attr->ino)
        return false;
    tool_complain(copy->tool, "weft:%s and weft:%s are the same file", from->path, to->path);
    return true;
}

static void copy_entry(struct copy *copy, const struct place *from, const struct place *to, bool top)
{
    struct weft_attr attr;
    int error = place_stat(copy->tool, from, top && !copy->recursive, &attr);
    if (error) {
        if (error != -ENOTCONN)
            place_complain(copy->tool, from, error);
        return;
    }
    if (S_ISDIR(attr.mode)) {
        if (copy->recursive)
            copy_directory(copy, from, to, &attr, top);
        else
            tool_complain(copy->tool, "%s%s: is a directory: weft cp -r copies it with all in it",
                          from->in_cluster ? WEFT_PATH_PREFIX : "", from->path);
    } else if (S_ISLNK(attr.mode)) {
        if (!to->in_cluster || tool_session(copy->tool))
            copy_link(copy, from, to);
    } else if (S_ISREG(attr.mode) || (top && !copy->recursive)) {
        if (!is_same_file(copy, from, to, &attr))
            copy_file(copy, from, to, &attr);
    } else {
        tool_complain(copy->tool, "%s: is neither a file nor a directory nor a link, so it is not copied",
                      from->path);
    }
}

/* Bytes of all regular files below; what can't be read is told of later. */
static uint64_t bytes_of(struct tool *tool, const struct place *place, bool recursive)
{
    struct weft_attr attr;
    struct place_list *list;
    const char *name;
    if (place_stat(tool, place, !recursive, &attr))
        return 0;
    if (!S_ISDIR(attr.mode))
        return S_ISREG(attr.mode) ? attr.size : 0;
    if (!recursive || place_list_open(tool, place, &list))
        return 0;
    uint64_t sum = 0;
    while (!tool_interrupted() && place_list_next(list, &name) > 0) {
        struct place child;
        if (place_join(place, name, &child))
            continue;
        sum += bytes_of(tool, &child, true);
        place_free(&child);
    }
    place_list_close(list);
    return sum;
}

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
            copy_file(copy, &stdin_place, to, &plain);
        return;
    }
    if (place_from(copy->tool, &from, argument))
        return;
    char *name = place_base_name(&from);
    struct place inside = {0};
    if (!into) {
        copy_entry(copy, &from, to, true);
    } else if (name && (*name == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)) {
        copy_entry(copy, &from, to, true); /* "weft:/" or "dir/." means what is in it */
    } else if (!name || place_join(to, name, &inside)) {
        tool_complain(copy->tool, "%s: no memory, or the path becomes too long", argument);
    } else {
        copy_entry(copy, &from, &inside, true);
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

static void run_copies(struct copy *copy, int sources, char **arguments, const struct place *to)
{
    struct tool *tool = copy->tool;
    bool into = false;
    if (to != &stdout_place && resolve_destination(tool, sources, to, &into))
        return;
    uint64_t total = 0;
    bool show = !copy->quiet && isatty(STDERR_FILENO);
    for (int i = 0; i < sources && show && total != UINT64_MAX; i++) {
        struct place from;
        if (strcmp(arguments[i], "-") == 0) {
            total = UINT64_MAX;
        } else if (place_from(tool, &from, arguments[i]) == 0) {
            total += bytes_of(tool, &from, copy->recursive);
            place_free(&from);
        }
    }
    struct progress *progress = progress_new(tool, total, copy->quiet || to == &stdout_place);
    for (int i = 0; i < sources && !tool_interrupted(); i++)
        copy_argument(copy, arguments[i], to, into);
    progress_free(progress);
    if (tool_interrupted())
        tool->status = TOOL_FAILED;
}

int cmd_cp(struct tool *tool, int argc, char **argv)
{
    struct copy copy = {.tool = tool, .in_flight = IN_FLIGHT_DEFAULT};
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
        {"in-flight", 0, OPTION_COUNT, "N", &copy.in_flight, "pieces under way at a time (default 4)"},
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
    run_copies(&copy, sources, argv + first, to_stdout ? &stdout_place : &to);
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
        copy_entry(&copy, &from, &stdout_place, true);
        place_free(&from);
    }
    return tool->status;
}
