/* SPDX-License-Identifier: Apache-2.0 */
/* A target's description: the text that says whose its bytes are. */
#include "target_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "crc.h"
#include "err.h"
#include "store.h"

enum { DESCRIPTION_VERSION = 1 };

static void hex_of(const uint8_t bytes[TARGET_UUID_BYTES], char text[2 * TARGET_UUID_BYTES + 1])
{
    for (unsigned i = 0; i < TARGET_UUID_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

static bool hex_read(const char *text, uint8_t bytes[TARGET_UUID_BYTES])
{
    for (unsigned i = 0; i < TARGET_UUID_BYTES; i++) {
        unsigned value;
        if (sscanf(text + 2 * i, "%2x", &value) != 1)
            return false;
        bytes[i] = (uint8_t)value;
    }
    return true;
}

int target_describe(const struct target *target, char text[TARGET_TEXT_MAX])
{
    char uuid[2 * TARGET_UUID_BYTES + 1], cluster[2 * TARGET_UUID_BYTES + 1];
    hex_of(target->uuid, uuid);
    hex_of(target->cluster, cluster);
    int length = snprintf(
        text, TARGET_TEXT_MAX,
        "weft target %d\nid %" PRIu32 "\nshards %" PRIu32 "\nstore %s\nuuid %s\ncluster %s\n",
        DESCRIPTION_VERSION, target->id, target->shard_count, target->store_type->name, uuid, cluster);
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
    uint8_t uuid[TARGET_UUID_BYTES], cluster[TARGET_UUID_BYTES];
};

static int parse(const struct target *target, const char *text, struct description *said)
{
    char uuid[33], cluster[33];
    uint32_t crc;
    int crc_at = 0, end = 0;
    if (sscanf(text, "weft target %d\n", &said->version) != 1)
        return target_damaged(target, "its first line is not \"weft target N\"");
    if (said->version != DESCRIPTION_VERSION)
        return err_set(-EINVAL,
                       "target %" PRIu32 ": %s was made by another version of Weft (format %d, this is %d)",
                       target->id, target->dir, said->version, DESCRIPTION_VERSION);
    if (sscanf(text,
               "weft target %*d\nid %" SCNu32 "\nshards %" SCNu32 "\nstore %31s\nuuid %32[0-9a-f]\n"
               "cluster %32[0-9a-f]\n%ncrc %8" SCNx32 "%n",
               &said->id, &said->shard_count, said->store, uuid, cluster, &crc_at, &crc, &end) != 6 ||
        !crc_at || strcmp(text + end, "\n") != 0)
        return target_damaged(target, "a line is missing or altered");
    if (crc != crc_of(0, text, (size_t)crc_at) || !hex_read(uuid, said->uuid) ||
        !hex_read(cluster, said->cluster))
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
    return 0;
}

int target_text_take(struct target *target, const char *text)
{
    struct description said;
    int error = parse(target, text, &said);
    return error ? error : compare(target, &said);
}

bool target_text_id(const char *text, uint32_t *id)
{
    return sscanf(text, "weft target %*d\nid %" SCNu32, id) == 1;
}
