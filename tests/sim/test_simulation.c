/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schedules of small clusters, each from a seed: docs/simulation.md. Without options as many as
 * WEFT_TEST_SCHEDULES says, with seeds from WEFT_TEST_SEED on (else from the time on), by as many processes
 * as there are processors. A seed that fails is printed with the command that repeats it.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "asan.h"
#include "chaos.h"
#include "client.h"
#include "cluster.h"
#include "model.h"
#include "names.h"
#include "scenarios.h"
#include "sim.h"
#include "wraps.h"

enum { SCHEDULES_USUAL = 200, JOBS_MAX = 64, TOLD_EVERY = 1000, SCENARIO_SEEDS = 10 };

static const char *program;
static uint64_t seed_now;
static const char *scenario_now;

struct totals {
    uint64_t schedules, calm, calls, failures, losses, known, held, late, names_unchecked, undone,
        kinds[CHAOS_KINDS];
};
static struct totals totals;

/* ---- one schedule ------------------------------------------------------------- */

static void tell_seed(void)
{
    fprintf(stderr, "Repeat it with: %s --seed %" PRIu64 "%s%s --trace\nWho waits for what:\n", program,
            seed_now, scenario_now ? " --scenario " : "", scenario_now ? scenario_now : "");
    core_report();
    cluster_end();
}

/* A program of the cluster has come to a bad end, and all with it. */
static void on_crash(int number)
{
    signal(number, SIG_DFL);
    sim_fail("signal %d", number);
}

static void crashes_tell_seed(void)
{
#ifdef SIM_ASAN
    __sanitizer_set_death_callback(tell_seed);
#else
    signal(SIGSEGV, on_crash);
    signal(SIGBUS, on_crash);
#endif
    signal(SIGABRT, on_crash);
}

static void world_begin(uint64_t seed)
{
    core_begin(seed);
    list_init(&processes);
    descriptors_begin();
    sockets_begin();
    wire_begin();
    weather_begin();
    disks_begin();
    model_begin();
    names_begin();
    weather = (struct weather){.delay_min_ns = 5 * SIM_US, .delay_max_ns = 100 * SIM_US, .eager_max = 4096};
    weather.is_one_host = sim_chance(500000);
}

static void world_end(void)
{
    cluster_end();
    core_end();
    sockets_begin();
    disks_end();
}

static bool never(void)
{
    return false;
}

static void run_until(bool (*stop)(void), uint64_t seconds, const char *what)
{
    if (!core_run(stop, sim_now() + seconds * SIM_S))
        sim_fail("%s", what);
    sim_trace("%s: no", what);
}

/* The cluster comes up, and clients run. */
static void run_clients(const char *folder, uint64_t seed, void *(*run)(void *number))
{
    cluster_begin(folder, seed);
    run_until(cluster_is_ready, 100, "the cluster does not come up");
    cluster_clients_start(run);
    run_until(cluster_clients_ended, 600, "the clients don't end");
}

static void run_servers_end(void)
{
    run_until(cluster_is_ready, 100, "the servers don't come back");
    cluster_stop();
    run_until(cluster_is_down, 100, "the servers don't end");
    core_run(never, UINT64_MAX - 1); /* what is still on its way finds nobody */
}

/* Clients do what they do, while things befall the cluster; all of that is over, and what leases there
 * were; one more client looks at everything, and removes it; the servers end, and leave empty stores. */
static void run_seed(uint64_t seed, const char *folder)
{
    seed_now = seed;
    world_begin(seed);
    cluster_draw();
    cluster.sweep_interval_s = (unsigned)sim_between(1, CLUSTER_SWEEP_MAX_S);
    const bool is_calm = chaos_begin();
    clients_begin(is_calm);
    run_clients(folder, seed, client_main);
    chaos_end(totals.kinds);
    /* Members of groups that failed again and again are tried after 8 leases at the latest. */
    core_run(never, sim_now() + (cluster.replicas > 1 ? 15 : 5) * CLUSTER_LEASE_MS * SIM_MS);
    run_until(cluster_is_ready, 100, "the servers don't come back");
    cluster_client_start_one(client_last_main);
    run_until(cluster_clients_ended, 100, "the last client does not end");
    totals.names_unchecked += !names_check();
    core_run(never, sim_now() + 10 * SIM_S);
    run_servers_end();
    cluster_check_stores();
    world_end();
    totals.undone += undone_end();
    totals.schedules++;
    totals.calm += is_calm;
}

static void run_scenario(const struct scenario *scenario, uint64_t seed, const char *folder)
{
    seed_now = seed;
    scenario_now = scenario->name;
    world_begin(seed);
    cluster_draw();
    scenario->prepare();
    run_clients(folder, seed, scenario->run);
    run_servers_end();
    if (scenario->leaves_nothing)
        cluster_check_stores();
    world_end();
    scenario_now = NULL;
}

/* Whatever else chance brings, each must end well. */
static void run_scenarios(const char *folder)
{
    for (unsigned i = 0; i < scenario_count; i++)
        for (uint64_t seed = 1; seed <= SCENARIO_SEEDS; seed++)
            run_scenario(&scenarios[i], seed, folder);
}

/* ---- many --------------------------------------------------------------------- */

struct wanted {
    uint64_t seed, count;
    unsigned jobs;
    bool twice; /* each schedule, to see that it is the same */
    bool digests;
    const struct scenario *scenario;
};

static void run_twice(uint64_t seed, const char *folder)
{
    const uint64_t digest = sim_digest();
    run_seed(seed, folder);
    if (sim_digest() != digest)
        sim_fail("the same seed gave another schedule");
}

/* Every `jobs`-th schedule, from number `job` on. */
static void run_share(const struct wanted *wanted, unsigned job, const char *folder)
{
    for (uint64_t i = job; i < wanted->count; i += wanted->jobs) {
        run_seed(wanted->seed + i, folder);
        if (wanted->twice)
            run_twice(wanted->seed + i, folder);
        if (wanted->digests)
            printf("%" PRIu64 " %016" PRIx64 "\n", wanted->seed + i, sim_digest());
        else if ((i + 1) % TOLD_EVERY == 0)
            printf("%" PRIu64 " schedules\n", i + 1);
        fflush(stdout);
    }
    totals.calls = client_counts.calls;
    totals.failures = client_counts.failures;
    totals.losses = client_counts.losses;
    totals.known = client_counts.known;
    totals.held = client_counts.held;
    totals.late = client_counts.late;
}

static int run_job(const struct wanted *wanted, unsigned job, const char *folder, int to)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    run_share(wanted, job, folder);
    return write(to, &totals, sizeof totals) == sizeof totals ? 0 : 1;
}

static void totals_add(const struct totals *more)
{
    const uint64_t *from = (const uint64_t *)more;
    uint64_t *to = (uint64_t *)&totals;
    for (size_t i = 0; i < sizeof totals / sizeof *to; i++)
        to[i] += from[i];
}

/* False when one of them failed: the others stop when they have come to the end of theirs. */
static bool run_all(const struct wanted *wanted, const char *folder)
{
    struct totals share;
    int ends[2], status;
    bool good = true;
    if (wanted->jobs == 1) {
        run_share(wanted, 0, folder);
        return true;
    }
    if (pipe(ends))
        return false;
    for (unsigned job = 0; job < wanted->jobs; job++) {
        fflush(NULL);
        if (fork() == 0)
            _exit(run_job(wanted, job, folder, ends[1]));
    }
    close(ends[1]);
    while (wait(&status) > 0)
        good = good && status == 0;
    while (read(ends[0], &share, sizeof share) == sizeof share)
        totals_add(&share);
    close(ends[0]);
    return good;
}

static void tell_totals(const struct wanted *wanted)
{
    printf("%" PRIu64 " schedules from seed %" PRIu64 " on (%" PRIu64 " of them calm): %" PRIu64
           " calls, of which %" PRIu64 " failed as they may, and %" PRIu64 " syncs told of losses; %" PRIu64
           " attributes took no request, and %" PRIu64 " files that were made or removed; %" PRIu64
           " clients told late; names not looked at in %" PRIu64 "; %" PRIu64
           " batches of the metadata server undone\n",
           totals.schedules, wanted->seed, totals.calm, totals.calls, totals.failures, totals.losses,
           totals.known, totals.held, totals.late, totals.names_unchecked, totals.undone);
    for (unsigned i = 0; i < CHAOS_KINDS; i++)
        printf("%s%" PRIu64 " %s", i ? ", " : "", totals.kinds[i], chaos_names[i]);
    putchar('\n');
}

static uint64_t number_wanted(const char *name, uint64_t usual)
{
    const char *wanted = getenv(name);
    return wanted ? strtoull(wanted, NULL, 0) : usual;
}

static void parse(int argc, char **argv, struct wanted *wanted)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},     {"count", required_argument, NULL, 'n'},
        {"jobs", required_argument, NULL, 'j'},     {"trace", no_argument, NULL, 't'},
        {"twice", no_argument, NULL, '2'},          {"digests", no_argument, NULL, 'd'},
        {"scenario", required_argument, NULL, 'c'}, {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's':
            wanted->seed = strtoull(optarg, NULL, 0);
            break;
        case 'n':
            wanted->count = strtoull(optarg, NULL, 0);
            break;
        case 'j':
            wanted->jobs = (unsigned)strtoul(optarg, NULL, 0);
            break;
        case 't':
            sim_traced = true;
            wanted->count = 1;
            break;
        case '2':
            wanted->twice = true;
            break;
        case 'c':
            wanted->scenario = scenario_find(optarg);
            break;
        case 'd':
            wanted->digests = true;
            break;
        default:
            fprintf(stderr,
                    "Usage: %s [--seed N] [--count N] [--jobs N] [--trace] [--twice] [--digests] "
                    "[--scenario NAME]\n",
                    program);
            exit(2);
        }
    }
    if (wanted->jobs < 1 || wanted->jobs > JOBS_MAX || wanted->jobs > wanted->count)
        wanted->jobs = 1;
}

int main(int argc, char **argv)
{
    struct timespec now;
    struct stat memory;
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    program = argv[0];
    __real_clock_gettime(CLOCK_REALTIME, &now);
    /* What LMDB wants zeroed then comes from the kernel, and is not written to. */
    mallopt(M_MMAP_THRESHOLD, 512 << 10);
    struct wanted wanted = {.seed = number_wanted("WEFT_TEST_SEED", (uint64_t)now.tv_sec * 100000),
                            .count = number_wanted("WEFT_TEST_SCHEDULES", SCHEDULES_USUAL),
                            .jobs = processors > 0 && processors < JOBS_MAX ? (unsigned)processors : 1};
    parse(argc, argv, &wanted);
    char folder[32];
    snprintf(folder, sizeof folder, "%s/weft-sim-XXXXXX",
             stat("/dev/shm", &memory) == 0 && S_ISDIR(memory.st_mode) ? "/dev/shm" : "/tmp");
    if (!mkdtemp(folder)) {
        fprintf(stderr, "%s: %s\n", folder, strerror(errno));
        return 1;
    }
    printf("WEFT_TEST_SEED=%" PRIu64 "\n", wanted.seed);
    sim_fail_hook(tell_seed);
    crashes_tell_seed();
    bool good = true;
    if (wanted.scenario) {
        run_scenario(wanted.scenario, wanted.seed, folder);
    } else {
        if (!sim_traced)
            run_scenarios(folder);
        good = run_all(&wanted, folder);
    }
    rmdir(folder);
    if (good && !wanted.digests && !wanted.scenario)
        tell_totals(&wanted);
    return good ? 0 : 1;
}
