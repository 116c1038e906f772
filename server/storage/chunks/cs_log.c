/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "crc.h"
#include "err.h"
#include "log.h"

/* Bytes of a log at which a commit is wanted, and which it never passes; by how much it grows. */
enum { WANT_BYTES = 32 << 20, MAX_BYTES = 128 << 20, GROW_BYTES = 1 << 20 };

/* ---- life --------------------------------------------------------------- */

int cs_log_open(struct cs_store *store)
{
    struct cs_log *log = &store->log;
    log->file = CS_LOG;
    log->patches = malloc(CS_LOG_PATCHES_MAX);
    if (!log->patches)
        return err_set(-ENOMEM, "no memory for a store");
    int error = store->io->type->size(store->io, CS_LOG, &log->size[0]);
    return error ? error : store->io->type->size(store->io, CS_LOG_OTHER, &log->size[1]);
}

void cs_log_close(struct cs_store *store)
{
    free(store->log.patches);
    store->log.patches = NULL;
}

/* What can't be noted is lost when the process dies before the next commit. */
static void lose(struct cs_store *store)
{
    if (!store->log.lost)
        log_warn("%s: changes are not in the log until the next commit, which is made now: %s",
                 store->config.name, err_text());
    store->log.lost = true;
}

/* ---- room --------------------------------------------------------------- */

static uint64_t *size_of(struct cs_log *log)
{
    return &log->size[log->file - CS_LOG];
}

int cs_log_room(struct cs_store *store)
{
    struct cs_log *log = &store->log;
    const uint64_t wanted = log->end + CS_LOG_ENTRY_MAX;
    if (!log->on || log->lost || wanted <= *size_of(log))
        return 0;
    if (store->pages.nowait)
        return -EAGAIN;
    uint64_t size = 2 * *size_of(log) > GROW_BYTES ? 2 * *size_of(log) : GROW_BYTES;
    if (size > MAX_BYTES)
        size = MAX_BYTES;
    int error = wanted > MAX_BYTES ? err_set(-ENOSPC, "the log has reached its bound")
                                   : store->io->type->grow(store->io, log->file, size);
    if (error)
        lose(store);
    else
        *size_of(log) = size;
    return 0;
}

bool cs_log_wants_commit(const struct cs_log *log)
{
    return log->on && (log->lost || log->end > WANT_BYTES);
}

bool cs_log_is_full(const struct cs_log *log)
{
    return log->on && !log->lost && log->end > MAX_BYTES - 2 * CS_LOG_ENTRY_MAX;
}

/* ---- patches ------------------------------------------------------------ */

uint8_t *cs_log_patch(struct cs_store *store, uint32_t block, uint32_t from, uint32_t length)
{
    struct cs_log *log = &store->log;
    const struct cs_log_patch patch = {.block = block, .from = (uint16_t)from, .length = (uint16_t)length};
    uint8_t *at = log->patches + log->patch_bytes;
    assert(length > 0 && from + length <= CS_BLOCK && log->patch_count < CS_STRIP_BLOCKS);
    memcpy(at, &patch, sizeof patch);
    memset(at + sizeof patch + length, 0, cs_padded(length) - length);
    log->patch_bytes += (uint32_t)(sizeof patch + cs_padded(length));
    log->patch_count++;
    return at + sizeof patch;
}

void cs_log_forget(struct cs_store *store)
{
    store->log.patch_bytes = store->log.patch_count = 0;
}

int cs_log_patch_make(struct cs_io *io, const struct cs_log_patch *patch, void *bytes)
{
    struct iovec iov = {bytes, patch->length};
    return io->type->write(io, CS_DATA, (uint64_t)patch->block * CS_BLOCK + patch->from, &iov, 1);
}

static int make_patches(struct cs_store *store)
{
    struct cs_log *log = &store->log;
    uint8_t *at = log->patches;
    int first = 0;
    for (uint32_t i = 0; i < log->patch_count; i++) {
        struct cs_log_patch patch;
        memcpy(&patch, at, sizeof patch);
        int error = cs_log_patch_make(store->io, &patch, at + sizeof patch);
        first = first ? first : error;
        store->bytes_dirty += patch.length;
        at += sizeof patch + cs_padded(patch.length);
    }
    cs_log_forget(store);
    return first;
}

/* ---- entries ------------------------------------------------------------ */

uint32_t cs_log_header_crc(const struct cs_log_header *header)
{
    struct cs_log_header copy = *header;
    copy.crc = 0;
    return crc_of(0, &copy, sizeof copy);
}

static uint32_t crc_begin(uint64_t nonce, const struct cs_log_entry *entry)
{
    uint32_t crc = crc_of(0, &nonce, sizeof nonce);
    return crc_of(crc, &entry->length, sizeof *entry - offsetof(struct cs_log_entry, length));
}

uint32_t cs_log_entry_crc(uint64_t nonce, const void *bytes, uint32_t length)
{
    struct cs_log_entry entry;
    memcpy(&entry, bytes, sizeof entry);
    return crc_of(crc_begin(nonce, &entry), (const uint8_t *)bytes + sizeof entry,
                  length - (uint32_t)sizeof entry);
}

static void note(struct cs_store *store, struct cs_log_entry entry, const void *value)
{
    static const uint8_t zeros[8];
    struct cs_log *log = &store->log;
    const uint32_t padding = (uint32_t)cs_padded(entry.value_length) - entry.value_length;
    struct iovec iov[] = {
        {&entry, sizeof entry},
        {(void *)(uintptr_t)(value ? value : zeros), entry.value_length},
        {(void *)(uintptr_t)zeros, padding},
        {log->patches, log->patch_bytes},
    };
    entry.sequence = log->sequence++;
    entry.patches = log->patch_count;
    entry.length = (uint32_t)sizeof entry + entry.value_length + padding + log->patch_bytes;
    if (!log->on || log->lost)
        return;
    if (log->end + entry.length > *size_of(log)) {
        err_set(-ENOSPC, "there is no room in the log");
        lose(store);
        return;
    }
    entry.crc = crc_begin(log->nonce, &entry);
    for (int i = 1; i < 4; i++)
        entry.crc = crc_of(entry.crc, iov[i].iov_base, iov[i].iov_len);
    if (store->io->type->write(store->io, log->file, log->end, iov, 4))
        lose(store);
    else
        log->end += entry.length;
}

int cs_log_strip(struct cs_store *store, const struct cs_key *key, const struct cs_object_record *object,
                 const struct cs_change *change)
{
    struct cs_log_entry entry = {.kind = CS_LOG_BLOCKS, .key = *key, .object = *object};
    const struct cs_strip *before = &change->before, *strip = &change->strip;
    uint8_t value[CS_VALUE_MAX];
    uint64_t blocks = 0;
    for (uint64_t touched = change->touched; touched;) {
        const unsigned i = cs_strip_next(&touched);
        if (strip->block[i] != before->block[i] || strip->crc[i] != before->crc[i])
            blocks |= UINT64_C(1) << i;
        if (strip->block[i] == CS_HOLE && before->block[i] != CS_HOLE)
            entry.kind = CS_LOG_STRIP; /* what became a hole only the whole record can tell */
    }
    if (entry.kind == CS_LOG_STRIP)
        blocks = CS_ALL_BLOCKS;
    entry.value_length = cs_strip_encode(strip, blocks, value);
    note(store, entry, value);
    return make_patches(store);
}

void cs_log_object(struct cs_store *store, const struct cs_key *key, const struct cs_object_record *object)
{
    note(store, (struct cs_log_entry){.kind = CS_LOG_OBJECT, .key = *key, .object = *object}, NULL);
}

void cs_log_remove(struct cs_store *store, const struct cs_key *key)
{
    note(store, (struct cs_log_entry){.kind = CS_LOG_REMOVE, .key = *key}, NULL);
}

/* ---- from seal to seal -------------------------------------------------- */

static int begin(struct cs_store *store)
{
    struct cs_log *log = &store->log;
    struct cs_log_header header = {
        .version = CS_VERSION, .shard = store->config.shard, .sequence = log->sequence};
    int error = 0;
    if (getrandom(&header.nonce, sizeof header.nonce, 0) != sizeof header.nonce)
        return err_sys("a random number");
    memcpy(header.magic, CS_LOG_MAGIC, sizeof header.magic);
    memcpy(header.uuid, store->config.uuid, sizeof header.uuid);
    header.crc = cs_log_header_crc(&header);
    log->nonce = header.nonce;
    log->end = sizeof header;
    if (*size_of(log) < GROW_BYTES) {
        error = store->io->type->grow(store->io, log->file, GROW_BYTES);
        if (!error)
            *size_of(log) = GROW_BYTES;
    }
    struct iovec iov = {&header, sizeof header};
    return error ? error : store->io->type->write(store->io, log->file, 0, &iov, 1);
}

static void go_on_in(struct cs_store *store, enum cs_file file)
{
    store->log.file = file;
    store->log.lost = false;
    if (begin(store))
        lose(store);
}

void cs_log_begin(struct cs_store *store)
{
    store->log.on = true;
    go_on_in(store, CS_LOG);
}

void cs_log_switch(struct cs_store *store)
{
    if (store->log.on)
        go_on_in(store, store->log.file == CS_LOG ? CS_LOG_OTHER : CS_LOG);
}
