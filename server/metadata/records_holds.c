/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "err.h"
#include "records.h"

enum { CLIENT_BYTES = 16 };

int records_hold_put(struct store_txn *txn, uint64_t ino, const uint8_t client[16])
{
    uint8_t key[8];
    records_key_u64(key, ino);
    return store_put(txn, STORE_HOLDS, (struct store_bytes){key, sizeof key},
                     (struct store_bytes){client, CLIENT_BYTES});
}

int records_hold_delete(struct store_txn *txn, uint64_t ino)
{
    uint8_t key[8];
    records_key_u64(key, ino);
    return store_delete(txn, STORE_HOLDS, (struct store_bytes){key, sizeof key});
}

struct walk {
    records_hold_fn *each;
    void *arg;
};

static int step(void *arg, struct store_bytes key, struct store_bytes value)
{
    struct walk *walk = arg;
    uint8_t client[CLIENT_BYTES];
    if (key.length != 8 || value.length != sizeof client)
        return err_set(-EUCLEAN, "entry %" PRIu64 " of the table of holds is damaged",
                       key.length == 8 ? records_key_u64_of(key.data) : 0);
    memcpy(client, value.data, sizeof client);
    return walk->each(walk->arg, records_key_u64_of(key.data), client);
}

int records_hold_each(struct store_txn *txn, records_hold_fn *each, void *arg)
{
    struct walk walk = {.each = each, .arg = arg};
    return store_each(txn, STORE_HOLDS, (struct store_bytes){"", 0}, step, &walk);
}
