/* SPDX-License-Identifier: Apache-2.0 */
#include "capability.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>

#include "err.h"

static_assert(CONF_KEY_BYTES >= crypto_generichash_KEYBYTES_MIN &&
                  CONF_KEY_BYTES <= crypto_generichash_KEYBYTES_MAX,
              "the cluster key is a key for BLAKE2b");
static_assert(WIRE_MAC_BYTES >= crypto_generichash_BYTES_MIN, "the signature is long enough for BLAKE2b");

/* Stands before what is signed, so that no other signature made with the
 * cluster key (the handshake's) is good for a capability. */
static const char purpose[] = "weft capability 1";

/* False when a value is out of the wire's bounds, so that nobody can have sent it. */
static bool compute(const uint8_t key[CONF_KEY_BYTES], const struct wire_capability *capability,
                    struct wire_mac *mac)
{
    uint8_t text[sizeof purpose + 128];
    struct wire_capability without = *capability;
    memset(&without.mac, 0, sizeof without.mac);
    memcpy(text, purpose, sizeof purpose);
    ssize_t length = wire_encode_capability(text + sizeof purpose, sizeof text - sizeof purpose, &without);
    if (length < 0)
        return false;
    crypto_generichash(mac->bytes, sizeof mac->bytes, text, sizeof purpose + (size_t)length, key,
                       CONF_KEY_BYTES);
    return true;
}

void capability_sign(const uint8_t key[CONF_KEY_BYTES], struct wire_capability *capability)
{
    struct wire_mac mac;
    bool signable = compute(key, capability, &mac);
    assert(signable);
    if (signable)
        capability->mac = mac;
}

struct wire_capability capability_make(const uint8_t key[CONF_KEY_BYTES], uint64_t ino,
                                       const struct layout *layout, uint32_t access)
{
    struct wire_capability capability = {
        .ino = ino,
        .layout = {.chunk_size = layout->chunk_size,
                   .seed = layout->seed,
                   .stripe_count = layout->stripe_count,
                   .group_count = layout->group_count,
                   .host = layout->host},
        .access = access,
    };
    capability_sign(key, &capability);
    return capability;
}

int capability_check(const uint8_t key[CONF_KEY_BYTES], const struct wire_capability *capability,
                     uint32_t access)
{
    struct wire_mac mac;
    if (!compute(key, capability, &mac) ||
        sodium_memcmp(mac.bytes, capability->mac.bytes, sizeof mac.bytes) != 0)
        return err_set(-EACCES,
                       "the capability for inode %" PRIu64 " is not signed by this cluster's metadata server",
                       capability->ino);
    struct layout layout = capability_layout(capability);
    if (!layout_valid(&layout))
        return err_set(-EINVAL, "the capability for inode %" PRIu64 " has a layout that makes no sense",
                       capability->ino);
    if ((capability->access & access) != access)
        return err_set(-EACCES, "the capability for inode %" PRIu64 " does not allow to %s it",
                       capability->ino, access & ~capability->access & WIRE_ACCESS_WRITE ? "write" : "read");
    return 0;
}
