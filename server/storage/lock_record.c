/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record that is held is a lock with one range, which stands in front of all that wait in its file. So
 * whatever grows there is met by each of these when it looks on, and what shrinks makes those look again
 * that stand behind it.
 */
#include "lock_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

/* The search for a circle looks at so many pairs of locks, at most; a larger one is found by its clients and
 * the metadata server, later. */
enum { CIRCLE_PAIRS_MAX = 65536, CIRCLE_HOLDERS_MAX = 256 };

/* ---- clients and holders -------------------------------------------------- */

static uint64_t client_key(const uint8_t client[16])
{
    uint64_t words[2];
    memcpy(words, client, sizeof words);
    return layout_hash(words[0] ^ layout_hash(words[1]));
}

struct lock_client *lock_client_get(struct lock_table *table, const uint8_t name[16], bool make)
{
    uint64_t key = client_key(name);
    for (struct table_link *link = table_find(&table->clients, key); link; link = link->next) {
        struct lock_client *client = table_item(link, struct lock_client, by_client);
        if (link->key == key && memcmp(client->client, name, sizeof client->client) == 0)
            return client;
    }
    struct lock_client *client = make ? calloc(1, sizeof *client) : NULL;
    if (!client || table_add(&table->clients, &client->by_client, key)) {
        free(client);
        return NULL;
    }
    memcpy(client->client, name, sizeof client->client);
    client->epoch = ++table->serial;
    list_init(&client->holders);
    return client;
}

int lock_client_ended(const struct lock_client *client, uint64_t id)
{
    uint64_t kept = client->ids[id % LOCK_CLIENT_IDS];
    return kept >> 1 != (id & (UINT64_MAX >> 1)) || !id ? 0 : kept & 1 ? 1 : -ECANCELED;
}

void lock_client_note(struct lock_client *client, uint64_t id, bool granted)
{
    if (id)
        client->ids[id % LOCK_CLIENT_IDS] = id << 1 | granted;
}

static struct lock_holder *holder_find(const struct lock_client *client, uint64_t number)
{
    list_each(&client->holders, link, after)
    {
        struct lock_holder *holder = list_item(link, struct lock_holder, in_client);
        if (holder->number == number)
            return holder;
    }
    return NULL;
}

static struct lock_holder *holder_get(struct lock_client *client, uint64_t number)
{
    struct lock_holder *holder = holder_find(client, number);
    if (!holder && (holder = calloc(1, sizeof *holder))) {
        holder->client = client;
        holder->number = number;
        list_init(&holder->locks);
        list_push_back(&client->holders, &holder->in_client);
    }
    return holder;
}

void lock_holder_drop_unused(struct lock_holder *holder)
{
    if (!list_empty(&holder->locks))
        return;
    list_remove(&holder->in_client);
    free(holder);
}

/* ---- one record -------------------------------------------------------------- */

struct lock *lock_record_new(void)
{
    struct lock *lock = calloc(1, sizeof *lock + sizeof lock->ranges[0] + sizeof *lock->record);
    if (!lock)
        return NULL;
    lock->record = (struct lock_record *)&lock->ranges[1];
    lock->range_count = 1;
    list_init(&lock->blocked);
    list_link_init(&lock->in_blocker);
    list_link_init(&lock->in_owner);
    list_link_init(&lock->in_file);
    return lock;
}

void lock_free(struct lock *lock)
{
    if (lock->record) {
        lock_undo_forget(lock);
        free(lock->record->spare);
    }
    free(lock);
}

void lock_record_join(struct lock *lock, struct lock_holder *holder, struct lock_file *file)
{
    lock->record->holder = holder;
    lock->file = file;
    list_push_back(&holder->locks, &lock->in_owner);
    holder->client->record_count++;
    file->record_count++;
}

static void record_part(struct lock *lock)
{
    list_remove(&lock->in_owner);
    lock->record->holder->client->record_count--;
    lock->file->record_count--;
}

void lock_record_leave(struct lock *lock)
{
    record_part(lock);
    lock_holder_drop_unused(lock->record->holder);
}

/* A record that is held and whose bytes another one of its holder has taken over. */
static void record_end(struct lock_table *table, struct lock *lock)
{
    lock_unsettle(table, lock);
    list_remove(&lock->in_file);
    record_part(lock);
    lock_free(lock);
}

/* ---- what a holder has ------------------------------------------------------- */

void lock_record_cut(struct lock_table *table, struct lock *held, const struct lock_range *out,
                       struct lock **spare)
{
    struct lock_range *range = &held->ranges[0];
    if (out->start <= range->start && out->end >= range->end) {
        record_end(table, held);
        return;
    }
    lock_unsettle(table, held);
    lock_undo_forget(held);
    if (out->start > range->start && out->end < range->end) {
        struct lock *rest = *spare;
        assert(rest);
        *spare = NULL;
        rest->ino = held->ino;
        rest->exclusive = held->exclusive;
        rest->held = true;
        rest->record->serial = held->record->serial;
        rest->record->pid = held->record->pid;
        rest->ranges[0] = (struct lock_range){out->end, range->end};
        lock_record_join(rest, held->record->holder, held->file);
        list_insert_before(&held->in_file, &rest->in_file);
        range->end = out->start;
    } else if (out->start > range->start) {
        range->end = out->start;
    } else {
        range->start = out->end;
    }
}

static bool ranges_touch(const struct lock_range *a, const struct lock_range *b)
{
    return a->start <= b->end && b->start <= a->end;
}

/* Cuts the range out of all that the holder has in the file, but for `but`. */
static void holder_cut(struct lock_table *table, struct lock_holder *holder, uint64_t ino,
                       const struct lock_range *range, const struct lock *but, struct lock **spare)
{
    list_each(&holder->locks, link, after)
    {
        struct lock *lock = lock_of_holder(link);
        if (lock != but && lock->held && lock->ino == ino && lock_ranges_meet(&lock->ranges[0], range))
            lock_record_cut(table, lock, range, spare);
    }
}

void lock_record_join_neighbours(struct lock_table *table, struct lock *lock)
{
    struct lock_range *range = &lock->ranges[0];
    list_each(&lock->record->holder->locks, link, after)
    {
        struct lock *other = lock_of_holder(link);
        if (other == lock || !other->held || other->ino != lock->ino || other->exclusive != lock->exclusive ||
            !ranges_touch(range, &other->ranges[0]))
            continue;
        range->start = other->ranges[0].start < range->start ? other->ranges[0].start : range->start;
        range->end = other->ranges[0].end > range->end ? other->ranges[0].end : range->end;
        record_end(table, other);
    }
}

void lock_record_take(struct lock_table *table, struct lock *lock)
{
    struct lock_record *record = lock->record;
    if (lock->name.id) {
        lock_client_note(record->holder->client, lock->name.id, true);
        table_remove(&table->names, &lock->by_name);
        lock->name.id = 0;
    }
    lock_undo_note(lock);
    holder_cut(table, record->holder, lock->ino, &lock->ranges[0], lock, &record->spare);
    lock_record_join_neighbours(table, lock);
    record->serial = ++table->serial;
    free(record->spare);
    record->spare = NULL;
    list_remove(&lock->in_file);
    list_push_front(&lock->file->locks, &lock->in_file);
}

struct lock_client *lock_record_client(const struct lock *lock)
{
    return lock->record->holder->client;
}

bool lock_record_holds(const struct lock_client *client, uint64_t number, uint64_t ino)
{
    const struct lock_holder *holder = holder_find(client, number);
    if (!holder)
        return false;
    list_each(&holder->locks, link, after)
    {
        const struct lock *lock = lock_of_holder(link);
        if (lock->held && lock->ino == ino)
            return true;
    }
    return false;
}

/* ---- waiting ------------------------------------------------------------------- */

bool lock_record_passes(const struct lock *lock, const struct lock *other)
{
    if (other->held)
        return false;
    if (lock->record->pass)
        return true;
    list_each(&lock->record->holder->locks, link, after)
    {
        const struct lock *own = lock_of_holder(link);
        if (own->held && own->ino == other->ino && lock_conflict(own, other))
            return true;
    }
    return false;
}

/* ---- circles --------------------------------------------------------------------- */

struct search {
    const struct lock_holder *start;
    const struct lock_holder *found[CIRCLE_HOLDERS_MAX]; /* each is looked at once, in this order */
    unsigned count;
    unsigned pairs;
};

/* Adds whoever holds what the record waits for. True when that is where the search began. */
static bool search_behind(struct search *search, const struct lock *lock)
{
    list_each(&lock->file->locks, link, after)
    {
        const struct lock *other = lock_of(link);
        if (++search->pairs > CIRCLE_PAIRS_MAX)
            return false;
        if (!other->held || !other->record || !lock_conflict(lock, other))
            continue;
        const struct lock_holder *holder = other->record->holder;
        if (holder == search->start)
            return true;
        unsigned i = 0;
        while (i < search->count && search->found[i] != holder)
            i++;
        if (i == search->count && i < CIRCLE_HOLDERS_MAX)
            search->found[search->count++] = holder;
    }
    return false;
}

/* Whether somebody that the record would wait for waits for its holder, here. It is in no list yet. */
static bool closes_circle(const struct lock *lock)
{
    struct search search = {.start = lock->record->holder};
    bool has_any = false;
    list_each(&search.start->locks, link, after) has_any = has_any || lock_of_holder(link)->held;
    if (!has_any || search_behind(&search, lock))
        return false; /* nobody can wait for him; and he does not wait for himself */
    for (unsigned i = 0; i < search.count; i++) {
        list_each(&search.found[i]->locks, link, after)
        {
            const struct lock *waiting = lock_of_holder(link);
            if (!waiting->held && waiting->record->detect && search_behind(&search, waiting))
                return true;
        }
    }
    return false;
}

/* One of each holder. For want of room a direct one takes the place of one that is not. */
static void add_blocker(struct lock_blocker *blockers, uint32_t *count, uint32_t max,
                        const struct lock_record *record, bool direct)
{
    const struct lock_holder *holder = record->holder;
    uint32_t place = *count;
    for (uint32_t i = 0; i < *count; i++) {
        struct lock_blocker *blocker = &blockers[i];
        bool is_same = blocker->holder == holder->number &&
                       memcmp(blocker->client, holder->client->client, sizeof blocker->client) == 0;
        if (is_same && (blocker->direct || !direct))
            return;
        if (is_same || (place == max && direct && !blocker->direct))
            place = i;
        if (is_same)
            break;
    }
    if (place >= max)
        return;
    *count += place == *count;
    blockers[place] =
        (struct lock_blocker){.holder = holder->number, .serial = record->serial, .direct = direct};
    memcpy(blockers[place].client, holder->client->client, sizeof blockers[place].client);
}

uint32_t lock_record_blockers(const struct lock *lock, struct lock_blocker *blockers, uint32_t max)
{
    enum { BEHIND_MAX = 64 };
    const struct lock *behind[BEHIND_MAX + 1] = {lock}; /* it, and those in the line that it stands behind */
    unsigned behind_count = 1;
    uint32_t count = 0;
    /* What waits stands behind what is held, so these are complete when those come. */
    for (struct list_link *at = lock->in_file.previous; at != &lock->file->locks.head; at = at->previous) {
        const struct lock *other = lock_of(at);
        unsigned i = 0;
        while (i < behind_count && !lock_conflict(behind[i], other))
            i++;
        if (i == behind_count || (!other->held && (lock->record->pass || behind_count > BEHIND_MAX)))
            continue;
        if (!other->held)
            behind[behind_count++] = other;
        else if (other->record && other->record->holder != lock->record->holder)
            add_blocker(blockers, &count, max, other->record, i == 0);
    }
    return count;
}

/* ---- setting ------------------------------------------------------------------------ */

static int check(const struct lock_client *client, const struct lock_wish *wish)
{
    if (wish->range.start >= wish->range.end)
        return err_set(-EINVAL, "the lock covers nothing");
    if (wish->type != LOCK_NONE && client->record_count + 2 > LOCK_CLIENT_RECORDS_MAX)
        return err_set(-ENOLCK, "one client may have %u locks of ranges at one storage shard",
                       LOCK_CLIENT_RECORDS_MAX);
    return 0;
}

static int unset(struct lock_table *table, struct lock_client *client, const struct lock_wish *wish)
{
    struct lock_holder *holder = holder_find(client, wish->holder);
    struct table_link *link = table_find(&table->files, wish->ino);
    if (!holder || !link)
        return 0;
    struct lock *spare = lock_record_new();
    if (!spare)
        return err_set(-ENOMEM, "no memory for a lock");
    holder_cut(table, holder, wish->ino, &wish->range, NULL, &spare);
    free(spare);
    lock_holder_drop_unused(holder);
    lock_settle_all(table, NULL);
    lock_file_drop_unused(table, table_item(link, struct lock_file, by_ino));
    return 0;
}

/* In the line, under its name. */
static int enqueue(struct lock_table *table, struct lock *lock)
{
    if (table_add(&table->names, &lock->by_name, lock_name_key(&lock->name)))
        return err_set(-ENOMEM, "no memory for a lock");
    list_push_back(&lock->file->locks, &lock->in_file);
    return 0;
}

static void describe(struct lock *lock, const struct lock_client *client, const struct lock_wish *wish)
{
    memcpy(lock->name.client, client->client, sizeof lock->name.client);
    lock->ino = wish->ino;
    lock->exclusive = wish->type == LOCK_EXCLUSIVE;
    lock->ranges[0] = wish->range;
    lock->record->pid = wish->pid;
    lock->record->undo.id = wish->id;
    lock->record->detect = wish->detect;
    lock->record->pass = wish->pass;
}

/* The record is in its holder and its file's count, but not in the file's list. */
static int begin(struct lock_table *table, struct lock *lock, const struct lock_wish *wish,
                 struct lock **waiting)
{
    lock_settle(lock);
    if (lock->held) {
        list_push_front(&lock->file->locks, &lock->in_file);
        lock_record_take(table, lock);
        lock_client_note(lock->record->holder->client, wish->id, true);
        lock_settle_all(table, NULL);
        return 0;
    }
    if (!wish->waits)
        return err_set(-EAGAIN, "somebody else holds a lock on it");
    if (wish->detect && closes_circle(lock))
        return err_set(-EDEADLK, "whoever holds the lock waits for one that this owner has");
    lock->name.id = wish->id;
    int error = enqueue(table, lock);
    if (error)
        lock->name.id = 0;
    else
        *waiting = lock;
    return error;
}

int lock_record_set(struct lock_table *table, struct lock_client *client, const struct lock_wish *wish,
                    struct lock **waiting)
{
    *waiting = NULL;
    int error = check(client, wish);
    if (error)
        return error;
    if (wish->type == LOCK_NONE) {
        error = unset(table, client, wish);
        if (!error)
            lock_client_note(client, wish->id, true);
        return error;
    }
    struct lock *lock = lock_record_new();
    struct lock_holder *holder = lock ? holder_get(client, wish->holder) : NULL;
    struct lock_file *file = holder ? lock_file_get(table, wish->ino) : NULL;
    if (!file || !(lock->record->spare = lock_record_new())) {
        error = err_set(-ENOMEM, "no memory for a lock");
        goto undo;
    }
    describe(lock, client, wish);
    lock_record_join(lock, holder, file);
    error = begin(table, lock, wish, waiting);
    if (!error)
        return 0;
    list_remove(&lock->in_blocker);
    list_remove(&lock->in_owner);
    client->record_count--;
    file->record_count--;
undo:
    if (file)
        lock_file_drop_unused(table, file);
    if (holder)
        lock_holder_drop_unused(holder);
    if (lock)
        lock_free(lock);
    return error;
}

bool lock_record_pass(struct lock_table *table, struct lock *lock)
{
    assert(lock->record && !lock->held);
    const struct lock_client *client = lock_record_client(lock);
    uint64_t id = lock->name.id;
    lock->record->pass = true;
    list_remove(&lock->in_blocker);
    list_push_back(&table->unsettled, &lock->in_blocker);
    lock_settle_all(table, NULL);
    return lock_client_ended(client, id) > 0; /* held, and perhaps part of another record already */
}

/* ---- looking -------------------------------------------------------------------------- */

/* The first range of the lock that meets the other's. */
static const struct lock_range *meeting(const struct lock *lock, const struct lock_range *range)
{
    for (uint32_t i = 0; i < lock->range_count; i++) {
        if (lock_ranges_meet(&lock->ranges[i], range))
            return &lock->ranges[i];
    }
    return NULL;
}

bool lock_record_test(const struct lock_table *table, const struct lock_client *client,
                      const struct lock_wish *wish, struct lock_found *found)
{
    struct table_link *link = table_find(&table->files, wish->ino);
    const struct lock_holder *holder = client ? holder_find(client, wish->holder) : NULL;
    *found = (struct lock_found){.type = LOCK_NONE};
    if (!link)
        return false;
    list_each(&table_item(link, struct lock_file, by_ino)->locks, at, after)
    {
        const struct lock *lock = lock_of(at);
        const struct lock_range *range = lock->held ? meeting(lock, &wish->range) : NULL;
        if (!range || (lock->record && lock->record->holder == holder) ||
            !(lock->exclusive || wish->type == LOCK_EXCLUSIVE) ||
            (found->type != LOCK_NONE && found->range.start <= range->start))
            continue;
        *found = (struct lock_found){.type = lock->exclusive ? LOCK_EXCLUSIVE : LOCK_SHARED, .range = *range};
        if (lock->record) {
            memcpy(found->client, lock->record->holder->client->client, sizeof found->client);
            found->holder = lock->record->holder->number;
            found->pid = lock->record->pid;
        }
    }
    return found->type != LOCK_NONE;
}

/* ---- the end -------------------------------------------------------------------------- */

uint32_t lock_client_end(struct lock_table *table, struct lock_client *client)
{
    uint32_t held = 0;
    struct list_link *link;
    /* What waits must not be granted on the way. */
    list_each(&client->holders, at, after)
    {
        list_each(&list_item(at, struct lock_holder, in_client)->locks, in, behind)
        {
            held += lock_of_holder(in)->held;
            list_remove(&lock_of_holder(in)->in_blocker);
        }
    }
    while ((link = list_first(&client->holders)))
        lock_table_remove(table,
                          lock_of_holder(list_first(&list_item(link, struct lock_holder, in_client)->locks)));
    table_remove(&table->clients, &client->by_client);
    free(client);
    return held;
}

static void client_clear(struct table_link *link)
{
    struct lock_client *client = table_item(link, struct lock_client, by_client);
    struct list_link *at;
    while ((at = list_pop(&client->holders)))
        free(list_item(at, struct lock_holder, in_client));
    free(client);
}

void lock_clients_free(struct lock_table *table)
{
    table_clear(&table->clients, client_clear);
}
