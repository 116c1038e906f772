/* SPDX-License-Identifier: Apache-2.0 */
#include "attr_cache.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "attr_entries.h"
#include "err.h"
#include "held.h"
#include "keeper.h"
#include "layout.h"
#include "log.h"
#include "permission.h"

#define TERM_NS (LIMITS_DELEGATION_MS * UINT64_C(1000000))
/* So many attributes a session asks for before it asks for promises: a program that looks at a few files
 * and ends would only have to give them up again. */
enum { ASKED_BEFORE = 8 };
enum { GUARDS = 1024 };
enum { RETRY_MS = 250, END_MS = 500 };

/* Changes that this session makes of what has such a number: those under way, and when the latest began or
 * ended. */
struct guard {
    uint32_t active;
    uint64_t stamp;
};

struct attr_cache {
    struct attr_entries entries;
    uint64_t generation; /* of what stands here; 0: nothing does */
    uint64_t floor;      /* up to this generation nothing is to be believed any more */
    uint32_t recalls;    /* heeded */
    uint64_t until_ns;   /* what stands here holds until then */
    uint64_t used_ns;
    uint32_t asked;
    uint64_t stamp;                  /* grows with each change that begins or ends */
    struct guard guards[GUARDS];     /* by names and by inodes' numbers */
    struct permission_caller caller; /* whose session it is */
    uint32_t groups[LIMITS_CALLER_GROUPS_MAX];

    bool waits;      /* a delegation_wait is under way: */
    bool ends;       /* that gives everything up */
    bool is_put_off; /* the next one: folders that are held no more are told of first */
    struct rpc_call call;
    uint64_t sent_ns;
    uint8_t body[32];

    bool closing;
    struct keeper keeper;
};

static struct attr_cache *cache_of(weft_session_t *session)
{
    return session && session->attr_cache && session_check(session) == 0 ? session->attr_cache : NULL;
}

/* Unlike session_unlock(), for who has nothing for a thread that drives to do. */
static void unlock(weft_session_t *session)
{
    pthread_mutex_unlock(&session->lock);
}

/* ---- generations (locked) -------------------------------------------------------- */

/* Nothing of this generation counts any more, whatever may still be on its way. */
static void give_up(struct attr_cache *cache)
{
    held_recalled(cache->keeper.session, 0);
    attr_entries_drop_all(&cache->entries);
    if (cache->generation > cache->floor)
        cache->floor = cache->generation;
    cache->generation = 0;
    cache->recalls = 0;
    cache->until_ns = 0;
}

static void wait_start(weft_session_t *session, bool ends);

/* Whether what an answer promises is to be believed; it says that the metadata server has heard us. */
static bool believe(struct attr_cache *cache, const struct wire_delegation *delegation, uint64_t sent_ns)
{
    if (delegation->generation <= cache->floor || delegation->generation < cache->generation)
        return false;
    if (delegation->generation > cache->generation) {
        if (cache->generation)
            give_up(cache);
        cache->generation = delegation->generation;
    }
    if (sent_ns + TERM_NS > cache->until_ns)
        cache->until_ns = sent_ns + TERM_NS;
    return true;
}

/* ---- finding ------------------------------------------------------------------ */

/* By its number a file is found by root and its owner only. */
static const struct attr_entry *find(const struct attr_cache *cache, const char *path, uint64_t name,
                                     uint64_t ino)
{
    const struct attr_entries *entries = &cache->entries;
    const struct attr_entry *entry =
        name ? attr_entries_find(entries, name, path) : attr_entries_find_ino(entries, ino);
    if (entry || !name)
        return entry;
    const char *rest = path_inode_rest(path, &ino);
    entry = rest && *rest == 0 ? attr_entries_find_ino(&cache->entries, ino) : NULL;
    if (entry && !S_ISDIR(entry->attr.mode) && cache->caller.uid != 0 && cache->caller.uid != entry->attr.uid)
        entry = NULL;
    return entry;
}

static void note_hit(weft_session_t *session, uint64_t now_ns)
{
    session->attr_cache->used_ns = now_ns;
    session_count(session, CLIENT_COUNT_attr_hits, 1);
}

enum attr_known attr_cache_find(weft_session_t *session, const char *path, uint64_t ino, unsigned flags,
                                struct weft_attr *attr)
{
    struct attr_cache *cache = cache_of(session);
    enum attr_known known = ATTR_UNKNOWN;
    if (!cache)
        return known;
    const uint64_t name = *path ? path_name(path, strlen(path)) : 0;
    session_lock(session);
    const uint64_t now_ns = rpc_now_ns();
    if (now_ns < cache->until_ns && name)
        known = held_find(session, path, attr);
    if (now_ns < cache->until_ns && known == ATTR_UNKNOWN) {
        const struct attr_entry *entry = find(cache, path, name, ino);
        /* A link was looked at itself. */
        if (entry && !entry->changing &&
            (!name || !S_ISLNK(entry->attr.mode) || (flags & WEFT_STAT_NOFOLLOW))) {
            *attr = entry->attr;
            known = ATTR_KNOWN;
        } else if (!entry && name && attr_entries_absent(&cache->entries, name, path)) {
            known = ATTR_ABSENT;
        }
    }
    if (known != ATTR_UNKNOWN)
        note_hit(session, now_ns);
    unlock(session);
    return known;
}

bool attr_cache_absent(weft_session_t *session, const char *path)
{
    struct attr_cache *cache = cache_of(session);
    if (!cache)
        return false;
    const uint64_t name = path_name(path, strlen(path));
    session_lock(session);
    const uint64_t now_ns = rpc_now_ns();
    struct weft_attr attr;
    const bool absent = now_ns < cache->until_ns && (attr_entries_absent(&cache->entries, name, path) ||
                                                     held_find(session, path, &attr) == ATTR_ABSENT);
    if (absent)
        note_hit(session, now_ns);
    unlock(session);
    return absent;
}

bool attr_cache_allows(const weft_session_t *session, const struct weft_attr *attr, unsigned wanted)
{
    const struct attr_cache *cache = session->attr_cache;
    const struct permission of = {.mode = attr->mode, .uid = attr->uid, .gid = attr->gid};
    return permission_has(&cache->caller, &of, wanted);
}

uint64_t attr_cache_held(weft_session_t *session, uint64_t ino)
{
    struct attr_cache *cache = session->attr_cache;
    const uint64_t now_ns = rpc_now_ns();
    const struct attr_entry *entry =
        now_ns < cache->until_ns ? attr_entries_find_ino(&cache->entries, ino) : NULL;
    if (!entry || entry->changing)
        return 0;
    cache->used_ns = now_ns;
    return entry->id;
}

void attr_cache_want(weft_session_t *session)
{
    session_lock(session);
    session->attr_cache->asked = ASKED_BEFORE;
    unlock(session);
}

/* ---- guards (locked) ------------------------------------------------------------- */

static struct guard *guard_of(struct attr_cache *cache, uint64_t number)
{
    return &cache->guards[layout_hash(number) % GUARDS];
}

static void guard_note(struct attr_cache *cache, uint64_t number, int more)
{
    struct guard *guard = guard_of(cache, number);
    guard->active += (uint32_t)more;
    guard->stamp = cache->stamp;
}

static void note(struct attr_cache *cache, const struct attr_change *change, int more)
{
    cache->stamp++;
    for (unsigned i = 0; i < 2 * change->part_count; i++) {
        const struct path_parts *parts = &change->parts[i / 2];
        guard_note(cache, parts->names[i % 2], more);
        if (parts->inos[i % 2])
            guard_note(cache, parts->inos[i % 2], more);
    }
    if (change->ino)
        guard_note(cache, change->ino, more);
}

/* How many of a guard's active changes are those of `change`. */
static uint32_t count_own(struct attr_cache *cache, const struct attr_change *change,
                          const struct guard *guard)
{
    uint32_t count = change->ino && guard_of(cache, change->ino) == guard;
    for (unsigned i = 0; i < 2 * change->part_count; i++) {
        const struct path_parts *parts = &change->parts[i / 2];
        count += guard_of(cache, parts->names[i % 2]) == guard;
        count += parts->inos[i % 2] && guard_of(cache, parts->inos[i % 2]) == guard;
    }
    return count;
}

/* Nothing but `own` has changed what has this number since the ticket was given, or is about to. */
static bool is_quiet(struct attr_cache *cache, uint64_t number, const struct attr_ticket *ticket,
                     const struct attr_change *own)
{
    const struct guard *guard = guard_of(cache, number);
    return guard->stamp <= ticket->stamp && guard->active == (own ? count_own(cache, own, guard) : 0);
}

/* ---- asking --------------------------------------------------------------------- */

bool attr_cache_ask(weft_session_t *session, const char *path, struct attr_ticket *ticket)
{
    struct attr_cache *cache = cache_of(session);
    *ticket = (struct attr_ticket){0};
    if (!cache || !*path)
        return false;
    session_lock(session);
    ticket->sent_ns = rpc_now_ns();
    ticket->stamp = cache->stamp;
    const bool wanted = cache->asked == ASKED_BEFORE && cache->keeper.state != KEEPER_IMPOSSIBLE;
    cache->asked += cache->asked < ASKED_BEFORE;
    unlock(session);
    if (wanted)
        ticket->name = path_name(path, strlen(path));
    return wanted;
}

/* Whether the answer to what was asked with this ticket promises something of the inode. */
static bool is_promised(struct attr_cache *cache, const struct attr_ticket *ticket,
                        const struct attr_change *own, const struct wire_delegation *delegation, uint64_t ino)
{
    return believe(cache, delegation, ticket->sent_ns) && delegation->given &&
           delegation->recalls >= cache->recalls && is_quiet(cache, ino, ticket, own);
}

/* Whether it may be kept by its name. */
static bool may_keep(struct attr_cache *cache, const struct attr_ticket *ticket,
                     const struct attr_change *own, const struct wire_delegation *delegation, uint64_t ino)
{
    return is_promised(cache, ticket, own, delegation, ino) && is_quiet(cache, ticket->name, ticket, own) &&
           !cache->closing && keeper_start(&cache->keeper);
}

static void begin_keeping(weft_session_t *session)
{
    struct attr_cache *cache = session->attr_cache;
    cache->used_ns = rpc_now_ns();
    if (!cache->waits) {
        wait_start(session, false);
        keeper_wake(&cache->keeper);
    }
}

void attr_cache_learn(weft_session_t *session, const struct attr_ticket *ticket, const char *path,
                      const struct attr_change *own, const struct wire_delegation *delegation,
                      const struct weft_attr *attr)
{
    struct attr_cache *cache = delegation->generation ? cache_of(session) : NULL;
    if (!cache || !ticket->name)
        return;
    session_lock(session);
    if (may_keep(cache, ticket, own, delegation, attr->ino)) {
        attr_entries_add(&cache->entries, ticket->name, path, attr);
        begin_keeping(session);
    }
    session_unlock(session);
}

void attr_cache_learn_absent(weft_session_t *session, const struct attr_ticket *ticket, const char *path,
                             const struct wire_delegation *delegation, const struct weft_attr *folder)
{
    struct attr_cache *cache = delegation->generation ? cache_of(session) : NULL;
    if (!cache || !ticket->name)
        return;
    char *folder_path = strndup(path, path_folder_length(path));
    if (!folder_path)
        return;
    const uint64_t folder_name = path_name(folder_path, strlen(folder_path));
    session_lock(session);
    if (may_keep(cache, ticket, NULL, delegation, folder->ino) &&
        is_quiet(cache, folder_name, ticket, NULL)) {
        struct attr_entry *entry = attr_entries_add(&cache->entries, folder_name, folder_path, folder);
        if (entry)
            attr_entries_add_absent(&cache->entries, entry, ticket->name, path);
        begin_keeping(session);
    }
    session_unlock(session);
    free(folder_path);
}

/* ---- changing ---------------------------------------------------------------------- */

static void forget(struct attr_cache *cache, const struct attr_change *change)
{
    for (unsigned i = 0; i < 2 * change->part_count; i++) {
        const struct path_parts *parts = &change->parts[i / 2];
        attr_entries_drop_name(&cache->entries, parts->names[i % 2]);
        if (parts->inos[i % 2])
            attr_entries_drop(&cache->entries, attr_entries_find_ino(&cache->entries, parts->inos[i % 2]));
    }
    if (change->ino)
        attr_entries_drop(&cache->entries, attr_entries_find_ino(&cache->entries, change->ino));
}

void attr_change_begin(weft_session_t *session, struct attr_change *change, const char *path,
                       const char *other, uint64_t ino)
{
    struct attr_cache *cache = cache_of(session);
    *change = (struct attr_change){0};
    if (!cache)
        return;
    held_leave_itself(session, path, ino);
    if (*path)
        change->parts[change->part_count++] = path_parts(path);
    else
        change->ino = ino;
    if (other) {
        held_leave_itself(session, other, 0);
        change->parts[change->part_count++] = path_parts(other);
    }
    session_lock(session);
    note(cache, change, 1);
    forget(cache, change);
    held_forget(session, path, ino);
    unlock(session);
}

void attr_change_end(weft_session_t *session, const struct attr_change *change)
{
    struct attr_cache *cache = change->part_count || change->ino ? cache_of(session) : NULL;
    if (!cache)
        return;
    session_lock(session);
    note(cache, change, -1);
    unlock(session);
}

/* ---- for held.h (locked) ---------------------------------------------------------------- */

bool attr_cache_holds(weft_session_t *session, uint64_t generation)
{
    struct attr_cache *cache = session->attr_cache;
    const uint64_t now_ns = rpc_now_ns();
    if (generation != cache->generation || now_ns >= cache->until_ns || cache->closing)
        return false;
    cache->used_ns = now_ns;
    return true;
}

bool attr_cache_may_hold(weft_session_t *session, const struct attr_ticket *ticket,
                         const struct attr_change *own, const struct wire_delegation *delegation)
{
    struct attr_cache *cache = session->attr_cache;
    if (!ticket->name || !believe(cache, delegation, ticket->sent_ns) ||
        delegation->recalls < cache->recalls || !is_quiet(cache, own->parts[0].names[1], ticket, own) ||
        cache->closing || !keeper_start(&cache->keeper))
        return false;
    begin_keeping(session);
    return true;
}

void attr_cache_changed(weft_session_t *session, const char *path, uint64_t folder)
{
    struct attr_cache *cache = session->attr_cache;
    const struct attr_change change = {.parts = {path_parts(path)}, .part_count = 1};
    note(cache, &change, 1);
    forget(cache, &change);
    attr_cache_gone(session, folder);
    note(cache, &change, -1);
}

void attr_cache_gone(weft_session_t *session, uint64_t ino)
{
    struct attr_cache *cache = session->attr_cache;
    attr_entries_drop(&cache->entries, attr_entries_find_ino(&cache->entries, ino));
}

void attr_cache_heard(weft_session_t *session, const struct wire_delegation *delegation, uint64_t sent_ns)
{
    (void)believe(session->attr_cache, delegation, sent_ns);
}

void attr_cache_hurry(weft_session_t *session)
{
    keeper_hurry(&session->attr_cache->keeper);
}

/* ---- writing to small files (locked) ---------------------------------------------------- */

void attr_write_begin(weft_session_t *session, uint64_t ino, struct attr_ticket *ticket)
{
    struct attr_cache *cache = session->attr_cache;
    *ticket = (struct attr_ticket){0};
    if (!cache)
        return;
    struct attr_entry *entry = attr_entries_find_ino(&cache->entries, ino);
    if (entry)
        entry->changing = true;
    held_forget(session, "", ino);
    note(cache, &(struct attr_change){.ino = ino}, 1);
    ticket->sent_ns = rpc_now_ns();
    ticket->stamp = cache->stamp;
}

void attr_write_end(weft_session_t *session, uint64_t ino, const struct attr_ticket *ticket,
                    const struct wire_delegation *delegation, const struct weft_attr *attr)
{
    const struct attr_change own = {.ino = ino};
    struct attr_cache *cache = session->attr_cache;
    if (!cache)
        return;
    const bool goes_on = delegation && is_promised(cache, ticket, &own, delegation, ino);
    note(cache, &own, -1);
    struct attr_entry *entry = attr_entries_find_ino(&cache->entries, ino);
    if (entry && goes_on) {
        entry->attr = *attr;
        entry->changing = false;
    } else {
        attr_entries_drop(&cache->entries, entry);
    }
}

/* ---- recalls (locked) ------------------------------------------------------------------- */

static bool is_used(const struct attr_cache *cache)
{
    return !cache->closing && rpc_now_ns() - cache->used_ns < TERM_NS;
}

static void heed(struct attr_cache *cache, const struct wire_delegation_wait_reply *reply)
{
    struct wire_reader reader = wire_list_reader(&reply->inos);
    if (reply->delegation.generation != cache->generation) {
        give_up(cache);
        /* A server that was started anew knows what we held, and is to hear that it is told of. */
        if (believe(cache, &reply->delegation, cache->sent_ns))
            cache->recalls = reply->delegation.recalls;
        return;
    }
    if (reply->all) {
        attr_entries_drop_all(&cache->entries);
        held_recalled(cache->keeper.session, 0);
    }
    for (uint32_t i = 0; i < reply->inos.count && !reader.bad; i++) {
        struct wire_inode_number number;
        wire_get_inode_number(&reader, &number);
        if (reader.bad)
            break;
        attr_entries_drop(&cache->entries, attr_entries_find_ino(&cache->entries, number.ino));
        held_recalled(cache->keeper.session, number.ino);
    }
    if (reply->delegation.recalls > cache->recalls)
        cache->recalls = reply->delegation.recalls;
    believe(cache, &reply->delegation, cache->sent_ns);
    if (reader.bad) /* what it should have told nobody knows */
        give_up(cache);
}

static void wait_done(struct rpc_call *call)
{
    weft_session_t *session = call->arg;
    struct attr_cache *cache = session->attr_cache;
    struct wire_delegation_wait_reply reply;
    cache->waits = false;
    if (call->status < 0) {
        if (call->reply) /* the server does not know what we want of it */
            give_up(cache);
        return;
    }
    if (cache->ends) { /* something may have been promised anew meanwhile */
        if (cache->generation && !cache->closing)
            wait_start(session, false);
        return;
    }
    if (wire_decode_delegation_wait_reply(call->reply, call->reply_length, &reply) < 0) {
        log_warn("%s", err_text());
        give_up(cache);
        return;
    }
    heed(cache, &reply);
    if (cache->generation)
        wait_start(session, !is_used(cache));
}

static void wait_start(weft_session_t *session, bool ends)
{
    struct attr_cache *cache = session->attr_cache;
    const struct wire_delegation_wait wait = {
        .generation = cache->generation, .recalls = cache->recalls, .ends = ends};
    struct rpc_connection *connection;
    cache->is_put_off = false;
    if (ends)
        held_recalled(session, 0);
    if (cache->waits)
        return; /* begun when the last of these was told */
    cache->is_put_off = held_is_leaving(session);
    if (cache->is_put_off)
        return; /* it would say that all recalls have been heeded */
    ssize_t length = wire_encode_delegation_wait(cache->body, sizeof cache->body, &wait);
    cache->call = (struct rpc_call){
        .operation = WIRE_OP_delegation_wait,
        .body = cache->body,
        .body_length = (uint32_t)length,
        /* One that was lost must not keep others waiting for what it would have told. */
        .deadline_ms = 2 * LIMITS_DELEGATION_MS,
        .done = wait_done,
        .arg = session,
        .repeatable = true,
    };
    cache->sent_ns = rpc_now_ns();
    cache->ends = ends;
    if (ends)
        give_up(cache);
    if (length < 0 || session_metadata(session, &connection) < 0 ||
        rpc_call_start(connection, &cache->call) < 0)
        return; /* what stands here ends by itself */
    cache->waits = true;
    session_count(session, CLIENT_COUNT_metadata_requests, 1);
}

/* After a failure. */
static void look(void *arg)
{
    weft_session_t *session = arg;
    struct attr_cache *cache = session->attr_cache;
    if (!cache->waits && cache->generation && !cache->closing)
        wait_start(session, !is_used(cache));
}

void attr_cache_left(weft_session_t *session)
{
    if (session->attr_cache->is_put_off)
        look(session);
}

static bool is_needed(weft_session_t *session)
{
    const struct attr_cache *cache = session->attr_cache;
    return cache->waits || cache->generation || held_is_leaving(session);
}

/* ---- opening and closing ----------------------------------------------------------------- */

int attr_cache_open(weft_session_t *session, void (*begins)(void))
{
    int result = session_check(session);
    if (result < 0 || session->attr_cache)
        return result;
    struct attr_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return err_set(-ENOMEM, "out of memory for attributes");
    result = held_open(session);
    if (result < 0) {
        free(cache);
        return result;
    }
    attr_entries_init(&cache->entries);
    permission_caller_take(&cache->caller, cache->groups);
    keeper_open(&cache->keeper, session, is_needed, begins);
    session_lock(session);
    session->attr_cache = cache;
    result = rpc_every(session->rpc, RETRY_MS, look, session);
    session_unlock(session);
    return result;
}

/* The answer to a wait that is under way comes, too, when all is given up: it should find somebody. */
static void wait_out(weft_session_t *session)
{
    const struct attr_cache *cache = session->attr_cache;
    const uint64_t end_ns = rpc_now_ns() + END_MS * UINT64_C(1000000);
    session_lock(session);
    while (cache->waits && rpc_now_ns() < end_ns) {
        rpc_progress(session->rpc);
        session_settle(session);
        pthread_mutex_unlock(&session->lock);
        sched_yield();
        session_lock(session);
    }
    session_unlock(session);
}

void attr_cache_close(weft_session_t *session)
{
    struct attr_cache *cache = session->attr_cache;
    uint8_t body[32];
    struct op_call call;
    if (!cache)
        return;
    session_lock(session);
    cache->closing = true;
    const struct wire_delegation_wait wait = {.generation = cache->generation, .ends = 1};
    const bool has_some = cache->waits || (cache->generation && rpc_now_ns() < cache->until_ns);
    give_up(cache);
    session_unlock(session);
    keeper_close(&cache->keeper);
    if (!has_some)
        return;
    if (op_call_metadata_within(&call, session, WIRE_OP_delegation_wait, body,
                                wire_encode_delegation_wait(body, sizeof body, &wait), END_MS) < 0)
        log_debug("%s", err_text());
    else
        wait_out(session);
    op_call_free(&call);
}

void attr_cache_free(weft_session_t *session)
{
    struct attr_cache *cache = session->attr_cache;
    if (!cache)
        return;
    held_free(session);
    attr_entries_free(&cache->entries);
    free(cache);
    session->attr_cache = NULL;
}
