/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aiori-WEFT.c: Weft as a backend of IOR, mdtest and md-workbench (hpc/ior), through libweft and
 * nothing else.
 *
 * benchmarks/ior/build-ior puts this file into a copy of IOR's sources, where the headers below are.
 * Weft's own build does not have them, and so does not compile it.
 *
 * What it promises
 *  - A create, an open, a close, a stat of a file that nobody writes, a remove: one metadata request each. A
 *    stat of a file that is being written asks the file's storage shards as well.
 *  - Names are paths of the cluster, with or without "weft:" in front.
 *  - A failure that IOR can go on after is a warning, others end the job; both say what weft_error() says.
 *
 * IOR calls all this from one thread of each rank.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <weft/weft.h>

#include "aiori.h"
#include "ior.h"
#include "iordef.h"
#include "utilities.h"

#define FILE_MODE    0664
#define STATFS_BLOCK 4096u

struct weft_backend_options {
    char *conf;
    long long chunk_size;
    int stripe_count;
};

static aiori_xfer_hint_t *hints;
static weft_session_t *session;
static struct weft_layout layout; /* of files that are made; zero fields are the directory's */

static bool is_dry(void)
{
    return hints && hints->dryRun;
}

/* As the system calls that other backends make. */
static int with_errno(int result)
{
    if (result >= 0)
        return result;
    errno = -result;
    return -1;
}

/* ---- options, begin and end --------------------------------------------------- */

static option_help *weft_backend_options(aiori_mod_opt_t **options, aiori_mod_opt_t *values)
{
    struct weft_backend_options *own = safeMalloc(sizeof *own);
    if (values)
        memcpy(own, values, sizeof *own);
    else
        memset(own, 0, sizeof *own);
    option_help help[] = {
        {0, "weft.conf", "The cluster's configuration file (default: $WEFT_CONF)", OPTION_OPTIONAL_ARGUMENT,
         's', &own->conf},
        {0, "weft.chunk-size", "Chunk size of new files, as 470080 or 1m (0: the directory's)",
         OPTION_OPTIONAL_ARGUMENT, 'l', &own->chunk_size},
        {0, "weft.stripe-count", "Groups that a new file is spread over (0: the directory's)",
         OPTION_OPTIONAL_ARGUMENT, 'd', &own->stripe_count},
        LAST_OPTION,
    };
    option_help *copy = safeMalloc(sizeof help);
    memcpy(copy, help, sizeof help);
    *options = (aiori_mod_opt_t *)own;
    return copy;
}

static int weft_backend_check_params(aiori_mod_opt_t *options)
{
    const struct weft_backend_options *own = (const struct weft_backend_options *)options;
    if (own->chunk_size != 0 &&
        (own->chunk_size < WEFT_CHUNK_BYTES_MIN || own->chunk_size > WEFT_CHUNK_BYTES_MAX))
        ERRF("--weft.chunk-size=%lld is not possible; choose one from %u to %u", own->chunk_size,
             WEFT_CHUNK_BYTES_MIN, WEFT_CHUNK_BYTES_MAX);
    if (own->stripe_count < 0)
        ERRF("--weft.stripe-count=%d is not possible; choose one from 1 on", own->stripe_count);
    if (hints && hints->collective)
        ERR("the WEFT backend has no collective calls; use -a MPIIO with a weft: path for them");
    return 0;
}

static void weft_backend_initialize(aiori_mod_opt_t *options)
{
    const struct weft_backend_options *own = (const struct weft_backend_options *)options;
    layout = (struct weft_layout){
        .chunk_size = (uint64_t)own->chunk_size,
        .stripe_count = (uint32_t)own->stripe_count,
    };
    if (weft_connect(own->conf, &session) < 0 || weft_keep_attributes(session, NULL) < 0)
        ERRF("%s (or by --weft.conf)", weft_error());
}

static void weft_backend_finalize(aiori_mod_opt_t *options)
{
    (void)options;
    weft_disconnect(session);
    session = NULL;
}

static void weft_backend_xfer_hints(aiori_xfer_hint_t *params)
{
    hints = params;
}

static char *weft_backend_version(void)
{
    return (char *)weft_version();
}

/* ---- files ---------------------------------------------------------------------- */

/* mdtest's files may be small ones, which a layout rules out; IOR says how large its are to be. */
static const struct weft_layout *layout_wanted(void)
{
    bool is_large = hints && hints->expectedAggFileSize > 0;
    return is_large || layout.chunk_size || layout.stripe_count ? &layout : NULL;
}

/*
 * Every rank creates a shared file, so a create neither fails when it is there nor truncates it: IOR has
 * removed what was there before. It can be read through as well, which mdtest wants to verify a write.
 */
static aiori_fd_t *weft_backend_create(char *path, int flags, aiori_mod_opt_t *options)
{
    weft_file_t *file = NULL;
    (void)flags;
    (void)options;
    if (is_dry())
        return NULL;
    if (weft_file_open(session, path, O_CREAT | O_RDWR, FILE_MODE, layout_wanted(), &file) < 0)
        ERRF("%s", weft_error());
    return (aiori_fd_t *)file;
}

static int weft_backend_mknod(char *path)
{
    weft_file_t *file;
    if (is_dry())
        return 0;
    int result =
        weft_file_open(session, path, O_CREAT | O_EXCL | O_WRONLY, FILE_MODE, layout_wanted(), &file);
    return with_errno(result < 0 ? result : weft_file_close(file));
}

/* mdtest asks for O_RDONLY, which is none of IOR's flags. */
static aiori_fd_t *weft_backend_open(char *path, int flags, aiori_mod_opt_t *options)
{
    weft_file_t *file = NULL;
    int how = flags & IOR_RDWR ? O_RDWR : flags & IOR_WRONLY ? O_WRONLY : O_RDONLY;
    (void)options;
    if (is_dry())
        return NULL;
    if (flags & IOR_CREAT)
        how |= O_CREAT;
    if (weft_file_open(session, path, how, FILE_MODE, layout_wanted(), &file) < 0)
        ERRF("%s", weft_error());
    return (aiori_fd_t *)file;
}

/* A transfer is whole or fails, but for reads at the end of the file; IOR compares what is returned. */
static IOR_offset_t weft_backend_xfer(int access, aiori_fd_t *fd, IOR_size_t *buffer, IOR_offset_t length,
                                      IOR_offset_t offset, aiori_mod_opt_t *options)
{
    weft_file_t *file = (weft_file_t *)fd;
    (void)options;
    if (is_dry())
        return length;
    ssize_t result = access == WRITE ? weft_file_write(file, buffer, (size_t)length, (uint64_t)offset)
                                     : weft_file_read(file, buffer, (size_t)length, (uint64_t)offset);
    if (result >= 0 && access == WRITE && hints && hints->fsyncPerWrite && weft_file_sync(file) < 0)
        result = -1;
    if (result < 0)
        WARNF("[RANK %03d]: %s", rank, weft_error());
    else if (result < length)
        WARNF("[RANK %03d]: the file ends %lld bytes after offset %lld, where %lld were to be read", rank,
              (long long)result, (long long)offset, (long long)length);
    return result;
}

static void weft_backend_fsync(aiori_fd_t *fd, aiori_mod_opt_t *options)
{
    (void)options;
    if (!is_dry() && weft_file_sync((weft_file_t *)fd) < 0)
        WARNF("[RANK %03d]: %s", rank, weft_error());
}

static void weft_backend_close(aiori_fd_t *fd, aiori_mod_opt_t *options)
{
    (void)options;
    if (!is_dry() && weft_file_close((weft_file_t *)fd) < 0)
        ERRF("%s", weft_error());
}

/*
 * The names are durable as soon as a call returned. The bytes of files that were closed before can't be
 * asked for all together: that is said, so that no figure is taken for one that it isn't.
 */
static void weft_backend_sync(aiori_mod_opt_t *options)
{
    static bool said;
    (void)options;
    if (!is_dry() && !said && rank == 0)
        WARN("there is no sync of a whole cluster: use -e of IOR, or -y of mdtest, which sync each file");
    said = true;
}

/* ---- names ------------------------------------------------------------------------ */

static void weft_backend_remove(char *path, aiori_mod_opt_t *options)
{
    (void)options;
    if (!is_dry() && weft_unlink(session, path) < 0)
        WARNF("[RANK %03d]: %s", rank, weft_error());
}

static int weft_backend_rename(const char *from, const char *to, aiori_mod_opt_t *options)
{
    (void)options;
    if (is_dry())
        return 0;
    int result = weft_rename(session, from, to);
    if (result < 0)
        WARNF("[RANK %03d]: %s", rank, weft_error());
    return with_errno(result);
}

static int weft_backend_mkdir(const char *path, mode_t mode, aiori_mod_opt_t *options)
{
    (void)options;
    return is_dry() ? 0 : with_errno(weft_mkdir(session, path, mode));
}

static int weft_backend_rmdir(const char *path, aiori_mod_opt_t *options)
{
    (void)options;
    return is_dry() ? 0 : with_errno(weft_rmdir(session, path));
}

static int weft_backend_access(const char *path, int mode, aiori_mod_opt_t *options)
{
    (void)options;
    return is_dry() ? 0 : with_errno(weft_access(session, path, mode));
}

static int weft_backend_stat(const char *path, struct stat *out, aiori_mod_opt_t *options)
{
    struct weft_attr attr;
    (void)options;
    if (is_dry())
        return 0;
    int result = weft_stat(session, path, 0, &attr);
    if (result < 0)
        return with_errno(result);
    weft_attr_stat(&attr, out);
    if (attr.layout.chunk_size)
        out->st_blksize = (blksize_t)attr.layout.chunk_size;
    return 0;
}

static IOR_offset_t weft_backend_get_file_size(aiori_mod_opt_t *options, char *path)
{
    struct weft_attr attr = {0};
    (void)options;
    if (!is_dry() && weft_stat(session, path, 0, &attr) < 0)
        ERRF("%s", weft_error());
    return (IOR_offset_t)attr.size;
}

/* Files are not bounded in number; IOR wants a number, so it gets how many small ones there is space for. */
static int weft_backend_statfs(const char *path, ior_aiori_statfs_t *out, aiori_mod_opt_t *options)
{
    struct weft_statfs all;
    (void)path;
    (void)options;
    memset(out, 0, sizeof *out);
    if (is_dry())
        return 0;
    int result = weft_statfs(session, &all);
    if (result < 0)
        return with_errno(result);
    out->f_bsize = STATFS_BLOCK;
    out->f_blocks = all.bytes_total / STATFS_BLOCK;
    out->f_bfree = out->f_bavail = all.bytes_free / STATFS_BLOCK;
    out->f_ffree = out->f_bfree;
    out->f_files = all.files + out->f_ffree;
    return 0;
}

ior_aiori_t weft_aiori = {
    .name = "WEFT",
    .name_legacy = NULL,
    .create = weft_backend_create,
    .mknod = weft_backend_mknod,
    .open = weft_backend_open,
    .xfer_hints = weft_backend_xfer_hints,
    .xfer = weft_backend_xfer,
    .close = weft_backend_close,
    .remove = weft_backend_remove,
    .get_version = weft_backend_version,
    .fsync = weft_backend_fsync,
    .get_file_size = weft_backend_get_file_size,
    .statfs = weft_backend_statfs,
    .mkdir = weft_backend_mkdir,
    .rmdir = weft_backend_rmdir,
    .access = weft_backend_access,
    .stat = weft_backend_stat,
    .initialize = weft_backend_initialize,
    .finalize = weft_backend_finalize,
    .rename = weft_backend_rename,
    .get_options = weft_backend_options,
    .check_params = weft_backend_check_params,
    .sync = weft_backend_sync,
    .enable_mdtest = true,
};
