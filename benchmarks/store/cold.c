/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cold.c: how fast a storage server's store gives bytes that are on the disk and not in memory, or takes
 * some, by how many operations it has at once: left to the kernel (io_uring), or to the store's threads. With
 * writes it tells, too, how long the caller was held up, which is a shard's thread in a server.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "conf.h"
#include "err.h"
#include "layout.h"
#include "storage/chunks/chunks.h"
#include "storage/target.h"

enum { DEPTH_MAX = 64, PIECE_MAX = 1 << 20 };

static const struct store_object object = {
    .ino = 1, .layout = {.chunk_size = 1 << 20, .seed = 1, .stripe_count = 1, .group_count = 1}};

static uint64_t bytes = UINT64_C(256) << 20;
static unsigned reads = 20000;
static bool direct, writes;
static struct store *store;

struct slot {
    struct store_op op;
    bool busy;
    uint8_t *buffer;
    struct iovec iov; /* the store's until the end */
};

static struct slot slots[DEPTH_MAX];

static void must(int error)
{
    if (error >= 0)
        return;
    fprintf(stderr, "cold: %s\n", err_text());
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void ended(struct store_op *op, ssize_t status)
{
    must((int)(status < 0 ? status : 0));
    ((struct slot *)op->arg)->busy = false;
}

static void wait_for_one(void)
{
    struct pollfd wanted = {.fd = store_chunks.fd(store), .events = POLLIN};
    poll(&wanted, 1, -1);
    store_chunks.progress(store);
}

static void drain(unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        while (slots[i].busy)
            wait_for_one();
}

static struct slot *free_slot(unsigned depth)
{
    for (;;) {
        for (unsigned i = 0; i < depth; i++)
            if (!slots[i].busy)
                return &slots[i];
        wait_for_one();
    }
}

static void start(struct slot *slot, int result)
{
    must(result);
    slot->busy = result == STORE_PENDING;
}

static int write_at(struct slot *slot, uint64_t offset, unsigned length)
{
    slot->iov = (struct iovec){slot->buffer, length};
    slot->op = (struct store_op){.done = ended, .arg = slot};
    return store_chunks.write(store, &object, offset, &slot->iov, 1, &slot->op);
}

static int read_at(struct slot *slot, uint64_t offset, unsigned length)
{
    size_t done;
    slot->op = (struct store_op){.done = ended, .arg = slot};
    return store_chunks.read(store, &object, offset, slot->buffer, length, &done, &slot->op);
}

static void make_durable(void)
{
    slots[0].op = (struct store_op){.done = ended, .arg = &slots[0]};
    start(&slots[0], store_chunks.sync(store, &object, &slots[0].op));
    drain(1);
}

static void fill(void)
{
    for (uint64_t offset = 0; offset < bytes; offset += PIECE_MAX) {
        struct slot *slot = free_slot(4);
        start(slot, write_at(slot, offset, PIECE_MAX));
    }
    drain(4);
    make_durable();
}

/* Makes the page cache forget. */
static void forget(const struct target *target)
{
    char byte;
    struct iovec iov = {&byte, 1};
    int fd = openat(target->dir_fd, "shard-0/data", O_RDONLY | O_CLOEXEC);
    bool forgotten = false;
    /* What somebody else is just looking at stays. */
    for (unsigned tries = 0; tries < 50 && !forgotten; tries++) {
        if (fd < 0 || fdatasync(fd))
            must(err_sys("%s/shard-0/data", target->dir));
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        forgotten = preadv2(fd, &iov, 1, 0, RWF_NOWAIT) < 0 && errno == EAGAIN;
        if (!forgotten)
            usleep(10000);
    }
    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    if (!forgotten)
        must(err_set(-ENOTSUP, "%s is in memory: name a folder on a disk", target->dir));
    close(fd);
}

static void measure(const struct target *target, unsigned length, unsigned depth, bool rings)
{
    const uint64_t places = bytes / length;
    const unsigned count = reads < places ? reads : (unsigned)places;
    ((struct chunks_store *)store)->rings = rings;
    if (!direct && !writes)
        forget(target);
    const double begin = now();
    double longest = 0;
    for (unsigned n = 0; n < count; n++) {
        struct slot *slot = free_slot(depth);
        const uint64_t offset = (length < PIECE_MAX ? layout_hash(n) : n) % places * length;
        const double before = now();
        start(slot, writes ? write_at(slot, offset, length) : read_at(slot, offset, length));
        const double call = now() - before;
        longest = call > longest ? call : longest;
    }
    drain(depth);
    if (writes)
        make_durable();
    const double took = now() - begin;
    printf("%7u bytes, %2u at once, %-8s %9.0f/s %8.1f MiB/s; the longest call %8.3f ms\n", length, depth,
           rings ? "io_uring" : "threads", count / took, (double)count * length / (1 << 20) / took,
           1e3 * longest);
}

static int help(int code)
{
    fprintf(code ? stderr : stdout,
            "Usage: cold [--direct] [--write] DIR [MIB [READS]]\n"
            "Makes a store with MIB of data (256) in the folder DIR, which must be on a disk, and reads "
            "pieces at\n"
            "random places that the page cache does not have, READS (20000) at most in each line. The\n"
            "--direct goes past the page cache (direct_io). --write writes, to the end of which the data is "
            "durable.\nThe disk alone: fio --rw=randread --bs=4k "
            "--ioengine=io_uring --iodepth=32 --filename=...\n");
    return code;
}

int main(int argc, char **argv)
{
    static const unsigned lengths[] = {4096, 47008, PIECE_MAX}, depths[] = {1, 4, 16, 64};
    char dir[4096], command[4200];
    struct target target;
    if (argc > 1 && strcmp(argv[1], "--help") == 0)
        return help(0);
    for (; argc > 1 && strncmp(argv[1], "--", 2) == 0; argv++, argc--) {
        direct = direct || strcmp(argv[1], "--direct") == 0;
        writes = writes || strcmp(argv[1], "--write") == 0;
    }
    if (argc < 2 || argc > 4)
        return help(2);
    if (argc > 2)
        bytes = strtoull(argv[2], NULL, 10) << 20;
    if (argc > 3)
        reads = (unsigned)strtoul(argv[3], NULL, 10);
    if (bytes == 0 || reads == 0)
        return help(2);
    snprintf(dir, sizeof dir, "%.4000s/weft-cold-XXXXXX", argv[1]);
    if (!mkdtemp(dir))
        must(err_sys("%s", argv[1]));
    for (unsigned i = 0; i < DEPTH_MAX; i++)
        if (!(slots[i].buffer = aligned_alloc(4096, PIECE_MAX)))
            must(err_set(-ENOMEM, "no memory"));
    struct conf_target conf = {.id = 0, .dir = dir};
    struct store_config config = {.target = &target, .direct_io = direct};
    must(target_open(&conf, 1, &store_chunks, &target));
    must(store_chunks.open(&config, &store));
    const bool has_rings = ((struct chunks_store *)store)->rings;
    fill();
    for (size_t l = 0; l < (writes ? 3 : 2); l++)
        for (size_t d = 0; d < 4; d++)
            for (int rings = has_rings; rings >= 0; rings--)
                measure(&target, lengths[l], depths[d], rings);
    must(store_chunks.close(store));
    target_close(&target);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) ? 1 : 0;
}
