/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host.h: what the driver wants of the MPI around ROMIO beyond the standard.
 *
 * openmpi/component.c gives it inside Open MPI, mpich/ beside MPICH. What differs
 * between the ROMIOs is in compat.h.
 */
#ifndef ROMIO_HOST_H
#define ROMIO_HOST_H

#include <stdint.h>

#include "mpi.h"

/* host_walk(): calls `add` for each run of bytes that one copy of the datatype
 * selects, in the order in which MPI would send them. */
typedef void host_add_fn(void *argument, int64_t offset, int64_t length);
void host_walk(MPI_Datatype datatype, host_add_fn *add, void *argument);

/* host_request_start(): MPI_Grequest_start(), for a request that is completed
 * by nonblocking_progress(): MPI calls that from now on, Open MPI whenever it makes
 * progress, MPICH while it tests or waits for such requests. */
int host_request_start(MPI_Grequest_query_function *query, MPI_Grequest_free_function *forget,
                       MPI_Grequest_cancel_function *cancel, void *state, MPI_Request *request);

#endif
