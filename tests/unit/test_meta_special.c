/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Special files: FIFOs, sockets and devices, of which there are names and attributes only.
 */
#include "meta_names.h"

static void mknod_makes_every_kind(void **state)
{
    static const uint32_t modes[] = {S_IFIFO | 0640, S_IFSOCK | 04755, S_IFCHR | 0600, S_IFBLK | 0660};
    (void)state;
    does(ns_mkdir(ns, "/d", 0755));
    for (size_t i = 0; i < 4; i++) {
        int64_t before = look("/d").mtime_ns;
        does(ns_mknod(ns, "/d/s", modes[i], 0x103));
        struct inode made = look("/d/s");
        assert_int_equal(made.mode, modes[i]);
        assert_int_equal(made.rdev, inode_is_device(&made) ? 0x103 : 0);
        assert_int_equal(made.nlink, 1);
        assert_int_equal(made.size, 0);
        assert_true(look("/d").mtime_ns > before);
        assert_int_equal(look("/d").nlink, 2);
        /* It is renamed, linked and removed as a file is. */
        does(ns_rename(ns, "/d/s", "/d/t"));
        does(ns_link(ns, "/d/t", "/d/u"));
        assert_int_equal(look("/d/u").nlink, 2);
        does(ns_unlink(ns, "/d/t"));
        does(ns_unlink(ns, "/d/u"));
        does(stat_of("/d"));
    }
    /* Storage servers never heard of them. */
    struct removal removals[4];
    assert_int_equal(removals_in_line(removals), 0);
}

static void mknod_makes_files_too(void **state)
{
    struct inode inode;
    (void)state;
    become(ANN, STAFF);
    does(ns_mknod(ns, "/f", S_IFREG | 0644, 7));
    does(ns_mknod(ns, "/g", 0600, 0));
    assert_int_equal(look("/f").mode, S_IFREG | 0644);
    assert_int_equal(look("/f").rdev, 0);
    assert_int_equal(look("/g").mode, S_IFREG | 0600);
    struct inode made = look("/f");
    assert_true(layout_valid(&made.layout));
    does(open_file("/f", WIRE_OPEN_READ | WIRE_OPEN_WRITE, 0, &inode));
}

static void mknod_refuses(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/d", 0755));
    does(ns_mknod(ns, "/p", S_IFIFO | 0666, 0));
    does(ns_symlink(ns, "none", "/l"));
    refuses(ns_mknod(ns, "/p", S_IFIFO | 0666, 0), -EEXIST);
    refuses(ns_mknod(ns, "/d", S_IFIFO | 0666, 0), -EEXIST);
    refuses(ns_mknod(ns, "/l", S_IFSOCK | 0666, 0), -EEXIST);
    refuses(ns_mknod(ns, "/", S_IFSOCK | 0666, 0), -EEXIST);
    refuses(ns_mknod(ns, "/q/", S_IFIFO | 0666, 0), -ENOENT);
    refuses(ns_mknod(ns, "/none/q", S_IFIFO | 0666, 0), -ENOENT);
    refuses(ns_mknod(ns, "/p/q", S_IFIFO | 0666, 0), -ENOTDIR);
    refuses(ns_mknod(ns, "/q", S_IFDIR | 0777, 0), -EPERM);
    refuses(ns_mknod(ns, "/q", S_IFLNK | 0777, 0), -EINVAL);
    refuses(ns_mknod(ns, "/q", S_IFMT | 0777, 0), -EINVAL);
    become(ANN, STAFF);
    does(ns_mknod(ns, "/q", S_IFIFO | 0600, 0));
    refuses(ns_mknod(ns, "/c", S_IFCHR | 0600, 0x103), -EPERM);
    refuses(ns_mknod(ns, "/c", S_IFBLK | 0600, 0x801), -EPERM);
    refuses(ns_mknod(ns, "/d/q", S_IFIFO | 0600, 0), -EACCES);
}

/* Only a kernel could do anything with them. */
static void special_files_are_not_opened(void **state)
{
    static const uint32_t modes[] = {S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK};
    struct inode inode;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        does(ns_mknod(ns, "/s", modes[i] | 0666, 0x103));
        refuses(open_file("/s", WIRE_OPEN_READ, 0, &inode), -ENXIO);
        refuses(open_file("/s", WIRE_OPEN_WRITE | WIRE_OPEN_TRUNCATE, 0, &inode), -ENXIO);
        refuses(open_file("/s", WIRE_OPEN_WRITE | WIRE_OPEN_CREATE, 0600, &inode), -ENXIO);
        refuses(open_file("/s", WIRE_OPEN_WRITE | WIRE_OPEN_CREATE | WIRE_OPEN_EXCLUSIVE, 0600, &inode),
                -EEXIST);
        does(ns_unlink(ns, "/s"));
    }
}

/* As of a file: what a new owner did not set himself must not run in his name. */
static void a_new_owner_gets_no_set_user_id_bit(void **state)
{
    struct wire_setattr change = {.path = "/p", .mask = WIRE_SETATTR_UID, .uid = BOB};
    (void)state;
    does(ns_mknod(ns, "/p", S_IFIFO | 06755, 0));
    does(ns_setattr(ns, &change));
    assert_int_equal(look("/p").mode, S_IFIFO | 0755);
    assert_int_equal(look("/p").uid, BOB);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(mknod_makes_every_kind),
        T(mknod_makes_files_too),
        T(mknod_refuses),
        T(special_files_are_not_opened),
        T(a_new_owner_gets_no_set_user_id_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
