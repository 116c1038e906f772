/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests between two processes of which one dies, over the real transports. What must survive:
 * a server that is killed and comes back, one that is killed and does not, one
 * that stops answering or ends, and a client that dies in the middle of a transfer or of sending.
 *
 * Some clients are this program itself, run again; see main().
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "rpc_world.h"
#include "ucx_jam.h"

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

/* ---- calls that lead --------------------------------------------------------- */

static struct {
    unsigned opened, ended;
    unsigned operation[2]; /* of the calls that lead, by the connection */
    unsigned left;         /* how many more follow one that was answered */
    struct waited leader, *behind;
    struct rpc_connection *connection;
    int status[4];
} leading;

static void lead(unsigned operation);

static void led(struct rpc_call *call)
{
    /* Nobody has passed it. */
    assert_true(!leading.behind || (!leading.behind->over && leading.behind->call.state == CALL_QUEUED));
    leading.status[leading.ended++] = call->status;
    if (call->status == 0 && leading.left > 0) {
        leading.left--;
        lead(WIRE_OP_statfs);
    }
}

static void lead(unsigned operation)
{
    leading.leader.call = (struct rpc_call){
        .operation = (uint16_t)operation, .deadline_ms = 400, .done = led, .leads = true};
    assert_int_equal(rpc_call_start(leading.connection, &leading.leader.call), 0);
}

static void has_opened(void *arg, struct rpc_connection *connection)
{
    (void)arg;
    assert_ptr_equal(connection, leading.connection);
    assert_in_range(leading.opened, 0, 1);
    lead(leading.operation[leading.opened++]);
}

static void begin_leading(struct world *world, struct waited *behind, unsigned operation)
{
    memset(&leading, 0, sizeof leading);
    leading.connection = world->connection;
    leading.behind = behind;
    leading.operation[0] = operation;
    leading.operation[1] = WIRE_OP_statfs;
    world->rpc->config.opened = has_opened;
}

static void calls_that_lead_are_answered_before_others_are_sent(void **state)
{
    (void)state;
    struct server again;
    struct world world;
    world_begin(&world, "1");
    struct waited waited = {0};
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
    server_kill(&world.server);
    begin_leading(&world, &waited, WIRE_OP_statfs);
    leading.left = 2;
    waited = (struct waited){0};
    assert_int_equal(call_start(world.connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
    while (world.connection->link)
        rpc_wait(world.rpc, 20);
    struct rpc_call alone = {.operation = WIRE_OP_statfs, .done = led, .leads = true};
    assert_int_equal(rpc_call_start(world.connection, &alone), -ENOTCONN);
    server_start(&again, world.server.address, "1");
    wait_over(world.rpc, &waited);
    assert_int_equal(waited.call.status, 0);
    assert_int_equal(leading.opened, 1);
    assert_int_equal(leading.ended, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(leading.status[i], 0);
    rpc_close(world.rpc);
    server_kill(&again);
}

/* The connection is of no use, and over the next one another goes first. */
static void a_call_that_leads_and_is_not_answered_ends_the_connection(void **state)
{
    (void)state;
    struct world world;
    world_begin(&world, "1");
    struct waited waited = {0};
    begin_leading(&world, &waited, WIRE_OP_sync);
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
    assert_int_equal(leading.opened, 2);
    assert_int_equal(leading.ended, 2);
    assert_int_equal(leading.status[0], -ECONNRESET);
    assert_int_equal(leading.status[1], 0);
    assert_false(waited.call.resent);
    world_end(&world);
}

static void a_connection_that_is_kept_is_made_anew_without_a_call(void **state)
{
    (void)state;
    struct server again;
    struct world world;
    world_begin(&world, "1");
    struct waited waited = {0};
    assert_int_equal(call(world.rpc, world.connection, &waited, WIRE_OP_statfs, NULL, 0, NULL), 0);
    begin_leading(&world, NULL, WIRE_OP_statfs);
    rpc_connection_keep(world.connection, true);
    server_kill(&world.server);
    for (int i = 0; i < 5; i++)
        rpc_wait(world.rpc, 20);
    server_start(&again, world.server.address, "1");
    while (leading.ended == 0)
        rpc_wait(world.rpc, 20);
    assert_int_equal(leading.status[0], 0);
    rpc_close(world.rpc);
    server_kill(&again);
}

static void client_main(const char *address, char *transport)
{
    conf.transport = transport;
    memset(conf.key, 1, sizeof conf.key);
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
            execl(own_program(), own_program(), "client", server.address, conf.transport, NULL);
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
        execl(own_program(), own_program(), "jam", hex, NULL);
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

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_server_that_returns_is_waited_for),
        cmocka_unit_test(killed_server_ends_calls_within_the_deadline),
        cmocka_unit_test(calls_that_lead_are_answered_before_others_are_sent),
        cmocka_unit_test(a_call_that_leads_and_is_not_answered_ends_the_connection),
        cmocka_unit_test(a_connection_that_is_kept_is_made_anew_without_a_call),
        cmocka_unit_test(silent_server_ends_calls_within_the_deadline),
        cmocka_unit_test(dying_clients_leave_the_server_well),
        cmocka_unit_test(unanswered_requests_end_with_their_server),
    };
    return cmocka_run_group_tests_name(conf.transport, tests, NULL, NULL);
}

static int run_ucx(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_killed_while_it_sends_deafens_no_server),
        cmocka_unit_test(server_killed_while_it_answers_deafens_no_client),
    };
    conf.transport = "ucx";
    return cmocka_run_group_tests_name("ucx, jammed", tests, NULL, NULL);
}

/* "client ADDRESS TRANSPORT" and "jam ADDRESS" are for this program itself. */
int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "jam"))
        return ucx_jam(argv[2]);
    if (argc == 4 && !strcmp(argv[1], "client"))
        client_main(argv[2], argv[3]);
    return world_main(argc, argv, run_all, run_ucx);
}
