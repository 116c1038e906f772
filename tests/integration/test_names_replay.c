/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thousands of calls, drawn from a seed and made by several clients in turn, each also made in a local
 * folder: every result, every error, and the trees are the same. The local file system is the model.
 * WEFT_TEST_SEED repeats a run.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "calls.h"
#include "cluster.h"
#include "seed.h"

enum { CLIENTS = 3, CALLS = 6000, COMPARE_EVERY = 500, PATH_BYTES = 64, BYTES = 100000 };

#define TOP "/top" /* in the cluster; its root has another mode than a folder of a user */

static struct cluster cluster;
static weft_session_t *sessions[CLIENTS];
static char local[64]; /* the folder */
static uint8_t pattern[2 * BYTES];

static int setup(void **state)
{
    (void)state;
    cluster_open(&cluster, &(struct cluster_options){.servers = 2, .chunk_size = 4096 + 512});
    connect_all(sessions, CLIENTS);
    snprintf(local, sizeof local, "%s/local", cluster.dir);
    umask(0);
    assert_int_equal(mkdir(local, 0755), 0);
    assert_int_equal(weft_mkdir(sessions[0], TOP, 0755), 0);
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (uint8_t)(i * 7 + i / 251);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    disconnect_all(sessions, CLIENTS);
    cluster_close(&cluster);
    return 0;
}

/* ---- one call -------------------------------------------------------------- */

#define KINDS_OF_CALLS(X)                                                                              \
    X(MKDIR) X(RMDIR) X(CREATE) X(EXCLUSIVE) X(UNLINK) X(RENAME) X(LINK) X(SYMLINK) X(READLINK)        \
    X(CHMOD) X(TRUNCATE) X(WRITE) X(STAT)
#define X(name) name,
enum kind { KINDS_OF_CALLS(X) KINDS };
#undef X
#define X(name) #name,
static const char *const kind_names[] = {KINDS_OF_CALLS(X)};
#undef X

struct call {
    enum kind kind;
    char path[PATH_BYTES], to[PATH_BYTES]; /* from the root of the tree, without a slash in front */
    mode_t mode;
    uint64_t size;
    bool nofollow;
    unsigned client;
};

/* What both sides tell. */
struct outcome {
    long result; /* 0, a count, or a negative errno */
    char text[PATH_BYTES];
    mode_t mode;
    uint64_t size, nlink;
};

static mode_t random_mode(void)
{
    static const mode_t modes[] = {0755, 0700, 0644, 0600, 0777, 0444, 01777};
    return modes[below(sizeof modes / sizeof modes[0])];
}

static void add(char path[PATH_BYTES], const char *text)
{
    size_t length = strlen(path);
    snprintf(path + length, PATH_BYTES - length, "%s", text);
}

/* Few names, so that they meet. ".." only behind a name: the folders' parents are not the same. */
static void random_path(char path[PATH_BYTES], bool plain)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    unsigned depth = 1 + below(3);
    path[0] = 0;
    for (unsigned i = 0; i < depth; i++) {
        if (i)
            add(path, "/");
        add(path, names[below(4)]);
        if (!plain && below(20) == 0)
            add(path, below(2) ? "/." : "/..");
    }
    if (!plain && below(20) == 0)
        add(path, "/");
}

static struct call random_call(void)
{
    struct call call = {.kind = (enum kind)below(KINDS), .mode = random_mode()};
    call.client = below(CLIENTS);
    call.nofollow = below(2);
    random_path(call.path, false);
    random_path(call.to, call.kind == SYMLINK);
    call.size = below(4) ? below(BYTES) : below(20);
    return call;
}

static long through_file(weft_session_t *session, const char *path, const struct call *call)
{
    int flags = call->kind == WRITE ? O_WRONLY : O_WRONLY | O_CREAT | (call->kind == EXCLUSIVE ? O_EXCL : 0);
    weft_file_t *file;
    long result = weft_file_open(session, path, flags, call->mode, NULL, &file);
    if (result)
        return result;
    if (call->kind == WRITE)
        result = weft_file_write(file, pattern + call->size, call->size / 3, call->size);
    int error = weft_file_close(file);
    return error ? error : result;
}

static struct outcome in_cluster(const struct call *call)
{
    char path[PATH_BYTES + sizeof TOP], to[PATH_BYTES + sizeof TOP];
    weft_session_t *session = sessions[call->client];
    struct weft_attr attr = {0};
    struct outcome out = {0};
    snprintf(path, sizeof path, TOP "/%s", call->path);
    snprintf(to, sizeof to, TOP "/%s", call->to);
    switch (call->kind) {
    case MKDIR: out.result = weft_mkdir(session, path, call->mode); break;
    case RMDIR: out.result = weft_rmdir(session, path); break;
    case UNLINK: out.result = weft_unlink(session, path); break;
    case RENAME: out.result = weft_rename(session, path, to); break;
    case LINK: out.result = weft_link(session, path, to); break;
    case SYMLINK: out.result = weft_symlink(session, call->to, path); break;
    case READLINK: out.result = weft_readlink(session, path, out.text, sizeof out.text - 1); break;
    case CHMOD: out.result = weft_chmod(session, path, call->mode); break;
    case TRUNCATE: out.result = weft_truncate(session, path, call->size); break;
    case STAT: out.result = weft_stat(session, path, call->nofollow ? WEFT_STAT_NOFOLLOW : 0, &attr); break;
    default: out.result = through_file(session, path, call); break;
    }
    out.mode = attr.mode;
    out.size = S_ISDIR(attr.mode) ? 0 : attr.size;
    out.nlink = S_ISDIR(attr.mode) ? 0 : attr.nlink;
    return out;
}

static long or_errno(long result)
{
    return result < 0 ? -errno : result;
}

static long through_local_file(const char *path, const struct call *call)
{
    int flags = call->kind == WRITE ? O_WRONLY : O_WRONLY | O_CREAT | (call->kind == EXCLUSIVE ? O_EXCL : 0);
    int fd = open(path, flags, call->mode);
    if (fd < 0)
        return -errno;
    long result = call->kind == WRITE
                      ? or_errno(pwrite(fd, pattern + call->size, call->size / 3, (off_t)call->size))
                      : 0;
    close(fd);
    return result;
}

static struct outcome in_folder(const struct call *call)
{
    char path[PATH_MAX], to[PATH_MAX];
    struct stat seen = {0};
    struct outcome out = {0};
    snprintf(path, sizeof path, "%s/%s", local, call->path);
    snprintf(to, sizeof to, "%s/%s", local, call->to);
    switch (call->kind) {
    case MKDIR: out.result = or_errno(mkdir(path, call->mode)); break;
    case RMDIR: out.result = or_errno(rmdir(path)); break;
    case UNLINK: out.result = or_errno(unlink(path)); break;
    case RENAME: out.result = or_errno(rename(path, to)); break;
    case LINK: out.result = or_errno(link(path, to)); break;
    case SYMLINK: out.result = or_errno(symlink(call->to, path)); break;
    case READLINK: out.result = or_errno(readlink(path, out.text, sizeof out.text - 1)); break;
    case CHMOD: out.result = or_errno(chmod(path, call->mode)); break;
    case TRUNCATE: out.result = or_errno(truncate(path, (off_t)call->size)); break;
    case STAT: out.result = or_errno(call->nofollow ? lstat(path, &seen) : stat(path, &seen)); break;
    default: out.result = through_local_file(path, call); break;
    }
    /* What a directory's size and links are is each file system's own affair. */
    out.mode = seen.st_mode;
    out.size = S_ISDIR(seen.st_mode) ? 0 : (uint64_t)seen.st_size;
    out.nlink = S_ISDIR(seen.st_mode) ? 0 : seen.st_nlink;
    return out;
}

/* ---- the trees ------------------------------------------------------------- */

static void compare_bytes(const char *path, uint64_t size)
{
    static uint8_t here[2 * BYTES], there[2 * BYTES];
    char local_path[PATH_MAX], path_there[PATH_MAX];
    weft_file_t *file;
    snprintf(local_path, sizeof local_path, "%s%s", local, path);
    snprintf(path_there, sizeof path_there, TOP "%s", path);
    int fd = open(local_path, O_RDONLY);
    int error = weft_file_open(sessions[below(CLIENTS)], path_there, O_RDONLY, 0, NULL, &file);
    /* Not everyone may read all of them. */
    assert_int_equal(error, fd < 0 ? -errno : 0);
    if (error)
        return;
    assert_int_equal(pread(fd, here, sizeof here, 0), size);
    assert_int_equal(weft_file_read(file, there, sizeof there, 0), size);
    assert_memory_equal(here, there, size);
    close(fd);
    weft_file_close(file);
}

static unsigned count_entries(const char *path)
{
    char local_path[PATH_MAX];
    unsigned count = 0;
    snprintf(local_path, sizeof local_path, "%s%s", local, path);
    DIR *dir = opendir(local_path);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    if (dir)
        closedir(dir);
    return count;
}

/* `path` is "" or begins with a slash. Returns how many entries there are in all. */
static unsigned compare_trees(const char *path)
{
    struct call look = {.kind = STAT, .nofollow = true};
    struct weft_attr attr;
    const char *name;
    weft_dir_t *dir;
    unsigned count = 0, below_it = 0;
    char path_there[PATH_MAX];
    snprintf(path_there, sizeof path_there, TOP "%s", path);
    int error = weft_dir_open(sessions[below(CLIENTS)], path_there, &dir);
    if (error == -EACCES)
        return 0;
    assert_int_equal(error, 0);
    while ((error = weft_dir_next(dir, &name, &attr)) == 1) {
        snprintf(look.path, sizeof look.path, "%s/%s", path + (*path == '/'), name);
        const char *from_root = look.path + (look.path[0] == '/');
        memmove(look.path, from_root, strlen(from_root) + 1);
        struct outcome here = in_folder(&look), there = in_cluster(&look);
        assert_int_equal(here.result, there.result);
        assert_int_equal(here.mode, there.mode);
        assert_int_equal(here.nlink, there.nlink);
        assert_int_equal(here.size, there.size);
        assert_int_equal(attr.mode, there.result == 0 ? there.mode : attr.mode & S_IFMT);
        char inner[PATH_BYTES + 1];
        snprintf(inner, sizeof inner, "/%s", look.path);
        if (S_ISREG(there.mode))
            compare_bytes(inner, there.size);
        else if (S_ISDIR(there.mode))
            below_it += compare_trees(inner);
        count++;
    }
    assert_int_equal(error, 0);
    weft_dir_close(dir);
    assert_int_equal(count, count_entries(path));
    return count + below_it;
}

/* ---- the test -------------------------------------------------------------- */

static void both_do_the_same(void **state)
{
    (void)state;
    unsigned done = 0, most = 0;
    random_state = seed_wanted();
    for (unsigned i = 1; i <= CALLS; i++) {
        struct call call = random_call();
        struct outcome here = in_folder(&call), there = in_cluster(&call);
        if (here.result != there.result || strcmp(here.text, there.text) != 0 || here.mode != there.mode ||
            here.size != there.size || here.nlink != there.nlink)
            fail_msg("call %u: %s %s %s (mode %o, size %llu): the folder says %ld, mode %o, size %llu, "
                     "the cluster %ld, mode %o, size %llu: %s",
                     i, kind_names[call.kind], call.path, call.to, call.mode, (unsigned long long)call.size,
                     here.result, here.mode, (unsigned long long)here.size, there.result, there.mode,
                     (unsigned long long)there.size, weft_error());
        done += here.result >= 0;
        unsigned entries = i % COMPARE_EVERY ? 0 : compare_trees("");
        most = entries > most ? entries : most;
    }
    print_message("%u calls worked, %u were refused; up to %u names\n", done, CALLS - done, most);
    /* A tree that never grew would have compared nothing; permissions keep a plain user from much. */
    assert_true(done > CALLS / 30 && most > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(both_do_the_same)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
