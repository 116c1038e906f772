/* SPDX-License-Identifier: Apache-2.0 */
/*
 * versions.h: what differs between the inside of Open MPI 4.1 and that of 5.0. Only what
 * the component touches is here; what differs between their ROMIOs is in compat.h.
 */
#ifndef OPENMPI_VERSIONS_H
#define OPENMPI_VERSIONS_H

#include <stdbool.h>
#include <stdio.h>

#include "mpi.h"
#include "opal/util/info.h"

#if __has_include("opal/threads/mutex.h")

/* ---- Open MPI 4.1 ----------------------------------------------------- */

#include "opal/threads/mutex.h"

/* Texts of those who ask to hear of a hint. */
typedef char info_text_t;

/* The n-th key; room is for MPI_MAX_INFO_KEY + 1 bytes. */
static inline bool info_nth_key(opal_info_t *info, int n, char *key)
{
    return opal_info_get_nthkey(info, n, key) == OPAL_SUCCESS;
}

/* A key's value, if it is there; room is for MPI_MAX_INFO_VAL + 1 bytes. */
static inline bool info_value(opal_info_t *info, char *key, char *value)
{
    int is_found = 0;
    opal_info_get(info, key, MPI_MAX_INFO_VAL, value, &is_found);
    return is_found;
}

#else

/* ---- Open MPI 5.0 ----------------------------------------------------- */

#include "opal/mca/threads/mutex.h"

typedef const char info_text_t;

static inline bool info_nth_key(opal_info_t *info, int n, char *key)
{
    opal_cstring_t *text;
    if (opal_info_get_nthkey(info, n, &text) != OPAL_SUCCESS)
        return false;
    snprintf(key, MPI_MAX_INFO_KEY + 1, "%s", text->string);
    OBJ_RELEASE(text);
    return true;
}

static inline bool info_value(opal_info_t *info, const char *key, char *value)
{
    opal_cstring_t *text;
    int is_found = 0;
    opal_info_get(info, key, &text, &is_found);
    if (!is_found)
        return false;
    snprintf(value, MPI_MAX_INFO_VAL + 1, "%s", text->string);
    OBJ_RELEASE(text);
    return true;
}

#endif

#endif
