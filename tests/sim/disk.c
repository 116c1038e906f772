/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks for the chunk store, in the place of cs_io_files.c. What was written is there for everyone who
 * looks, like the page cache, also after the death of a process. When the host crashes only what was
 * flushed is sure to be there; of all else each 512 bytes may be or not, and a file may have kept its
 * earlier size.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "sim.h"
#include "storage/chunks/cs_io.h"
#include "wraps.h"

enum { PAGE = 4096, SECTOR = 512, NAME_BYTES = 256, HOSTS = 16, LONG_BYTES = 16384 };

/* A file's bytes; pages that were never written are NULL, and zeros. */
struct image {
    uint8_t **pages;
    size_t room; /* of the list */
    uint64_t size;
};

/* Not flushed yet. */
struct change {
    struct change *next;
    bool is_growth; /* to `offset` */
    uint64_t offset;
    size_t length;
    uint8_t bytes[];
};

struct disk_file {
    struct image now, durable;
    struct change *first, **end;
};

struct disk {
    struct list_link link;
    unsigned host;
    char name[NAME_BYTES];
    struct disk_file files[CS_FILES];
};

/* What one process has of a disk. */
struct disk_io {
    struct cs_io io; /* first */
    struct disk *disk;
    bool is_slow;      /* writes have to be waited for */
    unsigned flushing; /* likewise, so long */
};

static struct list disks;

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static struct disk *disk_of(struct cs_io *io)
{
    return ((struct disk_io *)io)->disk;
}

/* ---- images ------------------------------------------------------------------- */

static void image_put(struct image *image, uint64_t offset, const uint8_t *bytes, size_t length)
{
    while (length) {
        const size_t page = offset / PAGE, begin = offset % PAGE;
        const size_t part = length < PAGE - begin ? length : PAGE - begin;
        if (page >= image->room) {
            const size_t room = 2 * (page + 1);
            image->pages = must(realloc(image->pages, room * sizeof *image->pages));
            memset(image->pages + image->room, 0, (room - image->room) * sizeof *image->pages);
            image->room = room;
        }
        if (!image->pages[page])
            image->pages[page] = must(calloc(1, PAGE));
        memcpy(image->pages[page] + begin, bytes, part);
        offset += part;
        bytes += part;
        length -= part;
    }
}

static void image_get(const struct image *image, uint64_t offset, uint8_t *bytes, size_t length)
{
    while (length) {
        const size_t page = offset / PAGE, begin = offset % PAGE;
        const size_t part = length < PAGE - begin ? length : PAGE - begin;
        if (page < image->room && image->pages[page])
            memcpy(bytes, image->pages[page] + begin, part);
        else
            memset(bytes, 0, part);
        offset += part;
        bytes += part;
        length -= part;
    }
}

static void image_free(struct image *image)
{
    for (size_t i = 0; i < image->room; i++)
        free(image->pages[i]);
    free(image->pages);
    *image = (struct image){0};
}

static void image_copy(struct image *to, const struct image *from)
{
    image_free(to);
    to->size = from->size;
    for (size_t i = 0; i < from->room; i++)
        if (from->pages[i])
            image_put(to, i * PAGE, from->pages[i], PAGE);
}

/* ---- changes ------------------------------------------------------------------ */

static void change_add(struct disk_file *file, bool is_growth, uint64_t offset, const uint8_t *bytes,
                       size_t length)
{
    struct change *change = must(malloc(sizeof *change + length));
    change->next = NULL;
    change->is_growth = is_growth;
    change->offset = offset;
    change->length = length;
    if (length)
        memcpy(change->bytes, bytes, length);
    *file->end = change;
    file->end = &change->next;
}

static void grow_durably(struct disk_file *file, uint64_t size)
{
    if (size > file->durable.size)
        file->durable.size = size;
}

static void put_some(struct disk_file *file, const struct change *change)
{
    const unsigned mode = (unsigned)sim_below(4);
    for (size_t at = 0; mode && at < change->length; at += SECTOR) {
        const size_t length = change->length - at < SECTOR ? change->length - at : SECTOR;
        const uint64_t offset = change->offset + at;
        if ((mode == 1 || sim_chance(500000)) && offset + length <= file->durable.size)
            image_put(&file->durable, offset, change->bytes + at, length);
    }
}

/* The changes of a file that is flushed (`all`), or of one that a crash has met. */
static void changes_take(struct disk_file *file, bool all)
{
    while (file->first) {
        struct change *change = file->first;
        file->first = change->next;
        if (change->is_growth && (all || sim_chance(500000)))
            grow_durably(file, change->offset);
        else if (all)
            image_put(&file->durable, change->offset, change->bytes, change->length);
        else if (!change->is_growth)
            put_some(file, change);
        free(change);
    }
    file->end = &file->first;
}

static unsigned crashes[HOSTS];
static uint64_t held_read_ns[HOSTS], held_write_ns[HOSTS];

void disks_hold_read(unsigned host, uint64_t ns)
{
    held_read_ns[host] = ns;
}

void disks_hold_write(unsigned host, uint64_t ns)
{
    held_write_ns[host] = ns;
}

/* What is held now, and not again. */
static uint64_t take_held(uint64_t *held_ns)
{
    const uint64_t ns = *held_ns;
    *held_ns = 0;
    return ns;
}

/* Another one after each crash of the host. */
int __wrap_boot_id(uint8_t id[16])
{
    const unsigned host = process_current->host;
    memset(id, 0, 16);
    id[0] = 1;
    id[1] = (uint8_t)host;
    memcpy(id + 4, &crashes[host], sizeof crashes[host]);
    return 0;
}

void disks_crash(unsigned host)
{
    struct process *process = world_enter();
    crashes[host]++;
    list_each(&disks, each, after)
    {
        struct disk *disk = list_item(each, struct disk, link);
        for (int i = 0; disk->host == host && i < CS_FILES; i++) {
            changes_take(&disk->files[i], false);
            image_copy(&disk->files[i].now, &disk->files[i].durable);
        }
    }
    world_leave(process);
}

/* ---- the table of cs_io.h --------------------------------------------------------- */

static int disk_read(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count,
                     bool nowait)
{
    const struct image *now = &disk_of(io)->files[file].now;
    uint64_t *held_ns = &held_read_ns[disk_of(io)->host];
    if (nowait && (*held_ns || sim_chance(100000)))
        return -EAGAIN;
    if (!nowait && sim_chance(50000))
        fiber_sleep(sim_below(SIM_MS));
    for (int i = 0; i < iov_count; i++) {
        if (offset + iov[i].iov_len > now->size)
            return err_set(-ENODATA, "%s ends before", disk_of(io)->name);
        image_get(now, offset, iov[i].iov_base, iov[i].iov_len);
        offset += iov[i].iov_len;
    }
    if (*held_ns && file == CS_DATA)
        fiber_sleep(take_held(held_ns));
    return 0;
}

static bool disk_write_waits(struct cs_io *io, size_t length)
{
    const struct disk_io *disk_io = (struct disk_io *)io;
    return disk_io->is_slow || disk_io->flushing || length >= LONG_BYTES ||
           held_write_ns[disk_io->disk->host];
}

/* A process that is killed between two pieces has written the first. */
static int disk_write(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count)
{
    struct disk_file *to = &disk_of(io)->files[file];
    uint64_t *held_ns = &held_write_ns[disk_of(io)->host];
    if (*held_ns && file == CS_DATA)
        fiber_sleep(take_held(held_ns));
    else if (disk_write_waits(io, 0) && file == CS_DATA)
        fiber_sleep(sim_below(SIM_MS));
    for (int i = 0; i < iov_count; i++) {
        if (offset + iov[i].iov_len > to->now.size)
            sim_fail("%s is written behind its end", disk_of(io)->name);
        struct process *process = world_enter();
        image_put(&to->now, offset, iov[i].iov_base, iov[i].iov_len);
        change_add(to, false, offset, iov[i].iov_base, iov[i].iov_len);
        world_leave(process);
        offset += iov[i].iov_len;
        fiber_pause();
    }
    return 0;
}

static int disk_flush(struct cs_io *io, enum cs_file file)
{
    const uint64_t takes_ns = sim_below(sim_chance(100000) ? 30 * SIM_MS : 500 * SIM_US);
    const uint64_t first_ns = sim_below(takes_ns + 1);
    ((struct disk_io *)io)->flushing++;
    fiber_sleep(first_ns);
    struct process *process = world_enter();
    changes_take(&disk_of(io)->files[file], true);
    world_leave(process);
    fiber_sleep(takes_ns - first_ns);
    ((struct disk_io *)io)->flushing--;
    return 0;
}

static int disk_grow(struct cs_io *io, enum cs_file file, uint64_t size)
{
    struct disk_file *to = &disk_of(io)->files[file];
    struct process *process = world_enter();
    if (size > to->now.size) {
        to->now.size = size;
        change_add(to, true, size, NULL, 0);
    }
    world_leave(process);
    return 0;
}

static int disk_size(struct cs_io *io, enum cs_file file, uint64_t *size)
{
    *size = disk_of(io)->files[file].now.size;
    return 0;
}

static void disk_close(struct cs_io *io)
{
    free(io);
}

static const struct cs_io_type disk_type = {
    .read = disk_read,
    .write = disk_write,
    .write_waits = disk_write_waits,
    .flush = disk_flush,
    .grow = disk_grow,
    .size = disk_size,
    .close = disk_close,
};

static struct disk *disk_find(const char *name, bool create)
{
    list_each(&disks, each, after)
    {
        struct disk *disk = list_item(each, struct disk, link);
        if (strcmp(disk->name, name) == 0)
            return disk;
    }
    if (!create)
        return NULL;
    const unsigned host = process_current ? process_current->host : 0;
    struct process *process = world_enter();
    struct disk *disk = must(calloc(1, sizeof *disk));
    disk->host = host;
    snprintf(disk->name, sizeof disk->name, "%s", name);
    for (int i = 0; i < CS_FILES; i++)
        disk->files[i].end = &disk->files[i].first;
    list_push_back(&disks, &disk->link);
    world_leave(process);
    return disk;
}

int cs_io_files_open(int dir_fd, const char *name, bool create, struct cs_io **io)
{
    (void)dir_fd;
    struct disk *disk = disk_find(name, create);
    struct disk_io *disk_io = malloc(sizeof *disk_io);
    if (!disk || !disk_io) {
        free(disk_io);
        return disk ? -ENOMEM : err_set(-ENOENT, "%s is not there", name);
    }
    *disk_io = (struct disk_io){
        .io.type = &disk_type, .disk = disk, .is_slow = process_current && sim_chance(500000)};
    *io = &disk_io->io;
    return 0;
}

void disks_begin(void)
{
    list_init(&disks);
    memset(crashes, 0, sizeof crashes);
    memset(held_read_ns, 0, sizeof held_read_ns);
    memset(held_write_ns, 0, sizeof held_write_ns);
}

void disks_end(void)
{
    struct list_link *first;
    while ((first = list_pop(&disks))) {
        struct disk *disk = list_item(first, struct disk, link);
        for (int i = 0; i < CS_FILES; i++) {
            changes_take(&disk->files[i], true);
            image_free(&disk->files[i].now);
            image_free(&disk->files[i].durable);
        }
        free(disk);
    }
}
