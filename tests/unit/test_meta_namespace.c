/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each operation on names and attributes by itself: what it does, what it
 * refuses, and that a refusal leaves the whole store as it was.
 */
#include "meta_world.h"

static struct world world;

/* The callers. */
static uint32_t uid, gid;
enum { ANN = 1000, BOB = 1001, STAFF = 100, GUESTS = 200 };

static void become(uint32_t new_uid, uint32_t new_gid)
{
    uid = new_uid;
    gid = new_gid;
}

static int setup(void **state)
{
    (void)state;
    world_open(&world);
    become(0, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

/* An operation that must work. */
#define does(call)                            \
    do {                                      \
        world_begin(&world, uid, gid);        \
        assert_ok(call);                      \
        world_commit(&world);                 \
    } while (0)

/* One that must fail with `error` and leave no trace. */
#define refuses(call, error)                                   \
    do {                                                       \
        struct world_dump before_ = world_dump(world.store);   \
        world_begin(&world, uid, gid);                         \
        err_clear();                                           \
        assert_result(call, error);                            \
        assert_true(*err_text());                              \
        assert_int_equal(store_changes(world.txn), 0);         \
        world_commit(&world);                                  \
        assert_same_dump(before_, world_dump(world.store));    \
    } while (0)

static struct ns *const ns = &world.ns;

static int open_file(const char *path, uint32_t flags, uint32_t mode, struct inode *inode)
{
    struct ns_open open = {.path = path, .flags = flags, .mode = mode, .pool = ""};
    bool created;
    return ns_open(ns, &open, inode, &created);
}

static int touch(const char *path, uint32_t mode)
{
    struct inode inode;
    return open_file(path, WIRE_OPEN_WRITE | WIRE_OPEN_CREATE, mode, &inode);
}

static struct inode look(const char *path)
{
    struct inode inode;
    world_begin(&world, 0, 0);
    assert_ok(ns_stat(ns, path, 0, true, &inode));
    world_commit(&world);
    return inode;
}

static bool is_there(const char *path)
{
    struct inode inode;
    world_begin(&world, 0, 0);
    int error = ns_stat(ns, path, 0, true, &inode);
    world_commit(&world);
    assert_true(error == 0 || error == -ENOENT);
    return error == 0;
}

static int stat_of(const char *path)
{
    struct inode inode;
    return ns_stat(ns, path, 0, false, &inode);
}

/* A path of `depth` components, each of `length` bytes. */
static const char *long_path(size_t depth, size_t length)
{
    static char path[8192];
    char *at = path;
    for (size_t i = 0; i < depth; i++) {
        *at++ = '/';
        memset(at, 'n', length);
        at += length;
    }
    *at = 0;
    return path;
}

/* ---- paths -------------------------------------------------------------- */

static void the_root_has_many_names(void **state)
{
    static const char *const names[] = {"/", "//", "/.", "/..", "/../..", "/./", "/.././/"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_int_equal(look(names[i]).ino, INODE_ROOT);
}

static void dots_and_slashes_are_resolved(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/a", 0755));
    does(ns_mkdir(ns, "/a/b", 0755));
    does(touch("/a/b/f", 0644));
    uint64_t ino = look("/a/b/f").ino;
    assert_int_equal(look("//a///b//f").ino, ino);
    assert_int_equal(look("/a/./b/../b/f").ino, ino);
    assert_int_equal(look("/../a/b/f").ino, ino);
    assert_int_equal(look("/a/b/").ino, look("/a/b").ino);
    assert_int_equal(look("/a/b/.").ino, look("/a/b").ino);
    assert_int_equal(look("/a/b/..").ino, look("/a").ino);
}

static void bad_paths_are_refused(void **state)
{
    (void)state;
    does(touch("/f", 0644));
    refuses(stat_of("f"), -EINVAL);
    refuses(stat_of("/f/"), -ENOTDIR);
    refuses(stat_of("/f/x"), -ENOTDIR);
    refuses(stat_of("/f/.."), -ENOTDIR);
    refuses(stat_of("/none"), -ENOENT);
    refuses(stat_of("/none/x"), -ENOENT);
    refuses(stat_of(long_path(1, WEFT_NAME_BYTES_MAX + 1)), -ENAMETOOLONG);
    refuses(stat_of(long_path(17, 255)), -ENAMETOOLONG);
    refuses(touch(long_path(1, WEFT_NAME_BYTES_MAX + 1), 0644), -ENAMETOOLONG);
}

static void the_longest_name_works(void **state)
{
    (void)state;
    const char *path = long_path(1, WEFT_NAME_BYTES_MAX);
    does(touch(path, 0644));
    assert_true(is_there(path));
    does(ns_unlink(ns, path));
}

static void symbolic_links_are_followed(void **state)
{
    char target[LIMITS_SYMLINK_MAX + 1];
    (void)state;
    does(ns_mkdir(ns, "/a", 0755));
    does(ns_mkdir(ns, "/a/b", 0755));
    does(touch("/a/b/f", 0644));
    does(ns_symlink(ns, "a/b", "/rel"));
    does(ns_symlink(ns, "/a/b/", "/abs"));
    does(ns_symlink(ns, "../b/f", "/a/b/up"));
    does(ns_symlink(ns, "/", "/a/root"));
    does(ns_symlink(ns, "rel", "/chain"));
    uint64_t ino = look("/a/b/f").ino;
    assert_int_equal(look("/rel/f").ino, ino);
    assert_int_equal(look("/abs/f").ino, ino);
    assert_int_equal(look("/chain/f").ino, ino);
    assert_int_equal(look("/a/root/rel/f").ino, ino);
    assert_int_equal(look("/a/root/").ino, INODE_ROOT);
    assert_int_equal(look("/rel/..").ino, look("/a").ino);
    does(stat_of("/a/b/up"));
    assert_true(S_ISLNK(look("/rel").mode));
    assert_int_equal(look("/rel").size, 3);
    assert_int_equal(look("/rel/").ino, look("/a/b").ino);
    does(ns_readlink(ns, "/abs", target));
    assert_string_equal(target, "/a/b/");
    refuses(ns_readlink(ns, "/a", target), -EINVAL);
    refuses(ns_readlink(ns, "/none", target), -ENOENT);
}

static void loops_and_dangling_links_are_refused(void **state)
{
    char path[32], target[32];
    (void)state;
    does(ns_symlink(ns, "me", "/me"));
    refuses(stat_of("/me"), -ELOOP);
    does(ns_symlink(ns, "none", "/dangling"));
    refuses(stat_of("/dangling"), -ENOENT);
    refuses(stat_of("/dangling/x"), -ENOENT);
    /* 40 links are as many as may be. */
    does(touch("/f", 0644));
    for (int i = 0; i < 41; i++) {
        snprintf(path, sizeof path, "/l%d", i);
        snprintf(target, sizeof target, i ? "l%d" : "f", i - 1);
        does(ns_symlink(ns, target, path));
    }
    does(stat_of("/l39"));
    refuses(stat_of("/l40"), -ELOOP);
}

static void search_permission_is_needed_on_the_way(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/d", 0700));
    does(ns_mkdir(ns, "/d/e", 0777));
    does(touch("/d/e/f", 0666));
    become(ANN, STAFF);
    refuses(stat_of("/d/e/f"), -EACCES);
    refuses(stat_of("/d/none"), -EACCES);
    refuses(touch("/d/e/g", 0666), -EACCES);
    does(stat_of("/d"));
    become(0, 0);
    does(ns_symlink(ns, "d/e/f", "/l"));
    become(ANN, STAFF);
    refuses(stat_of("/l"), -EACCES);
}

/* ---- permissions -------------------------------------------------------- */

static void access_looks_at_the_right_three_bits(void **state)
{
    (void)state;
    become(ANN, STAFF);
    does(touch("/f", 0640));
    does(ns_access(ns, "/f", 0));
    does(ns_access(ns, "/f", NS_MAY_READ | NS_MAY_WRITE));
    refuses(ns_access(ns, "/f", NS_MAY_EXECUTE), -EACCES);
    become(BOB, STAFF);
    does(ns_access(ns, "/f", NS_MAY_READ));
    refuses(ns_access(ns, "/f", NS_MAY_WRITE), -EACCES);
    become(BOB, GUESTS);
    does(ns_access(ns, "/f", 0));
    refuses(ns_access(ns, "/f", NS_MAY_READ), -EACCES);
    become(0, 0);
    does(ns_access(ns, "/f", NS_MAY_READ | NS_MAY_WRITE));
    refuses(ns_access(ns, "/f", NS_MAY_EXECUTE), -EACCES);
    refuses(ns_access(ns, "/none", 0), -ENOENT);
    /* The owner has the owner's bits, also when the others' are better. */
    become(ANN, STAFF);
    does(touch("/g", 0077));
    refuses(ns_access(ns, "/g", NS_MAY_READ), -EACCES);
}

/* ---- mkdir -------------------------------------------------------------- */

static void mkdir_makes_a_directory(void **state)
{
    (void)state;
    become(ANN, STAFF);
    struct inode root = look("/");
    does(ns_mkdir(ns, "/d/", 0750));
    struct inode dir = look("/d"), root_after = look("/");
    assert_int_equal(dir.mode, S_IFDIR | 0750);
    assert_int_equal(dir.uid, ANN);
    assert_int_equal(dir.gid, STAFF);
    assert_int_equal(dir.nlink, 2);
    assert_int_equal(dir.parent, INODE_ROOT);
    assert_int_equal(root_after.nlink, root.nlink + 1);
    assert_true(root_after.mtime_ns > root.mtime_ns && root_after.ctime_ns == root_after.mtime_ns);
    assert_int_equal(dir.atime_ns, root_after.mtime_ns);
}

static void mkdir_refuses(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/d", 0755));
    does(touch("/f", 0644));
    does(ns_symlink(ns, "none", "/l"));
    refuses(ns_mkdir(ns, "/d", 0755), -EEXIST);
    refuses(ns_mkdir(ns, "/d/", 0755), -EEXIST);
    refuses(ns_mkdir(ns, "/d/.", 0755), -EEXIST);
    refuses(ns_mkdir(ns, "/d/..", 0755), -EEXIST);
    refuses(ns_mkdir(ns, "/", 0755), -EEXIST);
    refuses(ns_mkdir(ns, "/f", 0755), -EEXIST);
    refuses(ns_mkdir(ns, "/l", 0755), -EEXIST);
    refuses(ns_mkdir(ns, "/l/", 0755), -EEXIST);
    refuses(ns_mkdir(ns, "/f/x", 0755), -ENOTDIR);
    refuses(ns_mkdir(ns, "/none/x", 0755), -ENOENT);
    become(ANN, STAFF);
    refuses(ns_mkdir(ns, "/d/x", 0755), -EACCES);
}

static void setgid_directories_hand_their_group_down(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/d", 02777));
    does(ns_setattr(ns, &(struct wire_setattr){.path = "/d", .mask = WIRE_SETATTR_GID, .gid = GUESTS}));
    become(ANN, STAFF);
    does(touch("/d/f", 0644));
    does(ns_mkdir(ns, "/d/e", 0755));
    assert_int_equal(look("/d/f").gid, GUESTS);
    assert_int_equal(look("/d/f").mode, S_IFREG | 0644);
    assert_int_equal(look("/d/e").gid, GUESTS);
    assert_int_equal(look("/d/e").mode, S_IFDIR | S_ISGID | 0755);
}

/* ---- open --------------------------------------------------------------- */

static void open_creates_with_a_layout(void **state)
{
    struct inode inode;
    bool created;
    (void)state;
    become(ANN, STAFF);
    world_begin(&world, uid, gid);
    struct ns_open open = {.path = "/f", .flags = WIRE_OPEN_WRITE | WIRE_OPEN_CREATE, .mode = 0640, .pool = ""};
    assert_ok(ns_open(ns, &open, &inode, &created));
    assert_true(created);
    world_commit(&world);
    assert_int_equal(inode.mode, S_IFREG | 0640);
    assert_int_equal(inode.nlink, 1);
    assert_int_equal(inode.layout.chunk_size, 1 << 20);
    assert_int_equal(inode.layout.stripe_count, 4);
    assert_int_equal(inode.layout.group_count, 4);
    assert_string_equal(inode.pool, "main");
    world_begin(&world, uid, gid);
    struct inode again;
    assert_ok(ns_open(ns, &open, &again, &created));
    assert_false(created);
    assert_int_equal(again.ino, inode.ino);
    open.path = "/g";
    open.layout = (struct layout){.chunk_size = 470080, .stripe_count = 2};
    assert_ok(ns_open(ns, &open, &again, &created));
    assert_true(created);
    assert_int_equal(again.layout.chunk_size, 470080);
    assert_int_equal(again.layout.stripe_count, 2);
    assert_int_not_equal(again.layout.seed, inode.layout.seed);
    assert_int_not_equal(again.ino, inode.ino);
    world_commit(&world);
}

static void open_refuses(void **state)
{
    struct inode inode;
    const uint32_t create = WIRE_OPEN_WRITE | WIRE_OPEN_CREATE;
    (void)state;
    does(ns_mkdir(ns, "/d", 0755));
    does(touch("/f", 0644));
    does(ns_symlink(ns, "f", "/l"));
    refuses(open_file("/f", create | WIRE_OPEN_EXCLUSIVE, 0644, &inode), -EEXIST);
    refuses(open_file("/l", create | WIRE_OPEN_EXCLUSIVE, 0644, &inode), -EEXIST);
    refuses(open_file("/d", create | WIRE_OPEN_EXCLUSIVE, 0644, &inode), -EEXIST);
    refuses(open_file("/none", WIRE_OPEN_READ, 0, &inode), -ENOENT);
    refuses(open_file("/none/x", create, 0644, &inode), -ENOENT);
    refuses(open_file("/f/x", create, 0644, &inode), -ENOTDIR);
    refuses(open_file("/f/", WIRE_OPEN_READ, 0644, &inode), -ENOTDIR);
    refuses(open_file("/d", WIRE_OPEN_READ, 0, &inode), -EISDIR);
    refuses(open_file("/", create, 0644, &inode), -EISDIR);
    refuses(open_file("/new/", create, 0644, &inode), -EISDIR);
    refuses(open_file("/l", WIRE_OPEN_READ | WIRE_OPEN_NOFOLLOW, 0, &inode), -ELOOP);
    refuses(open_file("/f", WIRE_OPEN_CREATE, 0644, &inode), -EINVAL);
    become(ANN, STAFF);
    does(open_file("/f", WIRE_OPEN_READ, 0, &inode));
    refuses(open_file("/f", WIRE_OPEN_WRITE, 0, &inode), -EACCES);
    refuses(open_file("/f", WIRE_OPEN_READ | WIRE_OPEN_TRUNCATE, 0, &inode), -EACCES);
    refuses(open_file("/d/x", create, 0644, &inode), -EACCES);
    /* What is made may be opened as asked, whatever its mode. */
    does(open_file("/mine", create | WIRE_OPEN_READ, 0, &inode));
}

static void open_follows_a_dangling_link_to_create(void **state)
{
    struct inode inode;
    (void)state;
    does(ns_mkdir(ns, "/d", 0755));
    does(ns_symlink(ns, "d/new", "/l"));
    does(open_file("/l", WIRE_OPEN_WRITE | WIRE_OPEN_CREATE, 0644, &inode));
    assert_int_equal(look("/d/new").ino, inode.ino);
}

static void open_needs_a_place_for_the_file(void **state)
{
    struct inode inode;
    struct ns_open open = {.path = "/f", .flags = WIRE_OPEN_WRITE | WIRE_OPEN_CREATE, .pool = ""};
    bool created;
    (void)state;
    world_begin(&world, 0, 0);
    ns->group_count = 0;
    assert_result(ns_open(ns, &open, &inode, &created), -ENODEV);
    assert_non_null(strstr(err_text(), "no storage server has registered yet"));
    assert_int_equal(store_changes(world.txn), 0);
    world_commit(&world);
    world_begin(&world, 0, 0);
    open.pool = "fast";
    assert_result(ns_open(ns, &open, &inode, &created), -EINVAL);
    assert_non_null(strstr(err_text(), "fast"));
    open.pool = "main";
    open.layout.chunk_size = 100;
    assert_result(ns_open(ns, &open, &inode, &created), -EINVAL);
    assert_int_equal(store_changes(world.txn), 0);
    world_commit(&world);
}

static void default_layouts_are_inherited(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/d", 0755));
    does(ns_layout_set(ns, "/d", &(struct layout){.chunk_size = 65536}, ""));
    does(ns_layout_set(ns, "/d", &(struct layout){.stripe_count = 2}, ""));
    does(ns_mkdir(ns, "/d/e", 0755));
    does(touch("/d/e/f", 0644));
    does(ns_layout_set(ns, "/d", &(struct layout){.stripe_count = 3}, "main"));
    does(touch("/d/e/g", 0644));
    does(touch("/d/h", 0644));
    assert_int_equal(look("/d/e/f").layout.chunk_size, 65536);
    assert_int_equal(look("/d/e/f").layout.stripe_count, 2);
    assert_int_equal(look("/d/e/g").layout.stripe_count, 2);
    assert_int_equal(look("/d/h").layout.stripe_count, 3);
    does(touch("/x", 0644));
    refuses(ns_layout_set(ns, "/x", &(struct layout){.stripe_count = 3}, ""), -ENOTDIR);
    refuses(ns_layout_set(ns, "/d", &(struct layout){.chunk_size = 4095}, ""), -EINVAL);
    refuses(ns_layout_set(ns, "/d", &(struct layout){0}, "fast"), -EINVAL);
    become(ANN, STAFF);
    refuses(ns_layout_set(ns, "/d", &(struct layout){.stripe_count = 3}, ""), -EPERM);
}

/* ---- symlink, link ------------------------------------------------------ */

static void symlink_refuses(void **state)
{
    static char target[LIMITS_SYMLINK_MAX + 2];
    (void)state;
    does(touch("/f", 0644));
    refuses(ns_symlink(ns, "x", "/f"), -EEXIST);
    refuses(ns_symlink(ns, "x", "/"), -EEXIST);
    refuses(ns_symlink(ns, "", "/l"), -ENOENT);
    refuses(ns_symlink(ns, "x", "/l/"), -ENOENT);
    refuses(ns_symlink(ns, "x", "/none/l"), -ENOENT);
    memset(target, 'x', LIMITS_SYMLINK_MAX + 1);
    refuses(ns_symlink(ns, target, "/l"), -ENAMETOOLONG);
    does(ns_mkdir(ns, "/d", 0755));
    become(ANN, STAFF);
    refuses(ns_symlink(ns, "x", "/d/l"), -EACCES);
}

static void link_gives_a_second_name(void **state)
{
    (void)state;
    does(touch("/f", 0644));
    does(ns_symlink(ns, "f", "/l"));
    int64_t before = look("/f").ctime_ns;
    does(ns_link(ns, "/f", "/g"));
    assert_int_equal(look("/g").ino, look("/f").ino);
    assert_int_equal(look("/f").nlink, 2);
    assert_true(look("/f").ctime_ns > before);
    /* A link to a link is one to the link itself. */
    does(ns_link(ns, "/l", "/m"));
    assert_int_equal(look("/m").ino, look("/l").ino);
    does(ns_unlink(ns, "/l"));
    does(stat_of("/m"));
    does(ns_unlink(ns, "/f"));
    assert_int_equal(look("/g").nlink, 1);
    does(ns_unlink(ns, "/g"));
}

static void link_refuses(void **state)
{
    (void)state;
    does(touch("/f", 0644));
    does(ns_mkdir(ns, "/d", 0755));
    refuses(ns_link(ns, "/d", "/e"), -EPERM);
    refuses(ns_link(ns, "/none", "/e"), -ENOENT);
    refuses(ns_link(ns, "/f", "/d"), -EEXIST);
    refuses(ns_link(ns, "/f", "/f"), -EEXIST);
    refuses(ns_link(ns, "/f", "/e/"), -ENOENT);
    refuses(ns_link(ns, "/f/", "/e"), -ENOTDIR);
    refuses(ns_link(ns, "/f", "/none/e"), -ENOENT);
    become(ANN, STAFF);
    refuses(ns_link(ns, "/f", "/d/e"), -EACCES);
}

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

/* Marks the file as one that the storage servers know. */
static void write_file(const char *path)
{
    struct inode inode;
    world_begin(&world, 0, 0);
    assert_ok(ns_stat(ns, path, 0, true, &inode));
    assert_ok(ns_size_open(ns, &inode));
    assert_ok(ns_size_settle(ns, &inode, &(struct ns_size){.end = 1000, .bytes = 4096, .mtime_ns = 1}));
    world_commit(&world);
}

static size_t removals_in_line(struct removal *removals)
{
    world_begin(&world, 0, 0);
    ssize_t count = records_removals(world.txn, 0, removals, 4);
    world_commit(&world);
    assert_true(count >= 0);
    return (size_t)count;
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

/* ---- attributes --------------------------------------------------------- */

static int set(const char *path, uint32_t mask, uint32_t mode, uint32_t new_uid, uint32_t new_gid, int64_t time)
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

/* ---- damage ------------------------------------------------------------- */

static void a_damaged_inode_is_named_and_stops_no_one_else(void **state)
{
    uint8_t key[8], record[INODE_RECORD_BYTES];
    struct store_bytes value;
    struct names names = {.stop_at = 16};
    char text[64];
    (void)state;
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
        T(the_root_has_many_names),
        T(dots_and_slashes_are_resolved),
        T(bad_paths_are_refused),
        T(the_longest_name_works),
        T(symbolic_links_are_followed),
        T(loops_and_dangling_links_are_refused),
        T(search_permission_is_needed_on_the_way),
        T(access_looks_at_the_right_three_bits),
        T(mkdir_makes_a_directory),
        T(mkdir_refuses),
        T(setgid_directories_hand_their_group_down),
        T(open_creates_with_a_layout),
        T(open_refuses),
        T(open_follows_a_dangling_link_to_create),
        T(open_needs_a_place_for_the_file),
        T(default_layouts_are_inherited),
        T(symlink_refuses),
        T(link_gives_a_second_name),
        T(link_refuses),
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
        T(chmod_is_the_owners),
        T(chown_is_roots),
        T(times_can_be_set),
        T(a_set_time_is_not_undone_by_earlier_writes),
        T(readdir_lists_in_order_and_goes_on_anywhere),
        T(a_damaged_inode_is_named_and_stops_no_one_else),
        T(an_entry_without_an_inode_is_an_error),
        T(parents_in_a_ring_do_not_hang),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
