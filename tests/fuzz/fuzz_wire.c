/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_wire: any bytes as any message. The first byte chooses the message, the
 * rest is decoded. Nothing may be read outside of it, and what decodes must
 * encode to the very same bytes, because a message has one encoding only.
 */
#include "fuzz.h"
#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || data[0] >= wire_description_count)
        return -1; /* not worth keeping */
    const struct wire_description *message = &wire_descriptions[data[0]];
    const uint8_t *encoded = data + 1;
    size_t length = size - 1;
    void *value = calloc(1, message->struct_size);
    require(value != NULL);
    if (message->decode(encoded, length, value) == 0) {
        uint8_t *again = malloc(length + 1);
        require(again != NULL);
        require(message->encode(again, length, value) == (ssize_t)length);
        require(memcmp(again, encoded, length) == 0);
        require(message->decode(again, length, value) == 0);
        free(again);
    }
    free(value);
    return 0;
}
