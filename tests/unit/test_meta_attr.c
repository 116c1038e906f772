/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes, listings, and what happens when records are damaged.
 */
#include "meta_names.h"

/* ---- attributes --------------------------------------------------------- */

static int set(const char *path, uint32_t mask, uint32_t mode, uint32_t new_uid, uint32_t new_gid,
               int64_t time)
{
    return ns_setattr(ns, &(struct wire_setattr){.path = path,
                                                 .mask = mask,
                                                 .mode = mode,
                                                 .uid = new_uid,
                                                 .gid = new_gid,
                                                 .atime_ns = time,
                                                 .mtime_ns = time});
}
static int chmod_to(const char *path, uint32_t mode)
{
    return set(path, WIRE_SETATTR_MODE, mode, 0, 0, 0);
}
static int chown_to(const char *path, uint32_t new_uid)
{
    return set(path, WIRE_SETATTR_UID, 0, new_uid, 0, 0);
}
static int chgrp_to(const char *path, uint32_t new_gid)
{
    return set(path, WIRE_SETATTR_GID, 0, 0, new_gid, 0);
}
enum { BOTH_TIMES = WIRE_SETATTR_ATIME | WIRE_SETATTR_MTIME };

static void chmod_is_the_owners(void **state)
{
    (void)state;
    become(ANN, STAFF);
    does(touch("/f", 0644));
    does(ns_symlink(ns, "f", "/l"));
    int64_t before = look("/f").ctime_ns;
    does(chmod_to("/l", 06751));
    assert_int_equal(look("/f").mode, S_IFREG | 06751);
    assert_true(look("/f").ctime_ns > before);
    become(BOB, STAFF);
    refuses(chmod_to("/f", 0777), -EPERM);
    become(0, 0);
    does(chmod_to("/f", 0777));
    does(chgrp_to("/f", GUESTS));
    /* Not a member of the group: no setgid. */
    become(ANN, STAFF);
    does(chmod_to("/f", 02755));
    assert_int_equal(look("/f").mode, S_IFREG | 0755);
}

static int reads(const char *path)
{
    struct inode inode;
    return open_file(path, WIRE_OPEN_READ, 0, &inode);
}

/* Whoever is in the file's group has that group's rights, and no others, be it his first group or not. */
static void supplementary_groups_count(void **state)
{
    (void)state;
    become(ANN, STAFF);
    does(touch("/f", 0640));
    does(touch("/closed", 0604));
    does(ns_mkdir(ns, "/dir", 0730));
    become(BOB, GUESTS);
    refuses(reads("/f"), -EACCES);
    refuses(touch("/dir/of-bob", 0644), -EACCES);
    join(STAFF);
    does(reads("/f"));
    refuses(open_file("/f", WIRE_OPEN_WRITE, 0, &(struct inode){0}), -EACCES);
    refuses(reads("/closed"), -EACCES);
    does(touch("/dir/of-bob", 0644));
    assert_int_equal(look("/dir/of-bob").gid, GUESTS);
    does(chgrp_to("/dir/of-bob", STAFF));
    does(chmod_to("/dir/of-bob", 02755));
    assert_int_equal(look("/dir/of-bob").mode, S_IFREG | 02755);
    does(chgrp_to("/dir/of-bob", GUESTS));
    become(BOB, GUESTS);
    does(reads("/closed"));
    refuses(chgrp_to("/dir/of-bob", STAFF), -EACCES);
}

static void chown_is_roots(void **state)
{
    (void)state;
    become(ANN, STAFF);
    does(touch("/f", 0644));
    does(chmod_to("/f", 06755));
    refuses(chown_to("/f", BOB), -EPERM);
    refuses(chgrp_to("/f", GUESTS), -EPERM);
    does(chown_to("/f", ANN));
    does(chgrp_to("/f", STAFF));
    become(BOB, GUESTS);
    refuses(chgrp_to("/f", GUESTS), -EPERM);
    become(0, 0);
    does(chmod_to("/f", 06755));
    does(set("/f", WIRE_SETATTR_UID | WIRE_SETATTR_GID, 0, BOB, GUESTS, 0));
    assert_int_equal(look("/f").uid, BOB);
    assert_int_equal(look("/f").gid, GUESTS);
    /* Programs that run for another one do not go along. */
    assert_int_equal(look("/f").mode, S_IFREG | 0755);
}

static void times_can_be_set(void **state)
{
    (void)state;
    become(ANN, STAFF);
    does(touch("/f", 0646));
    does(set("/f", BOTH_TIMES, 0, 0, 0, 123456789));
    int64_t at = world.now_ns;
    assert_int_equal(look("/f").mtime_ns, 123456789);
    assert_int_equal(look("/f").atime_ns, 123456789);
    assert_int_equal(look("/f").ctime_ns, at);
    does(set("/f", WIRE_SETATTR_ATIME, 0, 0, 0, -5));
    assert_int_equal(look("/f").mtime_ns, 123456789);
    assert_int_equal(look("/f").atime_ns, -5);
    become(BOB, GUESTS);
    refuses(set("/f", BOTH_TIMES, 0, 0, 0, 1), -EPERM);
    does(set("/f", BOTH_TIMES | WIRE_SETATTR_NOW, 0, 0, 0, 1));
    at = world.now_ns;
    assert_int_equal(look("/f").mtime_ns, at);
    become(0, 0);
    does(touch("/g", 0600));
    become(BOB, GUESTS);
    refuses(set("/g", BOTH_TIMES | WIRE_SETATTR_NOW, 0, 0, 0, 1), -EACCES);
    refuses(set("/none", BOTH_TIMES, 0, 0, 0, 1), -ENOENT);
}

static void a_set_time_is_not_undone_by_earlier_writes(void **state)
{
    struct inode inode;
    (void)state;
    does(touch("/f", 0644));
    world_begin(&world, 0, 0);
    assert_ok(ns_stat(ns, "/f", 0, true, &inode));
    assert_ok(ns_size_open(ns, &inode));
    world_commit(&world);
    int64_t written_ns = world.now_ns;
    does(set("/f", BOTH_TIMES, 0, 0, 0, 77));
    inode = look("/f");
    does(ns_size_settle(ns, &inode, &(struct ns_size){.end = 10, .mtime_ns = written_ns}));
    assert_int_equal(look("/f").mtime_ns, 77);
    assert_int_equal(look("/f").size, 10);
    /* A later write does change it. */
    inode = look("/f");
    written_ns = world.now_ns + 500;
    does(ns_size_settle(ns, &inode, &(struct ns_size){.end = 20, .mtime_ns = written_ns}));
    assert_int_equal(look("/f").mtime_ns, written_ns);
    assert_true(look("/f").ctime_ns >= written_ns);
}

/* ---- readdir ------------------------------------------------------------ */

struct names {
    char names[16][16];
    size_t count, stop_at;
};

static int take_name(void *arg, const char *name, const struct inode *inode)
{
    struct names *names = arg;
    assert_true(inode->ino > INODE_ROOT);
    if (names->count == names->stop_at)
        return 1;
    snprintf(names->names[names->count++], sizeof names->names[0], "%s", name);
    return 0;
}

static void readdir_lists_in_order_and_goes_on_anywhere(void **state)
{
    struct names names = {.stop_at = 16};
    (void)state;
    does(ns_mkdir(ns, "/d", 0755));
    does(touch("/d/b", 0644));
    does(ns_mkdir(ns, "/d/a", 0755));
    does(touch("/d/a/hidden", 0644));
    does(ns_symlink(ns, "x", "/d/ab"));
    does(touch("/d/B", 0644));
    does(touch("/d0", 0644));
    does(ns_readdir(ns, "/d", "", take_name, &names));
    assert_int_equal(names.count, 4);
    assert_string_equal(names.names[0], "B");
    assert_string_equal(names.names[1], "a");
    assert_string_equal(names.names[2], "ab");
    assert_string_equal(names.names[3], "b");
    names = (struct names){.stop_at = 2};
    does(ns_readdir(ns, "/d/", "B", take_name, &names));
    assert_int_equal(names.count, 2);
    assert_string_equal(names.names[0], "a");
    names = (struct names){.stop_at = 16};
    does(ns_readdir(ns, "/d", "aa", take_name, &names)); /* after a name that is not there */
    assert_int_equal(names.count, 2);
    assert_string_equal(names.names[0], "ab");
    names = (struct names){.stop_at = 16};
    does(ns_readdir(ns, "/d", "b", take_name, &names));
    assert_int_equal(names.count, 0);
    refuses(ns_readdir(ns, "/d/b", "", take_name, &names), -ENOTDIR);
    refuses(ns_readdir(ns, "/none", "", take_name, &names), -ENOENT);
    does(chmod_to("/d", 0711));
    become(ANN, STAFF);
    refuses(ns_readdir(ns, "/d", "", take_name, &names), -EACCES);
}

static int take_inode(void *arg, const char *name, const struct inode *inode)
{
    (void)name;
    *(struct inode *)arg = *inode;
    return 0;
}

static void readdir_without_search_permission_tells_names_and_types(void **state)
{
    struct inode seen;
    (void)state;
    does(ns_mkdir(ns, "/d", 0755));
    does(touch("/d/f", 0640));
    uint64_t ino = look("/d/f").ino;
    become(ANN, STAFF);
    does(ns_readdir(ns, "/d", "", take_inode, &seen));
    assert_int_equal(seen.mode, S_IFREG | 0640);
    become(0, 0);
    does(chmod_to("/d", 0744));
    become(ANN, STAFF);
    does(ns_readdir(ns, "/d", "", take_inode, &seen));
    assert_int_equal(seen.mode, S_IFREG);
    assert_int_equal(seen.ino, ino);
    assert_int_equal(seen.mtime_ns, 0);
    assert_int_equal(seen.nlink, 0);
}

/* ---- damage ------------------------------------------------------------- */

static void a_damaged_inode_is_named_and_stops_no_one_else(void **state)
{
    uint8_t key[8], record[INODE_RECORD_BYTES];
    struct store_bytes value;
    struct names names = {.stop_at = 16};
    char text[64];
    (void)state;
    world.is_damaged = true;
    does(ns_mkdir(ns, "/d", 0755));
    does(touch("/d/f", 0644));
    does(touch("/d/g", 0644));
    uint64_t ino = look("/d/f").ino;
    records_key_u64(key, ino);
    world_begin(&world, 0, 0);
    assert_ok(store_get(world.txn, STORE_INODES, (struct store_bytes){key, 8}, &value));
    memcpy(record, value.data, sizeof record);
    record[40] ^= 1;
    assert_ok(store_put(world.txn, STORE_INODES, (struct store_bytes){key, 8},
                        (struct store_bytes){record, sizeof record}));
    world_commit(&world);
    refuses(stat_of("/d/f"), -EUCLEAN);
    snprintf(text, sizeof text, "inode %llu", (unsigned long long)ino);
    assert_non_null(strstr(err_text(), text));
    refuses(ns_unlink(ns, "/d/f"), -EUCLEAN);
    refuses(ns_rename(ns, "/d/g", "/d/f"), -EUCLEAN);
    refuses(ns_readdir(ns, "/d", "", take_name, &names), -EUCLEAN);
    refuses(stat_of("/d/f/x"), -EUCLEAN);
    does(stat_of("/d/g"));
    does(ns_rename(ns, "/d/g", "/d/h"));
}

static void an_entry_without_an_inode_is_an_error(void **state)
{
    (void)state;
    world.is_damaged = true;
    world_begin(&world, 0, 0);
    assert_ok(records_dirent_put(world.txn, INODE_ROOT, "ghost", 999));
    world_commit(&world);
    refuses(stat_of("/ghost"), -EUCLEAN);
    refuses(ns_unlink(ns, "/ghost"), -EUCLEAN);
}

static void parents_in_a_ring_do_not_hang(void **state)
{
    struct inode a, b;
    (void)state;
    world.is_damaged = true;
    does(ns_mkdir(ns, "/a", 0755));
    does(ns_mkdir(ns, "/b", 0755));
    does(ns_mkdir(ns, "/c", 0755));
    a = look("/a");
    b = look("/b");
    a.parent = b.ino;
    b.parent = a.ino;
    world_begin(&world, 0, 0);
    assert_ok(records_inode_put(world.txn, &a));
    assert_ok(records_inode_put(world.txn, &b));
    world_commit(&world);
    refuses(ns_rename(ns, "/c", "/a/c"), -EUCLEAN);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(chmod_is_the_owners),
        T(supplementary_groups_count),
        T(chown_is_roots),
        T(times_can_be_set),
        T(a_set_time_is_not_undone_by_earlier_writes),
        T(readdir_lists_in_order_and_goes_on_anywhere),
        T(readdir_without_search_permission_tells_names_and_types),
        T(a_damaged_inode_is_named_and_stops_no_one_else),
        T(an_entry_without_an_inode_is_an_error),
        T(parents_in_a_ring_do_not_hang),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
