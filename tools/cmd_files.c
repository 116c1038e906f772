/* SPDX-License-Identifier: Apache-2.0 */
/* weft mkdir, rm, mv and ln: the namespace. */
#include "tool.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- mkdir ---------------------------------------------------------------- */

/* Makes every directory on the way; one that is there is fine. */
static int make_with_parents(weft_session_t *session, const char *path, mode_t mode)
{
    /* Usually only the last one is missing. */
    int error = weft_mkdir(session, path, mode);
    if (error == -EEXIST) {
        struct weft_attr attr;
        error = weft_stat(session, path, 0, &attr);
        return error ? error : S_ISDIR(attr.mode) ? 0 : -ENOTDIR;
    }
    if (error != -ENOENT)
        return error;
    char *parent = strdup(path);
    if (!parent)
        return -ENOMEM;
    char *end = parent + strlen(parent);
    while (end > parent + 1 && end[-1] == '/')
        *--end = 0;
    char *slash = strrchr(parent, '/');
    if (slash && slash > parent) {
        *slash = 0;
        error = make_with_parents(session, parent, 0777);
        if (!error)
            error = weft_mkdir(session, path, mode);
    }
    free(parent);
    /* Somebody else may have been quicker. */
    return error == -EEXIST ? 0 : error;
}

int cmd_mkdir(struct tool *tool, int argc, char **argv)
{
    bool parents = false;
    const char *mode_text = NULL;
    struct weft_layout layout = {0};
    const struct option_spec options[] = {
        {"parents", 'p', OPTION_FLAG, NULL, &parents, "make missing parents too; existing ones are fine"},
        {"mode", 'm', OPTION_TEXT, "MODE", &mode_text, "permissions as an octal number"},
        {"chunk-size", 0, OPTION_CHUNK, "SIZE", &layout.chunk_size, "chunk size of files made in it"},
        {"stripe-count", 0, OPTION_COUNT, "N", &layout.stripe_count, "spread each of them over N groups"},
        OPTION_CONF(tool),
        {0},
    };
    int first;
    int status = options_parse(
        tool, argc, argv, options,
        "Makes directories. New ones inherit the layout of the directory that they are in.", &first);
    if (status >= 0)
        return status;
    if (first == argc)
        return tool_usage_error(tool, "which directory?");
    char *end = NULL;
    unsigned long mode = mode_text ? strtoul(mode_text, &end, 8) : 0777;
    if (mode_text && (*end || end == mode_text || mode > 07777 || *mode_text == '-'))
        return tool_usage_error(tool, "--mode wants an octal number as 755, not \"%s\"", mode_text);
    for (int i = first; i < argc; i++) {
        const char *path = place_cluster_path(tool, argv[i]);
        if (!path || !tool_session(tool))
            break;
        int error = parents ? make_with_parents(tool->session, path, (mode_t)mode)
                            : weft_mkdir(tool->session, path, (mode_t)mode);
        /* The umask is not to change what was asked for. */
        if (!error && mode_text)
            error = weft_chmod(tool->session, path, (mode_t)mode);
        if (!error && (layout.chunk_size || layout.stripe_count))
            error = weft_layout_set(tool->session, path, &layout);
        if (error == -ENOENT && !parents)
            tool_complain(tool, "weft:%s: a directory on the way is missing: use -p to make it too", path);
        else if (error)
            tool_complain_weft(tool, path, error);
    }
    return tool->status;
}

/* ---- rm ------------------------------------------------------------------- */

enum { REMOVALS_AT_A_TIME = 8 };

struct removal {
    struct tool *tool;
    struct workers *workers;
    bool recursive, force, verbose;
};

/* One file of a directory that is being removed. */
struct removal_work {
    struct removal *removal;
    char *path;
    atomic_int *result; /* of the directory */
};

static void say_removed(const struct removal *removal, const char *path)
{
    if (removal->verbose)
        printf("removed weft:%s\n", path);
}

static void run_removal_work(void *arg)
{
    struct removal_work *work = arg;
    int error = tool_interrupted() ? -EINTR : weft_unlink(work->removal->tool->session, work->path);
    if (error && error != -ENOENT && error != -EINTR)
        tool_complain_weft(work->removal->tool, work->path, error);
    else if (!error)
        say_removed(work->removal, work->path);
    if (error && error != -ENOENT)
        atomic_store(work->result, error);
    free(work->path);
    free(work);
}

/* Takes `path`. */
static void remove_file_later(struct removal *removal, char *path, atomic_int *result)
{
    struct removal_work *work = malloc(sizeof *work);
    if (!work) {
        tool_complain(removal->tool, "weft:%s: no memory to remove it", path);
        atomic_store(result, -ENOMEM);
        free(path);
        return;
    }
    *work = (struct removal_work){removal, path, result};
    workers_add(removal->workers, run_removal_work, work);
}

static int remove_tree(struct removal *removal, const char *path);

/* Removes what is in a directory; the first error is told of and counted. */
static int remove_children(struct removal *removal, const char *path)
{
    struct place here = {.in_cluster = true, .path = (char *)path}, child;
    struct weft_attr attr;
    const char *name;
    weft_dir_t *dir;
    atomic_int result = 0;
    int more = weft_dir_open(removal->tool->session, path, &dir);
    if (more) {
        tool_complain_weft(removal->tool, path, more);
        return more;
    }
    while (!tool_interrupted() && (more = weft_dir_next(dir, &name, &attr)) > 0) {
        int error = place_join(&here, name, &child);
        if (error) {
            tool_complain(removal->tool, "weft:%s/%s: the path is too long", path, name);
            atomic_store(&result, error);
            continue;
        }
        if (!S_ISDIR(attr.mode)) {
            remove_file_later(removal, child.path, &result);
            continue;
        }
        error = remove_tree(removal, child.path);
        if (error && error != -ENOENT)
            atomic_store(&result, error);
        place_free(&child);
    }
    /* They point to `result`, and the directory must be empty. */
    workers_drain(removal->workers);
    if (more < 0) {
        tool_complain_weft(removal->tool, path, more);
        atomic_store(&result, more);
    }
    weft_dir_close(dir);
    return atomic_load(&result);
}

/* A directory with all in it. What failed has been told of when it returns. */
static int remove_tree(struct removal *removal, const char *path)
{
    int error = remove_children(removal, path);
    if (error)
        return error;
    if (tool_interrupted())
        return -EINTR;
    error = weft_rmdir(removal->tool->session, path);
    if (error && error != -ENOENT)
        tool_complain_weft(removal->tool, path, error);
    else if (!error)
        say_removed(removal, path);
    return error;
}

static void remove_argument(struct removal *removal, const char *path)
{
    struct tool *tool = removal->tool;
    struct weft_attr attr;
    int error = weft_stat(tool->session, path, WEFT_STAT_NOFOLLOW, &attr);
    if (error == -ENOENT && removal->force)
        return;
    if (error) {
        tool_complain_weft(tool, path, error);
    } else if (S_ISDIR(attr.mode) && !removal->recursive) {
        tool_complain(tool, "weft:%s: is a directory: weft rm -r removes it with all in it", path);
    } else if (S_ISDIR(attr.mode)) {
        remove_tree(removal, path);
    } else {
        error = weft_unlink(tool->session, path);
        if (error && !(error == -ENOENT && removal->force))
            tool_complain_weft(tool, path, error);
        else if (!error)
            say_removed(removal, path);
    }
}

int cmd_rm(struct tool *tool, int argc, char **argv)
{
    struct removal removal = {.tool = tool};
    const struct option_spec options[] = {
        {"recursive", 'r', OPTION_FLAG, NULL, &removal.recursive, "remove directories with all in them"},
        {"force", 'f', OPTION_FLAG, NULL, &removal.force, "what is not there is no error"},
        {"verbose", 'v', OPTION_FLAG, NULL, &removal.verbose, "name what was removed"},
        OPTION_CONF(tool),
        {0},
    };
    int first;
    int status =
        options_parse(tool, argc, argv, options,
                      "Removes files, links and, with -r, directories. Links are not followed.", &first);
    if (status >= 0)
        return status;
    if (first == argc && !removal.force)
        return tool_usage_error(tool, "which file?");
    tool_catch_interrupts();
    removal.workers = removal.recursive ? workers_new(REMOVALS_AT_A_TIME) : NULL;
    for (int i = first; i < argc && !tool_interrupted(); i++) {
        const char *path = place_cluster_path(tool, argv[i]);
        if (!path || !tool_session(tool))
            break;
        if (path[strspn(path, "/.")] == 0)
            tool_complain(tool, "weft:%s: the root stays; name what is in it", path);
        else
            remove_argument(&removal, path);
    }
    workers_free(removal.workers);
    if (tool_interrupted())
        tool_complain(tool, "interrupted");
    return tool->status;
}

/* ---- mv ------------------------------------------------------------------- */

static void move_argument(struct tool *tool, const char *from, const char *to, bool into)
{
    struct place source = {.in_cluster = true, .path = (char *)from};
    struct place directory = {.in_cluster = true, .path = (char *)to}, target = {0};
    char *name = place_base_name(&source);
    if (into && (!name || *name == 0 || place_join(&directory, name, &target))) {
        tool_complain(tool, "weft:%s: cannot be moved into weft:%s", from, to);
    } else {
        const char *path = into ? target.path : to;
        int error = weft_rename(tool->session, from, path);
        if (error == -EINVAL)
            tool_complain(tool, "weft:%s: cannot be moved to weft:%s, which is inside it", from, path);
        else if (error)
            tool_complain_weft(tool, error == -ENOENT ? from : path, error);
    }
    place_free(&target);
    free(name);
}

int cmd_mv(struct tool *tool, int argc, char **argv)
{
    const struct option_spec options[] = {OPTION_CONF(tool), {0}};
    int first;
    int status =
        options_parse(tool, argc, argv, options,
                      "Renames a file or directory, or moves several into a directory. Each one moves\n"
                      "atomically, also over an existing file. No data is copied.",
                      &first);
    if (status >= 0)
        return status;
    int sources = argc - first - 1;
    if (sources < 1)
        return tool_usage_error(tool, "%s", sources < 0 ? "what is to be moved?" : "where to?");
    for (int i = first; i < argc; i++)
        if (!weft_path_match(argv[i]))
            return tool_usage_error(tool, "%s is a local path: weft cp copies, and rm removes", argv[i]);
    const char *to = place_cluster_path(tool, argv[argc - 1]);
    if (!tool_session(tool))
        return tool->status;
    struct weft_attr attr;
    int error = weft_stat(tool->session, to, 0, &attr);
    bool into = error == 0 && S_ISDIR(attr.mode);
    if (error && error != -ENOENT)
        tool_complain_weft(tool, to, error);
    else if (sources > 1 && !into)
        tool_complain(tool, "weft:%s: is not a directory: weft mkdir makes one", to);
    else
        for (int i = first; i < argc - 1; i++)
            move_argument(tool, place_cluster_path(tool, argv[i]), to, into);
    return tool->status;
}

/* ---- ln ------------------------------------------------------------------- */

int cmd_ln(struct tool *tool, int argc, char **argv)
{
    bool symbolic = false, force = false;
    const struct option_spec options[] = {
        {"symbolic", 's', OPTION_FLAG, NULL, &symbolic, "a symbolic link; TARGET need not exist"},
        {"force", 'f', OPTION_FLAG, NULL, &force, "remove an existing LINK first"},
        OPTION_CONF(tool),
        {0},
    };
    int first;
    int status =
        options_parse(tool, argc, argv, options,
                      "Makes LINK another name of the file TARGET, or a symbolic link to it. TARGET of a\n"
                      "symbolic link is weft:/PATH, or a path from the link's own directory.",
                      &first);
    if (status >= 0)
        return status;
    if (argc - first != 2)
        return tool_usage_error(tool, "a target and the link's path are needed");
    const char *link = place_cluster_path(tool, argv[first + 1]);
    /* Inside the cluster there is no other file system, so links are stored without the prefix. */
    const char *target =
        weft_path_match(argv[first]) || !symbolic ? place_cluster_path(tool, argv[first]) : argv[first];
    if (!link || !target || !tool_session(tool))
        return tool->status;
    if (force) {
        int error = weft_unlink(tool->session, link);
        if (error && error != -ENOENT) {
            tool_complain_weft(tool, link, error);
            return tool->status;
        }
    }
    int error = symbolic ? weft_symlink(tool->session, target, link) : weft_link(tool->session, target, link);
    if (error == -EEXIST)
        tool_complain(tool, "weft:%s: exists already: -f replaces it", link);
    else if (error)
        tool_complain_weft(tool, error == -ENOENT && !symbolic ? target : link, error);
    return tool->status;
}
