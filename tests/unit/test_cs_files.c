/* SPDX-License-Identifier: Apache-2.0 */
/* The chunk store on real files: in memory, where they are mapped, and on the disk of TMPDIR, where
 * they are reached by calls. What a disk may do wrong is tested in test_cs_damage.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "err.h"
#include "storage/chunks/cs_mapping.h"
#include "storage/chunks/cs_store.h"
#include "cs_disk.h"

enum { BYTES = 300000, ROOM = 192 << 20 };

static const struct layout layout = {.chunk_size = 4096, .seed = 1, .stripe_count = 2, .group_count = 2};
static const struct cs_name object = {.ino = 7, .position = 1};
static char dir[128];
static int dir_fd = -1;
static struct cs_io *io;
static uint64_t seed;
static uint8_t bytes[BYTES], buffer[BYTES];

static int setup_in(const char *base)
{
    seed = getenv("WEFT_SEED") ? strtoull(getenv("WEFT_SEED"), NULL, 0) : 1;
    print_message("WEFT_SEED=%llu\n", (unsigned long long)seed);
    snprintf(dir, sizeof dir, "%.90s/weft-test-XXXXXX", base);
    if (!mkdtemp(dir))
        return -1;
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)disk_random(&seed);
    return cs_io_files_open(dir_fd, "target 3 shard 1", true, &io);
}

static int setup_memory(void **state)
{
    (void)state;
    return setup_in("/dev/shm");
}

static int setup_disk(void **state)
{
    const char *base = getenv("TMPDIR");
    (void)state;
    return setup_in(base ? base : "/tmp");
}

static int teardown(void **state)
{
    char command[200];
    (void)state;
    if (io)
        io->type->close(io);
    io = NULL;
    close(dir_fd);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static void must(int error)
{
    if (error < 0)
        fail_msg("%s", err_text());
}

static void skip_without_room(void)
{
    struct statvfs stat;
    if (fstatvfs(dir_fd, &stat) || stat.f_bavail * stat.f_frsize >= ROOM)
        return;
    print_message("skipped: %s has less than %d MiB\n", dir, ROOM >> 20);
    skip();
}

/* ---- the files ------------------------------------------------------------ */

/* Two pieces of memory for `length` bytes. */
static int halves(struct iovec iov[2], uint8_t *memory, size_t length)
{
    iov[0] = (struct iovec){memory, length / 3};
    iov[1] = (struct iovec){memory + length / 3, length - length / 3};
    return 2;
}

static void put(uint64_t offset, uint8_t *from, size_t length)
{
    struct iovec iov[2];
    must(io->type->write(io, CS_DATA, offset, iov, halves(iov, from, length)));
}

static void get(uint64_t offset, uint8_t *to, size_t length)
{
    struct iovec iov[2];
    must(io->type->read(io, CS_DATA, offset, iov, halves(iov, to, length), false));
}

/* Calls and memory show the same bytes, also where two segments meet; each place is written a first and
 * a second time. */
static void test_bytes_are_the_same_by_both_ways(void **state)
{
    enum { AREA = 128 << 10, ROUNDS = 4000 };
    static uint8_t model[AREA], seen[AREA];
    const uint64_t base = CS_SEGMENT_BYTES - AREA / 2;
    char path[200];
    (void)state;
    skip_without_room();
    must(io->type->grow(io, CS_DATA, CS_SEGMENT_BYTES + AREA));
    snprintf(path, sizeof path, "%s/data", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    memset(model, 0, sizeof model);
    for (int round = 0; round < ROUNDS; round++) {
        const size_t at = disk_random(&seed) % AREA, most = AREA - at < 20000 ? AREA - at : 20000;
        const size_t length = 1 + disk_random(&seed) % most, from = disk_random(&seed) % (BYTES - length);
        if (round % 3) {
            memcpy(model + at, bytes + from, length);
            put(base + at, bytes + from, length);
        } else {
            get(base + at, buffer, length);
            assert_memory_equal(buffer, model + at, length);
        }
    }
    assert_int_equal(pread(fd, seen, AREA, (off_t)base), AREA);
    assert_memory_equal(seen, model, AREA);
    close(fd);
}

static void test_the_end_of_a_file_is_an_error(void **state)
{
    struct iovec iov = {buffer, 8192};
    (void)state;
    must(io->type->grow(io, CS_DATA, 65536));
    assert_int_equal(io->type->read(io, CS_DATA, 65536 - 4096, &iov, 1, false), -ENODATA);
    iov = (struct iovec){buffer, 4096};
    assert_int_equal(io->type->read(io, CS_DATA, 1 << 20, &iov, 1, true), -ENODATA);
}

/* More than there is: an error, and what was there can be used as before. */
static void test_a_full_file_system_is_an_error(void **state)
{
    (void)state;
    must(io->type->grow(io, CS_DATA, 1 << 20));
    put(0, bytes, BYTES);
    int error = io->type->grow(io, CS_DATA, UINT64_C(1) << 43);
    assert_true(error == -ENOSPC || error == -EFBIG);
    put(BYTES, bytes, BYTES);
    get(BYTES, buffer, BYTES);
    assert_memory_equal(buffer, bytes, BYTES);
}

/* A file with holes, as a copy of a store may have, gets its space before it is touched. */
static void test_holes_get_their_space(void **state)
{
    struct stat stat;
    struct cs_mapping mapping;
    struct iovec iov = {buffer, 4096};
    char path[200];
    (void)state;
    snprintf(path, sizeof path, "%s/data", dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    cs_mapping_open(&mapping, fd);
    assert_false(cs_mapping_read(&mapping, 0, &iov, 1));
    cs_mapping_cover(&mapping);
    assert_true(cs_mapping_read(&mapping, (1 << 20) - 4096, &iov, 1));
    assert_false(cs_mapping_read(&mapping, (1 << 20) - 4095, &iov, 1));
    assert_int_equal(fstat(fd, &stat), 0);
    assert_true(stat.st_blocks * 512 >= 1 << 20);
    cs_mapping_close(&mapping);
    close(fd);
}

static void test_written_pages_are_known(void **state)
{
    struct cs_mapping mapping;
    char path[200];
    (void)state;
    snprintf(path, sizeof path, "%s/data", dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(ftruncate(fd, 4 << 20), 0);
    cs_mapping_open(&mapping, fd);
    cs_mapping_cover(&mapping);
    assert_false(cs_mapping_is_written(&mapping, 0, 4096));
    cs_mapping_written(&mapping, 10 * 4096, 100 * 4096);
    assert_true(cs_mapping_is_written(&mapping, 10 * 4096, 100 * 4096));
    assert_true(cs_mapping_is_written(&mapping, 63 * 4096 + 5, 4096));
    assert_false(cs_mapping_is_written(&mapping, 9 * 4096, 4096 + 1));
    assert_false(cs_mapping_is_written(&mapping, 109 * 4096, 4096 + 1));
    assert_false(cs_mapping_is_written(&mapping, 0, 4 << 20));
    cs_mapping_written(&mapping, 0, 4 << 20);
    assert_true(cs_mapping_is_written(&mapping, 0, 4 << 20));
    cs_mapping_close(&mapping);
    close(fd);
}

/* ---- a store on them ------------------------------------------------------- */

static struct cs_store *open_store(bool anew)
{
    const struct cs_config config = {.io = io, .name = "target 3 shard 1", .grow_blocks = 512, .log = true};
    struct cs_store *store;
    if (anew)
        must(cs_format(&config));
    must(cs_open(&config, &store));
    assert_int_equal(store->failed, 0);
    return store;
}

static void close_store(struct cs_store *store)
{
    cs_close(store);
    io = NULL;
}

static int write_some(struct cs_store *store, uint64_t offset, size_t length)
{
    struct iovec iov = {bytes + offset, length};
    return cs_write(store, object, &layout, offset, &iov, 1, NULL);
}

static int read_all(struct cs_store *store)
{
    size_t count = 0;
    int error = cs_read(store, object, &layout, 0, buffer, BYTES, &count, NULL);
    if (!error)
        assert_int_equal(count, BYTES);
    return error;
}

/* Every bit of the file counts, however it is read. */
static void test_damage_is_noticed(void **state)
{
    char path[200];
    uint8_t byte;
    (void)state;
    struct cs_store *store = open_store(true);
    must(write_some(store, 0, BYTES));
    must(cs_commit(store));
    must(read_all(store));
    snprintf(path, sizeof path, "%s/data", dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    for (int i = 0; i < 200; i++) {
        const off_t at = (off_t)(disk_random(&seed) % BYTES);
        const uint8_t bit = (uint8_t)(1u << disk_random(&seed) % 8);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= bit;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        assert_int_equal(read_all(store), -EIO);
        byte ^= bit;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    must(read_all(store));
    assert_memory_equal(buffer, bytes, BYTES);
    close(fd);
    close_store(store);
}

/* A process that dies in the middle of its work leaves all that it had written. */
static void test_the_death_of_the_process_loses_nothing(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct cs_store *store = open_store(true);
        int error = 0;
        for (size_t offset = 0; offset < BYTES && !error; offset += 1000)
            error = write_some(store, offset, BYTES - offset < 1000 ? BYTES - offset : 1000);
        for (int i = 0; i < 1000 && !error; i++)
            error = write_some(store, disk_random(&seed) % (BYTES - 9000), 1 + disk_random(&seed) % 9000);
        if (error)
            _exit(1);
        raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    struct cs_store *store = open_store(false);
    must(read_all(store));
    assert_memory_equal(buffer, bytes, BYTES);
    close_store(store);
}

#define ON_BOTH(test)                                          \
    {#test ", in memory", test, setup_memory, teardown, NULL}, \
    {                                                          \
#test ", on a disk", test, setup_disk, teardown, NULL  \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(test_bytes_are_the_same_by_both_ways),
        ON_BOTH(test_the_end_of_a_file_is_an_error),
        ON_BOTH(test_a_full_file_system_is_an_error),
        ON_BOTH(test_holes_get_their_space),
        ON_BOTH(test_written_pages_are_known),
        ON_BOTH(test_damage_is_noticed),
        ON_BOTH(test_the_death_of_the_process_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
