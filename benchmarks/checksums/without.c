/* SPDX-License-Identifier: Apache-2.0 */
/*
 * without.c: to be preloaded by clients and servers alike: all checksums are 0, so all of them are right, and
 * cost nothing. It is what the benchmark compares with; nobody else should want it.
 */
#include <stdint.h>

/* ISA-L's, by which libcommon's crc.c makes all of its checksums (CRC32C). */
unsigned int crc32_iscsi(unsigned char *buffer, int length, unsigned int crc);

unsigned int crc32_iscsi(unsigned char *buffer, int length, unsigned int crc)
{
    (void)buffer;
    (void)length;
    (void)crc;
    return UINT32_MAX; /* crc.c inverts it */
}
