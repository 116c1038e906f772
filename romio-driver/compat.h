/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compat.h: what differs between the ROMIOs that the driver is compiled into.
 *
 *   romio321   Open MPI 4.1
 *   romio341   Open MPI 5.0
 *   ROMIO of MPICH 4.0, and of 4.1 and later
 *
 * Each difference has a name here; no other file of the driver asks for a
 * version. What differs between the MPIs around ROMIO is in host.h.
 *
 * romio-features looks into the headers and defines:
 *
 *   ROMIO_HAS_SET_LOCK        the table of functions ends with one that locks
 *   ROMIO_COUNTS_ARE_AINT     the table's counts are MPI_Aint, not int
 *   ROMIO_RESOLVE_TELLS       ADIO_ResolveFileType() returns whether the path
 *                             has a prefix to take off
 *   ROMIO_HAS_LARGE_COUNTS    it has MPI-4's calls for files, with an MPI_Count: ..._c
 *   ROMIO_FLAT_IS_ATTRIBUTE   flattened datatypes are attributes of the types,
 *                             not one list of all
 */
#ifndef ROMIO_COMPAT_H
#define ROMIO_COMPAT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "adio.h"
#include "adio_extern.h"

/* ---- the table of functions ------------------------------------------- */

/* How many of a datatype a call moves. */
#ifdef ROMIO_COUNTS_ARE_AINT
typedef MPI_Aint romio_count_t;
#else
typedef int romio_count_t;
#endif

/* What ADIO_ResolveFileType() returns: cast the answer to it. */
#ifdef ROMIO_RESOLVE_TELLS
typedef int romio_resolved_t;
#else
typedef void romio_resolved_t;
#endif

/* ---- calls for files ------------------------------------------------- */

/* COMPAT_COUNTED(call)(..., COMPAT_COUNT(count), ...): with the largest count that ROMIO takes. */
#ifdef ROMIO_HAS_LARGE_COUNTS
#define COMPAT_COUNTED(call) call##_c
#define COMPAT_COUNT(count)  (count)
#else
#define COMPAT_COUNTED(call) call
#define COMPAT_COUNT(count)  ((int)(count))
#endif

/* ROMIO's own, where calls.c has functions for the driver's files: see romio.mk. */
int romio_File_set_atomicity(MPI_File handle, int flag);
int romio_File_get_atomicity(MPI_File handle, int *flag);
int romio_File_read_ordered(MPI_File handle, void *buffer, int count, MPI_Datatype datatype,
                            MPI_Status *status);
int romio_File_read_ordered_c(MPI_File handle, void *buffer, MPI_Count count, MPI_Datatype datatype,
                              MPI_Status *status);
int romio_File_write_ordered(MPI_File handle, const void *buffer, int count, MPI_Datatype datatype,
                             MPI_Status *status);
int romio_File_write_ordered_c(MPI_File handle, const void *buffer, MPI_Count count, MPI_Datatype datatype,
                               MPI_Status *status);
int romio_File_read_ordered_begin(MPI_File handle, void *buffer, int count, MPI_Datatype datatype);
int romio_File_read_ordered_begin_c(MPI_File handle, void *buffer, MPI_Count count, MPI_Datatype datatype);
int romio_File_write_ordered_begin(MPI_File handle, const void *buffer, int count, MPI_Datatype datatype);
int romio_File_write_ordered_begin_c(MPI_File handle, const void *buffer, MPI_Count count,
                                     MPI_Datatype datatype);

/* ---- flattened datatypes ---------------------------------------------- */

/*
 * compat_flat_find(): what ROMIO keeps for a datatype, or NULL.
 * compat_flat_keep(): makes ROMIO keep these pieces for it. The arrays come from
 *     ADIOI_Malloc() and belong to ROMIO from then on.
 * compat_flat_forget(): where nothing else does, takes it away before the type's
 *     handle may come to stand for another type.
 */
#ifdef ROMIO_FLAT_IS_ATTRIBUTE

/* A type's node goes with the type, so contiguous types have one as well. */
#define COMPAT_FLATTENS_CONTIGUOUS true

/* ADIOI_Flatten_datatype() returns the node. */
typedef ADIOI_Flatlist_node *romio_flattened_t;

static inline ADIOI_Flatlist_node *compat_flat_find(MPI_Datatype datatype)
{
    ADIOI_Flatlist_node *node = NULL;
    int is_found = 0;
    if (ADIOI_Flattened_type_keyval == MPI_KEYVAL_INVALID)
        MPI_Type_create_keyval(ADIOI_Flattened_type_copy, ADIOI_Flattened_type_delete,
                               &ADIOI_Flattened_type_keyval, NULL);
    MPI_Type_get_attr(datatype, ADIOI_Flattened_type_keyval, &node, &is_found);
    return is_found ? node : NULL;
}

/* Both arrays are freed as one. */
static inline ADIOI_Flatlist_node *compat_flat_keep(MPI_Datatype datatype, ADIO_Offset *offsets,
                                                    ADIO_Offset *lengths, size_t count)
{
    ADIOI_Flatlist_node *node = ADIOI_Calloc(1, sizeof *node);
    node->type = datatype;
    node->count = (MPI_Count)count;
    node->blocklens = ADIOI_Realloc(lengths, 2 * count * sizeof *lengths);
    node->indices = node->blocklens + count;
    memcpy(node->indices, offsets, count * sizeof *offsets);
    ADIOI_Free(offsets);
    node->lb_idx = node->ub_idx = -1;
    node->refct = 1;
    for (size_t i = 0; i < count; i++) {
        if (node->indices[i] < 0)
            node->flag |= ADIOI_TYPE_NEGATIVE;
        if (i > 0 && node->indices[i] < node->indices[i - 1])
            node->flag |= ADIOI_TYPE_DECREASE;
        if (i > 0 && node->indices[i] < node->indices[i - 1] + node->blocklens[i - 1])
            node->flag |= ADIOI_TYPE_OVERLAP;
    }
    MPI_Type_set_attr(datatype, ADIOI_Flattened_type_keyval, node);
    return node;
}

static inline void compat_flat_forget(MPI_Datatype datatype)
{
    (void)datatype;
}

#else

/* A node of a contiguous type would stay in the list for ever. */
#define COMPAT_FLATTENS_CONTIGUOUS false

typedef void romio_flattened_t;

static inline ADIOI_Flatlist_node *compat_flat_find(MPI_Datatype datatype)
{
    ADIOI_Flatlist_node *node = ADIOI_Flatlist;
    while (node != NULL && node->type != datatype)
        node = node->next;
    return node;
}

/* The list's first node is of no type; the order of the others is of no matter. */
static inline ADIOI_Flatlist_node *compat_flat_keep(MPI_Datatype datatype, ADIO_Offset *offsets,
                                                    ADIO_Offset *lengths, size_t count)
{
    ADIOI_Flatlist_node *node = ADIOI_Calloc(1, sizeof *node);
    node->type = datatype;
    node->count = (MPI_Count)count;
    node->blocklens = lengths;
    node->indices = offsets;
    node->lb_idx = node->ub_idx = -1;
    node->next = ADIOI_Flatlist->next;
    ADIOI_Flatlist->next = node;
    return node;
}

static inline void compat_flat_forget(MPI_Datatype datatype)
{
    ADIOI_Delete_flattened(datatype);
}

#endif

#endif
