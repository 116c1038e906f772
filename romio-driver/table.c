/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.c: the driver as ROMIO sees it, and how ROMIO comes to see it.
 *
 * ROMIO has no way to add a file system from outside. The driver is linked
 * so that its calls of ADIO_ResolveFileType() arrive here first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"

ADIOI_Fns driver_table = {
    .ADIOI_xxx_Open = NULL, /* for deferred open, which ADIO_SCALABLE_OPEN turns off */
    .ADIOI_xxx_OpenColl = driver_open_coll,
    .ADIOI_xxx_ReadContig = driver_read_contig,
    .ADIOI_xxx_WriteContig = driver_write_contig,
    .ADIOI_xxx_ReadStridedColl = driver_read_coll,
    .ADIOI_xxx_WriteStridedColl = driver_write_coll,
    .ADIOI_xxx_SeekIndividual = ADIOI_GEN_SeekIndividual,
    .ADIOI_xxx_Fcntl = driver_fcntl,
    .ADIOI_xxx_SetInfo = driver_set_info,
    .ADIOI_xxx_ReadStrided = driver_read_strided,
    .ADIOI_xxx_WriteStrided = driver_write_strided,
    .ADIOI_xxx_Close = driver_close,
    .ADIOI_xxx_IreadContig = driver_iread_contig,
    .ADIOI_xxx_IwriteContig = driver_iwrite_contig,
    /* ROMIO gives generalized requests to its caller and never asks these. */
    .ADIOI_xxx_ReadDone = ADIOI_FAKE_IODone,
    .ADIOI_xxx_WriteDone = ADIOI_FAKE_IODone,
    .ADIOI_xxx_ReadComplete = ADIOI_FAKE_IOComplete,
    .ADIOI_xxx_WriteComplete = ADIOI_FAKE_IOComplete,
    .ADIOI_xxx_IreadStrided = driver_iread_strided,
    .ADIOI_xxx_IwriteStrided = driver_iwrite_strided,
    .ADIOI_xxx_Flush = driver_flush,
    .ADIOI_xxx_Resize = driver_resize,
    .ADIOI_xxx_Delete = driver_delete,
    .ADIOI_xxx_Feature = driver_feature,
    .fsname = DRIVER_NAME,
    .ADIOI_xxx_IreadStridedColl = driver_iread_coll,
    .ADIOI_xxx_IwriteStridedColl = driver_iwrite_coll,
};

bool driver_path_match(const char *path)
{
    const char *forced = getenv("ROMIO_FSTYPE_FORCE");
    if (forced != NULL && forced[0] != '\0')
        return weft_path_match(forced);
    return path != NULL && weft_path_match(path);
}

/* ROMIO takes the prefix off a path before it calls the driver. A path that is
 * ours by ROMIO_FSTYPE_FORCE alone may be relative: then it begins in the folder
 * that the variable names behind its prefix, or at the root. */
void driver_path(const char *given, char path[DRIVER_PATH_BYTES])
{
    const char *forced = getenv("ROMIO_FSTYPE_FORCE");
    if (given[0] == '/' || forced == NULL || !weft_path_match(forced))
        snprintf(path, DRIVER_PATH_BYTES, WEFT_PATH_PREFIX "%s", given);
    else
        snprintf(path, DRIVER_PATH_BYTES, WEFT_PATH_PREFIX "%s/%s", forced + strlen(WEFT_PATH_PREFIX), given);
}

romio_resolved_t __real_ADIO_ResolveFileType(MPI_Comm comm, const char *path, int *file_system,
                                             ADIOI_Fns **table, int *error_code);
romio_resolved_t __wrap_ADIO_ResolveFileType(MPI_Comm comm, const char *path, int *file_system,
                                             ADIOI_Fns **table, int *error_code);

romio_resolved_t __wrap_ADIO_ResolveFileType(MPI_Comm comm, const char *path, int *file_system,
                                             ADIOI_Fns **table, int *error_code)
{
    if (driver_path_match(path))
        mounts_keep(path);
    else if (comm == MPI_COMM_SELF /* to delete a name */ || !mounts_agree(comm, path))
        return __real_ADIO_ResolveFileType(comm, path, file_system, table, error_code);
    *file_system = DRIVER_FILE_SYSTEM;
    *table = &driver_table;
    *error_code = MPI_SUCCESS;
    return (romio_resolved_t)weft_path_match(path);
}
