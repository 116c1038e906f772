/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP over the simulated network: bytes arrive in order or not at all, and an end may be told late, or to one
 * side only. Addresses are of one host; the port alone counts.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "wraps.h"

enum { PORT_FIRST_FREE = 20000 };
/* A side that nothing reaches any more is told after so long: as control.c asks of the kernel, a little
 * less than the time that requests have, by the limits of cluster.c. */
#define KEEPALIVE_NS (3 * SIM_S)

/* One side of a connection. They stay until the world ends. */
struct stream {
    struct list_link link;
    struct descriptor *descriptor; /* NULL: not accepted yet, or closed */
    struct stream *other;          /* NULL: there is none yet */
    unsigned host;
    in_port_t port, other_port;
    bool is_connected, is_closed, is_cut;
    bool has_end; /* the other side has closed */
    int error;
    uint64_t arrival_ns; /* of the latest that is on its way to here */
    uint8_t *bytes;
    size_t length, begin, room;
};

struct listener {
    struct list_link link;
    struct descriptor *descriptor;
    unsigned host;
    in_port_t port;
    struct stream *waiting[64];
    unsigned waiting_count;
};

struct segment {
    struct stream *to;
    enum { SEGMENT_DATA, SEGMENT_END, SEGMENT_RESET, SEGMENT_ACCEPTED, SEGMENT_REFUSED } kind;
    size_t length;
    uint8_t bytes[];
};

static struct list streams, listeners;
static in_port_t port_next;

void sockets_begin(void)
{
    struct list_link *first;
    while (streams.head.next && (first = list_pop(&streams))) {
        struct stream *stream = list_item(first, struct stream, link);
        free(stream->bytes);
        free(stream);
    }
    list_init(&streams);
    list_init(&listeners);
    port_next = PORT_FIRST_FREE;
}

static struct stream *stream_new(unsigned host)
{
    struct process *process = world_enter();
    struct stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        abort();
    stream->host = host;
    list_push_back(&streams, &stream->link);
    world_leave(process);
    return stream;
}

static struct stream *stream_of(int fd)
{
    struct descriptor *descriptor = descriptor_of(fd);
    if (!descriptor || descriptor->kind != DESCRIPTOR_STREAM)
        sim_fail("%d is no stream", fd);
    return descriptor->stream;
}

uint32_t stream_events(const struct stream *stream)
{
    if (stream->error)
        return EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP;
    if (!stream->is_connected)
        return 0;
    return EPOLLOUT | (stream->begin < stream->length || stream->has_end ? EPOLLIN : 0u);
}

uint32_t listener_events(const struct listener *listener)
{
    return listener->waiting_count ? EPOLLIN : 0u;
}

static void notify(const struct stream *stream)
{
    if (stream->descriptor)
        descriptor_notify(stream->descriptor);
}

/* ---- what arrives ----------------------------------------------------------- */

static void stream_fail(struct stream *stream, int error)
{
    if (!stream->error)
        stream->error = error;
    notify(stream);
}

static void take_bytes(struct stream *stream, const uint8_t *bytes, size_t length)
{
    if (stream->length + length > stream->room) {
        stream->room = 2 * (stream->length + length);
        stream->bytes = realloc(stream->bytes, stream->room);
        if (!stream->bytes)
            abort();
    }
    memcpy(stream->bytes + stream->length, bytes, length);
    stream->length += length;
}

static void segment_send(struct stream *from, struct stream *to, int kind, const void *bytes, size_t length);

static void segment_arrives(void *arg)
{
    struct segment *segment = arg;
    struct stream *to = segment->to;
    if (to->is_closed) {
        if (segment->kind == SEGMENT_DATA && to->other)
            segment_send(to, to->other, SEGMENT_RESET, NULL, 0);
    } else if (segment->kind == SEGMENT_DATA) {
        take_bytes(to, segment->bytes, segment->length);
    } else if (segment->kind == SEGMENT_END) {
        to->has_end = true;
    } else if (segment->kind == SEGMENT_ACCEPTED) {
        to->is_connected = true;
    } else {
        stream_fail(to, segment->kind == SEGMENT_REFUSED ? ECONNREFUSED : ECONNRESET);
    }
    notify(to);
    free(segment);
}

static void segment_send(struct stream *from, struct stream *to, int kind, const void *bytes, size_t length)
{
    if (from->is_cut || to->is_cut)
        return;
    struct process *process = world_enter();
    struct segment *segment = malloc(sizeof *segment + length);
    if (!segment)
        abort();
    segment->to = to;
    segment->kind = kind;
    segment->length = length;
    if (length)
        memcpy(segment->bytes, bytes, length);
    uint64_t ns = weather_arrival(from->host, to->host);
    if (ns < to->arrival_ns)
        ns = to->arrival_ns;
    to->arrival_ns = ns;
    sim_at(ns, segment_arrives, segment);
    world_leave(process);
}

/* ---- connecting --------------------------------------------------------------- */

static struct listener *listener_find(in_port_t port)
{
    list_each(&listeners, each, after)
    {
        struct listener *listener = list_item(each, struct listener, link);
        if (listener->port == port)
            return listener;
    }
    return NULL;
}

static void call_arrives(void *arg)
{
    struct stream *caller = arg;
    struct listener *listener = listener_find(caller->other_port);
    if (caller->is_closed)
        return;
    if (!listener || listener->waiting_count == sizeof listener->waiting / sizeof listener->waiting[0]) {
        segment_send(caller, caller, SEGMENT_REFUSED, NULL, 0);
        return;
    }
    struct stream *called = stream_new(listener->host);
    called->other = caller;
    called->port = caller->other_port;
    called->other_port = caller->port;
    called->is_connected = true;
    caller->other = called;
    listener->waiting[listener->waiting_count++] = called;
    descriptor_notify(listener->descriptor);
    segment_send(called, caller, SEGMENT_ACCEPTED, NULL, 0);
}

static unsigned host_of(in_port_t port)
{
    const struct listener *listener = listener_find(port);
    return listener ? listener->host : 0;
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    struct stream *stream = stream_of(fd);
    (void)length;
    stream->other_port = ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
    stream->port = port_next++;
    sim_at(weather_arrival(stream->host, host_of(stream->other_port)), call_arrives, stream);
    errno = EINPROGRESS;
    return -1;
}

int __wrap_socket(int domain, int type, int protocol)
{
    (void)domain;
    (void)type;
    (void)protocol;
    struct descriptor *descriptor = descriptor_new(DESCRIPTOR_STREAM);
    descriptor->stream = stream_new(process_current->host);
    descriptor->stream->descriptor = descriptor;
    return descriptor->fd;
}

int __wrap_bind(int fd, const struct sockaddr *address, socklen_t length)
{
    struct stream *stream = stream_of(fd);
    (void)length;
    stream->port = ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
    if (!stream->port)
        stream->port = port_next++;
    if (!listener_find(stream->port))
        return 0;
    errno = EADDRINUSE;
    return -1;
}

int __wrap_listen(int fd, int backlog)
{
    struct descriptor *descriptor = descriptor_of(fd);
    struct stream *stream = stream_of(fd);
    struct process *process = world_enter();
    struct listener *listener = calloc(1, sizeof *listener);
    (void)backlog;
    if (!listener)
        abort();
    listener->descriptor = descriptor;
    listener->host = stream->host;
    listener->port = stream->port;
    list_push_back(&listeners, &listener->link);
    descriptor->kind = DESCRIPTOR_LISTENER;
    descriptor->listener = listener;
    stream->is_closed = true;
    stream->descriptor = NULL;
    world_leave(process);
    return 0;
}

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    struct listener *listener = descriptor_of(fd)->listener;
    (void)address;
    (void)length;
    (void)flags;
    if (!listener->waiting_count) {
        errno = EAGAIN;
        return -1;
    }
    struct stream *stream = listener->waiting[0];
    memmove(listener->waiting, listener->waiting + 1, --listener->waiting_count * sizeof(struct stream *));
    struct descriptor *descriptor = descriptor_new(DESCRIPTOR_STREAM);
    descriptor->stream = stream;
    stream->descriptor = descriptor;
    return descriptor->fd;
}

static void cut_noticed(void *arg)
{
    struct stream *stream = arg;
    if (!stream->is_closed)
        stream_fail(stream, ECONNRESET);
}

void stream_close(struct stream *stream, bool abruptly)
{
    stream->descriptor = NULL;
    stream->is_closed = true;
    if (stream->other && abruptly)
        sim_at(sim_now() + sim_below(KEEPALIVE_NS), cut_noticed, stream->other);
    else if (stream->other)
        segment_send(stream, stream->other, stream->begin < stream->length ? SEGMENT_RESET : SEGMENT_END,
                     NULL, 0);
}

void listener_close(struct listener *listener)
{
    for (unsigned i = 0; i < listener->waiting_count; i++)
        stream_close(listener->waiting[i], false);
    list_remove(&listener->link);
    free(listener);
}

/* ---- cuts --------------------------------------------------------------------- */

/* One side learns of it at once, the other later. */
static void stream_cut(struct stream *stream, uint64_t other_late_ns)
{
    struct stream *other = stream->other;
    stream->is_cut = other->is_cut = true;
    sim_at(sim_now() + sim_below(SIM_MS), cut_noticed, stream);
    sim_at(sim_now() + other_late_ns, cut_noticed, other);
}

static bool is_of(const struct stream *stream, const struct process *process)
{
    return stream->descriptor && stream->descriptor->process == process && stream->other && !stream->is_cut;
}

unsigned streams_cut(struct process *process, unsigned per_million)
{
    unsigned count = 0;
    list_each(&streams, each, after)
    {
        struct stream *stream = list_item(each, struct stream, link);
        if (!is_of(stream, process) || !sim_chance(per_million))
            continue;
        sim_trace("a connection of %s is cut", process->name);
        count++;
        const bool one_is_late = sim_chance(500000);
        stream_cut(sim_chance(500000) ? stream : stream->other,
                   sim_below(one_is_late ? KEEPALIVE_NS : SIM_MS));
    }
    return count;
}

void streams_cut_unnoticed(struct process *process)
{
    list_each(&streams, each, after)
    {
        struct stream *stream = list_item(each, struct stream, link);
        if (is_of(stream, process))
            stream_cut(stream, KEEPALIVE_NS);
    }
}

/* ---- bytes ---------------------------------------------------------------------- */

ssize_t __wrap_send(int fd, const void *buffer, size_t length, int flags)
{
    struct stream *stream = stream_of(fd);
    (void)flags;
    fiber_pause();
    if (stream->error || stream->has_end) {
        errno = stream->error ? stream->error : EPIPE;
        return -1;
    }
    segment_send(stream, stream->other, SEGMENT_DATA, buffer, length);
    return (ssize_t)length;
}

ssize_t __wrap_recv(int fd, void *buffer, size_t length, int flags)
{
    struct stream *stream = stream_of(fd);
    (void)flags;
    fiber_pause();
    size_t have = stream->length - stream->begin;
    if (have > length)
        have = length;
    if (have) {
        memcpy(buffer, stream->bytes + stream->begin, have);
        stream->begin += have;
        return (ssize_t)have;
    }
    if (stream->error) {
        errno = stream->error;
        return -1;
    }
    if (stream->has_end)
        return 0;
    errno = EAGAIN;
    return -1;
}

/* ---- names and options ------------------------------------------------------------- */

int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
    const int error = stream_of(fd)->error;
    (void)level;
    if (option != SO_ERROR || *length < sizeof error)
        sim_fail("an option of a socket that the simulation has not");
    memcpy(value, &error, sizeof error);
    return 0;
}

int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
    (void)fd;
    (void)level;
    (void)option;
    (void)value;
    (void)length;
    return 0;
}

static int name_put(in_port_t port, struct sockaddr *address, socklen_t *length)
{
    const struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    memcpy(address, &name, *length < sizeof name ? *length : sizeof name);
    *length = sizeof name;
    return 0;
}

int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
    const struct descriptor *descriptor = descriptor_of(fd);
    return name_put(descriptor->kind == DESCRIPTOR_LISTENER ? descriptor->listener->port
                                                            : descriptor->stream->port,
                    address, length);
}

int __wrap_getpeername(int fd, struct sockaddr *address, socklen_t *length)
{
    const struct stream *stream = stream_of(fd);
    if (stream->is_connected)
        return name_put(stream->other_port, address, length);
    errno = ENOTCONN;
    return -1;
}

struct named {
    struct addrinfo info;
    struct sockaddr_in address;
};

int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **info)
{
    struct named *named = calloc(1, sizeof *named);
    (void)host;
    (void)hints;
    if (!named)
        return EAI_MEMORY;
    socklen_t length = sizeof named->address;
    name_put((in_port_t)strtoul(port, NULL, 10), (struct sockaddr *)&named->address, &length);
    named->info = (struct addrinfo){.ai_family = AF_INET,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_addrlen = length,
                                    .ai_addr = (struct sockaddr *)&named->address};
    *info = &named->info;
    return 0;
}

void __wrap_freeaddrinfo(struct addrinfo *info)
{
    free(info);
}
