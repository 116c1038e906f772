/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks of fcntl(), lockf() and flock(), which are libweft's locks with owners: one number stands for this
 * process, whose session it is, and one for each open file description. flock()'s is on the byte
 * that stands for the whole file.
 */
#include "px.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OWNER_PROCESS = 1 };
/* What is told instead of a process's number of locks that belong to a description. */
#define NO_PID ((uint32_t)-1)

/* The files of which this process may have locked something, so that close() need not look otherwise. */
struct locked {
    uint64_t ino;
    bool is_locked;
    struct locked *next;
};

static struct locked *all;
static atomic_uint locked_count; /* entries that are locked */
static atomic_ulong last_owner = OWNER_PROCESS;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct locked *locked_of(uint64_t ino)
{
    struct locked *locked = all;
    while (locked && locked->ino != ino)
        locked = locked->next;
    return locked;
}

static int note_locked(uint64_t ino)
{
    pthread_mutex_lock(&lock);
    struct locked *locked = locked_of(ino);
    if (!locked && (locked = calloc(1, sizeof *locked))) {
        locked->ino = ino;
        locked->next = all;
        all = locked;
    }
    if (locked && !locked->is_locked) {
        locked->is_locked = true;
        atomic_fetch_add(&locked_count, 1);
    }
    pthread_mutex_unlock(&lock);
    return locked ? 0 : -ENOLCK;
}

/* Whether it may have been locked; it is not any more. */
static bool forget_locked(uint64_t ino)
{
    if (atomic_load(&locked_count) == 0)
        return false;
    pthread_mutex_lock(&lock);
    struct locked *locked = locked_of(ino);
    bool was = locked && locked->is_locked;
    if (was) {
        locked->is_locked = false;
        atomic_fetch_sub(&locked_count, 1);
    }
    pthread_mutex_unlock(&lock);
    return was;
}

/* The description's own number, from its first lock on. */
static uint64_t owner_of(struct px_desc *desc)
{
    pthread_mutex_lock(&desc->lock);
    if (!desc->owner)
        desc->owner = atomic_fetch_add(&last_owner, 1) + 1;
    uint64_t owner = desc->owner;
    pthread_mutex_unlock(&desc->lock);
    return owner;
}

/* ---- fcntl() ----------------------------------------------------------------------------------- */

static int range_of(struct px_desc *desc, int fd, const struct flock *lock_asked, weft_file_t *file,
                    struct weft_extent *extent)
{
    off_t base = 0, start, end;
    uint64_t size;
    if (lock_asked->l_whence == SEEK_CUR)
        base = px_seek(desc, fd, 0, SEEK_CUR);
    else if (lock_asked->l_whence == SEEK_END)
        base = PX_CALL(file_size, file, &size) == 0 ? (off_t)size : -EIO;
    else if (lock_asked->l_whence != SEEK_SET)
        return -EINVAL;
    if (base < 0)
        return (int)base;
    if (__builtin_add_overflow(base, lock_asked->l_start, &start) ||
        __builtin_add_overflow(start, lock_asked->l_len, &end))
        return -EOVERFLOW;
    if (lock_asked->l_len < 0) {
        off_t first = end;
        end = start;
        start = first;
    }
    if (start < 0)
        return -EINVAL;
    /* "To the end" leaves out the bytes that libweft has a use of its own for. */
    if (lock_asked->l_len == 0 || (uint64_t)end > WEFT_LOCK_WHOLE)
        end = (off_t)WEFT_LOCK_WHOLE;
    *extent = (struct weft_extent){.offset = (uint64_t)start, .length = (uint64_t)(end - start)};
    return start < end ? 0 : -EINVAL;
}

static int look(weft_file_t *file, const struct weft_record *wish, struct flock *out)
{
    struct weft_record found;
    int result = PX_CALL(file_lock_test, file, wish, &found);
    if (result == 0)
        out->l_type = F_UNLCK;
    if (result <= 0)
        return result;
    uint64_t end = found.extent.offset + found.extent.length;
    out->l_type = found.type == WEFT_LOCK_EXCLUSIVE ? F_WRLCK : F_RDLCK;
    out->l_whence = SEEK_SET;
    out->l_start = (off_t)found.extent.offset;
    out->l_len = end >= WEFT_LOCK_WHOLE ? 0 : (off_t)found.extent.length;
    out->l_pid = found.pid ? (pid_t)found.pid : -1;
    return 0;
}

static int check(const struct px_desc *desc, int command, const struct flock *asked)
{
    int access = desc->flags & O_ACCMODE;
    bool is_test = command == F_GETLK || command == F_OFD_GETLK;
    bool is_ofd = command == F_OFD_GETLK || command == F_OFD_SETLK || command == F_OFD_SETLKW;
    if (!asked)
        return -EFAULT;
    if ((asked->l_type != F_RDLCK && asked->l_type != F_WRLCK && asked->l_type != F_UNLCK) ||
        (is_test && asked->l_type == F_UNLCK) || (is_ofd && asked->l_pid != 0))
        return -EINVAL;
    if (!is_test && ((asked->l_type == F_RDLCK && access == O_WRONLY) ||
                     (asked->l_type == F_WRLCK && access == O_RDONLY)))
        return -EBADF;
    return 0;
}

int px_locks_fcntl(struct px_desc *desc, int fd, int command, struct flock *asked)
{
    bool is_ofd = command == F_OFD_GETLK || command == F_OFD_SETLK || command == F_OFD_SETLKW;
    weft_file_t *file;
    int result = check(desc, command, asked);
    if (result < 0)
        return result;
    struct weft_record wish = {
        .owner = is_ofd ? owner_of(desc) : OWNER_PROCESS,
        .type = asked->l_type == F_UNLCK   ? WEFT_LOCK_NONE
                : asked->l_type == F_RDLCK ? WEFT_LOCK_SHARED
                                           : WEFT_LOCK_EXCLUSIVE,
        .pid = is_ofd ? NO_PID : (uint32_t)getpid(),
    };
    result = px_open_file(desc, &file);
    if (result == 0)
        result = range_of(desc, fd, asked, file, &wish.extent);
    if (result < 0)
        return result;
    if (command == F_GETLK || command == F_OFD_GETLK)
        return look(file, &wish, asked);
    if (!is_ofd && wish.type != WEFT_LOCK_NONE)
        result = note_locked(desc->ino);
    unsigned flags = command == F_SETLKW       ? WEFT_LOCK_WAIT | WEFT_LOCK_SIGNALS | WEFT_LOCK_DETECT
                     : command == F_OFD_SETLKW ? WEFT_LOCK_WAIT | WEFT_LOCK_SIGNALS
                                               : 0;
    return result < 0 ? result : PX_CALL(file_lock_set, file, &wish, flags);
}

PX_EXPORT int lockf(int fd, int command, off_t length)
{
    struct px_desc *desc = px_is_inside() ? NULL : px_desc_get(fd);
    struct flock asked = {
        .l_type = command == F_ULOCK ? F_UNLCK : F_WRLCK, .l_whence = SEEK_CUR, .l_len = length};
    if (!desc)
        return PX_NEXT(lockf)(fd, command, length);
    PX_COUNT(lockf);
    int result = -EINVAL;
    if (command == F_LOCK || command == F_TLOCK || command == F_ULOCK)
        result = px_locks_fcntl(desc, fd, command == F_LOCK ? F_SETLKW : F_SETLK, &asked);
    else if (command == F_TEST)
        result = px_locks_fcntl(desc, fd, F_GETLK, &asked);
    if (result == 0 && command == F_TEST && asked.l_type != F_UNLCK)
        result = -EACCES;
    px_desc_put(desc);
    return (int)px_return(result);
}

PX_EXPORT int lockf64(int fd, int command, off64_t length)
{
    return lockf(fd, command, length);
}

void px_locks_closed(struct px_desc *desc)
{
    weft_file_t *file;
    /* That they were lost meanwhile nobody can be told: close() has no error for that. */
    if (desc->kind == PX_FILE && forget_locked(desc->ino) && px_open_file(desc, &file) == 0)
        PX_CALL(file_lock_drop, file, OWNER_PROCESS);
}

/* ---- flock() -------------------------------------------------------------------------------------- */

static int lock_whole(struct px_desc *desc, int operation)
{
    int kind = operation & ~LOCK_NB;
    weft_file_t *file;
    if (kind != LOCK_SH && kind != LOCK_EX && kind != LOCK_UN)
        return -EINVAL;
    if (desc->kind != PX_FILE) {
        px_say_once("flock", "flock() of a folder is not supported on Weft (EOPNOTSUPP)");
        return -EOPNOTSUPP;
    }
    struct weft_record wish = {
        .owner = owner_of(desc),
        .extent = {.offset = WEFT_LOCK_WHOLE, .length = 1},
        .type = kind == LOCK_UN   ? WEFT_LOCK_NONE
                : kind == LOCK_SH ? WEFT_LOCK_SHARED
                                  : WEFT_LOCK_EXCLUSIVE,
        .pid = (uint32_t)getpid(),
    };
    int result = px_open_file(desc, &file);
    if (result == 0)
        result = PX_CALL(file_lock_set, file, &wish, 0);
    if (result != -EAGAIN)
        return result;
    /* What can't be had at once costs what was there: two who share it and both want it alone would wait
     * for each other otherwise, which flock() does nowhere. */
    const struct weft_record none = {.owner = wish.owner, .extent = wish.extent, .type = WEFT_LOCK_NONE};
    PX_CALL(file_lock_set, file, &none, 0);
    return PX_CALL(file_lock_set, file, &wish, operation & LOCK_NB ? 0 : WEFT_LOCK_WAIT | WEFT_LOCK_SIGNALS);
}

PX_EXPORT int flock(int fd, int operation)
{
    struct px_desc *desc = px_is_inside() ? NULL : px_desc_get(fd);
    if (!desc)
        return PX_NEXT(flock)(fd, operation);
    PX_COUNT(flock);
    int result = lock_whole(desc, operation);
    px_desc_put(desc);
    return (int)px_return(result);
}

void px_locks_end_desc(struct px_desc *desc)
{
    weft_file_t *file = desc->file;
    uint64_t owner = desc->owner;
    desc->owner = 0;
    if (owner && file && px_session)
        PX_CALL(file_lock_drop, file, owner);
}

/* ---- the process --------------------------------------------------------------------------------- */

static void end_of(int fd, struct px_desc *desc, void *arg)
{
    (void)fd;
    (void)arg;
    if (!desc)
        return;
    if (desc->file && forget_locked(desc->ino))
        PX_CALL(file_lock_drop, desc->file, OWNER_PROCESS);
    px_locks_end_desc(desc);
}

/* The end of the session ends them as well, but not before this process has ended. */
void px_locks_end_all(void)
{
    px_table_each(end_of, NULL);
}

/* A child has none of its parent's. */
void px_locks_forget(void)
{
    pthread_mutex_init(&lock, NULL);
    for (struct locked *locked = all; locked; locked = locked->next)
        locked->is_locked = false;
    locked_count = 0;
}
