/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking names away and giving others: unlink, rmdir, rename.
 */
#include "meta_names.h"

/* ---- unlink, rmdir ------------------------------------------------------ */

static void unlink_ends_a_file(void **state)
{
    struct inode inode;
    (void)state;
    does(touch("/f", 0644));
    inode = look("/f");
    struct inode root = look("/");
    world_begin(&world, 0, 0);
    assert_ok(ns_unlink(ns, "/f"));
    assert_int_equal(ns->removals, 0); /* it was never written */
    assert_result(records_inode_get(world.txn, inode.ino, &inode), -ENOENT);
    world_commit(&world);
    assert_false(is_there("/f"));
    assert_true(look("/").mtime_ns > root.mtime_ns);
    assert_int_equal(look("/").nlink, root.nlink);
}

static void unlink_puts_written_files_in_line(void **state)
{
    struct removal removals[4];
    (void)state;
    does(touch("/f", 0644));
    does(touch("/never-written", 0644));
    write_file("/f");
    struct inode inode = look("/f");
    does(ns_link(ns, "/f", "/g"));
    does(ns_unlink(ns, "/f"));
    assert_int_equal(removals_in_line(removals), 0);
    does(ns_unlink(ns, "/g"));
    does(ns_unlink(ns, "/never-written"));
    assert_int_equal(removals_in_line(removals), 1);
    assert_int_equal(removals[0].ino, inode.ino);
    assert_int_equal(removals[0].layout.seed, inode.layout.seed);
    assert_int_equal(removals[0].layout.chunk_size, inode.layout.chunk_size);
    assert_int_equal(removals[0].layout.stripe_count, inode.layout.stripe_count);
    assert_int_equal(removals[0].layout.group_count, inode.layout.group_count);
}

static void unlink_of_an_open_file_keeps_the_inode(void **state)
{
    static const uint8_t id[16] = "client";
    struct removal removals[4];
    struct inode inode;
    uint64_t ino;
    (void)state;
    does(touch("/f", 0644));
    write_file("/f");
    ino = look("/f").ino;
    struct opens_handle *handle =
        opens_add(world.opens, opens_client_get(world.opens, id), ino, WIRE_ACCESS_READ, 1);
    opens_commit(world.opens);
    does(ns_unlink(ns, "/f"));
    assert_false(is_there("/f"));
    assert_int_equal(removals_in_line(removals), 0);
    assert_true(handle->file->orphan);
    world_begin(&world, 0, 0);
    uint64_t marked;
    assert_int_equal(records_marked(world.txn, STORE_ORPHANS, 0, &marked, 1), 1);
    assert_int_equal(marked, ino);
    assert_ok(ns_stat(ns, "", ino, false, &inode));
    assert_int_equal(inode.nlink, 0);
    world_commit(&world);
}

static void unlink_refuses(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/d", 0755));
    does(touch("/d/f", 0666));
    does(ns_symlink(ns, "d", "/l"));
    refuses(ns_unlink(ns, "/d"), -EISDIR);
    refuses(ns_unlink(ns, "/d/"), -EISDIR);
    refuses(ns_unlink(ns, "/d/."), -EISDIR);
    refuses(ns_unlink(ns, "/d/.."), -EISDIR);
    refuses(ns_unlink(ns, "/"), -EISDIR);
    refuses(ns_unlink(ns, "/none"), -ENOENT);
    refuses(ns_unlink(ns, "/d/f/"), -ENOTDIR);
    refuses(ns_unlink(ns, "/l/"), -ENOTDIR);
    become(ANN, STAFF);
    refuses(ns_unlink(ns, "/d/f"), -EACCES);
}

static void rmdir_removes_an_empty_directory(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/d", 0755));
    uint32_t nlink = look("/").nlink;
    does(ns_rmdir(ns, "/d/"));
    assert_false(is_there("/d"));
    assert_int_equal(look("/").nlink, nlink - 1);
}

static void rmdir_refuses(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/d", 0755));
    does(ns_mkdir(ns, "/d/e", 0777));
    does(touch("/f", 0644));
    does(ns_symlink(ns, "d/e", "/l"));
    refuses(ns_rmdir(ns, "/d"), -ENOTEMPTY);
    refuses(ns_rmdir(ns, "/d/e/."), -EINVAL);
    refuses(ns_rmdir(ns, "/d/e/.."), -ENOTEMPTY);
    refuses(ns_rmdir(ns, "/"), -EBUSY);
    refuses(ns_rmdir(ns, "/f"), -ENOTDIR);
    refuses(ns_rmdir(ns, "/l"), -ENOTDIR);
    refuses(ns_rmdir(ns, "/l/"), -ENOTDIR);
    refuses(ns_rmdir(ns, "/none"), -ENOENT);
    become(ANN, STAFF);
    refuses(ns_rmdir(ns, "/d/e"), -EACCES);
}

static void the_sticky_bit_protects_others(void **state)
{
    (void)state;
    become(ANN, STAFF);
    does(ns_mkdir(ns, "/box", 01777));
    does(touch("/box/ann", 0666));
    become(BOB, GUESTS);
    does(touch("/box/bob", 0666));
    does(ns_mkdir(ns, "/box/dir", 0777));
    refuses(ns_unlink(ns, "/box/ann"), -EPERM);
    refuses(ns_rename(ns, "/box/ann", "/box/other"), -EPERM);
    refuses(ns_rename(ns, "/box/bob", "/box/ann"), -EPERM);
    does(ns_rename(ns, "/box/bob", "/box/bob2"));
    become(ANN, STAFF);
    /* The directory's owner may. */
    does(ns_unlink(ns, "/box/bob2"));
    does(ns_rmdir(ns, "/box/dir"));
    /* The root of a new store is such a directory. */
    does(touch("/mine", 0666));
    become(BOB, GUESTS);
    refuses(ns_unlink(ns, "/mine"), -EPERM);
    become(0, 0);
    does(ns_unlink(ns, "/mine"));
}

/* ---- rename ------------------------------------------------------------- */

static void rename_moves_files(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/a", 0755));
    does(ns_mkdir(ns, "/b", 0755));
    does(touch("/a/f", 0644));
    uint64_t ino = look("/a/f").ino;
    does(ns_rename(ns, "/a/f", "/a/g"));
    assert_false(is_there("/a/f"));
    assert_int_equal(look("/a/g").ino, ino);
    struct inode a = look("/a"), b = look("/b"), file = look("/a/g");
    does(ns_rename(ns, "/a/g", "/b/h"));
    assert_int_equal(look("/b/h").ino, ino);
    assert_true(look("/a").mtime_ns > a.mtime_ns);
    assert_true(look("/b").mtime_ns > b.mtime_ns);
    assert_true(look("/b/h").ctime_ns > file.ctime_ns);
    assert_int_equal(look("/b/h").mtime_ns, file.mtime_ns);
    assert_int_equal(look("/a").nlink, 2);
    assert_int_equal(look("/b").nlink, 2);
}

static void rename_moves_directories(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/a", 0755));
    does(ns_mkdir(ns, "/b", 0755));
    does(ns_mkdir(ns, "/a/d", 0755));
    does(touch("/a/d/f", 0644));
    does(ns_rename(ns, "/a/d/", "/b/e/"));
    assert_true(is_there("/b/e/f"));
    assert_int_equal(look("/b/e").parent, look("/b").ino);
    assert_int_equal(look("/b/e/..").ino, look("/b").ino);
    assert_int_equal(look("/a").nlink, 2);
    assert_int_equal(look("/b").nlink, 3);
    does(ns_rename(ns, "/b/e", "/b/g"));
    assert_int_equal(look("/b").nlink, 3);
}

static void rename_takes_the_place_of_what_is_there(void **state)
{
    struct removal removals[4];
    (void)state;
    does(touch("/f", 0644));
    does(touch("/g", 0644));
    write_file("/g");
    uint64_t ino = look("/f").ino, gone = look("/g").ino;
    does(ns_rename(ns, "/f", "/g"));
    assert_int_equal(look("/g").ino, ino);
    assert_int_equal(removals_in_line(removals), 1);
    assert_int_equal(removals[0].ino, gone);

    does(ns_mkdir(ns, "/d", 0755));
    does(ns_mkdir(ns, "/d/sub", 0755));
    does(ns_mkdir(ns, "/e", 0755));
    uint32_t nlink = look("/").nlink;
    ino = look("/d").ino;
    gone = look("/e").ino;
    does(ns_rename(ns, "/d", "/e"));
    assert_int_equal(look("/e").ino, ino);
    assert_int_equal(look("/").nlink, nlink - 1);
    struct inode inode;
    world_begin(&world, 0, 0);
    assert_result(records_inode_get(world.txn, gone, &inode), -ENOENT);
    world_commit(&world);
    /* And across directories. */
    does(ns_mkdir(ns, "/h", 0755));
    does(ns_mkdir(ns, "/h/i", 0755));
    nlink = look("/").nlink;
    does(ns_rename(ns, "/e", "/h/i"));
    assert_int_equal(look("/").nlink, nlink - 1);
    assert_int_equal(look("/h").nlink, 3);
    assert_true(is_there("/h/i/sub"));
}

static void rename_between_names_of_one_file_does_nothing(void **state)
{
    (void)state;
    does(touch("/f", 0644));
    does(ns_link(ns, "/f", "/g"));
    struct world_dump before = world_dump(world.store);
    does(ns_rename(ns, "/f", "/g"));
    does(ns_rename(ns, "/f", "/f"));
    assert_same_dump(before, world_dump(world.store));
}

static void rename_over_an_open_file_keeps_its_inode(void **state)
{
    static const uint8_t id[16] = "client";
    struct inode inode;
    (void)state;
    does(touch("/f", 0644));
    does(touch("/g", 0644));
    uint64_t ino = look("/g").ino;
    assert_non_null(opens_add(world.opens, opens_client_get(world.opens, id), ino, WIRE_ACCESS_WRITE, 1));
    opens_commit(world.opens);
    does(ns_rename(ns, "/f", "/g"));
    does(ns_stat(ns, "", ino, false, &inode));
    assert_int_equal(inode.nlink, 0);
}

static void rename_refuses_loops(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/a", 0755));
    does(ns_mkdir(ns, "/a/b", 0755));
    does(ns_mkdir(ns, "/a/b/c", 0755));
    does(ns_symlink(ns, "/a/b", "/l"));
    refuses(ns_rename(ns, "/a", "/a/x"), -EINVAL);
    refuses(ns_rename(ns, "/a", "/a/b/c/x"), -EINVAL);
    refuses(ns_rename(ns, "/a", "/a/b"), -EINVAL);
    refuses(ns_rename(ns, "/a", "/l/x"), -EINVAL);
    refuses(ns_rename(ns, "/a", "/a/b/../x"), -EINVAL);
    /* The other way round it is a full directory that is in the way. */
    refuses(ns_rename(ns, "/a/b", "/a"), -ENOTEMPTY);
    refuses(ns_rename(ns, "/a/b/c", "/a"), -ENOTEMPTY);
    does(ns_rename(ns, "/a/b", "/x"));
    does(ns_rename(ns, "/a", "/x/a"));
}

static void rename_refuses(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/d", 0755));
    does(ns_mkdir(ns, "/d/full", 0777));
    does(touch("/d/full/x", 0666));
    does(ns_mkdir(ns, "/e", 0755));
    does(touch("/f", 0666));
    does(ns_symlink(ns, "e", "/l"));
    refuses(ns_rename(ns, "/none", "/x"), -ENOENT);
    refuses(ns_rename(ns, "/f", "/none/x"), -ENOENT);
    refuses(ns_rename(ns, "/f", "/f/x"), -ENOTDIR);
    refuses(ns_rename(ns, "/f/", "/x"), -ENOTDIR);
    refuses(ns_rename(ns, "/f", "/x/"), -ENOTDIR);
    refuses(ns_rename(ns, "/l/", "/x"), -ENOTDIR);
    refuses(ns_rename(ns, "/", "/x"), -EBUSY);
    refuses(ns_rename(ns, "/f", "/"), -EBUSY);
    refuses(ns_rename(ns, "/d/.", "/x"), -EBUSY);
    refuses(ns_rename(ns, "/d/..", "/x"), -EBUSY);
    refuses(ns_rename(ns, "/e", "/d/."), -EBUSY);
    refuses(ns_rename(ns, "/e", "/f"), -ENOTDIR);
    refuses(ns_rename(ns, "/f", "/e"), -EISDIR);
    refuses(ns_rename(ns, "/e", "/d/full"), -ENOTEMPTY);
    become(ANN, STAFF);
    does(ns_mkdir(ns, "/mine", 0755));
    refuses(ns_rename(ns, "/d/full", "/mine/x"), -EACCES);
    refuses(ns_rename(ns, "/mine", "/d/x"), -EACCES);
    /* A directory that moves to another gets another "..": that is writing to it. */
    become(0, 0);
    does(ns_mkdir(ns, "/open", 0777));
    does(ns_mkdir(ns, "/open/bobs", 0755));
    become(ANN, STAFF);
    refuses(ns_rename(ns, "/open/bobs", "/mine/bobs"), -EACCES);
    does(ns_rename(ns, "/open/bobs", "/open/other"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(unlink_ends_a_file),
        T(unlink_puts_written_files_in_line),
        T(unlink_of_an_open_file_keeps_the_inode),
        T(unlink_refuses),
        T(rmdir_removes_an_empty_directory),
        T(rmdir_refuses),
        T(the_sticky_bit_protects_others),
        T(rename_moves_files),
        T(rename_moves_directories),
        T(rename_takes_the_place_of_what_is_there),
        T(rename_between_names_of_one_file_does_nothing),
        T(rename_over_an_open_file_keeps_its_inode),
        T(rename_refuses_loops),
        T(rename_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
