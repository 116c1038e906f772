/* SPDX-License-Identifier: Apache-2.0 */
/* Processes: fibers with memory and descriptors of their own, and an end as the kernel would make it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim.h"
#include "wraps.h"

struct process *process_current;
struct list processes;

struct beginning {
    struct process *process;
    void *(*run)(void *arg);
    void *arg;
};

static void process_free(struct process *process)
{
    list_remove(&process->link);
    if (process->ended)
        process->ended(process);
    free(process);
}

static void release(struct process *process, bool silently)
{
    fibers_kill(process);
    environments_release(process);
    workers_release(process);
    descriptors_release(process, silently);
    memory_release(process);
    process_free(process);
}

/* One that is ending anyhow is left to that. */
void process_kill(struct process *process)
{
    if (process->ending)
        return;
    sim_trace("%s (%u) is killed", process->name, process->id);
    release(process, false);
}

void process_vanish(struct process *process)
{
    if (process->ending)
        return;
    sim_trace("%s (%u) vanishes with its host", process->name, process->id);
    release(process, true);
}

/* What a process that ended in order has not given back is lost to one that goes on. */
static void check_left(const struct process *process)
{
    const size_t memory = memory_left(process, false), descriptors = descriptors_left(process, false);
    if (!memory && !descriptors)
        return;
    fprintf(stderr, "%s ended and left behind:\n", process->name);
    memory_left(process, true);
    descriptors_left(process, true);
    sim_fail("%s leaks: %zu allocations, %zu descriptors", process->name, memory, descriptors);
}

static void process_over(void *arg)
{
    struct process *process = arg;
    sim_trace("%s (%u) has ended with %d", process->name, process->id, process->status);
    if (process->status == 0)
        check_left(process);
    release(process, false);
}

void process_exit(int status)
{
    struct process *process = process_current;
    if (!process->ending) {
        process->ending = true;
        process->status = status;
        sim_at(sim_now(), process_over, process);
    }
    for (;;)
        fiber_wait(process, UINT64_MAX, "its end");
}

void __wrap_exit(int status)
{
    if (!process_current)
        __real_exit(status);
    process_exit(status);
}

static void *run_main(void *arg)
{
    struct beginning beginning = *(struct beginning *)arg;
    struct process *process = world_enter();
    free(arg);
    world_leave(process);
    void *status = beginning.run(beginning.arg);
    process_exit((int)(intptr_t)status);
}

struct process *process_start(const char *name, unsigned host, void *(*run)(void *arg), void *arg)
{
    static unsigned id;
    struct process *before = world_enter();
    struct process *process = calloc(1, sizeof *process);
    struct beginning *beginning = malloc(sizeof *beginning);
    if (!process || !beginning)
        abort();
    if (list_empty(&processes))
        id = 100;
    snprintf(process->name, sizeof process->name, "%s", name);
    process->id = ++id;
    process->host = host;
    list_init(&process->memory);
    list_init(&process->descriptors);
    list_init(&process->workers);
    list_init(&process->environments);
    list_push_back(&processes, &process->link);
    *beginning = (struct beginning){process, run, arg};
    sim_trace("%s (%u) starts on host %u", process->name, process->id, host);
    fiber_start(process, name, run_main, beginning);
    world_leave(before);
    return process;
}

pid_t __wrap_getpid(void)
{
    return process_current ? (pid_t)process_current->id : __real_getpid();
}

int __wrap_gethostname(char *name, size_t size)
{
    snprintf(name, size, "host-%u", process_current ? process_current->host : 0);
    return 0;
}

/* Processes that believe to be on one host look after each other's deaths (rpc_renew.c). */
int __wrap_control_host_identity(uint8_t host[16])
{
    memset(host, 0, 16);
    if (!weather.is_one_host)
        host[0] = (uint8_t)process_current->host;
    return 0;
}
