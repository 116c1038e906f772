/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_io_faults.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cs_format.h"
#include "err.h"
#include "layout.h"
#include "storage/iov.h"

/* A bit is flipped in one of so many pieces of memory. */
enum { FLIP_PIECES = 16 };

struct faults_io {
    struct cs_io io; /* first */
    struct cs_io_faults_config config;
};

static const char *const file_names[CS_FILES] = {
    [CS_DATA] = "data", [CS_META] = "meta", [CS_LOG] = "log", [CS_LOG_OTHER] = "log"};

static struct faults_io *faults_of(struct cs_io *io)
{
    return (struct faults_io *)io;
}

static struct cs_fault_place place_of(const struct faults_io *faults, enum cs_fault_on on, enum cs_file file)
{
    return (struct cs_fault_place){
        .target = faults->config.target, .shard = faults->config.shard, .on = on, .file = file};
}

/* Waits for what delays there are, and says what is to go wrong. With `nowait` a rule for a delay may have
 * come since there was none; then it is not waited for. */
static struct cs_fault_draw draw(struct faults_io *faults, enum cs_fault_on on, enum cs_file file,
                                 bool nowait)
{
    const struct cs_fault_place place = place_of(faults, on, file);
    const struct cs_fault_draw draw = cs_faults_draw(faults->config.faults, &place);
    if (draw.made && faults->config.made)
        counter_add_shared(faults->config.made, draw.made);
    if (draw.ms && !nowait)
        cs_faults_sleep(faults->config.faults, draw.ms);
    return draw;
}

static int failed(const struct faults_io *faults, enum cs_file file, int error, const char *what)
{
    return err_set(error, "%s/%s: %s: %s, on purpose", faults->config.name, file_names[file], what,
                   err_name(error));
}

/* ---- reading ------------------------------------------------------------ */

static void flip(const struct iovec *iov, int iov_count, uint64_t random)
{
    const size_t length = iov_length(iov, (size_t)iov_count);
    if (length == 0)
        return;
    size_t at = layout_hash(random) % length;
    while (at >= iov->iov_len)
        at -= iov++->iov_len;
    ((uint8_t *)iov->iov_base)[at] ^= (uint8_t)(1u << random % 8);
}

static int faults_read(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count,
                       bool nowait)
{
    struct faults_io *faults = faults_of(io);
    struct cs_io *inner = faults->config.inner;
    const struct cs_fault_place place = place_of(faults, CS_ON_READ, file);
    struct iovec pieces[FLIP_PIECES];
    const int count = iov_count < FLIP_PIECES ? iov_count : FLIP_PIECES;
    /* Whether it is delayed is drawn when it is done for good. */
    if (nowait && cs_faults_may_wait(faults->config.faults, &place))
        return -EAGAIN;
    memcpy(pieces, iov, (size_t)count * sizeof *iov); /* the inner disk may change the list */
    int error = inner->type->read(inner, file, offset, iov, iov_count, nowait);
    if (error)
        return error;
    const struct cs_fault_draw wrong = draw(faults, CS_ON_READ, file, nowait);
    if (wrong.fault == CS_FAULT_EIO)
        return failed(faults, file, -EIO, "read");
    if (wrong.fault == CS_FAULT_FLIP)
        flip(pieces, count, wrong.random);
    return 0;
}

/* ---- writing ------------------------------------------------------------ */

/* Leaves the first `length` bytes of the list; returns how many pieces that are. */
static int cut(struct iovec *iov, size_t length)
{
    int count = 0;
    for (; length > 0; count++) {
        if (iov[count].iov_len > length)
            iov[count].iov_len = length;
        length -= iov[count].iov_len;
    }
    return count;
}

static int write_half(struct cs_io *inner, enum cs_file file, uint64_t offset, struct iovec *iov,
                      int iov_count)
{
    const int count = cut(iov, iov_length(iov, (size_t)iov_count) / 2);
    return count ? inner->type->write(inner, file, offset, iov, count) : 0;
}

/* To the block behind or, at the end of the file, in front: a disk does not make a file longer. Where there
 * is neither, it is lost. */
static int write_beside(struct cs_io *inner, enum cs_file file, uint64_t offset, struct iovec *iov,
                        int iov_count)
{
    const size_t length = iov_length(iov, (size_t)iov_count);
    uint64_t size;
    int error = inner->type->size(inner, file, &size);
    if (error)
        return error;
    if (offset + CS_BLOCK + length <= size)
        offset += CS_BLOCK;
    else if (offset >= CS_BLOCK)
        offset -= CS_BLOCK;
    else
        return 0;
    return inner->type->write(inner, file, offset, iov, iov_count);
}

static int faults_write(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov,
                        int iov_count)
{
    struct faults_io *faults = faults_of(io);
    struct cs_io *inner = faults->config.inner;
    int error;
    switch (draw(faults, CS_ON_WRITE, file, false).fault) {
    case CS_FAULT_EIO:
        return failed(faults, file, -EIO, "write");
    case CS_FAULT_SHORT:
        error = write_half(inner, file, offset, iov, iov_count);
        return error ? error : failed(faults, file, -EIO, "the second half of a write");
    case CS_FAULT_LOST:
        return 0;
    case CS_FAULT_TORN:
        return write_half(inner, file, offset, iov, iov_count);
    case CS_FAULT_MISDIRECTED:
        return write_beside(inner, file, offset, iov, iov_count);
    default:
        return inner->type->write(inner, file, offset, iov, iov_count);
    }
}

static bool faults_write_waits(struct cs_io *io, size_t length)
{
    struct faults_io *faults = faults_of(io);
    struct cs_io *inner = faults->config.inner;
    if (inner->type->write_waits && inner->type->write_waits(inner, length))
        return true;
    for (int file = 0; file < CS_FILES; file++) {
        const struct cs_fault_place place = place_of(faults, CS_ON_WRITE, (enum cs_file)file);
        if (cs_faults_may_wait(faults->config.faults, &place))
            return true;
    }
    return false;
}

/* ---- all else ----------------------------------------------------------- */

static int faults_flush(struct cs_io *io, enum cs_file file)
{
    struct faults_io *faults = faults_of(io);
    struct cs_io *inner = faults->config.inner;
    if (draw(faults, CS_ON_FLUSH, file, false).fault == CS_FAULT_EIO)
        return failed(faults, file, -EIO, "flush");
    return inner->type->flush(inner, file);
}

static int faults_grow(struct cs_io *io, enum cs_file file, uint64_t size)
{
    struct faults_io *faults = faults_of(io);
    struct cs_io *inner = faults->config.inner;
    const enum cs_fault fault = draw(faults, CS_ON_GROW, file, false).fault;
    if (fault == CS_FAULT_EIO || fault == CS_FAULT_ENOSPC)
        return failed(faults, file, fault == CS_FAULT_EIO ? -EIO : -ENOSPC, "allocate space");
    return inner->type->grow(inner, file, size);
}

static int faults_size(struct cs_io *io, enum cs_file file, uint64_t *size)
{
    struct cs_io *inner = faults_of(io)->config.inner;
    return inner->type->size(inner, file, size);
}

static int faults_discard(struct cs_io *io, enum cs_file file, uint64_t offset, uint64_t length)
{
    struct cs_io *inner = faults_of(io)->config.inner;
    return inner->type->discard ? inner->type->discard(inner, file, offset, length)
                                : err_set(-EOPNOTSUPP, "the disk takes no space back");
}

static bool faults_punches(struct cs_io *io)
{
    return cs_io_punches(faults_of(io)->config.inner);
}

static int faults_fill(struct cs_io *io, enum cs_file file, uint64_t offset, uint64_t length)
{
    struct cs_io *inner = faults_of(io)->config.inner;
    return inner->type->fill ? inner->type->fill(inner, file, offset, length) : 0;
}

static bool faults_has_holes(struct cs_io *io, enum cs_file file)
{
    struct cs_io *inner = faults_of(io)->config.inner;
    return inner->type->has_holes && inner->type->has_holes(inner, file);
}

static void faults_close(struct cs_io *io)
{
    struct faults_io *faults = faults_of(io);
    faults->config.inner->type->close(faults->config.inner);
    free(faults);
}

static const struct cs_io_type faults_type = {
    .read = faults_read,
    .write = faults_write,
    .write_waits = faults_write_waits,
    .flush = faults_flush,
    .grow = faults_grow,
    .size = faults_size,
    .close = faults_close,
    .discard = faults_discard,
    .punches = faults_punches,
    .fill = faults_fill,
    .has_holes = faults_has_holes,
};

int cs_io_faults_open(const struct cs_io_faults_config *config, struct cs_io **io)
{
    struct faults_io *faults = calloc(1, sizeof *faults);
    if (!faults) {
        config->inner->type->close(config->inner);
        return err_set(-ENOMEM, "no memory for a disk with faults");
    }
    faults->io.type = &faults_type;
    faults->config = *config;
    *io = &faults->io;
    return 0;
}
