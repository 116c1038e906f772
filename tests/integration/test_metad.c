/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the metadata server must survive, with real servers and clients:
 *  - being killed, again and again, under clients that create, write, rename,
 *    cut and remove: everything that was acknowledged is there, nothing that a
 *    client repeats happens twice, every size is exact, and at the end no
 *    object, no open file and no removal is left over;
 *  - clients that die with files open, with and without names: after their lease
 *    the sizes are settled, and the bytes of the nameless are gone.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "calls.h"
#include "cluster.h"

enum { CHUNK = 65536, SERVERS = 3, CLIENTS = 3, KILLS = 6, LEASE_MS = 3000 /* cluster.c's */ };

static struct cluster cluster;
static const char *self;

static int setup(void **state)
{
    (void)state;
    setenv("WEFT_TEST_STORE", "files", 1); /* each object is a file there, so they can be counted */
    cluster_open(&cluster,
                 &(struct cluster_options){.servers = SERVERS, .chunk_size = CHUNK, .deadline_ms = 20000});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cluster_close(&cluster);
    return 0;
}

/* ---- looking from outside ------------------------------------------------- */

/* Local files of the storage servers that hold objects. */
static unsigned count_objects(const char *dir, unsigned depth)
{
    char path[1024];
    unsigned count = 0;
    DIR *open = opendir(dir);
    for (struct dirent *entry; open && (entry = readdir(open));) {
        struct stat stat;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (lstat(path, &stat))
            continue;
        if (S_ISDIR(stat.st_mode))
            count += count_objects(path, depth + 1);
        else if (strstr(path, "/shard-") && strchr(entry->d_name, '.'))
            count++;
    }
    if (open)
        closedir(open);
    return count;
}

static void wait_for_objects(unsigned wanted)
{
    double end = cluster_now() + 30;
    while (count_objects(cluster.dir, 0) != wanted && cluster_now() < end)
        cluster_pause(50);
    assert_int_equal(count_objects(cluster.dir, 0), wanted);
}

/* ---- the storm ------------------------------------------------------------- */

/* One client with a session of its own, and a directory in which it knows everything. */
struct client {
    pthread_t thread;
    unsigned number;
    unsigned rounds;
    char wrong[1024]; /* "" while all is well */
};

static atomic_bool storm_over;

/* What must succeed, whatever happens to the server in between. */
#define must(call)                                                                           \
    do {                                                                                     \
        long result_ = (long)(call);                                                         \
        if (result_ < 0) {                                                                   \
            snprintf(client->wrong, sizeof client->wrong, "client %u, round %u: %s = %ld: %s", \
                     client->number, client->rounds, #call, result_, weft_error());          \
            return;                                                                          \
        }                                                                                    \
    } while (0)
#define must_be(what, is, wanted)                                                            \
    do {                                                                                     \
        unsigned long long is_ = (is), wanted_ = (wanted);                                   \
        if (is_ != wanted_) {                                                                \
            snprintf(client->wrong, sizeof client->wrong, "client %u, round %u: %s is %llu, not %llu", \
                     client->number, client->rounds, what, is_, wanted_);                    \
            return;                                                                          \
        }                                                                                    \
    } while (0)

/* Files are made, written (every second one), renamed, cut (every third) and removed (every second). */
static void one_round(struct client *client, weft_session_t *session)
{
    unsigned round = client->rounds;
    char made[64], kept[64];
    struct weft_attr attr;
    weft_file_t *file;
    uint64_t size = 0;
    snprintf(made, sizeof made, "/c%u/made.%u", client->number, round);
    snprintf(kept, sizeof kept, "/c%u/kept.%u", client->number, round);
    must(weft_file_open(session, made, O_RDWR | O_CREAT | O_EXCL, 0644, NULL, &file));
    if (round % 2 == 0) {
        must(weft_file_write(file, "weft", 4, (round % 7) * (CHUNK / 2)));
        size = (round % 7) * (CHUNK / 2) + 4;
    }
    must(weft_file_close(file));
    must(weft_rename(session, made, kept));
    must_be("a stat of the old name", (unsigned)-weft_stat(session, made, 0, &attr), ENOENT);
    must(weft_stat(session, kept, 0, &attr));
    must_be("the size", attr.size, size);
    if (round % 3 == 0) {
        must(weft_truncate(session, kept, 100));
        must(weft_stat(session, kept, 0, &attr));
        must_be("the size after truncation", attr.size, 100);
    }
    if (round % 4 >= 2)
        must(weft_unlink(session, kept));
}

static void check_directory(struct client *client, weft_session_t *session)
{
    char path[64];
    const char *name;
    weft_dir_t *dir;
    unsigned count = 0, expected = 0, number;
    int more;
    for (unsigned round = 0; round < client->rounds; round++)
        expected += round % 4 < 2;
    snprintf(path, sizeof path, "/c%u", client->number);
    must(weft_dir_open(session, path, &dir));
    while ((more = weft_dir_next(dir, &name, NULL)) > 0) {
        must_be("the form of a name", sscanf(name, "kept.%u", &number), 1);
        must_be("a removed file", number % 4 < 2, true);
        count++;
    }
    weft_dir_close(dir);
    must(more);
    must_be("the number of files", count, expected);
}

static void remove_all(struct client *client, weft_session_t *session)
{
    char path[64];
    for (unsigned round = 0; round < client->rounds; round++) {
        snprintf(path, sizeof path, "/c%u/kept.%u", client->number, round);
        if (round % 4 < 2)
            must(weft_unlink(session, path));
    }
    snprintf(path, sizeof path, "/c%u", client->number);
    must(weft_rmdir(session, path));
}

static void work(struct client *client, weft_session_t *session)
{
    char path[64];
    snprintf(path, sizeof path, "/c%u", client->number);
    must(weft_mkdir(session, path, 0755));
    while (!storm_over && !*client->wrong) {
        one_round(client, session);
        client->rounds++;
    }
    if (!*client->wrong)
        check_directory(client, session);
    if (!*client->wrong)
        remove_all(client, session);
}

static void *run_client(void *arg)
{
    struct client *client = arg;
    weft_session_t *session;
    if (weft_connect(NULL, &session)) {
        snprintf(client->wrong, sizeof client->wrong, "%s", weft_error());
        return NULL;
    }
    work(client, session);
    weft_disconnect(session);
    return NULL;
}

static void test_killed_again_and_again(void **state)
{
    struct client clients[CLIENTS] = {0};
    unsigned rounds = 0;
    (void)state;
    storm_over = false;
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i].number = i;
        assert_int_equal(pthread_create(&clients[i].thread, NULL, run_client, &clients[i]), 0);
    }
    for (unsigned i = 0; i < KILLS; i++) {
        cluster_pause(300 + 70 * i);
        if (i % 3 == 2)
            cluster_stop(&cluster, CLUSTER_METADATA);
        else
            cluster_kill(&cluster, CLUSTER_METADATA);
        cluster_start(&cluster, CLUSTER_METADATA);
    }
    storm_over = true;
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i].thread, NULL);
        if (*clients[i].wrong)
            fail_msg("%s", clients[i].wrong);
        rounds += clients[i].rounds;
    }
    print_message("%u rounds of %d clients while the metadata server ended %d times\n", rounds, CLIENTS,
                  KILLS);
    assert_true(rounds > KILLS);
    wait_for_objects(0);
}

/* ---- clients that die -------------------------------------------------------- */

/* The program itself, started again: opens, writes, and waits to be killed. */
static int die_with_open_files(void)
{
    static const struct weft_layout striped = {0};
    weft_session_t *session;
    weft_file_t *named, *nameless;
    if (weft_connect(NULL, &session) ||
        weft_file_open(session, "/named", O_RDWR | O_CREAT, 0644, &striped, &named) ||
        weft_file_open(session, "/nameless", O_RDWR | O_CREAT, 0644, &striped, &nameless) ||
        weft_file_write(named, "weft", 4, 5 * CHUNK) != 4 || weft_file_write(nameless, "weft", 4, 0) != 4 ||
        weft_unlink(session, "/nameless") || write(STDOUT_FILENO, "x", 1) != 1) {
        fprintf(stderr, "%s\n", weft_error());
        return 1;
    }
    for (;;)
        pause();
}

static pid_t start_client(void)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ready[1], STDOUT_FILENO);
        close(ready[0]);
        close(ready[1]);
        execl(self, self, "die-with-open-files", (char *)NULL);
        _exit(1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return child;
}

static void a_client_dies(bool restart)
{
    weft_session_t *session;
    struct weft_attr attr;
    ok(weft_connect(NULL, &session));
    pid_t child = start_client();
    unsigned objects = count_objects(cluster.dir, 0);
    assert_true(objects >= 2);
    ok(weft_stat(session, "/named", 0, &attr));
    assert_int_equal(attr.size, 5 * CHUNK + 4);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    if (restart) {
        cluster_kill(&cluster, CLUSTER_METADATA);
        cluster_start(&cluster, CLUSTER_METADATA);
    }
    /* Exact all the time, whoever has to be asked for it. */
    double end = cluster_now() + LEASE_MS / 1e3 + 15;
    while (count_objects(cluster.dir, 0) >= objects && cluster_now() < end) {
        ok(weft_stat(session, "/named", 0, &attr));
        assert_int_equal(attr.size, 5 * CHUNK + 4);
        cluster_pause(100);
    }
    wait_for_objects(1);
    if (!restart) {
        while (server_counter(session, "settled") == 0 && cluster_now() < end)
            cluster_pause(100);
        assert_int_equal(server_counter(session, "settled"), 1);
    }
    ok(weft_stat(session, "/named", 0, &attr));
    assert_int_equal(attr.size, 5 * CHUNK + 4);
    ok(weft_unlink(session, "/named"));
    weft_disconnect(session);
}

static void test_a_client_dies(void **state)
{
    (void)state;
    a_client_dies(false);
    wait_for_objects(0);
}

static void test_a_client_and_the_server_die(void **state)
{
    (void)state;
    a_client_dies(true);
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc > 1 && strcmp(argv[1], "die-with-open-files") == 0)
        return die_with_open_files();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_killed_again_and_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_client_dies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_client_and_the_server_die, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
