/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster.h: a whole cluster of real server processes for a test: in a scratch
 * folder, on this machine only, and gone at the end whatever happens to the test.
 *
 * Every function ends the running CMocka test when something is not as it should be.
 * WEFT_TEST_STORE in the environment says which store the targets get (test_files_store.sh).
 *
 * One cluster at a time; all calls from the thread that opened it, which must live as
 * long as the servers are to (they end with it).
 */
#ifndef TEST_CLUSTER_H
#define TEST_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { CLUSTER_SERVERS_MAX = 8, CLUSTER_METADATA = -1 };

struct cluster_options {
    unsigned servers;
    unsigned shards;      /* of each storage server; 0: 1 */
    unsigned targets;     /* likewise */
    unsigned chunk_size;  /* 0: 64 KiB */
    unsigned deadline_ms; /* 0: 10000 */
    bool moving;          /* storage servers get another port at each start */
    const char *limits;   /* more lines of the limits section; NULL: none */
    const char *more;     /* more lines outside of all sections; NULL: none */
};

struct cluster {
    struct cluster_options options;
    char dir[64];
    char conf[96]; /* path of weft.conf; WEFT_CONF is set to it */
    unsigned metadata_port;
    unsigned storage_port; /* of shard 0 of the first one; the others' follow */
    pid_t metadata;        /* 0: not running */
    pid_t storage[CLUSTER_SERVERS_MAX];
    char address[CLUSTER_SERVERS_MAX][64]; /* of shard 0, while running */
    int ports_fd; /* nobody else has them while this is open */
    int keeper_fd;
    pid_t keeper;
};

/* Makes the configuration and starts everything; returns when all storage servers are in the map. */
void cluster_open(struct cluster *cluster, const struct cluster_options *options);
/* Stops everything (each server has to end cleanly), looks for complaints of sanitizers in the logs,
 * and removes the folder. */
void cluster_close(struct cluster *cluster);

/* `server` is the number of a storage server or CLUSTER_METADATA. */
void cluster_start(struct cluster *cluster, int server);
void cluster_stop(struct cluster *cluster, int server); /* SIGTERM; it has to end with 0 */
void cluster_kill(struct cluster *cluster, int server); /* kill -9, and waits for the end */
void cluster_signal(struct cluster *cluster, int server, int number);
bool cluster_runs(struct cluster *cluster, int server);
/* Waits until so many storage servers are up in the metadata server's map. */
void cluster_wait_up(struct cluster *cluster, unsigned servers);
/* Ends all of this process's connections to the server, as a broken network would; returns how many. */
unsigned cluster_cut(const struct cluster *cluster, int server);
/* The server's log so far has `text` in it. */
bool cluster_logged(struct cluster *cluster, int server, const char *text);

/* This program again as a process of its own, with these arguments (at most 6, then NULL): for one that
 * connects while we have a session. One that was only forked would inherit the locks that threads of the
 * transport held in that moment, and wait for them for ever. */
pid_t cluster_run_again(const char *const arguments[]);

/* Seconds since some start, for measuring. */
double cluster_now(void);
void cluster_pause(unsigned ms);

#endif
