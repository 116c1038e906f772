/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much there is of whom, and where (metadata/usage.h): by hand, and after some thousand operations that
 * are drawn from a seed, some of them undone, counted anew after each transaction. WEFT_TEST_SEED repeats
 * a run.
 */
#include "meta_names.h"

#include <time.h>

#include "log.h"
#include "metadata/links.h"
#include "metadata/usage.h"

/* ---- by hand -------------------------------------------------------------- */

static struct usage sums(enum usage_kind kind, uint64_t id)
{
    struct usage usage;
    world_begin(&world, 0, 0);
    assert_ok(usage_record_get(world.txn, kind, id, &usage));
    world_commit(&world);
    return usage;
}

static struct usage below(const char *path)
{
    return sums(USAGE_DIR, look(path).ino);
}

#define assert_sums(told, files_, dirs_, bytes_, size_)     \
    do {                                                    \
        const struct usage usage_ = (told);                 \
        assert_int_equal(usage_.files, (files_));           \
        assert_int_equal(usage_.dirs, (dirs_));             \
        assert_int_equal((uint64_t)usage_.bytes, (bytes_)); \
        assert_int_equal((uint64_t)usage_.size, (size_));   \
    } while (0)

static int resize(const char *path, uint64_t size, uint64_t bytes)
{
    struct inode inode;
    int error = ns_stat(ns, path, 0, true, &inode);
    if (!error)
        error = ns_size_open(ns, &inode);
    return error ? error : ns_size_truncated(ns, &inode, size, bytes, true, true);
}

static int chown_to(const char *path, uint32_t new_uid, uint32_t new_gid)
{
    return ns_setattr(ns, &(struct wire_setattr){.path = path,
                                                 .flags = WEFT_STAT_NOFOLLOW,
                                                 .mask = WIRE_SETATTR_UID | WIRE_SETATTR_GID,
                                                 .uid = new_uid,
                                                 .gid = new_gid});
}

static void what_is_made_counts_for_its_owner_and_all_above(void **state)
{
    (void)state;
    become(ANN, STAFF);
    does(ns_mkdir(ns, "/a", 0755));
    does(ns_mkdir(ns, "/a/b", 0755));
    does(touch("/a/b/f", 0644));
    does(ns_symlink(ns, "somewhere", "/a/link"));
    does(ns_mknod(ns, "/a/b/fifo", S_IFIFO | 0644, 0));
    write_file("/a/b/f"); /* 1000 bytes, 4096 of space */
    assert_sums(below("/"), 3, 2, 4096, 1000);
    assert_sums(below("/a"), 3, 1, 4096, 1000);
    assert_sums(below("/a/b"), 2, 0, 4096, 1000);
    assert_sums(sums(USAGE_USER, ANN), 3, 2, 4096, 1000);
    assert_sums(sums(USAGE_GROUP, STAFF), 3, 2, 4096, 1000);
    assert_sums(sums(USAGE_USER, 0), 0, 1, 0, 0); /* the root directory */
    assert_sums(sums(USAGE_USER, BOB), 0, 0, 0, 0);
    become(0, 0);
    does(chown_to("/a/b/f", BOB, GUESTS));
    assert_sums(sums(USAGE_USER, ANN), 2, 2, 0, 0);
    assert_sums(sums(USAGE_USER, BOB), 1, 0, 4096, 1000);
    assert_sums(sums(USAGE_GROUP, STAFF), 2, 2, 0, 0);
    assert_sums(sums(USAGE_GROUP, GUESTS), 1, 0, 4096, 1000);
    does(resize("/a/b/f", 10, 512));
    assert_sums(below("/a"), 3, 1, 512, 10);
    does(ns_unlink(ns, "/a/b/f"));
    assert_sums(sums(USAGE_USER, BOB), 0, 0, 0, 0);
    assert_sums(below("/"), 2, 2, 0, 0);
}

static void a_file_with_several_names_counts_in_one_directory(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/a", 0755));
    does(ns_mkdir(ns, "/b", 0755));
    does(touch("/a/f", 0644));
    does(ns_link(ns, "/a/f", "/b/f"));
    does(ns_link(ns, "/a/f", "/a/g"));
    assert_sums(below("/"), 1, 2, 0, 0);
    assert_sums(below("/a"), 1, 0, 0, 0);
    assert_sums(below("/b"), 0, 0, 0, 0);
    does(ns_unlink(ns, "/a/f"));
    assert_sums(below("/a"), 1, 0, 0, 0);
    does(ns_rename(ns, "/a/g", "/g"));
    assert_sums(below("/a"), 0, 0, 0, 0);
    assert_sums(below("/"), 1, 2, 0, 0);
    does(ns_unlink(ns, "/g"));
    assert_sums(below("/b"), 1, 0, 0, 0);
    does(ns_unlink(ns, "/b/f"));
    assert_sums(below("/"), 0, 2, 0, 0);
}

static void a_name_that_is_replaced_goes_where_it_was(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/a", 0755));
    does(ns_mkdir(ns, "/b", 0755));
    does(touch("/a/f", 0644));
    does(ns_link(ns, "/a/f", "/b/f"));
    does(touch("/g", 0644));
    does(ns_rename(ns, "/g", "/a/f"));
    assert_sums(below("/a"), 1, 0, 0, 0);
    assert_sums(below("/b"), 1, 0, 0, 0);
    assert_sums(below("/"), 2, 2, 0, 0);
}

static void a_tree_takes_along_what_is_in_it(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/a", 0755));
    does(ns_mkdir(ns, "/b", 0755));
    does(ns_mkdir(ns, "/a/tree", 0755));
    does(ns_mkdir(ns, "/a/tree/deep", 0755));
    does(touch("/a/tree/deep/f", 0644));
    write_file("/a/tree/deep/f");
    /* All in one transaction: what is gathered already lies where it was. */
    world_begin(&world, 0, 0);
    assert_ok(touch("/a/tree/deep/g", 0644));
    assert_ok(ns_rename(ns, "/a/tree", "/b/moved"));
    assert_ok(touch("/b/moved/deep/h", 0644));
    assert_ok(ns_unlink(ns, "/b/moved/deep/g"));
    world_commit(&world);
    assert_sums(below("/a"), 0, 0, 0, 0);
    assert_sums(below("/b"), 2, 2, 4096, 1000);
    assert_sums(below("/b/moved"), 2, 1, 4096, 1000);
}

static void what_was_gathered_for_a_directory_outlives_it(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/a", 0755));
    does(ns_mkdir(ns, "/a/b", 0755));
    does(touch("/a/b/f", 0644));
    write_file("/a/b/f");
    world_begin(&world, 0, 0);
    assert_ok(ns_unlink(ns, "/a/b/f"));
    assert_ok(ns_rmdir(ns, "/a/b"));
    assert_ok(touch("/a/g", 0644));
    world_commit(&world);
    assert_sums(below("/a"), 1, 0, 0, 0);
    assert_sums(below("/"), 1, 1, 0, 0);
}

static void a_file_without_a_name_counts_for_its_user_only(void **state)
{
    static const uint8_t client_id[16] = "ann";
    become(ANN, STAFF);
    (void)state;
    does(touch("/f", 0644));
    write_file("/f");
    const uint64_t ino = look("/f").ino;
    struct opens_client *client = opens_client_get(world.opens, client_id);
    struct opens_handle *handle = opens_add(world.opens, client, ino, WIRE_ACCESS_READ, 1);
    opens_commit(world.opens);
    does(ns_unlink(ns, "/f"));
    assert_sums(below("/"), 0, 0, 0, 0);
    assert_sums(sums(USAGE_USER, ANN), 1, 0, 4096, 1000);
    world_begin(&world, 0, 0);
    struct inode inode;
    opens_close(world.opens, handle);
    assert_ok(records_inode_get(world.txn, ino, &inode));
    assert_int_equal(inode.parent, 0);
    assert_ok(records_unmark(world.txn, STORE_ORPHANS, ino));
    assert_ok(ns_destroy(ns, &inode));
    world_commit(&world);
    assert_sums(sums(USAGE_USER, ANN), 0, 0, 0, 0);
}

static void sizes_may_be_more_than_64_bits(void **state)
{
    (void)state;
    become(ANN, STAFF);
    for (int i = 0; i < 5; i++) {
        char path[8];
        snprintf(path, sizeof path, "/f%d", i);
        does(touch(path, 0644));
        does(resize(path, INT64_MAX, 512));
    }
    assert_true(sums(USAGE_USER, ANN).size == (usage_wide)INT64_MAX * 5);
    assert_true(below("/").size == (usage_wide)INT64_MAX * 5);
    for (int i = 0; i < 5; i++) {
        char path[8];
        snprintf(path, sizeof path, "/f%d", i);
        does(resize(path, 7, 512));
    }
    assert_sums(below("/"), 5, 0, 5 * 512, 35);
}

static void one_that_is_undone_counts_for_nothing(void **state)
{
    (void)state;
    does(touch("/f", 0644));
    struct world_dump before = world_dump(world.store);
    world_begin(&world, 0, 0);
    assert_ok(touch("/g", 0644));
    assert_ok(usage_flush(world.txn));
    assert_ok(touch("/h", 0644));
    store_abort(world.txn);
    opens_rollback(world.opens);
    assert_same_dump(before, world_dump(world.store));
    does(touch("/g", 0644));
    assert_sums(below("/"), 2, 0, 0, 0);
}

/* Costs are by directories, not by files. */
static void many_files_of_one_directory_cost_a_few_records(void **state)
{
    char path[32];
    (void)state;
    does(ns_mkdir(ns, "/a", 0777));
    does(ns_mkdir(ns, "/a/b", 0777));
    world_begin(&world, ANN, STAFF);
    for (int i = 0; i < 500; i++) {
        snprintf(path, sizeof path, "/a/b/%d", i);
        assert_ok(touch(path, 0644));
    }
    const uint64_t changes = store_changes(world.txn);
    assert_ok(usage_flush(world.txn));
    assert_int_equal(store_changes(world.txn) - changes, 5); /* /, a, b, the user, the group */
    world_commit(&world);
    assert_sums(below("/a"), 500, 1, 0, 0);
}

/* ---- what is damaged ------------------------------------------------------- */

/* A bit of the root directory's sums. */
static void flip(size_t at)
{
    uint8_t copy[64], key_copy[9];
    struct store_bytes key, value;
    world_begin(&world, 0, 0);
    key = (struct store_bytes){key_copy, sizeof key_copy};
    key_copy[0] = USAGE_DIR;
    records_key_u64(key_copy + 1, INODE_ROOT);
    assert_ok(store_get(world.txn, STORE_USAGE, key, &value));
    assert_int_equal(value.length, sizeof copy);
    memcpy(copy, value.data, sizeof copy);
    copy[at] ^= 4;
    assert_ok(store_put(world.txn, STORE_USAGE, key, (struct store_bytes){copy, sizeof copy}));
    world_commit(&world);
}

static int is_known(void)
{
    world_begin(&world, 0, 0);
    const int known = usage_is_known(world.txn);
    world_commit(&world);
    return known;
}

static void a_damaged_sum_stops_nobody(void **state)
{
    struct usage usage;
    (void)state;
    does(touch("/f", 0644));
    for (size_t at = 0; at < 64; at++) {
        flip(at);
        world_begin(&world, 0, 0);
        assert_result(usage_record_get(world.txn, USAGE_DIR, INODE_ROOT, &usage), -EUCLEAN);
        assert_non_null(strstr(err_text(), "directory 1"));
        world_commit(&world);
        flip(at);
    }
    flip(20);
    assert_int_equal(is_known(), 1); /* nobody has noticed */
    log_init("test", LOG_LEVEL_NONE);
    does(touch("/g", 0644));
    assert_int_equal(is_known(), 0);
    /* From then on nothing is added to what can't be relied on. */
    const struct usage before = sums(USAGE_USER, 0);
    does(touch("/h", 0644));
    assert_sums(sums(USAGE_USER, 0), before.files, before.dirs, 0, 0);
    assert_ok(usage_rebuild(world.store));
    assert_sums(below("/"), 3, 0, 0, 0);
}

static void less_than_nothing_is_noticed(void **state)
{
    (void)state;
    does(touch("/f", 0644));
    world_begin(&world, 0, 0);
    assert_ok(usage_record_put(world.txn, USAGE_USER, 0, &(struct usage){.dirs = 1}));
    world_commit(&world);
    log_init("test", LOG_LEVEL_NONE);
    does(ns_unlink(ns, "/f"));
    assert_false(is_there("/f"));
    assert_int_equal(is_known(), 0);
    assert_ok(usage_rebuild(world.store));
    assert_sums(sums(USAGE_USER, 0), 0, 1, 0, 0);
}

static void wrong_rows_of_links_stop_nobody(void **state)
{
    (void)state;
    does(ns_mkdir(ns, "/a", 0755));
    does(touch("/f", 0644));
    does(ns_link(ns, "/f", "/a/f"));
    world_begin(&world, 0, 0);
    struct inode inode;
    assert_ok(ns_stat(ns, "/f", 0, true, &inode));
    /* Takes the row away. */
    inode.nlink = 3;
    assert_ok(links_remove(world.txn, &inode, INODE_ROOT));
    world_commit(&world);
    log_init("test", LOG_LEVEL_NONE);
    does(ns_unlink(ns, "/f"));
    assert_int_equal(is_known(), 0);
    assert_ok(usage_rebuild(world.store));
    assert_sums(below("/a"), 1, 0, 0, 0);
}

/* ---- drawn ------------------------------------------------------------------ */

enum { TRANSACTIONS = 600, OPERATIONS_MAX = 24, HANDLES_MAX = 64 };

static uint64_t seed, random_state;
static struct opens_handle *handles[HANDLES_MAX];
static unsigned handle_count;

static uint32_t random_below(uint32_t bound)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(layout_hash(random_state) % bound);
}

static const char *draw_path(char path[64])
{
    static const char *const names[] = {"a", "b", "c", "d"};
    size_t length = 0;
    const uint32_t depth = 1 + random_below(4);
    for (uint32_t i = 0; i < depth; i++)
        length += (size_t)snprintf(path + length, 64 - length, "/%s", names[random_below(4)]);
    return path;
}

static int draw_open(const char *path)
{
    static const uint8_t id[16] = "ann";
    struct inode inode;
    if (handle_count == HANDLES_MAX)
        return -ENFILE;
    int error = open_file(path, WIRE_OPEN_READ, 0, &inode);
    if (error)
        return error;
    struct opens_handle *handle =
        opens_add(world.opens, opens_client_get(world.opens, id), inode.ino, WIRE_ACCESS_READ, handle_count);
    assert_non_null(handle);
    handles[handle_count++] = handle;
    return 0;
}

static int end_orphan(uint64_t ino)
{
    struct inode inode;
    if (opens_in_use(world.opens, ino))
        return 0;
    int error = records_inode_get(world.txn, ino, &inode);
    if (!error)
        error = records_unmark(world.txn, STORE_ORPHANS, ino);
    return error ? error : ns_destroy(ns, &inode);
}

static int draw_close(void)
{
    struct inode inode;
    if (handle_count == 0)
        return -EBADF;
    struct opens_handle *handle = handles[--handle_count];
    const uint64_t ino = opens_ino(handle->file);
    opens_close(world.opens, handle);
    int error = records_inode_get(world.txn, ino, &inode);
    return error || inode.nlink ? error : end_orphan(ino);
}

static int draw_burial(void)
{
    uint64_t ino;
    ssize_t count = records_marked(world.txn, STORE_ORPHANS, random_below(1000), &ino, 1);
    return count == 1 ? end_orphan(ino) : -ENOENT;
}

static int draw_size(const char *path)
{
    struct inode inode;
    int error = ns_stat(ns, path, 0, true, &inode);
    if (error || !inode_is_file(&inode))
        return error ? error : -EINVAL;
    const uint64_t size = random_below(1 << 20);
    error = ns_size_open(ns, &inode);
    if (!error && random_below(2))
        return ns_size_settle(ns, &inode, &(struct ns_size){.end = size, .bytes = size + 100, .mtime_ns = 1});
    return error ? error : ns_size_truncated(ns, &inode, size, size / 2, random_below(4), random_below(2));
}

static int draw_and_do(void)
{
    char path[64], other[64];
    draw_path(path);
    draw_path(other);
    ns->may_be_held = random_below(4) == 0;
    ns->uid = 0;
    switch (random_below(25)) {
    case 0:
    case 1:
    case 2:
        return ns_mkdir(ns, path, 0755);
    case 3:
    case 4:
        return touch(path, 0644);
    case 5:
        return ns_symlink(ns, other, path);
    case 6:
    case 7:
    case 20:
    case 21:
        return ns_link(ns, path, other);
    case 8:
    case 9:
    case 22:
        return ns_unlink(ns, path);
    case 10:
        return ns_rmdir(ns, path);
    case 11:
        return chown_to(path, random_below(3), random_below(3));
    case 12:
    case 13:
        return draw_size(path);
    case 14:
        return draw_open(path);
    case 15:
        return draw_close();
    case 16:
        return draw_burial();
    default:
        return ns_rename(ns, path, other);
    }
}

static void assert_equal_to_recount(struct store_txn *txn, int transaction)
{
    const char *difference = recount(txn);
    if (difference)
        fail_msg("seed %llu, transaction %d: %s", (unsigned long long)seed, transaction, difference);
}

static void the_sums_are_what_a_recount_finds(void **state)
{
    unsigned done = 0;
    (void)state;
    seed = getenv("WEFT_TEST_SEED") ? strtoull(getenv("WEFT_TEST_SEED"), NULL, 0) : (uint64_t)time(NULL);
    random_state = seed;
    print_message("WEFT_TEST_SEED=%llu\n", (unsigned long long)seed);
    handle_count = 0;
    for (int i = 0; i < TRANSACTIONS; i++) {
        const uint32_t operations = 1 + random_below(OPERATIONS_MAX);
        struct opens_handle *handles_before[HANDLES_MAX];
        const unsigned handles_were = handle_count;
        memcpy(handles_before, handles, sizeof handles);
        world_begin(&world, 0, 0);
        for (uint32_t k = 0; k < operations; k++) {
            const uint64_t changes = store_changes(world.txn);
            const int result = draw_and_do();
            assert_true(result == 0 || store_changes(world.txn) == changes);
            done += result == 0;
            /* Whoever reads meanwhile sees what was done. */
            if (random_below(20) == 0) {
                assert_ok(usage_flush(world.txn));
                assert_equal_to_recount(world.txn, i);
            }
        }
        if (random_below(4)) {
            world_commit(&world);
        } else {
            store_abort(world.txn);
            opens_rollback(world.opens);
            memcpy(handles, handles_before, sizeof handles);
            handle_count = handles_were;
        }
        world_begin(&world, 0, 0);
        assert_equal_to_recount(world.txn, i);
        store_abort(world.txn);
    }
    assert_true(done > TRANSACTIONS);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_is_made_counts_for_its_owner_and_all_above),
        T(a_file_with_several_names_counts_in_one_directory),
        T(a_name_that_is_replaced_goes_where_it_was),
        T(a_tree_takes_along_what_is_in_it),
        T(what_was_gathered_for_a_directory_outlives_it),
        T(a_file_without_a_name_counts_for_its_user_only),
        T(sizes_may_be_more_than_64_bits),
        T(one_that_is_undone_counts_for_nothing),
        T(many_files_of_one_directory_cost_a_few_records),
        T(a_damaged_sum_stops_nobody),
        T(less_than_nothing_is_noticed),
        T(wrong_rows_of_links_stop_nobody),
        T(the_sums_are_what_a_recount_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
