/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counts.c: the servers' counters, added up.
 */
#include <mpi.h>
#include <stdbool.h>
#include <string.h>

#include "common/counts.h"
#include "common/program.h"
#include "weft/weft.h"

static weft_session_t *session;

/* Not what asking and being there costs. */
static bool is_of_files(const char *name)
{
    return strncmp(name, "served_", 7) == 0 && strcmp(name, "served_counters") != 0 &&
           strcmp(name, "served_heartbeat") != 0 && strcmp(name, "served_map_get") != 0 &&
           strcmp(name, "served_server_register") != 0;
}

static void add(void *argument, const char *server, const char *name, uint64_t value)
{
    struct counts *counts = argument;
    int64_t count = (int64_t)value;
    if (strcmp(server, "metadata") == 0)
        counts->metadata += is_of_files(name) ? count : 0;
    else if (strcmp(name, "served_read") == 0 || strcmp(name, "served_write") == 0 ||
             strcmp(name, "served_write_gather") == 0)
        counts->requests += count;
    else if (strcmp(name, "store_reads") == 0 || strcmp(name, "store_writes") == 0)
        counts->store += count;
    else if (strcmp(name, "bytes_wire_received") == 0 || strcmp(name, "bytes_wire_sent") == 0)
        counts->wire_bytes += count;
    else if (is_of_files(name))
        counts->other += count;
}

int counts_ask(struct counts *counts)
{
    int rank, result = 0;
    *counts = (struct counts){0};
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0 && ((session == NULL && weft_connect(NULL, &session) < 0) ||
                      weft_server_counters(session, add, counts) < 0)) {
        program_tell("asking for counters: %s", weft_error());
        result = -1;
    }
    return program_all_well(result);
}

void counts_end(void)
{
    weft_disconnect(session);
    session = NULL;
}
