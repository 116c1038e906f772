/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing: the description, its file in libweft, and its descriptor. */
#include "px.h"

#include <linux/memfd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* What of a program's flags reaches the metadata server. */
#define FLAGS_ASKED (O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW)
/* What F_GETFL tells. */
#define FLAGS_KEPT                                                                                        \
    (O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_DIRECT | O_NOATIME | O_PATH | O_DIRECTORY | \
     O_NOFOLLOW | O_LARGEFILE)

/* ---- the descriptor -------------------------------------------------------------- */

/* One descriptor of which all others are copies; a copy costs less than half of an open(). It is sealed: what
 * gets past this library fails with EPERM, and does not vanish in memory. */
static int base_descriptor(void)
{
    static atomic_int base = -1;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    int fd = atomic_load(&base);
    if (fd >= 0 && px_table_is_marked(fd))
        return fd;
    pthread_mutex_lock(&lock);
    fd = atomic_load(&base);
    if (fd < 0 || !px_table_is_marked(fd)) {
        px_inside++;
        fd = memfd_create("weft", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        PX_NEXT(fcntl)(fd, F_ADD_SEALS, PX_SEALS);
        px_inside--;
        fd = px_descriptors_hide(fd, PX_MARK_CLOSED);
        atomic_store(&base, fd);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

int px_open_descriptor(struct px_desc *desc, bool closes_on_exec)
{
    int base = base_descriptor(), fd = -1, error = 0;
    if (base >= 0)
        fd = PX_NEXT(fcntl)(base, closes_on_exec ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
    if (fd < 0)
        error = base < 0 ? -EMFILE : -errno;
    else if (!px_table_set(fd, desc))
        error = -EMFILE;
    if (error && fd >= 0)
        PX_NEXT(close)(fd);
    px_desc_put(desc);
    if (!error && fd <= 2)
        px_streams_follow(fd);
    return error ? error : fd;
}

/* ---- the description ------------------------------------------------------------- */

void px_desc_end(struct px_desc *desc)
{
    weft_file_t *file = desc->file;
    px_locks_end_desc(desc);
    if (file && px_session)
        PX_CALL(file_close, file);
    free(desc->path);
    free(desc->blob);
    desc->path = NULL;
    desc->blob = NULL;
    desc->file = NULL;
}

/* The file of that name, if it is still the one that was opened; else by the handle that the
 * process which opened it has given us. */
static int open_again(struct px_desc *desc, weft_file_t **file)
{
    int flags = desc->flags & (O_ACCMODE | O_NOFOLLOW);
    int result = PX_ASK(file_open, desc->path, flags, 0, NULL, file);
    if (result == 0 && px_library.file_ino_(*file) == desc->ino)
        return 0;
    if (result == 0)
        PX_CALL(file_close, *file);
    if (desc->blob && PX_ASK(file_import, desc->blob, desc->blob_length, file) == 0)
        return 0;
    return result < 0 && result != -ENOENT ? result : -ESTALE;
}

int px_open_file(struct px_desc *desc, weft_file_t **file)
{
    int result = 0;
    *file = atomic_load_explicit(&desc->file, memory_order_acquire);
    if (*file)
        return 0;
    if (desc->kind != PX_FILE)
        return desc->kind == PX_FOLDER ? -EISDIR : -EBADF;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    *file = atomic_load(&desc->file);
    if (!*file) {
        result = open_again(desc, file);
        if (result == 0)
            atomic_store(&desc->file, *file);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static int desc_of(const char *path, int flags, enum px_kind kind, uint64_t ino, struct px_desc **out)
{
    struct px_desc *desc = px_desc_new();
    char *copy = strdup(path);
    if (!desc || !copy) {
        free(copy);
        px_desc_put(desc);
        return -ENOMEM;
    }
    desc->path = copy;
    desc->kind = kind;
    desc->flags = flags & FLAGS_KEPT;
    desc->ino = ino;
    *out = desc;
    return 0;
}

/* A folder, or any name that is only pointed at (O_PATH). */
static int open_name(const char *path, int flags, struct px_desc **out)
{
    struct weft_attr attr;
    int result = PX_ASK(stat, path, flags & O_NOFOLLOW ? WEFT_STAT_NOFOLLOW : 0, &attr);
    if (result < 0)
        return result;
    bool is_folder = S_ISDIR(attr.mode);
    if ((flags & O_DIRECTORY) && !is_folder)
        return -ENOTDIR;
    if (!(flags & O_PATH) && !is_folder)
        return S_ISLNK(attr.mode) ? -ELOOP : -ENXIO;
    if (!(flags & O_PATH) && ((flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT)))
        return -EISDIR;
    /* Other calls will begin at this folder. Its path must hold when what stood before a ".." is gone. */
    char canonical[PX_PATH_ROOM];
    if (is_folder && strstr(path, "/..")) {
        result = px_place_canonical(path, canonical);
        if (result < 0)
            return result;
        path = canonical;
    }
    return desc_of(path, flags, is_folder ? PX_FOLDER : PX_NAME, attr.ino, out);
}

static int open_file(const char *path, int flags, mode_t mode, struct px_desc **out)
{
    weft_file_t *file;
    int result = PX_ASK(file_open, path, flags & FLAGS_ASKED, mode & ~px_umask() & 07777, NULL, &file);
    if (result < 0)
        return result;
    result = desc_of(path, flags, PX_FILE, px_library.file_ino_(file), out);
    if (result < 0)
        PX_CALL(file_close, file);
    else
        (*out)->file = file;
    return result;
}

int px_open(const struct px_place *place, int flags, mode_t mode)
{
    struct px_desc *desc = NULL;
    char local[PX_PATH_ROOM];
    int result = place->error;
    if (result == 0 && (flags & O_TMPFILE) == O_TMPFILE)
        result = -EOPNOTSUPP;
    else if (result == 0 && (flags & (O_DIRECTORY | O_PATH)))
        result = open_name(place->path, flags, &desc);
    else if (result == 0)
        result = open_file(place->path, flags, mode, &desc);
    if (result == -ENXIO)
        px_say_once("special", "FIFOs, sockets and devices on Weft can be opened on a mount only (ENXIO)");
    if (result == -EISDIR && !desc && (flags & (O_ACCMODE | O_CREAT)) == O_RDONLY && !(flags & O_TRUNC))
        result = open_name(place->path, flags, &desc);
    if (result == -ENOENT && !(flags & (O_CREAT | O_NOFOLLOW)) && px_place_leads_out(place->path, local)) {
        int fd = PX_NEXT(open)(local, flags);
        return fd < 0 ? -errno : fd;
    }
    return result < 0 ? result : px_open_descriptor(desc, flags & O_CLOEXEC);
}

int px_open_past(const struct px_place *place, int flags, mode_t mode, uint64_t device)
{
    struct px_desc *desc;
    int result = open_file(place->path, flags | O_NOFOLLOW, mode, &desc);
    if (result < 0)
        return result;
    desc->device = device;
    if (!(flags & O_NOFOLLOW))
        desc->flags &= ~O_NOFOLLOW;
    return px_open_descriptor(desc, flags & O_CLOEXEC);
}

int px_close(int fd)
{
    struct px_desc *desc = px_desc_get(fd);
    if (desc)
        px_locks_closed(desc);
    px_table_set(fd, NULL);
    px_desc_put(desc);
    if (fd <= 2)
        px_streams_follow(fd);
    return PX_NEXT(close)(fd);
}

/* ---- what programs call ----------------------------------------------------------- */

/* A mode is there only when something may be made. */
#define MODE_OF(flags, mode)                 \
    mode_t mode = 0;                         \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list arguments;                   \
        va_start(arguments, flags);          \
        mode = va_arg(arguments, mode_t);    \
        va_end(arguments);                   \
    }

static int opened(const struct px_place *place, int flags, mode_t mode)
{
    return (int)px_return(px_open(place, flags, mode));
}

/* What is not ours by its name may lie on a mount, else it is libc's: `next` calls that. */
#define OPEN_OTHER(name, dirfd, path, flags, mode, next)    \
    {                                                       \
        int fd = px_mounted_open(dirfd, path, flags, mode); \
        if (fd < 0)                                         \
            return px_descriptors_kept(PX_NEXT(name) next); \
        PX_COUNT(name);                                     \
        return fd;                                          \
    }

#define OPEN(name)                                                                           \
    PX_EXPORT int name(const char *path, int flags, ...)                                     \
    {                                                                                        \
        struct px_place place;                                                               \
        MODE_OF(flags, mode)                                                                 \
        if (!px_find(AT_FDCWD, path, &place))                                                \
            OPEN_OTHER(name, AT_FDCWD, place.local, flags, mode, (place.local, flags, mode)) \
        PX_COUNT(name);                                                                      \
        return opened(&place, flags, mode);                                                  \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                             \
    PX_EXPORT int name(int dirfd, const char *path, int flags, ...)                              \
    {                                                                                            \
        struct px_place place;                                                                   \
        MODE_OF(flags, mode)                                                                     \
        if (!px_find(dirfd, path, &place))                                                       \
            OPEN_OTHER(name, dirfd, place.local, flags, mode, (dirfd, place.local, flags, mode)) \
        PX_COUNT(name);                                                                          \
        return opened(&place, flags, mode);                                                      \
    }
OPENAT(openat)
OPENAT(openat64)

#define OPEN_2(name)                                                                \
    PX_EXPORT int name(const char *path, int flags)                                 \
    {                                                                               \
        struct px_place place;                                                      \
        if (!px_find(AT_FDCWD, path, &place))                                       \
            OPEN_OTHER(name, AT_FDCWD, place.local, flags, 0, (place.local, flags)) \
        PX_COUNT(name);                                                             \
        return opened(&place, flags, 0);                                            \
    }
OPEN_2(__open_2)
OPEN_2(__open64_2)

#define OPENAT_2(name)                                                                  \
    PX_EXPORT int name(int dirfd, const char *path, int flags)                          \
    {                                                                                   \
        struct px_place place;                                                          \
        if (!px_find(dirfd, path, &place))                                              \
            OPEN_OTHER(name, dirfd, place.local, flags, 0, (dirfd, place.local, flags)) \
        PX_COUNT(name);                                                                 \
        return opened(&place, flags, 0);                                                \
    }
OPENAT_2(__openat_2)
OPENAT_2(__openat64_2)

#define CREAT(name)                                                                                          \
    PX_EXPORT int name(const char *path, mode_t mode)                                                        \
    {                                                                                                        \
        struct px_place place;                                                                               \
        if (!px_find(AT_FDCWD, path, &place))                                                                \
            OPEN_OTHER(name, AT_FDCWD, place.local, O_CREAT | O_WRONLY | O_TRUNC, mode, (place.local, mode)) \
        PX_COUNT(name);                                                                                      \
        return opened(&place, O_CREAT | O_WRONLY | O_TRUNC, mode);                                           \
    }
CREAT(creat)
CREAT(creat64)

PX_EXPORT int close(int fd)
{
    if (px_is_inside()) {
        px_table_unmark(fd);
        return PX_NEXT(close)(fd);
    }
    if (px_table_has(fd)) {
        PX_COUNT(close);
        return px_close(fd);
    }
    if (px_table_is_marked(fd)) {
        errno = EBADF; /* libweft's: for the program there is nothing */
        return -1;
    }
    return PX_NEXT(close)(fd);
}

/* Closes what is ours in the range, and spares what is libweft's: the kernel is given the rest in pieces. */
static int close_range_kept(unsigned first, unsigned last, int flags)
{
    unsigned end = (unsigned)px_table_end(), from = first;
    for (unsigned fd = first; fd < end && fd <= last; fd++) {
        if (px_table_has((int)fd) && !(flags & CLOSE_RANGE_CLOEXEC))
            px_close((int)fd);
        if (!px_table_is_marked((int)fd))
            continue;
        if (fd > from && PX_NEXT(close_range)(from, fd - 1, flags) < 0)
            return -1;
        from = fd + 1;
    }
    return from <= last ? PX_NEXT(close_range)(from, last, flags) : 0;
}

PX_EXPORT int close_range(unsigned first, unsigned last, int flags)
{
    if (px_is_inside() || first > last)
        return PX_NEXT(close_range)(first, last, flags);
    return close_range_kept(first, last, flags);
}

PX_EXPORT void closefrom(int first)
{
    close_range_kept((unsigned)(first < 0 ? 0 : first), ~0u, 0);
}

/* ---- names that nobody has -------------------------------------------------------- */

/* Fills in the Xs and calls `make` until the name is new. */
static int make_new(char *template, int suffix, int flags, int (*make)(const char *path, int flags))
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    size_t length = strlen(template);
    if (suffix < 0 || length < 6 + (size_t)suffix)
        return -EINVAL;
    char *place = template + length - 6 - (size_t)suffix;
    if (memcmp(place, "XXXXXX", 6) != 0)
        return -EINVAL;
    for (int attempt = 0; attempt < 1000; attempt++) {
        uint8_t random[6];
        if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
            return -EIO;
        for (int i = 0; i < 6; i++)
            place[i] = letters[random[i] % (sizeof letters - 1)];
        int result = make(template, flags);
        if (result != -EEXIST)
            return result;
    }
    return -EEXIST;
}

static int make_file(const char *path, int flags)
{
    struct px_place place;
    if (!px_find(AT_FDCWD, path, &place))
        return -EXDEV; /* another thread changed the working folder meanwhile */
    return px_open(&place, (flags & ~O_ACCMODE) | O_RDWR | O_CREAT | O_EXCL, 0600);
}

static int make_folder(const char *path, int flags)
{
    struct px_place place;
    (void)flags;
    if (!px_find(AT_FDCWD, path, &place))
        return -EXDEV;
    return place.error ? place.error : PX_ASK(mkdir, place.path, 0700 & ~px_umask());
}

static bool is_ours(const char *path)
{
    struct px_place place;
    return px_find(AT_FDCWD, path, &place);
}

#define MKSTEMP(name, parameters, arguments, suffix, flags)                  \
    PX_EXPORT int name parameters                                            \
    {                                                                        \
        if (!is_ours(template))                                              \
            return PX_NEXT(name) arguments;                                  \
        PX_COUNT(name);                                                      \
        return (int)px_return(make_new(template, suffix, flags, make_file)); \
    }
MKSTEMP(mkstemp, (char *template), (template), 0, 0)
MKSTEMP(mkstemp64, (char *template), (template), 0, 0)
MKSTEMP(mkostemp, (char *template, int flags), (template, flags), 0, flags)
MKSTEMP(mkostemp64, (char *template, int flags), (template, flags), 0, flags)
MKSTEMP(mkstemps, (char *template, int suffix), (template, suffix), suffix, 0)
MKSTEMP(mkstemps64, (char *template, int suffix), (template, suffix), suffix, 0)
MKSTEMP(mkostemps, (char *template, int suffix, int flags), (template, suffix, flags), suffix, flags)
MKSTEMP(mkostemps64, (char *template, int suffix, int flags), (template, suffix, flags), suffix, flags)

PX_EXPORT char *mkdtemp(char *template)
{
    if (!is_ours(template))
        return PX_NEXT(mkdtemp)(template);
    PX_COUNT(mkdtemp);
    return px_return(make_new(template, 0, 0, make_folder)) < 0 ? NULL : template;
}
