/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mappings of files. A mapping is memory of the process with a copy of the bytes, as they were at the
 * call. A shared one that may be written has a second copy, so that msync(), munmap()
 * and the end of the process write what was changed and nothing else. Its memory is that of a memory
 * file, which is mapped here, too: some MPIs replace munmap() by one that does not call ours, and
 * what the program wrote must be there after it all the same.
 */
#include "px.h"

#include <stdlib.h>
#include <string.h>

struct mapping {
    struct px_desc *desc;
    char *memory; /* where the program sees it */
    char *view;   /* the same bytes, as seen from here */
    char *before; /* the bytes as the cluster has them, as far as this process knows */
    size_t length;
    off_t offset;
    struct mapping *next;
};

static struct mapping *mappings;
static atomic_uint mapping_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- writing back -------------------------------------------------------------------------- */

/* The runs of bytes in [from, to) that differ. Bytes beyond the end of the file are nobody's. */
static int write_changes(struct mapping *mapping, size_t from, size_t to)
{
    weft_file_t *file;
    uint64_t size;
    int result = px_open_file(mapping->desc, &file);
    if (result == 0)
        result = PX_CALL(file_size, file, &size);
    if (result < 0)
        return result;
    uint64_t in_file = size > (uint64_t)mapping->offset ? size - (uint64_t)mapping->offset : 0;
    to = to < in_file ? to : (size_t)in_file;
    while (from < to && result == 0) {
        size_t step = to - from < 4096 ? to - from : 4096, end;
        if (memcmp(mapping->view + from, mapping->before + from, step) == 0) {
            from += step;
            continue;
        }
        while (mapping->view[from] == mapping->before[from])
            from++;
        for (end = from; end < to && mapping->view[end] != mapping->before[end]; end++)
            ;
        memcpy(mapping->before + from, mapping->view + from, end - from);
        ssize_t put =
            PX_CALL(file_write, file, mapping->before + from, end - from, (uint64_t)mapping->offset + from);
        result = put < 0 ? (int)put : 0;
        from = end;
    }
    return result;
}

static void mapping_end(struct mapping *mapping)
{
    px_desc_put(mapping->desc);
    PX_NEXT(munmap)(mapping->view, mapping->length);
    free(mapping->before);
    free(mapping);
    atomic_fetch_sub(&mapping_count, 1);
}

static bool overlaps(const struct mapping *mapping, const char *memory, size_t length)
{
    return memory < mapping->memory + mapping->length && mapping->memory < memory + length;
}

/* Writes back what is in the range: 0 or the first error. */
static int write_range(char *memory, size_t length)
{
    int result = 0;
    pthread_mutex_lock(&lock);
    for (struct mapping *mapping = mappings; mapping; mapping = mapping->next) {
        if (!overlaps(mapping, memory, length))
            continue;
        size_t from = memory > mapping->memory ? (size_t)(memory - mapping->memory) : 0;
        size_t to = (size_t)(memory + length - mapping->memory);
        int error = write_changes(mapping, from, to < mapping->length ? to : mapping->length);
        result = result ? result : error;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

/* What remains of a mapping behind `end` becomes one of its own. */
static void split(struct mapping *mapping, const char *end)
{
    size_t head = (size_t)(end - mapping->memory), rest = mapping->length - head;
    struct mapping *right = malloc(sizeof *right);
    char *before = malloc(rest);
    if (!right || !before) {
        free(right);
        free(before);
        px_say_once("munmap", "no memory to keep the rest of a mapping");
        return;
    }
    *right = *mapping;
    right->desc = px_desc_ref(mapping->desc);
    right->memory += head;
    right->view += head;
    right->before = memcpy(before, mapping->before + head, rest);
    right->length = rest;
    right->offset += (off_t)head;
    mapping->length = head;
    mapping->next = right;
    atomic_fetch_add(&mapping_count, 1);
}

/* Takes the range out of what is written back, which may leave a part on either side of it. */
static void forget_range(char *memory, size_t length)
{
    pthread_mutex_lock(&lock);
    for (struct mapping **at = &mappings, *mapping; (mapping = *at);) {
        if (!overlaps(mapping, memory, length)) {
            at = &mapping->next;
            continue;
        }
        if (memory + length < mapping->memory + mapping->length)
            split(mapping, memory + length);
        if (memory > mapping->memory) {
            split(mapping, memory);
            at = &mapping->next;
            continue;
        }
        *at = mapping->next;
        mapping_end(mapping);
    }
    pthread_mutex_unlock(&lock);
}

void px_mappings_flush(void)
{
    if (atomic_load(&mapping_count))
        write_range(NULL, SIZE_MAX / 2);
}

/* ---- mmap() ----------------------------------------------------------------------------------- */

static int fill(struct px_desc *desc, char *memory, size_t length, off_t offset)
{
    const struct iovec iov = {memory, length};
    ssize_t got = px_read_at(desc, &iov, 1, offset);
    return got < 0 ? (int)got : 0;
}

static int remember(struct px_desc *desc, char *memory, char *view, size_t length, off_t offset)
{
    struct mapping *mapping = malloc(sizeof *mapping);
    char *before = malloc(length);
    if (!mapping || !before) {
        free(mapping);
        free(before);
        return -ENOMEM;
    }
    memcpy(before, view, length);
    *mapping = (struct mapping){px_desc_ref(desc), memory, view, before, length, offset, NULL};
    pthread_mutex_lock(&lock);
    mapping->next = mappings;
    mappings = mapping;
    atomic_fetch_add(&mapping_count, 1);
    pthread_mutex_unlock(&lock);
    return 0;
}

static int may_map(const struct px_desc *desc, size_t length, bool is_written, off_t offset)
{
    int access = desc->flags & O_ACCMODE;
    if (desc->kind != PX_FILE)
        return -ENODEV;
    if (access == O_WRONLY || (is_written && access != O_RDWR))
        return -EACCES;
    return length == 0 || offset < 0 || (size_t)offset % page_size() ? -EINVAL : 0;
}

/* Memory that nobody else sees; a child has a copy of it. */
static void *map_private(struct px_desc *desc, void *wanted, size_t length, int protection, int flags,
                         off_t offset)
{
    void *memory =
        PX_NEXT(mmap)(wanted, length, PROT_READ | PROT_WRITE, flags | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return memory;
    int error = fill(desc, memory, length, offset);
    if (error == 0 && protection != (PROT_READ | PROT_WRITE) && mprotect(memory, length, protection) < 0)
        error = -errno;
    if (error == 0)
        return memory;
    PX_NEXT(munmap)(memory, length);
    errno = -error;
    return MAP_FAILED;
}

static void *map_written(struct px_desc *desc, void *wanted, size_t length, int protection, int flags,
                         off_t offset)
{
    void *memory = MAP_FAILED, *view = MAP_FAILED;
    int fd = memfd_create("weft-map", MFD_CLOEXEC), error = fd < 0 ? -errno : 0;
    if (error == 0 && PX_NEXT(ftruncate)(fd, (off_t)length) < 0)
        error = -errno;
    if (error == 0)
        view = PX_NEXT(mmap)(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (view != MAP_FAILED)
        memory = PX_NEXT(mmap)(wanted, length, protection, flags | MAP_SHARED, fd, 0);
    if (error == 0 && memory == MAP_FAILED)
        error = -errno;
    if (fd >= 0)
        PX_NEXT(close)(fd);
    if (error == 0)
        error = fill(desc, view, length, offset);
    if (error == 0)
        error = remember(desc, memory, view, length, offset);
    if (error == 0)
        return memory;
    if (memory != MAP_FAILED)
        PX_NEXT(munmap)(memory, length);
    if (view != MAP_FAILED)
        PX_NEXT(munmap)(view, length);
    errno = -error;
    return MAP_FAILED;
}

static void *map(struct px_desc *desc, void *wanted, size_t length, int protection, int flags, off_t offset)
{
    int kept = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_NORESERVE);
    bool is_written = (flags & MAP_TYPE) != MAP_PRIVATE && (protection & PROT_WRITE);
    length = (length + page_size() - 1) / page_size() * page_size();
    if (px_return(may_map(desc, length, is_written, offset)) < 0)
        return MAP_FAILED;
    return is_written ? map_written(desc, wanted, length, protection, kept, offset)
                      : map_private(desc, wanted, length, protection, kept, offset);
}

#define MMAP(name)                                                                                     \
    PX_EXPORT void *name(void *wanted, size_t length, int protection, int flags, int fd, off_t offset) \
    {                                                                                                  \
        bool has_file = fd >= 0 && !(flags & MAP_ANONYMOUS) && !px_is_inside();                        \
        struct px_desc *desc = has_file ? px_desc_get(fd) : NULL;                                      \
        if (!desc)                                                                                     \
            return PX_NEXT(name)(wanted, length, protection, flags, fd, offset);                       \
        PX_COUNT(name);                                                                                \
        void *memory = map(desc, wanted, length, protection, flags, offset);                           \
        px_desc_put(desc);                                                                             \
        return memory;                                                                                 \
    }
MMAP(mmap)
MMAP(mmap64)

PX_EXPORT int munmap(void *memory, size_t length)
{
    if (atomic_load_explicit(&mapping_count, memory_order_relaxed) == 0 || px_is_inside())
        return PX_NEXT(munmap)(memory, length);
    size_t pages = (length + page_size() - 1) / page_size() * page_size();
    int error = write_range(memory, pages);
    if (error < 0)
        px_say_once("munmap", "bytes of a mapping could not be written back when it ended");
    forget_range(memory, pages);
    return PX_NEXT(munmap)(memory, length);
}

PX_EXPORT int msync(void *memory, size_t length, int flags)
{
    if (atomic_load_explicit(&mapping_count, memory_order_relaxed) == 0 || px_is_inside())
        return PX_NEXT(msync)(memory, length, flags);
    int error = write_range(memory, length);
    /* Synchronous means durable. */
    pthread_mutex_lock(&lock);
    for (struct mapping *mapping = mappings; (flags & MS_SYNC) && mapping && error == 0;
         mapping = mapping->next) {
        weft_file_t *file;
        if (overlaps(mapping, memory, length) && (error = px_open_file(mapping->desc, &file)) == 0)
            error = PX_CALL(file_sync, file);
    }
    pthread_mutex_unlock(&lock);
    return error < 0 ? (int)px_return(error) : PX_NEXT(msync)(memory, length, flags);
}

static bool is_mapped(const void *memory, size_t length)
{
    bool found = false;
    pthread_mutex_lock(&lock);
    for (const struct mapping *mapping = mappings; mapping && !found; mapping = mapping->next)
        found = overlaps(mapping, memory, length);
    pthread_mutex_unlock(&lock);
    return found;
}

PX_EXPORT void *mremap(void *memory, size_t length, size_t new_length, int flags, ...)
{
    __builtin_va_list arguments;
    __builtin_va_start(arguments, flags);
    void *wanted = flags & MREMAP_FIXED ? __builtin_va_arg(arguments, void *) : NULL;
    __builtin_va_end(arguments);
    if (atomic_load_explicit(&mapping_count, memory_order_relaxed) && !px_is_inside() &&
        is_mapped(memory, length)) {
        px_say_once("mremap", "mremap() of a shared mapping is not supported on Weft (EINVAL)");
        errno = EINVAL;
        return MAP_FAILED;
    }
    return PX_NEXT(mremap)(memory, length, new_length, flags, wanted);
}
