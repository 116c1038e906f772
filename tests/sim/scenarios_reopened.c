/* SPDX-License-Identifier: Apache-2.0 */
/* scenarios_reopened.c: a story of a client that is cut off from the metadata server for longer than its
 * lease, writes on, and comes back. */
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include "cluster.h"
#include "scenarios_internal.h"
#include "sim.h"

enum { BYTES = 512 };

void prepare_reopened(void)
{
    cluster.storage_count = cluster.client_count = cluster.shards = cluster.targets = 1;
    cluster.moves = false;
}

/* ---- one that stays in touch ---------------------------------------------------- */

static int64_t wanted; /* what size /f is to have for it now; 0: it may end; negative: nothing */

static void *look_main(void *unused)
{
    weft_session_t *session = connect_client();
    struct weft_attr attr;
    (void)unused;
    while (wanted) {
        if (wanted > 0) {
            must(weft_stat(session, "/f", 0, &attr), 0);
            must((int64_t)attr.size, wanted);
            wanted = -1;
        }
        fiber_sleep(SIM_MS);
    }
    weft_disconnect(session);
    wanted = -1;
    return NULL;
}

static void others_see(int64_t size)
{
    wanted = size;
    while (wanted >= 0)
        fiber_sleep(SIM_MS);
}

/* ---- the story ------------------------------------------------------------------ */

/* Until the server has noticed it, after 3 s, and its lease is over. */
static void be_cut_off(void)
{
    weather_part(process_current->host, cluster.metadata.host, sim_now() + 8 * SIM_S);
    sim_at(sim_now() + SIM_MS, (void (*)(void *))streams_cut_unnoticed, process_current);
    fiber_sleep(7 * SIM_S);
}

/* Any answer of the metadata server: what it is asked goes there when it has heard of the handles. */
static void be_back(weft_session_t *session)
{
    struct weft_attr attr;
    fiber_sleep(2 * SIM_S);
    must(weft_stat(session, "/", 0, &attr), 0);
}

/* What it writes meanwhile, others see when it is back, and no later; also of a file that it has closed by
 * then, and of one that it closes without having noticed anything. */
void *run_size_lost(void *unused)
{
    static const struct weft_layout striped = {.stripe_count = 1};
    static const char bytes[BYTES];
    weft_session_t *session = connect_client();
    weft_file_t *file;
    (void)unused;
    wanted = -1;
    must(weft_file_open(session, "/f", O_RDWR | O_CREAT | O_EXCL, 0600, &striped, &file), 0);
    must(weft_file_write(file, bytes, BYTES, 0), BYTES);
    cluster_client_start_on(1, process_current->host + 1, look_main);
    others_see(BYTES);
    be_cut_off();
    must(weft_file_write(file, bytes, BYTES, BYTES), BYTES);
    others_see(BYTES); /* so the lease is over */
    be_back(session);
    others_see(2 * BYTES);
    must(weft_file_write(file, bytes, BYTES, 2 * BYTES), BYTES);
    others_see(3 * BYTES);

    be_cut_off();
    must(weft_file_write(file, bytes, BYTES, 3 * BYTES), BYTES);
    must(weft_file_close(file), 0);
    others_see(3 * BYTES);
    be_back(session);
    others_see(4 * BYTES);
    fiber_sleep(SIM_S);
    others_see(4 * BYTES);
    wanted = 0;
    while (wanted == 0)
        fiber_sleep(SIM_MS);
    must(weft_unlink(session, "/f"), 0);
    fiber_sleep(10 * SIM_S);
    weft_disconnect(session);
    return NULL;
}
