/* SPDX-License-Identifier: Apache-2.0 */
/*
 * failure.c: what went wrong, on its way to MPI. How it becomes an error code with
 * a text is the MPI's own matter: openmpi/codes.c, mpich/codes.c.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "driver.h"

_Static_assert(FAILURE_TEXT_BYTES <= MPI_MAX_ERROR_STRING, "a text must fit into MPI's");

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
