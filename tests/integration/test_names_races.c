/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several processes that want the same name at the same moment: one of them gets it, and what all of them saw
 * can be put in one order. WEFT_TEST_SEED repeats the calls, though not their timing.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "cluster.h"
#include "history.h"
#include "seed.h"
#include "weft/weft.h"

enum { CLIENTS = HISTORY_CLIENTS, HISTORIES = 60, PATIENCE_S = 120 };

static struct cluster cluster;

/* Memory of all processes. */
static struct shared {
    pthread_barrier_t barrier;
    int results[CLIENTS];
    unsigned won; /* rounds */
    char problem[256];
    struct history history;
} *shared;

static int setup(void **state)
{
    (void)state;
    cluster_open(&cluster, &(struct cluster_options){.servers = 1});
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_barrierattr_t attributes;
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    return shared == MAP_FAILED ? -1 : pthread_barrier_init(&shared->barrier, &attributes, CLIENTS);
}

static int teardown(void **state)
{
    (void)state;
    munmap(shared, sizeof *shared);
    cluster_close(&cluster);
    return 0;
}

static void all_here(void)
{
    pthread_barrier_wait(&shared->barrier);
}

/* The process that complains is the last one to say anything; the others end with it, by their alarms. */
static void complain(const char *what, int result)
{
    snprintf(shared->problem, sizeof shared->problem, "%s: %d: %s", what, result, weft_error());
}

/* Each process does that with a session of its own. */
static void in_processes(void (*work)(weft_session_t *session, unsigned me, const void *arg), const void *arg)
{
    pid_t children[CLIENTS];
    fflush(NULL);
    shared->problem[0] = 0;
    for (unsigned me = 0; me < CLIENTS; me++) {
        children[me] = fork();
        if (children[me] != 0)
            continue;
        weft_session_t *session;
        signal(SIGALRM, SIG_DFL);
        alarm(PATIENCE_S);
        int error = weft_connect(NULL, &session);
        if (error)
            complain("weft_connect()", error);
        else
            work(session, me, arg);
        weft_disconnect(error ? NULL : session);
        _exit(shared->problem[0] != 0);
    }
    for (unsigned me = 0; me < CLIENTS; me++) {
        int status;
        assert_int_equal(waitpid(children[me], &status, 0), children[me]);
        if (status != 0)
            fail_msg("process %u ended with %#x: %s", me, (unsigned)status, shared->problem);
    }
}

/* ---- one winner ----------------------------------------------------------- */

static const char *path_of(const char *what, unsigned round, int me)
{
    static char paths[4][64];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], me < 0 ? "/%s-%u" : "/%s-%u-%d", what, round, me);
    return path;
}

static int create(weft_session_t *session, const char *path, uint64_t *ino)
{
    weft_file_t *file;
    int error = weft_file_open(session, path, O_WRONLY | O_CREAT | O_EXCL, 0644, NULL, &file);
    if (error)
        return error;
    *ino = weft_file_ino(file);
    return weft_file_close(file);
}

static int make_file(weft_session_t *session, unsigned round)
{
    uint64_t ino;
    return create(session, path_of("there", round, -1), &ino);
}

static int make_dir(weft_session_t *session, unsigned round)
{
    return weft_mkdir(session, path_of("there", round, -1), 0755);
}

static int race_create(weft_session_t *session, unsigned round, int me)
{
    uint64_t ino;
    (void)me;
    return create(session, path_of("new", round, -1), &ino);
}

static int race_mkdir(weft_session_t *session, unsigned round, int me)
{
    (void)me;
    return weft_mkdir(session, path_of("new-dir", round, -1), 0755);
}

static int race_symlink(weft_session_t *session, unsigned round, int me)
{
    return weft_symlink(session, path_of("to", round, me), path_of("new-symlink", round, -1));
}

static int race_link(weft_session_t *session, unsigned round, int me)
{
    (void)me;
    return weft_link(session, path_of("there", round, -1), path_of("new-link", round, -1));
}

static int race_rename(weft_session_t *session, unsigned round, int me)
{
    return weft_rename(session, path_of("there", round, -1), path_of("moved", round, me));
}

static int race_unlink(weft_session_t *session, unsigned round, int me)
{
    (void)me;
    return weft_unlink(session, path_of("there", round, -1));
}

static int race_rmdir(weft_session_t *session, unsigned round, int me)
{
    (void)me;
    return weft_rmdir(session, path_of("there", round, -1));
}

/* The rounds of all have numbers of their own, so that no name is used twice. */
static const struct race {
    const char *name;
    unsigned first, rounds;
    int (*prepare)(weft_session_t *session, unsigned round);
    int (*run)(weft_session_t *session, unsigned round, int me);
    int lost; /* what all but one get */
} races[] = {
    {"O_EXCL", 0, 1000, NULL, race_create, -EEXIST},
    {"mkdir", 1000, 200, NULL, race_mkdir, -EEXIST},
    {"symlink", 1200, 200, NULL, race_symlink, -EEXIST},
    {"link", 1400, 200, make_file, race_link, -EEXIST},
    {"rename", 1600, 200, make_file, race_rename, -ENOENT},
    {"unlink", 1800, 200, make_file, race_unlink, -ENOENT},
    {"rmdir", 2000, 200, make_dir, race_rmdir, -ENOENT},
};

static void count_winners(const struct race *race)
{
    unsigned winners = 0;
    for (unsigned i = 0; i < CLIENTS; i++) {
        winners += shared->results[i] == 0;
        if (shared->results[i] != 0 && shared->results[i] != race->lost)
            complain(race->name, shared->results[i]);
    }
    if (winners == 1)
        shared->won++;
    else
        complain("winners", (int)winners);
}

static void run_race(weft_session_t *session, unsigned me, const void *arg)
{
    const struct race *race = arg;
    for (unsigned round = race->first; round < race->first + race->rounds && !shared->problem[0]; round++) {
        int error = me == 0 && race->prepare ? race->prepare(session, round) : 0;
        if (error)
            complain("preparing", error);
        all_here();
        shared->results[me] = race->run(session, round, (int)me);
        all_here();
        if (me == 0)
            count_winners(race);
        all_here();
    }
}

static void each_race_has_one_winner(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof races / sizeof races[0]; i++) {
        shared->won = 0;
        in_processes(run_race, &races[i]);
        assert_int_equal(shared->won, races[i].rounds);
    }
}

/* ---- one order ------------------------------------------------------------ */

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void make_call(weft_session_t *session, struct history_call *call)
{
    const char *path = path_of("name", call->name, -1), *to = path_of("name", call->to, -1);
    struct weft_attr attr = {0};
    call->began = now_ns();
    switch (call->kind) {
    case HISTORY_CREATE: call->result = create(session, path, &call->ino); break;
    case HISTORY_UNLINK: call->result = weft_unlink(session, path); break;
    case HISTORY_RENAME: call->result = weft_rename(session, path, to); break;
    default:
        call->result = weft_stat(session, path, 0, &attr);
        call->ino = attr.ino;
        break;
    }
    call->ended = now_ns();
}

static void run_history(weft_session_t *session, unsigned me, const void *arg)
{
    unsigned state = *(const unsigned *)arg + me;
    for (unsigned round = 0; round < HISTORIES && !shared->problem[0]; round++) {
        shared->history.count[me] = HISTORY_CALLS_MAX;
        all_here();
        for (unsigned i = 0; i < HISTORY_CALLS_MAX; i++) {
            struct history_call *call = &shared->history.calls[me][i];
            *call = (struct history_call){.kind = (enum history_kind)(rand_r(&state) % HISTORY_KINDS),
                                          .name = (unsigned)rand_r(&state) % HISTORY_NAMES};
            call->to = (call->name + 1 + (unsigned)rand_r(&state) % (HISTORY_NAMES - 1)) % HISTORY_NAMES;
            make_call(session, call);
        }
        all_here();
        if (me == 0 && !history_is_linear(&shared->history))
            complain("no order explains what the clients saw in round", (int)round);
        for (unsigned name = 0; me == 0 && name < HISTORY_NAMES; name++)
            weft_unlink(session, path_of("name", name, -1));
        all_here();
    }
}

static void what_clients_see_has_one_order(void **state)
{
    (void)state;
    unsigned seed = seed_wanted();
    in_processes(run_history, &seed);
}

/* ---- the checker itself --------------------------------------------------- */

/* The history of client 0 in one go, then that of client 1 at the same time or behind it. */
static bool is_explained(const struct history_call *first, const struct history_call *second,
                         int64_t second_began)
{
    static struct history history;
    memset(&history, 0, sizeof history);
    history.count[0] = history.count[1] = 1;
    history.calls[0][0] = *first;
    history.calls[0][0].began = 10;
    history.calls[0][0].ended = 20;
    history.calls[1][0] = *second;
    history.calls[1][0].began = second_began;
    history.calls[1][0].ended = second_began + 10;
    return history_is_linear(&history);
}

static void a_wrong_history_is_found(void **state)
{
    (void)state;
    const struct history_call made = {.kind = HISTORY_CREATE, .ino = 7};
    const struct history_call other = {.kind = HISTORY_CREATE, .ino = 8};
    const struct history_call exists = {.kind = HISTORY_CREATE, .result = -EEXIST};
    const struct history_call seen = {.kind = HISTORY_LOOK, .ino = 7};
    const struct history_call seen_other = {.kind = HISTORY_LOOK, .ino = 8};
    const struct history_call unseen = {.kind = HISTORY_LOOK, .result = -ENOENT};
    const struct history_call moved = {.kind = HISTORY_RENAME, .to = 1};
    const struct history_call broken = {.kind = HISTORY_LOOK, .result = -EIO};
    assert_true(is_explained(&made, &exists, 15));
    assert_true(is_explained(&made, &exists, 5)); /* they overlap: the other may be first */
    assert_true(is_explained(&made, &seen, 30));
    assert_true(is_explained(&made, &unseen, 15));
    assert_true(is_explained(&made, &moved, 15));
    assert_false(is_explained(&made, &unseen, 30)); /* it had ended */
    assert_false(is_explained(&made, &other, 15));  /* two winners */
    assert_false(is_explained(&made, &seen_other, 30));
    assert_false(is_explained(&exists, &made, 30)); /* nobody had made it */
    assert_false(is_explained(&moved, &made, 30));
    assert_false(is_explained(&made, &broken, 15));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_history_is_found),
        cmocka_unit_test(each_race_has_one_winner),
        cmocka_unit_test(what_clients_see_has_one_order),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
