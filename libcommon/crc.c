/* SPDX-License-Identifier: Apache-2.0 */
#include "crc.h"

#include <isa-l/crc.h>
#include <pthread.h>

/* The library takes an int for the length. */
#define PIECE_BYTES_MAX ((size_t)1 << 30)

uint32_t crc_of(uint32_t crc, const void *data, size_t length)
{
    unsigned char *at = (unsigned char *)data; /* only read, whatever the prototype says */
    /* The library leaves the inversions before and after to its caller. */
    uint32_t state = ~crc;
    while (length > 0) {
        size_t piece = length < PIECE_BYTES_MAX ? length : PIECE_BYTES_MAX;
        state = crc32_iscsi(at, (int)piece, state);
        at += piece;
        length -= piece;
    }
    return ~state;
}

/* ---- joining ------------------------------------------------------------- */

/*
 * A checksum is a polynomial over GF(2) modulo the generator; bytes of zeros behind A multiply it by a
 * power of x, and B's is added. The powers come from the squares of x, as in zlib's crc32_combine() by
 * Mark Adler. Bits are reflected: 1 << 31 is 1, and 1 << 30 is x.
 */
#define POLYNOMIAL UINT32_C(0x82f63b78)

static uint32_t times(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (uint32_t bit = UINT32_C(1) << 31; a; bit >>= 1) {
        if (a & bit) {
            product ^= b;
            a ^= bit;
        }
        b = b & 1 ? b >> 1 ^ POLYNOMIAL : b >> 1;
    }
    return product;
}

static pthread_once_t tables_once = PTHREAD_ONCE_INIT;
static uint32_t squares[64];         /* x to the power of 2^n */
static uint32_t block_table[4][256]; /* what each byte of A's becomes, CRC_BLOCK zeros later */

static uint32_t power_of(uint64_t bytes)
{
    uint32_t power = UINT32_C(1) << 31;
    for (unsigned n = 3; bytes; n++, bytes >>= 1)
        if (bytes & 1)
            power = times(squares[n], power);
    return power;
}

static void make_tables(void)
{
    squares[0] = UINT32_C(1) << 30;
    for (unsigned n = 1; n < 64; n++)
        squares[n] = times(squares[n - 1], squares[n - 1]);
    const uint32_t power = power_of(CRC_BLOCK);
    for (unsigned byte = 0; byte < 4; byte++)
        for (uint32_t value = 0; value < 256; value++)
            block_table[byte][value] = times(power, value << (8 * byte));
}

uint32_t crc_join(uint32_t a, uint32_t b, uint64_t b_length)
{
    if (a == 0) /* of nothing, or as good as that: zeros behind it leave it 0 */
        return b;
    pthread_once(&tables_once, make_tables);
    if (b_length == CRC_BLOCK)
        return block_table[0][a & 0xff] ^ block_table[1][a >> 8 & 0xff] ^ block_table[2][a >> 16 & 0xff] ^
               block_table[3][a >> 24] ^ b;
    /* Records of one length come in a row. */
    static _Thread_local uint64_t known_length;
    static _Thread_local uint32_t known_power = UINT32_C(1) << 31;
    if (known_length != b_length) {
        known_power = power_of(b_length);
        known_length = b_length;
    }
    return times(known_power, a) ^ b;
}
