/* SPDX-License-Identifier: Apache-2.0 */
#include "usage.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "err.h"
#include "list.h"
#include "log.h"
#include "records.h"
#include "table.h"

/* What is to be added to one sum; what is to be taken away is added as well, below zero. */
struct sum {
    struct table_link link;
    struct list_link in_order; /* in gathered->sums, then in `ready` */
    enum usage_kind kind;
    uint64_t id;
    struct usage change;
    /* of a directory, while it is flushed */
    bool is_placed;
    struct sum *parent; /* NULL: there is none */
    uint32_t awaited;   /* those below it that are to be added to it first */
};

/* What a record says that this transaction has written, so that it is not read again: of a directory in
 * which one file after the other is made. */
struct written {
    uint64_t ino;
    struct usage_share share;
};
enum { WRITTEN_KEPT = 16 }; /* a power of two */

struct gathered {
    struct store_rider rider; /* first */
    struct written written[WRITTEN_KEPT];
    uint64_t fresh; /* the latest number that was given out: it has no record */
    struct table table;
    struct list sums;
};

static const struct usage nothing;

static void add(struct usage *to, const struct usage *from, bool taken)
{
    to->files += taken ? -from->files : from->files;
    to->dirs += taken ? -from->dirs : from->dirs;
    to->bytes += taken ? -from->bytes : from->bytes;
    to->size += taken ? -from->size : from->size;
}

static bool is_zero(const struct usage *usage)
{
    return !usage->files && !usage->dirs && !usage->bytes && !usage->size;
}

/* More was taken away than was there. */
static bool is_below_zero(const struct usage *usage)
{
    return (int64_t)usage->files < 0 || (int64_t)usage->dirs < 0 || (__int128)usage->bytes < 0 ||
           (__int128)usage->size < 0;
}

/* ---- gathering ------------------------------------------------------------ */

static void free_sum(struct table_link *link)
{
    free(table_item(link, struct sum, link));
}

static void forget(struct gathered *gathered)
{
    table_clear(&gathered->table, free_sum);
    list_init(&gathered->sums);
}

static int flush_rider(struct store_rider *rider, struct store_txn *txn)
{
    (void)rider;
    return usage_flush(txn);
}

static void end_rider(struct store_rider *rider)
{
    struct gathered *gathered = list_item(rider, struct gathered, rider);
    forget(gathered);
    free(gathered);
}

static struct gathered *gathered_of(const struct store_txn *txn)
{
    struct store_rider *rider = store_rider(txn);
    return rider ? list_item(rider, struct gathered, rider) : NULL;
}

static struct gathered *gathered_get(struct store_txn *txn)
{
    struct gathered *gathered = gathered_of(txn);
    if (gathered)
        return gathered;
    gathered = calloc(1, sizeof *gathered);
    if (!gathered)
        return NULL;
    gathered->rider = (struct store_rider){.commit = flush_rider, .end = end_rider};
    list_init(&gathered->sums);
    store_rider_set(txn, &gathered->rider);
    return gathered;
}

static uint64_t table_key(enum usage_kind kind, uint64_t id)
{
    return id ^ (uint64_t)kind << 62;
}

static struct sum *find(const struct gathered *gathered, enum usage_kind kind, uint64_t id)
{
    struct table_link *link = table_find(&gathered->table, table_key(kind, id));
    for (; link; link = link->next) {
        struct sum *sum = table_item(link, struct sum, link);
        if (sum->kind == kind && sum->id == id)
            return sum;
    }
    return NULL;
}

static struct sum *get(struct gathered *gathered, enum usage_kind kind, uint64_t id)
{
    struct sum *sum = find(gathered, kind, id);
    if (sum)
        return sum;
    sum = calloc(1, sizeof *sum);
    if (!sum || table_add(&gathered->table, &sum->link, table_key(kind, id))) {
        free(sum);
        return NULL;
    }
    sum->kind = kind;
    sum->id = id;
    list_push_back(&gathered->sums, &sum->in_order);
    return sum;
}

static int no_memory(void)
{
    return err_set(-ENOMEM, "no memory for the sums of usage");
}

static int gather(struct gathered *gathered, enum usage_kind kind, uint64_t id, const struct usage *usage,
                  bool taken)
{
    struct sum *sum = get(gathered, kind, id);
    if (!sum)
        return no_memory();
    add(&sum->change, usage, taken);
    return 0;
}

static struct usage_share share_of(const struct inode *inode)
{
    return (struct usage_share){
        .exists = true,
        .is_dir = inode_is_dir(inode),
        .uid = inode->uid,
        .gid = inode->gid,
        .parent = inode->ino == INODE_ROOT ? 0 : inode->parent,
        .bytes = inode->bytes,
        .size = inode_is_file(inode) ? inode->size : 0,
    };
}

static struct usage usage_of(const struct usage_share *share)
{
    return (struct usage){
        .files = !share->is_dir, .dirs = share->is_dir, .bytes = share->bytes, .size = share->size};
}

struct usage usage_of_inode(const struct inode *inode)
{
    const struct usage_share share = share_of(inode);
    return usage_of(&share);
}

static int gather_share(struct gathered *gathered, const struct usage_share *share, bool taken)
{
    const struct usage usage = usage_of(share);
    if (!share->exists)
        return 0;
    int error = gather(gathered, USAGE_USER, share->uid, &usage, taken);
    if (!error)
        error = gather(gathered, USAGE_GROUP, share->gid, &usage, taken);
    if (!error && share->parent)
        error = gather(gathered, USAGE_DIR, share->parent, &usage, taken);
    return error;
}

/* ---- what changes --------------------------------------------------------- */

static bool same(const struct usage_share *a, const struct usage_share *b)
{
    return a->exists == b->exists && a->is_dir == b->is_dir && a->uid == b->uid && a->gid == b->gid &&
           a->parent == b->parent && a->bytes == b->bytes && a->size == b->size;
}

static struct written *written_of(struct gathered *gathered, uint64_t ino)
{
    return &gathered->written[ino & (WRITTEN_KEPT - 1)];
}

/* Not records_inode_get(): that there is none is usual here, and needs no text. */
static int share_before(struct store_txn *txn, uint64_t ino, struct usage_share *share)
{
    uint8_t key[8];
    struct store_bytes raw;
    struct inode inode;
    struct gathered *gathered = gathered_of(txn);
    *share = (struct usage_share){0};
    if (gathered && gathered->fresh == ino)
        return 0;
    if (gathered && written_of(gathered, ino)->ino == ino) {
        *share = written_of(gathered, ino)->share;
        return 0;
    }
    records_key_u64(key, ino);
    int error = store_get(txn, STORE_INODES, (struct store_bytes){key, sizeof key}, &raw);
    if (!error)
        error = inode_decode(ino, raw.data, raw.length, &inode);
    if (!error)
        *share = share_of(&inode);
    return error == -ENOENT ? 0 : error;
}

/* What its record says, those above it have been told. What was gathered below it since, nobody above has
 * heard of: it is put down where the directory then is. */
static int take_along(struct store_txn *txn, struct usage_change *change)
{
    change->moves = true;
    int error = usage_record_get(txn, USAGE_DIR, change->ino, &change->below);
    if (error != -EUCLEAN)
        return error;
    change->below = nothing;
    return usage_give_up(txn);
}

int usage_inode_changes(struct store_txn *txn, uint64_t ino, const struct inode *inode,
                        struct usage_change *change)
{
    *change = (struct usage_change){.ino = ino};
    if (inode)
        change->after = share_of(inode);
    int error = share_before(txn, ino, &change->before);
    if (error)
        return error;
    const struct usage_share *before = &change->before, *after = &change->after;
    return before->exists && after->exists && after->is_dir && before->parent != after->parent
               ? take_along(txn, change)
               : 0;
}

/* It was empty, so what is still to be added to it is what was taken out of it in this transaction: its
 * record said the rest. Those above have not heard of it. */
static int dir_ends(struct store_txn *txn, struct gathered *gathered, const struct usage_change *change)
{
    struct sum *sum = find(gathered, USAGE_DIR, change->ino);
    int error = 0;
    if (sum) {
        const struct usage usage = sum->change;
        sum->change = nothing;
        error = gather(gathered, USAGE_DIR, change->before.parent, &usage, false);
    }
    return error ? error : usage_record_put(txn, USAGE_DIR, change->ino, &nothing);
}

/* Without memory it is read. */
void usage_inode_is_new(struct store_txn *txn, uint64_t ino)
{
    struct gathered *gathered = gathered_get(txn);
    if (gathered)
        gathered->fresh = ino;
}

static void note_written(struct gathered *gathered, const struct usage_change *change)
{
    struct written *written = written_of(gathered, change->ino);
    if (gathered->fresh == change->ino)
        gathered->fresh = 0;
    if (change->after.is_dir)
        *written = (struct written){.ino = change->ino, .share = change->after};
    else if (written->ino == change->ino)
        *written = (struct written){0};
}

int usage_inode_changed(struct store_txn *txn, const struct usage_change *change)
{
    const struct usage_share *before = &change->before, *after = &change->after;
    struct gathered *gathered = same(before, after) ? gathered_of(txn) : gathered_get(txn);
    if (gathered)
        note_written(gathered, change);
    if (same(before, after))
        return 0;
    if (!gathered)
        return no_memory();
    int error = gather_share(gathered, before, true);
    if (!error)
        error = gather_share(gathered, after, false);
    if (!error && change->moves)
        error = gather(gathered, USAGE_DIR, before->parent, &change->below, true);
    if (!error && change->moves)
        error = gather(gathered, USAGE_DIR, after->parent, &change->below, false);
    if (!error && before->is_dir && !after->exists)
        error = dir_ends(txn, gathered, change);
    return error;
}

int usage_count(struct store_txn *txn, const struct inode *inode)
{
    struct gathered *gathered = gathered_get(txn);
    const struct usage_share share = share_of(inode);
    return gathered ? gather_share(gathered, &share, false) : no_memory();
}

/* ---- flushing ------------------------------------------------------------- */

int usage_is_known(struct store_txn *txn)
{
    uint64_t epoch, counted;
    int error = records_setting_get(txn, SETTING_EPOCH, &epoch);
    if (!error)
        error = records_setting_get(txn, SETTING_USAGE, &counted);
    if (error)
        return error == -ENOENT ? 0 : error;
    return counted == epoch;
}

int usage_give_up(struct store_txn *txn)
{
    if (store_broken(txn))
        return -EIO;
    log_error("%s; how much there is of whom is not told until this server has started again", err_text());
    return records_setting_put(txn, SETTING_USAGE, USAGE_UNKNOWN);
}

/* Each is to be added to the one above it. What lies below a directory whose record can't be read counts no
 * further up: nobody gets there by a path either. */
static int place(struct store_txn *txn, struct gathered *gathered, struct sum *sum)
{
    while (!sum->is_placed) {
        struct inode dir;
        sum->is_placed = true;
        if (sum->id == INODE_ROOT)
            break;
        int error = records_inode_get(txn, sum->id, &dir);
        if (error)
            return error == -ENOENT || (error == -EUCLEAN && !store_broken(txn)) ? 0 : error;
        sum->parent = get(gathered, USAGE_DIR, dir.parent);
        if (!sum->parent)
            return no_memory();
        sum = sum->parent;
        sum->awaited++;
    }
    return 0;
}

static int place_all(struct store_txn *txn, struct gathered *gathered)
{
    int error = 0;
    list_each(&gathered->sums, link, after)
    {
        struct sum *sum = list_item(link, struct sum, in_order);
        if (!error && sum->kind == USAGE_DIR && !is_zero(&sum->change))
            error = place(txn, gathered, sum);
    }
    return error;
}

static int put_sum(struct store_txn *txn, const struct sum *sum)
{
    struct usage usage;
    if (is_zero(&sum->change))
        return 0;
    int error = usage_record_get(txn, sum->kind, sum->id, &usage);
    if (error)
        return error;
    add(&usage, &sum->change, false);
    if (is_below_zero(&usage))
        return err_set(-EUCLEAN, "the sums of usage (kind %d, %" PRIu64 ") would be less than nothing",
                       (int)sum->kind, sum->id);
    return usage_record_put(txn, sum->kind, sum->id, &usage);
}

/* From below, so that each is met once. Directories that are above themselves are never ready. */
static int put_sums(struct store_txn *txn, struct gathered *gathered)
{
    struct list ready;
    struct list_link *link;
    int error = 0;
    list_init(&ready);
    list_each(&gathered->sums, at, after)
    {
        if (list_item(at, struct sum, in_order)->awaited == 0) {
            list_remove(at);
            list_push_back(&ready, at);
        }
    }
    while (!error && (link = list_pop(&ready))) {
        const struct sum *sum = list_item(link, struct sum, in_order);
        struct sum *parent = sum->parent;
        error = put_sum(txn, sum);
        if (!parent)
            continue;
        add(&parent->change, &sum->change, false);
        if (--parent->awaited == 0) {
            list_remove(&parent->in_order);
            list_push_back(&ready, &parent->in_order);
        }
    }
    return error;
}

int usage_flush_counted(struct store_txn *txn)
{
    struct gathered *gathered = gathered_of(txn);
    if (!gathered || list_empty(&gathered->sums))
        return 0;
    int error = place_all(txn, gathered);
    if (!error)
        error = put_sums(txn, gathered);
    forget(gathered);
    return error;
}

int usage_flush(struct store_txn *txn)
{
    struct gathered *gathered = gathered_of(txn);
    if (!gathered || list_empty(&gathered->sums))
        return 0;
    int known = usage_is_known(txn);
    if (known <= 0) {
        forget(gathered);
        return known;
    }
    int error = usage_flush_counted(txn);
    return error == -EUCLEAN ? usage_give_up(txn) : error;
}
