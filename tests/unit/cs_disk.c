/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_disk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "layout.h"

enum { SECTOR = 512, PLACE = 4096 };

static struct disk *disk_of(struct cs_io *io)
{
    return (struct disk *)io;
}

/* Where the file's bytes are. */
static enum cs_file bytes_of(const struct disk *disk, enum cs_file file)
{
    return disk->raw ? CS_DATA : file;
}

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

uint64_t disk_random(uint64_t *seed)
{
    *seed += UINT64_C(0x9e3779b97f4a7c15);
    return layout_hash(*seed);
}

static void note(struct disk *disk, struct disk_event event)
{
    if (!disk->records)
        return;
    if (disk->event_count == disk->event_room) {
        disk->event_room = disk->event_room ? 2 * disk->event_room : 256;
        disk->events = must(realloc(disk->events, disk->event_room * sizeof *disk->events));
    }
    disk->events[disk->event_count++] = event;
}

static void before(struct disk *disk)
{
    void (*call)(void *arg) = disk->before;
    disk->before = NULL; /* what it does is no occasion for more of it */
    if (call)
        call(disk->before_arg);
    disk->before = call;
}

/* This operation is the one that goes wrong. */
static bool goes_wrong(struct disk *disk, enum cs_file file, enum disk_fault from, enum disk_fault to)
{
    if (disk->fault < from || disk->fault > to || disk->fault == DISK_GOOD || file != disk->fault_file)
        return false;
    if (disk->fault_in > 0) {
        disk->fault_in--;
        return false;
    }
    disk->faults++;
    return true;
}

static int disk_read(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count,
                     bool nowait)
{
    struct disk *disk = disk_of(io);
    if (nowait && disk->cold)
        return -EAGAIN;
    if (goes_wrong(disk, file, DISK_READ_EIO, DISK_READ_EIO)) {
        disk->fault = DISK_GOOD;
        return err_set(-EIO, "a test's disk can't be read");
    }
    file = bytes_of(disk, file);
    for (int i = 0; i < iov_count; i++) {
        if (offset + iov[i].iov_len > disk->size[file])
            return err_set(-ENODATA, "a test's disk ends before");
        memcpy(iov[i].iov_base, disk->bytes[file] + offset, iov[i].iov_len);
        offset += iov[i].iov_len;
    }
    return 0;
}

static void put(struct disk *disk, enum cs_file file, uint64_t offset, const uint8_t *bytes, uint64_t length)
{
    /* What is behind the end is lost: the store writes only where it has grown the file. */
    if (offset >= disk->size[file])
        return;
    if (length > disk->size[file] - offset)
        length = disk->size[file] - offset;
    memcpy(disk->bytes[file] + offset, bytes, length);
}

static int write_wrong(struct disk *disk, enum cs_file file, uint64_t offset, const uint8_t *bytes,
                       uint64_t length)
{
    const enum disk_fault fault = disk->fault;
    disk->fault = DISK_GOOD;
    file = bytes_of(disk, file);
    if (fault == DISK_WRITE_EIO)
        return err_set(-EIO, "a test's disk can't be written");
    if (fault == DISK_WRITE_MISDIRECTED)
        put(disk, file, offset + PLACE, bytes, length);
    else if (fault != DISK_WRITE_LOST)
        put(disk, file, offset, bytes, length / 2);
    return fault == DISK_WRITE_SHORT ? err_set(-EIO, "a test's disk fails in the middle of a write") : 0;
}

static int disk_write(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count)
{
    struct disk *disk = disk_of(io);
    uint64_t length = 0;
    /* What writes parts together has a lock there, which is not for whoever is called. */
    if (!disk->whole_blocks || file != CS_DATA)
        before(disk);
    for (int i = 0; i < iov_count; i++)
        length += iov[i].iov_len;
    uint8_t *bytes = must(malloc(length + 1)), *at = bytes;
    for (int i = 0; i < iov_count; i++) {
        memcpy(at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    int error = 0;
    const enum cs_file of = bytes_of(disk, file);
    assert(!disk->whole_blocks || file != CS_DATA || (offset % PLACE == 0 && length % PLACE == 0));
    for (uint64_t at = offset / PLACE; file == CS_DATA && disk->holes && at * PLACE < offset + length; at++)
        assert(!disk->holes[at]);
    assert(offset + length <= disk->size[of]);
    if (goes_wrong(disk, file, DISK_WRITE_EIO, DISK_WRITE_MISDIRECTED))
        error = write_wrong(disk, file, offset, bytes, length);
    else
        put(disk, of, offset, bytes, length);
    if (disk->records)
        note(disk, (struct disk_event){DISK_WRITE, of, offset, length, bytes});
    else
        free(bytes);
    return error;
}

static int disk_flush(struct cs_io *io, enum cs_file file)
{
    struct disk *disk = disk_of(io);
    before(disk);
    if (goes_wrong(disk, file, DISK_FLUSH_EIO, DISK_FLUSH_EIO)) {
        disk->fault = DISK_GOOD;
        return err_set(-EIO, "a test's disk can't be flushed");
    }
    note(disk, (struct disk_event){DISK_FLUSH, bytes_of(disk, file), 0, 0, NULL});
    return 0;
}

static void resize(struct disk *disk, enum cs_file file, uint64_t size)
{
    if (size <= disk->size[file])
        return;
    disk->bytes[file] = must(realloc(disk->bytes[file], size));
    memset(disk->bytes[file] + disk->size[file], 0, size - disk->size[file]);
    disk->size[file] = size;
}

static int disk_grow(struct cs_io *io, enum cs_file file, uint64_t size)
{
    struct disk *disk = disk_of(io);
    if ((disk->size_max[file] && size > disk->size_max[file]) ||
        goes_wrong(disk, file, DISK_GROW_ENOSPC, DISK_GROW_ENOSPC))
        return err_set(-ENOSPC, "a test's disk is full");
    resize(disk, file, size);
    note(disk, (struct disk_event){DISK_GROW, file, 0, size, NULL});
    return 0;
}

static int disk_size(struct cs_io *io, enum cs_file file, uint64_t *size)
{
    *size = disk_of(io)->size[bytes_of(disk_of(io), file)];
    return 0;
}

/* At once: whoever still needs them notices. In the replay of a crash at any time, or not. */
static int disk_discard(struct cs_io *io, enum cs_file file, uint64_t offset, uint64_t length)
{
    struct disk *disk = disk_of(io);
    before(disk);
    file = bytes_of(disk, file);
    assert(length > 0 && offset % PLACE == 0 && length % PLACE == 0 && offset + length <= disk->size[file]);
    uint8_t *bytes = must(malloc(length));
    memset(bytes, 0xdd, length);
    put(disk, file, offset, bytes, length);
    disk->discarded += length;
    if (disk->records)
        note(disk, (struct disk_event){DISK_DISCARD, file, offset, length, bytes});
    else
        free(bytes);
    return 0;
}

static int disk_punch(struct cs_io *io, enum cs_file file, uint64_t offset, uint64_t length)
{
    struct disk *disk = disk_of(io);
    for (uint64_t at = offset / PLACE; disk->holes && at < (offset + length) / PLACE; at++) {
        assert(!disk->holes[at]);
        disk->holes[at] = 1;
        disk->hole_blocks++;
    }
    return disk_discard(io, file, offset, length);
}

static bool disk_does_punch(struct cs_io *io)
{
    (void)io;
    return true;
}

static int disk_fill(struct cs_io *io, enum cs_file file, uint64_t offset, uint64_t length)
{
    struct disk *disk = disk_of(io);
    (void)file;
    if (length / PLACE > disk->hole_room)
        return err_set(-ENOSPC, "a test's disk has no room to fill a hole");
    disk->hole_room -= length / PLACE;
    for (uint64_t at = offset / PLACE; disk->holes && at < (offset + length) / PLACE; at++) {
        disk->hole_blocks -= disk->holes[at];
        disk->holes[at] = 0;
    }
    return 0;
}

static bool disk_has_holes(struct cs_io *io, enum cs_file file)
{
    (void)file;
    return !disk_of(io)->holes || disk_of(io)->hole_blocks > 0;
}

static void disk_leave(struct cs_io *io)
{
    (void)io;
}

static const struct cs_io_type disk_type = {
    .read = disk_read,
    .write = disk_write,
    .flush = disk_flush,
    .grow = disk_grow,
    .size = disk_size,
    .close = disk_leave,
    .discard = disk_discard,
};

static const struct cs_io_type punching_type = {
    .read = disk_read,
    .write = disk_write,
    .flush = disk_flush,
    .grow = disk_grow,
    .size = disk_size,
    .close = disk_leave,
    .discard = disk_punch,
    .punches = disk_does_punch,
    .fill = disk_fill,
    .has_holes = disk_has_holes,
};

void disk_open(struct disk *disk)
{
    *disk = (struct disk){.io = {.type = &disk_type}};
}

void disk_punches(struct disk *disk, uint64_t room)
{
    enum { BLOCKS = 1 << 16 };
    disk->io.type = &punching_type;
    disk->holes = must(calloc(BLOCKS, 1));
    disk->hole_room = room;
}

void disk_open_raw(struct disk *disk, uint64_t size)
{
    disk_open(disk);
    resize(disk, CS_DATA, size);
    disk->raw = true;
}

/* Copies of a large disk are made and given up thousands of times, one after the other. The memory of the
 * last one serves the next: from the kernel it would come page by page, which takes longer than the copy. */
enum { IMAGE_LARGE = 1 << 20 };
static uint8_t *spare;
static uint64_t spare_size;

static uint8_t *image_memory(uint64_t size)
{
    if (size < IMAGE_LARGE || size != spare_size)
        return must(malloc(size + 1));
    uint8_t *bytes = spare;
    spare = NULL;
    spare_size = 0;
    return bytes;
}

static void image_free(uint8_t *bytes, uint64_t size)
{
    if (size < IMAGE_LARGE) {
        free(bytes);
        return;
    }
    free(spare);
    spare = bytes;
    spare_size = size;
}

static void copy_image(struct disk *to, uint8_t *const bytes[CS_FILES], const uint64_t size[CS_FILES])
{
    for (int file = 0; file < CS_FILES; file++) {
        to->size[file] = size[file];
        to->bytes[file] = image_memory(size[file]);
        if (size[file])
            memcpy(to->bytes[file], bytes[file], size[file]);
    }
}

void disk_copy(struct disk *to, const struct disk *from)
{
    disk_open(to);
    to->raw = from->raw;
    to->io.type = from->io.type;
    to->hole_room = UINT64_MAX;
    copy_image(to, from->bytes, from->size);
}

void disk_record(struct disk *disk)
{
    struct disk copy;
    copy_image(&copy, disk->bytes, disk->size);
    for (int file = 0; file < CS_FILES; file++) {
        disk->first[file] = copy.bytes[file];
        disk->first_size[file] = copy.size[file];
    }
    disk->records = true;
}

void disk_close(struct disk *disk)
{
    for (size_t i = 0; i < disk->event_count; i++)
        free(disk->events[i].bytes);
    free(disk->events);
    free(disk->holes);
    for (int file = 0; file < CS_FILES; file++) {
        image_free(disk->bytes[file], disk->size[file]);
        free(disk->first[file]);
    }
    disk_open(disk);
}

/* ---- crashes ------------------------------------------------------------ */

void disk_replay_open(struct disk_replay *replay, const struct disk *disk)
{
    *replay = (struct disk_replay){.of = disk};
    disk_open(&replay->durable);
    replay->durable.raw = disk->raw;
    replay->durable.io.type = disk->io.type;
    copy_image(&replay->durable, disk->first, disk->first_size);
    replay->waiting = must(malloc((disk->event_count + 1) * sizeof *replay->waiting));
}

void disk_replay_close(struct disk_replay *replay)
{
    disk_close(&replay->durable);
    free(replay->waiting);
}

static void apply(struct disk *disk, const struct disk_event *event)
{
    if (event->kind == DISK_GROW)
        resize(disk, event->file, event->length);
    else
        put(disk, event->file, event->offset, event->bytes, event->length);
}

void disk_replay_to(struct disk_replay *replay, size_t to)
{
    for (; replay->at < to; replay->at++) {
        const struct disk_event *event = &replay->of->events[replay->at];
        if (event->kind != DISK_FLUSH) {
            replay->waiting[replay->waiting_count++] = replay->at;
            continue;
        }
        size_t left = 0;
        for (size_t i = 0; i < replay->waiting_count; i++) {
            const struct disk_event *waiting = &replay->of->events[replay->waiting[i]];
            if (waiting->file == event->file)
                apply(&replay->durable, waiting);
            else
                replay->waiting[left++] = replay->waiting[i];
        }
        replay->waiting_count = left;
    }
}

/* All of it, nothing, or some of its sectors. */
static void apply_some(struct disk *disk, const struct disk_event *event, uint64_t *seed)
{
    const unsigned mode = (unsigned)(disk_random(seed) % 4);
    if (mode == 0)
        return;
    for (uint64_t at = 0; at < event->length; at += SECTOR) {
        const uint64_t length = event->length - at < SECTOR ? event->length - at : SECTOR;
        if (mode == 1 || disk_random(seed) % 2)
            put(disk, event->file, event->offset + at, event->bytes + at, length);
    }
}

void disk_replay_crash(const struct disk_replay *replay, uint64_t *seed, struct disk *result)
{
    size_t *order = must(malloc((replay->waiting_count + 1) * sizeof *order));
    disk_copy(result, &replay->durable);
    memcpy(order, replay->waiting, replay->waiting_count * sizeof *order);
    for (size_t i = replay->waiting_count; i > 1; i--) {
        const size_t other = disk_random(seed) % i, kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
    /* A file may have kept an earlier size; then what was written behind it is not there. */
    for (size_t i = 0; i < replay->waiting_count; i++) {
        const struct disk_event *event = &replay->of->events[replay->waiting[i]];
        if (event->kind == DISK_GROW && disk_random(seed) % 2)
            apply(result, event);
    }
    for (size_t i = 0; i < replay->waiting_count; i++) {
        const struct disk_event *event = &replay->of->events[order[i]];
        if (event->kind != DISK_GROW)
            apply_some(result, event, seed);
    }
    free(order);
}

void disk_replay_kill(const struct disk_replay *replay, uint64_t *seed, struct disk *result)
{
    disk_copy(result, &replay->durable);
    for (size_t i = 0; i < replay->waiting_count; i++)
        apply(result, &replay->of->events[replay->waiting[i]]);
    if (replay->at == replay->of->event_count || replay->of->events[replay->at].kind != DISK_WRITE)
        return;
    const struct disk_event *next = &replay->of->events[replay->at];
    put(result, next->file, next->offset, next->bytes, disk_random(seed) % (next->length + 1));
}
