/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open.c: opening, closing and deleting files: by one rank for all, where there are several. Rank 0 asks
 * the metadata server and sends the others its handle, from which they make theirs.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "driver.h"

static int open_flags(unsigned flags)
{
    return (flags & H5F_ACC_RDWR ? O_RDWR : O_RDONLY) | (flags & H5F_ACC_TRUNC ? O_TRUNC : 0) |
           (flags & H5F_ACC_CREAT ? O_CREAT : 0) | (flags & H5F_ACC_EXCL ? O_EXCL : 0);
}

/* The permission bits of a new file: the hint's as they are, or the usual ones. */
static mode_t file_mode(const struct vfd_options *options)
{
    const struct hint_value *asked = &options->hints.values[HINT_file_perm];
    if (asked->is_set)
        return (mode_t)asked->number;
    mode_t mask = umask(0);
    umask(mask);
    return 0666 & ~mask;
}

static int open_here(struct vfd_file *file, unsigned flags)
{
    weft_session_t *session;
    struct weft_layout layout = {.chunk_size = hint_set_chunk_size(&file->options.hints),
                                 .stripe_count = hint_set_stripe_count(&file->options.hints)};
    const struct hint_value *pool = &file->options.hints.values[HINT_weft_pool];
    const struct hint_value *placement = &file->options.hints.values[HINT_weft_placement];
    uint64_t size = 0;
    struct weft_mounted mounted;
    int is_mounted = vfd_mounted(file->local, 0, open_flags(flags), &mounted);
    if (is_mounted < 0)
        return is_mounted;
    if (is_mounted)
        memcpy(file->mount_cluster, mounted.cluster, sizeof file->mount_cluster);
    if (pool->is_set)
        snprintf(layout.pool, sizeof layout.pool, "%.*s", (int)sizeof layout.pool - 1, pool->text);
    if (placement->is_set)
        snprintf(layout.placement, sizeof layout.placement, "%.*s", (int)sizeof layout.placement - 1,
                 placement->text);
    int error = vfd_session(&session);
    if (!error)
        error = weft_file_open(session, is_mounted ? mounted.path : file->path, open_flags(flags),
                               file_mode(&file->options), &layout, &file->file);
    if (!error && !(flags & H5F_ACC_TRUNC))
        error = weft_file_size(file->file, &size);
    file->eof = file->eof_sent = size;
    return error;
}

#if VFD_HAS_MPI

/* What rank 0 tells the others; the handle follows. */
struct answer {
    int64_t error;
    uint64_t size;
    uint64_t blob_bytes;
    uint64_t head_bytes; /* of the file's first block, behind the handle */
    char mount_cluster[WEFT_CLUSTER_BYTES];
    struct vfd_sharing sharing;
};

/* Rank 0's handle, and what all ranks will read first, as one message. */
static int pack(struct vfd_file *file, struct answer *answer, uint8_t **message)
{
    ssize_t blob = weft_file_export(file->file, NULL, 0);
    uint64_t head = file->cache ? CACHE_BLOCK_BYTES : 0;
    if (blob < 0)
        return (int)blob;
    if (head > file->eof)
        head = file->eof;
    *message = malloc((size_t)blob + head);
    if (!*message)
        return -ENOMEM;
    blob = weft_file_export(file->file, *message, (size_t)blob);
    if (blob < 0)
        return (int)blob;
    ssize_t got = head ? weft_file_read(file->file, *message + blob, head, 0) : 0;
    if (got < 0)
        return (int)got;
    answer->blob_bytes = (uint64_t)blob;
    answer->head_bytes = (uint64_t)got;
    return 0;
}

static int unpack(struct vfd_file *file, const struct answer *answer, const uint8_t *message)
{
    weft_session_t *session;
    struct weft_mounted mounted;
    int error = 0;
    if (file->ranks->rank != 0)
        error = answer->mount_cluster[0] && weft_mounted_of(answer->mount_cluster, &mounted)
                    ? vfd_session_mounted(&mounted, &session)
                    : vfd_session(&session);
    if (!error && file->ranks->rank != 0)
        error = weft_file_import(session, message, answer->blob_bytes, &file->file);
    file->eof = file->eof_sent = answer->size;
    file->ranks->sharing = answer->sharing;
    if (!error && file->cache && answer->head_bytes)
        error = cache_put(file->cache, 0, message + answer->blob_bytes, answer->head_bytes);
    return error;
}

/* Collective. */
static int open_for_all(struct vfd_file *file, unsigned flags)
{
    struct answer answer = {0};
    uint8_t *message = NULL;
    int error = 0;
    if (file->ranks->rank == 0) {
        error = open_here(file, flags);
        if (!error)
            error = pack(file, &answer, &message);
        if (!error)
            vfd_sharing_of(file, &answer.sharing);
        answer.error = error;
        answer.size = file->eof;
        memcpy(answer.mount_cluster, file->mount_cluster, sizeof answer.mount_cluster);
    }
    MPI_Bcast(&answer, sizeof answer, MPI_BYTE, 0, file->ranks->own);
    if (answer.error) { /* all of them get its text */
        error = vfd_ranks_agree(file->ranks, file->ranks->rank == 0 ? (int)answer.error : 0);
        goto free_message;
    }
    size_t bytes = answer.blob_bytes + answer.head_bytes;
    if (file->ranks->rank != 0)
        message = malloc(bytes);
    error = vfd_ranks_agree(file->ranks, message ? 0 : -ENOMEM);
    if (error)
        goto free_message;
    MPI_Bcast(message, (int)bytes, MPI_BYTE, 0, file->ranks->own);
    error = vfd_ranks_agree(file->ranks, unpack(file, &answer, message));

free_message:
    free(message);
    return error;
}

/* What the info says, where the configuration says nothing. */
static void take_info(struct vfd_file *file)
{
    int count = 0;
    if (file->ranks->info == MPI_INFO_NULL)
        return;
    MPI_Info_get_nkeys(file->ranks->info, &count);
    for (int i = 0; i < count; i++) {
        char key[MPI_MAX_INFO_KEY + 1], value[MPI_MAX_INFO_VAL + 1];
        int found = 0;
        MPI_Info_get_nthkey(file->ranks->info, i, key);
        MPI_Info_get(file->ranks->info, key, MPI_MAX_INFO_VAL, value, &found);
        if (found)
            vfd_options_put(&file->options, key, value);
    }
}

#endif

static int open_file(struct vfd_file *file, unsigned flags)
{
#if VFD_HAS_MPI
    if (file->ranks)
        return open_for_all(file, flags);
#endif
    return open_here(file, flags);
}

/* The handles that the others made of rank 0's must be closed before it. */
static int close_handle(struct vfd_file *file)
{
    int error = 0;
#if VFD_HAS_MPI
    if (file->ranks) {
        if (file->ranks->rank != 0 && file->file)
            error = weft_file_close(file->file);
        (void)vfd_ranks_agree(file->ranks, 0);
        if (file->ranks->rank != 0)
            return error;
    }
#endif
    return file->file ? weft_file_close(file->file) : error;
}

static void forget(struct vfd_file *file)
{
    cache_free(file->cache);
#if VFD_HAS_MPI
    vfd_ranks_close(file->ranks);
#endif
    free(file);
}

static int prepare(struct vfd_file *file, const char *name, unsigned flags, hid_t fapl)
{
    int error = vfd_fapl_options(fapl, &file->options);
    if (error < 0)
        return error;
    file->has_fapl_info = vfd_fapl_has_info(fapl);
    error = vfd_options_path(&file->options, name, file->path, sizeof file->path);
    if (error < 0) {
        VFD_FAIL(H5E_BADVALUE, error, "the name of a file is longer than %d bytes", VFD_PATH_BYTES);
        return error;
    }
#if VFD_HAS_MPI
    error = vfd_ranks_open(fapl, &file->ranks);
    if (error < 0)
        return error;
    if (file->ranks)
        take_info(file);
    /* HDF5 looks at this property of the list behind the open: there is no other way to tell it. */
    if (file->ranks && (flags & H5F_ACC_RDWR) && file->options.has_collective_metadata)
        (void)H5Pset_coll_metadata_write(fapl, true);
#endif
    file->local = vfd_options_local(&file->options, name);
    file->can_write = flags & H5F_ACC_RDWR;
    file->size_set = HADDR_UNDEF;
    bool in_order = false;
#ifdef H5F_ACC_SWMR_READ
    in_order = flags & (H5F_ACC_SWMR_READ | H5F_ACC_SWMR_WRITE);
#endif
    return in_order ? 0 : vfd_cache_open(file);
}

H5FD_t *vfd_open(const char *name, unsigned flags, hid_t fapl, haddr_t maxaddr)
{
    struct vfd_file *file;
    if (!name || name[0] == '\0' || maxaddr == 0) {
        VFD_FAIL(H5E_BADVALUE, 0, "a file needs a name and an address range");
        return NULL;
    }
    file = calloc(1, sizeof *file);
    if (!file) {
        VFD_FAIL(H5E_CANTALLOC, -ENOMEM, "no memory for an open file");
        return NULL;
    }
    if (prepare(file, name, flags, fapl) < 0)
        goto forget_file;
    int error = open_file(file, flags);
    file->local = NULL;
    if (error == 0)
        return &file->base;
    VFD_FAIL(flags & H5F_ACC_CREAT ? H5E_CANTCREATE : H5E_CANTOPENFILE, error, "%s", file->path);
    if (file->file || vfd_is_parallel(file))
        close_handle(file);

forget_file:
    forget(file);
    return NULL;
}

herr_t vfd_close(H5FD_t *base)
{
    struct vfd_file *file = vfd_file(base);
    int error = vfd_cache_flush(file);
    if (error)
        VFD_FAIL(H5E_CANTFLUSH, error, "%s: what was in the cache could not be written", file->path);
    herr_t result = file->lock ? vfd_unlock(base) : 0;
    int close_error = close_handle(file);
    if (close_error)
        VFD_FAIL(H5E_CANTCLOSEFILE, close_error, "%s", file->path);
    forget(file);
    return error || close_error ? -1 : result;
}

int vfd_compare(const H5FD_t *one, const H5FD_t *other)
{
    uint64_t a = weft_file_ino(((const struct vfd_file *)one)->file);
    uint64_t b = weft_file_ino(((const struct vfd_file *)other)->file);
    return a < b ? -1 : a > b;
}

#if VFD_IS_PLUGIN

static int delete_here(const struct vfd_options *options, const char *name)
{
    char path[VFD_PATH_BYTES];
    weft_session_t *session;
    struct weft_mounted mounted;
    int is_mounted = vfd_mounted(vfd_options_local(options, name), WEFT_STAT_NOFOLLOW, O_RDWR, &mounted);
    int error = is_mounted < 0 ? is_mounted : vfd_options_path(options, name, path, sizeof path);
    if (!error)
        error = vfd_session(&session);
    return error ? error : weft_unlink(session, is_mounted ? mounted.path : path);
}

herr_t vfd_delete(const char *name, hid_t fapl)
{
    struct vfd_options *options = malloc(sizeof *options);
    int error = options ? vfd_fapl_options(fapl, options) : -ENOMEM;
    if (error)
        goto free_options;
#if VFD_HAS_MPI
    struct vfd_ranks *ranks = NULL;
    error = vfd_ranks_open(fapl, &ranks);
    if (!error && ranks) {
        error = vfd_ranks_agree(ranks, 0);
        error = vfd_ranks_agree(ranks, ranks->rank == 0 ? delete_here(options, name) : error);
        vfd_ranks_close(ranks);
        goto free_options;
    }
#endif
    if (!error)
        error = delete_here(options, name);

free_options:
    free(options);
    if (error)
        VFD_FAIL(H5E_CANTDELETE, error, "%s", name);
    return error ? -1 : 0;
}

#endif
