/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client_locks.h"
#include "cluster.h"
#include "model.h"
#include "names.h"
#include "sim.h"
#include "weft/weft.h"

enum { FILES = 2, UNITS_MAX = 3000, BYTES_MAX = UNITS_MAX * MODEL_UNIT, CALLS_MAX = 30 };

static const char *const file_paths[FILES] = {"/f0", "/f1"};

struct client_counts client_counts;
static bool is_calm;
static bool keeping[NAMES_THREADS]; /* the thread's session keeps attributes, and may hold folders */
static unsigned late_writes;        /* to files with changing names, that began more than a lease ago */

/* A thread of a client. */
struct client {
    weft_session_t *session;
    unsigned thread; /* in the records of names */
    unsigned calls;
    weft_file_t *files[FILES];
    weft_file_t *log;
    uint8_t *buffer;
    bool is_last;
    bool keeps;                      /* the session keeps attributes */
    uint64_t in_touch_ns;            /* when the metadata server answered last */
    struct model_file *loose[FILES]; /* used since, and more than a lease later */
    bool lost_pointer; /* out of touch for longer than a lease, while the file with the pointer was open */
    uint64_t since_ns[FILES]; /* when it was open, or a sync had told of a loss */
    uint64_t asked_ns[FILES]; /* when the opening began, or the latest sync that told anything */
    /* What the shared pointer of the first file may be. */
    int64_t pointer[64];
    unsigned pointer_count;
};

void clients_begin(bool calm)
{
    is_calm = calm;
    late_writes = 0;
    memset(keeping, 0, sizeof keeping);
    locks_begin();
}

/* ---- errors ------------------------------------------------------------------- */

/* A call may fail when something befell the cluster, but only so. */
static bool failed(const struct client *client, const char *what, int64_t result)
{
    client_counts.calls++;
    if (result >= 0)
        return false;
    client_counts.failures++;
    sim_trace("%s: %s", what, weft_error());
    const bool of_faults = result == -ETIMEDOUT || result == -ECONNREFUSED || result == -EHOSTDOWN;
    if (is_calm || client->is_last || !of_faults)
        sim_fail("%s: %" PRId64 ": %s", what, result, weft_error());
    return true;
}

static bool is_longer_than_lease(uint64_t began_ns)
{
    return sim_now() - began_ns > CLUSTER_LEASE_MS * SIM_MS;
}

/* One whose connection was cut, and who was not answered since, may have lost its lease, and the handles with
 * it: the metadata server does not know what it writes. Before it is answered anything, all is open again. */
static bool is_out_of_touch(const struct client *client)
{
    return is_longer_than_lease(client->in_touch_ns);
}

/* A shared pointer that was lost with the lease stays so. */
static bool may_have_lost_pointer(const struct client *client)
{
    return client->lost_pointer || is_out_of_touch(client);
}

/* The metadata server has answered. */
static void in_touch(struct client *client)
{
    client->lost_pointer = may_have_lost_pointer(client);
    for (unsigned i = 0; i < FILES; i++) {
        if (client->loose[i])
            model_size_tighten(client->loose[i]);
        client->loose[i] = NULL;
    }
    client->in_touch_ns = sim_now();
}

/* It uses the file. One that ends before it is back leaves its size loose: nobody names its handles again. */
static void use(struct client *client, unsigned which, struct model_file *model)
{
    if (!is_out_of_touch(client) || client->loose[which])
        return;
    client->loose[which] = model;
    model_size_loosen(model);
}

/* ---- bytes -------------------------------------------------------------------- */

struct span {
    uint64_t offset, length;
};

static struct span span_draw(void)
{
    const uint64_t units = sim_chance(700000) ? sim_between(1, 64) : sim_between(1, UNITS_MAX / 2);
    const uint64_t first = sim_chance(500000) ? sim_below(64) : sim_below(UNITS_MAX - units);
    return (struct span){first * MODEL_UNIT, units * MODEL_UNIT};
}

static void do_write(struct client *client, weft_file_t *file)
{
    struct model_file *model = model_file(weft_file_ino(file));
    const struct span span = span_draw();
    const uint32_t number = model_write(model, client->buffer, span.offset, span.length);
    sim_trace("write %" PRIu32 " of file %" PRIu64 ", %" PRIu64 "-%" PRIu64, number, weft_file_ino(file),
              span.offset, span.offset + span.length);
    const ssize_t result = weft_file_write(file, client->buffer, span.length, span.offset);
    if (failed(client, "write", result))
        return;
    if ((uint64_t)result != span.length)
        sim_fail("a write of %" PRIu64 " bytes returned %zd", span.length, result);
    model_done(model, number);
}

static void do_read(struct client *client, weft_file_t *file)
{
    struct model_file *model = model_file(weft_file_ino(file));
    const struct span span = span_draw();
    const uint64_t began_ns = sim_now();
    sim_trace("read of file %" PRIu64 ", %" PRIu64 "-%" PRIu64, weft_file_ino(file), span.offset,
              span.offset + span.length);
    const ssize_t result = weft_file_read(file, client->buffer, span.length, span.offset);
    if (!failed(client, "read", result))
        model_read(model, client->buffer, span.offset, span.length, (uint64_t)result, began_ns);
}

/* Every other unit of a span, in one call: each piece is a write of its own to the model. */
enum { PIECES_MAX = 12 };

static void do_write_list(struct client *client, weft_file_t *file)
{
    struct model_file *model = model_file(weft_file_ino(file));
    struct weft_extent extents[PIECES_MAX];
    uint32_t numbers[PIECES_MAX];
    const size_t count = sim_between(2, PIECES_MAX);
    const uint64_t units = sim_between(1, 60), first = sim_below(UNITS_MAX - 2 * PIECES_MAX * units);
    struct iovec iov = {client->buffer, 0};
    weft_op_t *op;
    for (size_t i = 0; i < count; i++) {
        extents[i] = (struct weft_extent){(first + 2 * i * units) * MODEL_UNIT, units * MODEL_UNIT};
        numbers[i] = model_write(model, client->buffer + iov.iov_len, extents[i].offset, extents[i].length);
        iov.iov_len += extents[i].length;
    }
    sim_trace("write list %" PRIu32 "-%" PRIu32, numbers[0], numbers[count - 1]);
    ssize_t result = weft_file_write_list_async(file, &iov, 1, extents, count, &op);
    if (result == 0)
        result = weft_wait(op);
    if (failed(client, "write list", result))
        return;
    for (size_t i = 0; i < count; i++)
        model_done(model, numbers[i]);
}

static void do_truncate(struct client *client, weft_file_t *file)
{
    struct model_file *model = model_file(weft_file_ino(file));
    const uint64_t size = sim_below(UNITS_MAX) * MODEL_UNIT;
    const uint32_t number = model_cut(model, size);
    sim_trace("truncate %" PRIu32 " to %" PRIu64, number, size);
    if (!failed(client, "truncate", weft_file_truncate(file, size)))
        model_done(model, number);
}

static void do_punch(struct client *client, weft_file_t *file)
{
    struct model_file *model = model_file(weft_file_ino(file));
    const struct span span = span_draw();
    const uint32_t number = model_punch(model, span.offset, span.length);
    sim_trace("punch %" PRIu32 " of file %" PRIu64 ", %" PRIu64 "-%" PRIu64, number, weft_file_ino(file),
              span.offset, span.offset + span.length);
    if (!failed(client, "punch", weft_file_punch(file, span.offset, span.length)))
        model_done(model, number);
}

/* What lies in front of the data that is found is a hole. */
static void do_seek(struct client *client, weft_file_t *file)
{
    const uint64_t began_ns = sim_now(), offset = span_draw().offset;
    uint64_t place = offset;
    const int result = weft_file_seek(file, offset, WEFT_SEEK_DATA, &place);
    sim_trace("seek in file %" PRIu64 ", from %" PRIu64 ": %" PRIu64, weft_file_ino(file), offset, place);
    if (result == -ENXIO)
        client_counts.calls++;
    else if (!failed(client, "seek", result))
        model_hole(model_file(weft_file_ino(file)), offset, place, began_ns);
}

static void do_size(struct client *client, unsigned which)
{
    struct model_file *model = model_file(weft_file_ino(client->files[which]));
    const uint64_t began_ns = sim_now();
    struct weft_attr attr = {0};
    uint64_t size = 0;
    const bool of_name = sim_chance(500000);
    int result = of_name ? weft_stat(client->session, file_paths[which], 0, &attr)
                         : weft_file_size(client->files[which], &size);
    sim_trace("size of file %" PRIu64 ": %" PRIu64, weft_file_ino(client->files[which]),
              of_name ? attr.size : size);
    if (failed(client, "size", result))
        return;
    if (of_name)
        model_size_of_name(model, attr.size, began_ns);
    else
        model_size(model, size, began_ns);
}

/* It tells of a loss once, and only when there may have been one. */
static void do_sync(struct client *client, unsigned which)
{
    weft_file_t *file = client->files[which];
    const uint64_t began_ns = sim_now();
    sim_trace("sync of file %" PRIu64, weft_file_ino(file));
    const int result = weft_file_sync(file);
    if (result == -EIO && cluster_lost_since(client->asked_ns[which])) {
        sim_trace("sync: %s", weft_error());
        client_counts.calls++;
        client_counts.losses++;
        client->since_ns[which] = sim_now();
    } else if (failed(client, "sync", result)) {
        return;
    } else {
        model_synced(model_file(weft_file_ino(file)), began_ns, client->since_ns[which]);
    }
    client->asked_ns[which] = began_ns;
}

/* ---- opening ------------------------------------------------------------------ */

static int open_path(const struct client *client, const char *path, int flags, weft_file_t **file)
{
    static const struct weft_layout striped = {0}; /* else it may be a small file */
    const struct weft_layout *layout = sim_chance(500000) ? &striped : NULL;
    int result = weft_file_open(client->session, path, flags, 0600, layout, file);
    if (result)
        *file = NULL;
    return result;
}

static bool open_file(struct client *client, unsigned which)
{
    if (client->files[which])
        return true;
    const uint64_t began_ns = sim_now();
    sim_trace("open %s", file_paths[which]);
    if (failed(client, "open", open_path(client, file_paths[which], O_RDWR | O_CREAT, &client->files[which])))
        return false;
    in_touch(client);
    client->asked_ns[which] = began_ns;
    client->since_ns[which] = sim_now();
    if (which == 0) {
        client->lost_pointer = is_longer_than_lease(began_ns);
        client->pointer_count = 1;
        client->pointer[0] = 0;
    }
    return true;
}

static void close_file(struct client *client, weft_file_t **file)
{
    sim_trace("close");
    failed(client, "close", weft_file_close(*file));
    *file = NULL;
}

/* ---- the shared pointer --------------------------------------------------------- */

static void pointer_may_be(struct client *client, int64_t value)
{
    for (unsigned i = 0; i < client->pointer_count; i++)
        if (client->pointer[i] == value)
            return;
    if (client->pointer_count < sizeof client->pointer / sizeof client->pointer[0])
        client->pointer[client->pointer_count++] = value;
}

/* Each addition happens once, however often it was asked for; one that failed, perhaps. */
static void do_pointer(struct client *client)
{
    const int64_t add = (int64_t)sim_between(1, 100);
    int64_t before = -1;
    bool is_one = false;
    int result = weft_file_pointer_add(client->files[0], add, &before);
    sim_trace("pointer + %" PRId64 ": was %" PRId64, add, before);
    if (result == -EBADF && !is_calm && !client->is_last && may_have_lost_pointer(client)) {
        close_file(client, &client->files[0]);
        return;
    }
    if (failed(client, "pointer", result)) {
        const unsigned count = client->pointer_count;
        for (unsigned i = 0; i < count; i++)
            pointer_may_be(client, client->pointer[i] + add);
        return;
    }
    for (unsigned i = 0; i < client->pointer_count; i++)
        is_one = is_one || client->pointer[i] == before;
    /* It goes with the lease, and a server that was started after that knows neither. */
    is_one = is_one || (before == 0 && !is_calm && !client->is_last && may_have_lost_pointer(client));
    if (!is_one && client->pointer_count < sizeof client->pointer / sizeof client->pointer[0])
        sim_fail("the shared pointer was %" PRId64 ", and should have been %" PRId64, before,
                 client->pointer[0]);
    in_touch(client);
    client->pointer_count = 1;
    client->pointer[0] = before + add;
}

/* ---- names -------------------------------------------------------------------- */

static bool is_answer(int result)
{
    return result == 0 || result == -ENOENT || result == -EEXIST || result == -ENOTEMPTY ||
           result == -ENODATA;
}

/* By another one, when this client had lost its lease; it is told of that. */
static bool was_removed(int result, uint64_t began_ns)
{
    return result == -ESTALE && !is_calm && is_longer_than_lease(began_ns);
}

static int create(const struct client *client, const struct names_call *call, uint64_t *ino)
{
    weft_file_t *file;
    const uint64_t began_ns = sim_now();
    const int flags = O_RDWR | O_CREAT | (call->kind == NAMES_CREATE ? O_EXCL : 0);
    int result = open_path(client, names_paths[call->name], flags, &file);
    if (result)
        return result;
    *ino = weft_file_ino(file);
    /* Some bytes, so that there is something to be removed with the file. */
    if (sim_chance(500000)) {
        result = (int)weft_file_write(file, client->buffer, MODEL_UNIT, 0);
        if (!was_removed(result, began_ns))
            failed(client, "write", result);
        late_writes += is_longer_than_lease(began_ns);
    }
    result = weft_file_close(file);
    return result == -ETIMEDOUT || result == -ECONNREFUSED || was_removed(result, began_ns) ? 0 : result;
}

#define MARK "user.mark"

/* By its attributes, by those that it has beside them, or by the value of the one. */
static int look(const struct client *client, const char *name, struct names_call *seen)
{
    struct weft_attr attr;
    ssize_t result;
    switch (sim_below(4)) {
    case 0:
        result = weft_xattr_list(client->session, name, NULL, 0, 0);
        seen->marked = result > 0;
        return result < 0 ? (int)result : 0;
    case 1:
        result = weft_xattr_get(client->session, name, MARK, NULL, 0, 0);
        seen->marked = result >= 0;
        return result == -ENODATA || result >= 0 ? 0 : (int)result;
    default:
        result = weft_stat(client->session, name, 0, &attr);
        if (result == 0) {
            seen->ino = attr.ino;
            seen->nlink = attr.nlink;
            seen->marked = (int)attr.xattrs;
        }
        return (int)result;
    }
}

/* What is told beside the result goes to `seen`. */
static int call_names(const struct client *client, const struct names_call *call, struct names_call *seen)
{
    const char *name = names_paths[call->name], *to = names_paths[call->to];
    switch (call->kind) {
    case NAMES_CREATE:
    case NAMES_OPEN:
        return create(client, call, &seen->ino);
    case NAMES_UNLINK:
        return weft_unlink(client->session, name);
    case NAMES_RENAME:
        return weft_rename(client->session, name, to);
    case NAMES_LINK:
        return weft_link(client->session, name, to);
    case NAMES_MKDIR:
        return weft_mkdir(client->session, names_directory, 0700);
    case NAMES_RMDIR:
        return weft_rmdir(client->session, names_directory);
    case NAMES_MARK:
        return weft_xattr_set(client->session, name, MARK, "x", 1, WEFT_XATTR_CREATE);
    case NAMES_UNMARK:
        return weft_xattr_remove(client->session, name, MARK, 0);
    default:
        return look(client, name, seen);
    }
}

static void do_name(struct client *client, enum names_kind kind, unsigned name)
{
    struct names_call seen = {.marked = -1};
    unsigned to = (unsigned)sim_below(NAMES_COUNT - 1);
    to += to >= name;
    struct names_call *call = names_call(client->thread, kind, name, to);
    if (!call)
        return;
    int result = call_names(client, call, &seen);
    sim_trace("name %d %s %s: %d", kind, names_paths[name], names_paths[to], result);
    if (is_answer(result)) {
        client_counts.calls++;
        if (kind != NAMES_LOOK) /* which may have needed no request */
            in_touch(client);
        names_end(call, result, seen.ino, seen.nlink, result == 0 ? seen.marked : -1);
    } else {
        failed(client, "name", result);
    }
}

/* Who keeps attributes looks more than once. */
static void do_names(struct client *client)
{
    const unsigned name = (unsigned)sim_below(NAMES_COUNT);
    do_name(client, (enum names_kind)sim_below(NAMES_KINDS), name);
    for (uint64_t looks = client->keeps ? sim_below(3) : 0; looks > 0; looks--)
        do_name(client, NAMES_LOOK, name);
}

/* One after the other, in a folder that it may come to hold. */
static void do_many_names(struct client *client)
{
    static const enum names_kind kinds[] = {NAMES_CREATE, NAMES_OPEN, NAMES_UNLINK, NAMES_LOOK};
    for (uint64_t count = sim_between(2, 6); count > 0; count--) {
        const unsigned name = (unsigned)sim_between(NAMES_OUTSIDE, NAMES_COUNT - 1);
        do_name(client, kinds[sim_below(sizeof kinds / sizeof kinds[0])], name);
        if (sim_chance(200000))
            fiber_sleep(sim_below(20 * SIM_MS));
    }
}

/* ---- what a thread does --------------------------------------------------------- */

static void do_file(struct client *client)
{
    const unsigned which = (unsigned)sim_below(FILES);
    if (!open_file(client, which))
        return;
    weft_file_t *file = client->files[which];
    const unsigned what = (unsigned)sim_below(100);
    struct model_file *model = model_file(weft_file_ino(file));
    use(client, which, model);
    if (what < 30)
        do_write(client, file);
    else if (what < 60)
        do_read(client, file);
    else if (what < 68)
        do_write_list(client, file);
    else if (what < 73)
        do_truncate(client, file);
    else if (what < 77)
        do_punch(client, file);
    else if (what < 79)
        do_seek(client, file);
    else if (what < 84)
        do_size(client, which);
    else if (what < 90)
        do_sync(client, which);
    else if (what < 95 && which == 0)
        do_pointer(client);
    else
        close_file(client, &client->files[which]);
    use(client, which, model); /* it may have taken long */
}

static bool open_log(struct client *client)
{
    if (client->log)
        return true;
    if (failed(client, "open", open_path(client, "/log", O_RDWR | O_CREAT, &client->log)))
        return false;
    in_touch(client);
    return true;
}

/* Where the end is, the metadata server need not know of one that is cut off for longer than its lease
 * (README.md). */
static int64_t do_append(struct client *client)
{
    unsigned number;
    const int64_t result = locks_append(client->log, &number);
    if (!is_calm && is_out_of_touch(client))
        locks_append_unsure(number);
    return result;
}

static void do_log(struct client *client)
{
    int64_t result = 0;
    if (!open_log(client))
        return;
    const unsigned what = (unsigned)sim_below(10);
    if (what < 5)
        result = do_append(client);
    else if (what < 8)
        result = locks_exclude(client->log, client->thread);
    else
        result = locks_record(client->log, client->thread);
    /* A lock that was lost with a connection. */
    if (result == -ENOLCK && !is_calm && !client->is_last)
        return;
    failed(client, "lock", result);
}

static void *run_thread(void *arg)
{
    struct client *client = arg;
    for (unsigned i = 0; i < client->calls; i++) {
        const unsigned what = (unsigned)sim_below(100);
        if (what < 60)
            do_file(client);
        else if (what < 85 && client->keeps && sim_chance(300000))
            do_many_names(client);
        else if (what < 85)
            do_names(client);
        else
            do_log(client);
        if (sim_chance(500000))
            fiber_sleep(sim_below(sim_chance(100000) ? 500 * SIM_MS : 20 * SIM_MS));
    }
    for (unsigned i = 0; i < FILES; i++)
        if (client->files[i])
            close_file(client, &client->files[i]);
    if (client->log)
        close_file(client, &client->log);
    return NULL;
}

static void client_new(struct client *client, weft_session_t *session, unsigned thread, bool keeps)
{
    *client = (struct client){.session = session, .thread = thread, .keeps = keeps};
    client->calls = (unsigned)sim_between(5, CALLS_MAX);
    client->buffer = malloc(BYTES_MAX);
    if (!client->buffer)
        abort();
}

static weft_session_t *connect_client(void)
{
    weft_session_t *session;
    if (weft_connect(process_current->conf_path, &session))
        sim_fail("%s", weft_error());
    return session;
}

/* A session asks for promises only after it has asked for attributes some times. */
static bool keep_attributes(weft_session_t *session)
{
    struct weft_attr attr;
    if (!sim_chance(500000))
        return false;
    if (weft_keep_attributes(session, NULL))
        sim_fail("%s", weft_error());
    for (unsigned i = 0; i < 8; i++)
        (void)weft_stat(session, "/", 0, &attr);
    return true;
}

/* It was silent for longer than what it held was promised, and has done something there that nobody knew
 * of. */
static void was_late(void)
{
    if (is_calm)
        sim_fail("what a client did was told late, or is lost, and it was heard all the time");
    client_counts.late++;
    names_late();
}

static void count_known(void *arg, const char *server, const char *name, uint64_t value)
{
    (void)arg;
    (void)server;
    if (strcmp(name, "attr_hits") == 0)
        client_counts.known += value;
    if (strcmp(name, "held_changes") == 0)
        client_counts.held += value;
    if (value && (strcmp(name, "held_late") == 0 || strcmp(name, "held_lost") == 0))
        was_late();
}

/* What it has made or removed without a request is told by the next one. */
static void tell_all(weft_session_t *session)
{
    struct weft_statfs statfs;
    if (weft_statfs(session, &statfs) < 0)
        was_late();
}

void *client_main(void *number)
{
    struct client clients[2];
    pthread_t other;
    weft_session_t *session = connect_client();
    const bool keeps = keep_attributes(session);
    const unsigned first = 2 * (unsigned)(uintptr_t)number, count = sim_chance(250000) ? 2 : 1;
    for (unsigned i = 0; i < count; i++) {
        client_new(&clients[i], session, first + i, keeps);
        keeping[first + i] = keeps;
    }
    if (count == 2)
        pthread_create(&other, NULL, run_thread, &clients[1]);
    run_thread(&clients[0]);
    if (count == 2)
        pthread_join(other, NULL);
    for (unsigned i = 0; i < count; i++)
        free(clients[i].buffer);
    if (keeps)
        tell_all(session);
    weft_counters(session, count_known, NULL);
    weft_disconnect(session);
    return NULL;
}

/* ---- the last one ---------------------------------------------------------------- */

static void read_all(struct client *client, unsigned which)
{
    if (!open_file(client, which))
        return;
    weft_file_t *file = client->files[which];
    struct model_file *model = model_file(weft_file_ino(file));
    const uint64_t began_ns = sim_now();
    const ssize_t got = weft_file_read(file, client->buffer, BYTES_MAX, 0);
    uint64_t size = 0;
    failed(client, "last read", got);
    failed(client, "last size", weft_file_size(file, &size));
    model_read(model, client->buffer, 0, BYTES_MAX, (uint64_t)got, began_ns);
    model_size(model, size, began_ns);
    if (size != (uint64_t)got)
        sim_fail("%s has %" PRIu64 " bytes, of which %zd can be read", file_paths[which], size, got);
}

static void remove_all(struct client *client)
{
    for (unsigned i = 0; i < NAMES_COUNT; i++) {
        int result = weft_unlink(client->session, names_paths[i]);
        failed(client, "last unlink", result == -ENOENT ? 0 : result);
    }
    int result = weft_rmdir(client->session, names_directory);
    failed(client, "last rmdir", result == -ENOENT ? 0 : result);
    for (unsigned i = 0; i < FILES; i++)
        failed(client, "last unlink", weft_unlink(client->session, file_paths[i]));
    failed(client, "last unlink", weft_unlink(client->session, "/log"));
}

static void count_swept(void *arg, const char *server, const char *name, uint64_t value)
{
    (void)server;
    if (strcmp(name, "objects_swept") == 0)
        *(uint64_t *)arg += value;
}

/* What a sweep finds is of a write that came when its client had lost its lease, and another one had removed
 * the file; or with replicas, of a member that was away. Else a removal has missed it. */
static void check_swept(struct client *client)
{
    uint64_t swept = 0;
    fiber_sleep(2 * CLUSTER_SWEEP_MAX_S * SIM_S);
    failed(client, "last counters", weft_server_counters(client->session, count_swept, &swept));
    if (swept && !late_writes && cluster.replicas == 1)
        sim_fail("%" PRIu64 " objects were swept, and nobody has written late", swept);
}

static void list_all(struct client *client)
{
    weft_dir_t *dir;
    const char *name;
    struct weft_attr attr;
    unsigned count = 0;
    failed(client, "last list", weft_dir_open(client->session, "/", &dir));
    while (weft_dir_next(dir, &name, &attr) == 1)
        count++;
    weft_dir_close(dir);
    if (count)
        sim_fail("%u names are left in the root, the last of them %s", count, name);
}

void *client_last_main(void *unused)
{
    struct client client;
    (void)unused;
    client_new(&client, connect_client(), NAMES_THREADS - 1, false);
    client.is_last = true;
    for (unsigned i = 0; i < FILES; i++)
        read_all(&client, i);
    for (unsigned i = 0; i < NAMES_COUNT; i++)
        do_name(&client, NAMES_LOOK, i);
    names_check();
    open_log(&client);
    locks_check(client.log);
    for (unsigned i = 0; i < FILES; i++)
        close_file(&client, &client.files[i]);
    close_file(&client, &client.log);
    remove_all(&client);
    list_all(&client);
    check_swept(&client);
    free(client.buffer);
    weft_disconnect(client.session);
    return NULL;
}

/* It tells within milliseconds (libclient/held.h). */
#define UNTOLD_NS (25 * SIM_MS)

void clients_killed(unsigned number)
{
    for (unsigned thread = 2 * number; thread < 2 * number + 2; thread++) {
        if (keeping[thread])
            names_forget(thread, sim_now() - UNTOLD_NS);
    }
}

void clients_crashed(void)
{
    model_crash();
    locks_crashed();
}
