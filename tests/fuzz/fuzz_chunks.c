/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_chunks: a chunk store whose files were changed anywhere. As they are, the checksums refuse nearly all
 * changes, so each input is tried with the right ones, too: of the page, of the pages above it up to the
 * superblock, and of the log's entry. Whatever the store then says of itself, opening it, looking at it,
 * reading, writing and removing must come to an end without harm to the process.
 *
 * The input is a list of changes: what (a page, a log, the data, a superblock), where, and bytes. The same
 * bytes are put over label and table of a disk with such a store (volume.h), with the right checksums and as
 * they are.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "crc.h"
#include "err.h"
#include "fuzz.h"
#include "log.h"
#include "storage/chunks/cs_store.h"
#include "storage/chunks/volume.h"
#include "storage/chunks/volume_format.h"
#include "../unit/cs_disk.h"

enum { OBJECTS = 40, PAGES_MAX = 64, ENTRIES_MAX = 64, CHANGE_MAX = 16 };

static const struct layout layout = {.chunk_size = 4096, .seed = 1, .stripe_count = 1, .group_count = 1};
static const struct cs_config usual = {
    .name = "target 0 shard 0", .uuid = {9}, .grow_blocks = 64, .cache_pages = 64, .data_blocks_max = 4096};

/* The store that is changed: made once. */
static struct disk base;
static struct {
    uint32_t number, parent, index; /* of the page's entry in its parent; parent 0: it is the root */
} pages[PAGES_MAX];
static unsigned page_count;
static uint64_t entries[ENTRIES_MAX]; /* places in the log */
static unsigned entry_count;

static void must(int error)
{
    if (error < 0)
        abort();
}

/* ---- the base -------------------------------------------------------------- */

static void note_pages(uint32_t number, uint32_t parent, uint32_t index, uint32_t level)
{
    const struct cs_page_header *header = (const void *)(base.bytes[CS_META] + (uint64_t)number * CS_BLOCK);
    const struct cs_branch_entry *below = (const void *)(header + 1);
    if (page_count == PAGES_MAX)
        abort();
    pages[page_count].number = number;
    pages[page_count].parent = parent;
    pages[page_count++].index = index;
    for (uint16_t i = 0; level > 0 && i < header->count; i++)
        note_pages(below[i].page, number, i, level - 1);
}

static struct cs_super *super_of(struct disk *disk, unsigned slot)
{
    return (struct cs_super *)(disk->bytes[CS_META] + (uint64_t)slot * CS_BLOCK);
}

/* The slot of the newest commit. */
static unsigned newest(struct disk *disk)
{
    return super_of(disk, 0)->generation > super_of(disk, 2)->generation ? 0 : 2;
}

static void note_entries(uint64_t end)
{
    for (uint64_t at = sizeof(struct cs_log_header); at < end && entry_count < ENTRIES_MAX;) {
        struct cs_log_entry entry;
        memcpy(&entry, base.bytes[CS_LOG_OTHER] + at, sizeof entry);
        entries[entry_count++] = at;
        at += entry.length;
    }
}

static struct cs_name name_of(uint64_t i)
{
    return (struct cs_name){.ino = 100 + i, .position = (uint32_t)(i % 2)};
}

static void make_base(void)
{
    static uint8_t bytes[CS_STRIP + 50000];
    struct cs_config config = usual;
    struct cs_store *store;
    uint64_t seed = 1;
    log_init("fuzz_chunks", LOG_LEVEL_NONE);
    disk_open(&base);
    config.io = &base.io;
    config.log = true;
    must(cs_format(&config));
    must(cs_open(&config, &store));
    for (uint64_t i = 0; i < OBJECTS; i++) {
        struct iovec iov = {bytes, i % 20 ? 1 + disk_random(&seed) % 9000 : sizeof bytes};
        must(cs_write(store, name_of(i), &layout, disk_random(&seed) % 5000, &iov, 1, NULL));
    }
    must(cs_commit(store));
    for (uint64_t i = 0; i < 12; i++) {
        struct iovec iov = {bytes + i, 1 + disk_random(&seed) % 6000};
        must(cs_write(store, name_of(i % 3), &layout, disk_random(&seed) % 5000, &iov, 1, NULL));
    }
    must(cs_truncate(store, name_of(4), &layout, 100));
    must(cs_remove(store, name_of(5)));
    must(cs_truncate(store, name_of(6), &layout, 100000));
    note_entries(store->log.end);
    cs_close(store);
    const struct cs_super *super = super_of(&base, newest(&base));
    note_pages(super->root, 0, 0, super->root_level);
}

/* ---- changes ---------------------------------------------------------------- */

static void sum_supers(struct disk *disk, uint32_t root_crc, bool has_root_crc)
{
    for (unsigned slot = newest(disk), end = slot + 2; slot < end; slot++) {
        struct cs_super *super = super_of(disk, slot);
        if (has_root_crc)
            super->root_crc = root_crc;
        super->crc = cs_super_crc(super);
    }
}

/* The page's checksum, and those of all above it. */
static void sum_page(struct disk *disk, unsigned which)
{
    for (;;) {
        struct cs_page_header *header =
            (void *)(disk->bytes[CS_META] + (uint64_t)pages[which].number * CS_BLOCK);
        header->crc = cs_page_crc(header);
        if (!pages[which].parent) {
            sum_supers(disk, header->crc, true);
            return;
        }
        const uint32_t parent = pages[which].parent, index = pages[which].index;
        struct cs_branch_entry *above =
            (void *)(disk->bytes[CS_META] + (uint64_t)parent * CS_BLOCK + sizeof *header);
        above[index].crc = header->crc;
        for (which = 0; pages[which].number != parent; which++)
            ;
    }
}

static void sum_entry(struct disk *disk, unsigned which)
{
    const struct cs_log_header *header = (const void *)disk->bytes[CS_LOG_OTHER];
    struct cs_log_entry *entry = (void *)(disk->bytes[CS_LOG_OTHER] + entries[which]);
    if (entry->length >= sizeof *entry && entry->length <= CS_LOG_ENTRY_MAX)
        entry->crc = cs_log_entry_crc(header->nonce, entry, entry->length);
}

static void put(uint8_t *bytes, uint64_t room, const uint8_t *from, size_t length)
{
    memcpy(bytes, from, length < room ? length : room);
}

static void change(struct disk *disk, unsigned kind, unsigned which, uint64_t at, const uint8_t *bytes,
                   size_t length, bool sums)
{
    const unsigned page = which % page_count, entry = which % entry_count;
    const uint64_t offset = at % CS_BLOCK;
    switch (kind % 8) {
    case 0:
    case 1:
    case 2:
    case 3:
        put(disk->bytes[CS_META] + (uint64_t)pages[page].number * CS_BLOCK + offset, CS_BLOCK - offset, bytes,
            length);
        if (sums)
            sum_page(disk, page);
        break;
    case 4:
    case 5:
        put(disk->bytes[CS_LOG_OTHER] + entries[entry] + at % 512, 4096, bytes, length);
        if (sums)
            sum_entry(disk, entry);
        break;
    case 6:
        put(disk->bytes[CS_DATA] + at, disk->size[CS_DATA] - at, bytes, length);
        break;
    case 7:
        put((uint8_t *)super_of(disk, newest(disk)) + at % sizeof(struct cs_super), CS_BLOCK, bytes, length);
        if (sums)
            sum_supers(disk, 0, false);
        break;
    }
}

static void apply(struct disk *disk, const uint8_t *data, size_t size, bool sums)
{
    while (size > 4) {
        const unsigned kind = data[0], which = data[1];
        const uint64_t at = data[2] | (uint64_t)data[3] << 8;
        size_t length = 1 + kind / 8 % CHANGE_MAX;
        data += 4;
        size -= 4;
        if (length > size)
            length = size;
        change(disk, kind, which, at, data, length, sums);
        data += length;
        size -= length;
    }
}

/* ---- use ---------------------------------------------------------------------- */

static void ignore(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

static int remove_all(struct cs_store *store, struct cs_name name)
{
    int result = 1;
    for (unsigned n = 0; result > 0; n++) {
        if (n > 10000)
            abort(); /* it never ends */
        result = cs_remove(store, name);
    }
    return result;
}

static void use(struct cs_store *store)
{
    static uint8_t bytes[4 * CS_STRIP];
    struct cs_check_result result;
    uint64_t count;
    cs_log_count(store, &count);
    cs_check(store, true, ignore, NULL, &result);
    for (uint64_t i = 0; i < OBJECTS; i++) {
        struct cs_stat stat;
        size_t there;
        cs_stat(store, name_of(i), &layout, &stat);
        int error = cs_read(store, name_of(i), &layout, i * 100, bytes, sizeof bytes, &there, NULL);
        if (!error && there > sizeof bytes)
            abort();
    }
    for (uint64_t i = 0; i < OBJECTS; i += 3) {
        struct iovec iov = {bytes, 5000};
        cs_write(store, name_of(i), &layout, 1000 * i, &iov, 1, NULL);
        cs_punch(store, name_of(i), &layout, 10, 6000);
        cs_truncate(store, name_of(i + 1), &layout, 10);
        remove_all(store, name_of(i + 2));
        cs_pages_trim(&store->pages);
    }
    cs_commit(store);
}

static void try(const uint8_t *data, size_t size, bool sums, bool log)
{
    struct disk disk;
    struct cs_config config = usual;
    struct cs_store *store;
    disk_copy(&disk, &base);
    disk.size_max[CS_DATA] = 64 << 20;
    disk.size_max[CS_META] = 16 << 20;
    apply(&disk, data, size, sums);
    config.io = &disk.io;
    config.log = log;
    if (cs_open(&config, &store) == 0) {
        use(store);
        cs_close(store);
        if (cs_open(&config, &store) == 0)
            cs_close(store);
    }
    disk_close(&disk);
}

/* ---- a disk -------------------------------------------------------------------- */

static struct disk base_disk;

#define DISK_BYTES (2 * (uint64_t)VOLUME_AREA + 6 * (uint64_t)VOLUME_SEGMENT_MIN)

static struct cs_io *files_of(struct disk *disk)
{
    struct volume *volume;
    struct cs_io *io;
    if (volume_open(&disk->io, &volume))
        return NULL;
    must(volume_shard_open(volume, 0, &disk->io, &io));
    volume_close(volume);
    return io;
}

static void make_base_disk(void)
{
    struct volume *volume;
    struct cs_config config = usual;
    struct cs_store *store;
    uint8_t bytes[9000] = {1};
    struct iovec iov = {bytes, sizeof bytes};
    disk_open_raw(&base_disk, DISK_BYTES);
    must(volume_make(&base_disk.io, 0, &volume));
    must(volume_text_set(volume, "a text"));
    volume_close(volume);
    config.io = files_of(&base_disk);
    must(cs_format(&config));
    must(cs_open(&config, &store));
    must(cs_write(store, name_of(0), &layout, 0, &iov, 1, NULL));
    must(cs_commit(store));
    cs_close(store);
}

/* Changes of two bytes each, in the first or the second label, or anywhere in the first entries of the
 * tables. */
static void change_disk(struct disk *disk, const uint8_t *data, size_t size, bool sums)
{
    for (; size >= 4; data += 4, size -= 4) {
        const uint64_t area = data[0] % 2 ? DISK_BYTES - VOLUME_AREA : 0;
        uint8_t *page = disk->bytes[CS_DATA] + area;
        struct volume_label *label = (struct volume_label *)page;
        if (data[0] % 4 < 2) {
            const size_t at = data[1] % 80;
            put(page + at, VOLUME_PAGE - at, data + 2, 2);
            if (sums)
                label->crc = volume_label_crc(page);
            continue;
        }
        struct volume_entry *entries = (struct volume_entry *)(page + VOLUME_PAGE);
        const unsigned segment = data[1] / 8 % 8;
        put((uint8_t *)&entries[segment] + data[1] % 8, 2, data + 2, 2);
        if (sums)
            entries[segment].crc = volume_entry_crc(label->id, segment, &entries[segment]);
    }
}

static void try_disk(const uint8_t *data, size_t size, bool sums)
{
    struct disk disk;
    struct cs_config config = usual;
    struct cs_store *store;
    struct volume *volume;
    disk_copy(&disk, &base_disk);
    change_disk(&disk, data, size, sums);
    config.log = true;
    config.io = files_of(&disk);
    if (config.io && cs_open(&config, &store) == 0) {
        use(store);
        cs_close(store);
    }
    if (volume_open(&disk.io, &volume) == 0) {
        must(volume_heal(volume));
        must(volume_text_set(volume, volume_text(volume)[0] ? "another" : "one"));
        volume_close(volume);
        must(volume_open(&disk.io, &volume));
        volume_close(volume);
    }
    disk_close(&disk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!base.io.type) {
        make_base();
        make_base_disk();
    }
    if (size && data[0] % 8 == 6) { /* of the kinds of changes the least telling one */
        try_disk(data + 1, size - 1, true);
        try_disk(data + 1, size - 1, false);
        return 0;
    }
    try(data, size, true, true);
    try(data, size, true, false);
    try(data, size, false, true);
    return 0;
}
