/* SPDX-License-Identifier: Apache-2.0 */
/*
 * size.c: the end of a file, and making it last. HDF5 keeps two ends: that of the addresses which it has
 * given away (eoa), and that of the bytes in the file (eof); asking for them is frequent and costs nothing.
 */
#include "driver.h"

haddr_t vfd_get_eoa(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const struct vfd_file *)file)->eoa;
}

herr_t vfd_set_eoa(H5FD_t *file, H5FD_mem_t type, haddr_t address)
{
    (void)type;
    vfd_file(file)->eoa = address;
    return 0;
}

haddr_t vfd_get_eof(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const struct vfd_file *)file)->eof;
}

static int truncate_here(struct vfd_file *file)
{
    int error = vfd_cache_flush(file);
    if (error || file->eoa == file->eof)
        return error;
    error = weft_file_truncate(file->file, file->eoa);
    if (error)
        return error;
    if (file->cache)
        cache_cut(file->cache, file->eoa);
    file->eof = file->eof_sent = file->eoa;
    file->wrote = true;
    return 0;
}

#if VFD_HAS_MPI

/* By rank 0, which has to ask for the size: what the others wrote is unknown to it. */
static int truncate_by_one(struct vfd_file *file)
{
    uint64_t size;
    if (file->ranks->rank != 0)
        return 0;
    int error = weft_file_size(file->file, &size);
    if (!error && size != file->eoa) {
        error = weft_file_truncate(file->file, file->eoa);
        file->wrote = true;
    }
    return error;
}

/* Collective. HDF5 calls it several times with the same end. */
static int truncate_for_all(struct vfd_file *file)
{
    if (file->eoa == file->size_set)
        return 0;
    int error = vfd_ranks_agree(file->ranks, 0); /* the writes of all are done */
    error = vfd_ranks_agree(file->ranks, error ? error : truncate_by_one(file));
    if (!error)
        file->eof = file->eof_sent = file->size_set = file->eoa;
    return error;
}

#endif

herr_t vfd_truncate(H5FD_t *base, hid_t dxpl, hbool_t closing)
{
    struct vfd_file *file = vfd_file(base);
    int error;
    (void)dxpl;
    (void)closing;
#if VFD_HAS_MPI
    if (file->ranks)
        error = truncate_for_all(file);
    else
#endif
        error = truncate_here(file);
    if (error)
        VFD_FAIL(H5E_WRITEERROR, error, "%s can't be given the size %llu", file->path,
                 (unsigned long long)file->eoa);
    return error ? -1 : 0;
}

static int sync_here(struct vfd_file *file)
{
    int error = file->wrote ? weft_file_sync(file->file) : 0;
    if (!error)
        file->wrote = false;
    return error;
}

#if VFD_HAS_MPI

/* Collective: one sync for what all ranks wrote. */
static int sync_for_all(struct vfd_file *file)
{
    bool wrote = vfd_ranks_any(file->ranks, file->wrote);
    file->wrote = wrote && file->ranks->rank == 0;
    return wrote ? vfd_ranks_agree(file->ranks, sync_here(file)) : 0;
}

#endif

/* A close alone makes nothing last, unless a hint asks for it. */
herr_t vfd_flush(H5FD_t *base, hid_t dxpl, hbool_t closing)
{
    struct vfd_file *file = vfd_file(base);
    bool wants_sync = !closing || file->options.hints.values[HINT_weft_durability].number != 0;
    int error = 0;
    (void)dxpl;
    if (!file->can_write)
        return 0;
    error = vfd_cache_flush(file);
#if VFD_HAS_MPI
    if (file->ranks)
        error = wants_sync ? sync_for_all(file) : error;
    else
#endif
        error = !error && wants_sync ? sync_here(file) : error;
    if (error)
        VFD_FAIL(H5E_CANTFLUSH, error, "%s", file->path);
    return error ? -1 : 0;
}
