/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

const char *const names_paths[NAMES_COUNT] = {"/a", "/b", "/d/a", "/d/b"};
const char *const names_directory = "/d";

enum { UNSURE_MAX = 12, POINTS_MAX = 1 << 16 };

/* The file of a call that nobody was told of, until somebody sees it. */
#define UNKNOWN (UINT64_C(1) << 63)

static struct names_call calls[NAMES_THREADS][NAMES_CALLS_MAX];
static unsigned counts[NAMES_THREADS];
static bool is_late;

/* Where a search is: how many sure calls of each thread are done, which of the others, and what they left. */
struct point {
    uint64_t ino[NAMES_COUNT];
    uint8_t done[NAMES_THREADS];
    uint32_t done_unsure;
    uint16_t has_directory;
    uint16_t marks; /* a bit for each name: its file has the extended attribute */
};
static_assert(sizeof(struct point) == NAMES_COUNT * 8 + NAMES_THREADS + 8, "compared as bytes");

static struct {
    struct names_call *sure[NAMES_THREADS][NAMES_CALLS_MAX];
    unsigned sure_count[NAMES_THREADS];
    struct names_call *unsure[UNSURE_MAX];
    unsigned unsure_count;
    struct point points[POINTS_MAX];
    bool used[POINTS_MAX];
    unsigned point_count;
} search;

void names_begin(void)
{
    memset(counts, 0, sizeof counts);
    is_late = false;
}

void names_late(void)
{
    is_late = true;
}

struct names_call *names_call(unsigned thread, enum names_kind kind, unsigned name, unsigned to)
{
    if (counts[thread] == NAMES_CALLS_MAX)
        return NULL;
    struct names_call *call = &calls[thread][counts[thread]++];
    *call = (struct names_call){.kind = kind, .name = name, .to = to, .began_ns = sim_now()};
    call->ended_ns = UINT64_MAX;
    return call;
}

void names_end(struct names_call *call, int result, uint64_t ino, uint64_t nlink, int marked)
{
    call->sure = true;
    call->result = result;
    call->ino = ino;
    call->nlink = nlink;
    call->marked = marked;
    call->ended_ns = sim_now();
}

/* What it did without a request may be lost; then what it saw, or was refused, because of that never was. */
void names_forget(unsigned thread, uint64_t since_ns)
{
    for (unsigned i = 0; i < counts[thread]; i++) {
        struct names_call *call = &calls[thread][i];
        const bool asks_nobody = call->kind == NAMES_CREATE || call->kind == NAMES_OPEN ||
                                 call->kind == NAMES_UNLINK || call->kind == NAMES_LOOK;
        if (!call->sure || call->ended_ns < since_ns || !asks_nobody)
            continue;
        if (call->result != 0)
            call->kind = NAMES_LOOK;
        call->sure = false;
        call->ended_ns = UINT64_MAX;
    }
}

/* ---- what a call does --------------------------------------------------------- */

static bool has_parent(const struct point *point, unsigned name)
{
    return name < NAMES_OUTSIDE || point->has_directory;
}

static bool is_marked(const struct point *point, unsigned name)
{
    return point->marks >> name & 1;
}

static void mark(struct point *point, unsigned name, bool marked)
{
    point->marks = (uint16_t)((point->marks & ~(1u << name)) | (unsigned)marked << name);
}

/* The file has it, by whichever name. */
static int mark_file(struct point *point, unsigned name, bool marked)
{
    const uint64_t ino = point->ino[name];
    if (!ino)
        return -ENOENT;
    if (is_marked(point, name) == marked)
        return marked ? -EEXIST : -ENODATA;
    for (unsigned i = 0; i < NAMES_COUNT; i++)
        if (point->ino[i] == ino)
            mark(point, i, marked);
    return 0;
}

/* The result that the call has here; what it leaves, it leaves. */
static int do_call(struct point *point, const struct names_call *call, uint64_t new_ino)
{
    uint64_t *ino = &point->ino[call->name], *to = &point->ino[call->to];
    if (call->kind != NAMES_MKDIR && call->kind != NAMES_RMDIR && !has_parent(point, call->name))
        return -ENOENT;
    switch (call->kind) {
    case NAMES_CREATE:
    case NAMES_OPEN:
        if (*ino)
            return call->kind == NAMES_OPEN ? 0 : -EEXIST;
        *ino = new_ino;
        return 0;
    case NAMES_UNLINK:
        if (!*ino)
            return -ENOENT;
        *ino = 0;
        mark(point, call->name, false);
        return 0;
    case NAMES_RENAME:
    case NAMES_LINK:
        if (!*ino || !has_parent(point, call->to))
            return -ENOENT;
        if (call->kind == NAMES_LINK && *to)
            return -EEXIST;
        if (call->kind == NAMES_RENAME && *ino == *to)
            return 0;
        *to = *ino;
        mark(point, call->to, is_marked(point, call->name));
        if (call->kind == NAMES_LINK)
            return 0;
        *ino = 0;
        mark(point, call->name, false);
        return 0;
    case NAMES_MARK:
    case NAMES_UNMARK:
        return mark_file(point, call->name, call->kind == NAMES_MARK);
    case NAMES_LOOK:
        return *ino ? 0 : -ENOENT;
    case NAMES_MKDIR:
        if (point->has_directory)
            return -EEXIST;
        point->has_directory = true;
        return 0;
    default:
        if (!point->has_directory)
            return -ENOENT;
        for (unsigned i = NAMES_OUTSIDE; i < NAMES_COUNT; i++)
            if (point->ino[i])
                return -ENOTEMPTY;
        point->has_directory = false;
        return 0;
    }
}

/* The file at the name is the one that the call saw; one that was not known is from now on. */
static bool is_seen(struct point *point, const struct names_call *call)
{
    const uint64_t is = point->ino[call->name];
    unsigned links = 0;
    if (is != call->ino && !(is & UNKNOWN))
        return false;
    for (unsigned i = 0; i < NAMES_COUNT; i++) {
        if (is != call->ino && point->ino[i] == call->ino)
            return false;
        links += point->ino[i] == is;
    }
    for (unsigned i = 0; i < NAMES_COUNT; i++)
        if (point->ino[i] == is)
            point->ino[i] = call->ino;
    return !call->nlink || call->nlink == links;
}

static bool may_do(struct point *point, const struct names_call *call)
{
    if (do_call(point, call, call->ino) != call->result ||
        (call->marked >= 0 && is_marked(point, call->name) != call->marked))
        return false;
    return !call->ino || is_seen(point, call);
}

/* ---- the search of Wing and Gong, which goes nowhere twice --------------------- */

static bool visit(const struct point *point)
{
    const uint8_t *bytes = (const uint8_t *)point;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < sizeof *point; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    size_t slot = (hash >> 20) % POINTS_MAX;
    while (search.used[slot]) {
        if (memcmp(&search.points[slot], point, sizeof *point) == 0)
            return false;
        slot = (slot + 1) % POINTS_MAX;
    }
    search.used[slot] = true;
    search.points[slot] = *point;
    search.point_count++;
    return true;
}

static bool go_on(const struct point *point);

static bool try_unsure(const struct point *point, uint64_t first_end_ns)
{
    for (unsigned i = 0; i < search.unsure_count; i++) {
        const struct names_call *call = search.unsure[i];
        struct point after = *point;
        if (point->done_unsure & 1u << i || call->began_ns > first_end_ns)
            continue;
        after.done_unsure |= 1u << i;
        if (do_call(&after, call, UNKNOWN | i) == 0 && visit(&after) && go_on(&after))
            return true;
    }
    return false;
}

static bool go_on(const struct point *point)
{
    const struct names_call *next[NAMES_THREADS];
    uint64_t first_end_ns = UINT64_MAX;
    if (search.point_count > POINTS_MAX / 2)
        return true;
    for (unsigned i = 0; i < NAMES_THREADS; i++) {
        next[i] = point->done[i] < search.sure_count[i] ? search.sure[i][point->done[i]] : NULL;
        if (next[i] && next[i]->ended_ns < first_end_ns)
            first_end_ns = next[i]->ended_ns;
    }
    if (first_end_ns == UINT64_MAX)
        return true;
    for (unsigned i = 0; i < NAMES_THREADS; i++) {
        struct point after = *point;
        if (!next[i] || next[i]->began_ns > first_end_ns || !may_do(&after, next[i]))
            continue;
        after.done[i]++;
        if (visit(&after) && go_on(&after))
            return true;
    }
    return try_unsure(point, first_end_ns);
}

static void show(void)
{
    static const char *const words[NAMES_KINDS] = {"create", "open", "unlink", "rename", "link",
                                                   "look",   "mark", "unmark", "mkdir",  "rmdir"};
    for (unsigned i = 0; i < NAMES_THREADS; i++) {
        for (unsigned k = 0; k < counts[i]; k++) {
            const struct names_call *call = &calls[i][k];
            fprintf(stderr,
                    "  thread %u: %9.6f - %9.6f %s %s %s: %s %d, inode %" PRIu64 ", %" PRIu64
                    " links, marked %d\n",
                    i, (double)call->began_ns / 1e9, call->sure ? (double)call->ended_ns / 1e9 : 0.0,
                    words[call->kind], call->kind < NAMES_MKDIR ? names_paths[call->name] : names_directory,
                    call->kind == NAMES_RENAME || call->kind == NAMES_LINK ? names_paths[call->to] : "",
                    call->sure ? "" : "not known", call->result, call->ino, call->nlink, call->marked);
        }
    }
}

/* A look that nobody was told of changes nothing. */
static bool gather(void)
{
    memset(search.sure_count, 0, sizeof search.sure_count);
    search.unsure_count = 0;
    for (unsigned i = 0; i < NAMES_THREADS; i++) {
        for (unsigned k = 0; k < counts[i]; k++) {
            struct names_call *call = &calls[i][k];
            if (call->sure)
                search.sure[i][search.sure_count[i]++] = call;
            else if (call->kind != NAMES_LOOK && search.unsure_count == UNSURE_MAX)
                return false;
            else if (call->kind != NAMES_LOOK)
                search.unsure[search.unsure_count++] = call;
        }
    }
    return true;
}

bool names_check(void)
{
    struct point none;
    memset(&none, 0, sizeof none);
    if (is_late || !gather())
        return false;
    if (search.point_count)
        memset(search.used, 0, sizeof search.used);
    search.point_count = 0;
    if (!go_on(&none)) {
        show();
        sim_fail("what was done to names can't be explained by any order");
    }
    return search.point_count <= POINTS_MAX / 2;
}
