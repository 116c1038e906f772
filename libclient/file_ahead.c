/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading ahead, for programs that read a file in small pieces, in order or at equal distances. What was
 * read ahead is the file as long as the metadata server has promised that its inode does not change
 * (attr_cache.h): whoever wants to write has to open it first, and that changes the inode. So nobody ever
 * reads anything old.
 *
 * Not for files that are open for writing, nor small ones, which come whole with their opening.
 */
#include "attr_cache.h"

#include <stdlib.h>
#include <string.h>

#include "transfer.h"

/* So many reads in the same manner come before it. */
enum { RUN_BEFORE = 3 };
/* Longer reads gain nothing by it. */
#define PIECE_MAX  (128u << 10)
#define WINDOW_MIN (256u << 10)
#define WINDOW_MAX (1u << 20)
#define STRIDE_MAX (UINT64_C(64) << 20)
enum { PIECES_MAX = 64 };

/* ---- what is there (locked) --------------------------------------------------- */

/* *at: where the bytes stand; false: not all of them do. */
static bool is_there(const struct file_ahead *ahead, uint64_t offset, uint64_t length, uint64_t *at)
{
    if (offset < ahead->start)
        return false;
    const uint64_t from = offset - ahead->start, piece = from / ahead->stride, inside = from % ahead->stride;
    *at = piece * ahead->piece + inside;
    return piece < ahead->count && inside + length <= ahead->piece;
}

/* What is asked for stands here, or its beginning, behind which the file ends. */
static bool take(const struct file_ahead *ahead, void *buffer, size_t length, uint64_t offset,
                 ssize_t *result)
{
    uint64_t at;
    if (!ahead->data)
        return false;
    if (ahead->ends && ahead->count == 1 && offset >= ahead->start && offset <= ahead->start + ahead->piece &&
        length > ahead->start + ahead->piece - offset)
        length = ahead->start + ahead->piece - offset;
    if (length == 0) {
        *result = 0;
        return ahead->ends && ahead->count == 1 && offset == ahead->start + ahead->piece;
    }
    if (!is_there(ahead, offset, length, &at))
        return false;
    memcpy(buffer, ahead->data + at, length);
    *result = (ssize_t)length;
    return true;
}

/* How many reads before this one were of its length, and as far from each other. */
static unsigned run_of(struct file_ahead *ahead, size_t length, uint64_t offset)
{
    const uint64_t distance = offset - ahead->latest;
    const bool goes_on =
        offset > ahead->latest && length == ahead->length && distance >= length && distance <= STRIDE_MAX;
    ahead->run = !goes_on ? 0 : distance == ahead->distance ? ahead->run + 1 : 1;
    ahead->distance = goes_on ? distance : 0;
    ahead->latest = offset;
    ahead->length = length;
    return ahead->run;
}

/* ---- reading ------------------------------------------------------------------- */

static bool is_held(weft_file_t *file, uint64_t held)
{
    return held && attr_cache_held(file->session, file->capability.ino) == held;
}

/* Asks for the promise. False: the file has another name by now, or cannot be asked for. */
static bool hold(weft_file_t *file)
{
    struct weft_attr attr;
    attr_cache_want(file->session);
    return attr_ask(file->session, file->path, 0, 0, &attr) == 0 && attr.ino == file->capability.ino;
}

/* Who found no promise, perhaps as the file was still open for writing, asks again after twice as many
 * reads. */
static bool is_time_to_ask(unsigned run)
{
    const unsigned times = run / RUN_BEFORE;
    return run % RUN_BEFORE == 0 && (times & (times - 1)) == 0;
}

struct window {
    uint64_t stride, piece;
    uint32_t count;
};

/* In order it is one piece, as long as the file's next reads may need; else as many as these may be. */
static struct window choose(const struct file_ahead *ahead)
{
    const uint32_t bytes = ahead->run > 4 * RUN_BEFORE ? WINDOW_MAX : WINDOW_MIN;
    if (ahead->distance == ahead->length)
        return (struct window){.stride = bytes, .piece = bytes, .count = 1};
    uint64_t count = bytes / ahead->length;
    if (count > PIECES_MAX)
        count = PIECES_MAX;
    return (struct window){.stride = ahead->distance, .piece = ahead->length, .count = (uint32_t)count};
}

/* Whole pieces only are kept, but the end of the file where they are one. */
static void keep(struct file_ahead *ahead, const struct window *window, uint64_t offset, uint64_t got)
{
    ahead->ends = got < window->piece * window->count;
    ahead->start = offset;
    ahead->stride = window->stride;
    ahead->piece = window->count == 1 ? got : window->piece;
    ahead->count = window->count == 1 ? 1 : (uint32_t)(got / window->piece);
}

static ssize_t fetch(weft_file_t *file, const struct window *window, uint64_t offset, uint8_t *data)
{
    struct weft_extent extents[PIECES_MAX];
    for (uint32_t i = 0; i < window->count; i++)
        extents[i] = (struct weft_extent){.offset = offset + i * window->stride, .length = window->piece};
    const struct iovec iov = {.iov_base = data, .iov_len = window->piece * window->count};
    return transfer_blocking(file, false, &iov, 1, extents, window->count);
}

/* Reads the window that begins here. False: nothing is read, and the caller's bytes are yet to be. */
static bool fill(weft_file_t *file, const struct window *window, uint64_t offset)
{
    struct file_ahead *ahead = &file->ahead;
    weft_session_t *session = file->session;
    uint8_t *data = malloc(window->piece * window->count);
    if (!data)
        return false;
    session_lock(session);
    const uint64_t held = attr_cache_held(session, file->capability.ino);
    session_unlock(session);
    const ssize_t got = held ? fetch(file, window, offset, data) : -1;
    session_lock(session);
    /* Nobody can have changed it from before it was asked for until now. */
    const bool is_good = got >= 0 && is_held(file, held);
    if (is_good) {
        free(ahead->data);
        ahead->data = data;
        ahead->held = held;
        keep(ahead, window, offset, (uint64_t)got);
        session_count(session, CLIENT_COUNT_reads_ahead, 1);
    }
    session_unlock(session);
    if (!is_good)
        free(data);
    return is_good;
}

/* (locked) Whether it is to be read ahead now; then it is this thread's to do. */
static bool begins(struct file_ahead *ahead, size_t length, uint64_t offset)
{
    ahead->busy = run_of(ahead, length, offset) >= RUN_BEFORE;
    return ahead->busy;
}

bool file_ahead_read(weft_file_t *file, void *buffer, size_t length, uint64_t offset, ssize_t *result)
{
    struct file_ahead *ahead = &file->ahead;
    weft_session_t *session = file->session;
    if (!session->attr_cache || file->access != WIRE_ACCESS_READ || !buffer || length == 0 ||
        length > PIECE_MAX || offset > INT64_MAX - STRIDE_MAX * PIECES_MAX)
        return false;
    session_lock(session);
    if (ahead->data && !is_held(file, ahead->held)) {
        free(ahead->data);
        ahead->data = NULL;
    }
    bool done = take(ahead, buffer, length, offset, result);
    if (done) {
        session_count(session, CLIENT_COUNT_ahead_hits, 1);
        (void)run_of(ahead, length, offset);
    }
    const bool fills =
        !done && !ahead->busy && file->small.state == SMALL_NOT && begins(ahead, length, offset);
    bool holds = !fills || attr_cache_held(session, file->capability.ino) != 0;
    const bool asks = !holds && is_time_to_ask(ahead->run);
    const struct window window = fills ? choose(ahead) : (struct window){0};
    session_unlock(session);
    if (!fills)
        return done;
    if (asks)
        holds = hold(file);
    const bool filled = holds && fill(file, &window, offset);
    session_lock(session);
    ahead->busy = false;
    done = filled && take(ahead, buffer, length, offset, result);
    session_unlock(session);
    return done;
}

void file_ahead_end(weft_file_t *file)
{
    free(file->ahead.data);
    file->ahead.data = NULL;
}
