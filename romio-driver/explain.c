/* SPDX-License-Identifier: Apache-2.0 */
/*
 * explain.c: what was in effect for a file, and what it cost (weft_explain=true).
 *
 * Each call of the driver is counted in its class. What a call cost is the change of
 * the session's counters between its begin and its end; what changes outside of calls
 * is a class of its own. So every request is counted once, whatever overlaps, and the
 * sums are exact; but of two operations that are under way together, one may be
 * counted with what the other sent. At close the ranks' counts are added up by one
 * reduction, and rank 0 prints.
 *
 * Lock: the_lock guards the cursor and the counts of all files; the thread that moves
 * nonblocking operations on comes here, too.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "driver.h"

#define KINDS_MAX    32u
#define METHOD_BYTES 16u
#define REASON_BYTES 96u

/* Everything is an int64_t, so that one reduction adds up all. */
struct cost {
    int64_t calls;
    int64_t bytes;    /* that they asked for */
    int64_t requests; /* to storage servers */
    int64_t metadata; /* requests to the metadata server */
    int64_t wire;     /* bytes sent and received */
    int64_t nanoseconds;
};

#define COST_FIELDS (sizeof(struct cost) / sizeof(int64_t))

/* The collective calls that were done by one method for one reason. */
struct kind {
    bool is_write;
    char method[METHOD_BYTES];
    char reason[REASON_BYTES];
    int64_t calls;
};

struct explain {
    weft_session_t *session;
    int64_t since_ns;
    struct cost costs[EXPLAIN_COUNT];
    enum explain_class current; /* of the call that is going on */
    unsigned depth;             /* calls inside of calls are part of the outermost */
    int64_t call_since_ns;
    struct kind kinds[KINDS_MAX]; /* of collective calls */
    size_t kind_count;
};

/* The session's counters at the latest begin or end of a call. */
static struct cost cursor;
static pthread_mutex_t the_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- counting --------------------------------------------------------- */

static void add_counter(void *argument, const char *server, const char *name, uint64_t value)
{
    struct cost *cost = argument;
    (void)server;
    if (strcmp(name, "storage_requests") == 0)
        cost->requests += (int64_t)value;
    else if (strcmp(name, "metadata_requests") == 0)
        cost->metadata += (int64_t)value;
    else if (strcmp(name, "bytes_wire_sent") == 0 || strcmp(name, "bytes_wire_received") == 0)
        cost->wire += (int64_t)value;
}

/* (locked) What has changed since the last time goes to `cost`; NULL: to nobody. */
static void settle(const struct explain *explain, struct cost *cost)
{
    struct cost now = {0};
    weft_counters(explain->session, add_counter, &now);
    if (cost != NULL) {
        cost->requests += now.requests - cursor.requests;
        cost->metadata += now.metadata - cursor.metadata;
        cost->wire += now.wire - cursor.wire;
    }
    cursor = now;
}

/* Threads that may not call MPI ask, too. */
static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

void explain_start(ADIO_File fd)
{
    struct driver_file *file = driver_file(fd);
    weft_session_t *session;
    if (file->explain != NULL || file->file == NULL || session_get(&session) < 0)
        return;
    struct explain *explain = ADIOI_Calloc(1, sizeof *explain);
    explain->session = session;
    explain->since_ns = now_ns();
    explain->current = EXPLAIN_BETWEEN;
    pthread_mutex_lock(&the_lock);
    settle(explain, NULL);
    pthread_mutex_unlock(&the_lock);
    file->explain = explain;
}

void explain_forget(struct driver_file *file)
{
    if (file->explain != NULL)
        ADIOI_Free(file->explain);
    file->explain = NULL;
}

void explain_call_begin(struct explain *explain, enum explain_class class)
{
    pthread_mutex_lock(&the_lock);
    if (explain->depth++ == 0) {
        settle(explain, &explain->costs[EXPLAIN_BETWEEN]);
        explain->current = class;
        explain->call_since_ns = now_ns();
    }
    pthread_mutex_unlock(&the_lock);
}

/* (locked) */
static void end_call(struct explain *explain, int64_t bytes, bool is_timed)
{
    struct cost *cost = &explain->costs[explain->current];
    if (--explain->depth > 0)
        return;
    settle(explain, cost);
    cost->calls++;
    cost->bytes += bytes;
    cost->nanoseconds += is_timed ? now_ns() - explain->call_since_ns : 0;
    explain->current = EXPLAIN_BETWEEN;
}

void explain_call_end(struct explain *explain, int64_t bytes)
{
    pthread_mutex_lock(&the_lock);
    end_call(explain, bytes, true);
    pthread_mutex_unlock(&the_lock);
}

/* ---- operations that go on after their call ---------------------------- */

void explain_op_begin(struct explain *explain, struct explain_op *op, int64_t bytes)
{
    pthread_mutex_lock(&the_lock);
    *op = (struct explain_op){explain, explain->current, explain->call_since_ns};
    end_call(explain, bytes, false);
    pthread_mutex_unlock(&the_lock);
}

void explain_op_step(const struct explain_op *op)
{
    pthread_mutex_lock(&the_lock);
    settle(op->explain, &op->explain->costs[op->explain->current]);
    pthread_mutex_unlock(&the_lock);
}

void explain_op_stepped(const struct explain_op *op, bool is_end)
{
    struct cost *cost = &op->explain->costs[op->class];
    pthread_mutex_lock(&the_lock);
    settle(op->explain, cost);
    if (is_end)
        cost->nanoseconds += now_ns() - op->since_ns;
    pthread_mutex_unlock(&the_lock);
}

/* ---- classes ---------------------------------------------------------- */

enum explain_class explain_class_of(ADIO_File fd, bool is_write, unsigned kind, MPI_Datatype datatype)
{
    int is_memory_contiguous, is_file_contiguous;
    ADIOI_Datatype_iscontig(datatype, &is_memory_contiguous);
    ADIOI_Datatype_iscontig(fd->filetype, &is_file_contiguous);
    if (!is_memory_contiguous || !is_file_contiguous)
        kind |= EXPLAIN_STRIDED;
    return (enum explain_class)(kind | (is_write ? EXPLAIN_WRITE : 0u));
}

static void class_name(enum explain_class class, char name[64])
{
    static const char *const others[] = {
        [EXPLAIN_POINTER - EXPLAIN_OTHERS] = "shared file pointer",
        [EXPLAIN_SIZE - EXPLAIN_OTHERS] = "size",
        [EXPLAIN_SYNC - EXPLAIN_OTHERS] = "sync",
        [EXPLAIN_BETWEEN - EXPLAIN_OTHERS] = "between calls",
    };
    if (class >= EXPLAIN_OTHERS)
        snprintf(name, 64, "%s", others[class - EXPLAIN_OTHERS]);
    else
        snprintf(name, 64, "%s %s %s%s", class & EXPLAIN_WRITE ? "write" : "read",
                 class & EXPLAIN_COLLECTIVE ? "collective" : "independent",
                 class & EXPLAIN_STRIDED ? "strided" : "contiguous",
                 class & EXPLAIN_NONBLOCKING ? " nonblocking" : "");
}

/* ---- strategies ------------------------------------------------------- */

static bool is_kind(const struct kind *kind, const struct kind *wanted)
{
    return kind->is_write == wanted->is_write && strcmp(kind->method, wanted->method) == 0 &&
           strcmp(kind->reason, wanted->reason) == 0;
}

void explain_method(struct explain *explain, bool is_write, const char *method, const char *reason)
{
    struct kind kind = {.is_write = is_write};
    size_t i = 0;
    snprintf(kind.method, sizeof kind.method, "%s", method);
    snprintf(kind.reason, sizeof kind.reason, "%s", reason);
    while (i < explain->kind_count && !is_kind(&explain->kinds[i], &kind))
        i++;
    if (i == KINDS_MAX)
        return; /* there are fewer methods and reasons than that */
    if (i == explain->kind_count)
        explain->kinds[explain->kind_count++] = kind;
    explain->kinds[i].calls++;
}

/* ---- telling ---------------------------------------------------------- */

static void tell_layout(FILE *out, const struct driver_file *file)
{
    struct weft_layout layout;
    weft_file_layout(file->file, &layout);
    fprintf(out, "  layout: chunks of %" PRIu64 " bytes, over %u of %u groups, pool %s\n", layout.chunk_size,
            layout.stripe_count, layout.group_count, layout.pool);
}

static void tell_aggregators(FILE *out, ADIO_File fd)
{
    fprintf(out, "  aggregators: rank");
    for (int i = 0; i < fd->hints->cb_nodes; i++)
        fprintf(out, " %d", fd->hints->ranklist[i]);
    fputc('\n', out);
}

static void tell_hints(FILE *out, const struct hint_set *told)
{
    fprintf(out, "  %-24s %-24s %s\n", "hint in effect", "value", "from");
    for (enum hint_id id = 0; id < HINT_COUNT; id++)
        if (told->values[id].is_set)
            fprintf(out, "    %-22s %-24s %s\n", hint_rows[id].name, told->values[id].text,
                    hint_source_name(told->values[id].source));
}

static void tell_costs(FILE *out, const struct cost costs[EXPLAIN_COUNT], int ranks)
{
    char heading[64];
    snprintf(heading, sizeof heading, "done, by %d rank%s together", ranks, ranks == 1 ? "" : "s");
    fprintf(out, "  %-44s %10s %15s %10s %10s %15s %12s\n", heading, "calls", "bytes", "requests", "metadata",
            "wire bytes", "seconds");
    for (enum explain_class class = 0; class < EXPLAIN_COUNT; class ++) {
        const struct cost *cost = &costs[class];
        char name[64];
        if (cost->calls == 0 && cost->requests == 0 && cost->metadata == 0 && cost->wire == 0)
            continue;
        class_name(class, name);
        fprintf(out,
                "    %-42s %10" PRId64 " %15" PRId64 " %10" PRId64 " %10" PRId64 " %15" PRId64 " %12.6f\n",
                name, cost->calls, cost->bytes, cost->requests, cost->metadata, cost->wire,
                (double)cost->nanoseconds / 1e9);
    }
}

/* The ranks choose together, so rank 0's choices are everybody's. */
static void tell_kinds(FILE *out, const struct explain *explain)
{
    if (explain->kind_count > 0)
        fprintf(out, "  how collective calls were done\n");
    for (size_t i = 0; i < explain->kind_count; i++) {
        const struct kind *kind = &explain->kinds[i];
        fprintf(out, "    %-5s %-9s %10" PRId64 " of each rank: %s\n", kind->is_write ? "write" : "read",
                kind->method, kind->calls, kind->reason);
    }
}

static void tell(ADIO_File fd, const struct cost costs[EXPLAIN_COUNT])
{
    const struct driver_file *file = driver_file(fd);
    char *text = NULL;
    size_t length;
    int ranks;
    FILE *out = open_memstream(&text, &length); /* so that others' lines don't come in between */
    if (out == NULL)
        return;
    MPI_Comm_size(fd->comm, &ranks);
    fprintf(out, "weft: explained: weft:%s, %.3f s after it was opened\n", fd->filename,
            (double)(now_ns() - file->explain->since_ns) / 1e9);
    if (file->mounted != NULL)
        fprintf(out, "  past the mount on which it is %s\n", file->mounted);
    tell_layout(out, file);
    tell_aggregators(out, fd);
    tell_hints(out, &file->hints.told);
    tell_costs(out, costs, ranks);
    tell_kinds(out, file->explain);
    if (fclose(out) == 0)
        fwrite(text, 1, length, stderr);
    free(text);
}

void explain_tell(ADIO_File fd)
{
    struct driver_file *file = driver_file(fd);
    struct cost mine[EXPLAIN_COUNT] = {0}, sums[EXPLAIN_COUNT];
    int rank;
    if (!file->hints.is_explained || file->file == NULL)
        return;
    nonblocking_finish(file->file);
    if (file->explain != NULL) { /* else this rank has nothing to add */
        pthread_mutex_lock(&the_lock);
        settle(file->explain, &file->explain->costs[EXPLAIN_BETWEEN]);
        memcpy(mine, file->explain->costs, sizeof mine);
        pthread_mutex_unlock(&the_lock);
    }
    MPI_Comm_rank(fd->comm, &rank);
    MPI_Reduce(mine, sums, EXPLAIN_COUNT * COST_FIELDS, MPI_INT64_T, MPI_SUM, 0, fd->comm);
    if (rank == 0 && file->explain != NULL)
        tell(fd, sums);
}
