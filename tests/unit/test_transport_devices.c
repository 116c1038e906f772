/* SPDX-License-Identifier: Apache-2.0 */
/* A transport that is kept to some network devices: its address tells of no others, what is inside
 * the host stays, and what the user has told UCX counts more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include <cmocka.h>

#include "transport.h"

static unsigned came;

static void message_came(void *arg, const struct transport_message *message)
{
    (void)arg;
    came++;
    transport_ucx.release(message);
}

static void peer_failed(void *arg, struct transport_peer *peer, int error)
{
    (void)arg, (void)peer, (void)error;
    fail();
}

static const struct transport_events events = {.message = message_came, .peer_failed = peer_failed};

static struct transport_worker *open_with(const char *devices)
{
    struct transport_worker *worker;
    assert_int_equal(transport_ucx.open(NULL, devices, &events, NULL, &worker), 0);
    return worker;
}

/* The address has an entry for each device that peers could use. */
static size_t address_length(const char *devices)
{
    struct transport_worker *worker = open_with(devices);
    const void *address;
    size_t length;
    assert_int_equal(transport_ucx.address(worker, &address, &length), 0);
    transport_ucx.close(worker);
    return length;
}

static void unset_settings(void)
{
    static const char *const names[] = {"UCX_NET_DEVICES", "WEFT_UCX_NET_DEVICES", "UCX_TLS", "WEFT_UCX_TLS"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unsetenv(names[i]);
}

static void test_others_are_left_out(void **state)
{
    (void)state;
    unset_settings();
    size_t all = address_length(NULL), none = address_length("no-such-device"), one = address_length("lo");
    assert_true(none < one);
    assert_true(one <= all);
}

static void test_the_users_word_counts_more(void **state)
{
    static const char *const names[] = {"UCX_NET_DEVICES", "WEFT_UCX_NET_DEVICES"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        unset_settings();
        size_t one = address_length("lo");
        setenv(names[i], "lo", 1);
        assert_int_equal(address_length("no-such-device"), one);
    }
    unset_settings();
}

static void sent(void *arg, int status)
{
    *(int *)arg = status;
}

/* Without any network device, the way inside the host is left. */
static void test_the_own_host_is_reached(void **state)
{
    (void)state;
    unset_settings();
    struct transport_worker *from = open_with("no-such-device"), *to = open_with("no-such-device");
    struct transport_peer *peer;
    const void *address;
    size_t length;
    int status = 1;
    assert_int_equal(transport_ucx.address(to, &address, &length), 0);
    assert_int_equal(transport_ucx.connect(from, address, length, true, NULL, &peer), 0);
    assert_int_equal(transport_ucx.send(peer, "hello", 5, NULL, 0, sent, &status), 0);
    came = 0;
    for (unsigned turn = 0; turn < 1000000 && (!came || status > 0); turn++) {
        transport_ucx.progress(from);
        transport_ucx.progress(to);
    }
    assert_int_equal(came, 1);
    assert_int_equal(status, 0);
    transport_ucx.disconnect(peer);
    transport_ucx.close(from);
    transport_ucx.close(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_others_are_left_out),
        cmocka_unit_test(test_the_users_word_counts_more),
        cmocka_unit_test(test_the_own_host_is_reached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
