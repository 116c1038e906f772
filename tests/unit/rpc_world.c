/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "permission.h"
#include "rpc_world.h"

struct conf conf = {
    .transport = "ucx",
    .wire_checksums = true,
    .deadline_ms = 60000, /* this machine may be slow; tests of deadlines set their own */
    .credit_bytes = 8 << 20,
    .credit_requests = 8,
    .connections_max = 16,
    .memory_bytes = 64 << 20,
};

/* Asked by name, because under valgrind /proc/self/exe itself is another program. */
const char *own_program(void)
{
    static char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    return path;
}

/* ---- the server ------------------------------------------------------------- */

static struct rpc *server_rpc;
static uint8_t server_buffer[PAYLOAD_MAX];
static unsigned peers_up;
static unsigned requests_held; /* answered never */
static bool server_ends;

uint32_t sum_of(const uint8_t *data, size_t length)
{
    uint32_t sum = 1;
    for (size_t i = 0; i < length; i++)
        sum = sum * 31 + data[i];
    return sum;
}

static void reply_sum(struct rpc_request *request, const void *data)
{
    uint32_t sums[2] = {sum_of(request->body, request->body_length), sum_of(data, request->payload_length)};
    rpc_reply(request, 0, sums, sizeof sums, NULL, 0, NULL, NULL);
}

static void received(struct rpc_request *request, int status)
{
    if (status)
        rpc_reply(request, status, NULL, 0, NULL, 0, NULL, NULL);
    else
        reply_sum(request, server_buffer);
}

static void serve(void *arg, struct rpc_request *request)
{
    (void)arg;
    uint32_t wanted[2];
    switch (request->operation) {
    case WIRE_OP_write:
        if (!request->payload_length || request->data) {
            reply_sum(request, request->data);
        } else {
            int error = rpc_request_receive(request, server_buffer, received);
            if (error)
                received(request, error);
        }
        break;
    case WIRE_OP_read: {
        memcpy(wanted, request->body, sizeof wanted);
        static uint8_t body[LIMITS_BODY_MAX];
        for (uint32_t i = 0; i < wanted[0]; i++)
            server_buffer[i] = (uint8_t)(i * 7 + (i >> 12));
        memset(body, 0x5a, wanted[1]);
        struct iovec payload = {server_buffer, wanted[0]};
        rpc_reply(request, 0, body, wanted[1], &payload, wanted[0] > 0, NULL, NULL);
        break;
    }
    case WIRE_OP_sync:
        requests_held++;
        break;
    case WIRE_OP_unlink:
        server_ends = true;
        break;
    case WIRE_OP_statfs: {
        unsigned answer[2] = {peers_up, (unsigned)counter_get(&server_rpc->counters[COUNT_RENEWALS])};
        rpc_reply(request, 0, answer, sizeof answer, NULL, 0, NULL, NULL);
        break;
    }
    default:
        rpc_reply(request, err_set(-ENOTDIR, "%s is no directory", "/some/where"), NULL, 0, NULL, 0, NULL,
                  NULL);
    }
}

/* Clients run as this process does, and must be taken for nobody else. */
static void check_identity(const struct rpc_identity *identity)
{
    struct permission_caller own;
    uint32_t groups[LIMITS_CALLER_GROUPS_MAX];
    permission_caller_take(&own, groups);
    if (identity->uid != own.uid || identity->gid != own.gid || identity->group_count != own.group_count ||
        memcmp(identity->groups, own.groups, own.group_count * sizeof *groups) != 0)
        abort();
}

static void peer_up(void *arg, struct rpc_peer *peer)
{
    (void)arg;
    check_identity(rpc_peer_identity(peer));
    peers_up++;
}

static void peer_down(void *arg, struct rpc_peer *peer)
{
    (void)arg, (void)peer;
    peers_up--;
}

static int server_main(const char *address, int key)
{
    static const struct rpc_service service = {.request = serve, .peer_up = peer_up, .peer_down = peer_down};
    struct rpc_config config = {.conf = &conf, .name = "test server", .service = &service};
    char bound[LIMITS_ADDRESS_MAX + 1];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    memset(conf.key, key, sizeof conf.key);
    if (rpc_open(&config, &server_rpc) || rpc_listen(server_rpc, address, bound)) {
        fprintf(stderr, "%s\n", err_text());
        return 1;
    }
    printf("%s\n", bound);
    fflush(stdout);
    while (!server_ends)
        rpc_wait(server_rpc, -1);
    rpc_close(server_rpc);
    return 0;
}

/* ---- the client's tools -------------------------------------------------------- */

void server_start(struct server *server, const char *address, const char *key)
{
    int out[2];
    assert_int_equal(pipe(out), 0);
    server->pid = fork();
    if (server->pid == 0) {
        dup2(out[1], 1);
        execl(own_program(), own_program(), "server", address, key, conf.transport, NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *file = fdopen(out[0], "r");
    assert_non_null(fgets(server->address, sizeof server->address, file));
    server->address[strcspn(server->address, "\n")] = 0;
    fclose(file);
}

void server_kill(struct server *server)
{
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
}

struct rpc *client_open(void)
{
    struct rpc *rpc;
    struct rpc_config config = {.conf = &conf, .name = "test client"};
    assert_int_equal(rpc_open(&config, &rpc), 0);
    return rpc;
}

void world_begin(struct world *world, const char *key)
{
    server_start(&world->server, "127.0.0.1:0", key);
    world->rpc = client_open();
    assert_int_equal(rpc_connect(world->rpc, world->server.address, &world->connection), 0);
}

void world_end(struct world *world)
{
    rpc_close(world->rpc);
    server_kill(&world->server);
}

void call_over(struct rpc_call *call)
{
    struct waited *waited = call->arg;
    waited->over = true;
    snprintf(waited->text, sizeof waited->text, "%s", call->status ? err_text() : "");
    if (call->reply_length)
        memcpy(waited->reply, call->reply, call->reply_length < 64 ? call->reply_length : 64);
}

static void *call_place(struct rpc_call *call, const void *body, uint32_t body_length, uint64_t length)
{
    struct waited *waited = call->arg;
    (void)body, (void)body_length;
    waited->placed = length;
    return waited->place;
}

void wait_over(struct rpc *rpc, struct waited *waited)
{
    while (!waited->over)
        rpc_wait(rpc, 1000);
}

int call_start(struct rpc_connection *connection, struct waited *waited, unsigned operation, const void *body,
               size_t body_length, struct iovec *payload)
{
    waited->over = false;
    waited->call.operation = (uint16_t)operation;
    waited->call.body = body;
    waited->call.body_length = (uint32_t)body_length;
    waited->call.payload = payload;
    waited->call.payload_count = payload ? 1 : 0;
    waited->call.done = call_over;
    waited->call.place = call_place;
    waited->call.arg = waited;
    return rpc_call_start(connection, &waited->call);
}

int call(struct rpc *rpc, struct rpc_connection *connection, struct waited *waited, unsigned operation,
         const void *body, size_t body_length, struct iovec *payload)
{
    assert_int_equal(call_start(connection, waited, operation, body, body_length, payload), 0);
    wait_over(rpc, waited);
    return waited->call.status;
}

/* ---- the program ------------------------------------------------------------------- */

/* Those that are there, and can be used here. */
static const char *const transports[] = {"ucx", "ofi:tcp;ofi_rxm", "ofi:shm,tcp;ofi_rxm", "ofi:tcp"};

bool transport_is_usable(const char *transport)
{
    struct rpc *rpc;
    struct rpc_config config = {.conf = &conf, .name = "test client"};
    conf.transport = (char *)(uintptr_t)transport;
    int error = rpc_open(&config, &rpc);
    if (!error)
        rpc_close(rpc);
    else
        print_message("left out: transport %s: %s\n", transport, err_text());
    return !error;
}

int world_main(int argc, char **argv, int (*run_each)(void), int (*run_last)(void))
{
    int failed = 0;
    if (argc == 5 && !strcmp(argv[1], "server")) {
        conf.transport = argv[4];
        return server_main(argv[2], atoi(argv[3]));
    }
    memset(conf.key, 1, sizeof conf.key);
    if (argc >= 2)
        cmocka_set_test_filter(argv[1]);
    for (size_t i = 0; i < sizeof transports / sizeof transports[0]; i++)
        if ((argc < 3 || !strcmp(argv[2], transports[i])) && transport_is_usable(transports[i]))
            failed += run_each();
    return failed + (argc < 3 ? run_last() : 0);
}
