/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte-range locks, which the file's first storage shard keeps (server/storage/shard_lock.c). A request
 * for one is answered "not yet" before its deadline, and asked again, until the lock is granted: so a
 * server that is gone is noticed as soon as with any other request, however long the wait.
 */
#include "client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "lock_turn.h"
#include "ranges.h"

/* Bytes of a request for a lock beside its ranges, and of each of these. */
#define BODY_BYTES  192u
#define RANGE_BYTES 16u

enum lock_phase {
    LOCK_ASKING, /* under way, or in the line */
    LOCK_HELD,
    LOCK_UNLOCKING,
    LOCK_FAILED, /* the server may have to be told */
};

struct weft_lock {
    struct weft_op op; /* first the one that asks, then the one that gives back */
    weft_session_t *session;
    char *path;
    struct wire_capability capability;
    struct layout layout;
    struct planner_table *table;
    enum lock_phase phase;
    bool exclusive;
    bool once;     /* when it can't be had at once, it is not waited for */
    bool calling;  /* a request is under way */
    bool released; /* nobody but that request needs it any more */
    uint64_t id;   /* 0: covers nothing, so that there is nobody to be asked */
    uint32_t range_count;
    struct range *ranges;
    struct lock_turn turn;
    struct shard_call call;
    uint32_t body_size;
    uint8_t *body;
};

static struct weft_lock *lock_of_op(struct weft_op *op)
{
    return list_item(op, struct weft_lock, op);
}

static void lock_free(struct weft_lock *lock)
{
    if (!lock)
        return;
    planner_table_unref(lock->table);
    free(lock->path);
    free(lock->ranges);
    free(lock->body);
    free(lock);
}

/* ---- requests ----------------------------------------------------------------- */

static ssize_t encode_lock(struct weft_lock *lock, uint32_t target)
{
    struct wire_lock wire = {
        .capability = lock->capability,
        .map_version = lock->table->map->version,
        .target = target,
        .id = lock->id,
        .exclusive = lock->exclusive,
        .wait_ms = lock->once ? 0 : lock_turn_wait_ms(lock->session),
    };
    /* The ranges are encoded at the end of the room, and copied to their place by the encoder. */
    uint8_t *at = lock->body + lock->body_size;
    struct wire_writer writer = wire_writer_on(at, lock->range_count * RANGE_BYTES);
    for (uint32_t i = 0; i < lock->range_count; i++) {
        struct wire_lock_range range = {.start = lock->ranges[i].start, .end = lock->ranges[i].end};
        wire_put_lock_range(&writer, &range);
    }
    wire.ranges = wire_list_of(&writer, lock->range_count);
    if (wire_written(&writer) < 0)
        return wire_written(&writer);
    return wire_encode_lock(lock->body, lock->body_size, &wire);
}

/* Sends what the lock's phase wants (locked). */
static int lock_call(struct weft_lock *lock, void (*done)(struct shard_call *call, int status))
{
    uint32_t shard, target;
    int result = session_table(lock->session, &lock->layout, &lock->table);
    if (result < 0)
        return result;
    planner_table_first(lock->table, &shard, &target);
    struct wire_unlock unlock = {.id = lock->id};
    bool asking = lock->phase == LOCK_ASKING;
    ssize_t length =
        asking ? encode_lock(lock, target) : wire_encode_unlock(lock->body, lock->body_size, &unlock);
    if (length < 0)
        return (int)length;
    lock->call.rpc.operation = asking ? WIRE_OP_lock : WIRE_OP_unlock;
    lock->call.rpc.body = lock->body;
    lock->call.rpc.body_length = (uint32_t)length;
    lock->call.done = done;
    result = shard_call_start(lock->session, &lock->call, lock->table, shard);
    lock->calling = result == 0;
    return result;
}

static int lock_call_first(struct weft_lock *lock, void (*done)(struct shard_call *call, int status))
{
    shard_call_fresh(&lock->call);
    return lock_call(lock, done);
}

/* After SHARD_REDO. */
static int lock_call_again(struct weft_lock *lock, void (*done)(struct shard_call *call, int status))
{
    lock->call.attempts++;
    return lock_call(lock, done);
}

/* ---- telling the server that a lock is not wanted any more ----------------------- */

/* A server that did not answer may not have heard of it, and would keep the lock for as long as this client
 * is connected: it is told until it answers, one deadline after the other. When it can't be told, the end of
 * the connection says it. */
static void abandoned(struct shard_call *call, int status)
{
    struct weft_lock *lock = list_item(call, struct weft_lock, call);
    bool closing = lock->session->closing;
    lock->calling = false;
    if (status == SHARD_REDO && !closing && lock_call_again(lock, abandoned) == 0)
        return;
    if (status == -ETIMEDOUT && !closing && lock_call_first(lock, abandoned) == 0)
        return;
    if (lock->released)
        lock_free(lock);
}

static void lock_failed(struct weft_lock *lock, int error)
{
    bool is_known = lock->once && error == -EAGAIN; /* the server said so, and has forgotten it */
    op_fail(&lock->op, client_about(error, lock->path));
    lock->phase = LOCK_FAILED;
    if (!is_known && !lock->session->closing)
        (void)lock_call_first(lock, abandoned);
    op_complete(&lock->op, 0);
}

static void lock_release(struct weft_lock *lock)
{
    weft_session_t *session = lock->session;
    session_lock(session);
    lock->released = true;
    if (!lock->calling)
        lock_free(lock);
    session_unlock(session);
}

/* The operation that asked was waited for. */
static void asked(struct weft_op *op)
{
    struct weft_lock *lock = lock_of_op(op);
    if (lock->phase == LOCK_FAILED)
        lock_release(lock);
}

/* ---- asking ------------------------------------------------------------------- */

static void answered(struct shard_call *call, int status);

static bool lock_begin(struct lock_turn *turn)
{
    struct weft_lock *lock = list_item(turn, struct weft_lock, turn);
    int result = lock->session->closing ? err_set(-ECANCELED, "the session was closed")
                                        : lock_call_first(lock, answered);
    if (result < 0)
        lock_failed(lock, result);
    return result == 0;
}

static int judge(struct weft_lock *lock, int status)
{
    struct wire_lock_reply reply;
    if (status < 0)
        return status;
    int result = wire_decode_lock_reply(lock->call.rpc.reply, lock->call.rpc.reply_length, &reply);
    if (result == 0 && !reply.granted && lock->once)
        result = err_set(-EAGAIN, "somebody else holds a lock on it");
    return result < 0 ? result : reply.granted;
}

static void answered(struct shard_call *call, int status)
{
    struct weft_lock *lock = list_item(call, struct weft_lock, call);
    weft_session_t *session = lock->session;
    lock->calling = false;
    if (status == SHARD_REDO) {
        int result = lock_call_again(lock, answered);
        if (result == 0)
            return;
        status = result;
    }
    lock_turn_answered(session);
    int verdict = judge(lock, status);
    if (verdict < 0) {
        lock_failed(lock, verdict);
    } else if (verdict > 0) {
        lock->phase = LOCK_HELD;
        op_complete(&lock->op, 0);
    } else {
        session_count(session, CLIENT_COUNT_lock_waits, 1);
        lock_turn_join(session, &lock->turn);
    }
    lock_turn_pump(session);
}

static int lock_new(weft_file_t *file, const struct weft_extent *extents, size_t count, bool exclusive,
                    struct weft_lock **out)
{
    struct weft_lock *lock = calloc(1, sizeof *lock);
    if (!lock)
        return err_set(-ENOMEM, "out of memory for a lock");
    int result = ranges_of_extents(extents, count, LIMITS_LOCK_RANGES_MAX, &lock->ranges, &lock->range_count);
    if (result < 0)
        goto free_lock;
    lock->session = file->session;
    lock->capability = file->capability;
    lock->layout = file->layout;
    lock->exclusive = exclusive;
    list_link_init(&lock->turn.link);
    lock->turn.begin = lock_begin;
    lock->body_size = BODY_BYTES + lock->range_count * RANGE_BYTES;
    lock->body = malloc(lock->body_size + lock->range_count * RANGE_BYTES);
    lock->path = strdup(file->path);
    if (!lock->body || !lock->path) {
        result = err_set(-ENOMEM, "out of memory for a lock");
        goto free_lock;
    }
    *out = lock;
    return 0;

free_lock:
    lock_free(lock);
    return result;
}

static int lock_async(weft_file_t *file, const struct weft_extent *extents, size_t count, bool exclusive,
                      bool once, weft_lock_t **out, weft_op_t **op)
{
    struct weft_lock *lock = NULL;
    int result = file_check(file);
    if (result < 0)
        return result;
    if (!out || !op)
        return err_set(-EINVAL, "there is no place for the lock or the operation (NULL)");
    if (count > 0 && !extents)
        return err_set(-EINVAL, "there are no extents (NULL)");
    if (exclusive)
        result = file_allows(file, WIRE_ACCESS_WRITE);
    if (result == 0)
        result = lock_new(file, extents, count, exclusive, &lock);
    if (result < 0)
        return client_about(result, file->path);

    weft_session_t *session = lock->session;
    lock->once = once;
    op_init(&lock->op, session, asked);
    session_lock(session);
    if (lock->range_count == 0) {
        lock->phase = LOCK_HELD;
        op_complete(&lock->op, 0);
    } else {
        lock->id = ++session->lock_id;
        session_count(session, CLIENT_COUNT_locks, 1);
        lock_turn_join(session, &lock->turn);
        lock_turn_pump(session);
    }
    session_unlock(session);
    *out = lock;
    *op = &lock->op;
    return 0;
}

int weft_file_lock_async(weft_file_t *file, const struct weft_extent *extents, size_t count, bool exclusive,
                         weft_lock_t **lock, weft_op_t **op)
{
    return (int)client_result(__func__, lock_async(file, extents, count, exclusive, false, lock, op));
}

int weft_file_lock(weft_file_t *file, const struct weft_extent *extents, size_t count, bool exclusive,
                   weft_lock_t **lock)
{
    weft_op_t *op;
    ssize_t result = lock_async(file, extents, count, exclusive, false, lock, &op);
    return (int)client_result(__func__, result < 0 ? result : op_wait(op));
}

int weft_file_trylock(weft_file_t *file, const struct weft_extent *extents, size_t count, bool exclusive,
                      weft_lock_t **lock)
{
    weft_op_t *op;
    ssize_t result = lock_async(file, extents, count, exclusive, true, lock, &op);
    return (int)client_result(__func__, result < 0 ? result : op_wait(op));
}

/* ---- giving back ------------------------------------------------------------------ */

static void unlocked(struct shard_call *call, int status)
{
    struct weft_lock *lock = list_item(call, struct weft_lock, call);
    lock->calling = false;
    if (status == SHARD_REDO) {
        status = lock_call_again(lock, unlocked);
        if (status == 0)
            return;
    }
    if (status == -ENOLCK)
        session_count(lock->session, CLIENT_COUNT_locks_lost, 1);
    if (status < 0)
        op_fail(&lock->op, client_about(status, lock->path));
    if (status == -ETIMEDOUT && !lock->session->closing)
        (void)lock_call_first(lock, abandoned);
    op_complete(&lock->op, 0);
}

static void given_back(struct weft_op *op)
{
    lock_release(lock_of_op(op));
}

static int unlock_async(struct weft_lock *lock, weft_op_t **op)
{
    if (!lock)
        return err_set(-EINVAL, "the lock is NULL");
    weft_session_t *session = lock->session;
    int result = session_check(session);
    if (result < 0)
        return result; /* in a child process, where nothing may be touched */
    if (!op)
        return err_set(-EINVAL, "there is no place for the operation (NULL)");
    session_lock(session);
    if (lock->phase != LOCK_HELD) {
        session_unlock(session);
        return err_set(-EINVAL, "%s: the lock is not held", lock->path);
    }
    op_init(&lock->op, session, given_back);
    lock->phase = LOCK_UNLOCKING;
    if (lock->id == 0) {
        op_complete(&lock->op, 0);
    } else {
        result = lock_call_first(lock, unlocked);
        if (result < 0) { /* it is freed also when it fails */
            op_fail(&lock->op, client_about(result, lock->path));
            op_complete(&lock->op, 0);
        }
    }
    session_unlock(session);
    *op = &lock->op;
    return 0;
}

int weft_file_unlock_async(weft_lock_t *lock, weft_op_t **op)
{
    return (int)client_result(__func__, unlock_async(lock, op));
}

int weft_file_unlock(weft_lock_t *lock)
{
    weft_op_t *op;
    ssize_t result = unlock_async(lock, &op);
    return (int)client_result(__func__, result < 0 ? result : op_wait(op));
}
