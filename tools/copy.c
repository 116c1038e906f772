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
    uint64_t next; /* offset of the next piece to read */
    bool at_end;   /* nothing more to read */
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

/* Reads from a descriptor until the piece is full or the source ends. */
static ssize_t read_fully(int fd, char *buffer, size_t length)
{
    size_t done = 0;
    while (done < length) {
        ssize_t count = read(fd, buffer + done, length - done);
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

static int write_fully(int fd, const char *buffer, size_t length)
{
    while (length > 0) {
        ssize_t count = write(fd, buffer, length);
        if (count < 0 && errno == EINTR && !tool_interrupted())
            continue;
        if (count <= 0)
            return count < 0 ? -errno : -EIO;
        buffer += count;
        length -= (size_t)count;
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
        int error = write_fully(job->to.fd, slot->buffer, slot->length);
        if (error)
            fail(ring, error, false);
        else
            arrived(ring, slot);
    }
}

static void begin_read(struct ring *ring, struct slot *slot)
{
    struct copy_job *job = ring->job;
    if (tool_interrupted())
        fail(ring, -EINTR, true);
    uint64_t left = job->size - ring->next;
    if (ring->at_end || left == 0) {
        ring->at_end = true;
        return;
    }
    slot->offset = ring->next;
    slot->length = left < job->piece ? left : job->piece;
    ring->next += slot->length;
    if (!job->from.file) {
        begin_write(ring, slot, read_fully(job->from.fd, slot->buffer, slot->length));
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
