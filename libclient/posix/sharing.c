/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptions that several processes share: after fork(), and for programs that are started
 * with descriptors of ours.
 *
 * Each then gets a memory file, which takes the place of the placeholder behind all of its
 * descriptors. The kernel's offset in that file is the description's from then on, so that it is
 * one for all who have it, and the record in it tells a program that is
 * started what its descriptors are. The record lies far behind any offset that matters.
 */
#include "px.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_NAME   "weft-file"
#define RECORD_OFFSET ((off_t)1 << 40)
#define RECORD_MAGIC  UINT64_C(0x3244525446455721) /* "!WEFTRD2" */
#define BLOB_MAX      (1u << 20)

const char px_sharing_variable[] = "WEFT_DESCRIPTORS";

/* What a memory file holds. It never leaves the host, nor this version of the library. */
struct record {
    uint64_t magic;
    uint64_t ino;
    uint64_t device;
    uint32_t kind;
    int32_t flags;
    uint32_t path_length; /* follows, then the blob */
    uint32_t blob_length;
};

/* ---- giving --------------------------------------------------------------------------------- */

/* What lets another process have the file when its name leads to it no more. */
static void add_blob(struct px_desc *desc)
{
    weft_file_t *file = desc->file;
    if (!file || desc->blob)
        return;
    ssize_t length = PX_CALL(file_export, file, NULL, 0);
    void *blob = length > 0 && length < (ssize_t)BLOB_MAX ? malloc((size_t)length) : NULL;
    if (blob && PX_CALL(file_export, file, blob, (size_t)length) == length) {
        desc->blob = blob;
        desc->blob_length = (size_t)length;
    } else {
        free(blob);
    }
}

static bool write_record(int fd, const struct px_desc *desc)
{
    const struct record record = {
        .magic = RECORD_MAGIC,
        .ino = desc->ino,
        .device = desc->device,
        .kind = desc->kind,
        .flags = desc->flags,
        .path_length = (uint32_t)strlen(desc->path),
        .blob_length = (uint32_t)desc->blob_length,
    };
    const struct iovec iov[] = {
        {(void *)&record, sizeof record}, {desc->path, record.path_length}, {desc->blob, record.blob_length}};
    ssize_t length = (ssize_t)(sizeof record + record.path_length + record.blob_length);
    return PX_NEXT(pwritev)(fd, iov, 3, RECORD_OFFSET) == length &&
           PX_NEXT(lseek)(fd, desc->offset, SEEK_SET) == desc->offset;
}

/* Of one description: where its memory file is while the descriptors are given it. */
struct promotion {
    struct px_desc *desc;
    int fd;
};

static void replace(int fd, struct px_desc *desc, void *arg)
{
    const struct promotion *promotion = arg;
    if (desc != promotion->desc)
        return;
    int flags = PX_NEXT(fcntl)(fd, F_GETFD);
    PX_NEXT(dup3)(promotion->fd, fd, flags >= 0 && (flags & FD_CLOEXEC) ? O_CLOEXEC : 0);
}

static void promote(int fd, struct px_desc *desc, void *arg)
{
    (void)fd;
    (void)arg;
    if (!desc || desc->is_shared)
        return;
    pthread_mutex_lock(&desc->lock);
    add_blob(desc);
    struct promotion promotion = {.desc = desc,
                                  .fd = memfd_create(RECORD_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    if (promotion.fd >= 0 && write_record(promotion.fd, desc)) {
        PX_NEXT(fcntl)(promotion.fd, F_ADD_SEALS, PX_SEALS);
        px_table_each(replace, &promotion);
        desc->is_shared = true;
    } else {
        px_say_once("promote", "no memory file for a descriptor that a child process inherits");
    }
    if (promotion.fd >= 0)
        PX_NEXT(close)(promotion.fd);
    pthread_mutex_unlock(&desc->lock);
}

void px_sharing_promote_all(void)
{
    if (!px_table_is_empty())
        px_table_each(promote, NULL);
}

static void look_for_inherited(int fd, struct px_desc *desc, void *found)
{
    if (desc && !(PX_NEXT(fcntl)(fd, F_GETFD) & FD_CLOEXEC))
        *(bool *)found = true;
}

bool px_sharing_is_needed(void)
{
    bool found = false;
    if (!px_table_is_empty())
        px_table_each(look_for_inherited, &found);
    return found;
}

/* ---- taking ---------------------------------------------------------------------------------- */

/* Descriptors of one memory file are one description. */
struct adopted {
    ino_t memory;
    struct px_desc *desc;
};

static char *read_text(int fd, off_t offset, size_t length)
{
    char *text = malloc(length + 1);
    if (text && PX_NEXT(pread)(fd, text, length, offset) == (ssize_t)length) {
        text[length] = '\0';
        return text;
    }
    free(text);
    return NULL;
}

static struct px_desc *read_record(int fd)
{
    struct record record;
    if (PX_NEXT(pread)(fd, &record, sizeof record, RECORD_OFFSET) != (ssize_t)sizeof record ||
        record.magic != RECORD_MAGIC || record.path_length >= PX_PATH_ROOM || record.blob_length > BLOB_MAX)
        return NULL;
    struct px_desc *desc = px_desc_new();
    if (!desc)
        return NULL;
    off_t at = RECORD_OFFSET + (off_t)sizeof record;
    desc->path = read_text(fd, at, record.path_length);
    if (record.blob_length)
        desc->blob = read_text(fd, at + record.path_length, record.blob_length);
    desc->blob_length = desc->blob ? record.blob_length : 0;
    desc->kind = (enum px_kind)record.kind;
    desc->flags = record.flags;
    desc->ino = record.ino;
    desc->device = record.device;
    desc->is_shared = true;
    if (!desc->path) {
        px_desc_put(desc);
        return NULL;
    }
    return desc;
}

static void adopt(int fd, struct adopted *adopted, size_t *count, size_t room)
{
    char link[64], target[64];
    struct stat stat;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = PX_NEXT(readlink)(link, target, sizeof target - 1);
    target[length > 0 ? length : 0] = '\0';
    if (strncmp(target, "/memfd:" RECORD_NAME, sizeof "/memfd:" RECORD_NAME - 1) != 0 ||
        PX_NEXT(fstat)(fd, &stat) < 0)
        return;
    for (size_t i = 0; i < *count; i++)
        if (adopted[i].memory == stat.st_ino) {
            px_table_set(fd, adopted[i].desc);
            return;
        }
    struct px_desc *desc = read_record(fd);
    if (!desc || *count == room) {
        px_desc_put(desc);
        return;
    }
    px_table_set(fd, desc);
    adopted[(*count)++] = (struct adopted){stat.st_ino, desc};
}

void px_sharing_adopt_all(void)
{
    enum { ROOM = 1024 };
    size_t count = 0;
    struct dirent *entry;
    if (!getenv(px_sharing_variable))
        return;
    struct adopted *adopted = calloc(ROOM, sizeof *adopted);
    DIR *dir = adopted ? PX_NEXT(opendir)("/proc/self/fd") : NULL;
    while (dir && (entry = PX_NEXT(readdir)(dir)))
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
            adopt((int)strtol(entry->d_name, NULL, 10), adopted, &count, ROOM);
    if (dir)
        PX_NEXT(closedir)(dir);
    for (size_t i = 0; i < count; i++)
        px_desc_put(adopted[i].desc);
    free(adopted);
    for (int fd = 0; fd <= 2; fd++)
        if (px_table_has(fd))
            px_streams_follow(fd);
}
