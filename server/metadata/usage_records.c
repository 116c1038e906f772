/* SPDX-License-Identifier: Apache-2.0 */
#include "usage.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "crc.h"
#include "err.h"
#include "records.h"

#define VERSION 1u

struct usage_record {
    uint16_t version;  /*  0 */
    uint8_t kind;      /*  2 */
    uint8_t zero;      /*  3 */
    uint32_t crc;      /*  4: of all, with 0 here */
    uint64_t id;       /*  8 */
    uint64_t files;    /* 16 */
    uint64_t dirs;     /* 24 */
    uint64_t bytes[2]; /* 32: the lower half first */
    uint64_t size[2];  /* 48 */
};
static_assert(sizeof(struct usage_record) == 64, "format");
static_assert(offsetof(struct usage_record, id) == 8, "format");
static_assert(offsetof(struct usage_record, bytes) == 32, "format");

struct usage_key {
    uint8_t bytes[9];
};

static struct store_bytes key_of(struct usage_key *key, enum usage_kind kind, uint64_t id)
{
    key->bytes[0] = (uint8_t)kind;
    records_key_u64(key->bytes + 1, id);
    return (struct store_bytes){.data = key->bytes, .length = sizeof key->bytes};
}

static usage_wide wide(const uint64_t halves[2])
{
    return (usage_wide)halves[1] << 64 | halves[0];
}

static int damaged(enum usage_kind kind, uint64_t id)
{
    static const char *const names[] = {
        [USAGE_USER] = "user", [USAGE_GROUP] = "group", [USAGE_DIR] = "directory"};
    return err_set(-EUCLEAN,
                   "the sums of usage of %s %" PRIu64 " are damaged; the metadata server counts them anew at "
                   "its start, once a change of them has met that",
                   names[kind], id);
}

static int decode(enum usage_kind kind, uint64_t id, struct store_bytes raw, struct usage *usage)
{
    struct usage_record record;
    if (raw.length != sizeof record)
        return damaged(kind, id);
    memcpy(&record, raw.data, sizeof record);
    const uint32_t crc = record.crc;
    record.crc = 0;
    if (record.version != VERSION || record.kind != kind || record.id != id ||
        crc != crc_of(0, &record, sizeof record))
        return damaged(kind, id);
    *usage = (struct usage){
        .files = record.files, .dirs = record.dirs, .bytes = wide(record.bytes), .size = wide(record.size)};
    return 0;
}

int usage_record_get(struct store_txn *txn, enum usage_kind kind, uint64_t id, struct usage *usage)
{
    struct usage_key key;
    struct store_bytes raw;
    *usage = (struct usage){0};
    int error = store_get(txn, STORE_USAGE, key_of(&key, kind, id), &raw);
    if (error)
        return error == -ENOENT ? 0 : error;
    return decode(kind, id, raw, usage);
}

int usage_record_put(struct store_txn *txn, enum usage_kind kind, uint64_t id, const struct usage *usage)
{
    struct usage_key space;
    struct store_bytes key = key_of(&space, kind, id);
    if (!usage->files && !usage->dirs && !usage->bytes && !usage->size) {
        int error = store_delete(txn, STORE_USAGE, key);
        return error == -ENOENT ? 0 : error;
    }
    struct usage_record record = {
        .version = VERSION,
        .kind = (uint8_t)kind,
        .id = id,
        .files = usage->files,
        .dirs = usage->dirs,
        .bytes = {(uint64_t)usage->bytes, (uint64_t)(usage->bytes >> 64)},
        .size = {(uint64_t)usage->size, (uint64_t)(usage->size >> 64)},
    };
    record.crc = crc_of(0, &record, sizeof record);
    return store_put(txn, STORE_USAGE, key, (struct store_bytes){&record, sizeof record});
}

struct walk {
    enum usage_kind kind;
    usage_each_fn *each;
    void *arg;
};

enum { WALK_OVER = 1 << 30 };

static int step(void *arg, struct store_bytes key, struct store_bytes value)
{
    const struct walk *walk = arg;
    const uint8_t *bytes = key.data;
    struct usage usage;
    if (bytes[0] != walk->kind)
        return WALK_OVER;
    if (key.length != sizeof((struct usage_key *)0)->bytes)
        return damaged(walk->kind, 0);
    const uint64_t id = records_key_u64_of(bytes + 1);
    int error = decode(walk->kind, id, value, &usage);
    return error ? error : walk->each(walk->arg, id, &usage);
}

int usage_record_each(struct store_txn *txn, enum usage_kind kind, uint64_t from, usage_each_fn *each,
                      void *arg)
{
    struct usage_key key;
    struct walk walk = {.kind = kind, .each = each, .arg = arg};
    int result = store_each(txn, STORE_USAGE, key_of(&key, kind, from), step, &walk);
    return result == WALK_OVER ? 0 : result;
}
