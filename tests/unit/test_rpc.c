/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests between two processes over the real transport. What must survive:
 * a server that is killed and comes back, one that is killed and does not, one
 * that stops answering, a wrong key, nonsense on its port, a client that dies
 * in the middle of a transfer or of sending, and more calls than the credit allows.
 *
 * The server and some clients are this program itself, run again; see main().
 */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "err.h"
#include "rpc_internal.h"
#include "ucx_jam.h"

/* Asked by name, because under valgrind /proc/self/exe itself is another program. */
static const char *own_program(void)
{
    static char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    return path;
}

#define PAYLOAD_MAX (5u << 20)

static struct conf conf = {
    .transport = "ucx",
    .wire_checksums = true,
    .deadline_ms = 60000, /* this machine may be slow; tests of deadlines set their own */
    .credit_bytes = 8 << 20,
    .credit_requests = 8,
    .connections_max = 16,
    .memory_bytes = 64 << 20,
};

/* ---- the server ------------------------------------------------------------- */

static struct rpc *server_rpc;
static uint8_t server_buffer[PAYLOAD_MAX];
static unsigned peers_up;
static unsigned requests_held; /* answered never */
static bool server_ends;

static uint32_t sum_of(const uint8_t *data, size_t length)
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

/* write: answers sums of body and payload. read: answers body[0..4] bytes of
 * payload and a body of body[4..8] bytes. sync: never answers. unlink: ends the server.
 * statfs: how many peers are up, and how often the transport was made anew. access: an error. */
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

static void peer_up(void *arg, struct rpc_peer *peer)
{
    (void)arg, (void)peer;
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

struct server {
    pid_t pid;
    char address[LIMITS_ADDRESS_MAX + 1];
};

static void server_start(struct server *server, const char *address, const char *key)
{
    int out[2];
    assert_int_equal(pipe(out), 0);
    server->pid = fork();
    if (server->pid == 0) {
        dup2(out[1], 1);
        execl(own_program(), "test_rpc", "server", address, key, conf.transport, NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *file = fdopen(out[0], "r");
    assert_non_null(fgets(server->address, sizeof server->address, file));
    server->address[strcspn(server->address, "\n")] = 0;
    fclose(file);
}

static void server_kill(struct server *server)
{
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
}

static struct rpc *client_open(void)
{
    struct rpc *rpc;
    struct rpc_config config = {.conf = &conf, .name = "test client"};
    assert_int_equal(rpc_open(&config, &rpc), 0);
    return rpc;
}

/* One server, and a client with a connection to it. */
struct world {
    struct server server;
    struct rpc *rpc;
    struct rpc_connection *connection;
};

static void world_begin(struct world *world, const char *key)
{
    server_start(&world->server, "127.0.0.1:0", key);
    world->rpc = client_open();
    assert_int_equal(rpc_connect(world->rpc, world->server.address, &world->connection), 0);
}

static void world_end(struct world *world)
{
    rpc_close(world->rpc);
    server_kill(&world->server);
}

struct waited {
    struct rpc_call call;
    bool over;
    void *place;
    uint64_t placed;
    uint8_t reply[64];
    char text[512];
};

static void call_over(struct rpc_call *call)
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

static void wait_over(struct rpc *rpc, struct waited *waited)
{
    while (!waited->over)
        rpc_wait(rpc, 1000);
}

static int call_start(struct rpc_connection *connection, struct waited *waited, unsigned operation,
                      const void *body, size_t body_length, struct iovec *payload)
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

static int call(struct rpc *rpc, struct rpc_connection *connection, struct waited *waited, unsigned operation,
                const void *body, size_t body_length, struct iovec *payload)
{
    assert_int_equal(call_start(connection, waited, operation, body, body_length, payload), 0);
    wait_over(rpc, waited);
    return waited->call.status;
}

/* ---- tests --------------------------------------------------------------------------- */

static void payloads_of_all_sizes_arrive(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,     1,     64,    4096,  8192,    8193,
                                   47008, 65535, 65536, 65537, 1 << 20, PAYLOAD_MAX};
    static const size_t bodies[] = {0,    8,     100, LIMITS_BODY_INLINE_MAX, LIMITS_BODY_INLINE_MAX + 1,
                                    5000, 200000};
    struct world world;
    world_begin(&world, "1");
    uint8_t *data = malloc(PAYLOAD_MAX), *body = malloc(200000);
    for (size_t i = 0; i < PAYLOAD_MAX; i++)
        data[i] = (uint8_t)(i ^ i >> 9);
    for (size_t i = 0; i < 200000; i++)
        body[i] = (uint8_t)(i * 13);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (size_t b = 0; b < sizeof bodies / sizeof bodies[0]; b++) {
            struct waited waited = {0};
            struct iovec payload = {data, sizes[s]};
            uint32_t sums[2];
            assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_write, body, bodies[b],
                                  sizes[s] ? &payload : NULL), 0);
            memcpy(sums, waited.reply, sizeof sums);
            assert_int_equal(sums[0], sum_of(body, bodies[b]));
            assert_int_equal(sums[1], sum_of(data, sizes[s]));

            uint32_t wanted[2] = {(uint32_t)sizes[s], (uint32_t)bodies[b]};
            waited.place = calloc(1, sizes[s] + 1);
            assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_read, wanted,
                                  sizeof wanted, NULL), 0);
            assert_int_equal(waited.call.reply_payload_length, sizes[s]);
            assert_int_equal(waited.call.reply_length, bodies[b]);
            for (size_t i = 0; i < sizes[s]; i++)
                if (((uint8_t *)waited.place)[i] != (uint8_t)(i * 7 + (i >> 12)))
                    fail_msg("size %zu: byte %zu is wrong", sizes[s], i);
            free(waited.place);
        }
    free(data);
    free(body);
    world_end(&world);
}

static void many_pieces_arrive_in_order(void **state)
{
    (void)state;
    struct world world;
    world_begin(&world, "1");
    static uint8_t data[100 * 4000];
    struct iovec pieces[100];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 3 + (i >> 8));
    for (size_t i = 0; i < 100; i++)
        pieces[i] = (struct iovec){data + i * 4000, 4000};
    for (uint32_t count = 1; count <= 100; count += 33) {
        struct waited waited = {0};
        uint32_t sums[2];
        waited.over = false;
        waited.call = (struct rpc_call){.operation = WIRE_OP_write, .payload = pieces, .payload_count = count,
                                        .done = call_over, .arg = &waited};
        assert_int_equal(rpc_call_start(world.connection, &waited.call), 0);
        wait_over(world.rpc, &waited);
        assert_int_equal(waited.call.status, 0);
        memcpy(sums, waited.reply, sizeof sums);
        assert_int_equal(sums[1], sum_of(data, count * 4000));
    }
    world_end(&world);
}

static void more_calls_than_credit_all_end(void **state)
{
    (void)state;
    struct world world;
    world_begin(&world, "1");
    static struct waited waited[200];
    static uint8_t data[3 << 20];
    struct iovec payload = {data, sizeof data};
    for (size_t i = 0; i < 200; i++)
        assert_int_equal(call_start(world.connection, &waited[i], WIRE_OP_write, NULL, 0, &payload), 0);
    for (size_t i = 0; i < 200; i++) {
        wait_over(world.rpc, &waited[i]);
        assert_int_equal(waited[i].call.status, 0);
    }
    world_end(&world);
}

static uint64_t counted(const struct rpc *rpc, const char *name)
{
    const struct counter *counters;
    size_t count = rpc_counters(rpc, &counters);
    for (size_t i = 0; i < count; i++)
        if (strcmp(counters[i].name, name) == 0)
            return counter_get(&counters[i]);
    fail_msg("there is no counter %s", name);
    return 0;
}

/* The client has a reply before the server's transport says that it was sent. */
static void replies_not_yet_given_back_do_not_count(void **state)
{
    (void)state;
    struct world world;
    world_begin(&world, "1");
    static struct waited waited[16];
    for (unsigned round = 0; round < 2000; round++) {
        for (size_t i = 0; i < 16; i++)
            assert_int_equal(call_start(world.connection, &waited[i], WIRE_OP_write, NULL, 0, NULL), 0);
        for (size_t i = 0; i < 16; i++) {
            wait_over(world.rpc, &waited[i]);
            assert_int_equal(waited[i].call.status, 0);
        }
    }
    assert_int_equal(counted(world.rpc, "connections_lost"), 0);
    world_end(&world);
}

/* What is still on its way over the earlier one was sent again over the later. */
static void later_connection_of_a_client_ends_its_earlier_one(void **state)
{
    (void)state;
    struct world world;
    struct rpc_connection *later;
    struct waited waited = {0};
    world_begin(&world, "1");
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
    assert_int_equal(rpc_connect(world.rpc, world.server.address, &later), 0);
    assert_int_equal(call(world.rpc, later, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
    for (unsigned turn = 0; turn < 100 && !counted(world.rpc, "connections_lost"); turn++)
        rpc_wait(world.rpc, 100);
    assert_int_equal(counted(world.rpc, "connections_lost"), 1);
    world_end(&world);
}

static void error_carries_the_servers_text(void **state)
{
    (void)state;
    struct world world;
    world_begin(&world, "1");
    struct waited waited = {0};
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_access, NULL, 0, NULL), -ENOTDIR);
    assert_string_equal(waited.text, "/some/where is no directory");
    world_end(&world);
}

static void killed_server_that_returns_is_waited_for(void **state)
{
    (void)state;
    struct server again;
    struct world world;
    world_begin(&world, "1");
    struct waited held = {0}, waited = {0};
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
    /* One call is under way when the server dies, one starts while it is away. */
    static uint8_t data[1 << 20];
    struct iovec payload = {data, sizeof data};
    kill(world.server.pid, SIGSTOP);
    assert_int_equal(call_start(world.connection, &held, WIRE_OP_write, NULL, 0, &payload), 0);
    rpc_wait(world.rpc, 50);
    server_kill(&world.server);
    rpc_wait(world.rpc, 50);
    assert_int_equal(call_start(world.connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
    for (int i = 0; i < 5; i++)
        rpc_wait(world.rpc, 20);
    assert_false(held.over);
    server_start(&again, world.server.address, "1");
    wait_over(world.rpc, &held);
    wait_over(world.rpc, &waited);
    assert_int_equal(held.call.status, 0);
    assert_int_equal(waited.call.status, 0);
    rpc_close(world.rpc);
    server_kill(&again);
}

static void killed_server_ends_calls_within_the_deadline(void **state)
{
    (void)state;
    struct world world;
    world_begin(&world, "1");
    struct waited waited = {0};
    static uint8_t data[1 << 20];
    struct iovec payload = {data, sizeof data};
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
    server_kill(&world.server);
    waited.call.deadline_ms = 500;
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_write, NULL, 0, &payload),
                          -ETIMEDOUT);
    assert_non_null(strstr(waited.text, world.server.address));
    rpc_close(world.rpc);
}

static void silent_server_ends_calls_within_the_deadline(void **state)
{
    (void)state;
    struct world world;
    world_begin(&world, "1");
    struct waited waited = {0};
    static uint8_t data[1 << 20];
    struct iovec payload = {data, sizeof data};
    waited.call.deadline_ms = 300;
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_sync, NULL, 0, NULL), -ETIMEDOUT);
    kill(world.server.pid, SIGSTOP);
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_write, NULL, 0, &payload),
                          -ETIMEDOUT);
    kill(world.server.pid, SIGCONT);
    /* It goes on where the server does. */
    waited.call.deadline_ms = 5000;
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
    world_end(&world);
}

static void absent_server_is_told_quickly(void **state)
{
    (void)state;
    struct rpc *rpc = client_open();
    struct rpc_connection *connection;
    struct waited waited = {0};
    uint64_t start = rpc_now_ns();
    assert_int_equal(rpc_connect(rpc, "127.0.0.1:1", &connection), 0);
    assert_int_equal(call(rpc, connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), -ECONNREFUSED);
    assert_non_null(strstr(waited.text, "is the server running"));
    assert_true(rpc_now_ns() - start < UINT64_C(8000000000)); /* before the deadline */
    rpc_close(rpc);
}

static void wrong_key_is_refused_on_both_sides(void **state)
{
    (void)state;
    struct world world;
    world_begin(&world, "2");
    struct waited waited = {0};
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), -EACCES);
    assert_non_null(strstr(waited.text, "key"));
    world_end(&world);
}

static int plain_connect(const char *address)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void nonsense_on_the_port_is_refused(void **state)
{
    (void)state;
    struct server server;
    server_start(&server, "127.0.0.1:0", "1");
    unsigned seed = 4711;
    for (int round = 0; round < 100; round++) {
        uint8_t bytes[600];
        size_t length = 1 + (size_t)rand_r(&seed) % sizeof bytes;
        for (size_t i = 0; i < length; i++)
            bytes[i] = (uint8_t)rand_r(&seed);
        if (round % 2 && length > 5) { /* a plausible frame header, then nonsense */
            uint32_t inner = (uint32_t)length - 5;
            memcpy(bytes, &inner, 4);
            bytes[4] = (uint8_t)(1 + rand_r(&seed) % 5);
        }
        int fd = plain_connect(server.address);
        assert_true(send(fd, bytes, length, MSG_NOSIGNAL) > 0);
        close(fd);
    }
    /* Told of a frame that is too long, it closes at once; a reset is that too, with bytes left unread. */
    int fd = plain_connect(server.address);
    char byte;
    assert_int_equal(send(fd, "\xff\xff\xff\x7f\x01", 5, MSG_NOSIGNAL), 5);
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    close(fd);
    struct rpc *rpc = client_open();
    struct rpc_connection *connection;
    struct waited waited = {0};
    assert_int_equal(rpc_connect(rpc, server.address, &connection), 0);
    assert_int_equal(call(rpc, connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
    rpc_close(rpc);
    server_kill(&server);
}

static void client_main(const char *address)
{
    struct rpc *rpc = client_open();
    struct rpc_connection *connection;
    static struct waited waited[8];
    static uint8_t data[1 << 20];
    struct iovec payload = {data, sizeof data};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    rpc_connect(rpc, address, &connection);
    for (;;) {
        for (size_t i = 0; i < 8; i++)
            call_start(connection, &waited[i], WIRE_OP_write, NULL, 0, &payload);
        for (size_t i = 0; i < 8; i++)
            wait_over(rpc, &waited[i]);
    }
}

static void dying_clients_leave_the_server_well(void **state)
{
    (void)state;
    struct server server;
    server_start(&server, "127.0.0.1:0", "1");
    unsigned seed = 99;
    for (int round = 0; round < 10; round++) {
        pid_t pid = fork();
        if (pid == 0) {
            execl(own_program(), "test_rpc", "client", server.address, conf.transport, NULL);
            _exit(127);
        }
        usleep(60000 + (useconds_t)(rand_r(&seed) % 40000));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    struct rpc *rpc = client_open();
    struct rpc_connection *connection;
    struct waited waited = {0};
    assert_int_equal(rpc_connect(rpc, server.address, &connection), 0);
    unsigned up = 0;
    for (int i = 0; i < 100 && up != 1; i++) { /* the others' going is noticed */
        assert_int_equal(call(rpc, connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
        memcpy(&up, waited.reply, sizeof up);
        usleep(10000);
    }
    assert_int_equal(up, 1);
    rpc_close(rpc);
    server_kill(&server);
}

/* `rpc` is kept going meanwhile, since UCX must first connect with whom it sends to. */
static void jam(struct rpc *rpc, const void *address, size_t length)
{
    static char hex[131073];
    int status;
    sodium_bin2hex(hex, sizeof hex, address, length);
    pid_t pid = fork();
    if (pid == 0) {
        execl(own_program(), "test_rpc", "jam", hex, NULL);
        _exit(127);
    }
    while (waitpid(pid, &status, WNOHANG) == 0)
        rpc_wait(rpc, 10);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

/* What others sent in vain meanwhile is repeated, and what the server still holds of
 * the old connections is kept. */
static void client_killed_while_it_sends_deafens_no_server(void **state)
{
    (void)state;
    static uint8_t data[1 << 20];
    struct world world;
    struct rpc *bystander = client_open();
    struct rpc_connection *connection;
    struct waited held = {0}, long_body = {0}, waited = {0};
    struct iovec payload = {data, sizeof data};
    unsigned answer[2];
    world_begin(&world, "1");
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
    assert_int_equal(rpc_connect(bystander, world.server.address, &connection), 0);
    held.call.deadline_ms = long_body.call.deadline_ms = 3000;
    assert_int_equal(call_start(connection, &held, WIRE_OP_sync, NULL, 0, &payload), 0);
    assert_int_equal(call_start(connection, &long_body, WIRE_OP_sync, data, 5000, NULL), 0);
    rpc_wait(bystander, 100);

    const struct wire_bytes *address = &world.connection->link->control.welcome.address;
    jam(world.rpc, address->data, address->length);
    rpc_close(world.rpc); /* the death that is seen */
    world.rpc = client_open();
    assert_int_equal(rpc_connect(world.rpc, world.server.address, &world.connection), 0);
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
    memcpy(answer, waited.reply, sizeof answer);
    assert_int_equal(answer[1], 1);
    wait_over(bystander, &held);
    wait_over(bystander, &long_body);
    assert_int_equal(held.call.status, -ETIMEDOUT); /* it is never answered */
    assert_int_equal(call(bystander, connection, &waited, WIRE_OP_write, NULL, 0, &payload), 0);
    rpc_close(bystander);
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_write, NULL, 0, &payload), 0);
    world_end(&world);
}

static void server_killed_while_it_answers_deafens_no_client(void **state)
{
    (void)state;
    struct world world;
    struct server other;
    struct rpc_connection *connection;
    static uint8_t data[1 << 20];
    struct iovec payload = {data, sizeof data};
    struct waited waited = {0}, long_payload = {0};
    world_begin(&world, "1");
    server_start(&other, "127.0.0.1:0", "1");
    assert_int_equal(rpc_connect(world.rpc, other.address, &connection), 0);
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
    assert_int_equal(call(world.rpc, connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
    jam(world.rpc, world.rpc->roads[0].address, world.rpc->roads[0].address_length);
    /* What UCX still holds when it is made anew is told of once, and freed. */
    assert_int_equal(call_start(world.connection, &long_payload, WIRE_OP_write, NULL, 0, &payload), 0);
    rpc_wait(world.rpc, 100);
    server_kill(&other);
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
    assert_int_equal(counter_get(&world.rpc->counters[COUNT_RENEWALS]), 1);
    wait_over(world.rpc, &long_payload);
    assert_int_equal(long_payload.call.status, 0);
    world_end(&world);
}

/* A leak would be found by the leak checker, which gives the server another exit code. */
static void unanswered_requests_end_with_their_server(void **state)
{
    (void)state;
    struct world world;
    struct waited held = {0}, fetched = {0}, last = {0};
    static uint8_t data[1 << 20];
    struct iovec payload = {data, sizeof data};
    int status;
    world_begin(&world, "1");
    held.call.deadline_ms = fetched.call.deadline_ms = last.call.deadline_ms = 1000;
    assert_int_equal(call_start(world.connection, &held, WIRE_OP_sync, NULL, 0, &payload), 0);
    /* A body that is too long for the header is fetched into a buffer of the server's rpc. */
    assert_int_equal(call_start(world.connection, &fetched, WIRE_OP_sync, data, 5000, &payload), 0);
    rpc_wait(world.rpc, 100);
    assert_int_equal(call_start(world.connection, &last, WIRE_OP_unlink, NULL, 0, NULL), 0);
    wait_over(world.rpc, &last);
    wait_over(world.rpc, &held);
    wait_over(world.rpc, &fetched);
    assert_true(held.call.status < 0 && fetched.call.status < 0 && last.call.status < 0);
    assert_int_equal(waitpid(world.server.pid, &status, 0), world.server.pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    rpc_close(world.rpc);
}

static void idle_server_uses_no_cpu(void **state)
{
    (void)state;
    struct world world;
    world_begin(&world, "1");
    struct waited waited = {0};
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
    char path[64], line[1024];
    unsigned long user[2], system[2];
    snprintf(path, sizeof path, "/proc/%d/stat", world.server.pid);
    for (int i = 0; i < 2; i++) {
        usleep(i ? 2000000 : 200000);
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        assert_non_null(fgets(line, sizeof line, file));
        fclose(file);
        assert_int_equal(sscanf(strrchr(line, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                                &user[i], &system[i]),
                         2);
    }
    /* At most two ticks of 10 ms in two seconds. */
    assert_in_range(user[1] + system[1] - user[0] - system[0], 0, 2);
    world_end(&world);
}

#define OFI "ofi:tcp;ofi_rxm"

static void server_start_with(struct server *server, char *transport)
{
    conf.transport = transport;
    server_start(server, "127.0.0.1:0", "1");
}

/* One client, and servers with one transport or two. */
static void transports_are_agreed_upon(void **state)
{
    (void)state;
    static char *const servers_have[] = {"ucx", OFI, "ucx+" OFI, OFI "+ucx"};
    static char *const clients_have[] = {"ucx", OFI, "ucx+" OFI, OFI "+ucx", "auto"};
    struct server servers[4];
    for (int i = 0; i < 4; i++)
        server_start_with(&servers[i], servers_have[i]);
    for (int c = 0; c < 5; c++) {
        conf.transport = clients_have[c];
        struct rpc *rpc = client_open();
        for (int i = 0; i < 4; i++) {
            struct rpc_connection *connection;
            struct waited waited = {0};
            bool meets = (c != 0 || i != 1) && (c != 1 || i != 0);
            assert_int_equal(rpc_connect(rpc, servers[i].address, &connection), 0);
            assert_int_equal(call(rpc, connection, &waited, WIRE_OP_statfs, NULL, 0, NULL),
                             meets ? 0 : -EPROTO);
            if (!meets)
                assert_non_null(strstr(waited.text, i ? "has transport ucx, this server ofi"
                                                      : "has transport ofi, this server ucx"));
        }
        rpc_close(rpc);
    }
    for (int i = 0; i < 4; i++)
        server_kill(&servers[i]);
}

/* Those that are there, and can be used here. */
static const char *const transports[] = {"ucx", "ofi:tcp;ofi_rxm", "ofi:shm,tcp;ofi_rxm", "ofi:tcp"};

static bool is_usable(const char *transport)
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

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(payloads_of_all_sizes_arrive),
        cmocka_unit_test(many_pieces_arrive_in_order),
        cmocka_unit_test(more_calls_than_credit_all_end),
        cmocka_unit_test(replies_not_yet_given_back_do_not_count),
        cmocka_unit_test(later_connection_of_a_client_ends_its_earlier_one),
        cmocka_unit_test(error_carries_the_servers_text),
        cmocka_unit_test(killed_server_that_returns_is_waited_for),
        cmocka_unit_test(killed_server_ends_calls_within_the_deadline),
        cmocka_unit_test(silent_server_ends_calls_within_the_deadline),
        cmocka_unit_test(absent_server_is_told_quickly),
        cmocka_unit_test(wrong_key_is_refused_on_both_sides),
        cmocka_unit_test(nonsense_on_the_port_is_refused),
        cmocka_unit_test(dying_clients_leave_the_server_well),
        cmocka_unit_test(unanswered_requests_end_with_their_server),
        cmocka_unit_test(idle_server_uses_no_cpu),
    };
    return cmocka_run_group_tests_name(conf.transport, tests, NULL, NULL);
}

static int run_both(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(transports_are_agreed_upon)};
    return is_usable(OFI) ? cmocka_run_group_tests_name("ucx and ofi", tests, NULL, NULL) : 0;
}

static int run_ucx(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_killed_while_it_sends_deafens_no_server),
        cmocka_unit_test(server_killed_while_it_answers_deafens_no_client),
    };
    return cmocka_run_group_tests_name("ucx, jammed", tests, NULL, NULL);
}

/* "server ADDRESS KEYBYTE TRANSPORT", "client ADDRESS TRANSPORT" and "jam ADDRESS" are for this program
 * itself; a test's name, and a transport, choose among the tests. */
int main(int argc, char **argv)
{
    int failed = 0;
    if (argc == 5 && !strcmp(argv[1], "server")) {
        conf.transport = argv[4];
        return server_main(argv[2], atoi(argv[3]));
    }
    if (argc == 3 && !strcmp(argv[1], "jam"))
        return ucx_jam(argv[2]);
    memset(conf.key, 1, sizeof conf.key);
    if (argc == 4 && !strcmp(argv[1], "client")) {
        conf.transport = argv[3];
        client_main(argv[2]);
    }
    if (argc >= 2)
        cmocka_set_test_filter(argv[1]);
    for (size_t i = 0; i < sizeof transports / sizeof transports[0]; i++)
        if ((argc < 3 || !strcmp(argv[2], transports[i])) && is_usable(transports[i]))
            failed += run_all();
    if (argc < 3)
        failed += run_both();
    conf.transport = "ucx";
    return failed + (argc < 3 ? run_ucx() : 0);
}
