/* SPDX-License-Identifier: Apache-2.0 */
#include "locks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "err.h"
#include "log.h"

enum { SLOTS = 64, EXTENTS_MAX = 1024 };

/* One of libweft's locks. */
struct piece {
    struct list_link link; /* in its holder */
    weft_lock_t *weft;
    struct file *file; /* held, since the lock must be given back before it is closed */
    bool exclusive;
    struct intervals extents;
};

/* What one owner has of one file. */
struct holder {
    struct list_link link; /* in the slot */
    uint64_t ino;
    uint64_t owner;
    bool whole;
    pid_t pid;
    struct intervals ranges; /* as the owner sees it */
    struct list pieces;      /* they cover all of it */
};

/* Files whose numbers are alike. Its mutex is held while libweft is asked, so that what is here and what is
 * held there are the same for whoever looks; nobody waits for a lock under it. */
struct slot {
    pthread_mutex_t mutex;
    struct list holders;
};

struct locks {
    struct slot slots[SLOTS];
    struct lock_line *line;
};

int locks_new(struct locks **out)
{
    struct locks *locks = calloc(1, sizeof *locks);
    int error = locks ? lock_line_new(&locks->line) : -ENOMEM;
    if (error) {
        free(locks);
        return error;
    }
    for (size_t i = 0; i < SLOTS; i++) {
        pthread_mutex_init(&locks->slots[i].mutex, NULL);
        list_init(&locks->slots[i].holders);
    }
    *out = locks;
    return 0;
}

struct lock_line *locks_line(struct locks *locks)
{
    return locks->line;
}

/* ---- libweft's locks ------------------------------------------------------------ */

static void piece_free(struct piece *piece)
{
    list_remove(&piece->link);
    intervals_free(&piece->extents);
    (void)file_drop(piece->file);
    free(piece);
}

/* flock(2) locks exclusively by a descriptor that only reads, too, which libweft does not: another opening,
 * if the caller may. */
static int file_for(struct file *file, bool exclusive, struct file **out)
{
    weft_file_t *weft;
    fuse_ino_t node = file->ino == file->mount->root ? FUSE_ROOT_ID : file->ino;
    if (!exclusive || file->writable) {
        file_hold(file);
        *out = file;
        return 0;
    }
    int error = file_open(file->mount, node, O_RDWR, &weft);
    if (error)
        return error == -EACCES ? -EBADF : error;
    error = file_new(file->mount, weft, out);
    if (error)
        (void)weft_file_close(weft);
    else
        (*out)->writable = true;
    return error;
}

static int piece_try(struct piece *piece)
{
    struct weft_extent extents[EXTENTS_MAX];
    if (piece->extents.count > EXTENTS_MAX)
        return err_set(-ENOLCK, "more than %d ranges at once can't be locked", EXTENTS_MAX);
    for (size_t i = 0; i < piece->extents.count; i++) {
        const struct interval *item = &piece->extents.items[i];
        extents[i] = (struct weft_extent){.offset = item->start, .length = item->end - item->start};
    }
    return weft_file_trylock(piece->file->weft, extents, piece->extents.count, piece->exclusive,
                             &piece->weft);
}

/* A lock on these bytes, which become the piece's also when it fails. */
static int piece_new(struct file *file, struct intervals *extents, bool exclusive, struct piece **out)
{
    struct piece *piece = calloc(1, sizeof *piece);
    int error = piece ? file_for(file, exclusive, &piece->file) : -ENOMEM;
    if (error) {
        free(piece);
        intervals_free(extents);
        return error;
    }
    list_link_init(&piece->link);
    piece->exclusive = exclusive;
    piece->extents = *extents;
    *extents = (struct intervals){0};
    error = piece_try(piece);
    if (error)
        piece_free(piece);
    else
        *out = piece;
    return error;
}

/* -ENOLCK: it had been lost. */
static int piece_end(struct piece *piece)
{
    int error = weft_file_unlock(piece->weft);
    piece_free(piece);
    return error;
}

/* ---- holders ---------------------------------------------------------------------- */

static struct slot *slot_of(const struct file *file)
{
    return &file->mount->locks->slots[file->ino % SLOTS];
}

static struct holder *holder_find(struct slot *slot, uint64_t ino, uint64_t owner, bool whole)
{
    list_each(&slot->holders, link, after)
    {
        struct holder *holder = list_item(link, struct holder, link);
        if (holder->ino == ino && holder->owner == owner && holder->whole == whole)
            return holder;
    }
    return NULL;
}

static struct holder *holder_get(struct slot *slot, const struct lock_ask *ask)
{
    struct holder *holder = holder_find(slot, ask->file->ino, ask->owner, ask->whole);
    if (!holder) {
        holder = calloc(1, sizeof *holder);
        if (!holder)
            return NULL;
        *holder = (struct holder){.ino = ask->file->ino, .owner = ask->owner, .whole = ask->whole};
        list_init(&holder->pieces);
        list_push_back(&slot->holders, &holder->link);
    }
    holder->pid = ask->pid;
    return holder;
}

/* Gives back the pieces of which no byte is needed, and the holder when he has none. */
static int holder_tidy(struct holder *holder)
{
    int error = 0;
    list_each(&holder->pieces, link, after)
    {
        struct piece *piece = list_item(link, struct piece, link);
        if (intervals_meet(&holder->ranges, &piece->extents))
            continue;
        int result = piece_end(piece);
        error = error ? error : result;
    }
    if (list_empty(&holder->pieces)) {
        list_remove(&holder->link);
        intervals_free(&holder->ranges);
        free(holder);
    }
    return error;
}

/* ---- setting ------------------------------------------------------------------------ */

/* Who else of this mount is in the way, and with which lock. */
static const struct holder *in_the_way(struct slot *slot, const struct lock_ask *ask,
                                       const struct interval **found)
{
    list_each(&slot->holders, link, after)
    {
        struct holder *holder = list_item(link, struct holder, link);
        if (holder->ino != ask->file->ino || (holder->owner == ask->owner && holder->whole == ask->whole))
            continue;
        *found = intervals_find(&holder->ranges, ask->start, ask->end, !ask->exclusive);
        if (*found)
            return holder;
    }
    return NULL;
}

/* What no piece covers so far as it is asked for. */
static int missing(struct holder *holder, const struct lock_ask *ask, struct intervals *out)
{
    int error = intervals_set(out, ask->start, ask->end, false);
    list_each(&holder->pieces, link, after)
    {
        const struct piece *piece = list_item(link, struct piece, link);
        for (size_t i = 0; i < piece->extents.count && !error; i++)
            if (piece->exclusive || !ask->exclusive)
                error = intervals_clear(out, piece->extents.items[i].start, piece->extents.items[i].end);
    }
    return error;
}

/* A piece that was given back is tried again as it was. Else what it stood for is lost. */
static int piece_restore(struct holder *holder, struct piece *piece)
{
    if (piece_try(piece) == 0) {
        list_push_back(&holder->pieces, &piece->link);
        return -EAGAIN;
    }
    for (size_t i = 0; i < piece->extents.count; i++)
        (void)intervals_clear(&holder->ranges, piece->extents.items[i].start, piece->extents.items[i].end);
    piece_free(piece);
    log_warn("a shared lock was lost, because somebody else came in between while it was to be exclusive");
    return -ENOLCK;
}

/* What of a shared piece is needed beside the range that becomes exclusive: nothing, when it lies in that. */
static int rest_of(const struct piece *piece, const struct lock_ask *ask, struct intervals *rest)
{
    int error = 0;
    for (size_t i = 0; i < piece->extents.count && !error; i++)
        error = intervals_set(rest, piece->extents.items[i].start, piece->extents.items[i].end, false);
    return error ? error : intervals_clear(rest, ask->start, ask->end);
}

/* The holder's own shared piece is in the way of the exclusive one. */
static int upgrade_piece(struct holder *holder, const struct lock_ask *ask, struct intervals *wanted,
                         struct piece *shared)
{
    struct intervals rest = {0};
    struct piece *piece = NULL, *left = NULL;
    int error = rest_of(shared, ask, &rest);
    if (error)
        goto free_rest;
    list_remove(&shared->link);
    (void)weft_file_unlock(shared->weft);
    error = piece_new(ask->file, wanted, true, &piece);
    if (!error && rest.count > 0)
        error = piece_new(shared->file, &rest, false, &left);
    if (error) {
        if (piece)
            (void)piece_end(piece);
        int restored = piece_restore(holder, shared);
        error = error == -EAGAIN || restored == -ENOLCK ? restored : error;
        goto free_rest;
    }
    piece_free(shared);
    list_push_back(&holder->pieces, &piece->link);
    if (left)
        list_push_back(&holder->pieces, &left->link);
free_rest:
    intervals_free(&rest);
    return error;
}

static struct piece *shared_meeting(struct holder *holder, const struct intervals *wanted)
{
    list_each(&holder->pieces, link, after)
    {
        struct piece *piece = list_item(link, struct piece, link);
        if (!piece->exclusive && intervals_meet(&piece->extents, wanted))
            return piece;
    }
    return NULL;
}

/* Makes the bytes that are missing the holder's. An upgrade goes piece by piece of what is shared: each
 * of them with the part of the range that it covers, the rest as if nothing had been held. */
static int acquire(struct holder *holder, const struct lock_ask *ask)
{
    struct intervals wanted = {0}, part = {0};
    struct piece *piece, *shared;
    int error = missing(holder, ask, &wanted);
    while (!error && ask->exclusive && (shared = shared_meeting(holder, &wanted))) {
        for (size_t i = 0; i < shared->extents.count && !error; i++) {
            struct interval item = shared->extents.items[i];
            item.start = item.start > ask->start ? item.start : ask->start;
            item.end = item.end < ask->end ? item.end : ask->end;
            error = intervals_set(&part, item.start, item.end, false);
            if (!error)
                error = intervals_clear(&wanted, item.start, item.end);
        }
        if (!error)
            error = upgrade_piece(holder, ask, &part, shared);
    }
    if (!error && wanted.count > 0) {
        error = piece_new(ask->file, &wanted, ask->exclusive, &piece);
        if (!error)
            list_push_back(&holder->pieces, &piece->link);
    }
    intervals_free(&wanted);
    intervals_free(&part);
    return error;
}

/* flock(2) lets go of what there is before it asks for another kind. */
static void convert_whole(struct holder *holder, const struct lock_ask *ask)
{
    const struct interval *had = intervals_find(&holder->ranges, ask->start, ask->end, false);
    if (!had || had->exclusive == ask->exclusive)
        return;
    (void)intervals_clear(&holder->ranges, ask->start, ask->end);
    list_each(&holder->pieces, link, after)(void) piece_end(list_item(link, struct piece, link));
}

static int take(struct slot *slot, const struct lock_ask *ask)
{
    const struct interval *found;
    struct holder *holder = holder_get(slot, ask);
    int error = holder ? 0 : -ENOMEM;
    if (holder && ask->whole)
        convert_whole(holder, ask);
    if (!error && in_the_way(slot, ask, &found))
        error = -EAGAIN;
    if (!error)
        error = acquire(holder, ask);
    if (!error)
        error = intervals_set(&holder->ranges, ask->start, ask->end, ask->exclusive);
    if (holder)
        (void)holder_tidy(holder);
    return error;
}

static int give_back(struct slot *slot, const struct lock_ask *ask)
{
    struct holder *holder = holder_find(slot, ask->file->ino, ask->owner, ask->whole);
    if (!holder)
        return 0;
    int error = intervals_clear(&holder->ranges, ask->start, ask->end);
    return error ? error : holder_tidy(holder);
}

int locks_try(const struct lock_ask *ask)
{
    struct slot *slot = slot_of(ask->file);
    if (ask->start >= ask->end)
        return 0;
    pthread_mutex_lock(&slot->mutex);
    int error = ask->release ? give_back(slot, ask) : take(slot, ask);
    pthread_mutex_unlock(&slot->mutex);
    if (ask->release || error == -ENOLCK)
        lock_line_kick(ask->file->mount->locks->line);
    return error;
}

/* ---- testing ------------------------------------------------------------------------- */

/* Whether somebody elsewhere is in the way: only by having the bytes for a moment. */
static int test_elsewhere(struct slot *slot, const struct lock_ask *ask)
{
    struct intervals wanted = {0};
    struct piece *piece;
    struct holder *holder = holder_get(slot, ask);
    int error = holder ? missing(holder, ask, &wanted) : -ENOMEM;
    /* The owner's own shared locks are no hindrance, but nobody can tell who else has one beside him. */
    if (!error && ask->exclusive && shared_meeting(holder, &wanted)) {
        struct lock_ask shared = *ask;
        shared.exclusive = false;
        intervals_free(&wanted);
        error = missing(holder, &shared, &wanted);
    }
    if (!error && wanted.count > 0) {
        error = piece_new(ask->file, &wanted, ask->exclusive, &piece);
        if (!error)
            (void)piece_end(piece);
    }
    intervals_free(&wanted);
    if (holder)
        (void)holder_tidy(holder);
    return error;
}

int locks_test(const struct lock_ask *ask, struct flock *found)
{
    struct slot *slot = slot_of(ask->file);
    const struct interval *lock = NULL;
    pthread_mutex_lock(&slot->mutex);
    const struct holder *holder = in_the_way(slot, ask, &lock);
    int error = holder ? -EAGAIN : test_elsewhere(slot, ask);
    if (error == -EAGAIN) {
        /* Of a lock elsewhere nothing is known but that it is there. */
        uint64_t start = lock ? lock->start : ask->start, end = lock ? lock->end : ask->end;
        found->l_type = lock && !lock->exclusive ? F_RDLCK : F_WRLCK;
        found->l_whence = SEEK_SET;
        found->l_start = (off_t)start;
        found->l_len = end >= WEFT_LOCK_WHOLE ? 0 : (off_t)(end - start);
        found->l_pid = holder ? holder->pid : 0;
        error = 1;
    }
    pthread_mutex_unlock(&slot->mutex);
    return error;
}

/* ---- ends ------------------------------------------------------------------------------ */

static void end_holder(struct file *file, uint64_t owner, bool whole)
{
    struct lock_ask ask = {
        .file = file, .owner = owner, .whole = whole, .release = true, .end = (uint64_t)INT64_MAX};
    int error = locks_try(&ask);
    if (error)
        log_warn("a lock had been lost when its file was closed: %s", weft_error());
}

void locks_end_owner(struct file *file, uint64_t owner)
{
    end_holder(file, owner, false);
}

void locks_end_flock(struct file *file, uint64_t owner)
{
    end_holder(file, owner, true);
}

void locks_free(struct locks *locks)
{
    if (!locks)
        return;
    lock_line_free(locks->line);
    for (size_t i = 0; i < SLOTS; i++)
        pthread_mutex_destroy(&locks->slots[i].mutex);
    free(locks); /* what is held ends with the session */
}
