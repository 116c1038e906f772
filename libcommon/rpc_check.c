/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checksums of messages: of the header always, of the payload unless the configuration says no. A
 * message that is not what was sent ends its connection, and the client sends anew what was not
 * answered: as after any other failure of the network.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "crc.h"
#include "err.h"
#include "rpc_internal.h"

enum { TOKEN_AT = 8, CRC_AT = ENVELOPE_BYTES - 4 };

static uint32_t header_crc(const uint8_t *header, size_t length)
{
    static const uint8_t zeros[ENVELOPE_BYTES - CRC_AT];
    uint32_t crc = crc_of(0, header, CRC_AT);
    crc = crc_of(crc, zeros, sizeof zeros);
    return crc_of(crc, header + ENVELOPE_BYTES, length - ENVELOPE_BYTES);
}

void rpc_header_sum(uint8_t *header, size_t length)
{
    const uint32_t crc = header_crc(header, length);
    for (int i = 0; i < 4; i++)
        header[CRC_AT + i] = (uint8_t)(crc >> (8 * i));
}

bool rpc_header_is_whole(const void *header, size_t length)
{
    uint8_t bytes[4];
    if (length < ENVELOPE_BYTES)
        return false;
    const uint32_t crc = header_crc(header, length);
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(crc >> (8 * i));
    return memcmp(bytes, (const uint8_t *)header + CRC_AT, sizeof bytes) == 0;
}

uint64_t rpc_header_token(const void *header, size_t length)
{
    uint64_t token = 0;
    for (unsigned i = 0; i < 8 && length >= ENVELOPE_BYTES; i++)
        token |= (uint64_t)((const uint8_t *)header)[TOKEN_AT + i] << (8 * i);
    return token;
}

uint32_t rpc_payload_crc(const struct iovec *payload, size_t count)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < count; i++)
        crc = crc_of(crc, payload[i].iov_base, payload[i].iov_len);
    return crc;
}

struct rpc_sum rpc_sum_of(const struct wire_envelope *envelope)
{
    return (struct rpc_sum){.known = envelope->flags & WIRE_PAYLOAD_CRC, .crc = envelope->payload_crc};
}

int rpc_payload_check(struct rpc *rpc, const char *who, struct rpc_sum sum, const void *payload,
                      size_t length)
{
    if (!sum.known || crc_of(0, payload, length) == sum.crc)
        return 0;
    return rpc_payload_damaged(rpc, who, length);
}

int rpc_payload_damaged(struct rpc *rpc, const char *who, size_t length)
{
    rpc_count(rpc, COUNT_MESSAGES_DAMAGED, 1);
    return err_set(-EBADMSG, "%s: %zu bytes were damaged on their way, or changed while they were sent", who,
                   length);
}
