/* SPDX-License-Identifier: Apache-2.0 */
#include "transport_flaky.h"

#include <stdlib.h>
#include <string.h>

#include "transport.h"
#include "weft_limits.h"

enum { TOKEN_BEGIN = 8, TOKEN_END = 16 };

atomic_uint flaky_period, flaky_headers, flaky_payloads;

/* One worker of ours around one of the transport's. */
struct transport_worker {
    struct transport_worker *inner;
    const struct transport_events *events;
    void *arg;
};

static unsigned below(unsigned bound)
{
    static atomic_uint state = 1;
    unsigned own = atomic_fetch_add(&state, 0x9e3779b9u);
    return (unsigned)rand_r(&own) % bound;
}

static bool is_time(void)
{
    const unsigned period = flaky_period;
    return period && below(period) == 0;
}

static void flip(uint8_t *bytes, size_t length)
{
    bytes[below((unsigned)length)] ^= (uint8_t)(1u << below(8));
}

static void flip_header(uint8_t *header, size_t length)
{
    const unsigned at = below((unsigned)length - (TOKEN_END - TOKEN_BEGIN));
    flip(header + (at < TOKEN_BEGIN ? at : at + TOKEN_END - TOKEN_BEGIN), 1);
    flaky_headers++;
}

/* ---- coming in ------------------------------------------------------------ */

static void on_message(void *arg, const struct transport_message *message)
{
    struct transport_worker *worker = arg;
    struct transport_message changed = *message;
    uint8_t header[LIMITS_HEADER_MAX];
    if (is_time()) {
        memcpy(header, message->header, message->header_length);
        flip_header(header, message->header_length);
        changed.header = header;
    } else if (message->data && is_time()) {
        flip((uint8_t *)(uintptr_t)message->data, message->payload_length);
        flaky_payloads++;
    }
    worker->events->message(worker->arg, &changed);
}

static void on_peer_failed(void *arg, struct transport_peer *peer, int error)
{
    struct transport_worker *worker = arg;
    worker->events->peer_failed(worker->arg, peer, error);
}

struct receiving {
    transport_done_fn *done;
    void *arg;
    void *buffer;
    size_t length;
};

static void on_received(void *arg, int status)
{
    struct receiving receiving = *(struct receiving *)arg;
    free(arg);
    if (status == 0 && is_time()) {
        flip(receiving.buffer, receiving.length);
        flaky_payloads++;
    }
    receiving.done(receiving.arg, status);
}

static int flaky_receive(const struct transport_message *message, void *buffer, transport_done_fn *done,
                         void *arg)
{
    struct receiving *receiving = malloc(sizeof *receiving);
    if (!receiving)
        abort();
    *receiving = (struct receiving){done, arg, buffer, message->payload_length};
    int error = transport_ucx.receive(message, buffer, on_received, receiving);
    if (error)
        free(receiving);
    return error;
}

/* ---- going out ------------------------------------------------------------ */

struct sending {
    transport_done_fn *done;
    void *arg;
    uint8_t bytes[];
};

static void on_sent(void *arg, int status)
{
    struct sending sending = *(struct sending *)arg;
    free(arg);
    sending.done(sending.arg, status);
}

static int send_flipped(struct transport_peer *peer, const void *header, size_t header_length,
                        const struct iovec *payload, size_t payload_count, transport_done_fn *done, void *arg)
{
    size_t length = 0;
    for (size_t i = 0; i < payload_count; i++)
        length += payload[i].iov_len;
    struct sending *sending = malloc(sizeof *sending + length);
    if (!sending)
        abort();
    *sending = (struct sending){.done = done, .arg = arg};
    uint8_t *at = sending->bytes;
    for (size_t i = 0; i < payload_count; i++) {
        memcpy(at, payload[i].iov_base, payload[i].iov_len);
        at += payload[i].iov_len;
    }
    flip(sending->bytes, length);
    flaky_payloads++;
    struct iovec iov = {sending->bytes, length};
    int error = transport_ucx.send(peer, header, header_length, &iov, 1, on_sent, sending);
    if (error)
        free(sending);
    return error;
}

static int flaky_send(struct transport_peer *peer, const void *header, size_t header_length,
                      const struct iovec *payload, size_t payload_count, transport_done_fn *done, void *arg)
{
    uint8_t changed[LIMITS_HEADER_MAX];
    if (payload_count && is_time())
        return send_flipped(peer, header, header_length, payload, payload_count, done, arg);
    if (is_time()) {
        memcpy(changed, header, header_length);
        flip_header(changed, header_length);
        header = changed;
    }
    return transport_ucx.send(peer, header, header_length, payload, payload_count, done, arg);
}

/* ---- all else as it is ------------------------------------------------------ */

static int flaky_open(const char *options, const char *devices, const struct transport_events *events,
                      void *arg, struct transport_worker **out)
{
    static const struct transport_events own = {.message = on_message, .peer_failed = on_peer_failed};
    struct transport_worker *worker = malloc(sizeof *worker);
    if (!worker)
        abort();
    *worker = (struct transport_worker){.events = events, .arg = arg};
    int error = transport_ucx.open(options, devices, &own, worker, &worker->inner);
    if (error)
        free(worker);
    else
        *out = worker;
    return error;
}

static void flaky_close(struct transport_worker *worker)
{
    transport_ucx.close(worker->inner);
    free(worker);
}

static int flaky_address(struct transport_worker *worker, const void **address, size_t *length)
{
    return transport_ucx.address(worker->inner, address, length);
}

static int flaky_connect(struct transport_worker *worker, const void *address, size_t length, bool same_host,
                         void *peer_arg, struct transport_peer **peer)
{
    return transport_ucx.connect(worker->inner, address, length, same_host, peer_arg, peer);
}

static int flaky_memory_register(struct transport_worker *worker, void *start, size_t length,
                                 struct transport_memory **memory)
{
    return transport_ucx.memory_register(worker->inner, start, length, memory);
}

static unsigned flaky_progress(struct transport_worker *worker)
{
    return transport_ucx.progress(worker->inner);
}

static int flaky_fd(struct transport_worker *worker)
{
    return transport_ucx.fd(worker->inner);
}

static int flaky_arm(struct transport_worker *worker)
{
    return transport_ucx.arm(worker->inner);
}

static int flaky_probe(struct transport_worker *worker)
{
    return transport_ucx.probe(worker->inner);
}

static int flaky_renew(struct transport_worker *worker)
{
    return transport_ucx.renew(worker->inner);
}

const char *transport_names(void)
{
    return transport_ucx.name;
}

const char *transport_preferred_why(void)
{
    return "";
}

const char *transport_preferred(void)
{
    return transport_ucx.name;
}

/* In the place of the one in libcommon. */
const struct transport *transport_by_name(const char *name)
{
    static struct transport flaky;
    if (strcmp(name, transport_ucx.name) != 0)
        return NULL;
    flaky = transport_ucx;
    flaky.open = flaky_open;
    flaky.close = flaky_close;
    flaky.address = flaky_address;
    flaky.connect = flaky_connect;
    flaky.send = flaky_send;
    flaky.receive = flaky_receive;
    flaky.memory_register = flaky_memory_register;
    flaky.progress = flaky_progress;
    flaky.fd = flaky_fd;
    flaky.arm = flaky_arm;
    flaky.probe = flaky_probe;
    flaky.renew = flaky_renew;
    return &flaky;
}
