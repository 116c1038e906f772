/* SPDX-License-Identifier: Apache-2.0 */
#include "inode_range.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "err.h"

/* As that of capabilities: no other signature made with the cluster key is good for this. */
static const char purpose[] = "weft inode range 1";

enum { CLIENT_BYTES = 16 };

/* False when a value is out of the wire's bounds. */
static bool compute(const uint8_t key[CONF_KEY_BYTES], const uint8_t client[CLIENT_BYTES],
                    const struct wire_inode_range *range, struct wire_mac *mac)
{
    uint8_t text[sizeof purpose + CLIENT_BYTES + 64];
    uint8_t *at = text + sizeof purpose + CLIENT_BYTES;
    const struct wire_inode_range without = {.first = range->first, .count = range->count};
    memcpy(text, purpose, sizeof purpose);
    memcpy(text + sizeof purpose, client, CLIENT_BYTES);
    ssize_t length = wire_encode_inode_range(at, (size_t)(text + sizeof text - at), &without);
    if (length < 0)
        return false;
    crypto_generichash(mac->bytes, sizeof mac->bytes, text, (size_t)(at - text) + (size_t)length, key,
                       CONF_KEY_BYTES);
    return true;
}

void inode_range_sign(const uint8_t key[CONF_KEY_BYTES], const uint8_t client[CLIENT_BYTES],
                      struct wire_inode_range *range)
{
    struct wire_mac mac;
    bool signable = compute(key, client, range, &mac);
    assert(signable);
    if (signable)
        range->mac = mac;
}

int inode_range_check(const uint8_t key[CONF_KEY_BYTES], const uint8_t client[CLIENT_BYTES],
                      const struct wire_inode_range *range)
{
    struct wire_mac mac;
    if (range->count > 0 && compute(key, client, range, &mac) &&
        sodium_memcmp(mac.bytes, range->mac.bytes, sizeof mac.bytes) == 0)
        return 0;
    return err_set(-EACCES, "the numbers from %" PRIu64 " on were not given to this client", range->first);
}
