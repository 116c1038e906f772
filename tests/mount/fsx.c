/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random operations on one file by two descriptors, against a model in memory: each read must show what was
 * written last, by either. The two names may be of two mounts.
 *
 * Usage: fsx [--seed N] [--operations N] [--size BYTES] NAME NAME
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LENGTH_MAX = 300000 };

static struct {
    uint64_t seed, state;
    unsigned long operations, done;
    size_t size_max;
    const char *names[2];
    int fds[2];
    char *model, *buffer;
    size_t size;
} run = {.operations = 3000, .size_max = 3 << 20};

static uint64_t draw(uint64_t below)
{
    /* SplitMix64 */
    uint64_t z = (run.state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

static void fail(const char *what, size_t offset, size_t length)
{
    fprintf(stderr, "operation %lu of --seed %" PRIu64 ": %s at %zu, %zu bytes, file of %zu: %s\n", run.done,
            run.seed, what, offset, length, run.size, errno ? strerror(errno) : "other bytes");
    exit(1);
}

static void grow(size_t size)
{
    if (size > run.size)
        memset(run.model + run.size, 0, size - run.size);
    run.size = size > run.size ? size : run.size;
}

static void do_read(int fd, size_t offset, size_t length)
{
    size_t wanted = offset >= run.size ? 0 : length < run.size - offset ? length : run.size - offset;
    ssize_t count = pread(fd, run.buffer, length, (off_t)offset);
    if (count < 0 || (size_t)count != wanted)
        fail("read", offset, length);
    errno = 0;
    if (memcmp(run.buffer, run.model + offset, wanted) != 0)
        fail("read", offset, length);
}

static void do_write(int fd, size_t offset, size_t length)
{
    for (size_t i = 0; i < length; i++)
        run.buffer[i] = (char)draw(256);
    if (pwrite(fd, run.buffer, length, (off_t)offset) != (ssize_t)length)
        fail("write", offset, length);
    grow(offset + length);
    memcpy(run.model + offset, run.buffer, length);
}

static void do_append(const char *name, size_t length)
{
    int fd = open(name, O_WRONLY | O_APPEND);
    size_t offset = run.size;
    if (fd < 0 || offset + length > run.size_max) {
        close(fd);
        return;
    }
    memset(run.buffer, (int)draw(256), length);
    if (write(fd, run.buffer, length) != (ssize_t)length)
        fail("append", offset, length);
    grow(offset + length);
    memcpy(run.model + offset, run.buffer, length);
    close(fd);
}

static void do_truncate(int fd, const char *name, size_t size)
{
    if (draw(2) ? ftruncate(fd, (off_t)size) : truncate(name, (off_t)size))
        fail("truncate", size, 0);
    grow(size);
    run.size = size;
}

static void do_stat(int fd, const char *name)
{
    struct stat stat_;
    if ((draw(2) ? fstat(fd, &stat_) : stat(name, &stat_)) != 0 || (size_t)stat_.st_size != run.size)
        fail("stat", 0, (size_t)stat_.st_size);
}

static void do_seek(int fd)
{
    if (lseek(fd, 0, SEEK_END) != (off_t)run.size)
        fail("seek", 0, 0);
}

static void do_punch(int fd, size_t offset, size_t length)
{
    const int mode = draw(2) ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
    if (fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length) != 0) {
        if (errno == EOPNOTSUPP)
            return; /* a local file system */
        fail("punch", offset, length);
    }
    if (offset < run.size)
        memset(run.model + offset, 0, length < run.size - offset ? length : run.size - offset);
}

/* What lies in front of the data that is found is zeros. */
static void do_find(int fd, size_t offset)
{
    off_t place = lseek(fd, (off_t)offset, SEEK_DATA);
    if (place < 0 && errno != ENXIO)
        fail("find", offset, 0);
    errno = 0;
    const size_t end = place < 0 ? run.size : (size_t)place;
    if (place >= 0 && (end < offset || end >= run.size))
        fail("find", offset, end);
    for (size_t i = offset; i < end; i++)
        if (run.model[i] != 0)
            fail("find", i, end);
}

static void do_copy(int from, int to, size_t offset, size_t length)
{
    loff_t in = (loff_t)draw(run.size + 1), out = (loff_t)offset;
    size_t start = (size_t)in;
    if (start + length > offset && offset + length > start)
        return; /* overlapping copies are refused */
    ssize_t count = copy_file_range(from, &in, to, &out, length, 0);
    if (count < 0 && (errno == EXDEV || errno == EOPNOTSUPP))
        return; /* between two mounts, with an old kernel */
    size_t wanted = start >= run.size ? 0 : length < run.size - start ? length : run.size - start;
    if (count < 0 || (size_t)count > wanted)
        fail("copy", offset, length);
    if (count > 0) {
        grow(offset + (size_t)count);
        memmove(run.model + offset, run.model + start, (size_t)count);
    }
}

static void do_reopen(unsigned which)
{
    close(run.fds[which]);
    run.fds[which] = open(run.names[which], O_RDWR);
    if (run.fds[which] < 0)
        fail("open", 0, 0);
}

static void operate(void)
{
    unsigned which = (unsigned)draw(2);
    int fd = run.fds[which];
    const char *name = run.names[which];
    size_t offset = draw(run.size_max), length = 1 + draw(draw(4) ? 5000 : LENGTH_MAX);
    if (length > run.size_max - offset)
        length = run.size_max - offset;
    switch (draw(19)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        do_read(fd, offset, length);
        break;
    case 5:
    case 6:
    case 7:
    case 8:
        do_write(fd, offset, length);
        break;
    case 9:
        do_truncate(fd, name, offset);
        break;
    case 10:
        do_append(name, length);
        break;
    case 11:
        do_stat(fd, name);
        break;
    case 12:
        do_seek(fd);
        break;
    case 13:
        do_copy(fd, fd, offset, length);
        break;
    case 14:
        do_reopen(which);
        break;
    case 15:
    case 16:
        do_punch(fd, offset, length);
        break;
    case 17:
        do_find(fd, offset);
        break;
    default:
        do_read(fd, 0, LENGTH_MAX);
        break;
    }
}

static void options(int argc, char **argv)
{
    static const struct option longs[] = {{"seed", required_argument, NULL, 's'},
                                          {"operations", required_argument, NULL, 'n'},
                                          {"size", required_argument, NULL, 'b'},
                                          {0}};
    int code;
    run.seed = (uint64_t)time(NULL);
    while ((code = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        unsigned long number = optarg ? strtoul(optarg, NULL, 10) : 0;
        if (code == 's')
            run.seed = number;
        else if (code == 'n')
            run.operations = number;
        else if (code == 'b' && number)
            run.size_max = number;
        else
            exit(2);
    }
    if (argc - optind != 2)
        exit(2);
    run.names[0] = argv[optind];
    run.names[1] = argv[optind + 1];
}

int main(int argc, char **argv)
{
    options(argc, argv);
    run.state = run.seed;
    printf("seed %" PRIu64 "\n", run.seed);
    run.model = calloc(1, run.size_max + LENGTH_MAX);
    run.buffer = malloc(LENGTH_MAX);
    run.fds[0] = open(run.names[0], O_RDWR | O_CREAT | O_TRUNC, 0644);
    run.fds[1] = open(run.names[1], O_RDWR);
    if (!run.model || !run.buffer || run.fds[0] < 0 || run.fds[1] < 0) {
        perror(run.names[0]);
        return 1;
    }
    for (; run.done < run.operations; run.done++) {
        errno = 0;
        operate();
    }
    for (unsigned i = 0; i < 2; i++)
        for (size_t offset = 0; offset < run.size; offset += LENGTH_MAX)
            do_read(run.fds[i], offset, LENGTH_MAX);
    return 0;
}
