/* SPDX-License-Identifier: Apache-2.0 */
/* One file on its way: opening both ends, moving the bytes, checking, clearing away. */
#include "transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weft_limits.h"

/* One file on its way. */
struct transfer {
    const struct place *from, *to;
    struct copy_job job;
    struct weft_attr attr; /* of the source */
    bool created;          /* the destination was not there before */
};

const struct place transfer_stdin = {.path = (char *)"standard input"};
const struct place transfer_stdout = {.path = (char *)"standard output"};

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
    if (transfer->from != &transfer_stdin)
        job->from.fd = open(transfer->from->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    else
        job->from.fd = STDIN_FILENO;
    if (job->from.fd < 0 || fstat(job->from.fd, &local))
        return -errno;
    posix_fadvise(job->from.fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    /* Files of /proc say that they are empty, and are not. */
    bool size_known = transfer->from != &transfer_stdin && S_ISREG(local.st_mode) && local.st_size > 0;
    job->size = size_known ? (uint64_t)local.st_size : COPY_SIZE_UNKNOWN;
    return 0;
}

static bool layout_wanted(const struct copy *copy)
{
    return copy->layout.chunk_size || copy->layout.stripe_count || copy->layout.pool[0];
}

/* One that will be large is not to begin as a small file. */
static const struct weft_layout *layout_of(const struct copy *copy, const struct copy_job *job)
{
    return layout_wanted(copy) || job->size > LIMITS_SMALL_BYTES_MAX ? &copy->layout : NULL;
}

/* Opens for writing, empty. First as a new file, to know what may be removed
 * when the copy fails. */
static int open_destination(struct copy *copy, struct transfer *transfer)
{
    struct copy_job *job = &transfer->job;
    const char *path = transfer->to->path;
    mode_t mode = transfer->attr.mode & 0777 & ~copy->mask;
    if (transfer->to == &transfer_stdout) {
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
        weft_file_open(session, path, O_WRONLY | O_CREAT | O_EXCL, mode, layout_of(copy, job), &job->to.file);
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
    } else if (transfer->to != &transfer_stdout) {
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

/* Not of what is a small file, for which it would take a request to know that it has none. */
static bool keeps_holes(const struct transfer *transfer)
{
    const struct copy_job *job = &transfer->job;
    struct stat local;
    if (job->size == COPY_SIZE_UNKNOWN || job->size <= LIMITS_SMALL_BYTES_MAX ||
        transfer->to == &transfer_stdout)
        return false;
    return job->to.file || (fstat(job->to.fd, &local) == 0 && S_ISREG(local.st_mode));
}

void transfer_preserve(struct copy *copy, const struct place *to, const struct weft_attr *attr)
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
        tool_failed(tool); /* said once, at the end */
    else if (error == -ENODATA && at_source)
        tool_complain(tool, "%s%s: became shorter while it was copied",
                      place->in_cluster ? WEFT_PATH_PREFIX : "", place->path);
    else if (error == -ENOTCONN || error == -ECANCELED)
        tool_failed(tool); /* said where it happened */
    else if (error == -EPIPE && transfer->to == &transfer_stdout)
        tool_failed(tool); /* the reader has seen enough */
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

void transfer_say(const struct copy *copy, const struct place *from, const struct place *to)
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

void transfer_file(struct copy *copy, const struct place *from, const struct place *to,
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

    if (is_same_file(copy, from, to, attr))
        return;
    progress_label(copy->tool->progress, from->path);
    int error = open_source(copy, &transfer);
    if (error)
        goto out;
    at_source = false;
    error = open_destination(copy, &transfer);
    if (error)
        goto out;
    opened = to != &transfer_stdout;
    if (job->to.file || job->from.file)
        weft_file_layout(job->to.file ? job->to.file : job->from.file, &layout);
    job->piece = copy_piece(layout.chunk_size);
    job->keeps_holes = keeps_holes(&transfer);
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
        transfer_preserve(copy, to, attr);
    if (opened)
        transfer_say(copy, from, to);
}
