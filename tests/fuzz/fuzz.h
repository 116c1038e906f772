/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz.h: what the fuzzers share. A program of its own each: its LLVMFuzzerTestOneInput() is called with one
 * input after the other, and what ends the program is a finding.
 */
#ifndef TEST_FUZZ_H
#define TEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void require(int condition)
{
    if (!condition)
        abort();
}

/* The input as a text, of exactly that many bytes; to be freed. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    require(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

#endif
