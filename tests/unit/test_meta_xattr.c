/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes in the namespace: what may be set by whom, how much of it, and that nothing is left
 * of them when their inode has ended.
 */
#include "meta_names.h"

static struct store_bytes bytes_of(const char *text)
{
    return (struct store_bytes){text, strlen(text)};
}

static int set_bytes(const char *path, const char *name, struct store_bytes value, unsigned flags)
{
    struct inode inode;
    int error = ns_stat(ns, path, 0, true, &inode);
    return error ? error : ns_xattr_set(ns, &inode, path, name, value, flags);
}

static int set(const char *path, const char *name, const char *text)
{
    return set_bytes(path, name, bytes_of(text), 0);
}

static int get(const char *path, const char *name, char text[64])
{
    struct inode inode;
    struct store_bytes value;
    int error = ns_stat(ns, path, 0, true, &inode);
    if (!error)
        error = ns_xattr_get(ns, &inode, path, name, &value);
    if (!error) {
        assert_true(value.length < 64);
        memcpy(text, value.data, value.length);
        text[value.length] = 0;
    }
    return error;
}

static int take_away(const char *path, const char *name)
{
    struct inode inode;
    int error = ns_stat(ns, path, 0, true, &inode);
    return error ? error : ns_xattr_remove(ns, &inode, path, name);
}

#define assert_value(path, name, expected)    \
    do {                                      \
        char text_[64];                       \
        does(get(path, name, text_));         \
        assert_string_equal(text_, expected); \
    } while (0)

/* The names, with a "|" behind each. */
static const char *names_of(const char *path)
{
    static char names[WEFT_XATTR_BYTES_MAX + 1];
    struct inode inode;
    size_t length;
    world_begin(&world, uid, gid);
    assert_ok(ns_stat(ns, path, 0, true, &inode));
    assert_ok(ns_xattr_list(ns, &inode, names, &length));
    world_commit(&world);
    for (size_t i = 0; i < length; i++)
        if (names[i] == 0)
            names[i] = '|';
    names[length] = 0;
    return names;
}

static uint64_t rows(void)
{
    uint64_t count;
    world_begin(&world, 0, 0);
    assert_ok(store_count(world.txn, STORE_XATTRS, &count));
    world_commit(&world);
    return count;
}

static void reopen(void)
{
    store_close(world.store);
    assert_ok(store_open(world.dir, WORLD_STORE_BYTES, &world.store));
}

/* ---- what they are ------------------------------------------------------ */

static void what_was_set_is_there(void **state)
{
    char text[64];
    (void)state;
    does(touch("/f", 0644));
    does(touch("/g", 0644));
    refuses(get("/f", "user.a", text), -ENODATA);
    assert_string_equal(names_of("/f"), "");
    does(set("/f", "user.b", "two"));
    does(set("/f", "user.a", "one"));
    does(set("/f", "user.empty", ""));
    assert_value("/f", "user.a", "one");
    assert_value("/f", "user.empty", "");
    assert_string_equal(names_of("/f"), "user.a|user.b|user.empty|");
    does(set("/f", "user.a", "another"));
    assert_value("/f", "user.a", "another");
    assert_value("/f", "user.b", "two");
    /* Neither a name that begins likewise nor another file's. */
    refuses(get("/f", "user.", text), -EINVAL);
    refuses(get("/f", "user.aa", text), -ENODATA);
    refuses(get("/g", "user.a", text), -ENODATA);
    assert_string_equal(names_of("/g"), "");
    reopen();
    assert_value("/f", "user.a", "another");
    assert_string_equal(names_of("/f"), "user.a|user.b|user.empty|");
    does(take_away("/f", "user.a"));
    refuses(get("/f", "user.a", text), -ENODATA);
    refuses(take_away("/f", "user.a"), -ENODATA);
    assert_string_equal(names_of("/f"), "user.b|user.empty|");
}

static void create_and_replace_look_first(void **state)
{
    (void)state;
    does(touch("/f", 0644));
    refuses(set_bytes("/f", "user.a", bytes_of("x"), WEFT_XATTR_REPLACE), -ENODATA);
    does(set_bytes("/f", "user.a", bytes_of("x"), WEFT_XATTR_CREATE));
    refuses(set_bytes("/f", "user.a", bytes_of("y"), WEFT_XATTR_CREATE), -EEXIST);
    refuses(set_bytes("/f", "user.b", bytes_of("y"), WEFT_XATTR_REPLACE), -ENODATA);
    assert_value("/f", "user.a", "x");
    does(set_bytes("/f", "user.a", bytes_of("y"), WEFT_XATTR_REPLACE));
    assert_value("/f", "user.a", "y");
}

static void a_change_is_one_of_the_inode(void **state)
{
    (void)state;
    does(touch("/f", 0644));
    struct inode before = look("/f"), after;
    assert_int_equal(before.flags & INODE_XATTRS, 0);
    does(set("/f", "user.a", "x"));
    after = look("/f");
    assert_true(after.ctime_ns > before.ctime_ns);
    assert_int_equal(after.mtime_ns, before.mtime_ns);
    assert_true(after.flags & INODE_XATTRS);
    does(set("/f", "user.b", "x"));
    does(take_away("/f", "user.a"));
    assert_true(look("/f").ctime_ns > after.ctime_ns);
    assert_true(look("/f").flags & INODE_XATTRS);
    does(take_away("/f", "user.b"));
    /* So the record is one that an older server can read. */
    assert_int_equal(look("/f").flags & INODE_XATTRS, 0);
}

/* ---- who may ------------------------------------------------------------ */

static void users_attributes_go_by_permission(void **state)
{
    char text[64];
    (void)state;
    become(ANN, STAFF);
    world_begin(&world, 0, 0);
    assert_ok(ns_setattr(ns, &(struct wire_setattr){.path = "/", .mask = WIRE_SETATTR_MODE, .mode = 0777}));
    world_commit(&world);
    does(touch("/f", 0640));
    does(set("/f", "user.a", "x"));
    become(BOB, STAFF);
    assert_value("/f", "user.a", "x");
    refuses(set("/f", "user.a", "y"), -EACCES);
    refuses(take_away("/f", "user.a"), -EACCES);
    become(BOB, GUESTS);
    refuses(get("/f", "user.a", text), -EACCES);
    assert_string_equal(names_of("/f"), "user.a|"); /* as stat, the list needs none */
    become(0, 0);
    does(set("/f", "user.a", "roots"));
    /* Directories: with the sticky bit only their owner. */
    does(ns_mkdir(ns, "/open", 0777));
    does(ns_mkdir(ns, "/sticky", 01777));
    become(BOB, GUESTS);
    does(set("/open", "user.a", "x"));
    refuses(set("/sticky", "user.a", "x"), -EPERM);
    refuses(take_away("/sticky", "user.a"), -EPERM);
    refuses(get("/sticky", "user.a", text), -ENODATA);
    become(0, 0);
    does(set("/sticky", "user.a", "x"));
}

static void links_and_special_files_have_none_of_users(void **state)
{
    char text[64];
    (void)state;
    does(ns_symlink(ns, "nowhere", "/l"));
    does(ns_mknod(ns, "/p", S_IFIFO | 0666, 0));
    does(ns_mknod(ns, "/c", S_IFCHR | 0666, 0x103));
    for (const char *const *path = (const char *const[]){"/l", "/p", "/c", NULL}; *path; path++) {
        refuses(set(*path, "user.a", "x"), -EPERM);
        refuses(take_away(*path, "user.a"), -EPERM);
        refuses(get(*path, "user.a", text), -ENODATA);
        does(set(*path, "trusted.a", "x"));
        assert_value(*path, "trusted.a", "x");
    }
    does(ns_unlink(ns, "/l"));
    does(ns_unlink(ns, "/p"));
    assert_int_equal(look("/c").rdev, 0x103);
    does(ns_unlink(ns, "/c"));
    assert_int_equal(rows(), 0);
}

static void trusted_ones_are_roots(void **state)
{
    char text[64];
    (void)state;
    does(touch("/f", 0666));
    does(set("/f", "trusted.a", "x"));
    does(set("/f", "user.a", "x"));
    assert_string_equal(names_of("/f"), "trusted.a|user.a|");
    become(ANN, STAFF);
    refuses(get("/f", "trusted.a", text), -ENODATA);
    refuses(set("/f", "trusted.a", "y"), -EPERM);
    refuses(take_away("/f", "trusted.a"), -EPERM);
    assert_string_equal(names_of("/f"), "user.a|");
}

static void other_names_are_not_supported(void **state)
{
    static const char *const others[] = {
        "security.selinux", "system.posix_acl_access", "user", "users.a", "USER.a", "", "com.example.a"};
    char text[64];
    (void)state;
    does(touch("/f", 0666));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        refuses(set("/f", others[i], "x"), -EOPNOTSUPP);
        refuses(get("/f", others[i], text), -EOPNOTSUPP);
        refuses(take_away("/f", others[i]), -EOPNOTSUPP);
    }
    refuses(set("/f", "user.", "x"), -EINVAL);
    refuses(set("/f", "trusted.", "x"), -EINVAL);
}

/* ---- how much ----------------------------------------------------------- */

static char big[WEFT_XATTR_VALUE_BYTES_MAX];

static int set_big(const char *path, const char *name, size_t size)
{
    return set_bytes(path, name, (struct store_bytes){big, size}, 0);
}

static void bytes_have_a_limit(void **state)
{
    char name[WEFT_XATTR_NAME_BYTES_MAX + 1];
    (void)state;
    memset(name, 'n', sizeof name - 1);
    memcpy(name, "user.", 5);
    name[sizeof name - 1] = 0;
    does(touch("/f", 0644));
    memset(big, 'b', sizeof big);
    does(set_big("/f", "user.1", sizeof big));
    does(set_big("/f", "user.2", sizeof big));
    does(set_big("/f", "user.3", sizeof big));
    const size_t rest = WEFT_XATTR_BYTES_MAX - 3 * (sizeof big + sizeof "user.1") - sizeof name;
    refuses(set_big("/f", name, rest + 1), -ENOSPC);
    does(set_big("/f", name, rest));
    refuses(set_big("/f", "user.4", 0), -ENOSPC);
    /* What takes the place of an old one counts alone. */
    does(set_big("/f", "user.1", sizeof big));
    does(set_big("/f", "user.1", 1));
    does(set_big("/f", "user.4", 1));
    /* Another one has its own. */
    does(touch("/g", 0644));
    does(set_big("/g", "user.1", sizeof big));
    does(ns_unlink(ns, "/f"));
    assert_int_equal(rows(), 1);
}

static void their_number_has_a_limit(void **state)
{
    char name[32];
    (void)state;
    does(ns_mkdir(ns, "/d", 0755));
    for (unsigned i = 0; i < WEFT_XATTR_COUNT_MAX; i++) {
        snprintf(name, sizeof name, "user.%u", i);
        does(set("/d", name, ""));
    }
    refuses(set("/d", "user.more", ""), -ENOSPC);
    does(set("/d", "user.7", "x"));
    does(take_away("/d", "user.7"));
    does(set("/d", "user.more", ""));
    assert_int_equal(rows(), WEFT_XATTR_COUNT_MAX);
    does(ns_rmdir(ns, "/d"));
    assert_int_equal(rows(), 0);
}

/* ---- the end ------------------------------------------------------------ */

static void they_end_with_their_inode(void **state)
{
    (void)state;
    does(touch("/kept", 0644));
    does(set("/kept", "user.a", "x"));
    does(touch("/a", 0644));
    does(set("/a", "user.a", "x"));
    does(set("/a", "user.b", "x"));
    does(ns_link(ns, "/a", "/b"));
    does(ns_unlink(ns, "/a"));
    assert_value("/b", "user.a", "x");
    does(ns_rename(ns, "/b", "/c"));
    assert_value("/c", "user.b", "x");
    assert_int_equal(rows(), 3);
    /* Renamed over: a file and a directory. */
    does(touch("/a", 0644));
    does(set("/a", "user.new", "x"));
    does(ns_rename(ns, "/a", "/c"));
    assert_string_equal(names_of("/c"), "user.new|");
    assert_int_equal(rows(), 2);
    does(ns_mkdir(ns, "/d", 0755));
    does(ns_mkdir(ns, "/e", 0755));
    does(set("/d", "user.d", "x"));
    does(set("/e", "user.e", "x"));
    does(ns_rename(ns, "/d", "/e"));
    assert_string_equal(names_of("/e"), "user.d|");
    does(ns_rmdir(ns, "/e"));
    does(ns_unlink(ns, "/c"));
    assert_int_equal(rows(), 1);
    assert_value("/kept", "user.a", "x");
}

/* ---- damage ------------------------------------------------------------- */

static void a_damaged_one_is_named_and_can_be_set_anew(void **state)
{
    uint8_t key[8 + 6], record[16];
    struct store_bytes value;
    char text[64];
    (void)state;
    does(touch("/f", 0644));
    does(set("/f", "user.a", "some"));
    does(set("/f", "user.b", "others"));
    records_key_u64(key, look("/f").ino);
    memcpy(key + 8, "user.a", 6);
    world_begin(&world, 0, 0);
    assert_ok(store_get(world.txn, STORE_XATTRS, (struct store_bytes){key, sizeof key}, &value));
    assert_int_equal(value.length, 8);
    memcpy(record, value.data, 8);
    record[5] ^= 1;
    assert_ok(store_put(world.txn, STORE_XATTRS, (struct store_bytes){key, sizeof key},
                        (struct store_bytes){record, 8}));
    world_commit(&world);
    refuses(get("/f", "user.a", text), -EUCLEAN);
    assert_non_null(strstr(err_text(), "user.a"));
    assert_value("/f", "user.b", "others");
    does(set("/f", "user.a", "again"));
    assert_value("/f", "user.a", "again");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_was_set_is_there),
        T(create_and_replace_look_first),
        T(a_change_is_one_of_the_inode),
        T(users_attributes_go_by_permission),
        T(links_and_special_files_have_none_of_users),
        T(trusted_ones_are_roots),
        T(other_names_are_not_supported),
        T(bytes_have_a_limit),
        T(their_number_has_a_limit),
        T(they_end_with_their_inode),
        T(a_damaged_one_is_named_and_can_be_set_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
