/* SPDX-License-Identifier: Apache-2.0 */
/* scenarios_swept.c: stories of objects that are made when their file is gone already, so that nobody has
 * them removed. */
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include "cluster.h"
#include "scenarios_internal.h"
#include "sim.h"

enum { BYTES = 512 };

void prepare_swept_replicas(void)
{
    prepare_replicas();
    cluster.sweep_interval_s = 1;
}

void prepare_swept(void)
{
    prepare_swept_replicas();
    cluster.storage_count = cluster.replicas = 1;
}

static bool is_unlinked;

static void *unlink_main(void *unused)
{
    weft_session_t *session = connect_client();
    (void)unused;
    must(weft_unlink(session, "/f"), 0);
    is_unlinked = true;
    weft_disconnect(session);
    return NULL;
}

/* A client that is cut off from the metadata server for longer than its lease writes on; meanwhile somebody
 * else has removed the file. Beside it is one that stays as it is. */
void *run_lease_lost(void *unused)
{
    static const struct weft_layout striped = {.stripe_count = 1};
    char bytes[BYTES], found[BYTES];
    weft_session_t *session = connect_client();
    weft_file_t *file, *other;
    (void)unused;
    memset(bytes, 'a', sizeof bytes);
    is_unlinked = false;
    must(weft_file_open(session, "/g", O_RDWR | O_CREAT | O_EXCL, 0600, &striped, &other), 0);
    must(weft_file_write(other, bytes, BYTES, 0), BYTES);
    must(weft_file_open(session, "/f", O_RDWR | O_CREAT | O_EXCL, 0600, &striped, &file), 0);
    must(weft_file_write(file, bytes, BYTES, 0), BYTES);
    weather_part(process_current->host, cluster.metadata.host, sim_now() + 12 * SIM_S);
    sim_at(sim_now() + SIM_MS, (void (*)(void *))streams_cut_unnoticed, process_current);
    cluster_client_start_on(1, process_current->host + 1, unlink_main);
    while (!is_unlinked)
        fiber_sleep(SIM_MS);
    fiber_sleep(10 * SIM_S);
    must(weft_file_read(file, found, BYTES, 0), 0); /* it is gone */
    must(weft_file_write(file, bytes, BYTES, 0), BYTES);
    fiber_sleep(10 * SIM_S);
    must(weft_file_read(other, found, BYTES, 0), BYTES);
    must(memcmp(found, bytes, BYTES), 0);
    must(weft_file_close(file), 0);
    must(weft_file_close(other), 0);
    must(weft_unlink(session, "/g"), 0);
    fiber_sleep(10 * SIM_S);
    weft_disconnect(session);
    return NULL;
}
