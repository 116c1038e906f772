/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capability.h: the metadata server's signed word that a client may read or
 * write one file of a certain layout. Signed and checked with the cluster key
 * (keyed BLAKE2b of libsodium, 16 bytes). It does not expire yet.
 *
 * Threads: pure functions.
 */
#ifndef COMMON_CAPABILITY_H
#define COMMON_CAPABILITY_H

#include "conf.h"
#include "layout.h"
#include "wire.h"

void capability_sign(const uint8_t key[CONF_KEY_BYTES], struct wire_capability *capability);
/* One for this file, signed. `access` is WIRE_ACCESS_*. */
struct wire_capability capability_make(const uint8_t key[CONF_KEY_BYTES], uint64_t ino,
                                       const struct layout *layout, uint32_t access);
/* -EACCES with a text when the signature is wrong or `access` (WIRE_ACCESS_*) is not
 * granted; -EINVAL when the layout makes no sense. */
int capability_check(const uint8_t key[CONF_KEY_BYTES], const struct wire_capability *capability,
                     uint32_t access);

static inline struct layout capability_layout(const struct wire_capability *capability)
{
    return (struct layout){
        .chunk_size = capability->layout.chunk_size,
        .seed = capability->layout.seed,
        .stripe_count = capability->layout.stripe_count,
        .group_count = capability->layout.group_count,
        .host = capability->layout.host,
    };
}

#endif
