/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock.c: HDF5's lock of a whole file, as a lock of the cluster on a byte where no data can be, so that it
 * has nothing to do with those that MPI-IO takes in atomic mode. It is not waited for: HDF5 wants
 * to know at once that somebody has the file open. It ends with the process.
 *
 * Files of several ranks are not locked, as with HDF5's own driver for MPI-IO.
 */
#include <errno.h>

#include "driver.h"

static const struct weft_extent lock_byte = {.offset = INT64_MAX - 1, .length = 1};

static const char *remedy(void)
{
#if defined(H5_HAVE_PARALLEL) && !VFD_HAS_MPI
    return "; the ranks of a parallel program open one file together by H5Pset_fapl_mpio() and a weft: path";
#else
    return "";
#endif
}

herr_t vfd_lock(H5FD_t *base, hbool_t rw)
{
    struct vfd_file *file = vfd_file(base);
    if (vfd_is_parallel(file))
        return 0;
    if (file->lock && vfd_unlock(base) < 0)
        return -1;
    int error = weft_file_trylock(file->file, &lock_byte, 1, rw, &file->lock);
    if (error == 0)
        return 0;
    file->lock = NULL;
    if (error == -EAGAIN)
        VFD_FAIL(H5E_CANTLOCKFILE, 0, "%s is open elsewhere%s%s", file->path, rw ? "" : " for writing",
                 remedy());
    else
        VFD_FAIL(H5E_CANTLOCKFILE, error, "%s", file->path);
    return -1;
}

herr_t vfd_unlock(H5FD_t *base)
{
    struct vfd_file *file = vfd_file(base);
    weft_lock_t *lock = file->lock;
    if (!lock)
        return 0;
    file->lock = NULL;
    int error = weft_file_unlock(lock);
    if (error)
        VFD_FAIL(H5E_CANTUNLOCKFILE, error, "%s", file->path);
    return error ? -1 : 0;
}
