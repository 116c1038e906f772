/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests between two processes over the real transports: payloads, credit, errors, and which transport two
 * agree upon. What must survive: a wrong key, nonsense on the server's port, and more calls than the credit
 * allows. Deaths are in test_rpc_faults.c.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "rpc_world.h"

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

static void count_run(void *arg)
{
    ++*(unsigned *)arg;
}

/* Whoever waits may have something else to do then. */
static void wait_ends_when_a_timer_ran(void **state)
{
    (void)state;
    unsigned runs = 0;
    struct rpc *rpc = client_open();
    assert_int_equal(rpc_every(rpc, 20, count_run, &runs), 0);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(rpc_wait(rpc, 60000), 1);
        assert_int_equal(runs, i);
    }
    rpc_close(rpc);
}

static void wait_ends_when_a_call_ran_out_of_time(void **state)
{
    (void)state;
    struct world world;
    struct waited waited = {0}, held = {0};
    uint64_t start = rpc_now_ns();
    world_begin(&world, "1");
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
    held.call.deadline_ms = 300;
    assert_int_equal(call_start(world.connection, &held, WIRE_OP_sync, NULL, 0, NULL), 0);
    while (!held.over)
        assert_true(rpc_wait(world.rpc, 10000) > 0);
    assert_int_equal(held.call.status, -ETIMEDOUT);
    assert_true(rpc_now_ns() - start < UINT64_C(8000000000)); /* before the wait's own end */
    world_end(&world);
}

/* The deadline of a call that was answered passes: a wait that ended then would be one that spins. */
static void wait_goes_on_when_nothing_was_due(void **state)
{
    (void)state;
    struct world world;
    struct waited waited = {0};
    world_begin(&world, "1");
    waited.call.deadline_ms = 1000;
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
    assert_true(world.rpc->due_ns != UINT64_MAX);
    while (rpc_wait(world.rpc, 100)) /* what the transport still does */
        ;
    assert_int_equal(rpc_wait(world.rpc, 2000), 0);
    assert_int_equal(world.rpc->due_ns, UINT64_MAX);
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

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(payloads_of_all_sizes_arrive),
        cmocka_unit_test(many_pieces_arrive_in_order),
        cmocka_unit_test(more_calls_than_credit_all_end),
        cmocka_unit_test(replies_not_yet_given_back_do_not_count),
        cmocka_unit_test(later_connection_of_a_client_ends_its_earlier_one),
        cmocka_unit_test(error_carries_the_servers_text),
        cmocka_unit_test(absent_server_is_told_quickly),
        cmocka_unit_test(wrong_key_is_refused_on_both_sides),
        cmocka_unit_test(nonsense_on_the_port_is_refused),
        cmocka_unit_test(idle_server_uses_no_cpu),
        cmocka_unit_test(wait_ends_when_a_timer_ran),
        cmocka_unit_test(wait_ends_when_a_call_ran_out_of_time),
        cmocka_unit_test(wait_goes_on_when_nothing_was_due),
    };
    return cmocka_run_group_tests_name(conf.transport, tests, NULL, NULL);
}

static int run_both(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(transports_are_agreed_upon)};
    return transport_is_usable(OFI) ? cmocka_run_group_tests_name("ucx and ofi", tests, NULL, NULL) : 0;
}

int main(int argc, char **argv)
{
    static const gid_t groups[] = {4242, 77}; /* whom they are told to looks for them */
    if (geteuid() == 0 && setgroups(2, groups) < 0)
        return 99;
    return world_main(argc, argv, run_all, run_both);
}
