/* SPDX-License-Identifier: Apache-2.0 */
/* What scenarios*.c share; the one table of all scenarios is in scenarios.c. */
#ifndef TEST_SIM_SCENARIOS_INTERNAL_H
#define TEST_SIM_SCENARIOS_INTERNAL_H

#include <stdint.h>

#include "weft/weft.h"

/* ---- scenarios.c ------------------------------------------------------------ */

/* The test fails when there is no session. */
weft_session_t *connect_client(void);
/* The test fails when a call's result is another one. */
void must(int64_t result, int64_t wanted);

/* ---- scenarios_replicas.c ----------------------------------------------------- */

void prepare_replicas(void); /* two storage servers, each of which has everything */
void prepare_three(void);    /* three, with two members in each group */
void prepare_fetched(void);  /* two; what is written stays with its sender until it is fetched */
void prepare_whole(void);    /* three, each of which has everything, and which fetch likewise */
void *run_older_map(void *unused);
void *run_promise(void *unused);
void *run_newer_map(void *unused);
void *run_overtaken(void *unused);
void *run_unclean(void *unused);
void *run_cut_off(void *unused);
void *run_late_copy(void *unused);
void *run_read_moved(void *unused);
void *run_late_change(void *unused);
void *run_replica_lost(void *unused);
void *run_line_moved(void *unused);
void *run_fetch_moved(void *unused);

/* ---- scenarios_reopened.c ----------------------------------------------------- */

void prepare_reopened(void); /* one of all */
void *run_size_lost(void *unused);

/* ---- scenarios_swept.c -------------------------------------------------------- */

void prepare_swept(void);          /* one storage server that sweeps */
void prepare_swept_replicas(void); /* two, each of which has everything */
void *run_lease_lost(void *unused);
void *run_asked_early(void *unused);

/* ---- scenarios_told.c --------------------------------------------------------- */

void *run_told_moved(void *unused);

#endif
