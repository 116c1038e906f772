/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories. A DIR of ours lies in one array, so that it is told from libc's by its
 * address. Entries that were read are kept, since programs may go back to any of them.
 */
#include "px.h"

#include <stdlib.h>
#include <string.h>

#define STREAMS_MAX 4096

struct entry {
    uint64_t ino;
    uint8_t type;
    char *name;
};

struct stream {
    struct px_desc *desc; /* NULL: free */
    int fd;
    pthread_mutex_t lock;
    weft_dir_t *dir;     /* NULL: not begun, or at its end */
    unsigned generation; /* the session that `dir` is of */
    bool is_complete;    /* all entries were read */
    struct entry *entries;
    size_t count, room;
    size_t position; /* of the next one to be told */
    struct dirent out;
};

static struct stream streams[STREAMS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct stream *stream_of(DIR *dir)
{
    uintptr_t at = (uintptr_t)dir, first = (uintptr_t)streams;
    return at >= first && at < first + sizeof streams ? (struct stream *)dir : NULL;
}

/* ---- entries ------------------------------------------------------------------------------ */

static int add(struct stream *stream, const char *name, uint64_t ino, uint32_t mode)
{
    if (stream->count == stream->room) {
        size_t room = stream->room ? 2 * stream->room : 64;
        struct entry *entries = realloc(stream->entries, room * sizeof *entries);
        if (!entries)
            return -ENOMEM;
        stream->entries = entries;
        stream->room = room;
    }
    char *copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    stream->entries[stream->count++] = (struct entry){.ino = ino, .type = IFTODT(mode), .name = copy};
    return 0;
}

static void end_listing(struct stream *stream)
{
    if (stream->dir && px_session && stream->generation == px_library_generation()) {
        px_inside++;
        px_library.dir_close_(stream->dir);
        px_inside--;
    }
    stream->dir = NULL;
}

static void forget_entries(struct stream *stream)
{
    end_listing(stream);
    for (size_t i = 0; i < stream->count; i++)
        free(stream->entries[i].name);
    stream->count = 0;
    stream->is_complete = false;
}

/* The dots come first, as everywhere. The number of the folder above is not asked for. */
static int begin(struct stream *stream)
{
    int result = 0;
    if (stream->count == 0) {
        result = add(stream, ".", stream->desc->ino, S_IFDIR);
        if (result == 0)
            result = add(stream, "..", stream->desc->ino, S_IFDIR);
    }
    if (result == 0)
        result = PX_ASK(dir_open, stream->desc->path, &stream->dir);
    stream->generation = px_library_generation();
    return result;
}

/* One more entry: 1, 0 at the end, or a negative errno. */
static int fetch(struct stream *stream)
{
    const char *name, *last = stream->count > 2 ? stream->entries[stream->count - 1].name : "";
    uint64_t ino;
    mode_t type;
    int result = 0;
    if (stream->is_complete)
        return 0;
    if (stream->dir && stream->generation != px_library_generation())
        stream->dir = NULL; /* the session that it was of is gone */
    if (!stream->dir)
        result = begin(stream);
    if (result < 0)
        return result;
    do
        result = PX_CALL(dir_next, stream->dir, &name, NULL);
    while (result == 1 && strcmp(name, last) <= 0);
    if (result == 1) {
        int error = PX_CALL(dir_entry, stream->dir, &ino, &type);
        if (error == 0)
            error = add(stream, name, ino, type);
        return error < 0 ? error : 1;
    }
    if (result == 0) {
        stream->is_complete = true;
        end_listing(stream);
    }
    return result;
}

/* The next entry in `out`: 1, 0 or a negative errno. */
static int next(struct stream *stream, struct dirent *out)
{
    while (stream->position >= stream->count) {
        int result = fetch(stream);
        if (result <= 0)
            return result;
    }
    const struct entry *entry = &stream->entries[stream->position++];
    size_t length = strlen(entry->name);
    *out = (struct dirent){
        .d_ino = entry->ino,
        .d_off = (off_t)stream->position,
        .d_reclen = sizeof *out,
        .d_type = entry->type,
    };
    memcpy(out->d_name, entry->name, length + 1);
    return 1;
}

/* ---- opening and closing -------------------------------------------------------------------- */

static DIR *stream_new(int fd, struct px_desc *desc)
{
    struct stream *stream = NULL;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < STREAMS_MAX && !stream; i++)
        if (!streams[i].desc)
            stream = &streams[i];
    if (stream) {
        *stream = (struct stream){.desc = desc, .fd = fd};
        pthread_mutex_init(&stream->lock, NULL);
    }
    pthread_mutex_unlock(&lock);
    if (!stream) {
        px_desc_put(desc);
        errno = EMFILE;
    }
    return (DIR *)stream;
}

static DIR *open_fd(int fd)
{
    struct px_desc *desc = px_desc_get(fd);
    if (desc && desc->kind == PX_FOLDER && !(desc->flags & O_PATH))
        return stream_new(fd, desc);
    errno = desc && desc->kind != PX_FOLDER ? ENOTDIR : EBADF;
    px_desc_put(desc);
    return NULL;
}

PX_EXPORT DIR *opendir(const char *path)
{
    struct px_place place;
    if (!px_find(AT_FDCWD, path, &place))
        return PX_NEXT(opendir)(place.local);
    PX_COUNT(opendir);
    int fd = (int)px_return(px_open(&place, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0));
    if (fd < 0)
        return NULL;
    DIR *dir = open_fd(fd);
    /* The first entries are asked for here, so that a folder that may not be read says so at once. */
    int error = dir ? fetch(stream_of(dir)) : -errno;
    if (error >= 0)
        return dir;
    if (dir)
        closedir(dir);
    else
        px_close(fd);
    errno = -error;
    return NULL;
}

PX_EXPORT DIR *fdopendir(int fd)
{
    if (px_is_inside() || !px_table_has(fd))
        return PX_NEXT(fdopendir)(fd);
    PX_COUNT(fdopendir);
    return open_fd(fd);
}

PX_EXPORT int closedir(DIR *dir)
{
    struct stream *stream = stream_of(dir);
    if (!stream)
        return PX_NEXT(closedir)(dir);
    PX_COUNT(closedir);
    int result = px_close(stream->fd);
    forget_entries(stream);
    free(stream->entries);
    pthread_mutex_destroy(&stream->lock);
    px_desc_put(stream->desc);
    pthread_mutex_lock(&lock);
    stream->desc = NULL;
    pthread_mutex_unlock(&lock);
    return result;
}

PX_EXPORT int dirfd(DIR *dir)
{
    struct stream *stream = stream_of(dir);
    return stream ? stream->fd : PX_NEXT(dirfd)(dir);
}

/* ---- reading -------------------------------------------------------------------------------- */

static struct dirent *read_one(struct stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    int result = next(stream, &stream->out);
    pthread_mutex_unlock(&stream->lock);
    if (result < 0)
        errno = -result;
    return result == 1 ? &stream->out : NULL;
}

#define READDIR(name, type)                     \
    PX_EXPORT struct type *name(DIR *dir)       \
    {                                           \
        struct stream *stream = stream_of(dir); \
        if (!stream)                            \
            return PX_NEXT(name)(dir);          \
        PX_COUNT(name);                         \
        return (struct type *)read_one(stream); \
    }
READDIR(readdir, dirent)
READDIR(readdir64, dirent64)

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#define READDIR_R(name, type)                                                                         \
    PX_EXPORT int name(DIR *restrict dir, struct type *restrict entry, struct type **restrict result) \
    {                                                                                                 \
        struct stream *stream = stream_of(dir);                                                       \
        if (!stream)                                                                                  \
            return PX_NEXT(name)(dir, entry, result);                                                 \
        PX_COUNT(name);                                                                               \
        pthread_mutex_lock(&stream->lock);                                                            \
        int got = next(stream, (struct dirent *)entry);                                               \
        pthread_mutex_unlock(&stream->lock);                                                          \
        *result = got == 1 ? entry : NULL;                                                            \
        return got < 0 ? -got : 0;                                                                    \
    }
READDIR_R(readdir_r, dirent)
READDIR_R(readdir64_r, dirent64)
#pragma GCC diagnostic pop

PX_EXPORT void rewinddir(DIR *dir)
{
    struct stream *stream = stream_of(dir);
    if (!stream) {
        PX_NEXT(rewinddir)(dir);
        return;
    }
    PX_COUNT(rewinddir);
    pthread_mutex_lock(&stream->lock);
    forget_entries(stream);
    stream->position = 0;
    pthread_mutex_unlock(&stream->lock);
}

PX_EXPORT long telldir(DIR *dir)
{
    struct stream *stream = stream_of(dir);
    return stream ? (long)stream->position : PX_NEXT(telldir)(dir);
}

PX_EXPORT void seekdir(DIR *dir, long position)
{
    struct stream *stream = stream_of(dir);
    if (!stream) {
        PX_NEXT(seekdir)(dir, position);
        return;
    }
    pthread_mutex_lock(&stream->lock);
    /* A place from before rewinddir() may be one that was not read yet. */
    while (stream->count < (size_t)position && fetch(stream) == 1)
        ;
    stream->position = (size_t)position < stream->count ? (size_t)position : stream->count;
    pthread_mutex_unlock(&stream->lock);
}

/* ---- all at once ----------------------------------------------------------------------------- */

typedef int filter_fn(const struct dirent *entry);
typedef int compare_fn(const struct dirent **a, const struct dirent **b);

/* The entries that the filter wants, in memory of their own. */
static int gather(DIR *dir, filter_fn *filter, struct dirent ***out)
{
    struct dirent **list = NULL, *entry;
    size_t count = 0, room = 0;
    errno = 0;
    while ((entry = readdir(dir))) {
        if (filter && !filter(entry))
            continue;
        if (count == room) {
            struct dirent **larger = realloc(list, (room = room ? 2 * room : 32) * sizeof *list);
            if (!larger)
                break;
            list = larger;
        }
        if (!(list[count] = malloc(sizeof *entry)))
            break;
        *list[count++] = *entry;
    }
    if (entry || errno) {
        while (count > 0)
            free(list[--count]);
        free(list);
        errno = entry ? ENOMEM : errno;
        return -1;
    }
    *out = list;
    return (int)count;
}

static int scan(const struct px_place *place, struct dirent ***out, filter_fn *filter, compare_fn *compare)
{
    int fd = (int)px_return(px_open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0));
    DIR *dir = fd < 0 ? NULL : open_fd(fd);
    if (!dir)
        return -1;
    int count = gather(dir, filter, out), saved = errno;
    closedir(dir);
    if (count > 1 && compare)
        qsort(*out, (size_t)count, sizeof **out, (int (*)(const void *, const void *))compare);
    errno = saved;
    return count;
}

#define SCANDIR(name, type)                                                                      \
    PX_EXPORT int name(const char *restrict path, struct type ***restrict out,                   \
                       int (*filter)(const struct type *),                                       \
                       int (*compare)(const struct type **, const struct type **))               \
    {                                                                                            \
        struct px_place place;                                                                   \
        if (!px_find(AT_FDCWD, path, &place))                                                    \
            return PX_NEXT(name)(place.local, out, filter, compare);                             \
        PX_COUNT(name);                                                                          \
        return scan(&place, (struct dirent ***)out, (filter_fn *)filter, (compare_fn *)compare); \
    }
SCANDIR(scandir, dirent)
SCANDIR(scandir64, dirent64)

#define SCANDIRAT(name, type)                                                                    \
    PX_EXPORT int name(int dirfd, const char *restrict path, struct type ***restrict out,        \
                       int (*filter)(const struct type *),                                       \
                       int (*compare)(const struct type **, const struct type **))               \
    {                                                                                            \
        struct px_place place;                                                                   \
        if (!px_find(dirfd, path, &place))                                                       \
            return PX_NEXT(name)(dirfd, place.local, out, filter, compare);                      \
        PX_COUNT(name);                                                                          \
        return scan(&place, (struct dirent ***)out, (filter_fn *)filter, (compare_fn *)compare); \
    }
SCANDIRAT(scandirat, dirent)
SCANDIRAT(scandirat64, dirent64)
