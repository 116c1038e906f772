/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two processes that talk over one transport for a moment, as a client and a server of Weft do: a request
 * without data and its answer, again and again; then requests with 1 MiB each, four under way.
 */
#include "net_measure.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "err.h"
#include "log.h"
#include "rpc.h"

enum { DEPTH = 4, PAYLOAD = 1 << 20, PATIENCE_MS = 30000 };

/* ---- the server ------------------------------------------------------------------ */

static uint8_t *memory;

static void received(struct rpc_request *request, int status)
{
    rpc_reply(request, status, NULL, 0, NULL, 0, NULL, NULL);
}

static void serve(void *arg, struct rpc_request *request)
{
    (void)arg;
    int error = 0;
    if (request->payload_length && !request->data) {
        error = rpc_request_receive(request, memory, received);
        if (!error)
            return;
    }
    received(request, error);
}

static int serve_forever(const struct conf *conf, int out)
{
    static const struct rpc_service service = {.request = serve};
    struct rpc_config config = {.conf = conf, .name = "weft net", .service = &service};
    struct rpc *rpc;
    char bound[LIMITS_ADDRESS_MAX + 1] = "";
    memory = malloc(PAYLOAD);
    if (!memory || rpc_open(&config, &rpc) || rpc_listen(rpc, "127.0.0.1:0", bound) ||
        write(out, bound, sizeof bound) != sizeof bound)
        return 1;
    for (;;)
        rpc_wait(rpc, -1);
}

/* ---- the client ------------------------------------------------------------------ */

struct slot {
    struct rpc_call call;
    bool busy;
};

static void call_over(struct rpc_call *call)
{
    ((struct slot *)call->arg)->busy = false;
}

static int call_start(struct rpc_connection *connection, struct slot *slot, const struct iovec *payload)
{
    slot->busy = true;
    slot->call = (struct rpc_call){
        .operation = WIRE_OP_write,
        .payload = payload,
        .payload_count = payload != NULL,
        .done = call_over,
        .arg = slot,
    };
    return rpc_call_start(connection, &slot->call);
}

/* Requests until the time is over; how many there were, or a negative errno. */
static long calls_make(struct rpc *rpc, struct rpc_connection *connection, unsigned depth,
                       const struct iovec *payload, uint64_t for_ns)
{
    struct slot slots[DEPTH] = {0};
    uint64_t end = rpc_now_ns() + for_ns;
    long count = 0;
    int error = 0;
    bool busy;
    do {
        busy = false;
        for (unsigned i = 0; i < depth; i++) {
            struct slot *slot = &slots[i];
            if (!slot->busy && slot->call.status)
                error = slot->call.status;
            if (!slot->busy && !error && rpc_now_ns() < end) {
                error = call_start(connection, slot, payload);
                count++;
            }
            busy |= slot->busy;
        }
        if (busy)
            rpc_wait(rpc, 1000);
    } while (busy);
    return error ? error : count;
}

static void measure(const struct conf *conf, const char *address, uint64_t for_ns, struct net_result *result)
{
    struct rpc_config config = {.conf = conf, .name = "weft net"};
    struct rpc *rpc;
    struct rpc_connection *connection;
    struct iovec payload = {calloc(1, PAYLOAD), PAYLOAD};
    long count = rpc_open(&config, &rpc);
    if (!count)
        count = rpc_connect(rpc, address, &connection);
    if (!count)
        count = calls_make(rpc, connection, 1, NULL, for_ns / 10); /* connects */
    uint64_t start = rpc_now_ns();
    if (count > 0)
        count = calls_make(rpc, connection, 1, NULL, for_ns);
    if (count > 0) {
        result->latency_us = (double)(rpc_now_ns() - start) / 1e3 / (double)count / 2;
        start = rpc_now_ns();
        count = calls_make(rpc, connection, DEPTH, &payload, for_ns);
    }
    if (count > 0)
        result->mib_per_s = (double)count * PAYLOAD / (1 << 20) / ((double)(rpc_now_ns() - start) / 1e9);
    result->error = count > 0 ? 0 : count ? (int)count : -EIO;
    if (result->error)
        snprintf(result->text, sizeof result->text, "%s", err_text());
}

/* ---- both -------------------------------------------------------------------------- */

static void conf_make(struct conf *conf, const char *transport)
{
    *conf = (struct conf){
        .transport = (char *)(uintptr_t)transport,
        .deadline_ms = 5000,
        .credit_bytes = 64 << 20,
        .credit_requests = 64,
        .connections_max = 16,
        .memory_bytes = 64 << 20,
    };
}

static pid_t process_start(void (*run)(const struct conf *conf, void *arg), const char *transport, void *arg)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid)
        return pid;
    struct conf conf;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    conf_make(&conf, transport);
    log_init("weft net", LOG_LEVEL_ERROR);
    run(&conf, arg);
    _exit(0);
}

static void server_run(const struct conf *conf, void *arg)
{
    serve_forever(conf, *(int *)arg);
}

struct client_run {
    int out;
    const char *address;
    uint64_t for_ns;
};

static void client_run(const struct conf *conf, void *arg)
{
    const struct client_run *run = arg;
    struct net_result result = {0};
    measure(conf, run->address, run->for_ns, &result);
    ssize_t written = write(run->out, &result, sizeof result);
    (void)written;
}

static bool read_within(int fd, void *data, size_t length)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    return poll(&pollfd, 1, PATIENCE_MS) == 1 && read(fd, data, length) == (ssize_t)length;
}

static void process_end(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

void net_measure(const char *transport, double seconds, struct net_result *result)
{
    int from_server[2] = {-1, -1}, from_client[2] = {-1, -1};
    char address[LIMITS_ADDRESS_MAX + 1];
    pid_t server = -1, client = -1;
    *result = (struct net_result){.error = -EIO, .text = "it can't be used here"};
    if (!pipe(from_server) && !pipe(from_client)) {
        server = process_start(server_run, transport, &from_server[1]);
        close(from_server[1]);
        from_server[1] = -1;
        struct client_run run = {from_client[1], address, (uint64_t)(seconds * 1e9 / 2)};
        if (read_within(from_server[0], address, sizeof address)) {
            client = process_start(client_run, transport, &run);
            if (!read_within(from_client[0], result, sizeof *result))
                *result = (struct net_result){.error = -ETIMEDOUT, .text = "no answer came"};
        }
    }
    process_end(client);
    process_end(server);
    for (int i = 0; i < 2; i++) {
        if (from_server[i] >= 0)
            close(from_server[i]);
        if (from_client[i] >= 0)
            close(from_client[i]);
    }
}
