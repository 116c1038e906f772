/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The servers' programs, and what stands in the place of daemon.c and log.c under them: what these have
 * once for each process, since here are several. An environment of LMDB is noted, since a process that is
 * killed does not close it.
 */
#include <errno.h>
#include <lmdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "err.h"
#include "log.h"
#include "mains.h"
#include "rpc.h"
#include "sim.h"
#include "wraps.h"

/* ---- daemon.h ------------------------------------------------------------------ */

void daemon_open(struct daemon *daemon, const struct daemon_program *program, int argc, char **argv)
{
    const struct process *process = process_current;
    (void)argc;
    (void)argv;
    *daemon = (struct daemon){.ready_fd = -1};
    if (conf_load(process->conf_path, &daemon->conf))
        sim_fail("the configuration: %s", err_text());
    snprintf(daemon->who, sizeof daemon->who, "%s%s%s", program->name, process->storage_name ? " " : "",
             process->storage_name ? process->storage_name : "");
    if (process->storage_name)
        daemon->storage = conf_storage_by_name(daemon->conf, process->storage_name);
}

void daemon_close(struct daemon *daemon)
{
    conf_free(daemon->conf);
}

bool daemon_stopping(void)
{
    return process_current->stop_asked;
}

void daemon_stop(void)
{
    process_current->stop_asked = true;
    if (process_current->wake_rpc)
        rpc_wake(process_current->wake_rpc);
}

void daemon_wake_set(struct rpc *rpc)
{
    process_current->wake_rpc = rpc;
    if (rpc && daemon_stopping())
        rpc_wake(rpc);
}

void daemon_ready(struct daemon *daemon, const char *address)
{
    (void)daemon;
    sim_trace("ready at %s", address);
    process_current->ready = true;
    process_current->ready_ns = sim_now();
}

void daemon_leaving(void)
{
}

/* ---- log.h ------------------------------------------------------------------------ */

void log_init(const char *who, enum log_level level)
{
    (void)who;
    (void)level;
}

void log_to_system(void)
{
}

int log_level_parse(const char *word, enum log_level *level)
{
    (void)word;
    *level = LOG_LEVEL_DEBUG;
    return 0;
}

void log_write(enum log_level level, const char *format, ...)
{
    static const char *const words[] = {"error", "warn", "info", "debug"};
    char line[1024];
    va_list arguments;
    if (!sim_traced || level < LOG_LEVEL_ERROR)
        return;
    const int saved = errno;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    sim_trace("%s: %s", words[level], line);
    errno = saved;
}

/* ---- LMDB --------------------------------------------------------------------------- */

struct environment {
    struct list_link link;
    MDB_env *env;
};

int __real_mdb_env_create(MDB_env **env);
int __wrap_mdb_env_create(MDB_env **env);
void __real_mdb_env_close(MDB_env *env);
void __wrap_mdb_env_close(MDB_env *env);
int __real_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn);
int __wrap_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn);
int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);
void __real_mdb_txn_abort(MDB_txn *txn);
void __wrap_mdb_txn_abort(MDB_txn *txn);

int __wrap_mdb_env_create(MDB_env **env)
{
    int error = __real_mdb_env_create(env);
    struct process *process = world_enter();
    struct environment *environment = error ? NULL : malloc(sizeof *environment);
    if (environment) {
        environment->env = *env;
        list_push_back(&process->environments, &environment->link);
    }
    world_leave(process);
    return error;
}

static void environment_forget(struct process *process, const MDB_env *env)
{
    list_each(&process->environments, each, after)
    {
        struct environment *environment = list_item(each, struct environment, link);
        if (environment->env == env) {
            list_remove(each);
            free(environment);
        }
    }
}

void __wrap_mdb_env_close(MDB_env *env)
{
    environment_forget(process_current, env);
    __real_mdb_env_close(env);
}

void environments_release(struct process *process)
{
    struct list_link *first;
    while ((first = list_pop(&process->environments))) {
        struct environment *environment = list_item(first, struct environment, link);
        __real_mdb_env_close(environment->env);
        free(environment);
    }
}

/* A transaction is nothing that anybody sees the middle of: nor does a kill come there, which LMDB is trusted
 * to outlive. */
int __wrap_mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn)
{
    fiber_pause();
    int error = __real_mdb_txn_begin(env, parent, flags, txn);
    process_current->keeps_still = !error;
    return error;
}

int __wrap_mdb_txn_commit(MDB_txn *txn)
{
    int error = __real_mdb_txn_commit(txn);
    process_current->keeps_still = false;
    fiber_pause();
    return error;
}

void __wrap_mdb_txn_abort(MDB_txn *txn)
{
    __real_mdb_txn_abort(txn);
    process_current->keeps_still = false;
}

/* ---- starting --------------------------------------------------------------------------- */

static void *run_metad(void *arg)
{
    (void)arg;
    char *argv[] = {"weft-metad", NULL};
    return (void *)(intptr_t)metad_main(1, argv);
}

static void *run_storaged(void *arg)
{
    (void)arg;
    char *argv[] = {"weft-storaged", NULL};
    return (void *)(intptr_t)storaged_main(1, argv);
}

struct process *metad_start(const char *conf_path, unsigned host)
{
    struct process *process = process_start("metad", host, run_metad, NULL);
    process->conf_path = conf_path;
    return process;
}

struct process *storaged_start(const char *conf_path, const char *name, unsigned host)
{
    struct process *process = process_start(name, host, run_storaged, NULL);
    process->conf_path = conf_path;
    process->storage_name = name;
    return process;
}

void process_stop(struct process *process)
{
    struct process *before = process_current;
    process_current = process;
    daemon_stop();
    process_current = before;
}
