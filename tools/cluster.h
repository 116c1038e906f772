/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster.h: a cluster on this machine, kept in one directory.
 *
 *   DIR/weft.conf       its configuration: what makes the directory a cluster's
 *   DIR/cluster.key     the cluster key, for the owner's eyes only
 *   DIR/metadata/       the metadata server's data
 *   DIR/NAME/tN/        the data of a storage server's targets
 *   DIR/log/NAME.log    what a server logs
 *   DIR/run/NAME.pid    its process
 *   DIR/run/lock        held while servers are started and stopped
 *
 * A server's process is known by its command line (program, configuration
 * and name), so a stale or lost pid file does no harm.
 */
#ifndef TOOLS_CLUSTER_H
#define TOOLS_CLUSTER_H

#include <sys/types.h>

#include "tool.h"

struct conf;
struct conf_storage;

/* ---- cluster.c: the directory and its servers ----------------------------- */

#define CLUSTER_METADATA_NAME    "metadata"
#define CLUSTER_STORAGE_PROGRAM  "weft-storaged"
#define CLUSTER_METADATA_PROGRAM "weft-metad"
#define CLUSTER_READY_FD         "3" /* what weft up gives to --ready-fd */

struct cluster_server {
    const char *name;                   /* in messages, logs and pid files */
    const struct conf_storage *storage; /* NULL: the metadata server */
    const char *listen;                 /* "host:port" as configured */
    const char *replace;                /* id of a target that replaces a lost one; NULL: none */
    char *log_path, *pid_path;
    pid_t pid;       /* 0: not running */
    int pidfd;       /* of pid; -1 where the kernel has none */
    bool is_around;  /* pid is a wrapper's (valgrind, say), inside which the server runs */
    bool started;    /* by this process, so it is our child */
    bool ready;      /* said so on ready_fd */
    int ready_fd;    /* -1: none */
    off_t log_start; /* where this start's part of the log begins */
};

struct cluster {
    char *dir;       /* absolute, without links */
    char *conf_path; /* DIR/weft.conf */
    struct conf *conf;
    struct cluster_server *servers; /* the metadata server first */
    uint32_t server_count;
    int lock_fd;
};

/* What a new cluster is to be like; 0 and NULL mean not given. */
struct cluster_wish {
    uint32_t servers, targets, shards, port;
    uint64_t chunk_size;
    uint32_t replicas;
    const char *transport;
};

/* Opens the cluster of a directory, with the state of its servers. 0, or the
 * exit status after a complaint; *cluster is the caller's until
 * cluster_close(). */
int cluster_open(struct tool *tool, const char *dir, struct cluster **cluster);
/* The same with the lock, and makes what is missing as `wish` says. A cluster
 * that is there already must be what `wish` says. */
int cluster_open_or_make(struct tool *tool, const char *dir, const struct cluster_wish *wish, bool *made,
                         struct cluster **cluster);
void cluster_close(struct cluster *cluster); /* NULL is allowed */

/* Nobody else starts or stops servers of it until cluster_unlock(). */
int cluster_lock(struct tool *tool, struct cluster *cluster);
void cluster_unlock(struct cluster *cluster);

/* Prints how to reach the cluster from a shell. */
void cluster_print_use(const struct cluster *cluster);
/* A word as the shell takes it: quoted where that is needed. Caller frees. */
char *cluster_shell_word(const char *text);

/* ---- cluster_make.c: a new cluster's files -------------------------------- */

/* Writes the key and the configuration, the latter last and at once. */
int cluster_make_files(struct tool *tool, const char *dir, const struct cluster_wish *wish);

/* ---- process.c: servers as processes -------------------------------------- */

/* Fills in pid and pidfd of every server that runs. */
void process_find(struct cluster *cluster);
/* A descriptor of the process; -1 where the kernel has none. */
int process_open_pidfd(pid_t pid);
/* Whether a TCP address of this machine can be listened on: 0, or -EADDRINUSE
 * and the like. */
int process_probe_address(const char *address);

/* The server's process has ended (and is reaped when it was ours). */
bool process_gone(struct cluster_server *server, int *wait_status);
int process_signal(struct cluster_server *server, int number); /* 0 or a negative errno */
/* The server's process is gone: forgets it, and removes its pid file. */
void process_forget(struct cluster_server *server);

/*
 * Stops servers, storage servers first: SIGTERM, and SIGKILL for those still
 * there after `patience_s`, or at once when `signal_fd` (-1: none) has a
 * signal. `only_started` leaves alone what ran before. 0, or -1 after a
 * complaint.
 */
int process_stop(struct tool *tool, struct cluster *cluster, bool only_started, unsigned patience_s,
                 int signal_fd, bool quiet);

/* ---- process_start.c ------------------------------------------------------ */

/* The program's path; NULL after a complaint that names where it was looked
 * for. Caller frees. */
char *process_program(struct tool *tool, const char *name);

/* Starts a server; what it logs goes to its log. 0, or -1 after a complaint. */
int process_start(struct tool *tool, struct cluster *cluster, struct cluster_server *server,
                  const char *program, bool die_with_us);

/* The end of what the server logged since it was started, indented, on stderr. */
void process_show_log(const struct cluster_server *server);

#endif
