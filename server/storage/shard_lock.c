/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks on the wire. A request for a lock that has to wait is kept, without an answer, until the lock is
 * granted or the time is over that the client gave it: then the answer is "not yet", and the lock keeps
 * its place in the line, for the client to ask again.
 *
 * Locks end with the connection of whoever has them. When the client is there again before the end of
 * its old connection was noticed, the lock moves on to the new one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "log.h"
#include "shard_lock.h"

/* So many unlocks are remembered, at most: a power of two. */
enum { ENDINGS = 4096 };
enum { REPLY_BYTES = 8 };

/* An unlock that was answered, so that it may be asked for again, and so that a request for the lock that
 * comes after it, because it had to wait for a map, is not mistaken for a new one. */
struct ending {
    struct lock_name name;
    int status;
};

/* ---- answers ------------------------------------------------------------ */

static void answer(struct rpc_request *request, bool granted)
{
    uint8_t body[REPLY_BYTES];
    struct wire_lock_reply reply = {.granted = granted};
    ssize_t length = wire_encode_lock_reply(body, sizeof body, &reply);
    if (length < 0)
        rpc_reply(request, (int)length, NULL, 0, NULL, 0, NULL, NULL);
    else
        rpc_reply(request, 0, body, (size_t)length, NULL, 0, NULL, NULL);
}

static void waiting_end(struct waiting *waiting)
{
    list_remove(&waiting->link);
    waiting->lock->arg = NULL;
    free(waiting);
}

void shard_lock_waiting_answer(struct waiting *waiting, bool granted)
{
    struct rpc_request *request = waiting->request;
    const struct lock *lock = waiting->lock;
    bool tells = waiting->tells && !granted;
    waiting_end(waiting);
    if (lock->record)
        shard_record_answer(request, lock, granted, tells);
    else
        answer(request, granted);
}

/* Called by the table. */
static void granted(void *arg, struct lock *lock)
{
    struct shard_locks *locks = arg;
    const struct shard *shard = locks->shard;
    shard_counter_add(locks->shard, SHARD_LOCKS_GRANTED, 1);
    /* Another one may lead by now, and grant it as well: who asks again is told by the map. */
    const bool may_be_told = !map_has_replicas(shard->map) || shard_lease_lasts(shard);
    if (lock->arg)
        shard_lock_waiting_answer(lock->arg, may_be_told);
}

/* ---- opening and closing ------------------------------------------------ */

int shard_locks_open(struct shard *shard)
{
    struct shard_locks *locks = calloc(1, sizeof *locks);
    if (!locks)
        return err_set(-ENOMEM, "no memory for locks");
    locks->shard = shard;
    locks->due_ns = UINT64_MAX;
    list_init(&locks->waiting);
    int error = lock_table_new(granted, locks, &locks->table);
    if (error) {
        free(locks);
        return error;
    }
    shard->locks = locks;
    return 0;
}

void shard_locks_close(struct shard *shard)
{
    struct shard_locks *locks = shard->locks;
    struct list_link *link;
    if (!locks)
        return;
    while ((link = list_pop(&locks->waiting))) /* their requests went with the rpc */
        free(list_item(link, struct waiting, link));
    lock_table_free(locks->table);
    free(locks->endings);
    free(locks);
    shard->locks = NULL;
}

/* ---- owners ------------------------------------------------------------- */

static struct lock_owner *owner_of(struct rpc_peer *peer)
{
    struct lock_owner *owner = rpc_peer_arg(peer);
    if (owner)
        return owner;
    owner = malloc(sizeof *owner);
    if (!owner) {
        err_set(-ENOMEM, "no memory for a client's locks");
        return NULL;
    }
    lock_owner_init(owner);
    rpc_peer_arg_set(peer, owner);
    return owner;
}

static uint32_t owner_end(struct shard *shard, struct lock_owner *owner)
{
    list_each(&owner->locks, at, after)
    {
        struct waiting *waiting = list_item(at, struct lock, in_owner)->arg;
        if (waiting)
            shard_lock_waiting_answer(waiting, false); /* to nobody, but it has to end */
    }
    uint32_t held = lock_table_remove_owner(shard->locks->table, owner);
    free(owner);
    return held;
}

void shard_locks_peer_down(struct shard *shard, struct rpc_peer *peer)
{
    struct lock_owner *owner = rpc_peer_arg(peer);
    uint32_t held = shard_records_peer_down(shard, peer);
    if (owner)
        held += owner_end(shard, owner);
    rpc_peer_arg_set(peer, NULL);
    if (held)
        log_info("shard %" PRIu32 ": %s is gone; locks that it held: %" PRIu32, shard->index,
                 rpc_peer_identity(peer)->name, held);
    shard_counter_add(shard, SHARD_LOCKS_LOST, held);
}

/* ---- names -------------------------------------------------------------- */

static struct lock_name name_of(const struct rpc_request *request, uint64_t id)
{
    struct lock_name name = {.id = id};
    memcpy(name.client, rpc_peer_identity(request->peer)->client, sizeof name.client);
    return name;
}

static struct ending *ending_slot(struct shard_locks *locks, const struct lock_name *name)
{
    uint64_t word;
    memcpy(&word, name->client, sizeof word);
    return &locks->endings[layout_hash(word ^ layout_hash(name->id)) % ENDINGS];
}

static bool ending_find(struct shard_locks *locks, const struct lock_name *name, int *status)
{
    const struct ending *slot = locks->endings ? ending_slot(locks, name) : NULL;
    if (!slot || slot->name.id != name->id ||
        memcmp(slot->name.client, name->client, sizeof name->client) != 0)
        return false;
    *status = slot->status;
    return true;
}

static void ending_note(struct shard_locks *locks, const struct lock_name *name, int status)
{
    if (!locks->endings)
        locks->endings = calloc(ENDINGS, sizeof *locks->endings);
    if (locks->endings)
        *ending_slot(locks, name) = (struct ending){.name = *name, .status = status};
}

/* ---- asking for a lock -------------------------------------------------- */

static int decode_ranges(const struct wire_lock *wire, struct lock_range **out)
{
    struct wire_reader reader = wire_list_reader(&wire->ranges);
    struct lock_range *ranges = malloc((wire->ranges.count + 1) * sizeof *ranges);
    if (!ranges)
        return err_set(-ENOMEM, "no memory for a lock");
    for (uint32_t i = 0; i < wire->ranges.count; i++) {
        struct wire_lock_range range;
        wire_get_lock_range(&reader, &range);
        if (reader.bad)
            break;
        ranges[i] = (struct lock_range){.start = range.start, .end = range.end};
    }
    int error = wire_read_all(&reader, "list of ranges");
    if (error) {
        free(ranges);
        return error;
    }
    *out = ranges;
    return 0;
}

static int lock_new(struct shard_io *io, const struct wire_lock *wire, const struct lock_name *name,
                    struct lock **lock)
{
    struct shard_locks *locks = io->shard->locks;
    struct lock_owner *owner = owner_of(io->request->peer);
    struct lock_range *ranges = NULL;
    if (!owner)
        return -ENOMEM;
    int error = decode_ranges(wire, &ranges);
    if (error)
        return error;
    error = lock_table_add(locks->table, owner, name, wire->capability.ino, wire->exclusive, ranges,
                           wire->ranges.count, lock);
    free(ranges);
    if (!error)
        shard_counter_add(io->shard, (*lock)->held ? SHARD_LOCKS_GRANTED : SHARD_LOCKS_WAITED, 1);
    return error;
}

/* The same lock was asked for before: with the answer "not yet", or over a connection that broke. */
static int lock_again(struct shard_io *io, const struct wire_lock *wire, struct lock *lock)
{
    struct lock_owner *owner = owner_of(io->request->peer);
    if (!owner)
        return -ENOMEM;
    if (lock->record || lock->ino != wire->capability.ino || lock->exclusive != wire->exclusive)
        return err_set(-EPROTO, "lock %" PRIu64 " was asked for before, and as another one", wire->id);
    if (lock->owner != owner)
        lock_table_move(lock, owner);
    if (lock->arg)
        shard_lock_waiting_answer(lock->arg, false);
    return 0;
}

static int find_or_make(struct shard_io *io, const struct wire_lock *wire, struct lock **lock)
{
    struct shard_locks *locks = io->shard->locks;
    struct lock_name name = name_of(io->request, wire->id);
    int status;
    if (!(io->capability.access & (WIRE_ACCESS_READ | WIRE_ACCESS_WRITE)))
        return err_set(-EACCES, "the capability for inode %" PRIu64 " allows neither to read nor to write",
                       io->capability.ino);
    if (wire->id == 0)
        return err_set(-EINVAL, "a lock has the number 0");
    *lock = lock_table_find(locks->table, &name);
    if (*lock)
        return lock_again(io, wire, *lock);
    if (ending_find(locks, &name, &status))
        return err_set(-ECANCELED, "lock %" PRIu64 " was given back before", wire->id);
    return lock_new(io, wire, &name, lock);
}

int shard_lock_wait(struct shard_io *io, uint32_t wait_ms, bool tells, struct lock *lock)
{
    struct shard_locks *locks = io->shard->locks;
    uint32_t max_ms = io->shard->server->conf->deadline_ms / 2;
    wait_ms = wait_ms < max_ms ? wait_ms : max_ms;
    struct waiting *waiting = malloc(sizeof *waiting);
    if (!waiting)
        return err_set(-ENOMEM, "no memory for a request");
    *waiting = (struct waiting){.request = io->request,
                                .lock = lock,
                                .tells = tells,
                                .due_ns = rpc_now_ns() + wait_ms * UINT64_C(1000000)};
    lock->arg = waiting;
    list_push_back(&locks->waiting, &waiting->link);
    if (waiting->due_ns < locks->due_ns)
        locks->due_ns = waiting->due_ns;
    return 0;
}

void shard_lock(struct shard_io *io)
{
    struct wire_lock wire;
    struct lock *lock = NULL;
    int error = wire_decode_lock(io->request->body, io->request->body_length, &wire);
    if (!error)
        error = find_or_make(io, &wire, &lock);
    if (error) {
        shard_io_refuse(io, error);
        return;
    }
    bool held = lock->held;
    if (!held && wire.wait_ms)
        error = shard_lock_wait(io, wire.wait_ms, false, lock);
    else if (!held) /* at once or not at all: it is not kept in the line */
        lock_table_remove(io->shard->locks->table, lock);
    if (!held && wire.wait_ms && !error) {
        shard_io_leave(io);
        return;
    }
    struct rpc_request *request = io->request;
    shard_io_leave(io);
    answer(request, held);
}

/* ---- giving it back ----------------------------------------------------- */

static int end_lock(struct shard *shard, const struct lock_name *name)
{
    struct shard_locks *locks = shard->locks;
    struct lock *lock = lock_table_find(locks->table, name);
    int status = 0;
    if (lock && !lock->record) {
        if (lock->arg)
            shard_lock_waiting_answer(lock->arg, false);
        if (lock->held)
            shard_counter_add(shard, SHARD_LOCKS_RELEASED, 1);
        lock_table_remove(locks->table, lock);
    } else if (ending_find(locks, name, &status)) {
        return status;
    } else {
        status = -ENOLCK;
    }
    ending_note(locks, name, status);
    return status;
}

void shard_unlock(struct shard_io *io)
{
    struct wire_unlock wire;
    int error = wire_decode_unlock(io->request->body, io->request->body_length, &wire);
    if (error) {
        shard_io_refuse(io, error);
        return;
    }
    struct lock_name name = name_of(io->request, wire.id);
    error = end_lock(io->shard, &name);
    if (error)
        shard_io_fail(io, err_set(error, "the lock was lost while it was held: the connection to the storage "
                                         "server that keeps it broke, or that server was started anew"));
    shard_io_end(io, 0);
}

/* ---- time --------------------------------------------------------------- */

int shard_locks_timeout_ms(const struct shard *shard)
{
    uint64_t due_ns = shard->locks->due_ns;
    if (due_ns == UINT64_MAX)
        return -1;
    uint64_t now_ns = rpc_now_ns();
    return due_ns <= now_ns ? 0 : (int)((due_ns - now_ns) / 1000000 + 1);
}

void shard_locks_tick(struct shard *shard)
{
    struct shard_locks *locks = shard->locks;
    uint64_t now_ns;
    if (locks->due_ns == UINT64_MAX || (now_ns = rpc_now_ns()) < locks->due_ns)
        return;
    locks->due_ns = UINT64_MAX;
    list_each(&locks->waiting, link, after)
    {
        struct waiting *waiting = list_item(link, struct waiting, link);
        if (waiting->due_ns <= now_ns)
            shard_lock_waiting_answer(waiting, false);
        else if (waiting->due_ns < locks->due_ns)
            locks->due_ns = waiting->due_ns;
    }
}
