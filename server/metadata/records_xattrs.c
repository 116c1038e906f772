/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of extended attributes: a record for each, so that those who have none, and inodes that are
 * looked at, cost what they did without.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "crc.h"
#include "err.h"
#include "records.h"

/* So many are taken away between two walks. */
enum { NAMES_AT_ONCE = 16 };

struct xattr_key {
    uint8_t bytes[8 + WEFT_XATTR_NAME_BYTES_MAX];
};
static_assert(sizeof(struct xattr_key) <= STORE_KEY_BYTES_MAX, "the longest name fits a key");

static struct store_bytes key_of(struct xattr_key *key, uint64_t ino, const char *name)
{
    size_t length = strlen(name);
    assert(length <= WEFT_XATTR_NAME_BYTES_MAX);
    records_key_u64(key->bytes, ino);
    memcpy(key->bytes + 8, name, length);
    return (struct store_bytes){.data = key->bytes, .length = 8 + length};
}

/* The key is covered, too: an attribute of something else is no value of this one. */
static uint32_t crc_with(struct store_bytes key, struct store_bytes value)
{
    return crc_of(crc_of(0, key.data, key.length), value.data, value.length);
}

int records_xattr_get(struct store_txn *txn, uint64_t ino, const char *name, struct store_bytes *value)
{
    struct xattr_key space;
    struct store_bytes key = key_of(&space, ino, name), raw;
    uint32_t crc;
    int error = store_get(txn, STORE_XATTRS, key, &raw);
    if (error)
        return error;
    if (raw.length >= sizeof crc && raw.length <= sizeof crc + WEFT_XATTR_VALUE_BYTES_MAX) {
        memcpy(&crc, raw.data, sizeof crc);
        *value = (struct store_bytes){(const uint8_t *)raw.data + sizeof crc, raw.length - sizeof crc};
        if (crc == crc_with(key, *value))
            return 0;
    }
    return err_set(-EUCLEAN, "the extended attribute \"%s\" of inode %" PRIu64 " is damaged", name, ino);
}

int records_xattr_put(struct store_txn *txn, uint64_t ino, const char *name, struct store_bytes value)
{
    struct xattr_key space;
    struct store_bytes key = key_of(&space, ino, name);
    uint8_t record[sizeof(uint32_t) + WEFT_XATTR_VALUE_BYTES_MAX];
    uint32_t crc = crc_with(key, value);
    assert(value.length <= WEFT_XATTR_VALUE_BYTES_MAX);
    memcpy(record, &crc, sizeof crc);
    if (value.length)
        memcpy(record + sizeof crc, value.data, value.length);
    return store_put(txn, STORE_XATTRS, key, (struct store_bytes){record, sizeof crc + value.length});
}

int records_xattr_delete(struct store_txn *txn, uint64_t ino, const char *name)
{
    struct xattr_key key;
    return store_delete(txn, STORE_XATTRS, key_of(&key, ino, name));
}

struct walk {
    uint64_t ino;
    records_xattr_fn *each;
    void *arg;
};

enum { WALK_OVER = 1 << 30 };

static int step(void *arg, struct store_bytes key, struct store_bytes value)
{
    struct walk *walk = arg;
    const uint8_t *bytes = key.data;
    char name[WEFT_XATTR_NAME_BYTES_MAX + 1];
    if (key.length < 8 || records_key_u64_of(bytes) != walk->ino)
        return WALK_OVER;
    size_t length = key.length - 8;
    if (length == 0 || length > WEFT_XATTR_NAME_BYTES_MAX || memchr(bytes + 8, 0, length) ||
        value.length < sizeof(uint32_t))
        return err_set(-EUCLEAN, "an extended attribute of inode %" PRIu64 " is damaged", walk->ino);
    memcpy(name, bytes + 8, length);
    name[length] = 0;
    return walk->each(walk->arg, name, value.length - sizeof(uint32_t));
}

int records_xattr_each(struct store_txn *txn, uint64_t ino, records_xattr_fn *each, void *arg)
{
    struct xattr_key key;
    struct walk walk = {.ino = ino, .each = each, .arg = arg};
    int result = store_each(txn, STORE_XATTRS, key_of(&key, ino, ""), step, &walk);
    return result == WALK_OVER ? 0 : result;
}

struct gathering {
    size_t count;
    char names[NAMES_AT_ONCE][WEFT_XATTR_NAME_BYTES_MAX + 1];
};

static int gather(void *arg, const char *name, size_t size)
{
    struct gathering *gathering = arg;
    (void)size;
    memcpy(gathering->names[gathering->count++], name, strlen(name) + 1);
    return gathering->count == NAMES_AT_ONCE;
}

int records_xattrs_delete(struct store_txn *txn, uint64_t ino)
{
    struct gathering gathering;
    do {
        gathering.count = 0;
        int error = records_xattr_each(txn, ino, gather, &gathering);
        for (size_t i = 0; i < gathering.count && error >= 0; i++)
            error = records_xattr_delete(txn, ino, gathering.names[i]);
        if (error < 0)
            return error;
    } while (gathering.count == NAMES_AT_ONCE);
    return 0;
}
