/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim.h: whole clusters in one process, under a seed. docs/simulation.md tells what is real, what is not, and
 * what is promised; this is the table of contents.
 *
 * The programs are the real ones: the main() of both servers, and libweft under the clients' workload. What
 * lies under them is exchanged when the test is linked (-Wl,--wrap): the clock, threads, sleeping,
 * descriptors, sockets and memory of libc, and the transport, the disks and the logger of Weft. So a
 * process of the simulation is a few fibers that give way where the program would wait, and ends as the
 * kernel would end it: its memory, descriptors and connections go, whatever it was doing.
 *
 *   fibers.c        fibers, virtual time, and which of them runs next
 *   process.c     processes: what they own, how they end
 *   memory.c      malloc() and its kin: whose memory it is
 *   threads.c     pthreads, semaphores, the clock, random numbers
 *   descriptors.c epoll, eventfd, timerfd, poll, and those of real files
 *   sockets.c     TCP, for the control sockets
 *   transport_sim.c transport_sim: messages between workers
 *   faults.c      what goes wrong on the network, and when
 *   disk.c        the disks of storage servers, which a crash of their host may leave in many ways
 *   programs.c    main() of the servers, daemon.h and log.h of the simulation
 *   undone.c      batches of the metadata server's that are undone, and run again
 *   cluster.c     a cluster: its configuration, its processes, its end
 *   model.c       what a file's bytes may be, by all that was done to them
 *   names.c       what names may lead to, likewise
 *   client.c      what clients do
 *   chaos.c       what befalls the cluster meanwhile
 *
 * Everything happens in one thread, and depends on the seed and on nothing else: not on addresses, the real
 * time, or the order of files in a folder. Nothing of this is for production.
 */
#ifndef TEST_SIM_H
#define TEST_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "list.h"

#define SIM_US UINT64_C(1000)
#define SIM_MS UINT64_C(1000000)
#define SIM_S  UINT64_C(1000000000)

struct fiber;
struct process;

/* ---- fibers.c --------------------------------------------------------------- */

/* Begins a world; nothing of an earlier one is left. */
void core_begin(uint64_t seed);
void core_end(void);
/* Runs until `stop` returns true, or nothing can happen any more (false), or time is over (false). */
bool core_run(bool (*stop)(void), uint64_t end_ns);
/* What all fibers wait for, to stderr. */
void core_report(void);

uint64_t sim_now(void); /* since the world began, as CLOCK_MONOTONIC has it */
void sim_tick(void);    /* a moment passes */

uint64_t sim_random(void);
uint64_t sim_below(uint64_t bound);                /* 0 ... bound - 1 */
uint64_t sim_between(uint64_t low, uint64_t high); /* both inclusive */
bool sim_chance(unsigned per_million);

/* Calls `fn` at that time, outside of all fibers and processes. */
void sim_at(uint64_t ns, void (*fn)(void *arg), void *arg);

/* The schedule so far, as one number: equal for equal schedules. */
uint64_t sim_digest(void);
void sim_note(uint64_t what); /* becomes a part of it */
extern bool sim_traced;
void sim_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Ends the test: something is wrong that was promised. */
void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void sim_fail_hook(void (*hook)(void)); /* runs first */

#define FIBER_NAME_BYTES 24u
struct fiber *fiber_start(struct process *process, const char *name, void *(*run)(void *arg), void *arg);
struct fiber *fiber_current(void);
/* Waits for a wake of `key`, at most until `deadline_ns` (UINT64_MAX: no limit): false when that is over.
 * `what` stands in reports. */
bool fiber_wait(const void *key, uint64_t deadline_ns, const char *what);
/* Wakes one of those that wait for the key, chosen by the seed, or all. */
void fiber_wake_one(const void *key);
void fiber_wake_all(const void *key);
void fiber_sleep(uint64_t ns);
/* Perhaps somebody else runs first. */
void fiber_pause(void);
bool fiber_ended(const struct fiber *fiber, void **result);
void fiber_free(struct fiber *fiber); /* one that has ended */
/* Ends all fibers of a process, wherever they are. Not from one of them. */
void fibers_kill(struct process *process);

/* ---- process.c ------------------------------------------------------------ */

#define PROCESS_NAME_BYTES 24u
struct process {
    struct list_link link;
    unsigned id; /* as getpid() */
    unsigned host;
    char name[PROCESS_NAME_BYTES];
    bool keeps_still; /* is in the middle of what no other process may see: does not give way */
    int status;
    bool ending;

    struct list memory; /* memory.c */
    uint64_t memory_bytes;
    struct list descriptors;  /* descriptors.c */
    struct list workers;      /* wire.c */
    struct list environments; /* programs.c: of LMDB */
    char poll_key;            /* what fibers in poll() wait for */

    /* programs.c: what daemon.h has as globals */
    bool stop_asked;
    void *wake_rpc;
    const char *conf_path;
    const char *storage_name; /* NULL: the metadata server */
    bool ready;
    uint64_t ready_ns;                      /* since when */
    void (*ended)(struct process *process); /* the process is gone after it */
    void *arg;
};

extern struct process *process_current; /* NULL: the world itself */
extern struct list processes;

struct process *process_start(const char *name, unsigned host, void *(*run)(void *arg), void *arg);
/* As kill -9 does. Not from one of its fibers. */
void process_kill(struct process *process);
/* As the end of its host does: nobody is told, until somebody asks. */
void process_vanish(struct process *process);
/* exit(): the process ends at once, and nothing that it has counts as a leak when `status` is not 0. */
void process_exit(int status) __attribute__((noreturn));

/* What is done between these belongs to the world, not to the process that is running. */
static inline struct process *world_enter(void)
{
    struct process *process = process_current;
    process_current = NULL;
    return process;
}
static inline void world_leave(struct process *process)
{
    process_current = process;
}

/* What each part has of a process goes. */
void memory_release(struct process *process);
/* How much it still has; what it is, to stderr. */
size_t memory_left(const struct process *process, bool show);
void descriptors_release(struct process *process, bool abruptly);
size_t descriptors_left(const struct process *process, bool show);
void workers_release(struct process *process);
void environments_release(struct process *process);

/* ---- descriptors.c ---------------------------------------------------------- */

enum descriptor_kind {
    DESCRIPTOR_FILE, /* a real one */
    DESCRIPTOR_EPOLL,
    DESCRIPTOR_EVENT,
    DESCRIPTOR_TIMER,
    DESCRIPTOR_LISTENER,
    DESCRIPTOR_STREAM,
};

struct descriptor {
    struct list_link link; /* in its process */
    struct process *process;
    enum descriptor_kind kind;
    int fd;
    uint64_t count; /* event, timer */
    uint64_t interval_ns, due_ns, timer_serial;
    struct epoll_entry *entries;
    unsigned entry_count, entry_room;
    struct stream *stream;
    struct listener *listener;
};

void descriptors_begin(void);
struct descriptor *descriptor_new(enum descriptor_kind kind);
struct descriptor *descriptor_of(int fd); /* NULL: a real one, or none */
void descriptor_close(struct descriptor *descriptor, bool abruptly);
/* It may have become ready. */
void descriptor_notify(struct descriptor *descriptor);

/* sockets.c: what epoll would tell of one */
void sockets_begin(void);
uint32_t stream_events(const struct stream *stream);
uint32_t listener_events(const struct listener *listener);
void stream_close(struct stream *stream, bool abruptly);
void listener_close(struct listener *listener);
/* Cuts the TCP connections of a process, all or each with some chance: both ends learn of it at once, or
 * one later. */
unsigned streams_cut(struct process *process, unsigned per_million); /* how many */
/* All of them; the others learn of it as late as they can. */
void streams_cut_unnoticed(struct process *process);

/* ---- transport_sim.c ------------------------------------------------------  */

void wire_begin(void);
/* The transport tells a process that peers failed, each with some chance. */
unsigned peers_cut(struct process *process, unsigned per_million); /* how many */

/* ---- faults.c ------------------------------------------------------------- */

/* How the network is in this schedule. Chances are per million messages. */
struct weather {
    uint64_t delay_min_ns, delay_max_ns;
    unsigned slow; /* takes up to slow_ns more */
    uint64_t slow_ns;
    unsigned lost, twice, damaged;
    bool is_one_host;   /* to all processes: they share memory, as they think */
    uint64_t eager_max; /* longer payloads stay with their sender until they are fetched */
};
extern struct weather weather;

/* When what is sent now from one host to another arrives. A partition holds it up. */
uint64_t weather_arrival(unsigned from, unsigned to);
/* No message between the host and all others arrives before that time. */
void weather_partition(unsigned host, uint64_t until_ns);
/* Likewise between two hosts, in either direction. */
void weather_part(unsigned host, unsigned other, uint64_t until_ns);
void weather_begin(void);
/* The next message of that host's takes so much longer, once. */
void weather_hold(unsigned host, uint64_t ns);
uint64_t weather_held(unsigned host); /* takes it */
/* The next request of an operation, or answer to one, from one host to another. */
struct weather_watch {
    unsigned from, to;
    unsigned operation; /* enum wire_operation */
    bool is_reply;
    uint64_t hold_ns;        /* it takes so much longer */
    void (*then)(void *arg); /* called once it is on its way, outside of all fibers; or NULL */
    void *arg;
};
/* Waits for one; some may be waited for at a time. */
void weather_watch(const struct weather_watch *watch);
/* Whether a message is waited for: how much longer it takes. */
uint64_t weather_watched(unsigned from, unsigned to, const void *header, size_t length);

/* ---- disk.c ----------------------------------------------------------------- */

void disks_begin(void);
void disks_end(void);
/* All disks of the host lose, by the seed, some of what was not flushed; it starts anew. */
void disks_crash(unsigned host);
/* What the host's next read of data has found comes so much later, once; its next write of data is made so
 * much later. */
void disks_hold_read(unsigned host, uint64_t ns);
void disks_hold_write(unsigned host, uint64_t ns);

/* ---- undone.c ------------------------------------------------------------- */

void undone_begin(unsigned per_million);
uint64_t undone_end(void); /* how many were undone */

/* ---- programs.c ----------------------------------------------------------- */

struct process *metad_start(const char *conf_path, unsigned host);
struct process *storaged_start(const char *conf_path, const char *name, unsigned host);
/* SIGTERM. */
void process_stop(struct process *process);

#endif
