/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bufpool.h"
#include "err.h"

#define KI ((size_t)1 << 10)
#define MI ((size_t)1 << 20)

static struct bufpool *open_pool(size_t bytes_max, size_t buffer_max)
{
    struct bufpool *pool = NULL;
    assert_int_equal(bufpool_open(NULL, bytes_max, buffer_max, &pool), 0);
    return pool;
}

static uint64_t random_state = 88172645463325252u;
static uint64_t random_below(uint64_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % bound;
}

/* One in line who notes what it got and when. */
struct guest {
    struct bufpool_waiter waiter; /* first */
    void *buffer;
    unsigned turn; /* 1: served first */
};
static unsigned turns;

static void seat(struct bufpool_waiter *waiter, void *buffer)
{
    struct guest *guest = (struct guest *)waiter;
    assert_null(guest->buffer);
    guest->buffer = buffer;
    guest->turn = ++turns;
}

static int reset(void **state)
{
    (void)state;
    turns = 0;
    return 0;
}

static struct guest guest_for(size_t length)
{
    return (struct guest){.waiter = {.length = length, .ready = seat}};
}

/* ---- buffers -------------------------------------------------------------- */

static void buffers_are_page_aligned_and_whole(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 4096, 64 * KI, 64 * KI + 1, 256 * KI, MI, 3 * MI, 4 * MI};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct bufpool *pool = open_pool(8 * MI, 4 * MI);
        uint8_t *buffer = bufpool_try(pool, lengths[i]);
        assert_non_null(buffer);
        assert_int_equal((uintptr_t)buffer % (uintptr_t)sysconf(_SC_PAGESIZE), 0);
        memset(buffer, 0xaa, lengths[i]);
        bufpool_put(pool, buffer);
        bufpool_close(pool);
    }
}

static void the_total_is_bounded(void **state)
{
    (void)state;
    struct bufpool *pool = open_pool(16 * MI, 4 * MI);
    void *large[5], *small[257];
    for (int i = 0; i < 4; i++)
        assert_non_null(large[i] = bufpool_try(pool, 4 * MI));
    assert_null(bufpool_try(pool, 1));
    for (int i = 0; i < 4; i++)
        bufpool_put(pool, large[i]);
    for (int i = 0; i < 256; i++)
        assert_non_null(small[i] = bufpool_try(pool, 64 * KI));
    assert_null(bufpool_try(pool, 1));
    for (int i = 0; i < 256; i++)
        bufpool_put(pool, small[i]);
    bufpool_close(pool);
}

static void a_buffer_of_any_largest_size_fits(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 4095, 4097, 100 * KI, 128 * KI, 5 * MI, 5 * MI + 1, 7654321};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct bufpool *pool = open_pool(2 * sizes[i] + 2 * MI, sizes[i]);
        void *one = bufpool_try(pool, sizes[i]), *other = bufpool_try(pool, sizes[i]);
        assert_non_null(one);
        assert_non_null(other);
        memset(one, 1, sizes[i]);
        memset(other, 2, sizes[i]);
        assert_int_equal(((uint8_t *)one)[sizes[i] - 1], 1);
        assert_null(bufpool_try(pool, sizes[i] + 1));
        bufpool_put(pool, one);
        bufpool_put(pool, other);
        bufpool_close(pool);
    }
}

static void small_buffers_become_a_large_one_again(void **state)
{
    (void)state;
    struct bufpool *pool = open_pool(4 * MI, 4 * MI);
    void *buffers[64];
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 64; i++)
            assert_non_null(buffers[i] = bufpool_try(pool, 64 * KI));
        for (int left = 64; left > 0; left--) {
            int i = (int)random_below((uint64_t)left);
            bufpool_put(pool, buffers[i]);
            buffers[i] = buffers[left - 1];
        }
        void *whole = bufpool_try(pool, 4 * MI);
        assert_non_null(whole);
        bufpool_put(pool, whole);
    }
    bufpool_close(pool);
}

static unsigned resident_pages(uint8_t *start, size_t length)
{
    unsigned count = 0;
    unsigned char *pages = malloc(length / 4096);
    assert_int_equal(mincore(start, length, pages), 0);
    for (size_t i = 0; i < length / 4096; i++)
        count += pages[i] & 1;
    free(pages);
    return count;
}

/* Many pools stand ready and few are in use: an untouched one costs nothing. */
static void memory_comes_when_it_is_used(void **state)
{
    (void)state;
    struct bufpool *pool = open_pool(64 * MI, 4 * MI);
    uint8_t *buffer = bufpool_try(pool, 4 * MI);
    assert_int_equal(resident_pages(buffer, 4 * MI), 0);
    memset(buffer, 1, 64 * KI);
    assert_in_range(resident_pages(buffer, 4 * MI), 16, 600); /* a huge page may have come */
    bufpool_put(pool, buffer);
    /* The same memory is used again. */
    assert_ptr_equal(bufpool_try(pool, 4 * MI), buffer);
    bufpool_put(pool, buffer);
    bufpool_close(pool);
}

static void senseless_sizes_are_refused(void **state)
{
    (void)state;
    struct bufpool *pool = NULL;
    assert_int_equal(bufpool_open(NULL, 4 * MI, 0, &pool), -EINVAL);
    assert_int_equal(bufpool_open(NULL, MI, 4 * MI, &pool), -EINVAL);
    assert_int_equal(bufpool_open(NULL, SIZE_MAX, SIZE_MAX, &pool), -EINVAL);
    assert_int_equal(bufpool_open(NULL, 5 * MI + 1, 5 * MI + 1, &pool), -EINVAL);
    assert_non_null(strstr(err_text(), "which takes"));
    assert_null(pool);
}

/* ---- the line ------------------------------------------------------------- */

static void a_free_buffer_comes_at_once(void **state)
{
    (void)state;
    struct bufpool *pool = open_pool(4 * MI, 4 * MI);
    struct guest guest = guest_for(MI);
    assert_int_equal(bufpool_get(pool, &guest.waiter), 0);
    assert_non_null(guest.buffer);
    bufpool_put(pool, guest.buffer);
    bufpool_close(pool);
}

static void too_long_is_refused(void **state)
{
    (void)state;
    struct bufpool *pool = open_pool(8 * MI, 4 * MI);
    struct guest guest = guest_for(4 * MI + 1);
    assert_int_equal(bufpool_get(pool, &guest.waiter), -EMSGSIZE);
    assert_int_equal(turns, 0);
    bufpool_close(pool);
}

static void the_line_is_served_in_order(void **state)
{
    (void)state;
    struct bufpool *pool = open_pool(4 * MI, 4 * MI);
    struct guest guests[4] = {guest_for(64 * KI), guest_for(2 * MI), guest_for(64 * KI), guest_for(4 * MI)};
    void *all = bufpool_try(pool, 4 * MI);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(bufpool_get(pool, &guests[i].waiter), 0);
        assert_null(guests[i].buffer);
    }
    bufpool_put(pool, all);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(guests[i].turn, i + 1);
    assert_null(guests[3].buffer);
    for (int i = 0; i < 3; i++)
        bufpool_put(pool, guests[i].buffer);
    assert_int_equal(guests[3].turn, 4);
    bufpool_put(pool, guests[3].buffer);
    bufpool_close(pool);
}

/* Small wishes keep coming; the large one in front of them must not starve. */
static void a_large_wish_is_not_passed_by(void **state)
{
    (void)state;
    struct bufpool *pool = open_pool(4 * MI, 4 * MI);
    void *half = bufpool_try(pool, 2 * MI);
    struct guest large = guest_for(4 * MI), small = guest_for(64 * KI);
    bufpool_get(pool, &large.waiter);
    bufpool_get(pool, &small.waiter);
    assert_null(small.buffer);
    assert_null(bufpool_try(pool, 64 * KI));
    bufpool_put(pool, half);
    assert_int_equal(large.turn, 1);
    assert_null(small.buffer);
    bufpool_put(pool, large.buffer);
    assert_int_equal(small.turn, 2);
    bufpool_put(pool, small.buffer);
    bufpool_close(pool);
}

static void whoever_leaves_is_not_served(void **state)
{
    (void)state;
    struct bufpool *pool = open_pool(4 * MI, 4 * MI);
    struct guest guests[4] = {guest_for(4 * MI), guest_for(64 * KI), guest_for(64 * KI), guest_for(64 * KI)};
    void *half = bufpool_try(pool, 2 * MI);
    for (int i = 0; i < 4; i++)
        bufpool_get(pool, &guests[i].waiter);
    bufpool_leave(pool, &guests[2].waiter); /* from the middle */
    bufpool_leave(pool, &guests[3].waiter); /* from the end */
    assert_int_equal(turns, 0);
    bufpool_leave(pool, &guests[0].waiter); /* from the front: the one behind fits */
    assert_int_equal(guests[1].turn, 1);
    bufpool_leave(pool, &guests[0].waiter); /* once more is harmless */
    bufpool_get(pool, &guests[3].waiter);
    assert_int_equal(guests[3].turn, 2);
    bufpool_put(pool, guests[1].buffer);
    bufpool_put(pool, guests[3].buffer);
    bufpool_put(pool, half);
    assert_null(guests[0].buffer);
    assert_null(guests[2].buffer);
    bufpool_close(pool);
}

static void the_line_goes_on_behind_one_who_left(void **state)
{
    (void)state;
    struct bufpool *pool = open_pool(4 * MI, 4 * MI);
    struct guest guests[3] = {guest_for(64 * KI), guest_for(64 * KI), guest_for(64 * KI)};
    void *all = bufpool_try(pool, 4 * MI);
    bufpool_get(pool, &guests[0].waiter);
    bufpool_get(pool, &guests[1].waiter);
    bufpool_leave(pool, &guests[1].waiter);
    bufpool_get(pool, &guests[2].waiter);
    bufpool_put(pool, all);
    assert_int_equal(guests[0].turn, 1);
    assert_null(guests[1].buffer);
    assert_int_equal(guests[2].turn, 2);
    bufpool_put(pool, guests[0].buffer);
    bufpool_put(pool, guests[2].buffer);
    bufpool_close(pool);
}

static struct bufpool *shared_pool;

/* Done as soon as it is served. */
static void pass_on(struct bufpool_waiter *waiter, void *buffer)
{
    (void)waiter;
    turns++;
    bufpool_put(shared_pool, buffer);
}

/* With a call inside a call for each, this would overflow the stack. */
static void a_long_line_is_no_deep_stack(void **state)
{
    (void)state;
    enum { LENGTH = 500000 };
    struct bufpool_waiter *waiters = calloc(LENGTH, sizeof *waiters);
    assert_non_null(waiters);
    shared_pool = open_pool(4 * MI, 4 * MI);
    void *all = bufpool_try(shared_pool, 4 * MI);
    for (int i = 0; i < LENGTH; i++) {
        waiters[i] = (struct bufpool_waiter){.length = 3 * MI, .ready = pass_on};
        bufpool_get(shared_pool, &waiters[i]);
    }
    bufpool_put(shared_pool, all);
    assert_int_equal(turns, LENGTH);
    bufpool_close(shared_pool);
    free(waiters);
}

/* Comes back for one more until it had five. */
struct regular {
    struct bufpool_waiter waiter; /* first */
    unsigned visits;
};

static void come_again(struct bufpool_waiter *waiter, void *buffer)
{
    struct regular *regular = (struct regular *)waiter;
    bufpool_put(shared_pool, buffer);
    if (++regular->visits < 5)
        bufpool_get(shared_pool, waiter);
}

static void a_waiter_may_be_used_again_when_called(void **state)
{
    (void)state;
    struct regular regulars[3];
    shared_pool = open_pool(4 * MI, 4 * MI);
    void *all = bufpool_try(shared_pool, 4 * MI);
    for (int i = 0; i < 3; i++) {
        regulars[i] = (struct regular){.waiter = {.length = 4 * MI, .ready = come_again}};
        bufpool_get(shared_pool, &regulars[i].waiter);
    }
    bufpool_put(shared_pool, all);
    for (int i = 0; i < 3; i++)
        assert_int_equal(regulars[i].visits, 5);
    bufpool_close(shared_pool);
}

/* ---- at random ------------------------------------------------------------ */

/* Every buffer is filled with a mark of its own; when it goes back the mark
 * must be intact, so no two overlapped. */
struct held {
    uint64_t *buffer;
    size_t words;
    uint64_t mark;
};

static void put_checked(struct bufpool *pool, struct held *held)
{
    for (size_t i = 0; i < held->words; i += 64)
        assert_int_equal(held->buffer[i], held->mark);
    assert_int_equal(held->buffer[held->words - 1], held->mark);
    bufpool_put(pool, held->buffer);
    held->buffer = NULL;
}

static void buffers_never_overlap(void **state)
{
    (void)state;
    enum { SLOTS = 60 };
    struct held held[SLOTS] = {{0}};
    struct bufpool *pool = open_pool(22 * MI, 5 * MI);
    unsigned gotten = 0, short_of = 0;
    for (unsigned round = 0; round < 20000; round++) {
        struct held *slot = &held[random_below(SLOTS)];
        if (slot->buffer) {
            put_checked(pool, slot);
            continue;
        }
        size_t length = 8 + random_below((uint64_t)5 * MI >> random_below(8));
        slot->buffer = bufpool_try(pool, length);
        if (!slot->buffer) {
            short_of++;
            continue;
        }
        gotten++;
        slot->words = length / 8;
        slot->mark = round;
        for (size_t i = 0; i < slot->words; i += 64)
            slot->buffer[i] = round;
        slot->buffer[slot->words - 1] = round;
    }
    for (int i = 0; i < SLOTS; i++) {
        if (held[i].buffer)
            put_checked(pool, &held[i]);
    }
    assert_true(gotten > 1000 && short_of > 1000);
    void *blocks[4];
    for (int i = 0; i < 4; i++)
        assert_non_null(blocks[i] = bufpool_try(pool, 5 * MI));
    for (int i = 0; i < 4; i++)
        bufpool_put(pool, blocks[i]);
    bufpool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_are_page_aligned_and_whole),
        cmocka_unit_test(the_total_is_bounded),
        cmocka_unit_test(a_buffer_of_any_largest_size_fits),
        cmocka_unit_test(small_buffers_become_a_large_one_again),
        cmocka_unit_test(memory_comes_when_it_is_used),
        cmocka_unit_test(senseless_sizes_are_refused),
        cmocka_unit_test_setup(a_free_buffer_comes_at_once, reset),
        cmocka_unit_test_setup(too_long_is_refused, reset),
        cmocka_unit_test_setup(the_line_is_served_in_order, reset),
        cmocka_unit_test_setup(a_large_wish_is_not_passed_by, reset),
        cmocka_unit_test_setup(whoever_leaves_is_not_served, reset),
        cmocka_unit_test_setup(the_line_goes_on_behind_one_who_left, reset),
        cmocka_unit_test_setup(a_long_line_is_no_deep_stack, reset),
        cmocka_unit_test_setup(a_waiter_may_be_used_again_when_called, reset),
        cmocka_unit_test(buffers_never_overlap),
    };
    return cmocka_run_group_tests_name("bufpool", tests, NULL, NULL);
}
