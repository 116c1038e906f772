/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rpc.c: what Weft's request layer gives without a store behind it: the ceiling
 * that reads and writes are measured against. Server processes place payloads
 * in memory, or send from it; client processes keep a number of requests
 * under way to all of them. Servers and clients may stand in two network
 * namespaces, which is as good as two hosts: they share no memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "err.h"
#include "rpc.h"

#define SERVERS_MAX 64u
#define DEPTH_MAX   64u
#define STORE_BYTES (64u << 20)

static struct conf conf = {
    .transport = "ucx",
    .deadline_ms = 10000,
    .credit_bytes = UINT64_C(1) << 30,
    .credit_requests = DEPTH_MAX,
    .connections_max = 1024,
    .memory_bytes = STORE_BYTES,
};

struct options {
    size_t bytes;
    unsigned depth, clients, servers;
    double seconds;
    bool read;
    const char *listen;                          /* where servers are */
    const char *server_network, *client_network; /* files of namespaces; NULL: this one */
};

/* What one client tells its parent. */
struct result {
    uint64_t requests;
    uint64_t errors;
    uint64_t ns;
};

/* ---- server ------------------------------------------------------------------ */

static uint8_t *store;
static size_t store_at;

static void received(struct rpc_request *request, int status)
{
    rpc_reply(request, status, NULL, 0, NULL, 0, NULL, NULL);
}

static void serve(void *arg, struct rpc_request *request)
{
    (void)arg;
    if (request->operation == WIRE_OP_read) {
        uint64_t length;
        memcpy(&length, request->body, sizeof length);
        struct iovec payload = {store, length};
        rpc_reply(request, 0, NULL, 0, &payload, 1, NULL, NULL);
        return;
    }
    if (store_at + request->payload_length > STORE_BYTES)
        store_at = 0;
    uint8_t *place = store + store_at;
    store_at += request->payload_length;
    int error = 0;
    if (request->data)
        memcpy(place, request->data, request->payload_length);
    else if (request->payload_length)
        error = rpc_request_receive(request, place, received);
    if (error || request->data || !request->payload_length)
        received(request, error);
}

static void enter_network(const char *file)
{
    int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    if (file && (fd < 0 || setns(fd, CLONE_NEWNET))) {
        perror(file);
        _exit(1);
    }
}

static void server_main(const struct options *options, int out)
{
    static const struct rpc_service service = {.request = serve};
    struct rpc_config config = {.conf = &conf, .name = "benchmark server", .service = &service};
    struct rpc *rpc;
    char bound[LIMITS_ADDRESS_MAX + 1] = "";
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    enter_network(options->server_network);
    store = malloc(STORE_BYTES);
    if (!store || rpc_open(&config, &rpc) || rpc_listen(rpc, options->listen, bound)) {
        fprintf(stderr, "rpc: %s\n", err_text());
        _exit(1);
    }
    memset(store, 1, STORE_BYTES);
    if (write(out, bound, sizeof bound) != sizeof bound)
        _exit(1);
    for (;;)
        rpc_wait(rpc, -1);
}

/* ---- client -------------------------------------------------------------------- */

struct slot {
    struct rpc_call call;
    struct iovec payload;
    bool busy;
    uint64_t *errors;
};

static void call_over(struct rpc_call *call)
{
    struct slot *slot = call->arg;
    slot->busy = false;
    if (call->status && !(*slot->errors)++)
        fprintf(stderr, "rpc: %s\n", err_text());
}

static void *place(struct rpc_call *call, const void *body, uint32_t body_length, uint64_t length)
{
    (void)body, (void)body_length, (void)length;
    return ((struct slot *)call->arg)->payload.iov_base;
}

static void slot_start(struct slot *slot, struct rpc_connection *connection, const struct options *options,
                       const uint64_t *length)
{
    slot->busy = true;
    slot->call = (struct rpc_call){
        .operation = options->read ? WIRE_OP_read : WIRE_OP_write,
        .body = length,
        .body_length = sizeof *length,
        .done = call_over,
        .place = place,
        .arg = slot,
    };
    if (options->read) {
        slot->call.reply_bytes_max = options->bytes;
    } else {
        slot->call.payload = &slot->payload;
        slot->call.payload_count = options->bytes ? 1 : 0;
    }
    if (rpc_call_start(connection, &slot->call)) {
        slot->busy = false;
        (*slot->errors)++;
    }
}

static void client_main(const struct options *options, char addresses[][LIMITS_ADDRESS_MAX + 1], int out)
{
    struct rpc_config config = {.conf = &conf, .name = "benchmark client"};
    struct rpc *rpc;
    struct rpc_connection *connections[SERVERS_MAX];
    static struct slot slots[DEPTH_MAX];
    struct result result = {0};
    uint64_t length = options->bytes, next = 0;
    enter_network(options->client_network);
    if (rpc_open(&config, &rpc)) {
        fprintf(stderr, "rpc: %s\n", err_text());
        _exit(1);
    }
    for (unsigned i = 0; i < options->servers; i++)
        rpc_connect(rpc, addresses[i], &connections[i]);
    for (unsigned i = 0; i < options->depth; i++) {
        slots[i].payload = (struct iovec){malloc(options->bytes + 1), options->bytes};
        slots[i].errors = &result.errors;
        memset(slots[i].payload.iov_base, 2, options->bytes + 1);
    }
    uint64_t start = rpc_now_ns(), end = start + (uint64_t)(options->seconds * 1e9);
    while (rpc_now_ns() < end && !result.errors) {
        for (unsigned i = 0; i < options->depth; i++)
            if (!slots[i].busy) {
                slot_start(&slots[i], connections[next++ % options->servers], options, &length);
                result.requests++;
            }
        rpc_wait(rpc, 100);
    }
    for (unsigned i = 0; i < options->depth; i++)
        while (slots[i].busy)
            rpc_wait(rpc, 100);
    result.ns = rpc_now_ns() - start;
    _exit(write(out, &result, sizeof result) != sizeof result);
}

/* ---- main ----------------------------------------------------------------------- */

static void usage(FILE *file)
{
    fputs("Usage: rpc [OPTION...]\n"
          "Measures Weft's request layer, without a store, on this machine.\n\n"
          "  --bytes N      payload of a request (default 1048576)\n"
          "  --depth N      requests under way in each client (default 1)\n"
          "  --clients N    client processes (default 4)\n"
          "  --servers N    server processes (default 4)\n"
          "  --seconds S    how long (default 2)\n"
          "  --transport T  as in weft.conf (default ucx)\n"
          "  --read         payloads come with the replies, rather than with the requests\n"
          "  --listen A     where servers are (default 127.0.0.1:0)\n"
          "  --server-network FILE, --client-network FILE\n"
          "                 network namespaces that they run in, as /run/netns/NAME (needs root)\n"
          "  --help\n",
          file);
}

static int options_read(int argc, char **argv, struct options *options)
{
    static const struct option table[] = {
        {"bytes", 1, NULL, 'b'},          {"depth", 1, NULL, 'd'},          {"transport", 1, NULL, 'n'},
        {"clients", 1, NULL, 'c'},        {"servers", 1, NULL, 's'},        {"seconds", 1, NULL, 't'},
        {"read", 0, NULL, 'r'},           {"help", 0, NULL, 'h'},           {"listen", 1, NULL, 'l'},
        {"server-network", 1, NULL, 'S'}, {"client-network", 1, NULL, 'C'}, {0}};
    int which;
    *options = (struct options){
        .bytes = 1 << 20, .depth = 1, .clients = 4, .servers = 4, .seconds = 2, .listen = "127.0.0.1:0"};
    while ((which = getopt_long(argc, argv, "", table, NULL)) != -1)
        switch (which) {
        case 'b':
            options->bytes = strtoull(optarg, NULL, 0);
            break;
        case 'd':
            options->depth = (unsigned)strtoul(optarg, NULL, 0);
            break;
        case 'c':
            options->clients = (unsigned)strtoul(optarg, NULL, 0);
            break;
        case 's':
            options->servers = (unsigned)strtoul(optarg, NULL, 0);
            break;
        case 't':
            options->seconds = strtod(optarg, NULL);
            break;
        case 'r':
            options->read = true;
            break;
        case 'l':
            options->listen = optarg;
            break;
        case 'S':
            options->server_network = optarg;
            break;
        case 'C':
            options->client_network = optarg;
            break;
        case 'n':
            conf.transport = optarg;
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            return -EINVAL;
        }
    bool right = optind == argc && options->bytes <= LIMITS_PAYLOAD_MAX && options->depth >= 1 &&
                 options->depth <= DEPTH_MAX && options->clients >= 1 && options->clients <= 1024 &&
                 options->servers >= 1 && options->servers <= SERVERS_MAX && options->seconds > 0;
    return right ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
    struct options options;
    static char addresses[SERVERS_MAX][LIMITS_ADDRESS_MAX + 1];
    int channel[2];
    if (options_read(argc, argv, &options)) {
        usage(stderr);
        return 2;
    }
    for (unsigned i = 0; i < options.servers; i++) {
        if (pipe(channel))
            return 1;
        if (fork() == 0)
            server_main(&options, channel[1]);
        close(channel[1]);
        if (read(channel[0], addresses[i], sizeof addresses[i]) != sizeof addresses[i])
            return 1;
        close(channel[0]);
    }
    if (pipe(channel))
        return 1;
    for (unsigned i = 0; i < options.clients; i++)
        if (fork() == 0)
            client_main(&options, addresses, channel[1]);
    close(channel[1]);
    double rate = 0;
    uint64_t errors = 0;
    unsigned ended = 0;
    struct result result;
    while (read(channel[0], &result, sizeof result) == sizeof result) {
        rate += (double)result.requests / ((double)result.ns / 1e9);
        errors += result.errors;
        ended++;
    }
    printf("%-5s bytes=%zu depth=%u clients=%u servers=%u requests/s=%.0f MiB/s=%.0f\n",
           options.read ? "read" : "write", options.bytes, options.depth, options.clients, options.servers,
           rate, rate * (double)options.bytes / (1 << 20));
    return errors || ended != options.clients;
}
