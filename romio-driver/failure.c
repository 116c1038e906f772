/* SPDX-License-Identifier: Apache-2.0 */
/*
 * failure.c: what went wrong, as MPI tells it.
 *
 * MPI knows an error by a number. To carry the library's text, a code is added
 * to MPI's for each failure and the text attached to it. Codes can't be given
 * back, so a few for each class are used in turn: a program that fails for ever
 * needs no more than those, and the latest texts stay readable.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "driver.h"

#define CODES_PER_CLASS 8u
#define CLASSES_MAX     32u

_Static_assert(FAILURE_TEXT_BYTES <= MPI_MAX_ERROR_STRING, "a text must fit into MPI's");

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

static int class_of(int error)
{
    switch (error) {
    case -ENOENT:
        return MPI_ERR_NO_SUCH_FILE;
    case -EEXIST:
        return MPI_ERR_FILE_EXISTS;
    case -EACCES:
    case -EPERM:
    case -EBADF: /* not opened for that */
        return MPI_ERR_ACCESS;
    case -EROFS:
        return MPI_ERR_READ_ONLY;
    case -ENOSPC:
    case -EFBIG:
        return MPI_ERR_NO_SPACE;
    case -EDQUOT:
        return MPI_ERR_QUOTA;
    case -ENAMETOOLONG:
    case -ENOTDIR:
    case -EISDIR:
    case -ELOOP:
        return MPI_ERR_BAD_FILE;
    case -EBUSY:
    case -ETXTBSY:
        return MPI_ERR_FILE_IN_USE;
    case -ENOMEM:
        return MPI_ERR_NO_MEM;
    case -EINVAL:
        return MPI_ERR_ARG;
    case -EOPNOTSUPP:
    case -ENOSYS:
        return MPI_ERR_UNSUPPORTED_OPERATION;
    default:
        return MPI_ERR_IO;
    }
}

void failure_say(struct failure *failure, int class, const char *text)
{
    failure->class = class;
    snprintf(failure->text, sizeof failure->text, "%s", text);
}

void failure_set(struct failure *failure, int error)
{
    const char *text = weft_error();
    failure_say(failure, class_of(error), text[0] != '\0' ? text : strerror(-error));
}

bool failure_agree(struct failure *failure, MPI_Comm comm)
{
    struct {
        int failed;
        int rank;
    } mine = {.failed = failure->class != MPI_SUCCESS}, first;
    MPI_Comm_rank(comm, &mine.rank);
    MPI_Allreduce(&mine, &first, 1, MPI_2INT, MPI_MAXLOC, comm);
    if (!first.failed)
        return false;
    MPI_Bcast(failure, sizeof *failure, MPI_BYTE, first.rank, comm);
    return true;
}

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

int failure_report(ssize_t result)
{
    struct failure failure;
    if (result >= 0)
        return MPI_SUCCESS;
    failure_set(&failure, (int)result);
    return failure_code(&failure);
}

void failure_before_start(struct failure *failure)
{
    failure_say(failure, MPI_ERR_ARG, "the file view names bytes before the start of the file");
}
