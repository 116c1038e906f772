/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks of fcntl(), lockf() and flock(), made of libweft's.
 *
 * libweft's locks are made and given back as a whole. Where a process changes a part of what it has,
 * or the kind of it, the old one is given back first: for a moment another client
 * may get in between, as docs/posix.md says. Who waits does so without this file's mutex.
 */
#include "px.h"

#include <stdlib.h>
#include <string.h>

#include "intervals.h"

/* The locks of this process on one file. */
struct locked {
    uint64_t ino;
    struct px_intervals set;
    struct locked *next;
};

static struct locked *all;
static atomic_uint locked_count; /* so that close() need not look when there are none */
static uint64_t version;         /* of any set */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct locked *locked_of(uint64_t ino, bool is_made)
{
    struct locked *locked = all;
    while (locked && locked->ino != ino)
        locked = locked->next;
    if (!locked && is_made && (locked = calloc(1, sizeof *locked))) {
        locked->ino = ino;
        locked->next = all;
        all = locked;
        atomic_fetch_add(&locked_count, 1);
    }
    return locked;
}

static int take(weft_file_t *file, struct px_interval *item, bool waits)
{
    const struct weft_extent extent = {item->start, item->end - item->start};
    weft_lock_t *taken = NULL;
    int result = waits ? PX_CALL(file_lock, file, &extent, 1, item->is_exclusive, &taken)
                       : PX_CALL(file_trylock, file, &extent, 1, item->is_exclusive, &taken);
    item->lock = taken;
    return result;
}

static void give(struct px_interval *item)
{
    /* That it was lost meanwhile nobody can be told: the call that gives it back has no error for that. */
    if (item->lock)
        PX_CALL(file_unlock, (weft_lock_t *)item->lock);
    item->lock = NULL;
}

/* ---- a change ------------------------------------------------------------------------------- */

/* When the change failed: what was given back for it is taken again, in the part that was to change. */
static void restore(struct px_intervals *set, weft_file_t *file, struct px_interval dropped, uint64_t start,
                    uint64_t end)
{
    dropped.start = dropped.start > start ? dropped.start : start;
    dropped.end = dropped.end < end ? dropped.end : end;
    if (take(file, &dropped, true) == 0)
        px_intervals_add(set, &dropped);
}

/* (locked) Drops, and makes what only remains of it; that was ours and is soon again. */
static void drop_all(struct px_intervals *set, weft_file_t *file, struct px_change *change)
{
    for (size_t i = 0; i < change->drop.count; i++) {
        px_intervals_remove(set, &change->drop.items[i]);
        give(&change->drop.items[i]);
    }
    for (size_t i = 0; i < change->make.count; i++)
        if (change->make.items[i].is_rest && take(file, &change->make.items[i], true) == 0)
            px_intervals_add(set, &change->make.items[i]);
}

/* Takes what is new; all or nothing. */
static int take_new(weft_file_t *file, struct px_intervals *make, bool waits)
{
    int result = 0;
    size_t i;
    for (i = 0; i < make->count && result == 0; i++)
        if (!make->items[i].is_rest)
            result = take(file, &make->items[i], waits);
    for (size_t k = 0; result < 0 && k < i; k++)
        if (!make->items[k].is_rest)
            give(&make->items[k]);
    return result;
}

struct wish {
    weft_file_t *file;
    uint64_t ino, start, end;
    enum px_wanted wanted;
    bool waits;
};

/* (locked; not while it waits) -EINTR: another thread changed the set meanwhile. */
static int change_once(struct px_intervals *set, const struct wish *wish)
{
    struct px_change change;
    if (!px_intervals_plan(set, wish->start, wish->end, wish->wanted, &change) ||
        !px_intervals_reserve(set, change.make.count + change.drop.count)) {
        px_change_free(&change);
        return -ENOLCK;
    }
    drop_all(set, wish->file, &change);
    uint64_t seen = ++version;
    if (wish->waits)
        pthread_mutex_unlock(&lock);
    int result = take_new(wish->file, &change.make, wish->waits);
    if (wish->waits)
        pthread_mutex_lock(&lock);
    if (result == 0 && version != seen) {
        for (size_t i = 0; i < change.make.count; i++)
            if (!change.make.items[i].is_rest)
                give(&change.make.items[i]);
        result = -EINTR;
    }
    for (size_t i = 0; result == 0 && i < change.make.count; i++)
        if (!change.make.items[i].is_rest)
            px_intervals_add(set, &change.make.items[i]);
    for (size_t i = 0; result < 0 && result != -EINTR && i < change.drop.count; i++)
        restore(set, wish->file, change.drop.items[i], wish->start, wish->end);
    px_change_free(&change);
    return result;
}

static int change_locks(const struct wish *wish)
{
    int result;
    pthread_mutex_lock(&lock);
    do {
        struct locked *locked = locked_of(wish->ino, wish->wanted != PX_UNLOCKED);
        if (!locked)
            result = wish->wanted == PX_UNLOCKED ? 0 : -ENOLCK;
        else
            result = change_once(&locked->set, wish);
    } while (result == -EINTR);
    pthread_mutex_unlock(&lock);
    return result;
}

/* Who holds it is not known by number: libweft's locks have no owner that a program could name. */
static int look(const struct wish *wish, struct flock *out)
{
    struct px_change change;
    struct px_intervals none = {0};
    struct px_interval probe = {.start = wish->start, .end = wish->end};
    pthread_mutex_lock(&lock);
    struct locked *locked = locked_of(wish->ino, false);
    /* What is ours is in nobody's way: the rest is tried. */
    bool is_planned =
        px_intervals_plan(locked ? &locked->set : &none, wish->start, wish->end, PX_SHARED, &change);
    int result = is_planned ? 0 : -ENOLCK;
    bool is_shared_free = true;
    for (size_t i = 0; is_planned && i < change.make.count && result == 0; i++) {
        struct px_interval part = change.make.items[i];
        bool is_own = part.is_rest;
        for (size_t k = 0; k < change.drop.count; k++)
            is_own =
                is_own || (part.start < change.drop.items[k].end && change.drop.items[k].start < part.end);
        if (is_own)
            continue;
        probe = part;
        probe.is_exclusive = wish->wanted == PX_EXCLUSIVE;
        result = take(wish->file, &probe, false);
        give(&probe);
        if (result == -EAGAIN && probe.is_exclusive) {
            probe.is_exclusive = false;
            is_shared_free = take(wish->file, &probe, false) == 0;
            give(&probe);
        } else if (result == -EAGAIN) {
            is_shared_free = false;
        }
    }
    pthread_mutex_unlock(&lock);
    if (is_planned)
        px_change_free(&change);
    if (result == 0) {
        out->l_type = F_UNLCK;
    } else if (result == -EAGAIN) {
        out->l_type = is_shared_free ? F_RDLCK : F_WRLCK;
        out->l_whence = SEEK_SET;
        out->l_start = (off_t)probe.start;
        out->l_len = probe.end >= WEFT_LOCK_WHOLE ? 0 : (off_t)(probe.end - probe.start);
        out->l_pid = -1;
        result = 0;
    }
    return result;
}

/* ---- fcntl() ----------------------------------------------------------------------------------- */

static int range_of(struct px_desc *desc, int fd, const struct flock *lock_asked, struct wish *wish)
{
    off_t base = 0, start, end;
    uint64_t size;
    if (lock_asked->l_whence == SEEK_CUR)
        base = px_seek(desc, fd, 0, SEEK_CUR);
    else if (lock_asked->l_whence == SEEK_END)
        base = PX_CALL(file_size, wish->file, &size) == 0 ? (off_t)size : -EIO;
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
    wish->start = (uint64_t)start;
    /* "To the end" leaves out the bytes that this library has a use of its own for. */
    wish->end =
        lock_asked->l_len == 0 || (uint64_t)end > WEFT_LOCK_WHOLE ? WEFT_LOCK_WHOLE : (uint64_t)end;
    return wish->start < wish->end ? 0 : -EINVAL;
}

int px_locks_fcntl(struct px_desc *desc, int fd, int command, struct flock *asked)
{
    struct wish wish = {.ino = desc->ino, .waits = command == F_SETLKW};
    int access = desc->flags & O_ACCMODE;
    if (command == F_OFD_GETLK || command == F_OFD_SETLK || command == F_OFD_SETLKW) {
        px_say_once("ofd",
                    "locks of open file descriptions (F_OFD_SETLK) are not supported on Weft (EINVAL)");
        return -EINVAL;
    }
    if (!asked)
        return -EFAULT;
    if (asked->l_type != F_RDLCK && asked->l_type != F_WRLCK && asked->l_type != F_UNLCK)
        return -EINVAL;
    wish.wanted = asked->l_type == F_UNLCK   ? PX_UNLOCKED
                  : asked->l_type == F_RDLCK ? PX_SHARED
                                             : PX_EXCLUSIVE;
    if (command != F_GETLK && ((wish.wanted == PX_SHARED && access == O_WRONLY) ||
                               (wish.wanted == PX_EXCLUSIVE && access == O_RDONLY)))
        return -EBADF;
    int result = px_open_file(desc, &wish.file);
    if (result == 0)
        result = range_of(desc, fd, asked, &wish);
    if (result < 0)
        return result;
    return command == F_GETLK ? look(&wish, asked) : change_locks(&wish);
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

static void end_set(struct px_intervals *set)
{
    for (size_t i = 0; i < set->count; i++)
        give(&set->items[i]);
    set->count = 0;
    version++;
}

void px_locks_closed(uint64_t ino)
{
    if (atomic_load(&locked_count) == 0)
        return;
    pthread_mutex_lock(&lock);
    struct locked *locked = locked_of(ino, false);
    if (locked)
        end_set(&locked->set);
    pthread_mutex_unlock(&lock);
}

/* ---- flock() -------------------------------------------------------------------------------------- */

/* An exclusive lock needs a file that is open for writing; flock() does not. */
static int file_for(struct px_desc *desc, bool is_exclusive, weft_file_t **file)
{
    if (!is_exclusive || (desc->flags & O_ACCMODE) != O_RDONLY)
        return px_open_file(desc, file);
    if (!desc->whole_file) {
        int result = PX_ASK(file_open, desc->path, O_RDWR, 0, NULL, &desc->whole_file);
        if (result < 0)
            desc->whole_file = NULL;
        if (result < 0)
            return -EBADF;
    }
    *file = desc->whole_file;
    return 0;
}

static int lock_whole(struct px_desc *desc, int operation)
{
    struct px_interval item = {WEFT_LOCK_WHOLE, WEFT_LOCK_WHOLE + 1, false, false, NULL};
    int kind = operation & ~LOCK_NB;
    weft_file_t *file;
    if (kind != LOCK_SH && kind != LOCK_EX && kind != LOCK_UN)
        return -EINVAL;
    if (desc->kind != PX_FILE) {
        px_say_once("flock", "flock() of a folder is not supported on Weft (EOPNOTSUPP)");
        return -EOPNOTSUPP;
    }
    pthread_mutex_lock(&desc->lock);
    item.lock = desc->whole;
    give(&item); /* another kind of lock is not taken in one step by flock() anywhere */
    desc->whole = NULL;
    pthread_mutex_unlock(&desc->lock);
    if (kind == LOCK_UN)
        return 0;
    item.is_exclusive = kind == LOCK_EX;
    int result = file_for(desc, item.is_exclusive, &file);
    if (result == 0)
        result = take(file, &item, !(operation & LOCK_NB));
    if (result < 0)
        return result;
    pthread_mutex_lock(&desc->lock);
    weft_lock_t *before = desc->whole; /* another thread's; then one is enough */
    desc->whole = item.lock;
    pthread_mutex_unlock(&desc->lock);
    item.lock = before;
    give(&item);
    return 0;
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

void px_locks_end_whole(struct px_desc *desc)
{
    struct px_interval item = {.lock = desc->whole};
    weft_file_t *file = desc->whole_file;
    desc->whole = NULL;
    desc->whole_file = NULL;
    give(&item);
    if (file)
        PX_CALL(file_close, file);
}

/* ---- the process --------------------------------------------------------------------------------- */

static void end_whole(int fd, struct px_desc *desc, void *arg)
{
    (void)fd;
    (void)arg;
    if (desc && (desc->whole || desc->whole_file))
        px_locks_end_whole(desc);
}

void px_locks_end_all(void)
{
    pthread_mutex_lock(&lock);
    for (struct locked *locked = all; locked; locked = locked->next)
        end_set(&locked->set);
    pthread_mutex_unlock(&lock);
    px_table_each(end_whole, NULL);
}

/* A child has none of its parent's. */
void px_locks_forget(void)
{
    pthread_mutex_init(&lock, NULL);
    for (struct locked *locked = all; locked; locked = locked->next)
        locked->set.count = 0;
}
