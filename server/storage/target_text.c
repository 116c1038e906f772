/* SPDX-License-Identifier: Apache-2.0 */
/* A target's description: the text that says whose its bytes are. */
#include "target_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "crc.h"
#include "err.h"
#include "store.h"

/* Version 1 had neither losses nor boot: nobody has counted yet. */
enum { DESCRIPTION_VERSION = 2, DESCRIPTION_VERSION_UNCOUNTED = 1 };

static void hex_of(const uint8_t bytes[TARGET_UUID_BYTES], char text[2 * TARGET_UUID_BYTES + 1])
{
    sodium_bin2hex(text, 2 * TARGET_UUID_BYTES + 1, bytes, TARGET_UUID_BYTES);
}

static bool hex_read(const char *text, uint8_t bytes[TARGET_UUID_BYTES])
{
    size_t count;
    return !sodium_hex2bin(bytes, TARGET_UUID_BYTES, text, strlen(text), NULL, &count, NULL) &&
           count == TARGET_UUID_BYTES;
}

int target_describe(const struct target *target, char text[TARGET_TEXT_MAX])
{
    char uuid[2 * TARGET_UUID_BYTES + 1], cluster[2 * TARGET_UUID_BYTES + 1], boot[2 * TARGET_UUID_BYTES + 1];
    hex_of(target->uuid, uuid);
    hex_of(target->cluster, cluster);
    hex_of(target->boot, boot);
    int length = snprintf(text, TARGET_TEXT_MAX,
                          "weft target %d\nid %" PRIu32 "\nshards %" PRIu32 "\nstore %s\nuuid %s\n"
                          "cluster %s\nlosses %" PRIu64 "\nboot %s\n",
                          DESCRIPTION_VERSION, target->id, target->shard_count, target->store_type->name,
                          uuid, cluster, target->losses, boot);
    uint32_t crc = crc_of(0, text, (size_t)length);
    return length + snprintf(text + length, TARGET_TEXT_MAX - (size_t)length, "crc %08" PRIx32 "\n", crc);
}

int target_damaged(const struct target *target, const char *why)
{
    if (target->is_disk)
        return err_set(-EBADMSG,
                       "target %" PRIu32
                       ": the description on %s is damaged (%s); when the target's data is not "
                       "needed, weft-format --force makes it anew",
                       target->id, target->dir, why);
    return err_set(-EBADMSG,
                   "target %" PRIu32
                   ": the description %s/target is damaged (%s); restore it, or, when the target's "
                   "data is not needed, empty the directory",
                   target->id, target->dir, why);
}

/* What a description says, before it is compared with what was asked for. */
struct description {
    int version;
    uint32_t id, shard_count;
    char store[32];
    uint8_t uuid[TARGET_UUID_BYTES], cluster[TARGET_UUID_BYTES], boot[TARGET_UUID_BYTES];
    uint64_t losses;
};

/* What both versions have. *end: behind it. */
static bool parse_head(const char *text, struct description *said, int *end)
{
    char uuid[33], cluster[33];
    *end = 0;
    return sscanf(text,
                  "weft target %*d\nid %" SCNu32 "\nshards %" SCNu32 "\nstore %31s\nuuid %32[0-9a-f]\n"
                  "cluster %32[0-9a-f]%n",
                  &said->id, &said->shard_count, said->store, uuid, cluster, end) == 5 &&
           *end && text[*end] == '\n' && hex_read(uuid, said->uuid) && hex_read(cluster, said->cluster);
}

static bool parse_losses(const char *text, struct description *said, int *end)
{
    char boot[33];
    *end = 0;
    return sscanf(text, "\nlosses %" SCNu64 "\nboot %32[0-9a-f]%n", &said->losses, boot, end) == 2 && *end &&
           text[*end] == '\n' && hex_read(boot, said->boot);
}

static int parse(const struct target *target, const char *text, struct description *said)
{
    uint32_t crc;
    int at, more = 0, end = 0;
    if (sscanf(text, "weft target %d\n", &said->version) != 1)
        return target_damaged(target, "its first line is not \"weft target N\"");
    if (said->version != DESCRIPTION_VERSION && said->version != DESCRIPTION_VERSION_UNCOUNTED)
        return err_set(-EINVAL,
                       "target %" PRIu32 ": %s was made by another version of Weft (format %d, this is %d)",
                       target->id, target->dir, said->version, DESCRIPTION_VERSION);
    bool is_whole = parse_head(text, said, &at);
    if (is_whole && said->version != DESCRIPTION_VERSION_UNCOUNTED)
        is_whole = parse_losses(text + at, said, &more);
    at += more + 1;
    if (!is_whole || sscanf(text + at, "crc %8" SCNx32 "%n", &crc, &end) != 1 ||
        strcmp(text + at + end, "\n") != 0)
        return target_damaged(target, "a line is missing or altered");
    if (crc != crc_of(0, text, (size_t)at))
        return target_damaged(target, "its checksum is wrong");
    return 0;
}

static int compare(struct target *target, const struct description *said)
{
    if (said->id != target->id)
        return err_set(-EINVAL,
                       "%s holds target %" PRIu32 ", but the configuration says %" PRIu32
                       "; correct the id or the place of that target",
                       target->dir, said->id, target->id);
    if (said->shard_count != target->shard_count)
        return err_set(-EINVAL,
                       "target %" PRIu32 " in %s was made for %" PRIu32
                       " shards, but the configuration says %" PRIu32
                       "; the number of shards of a target can't be changed",
                       target->id, target->dir, said->shard_count, target->shard_count);
    target->store_type = store_type_by_name(said->store);
    if (!target->store_type)
        return err_set(-EINVAL,
                       "target %" PRIu32 " in %s has a store of type \"%s\", which this build does not know",
                       target->id, target->dir, said->store);
    memcpy(target->uuid, said->uuid, sizeof target->uuid);
    memcpy(target->cluster, said->cluster, sizeof target->cluster);
    memcpy(target->boot, said->boot, sizeof target->boot);
    target->losses = said->losses;
    return 0;
}

int target_text_take(struct target *target, const char *text)
{
    struct description said = {0};
    int error = parse(target, text, &said);
    return error ? error : compare(target, &said);
}

bool target_text_id(const char *text, uint32_t *id)
{
    return sscanf(text, "weft target %*d\nid %" SCNu32, id) == 1;
}
