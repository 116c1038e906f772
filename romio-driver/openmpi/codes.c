/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codes.c: error codes with the library's texts, in Open MPI.
 *
 * MPI knows an error by a number. To carry the library's text, a code is added
 * to MPI's for each failure and the text attached to it. Codes can't be given
 * back, so a few for each class are used in turn: a program that fails for ever
 * needs no more than those, and the latest texts stay readable.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "driver.h"

#define CODES_PER_CLASS 8u
#define CLASSES_MAX     32u

/* The codes that were added for one class. */
struct code_ring {
    int class;
    int codes[CODES_PER_CLASS];
    char texts[CODES_PER_CLASS][FAILURE_TEXT_BYTES];
    unsigned used;
    unsigned next;
};

static struct code_ring rings[CLASSES_MAX];
static pthread_mutex_t rings_lock = PTHREAD_MUTEX_INITIALIZER;

static struct code_ring *ring_of(int class)
{
    for (size_t i = 0; i < CLASSES_MAX; i++) {
        if (rings[i].used == 0)
            rings[i].class = class;
        if (rings[i].class == class)
            return &rings[i];
    }
    return NULL;
}

int failure_code(const struct failure *failure)
{
    if (failure->class == MPI_SUCCESS)
        return MPI_SUCCESS;
    int code = failure->class; /* the class is a code too: all that is left when adding one fails */
    pthread_mutex_lock(&rings_lock);
    struct code_ring *ring = ring_of(failure->class);
    if (ring == NULL)
        goto unlock;
    for (unsigned i = 0; i < ring->used; i++) {
        if (strcmp(ring->texts[i], failure->text) == 0) {
            code = ring->codes[i];
            goto unlock;
        }
    }
    unsigned slot = ring->next;
    if (slot == ring->used) {
        if (MPI_Add_error_code(failure->class, &ring->codes[slot]) != MPI_SUCCESS)
            goto unlock;
        ring->used++;
    }
    ring->next = (slot + 1) % CODES_PER_CLASS;
    code = ring->codes[slot];
    snprintf(ring->texts[slot], FAILURE_TEXT_BYTES, "%s", failure->text);
    MPI_Add_error_string(code, ring->texts[slot]);
unlock:
    pthread_mutex_unlock(&rings_lock);
    return code;
}
