/* SPDX-License-Identifier: Apache-2.0 */
#include "records.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "crc.h"
#include "err.h"
#include "usage.h"

/* Numbers of inodes that are taken from the store at once. */
enum { INOS_TAKEN = 1024 };

struct ino_key {
    uint8_t bytes[8];
};

static struct store_bytes key_of(struct ino_key *key, uint64_t value)
{
    records_key_u64(key->bytes, value);
    return (struct store_bytes){.data = key->bytes, .length = sizeof key->bytes};
}

static int damaged(const char *table, uint64_t number)
{
    return err_set(-EUCLEAN, "entry %" PRIu64 " of the table of %s is damaged", number, table);
}

/* ---- settings ----------------------------------------------------------- */

static struct store_bytes text_key(const char *name)
{
    return (struct store_bytes){.data = name, .length = strlen(name)};
}

int records_setting_get(struct store_txn *txn, const char *name, uint64_t *value)
{
    struct store_bytes raw;
    int error = store_get(txn, STORE_SETTINGS, text_key(name), &raw);
    if (error)
        return error;
    if (raw.length != sizeof *value)
        return err_set(-EUCLEAN, "the setting \"%s\" of the metadata store is damaged", name);
    memcpy(value, raw.data, sizeof *value);
    return 0;
}

int records_setting_put(struct store_txn *txn, const char *name, uint64_t value)
{
    return store_put(txn, STORE_SETTINGS, text_key(name), (struct store_bytes){&value, sizeof value});
}

/* ---- inodes ------------------------------------------------------------- */

int records_ino_next(struct store_txn *txn, struct ino_range *range, uint64_t *ino)
{
    struct ino_range one = {0};
    if (!range)
        range = &one;
    if (range->next == range->end) {
        int error = records_setting_get(txn, SETTING_INO_NEXT, &range->next);
        if (error == -ENOENT)
            return err_set(-EUCLEAN, "the metadata store has lost its setting \"%s\"", SETTING_INO_NEXT);
        range->end = range->next + (range == &one ? 1 : INOS_TAKEN);
        if (!error)
            error = records_setting_put(txn, SETTING_INO_NEXT, range->end);
        if (error) {
            *range = (struct ino_range){0};
            return error;
        }
    }
    *ino = range->next++;
    usage_inode_is_new(txn, *ino);
    return 0;
}

int records_inos_take(struct store_txn *txn, struct ino_range *range, uint32_t count, uint64_t *first)
{
    int error = records_setting_get(txn, SETTING_INO_NEXT, first);
    if (error == -ENOENT)
        return err_set(-EUCLEAN, "the metadata store has lost its setting \"%s\"", SETTING_INO_NEXT);
    if (!error)
        error = records_setting_put(txn, SETTING_INO_NEXT, *first + count);
    /* What is left of that is below these, and so below the bound: it is lost. */
    if (range)
        *range = (struct ino_range){0};
    return error;
}

int records_ino_bound(struct store_txn *txn, const struct ino_range *range, uint64_t *bound)
{
    if (range && range->next != range->end) {
        *bound = range->next;
        return 0;
    }
    return records_setting_get(txn, SETTING_INO_NEXT, bound);
}

int records_inode_get(struct store_txn *txn, uint64_t ino, struct inode *inode)
{
    struct ino_key key;
    struct store_bytes raw;
    int error = store_get(txn, STORE_INODES, key_of(&key, ino), &raw);
    if (error == -ENOENT)
        return err_set(-ENOENT, "there is no inode %" PRIu64, ino);
    return error ? error : inode_decode(ino, raw.data, raw.length, inode);
}

void records_watch(struct store_txn *txn, const struct records_watch *watch)
{
    store_arg_set(txn, watch);
}

int records_inode_changing(struct store_txn *txn, uint64_t ino)
{
    const struct records_watch *watch = store_arg(txn);
    return watch ? watch->changing(watch->arg, ino) : 0;
}

int records_way_changing(struct store_txn *txn, uint64_t ino)
{
    const struct records_watch *watch = store_arg(txn);
    return watch ? watch->way_changing(watch->arg, ino) : 0;
}

int records_inode_looking(struct store_txn *txn, uint64_t ino)
{
    const struct records_watch *watch = store_arg(txn);
    return watch ? watch->looking(watch->arg, ino) : 0;
}

int records_attr_looking(struct store_txn *txn, uint64_t ino)
{
    const struct records_watch *watch = store_arg(txn);
    return watch ? watch->attr_looking(watch->arg, ino) : 0;
}

int records_inode_put(struct store_txn *txn, const struct inode *inode)
{
    struct ino_key key;
    uint8_t record[INODE_RECORD_BYTES];
    struct usage_change change;
    int error = records_inode_changing(txn, inode->ino);
    if (!error)
        error = usage_inode_changes(txn, inode->ino, inode, &change);
    if (error)
        return error;
    inode_encode(inode, record);
    error =
        store_put(txn, STORE_INODES, key_of(&key, inode->ino), (struct store_bytes){record, sizeof record});
    return error ? error : usage_inode_changed(txn, &change);
}

int records_inode_delete(struct store_txn *txn, uint64_t ino)
{
    struct ino_key key;
    struct usage_change change;
    int error = records_inode_changing(txn, ino);
    if (!error)
        error = usage_inode_changes(txn, ino, NULL, &change);
    if (!error)
        error = store_delete(txn, STORE_INODES, key_of(&key, ino));
    return error ? error : usage_inode_changed(txn, &change);
}

int records_symlink_get(struct store_txn *txn, uint64_t ino, char *target)
{
    struct ino_key key;
    struct store_bytes raw;
    int error = store_get(txn, STORE_SYMLINKS, key_of(&key, ino), &raw);
    if (error == -ENOENT || (!error && (raw.length == 0 || raw.length > LIMITS_SYMLINK_MAX)))
        return damaged("symbolic links", ino);
    if (error)
        return error;
    memcpy(target, raw.data, raw.length);
    target[raw.length] = 0;
    return 0;
}

int records_symlink_put(struct store_txn *txn, uint64_t ino, const char *target)
{
    struct ino_key key;
    return store_put(txn, STORE_SYMLINKS, key_of(&key, ino), text_key(target));
}

int records_symlink_delete(struct store_txn *txn, uint64_t ino)
{
    struct ino_key key;
    return store_delete(txn, STORE_SYMLINKS, key_of(&key, ino));
}

int records_hints_get(struct store_txn *txn, uint64_t ino, char *hints)
{
    struct ino_key key;
    struct store_bytes raw;
    int error = store_get(txn, STORE_HINTS, key_of(&key, ino), &raw);
    hints[0] = 0;
    if (error)
        return error == -ENOENT ? 0 : error;
    if (raw.length == 0 || raw.length > WEFT_HINTS_BYTES_MAX || memchr(raw.data, 0, raw.length))
        return damaged("hints", ino);
    memcpy(hints, raw.data, raw.length);
    hints[raw.length] = 0;
    return 0;
}

int records_hints_put(struct store_txn *txn, uint64_t ino, const char *hints)
{
    struct ino_key key;
    if (*hints == 0)
        return records_unmark(txn, STORE_HINTS, ino);
    return store_put(txn, STORE_HINTS, key_of(&key, ino), text_key(hints));
}

/* ---- small files -------------------------------------------------------- */

int records_small_get(struct store_txn *txn, uint64_t ino, uint64_t size, const uint8_t **data)
{
    struct ino_key key;
    struct store_bytes raw;
    uint32_t crc;
    *data = (const uint8_t *)"";
    if (size == 0)
        return 0;
    int error = store_get(txn, STORE_SMALL, key_of(&key, ino), &raw);
    if (error == -ENOENT || (!error && raw.length != sizeof crc + size))
        return err_set(-EUCLEAN, "what is in the small file with inode %" PRIu64 " is not there as a whole",
                       ino);
    if (error)
        return error;
    memcpy(&crc, raw.data, sizeof crc);
    *data = (const uint8_t *)raw.data + sizeof crc;
    if (crc != crc_of(0, *data, size))
        return err_set(-EUCLEAN,
                       "what is in the small file with inode %" PRIu64 " is damaged: its checksum is wrong",
                       ino);
    return 0;
}

int records_small_put(struct store_txn *txn, uint64_t ino, const uint8_t *data, size_t size)
{
    struct ino_key key;
    uint8_t record[sizeof(uint32_t) + LIMITS_SMALL_BYTES_MAX];
    uint32_t crc = crc_of(0, data, size);
    if (size == 0)
        return records_unmark(txn, STORE_SMALL, ino);
    assert(size <= LIMITS_SMALL_BYTES_MAX);
    memcpy(record, &crc, sizeof crc);
    memcpy(record + sizeof crc, data, size);
    return store_put(txn, STORE_SMALL, key_of(&key, ino), (struct store_bytes){record, sizeof crc + size});
}

/* ---- directory entries -------------------------------------------------- */

struct dirent_key {
    uint8_t bytes[8 + WEFT_NAME_BYTES_MAX + 1];
};
static_assert(sizeof(struct dirent_key) <= STORE_KEY_BYTES_MAX, "the longest name fits a key");

/* `extra` NUL bytes behind the name make a key that is the next one after it. */
static struct store_bytes dirent_key_of(struct dirent_key *key, uint64_t dir, const char *name, size_t extra)
{
    size_t length = strlen(name);
    assert(length <= WEFT_NAME_BYTES_MAX);
    records_key_u64(key->bytes, dir);
    memcpy(key->bytes + 8, name, length);
    key->bytes[8 + length] = 0;
    return (struct store_bytes){.data = key->bytes, .length = 8 + length + extra};
}

static int dirent_ino(uint64_t dir, struct store_bytes raw, uint64_t *ino)
{
    if (raw.length != sizeof *ino)
        return err_set(-EUCLEAN, "an entry of directory %" PRIu64 " is damaged", dir);
    memcpy(ino, raw.data, sizeof *ino);
    return 0;
}

int records_dirent_get(struct store_txn *txn, uint64_t dir, const char *name, uint64_t *ino)
{
    struct dirent_key key;
    struct store_bytes raw;
    int error = store_get(txn, STORE_DIRENTS, dirent_key_of(&key, dir, name, 0), &raw);
    return error ? error : dirent_ino(dir, raw, ino);
}

int records_dirent_put(struct store_txn *txn, uint64_t dir, const char *name, uint64_t ino)
{
    struct dirent_key key;
    return store_put(txn, STORE_DIRENTS, dirent_key_of(&key, dir, name, 0),
                     (struct store_bytes){&ino, sizeof ino});
}

int records_dirent_delete(struct store_txn *txn, uint64_t dir, const char *name)
{
    struct dirent_key key;
    return store_delete(txn, STORE_DIRENTS, dirent_key_of(&key, dir, name, 0));
}

struct dirent_walk {
    uint64_t dir;
    records_dirent_fn *each;
    void *arg;
};

enum { WALK_OVER = 1 << 30 };

static int dirent_step(void *arg, struct store_bytes key, struct store_bytes value)
{
    struct dirent_walk *walk = arg;
    const uint8_t *bytes = key.data;
    char name[WEFT_NAME_BYTES_MAX + 1];
    uint64_t ino = 0;
    if (key.length < 8 || records_key_u64_of(bytes) != walk->dir)
        return WALK_OVER;
    size_t length = key.length - 8;
    if (length == 0 || length > WEFT_NAME_BYTES_MAX || memchr(bytes + 8, 0, length))
        return err_set(-EUCLEAN, "an entry of directory %" PRIu64 " is damaged", walk->dir);
    memcpy(name, bytes + 8, length);
    name[length] = 0;
    int error = dirent_ino(walk->dir, value, &ino);
    return error ? error : walk->each(walk->arg, name, ino);
}

int records_dirent_each(struct store_txn *txn, uint64_t dir, const char *after, records_dirent_fn *each,
                        void *arg)
{
    struct dirent_key key;
    struct dirent_walk walk = {.dir = dir, .each = each, .arg = arg};
    int result =
        store_each(txn, STORE_DIRENTS, dirent_key_of(&key, dir, after, *after ? 1 : 0), dirent_step, &walk);
    return result == WALK_OVER ? 0 : result;
}

static int found(void *arg, const char *name, uint64_t ino)
{
    (void)name;
    (void)ino;
    *(bool *)arg = true;
    return 1;
}

int records_dir_empty(struct store_txn *txn, uint64_t dir)
{
    bool any = false;
    int result = records_dirent_each(txn, dir, "", found, &any);
    return result < 0 ? result : !any;
}

/* ---- sets of inodes ----------------------------------------------------- */

int records_mark(struct store_txn *txn, enum store_table table, uint64_t ino)
{
    struct ino_key key;
    return store_put(txn, table, key_of(&key, ino), (struct store_bytes){"", 0});
}

int records_unmark(struct store_txn *txn, enum store_table table, uint64_t ino)
{
    struct ino_key key;
    int error = store_delete(txn, table, key_of(&key, ino));
    return error == -ENOENT ? 0 : error;
}

struct gathering {
    void *items;
    size_t count, count_max;
};

static int gather_ino(void *arg, struct store_bytes key, struct store_bytes value)
{
    struct gathering *gathering = arg;
    (void)value;
    if (gathering->count == gathering->count_max)
        return 1;
    if (key.length != 8)
        return err_set(-EUCLEAN, "a key in a set of inodes is damaged");
    ((uint64_t *)gathering->items)[gathering->count++] = records_key_u64_of(key.data);
    return 0;
}

ssize_t records_marked(struct store_txn *txn, enum store_table table, uint64_t from, uint64_t *inos,
                       size_t count_max)
{
    struct ino_key key;
    struct gathering gathering = {.items = inos, .count_max = count_max};
    int result = store_each(txn, table, key_of(&key, from), gather_ino, &gathering);
    return result < 0 ? result : (ssize_t)gathering.count;
}

/* ---- objects to be removed ---------------------------------------------- */

struct removal_record {
    uint64_t chunk_size;   /*  0 */
    uint64_t seed;         /*  8 */
    uint32_t stripe_count; /* 16 */
    uint32_t group_count;  /* 20 */
    uint64_t end;          /* 24 */
    uint32_t host;         /* 32 */
    uint32_t zero;         /* 36 */
};
static_assert(sizeof(struct removal_record) == 40, "format");

int records_removal_put(struct store_txn *txn, const struct removal *removal)
{
    struct ino_key key;
    struct removal_record record = {
        .chunk_size = removal->layout.chunk_size,
        .seed = removal->layout.seed,
        .stripe_count = removal->layout.stripe_count,
        .group_count = removal->layout.group_count,
        .end = removal->end,
        .host = removal->layout.host,
    };
    /* As older servers write it, where it says all: they could read it. */
    size_t length = record.host ? sizeof record : offsetof(struct removal_record, host);
    return store_put(txn, STORE_REMOVALS, key_of(&key, removal->ino),
                     (struct store_bytes){&record, length});
}

int records_removal_delete(struct store_txn *txn, uint64_t ino)
{
    return records_unmark(txn, STORE_REMOVALS, ino);
}

int records_removal_find(struct store_txn *txn, uint64_t ino)
{
    struct ino_key key;
    struct store_bytes raw;
    return store_get(txn, STORE_REMOVALS, key_of(&key, ino), &raw);
}

static int gather_removal(void *arg, struct store_bytes key, struct store_bytes value)
{
    struct gathering *gathering = arg;
    struct removal_record record = {.end = REMOVAL_END_UNKNOWN};
    if (gathering->count == gathering->count_max)
        return 1;
    /* Earlier servers wrote no end, and no host. */
    if (key.length != 8 ||
        (value.length != sizeof record && value.length != offsetof(struct removal_record, host) &&
         value.length != offsetof(struct removal_record, end)))
        return damaged("removals", key.length == 8 ? records_key_u64_of(key.data) : 0);
    memcpy(&record, value.data, value.length);
    ((struct removal *)gathering->items)[gathering->count++] = (struct removal){
        .ino = records_key_u64_of(key.data),
        .layout = {.chunk_size = record.chunk_size,
                   .seed = record.seed,
                   .stripe_count = record.stripe_count,
                   .group_count = record.group_count,
                   .host = record.host},
        .end = record.end,
    };
    return 0;
}

ssize_t records_removals(struct store_txn *txn, uint64_t from, struct removal *removals, size_t count_max)
{
    struct ino_key key;
    struct gathering gathering = {.items = removals, .count_max = count_max};
    int result = store_each(txn, STORE_REMOVALS, key_of(&key, from), gather_removal, &gathering);
    return result < 0 ? result : (ssize_t)gathering.count;
}

/* ---- files open for writing --------------------------------------------- */

struct writer_record {
    uint64_t ino;       /*  0 */
    uint8_t client[16]; /*  8 */
    uint32_t access;    /* 24 */
    uint32_t reserved;  /* 28 */
};
static_assert(sizeof(struct writer_record) == 32, "format");

int records_writer_put(struct store_txn *txn, const struct writer *writer)
{
    struct ino_key key;
    struct writer_record record = {.ino = writer->ino, .access = writer->access};
    memcpy(record.client, writer->client, sizeof record.client);
    return store_put(txn, STORE_WRITERS, key_of(&key, writer->handle),
                     (struct store_bytes){&record, sizeof record});
}

int records_writer_delete(struct store_txn *txn, uint64_t handle)
{
    return records_unmark(txn, STORE_WRITERS, handle);
}

struct writer_walk {
    records_writer_fn *each;
    void *arg;
};

static int writer_step(void *arg, struct store_bytes key, struct store_bytes value)
{
    struct writer_walk *walk = arg;
    struct writer_record record;
    if (key.length != 8 || value.length != sizeof record)
        return damaged("writers", key.length == 8 ? records_key_u64_of(key.data) : 0);
    memcpy(&record, value.data, sizeof record);
    struct writer writer = {
        .handle = records_key_u64_of(key.data), .ino = record.ino, .access = record.access};
    memcpy(writer.client, record.client, sizeof writer.client);
    return walk->each(walk->arg, &writer);
}

int records_writer_each(struct store_txn *txn, records_writer_fn *each, void *arg)
{
    struct writer_walk walk = {.each = each, .arg = arg};
    return store_each(txn, STORE_WRITERS, (struct store_bytes){"", 0}, writer_step, &walk);
}

/* ---- shared pointers ---------------------------------------------------- */

struct pointer_record {
    uint64_t ino;       /*  0 */
    int64_t value;      /*  8 */
    int64_t used_ns;    /* 16 */
    uint8_t client[16]; /* 24 */
    uint32_t access;    /* 40 */
    uint32_t reserved;  /* 44 */
};
static_assert(sizeof(struct pointer_record) == 48, "format");

static int pointer_decode(uint64_t handle, struct store_bytes raw, struct pointer *pointer)
{
    struct pointer_record record;
    if (raw.length != sizeof record)
        return damaged("shared pointers", handle);
    memcpy(&record, raw.data, sizeof record);
    *pointer = (struct pointer){.handle = handle,
                                .ino = record.ino,
                                .value = record.value,
                                .used_ns = record.used_ns,
                                .access = record.access};
    memcpy(pointer->client, record.client, sizeof pointer->client);
    return record.value < 0 ? damaged("shared pointers", handle) : 0;
}

int records_pointer_get(struct store_txn *txn, uint64_t handle, struct pointer *pointer)
{
    struct ino_key key;
    struct store_bytes raw;
    int error = store_get(txn, STORE_POINTERS, key_of(&key, handle), &raw);
    return error ? error : pointer_decode(handle, raw, pointer);
}

int records_pointer_put(struct store_txn *txn, const struct pointer *pointer)
{
    struct ino_key key;
    struct pointer_record record = {.ino = pointer->ino,
                                    .value = pointer->value,
                                    .used_ns = pointer->used_ns,
                                    .access = pointer->access};
    memcpy(record.client, pointer->client, sizeof record.client);
    return store_put(txn, STORE_POINTERS, key_of(&key, pointer->handle),
                     (struct store_bytes){&record, sizeof record});
}

int records_pointer_delete(struct store_txn *txn, uint64_t handle)
{
    return records_unmark(txn, STORE_POINTERS, handle);
}

struct pointer_walk {
    records_pointer_fn *each;
    void *arg;
};

static int pointer_step(void *arg, struct store_bytes key, struct store_bytes value)
{
    struct pointer_walk *walk = arg;
    struct pointer pointer;
    if (key.length != 8)
        return damaged("shared pointers", 0);
    int error = pointer_decode(records_key_u64_of(key.data), value, &pointer);
    return error ? error : walk->each(walk->arg, &pointer);
}

int records_pointer_each(struct store_txn *txn, records_pointer_fn *each, void *arg)
{
    struct pointer_walk walk = {.each = each, .arg = arg};
    return store_each(txn, STORE_POINTERS, (struct store_bytes){"", 0}, pointer_step, &walk);
}
