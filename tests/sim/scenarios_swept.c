/* SPDX-License-Identifier: Apache-2.0 */
/* scenarios_swept.c: stories of objects that are made when their file is gone already, so that nobody has
 * them removed; and of one that is not. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include "cluster.h"
#include "scenarios_internal.h"
#include "sim.h"
#include "wire.h"

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
    struct weft_attr attr;
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
    must(weft_stat(session, "/g", 0, &attr), 0);
    must(weft_file_read(file, found, BYTES, 0), -ESTALE); /* now it knows */
    must(weft_file_write(file, bytes, BYTES, 0), -ESTALE);
    must(weft_file_close(file), -ESTALE);
    must(weft_file_read(other, found, BYTES, 0), BYTES);
    must(memcmp(found, bytes, BYTES), 0);
    must(weft_file_close(other), 0);
    must(weft_unlink(session, "/g"), 0);
    fiber_sleep(10 * SIM_S);
    weft_disconnect(session);
    return NULL;
}

static bool is_asked;

static void note_asked(void *unused)
{
    (void)unused;
    is_asked = true;
}

static void count_swept(void *arg, const char *server, const char *name, uint64_t value)
{
    (void)server;
    if (strcmp(name, "objects_swept") == 0)
        *(uint64_t *)arg += value;
}

/* While a sweep's question is on its way the file is removed as it should be: there is nothing to sweep. */
void *run_asked_early(void *unused)
{
    static const struct weft_layout striped = {.stripe_count = 1};
    static const char bytes[BYTES];
    weft_session_t *session = connect_client();
    weft_file_t *file;
    uint64_t swept = 0;
    (void)unused;
    is_asked = false;
    must(weft_file_open(session, "/f", O_RDWR | O_CREAT | O_EXCL, 0600, &striped, &file), 0);
    must(weft_file_write(file, bytes, BYTES, 0), BYTES);
    weather_watch(&(struct weather_watch){.from = cluster.storage[0].host,
                                          .to = cluster.metadata.host,
                                          .operation = WIRE_OP_inodes_gone,
                                          .hold_ns = 3 * SIM_S,
                                          .then = note_asked});
    while (!is_asked)
        fiber_sleep(SIM_MS);
    must(weft_file_close(file), 0);
    must(weft_unlink(session, "/f"), 0);
    fiber_sleep(10 * SIM_S);
    must(weft_server_counters(session, count_swept, &swept), 0);
    must((int64_t)swept, 0);
    weft_disconnect(session);
    return NULL;
}
