/* SPDX-License-Identifier: Apache-2.0 */
#include "volume_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "crc.h"
#include "err.h"

enum { COPIES = 2, ENTRIES_A_PAGE = VOLUME_PAGE / (int)sizeof(struct volume_entry) };

/* In `file` of an entry in memory: there is something in both copies, and neither is right. */
#define UNKNOWN UINT8_MAX

/* ---- checksums ---------------------------------------------------------- */

uint32_t volume_label_crc(const void *page)
{
    static const uint8_t zeros[4];
    const size_t at = offsetof(struct volume_label, crc);
    uint32_t crc = crc_of(crc_of(0, page, at), zeros, sizeof zeros);
    return crc_of(crc, (const uint8_t *)page + at + 4, VOLUME_PAGE - at - 4);
}

uint32_t volume_entry_crc(const uint8_t id[16], uint32_t segment, const struct volume_entry *entry)
{
    uint32_t crc = crc_of(0, id, 16);
    crc = crc_of(crc, &segment, sizeof segment);
    return crc_of(crc, &entry->index, sizeof *entry - offsetof(struct volume_entry, index));
}

/* ---- the disk ----------------------------------------------------------- */

static int read_at(struct cs_io *raw, uint64_t offset, void *bytes, size_t length)
{
    struct iovec iov = {bytes, length};
    return raw->type->read(raw, CS_META, offset, &iov, 1, false);
}

/* And durable. */
static int write_at(struct cs_io *raw, uint64_t offset, const void *bytes, size_t length)
{
    struct iovec iov = {(void *)(uintptr_t)bytes, length};
    int error = raw->type->write(raw, CS_META, offset, &iov, 1);
    return error ? error : raw->type->flush(raw, CS_META);
}

/* Where a copy of label and table begins. */
static uint64_t area_at(const struct volume_label *label, unsigned copy)
{
    return copy ? label->bytes - VOLUME_AREA : 0;
}

/* ---- the label ---------------------------------------------------------- */

static bool geometry_fits(const struct volume_label *label)
{
    const uint64_t segment = label->segment_bytes;
    return label->bytes % VOLUME_PAGE == 0 && label->bytes > 2 * VOLUME_AREA &&
           segment >= VOLUME_SEGMENT_MIN && (segment & (segment - 1)) == 0 && label->segments > 0 &&
           label->segments <= VOLUME_SEGMENTS_MAX &&
           label->segments <= (label->bytes - 2 * VOLUME_AREA) / segment &&
           memchr(label->text, 0, sizeof label->text);
}

/* 1: it is one, and whole. 0: it is none. -EINVAL. A page that can't be read is none. */
static int read_label(struct cs_io *raw, unsigned copy, uint64_t offset, struct volume *to)
{
    struct volume_label *label = &to->label;
    if (read_at(raw, offset, to->page, sizeof to->page) ||
        memcmp(label->magic, VOLUME_MAGIC, sizeof label->magic) != 0 ||
        volume_label_crc(to->page) != label->crc || label->copy != copy)
        return 0;
    if (label->version != VOLUME_VERSION)
        return err_set(-EINVAL, "it was made by another version of Weft (format %" PRIu32 ", this is %d)",
                       label->version, VOLUME_VERSION);
    return geometry_fits(label);
}

/* The newer one of both. The second one is where the first one says, else at the disk's end. */
static int find_label(struct volume *volume)
{
    struct volume second;
    uint64_t size;
    int error = volume->raw->type->size(volume->raw, CS_META, &size);
    if (error)
        return error;
    size -= size % VOLUME_PAGE;
    if (size <= 2 * VOLUME_AREA)
        return err_set(-ENOENT, "it is too small to be a target");
    const int front = read_label(volume->raw, 0, 0, volume);
    if (front < 0)
        return front;
    if (front && volume->label.bytes > size)
        return err_set(-EINVAL, "it has %" PRIu64 " bytes, and had %" PRIu64 " when it was made a target",
                       size, volume->label.bytes);
    const int end = read_label(volume->raw, 1, (front ? volume->label.bytes : size) - VOLUME_AREA, &second);
    if (end < 0 && !front)
        return end;
    const bool both =
        front && end > 0 && second.label.generation == volume->label.generation; /* and all else, then */
    if (end > 0 && second.label.bytes <= size &&
        (!front || second.label.generation > volume->label.generation))
        memcpy(volume->page, second.page, sizeof volume->page);
    else if (!front)
        return err_set(-ENOENT, "it has no label of a target");
    volume->differ = !both;
    return 0;
}

static int write_label(struct volume *volume, unsigned copy)
{
    volume->label.copy = copy;
    volume->label.crc = volume_label_crc(volume->page);
    return write_at(volume->raw, area_at(&volume->label, copy), volume->page, sizeof volume->page);
}

static int write_labels(struct volume *volume)
{
    int error = write_label(volume, 1);
    return error ? error : write_label(volume, 0);
}

const char *volume_text(const struct volume *volume)
{
    return volume->label.text;
}

int volume_text_set(struct volume *volume, const char *text)
{
    const size_t length = strlen(text);
    if (length >= sizeof volume->label.text)
        return err_set(-ENAMETOOLONG, "a target's description is too long");
    memset(volume->label.text, 0, sizeof volume->label.text);
    memcpy(volume->label.text, text, length);
    volume->label.generation++;
    return write_labels(volume);
}

/* ---- the table ---------------------------------------------------------- */

static bool is_free(const struct volume_entry *entry)
{
    static const struct volume_entry none;
    return memcmp(entry, &none, sizeof none) == 0;
}

static bool is_good(const struct volume *volume, uint32_t segment, const struct volume_entry *entry)
{
    return entry->crc == volume_entry_crc(volume->label.id, segment, entry) && entry->file >= 1 &&
           entry->file <= CS_FILES;
}

static uint32_t pages_of(const struct volume *volume)
{
    return (volume->label.segments + ENTRIES_A_PAGE - 1) / ENTRIES_A_PAGE;
}

static int make_table(struct volume *volume)
{
    volume->table = calloc(pages_of(volume), VOLUME_PAGE);
    return volume->table ? 0 : err_set(-ENOMEM, "no memory for the table of a disk");
}

/* An entry that was being written when the host died may be in one copy alone: then it counts. Beside one
 * that can't be believed, a free one is free: nothing is in use that was not written to both. */
static void merge(struct volume *volume, uint32_t segment, const struct volume_entry *second, bool has_first,
                  bool has_second)
{
    struct volume_entry *entry = &volume->table[segment];
    const bool first_good = has_first && is_good(volume, segment, entry);
    const bool second_good = has_second && is_good(volume, segment, second);
    const bool free = (has_first && is_free(entry)) || (has_second && is_free(second));
    volume->differ = volume->differ || !has_first || !has_second || memcmp(entry, second, sizeof *entry) != 0;
    if (first_good)
        return;
    if (second_good)
        *entry = *second;
    else if (free)
        *entry = (struct volume_entry){0};
    else
        entry->file = UNKNOWN;
}

static int read_table(struct volume *volume)
{
    struct volume_entry second[ENTRIES_A_PAGE];
    int error = make_table(volume);
    for (uint32_t page = 0; !error && page < pages_of(volume); page++) {
        const uint64_t at = VOLUME_PAGE + (uint64_t)page * VOLUME_PAGE;
        struct volume_entry *first = &volume->table[page * ENTRIES_A_PAGE];
        const bool has_first = read_at(volume->raw, area_at(&volume->label, 0) + at, first, VOLUME_PAGE) == 0;
        const bool has_second =
            read_at(volume->raw, area_at(&volume->label, 1) + at, second, VOLUME_PAGE) == 0;
        for (uint32_t i = 0; i < ENTRIES_A_PAGE; i++) {
            const uint32_t segment = page * ENTRIES_A_PAGE + i;
            if (segment < volume->label.segments)
                merge(volume, segment, &second[i], has_first, has_second);
            else
                first[i] = (struct volume_entry){0};
        }
    }
    for (uint32_t segment = 0; !error && segment < volume->label.segments; segment++)
        volume->free += is_free(&volume->table[segment]);
    return error;
}

/* What nobody knows any more stays what it is on the disk: a checksum that is wrong. */
static int write_table_page(struct volume *volume, uint32_t page, unsigned copy)
{
    struct volume_entry entries[ENTRIES_A_PAGE];
    memcpy(entries, &volume->table[page * ENTRIES_A_PAGE], sizeof entries);
    for (uint32_t i = 0; i < ENTRIES_A_PAGE; i++)
        if (entries[i].file == UNKNOWN)
            entries[i].crc = ~volume_entry_crc(volume->label.id, page * ENTRIES_A_PAGE + i, &entries[i]);
    return write_at(volume->raw, area_at(&volume->label, copy) + VOLUME_PAGE + (uint64_t)page * VOLUME_PAGE,
                    entries, sizeof entries);
}

/* One copy after the other, so that a write that is torn leaves one of them. */
static int write_table_pages(struct volume *volume, uint32_t first, uint32_t last)
{
    int error = 0;
    for (unsigned copy = 0; copy < COPIES && !error; copy++)
        for (uint32_t page = first; page <= last && !error; page++)
            error = write_table_page(volume, page, copy);
    return error;
}

int volume_heal(struct volume *volume)
{
    int error = 0;
    pthread_mutex_lock(&volume->lock);
    if (volume->differ) {
        error = write_table_pages(volume, 0, pages_of(volume) - 1);
        if (!error)
            error = write_labels(volume);
        volume->differ = error != 0;
    }
    pthread_mutex_unlock(&volume->lock);
    return error;
}

/* ---- giving out --------------------------------------------------------- */

/* There is one. */
static uint32_t next_free(struct volume *volume)
{
    while (!is_free(&volume->table[volume->cursor]))
        volume->cursor = volume->cursor + 1 < volume->label.segments ? volume->cursor + 1 : 0;
    return volume->cursor;
}

int volume_take(struct volume *volume, uint32_t shard, enum cs_file file, uint32_t first, uint32_t last,
                uint32_t *segments)
{
    uint32_t wanted = 0, low = UINT32_MAX, high = 0;
    for (uint32_t index = first; index < last; index++)
        wanted += segments[index] == UINT32_MAX;
    if (wanted > volume->free)
        return err_set(-ENOSPC, "the disk is full");
    for (uint32_t index = first; index < last; index++) {
        const uint32_t segment = segments[index] == UINT32_MAX ? next_free(volume) : segments[index];
        if (segments[index] == UINT32_MAX) {
            struct volume_entry *entry = &volume->table[segment];
            *entry = (struct volume_entry){
                .index = (uint16_t)index, .file = (uint8_t)(file + 1), .shard = (uint8_t)shard};
            entry->crc = volume_entry_crc(volume->label.id, segment, entry);
            volume->free--;
            segments[index] = segment;
        }
        low = segment < low ? segment : low;
        high = segment > high ? segment : high;
    }
    /* After an error the entries stay: the disk may have them, and nobody else may get these segments. Who
     * asks again writes them again. */
    return first < last ? write_table_pages(volume, low / ENTRIES_A_PAGE, high / ENTRIES_A_PAGE) : 0;
}

/* ---- life --------------------------------------------------------------- */

static struct volume *volume_new(struct cs_io *raw)
{
    struct volume *volume = calloc(1, sizeof *volume);
    if (!volume) {
        raw->type->close(raw);
        err_set(-ENOMEM, "no memory for a disk");
        return NULL;
    }
    volume->raw = raw;
    volume->users = 1;
    pthread_mutex_init(&volume->lock, NULL);
    return volume;
}

/* As many segments as there may be, and not more: small ones waste less. */
static int lay_out(struct volume *volume, uint64_t segment_bytes)
{
    struct volume_label *label = &volume->label;
    uint64_t size;
    int error = volume->raw->type->size(volume->raw, CS_META, &size);
    if (error)
        return error;
    memcpy(label->magic, VOLUME_MAGIC, sizeof label->magic);
    label->version = VOLUME_VERSION;
    label->bytes = size - size % VOLUME_PAGE;
    if (label->bytes < 2 * VOLUME_AREA + VOLUME_SEGMENT_MIN)
        return err_set(-ENOSPC, "%" PRIu64 " bytes are too few for a target", size);
    const uint64_t room = label->bytes - 2 * VOLUME_AREA;
    label->segment_bytes = segment_bytes ? segment_bytes : VOLUME_SEGMENT_MIN;
    while (!segment_bytes && room / label->segment_bytes > VOLUME_SEGMENTS_MAX)
        label->segment_bytes *= 2;
    const uint64_t segments = room / label->segment_bytes;
    label->segments = segments < VOLUME_SEGMENTS_MAX ? (uint32_t)segments : VOLUME_SEGMENTS_MAX;
    volume->free = label->segments;
    if (!geometry_fits(label))
        return err_set(-EINVAL, "segments of %" PRIu64 " bytes are not possible", segment_bytes);
    return getrandom(label->id, sizeof label->id, 0) == sizeof label->id ? 0 : err_sys("a random number");
}

/* Zeros also take away what other formats keep at a disk's ends. */
static int wipe(struct volume *volume)
{
    uint8_t *zeros = calloc(1, VOLUME_AREA);
    int error = zeros ? 0 : err_set(-ENOMEM, "no memory for a disk");
    for (unsigned copy = 0; copy < COPIES && !error; copy++)
        error = write_at(volume->raw, area_at(&volume->label, copy), zeros, VOLUME_AREA);
    free(zeros);
    return error;
}

int volume_make(struct cs_io *raw, uint64_t segment_bytes, struct volume **result)
{
    struct volume *volume = volume_new(raw);
    if (!volume)
        return -ENOMEM;
    int error = lay_out(volume, segment_bytes);
    if (!error)
        error = make_table(volume);
    if (!error)
        error = wipe(volume);
    if (error)
        volume_close(volume);
    else
        *result = volume;
    return error;
}

int volume_open(struct cs_io *raw, struct volume **result)
{
    struct volume *volume = volume_new(raw);
    if (!volume)
        return -ENOMEM;
    int error = find_label(volume);
    if (!error)
        error = read_table(volume);
    if (error)
        volume_close(volume);
    else
        *result = volume;
    return error;
}

void volume_hold(struct volume *volume)
{
    pthread_mutex_lock(&volume->lock);
    volume->users++;
    pthread_mutex_unlock(&volume->lock);
}

void volume_close(struct volume *volume)
{
    pthread_mutex_lock(&volume->lock);
    const bool is_last = --volume->users == 0;
    pthread_mutex_unlock(&volume->lock);
    if (!is_last)
        return;
    volume->raw->type->close(volume->raw);
    pthread_mutex_destroy(&volume->lock);
    free(volume->table);
    free(volume);
}

uint64_t volume_bytes(const struct volume *volume)
{
    return volume->label.bytes;
}

uint64_t volume_free_bytes(struct volume *volume)
{
    pthread_mutex_lock(&volume->lock);
    const uint64_t bytes = volume->free * volume->label.segment_bytes;
    pthread_mutex_unlock(&volume->lock);
    return bytes;
}
