/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_ring.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>

#include "err.h"
#include "storage/iov.h"

/* Pieces under way in one store: a disk of NVMe takes hundreds. */
enum { ENTRIES = 512 };

struct cs_ring {
    struct io_uring uring;
    unsigned under_way; /* pieces */
};

int cs_ring_open(int fd, int event_fd, struct cs_ring **result)
{
    struct cs_ring *ring = calloc(1, sizeof *ring);
    if (!ring)
        return err_set(-ENOMEM, "no memory for io_uring");
    int error = io_uring_queue_init(ENTRIES, &ring->uring, IORING_SETUP_CLAMP);
    if (error)
        goto free_ring;
    error = io_uring_register_files(&ring->uring, &fd, 1);
    if (!error)
        error = io_uring_register_eventfd(&ring->uring, event_fd);
    if (error)
        goto exit_queue;
    *result = ring;
    return 0;
exit_queue:
    io_uring_queue_exit(&ring->uring);
free_ring:
    free(ring);
    return err_set(error, "io_uring: %s", err_name(error));
}

static void take(struct cs_ring *ring, struct io_uring_cqe *cqe)
{
    struct cs_piece *piece = io_uring_cqe_get_data(cqe);
    struct cs_batch *batch = piece->batch;
    /* A short one may go on or not: whoever does it anew will see. */
    if (cqe->res < 0 || (size_t)cqe->res != piece->length)
        batch->whole = false;
    batch->pending--;
    ring->under_way--;
    io_uring_cqe_seen(&ring->uring, cqe);
}

void cs_ring_close(struct cs_ring *ring)
{
    struct io_uring_cqe *cqe;
    while (ring->under_way && io_uring_wait_cqe(&ring->uring, &cqe) == 0)
        take(ring, cqe);
    io_uring_queue_exit(&ring->uring);
    free(ring);
}

int cs_ring_begin(struct cs_ring *ring, struct cs_batch *batch)
{
    const unsigned most = *ring->uring.sq.kring_entries;
    if (batch->count == 0 || batch->count > most - (ring->under_way < most ? ring->under_way : most))
        return -EAGAIN;
    batch->whole = true;
    batch->pending = batch->count;
    for (unsigned i = 0; i < batch->count; i++) {
        struct cs_piece *piece = &batch->pieces[i];
        struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
        piece->batch = batch;
        piece->length = iov_length(piece->iov, (size_t)piece->iov_count);
        if (batch->is_write)
            io_uring_prep_writev(sqe, 0, piece->iov, (unsigned)piece->iov_count, piece->offset);
        else
            io_uring_prep_readv(sqe, 0, piece->iov, (unsigned)piece->iov_count, piece->offset);
        io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
        io_uring_sqe_set_data(sqe, piece);
    }
    ring->under_way += batch->count;
    /* What the kernel does not take now is submitted with the next, or when the ended ones are asked for. */
    io_uring_submit(&ring->uring);
    return 0;
}

struct cs_batch *cs_ring_ended(struct cs_ring *ring)
{
    struct io_uring_cqe *cqe;
    if (io_uring_sq_ready(&ring->uring))
        io_uring_submit(&ring->uring);
    while (ring->under_way && io_uring_peek_cqe(&ring->uring, &cqe) == 0) {
        struct cs_batch *batch = ((struct cs_piece *)io_uring_cqe_get_data(cqe))->batch;
        take(ring, cqe);
        if (batch->pending == 0)
            return batch;
    }
    return NULL;
}
