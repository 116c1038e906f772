/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <stdlib.h>

#define PART_SIZE 1024
#define PARTS     1024

/* An entry is NULL, a description, or one of `marked`. */
typedef _Atomic(struct px_desc *) entry_t;

static _Atomic(entry_t *) parts[PARTS];
static struct px_desc marked[PX_MARK_PIPE + 1];
static atomic_int end;  /* above the highest number that ever was in it */
static atomic_int held; /* descriptors of ours */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct px_desc *free_list;

static bool is_mark(const struct px_desc *desc)
{
    return desc >= marked && desc <= &marked[PX_MARK_PIPE];
}

static entry_t *entry_of(int fd)
{
    unsigned part = (unsigned)fd / PART_SIZE;
    if (fd < 0 || part >= PARTS)
        return NULL;
    entry_t *entries = atomic_load_explicit(&parts[part], memory_order_acquire);
    return entries ? &entries[(unsigned)fd % PART_SIZE] : NULL;
}

static entry_t *entry_made(int fd)
{
    unsigned part = (unsigned)fd / PART_SIZE;
    if (fd < 0 || part >= PARTS)
        return NULL;
    if (!atomic_load(&parts[part])) {
        entry_t *made = calloc(PART_SIZE, sizeof *made), *none = NULL;
        if (!made || !atomic_compare_exchange_strong(&parts[part], &none, made))
            free(made);
    }
    int before = atomic_load(&end);
    while (before <= fd && !atomic_compare_exchange_weak(&end, &before, fd + 1))
        ;
    return entry_of(fd);
}

struct px_desc *px_desc_get(int fd)
{
    entry_t *entry = entry_of(fd);
    if (!entry)
        return NULL;
    for (;;) {
        struct px_desc *desc = atomic_load(entry);
        if (!desc || is_mark(desc))
            return NULL;
        int count = atomic_load(&desc->count);
        while (count > 0 && !atomic_compare_exchange_weak(&desc->count, &count, count + 1))
            ;
        if (count <= 0)
            continue; /* it ends right now, and its entry has another value */
        if (atomic_load(entry) == desc)
            return desc;
        px_desc_put(desc);
    }
}

struct px_desc *px_desc_ref(struct px_desc *desc)
{
    atomic_fetch_add(&desc->count, 1);
    return desc;
}

void px_desc_put(struct px_desc *desc)
{
    if (!desc || atomic_fetch_sub(&desc->count, 1) != 1)
        return;
    px_desc_end(desc);
    pthread_mutex_lock(&lock);
    desc->next = free_list;
    free_list = desc;
    pthread_mutex_unlock(&lock);
}

struct px_desc *px_desc_new(void)
{
    pthread_mutex_lock(&lock);
    struct px_desc *desc = free_list;
    if (desc)
        free_list = desc->next;
    pthread_mutex_unlock(&lock);
    if (!desc) {
        desc = calloc(1, sizeof *desc);
        if (!desc)
            return NULL;
        pthread_mutex_init(&desc->lock, NULL);
    }
    desc->kind = PX_FILE;
    desc->flags = 0;
    desc->is_shared = false;
    desc->ino = 0;
    desc->device = 0;
    desc->offset = 0;
    desc->path = NULL;
    desc->file = NULL;
    desc->blob = NULL;
    desc->blob_length = 0;
    desc->owner = 0;
    atomic_store(&desc->fds, 0);
    atomic_store(&desc->count, 1);
    return desc;
}

bool px_table_has(int fd)
{
    entry_t *entry = entry_of(fd);
    struct px_desc *desc = entry ? atomic_load(entry) : NULL;
    return desc && !is_mark(desc);
}

/* What stood there before; its reference is the caller's. */
static struct px_desc *exchange(entry_t *entry, struct px_desc *desc)
{
    struct px_desc *before = atomic_exchange(entry, desc);
    if (before && !is_mark(before)) {
        atomic_fetch_sub(&before->fds, 1);
        atomic_fetch_sub(&held, 1);
        return before;
    }
    return NULL;
}

bool px_table_set(int fd, struct px_desc *desc)
{
    entry_t *entry = desc ? entry_made(fd) : entry_of(fd);
    if (!entry)
        return desc == NULL;
    if (desc) {
        px_desc_ref(desc);
        atomic_fetch_add(&desc->fds, 1);
        atomic_fetch_add(&held, 1);
    }
    px_desc_put(exchange(entry, desc));
    return true;
}

void px_table_mark(int fd, enum px_mark mark)
{
    entry_t *entry = entry_made(fd);
    if (entry)
        px_desc_put(exchange(entry, &marked[mark]));
}

enum px_mark px_table_is_marked(int fd)
{
    entry_t *entry = entry_of(fd);
    struct px_desc *desc = entry ? atomic_load(entry) : NULL;
    return is_mark(desc) ? (enum px_mark)(desc - marked) : PX_MARK_NONE;
}

void px_table_unmark(int fd)
{
    entry_t *entry = entry_of(fd);
    struct px_desc *desc = entry ? atomic_load(entry) : NULL;
    if (is_mark(desc))
        atomic_compare_exchange_strong(entry, &desc, NULL);
}

void px_table_each(void (*each)(int fd, struct px_desc *desc, void *arg), void *arg)
{
    int last = atomic_load(&end);
    for (int fd = 0; fd < last; fd++) {
        entry_t *entry = entry_of(fd);
        struct px_desc *desc = entry ? atomic_load(entry) : NULL;
        if (desc)
            each(fd, is_mark(desc) ? NULL : desc, arg);
    }
}

bool px_table_is_empty(void)
{
    return atomic_load(&held) == 0;
}

int px_table_end(void)
{
    return atomic_load(&end);
}
