/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of transport.h, on every transport and provider that can be used here: two workers of this
 * process, with and without what processes of one host may share. What must survive: payloads
 * of all sizes and pieces, payloads that are fetched late, given up, or never; the end of a connection in the
 * middle of all that; a worker made anew. After a disconnect nobody may touch the memory any more.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "err.h"
#include "transport.h"
#include "weft_limits.h"

#define PAYLOAD_MAX (5u << 20)
#define TURNS_MAX   2000000u
#define MESSAGES    64u

/* ---- two sides -------------------------------------------------------------------- */

struct side {
    struct transport_worker *worker;
    struct transport_peer *peer; /* to the other */
    unsigned came;
    bool keeps; /* messages with a payload are kept; else received at once */
    unsigned kept_count;
    struct transport_message kept[MESSAGES];
    uint8_t header[LIMITS_HEADER_MAX];
    size_t header_length;
    uint8_t *memory;
    size_t received; /* bytes of the payload that was received last */
    unsigned failures;
};

struct transfer {
    unsigned calls;
    int status;
};

static const struct transport *transport;
static const char *options;
static bool same_host;
static bool is_submitting; /* no callback may run */
static struct side sides[2];

static void on_done(void *arg, int status)
{
    struct transfer *transfer = arg;
    assert_false(is_submitting);
    transfer->calls++;
    transfer->status = status;
}

static struct transfer received;
static unsigned receives; /* begun */

static void receive(struct side *side, const struct transport_message *message, struct transfer *transfer)
{
    side->received = message->payload_length;
    receives++;
    is_submitting = true;
    assert_int_equal(transport->receive(message, side->memory, on_done, transfer), 0);
    is_submitting = false;
}

static void on_message(void *arg, const struct transport_message *message)
{
    struct side *side = arg;
    assert_false(is_submitting);
    side->came++;
    side->header_length = message->header_length;
    memcpy(side->header, message->header, message->header_length);
    if (!message->payload_length)
        return;
    if (!side->keeps) {
        receive(side, message, &received);
        return;
    }
    assert_in_range(side->kept_count, 0, MESSAGES - 1);
    side->kept[side->kept_count++] = *message;
}

static void on_peer_failed(void *arg, struct transport_peer *peer, int error)
{
    struct side *side = arg;
    (void)peer, (void)error;
    side->failures++;
}

static void on_worker_failed(void *arg, int error)
{
    struct side *side = arg;
    (void)error;
    side->failures++;
}

static const struct transport_events events = {
    .message = on_message,
    .peer_failed = on_peer_failed,
    .worker_failed = on_worker_failed,
};

static unsigned turn(void)
{
    unsigned count = 0;
    for (int i = 0; i < 2; i++)
        if (sides[i].worker)
            count += transport->progress(sides[i].worker);
    return count;
}

/* Until *count is `wanted`; that it ever is, is the test. */
static void turn_until(const unsigned *count, unsigned wanted)
{
    for (unsigned i = 0; i < TURNS_MAX && *count < wanted; i++)
        turn();
    assert_int_equal(*count, wanted);
}

static void turn_idle(unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        turn();
}

static void connect_sides(void)
{
    for (int i = 0; i < 2; i++) {
        const void *address;
        size_t length;
        assert_int_equal(transport->address(sides[1 - i].worker, &address, &length), 0);
        assert_int_equal(
            transport->connect(sides[i].worker, address, length, same_host, &sides[i], &sides[i].peer), 0);
        assert_ptr_equal(transport->peer_arg(sides[i].peer), &sides[i]);
    }
}

static int world_begin(void **state)
{
    (void)state;
    memset(sides, 0, sizeof sides);
    received = (struct transfer){0};
    for (int i = 0; i < 2; i++) {
        if (transport->open(options, NULL, &events, &sides[i], &sides[i].worker)) {
            print_error("%s\n", err_text());
            return -1;
        }
        sides[i].memory = calloc(1, PAYLOAD_MAX);
    }
    connect_sides();
    return 0;
}

static int world_end(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        if (sides[i].peer)
            transport->disconnect(sides[i].peer);
    turn_idle(100);
    for (int i = 0; i < 2; i++) {
        if (sides[i].worker)
            transport->close(sides[i].worker);
        free(sides[i].memory);
    }
    return 0;
}

static uint8_t *pattern(size_t length, unsigned seed)
{
    uint8_t *bytes = malloc(length + 1);
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(i * 7 + (i >> 11) + seed);
    return bytes;
}

static void send(struct side *from, const char *header, const struct iovec *iov, size_t count,
                 struct transfer *transfer)
{
    *transfer = (struct transfer){0};
    is_submitting = true;
    assert_int_equal(transport->send(from->peer, header, strlen(header), iov, count, on_done, transfer), 0);
    is_submitting = false;
}

/* ---- tests -------------------------------------------------------------------------- */

static void payloads_of_all_sizes_arrive(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,     1,     100,   4096,  16000,   16384,      16385,
                                   47008, 65536, 65537, 99999, 1 << 20, PAYLOAD_MAX};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (int from = 0; from < 2; from++) {
            struct transfer sent;
            uint8_t *bytes = pattern(sizes[s], (unsigned)s);
            struct iovec iov = {bytes, sizes[s]};
            unsigned came = sides[1 - from].came;
            received.calls = 0;
            send(&sides[from], "a header", &iov, 1, &sent);
            turn_until(&sides[1 - from].came, came + 1);
            turn_until(&sent.calls, sizes[s] || 1);
            turn_until(&received.calls, sizes[s] > 0);
            assert_int_equal(sent.status, 0);
            assert_int_equal(received.status, 0);
            assert_int_equal(sides[1 - from].header_length, 8);
            assert_memory_equal(sides[1 - from].header, "a header", 8);
            if (sizes[s]) {
                assert_int_equal(sides[1 - from].received, sizes[s]);
                assert_memory_equal(sides[1 - from].memory, bytes, sizes[s]);
            }
            free(bytes);
        }
}

static void pieces_arrive_in_order(void **state)
{
    (void)state;
    static const size_t piece_bytes[] = {1, 100, 4000, 20000};
    uint8_t *bytes = pattern(PAYLOAD_MAX, 3);
    for (size_t p = 0; p < sizeof piece_bytes / sizeof piece_bytes[0]; p++)
        for (size_t count = 2; count <= 128; count += 21) {
            struct iovec iov[128];
            struct transfer sent;
            size_t length = count * piece_bytes[p];
            for (size_t i = 0; i < count; i++) /* an empty one among them */
                iov[i] = (struct iovec){bytes + i * piece_bytes[p], piece_bytes[p]};
            iov[count - 1].iov_len = 0;
            length -= piece_bytes[p];
            received.calls = 0;
            send(&sides[0], "p", iov, count, &sent);
            turn_until(&sent.calls, 1);
            turn_until(&received.calls, 1);
            assert_int_equal(sides[1].received, length);
            assert_memory_equal(sides[1].memory, bytes, length);
        }
    free(bytes);
}

static void a_header_of_the_longest_arrives(void **state)
{
    (void)state;
    char header[LIMITS_HEADER_MAX + 2];
    struct transfer sent;
    static uint8_t bytes[1 << 20];
    struct iovec iov = {bytes, sizeof bytes};
    memset(header, 'h', sizeof header);
    header[LIMITS_HEADER_MAX] = '\0';
    send(&sides[0], header, &iov, 1, &sent);
    turn_until(&sides[1].came, 1);
    turn_until(&sent.calls, 1);
    assert_int_equal(sides[1].header_length, LIMITS_HEADER_MAX);
    assert_memory_equal(sides[1].header, header, LIMITS_HEADER_MAX);
    assert_int_equal(transport->send(sides[0].peer, header, LIMITS_HEADER_MAX + 1, NULL, 0, on_done, &sent),
                     -EMSGSIZE);
}

/* Kept in any order, some given up, while more come: each sender is told, and each byte is right. */
static void payloads_wait_until_they_are_wanted(void **state)
{
    (void)state;
    static struct transfer sent[MESSAGES];
    uint8_t *bytes[MESSAGES];
    sides[1].keeps = true;
    for (unsigned i = 0; i < MESSAGES; i++) {
        size_t length = i % 2 ? 3000 + i : 200000 + i;
        bytes[i] = pattern(length, i);
        struct iovec iov = {bytes[i], length};
        send(&sides[0], "k", &iov, 1, &sent[i]);
    }
    turn_until(&sides[1].kept_count, MESSAGES);
    for (unsigned i = MESSAGES; i-- > 0;) {
        const struct transport_message *message = &sides[1].kept[i];
        unsigned which = 0; /* messages may overtake each other, but no two are of one length */
        while ((which % 2 ? 3000 + which : 200000 + which) != message->payload_length)
            which++;
        if (which % 8 == 0) {
            transport->release(message);
            continue;
        }
        received.calls = 0;
        receive(&sides[1], message, &received);
        turn_until(&received.calls, 1);
        assert_int_equal(received.status, 0);
        assert_memory_equal(sides[1].memory, bytes[which], message->payload_length);
    }
    for (unsigned i = 0; i < MESSAGES; i++) {
        turn_until(&sent[i].calls, 1);
        assert_int_equal(sent[i].status, 0);
        free(bytes[i]);
    }
}

static void registered_memory_goes_as_any_other(void **state)
{
    (void)state;
    struct transport_memory *memories[2];
    uint8_t *bytes = pattern(PAYLOAD_MAX, 9);
    struct iovec iov[2] = {{bytes + 100, 1 << 20}, {bytes + (2 << 20), 12345}};
    struct transfer sent;
    assert_int_equal(transport->memory_register(sides[0].worker, bytes, PAYLOAD_MAX, &memories[0]), 0);
    assert_int_equal(transport->memory_register(sides[1].worker, sides[1].memory, PAYLOAD_MAX, &memories[1]),
                     0);
    send(&sides[0], "r", iov, 2, &sent);
    turn_until(&sent.calls, 1);
    turn_until(&received.calls, 1);
    assert_memory_equal(sides[1].memory, bytes + 100, 1 << 20);
    assert_memory_equal(sides[1].memory + (1 << 20), bytes + (2 << 20), 12345);
    transport->memory_release(memories[0]);
    transport->memory_release(memories[1]);
    free(bytes);
}

static void the_end_of_a_connection_ends_its_sends(void **state)
{
    (void)state;
    static struct transfer sent[8];
    uint8_t *bytes = pattern(300000, 1);
    struct iovec iov = {bytes, 300000};
    sides[1].keeps = true;
    for (int i = 0; i < 8; i++)
        send(&sides[0], "x", &iov, 1, &sent[i]);
    turn_until(&sides[1].kept_count, 8);
    transport->disconnect(sides[0].peer);
    sides[0].peer = NULL;
    free(bytes); /* the caller's again */
    for (int i = 0; i < 8; i++) {
        turn_until(&sent[i].calls, 1);
        assert_int_equal(sent[i].status, -ECONNRESET);
    }
    transport->disconnect(sides[1].peer);
    sides[1].peer = NULL;
    for (int i = 0; i < 8; i++)
        transport->release(&sides[1].kept[i]);
    turn_idle(1000);
    connect_sides();
    /* And a new connection works, if need be of a worker that is made anew. */
    sides[1].keeps = false;
    struct transfer again;
    struct iovec next = {sides[0].memory, 300000};
    received.calls = 0;
    send(&sides[0], "y", &next, 1, &again);
    turn_until(&again.calls, 1);
    turn_until(&received.calls, 1);
    assert_int_equal(received.status, 0);
}

/* What was being received when the connection ended comes before the disconnect returns, or never. */
static void nothing_is_written_after_a_disconnect(void **state)
{
    (void)state;
    if (same_host && transport == &transport_ucx)
        skip(); /* transport_ucx.c begins with what it can't promise there */
    struct transfer sent, got = {0};
    uint8_t *bytes = pattern(PAYLOAD_MAX, 5);
    struct iovec iov = {bytes, PAYLOAD_MAX};
    sides[1].keeps = true;
    send(&sides[0], "w", &iov, 1, &sent);
    turn_until(&sides[1].kept_count, 1);
    receive(&sides[1], &sides[1].kept[0], &got);
    transport->disconnect(sides[1].peer);
    sides[1].peer = NULL;
    memset(sides[1].memory, 0xee, PAYLOAD_MAX);
    for (unsigned i = 0; i < 20000; i++) {
        turn();
        if (i % 1000 == 0)
            for (size_t k = 0; k < PAYLOAD_MAX; k++)
                assert_int_equal(sides[1].memory[k], 0xee);
    }
    assert_int_equal(got.calls, 1);
    transport->disconnect(sides[0].peer);
    sides[0].peer = NULL;
    turn_until(&sent.calls, 1);
    free(bytes);
}

static void a_sleeper_is_woken(void **state)
{
    (void)state;
    struct transfer sent;
    send(&sides[0], "first", NULL, 0, &sent); /* connections are made */
    turn_until(&sides[1].came, 1);
    turn_until(&sent.calls, 1);
    for (unsigned round = 0; round < 20; round++) {
        unsigned turns = 0;
        while (transport->arm(sides[1].worker) && turns++ < TURNS_MAX)
            turn();
        assert_in_range(turns, 0, TURNS_MAX);
        struct pollfd pollfd = {.fd = transport->fd(sides[1].worker), .events = POLLIN};
        assert_int_equal(poll(&pollfd, 1, 0), 0);
        send(&sides[0], "wake", NULL, 0, &sent);
        for (turns = 0; turns < TURNS_MAX && poll(&pollfd, 1, 0) == 0; turns++)
            transport->progress(sides[0].worker);
        assert_int_equal(pollfd.revents, POLLIN);
        turn_until(&sides[1].came, 2 + round);
        turn_until(&sent.calls, 1);
    }
}

static void a_worker_is_made_anew(void **state)
{
    (void)state;
    struct transfer sent, next;
    uint8_t *bytes = pattern(3000, 2);
    struct iovec iov = {bytes, 3000};
    sides[1].keeps = true;
    send(&sides[0], "old", &iov, 1, &sent);
    turn_until(&sides[1].kept_count, 1);
    turn_until(&sent.calls, 1);
    for (int i = 0; i < 2; i++)
        transport->disconnect(sides[i].peer);
    assert_int_equal(transport->renew(sides[1].worker), 0);
    connect_sides();
    send(&sides[0], "new", &iov, 1, &next);
    turn_until(&sides[1].kept_count, 2);
    turn_until(&next.calls, 1);
    for (int i = 0; i < 2; i++) { /* the old one is still valid */
        received.calls = 0;
        memset(sides[1].memory, 0, 3000);
        receive(&sides[1], &sides[1].kept[i], &received);
        turn_until(&received.calls, 1);
        assert_memory_equal(sides[1].memory, bytes, 3000);
    }
    free(bytes);
}

static void one_that_is_gone_is_no_obstacle(void **state)
{
    (void)state;
    static struct transfer sent[MESSAGES];
    if (same_host && strstr(options, "shm"))
        skip(); /* two endpoints of one process share what ends with one of them (libfabric 1.17) */
    uint8_t *bytes = pattern(100000, 4);
    /* Some of it can't go any more, and some waits to be fetched. */
    for (unsigned i = 0; i < MESSAGES; i++) {
        struct iovec iov = {bytes, i % 2 ? 100000 : 2000};
        send(&sides[0], "g", &iov, 1, &sent[i]);
        if (i == MESSAGES / 2) {
            transport->disconnect(sides[1].peer);
            sides[1].peer = NULL;
            transport->close(sides[1].worker);
            sides[1].worker = NULL;
        }
    }
    turn_idle(1000);
    transport->disconnect(sides[0].peer);
    sides[0].peer = NULL;
    for (unsigned i = 0; i < MESSAGES; i++)
        turn_until(&sent[i].calls, 1);
    free(bytes);
}

/* Both send whatever a seed says; nothing is lost, doubled or damaged. */
static void many_messages_both_ways(void **state)
{
    (void)state;
    static struct transfer sent[MESSAGES];
    const char *given = getenv("WEFT_TEST_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    uint8_t *bytes = pattern(PAYLOAD_MAX, 0);
    unsigned total[2] = {0, 0};
    receives = received.calls = 0;
    for (unsigned round = 0; round < 50; round++) {
        unsigned count = 1 + (unsigned)rand_r(&seed) % MESSAGES;
        for (unsigned i = 0; i < count; i++) {
            unsigned from = (unsigned)rand_r(&seed) % 2;
            size_t length = (size_t)rand_r(&seed) % (rand_r(&seed) % 4 ? 20000 : 300000);
            struct iovec iov = {bytes, length};
            send(&sides[from], "m", &iov, 1, &sent[i]);
            total[1 - from]++;
            while (rand_r(&seed) % 3 == 0)
                turn();
        }
        for (unsigned i = 0; i < count; i++) {
            turn_until(&sent[i].calls, 1);
            assert_int_equal(sent[i].status, 0);
        }
        for (int i = 0; i < 2; i++)
            turn_until(&sides[i].came, total[i]);
        turn_until(&received.calls, receives); /* a sender may be done before */
        for (int i = 0; i < 2; i++)
            assert_memory_equal(sides[i].memory, bytes, sides[i].received);
    }
    free(bytes);
}

/* ---- all of them ----------------------------------------------------------------------- */

static const struct {
    const char *name, *options;
} transports[] = {
    {"ucx", ""},
    {"ofi", "tcp;ofi_rxm"},
    {"ofi", "shm,tcp;ofi_rxm"},
    {"ofi", "tcp"},
};

static int run_all(const char *name)
{
    char title[128];
    snprintf(title, sizeof title, "%s:%s, %s", name, options, same_host ? "of one host" : "of two hosts");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(payloads_of_all_sizes_arrive, world_begin, world_end),
        cmocka_unit_test_setup_teardown(pieces_arrive_in_order, world_begin, world_end),
        cmocka_unit_test_setup_teardown(a_header_of_the_longest_arrives, world_begin, world_end),
        cmocka_unit_test_setup_teardown(payloads_wait_until_they_are_wanted, world_begin, world_end),
        cmocka_unit_test_setup_teardown(registered_memory_goes_as_any_other, world_begin, world_end),
        cmocka_unit_test_setup_teardown(the_end_of_a_connection_ends_its_sends, world_begin, world_end),
        cmocka_unit_test_setup_teardown(nothing_is_written_after_a_disconnect, world_begin, world_end),
        cmocka_unit_test_setup_teardown(a_sleeper_is_woken, world_begin, world_end),
        cmocka_unit_test_setup_teardown(a_worker_is_made_anew, world_begin, world_end),
        cmocka_unit_test_setup_teardown(one_that_is_gone_is_no_obstacle, world_begin, world_end),
        cmocka_unit_test_setup_teardown(many_messages_both_ways, world_begin, world_end),
    };
    return cmocka_run_group_tests_name(title, tests, NULL, NULL);
}

/* Libraries below ours (PSM's) make themselves the program's handlers of signals that end it. */
static int signals_are_ours(const char *when)
{
    static const int signals[] = {SIGINT, SIGTERM}; /* SIGHUP is UCX's, to show where the program is */
    struct sigaction action;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        sigaction(signals[i], NULL, &action);
        if (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN) {
            print_error("signal %d is somebody else's %s\n", signals[i], when);
            return 1;
        }
    }
    return 0;
}

/* A test's name, and a transport with its options, choose among the tests. */
int main(int argc, char **argv)
{
    int failed = signals_are_ours("as soon as the program is loaded");
    if (sodium_init() < 0)
        return 1;
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    for (size_t i = 0; i < sizeof transports / sizeof transports[0]; i++) {
        char text[64];
        struct transport_worker *worker;
        struct side side = {0};
        transport = transport_by_name(transports[i].name);
        options = transports[i].options;
        snprintf(text, sizeof text, "%s:%s", transports[i].name, options);
        if (argc > 2 && strcmp(argv[2], text) != 0)
            continue;
        if (!transport || transport->open(options, NULL, &events, &side, &worker)) {
            print_message("left out: transport %s: %s\n", text, transport ? err_text() : "not in this build");
            continue;
        }
        transport->close(worker);
        failed += signals_are_ours(text);
        for (int host = 0; host < 2; host++) {
            same_host = host;
            failed += run_all(transports[i].name);
        }
    }
    return failed;
}
