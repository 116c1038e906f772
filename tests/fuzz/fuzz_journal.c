/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_journal: any bytes as a record of the metadata store's journal, whose checksum is right or not.
 * Changes that are told lie in the record, one behind the other, and can be what the store takes.
 */
#include "fuzz.h"

#include <string.h>

#include "crc.h"
#include "metadata/store_journal.h"

enum { HEAD = 32, CRC_AT = 4, ID_AT = 8 };

struct walk {
    const uint8_t *at, *end;
};

static int look(void *arg, const struct journal_change *change)
{
    struct walk *walk = arg;
    require(change->table < STORE_TABLE_COUNT);
    require(change->key.length > 0 && change->key.length <= STORE_KEY_BYTES_MAX);
    require(!change->is_delete || change->value.length == 0);
    require((const uint8_t *)change->key.data == walk->at + 8);
    require((const uint8_t *)change->value.data == walk->at + 8 + change->key.length);
    walk->at += 8 + change->key.length + change->value.length;
    require(walk->at <= walk->end);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t id, number;
    uint8_t *record = malloc(size + 1);
    require(record != NULL);
    if (size) /* no pointer, else */
        memcpy(record, data, size);
    if (size >= HEAD) {
        memcpy(&id, record + ID_AT, sizeof id);
        memcpy(&number, record + ID_AT + sizeof id, sizeof number);
        require(journal_record_check(record, size, id, number + 1) == 0);
        size_t length = journal_record_check(record, size, id, number);
        require(length <= size);
        /* Hardly ever right as it comes: so it is made so. */
        const uint32_t crc = crc_of(0, record + ID_AT, size - ID_AT);
        memcpy(record + CRC_AT, &crc, sizeof crc);
        length = journal_record_check(record, size, id, number);
        require(length == 0 || length >= HEAD);
    }
    struct walk walk = {record + HEAD, record + size};
    if (journal_record_each(record, size, look, &walk) == 0)
        require(walk.at == walk.end);
    free(record);
    return 0;
}
