/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property_order.h: is there an order of some accesses that explains what was found?
 *
 * Access i leaves the mark i + 1 when it is a write; 0 is what was there before all.
 */
#ifndef PROPERTY_ORDER_H
#define PROPERTY_ORDER_H

#include "property.h"

enum { order_max = 9 };

struct access {
    int rank;
    bool is_write;
};

struct order {
    struct access accesses[order_max];
    int count;
    bool has_own_order; /* accesses of one rank come in the order of their numbers */
    /* The first must come before the second; a byte that tells so, plus 1. */
    int64_t before[order_max][order_max];
    /* Read r, its write w, another write v: v is not between the two. */
    bool apart[order_max][order_max][order_max];
    char complaint[300];
};

/* order_add_final(): the byte at `at` has this mark at the end; `writers` is a set of
 * accesses, as bits. */
void order_add_final(struct order *order, int64_t at, unsigned mark, unsigned writers);
/* order_add_read(): access `reader` found this mark there. */
void order_add_read(struct order *order, int reader, int64_t at, unsigned mark, unsigned writers);
/* order_explain(): NULL: there is an order; else why not. */
const char *order_explain(struct order *order);

#endif
