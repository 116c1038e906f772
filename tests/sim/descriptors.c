/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors. Those of files are the kernel's, and noted, so that they end with their process; all others
 * are made here, and have numbers that the kernel never gives. A thread that waits in poll() looks again
 * whenever anything of its process may have become ready.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sim.h"
#include "wraps.h"

enum { NUMBER_FIRST = 1000000, DESCRIPTORS_MAX = 4096 };

struct epoll_entry {
    int fd;
    uint32_t events;
    epoll_data_t data;
};

static struct descriptor *table[DESCRIPTORS_MAX];
static int table_end; /* nothing was ever behind it */

void descriptors_begin(void)
{
    memset(table, 0, sizeof table);
    table_end = 0;
}

static struct descriptor *note_new(enum descriptor_kind kind)
{
    struct process *process = world_enter();
    struct descriptor *descriptor = calloc(1, sizeof *descriptor);
    if (!descriptor)
        abort();
    descriptor->kind = kind;
    descriptor->process = process;
    list_link_init(&descriptor->link);
    if (process)
        list_push_back(&process->descriptors, &descriptor->link);
    world_leave(process);
    return descriptor;
}

struct descriptor *descriptor_new(enum descriptor_kind kind)
{
    struct descriptor *descriptor = note_new(kind);
    int at = 0;
    while (at < DESCRIPTORS_MAX && table[at])
        at++;
    if (at == DESCRIPTORS_MAX)
        sim_fail("out of descriptors");
    if (at == table_end)
        table_end++;
    table[at] = descriptor;
    descriptor->fd = NUMBER_FIRST + at;
    return descriptor;
}

struct descriptor *descriptor_of(int fd)
{
    return fd >= NUMBER_FIRST && fd < NUMBER_FIRST + DESCRIPTORS_MAX ? table[fd - NUMBER_FIRST] : NULL;
}

/* ---- what is ready ---------------------------------------------------------- */

static uint32_t events_of(const struct descriptor *descriptor);

static uint32_t epoll_events(const struct descriptor *epoll)
{
    for (unsigned i = 0; i < epoll->entry_count; i++) {
        const struct descriptor *of = descriptor_of(epoll->entries[i].fd);
        if (of && events_of(of) & (epoll->entries[i].events | EPOLLHUP | EPOLLERR))
            return EPOLLIN;
    }
    return 0;
}

static uint32_t events_of(const struct descriptor *descriptor)
{
    switch (descriptor->kind) {
    case DESCRIPTOR_EPOLL:
        return epoll_events(descriptor);
    case DESCRIPTOR_EVENT:
        return EPOLLOUT | (descriptor->count ? EPOLLIN : 0u);
    case DESCRIPTOR_TIMER:
        return descriptor->count ? EPOLLIN : 0u;
    case DESCRIPTOR_LISTENER:
        return listener_events(descriptor->listener);
    case DESCRIPTOR_STREAM:
        return stream_events(descriptor->stream);
    case DESCRIPTOR_FILE:
        break;
    }
    return EPOLLIN | EPOLLOUT;
}

void descriptor_notify(struct descriptor *descriptor)
{
    if (descriptor->process)
        fiber_wake_all(&descriptor->process->poll_key);
}

/* ---- the end ---------------------------------------------------------------- */

void descriptor_close(struct descriptor *descriptor, bool abruptly)
{
    struct process *process = world_enter();
    if (descriptor->kind != DESCRIPTOR_FILE) {
        for (int i = 0; i < table_end; i++) {
            struct descriptor *epoll = table[i];
            for (unsigned k = 0; epoll && epoll->kind == DESCRIPTOR_EPOLL && k < epoll->entry_count; k++)
                if (epoll->entries[k].fd == descriptor->fd)
                    epoll->entries[k--] = epoll->entries[--epoll->entry_count];
        }
        table[descriptor->fd - NUMBER_FIRST] = NULL;
    }
    if (descriptor->kind == DESCRIPTOR_FILE)
        __real_close(descriptor->fd);
    else if (descriptor->kind == DESCRIPTOR_STREAM)
        stream_close(descriptor->stream, abruptly);
    else if (descriptor->kind == DESCRIPTOR_LISTENER)
        listener_close(descriptor->listener);
    list_remove(&descriptor->link);
    free(descriptor->entries);
    free(descriptor);
    world_leave(process);
}

void descriptors_release(struct process *process, bool abruptly)
{
    struct list_link *first;
    while ((first = list_first(&process->descriptors)))
        descriptor_close(list_item(first, struct descriptor, link), abruptly);
}

size_t descriptors_left(const struct process *process, bool show)
{
    static const char *const kinds[] = {"file", "epoll", "eventfd", "timerfd", "listener", "stream"};
    size_t count = 0;
    list_each(&process->descriptors, each, after)
    {
        const struct descriptor *descriptor = list_item(each, struct descriptor, link);
        count++;
        if (show)
            fprintf(stderr, "  descriptor %d (%s)\n", descriptor->fd, kinds[descriptor->kind]);
    }
    return count;
}

/* A noted one of the process that is running, or NULL. */
static struct descriptor *file_find(int fd)
{
    if (!process_current)
        return NULL;
    list_each(&process_current->descriptors, each, after)
    {
        struct descriptor *file = list_item(each, struct descriptor, link);
        if (file->kind == DESCRIPTOR_FILE && file->fd == fd)
            return file;
    }
    return NULL;
}

int __wrap_close(int fd)
{
    struct descriptor *descriptor = descriptor_of(fd);
    if (!descriptor)
        descriptor = file_find(fd);
    if (!descriptor)
        return __real_close(fd);
    descriptor_close(descriptor, false);
    return 0;
}

int __wrap_closedir(DIR *dir)
{
    struct descriptor *file = file_find(dirfd(dir));
    if (file) {
        struct process *process = world_enter();
        list_remove(&file->link);
        free(file);
        world_leave(process);
    }
    return __real_closedir(dir);
}

/* ---- files ------------------------------------------------------------------ */

static int file_noted(int fd)
{
    if (fd >= 0 && process_current)
        note_new(DESCRIPTOR_FILE)->fd = fd;
    return fd;
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return file_noted(__real_open(path, flags, mode));
}

int __wrap_openat(int directory, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return file_noted(__real_openat(directory, path, flags, mode));
}

/* The space behind a file is nothing that is tested here, and costs time. */
int __wrap_fallocate(int fd, int mode, off_t offset, off_t length)
{
    (void)mode;
    return ftruncate(fd, offset + length);
}

int __wrap_fstatvfs(int fd, struct statvfs *fs)
{
    (void)fd;
    *fs = (struct statvfs){.f_bsize = 4096, .f_frsize = 4096, .f_blocks = 1u << 20, .f_bavail = 1u << 19};
    return 0;
}

/* ---- events and timers --------------------------------------------------------- */

int __wrap_eventfd(unsigned value, int flags)
{
    (void)flags;
    struct descriptor *descriptor = descriptor_new(DESCRIPTOR_EVENT);
    descriptor->count = value;
    return descriptor->fd;
}

/* No signals come. */
int __wrap_signalfd(int fd, const sigset_t *set, int flags)
{
    (void)set;
    return fd >= 0 ? fd : __wrap_eventfd(0, flags);
}

int __wrap_timerfd_create(int clock, int flags)
{
    (void)clock;
    (void)flags;
    return descriptor_new(DESCRIPTOR_TIMER)->fd;
}

struct alarm {
    int fd;
    uint64_t serial;
};

static void timer_arm(struct descriptor *timer);

static void timer_due(void *arg)
{
    struct alarm alarm = *(struct alarm *)arg;
    struct descriptor *timer = descriptor_of(alarm.fd);
    free(arg);
    if (!timer || timer->kind != DESCRIPTOR_TIMER || timer->timer_serial != alarm.serial)
        return;
    timer->count++;
    timer->due_ns = timer->interval_ns ? timer->due_ns + timer->interval_ns : 0;
    descriptor_notify(timer);
    timer_arm(timer);
}

static void timer_arm(struct descriptor *timer)
{
    static uint64_t serial;
    struct process *process = world_enter();
    timer->timer_serial = ++serial;
    if (timer->due_ns) {
        struct alarm *alarm = malloc(sizeof *alarm);
        if (!alarm)
            abort();
        *alarm = (struct alarm){timer->fd, timer->timer_serial};
        sim_at(timer->due_ns, timer_due, alarm);
    }
    world_leave(process);
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *value, struct itimerspec *before)
{
    struct descriptor *timer = descriptor_of(fd);
    (void)before;
    if (!timer || flags)
        sim_fail("a timer is set in a way that the simulation has not");
    const uint64_t first = (uint64_t)value->it_value.tv_sec * SIM_S + (uint64_t)value->it_value.tv_nsec;
    timer->interval_ns = (uint64_t)value->it_interval.tv_sec * SIM_S + (uint64_t)value->it_interval.tv_nsec;
    timer->due_ns = first ? sim_now() + first : 0;
    timer->count = 0;
    timer_arm(timer);
    return 0;
}

static ssize_t count_read(struct descriptor *descriptor, void *buffer)
{
    if (!descriptor->count) {
        errno = EAGAIN;
        return -1;
    }
    memcpy(buffer, &descriptor->count, sizeof descriptor->count);
    descriptor->count = 0;
    return sizeof descriptor->count;
}

ssize_t __wrap_read(int fd, void *buffer, size_t length)
{
    struct descriptor *descriptor = descriptor_of(fd);
    if (!descriptor)
        return __real_read(fd, buffer, length);
    if (descriptor->kind == DESCRIPTOR_STREAM)
        return __wrap_recv(fd, buffer, length, 0);
    return count_read(descriptor, buffer);
}

ssize_t __wrap_write(int fd, const void *buffer, size_t length)
{
    struct descriptor *descriptor = descriptor_of(fd);
    if (!descriptor)
        return __real_write(fd, buffer, length);
    if (descriptor->kind == DESCRIPTOR_STREAM)
        return __wrap_send(fd, buffer, length, 0);
    uint64_t more;
    memcpy(&more, buffer, sizeof more);
    descriptor->count += more;
    descriptor_notify(descriptor);
    return sizeof more;
}

/* ---- epoll and poll --------------------------------------------------------------- */

int __wrap_epoll_create1(int flags)
{
    (void)flags;
    return descriptor_new(DESCRIPTOR_EPOLL)->fd;
}

static struct epoll_entry *entry_find(struct descriptor *epoll, int fd)
{
    for (unsigned i = 0; i < epoll->entry_count; i++)
        if (epoll->entries[i].fd == fd)
            return &epoll->entries[i];
    return NULL;
}

static struct epoll_entry *entry_new(struct descriptor *epoll)
{
    struct process *process = world_enter();
    if (epoll->entry_count == epoll->entry_room) {
        epoll->entry_room += 16;
        epoll->entries = realloc(epoll->entries, epoll->entry_room * sizeof *epoll->entries);
        if (!epoll->entries)
            abort();
    }
    world_leave(process);
    return &epoll->entries[epoll->entry_count++];
}

int __wrap_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
    struct descriptor *epoll = descriptor_of(epoll_fd);
    if (!epoll || !descriptor_of(fd))
        sim_fail("epoll_ctl with descriptors that the simulation does not know");
    struct epoll_entry *entry = entry_find(epoll, fd);
    if ((operation == EPOLL_CTL_ADD) == (entry != NULL)) {
        errno = entry ? EEXIST : ENOENT;
        return -1;
    }
    if (operation == EPOLL_CTL_DEL) {
        *entry = epoll->entries[--epoll->entry_count];
        return 0;
    }
    if (!entry)
        entry = entry_new(epoll);
    *entry = (struct epoll_entry){fd, event->events, event->data};
    descriptor_notify(epoll);
    return 0;
}

/* Begins anywhere, as the order in which the kernel tells is nothing to rely on. */
static int epoll_collect(const struct descriptor *epoll, struct epoll_event *events, int room)
{
    const unsigned from = epoll->entry_count > 1 ? (unsigned)sim_below(epoll->entry_count) : 0;
    int count = 0;
    for (unsigned i = 0; i < epoll->entry_count && count < room; i++) {
        const struct epoll_entry *entry = &epoll->entries[(from + i) % epoll->entry_count];
        const struct descriptor *of = descriptor_of(entry->fd);
        const uint32_t ready = of ? events_of(of) & (entry->events | EPOLLHUP | EPOLLERR) : 0;
        if (ready)
            events[count++] = (struct epoll_event){.events = ready, .data = entry->data};
    }
    return count;
}

static uint64_t deadline_of(int timeout_ms)
{
    return timeout_ms < 0 ? UINT64_MAX : sim_now() + (uint64_t)timeout_ms * SIM_MS;
}

int __wrap_epoll_wait(int fd, struct epoll_event *events, int room, int timeout_ms)
{
    const struct descriptor *epoll = descriptor_of(fd);
    const uint64_t deadline = deadline_of(timeout_ms);
    int count;
    while (!(count = epoll_collect(epoll, events, room)) && timeout_ms)
        if (!fiber_wait(&process_current->poll_key, deadline, "epoll"))
            return 0;
    return count;
}

static int poll_collect(struct pollfd *fds, nfds_t count)
{
    int ready = 0;
    for (nfds_t i = 0; i < count; i++) {
        const struct descriptor *of = fds[i].fd < 0 ? NULL : descriptor_of(fds[i].fd);
        if (fds[i].fd >= 0 && !of)
            sim_fail("poll of a descriptor that the simulation does not know");
        const uint32_t wanted = (fds[i].events & POLLIN ? EPOLLIN : 0u) |
                                (fds[i].events & POLLOUT ? EPOLLOUT : 0u) | EPOLLHUP | EPOLLERR;
        const uint32_t is = of ? events_of(of) & wanted : 0;
        fds[i].revents = (short)((is & EPOLLIN ? POLLIN : 0) | (is & EPOLLOUT ? POLLOUT : 0) |
                                 (is & EPOLLHUP ? POLLHUP : 0) | (is & EPOLLERR ? POLLERR : 0));
        ready += is != 0;
    }
    return ready;
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    const uint64_t deadline = deadline_of(timeout_ms);
    int ready;
    while (!(ready = poll_collect(fds, count)) && timeout_ms)
        if (!fiber_wait(&process_current->poll_key, deadline, "poll"))
            return 0;
    return ready;
}
