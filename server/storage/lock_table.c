/* SPDX-License-Identifier: Apache-2.0 */
#include "lock_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "err.h"

/* ---- comparing ---------------------------------------------------------- */

/* The first range at or after `from` that ends behind `offset`: one of the next few, or far away. Steps grow
 * then, so that sets that lie apart cost little however many ranges they have. */
static uint32_t skip_far(const struct lock *lock, uint32_t from, uint64_t offset)
{
    uint32_t step = 1, low = from, high = from;
    while (high < lock->range_count && lock->ranges[high].end <= offset) {
        low = high + 1;
        high = step < lock->range_count - high ? high + step : lock->range_count;
        step *= 2;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (lock->ranges[middle].end <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static inline uint32_t skip_to(const struct lock *lock, uint32_t from, uint64_t offset)
{
    enum { NEAR = 4 };
    for (uint32_t i = from; i < from + NEAR; i++) {
        if (i == lock->range_count || lock->ranges[i].end > offset)
            return i;
    }
    return skip_far(lock, from + NEAR, offset);
}

static bool overlap(const struct lock *a, const struct lock *b)
{
    if (a->ranges[0].start >= b->ranges[b->range_count - 1].end ||
        b->ranges[0].start >= a->ranges[a->range_count - 1].end)
        return false;
    for (uint32_t i = 0, k = 0;;) {
        i = skip_to(a, i, b->ranges[k].start);
        if (i == a->range_count)
            return false;
        if (a->ranges[i].start < b->ranges[k].end)
            return true;
        k = skip_to(b, k, a->ranges[i].start);
        if (k == b->range_count)
            return false;
        if (b->ranges[k].start < a->ranges[i].end)
            return true;
    }
}

bool lock_conflict(const struct lock *a, const struct lock *b)
{
    if (a->record && b->record && a->record->holder == b->record->holder)
        return false;
    return (a->exclusive || b->exclusive) && overlap(a, b);
}

/* ---- the line ----------------------------------------------------------- */

/*
 * Looks for one that the lock has to wait for, from `from` towards the oldest. Those behind
 * `from` were looked at before, or came later: they don't matter, as long as `from` is where
 * the last look ended. To go backwards finds at once the end of a line for the same bytes.
 */
static void settle(struct lock *lock, struct list_link *from)
{
    for (struct list_link *at = from; at != &lock->file->locks.head; at = at->previous) {
        struct lock *other = lock_of(at);
        if (!lock_conflict(lock, other) || (lock->record && lock_record_passes(lock, other)))
            continue;
        list_push_back(&other->blocked, &lock->in_blocker);
        return;
    }
    lock->held = true;
}

void lock_settle(struct lock *lock)
{
    settle(lock, lock->file->locks.head.previous);
}

void lock_unsettle(struct lock_table *table, struct lock *lock)
{
    struct list_link *at;
    while ((at = list_pop(&lock->blocked)))
        list_push_back(&table->unsettled, at);
}

/* Records change what they cover, and their place: with them each look begins at the lock's own place. */
void lock_settle_all(struct lock_table *table, struct list_link *from)
{
    struct list_link *at;
    while ((at = list_pop(&table->unsettled))) {
        struct lock *lock = list_item(at, struct lock, in_blocker);
        settle(lock, lock->file->record_count || !from ? lock->in_file.previous : from);
        if (!lock->held)
            continue;
        table->granted(table->arg, lock);
        if (lock->record)
            lock_record_take(table, lock);
    }
}

/* ---- names -------------------------------------------------------------- */

uint64_t lock_name_key(const struct lock_name *name)
{
    uint64_t words[2];
    memcpy(words, name->client, sizeof words);
    return layout_hash(words[0] ^ layout_hash(words[1] ^ name->id));
}

struct lock *lock_table_find(const struct lock_table *table, const struct lock_name *name)
{
    uint64_t key = lock_name_key(name);
    for (struct table_link *link = table_find(&table->names, key); link; link = link->next) {
        struct lock *lock = table_item(link, struct lock, by_name);
        if (link->key == key && lock->name.id == name->id &&
            memcmp(lock->name.client, name->client, sizeof name->client) == 0)
            return lock;
    }
    return NULL;
}

/* ---- the table ---------------------------------------------------------- */

int lock_table_new(void (*granted)(void *arg, struct lock *lock), void *arg, struct lock_table **out)
{
    struct lock_table *table = calloc(1, sizeof *table);
    if (!table)
        return err_set(-ENOMEM, "no memory for the table of locks");
    table->granted = granted;
    table->arg = arg;
    table->serial = (uint64_t)time(NULL) << 32;
    list_init(&table->unsettled);
    *out = table;
    return 0;
}

static void file_clear(struct table_link *link)
{
    struct lock_file *file = table_item(link, struct lock_file, by_ino);
    struct list_link *at;
    while ((at = list_pop(&file->locks)))
        lock_free(lock_of(at));
    free(file);
}

void lock_table_free(struct lock_table *table)
{
    if (!table)
        return;
    table_clear(&table->files, file_clear);
    lock_clients_free(table);
    free(table->names.slots);
    free(table);
}

void lock_owner_init(struct lock_owner *owner)
{
    *owner = (struct lock_owner){0};
    list_init(&owner->locks);
}

struct lock_file *lock_file_get(struct lock_table *table, uint64_t ino)
{
    struct table_link *link = table_find(&table->files, ino);
    if (link)
        return table_item(link, struct lock_file, by_ino);
    struct lock_file *file = calloc(1, sizeof *file);
    if (!file || table_add(&table->files, &file->by_ino, ino)) {
        free(file);
        return NULL;
    }
    list_init(&file->locks);
    return file;
}

void lock_file_drop_unused(struct lock_table *table, struct lock_file *file)
{
    if (!list_empty(&file->locks))
        return;
    table_remove(&table->files, &file->by_ino);
    free(file);
}

static int check(const struct lock_owner *owner, const struct lock_range *ranges, uint32_t range_count)
{
    if (range_count == 0)
        return err_set(-EINVAL, "the lock covers nothing");
    for (uint32_t i = 0; i < range_count; i++) {
        if (ranges[i].start >= ranges[i].end || (i > 0 && ranges[i].start < ranges[i - 1].end))
            return err_set(-EINVAL, "the lock's ranges are not in order");
    }
    if (owner->lock_count >= LOCK_OWNER_LOCKS_MAX ||
        range_count > LOCK_OWNER_RANGES_MAX - owner->range_count)
        return err_set(-ENOLCK,
                       "one client may have %u locks with %u ranges in all at one storage shard, and this "
                       "one has %" PRIu32 " with %" PRIu32,
                       LOCK_OWNER_LOCKS_MAX, LOCK_OWNER_RANGES_MAX, owner->lock_count, owner->range_count);
    return 0;
}

static void owner_take(struct lock_owner *owner, struct lock *lock)
{
    lock->owner = owner;
    list_push_back(&owner->locks, &lock->in_owner);
    owner->lock_count++;
    owner->range_count += lock->range_count;
}

static void owner_leave(struct lock *lock)
{
    list_remove(&lock->in_owner);
    lock->owner->lock_count--;
    lock->owner->range_count -= lock->range_count;
    lock->owner = NULL;
}

int lock_table_add(struct lock_table *table, struct lock_owner *owner, const struct lock_name *name,
                   uint64_t ino, bool exclusive, const struct lock_range *ranges, uint32_t range_count,
                   struct lock **out)
{
    assert(!lock_table_find(table, name));
    int error = check(owner, ranges, range_count);
    if (error)
        return error;
    struct lock *lock = malloc(sizeof *lock + range_count * sizeof *ranges);
    struct lock_file *file = lock ? lock_file_get(table, ino) : NULL;
    if (!file)
        goto free_lock;
    *lock = (struct lock){
        .name = *name, .ino = ino, .exclusive = exclusive, .file = file, .range_count = range_count};
    memcpy(lock->ranges, ranges, range_count * sizeof *ranges);
    list_init(&lock->blocked);
    list_link_init(&lock->in_blocker);
    if (table_add(&table->names, &lock->by_name, lock_name_key(name)))
        goto drop_file;
    lock_settle(lock);
    list_push_back(&file->locks, &lock->in_file);
    owner_take(owner, lock);
    *out = lock;
    return 0;

drop_file:
    lock_file_drop_unused(table, file);
free_lock:
    free(lock);
    return err_set(-ENOMEM, "no memory for a lock");
}

void lock_table_move(struct lock *lock, struct lock_owner *owner)
{
    owner_leave(lock);
    owner_take(owner, lock);
}

void lock_table_remove(struct lock_table *table, struct lock *lock)
{
    struct list_link *before = lock->in_file.previous;
    struct lock_file *file = lock->file;
    bool is_record = lock->record != NULL;
    list_remove(&lock->in_file);
    list_remove(&lock->in_blocker);
    if (lock->name.id)
        table_remove(&table->names, &lock->by_name);
    if (lock->record)
        lock_record_leave(lock);
    else
        owner_leave(lock);
    /* What waited for this one looks on from its place. */
    lock_unsettle(table, lock);
    lock_free(lock);
    lock_settle_all(table, is_record ? NULL : before);
    lock_file_drop_unused(table, file);
}

uint32_t lock_table_remove_owner(struct lock_table *table, struct lock_owner *owner)
{
    uint32_t held = 0;
    struct list_link *first;
    /* What waits must not be granted on the way. */
    list_each(&owner->locks, at, after)
    {
        struct lock *lock = list_item(at, struct lock, in_owner);
        held += lock->held;
        list_remove(&lock->in_blocker);
    }
    while ((first = list_first(&owner->locks)))
        lock_table_remove(table, list_item(first, struct lock, in_owner));
    return held;
}
