/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories that a client holds. A hold is a delegation on the directory, and on more than its record:
 * nobody else sees its names. So whoever looks there waits as who changes it does, and what the holder tells
 * of it (the operation `names`) is no change of what it relies on, but what it has known all the time.
 *
 * A hold comes with the answer to an open that has made a file, where nobody else relies on anything there;
 * the answer tells all that is in the directory. It ends with a recall, with the holder's silence, or with a
 * request of the holder's own that changes the directory.
 *
 * The store knows who holds what, so that after a start the others wait until the holder is back.
 */
#include <errno.h>
#include <sys/stat.h>

#include "delegations_internal.h"
#include "err.h"
#include "inode_range.h"
#include "path_name.h"
#include "records.h"
#include "service_internal.h"

/* Where several make files, a hold for the one costs the others a recall: then there is none for a while. */
#define CONTENDED_NS (DELEG_TERM_NS / 10)

/* ---- who holds what ------------------------------------------------------- */

static struct delegation *find_hold(const struct delegations *delegations, uint64_t ino)
{
    if (delegations->holds == 0)
        return NULL;
    for (struct table_link *link = table_find(&delegations->by_ino, ino); link; link = link->next) {
        struct delegation *delegation = table_item(link, struct delegation, by_ino);
        if (link->key == ino && delegation->holds)
            return delegation;
    }
    return NULL;
}

static struct deleg_contended *find_contended(struct delegations *delegations, uint64_t ino)
{
    for (uint32_t i = 0; i < DELEG_CONTENDED_MAX; i++) {
        if (delegations->contended[i].ino == ino)
            return &delegations->contended[i];
    }
    return NULL;
}

void delegations_contended(struct delegations *delegations, uint64_t ino, uint64_t now_ns)
{
    struct deleg_contended *contended = find_contended(delegations, ino);
    if (!contended)
        contended = &delegations->contended[delegations->contended_next++ % DELEG_CONTENDED_MAX];
    *contended = (struct deleg_contended){.ino = ino, .until_ns = now_ns + CONTENDED_NS};
}

static bool is_contended(struct delegations *delegations, uint64_t ino, uint64_t now_ns)
{
    const struct deleg_contended *contended = find_contended(delegations, ino);
    return contended && now_ns < contended->until_ns;
}

static const struct delegation *find_own_hold(const struct request *request, uint64_t ino)
{
    const struct delegation *hold = find_hold(&request->service->delegations, ino);
    return hold && delegations_is_own(request, hold) ? hold : NULL;
}

void delegations_held(const struct request *request, uint64_t folder, struct wire_delegation *out)
{
    const struct deleg_client *client =
        delegations_client_find(&request->service->delegations, request->from->client);
    const struct delegation *hold = find_own_hold(request, folder);
    *out = (struct wire_delegation){0};
    if (!client)
        return;
    out->generation = client->generation;
    out->recalls = client->recalls;
    out->given = hold && !hold->recall && !client->recall_all;
}

/* ---- what waits ------------------------------------------------------------ */

int delegations_looking(void *arg, uint64_t ino)
{
    struct deleg_change *change = arg;
    const struct delegations *delegations = &change->service->delegations;
    const uint64_t now_ns = service_now(change->service);
    if (!change->request)
        return 0;
    struct delegation *hold = find_hold(delegations, ino);
    if (hold && delegations_is_own(change->request, hold))
        return 0;
    const uint64_t until_ns = hold ? delegations_end_ns(hold->client) : 0;
    if (now_ns >= until_ns) {
        if (hold)
            delegations_drop_expired(change->service, now_ns);
        return delegations_be_sure(change, ino);
    }
    delegations_recall(change->service, hold);
    return delegations_has_to_wait(change, ino, false, until_ns);
}

/* Attributes of a directory that came to be held when the request was here already were right at that moment,
 * and what was told since then makes them those of a later one. So who lists many does not wait for ever. */
int delegations_attr_looking(void *arg, uint64_t ino)
{
    const struct deleg_change *change = arg;
    const struct delegation *hold = find_hold(&change->service->delegations, ino);
    if (hold && change->request && hold->since_ns > change->request->asked_ns)
        return 0;
    return delegations_looking(arg, ino);
}

bool delegations_is_told(const struct request *request, const struct delegation *delegation)
{
    return delegation->holds && delegations_is_own(request, delegation) &&
           request->operation->number == WIRE_OP_names;
}

bool delegations_is_held(const struct delegations *delegations, uint64_t ino)
{
    return find_hold(delegations, ino) != NULL;
}

/* Files that were there before are another matter: others may rely on them by their numbers or other
 * names. */
bool delegations_is_holders(const struct delegations *delegations, const struct request *request,
                            uint64_t ino)
{
    if (!request || request->operation->number != WIRE_OP_names)
        return false;
    const struct wire_names *names = &request->body.names;
    const struct delegation *hold = find_hold(delegations, names->folder);
    return hold && delegations_is_own(request, hold) &&
           (ino == names->folder ||
            (inode_range_has(&names->range, ino) &&
             inode_range_check(request->service->conf->key, request->from->client, &names->range) == 0));
}

bool delegations_is_late(const struct request *request, uint64_t folder)
{
    return !find_own_hold(request, folder);
}

/* ---- giving ----------------------------------------------------------------- */

/* Somebody else has been promised something of it. */
static bool is_relied_on(const struct delegations *delegations, const struct deleg_client *client,
                         uint64_t ino)
{
    for (struct table_link *link = table_find(&delegations->by_ino, ino); link; link = link->next) {
        if (link->key == ino && table_item(link, struct delegation, by_ino)->client != client)
            return true;
    }
    return false;
}

struct gathering {
    const struct delegations *delegations;
    const struct deleg_client *client;
    const struct ns *ns;
    uint64_t except;
    struct wire_writer writer;
    uint32_t count;
};

enum { NOT_TO_BE_HELD = 1 };

static int gather(void *arg, const char *name, uint64_t ino)
{
    struct gathering *gathering = arg;
    struct inode inode;
    if (ino == gathering->except)
        return 0;
    if (gathering->count == LIMITS_HELD_OTHERS_MAX ||
        is_relied_on(gathering->delegations, gathering->client, ino) ||
        records_inode_get(gathering->ns->txn, ino, &inode))
        return NOT_TO_BE_HELD;
    wire_put_held_entry(&gathering->writer, &(struct wire_held_entry){
                                                .name = name, .ino = ino, .is_file = inode_is_file(&inode)});
    gathering->count++;
    return gathering->writer.bad ? NOT_TO_BE_HELD : 0;
}

static bool may_be_held(const struct request *request, const struct ns *ns, const struct deleg_client *client,
                        const struct inode *dir)
{
    struct delegations *delegations = &request->service->delegations;
    const uint64_t now_ns = service_now(request->service);
    return client && ns->ways && ns->ways->plain && !is_contended(delegations, dir->ino, now_ns) &&
           delegations_is_settled(request->service, dir);
}

int delegations_numbers(const struct request *request, const struct ns *ns, struct wire_inode_range *range)
{
    const uint32_t count = LIMITS_INODES_GIVEN_MAX;
    *range = (struct wire_inode_range){.count = count};
    int error = records_inos_take(ns->txn, ns->inos, count, &range->first);
    if (!error)
        inode_range_sign(request->service->conf->key, request->from->client, range);
    return error;
}

/* True: it is held. */
static bool hold(struct request *request, const struct ns *ns, struct deleg_client *client,
                 const struct inode *dir)
{
    struct delegations *delegations = &request->service->delegations;
    const struct path_parts parts = path_parts(request->body.open.path);
    if (!delegations_add(request->service, client, ns->ways, dir->ino, parts.names[1]))
        return false;
    struct delegation *delegation = delegations_find(delegations, client, dir->ino);
    if (!delegation || delegation->holds)
        return false;
    delegation->holds = true;
    delegation->since_ns = service_now(request->service);
    delegations->holds++;
    delegations_count(delegations, DELEG_HOLDS_GIVEN);
    return true;
}

int delegations_hold(struct request *request, const struct ns *ns, const struct inode *file, uint8_t *others,
                     struct wire_open_reply *reply)
{
    struct delegations *delegations = &request->service->delegations;
    struct deleg_client *client = delegations_client_find(delegations, request->from->client);
    struct gathering gathering = {.delegations = delegations,
                                  .client = client,
                                  .ns = ns,
                                  .except = file->ino,
                                  .writer = wire_writer_on(others, DELEG_OTHERS_BYTES)};
    struct inode dir, made;
    /* A file that is small says that others, of which is asked for as little, are to be so. What others
     * relied on of the directory was recalled when the file was made. */
    if (!(request->body.open.flags & WIRE_OPEN_HOLD) || !reply->created || !(file->flags & INODE_SMALL))
        return 0;
    int error = records_inode_get(ns->txn, request->dir, &dir);
    if (error || !may_be_held(request, ns, client, &dir))
        return error;
    int result = records_dirent_each(ns->txn, dir.ino, "", gather, &gathering);
    if (result)
        return result < 0 ? result : 0;
    error = delegations_numbers(request, ns, &reply->holding.range);
    if (!error)
        error = records_hold_put(ns->txn, dir.ino, request->from->client);
    if (error)
        return error;
    if (!hold(request, ns, client, &dir)) {
        if (!delegations_is_held(delegations, dir.ino))
            delegations_given_up(delegations, dir.ino, false); /* the record is there */
        reply->holding = (struct wire_holding){0};
        return 0;
    }
    ns_inode_init(ns, &dir, S_IFREG, &made);
    reply->holding.folder = dir.ino;
    reply->holding.gid = made.gid;
    reply->holding.small_max = small_max(request->service, &made);
    reply->holding.others = wire_list_of(&gathering.writer, gathering.count);
    return 0;
}
