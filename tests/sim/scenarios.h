/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scenarios.h: stories that were told by a seed once, and led to something being mended. What a seed means
 * changes with every change of the simulation, so they are told anew here, step by step, and hold for any
 * seed.
 */
#ifndef TEST_SIM_SCENARIOS_H
#define TEST_SIM_SCENARIOS_H

#include <stdbool.h>

struct scenario {
    const char *name;
    void (*prepare)(void);      /* changes the cluster that was drawn */
    void *(*run)(void *number); /* of each client */
    bool leaves_nothing;        /* no file, so that the stores must be empty in the end */
};

extern const struct scenario scenarios[];
extern const unsigned scenario_count;

/* Ends the program when there is none of that name. */
const struct scenario *scenario_find(const char *name);

#endif
