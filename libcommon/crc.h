/* SPDX-License-Identifier: Apache-2.0 */
/* crc.h: CRC32C (Castagnoli, RFC 3720 appendix B.4) by ISA-L. */
#ifndef COMMON_CRC_H
#define COMMON_CRC_H

#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (0 to begin) over `length` bytes. The check value of
 * "123456789" is 0xe3069283. */
uint32_t crc_of(uint32_t crc, const void *data, size_t length);

#endif
