/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose memory is whose: each allocation that a process makes is noted aside, so that it can be taken from
 * one that is killed, and missed by one that ends in order. What the world allocates is not noted. Memory
 * that a library gave, and that nobody noted, is freed as it is.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sim.h"
#include "wraps.h"

struct allocation {
    struct list_link link; /* of its process; of those that are free */
    struct process *process;
    void *start;
    size_t length;
    bool is_mapping;
    const void *caller;
    struct allocation *next; /* in the table's slot */
};

enum { SLOTS = 1 << 14, BLOCK = 512 };

static struct allocation *slots[SLOTS];
static struct allocation *unused;

static struct allocation **slot_of(const void *start)
{
    const uint64_t hash = (uint64_t)(uintptr_t)start / 16 * UINT64_C(0x9e3779b97f4a7c15);
    return &slots[hash >> 50];
}

static struct allocation *allocation_new(void)
{
    if (!unused) {
        struct allocation *block = __real_calloc(BLOCK, sizeof *block);
        if (!block)
            abort();
        for (unsigned i = 0; i < BLOCK; i++) {
            block[i].next = unused;
            unused = &block[i];
        }
    }
    struct allocation *allocation = unused;
    unused = allocation->next;
    return allocation;
}

static void *note(void *start, size_t length, bool is_mapping, const void *caller)
{
    struct process *process = process_current;
    if (!process || !start || start == MAP_FAILED)
        return start;
    struct allocation *allocation = allocation_new(), **slot = slot_of(start);
    *allocation = (struct allocation){.process = process,
                                      .start = start,
                                      .length = length,
                                      .is_mapping = is_mapping,
                                      .caller = caller,
                                      .next = *slot};
    *slot = allocation;
    list_push_back(&process->memory, &allocation->link);
    process->memory_bytes += length;
    return start;
}

static void forget(const void *start)
{
    for (struct allocation **at = slot_of(start); *at; at = &(*at)->next) {
        struct allocation *allocation = *at;
        if (allocation->start != start)
            continue;
        *at = allocation->next;
        list_remove(&allocation->link);
        allocation->process->memory_bytes -= allocation->length;
        allocation->next = unused;
        unused = allocation;
        return;
    }
}

void memory_release(struct process *process)
{
    struct list_link *first;
    while ((first = list_first(&process->memory))) {
        struct allocation *allocation = list_item(first, struct allocation, link);
        void *start = allocation->start;
        const size_t length = allocation->length;
        const bool is_mapping = allocation->is_mapping;
        forget(start);
        if (is_mapping)
            __real_munmap(start, length);
        else
            __real_free(start);
    }
}

size_t memory_left(const struct process *process, bool show)
{
    size_t count = 0;
    list_each(&process->memory, each, after)
    {
        const struct allocation *allocation = list_item(each, struct allocation, link);
        count++;
        if (show && count <= 20)
            fprintf(stderr, "  %zu bytes, allocated from %p\n", allocation->length, allocation->caller);
    }
    return count;
}

#define CALLER __builtin_return_address(0)

void *__wrap_malloc(size_t length)
{
    return note(__real_malloc(length), length, false, CALLER);
}

void *__wrap_calloc(size_t count, size_t length)
{
    return note(__real_calloc(count, length), count * length, false, CALLER);
}

void *__wrap_realloc(void *start, size_t length)
{
    void *moved = __real_realloc(start, length);
    if (!moved && length)
        return NULL;
    if (start)
        forget(start);
    return note(moved, length, false, CALLER);
}

void __wrap_free(void *start)
{
    if (start)
        forget(start);
    __real_free(start);
}

int __wrap_posix_memalign(void **start, size_t alignment, size_t length)
{
    int error = __real_posix_memalign(start, alignment, length);
    if (!error)
        note(*start, length, false, CALLER);
    return error;
}

char *__wrap_strdup(const char *text)
{
    return note(__real_strdup(text), strlen(text) + 1, false, CALLER);
}

char *__wrap_strndup(const char *text, size_t length)
{
    return note(__real_strndup(text, length), length + 1, false, CALLER);
}

int __wrap_vasprintf(char **text, const char *format, va_list arguments)
{
    int length = vasprintf(text, format, arguments);
    if (length >= 0)
        note(*text, (size_t)length + 1, false, CALLER);
    return length;
}

int __wrap_asprintf(char **text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = __real_vasprintf(text, format, arguments);
    va_end(arguments);
    if (length >= 0)
        note(*text, (size_t)length + 1, false, CALLER);
    return length;
}

char *__wrap_realpath(const char *path, char *resolved)
{
    char *result = __real_realpath(path, resolved);
    if (result && !resolved)
        note(result, strlen(result) + 1, false, CALLER);
    return result;
}

void *__wrap_mmap(void *start, size_t length, int protection, int flags, int fd, off_t offset)
{
    void *result = __real_mmap(start, length, protection, flags, fd, offset);
    return start && (flags & MAP_FIXED) ? result : note(result, length, true, CALLER);
}

int __wrap_munmap(void *start, size_t length)
{
    forget(start);
    return __real_munmap(start, length);
}
