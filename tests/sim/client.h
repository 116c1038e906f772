/* SPDX-License-Identifier: Apache-2.0 */
/* client.h: what clients do, by the seed, and what they look at; afterwards one more, when all is well
 * again. */
#ifndef TEST_SIM_CLIENT_H
#define TEST_SIM_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

/* Before the first client of a schedule. `calm`: nothing befalls the cluster, so no call may fail. */
void clients_begin(bool calm);
/* The main program of client number `number`. */
void *client_main(void *number);
/* That of the last one: what it asks for must be given. It removes all files. */
void *client_last_main(void *unused);
/* Client number `number` was killed: what it had not told of folders that it held is lost. */
void clients_killed(unsigned number);
/* A host crashed: what was appended may be lost. */
void clients_crashed(void);

struct client_counts {
    uint64_t calls, failures, losses; /* losses: that syncs told of */
    uint64_t known;                   /* attributes that took no request */
    uint64_t held;                    /* files made and removed likewise */
    uint64_t late;                    /* clients of which some of that was told late, or lost */
};
extern struct client_counts client_counts; /* of all schedules */

#endif
