/* SPDX-License-Identifier: Apache-2.0 */
/*
 * word.h: what stands in the files of the MPI benchmarks: a byte's place says what it is, so that every one
 * can be compared by a rank that did not write it.
 */
#ifndef BENCHMARK_WORD_H
#define BENCHMARK_WORD_H

#include <stdint.h>

/* word_at(): the eight bytes at `8 * index`. Neighbours, and runs with other seeds, differ in most bits. */
static inline uint64_t word_at(uint64_t seed, uint64_t index)
{
    uint64_t word = (index + seed) * UINT64_C(0x9e3779b97f4a7c15);
    return word ^ word >> 29;
}

#endif
