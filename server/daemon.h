/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon.h: what both servers do around their work: options, configuration,
 * log, signals, and telling whoever started them that they serve.
 *
 * The shape of a server's main():
 *
 *     static const struct daemon_program program = {...};
 *     struct daemon daemon;
 *     daemon_open(&daemon, &program, argc, argv);
 *     ... rpc_open(), rpc_listen() ...
 *     daemon_wake_set(rpc);
 *     daemon_ready(&daemon, bound);
 *     while (!daemon_stopping())
 *         rpc_wait(rpc, -1);
 *     daemon_leaving();
 *     daemon_wake_set(NULL);
 *     ... rpc_close() ...
 *     daemon_close(&daemon);
 *
 * Exit codes: 0 for a clean end, 1 when the server can't go on, 2 for wrong
 * options.
 *
 * Threads: all but daemon_stopping() and daemon_stop() belong to the main thread.
 */
#ifndef SERVER_DAEMON_H
#define SERVER_DAEMON_H

#include <stdbool.h>

#include "conf.h"

struct rpc;

/* What a server's --help and options look like. */
struct daemon_program {
    const char *name;    /* "weft-storaged" */
    const char *summary; /* one sentence for --help */
    bool named;          /* --name is taken, and needed: one of the storage sections */
};

enum { DAEMON_REPLACED_MAX = 32 };

struct daemon {
    struct conf *conf;                      /* until daemon_close() */
    const struct conf_storage *storage;     /* of --name, when the program is named; else NULL */
    char who[64];                           /* "weft-storaged s0": for logs and rpc_config.name */
    uint32_t replaced[DAEMON_REPLACED_MAX]; /* ids of --replace */
    uint32_t replaced_count;
    int ready_fd; /* -1: none */
    bool die_with_parent;
};

/*
 * Reads the options and the configuration, opens the log, and makes SIGTERM, SIGINT and
 * SIGHUP ask for a clean end (a second SIGINT kills); SIGPIPE is ignored; the
 * limit of open files is raised as far as it goes. Ends the process itself after --help
 * and --version (0), with wrong options (2) and with a wrong configuration (1).
 */
void daemon_open(struct daemon *daemon, const struct daemon_program *program, int argc, char **argv);
void daemon_close(struct daemon *daemon);

/* A clean end was asked for, by a signal or by daemon_stop(). */
bool daemon_stopping(void);
/* Asks for it from inside the process, from any thread. */
void daemon_stop(void);

/* The rpc whose rpc_wait() is to return when a clean end is asked for; NULL
 * before that rpc is closed. */
void daemon_wake_set(struct rpc *rpc);

/* The server serves at `address`: writes "ready ADDRESS" to --ready-fd and closes it, tells
 * systemd, and logs it. */
void daemon_ready(struct daemon *daemon, const char *address);
/* The server is about to end: tells systemd. */
void daemon_leaving(void);

#endif
