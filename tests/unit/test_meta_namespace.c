/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths, permissions, and everything that makes names: what it does, what it
 * refuses, and that a refusal leaves the whole store as it was.
 */
#include "meta_names.h"

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

/* "/.weft/inode/17" and what follows, in one of a few buffers. */
static const char *by_number(uint64_t ino, const char *rest)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], WEFT_INODE_PREFIX "%llu%s", (unsigned long long)ino, rest);
    return path;
}

static void an_inode_is_found_by_its_number(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/a", 0755));
    does(ns_mkdir(ns, "/a/b", 0755));
    does(touch("/a/b/f", 0644));
    does(ns_symlink(ns, "b/f", "/a/l"));
    uint64_t a = look("/a").ino, file = look("/a/b/f").ino, link = look("/a/l").ino;
    assert_int_equal(look(by_number(a, "")).ino, a);
    assert_int_equal(look(by_number(a, "/")).ino, a);
    assert_int_equal(look(by_number(a, "/b/f")).ino, file);
    assert_int_equal(look(by_number(a, "//b/.././l")).ino, link);
    assert_int_equal(look(by_number(a, "/..")).ino, INODE_ROOT);
    assert_int_equal(look(by_number(INODE_ROOT, "/a")).ino, a);
    assert_int_equal(look(by_number(file, "")).ino, file);
    assert_int_equal(look(by_number(link, "")).ino, link);
    refuses(stat_of(by_number(file, "/")), -ENOTDIR);
    refuses(stat_of(by_number(file, "/..")), -ENOTDIR);
    refuses(stat_of(by_number(link, "/x")), -ENOTDIR);
    refuses(stat_of(by_number(a, "/none")), -ENOENT);
    refuses(stat_of(by_number(a + 1000, "")), -ESTALE);
    refuses(stat_of(by_number(a, "b")), -ENOENT); /* an ordinary path, which is not there */
    refuses(stat_of(WEFT_INODE_PREFIX), -ENOENT);
    refuses(stat_of(WEFT_INODE_PREFIX "0"), -ENOENT);
    refuses(stat_of(WEFT_INODE_PREFIX "99999999999999999999"), -ENOENT);
}

static void names_are_made_and_removed_below_a_number(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/a", 0755));
    uint64_t a = look("/a").ino;
    does(ns_rename(ns, "/a", "/moved"));
    does(touch(by_number(a, "/f"), 0644));
    does(ns_mkdir(ns, by_number(a, "/d"), 0755));
    assert_true(is_there("/moved/f") && is_there("/moved/d"));
    uint64_t file = look("/moved/f").ino;
    does(ns_rename(ns, by_number(a, "/f"), by_number(INODE_ROOT, "/g")));
    assert_int_equal(look("/g").ino, file);
    does(ns_link(ns, by_number(file, ""), "/h"));
    assert_int_equal(look("/h").ino, file);
    refuses(ns_unlink(ns, by_number(file, "")), -EBUSY);
    refuses(ns_rmdir(ns, by_number(a, "")), -EBUSY);
    refuses(ns_rename(ns, by_number(file, ""), "/i"), -EBUSY);
    refuses(ns_rename(ns, "/g", by_number(a, "")), -EBUSY);
    refuses(ns_rename(ns, by_number(a, ""), by_number(a, "/d/a")), -EBUSY);
    does(ns_rmdir(ns, by_number(a, "/d")));
    does(ns_rmdir(ns, "/moved"));
    refuses(touch(by_number(a, "/f"), 0644), -ESTALE);
}

static void a_number_opens_no_door(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/d", 0700));
    does(ns_mkdir(ns, "/d/e", 0777));
    does(touch("/d/e/f", 0666));
    uint64_t e = look("/d/e").ino, file = look("/d/e/f").ino;
    become(ANN, STAFF);
    refuses(stat_of(by_number(e, "")), -EACCES);
    refuses(stat_of(by_number(e, "/f")), -EACCES);
    refuses(touch(by_number(e, "/g"), 0666), -EACCES);
    refuses(stat_of(by_number(file, "")), -EACCES);
    become(0, 0);
    does(ns_setattr(ns, &(struct wire_setattr){.path = "/d", .mask = WIRE_SETATTR_MODE, .mode = 0711}));
    become(ANN, STAFF);
    does(touch(by_number(e, "/g"), 0600));
    const char *own = by_number(look("/d/e/g").ino, "");
    does(stat_of(own));
    refuses(stat_of(by_number(file, "")), -EACCES);
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
    struct ns_open open = {
        .path = "/f", .flags = WIRE_OPEN_WRITE | WIRE_OPEN_CREATE, .mode = 0640, .pool = ""};
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

static const struct ns_placement anywhere = {.kind = WIRE_PLACEMENT_DEFAULT};

static void default_layouts_are_inherited(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/d", 0755));
    does(ns_layout_set(ns, "/d", &(struct layout){.chunk_size = 65536}, &anywhere, ""));
    does(ns_layout_set(ns, "/d", &(struct layout){.stripe_count = 2}, &anywhere, ""));
    does(ns_mkdir(ns, "/d/e", 0755));
    does(touch("/d/e/f", 0644));
    does(ns_layout_set(ns, "/d", &(struct layout){.stripe_count = 3}, &anywhere, "main"));
    does(touch("/d/e/g", 0644));
    does(touch("/d/h", 0644));
    assert_int_equal(look("/d/e/f").layout.chunk_size, 65536);
    assert_int_equal(look("/d/e/f").layout.stripe_count, 2);
    assert_int_equal(look("/d/e/g").layout.stripe_count, 2);
    assert_int_equal(look("/d/h").layout.stripe_count, 3);
    does(touch("/x", 0644));
    refuses(ns_layout_set(ns, "/x", &(struct layout){.stripe_count = 3}, &anywhere, ""), -ENOTDIR);
    refuses(ns_layout_set(ns, "/d", &(struct layout){.chunk_size = 4095}, &anywhere, ""), -EINVAL);
    refuses(ns_layout_set(ns, "/d", &(struct layout){0}, &anywhere, "fast"), -EINVAL);
    become(ANN, STAFF);
    refuses(ns_layout_set(ns, "/d", &(struct layout){.stripe_count = 3}, &anywhere, ""), -EPERM);
}

/* The directory's hints, whoever asks. */
static const char *hints_of(const char *path)
{
    static char hints[WEFT_HINTS_BYTES_MAX + 1];
    world_begin(&world, uid, gid);
    assert_ok(ns_hints_get(ns, path, hints));
    world_commit(&world);
    return hints;
}

static void hints_are_inherited(void **state)
{
    char longest[WEFT_HINTS_BYTES_MAX + 1];
    (void)state;
    does(ns_mkdir(ns, "/d", 0755));
    assert_string_equal(hints_of("/d"), "");
    does(ns_hints_set(ns, "/d", "a=1;b=2"));
    does(ns_mkdir(ns, "/d/e", 0755));
    does(ns_hints_set(ns, "/d", "a=3"));
    assert_string_equal(hints_of("/d"), "a=3");
    assert_string_equal(hints_of("/d/e"), "a=1;b=2");
    assert_string_equal(hints_of("/"), "");
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    does(ns_hints_set(ns, "/d", longest));
    assert_string_equal(hints_of("/d"), longest);
    does(ns_hints_set(ns, "/d", ""));
    assert_string_equal(hints_of("/d"), "");
    does(ns_hints_set(ns, "/d", "")); /* once more */
}

static void hints_refuse(void **state)
{
    char hints[WEFT_HINTS_BYTES_MAX + 1];
    (void)state;
    does(ns_mkdir(ns, "/d", 0700));
    does(touch("/f", 0644));
    refuses(ns_hints_set(ns, "/f", "a=1"), -ENOTDIR);
    refuses(ns_hints_get(ns, "/f", hints), -ENOTDIR);
    refuses(ns_hints_set(ns, "/x", "a=1"), -ENOENT);
    refuses(ns_hints_set(ns, "/d", "a=1\nb=2"), -EINVAL);
    refuses(ns_hints_set(ns, "/d", "a=\x1b[2J"), -EINVAL);
    refuses(ns_hints_set(ns, "/d", "a=\xc3\xa4"), -EINVAL);
    become(ANN, STAFF);
    refuses(ns_hints_set(ns, "/d", "a=1"), -EPERM);
}

static uint64_t kept_hints(void)
{
    uint64_t count;
    world_begin(&world, uid, gid);
    assert_ok(store_count(world.txn, STORE_HINTS, &count));
    world_commit(&world);
    return count;
}

/* Not even another directory that would get the same number could find them. */
static void hints_go_with_the_directory(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/d", 0755));
    does(ns_mkdir(ns, "/e", 0755));
    does(ns_mkdir(ns, "/f", 0755));
    does(ns_hints_set(ns, "/d", "a=1"));
    does(ns_hints_set(ns, "/e", "a=1"));
    assert_int_equal(kept_hints(), 2);
    does(ns_rmdir(ns, "/d"));
    does(ns_rename(ns, "/f", "/e")); /* in place of it */
    assert_int_equal(kept_hints(), 0);
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
        T(an_inode_is_found_by_its_number),
        T(names_are_made_and_removed_below_a_number),
        T(a_number_opens_no_door),
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
        T(hints_are_inherited),
        T(hints_refuse),
        T(hints_go_with_the_directory),
        T(symlink_refuses),
        T(link_gives_a_second_name),
        T(link_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
