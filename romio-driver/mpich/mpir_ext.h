/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mpir_ext.h: what ROMIO wants of the MPICH that it is a part of. As a library of
 * its own it has no way to MPICH's, so this header stands in for MPICH's of the
 * same name, and host.c for what is behind it.
 */
#ifndef MPICH_MPIR_EXT_H
#define MPICH_MPIR_EXT_H

#include <assert.h>

#include "mpi.h"

#define MPIR_Ext_assert(condition) assert(condition)

/* One thread at a time is inside ROMIO; it may enter again. */
void MPIR_Ext_cs_enter(void);
void MPIR_Ext_cs_exit(void);

int MPIR_Ext_init(void);
/* Whether a datatype is committed cannot be asked from outside: it is taken to be. */
int MPIR_Ext_datatype_iscommitted(MPI_Datatype datatype);

#endif
