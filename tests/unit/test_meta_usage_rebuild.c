/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stores whose sums are not known (metadata/usage_rebuild.c): of an older server, of one that an older server
 * has changed meanwhile, of a rebuild that was cut short, and with damage.
 */
#include "meta_names.h"

#include "log.h"
#include "metadata/usage.h"

enum { FILES = 5000 }; /* more than one transaction takes */

static void populate(unsigned files)
{
    char path[64];
    become(ANN, STAFF);
    does(ns_mkdir(ns, "/a", 0755));
    does(ns_mkdir(ns, "/a/b", 0755));
    does(ns_mkdir(ns, "/c", 0755));
    world_begin(&world, BOB, GUESTS);
    become(0, 0);
    ns->uid = 0;
    for (unsigned i = 0; i < files; i++) {
        snprintf(path, sizeof path, i % 2 ? "/a/b/%u" : "/c/%u", i);
        assert_ok(touch(path, 0644));
        if (i % 7 == 0) {
            char other[64];
            snprintf(other, sizeof other, "/a/other%u", i);
            assert_ok(ns_link(ns, path, other));
        }
    }
    assert_ok(ns_link(ns, "/c/0", "/c/zero"));
    world_commit(&world);
    write_file("/c/2");
    write_file("/a/b/1");
}

static int gather_keys(void *arg, struct store_bytes key, struct store_bytes value)
{
    (void)value;
    world_dump_put(arg, key);
    return 0;
}

/* Calls `each` for every key of a table. */
static void each_key(enum store_table table, void (*each)(struct store_bytes key))
{
    struct world_dump keys = {0};
    assert_ok(store_each(world.txn, table, (struct store_bytes){"", 0}, gather_keys, &keys));
    for (size_t at = 0; at < keys.length;) {
        uint32_t length;
        memcpy(&length, keys.data + at, sizeof length);
        each((struct store_bytes){keys.data + at + 4, length});
        at += 4 + length;
    }
    free(keys.data);
}

static void put_raw(const struct inode *inode)
{
    uint8_t key[8], record[INODE_RECORD_BYTES];
    records_key_u64(key, inode->ino);
    inode_encode(inode, record);
    assert_ok(store_put(world.txn, STORE_INODES, (struct store_bytes){key, 8},
                        (struct store_bytes){record, sizeof record}));
}

static void delete_usage(struct store_bytes key)
{
    assert_ok(store_delete(world.txn, STORE_USAGE, key));
}
static void delete_links(struct store_bytes key)
{
    assert_ok(store_delete(world.txn, STORE_LINKS, key));
}
static void forget_parent(struct store_bytes key)
{
    struct inode inode;
    assert_ok(records_inode_get(world.txn, records_key_u64_of(key.data), &inode));
    if (inode_is_dir(&inode))
        return;
    inode.parent = 0;
    put_raw(&inode);
}

/* As a server has left it that knew nothing of all that. */
static void make_old(void)
{
    world_begin(&world, 0, 0);
    each_key(STORE_USAGE, delete_usage);
    each_key(STORE_LINKS, delete_links);
    each_key(STORE_INODES, forget_parent);
    assert_ok(
        store_delete(world.txn, STORE_SETTINGS, (struct store_bytes){SETTING_USAGE, strlen(SETTING_USAGE)}));
    world_commit(&world);
}

/* It was started once more by an older server, which leaves the setting alone. */
static void start_older(void)
{
    world_begin(&world, 0, 0);
    uint64_t epoch;
    assert_ok(records_setting_get(world.txn, SETTING_EPOCH, &epoch));
    assert_ok(records_setting_put(world.txn, SETTING_EPOCH, epoch + 1));
    world_commit(&world);
}

static struct usage below(const char *path)
{
    struct usage usage;
    const uint64_t ino = look(path).ino;
    world_begin(&world, 0, 0);
    assert_ok(usage_record_get(world.txn, USAGE_DIR, ino, &usage));
    world_commit(&world);
    return usage;
}

static void an_older_servers_store_is_counted(void **state)
{
    (void)state;
    populate(FILES);
    const struct usage before = below("/"), before_a = below("/a");
    make_old();
    assert_ok(usage_rebuild(world.store));
    world_recount(world.store);
    const struct usage after = below("/"), after_a = below("/a");
    assert_memory_equal(&before, &after, sizeof before);
    assert_int_equal(after.files, FILES);
    assert_int_equal(after.dirs, 3);
    assert_int_equal((uint64_t)after.bytes, 2 * 4096);
    /* Those with names in both are counted where the first one is met. */
    assert_true(after_a.files >= before_a.files);
}

static void what_is_known_is_left_alone(void **state)
{
    struct ns_identity identity;
    (void)state;
    populate(10);
    struct world_dump before = world_dump(world.store);
    assert_ok(usage_rebuild(world.store));
    assert_same_dump(before, world_dump(world.store));
    /* Also by the next start. */
    does(ns_format(world.txn, world.now_ns, &identity));
    assert_int_equal(identity.epoch, 2);
    before = world_dump(world.store);
    assert_ok(usage_rebuild(world.store));
    assert_same_dump(before, world_dump(world.store));
}

static void a_new_store_needs_nothing(void **state)
{
    struct store *store;
    char dir[300];
    (void)state;
    snprintf(dir, sizeof dir, "%s/other", world.base);
    assert_ok(store_open(dir, WORLD_STORE_BYTES, &store));
    struct world_dump before = world_dump(store);
    assert_ok(usage_rebuild(store));
    assert_same_dump(before, world_dump(store));
    store_close(store);
    struct world other = world;
    memcpy(other.dir, dir, sizeof other.dir - 1);
    world_dir_remove(&other);
}

/* A start that is counted does not make them known. */
static void what_is_not_known_stays_so(void **state)
{
    struct ns_identity identity;
    (void)state;
    populate(10);
    start_older();
    does(ns_format(world.txn, world.now_ns, &identity));
    world_begin(&world, 0, 0);
    assert_int_equal(usage_is_known(world.txn), 0);
    world_commit(&world);
    assert_ok(usage_rebuild(world.store));
    does(ns_format(world.txn, world.now_ns, &identity));
    world_begin(&world, 0, 0);
    assert_int_equal(usage_is_known(world.txn), 1);
    world_commit(&world);
}

/* Takes a name away, and puts it elsewhere, as a server does that keeps no parents. */
static void move_raw(const char *from_dir, const char *name, const char *to_dir)
{
    uint64_t ino;
    const uint64_t from = look(from_dir).ino, to = look(to_dir).ino;
    world_begin(&world, 0, 0);
    assert_ok(records_dirent_get(world.txn, from, name, &ino));
    assert_ok(records_dirent_delete(world.txn, from, name));
    assert_ok(records_dirent_put(world.txn, to, name, ino));
    world_commit(&world);
}

static void set_raw(const char *path, uint32_t nlink, uint32_t owner)
{
    struct inode inode = look(path);
    inode.nlink = nlink;
    inode.uid = owner;
    world_begin(&world, 0, 0);
    put_raw(&inode);
    world_commit(&world);
}

static void what_an_older_server_did_is_found(void **state)
{
    (void)state;
    populate(100);
    start_older();
    move_raw("/a/b", "1", "/c");
    move_raw("/c", "2", "/a");
    set_raw("/a/2", 1, BOB);
    /* One of three names goes, then one of the two of another file. */
    const uint64_t c = look("/c").ino;
    set_raw("/c/0", 2, ANN);
    set_raw("/c/14", 1, ANN);
    world_begin(&world, 0, 0);
    assert_ok(records_dirent_delete(world.txn, c, "0"));
    assert_ok(records_dirent_delete(world.txn, c, "14"));
    world_commit(&world);
    assert_ok(usage_rebuild(world.store));
    world_recount(world.store);
    does(ns_unlink(ns, "/c/zero"));
    does(ns_unlink(ns, "/a/other0"));
}

static void a_rebuild_that_was_cut_short_begins_again(void **state)
{
    (void)state;
    populate(100);
    make_old();
    world_begin(&world, 0, 0);
    /* What the one before had written so far, and what no server writes. */
    assert_ok(usage_record_put(world.txn, USAGE_DIR, INODE_ROOT, &(struct usage){.files = 7}));
    assert_ok(usage_record_put(world.txn, USAGE_USER, 77, &(struct usage){.files = 7}));
    assert_ok(store_put(world.txn, STORE_LINKS, (struct store_bytes){"an odd one", 10},
                        (struct store_bytes){"", 0}));
    char odd[STORE_KEY_BYTES_MAX];
    memset(odd, 9, sizeof odd);
    for (int i = 0; i < 200; i++) {
        odd[0] = (char)i;
        assert_ok(store_put(world.txn, STORE_USAGE, (struct store_bytes){odd, sizeof odd},
                            (struct store_bytes){"", 0}));
    }
    world_commit(&world);
    assert_ok(usage_rebuild(world.store));
    world_recount(world.store);
}

static void files_without_names_are_in_no_directory(void **state)
{
    (void)state;
    populate(4);
    world_begin(&world, 0, 0);
    ns->may_be_held = true;
    assert_ok(ns_unlink(ns, "/a/b/1"));
    world_commit(&world);
    make_old();
    struct inode inode;
    world_begin(&world, 0, 0);
    uint64_t ino;
    assert_int_equal(records_marked(world.txn, STORE_ORPHANS, 0, &ino, 1), 1);
    assert_ok(records_inode_get(world.txn, ino, &inode));
    inode.parent = INODE_ROOT; /* where an older server has left it */
    put_raw(&inode);
    world_commit(&world);
    assert_ok(usage_rebuild(world.store));
    world_recount(world.store);
}

static void a_damaged_inode_is_left_out(void **state)
{
    uint8_t key[8];
    (void)state;
    populate(10);
    make_old();
    const uint64_t ino = look("/c/2").ino;
    world_begin(&world, 0, 0);
    records_key_u64(key, ino);
    assert_ok(
        store_put(world.txn, STORE_INODES, (struct store_bytes){key, 8}, (struct store_bytes){"bad", 3}));
    world_commit(&world);
    world.is_damaged = true;
    log_init("test", LOG_LEVEL_NONE);
    assert_ok(usage_rebuild(world.store));
    assert_int_equal(below("/").files, 9);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_older_servers_store_is_counted),
        T(what_is_known_is_left_alone),
        T(a_new_store_needs_nothing),
        T(what_is_not_known_stays_so),
        T(what_an_older_server_did_is_found),
        T(a_rebuild_that_was_cut_short_begins_again),
        T(files_without_names_are_in_no_directory),
        T(a_damaged_inode_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
