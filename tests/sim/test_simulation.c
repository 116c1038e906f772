/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules of small clusters, each from a seed: see sim.h. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "cluster.h"
#include "sim.h"
#include "weft/weft.h"

static uint64_t seed_now;

static void tell_seed(void)
{
    fprintf(stderr, "seed %" PRIu64 "\n", seed_now);
    core_report();
}

static void *run_client(void *number)
{
    weft_session_t *session;
    weft_file_t *file;
    char buffer[20000], back[20000];
    memset(buffer, 'a' + (int)(uintptr_t)number, sizeof buffer);
    if (weft_connect(process_current->conf_path, &session))
        sim_fail("%s", weft_error());
    if (weft_file_open(session, "/a", O_RDWR | O_CREAT, 0600, NULL, &file))
        sim_fail("%s", weft_error());
    uint64_t at = (uintptr_t)number * 20000;
    if (weft_file_write(file, buffer, sizeof buffer, at) != sizeof buffer)
        sim_fail("%s", weft_error());
    if (weft_file_read(file, back, sizeof back, at) != sizeof back || memcmp(buffer, back, sizeof back))
        sim_fail("read: %s", weft_error());
    weft_file_close(file);
    weft_disconnect(session);
    return NULL;
}

static void run_seed(uint64_t seed, const char *folder)
{
    seed_now = seed;
    core_begin(seed);
    list_init(&processes);
    descriptors_begin();
    sockets_begin();
    wire_begin();
    weather_begin();
    disks_begin();
    weather = (struct weather){.delay_min_ns = 5 * SIM_US, .delay_max_ns = 100 * SIM_US, .eager_max = 4096};
    cluster_begin(folder, (unsigned)seed);
    if (!core_run(cluster_is_ready, 100 * SIM_S))
        sim_fail("the cluster does not come up");
    sim_trace("up");
    cluster_clients_start(run_client);
    if (!core_run(cluster_clients_ended, 1000 * SIM_S))
        sim_fail("the clients don't end");
    cluster_stop();
    if (!core_run(cluster_is_down, 2000 * SIM_S))
        sim_fail("the servers don't end");
    cluster_end();
    core_end();
    disks_end();
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, count = 1;
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"count", required_argument, NULL, 'n'},
                                            {"trace", no_argument, NULL, 't'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "s:n:t", options, NULL)) != -1) {
        if (option == 's')
            seed = strtoull(optarg, NULL, 0);
        else if (option == 'n')
            count = strtoull(optarg, NULL, 0);
        else if (option == 't')
            sim_traced = true;
        else
            return 2;
    }
    char folder[] = "/dev/shm/weft-sim-XXXXXX";
    if (!mkdtemp(folder))
        return 1;
    sim_fail_hook(tell_seed);
    for (uint64_t i = 0; i < count; i++) {
        run_seed(seed + i, folder);
        printf("%" PRIu64 " %016" PRIx64 "\n", seed + i, sim_digest());
    }
    rmdir(folder);
    return 0;
}
