/* SPDX-License-Identifier: Apache-2.0 */
/*
 * px.h: the inside of libweft_preload.so, and its table of contents: what the files of
 * this folder give each other, under the name of the file that defines it.
 *
 * A call, from top to bottom: open() (open.c) asks where its path leads (place.c, path.c);
 * what is not ours goes on to libc (next.h). What is ours becomes a call of libweft
 * (library.h), a description and a descriptor (table.h). read() (io.c) finds the description by the
 * descriptor's number.
 *
 * Errors are negative errnos inside; the functions that programs call turn them into -1 and
 * errno with px_return(), and leave errno alone when they succeed.
 */
#ifndef POSIX_PX_H
#define POSIX_PX_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "calls.h"
#include "library.h"
#include "next.h"
#include "path.h"
#include "table.h"

#define PX_EXPORT __attribute__((visibility("default")))

static inline ssize_t px_return(ssize_t result)
{
    if (result >= 0)
        return result;
    errno = (int)-result;
    return -1;
}

/* ---- report.c ----------------------------------------------------------------- */

extern atomic_ulong px_counts[PX_CALL_END];
extern atomic_ulong px_bytes_read, px_bytes_written;

#define PX_COUNT(name) atomic_fetch_add_explicit(&px_counts[PX_CALL_##name], 1, memory_order_relaxed)

void px_report(void);

/* ---- place.c: where a path leads ---------------------------------------------- */

struct px_place {
    int error;               /* the path is ours, but it is none: what to return */
    char path[PX_PATH_ROOM]; /* inside the cluster */
    const char *local;       /* not ours: what libc is to be given */
};

/* True when the call is ours. `place->local` is set otherwise: it is the path itself, or where a
 * relative path leads that leaves the mount point. */
bool px_find(int dirfd, const char *path, struct px_place *place);

const char *px_mount(void);
/* The working folder inside the cluster, or false: it is a local one. */
bool px_place_working(char out[PX_PATH_ROOM]);
/* "" : it is a local one now. */
void px_place_work_in(const char *path);
/* What the environment says; once, before anything else. */
void px_place_init(void);
/* The path without symbolic links, dots and dot-dots; asks for each component. */
int px_place_canonical(const char *path, char out[PX_PATH_ROOM]);
/* Whether the last component is a symbolic link, or a row of them, that leads out of the cluster: to `local`.
 * The server can't follow it, and says ENOENT. */
bool px_place_leads_out(const char *path, char local[PX_PATH_ROOM]);
/* A path of the cluster as the program knows it. False: there is no room. */
bool px_place_outside(const char *path, char *out, size_t room);

/* ---- open.c -------------------------------------------------------------------- */

/* For the memory files behind descriptors: nobody writes to them. */
#define PX_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
/* A descriptor, or a negative errno. */
int px_open(const struct px_place *place, int flags, mode_t mode);
/* A new descriptor for the description, whose reference is used up. */
int px_open_descriptor(struct px_desc *desc, bool closes_on_exec);
/* The description's file; opened again when it is one of an earlier session. */
int px_open_file(struct px_desc *desc, weft_file_t **file);
int px_close(int fd);

/* The same of a file on a mount, without a link at its end; `device` is what the mount's files have as
 * st_dev. */
int px_open_past(const struct px_place *place, int flags, mode_t mode, uint64_t device);

/* ---- mounted.c ----------------------------------------------------------------- */

/* Opens a file on a mount of Weft past the kernel; -1: the kernel is to open it. */
int px_mounted_open(int dirfd, const char *path, int flags, mode_t mode);
extern atomic_ulong px_mounted_opens;

/* ---- io.c ---------------------------------------------------------------------- */

ssize_t px_read_at(struct px_desc *desc, const struct iovec *iov, size_t count, off_t offset);
ssize_t px_write_at(struct px_desc *desc, const struct iovec *iov, size_t count, off_t offset);
off_t px_seek(struct px_desc *desc, int fd, off_t offset, int whence);
/* At the description's offset, which moves on. */
ssize_t px_read(struct px_desc *desc, int fd, const struct iovec *iov, size_t count);
ssize_t px_write(struct px_desc *desc, int fd, const struct iovec *iov, size_t count);

/* ---- stat.c -------------------------------------------------------------------- */

#define PX_DEVICE UINT64_C(0x57656674) /* st_dev of all that is Weft's and on no mount */
void px_stat_fill(const struct weft_attr *attr, uint64_t device, struct stat *out);
int px_stat_desc(struct px_desc *desc, struct weft_attr *attr);

/* ---- descriptors.c ------------------------------------------------------------- */

/* A descriptor of libweft's own goes to a high number and is remembered; what it is now, or -1. */
int px_descriptors_hide(int fd, enum px_mark mark);
/* The result of a call of libc that makes a descriptor: hidden when the thread is inside libweft. */
static inline int px_descriptors_kept(int fd)
{
    return px_is_inside() && fd >= 0 ? px_descriptors_hide(fd, PX_MARK_CLOSED) : fd;
}

/* ---- attr.c -------------------------------------------------------------------- */

mode_t px_umask(void);
void px_umask_init(void);

/* ---- locks.c ------------------------------------------------------------------- */

/* Byte ranges are locked for the process, and end when it closes any descriptor of the file. */
int px_locks_fcntl(struct px_desc *desc, int fd, int command, struct flock *lock);
void px_locks_closed(struct px_desc *desc);
/* Those of the description itself. */
void px_locks_end_desc(struct px_desc *desc);
void px_locks_forget(void);
void px_locks_end_all(void);

/* ---- mappings.c ---------------------------------------------------------------- */

void px_mappings_flush(void);

/* ---- streams.c ----------------------------------------------------------------- */

/* The streams stdin, stdout and stderr follow their descriptors, since libc's own would
 * write to the kernel's. Called when 0, 1 or 2 became ours or ceased to be. */
void px_streams_follow(int fd);
/* 0, 1 or 2 is about to be something else. */
void px_streams_leave(int fd);
/* In a child: what stands in the buffers is the parent's. */
void px_streams_forget(void);

/* ---- sharing.c: descriptions that other processes are to have -------------------- */

/* Gives every description a memory file that holds its record and its offset. */
void px_sharing_promote_all(void);
/* Finds what the process was given by the one before it. */
void px_sharing_adopt_all(void);
extern const char px_sharing_variable[];
/* Whether a program that is started now inherits descriptors of ours. */
bool px_sharing_is_needed(void);

/* ---- process.c ----------------------------------------------------------------- */

/* Unless other threads are inside libweft: closes all of its files and ends the session; descriptions open
 * theirs again when needed. */
void px_process_quiet(void);
/* The same, with what only the end of a process has: mappings, streams, the report. */
void px_process_finish(void);
void px_process_exit(void);

#endif
