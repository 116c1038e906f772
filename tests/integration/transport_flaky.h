/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport_flaky.h: the UCX transport of this process, on which now and then one bit of a message flips,
 * going out or coming in, in the header or the payload. A test program that is linked with transport_flaky.c
 * has it in the place of "ucx"; the servers it talks with have the true one.
 *
 * The eight bytes of a header that name its connection are spared: a message that lost its connection is
 * not told to anyone, and its request ends at its deadline.
 */
#ifndef TEST_TRANSPORT_FLAKY_H
#define TEST_TRANSPORT_FLAKY_H

#include <stdatomic.h>

/* One in so many messages; 0: none. */
extern atomic_uint flaky_period;
/* Made so far. */
extern atomic_uint flaky_headers, flaky_payloads;

#endif
