/* SPDX-License-Identifier: Apache-2.0 */
#include "links.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "err.h"
#include "records.h"
#include "usage.h"

struct link_key {
    uint8_t bytes[16];
};

static struct store_bytes key_of(struct link_key *key, uint64_t ino, uint64_t dir)
{
    records_key_u64(key->bytes, ino);
    records_key_u64(key->bytes + 8, dir);
    return (struct store_bytes){.data = key->bytes, .length = sizeof key->bytes};
}

static int damaged(uint64_t ino)
{
    return err_set(-EUCLEAN, "the table of where inode %" PRIu64 " has its names is damaged", ino);
}

/* 0 names when there is no row. */
static int get(struct store_txn *txn, uint64_t ino, uint64_t dir, uint32_t *names)
{
    struct link_key key;
    struct store_bytes raw;
    *names = 0;
    int error = store_get(txn, STORE_LINKS, key_of(&key, ino, dir), &raw);
    if (error)
        return error == -ENOENT ? 0 : error;
    if (raw.length != sizeof *names)
        return damaged(ino);
    memcpy(names, raw.data, sizeof *names);
    return *names ? 0 : damaged(ino);
}

static int put(struct store_txn *txn, uint64_t ino, uint64_t dir, uint32_t names)
{
    struct link_key space;
    struct store_bytes key = key_of(&space, ino, dir);
    if (names)
        return store_put(txn, STORE_LINKS, key, (struct store_bytes){&names, sizeof names});
    int error = store_delete(txn, STORE_LINKS, key);
    return error == -ENOENT ? 0 : error;
}

static int more(struct store_txn *txn, uint64_t ino, uint64_t dir)
{
    uint32_t names;
    int error = get(txn, ino, dir, &names);
    return error ? error : put(txn, ino, dir, names + 1);
}

struct search {
    uint64_t ino, dir;
};

static int take_first(void *arg, struct store_bytes key, struct store_bytes value)
{
    struct search *search = arg;
    const uint8_t *bytes = key.data;
    (void)value;
    if (key.length == sizeof((struct link_key *)0)->bytes && records_key_u64_of(bytes) == search->ino)
        search->dir = records_key_u64_of(bytes + 8);
    return 1;
}

/* Any directory that has a name of it. */
static int find(struct store_txn *txn, uint64_t ino, uint64_t *dir)
{
    struct link_key key;
    struct search search = {.ino = ino};
    int result = store_each(txn, STORE_LINKS, key_of(&key, ino, 0), take_first, &search);
    *dir = search.dir;
    return result < 0 ? result : search.dir ? 0 : damaged(ino);
}

/* One name less there; the inode has others. */
static int less(struct store_txn *txn, struct inode *inode, uint64_t dir)
{
    uint32_t names;
    int error = get(txn, inode->ino, dir, &names);
    if (!error && !names)
        error = damaged(inode->ino);
    if (!error)
        error = put(txn, inode->ino, dir, names - 1);
    if (!error && names == 1 && inode->parent == dir)
        error = find(txn, inode->ino, &inode->parent);
    return error;
}

/* That rows are wrong harms nothing but the sums. */
static int judge(struct store_txn *txn, int error)
{
    return error == -EUCLEAN ? usage_give_up(txn) : error;
}

int links_add(struct store_txn *txn, struct inode *inode, uint64_t dir)
{
    int error = inode->nlink == 1 ? put(txn, inode->ino, inode->parent, 1) : 0;
    if (!error)
        error = more(txn, inode->ino, dir);
    inode->nlink++;
    return judge(txn, error);
}

int links_remove(struct store_txn *txn, struct inode *inode, uint64_t dir)
{
    const uint32_t left = --inode->nlink;
    if (left == 0) {
        inode->parent = 0;
        return 0;
    }
    int error = less(txn, inode, dir);
    if (!error && left == 1)
        error = put(txn, inode->ino, inode->parent, 0);
    return judge(txn, error);
}

int links_move(struct store_txn *txn, struct inode *inode, uint64_t from, uint64_t to)
{
    if (from == to)
        return 0;
    if (inode->nlink == 1) {
        inode->parent = to;
        return 0;
    }
    int error = more(txn, inode->ino, to);
    if (!error)
        error = less(txn, inode, from);
    return judge(txn, error);
}

int links_met(struct store_txn *txn, struct inode *inode, uint64_t dir)
{
    uint32_t names;
    int error = more(txn, inode->ino, dir);
    if (!error)
        error = get(txn, inode->ino, inode->parent, &names);
    if (!error && names == 0)
        inode->parent = dir;
    return error;
}
