/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving bytes, with several pieces under way. A ring of slots is visited in
 * turn: whatever a slot waits for is finished, and its next step begun. So
 * bytes reach the destination in their order, which a pipe needs, while the
 * steps of all other slots go on in the meantime.
 */
#include "tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum slot_state { SLOT_FREE, SLOT_READING, SLOT_WRITING };

struct slot {
    enum slot_state state;
    char *buffer;
    uint64_t offset; /* of the piece, in both files */
    uint64_t length;
    weft_op_t *op;
};

struct ring {
    struct tool *tool;
    struct copy_job *job;
    struct slot *slots;
    uint64_t next;     /* offset of the next piece to read */
    uint64_t data_end; /* up to which all is data, from `next` on */
    bool at_end;       /* nothing more to read */
    int error;
    void *memory;
    size_t memory_size;
};

uint64_t copy_piece(uint64_t chunk_size)
{
    const uint64_t usual = 4u << 20, most = 16u << 20;
    if (chunk_size == 0 || chunk_size > most)
        return usual;
    /* Whole chunks, so that no two pieces meet in one. */
    return chunk_size >= usual ? chunk_size : usual / chunk_size * chunk_size;
}

static void fail(struct ring *ring, int error, bool reading)
{
    ring->at_end = true;
    if (ring->error)
        return; /* the first error is the one to tell of */
    ring->error = error;
    ring->job->failed_reading = reading;
}

/* Where the descriptor's own offset counts. */
#define NO_OFFSET UINT64_MAX

/* Reads from a descriptor until the piece is full or the source ends. */
static ssize_t read_fully(int fd, char *buffer, size_t length, uint64_t offset)
{
    size_t done = 0;
    while (done < length) {
        ssize_t count = offset == NO_OFFSET ? read(fd, buffer + done, length - done)
                                            : pread(fd, buffer + done, length - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR && !tool_interrupted())
            continue;
        if (count < 0)
            return -errno;
        if (count == 0)
            break;
        done += (size_t)count;
    }
    return (ssize_t)done;
}

static int write_fully(int fd, const char *buffer, size_t length, uint64_t offset)
{
    while (length > 0) {
        ssize_t count =
            offset == NO_OFFSET ? write(fd, buffer, length) : pwrite(fd, buffer, length, (off_t)offset);
        if (count < 0 && errno == EINTR && !tool_interrupted())
            continue;
        if (count <= 0)
            return count < 0 ? -errno : -EIO;
        buffer += count;
        length -= (size_t)count;
        offset += offset == NO_OFFSET ? 0 : (uint64_t)count;
    }
    return 0;
}

static void arrived(struct ring *ring, struct slot *slot)
{
    /* Behind a failed piece nothing counts as copied any more. */
    if (!ring->error)
        ring->job->copied += slot->length;
    progress_add(ring->tool->progress, slot->length);
    slot->state = SLOT_FREE;
}

/* The piece has been read: `count` bytes of it are there. */
static void begin_write(struct ring *ring, struct slot *slot, ssize_t count)
{
    struct copy_job *job = ring->job;
    slot->state = SLOT_FREE;
    if (count < 0) {
        fail(ring, (int)count, true);
        return;
    }
    if ((uint64_t)count < slot->length) {
        ring->at_end = true;
        slot->length = (uint64_t)count;
        if (job->size != COPY_SIZE_UNKNOWN)
            fail(ring, -ENODATA, true);
    }
    if (slot->length == 0 || ring->error)
        return;
    if (job->to.file) {
        const struct iovec piece = {slot->buffer, slot->length};
        const struct weft_extent extent = {slot->offset, slot->length};
        int error = weft_file_write_list_async(job->to.file, &piece, 1, &extent, 1, &slot->op);
        if (error)
            fail(ring, error, false);
        else
            slot->state = SLOT_WRITING;
    } else {
        int error =
            write_fully(job->to.fd, slot->buffer, slot->length, job->keeps_holes ? slot->offset : NO_OFFSET);
        if (error)
            fail(ring, error, false);
        else
            arrived(ring, slot);
    }
}

/* ---- holes ------------------------------------------------------------------ */

/* *place: the first data, or hole, from there on; -ENXIO: none. */
static int seek_end(const struct copy_end *end, uint64_t offset, bool hole, uint64_t *place)
{
    if (end->file)
        return weft_file_seek(end->file, offset, hole ? WEFT_SEEK_HOLE : WEFT_SEEK_DATA, place);
    off_t at = lseek(end->fd, (off_t)offset, hole ? SEEK_HOLE : SEEK_DATA);
    if (at < 0)
        return -errno;
    *place = (uint64_t)at;
    return 0;
}

/* No data follows: all the rest is a hole, or the source has become shorter. */
static int check_rest(const struct copy_job *job)
{
    struct stat local;
    uint64_t size = 0;
    int error = 0;
    if (job->from.file)
        error = weft_file_size(job->from.file, &size);
    else if (fstat(job->from.fd, &local))
        error = -errno;
    else
        size = (uint64_t)local.st_size;
    if (!error && size < job->size)
        error = -ENODATA;
    return error;
}

/* The destination gets the length that it would have with the hole at its end. */
static int lengthen(struct copy_job *job)
{
    if (job->to.file)
        return weft_file_truncate(job->to.file, job->size);
    return ftruncate(job->to.fd, (off_t)job->size) ? -errno : 0;
}

/* Goes on to the next data, when it is not known that there is some. */
static void pass_hole(struct ring *ring)
{
    struct copy_job *job = ring->job;
    uint64_t data = job->size, end = job->size;
    if (!job->keeps_holes || ring->at_end || ring->next >= job->size || ring->next < ring->data_end)
        return;
    int error = seek_end(&job->from, ring->next, false, &data);
    if (error == 0)
        error = seek_end(&job->from, data, true, &end);
    else if (error == -ENXIO)
        error = check_rest(job);
    else if (error == -EINVAL || error == -EOPNOTSUPP) /* a file system that knows of none */
        error = 0, data = ring->next;
    if (error) {
        fail(ring, error, true);
        return;
    }
    data = data < job->size ? data : job->size;
    job->copied += data - ring->next;
    progress_add(ring->tool->progress, data - ring->next);
    ring->next = data;
    ring->data_end = end;
    if (data == job->size && (error = lengthen(job)))
        fail(ring, error, false);
}

/* ---- the ring --------------------------------------------------------------- */

/* Pieces end where they would without holes, so that no two meet in one chunk. */
static uint64_t piece_length(const struct ring *ring)
{
    const struct copy_job *job = ring->job;
    const uint64_t left = job->size - ring->next;
    if (!job->keeps_holes)
        return left < job->piece ? left : job->piece;
    const uint64_t room = job->piece - ring->next % job->piece, data = ring->data_end - ring->next;
    const uint64_t most = room < data ? room : data;
    return left < most ? left : most;
}

static void begin_read(struct ring *ring, struct slot *slot)
{
    struct copy_job *job = ring->job;
    if (tool_interrupted())
        fail(ring, -EINTR, true);
    pass_hole(ring);
    if (ring->at_end || ring->next == job->size) {
        ring->at_end = true;
        return;
    }
    slot->offset = ring->next;
    slot->length = piece_length(ring);
    ring->next += slot->length;
    if (!job->from.file) {
        begin_write(ring, slot,
                    read_fully(job->from.fd, slot->buffer, slot->length,
                               job->keeps_holes ? slot->offset : NO_OFFSET));
        return;
    }
    const struct iovec piece = {slot->buffer, slot->length};
    const struct weft_extent extent = {slot->offset, slot->length};
    int error = weft_file_read_list_async(job->from.file, &piece, 1, &extent, 1, &slot->op);
    if (error)
        fail(ring, error, true);
    else
        slot->state = SLOT_READING;
}

/* Finishes what the slot waits for. */
static void finish(struct ring *ring, struct slot *slot)
{
    if (slot->state == SLOT_FREE)
        return;
    ssize_t result = weft_wait(slot->op);
    slot->op = NULL;
    if (slot->state == SLOT_READING) {
        begin_write(ring, slot, result);
    } else if (result < 0) {
        slot->state = SLOT_FREE;
        fail(ring, (int)result, false);
    } else {
        arrived(ring, slot);
    }
}

static int ring_open(struct ring *ring, struct tool *tool, struct copy_job *job)
{
    *ring = (struct ring){.tool = tool, .job = job};
    uint32_t count = job->in_flight;
    /* A small file needs no more slots than it has pieces. */
    if (job->size != COPY_SIZE_UNKNOWN && (uint64_t)count * job->piece > job->size)
        count = (uint32_t)((job->size + job->piece - 1) / job->piece);
    job->in_flight = count = count ? count : 1;
    ring->slots = calloc(count, sizeof *ring->slots);
    if (!ring->slots)
        return -ENOMEM;
    ring->memory_size = (size_t)count * job->piece;
    ring->memory = mmap(NULL, ring->memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ring->memory == MAP_FAILED) {
        free(ring->slots);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++)
        ring->slots[i].buffer = (char *)ring->memory + i * job->piece;
    return 0;
}

int copy_run(struct tool *tool, struct copy_job *job)
{
    struct ring ring;
    job->copied = 0;
    job->failed_reading = false;
    int error = ring_open(&ring, tool, job);
    if (error)
        return error;
    bool busy = true;
    while (busy) {
        busy = false;
        for (uint32_t i = 0; i < job->in_flight; i++) {
            struct slot *slot = &ring.slots[i];
            finish(&ring, slot);
            if (slot->state == SLOT_FREE)
                begin_read(&ring, slot);
            busy = busy || slot->state != SLOT_FREE || !ring.at_end;
        }
    }
    munmap(ring.memory, ring.memory_size);
    free(ring.slots);
    return ring.error;
}
