/* SPDX-License-Identifier: Apache-2.0 */
/*
 * driver.h: HDF5's virtual file driver for Weft, and what its files share.
 *
 * HDF5 calls the functions of the class in class.c; they do their work through
 * weft/weft.h and through nothing else.
 *
 * What it promises
 *  - H5Fflush() returns when all that the file consists of survives a crash of everything.
 *  - A serial file is held by a lock of the cluster, as HDF5 asks for it: never "not supported".
 *  - Small pieces of a serial file, and of one that several ranks only read, go through a cache of
 *    blocks (cache.h). It is off as soon as HDF5 wants its writes in order (SWMR).
 *  - A file of several ranks has no cache: what a rank wrote is seen by all others. It is opened by
 *    one rank for all, and an error of one rank in a collective call is one on all.
 *  - Every vector or selection is one list I/O.
 *  - No call reads or writes a byte that HDF5 did not name, but for the rest of a cached block.
 *
 * HDF5 calls a driver from one thread at a time.
 */
#ifndef VFD_DRIVER_H
#define VFD_DRIVER_H

#include "versions.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "cache.h"
#include "options.h"
#include "piece_walk.h"
#include "strategy.h"
#include "weft/weft.h"

#define VFD_NAME        "weft"
#define VFD_VALUE       473 /* of those that HDF5 leaves to drivers that are not registered with it */
#define VFD_ADDRESS_MAX ((haddr_t)INT64_MAX)
#define VFD_PATH_BYTES  (WEFT_PATH_BYTES_MAX + 64)

#if VFD_HAS_MPI
/* How the ranks share the work of collective calls: what rank 0's hints come to. */
struct vfd_sharing {
    enum strategy read, write;
    int64_t aggregators;  /* wanted */
    int64_t buffer_bytes; /* of each, about */
};

/* The ranks of a file. `comm` is what HDF5 gets, `own` what the driver talks in. */
struct vfd_ranks {
    MPI_Comm comm;
    MPI_Comm own;
    MPI_Info info;
    int rank;
    int count;
    struct vfd_sharing sharing; /* the same on all ranks, as the two below */
    bool wrote_small;           /* some rank's pieces were small in the collective write before */
    bool read_tiny;             /* they were tiny in the collective read before, as far as it is known */
    MPI_Request telling;        /* of what came behind that one; MPI_REQUEST_NULL: it is known */
    int64_t told, heard;        /* then: this rank's mean piece, and the least of all */
    struct reach *reaches;      /* by rank: what they have of a call */
    int *aggregators;           /* room for all ranks */
    uint64_t gathers;           /* so that each has a number of its own */
};
#endif

/* An open file. */
struct vfd_file {
    H5FD_t base; /* HDF5's own part; it must be the first */
    weft_file_t *file;
    struct vfd_options options;
    bool has_fapl_info; /* as vfd_fapl_has_info() said of the list that it was opened with */
    char path[VFD_PATH_BYTES];
    const char *local; /* while it is opened: its name, if that may be a local path; else NULL */
    char mount_cluster[WEFT_CLUSTER_BYTES]; /* it is on a mount of that; "": it is not */
    haddr_t eoa;
    haddr_t eof;      /* with what the cache holds. Serial: exact; parallel: as far as this rank knows */
    haddr_t eof_sent; /* the same without the cache */
    haddr_t size_set; /* parallel: what the ranks agreed on last, HADDR_UNDEF before */
    bool can_write;
    bool wrote;          /* since the last sync */
    struct cache *cache; /* NULL: none */
    weft_lock_t *lock;
#if VFD_HAS_MPI
    struct vfd_ranks *ranks; /* NULL: serial */
#endif
};

static inline struct vfd_file *vfd_file(H5FD_t *file)
{
    return (struct vfd_file *)file;
}

static inline bool vfd_is_parallel(const struct vfd_file *file)
{
#if VFD_HAS_MPI
    return file->ranks != NULL;
#else
    (void)file;
    return false;
#endif
}

/* ---- error.c ---------------------------------------------------------- */

/*
 * vfd_fail(): puts an error on HDF5's stack: the text and, behind it, weft_error() when
 * `error` is a negative errno and not 0. `minor` is one of HDF5's, such as H5E_CANTOPENFILE.
 */
void vfd_fail(const char *source, const char *function, unsigned line, hid_t minor, int error,
              const char *format, ...) __attribute__((format(printf, 6, 7)));
#define VFD_FAIL(minor, error, ...) vfd_fail(__FILE_NAME__, __func__, __LINE__, minor, error, __VA_ARGS__)
/* vfd_fail_elsewhere(): what another rank said about the error that comes next. */
#define VFD_TEXT_BYTES              256
void vfd_fail_elsewhere(const char *text);
void vfd_errors_end(void);

/* ---- session.c -------------------------------------------------------- */

/* vfd_session(): the session of this process, made at the first call. 0 or a negative errno. */
int vfd_session(weft_session_t **session);
/* vfd_session_mounted(): the same; without a configuration of its own the process takes the mount's. */
int vfd_session_mounted(const struct weft_mounted *mounted, weft_session_t **session);
void vfd_session_end(void);

/* ---- mounted.c -------------------------------------------------------- */

/* vfd_mounted(): 1 when a local path (NULL: there is none) leads to a file on a mount of this process's
 * cluster, else 0; -EROFS when it does, and can't be opened so. Flags as of weft_mounted_find() and
 * weft_mounted_reach(). */
int vfd_mounted(const char *local, unsigned find_flags, int open_flags, struct weft_mounted *mounted);

/* ---- fapl.c ----------------------------------------------------------- */

/* The driver's part of an access property list: the configuration as text. */
struct vfd_fapl {
    char config[VFD_CONFIG_BYTES_MAX + 1];
};

void *vfd_fapl_get(H5FD_t *file);
void *vfd_fapl_copy(const void *fapl);
herr_t vfd_fapl_free(void *fapl);
/* vfd_fapl_has_info(): false when the driver was chosen by its name, and its text is all there is. */
bool vfd_fapl_has_info(hid_t fapl);
/* vfd_fapl_options(): what the list says about files that are opened with it. */
int vfd_fapl_options(hid_t fapl, struct vfd_options *options);

/* ---- open.c ----------------------------------------------------------- */

H5FD_t *vfd_open(const char *name, unsigned flags, hid_t fapl, haddr_t maxaddr);
herr_t vfd_close(H5FD_t *file);
int vfd_compare(const H5FD_t *one, const H5FD_t *other);
herr_t vfd_delete(const char *name, hid_t fapl);

/* ---- lock.c ----------------------------------------------------------- */

herr_t vfd_lock(H5FD_t *file, hbool_t rw);
herr_t vfd_unlock(H5FD_t *file);

/* ---- size.c ----------------------------------------------------------- */

haddr_t vfd_get_eoa(const H5FD_t *file, H5FD_mem_t type);
herr_t vfd_set_eoa(H5FD_t *file, H5FD_mem_t type, haddr_t address);
haddr_t vfd_get_eof(const H5FD_t *file, H5FD_mem_t type);
herr_t vfd_truncate(H5FD_t *file, hid_t dxpl, hbool_t closing);
herr_t vfd_flush(H5FD_t *file, hid_t dxpl, hbool_t closing);

/* ---- transfer.c ------------------------------------------------------- */

/*
 * A list I/O: memory pieces and file extents, as weft_file_read_list() has them. It grows by
 * list_add(), which joins neighbours, and is freed by list_free().
 */
struct list_io {
    struct iovec *iov;
    struct weft_extent *extents;
    size_t iov_count, iov_room;
    size_t extent_count, extent_room;
    uint64_t bytes;
};

int list_io_add_memory(struct list_io *list, void *memory, size_t length);
int list_io_add_extent(struct list_io *list, uint64_t offset, uint64_t length);
void list_io_free(struct list_io *list);

/* How far one has come in a list; starts with nothing but the list. Its functions are those of a `struct
 * piece_walk`. */
struct list_place {
    const struct list_io *list;
    size_t extent, piece;         /* the current ones */
    uint64_t in_extent, in_piece; /* bytes of them that are done */
};

bool list_place_next(void *place, int64_t file_end, struct piece *piece);
int64_t list_place_offset(void *place);

/* vfd_list_read(), vfd_list_write(): not collective; 0 or a negative errno. What is read behind the
 * end of the file is zeros. `type` says whether it is data or metadata, which is read in the order of
 * its addresses more often than not. */
int vfd_list_read(struct vfd_file *file, H5FD_mem_t type, const struct list_io *list);
int vfd_list_write(struct vfd_file *file, const struct list_io *list);
/* vfd_list_is_written(): somebody else has written it for this rank. vfd_list_end_read(): of what was read
 * for it, what lies behind the end of the file becomes zeros. 0 or a negative errno. */
void vfd_list_is_written(struct vfd_file *file, const struct list_io *list);
int vfd_list_end_read(struct vfd_file *file, const struct list_io *list);
/* vfd_bytes_read(), vfd_bytes_write(): one piece, through the cache where there is one. */
int vfd_bytes_read(struct vfd_file *file, H5FD_mem_t type, uint64_t offset, void *buffer, size_t length);
int vfd_bytes_write(struct vfd_file *file, uint64_t offset, const void *buffer, size_t length);
/* vfd_cache_open(): gives a file its cache, when it may have one. vfd_cache_flush(): writes what is in it. */
int vfd_cache_open(struct vfd_file *file);
int vfd_cache_flush(struct vfd_file *file);

/* ---- scalar.c, vector.c, selection.c ---------------------------------- */

herr_t vfd_read(H5FD_t *file, H5FD_mem_t type, hid_t dxpl, haddr_t address, size_t size, void *buffer);
herr_t vfd_write(H5FD_t *file, H5FD_mem_t type, hid_t dxpl, haddr_t address, size_t size, const void *buffer);
#if VFD_HAS_LISTS
herr_t vfd_read_vector(H5FD_t *file, hid_t dxpl, uint32_t count, H5FD_mem_t types[], haddr_t addresses[],
                       size_t sizes[], void *buffers[]);
herr_t vfd_write_vector(H5FD_t *file, hid_t dxpl, uint32_t count, H5FD_mem_t types[], haddr_t addresses[],
                        size_t sizes[], const void *buffers[]);
herr_t vfd_read_selection(H5FD_t *file, H5FD_mem_t type, hid_t dxpl, size_t count, hid_t memory_spaces[],
                          hid_t file_spaces[], haddr_t offsets[], size_t element_sizes[], void *buffers[]);
herr_t vfd_write_selection(H5FD_t *file, H5FD_mem_t type, hid_t dxpl, size_t count, hid_t memory_spaces[],
                           hid_t file_spaces[], haddr_t offsets[], size_t element_sizes[],
                           const void *buffers[]);
#endif

/* ---- ranks.c, collective.c, exchange.c, hidden.c: MPI-aware, 1.14 and on -- */

#if VFD_HAS_MPI
/* vfd_ranks_open(): *ranks is NULL when the access list has no communicator. */
int vfd_ranks_open(hid_t fapl, struct vfd_ranks **ranks);
void vfd_ranks_close(struct vfd_ranks *ranks);
/* vfd_ranks_agree(): collective; 0 when `error` is 0 on all ranks, else the lowest of them. Nobody leaves
 * before all have come. */
int vfd_ranks_agree(const struct vfd_ranks *ranks, int error);
/* vfd_ranks_agree_least(): the same, and *least becomes the least of all ranks'. */
int vfd_ranks_agree_least(const struct vfd_ranks *ranks, int error, int64_t *least);
/* vfd_ranks_any(): collective; whether it is so on any rank. */
bool vfd_ranks_any(const struct vfd_ranks *ranks, bool mine);
herr_t vfd_control(H5FD_t *file, uint64_t operation, uint64_t flags, const void *input, void **output);

/* vfd_collective_write(): all ranks call it, also those with an empty list, and leave it together: 0, or the
 * same error on all. `error` is one that the rank has already. */
int vfd_collective_write(struct vfd_file *file, const struct list_io *list, int error);
/* vfd_collective_read(): the same, but where the ranks need not exchange anything none waits for another, and
 * an error is its own. */
int vfd_collective_read(struct vfd_file *file, const struct list_io *list, int error);

/* vfd_sharing_of(): what this rank's hints say of an open file. */
void vfd_sharing_of(const struct vfd_file *file, struct vfd_sharing *sharing);
/* vfd_exchange(): collective, as two_phase() is, whose results it has: ranks->reaches must be filled. */
int vfd_exchange(struct vfd_file *file, const struct list_io *list, bool is_write, bool has_failed,
                 int64_t *moved);

/* vfd_list_gather(): this rank's part of a write whose pieces the shards put together. */
int vfd_list_gather(struct vfd_file *file, const struct list_io *list, const struct weft_gather *gather);

/* vfd_is_collective(): must be asked before any public call of HDF5 in a callback: these hide it. */
bool vfd_is_collective(const struct vfd_file *file);
/* vfd_hidden_list(): what HDF5 means by a scalar call in collective mode. 0 or a negative errno. */
int vfd_hidden_list(haddr_t address, size_t count, void *buffer, struct list_io *list);
/* vfd_hidden_check(): whether this HDF5 lets us see what vfd_hidden_list() has to know. */
int vfd_hidden_check(void);
#endif

#endif
