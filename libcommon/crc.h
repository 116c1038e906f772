/* SPDX-License-Identifier: Apache-2.0 */
/* crc.h: CRC32C (Castagnoli, RFC 3720 appendix B.4) by ISA-L. */
#ifndef COMMON_CRC_H
#define COMMON_CRC_H

#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (0 to begin) over `length` bytes. The check value of
 * "123456789" is 0xe3069283. */
uint32_t crc_of(uint32_t crc, const void *data, size_t length);

/* That of A followed by B, from the two and B's length; costs less than a memory access when that is
 * CRC_BLOCK, else up to a microsecond. */
enum { CRC_BLOCK = 4096 };
uint32_t crc_join(uint32_t a, uint32_t b, uint64_t b_length);

#endif
