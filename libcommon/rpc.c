/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "err.h"
#include "log.h"
#include "rpc_internal.h"

#define MS UINT64_C(1000000)
/* How long a wait yields before it sleeps. With ranks and servers on shared
 * cores, yielding for about 50 us and then blocking was the fastest of all that
 * was measured (docs/performance.md). */
#define YIELD_NS UINT64_C(50000)
/* How often the sockets are looked at while there is other work. */
#define POLL_NS  UINT64_C(100000)

uint64_t rpc_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void rpc_due(struct rpc *rpc, uint64_t ns)
{
    if (ns < rpc->due_ns)
        rpc->due_ns = ns;
}

int rpc_poll_set(struct rpc *rpc, int operation, int fd, uint32_t events, enum event_kind kind,
                 uint32_t index)
{
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)kind << 32 | index};
    if (epoll_ctl(rpc->epoll_fd, operation, fd, &event))
        return err_sys("epoll_ctl");
    return 0;
}

/* ---- messages ------------------------------------------------------------------- */

void rpc_refuse_message(struct rpc *rpc, const char *who, const char *why)
{
    uint64_t now = rpc_now_ns();
    rpc_count(rpc, COUNT_MESSAGES_REFUSED, 1);
    if (now - rpc->refused_logged_ns < 1000 * MS)
        return;
    rpc->refused_logged_ns = now;
    log_warn("refused a message from %s: %s", who, why);
}

/* Whose it was can be told as long as its connection's number is whole; else the request that it was, or
 * answered, waits until its deadline. */
static bool header_is_whole(struct rpc *rpc, const struct transport_message *message)
{
    if (rpc_header_is_whole(message->header, message->header_length))
        return true;
    struct rpc_link *link = rpc_link_by_token(rpc, rpc_header_token(message->header, message->header_length));
    if (link) {
        rpc_count(rpc, COUNT_MESSAGES_DAMAGED, 1);
        rpc_link_fail(link, err_set(-EBADMSG, "%s: a message's header was damaged on its way",
                                    link->control.peer_name));
    } else {
        rpc_refuse_message(rpc, "an unknown peer", "it is no Weft message, or was damaged on its way");
    }
    return false;
}

void rpc_message_came(struct rpc_road *road, const struct transport_message *message)
{
    struct rpc *rpc = road->rpc;
    struct wire_envelope envelope;
    rpc_count(rpc, COUNT_BYTES_WIRE_RECEIVED, message->header_length + message->payload_length);

    struct wire_reader reader = wire_reader_on(message->header, message->header_length);
    wire_get_envelope(&reader, &envelope);
    if (!header_is_whole(rpc, message)) {
        road->transport->release(message);
        return;
    }
    bool in_payload = envelope.flags & WIRE_BODY_IN_PAYLOAD;
    size_t inline_length = (size_t)(reader.end - reader.at);
    const char *problem = NULL;
    struct rpc_link *link = NULL;
    if (reader.bad || envelope.magic != WIRE_MAGIC)
        problem = "it is no Weft message";
    else if (envelope.payload_length != message->payload_length)
        problem = "its payload is not as long as it says";
    else if (in_payload ? inline_length != 0 || envelope.body_length > envelope.payload_length
                        : inline_length != envelope.body_length)
        problem = "its body is not as long as it says";
    else if (!(link = rpc_link_by_token(rpc, envelope.token)) || link->road != road)
        problem = "its connection is not open";
    if (problem) {
        rpc_refuse_message(rpc, "an unknown peer", problem);
        road->transport->release(message);
        return;
    }
    if (envelope.kind == WIRE_REPLY && link->connection) {
        rpc_reply_came(link->connection, &envelope, message);
    } else if (envelope.kind == WIRE_REQUEST && link->served) {
        rpc_request_came(link->served, &envelope, message);
    } else {
        rpc_refuse_message(rpc, link->control.peer_name, "it is of the wrong kind for its connection");
        road->transport->release(message);
    }
}

size_t rpc_header_make(const struct rpc *rpc, struct wire_envelope *envelope, const void *body,
                       size_t body_length, uint8_t header[LIMITS_HEADER_MAX], struct iovec *iov,
                       size_t *iov_count, const struct iovec *payload, size_t payload_count)
{
    bool in_payload = body_length > LIMITS_BODY_INLINE_MAX;
    const bool known = envelope->flags & WIRE_PAYLOAD_CRC && !in_payload;
    *iov_count = 0;
    envelope->magic = WIRE_MAGIC;
    envelope->body_length = (uint32_t)body_length;
    envelope->flags = (envelope->flags & WIRE_REPEATABLE) | (in_payload ? WIRE_BODY_IN_PAYLOAD : 0);
    envelope->payload_length = 0;
    if (in_payload)
        iov[(*iov_count)++] = (struct iovec){.iov_base = (void *)body, .iov_len = body_length};
    for (size_t i = 0; i < payload_count; i++)
        iov[(*iov_count)++] = payload[i];
    for (size_t i = 0; i < *iov_count; i++)
        envelope->payload_length += iov[i].iov_len;
    if (envelope->payload_length && rpc->config.conf->wire_checksums) {
        envelope->flags |= WIRE_PAYLOAD_CRC;
        if (!known)
            envelope->payload_crc = rpc_payload_crc(iov, *iov_count);
    }
    size_t length = (size_t)wire_encode_envelope(header, LIMITS_HEADER_MAX, envelope);
    if (!in_payload && body_length) {
        memcpy(header + length, body, body_length);
        length += body_length;
    }
    rpc_header_sum(header, length);
    return length;
}

/* ---- the loop ----------------------------------------------------------------------- */

static void drain_wake(struct rpc *rpc)
{
    uint64_t count;
    while (read(rpc->wake_fd, &count, sizeof count) > 0)
        ;
}

static void event_handle(struct rpc *rpc, uint64_t what)
{
    uint32_t index = (uint32_t)what;
    switch ((enum event_kind)(what >> 32)) {
    case EVENT_WAKE:
        drain_wake(rpc);
        break;
    case EVENT_TRANSPORT: /* the next progress sees to it */
        break;
    case EVENT_LISTENER:
        rpc_link_accept(rpc);
        break;
    case EVENT_LINK:
        if (index < rpc->link_count && rpc->links[index])
            rpc_link_progress(rpc->links[index]);
        break;
    case EVENT_WATCH:
        if (rpc->watches[index].fd >= 0)
            rpc->watches[index].fn(rpc->watches[index].arg);
        break;
    }
}

static unsigned poll_sockets(struct rpc *rpc, int timeout_ms)
{
    struct epoll_event events[64];
    int count = epoll_wait(rpc->epoll_fd, events, 64, timeout_ms);
    unsigned handled = 0;
    for (int i = 0; i < count; i++) {
        event_handle(rpc, events[i].data.u64);
        /* The transport's own descriptor may stay readable: that alone is no event. */
        handled += events[i].data.u64 >> 32 != EVENT_TRANSPORT;
    }
    rpc->polled_ns = rpc_now_ns();
    rpc->sockets_due = false;
    return handled;
}

/* Breaks handshakes that take too long, runs timers, and looks at deadlines. Returns how often somebody was
 * told: who waits may have something else to do by then. */
static unsigned tick(struct rpc *rpc, uint64_t now)
{
    unsigned count = 0;
    rpc->due_ns = UINT64_MAX;
    for (uint32_t i = 0; i < rpc->link_count; i++) {
        struct rpc_link *link = rpc->links[i];
        if (!link || link->broken || link->control.state == CONTROL_OPEN)
            continue;
        if (now >= link->control.deadline_ns)
            rpc_link_fail(link, err_set(-ETIMEDOUT, "%s did not finish the handshake in time",
                                        link->control.peer_name));
        else
            rpc_due(rpc, link->control.deadline_ns);
    }
    for (uint32_t i = 0; i < rpc->timer_count; i++) {
        struct rpc_timer *timer = &rpc->timers[i];
        if (now >= timer->due_ns) {
            timer->due_ns = now + timer->interval_ns;
            timer->fn(timer->arg);
            count++;
        }
        rpc_due(rpc, timer->due_ns);
    }
    count += rpc_calls_tick(rpc, now);
    return count + rpc_suspicion_tick(rpc, now);
}

unsigned rpc_progress(struct rpc *rpc)
{
    uint64_t now = rpc_now_ns();
    unsigned count = 0, ticked = 0;
    /* The sockets come first: what a peer sent before it went away must not be
     * served after that is known, least of all by a server that was stopped for a
     * while, since the memory behind a request may hold something else by now. */
    if (rpc->sockets_due || now - rpc->polled_ns >= POLL_NS)
        count += poll_sockets(rpc, 0);
    count += rpc_links_break_due(rpc);
    count += rpc_roads_progress(rpc);
    /* Deadlines come last: an answer that is here is an answer, however late it is looked at. */
    if (now >= rpc->due_ns)
        ticked = tick(rpc, now);
    count += rpc_links_break_due(rpc);
    count += rpc_sent_run(rpc);
    if (count) /* the time that passes moves no road */
        rpc_roads_moved(rpc);
    return count + ticked;
}

static int sleep_ms(struct rpc *rpc, uint64_t now, int timeout_ms)
{
    if (rpc->due_ns == UINT64_MAX)
        return timeout_ms;
    uint64_t left_ms = rpc->due_ns <= now ? 0 : (rpc->due_ns - now + MS - 1) / MS;
    if (left_ms > 3600 * 1000)
        left_ms = 3600 * 1000;
    return timeout_ms >= 0 && (uint64_t)timeout_ms < left_ms ? timeout_ms : (int)left_ms;
}

int rpc_sleep_begin(struct rpc *rpc, int *timeout_ms)
{
    uint64_t now = rpc_now_ns();
    if (!list_empty(&rpc->broken) || !list_empty(&rpc->sent_due) || now >= rpc->due_ns)
        return -EAGAIN;
    int armed = rpc_roads_arm(rpc, now);
    if (armed == -EAGAIN)
        return armed;
    *timeout_ms = sleep_ms(rpc, now, armed ? 1 : -1);
    rpc->sleeping = true;
    rpc_count(rpc, COUNT_SLEEPS, 1);
    return rpc->epoll_fd;
}

void rpc_sleep_end(struct rpc *rpc)
{
    rpc->sleeping = false;
    rpc->sockets_due = true;
    rpc_count(rpc, COUNT_WAKEUPS, 1);
}

unsigned rpc_wait(struct rpc *rpc, int timeout_ms)
{
    uint64_t start = rpc_now_ns();
    uint64_t end = timeout_ms < 0 ? UINT64_MAX : start + (uint64_t)timeout_ms * MS;
    for (;;) {
        uint64_t now;
        do {
            unsigned count = rpc_progress(rpc);
            now = rpc_now_ns();
            if (count || now >= end)
                return count;
            sched_yield();
        } while (now - start < YIELD_NS);

        int limit_ms;
        int fd = rpc_sleep_begin(rpc, &limit_ms);
        if (fd < 0)
            continue;
        int left_ms = end == UINT64_MAX ? -1 : (int)((end - now + MS - 1) / MS);
        if (limit_ms < 0 || (left_ms >= 0 && left_ms < limit_ms))
            limit_ms = left_ms;
        struct pollfd pollfd = {.fd = fd, .events = POLLIN};
        poll(&pollfd, 1, limit_ms);
        rpc_sleep_end(rpc);
        start = rpc_now_ns();
    }
}

void rpc_wake(struct rpc *rpc)
{
    uint64_t one = 1;
    ssize_t written = write(rpc->wake_fd, &one, sizeof one);
    (void)written; /* full: it is awake already */
}

int rpc_every(struct rpc *rpc, uint32_t interval_ms, void (*fn)(void *arg), void *arg)
{
    if (rpc->timer_count == TIMERS_MAX)
        return err_set(-ENOSPC, "more than %u timers", TIMERS_MAX);
    rpc->timers[rpc->timer_count++] = (struct rpc_timer){
        .due_ns = rpc_now_ns() + interval_ms * MS,
        .interval_ns = interval_ms * MS,
        .fn = fn,
        .arg = arg,
    };
    rpc_due(rpc, rpc_now_ns() + interval_ms * MS);
    return 0;
}

int rpc_watch(struct rpc *rpc, int fd, void (*fn)(void *arg), void *arg)
{
    for (uint32_t i = 0; i < WATCHES_MAX; i++) {
        if (rpc->watches[i].fd >= 0)
            continue;
        rpc->watches[i] = (struct rpc_watch){.fd = fd, .fn = fn, .arg = arg};
        return rpc_poll_set(rpc, EPOLL_CTL_ADD, fd, EPOLLIN, EVENT_WATCH, i);
    }
    return err_set(-ENOSPC, "more than %u watches", WATCHES_MAX);
}

void rpc_unwatch(struct rpc *rpc, int fd)
{
    for (uint32_t i = 0; i < WATCHES_MAX; i++)
        if (rpc->watches[i].fd == fd) {
            epoll_ctl(rpc->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
            rpc->watches[i].fd = -1;
        }
}

/* ---- opening and closing -------------------------------------------------------------- */

int rpc_listen(struct rpc *rpc, const char *address, char bound[LIMITS_ADDRESS_MAX + 1])
{
    int fd = control_listen(address, bound);
    if (fd < 0)
        return fd;
    int error = rpc_poll_set(rpc, EPOLL_CTL_ADD, fd, EPOLLIN, EVENT_LISTENER, 0);
    if (error) {
        close(fd);
        return error;
    }
    rpc->listen_fd = fd;
    return 0;
}

static int self_make(struct rpc *rpc)
{
    struct control_self *self = &rpc->self;
    if (sodium_init() < 0)
        return err_set(-EIO, "libsodium can't start");
    randombytes_buf(self->client, sizeof self->client);
    self->role = rpc->config.role;
    self->name = rpc->config.name;
    self->transports = rpc->transports;
    self->transport = rpc_road_choose;
    self->arg = rpc;
    return control_host_identity(self->host);
}

static int descriptors_make(struct rpc *rpc)
{
    rpc->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    rpc->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (rpc->epoll_fd < 0 || rpc->wake_fd < 0)
        return err_sys("making descriptors for the event loop");
    return rpc_poll_set(rpc, EPOLL_CTL_ADD, rpc->wake_fd, EPOLLIN, EVENT_WAKE, 0);
}

static void rpc_free(struct rpc *rpc)
{
    if (rpc->bodies)
        bufpool_close(rpc->bodies);
    if (rpc->epoll_fd >= 0)
        close(rpc->epoll_fd);
    if (rpc->wake_fd >= 0)
        close(rpc->wake_fd);
    if (rpc->listen_fd >= 0)
        close(rpc->listen_fd);
    free(rpc->links);
    free(rpc->counters);
    free(rpc);
}

int rpc_open(const struct rpc_config *config, struct rpc **out)
{
    struct rpc *rpc = calloc(1, sizeof *rpc);
    if (!rpc)
        return err_set(-ENOMEM, "out of memory for an rpc");
    rpc->config = *config;
    rpc->epoll_fd = rpc->wake_fd = rpc->listen_fd = -1;
    rpc->next_id = 1;
    rpc->due_ns = UINT64_MAX;
    list_init(&rpc->memories);
    list_init(&rpc->broken);
    list_init(&rpc->connections);
    list_init(&rpc->peers);
    list_init(&rpc->requests);
    list_init(&rpc->sent_due);
    for (uint32_t i = 0; i < WATCHES_MAX; i++)
        rpc->watches[i].fd = -1;

    int error = rpc_counters_make(rpc);
    if (!error && config->service)
        error = bufpool_open(NULL, 8 * (size_t)LIMITS_PAYLOAD_MAX, LIMITS_PAYLOAD_MAX, &rpc->bodies);
    if (!error)
        error = rpc_roads_make(rpc, config->conf->transport);
    if (!error)
        error = self_make(rpc);
    if (!error)
        error = descriptors_make(rpc);
    if (!error)
        error = rpc_road_open(&rpc->roads[0]);
    if (error) {
        rpc_free(rpc);
        return error;
    }
    *out = rpc;
    return 0;
}

void rpc_close(struct rpc *rpc)
{
    rpc->closing = true;
    rpc_calls_cancel(rpc);
    for (uint32_t i = 0; i < rpc->link_count; i++)
        if (rpc->links[i]) {
            err_set(-ECONNRESET, "this process is ending the connection");
            rpc_link_break(rpc->links[i], -ECONNRESET);
        }
    for (int turn = 0; turn < 100; turn++)
        if (!(rpc_roads_progress(rpc) + rpc_sent_run(rpc)))
            break;
    for (unsigned i = 0; i < rpc->road_count; i++)
        rpc_road_close(&rpc->roads[i]);
    rpc_requests_drop(rpc);
    rpc_free(rpc);
}
