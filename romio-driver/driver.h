/* SPDX-License-Identifier: Apache-2.0 */
/*
 * driver.h: the Weft driver inside ROMIO, and what its files share.
 *
 * ROMIO's common code (MPI calls, file views, two-phase collective I/O) calls
 * the functions of `driver_table`; they do their work through weft/weft.h and
 * through nothing else. ROMIO's own names are ADIO_ and ADIOI_.
 *
 * What it promises
 *  - A collective open is one metadata request, whatever the number of ranks.
 *  - Noncontiguous I/O is list I/O: no byte is read or written that the caller
 *    did not name.
 *  - An error of one rank keeps no other rank waiting in a collective call.
 *  - Sizes are 64 bits wide throughout.
 *
 * As everywhere in ROMIO, small memory that can't be had ends the program
 * (ADIOI_Malloc and its kin).
 */
#ifndef ROMIO_DRIVER_H
#define ROMIO_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "compat.h"
#include "hint_set.h"
#include "host.h"
#include "locality.h"
#include "piece_walk.h"
#include "progress.h"
#include "weft/weft.h"

#define DRIVER_FILE_SYSTEM 190 /* no other file system of ROMIO has this number */
#define DRIVER_PATH_BYTES  (WEFT_PATH_BYTES_MAX + 64)
#define DRIVER_NAME        "WEFT: Weft parallel storage service"

struct explain;
struct failure;
struct view;

/* The hints of a file, the same on all ranks. */
struct driver_hints {
    enum strategy collective_read; /* what all hints of strategies come to */
    enum strategy collective_write;
    bool has_cb_nodes;        /* some source asked for this many aggregators */
    bool has_cb_config_list;  /* some source says where they may be */
    bool has_progress_thread; /* weft_progress=thread; fixed at open */
    bool is_durable_at_close; /* weft_durability=close */
    bool is_explained;        /* weft_explain=true */
    bool has_locality;        /* on somebody's host some ranks are nearer to the network than others */
    struct locality *places;  /* then, on rank 0: of each rank */
    struct hint_set asked;    /* what the sources say */
    struct hint_set told;     /* what is in effect, as MPI_File_get_info tells it */
};

/* What the driver keeps for an open file, as ADIO_File's fs_ptr. It is made with
 * the first hints, before the open: `file` is NULL until then. */
struct driver_file {
    weft_file_t *file;
    struct driver_hints hints;
    bool can_read;             /* not so when the user may only write the file */
    bool is_atomic;            /* MPI_File_set_atomicity; fd->atomicity stays 0: see atomic.c */
    bool moved_shared_pointer; /* this rank did, since the view was set */
    struct view *view;         /* the file view's pieces, made when first needed */
    int64_t grain;             /* view_grain() of that rank whose view has the smallest; see shared.c */
    struct explain *explain;   /* NULL: nobody asked for it; see explain.c */
    char *mounted;             /* the path on a mount that this rank gave; NULL: the file has the prefix */
};

static inline struct driver_file *driver_file(ADIO_File fd)
{
    return fd->fs_ptr;
}

/* ---- table.c ---------------------------------------------------------- */

extern ADIOI_Fns driver_table;

/* driver_owns(): false for files of others, which ROMIO serves in a library that stands in for
 * all of MPI's files, and for what is no file at all. */
static inline bool driver_owns(ADIO_File fd)
{
    return fd != NULL && fd->cookie == ADIOI_FILE_COOKIE && fd->file_system == DRIVER_FILE_SYSTEM;
}

/* driver_path_match(): true when this file is Weft's: by its prefix, or by
 * ROMIO_FSTYPE_FORCE, which then decides alone. */
bool driver_path_match(const char *path);
/* driver_path(): the path for the library, from the one that ROMIO gives. Too
 * long a one is cut off where the library refuses it. */
void driver_path(const char *given, char path[DRIVER_PATH_BYTES]);

/* ---- mounts.c --------------------------------------------------------- */

/* mounts_agree(): collective: whether this file, which is not ours by its name, is on a mount of Weft that
 * all ranks can go past. The next call in this thread opens it. */
bool mounts_agree(MPI_Comm comm, const char *path);
/* mounts_inside(): of a path that was agreed on the one with the prefix; any other as it is. */
const char *mounts_inside(const char *given);
/* mounts_keep(): what was agreed on is forgotten, unless it is this path with the prefix. */
void mounts_keep(const char *inside);
/* mounts_take(): the file that is being opened is the one that was agreed on, if any was. */
void mounts_take(ADIO_File fd);

/* ---- session.c -------------------------------------------------------- */

/* session_get_mounted(): as session_get(); a process without a configuration takes the mount's. */
int session_get_mounted(const struct weft_mounted *mounted, weft_session_t **session);
/* session_hold(), session_release(): around the use of the session by an open file. */
void session_hold(void);
void session_release(void);

/* ---- failure.c -------------------------------------------------------- */

#define FAILURE_TEXT_BYTES 256

/* An error on its way to the caller, perhaps by way of other ranks. */
struct failure {
    int class; /* an MPI error class; MPI_SUCCESS: there is none */
    char text[FAILURE_TEXT_BYTES];
};

/* failure_set(): from the negative errno of a library call and weft_error(). */
void failure_set(struct failure *failure, int error);
void failure_say(struct failure *failure, int class, const char *text);
/* failure_agree(): collective. When any rank failed, every rank has the failure
 * of the first that did afterwards, and the call returns true. */
bool failure_agree(struct failure *failure, MPI_Comm comm);
/* failure_code(): the error code for the caller of MPI: MPI_Error_class() of it
 * gives the class, MPI_Error_string() the text. Each MPI has its own. */
int failure_code(const struct failure *failure);
/* failure_report(): the error code for a read or write that gave `result`. */
int failure_report(ssize_t result);
/* failure_before_start(): of an access_begin() that was false. */
void failure_before_start(struct failure *failure);

/* ---- hints.c ---------------------------------------------------------- */

/* Collective. Of ranks that give different hints, rank 0's count. */
void driver_set_info(ADIO_File fd, MPI_Info users_info, int *error_code);
/* hints_take_directory(): collective, once the file is open: what its directory has for it and
 * no other source has said. */
void hints_take_directory(ADIO_File fd);
/* hints_layout(): the layout that the hints ask for; zero fields elsewhere. */
void hints_layout(ADIO_File fd, struct weft_layout *layout);
/* hints_file_mode(): the permission bits of a new file. */
mode_t hints_file_mode(ADIO_File fd);
/* hints_publish(): on every rank once the file is open, and when hints have
 * changed: tells ROMIO and MPI_File_get_info what is in effect. */
void hints_publish(ADIO_File fd);
/* hints_refuse(): nobody offers the pool, or has the host, that was asked for by this hint. */
void hints_refuse(ADIO_File fd, enum hint_id id, const char *why);
/* hints_report(): one line to standard error, of rank 0 of the file, once in the
 * life of the process. */
void hints_report(ADIO_File fd, const char *complaint);
/* hints_say_once(): the same, of whoever calls it. */
void hints_say_once(const char *complaint);
/* hints_interpret(): what the hints that were asked for come to. */
void hints_interpret(ADIO_File fd);

/* ---- aggregators.c ---------------------------------------------------- */

/* aggregators_choose(): at open, before ROMIO finds them: how many at most, and where they may be. */
void aggregators_choose(ADIO_File fd);
/* aggregators_gather(): collective, before that too, where hints.has_locality says so. */
void aggregators_gather(ADIO_File fd);
void aggregators_forget(struct driver_file *file);
/* aggregators_bound(): once the file is open, and its layout known. */
void aggregators_bound(ADIO_File fd);
/* aggregators_find(): collective: finds them once more, since hints have come with the open. */
void aggregators_find(ADIO_File fd);
/* aggregators_list_was_refused(): on rank 0, before the open: nobody could be an aggregator by
 * the cb_config_list. Then aggregators_refuse_list() must be called on all ranks. */
bool aggregators_list_was_refused(void);
void aggregators_refuse_list(ADIO_File fd);

/* ---- open.c ----------------------------------------------------------- */

void driver_open_coll(ADIO_File fd, int rank, int access_mode, int *error_code);
void driver_close(ADIO_File fd, int *error_code);

/* ---- pieces.c --------------------------------------------------------- */

/*
 * A cursor over the bytes that a datatype selects, its copies laid end to end
 * without end: pieces of memory, or of the file. Pieces may be empty.
 */
struct pieces {
    const ADIO_Offset *offsets; /* of one copy, from the copy's origin */
    const ADIO_Offset *lengths;
    size_t count;
    int64_t extent; /* from the origin of one copy to that of the next */
    int64_t origin; /* of the current copy: an address, or a file offset */
    size_t index;   /* the current piece */
    int64_t inside; /* how far into it */
};

/* One access: which bytes of memory, which of the file, how many are left. */
struct access {
    struct pieces memory;
    struct pieces file;
    int64_t left;
    int64_t bytes;               /* of the whole access */
    int64_t file_start;          /* where it began: a position among the view's bytes */
    const struct view *view;     /* NULL: the file is contiguous in this view */
    int64_t displacement;        /* of the view */
    ADIO_Offset memory_piece[2]; /* offset and length, when memory is contiguous */
    ADIO_Offset *memory_owned;   /* the same for all pieces, when they were copied */
    MPI_Datatype flattened;      /* to be taken from ROMIO's list; MPI_DATATYPE_NULL: none */
};

/* The lists for one call of the library. Starts as all zeros. */
struct batch {
    struct iovec *iov;
    struct weft_extent *extents;
    size_t iov_count;
    size_t iov_room;
    size_t extent_count;
    size_t extent_room;
    int64_t bytes;
};

/*
 * access_begin(): describes `count` of `datatype` at `buffer`, and the place in
 * the file that `file_ptr_type` and `offset` name, as ROMIO's strided calls
 * have them. False when that is before the start of the file. An access stays
 * where it is in memory.
 */
bool access_begin(struct access *access, ADIO_File fd, const void *buffer, romio_count_t count,
                  MPI_Datatype datatype, int file_ptr_type, ADIO_Offset offset);
/* access_keep(): after it the datatype and ROMIO's lists are needed no more,
 * for an access that outlives the call that began it. */
void access_keep(struct access *access);
void access_end(struct access *access);
/* access_extents(): the runs of the file that the access has before it, in a list of bounded
 * length: where it would be longer, neighbours are one run with the gap between them. To be
 * given to ADIOI_Free(). */
struct weft_extent *access_extents(const struct access *access, size_t *count);
/* access_offset_after(): the file offset of the byte that follows the first
 * `bytes` bytes of the access in this view. */
int64_t access_offset_after(const struct access *access, int64_t bytes);
/* access_reach(): the file offsets of the first and the last byte of an access that has bytes. */
void access_reach(const struct access *access, int64_t *start, int64_t *end);
/* access_pieces(): about how many runs of the file it has, at little cost. */
int64_t access_pieces(const struct access *access);
/* access_rises(): whether each of its runs lies behind the one before it. */
bool access_rises(const struct access *access);

/* access_next(): takes the next run, cut at `file_end`; false when it begins there or behind, or
 * nothing is left. */
bool access_next(struct access *access, int64_t file_end, struct piece *piece);
/* access_offset(): where the next run begins; INT64_MAX when nothing is left. */
int64_t access_offset(struct access *access);

/* batch_fill(): takes the next part of the access, of a bounded number of
 * pieces; false when nothing is left. */
bool batch_fill(struct batch *batch, struct access *access);
void batch_free(struct batch *batch);
/* view_forget(): must be called when the file view changes. */
void view_forget(struct driver_file *file);
/* view_grain(): the mean bytes of a piece of this rank's file view; INT64_MAX when it is contiguous. */
int64_t view_grain(ADIO_File fd);

/* ---- contiguous.c ----------------------------------------------------- */

void driver_read_contig(ADIO_File fd, void *buffer, romio_count_t count, MPI_Datatype datatype,
                        int file_ptr_type, ADIO_Offset offset, ADIO_Status *status, int *error_code);
void driver_write_contig(ADIO_File fd, const void *buffer, romio_count_t count, MPI_Datatype datatype,
                         int file_ptr_type, ADIO_Offset offset, ADIO_Status *status, int *error_code);

/* ---- strided.c -------------------------------------------------------- */

/* strided_move(): moves an access that has begun, or what of it there is before the end of the file;
 * in atomic mode under a lock. Returns the bytes moved or a negative errno. */
int64_t strided_move(struct driver_file *file, struct access *access, bool is_write);
void driver_read_strided(ADIO_File fd, void *buffer, romio_count_t count, MPI_Datatype datatype,
                         int file_ptr_type, ADIO_Offset offset, ADIO_Status *status, int *error_code);
void driver_write_strided(ADIO_File fd, const void *buffer, romio_count_t count, MPI_Datatype datatype,
                          int file_ptr_type, ADIO_Offset offset, ADIO_Status *status, int *error_code);

/* ---- collective.c ----------------------------------------------------- */

void driver_read_coll(ADIO_File fd, void *buffer, romio_count_t count, MPI_Datatype datatype,
                      int file_ptr_type, ADIO_Offset offset, ADIO_Status *status, int *error_code);
void driver_write_coll(ADIO_File fd, const void *buffer, romio_count_t count, MPI_Datatype datatype,
                       int file_ptr_type, ADIO_Offset offset, ADIO_Status *status, int *error_code);

/* ---- nonblocking.c ---------------------------------------------------- */

void driver_iread_contig(ADIO_File fd, void *buffer, romio_count_t count, MPI_Datatype datatype,
                         int file_ptr_type, ADIO_Offset offset, ADIO_Request *request, int *error_code);
void driver_iwrite_contig(ADIO_File fd, const void *buffer, romio_count_t count, MPI_Datatype datatype,
                          int file_ptr_type, ADIO_Offset offset, ADIO_Request *request, int *error_code);
void driver_iread_strided(ADIO_File fd, void *buffer, romio_count_t count, MPI_Datatype datatype,
                          int file_ptr_type, ADIO_Offset offset, ADIO_Request *request, int *error_code);
void driver_iwrite_strided(ADIO_File fd, const void *buffer, romio_count_t count, MPI_Datatype datatype,
                           int file_ptr_type, ADIO_Offset offset, ADIO_Request *request, int *error_code);
/*
 * A nonblocking collective call may not wait for other ranks, and list I/O needs no
 * exchange with them: each rank sends its own.
 */
void driver_iread_coll(ADIO_File fd, void *buffer, romio_count_t count, MPI_Datatype datatype,
                       int file_ptr_type, ADIO_Offset offset, ADIO_Request *request, int *error_code);
void driver_iwrite_coll(ADIO_File fd, const void *buffer, romio_count_t count, MPI_Datatype datatype,
                        int file_ptr_type, ADIO_Offset offset, ADIO_Request *request, int *error_code);

/* nonblocking_progress(): moves all operations on, without waiting, and tells MPI
 * which requests are complete; returns how many are complete now. For MPI's progress. */
int nonblocking_progress(void);
/* nonblocking_is_complete(): of the state of a request that the caller holds: whether
 * nonblocking_progress() has told MPI. */
bool nonblocking_is_complete(const void *state);
/* nonblocking_finish(): waits until all operations of a file are at their end. */
void nonblocking_finish(const weft_file_t *file);


/* ---- atomic.c --------------------------------------------------------- */

/*
 * atomic_lock(), atomic_unlock(): around an access in atomic mode; nothing happens
 * in any other. atomic_unlock() gives the result of the whole: `result`, or, when that
 * is no error, the one of a lock that was lost.
 */
int atomic_lock(struct driver_file *file, const struct weft_extent *extents, size_t count, bool is_exclusive,
                weft_lock_t **lock);
int64_t atomic_unlock(weft_lock_t *lock, int64_t result);

/* ---- shared.c --------------------------------------------------------- */

/* shared_pointer_add(): moves the shared file pointer by so many etypes; `before` is where it was. */
int shared_pointer_add(ADIO_File fd, int64_t add, int64_t *before);

/* ---- explain.c -------------------------------------------------------- */

/*
 * Calls by class, for weft_explain=true. Without it, each of these is one branch.
 * A read or write is the sum of these bits; the others have numbers behind them.
 */
enum explain_class {
    EXPLAIN_STRIDED = 1, /* in memory, in the file or both */
    EXPLAIN_NONBLOCKING = 2,
    EXPLAIN_COLLECTIVE = 4,
    EXPLAIN_WRITE = 8,
    EXPLAIN_OTHERS = 16,
    EXPLAIN_POINTER = EXPLAIN_OTHERS, /* a move of the shared file pointer */
    EXPLAIN_SIZE,                     /* asked for or set */
    EXPLAIN_SYNC,
    EXPLAIN_BETWEEN, /* what happens while no call goes on */
    EXPLAIN_COUNT,
};

/* explain_start(): once the file is open, if its hints ask for it. */
void explain_start(ADIO_File fd);
/* explain_tell(): collective, before the file is closed; nothing happens where no hint asks for it. */
void explain_tell(ADIO_File fd);
void explain_forget(struct driver_file *file);

void explain_call_begin(struct explain *explain, enum explain_class class);
void explain_call_end(struct explain *explain, int64_t bytes);
enum explain_class explain_class_of(ADIO_File fd, bool is_write, unsigned kind, MPI_Datatype datatype);
void explain_method(struct explain *explain, bool is_write, const char *method, const char *reason);

/* explain_begin(), explain_end(): around a call; those inside of it are part of it. `bytes` is what
 * the call asked for. */
static inline void explain_begin(const struct driver_file *file, enum explain_class class)
{
    if (file->explain != NULL)
        explain_call_begin(file->explain, class);
}

static inline void explain_end(const struct driver_file *file, int64_t bytes)
{
    if (file->explain != NULL)
        explain_call_end(file->explain, bytes);
}

/* The same for reads and writes of a datatype; `kind` is bits of the class that are known. */
static inline void explain_begin_access(ADIO_File fd, bool is_write, unsigned kind, MPI_Datatype datatype)
{
    struct explain *explain = driver_file(fd)->explain;
    if (explain != NULL)
        explain_call_begin(explain, explain_class_of(fd, is_write, kind, datatype));
}

static inline void explain_end_access(ADIO_File fd, romio_count_t count, MPI_Datatype datatype)
{
    MPI_Count size;
    if (driver_file(fd)->explain == NULL)
        return;
    MPI_Type_size_x(datatype, &size);
    explain_call_end(driver_file(fd)->explain, (int64_t)size * count);
}

/* explain_strategy(): once in each collective read or write: by which method it is done, and why. Both
 * texts are the same on all ranks, and one of a few. */
static inline void explain_strategy(ADIO_File fd, bool is_write, const char *method, const char *reason)
{
    struct explain *explain = driver_file(fd)->explain;
    if (explain != NULL)
        explain_method(explain, is_write, method, reason);
}

/* An operation that goes on after the call that began it. */
struct explain_op {
    struct explain *explain; /* NULL: it is not counted */
    enum explain_class class;
    int64_t since_ns;
};

/* explain_op_begin(): ends the call that began it. explain_op_step(), explain_op_stepped(): around each
 * step that moves it on; from any thread, with op->explain not NULL. */
void explain_op_begin(struct explain *explain, struct explain_op *op, int64_t bytes);
void explain_op_step(const struct explain_op *op);
void explain_op_stepped(const struct explain_op *op, bool is_end);

/* ---- control.c -------------------------------------------------------- */

void driver_fcntl(ADIO_File fd, int flag, ADIO_Fcntl_t *arguments, int *error_code);
void driver_flush(ADIO_File fd, int *error_code);
void driver_resize(ADIO_File fd, ADIO_Offset size, int *error_code);
void driver_delete(const char *path, int *error_code);
int driver_feature(ADIO_File fd, int flag);

#endif
