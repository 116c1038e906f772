/* SPDX-License-Identifier: Apache-2.0 */
/* scenarios_told.c: stories of what the only writer of a file is told, and tells when it closes it. */
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include "cluster.h"
#include "scenarios_internal.h"
#include "sim.h"
#include "wire.h"

enum { BYTES = 512 };

static bool is_held; /* the answer that is waited for is on its way */

static void note_held(void *unused)
{
    (void)unused;
    is_held = true;
}

static struct server_slot *leader_of(weft_file_t *file)
{
    struct weft_location location;
    must(weft_file_locate(file, 0, 1, &location, 1), 1);
    return &cluster.storage[strcmp(cluster.storage[0].name, location.server) != 0];
}

/* The metadata server does not hear a leader for longer than its lease. Before the other server leads, a file
 * is written for the first time; when that is answered the leader knows that it leads no more, and has
 * nothing of the file by its map. That is not taken for empty, and its objects go with it. */
void *run_told_moved(void *unused)
{
    static const struct weft_layout striped = {.stripe_count = 1};
    static const char bytes[BYTES];
    weft_session_t *session = connect_client();
    weft_file_t *file;
    struct weft_attr attr;
    (void)unused;
    is_held = false;
    must(weft_file_open(session, "/f", O_RDWR | O_CREAT | O_EXCL, 0600, &striped, &file), 0);
    const struct server_slot *leader = leader_of(file), *other = &cluster.storage[leader == cluster.storage];
    fiber_sleep(SIM_S); /* all go by the same map */
    weather_watch(&(struct weather_watch){.from = other->host,
                                          .to = leader->host,
                                          .operation = WIRE_OP_copy,
                                          .is_reply = true,
                                          .hold_ns = 1800 * SIM_MS,
                                          .then = note_held});
    weather_part(leader->host, cluster.metadata.host, sim_now() + 2500 * SIM_MS);
    weather_part(process_current->host, cluster.metadata.host, sim_now() + 3500 * SIM_MS);
    fiber_sleep(1300 * SIM_MS);
    must(weft_file_write(file, bytes, BYTES, 0), BYTES);
    must(is_held, true);
    must(weft_file_close(file), 0);
    must(weft_stat(session, "/f", 0, &attr), 0);
    must((int64_t)attr.size, BYTES);
    must(weft_unlink(session, "/f"), 0);
    fiber_sleep(20 * SIM_S);
    weft_disconnect(session);
    return NULL;
}
