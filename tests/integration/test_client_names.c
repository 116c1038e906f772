/* SPDX-License-Identifier: Apache-2.0 */
/* Names, attributes, layouts, hints and directories in the client library, with real servers. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include "client_pair.h"

static void test_names(void **state)
{
    (void)state;
    struct weft_attr attr;
    char target[64];
    ok(weft_mkdir(session, "weft:/names", 0755));
    assert_int_equal(weft_mkdir(session, "/names", 0755), -EEXIST);
    assert_non_null(strstr(weft_error(), "/names"));
    ok(weft_stat(other, "/names", 0, &attr));
    assert_true(S_ISDIR(attr.mode));
    assert_int_equal(attr.mode & 0777, 0755);

    weft_file_close(open_file(session, "/names/a", O_WRONLY | O_CREAT | O_EXCL));
    weft_file_t *file;
    assert_int_equal(weft_file_open(session, "/names/a", O_WRONLY | O_CREAT | O_EXCL, 0644, NULL, &file),
                     -EEXIST);
    assert_int_equal(weft_file_open(session, "/names/none", O_RDONLY, 0, NULL, &file), -ENOENT);
    assert_int_equal(weft_file_open(session, "/names", O_RDWR, 0, NULL, &file), -EISDIR);
    ok(weft_access(other, "/names/a", R_OK | W_OK));
    assert_int_equal(weft_access(other, "/names/none", F_OK), -ENOENT);

    ok(weft_link(session, "/names/a", "/names/b"));
    ok(weft_stat(other, "/names/b", 0, &attr));
    assert_int_equal(attr.nlink, 2);
    ok(weft_symlink(session, "a", "/names/s"));
    assert_int_equal(weft_readlink(other, "/names/s", target, sizeof target), 1);
    assert_int_equal(target[0], 'a');
    assert_int_equal(weft_readlink(other, "/names/a", target, sizeof target), -EINVAL);
    ok(weft_stat(other, "/names/s", 0, &attr));
    assert_true(S_ISREG(attr.mode));
    ok(weft_stat(other, "/names/s", WEFT_STAT_NOFOLLOW, &attr));
    assert_true(S_ISLNK(attr.mode));

    ok(weft_rename(other, "/names/b", "/names/c"));
    assert_int_equal(weft_stat(session, "/names/b", 0, &attr), -ENOENT);
    ok(weft_mkdir(session, "/names/d", 0700));
    assert_int_equal(weft_rename(session, "/names", "/names/d/e"), -EINVAL);
    assert_int_equal(weft_rmdir(session, "/names"), -ENOTEMPTY);
    assert_int_equal(weft_unlink(session, "/names/d"), -EISDIR);
    ok(weft_rmdir(session, "/names/d"));
    ok(weft_unlink(session, "/names/a"));
    ok(weft_unlink(session, "/names/c"));
    ok(weft_unlink(session, "/names/s"));
    ok(weft_rmdir(other, "/names"));
}

static void test_attributes(void **state)
{
    (void)state;
    struct weft_attr attr;
    struct weft_statfs statfs;
    weft_file_close(open_file(session, "/attr", O_WRONLY | O_CREAT));
    ok(weft_chmod(session, "/attr", 0600));
    ok(weft_chown(session, "/attr", (uid_t)-1, (gid_t)-1));
    ok(weft_utimens(session, "/attr", (struct timespec[]){{.tv_sec = 1000, .tv_nsec = 5}, {.tv_sec = 2000}}));
    ok(weft_stat(other, "/attr", 0, &attr));
    assert_int_equal(attr.mode & 07777, 0600);
    assert_int_equal(attr.uid, getuid());
    assert_true(attr.atime_ns == INT64_C(1000000000005));
    assert_true(attr.mtime_ns == INT64_C(2000000000000));
    ok(weft_utimens(session, "/attr", (struct timespec[]){{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}}));
    ok(weft_stat(other, "/attr", 0, &attr));
    assert_true(attr.atime_ns == INT64_C(1000000000005));
    assert_true(attr.mtime_ns > INT64_C(1600000000) * 1000000000);
    assert_int_equal(weft_utimens(session, "/attr", (struct timespec[]){{.tv_nsec = 1 << 30}, {0}}), -EINVAL);
    ok(weft_statfs(session, &statfs));
    assert_int_equal(statfs.servers_up, SERVERS);
    assert_int_equal(statfs.targets_up, 2 * SERVERS);
    assert_true(statfs.bytes_total >= statfs.bytes_free && statfs.bytes_free > 0);
    ok(weft_unlink(session, "/attr"));
}

/* By the file itself, whatever its name is by now; and by a symbolic link itself. */
static void test_attributes_of_what_is_meant(void **state)
{
    (void)state;
    struct weft_attr attr;
    const struct timespec times[2] = {{.tv_sec = 3, .tv_nsec = 4}, {.tv_sec = 5}};
    weft_file_t *file = open_file(session, "/meant", O_WRONLY | O_CREAT);
    ok(weft_rename(session, "/meant", "/moved"));
    weft_file_close(open_file(session, "/meant", O_WRONLY | O_CREAT)); /* another one of the first name */
    ok(weft_chmod(session, "/meant", 0604));
    ok(weft_file_chmod(file, 0640));
    ok(weft_file_chown(file, getuid(), (gid_t)-1));
    ok(weft_file_utimens(file, times));
    ok(weft_stat(other, "/moved", 0, &attr));
    assert_int_equal(attr.mode & 07777, 0640);
    assert_true(attr.atime_ns == INT64_C(3000000004) && attr.mtime_ns == INT64_C(5000000000));
    ok(weft_stat(other, "/meant", 0, &attr));
    assert_int_equal(attr.mode & 07777, 0604);
    ok(weft_unlink(session, "/moved"));
    ok(weft_file_chmod(file, 0600));
    ok(weft_file_stat(file, &attr));
    assert_int_equal(attr.mode & 07777, 0600);
    weft_file_close(file);

    ok(weft_symlink(session, "nowhere", "/link"));
    ok(weft_lutimens(session, "/link", times));
    ok(weft_lchown(session, "/link", getuid(), (gid_t)-1));
    ok(weft_stat(other, "/link", WEFT_STAT_NOFOLLOW, &attr));
    assert_true(attr.mtime_ns == INT64_C(5000000000));
    assert_int_equal(weft_utimens(session, "/link", times), -ENOENT);
    assert_int_equal(weft_chown(session, "/link", getuid(), (gid_t)-1), -ENOENT);
    ok(weft_unlink(session, "/link"));
    ok(weft_unlink(session, "/meant"));
}

/* The storage servers know when it was written last, the metadata server that somebody said otherwise. */
static void test_mtime_of_a_file_that_is_written(void **state)
{
    (void)state;
    const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 2000}};
    struct weft_attr attr;
    weft_file_t *file = open_file(session, "/written", O_WRONLY | O_CREAT);
    assert_int_equal(weft_file_write(file, "abc", 3, 0), 3);
    ok(weft_stat(other, "/written", 0, &attr));
    assert_true(attr.mtime_ns > INT64_C(1600000000) * 1000000000);
    ok(weft_utimens(other, "/written", times));
    ok(weft_stat(session, "/written", 0, &attr));
    assert_true(attr.mtime_ns == INT64_C(2000) * 1000000000);
    assert_int_equal(attr.size, 3);
    assert_int_equal(weft_file_write(file, "d", 1, 3), 1);
    ok(weft_stat(other, "/written", 0, &attr));
    assert_true(attr.mtime_ns > INT64_C(1600000000) * 1000000000);
    ok(weft_file_utimens(file, times));
    ok(weft_file_close(file));
    ok(weft_stat(other, "/written", 0, &attr));
    assert_true(attr.mtime_ns == INT64_C(2000) * 1000000000);
    assert_int_equal(attr.size, 4);
    ok(weft_unlink(session, "/written"));
}

/* Two clients in turn; each finds the other's bytes before its own. */
static void test_append(void **state)
{
    (void)state;
    weft_file_t *one = open_file(session, "/appended", O_WRONLY | O_CREAT);
    weft_file_t *two = open_file(other, "/appended", O_RDWR);
    const struct iovec iov[2] = {{"ab", 2}, {"c", 1}};
    char bytes[16];
    uint64_t offset;
    for (uint64_t i = 0; i < 4; i++) {
        assert_int_equal(weft_file_append(i % 2 ? one : two, iov, 2, &offset), 3);
        assert_int_equal(offset, 3 * i);
    }
    assert_int_equal(weft_file_append(one, iov, 1, NULL), 2);
    assert_int_equal(weft_file_read(two, bytes, sizeof bytes, 0), 14);
    assert_memory_equal(bytes, "abcabcabcabcab", 14);
    ok(weft_file_close(one));
    one = open_file(session, "/appended", O_RDONLY);
    assert_int_equal(weft_file_append(one, iov, 1, NULL), -EBADF);
    ok(weft_file_close(one));
    ok(weft_file_close(two));
    ok(weft_unlink(session, "/appended"));
}

/* As stat(2) has it, also before 1970. */
static void test_attr_stat(void **state)
{
    (void)state;
    const struct weft_attr attr = {.ino = 7, .size = 1000, .bytes = 513, .mode = S_IFREG | 0640, .nlink = 2,
                                   .mtime_ns = -1, .ctime_ns = INT64_C(1500000000)};
    struct stat stat;
    weft_attr_stat(&attr, &stat);
    assert_int_equal(stat.st_ino, 7);
    assert_int_equal(stat.st_size, 1000);
    assert_int_equal(stat.st_blocks, 2);
    assert_int_equal(stat.st_mode, S_IFREG | 0640);
    assert_int_equal(stat.st_nlink, 2);
    assert_int_equal(stat.st_mtim.tv_sec, -1);
    assert_int_equal(stat.st_mtim.tv_nsec, 999999999);
    assert_int_equal(stat.st_ctim.tv_sec, 1);
    assert_int_equal(stat.st_ctim.tv_nsec, 500000000);
}

static void test_layouts(void **state)
{
    (void)state;
    struct weft_layout layout = {.chunk_size = 470080, .stripe_count = 2}, got;
    struct weft_attr attr;
    ok(weft_mkdir(session, "/layouts", 0755));
    ok(weft_layout_set(session, "/layouts", &layout));
    ok(weft_mkdir(session, "/layouts/inner", 0755));
    weft_file_t *file = open_file(other, "/layouts/inner/a", O_RDWR | O_CREAT);
    weft_file_layout(file, &got);
    assert_int_equal(got.chunk_size, 470080);
    assert_int_equal(got.stripe_count, 2);
    assert_int_equal(got.group_count, 2 * SERVERS);
    weft_file_close(file);
    layout = (struct weft_layout){.chunk_size = 4096};
    ok(weft_file_open(session, "/layouts/b", O_RDWR | O_CREAT, 0644, &layout, &file));
    weft_file_layout(file, &got);
    assert_int_equal(got.chunk_size, 4096);
    assert_int_equal(got.stripe_count, 2);
    struct weft_location places[4];
    assert_int_equal(weft_file_locate(file, 100, 8192, places, 4), 3);
    assert_int_equal(places[0].length, 3996);
    assert_int_equal(places[0].group, places[2].group);
    assert_int_not_equal(places[0].group, places[1].group);
    weft_file_close(file);
    ok(weft_stat(session, "/layouts", 0, &attr));
    assert_int_equal(attr.layout.chunk_size, 470080);
    layout.chunk_size = 100;
    assert_int_equal(weft_layout_set(session, "/layouts", &layout), -EINVAL);
    ok(weft_unlink(session, "/layouts/b"));
    ok(weft_unlink(session, "/layouts/inner/a"));
    ok(weft_rmdir(session, "/layouts/inner"));
    ok(weft_rmdir(session, "/layouts"));
}

/* They come with the open, from the directory where the file is, and go with the handle. */
static void test_hints(void **state)
{
    (void)state;
    char text[WEFT_HINTS_BYTES_MAX + 1], too_long[WEFT_HINTS_BYTES_MAX + 2];
    uint8_t blob[65536];
    ok(weft_mkdir(session, "/hints", 0755));
    assert_int_equal(weft_hints_get(session, "/hints", text, sizeof text), 0);
    assert_string_equal(text, "");
    ok(weft_hints_set(session, "/hints", "weft_explain=true;cb_nodes=2"));
    ok(weft_mkdir(session, "/hints/inner", 0755));
    assert_int_equal(weft_hints_get(other, "/hints/inner", text, sizeof text), 28);
    assert_string_equal(text, "weft_explain=true;cb_nodes=2");
    assert_int_equal(weft_hints_get(other, "/hints/inner", text, 28), -ERANGE);

    uint64_t requests = counter(session, "metadata_requests");
    weft_file_t *file = open_file(session, "/hints/inner/a", O_RDWR | O_CREAT);
    assert_string_equal(weft_file_hints(file), "weft_explain=true;cb_nodes=2");
    ssize_t length = weft_file_export(file, blob, sizeof blob);
    ok(length);
    weft_file_t *copy;
    ok(weft_file_import(other, blob, (size_t)length, &copy));
    assert_string_equal(weft_file_hints(copy), "weft_explain=true;cb_nodes=2");
    assert_int_equal(counter(session, "metadata_requests"), requests + 1);
    ok(weft_file_close(copy));
    /* What is truncated at open is answered on another way. */
    ok(weft_file_write(file, "x", 1, 0));
    ok(weft_file_close(file));
    ok(weft_hints_set(session, "/hints/inner", "cb_nodes=3"));
    file = open_file(session, "/hints/inner/a", O_RDWR | O_TRUNC);
    assert_string_equal(weft_file_hints(file), "cb_nodes=3");
    ok(weft_file_close(file));
    /* By another name it is in another directory. */
    ok(weft_symlink(session, "hints/inner/a", "/elsewhere"));
    file = open_file(session, "/elsewhere", O_RDONLY);
    assert_string_equal(weft_file_hints(file), "cb_nodes=3");
    ok(weft_file_close(file));
    ok(weft_link(session, "/hints/inner/a", "/second"));
    file = open_file(session, "/second", O_RDONLY);
    assert_string_equal(weft_file_hints(file), "");
    ok(weft_file_close(file));

    memset(too_long, 'x', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = 0;
    assert_int_equal(weft_hints_set(session, "/hints", too_long), -EINVAL);
    assert_int_equal(weft_hints_set(session, "/hints", NULL), -EINVAL);
    assert_int_equal(weft_hints_set(session, "/hints/inner/a", "a=b"), -ENOTDIR);
    ok(weft_unlink(session, "/second"));
    ok(weft_unlink(session, "/elsewhere"));
    ok(weft_unlink(session, "/hints/inner/a"));
    ok(weft_rmdir(session, "/hints/inner"));
    ok(weft_rmdir(session, "/hints"));
}

/* More entries than one batch has, with a file whose size only its storage servers know. */
static void test_directory(void **state)
{
    (void)state;
    enum { COUNT = 2500 };
    char path[64], expected[64];
    const char *name;
    struct weft_attr attr;
    weft_dir_t *dir;
    ok(weft_mkdir(session, "/dir", 0755));
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(path, sizeof path, "/dir/file%05u", i);
        weft_file_close(open_file(session, path, O_WRONLY | O_CREAT));
    }
    weft_file_t *file = open_file(other, "/dir/file00077", O_RDWR);
    ok(weft_file_write(file, "0123456789", 10, 3 * CHUNK));
    ok(weft_dir_open(session, "/dir", &dir));
    for (unsigned i = 0; i < COUNT; i++) {
        int result = weft_dir_next(dir, &name, &attr);
        ok(result);
        assert_int_equal(result, 1);
        snprintf(expected, sizeof expected, "file%05u", i);
        assert_string_equal(name, expected);
        assert_true(S_ISREG(attr.mode));
        assert_int_equal(attr.size, i == 77 ? 3 * CHUNK + 10 : 0);
    }
    assert_int_equal(weft_dir_next(dir, &name, &attr), 0);
    assert_int_equal(weft_dir_next(dir, &name, NULL), 0);
    ok(weft_dir_seek(dir, "file01233")); /* behind one that is there */
    assert_int_equal(weft_dir_next(dir, &name, NULL), 1);
    assert_string_equal(name, "file01234");
    ok(weft_dir_seek(dir, "file00009z")); /* and behind one that is not */
    assert_int_equal(weft_dir_next(dir, &name, NULL), 1);
    assert_string_equal(name, "file00010");
    ok(weft_dir_seek(dir, ""));
    assert_int_equal(weft_dir_next(dir, &name, NULL), 1);
    assert_string_equal(name, "file00000");
    assert_int_equal(weft_dir_seek(dir, NULL), -EINVAL);
    /* Number and type are known without attributes, also of what is being written. */
    uint64_t ino;
    mode_t type;
    ok(weft_dir_seek(dir, "file00076"));
    assert_int_equal(weft_dir_entry(dir, &ino, &type), -EINVAL);
    assert_int_equal(weft_dir_next(dir, &name, NULL), 1);
    ok(weft_dir_entry(dir, &ino, &type));
    assert_int_equal(ino, weft_file_ino(file));
    assert_int_equal(type, S_IFREG);
    ok(weft_dir_entry(dir, NULL, NULL));
    ok(weft_dir_seek(dir, "file02499"));
    assert_int_equal(weft_dir_next(dir, &name, NULL), 0);
    assert_int_equal(weft_dir_entry(dir, &ino, &type), -EINVAL);
    assert_int_equal(weft_dir_entry(NULL, &ino, &type), -EINVAL);
    weft_dir_close(dir);
    weft_file_close(file);
    assert_int_equal(weft_dir_open(session, "/dir/none", &dir), -ENOENT);
    assert_int_equal(weft_dir_open(session, "/dir/file00001", &dir), -ENOTDIR);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(path, sizeof path, "/dir/file%05u", i);
        ok(weft_unlink(session, path));
    }
    ok(weft_dir_open(session, "/dir", &dir));
    assert_int_equal(weft_dir_next(dir, &name, NULL), 0);
    weft_dir_close(dir);
    weft_dir_close(NULL);
    ok(weft_rmdir(session, "/dir"));
}

static void test_special_files(void **state)
{
    (void)state;
    struct weft_attr attr;
    struct stat stat;
    weft_file_t *file;
    weft_dir_t *dir;
    const char *name;
    ok(weft_mkdir(session, "/special", 0755));
    ok(weft_mknod(session, "/special/pipe", S_IFIFO | 0640, 5));
    assert_int_equal(weft_mknod(session, "/special/pipe", S_IFIFO | 0640, 0), -EEXIST);
    ok(weft_stat(other, "/special/pipe", 0, &attr));
    assert_int_equal(attr.mode, S_IFIFO | 0640);
    assert_int_equal(attr.rdev, 0);
    assert_int_equal(weft_file_open(other, "/special/pipe", O_RDONLY, 0, NULL, &file), -ENXIO);
    assert_non_null(strstr(weft_error(), "/special/pipe"));
    assert_int_equal(weft_truncate(other, "/special/pipe", 0), -EINVAL);
    if (geteuid() == 0) {
        ok(weft_mknod(session, "/special/device", S_IFCHR | 0600, makedev(1234, 56789)));
        ok(weft_stat(other, "/special/device", 0, &attr));
        weft_attr_stat(&attr, &stat);
        assert_int_equal(stat.st_rdev, makedev(1234, 56789));
        /* A listing tells as much. */
        ok(weft_dir_open(other, "/special", &dir));
        assert_int_equal(weft_dir_next(dir, &name, &attr), 1);
        assert_string_equal(name, "device");
        assert_int_equal(attr.mode, S_IFCHR | 0600);
        assert_int_equal(attr.rdev, makedev(1234, 56789));
        weft_dir_close(dir);
        ok(weft_unlink(session, "/special/device"));
    } else {
        assert_int_equal(weft_mknod(session, "/special/device", S_IFCHR | 0600, makedev(1, 3)), -EPERM);
    }
    ok(weft_mknod(session, "/special/file", S_IFREG | 0600, 0));
    weft_file_close(open_file(other, "/special/file", O_RDWR));
    assert_int_equal(weft_mknod(session, "/special/dir", S_IFDIR | 0600, 0), -EPERM);
    ok(weft_unlink(session, "/special/file"));
    ok(weft_unlink(other, "/special/pipe"));
    ok(weft_rmdir(session, "/special"));
}

struct owners {
    unsigned count;
    uint64_t last;
    struct weft_usage own;
};

static void take_owner(void *arg, const struct weft_usage *usage)
{
    struct owners *owners = arg;
    assert_true(owners->count == 0 || usage->id > owners->last);
    owners->count++;
    owners->last = usage->id;
    if (usage->id == geteuid())
        owners->own = *usage;
}

static void test_usage(void **state)
{
    (void)state;
    struct weft_usage usage, own;
    struct weft_attr attr;
    struct owners owners = {0};
    ok(weft_mkdir(session, "/usage", 0755));
    ok(weft_symlink(session, "nowhere", "/usage/s"));
    ok(weft_mkdir(session, "/usage/d", 0755));
    ok(weft_stat(other, "/usage", 0, &attr));
    ok(weft_usage(other, "weft:/usage", 0, &usage));
    assert_int_equal(usage.id, attr.ino);
    assert_int_equal(usage.files, 1);
    assert_int_equal(usage.directories, 1);
    assert_int_equal(usage.bytes, 0);
    assert_int_equal(usage.size, 0);
    ok(weft_usage(other, "/usage/s", WEFT_STAT_NOFOLLOW, &usage));
    assert_int_equal(usage.files, 1);
    assert_int_equal(weft_usage(other, "/usage/s", 0, &usage), -ENOENT);
    assert_non_null(strstr(weft_error(), "weft_usage: "));
    assert_int_equal(weft_usage(session, "/usage", 2, &usage), -EINVAL);
    assert_int_equal(weft_usage(session, "/usage", 0, NULL), -EINVAL);

    ok(weft_usage_of(session, WEFT_USAGE_USER, geteuid(), &own));
    assert_int_equal(own.id, geteuid());
    assert_true(own.directories >= 2 && own.files >= 1);
    ok(weft_usage_of(session, WEFT_USAGE_GROUP, getegid(), &usage));
    assert_true(usage.directories >= 2);
    assert_int_equal(weft_usage_of(session, 0, 0, &usage), -EINVAL);
    assert_int_equal(weft_usage_of(session, WEFT_USAGE_USER, geteuid(), NULL), -EINVAL);
    assert_int_equal(weft_usage_each(session, 3, take_owner, &owners), -EINVAL);
    assert_int_equal(weft_usage_each(session, WEFT_USAGE_USER, NULL, &owners), -EINVAL);
    assert_int_equal(weft_usage_each(session, WEFT_USAGE_USER, take_owner, &owners),
                     geteuid() == 0 ? 0 : -EPERM);
    if (geteuid() == 0) {
        assert_true(owners.count >= 1);
        assert_memory_equal(&owners.own, &own, sizeof own);
    }
    ok(weft_unlink(session, "/usage/s"));
    ok(weft_rmdir(session, "/usage/d"));
    ok(weft_rmdir(session, "/usage"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_mtime_of_a_file_that_is_written),
        cmocka_unit_test(test_attributes_of_what_is_meant),
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_attr_stat),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_directory),
        cmocka_unit_test(test_special_files),
        cmocka_unit_test(test_usage),
    };
    return cmocka_run_group_tests_name("client_names", tests, pair_setup, pair_teardown);
}
