/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport_sim: messages between workers of the simulation. It keeps what transport.h promises, and does
 * on purpose what that leaves open: messages overtake each other, arrive after their sender has gone, and
 * payloads are fetched late. Lost, doubled and damaged messages are beyond that contract; see faults.c.
 *
 * All of it is the world's memory: what is under way outlives both processes.
 */
#include "transport.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "sim.h"
#include "weft_limits.h"
#include "wraps.h"

struct transport_worker {
    struct list_link link, link_in_process;
    struct process *process;
    unsigned host;
    uint64_t id; /* its address */
    const struct transport_events *events;
    void *arg;
    int fd;
    struct list peers;
    struct list inbox;      /* parcels that have arrived */
    struct list held;       /* those whose payload was neither taken nor given up yet */
    struct list operations; /* under way */
    struct list ended;      /* whose callbacks are due */
};

struct transport_peer {
    struct list_link link;
    struct transport_worker *worker;
    uint64_t remote; /* its worker's id */
    void *arg;
    int failed; /* to be told */
};

struct transport_memory {
    char nothing;
};

/* A send or a receive, until its callback has run. */
struct operation {
    struct list_link link;
    struct transport_worker *worker;
    struct transport_peer *peer; /* of a send */
    uint64_t id, remote;
    transport_done_fn *done;
    void *arg;
    int status;
    struct iovec *pieces; /* of a send: where the payload lies */
    size_t piece_count;
    uint8_t *buffer; /* of a receive */
    struct parcel *parcel;
};

/* A message on its way, and until its payload was taken. */
struct parcel {
    struct list_link link;
    uint64_t from, to, operation; /* of the sender, when the payload is still with him */
    size_t header_length, payload_length;
    bool is_here;
    bool damage; /* the payload, when it is fetched */
    uint8_t *payload;
    uint8_t header[];
};

static struct list workers;
static uint64_t next_id;

void wire_begin(void)
{
    list_init(&workers);
    next_id = 1;
}

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static struct transport_worker *worker_by_id(uint64_t id)
{
    list_each(&workers, each, after)
    {
        struct transport_worker *worker = list_item(each, struct transport_worker, link);
        if (worker->id == id)
            return worker;
    }
    return NULL;
}

static void ring(struct transport_worker *worker)
{
    struct descriptor *descriptor = descriptor_of(worker->fd);
    descriptor->count = 1;
    descriptor_notify(descriptor);
}

/* ---- operations --------------------------------------------------------------- */

static struct operation *operation_new(struct transport_worker *worker, transport_done_fn *done, void *arg)
{
    struct operation *operation = must(calloc(1, sizeof *operation));
    operation->worker = worker;
    operation->id = next_id++;
    operation->done = done;
    operation->arg = arg;
    list_push_back(&worker->operations, &operation->link);
    return operation;
}

static struct operation *operation_find(uint64_t worker_id, uint64_t id)
{
    struct transport_worker *worker = worker_by_id(worker_id);
    if (!worker)
        return NULL;
    list_each(&worker->operations, each, after)
    {
        struct operation *operation = list_item(each, struct operation, link);
        if (operation->id == id)
            return operation;
    }
    return NULL;
}

static void parcel_free(struct parcel *parcel)
{
    list_remove(&parcel->link);
    free(parcel->payload);
    free(parcel);
}

static void operation_free(struct operation *operation)
{
    list_remove(&operation->link);
    if (operation->parcel)
        parcel_free(operation->parcel);
    free(operation->pieces);
    free(operation);
}

static void operation_end(struct operation *operation, int status)
{
    operation->status = status;
    list_remove(&operation->link);
    list_push_back(&operation->worker->ended, &operation->link);
    ring(operation->worker);
}

/* An operation, named by what may be gone. */
struct step {
    uint64_t worker, operation;
};

static void step_at(uint64_t ns, void (*fn)(void *arg), const struct operation *operation)
{
    struct step *step = must(malloc(sizeof *step));
    *step = (struct step){operation->worker->id, operation->id};
    sim_at(ns, fn, step);
}

static struct operation *step_take(void *arg)
{
    const struct step step = *(struct step *)arg;
    free(arg);
    return operation_find(step.worker, step.operation);
}

static void send_done(void *arg)
{
    struct operation *operation = step_take(arg);
    if (operation)
        operation_end(operation, 0);
}

/* ---- sending ------------------------------------------------------------------- */

static void parcel_arrives(void *arg)
{
    struct parcel *parcel = arg;
    struct transport_worker *worker = worker_by_id(parcel->to);
    if (!worker) {
        parcel_free(parcel);
        return;
    }
    list_push_back(&worker->inbox, &parcel->link);
    ring(worker);
}

static void flip(uint8_t *bytes, size_t length)
{
    bytes[sim_below(length)] ^= (uint8_t)(1u << sim_below(8));
}

static void damage(struct parcel *parcel)
{
    sim_trace("a message is damaged");
    if (!parcel->payload_length || sim_chance(500000))
        flip(parcel->header, parcel->header_length);
    else if (parcel->is_here)
        flip(parcel->payload, parcel->payload_length);
    else
        parcel->damage = true;
}

static struct parcel *parcel_copy(const struct parcel *parcel)
{
    struct parcel *copy = must(malloc(sizeof *copy + parcel->header_length));
    memcpy(copy, parcel, sizeof *copy + parcel->header_length);
    list_link_init(&copy->link);
    if (copy->payload) {
        copy->payload = must(malloc(parcel->payload_length));
        memcpy(copy->payload, parcel->payload, parcel->payload_length);
    }
    return copy;
}

static void parcel_send(struct parcel *parcel, unsigned from, unsigned to)
{
    if (sim_chance(weather.lost)) {
        sim_trace("a message is lost");
        parcel_free(parcel);
        return;
    }
    if (parcel->is_here && sim_chance(weather.twice)) {
        sim_trace("a message is doubled");
        sim_at(weather_arrival(from, to) + sim_below(sim_chance(500000) ? SIM_S : SIM_MS), parcel_arrives,
               parcel_copy(parcel));
    }
    if (sim_chance(weather.damaged))
        damage(parcel);
    const uint64_t held_ns =
        weather_held(from) + weather_watched(from, to, parcel->header, parcel->header_length);
    sim_at(weather_arrival(from, to) + held_ns, parcel_arrives, parcel);
}

static void gather(uint8_t *to, const struct iovec *pieces, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        memcpy(to, pieces[i].iov_base, pieces[i].iov_len);
        to += pieces[i].iov_len;
    }
}

static int sim_send(struct transport_peer *peer, const void *header, size_t header_length,
                    const struct iovec *payload, size_t payload_count, transport_done_fn *done, void *arg)
{
    struct transport_worker *worker = peer->worker;
    const struct transport_worker *remote = worker_by_id(peer->remote);
    struct process *process = world_enter();
    struct parcel *parcel = must(calloc(1, sizeof *parcel + header_length));
    struct operation *operation = operation_new(worker, done, arg);
    operation->peer = peer;
    *parcel = (struct parcel){.from = worker->id, .to = peer->remote, .header_length = header_length};
    list_link_init(&parcel->link);
    memcpy(parcel->header, header, header_length);
    for (size_t i = 0; i < payload_count; i++)
        parcel->payload_length += payload[i].iov_len;
    parcel->is_here = parcel->payload_length <= weather.eager_max;
    if (!parcel->is_here) {
        parcel->operation = operation->id;
        operation->pieces = must(malloc(payload_count * sizeof *payload));
        memcpy(operation->pieces, payload, payload_count * sizeof *payload);
        operation->piece_count = payload_count;
    } else {
        if (parcel->payload_length) {
            parcel->payload = must(malloc(parcel->payload_length));
            gather(parcel->payload, payload, payload_count);
        }
        step_at(sim_now() + sim_below(100 * SIM_US), send_done, operation);
    }
    parcel_send(parcel, worker->host, remote ? remote->host : worker->host);
    world_leave(process);
    fiber_pause();
    return 0;
}

/* ---- receiving ------------------------------------------------------------------- */

static bool is_connected(const struct transport_worker *worker, uint64_t remote)
{
    list_each(&worker->peers, each, after)
    {
        if (list_item(each, struct transport_peer, link)->remote == remote)
            return true;
    }
    return false;
}

/* The payload comes into its place, if both sides still stand to it. */
static void fetched(void *arg)
{
    struct operation *operation = step_take(arg);
    if (!operation)
        return;
    struct parcel *parcel = operation->parcel;
    if (parcel->is_here) {
        memcpy(operation->buffer, parcel->payload, parcel->payload_length);
    } else {
        struct operation *sender = operation_find(parcel->from, parcel->operation);
        if (!sender || !is_connected(operation->worker, parcel->from)) {
            operation_end(operation, err_set(-ECONNRESET, "the sender of a message is gone"));
            return;
        }
        gather(operation->buffer, sender->pieces, sender->piece_count);
        operation_end(sender, 0);
    }
    if (parcel->damage)
        flip(operation->buffer, parcel->payload_length);
    operation_end(operation, 0);
}

static int sim_receive(const struct transport_message *message, void *buffer, transport_done_fn *done,
                       void *arg)
{
    struct process *process = world_enter();
    struct parcel *parcel = message->private;
    struct operation *operation = operation_new(message->worker, done, arg);
    const struct transport_worker *remote = worker_by_id(parcel->from);
    operation->remote = parcel->from;
    operation->buffer = buffer;
    operation->parcel = parcel;
    list_remove(&parcel->link);
    const unsigned host = message->worker->host;
    uint64_t ns = parcel->is_here ? sim_now() + sim_below(20 * SIM_US)
                                  : weather_arrival(remote ? remote->host : host, host);
    step_at(ns, fetched, operation);
    world_leave(process);
    return 0;
}

/* The sender's part has ended all the same. */
static void parcel_release(struct parcel *parcel)
{
    struct operation *sender = parcel->is_here ? NULL : operation_find(parcel->from, parcel->operation);
    if (sender)
        operation_end(sender, 0);
    parcel_free(parcel);
}

static void sim_release(const struct transport_message *message)
{
    struct process *process = world_enter();
    if (message->private)
        parcel_release(message->private);
    world_leave(process);
}

static void deliver(struct transport_worker *worker, struct parcel *parcel, struct process *process)
{
    uint8_t header[LIMITS_HEADER_MAX];
    const size_t length = parcel->header_length;
    memcpy(header, parcel->header, length);
    struct transport_message message = {
        .worker = worker,
        .header = header,
        .header_length = length,
        .payload_length = parcel->payload_length,
        .data = parcel->is_here ? parcel->payload : NULL,
        .private = parcel,
    };
    /* One without a payload is neither received nor need be released. */
    if (!parcel->payload_length) {
        message.private = NULL;
        parcel_free(parcel);
    } else {
        list_push_back(&worker->held, &parcel->link);
    }
    world_leave(process);
    worker->events->message(worker->arg, &message);
    world_enter();
}

static unsigned sim_progress(struct transport_worker *worker)
{
    struct list_link *first;
    unsigned count = 0;
    struct process *process = world_enter();
    while (count < 16 && (first = list_pop(&worker->ended))) {
        struct operation *operation = list_item(first, struct operation, link);
        transport_done_fn *done = operation->done;
        void *arg = operation->arg;
        const int status = operation->status;
        operation_free(operation);
        world_leave(process);
        done(arg, status);
        world_enter();
        count++;
    }
    while (count < 16 && (first = list_pop(&worker->inbox))) {
        deliver(worker, list_item(first, struct parcel, link), process);
        count++;
    }
    list_each(&worker->peers, each, after)
    {
        struct transport_peer *peer = list_item(each, struct transport_peer, link);
        const int error = peer->failed;
        peer->failed = 0;
        world_leave(process);
        if (error)
            worker->events->peer_failed(worker->arg, peer, error);
        world_enter();
        count += error != 0;
    }
    world_leave(process);
    return count;
}

/* ---- workers and peers ------------------------------------------------------------- */

static int sim_open(const char *options, const char *devices, const struct transport_events *events,
                    void *arg, struct transport_worker **out)
{
    (void)options;
    (void)devices;
    const int fd = __wrap_eventfd(0, 0);
    struct process *process = world_enter();
    struct transport_worker *worker = must(calloc(1, sizeof *worker));
    worker->process = process;
    worker->host = process->host;
    worker->id = next_id++;
    worker->events = events;
    worker->arg = arg;
    worker->fd = fd;
    list_init(&worker->peers);
    list_init(&worker->inbox);
    list_init(&worker->held);
    list_init(&worker->operations);
    list_init(&worker->ended);
    list_push_back(&workers, &worker->link);
    list_push_back(&process->workers, &worker->link_in_process);
    world_leave(process);
    *out = worker;
    return 0;
}

static void worker_free(struct transport_worker *worker)
{
    struct list_link *first;
    while ((first = list_pop(&worker->inbox)))
        parcel_release(list_item(first, struct parcel, link));
    while ((first = list_first(&worker->held)))
        parcel_free(list_item(first, struct parcel, link));
    while ((first = list_first(&worker->operations)) || (first = list_first(&worker->ended)))
        operation_free(list_item(first, struct operation, link));
    while ((first = list_pop(&worker->peers)))
        free(list_item(first, struct transport_peer, link));
    list_remove(&worker->link);
    list_remove(&worker->link_in_process);
    free(worker);
}

static void sim_close(struct transport_worker *worker)
{
    if (!list_empty(&worker->peers))
        sim_fail("a worker is closed with peers connected");
    __wrap_close(worker->fd);
    struct process *process = world_enter();
    list_each(&worker->operations, each, after)
    {
        if (list_item(each, struct operation, link)->peer)
            sim_fail("a worker is closed while it sends");
    }
    worker_free(worker);
    world_leave(process);
}

void workers_release(struct process *process)
{
    struct list_link *first;
    while ((first = list_first(&process->workers)))
        worker_free(list_item(first, struct transport_worker, link_in_process));
}

static int sim_address(struct transport_worker *worker, const void **address, size_t *length)
{
    *address = &worker->id;
    *length = sizeof worker->id;
    return 0;
}

static int sim_connect(struct transport_worker *worker, const void *address, size_t length, bool same_host,
                       void *peer_arg, struct transport_peer **out)
{
    (void)same_host;
    if (length != sizeof worker->id)
        return err_set(-EPROTO, "an address of %zu bytes", length);
    struct process *process = world_enter();
    struct transport_peer *peer = must(calloc(1, sizeof *peer));
    peer->worker = worker;
    memcpy(&peer->remote, address, length);
    peer->arg = peer_arg;
    list_push_back(&worker->peers, &peer->link);
    world_leave(process);
    *out = peer;
    return 0;
}

static void *sim_peer_arg(struct transport_peer *peer)
{
    return peer->arg;
}

static void sim_disconnect(struct transport_peer *peer)
{
    struct transport_worker *worker = peer->worker;
    struct process *process = world_enter();
    list_each(&worker->operations, each, after)
    {
        struct operation *operation = list_item(each, struct operation, link);
        if (operation->peer == peer || (!operation->peer && operation->remote == peer->remote))
            operation_end(operation, -ECONNRESET);
    }
    list_remove(&peer->link);
    free(peer);
    world_leave(process);
}

unsigned peers_cut(struct process *process, unsigned per_million)
{
    unsigned count = 0;
    list_each(&process->workers, each, after)
    {
        struct transport_worker *worker = list_item(each, struct transport_worker, link_in_process);
        list_each(&worker->peers, at, next)
        {
            struct transport_peer *peer = list_item(at, struct transport_peer, link);
            if (!sim_chance(per_million))
                continue;
            sim_trace("the transport of %s loses a peer", process->name);
            peer->failed = -ECONNRESET;
            ring(worker);
            count++;
        }
    }
    return count;
}

static int sim_memory_register(struct transport_worker *worker, void *start, size_t length,
                               struct transport_memory **memory)
{
    (void)worker;
    (void)start;
    (void)length;
    *memory = malloc(sizeof **memory);
    return *memory ? 0 : err_set(-ENOMEM, "out of memory for a registration");
}

static void sim_memory_release(struct transport_memory *memory)
{
    free(memory);
}

static int sim_fd(struct transport_worker *worker)
{
    return worker->fd;
}

static bool has_failed_peer(const struct transport_worker *worker)
{
    list_each(&worker->peers, each, after)
    {
        if (list_item(each, struct transport_peer, link)->failed)
            return true;
    }
    return false;
}

static int sim_arm(struct transport_worker *worker)
{
    if (!list_empty(&worker->ended) || !list_empty(&worker->inbox) || has_failed_peer(worker))
        return -EBUSY;
    descriptor_of(worker->fd)->count = 0;
    return 0;
}

static int sim_probe(struct transport_worker *worker)
{
    (void)worker;
    return 0;
}

static int sim_renew(struct transport_worker *worker)
{
    worker->id = next_id++;
    return 0;
}

static int sim_devices(struct transport_device **devices, unsigned *count)
{
    *devices = NULL;
    *count = 0;
    return 0;
}

static const struct transport transport_sim = {
    .name = "sim",
    .chooses_itself = true,
    .devices = sim_devices,
    .open = sim_open,
    .close = sim_close,
    .address = sim_address,
    .connect = sim_connect,
    .peer_arg = sim_peer_arg,
    .disconnect = sim_disconnect,
    .send = sim_send,
    .receive = sim_receive,
    .release = sim_release,
    .memory_register = sim_memory_register,
    .memory_release = sim_memory_release,
    .progress = sim_progress,
    .fd = sim_fd,
    .arm = sim_arm,
    .probe = sim_probe,
    .renew = sim_renew,
};

/* ---- in the place of transport.c ------------------------------------------------------ */

const struct transport *transport_by_name(const char *name)
{
    return strcmp(name, transport_sim.name) == 0 ? &transport_sim : NULL;
}

const char *transport_preferred(void)
{
    return transport_sim.name;
}

const char *transport_preferred_why(void)
{
    return "; it is the only one";
}

const char *transport_names(void)
{
    return transport_sim.name;
}
