/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Some thousands of operations, drawn from a seed, on the namespace and on a
 * plain tree in memory that does the same the simplest way. Results, and from
 * time to time the whole tree, must be equal. WEFT_TEST_SEED repeats a run.
 */
#include "meta_world.h"

#include <time.h>

enum { OPERATIONS = 6000, CHECK_EVERY = 250, COMMIT_EVERY = 20, NODES_MAX = 4096, CHILDREN_MAX = 64 };

static struct world world;
static uint64_t seed, random_state;

static uint32_t random_below(uint32_t bound)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(layout_hash(random_state) % bound);
}

/* ---- the model ---------------------------------------------------------- */

enum kind { KIND_FILE, KIND_DIR, KIND_LINK };

struct node {
    enum kind kind;
    uint32_t mode; /* permission bits */
    uint32_t nlink;
    char target[128];          /* of a link */
    struct node *parent;       /* of a directory */
    uint32_t child_count;
    struct { char name[8]; struct node *node; } children[CHILDREN_MAX]; /* sorted */
    uint64_t ino; /* the store's, learnt at the first look */
};

static struct node nodes[NODES_MAX];
static uint32_t node_count;
static struct node *root;

static struct node *node_new(enum kind kind, uint32_t mode)
{
    assert_true(node_count < NODES_MAX);
    struct node *node = &nodes[node_count++];
    *node = (struct node){.kind = kind, .mode = mode, .nlink = kind == KIND_DIR ? 2 : 1};
    return node;
}

static struct node *child(const struct node *dir, const char *name)
{
    for (uint32_t i = 0; i < dir->child_count; i++) {
        if (strcmp(dir->children[i].name, name) == 0)
            return dir->children[i].node;
    }
    return NULL;
}

static void child_add(struct node *dir, const char *name, struct node *node)
{
    uint32_t at = 0;
    assert_true(dir->child_count < CHILDREN_MAX);
    while (at < dir->child_count && strcmp(dir->children[at].name, name) < 0)
        at++;
    memmove(&dir->children[at + 1], &dir->children[at], (dir->child_count - at) * sizeof dir->children[0]);
    snprintf(dir->children[at].name, sizeof dir->children[at].name, "%s", name);
    dir->children[at].node = node;
    dir->child_count++;
}

static void child_remove(struct node *dir, const char *name)
{
    for (uint32_t i = 0; i < dir->child_count; i++) {
        if (strcmp(dir->children[i].name, name) == 0) {
            dir->child_count--;
            memmove(&dir->children[i], &dir->children[i + 1],
                    (dir->child_count - i) * sizeof dir->children[0]);
            return;
        }
    }
    fail();
}

/* Where a path leads: a directory and a name in it, and what is there. A name of "" is the
 * directory itself. */
struct place {
    struct node *dir;
    char name[8];
    struct node *node;
};

/* Without slashes at the end: the generator makes none. */
static int walk(struct node *dir, const char *path, bool follow, int depth, struct place *place)
{
    char name[8], rest[512];
    *place = (struct place){.dir = dir, .node = dir};
    if (*path == '/')
        place->dir = place->node = root;
    while (*path == '/')
        path++;
    while (*path) {
        size_t length = strcspn(path, "/");
        snprintf(name, sizeof name, "%.*s", (int)length, path);
        path += length;
        while (*path == '/')
            path++;
        if (place->node == NULL)
            return -ENOENT;
        if (place->node->kind != KIND_DIR)
            return -ENOTDIR;
        place->dir = place->node;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
            if (name[1])
                place->dir = place->node = place->dir->parent;
            place->name[0] = 0;
            continue;
        }
        struct node *next = child(place->dir, name);
        if (next && next->kind == KIND_LINK && (*path || follow)) {
            if (depth == 40)
                return -ELOOP;
            snprintf(rest, sizeof rest, "%s/%s", next->target, path);
            if (!*path)
                rest[strlen(rest) - 1] = 0;
            return walk(place->dir, rest, follow, depth + 1, place);
        }
        if (!next && *path)
            return -ENOENT;
        place->node = next;
        memcpy(place->name, name, sizeof name);
    }
    return 0;
}

static void drop(struct node *node)
{
    node->nlink--;
}

static int model_make(const char *path, struct node **made, enum kind kind, uint32_t mode)
{
    struct place place;
    int error = walk(root, path, false, 0, &place);
    if (error)
        return error;
    if (place.node)
        return -EEXIST;
    if (kind == KIND_DIR)
        mode |= place.dir->mode & S_ISGID;
    *made = node_new(kind, mode);
    child_add(place.dir, place.name, *made);
    if (kind == KIND_DIR) {
        (*made)->parent = place.dir;
        place.dir->nlink++;
    }
    return 0;
}

static int model_mkdir(const char *path, uint32_t mode)
{
    struct node *node;
    return model_make(path, &node, KIND_DIR, mode);
}

static int model_symlink(const char *target, const char *path)
{
    struct node *node;
    int error = model_make(path, &node, KIND_LINK, 0777);
    if (!error)
        snprintf(node->target, sizeof node->target, "%s", target);
    return error;
}

static int model_create(const char *path, bool exclusive, uint32_t mode, bool *created)
{
    struct place place;
    int error = walk(root, path, !exclusive, 0, &place);
    *created = false;
    if (error)
        return error;
    if (place.node && exclusive)
        return -EEXIST;
    if (place.node)
        return place.node->kind == KIND_DIR ? -EISDIR : 0;
    *created = true;
    child_add(place.dir, place.name, node_new(KIND_FILE, mode));
    return 0;
}

static int model_link(const char *from, const char *to)
{
    struct place source, target;
    int error = walk(root, from, false, 0, &source);
    if (!error && !source.node)
        error = -ENOENT;
    if (!error)
        error = walk(root, to, false, 0, &target);
    if (error)
        return error;
    if (target.node)
        return -EEXIST;
    if (source.node->kind == KIND_DIR)
        return -EPERM;
    source.node->nlink++;
    child_add(target.dir, target.name, source.node);
    return 0;
}

static int model_unlink(const char *path)
{
    struct place place;
    int error = walk(root, path, false, 0, &place);
    if (error)
        return error;
    if (!place.node)
        return -ENOENT;
    if (place.node->kind == KIND_DIR)
        return -EISDIR;
    child_remove(place.dir, place.name);
    drop(place.node);
    return 0;
}

static bool ends_with(const char *path, const char *end)
{
    size_t length = strlen(path), end_length = strlen(end);
    return length >= end_length && strcmp(path + length - end_length, end) == 0;
}

static int model_rmdir(const char *path)
{
    struct place place;
    int error = walk(root, path, false, 0, &place);
    if (error)
        return error;
    if (!place.node)
        return -ENOENT;
    if (strcmp(path, "/") == 0)
        return -EBUSY;
    if (ends_with(path, "/."))
        return -EINVAL;
    if (ends_with(path, "/.."))
        return -ENOTEMPTY;
    if (place.node->kind != KIND_DIR)
        return -ENOTDIR;
    if (place.node->child_count)
        return -ENOTEMPTY;
    child_remove(place.dir, place.name);
    place.dir->nlink--;
    return 0;
}

static bool is_above(const struct node *node, const struct node *dir)
{
    while (dir != node && dir != root)
        dir = dir->parent;
    return dir == node;
}

static int model_rename(const char *from, const char *to)
{
    struct place source, target;
    int error = walk(root, from, false, 0, &source);
    if (!error)
        error = walk(root, to, false, 0, &target);
    if (error)
        return error;
    if (!*source.name || !*target.name)
        return -EBUSY;
    if (!source.node)
        return -ENOENT;
    if (source.node == target.node)
        return 0;
    bool is_dir = source.node->kind == KIND_DIR;
    if (is_dir && is_above(source.node, target.dir))
        return -EINVAL;
    if (target.node && target.node->kind == KIND_DIR && is_above(target.node, source.dir))
        return -ENOTEMPTY;
    if (target.node && is_dir && target.node->kind != KIND_DIR)
        return -ENOTDIR;
    if (target.node && !is_dir && target.node->kind == KIND_DIR)
        return -EISDIR;
    if (target.node && is_dir && target.node->child_count)
        return -ENOTEMPTY;
    if (target.node) {
        child_remove(target.dir, target.name);
        if (is_dir)
            target.dir->nlink--;
        else
            drop(target.node);
    }
    child_remove(source.dir, source.name);
    child_add(target.dir, target.name, source.node);
    if (is_dir) {
        source.dir->nlink--;
        target.dir->nlink++;
        source.node->parent = target.dir;
    }
    return 0;
}

static int model_chmod(const char *path, uint32_t mode)
{
    struct place place;
    int error = walk(root, path, true, 0, &place);
    if (error)
        return error;
    if (!place.node)
        return -ENOENT;
    place.node->mode = mode;
    return 0;
}

/* ---- comparing ---------------------------------------------------------- */

struct comparing {
    struct node *dir;
    uint32_t at;
};

static int compare_entry(void *arg, const char *name, const struct inode *inode)
{
    struct comparing *comparing = arg;
    assert_true(comparing->at < comparing->dir->child_count);
    struct node *node = comparing->dir->children[comparing->at].node;
    assert_string_equal(name, comparing->dir->children[comparing->at].name);
    static const uint32_t types[] = {S_IFREG, S_IFDIR, S_IFLNK};
    assert_int_equal(inode->mode, types[node->kind] | node->mode);
    assert_int_equal(inode->nlink, node->nlink);
    if (!node->ino)
        node->ino = inode->ino;
    assert_int_equal(inode->ino, node->ino);
    comparing->at++;
    return 0;
}

static uint32_t compare_dir(struct node *dir, const char *path)
{
    char below[4096];
    uint32_t count = dir->child_count;
    struct comparing comparing = {.dir = dir};
    assert_ok(ns_readdir(&world.ns, path, "", compare_entry, &comparing));
    assert_int_equal(comparing.at, dir->child_count);
    for (uint32_t i = 0; i < dir->child_count; i++) {
        if (dir->children[i].node->kind != KIND_DIR)
            continue;
        snprintf(below, sizeof below, "%s/%s", path, dir->children[i].name);
        count += compare_dir(dir->children[i].node, below);
    }
    return count;
}

/* No inode may be left that no name leads to. */
static void compare_counts(void)
{
    uint64_t inodes, expected = 1;
    for (uint32_t i = 1; i < node_count; i++) {
        if (nodes[i].kind == KIND_DIR) {
            bool alive = false;
            for (uint32_t k = 0; k < nodes[i].parent->child_count; k++)
                alive |= nodes[i].parent->children[k].node == &nodes[i];
            expected += alive;
        } else {
            expected += nodes[i].nlink > 0;
        }
    }
    assert_ok(store_count(world.txn, STORE_INODES, &inodes));
    assert_int_equal(inodes, expected);
}

/* ---- drawing ------------------------------------------------------------ */

static const char *draw_path(char path[128])
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "..", "."};
    size_t length = 0;
    uint32_t depth = 1 + random_below(3);
    for (uint32_t i = 0; i < depth; i++) {
        /* Dots are rare. */
        uint32_t which = random_below(10) ? random_below(5) : random_below(7);
        length += (size_t)snprintf(path + length, 128 - length, "/%s", names[which]);
    }
    return path;
}

static const char *draw_target(char target[128])
{
    draw_path(target);
    if (random_below(2))
        memmove(target, target + 1, strlen(target));
    return target;
}

static int do_create(const char *path, bool exclusive, uint32_t mode, bool *created)
{
    struct inode inode;
    struct ns_open open = {
        .path = path,
        .flags = WIRE_OPEN_WRITE | WIRE_OPEN_CREATE | (exclusive ? WIRE_OPEN_EXCLUSIVE : 0),
        .mode = mode,
        .pool = "",
    };
    return ns_open(&world.ns, &open, &inode, created);
}

static int do_chmod(const char *path, uint32_t mode)
{
    return ns_setattr(&world.ns,
                      &(struct wire_setattr){.path = path, .mask = WIRE_SETATTR_MODE, .mode = mode});
}

/* Draws one operation, does it in both worlds, and returns its (equal) result. */
static int draw_and_do(unsigned number)
{
    char path[128], other[128];
    const char *what = "";
    int real, modelled;
    uint32_t mode = random_below(010000);
    bool created = false, model_created = false, exclusive = random_below(2);
    draw_path(path);
    draw_path(other);
    uint64_t changes = store_changes(world.txn);
    switch (random_below(16)) {
    case 0:
    case 1:
    case 2:
        what = "mkdir";
        real = ns_mkdir(&world.ns, path, mode);
        modelled = model_mkdir(path, mode);
        break;
    case 3:
    case 4:
    case 5:
        what = "create";
        real = do_create(path, exclusive, mode, &created);
        modelled = model_create(path, exclusive, mode, &model_created);
        break;
    case 6:
        what = "symlink";
        draw_target(other);
        real = ns_symlink(&world.ns, other, path);
        modelled = model_symlink(other, path);
        break;
    case 7:
        what = "link";
        real = ns_link(&world.ns, path, other);
        modelled = model_link(path, other);
        break;
    case 8:
    case 9:
        what = "unlink";
        real = ns_unlink(&world.ns, path);
        modelled = model_unlink(path);
        break;
    case 10:
    case 11:
        what = "rmdir";
        real = ns_rmdir(&world.ns, path);
        modelled = model_rmdir(path);
        break;
    case 12:
        what = "chmod";
        real = do_chmod(path, mode);
        modelled = model_chmod(path, mode);
        break;
    default:
        what = "rename";
        real = ns_rename(&world.ns, path, other);
        modelled = model_rename(path, other);
    }
    if (real != modelled || created != model_created) {
        print_error("seed %llu, operation %u: %s %s %s: %s, the model says %s\n", (unsigned long long)seed,
                    number, what, path, other, real ? err_name(real) : "done",
                    modelled ? err_name(modelled) : "done");
        fail();
    }
    if (real)
        assert_int_equal(store_changes(world.txn), changes);
    return real;
}

static void the_namespace_does_what_a_plain_tree_does(void **state)
{
    unsigned done = 0;
    (void)state;
    world_begin(&world, 0, 0);
    for (unsigned i = 0; i < OPERATIONS && node_count < NODES_MAX - 8; i++) {
        done += draw_and_do(i) == 0;
        if (i % COMMIT_EVERY == 0) {
            world_commit(&world);
            world_begin(&world, 0, 0);
        }
        if (i % CHECK_EVERY == 0) {
            compare_dir(root, "/");
            compare_counts();
        }
    }
    compare_dir(root, "/");
    compare_counts();
    world_commit(&world);
    /* A test that only met errors would show nothing. */
    assert_true(done > OPERATIONS / 10);
}

static int setup(void **state)
{
    const char *given = getenv("WEFT_TEST_SEED");
    (void)state;
    seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    random_state = seed;
    print_message("WEFT_TEST_SEED=%llu\n", (unsigned long long)seed);
    world_open(&world);
    root = node_new(KIND_DIR, 01777);
    root->parent = root;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_namespace_does_what_a_plain_tree_does, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
