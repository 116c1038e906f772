/* SPDX-License-Identifier: Apache-2.0 */
#include "store_journal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc.h"
#include "err.h"

#define MAGIC UINT32_C(0x4c4a4d57) /* "WMJL" */

struct head {
    uint32_t magic;
    uint32_t crc; /* of all that follows */
    uint64_t id;
    uint64_t number;
    uint32_t length; /* of the changes, bytes */
    uint32_t zero;
};

/* In front of a key and a value. */
struct change_head {
    uint8_t table;
    uint8_t is_delete;
    uint16_t key_length;
    uint32_t value_length;
};

static_assert(sizeof(struct head) == 32 && sizeof(struct change_head) == 8, "these are on disks");

enum { CRC_FROM = offsetof(struct head, id) };

struct journal {
    int fd;
    uint64_t id;
    uint64_t bytes;  /* of the file */
    uint64_t last;   /* number of the record written last */
    uint64_t end;    /* where the next one goes */
    bool is_known;   /* these two were found out */
    uint8_t *record; /* that of the transaction under way: room for its head, and its changes */
    size_t length;   /* of it; 0: there are no changes yet */
    size_t room;
    bool is_too_long; /* or there was no memory for it */
    char path[4096];
};

/* ---- records ------------------------------------------------------------ */

size_t journal_record_check(const uint8_t *bytes, size_t length, uint64_t id, uint64_t number)
{
    struct head head;
    if (length < sizeof head)
        return 0;
    memcpy(&head, bytes, sizeof head);
    if (head.magic != MAGIC || head.id != id || head.number != number || head.length > length - sizeof head)
        return 0;
    const size_t whole = sizeof head + head.length;
    return crc_of(0, bytes + CRC_FROM, whole - CRC_FROM) == head.crc ? whole : 0;
}

static int senseless(void)
{
    return err_set(-EUCLEAN, "the journal of the metadata store has a change that makes no sense");
}

int journal_record_each(const uint8_t *record, size_t length, journal_each_fn *each, void *arg)
{
    size_t at = sizeof(struct head);
    int error = length < at ? senseless() : 0;
    while (!error && at < length) {
        struct change_head head;
        if (length - at < sizeof head)
            return senseless();
        memcpy(&head, record + at, sizeof head);
        at += sizeof head;
        if (head.table >= STORE_TABLE_COUNT || head.is_delete > 1 || head.key_length == 0 ||
            head.key_length > STORE_KEY_BYTES_MAX || head.key_length > length - at ||
            head.value_length > length - at - head.key_length || (head.is_delete && head.value_length))
            return senseless();
        const struct journal_change change = {
            .is_delete = head.is_delete,
            .table = head.table,
            .key = {record + at, head.key_length},
            .value = {record + at + head.key_length, head.value_length},
        };
        at += head.key_length + head.value_length;
        error = each(arg, &change);
    }
    return error;
}

/* ---- the file ----------------------------------------------------------- */

static bool path_in(const char *dir, const char *name, char path[4096])
{
    return (size_t)snprintf(path, 4096, "%s/%s", dir, name) < 4096;
}

static int write_all(struct journal *journal, const uint8_t *bytes, size_t length, uint64_t offset)
{
    while (length > 0) {
        ssize_t done = pwrite(journal->fd, bytes, length, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return err_sys("writing %s", journal->path);
        bytes += done;
        length -= (size_t)done;
        offset += (uint64_t)done;
    }
    return 0;
}

static int flush(struct journal *journal)
{
    int result;
    do {
        result = fdatasync(journal->fd);
    } while (result && errno == EINTR);
    return result ? err_sys("flushing %s", journal->path) : 0;
}

/* Zeros, so that no write of a record has to find space, or a size to be made durable. */
static int fill(struct journal *journal)
{
    uint8_t *zeros = calloc(1, journal->bytes);
    int error = zeros ? write_all(journal, zeros, journal->bytes, 0)
                      : err_set(-ENOMEM, "no memory for the journal of the metadata store");
    free(zeros);
    if (!error && fsync(journal->fd))
        error = err_sys("flushing %s", journal->path);
    return error;
}

static int open_file(struct journal *journal, uint64_t bytes)
{
    struct stat file;
    journal->fd = open(journal->path, O_RDWR | O_CLOEXEC | (bytes ? 0 : O_CREAT), 0600);
    if (journal->fd < 0 && bytes && errno == ENOENT)
        return err_set(-EUCLEAN,
                       "%s is missing: it has what was changed last in the metadata store; bring it back",
                       journal->path);
    if (journal->fd < 0)
        return err_sys("opening %s", journal->path);
    if (fstat(journal->fd, &file))
        return err_sys("looking at %s", journal->path);
    journal->bytes = bytes ? bytes : JOURNAL_BYTES;
    if ((uint64_t)file.st_size == journal->bytes)
        return 0;
    if (bytes)
        return err_set(-EUCLEAN,
                       "%s has %lld bytes, not %llu: it has what was changed last in the metadata store",
                       journal->path, (long long)file.st_size, (unsigned long long)bytes);
    if (ftruncate(journal->fd, 0))
        return err_sys("cutting %s", journal->path);
    return fill(journal);
}

int journal_open(const char *dir, uint64_t id, uint64_t bytes, struct journal **out)
{
    struct journal *journal = calloc(1, sizeof *journal);
    if (!journal)
        return err_set(-ENOMEM, "no memory for the journal of the metadata store");
    journal->fd = -1;
    journal->id = id;
    int error = 0;
    if (!path_in(dir, "journal", journal->path))
        error = err_set(-ENAMETOOLONG, "the metadata folder's name is too long: %s", dir);
    if (!error)
        error = open_file(journal, bytes);
    if (error) {
        /* One that is not whole must not be met by the next start. */
        if (journal->fd >= 0 && !bytes)
            unlink(journal->path);
        journal_close(journal);
        return error;
    }
    *out = journal;
    return 0;
}

void journal_close(struct journal *journal)
{
    if (!journal)
        return;
    if (journal->fd >= 0)
        close(journal->fd);
    free(journal->record);
    free(journal);
}

bool journal_is_given_up(const char *dir)
{
    char path[4096];
    return path_in(dir, "journal.given-up", path) && access(path, F_OK) == 0;
}

void journal_give_up(const char *dir)
{
    char from[4096], to[4096];
    if (path_in(dir, "journal.given-up", from) && path_in(dir, "journal.old", to))
        (void)rename(from, to);
}

static int read_all(struct journal *journal, uint8_t *bytes, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t count = pread(journal->fd, bytes + done, length - done, (off_t)done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return err_sys("reading %s", journal->path);
        if (count == 0)
            return err_set(-EUCLEAN, "%s has become shorter", journal->path);
        done += (size_t)count;
    }
    return 0;
}

/*
 * Whether there is a record with a higher number than the next one's behind the end of the row. It was
 * written when that one was durable, which must have been damaged since: not the end of the row, but a
 * loss.
 */
static bool has_later(const struct journal *journal, const uint8_t *bytes)
{
    const size_t before = offsetof(struct head, id);
    const uint8_t *record = bytes + journal->end, *end = bytes + journal->bytes, *found;
    while ((size_t)(end - record) >= sizeof(struct head)) {
        uint64_t number;
        found = memmem(record + before, (size_t)(end - record) - before, &journal->id, sizeof journal->id);
        if (!found || (size_t)(end - found) < sizeof(struct head) - before)
            return false;
        record = found - before;
        memcpy(&number, record + offsetof(struct head, number), sizeof number);
        if (number > journal->last + 1 &&
            journal_record_check(record, (size_t)(end - record), journal->id, number))
            return true;
        record++;
    }
    return false;
}

/* From the first record on; they end where one is not the next one. */
static int64_t replay_row(struct journal *journal, const uint8_t *bytes, size_t length, journal_each_fn *each,
                          void *arg)
{
    int64_t count = 0;
    journal->end = 0;
    for (;; count++) {
        const uint8_t *record = bytes + journal->end;
        const size_t left = length - journal->end;
        const size_t size = journal_record_check(record, left, journal->id, journal->last + 1);
        int error = size ? journal_record_each(record, size, each, arg) : 0;
        if (error)
            return error;
        if (!size)
            return count;
        journal->end += size;
        journal->last++;
    }
}

int64_t journal_replay(struct journal *journal, uint64_t done, journal_each_fn *each, void *arg)
{
    /* Once it was gone through there is nothing behind its end. */
    const uint64_t last = journal->last, end = journal->end;
    const size_t length = journal->is_known ? (size_t)end : (size_t)journal->bytes;
    uint8_t *bytes = malloc(length + 1);
    if (!bytes)
        return err_set(-ENOMEM, "no memory to read the journal of the metadata store");
    int64_t count = read_all(journal, bytes, length);
    journal->last = done;
    if (!count)
        count = replay_row(journal, bytes, length, each, arg);
    if (count >= 0 && (journal->is_known ? journal->end != end : has_later(journal, bytes)))
        count = err_set(-EUCLEAN, "%s is damaged at offset %llu: a change of the metadata store is lost",
                        journal->path, (unsigned long long)journal->end);
    free(bytes);
    if (count >= 0) {
        journal->is_known = true;
    } else {
        journal->last = last;
        journal->end = end;
    }
    return count;
}

/* ---- the transaction under way ------------------------------------------- */

static bool make_room(struct journal *journal, size_t length)
{
    if (length <= journal->room)
        return true;
    size_t room = journal->room ? journal->room : 4096;
    while (room < length)
        room *= 2;
    uint8_t *record = realloc(journal->record, room);
    if (!record)
        return false;
    journal->record = record;
    journal->room = room;
    return true;
}

static void add(struct journal *journal, const void *bytes, size_t length)
{
    if (length)
        memcpy(journal->record + journal->length, bytes, length);
    journal->length += length;
}

void journal_note(struct journal *journal, const struct journal_change *change)
{
    const struct change_head head = {
        .table = change->table,
        .is_delete = change->is_delete,
        .key_length = (uint16_t)change->key.length,
        .value_length = (uint32_t)change->value.length,
    };
    if (journal->is_too_long)
        return;
    if (journal->length == 0)
        journal->length = sizeof(struct head);
    if (change->value.length > journal->bytes || change->key.length > STORE_KEY_BYTES_MAX ||
        journal->length + sizeof head + change->key.length + change->value.length > journal->bytes ||
        !make_room(journal, journal->length + sizeof head + change->key.length + change->value.length)) {
        journal->is_too_long = true;
        return;
    }
    add(journal, &head, sizeof head);
    add(journal, change->key.data, change->key.length);
    add(journal, change->value.data, change->value.length);
}

void journal_forget(struct journal *journal)
{
    journal->length = 0;
    journal->is_too_long = false;
}

bool journal_fits(const struct journal *journal)
{
    return !journal->is_too_long && journal->length <= journal->bytes - journal->end;
}

int journal_write(struct journal *journal)
{
    struct head head = {.magic = MAGIC,
                        .id = journal->id,
                        .number = journal->last + 1,
                        .length = (uint32_t)(journal->length - sizeof head)};
    memcpy(journal->record, &head, sizeof head);
    head.crc = crc_of(0, journal->record + CRC_FROM, journal->length - CRC_FROM);
    memcpy(journal->record, &head, sizeof head);
    int error = write_all(journal, journal->record, journal->length, journal->end);
    if (!error)
        error = flush(journal);
    if (error)
        return error;
    journal->end += journal->length;
    journal->last++;
    journal_forget(journal);
    return 0;
}

uint64_t journal_bytes(const struct journal *journal)
{
    return journal->bytes;
}

uint64_t journal_last(const struct journal *journal)
{
    return journal->last;
}

void journal_restart(struct journal *journal)
{
    journal->end = 0;
    journal_forget(journal);
}

bool journal_is_empty(const struct journal *journal)
{
    return journal->end == 0;
}
