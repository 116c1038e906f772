/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property_order.c: looks for a serial order.
 *
 * There are few accesses, so all orders are tried that keep to what must come before what.
 */
#include "property_order.h"

static void complain(struct order *order, const char *who, int64_t at, unsigned mark)
{
    if (order->complaint[0] == '\0')
        snprintf(order->complaint, sizeof order->complaint,
                 "%s byte %lld as 0x%02x, which no write left there", who, (long long)at, mark);
}

static bool is_in(unsigned writers, unsigned mark)
{
    return mark >= 1 && mark <= order_max && (writers >> (mark - 1) & 1) != 0;
}

static void must_precede(struct order *order, int first, int second, int64_t at)
{
    if (order->before[first][second] == 0)
        order->before[first][second] = at + 1;
}

void order_add_final(struct order *order, int64_t at, unsigned mark, unsigned writers)
{
    if (mark == 0 && writers == 0)
        return;
    if (!is_in(writers, mark)) {
        complain(order, "the file has", at, mark);
        return;
    }
    int last = (int)mark - 1;
    for (int other = 0; other < order->count; other++)
        if ((writers >> other & 1) != 0 && other != last)
            must_precede(order, other, last, at);
}

void order_add_read(struct order *order, int reader, int64_t at, unsigned mark, unsigned writers)
{
    if (mark != 0 && !is_in(writers, mark)) {
        complain(order, "a read gave", at, mark);
        return;
    }
    int writer = (int)mark - 1;
    if (mark != 0)
        must_precede(order, writer, reader, at);
    for (int other = 0; other < order->count; other++) {
        if ((writers >> other & 1) == 0 || other == writer)
            continue;
        if (mark == 0)
            must_precede(order, reader, other, at);
        else
            order->apart[reader][writer][other] = true;
    }
}

static bool is_apart(const struct order *order, const int *places, int reader)
{
    for (int writer = 0; writer < order->count; writer++)
        for (int other = 0; other < order->count; other++)
            if (order->apart[reader][writer][other] && places[other] >= 0 && places[other] > places[writer])
                return false;
    return true;
}

/* Puts one of the rest next, in each way that is possible. */
static bool extend(const struct order *order, int *places, int placed)
{
    if (placed == order->count)
        return true;
    for (int next = 0; next < order->count; next++) {
        bool is_possible = places[next] < 0;
        for (int other = 0; other < order->count && is_possible; other++)
            is_possible = places[other] >= 0 || order->before[other][next] == 0;
        if (!is_possible || !is_apart(order, places, next))
            continue;
        places[next] = placed;
        if (extend(order, places, placed + 1))
            return true;
        places[next] = -1;
    }
    return false;
}

static void describe(struct order *order)
{
    snprintf(order->complaint, sizeof order->complaint, "no order of the accesses explains what was found");
    for (int a = 0; a < order->count; a++)
        for (int b = a + 1; b < order->count; b++)
            if (order->before[a][b] > 0 && order->before[b][a] > 0) {
                snprintf(order->complaint, sizeof order->complaint,
                         "no order of the accesses explains what was found: %d before %d by byte %lld, "
                         "%d before %d by byte %lld",
                         a + 1, b + 1, (long long)order->before[a][b] - 1, b + 1, a + 1,
                         (long long)order->before[b][a] - 1);
                return;
            }
}

const char *order_explain(struct order *order)
{
    int places[order_max];
    for (int i = 0; i < order->count; i++) {
        places[i] = -1;
        for (int later = i + 1; later < order->count && order->has_own_order; later++)
            if (order->accesses[i].rank == order->accesses[later].rank)
                must_precede(order, i, later, 0);
    }
    if (order->complaint[0] == '\0' && !extend(order, places, 0))
        describe(order);
    return order->complaint[0] != '\0' ? order->complaint : NULL;
}
