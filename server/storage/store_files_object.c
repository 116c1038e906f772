/* SPDX-License-Identifier: Apache-2.0 */
#include "store_files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc.h"
#include "err.h"
#include "log.h"
#include "target.h"

static const char magic[8] = "WEFTOBJ";

/* ---- names and texts ---------------------------------------------------- */

void files_object_name(const struct store_object *key, bool is_new, char name[FILES_NAME_MAX])
{
    snprintf(name, FILES_NAME_MAX, "%02x/%016" PRIx64 ".%" PRIx32 "%s", (unsigned)(key->ino & 0xff), key->ino,
             key->position, is_new ? ".new" : "");
}

int files_object_error(const struct files_store *store, const struct files_object *object, const char *what)
{
    char name[FILES_NAME_MAX];
    files_object_name(&object->key, object->is_new, name);
    return err_sys("target %" PRIu32 ": %s %s/shard-%" PRIu32 "/%s", store->target->id, what,
                   store->target->dir, store->shard, name);
}

/* ---- the header --------------------------------------------------------- */

union header_block {
    struct files_header fields;
    uint8_t bytes[FILES_HEADER_BYTES];
};

static uint32_t header_crc(union header_block *block)
{
    block->fields.crc = 0;
    return crc_of(0, block->bytes, sizeof block->bytes);
}

static int header_write(const struct files_store *store, const struct files_object *object)
{
    const struct store_object *key = &object->key;
    union header_block block;
    memset(&block, 0, sizeof block);
    memcpy(block.fields.magic, magic, sizeof magic);
    block.fields.version = FILES_VERSION;
    block.fields.ino = key->ino;
    block.fields.chunk_size = key->layout.chunk_size;
    block.fields.seed = key->layout.seed;
    block.fields.stripe_count = key->layout.stripe_count;
    block.fields.group_count = key->layout.group_count;
    block.fields.position = key->position;
    block.fields.shard = store->shard;
    block.fields.shard_count = store->target->shard_count;
    block.fields.target = store->target->id;
    block.fields.crc = header_crc(&block);
    ssize_t written = pwrite(object->fd, block.bytes, sizeof block.bytes, 0);
    if (written >= 0 && written != (ssize_t)sizeof block.bytes) {
        errno = ENOSPC;
        written = -1;
    }
    return written < 0 ? files_object_error(store, object, "write the header of") : 0;
}

enum header_verdict {
    HEADER_GOOD,
    HEADER_TORN,  /* what a crash can leave of a file that was never synced */
    HEADER_WRONG, /* whole, but not what was asked for */
};

static enum header_verdict header_judge(const struct files_store *store, const struct store_object *key,
                                        union header_block *block, ssize_t length, const char **fault)
{
    if (length != (ssize_t)sizeof block->bytes)
        return *fault = "it is shorter than a header", HEADER_TORN;
    const struct files_header *fields = &block->fields;
    uint32_t crc = fields->crc;
    if (memcmp(fields->magic, magic, sizeof magic))
        return *fault = "it does not begin like an object", HEADER_TORN;
    if (fields->version != FILES_VERSION)
        return *fault = "it was made by another version of Weft", HEADER_WRONG;
    if (header_crc(block) != crc)
        return *fault = "its header has a wrong checksum", HEADER_TORN;
    if (fields->ino != key->ino || fields->position != key->position || fields->target != store->target->id ||
        fields->shard != store->shard || fields->shard_count != store->target->shard_count)
        return *fault = "its header is another object's", HEADER_WRONG;
    if (fields->chunk_size != key->layout.chunk_size || fields->seed != key->layout.seed ||
        fields->stripe_count != key->layout.stripe_count || fields->group_count != key->layout.group_count)
        return *fault = "it was made with another layout", HEADER_WRONG;
    return HEADER_GOOD;
}

/* ---- the cache ---------------------------------------------------------- */

int files_cache_open(struct files_store *store, uint32_t open_max)
{
    store->open_max = open_max ? open_max : FILES_OPEN_MAX;
    store->bucket_count = 16;
    while (store->bucket_count < store->open_max)
        store->bucket_count *= 2;
    list_init(&store->recent);
    store->buckets = calloc(store->bucket_count, sizeof *store->buckets);
    return store->buckets ? 0 : err_set(-ENOMEM, "no memory for the table of open files");
}

void files_cache_close(struct files_store *store)
{
    list_each(&store->recent, link, after)
        files_object_close(store, list_item(link, struct files_object, recent));
    free(store->buckets);
    store->buckets = NULL;
}

static struct files_object **bucket_of(const struct files_store *store, const struct store_object *key)
{
    return &store->buckets[layout_hash(key->ino ^ (uint64_t)key->position << 40) & (store->bucket_count - 1)];
}

struct files_object *files_cache_find(struct files_store *store, const struct store_object *key)
{
    for (struct files_object *object = *bucket_of(store, key); object; object = object->bucket_next) {
        if (object->key.ino == key->ino && object->key.position == key->position) {
            if (list_first(&store->recent) != &object->recent) {
                list_remove(&object->recent);
                list_push_front(&store->recent, &object->recent);
            }
            return object;
        }
    }
    return NULL;
}

/* Closes the file that was not used for longest, and can be let go of. */
static bool cache_evict(struct files_store *store)
{
    for (struct list_link *link = store->recent.head.previous; link != &store->recent.head;
         link = link->previous) {
        struct files_object *object = list_item(link, struct files_object, recent);
        /* What is known of a lost write must not be forgotten. */
        if (object->job || object->sync_error)
            continue;
        if (object->changes != object->synced)
            store->evicted_dirty = true;
        files_object_close(store, object);
        return true;
    }
    return false;
}

static void cache_insert(struct files_store *store, struct files_object *object)
{
    struct files_object **bucket = bucket_of(store, &object->key);
    object->bucket_next = *bucket;
    *bucket = object;
    list_push_front(&store->recent, &object->recent);
    store->open_count++;
}

void files_object_close(struct files_store *store, struct files_object *object)
{
    struct files_object **at = bucket_of(store, &object->key);
    assert(!object->job);
    while (*at != object)
        at = &(*at)->bucket_next;
    *at = object->bucket_next;
    list_remove(&object->recent);
    store->open_count--;
    close(object->fd);
    free(object);
}

/* ---- opening ------------------------------------------------------------ */

static int open_name(struct files_store *store, const struct store_object *key, bool is_new, bool create)
{
    char name[FILES_NAME_MAX];
    int flags = O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0);
    files_object_name(key, is_new, name);
    int fd = openat(store->dir_fd, name, flags, 0600);
    /* With many targets the process may be out of descriptors before the cache is full. */
    while (fd < 0 && (errno == EMFILE || errno == ENFILE) && cache_evict(store))
        fd = openat(store->dir_fd, name, flags, 0600);
    return fd;
}

/* Opens the file by whichever name it has; object->fd is -1 when there is none. */
static int open_file(struct files_store *store, struct files_object *object, bool create)
{
    object->is_new = false;
    object->fd = open_name(store, &object->key, false, false);
    if (object->fd < 0 && errno == ENOENT) {
        object->is_new = true;
        object->fd = open_name(store, &object->key, true, create);
    }
    if (object->fd < 0 && errno != ENOENT)
        return files_object_error(store, object, "open");
    return 0;
}

/* A file that was never synced and has no good header is what a crash left of it. */
static int discard_remains(const struct files_store *store, struct files_object *object, bool create)
{
    char name[FILES_NAME_MAX];
    files_object_name(&object->key, true, name);
    log_warn("target %" PRIu32 ": %s/shard-%" PRIu32 "/%s was never synced and is incomplete: discarded",
             store->target->id, store->target->dir, store->shard, name);
    if (create)
        return ftruncate(object->fd, 0) ? files_object_error(store, object, "empty") : 0;
    if (unlinkat(store->dir_fd, name, 0))
        return files_object_error(store, object, "remove");
    close(object->fd);
    object->fd = -1;
    return 0;
}

static int refuse(const struct files_store *store, const struct files_object *object, const char *fault)
{
    char name[FILES_NAME_MAX];
    files_object_name(&object->key, object->is_new, name);
    return err_set(-EIO, "target %" PRIu32 ": %s/shard-%" PRIu32 "/%s can't be used: %s", store->target->id,
                   store->target->dir, store->shard, name, fault);
}

static int make_file(const struct files_store *store, const struct files_object *object)
{
    int error = header_write(store, object);
    if (error) {
        char name[FILES_NAME_MAX];
        files_object_name(&object->key, true, name);
        unlinkat(store->dir_fd, name, 0);
    }
    return error;
}

/* Looks at what was opened; writes the header of a file that is made. */
static int check_file(const struct files_store *store, struct files_object *object, bool create)
{
    union header_block block;
    const char *fault;
    struct stat stat;
    if (fstat(object->fd, &stat))
        return files_object_error(store, object, "look at");
    if (stat.st_size == 0 && object->is_new && create)
        return make_file(store, object);
    ssize_t length = pread(object->fd, block.bytes, sizeof block.bytes, 0);
    if (length < 0)
        return files_object_error(store, object, "read the header of");
    enum header_verdict verdict = header_judge(store, &object->key, &block, length, &fault);
    if (verdict == HEADER_GOOD)
        return 0;
    if (verdict == HEADER_WRONG || !object->is_new)
        return refuse(store, object, fault);
    int error = discard_remains(store, object, create);
    return error || !create ? error : make_file(store, object);
}

static bool layouts_equal(const struct layout *a, const struct layout *b)
{
    return a->chunk_size == b->chunk_size && a->seed == b->seed && a->stripe_count == b->stripe_count &&
           a->group_count == b->group_count;
}

int files_object_open(struct files_store *store, const struct store_object *key, bool create,
                      struct files_object **result)
{
    *result = files_cache_find(store, key);
    if (*result)
        return layouts_equal(&(*result)->key.layout, &key->layout)
                   ? 0
                   : refuse(store, *result, "it was made with another layout");

    struct files_object *object = calloc(1, sizeof *object);
    if (!object)
        return err_set(-ENOMEM, "no memory for an open file");
    object->key = *key;
    /* Nothing is known of what the file's last opening left unflushed. */
    object->changes = 1;
    int error = open_file(store, object, create);
    if (!error && object->fd >= 0)
        error = check_file(store, object, create);
    if (error || object->fd < 0) {
        if (object->fd >= 0)
            close(object->fd);
        free(object);
        return error;
    }
    while (store->open_count >= store->open_max && cache_evict(store))
        ;
    cache_insert(store, object);
    *result = object;
    return 0;
}

int files_object_unlink(struct files_store *store, const struct store_object *key)
{
    for (int is_new = 0; is_new <= 1; is_new++) {
        char name[FILES_NAME_MAX];
        files_object_name(key, is_new, name);
        if (unlinkat(store->dir_fd, name, 0) && errno != ENOENT)
            return err_sys("target %" PRIu32 ": remove %s/shard-%" PRIu32 "/%s", store->target->id,
                           store->target->dir, store->shard, name);
    }
    return 0;
}
