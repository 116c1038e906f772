/* SPDX-License-Identifier: Apache-2.0 */
#include "answers.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "records.h"
#include "wire.h"

/* How many are looked at or dropped in one go. */
enum { BATCH = 512 };

struct answer_key {
    uint8_t bytes[24];
};

struct answer_head {
    int64_t time_ns;    /*  0 */
    uint16_t operation; /*  8 */
    uint8_t reserved[6];
};
static_assert(sizeof(struct answer_head) == 16, "format");

static struct store_bytes key_of(struct answer_key *key, const uint8_t client[16], uint64_t request)
{
    memcpy(key->bytes, client, 16);
    records_key_u64(key->bytes + 16, request);
    return (struct store_bytes){.data = key->bytes, .length = sizeof key->bytes};
}

int answers_get(struct store_txn *txn, const uint8_t client[16], uint64_t request, uint16_t operation,
                struct store_bytes *body)
{
    struct answer_key key;
    struct answer_head head;
    struct store_bytes raw;
    int error = store_get(txn, STORE_ANSWERS, key_of(&key, client, request), &raw);
    if (error)
        return error == -ENOENT ? 0 : error;
    if (raw.length < sizeof head)
        return err_set(-EUCLEAN, "the kept answer to request %" PRIu64 " is damaged", request);
    memcpy(&head, raw.data, sizeof head);
    if (head.operation != operation)
        return err_set(-EPROTO, "request %" PRIu64 " was a %s before and is a %s now", request,
                       wire_operation_name(head.operation), wire_operation_name(operation));
    *body = (struct store_bytes){(const uint8_t *)raw.data + sizeof head, raw.length - sizeof head};
    return 1;
}

int answers_put(struct store_txn *txn, const uint8_t client[16], uint64_t request, uint16_t operation,
                int64_t now_ns, struct store_bytes body)
{
    struct answer_key key;
    struct answer_head head = {.time_ns = now_ns, .operation = operation};
    uint8_t small[1024], *raw = small;
    size_t length = sizeof head + body.length;
    if (length > sizeof small) {
        raw = malloc(length);
        if (!raw)
            return err_set(-ENOMEM, "no memory for an answer");
    }
    memcpy(raw, &head, sizeof head);
    if (body.length)
        memcpy(raw + sizeof head, body.data, body.length);
    int error =
        store_put(txn, STORE_ANSWERS, key_of(&key, client, request), (struct store_bytes){raw, length});
    if (raw != small)
        free(raw);
    return error;
}

/* ---- dropping ----------------------------------------------------------- */

struct gathering {
    struct answer_key keys[BATCH];
    size_t count;
    /* pruning */
    const uint8_t *client;
    uint64_t settled;
    /* expiring */
    struct opens *opens;
    int64_t before_ns;
    size_t seen;
    struct answers_cursor *cursor;
};

static int drop(struct store_txn *txn, const struct gathering *gathering)
{
    int error = 0;
    for (size_t i = 0; i < gathering->count && !error; i++)
        error = store_delete(txn, STORE_ANSWERS,
                             (struct store_bytes){gathering->keys[i].bytes, sizeof gathering->keys[i].bytes});
    return error;
}

static int gather_settled(void *arg, struct store_bytes key, struct store_bytes value)
{
    struct gathering *gathering = arg;
    (void)value;
    const uint8_t *bytes = key.data;
    if (key.length != 24 || memcmp(bytes, gathering->client, 16) != 0 ||
        records_key_u64_of(bytes + 16) >= gathering->settled || gathering->count == BATCH)
        return 1;
    memcpy(gathering->keys[gathering->count++].bytes, bytes, 24);
    return 0;
}

int answers_prune(struct store_txn *txn, const uint8_t client[16], uint64_t settled)
{
    struct answer_key first;
    struct gathering gathering;
    gathering.client = client;
    gathering.settled = settled;
    do {
        gathering.count = 0;
        int result = store_each(txn, STORE_ANSWERS, key_of(&first, client, 0), gather_settled, &gathering);
        if (result < 0)
            return result;
        int error = drop(txn, &gathering);
        if (error)
            return error;
    } while (gathering.count == BATCH);
    return 0;
}

static int gather_old(void *arg, struct store_bytes key, struct store_bytes value)
{
    struct gathering *gathering = arg;
    struct answer_head head;
    if (gathering->seen == BATCH) {
        memcpy(gathering->cursor->key, key.data, key.length < 24 ? key.length : 24);
        return 1;
    }
    gathering->seen++;
    if (key.length != 24 || value.length < sizeof head)
        return 0;
    memcpy(&head, value.data, sizeof head);
    const struct opens_client *client = opens_client_find(gathering->opens, key.data);
    if (head.time_ns < gathering->before_ns && (!client || client->connections == 0))
        memcpy(gathering->keys[gathering->count++].bytes, key.data, 24);
    return 0;
}

int answers_expire(struct store_txn *txn, struct answers_cursor *cursor, struct opens *opens,
                   int64_t before_ns)
{
    struct gathering gathering;
    gathering.count = gathering.seen = 0;
    gathering.opens = opens;
    gathering.before_ns = before_ns;
    gathering.cursor = cursor;
    struct store_bytes from = {cursor->key, cursor->begun ? sizeof cursor->key : 0};
    int result = store_each(txn, STORE_ANSWERS, from, gather_old, &gathering);
    if (result < 0)
        return result;
    cursor->begun = result == 1; /* else the end was reached */
    return drop(txn, &gathering);
}
