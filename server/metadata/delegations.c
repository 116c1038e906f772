/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "delegations_internal.h"
#include "err.h"
#include "log.h"
#include "path_name.h"
#include "records.h"
#include "service_internal.h"

/* One takes some 70 bytes. A client that comes to its number loses all, and may begin anew. */
enum { CLIENT_MAX = LIMITS_DELEGATIONS_MAX, ALL_MAX = 1 << 22 };
#define EPOCH_SHIFT 32
/* Where files come and go, what is not there is not worth a recall for each that comes. */
#define CALM_NS INT64_C(20000000)

void delegations_init(struct delegations *delegations, uint64_t epoch, bool noted, uint64_t now_ns)
{
    static const char *const names[DELEG_COUNT] = {
        [DELEG_GIVEN] = "delegations_given",
        [DELEG_RECALLED] = "delegations_recalled",
        [DELEG_RECALLED_ALL] = "delegations_recalled_all",
        [DELEG_EXPIRED] = "delegations_expired",
        [DELEG_WAITS] = "delegations_waits",
        [DELEG_HOLDS_GIVEN] = "holds_given",
        [DELEG_HOLDS_RECALLED] = "holds_recalled",
        [DELEG_NAMES_REQUESTS] = "names_requests",
        [DELEG_NAMES_MADE] = "names_made",
        [DELEG_NAMES_REMOVED] = "names_removed",
    };
    list_init(&delegations->clients);
    list_init(&delegations->parked);
    list_init(&delegations->waiters);
    delegations->generation = epoch << EPOCH_SHIFT;
    delegations->noted = noted ? DELEG_NOTED : DELEG_NOT_NOTED;
    delegations->trusted_ns = noted ? now_ns + DELEG_TERM_NS : 0;
    for (int i = 0; i < DELEG_COUNT; i++)
        delegations->counters[i].name = names[i];
}

/* ---- clients ------------------------------------------------------------ */

struct deleg_client *delegations_client_find(const struct delegations *delegations, const uint8_t id[16])
{
    const uint64_t key = table_id_key(id);
    for (struct table_link *link = table_find(&delegations->clients_by_id, key); link; link = link->next) {
        struct deleg_client *client = table_item(link, struct deleg_client, by_id);
        if (link->key == key && memcmp(client->id, id, sizeof client->id) == 0)
            return client;
    }
    return NULL;
}

static struct deleg_client *client_add(struct delegations *delegations, const uint8_t id[16], uint64_t now_ns)
{
    struct deleg_client *client = calloc(1, sizeof *client);
    if (!client || table_add(&delegations->clients_by_id, &client->by_id, table_id_key(id))) {
        free(client);
        return NULL;
    }
    memcpy(client->id, id, sizeof client->id);
    client->generation = ++delegations->generation;
    client->heard_ns = now_ns;
    list_init(&client->held);
    list_init(&client->recalled);
    list_link_init(&client->parked_link);
    list_push_back(&delegations->clients, &client->link);
    return client;
}

void delegations_heard(struct delegations *delegations, const uint8_t id[16], uint64_t now_ns)
{
    struct deleg_client *client =
        delegations->clients_by_id.count ? delegations_client_find(delegations, id) : NULL;
    if (client)
        client->heard_ns = now_ns;
}

static uint64_t later_of(uint64_t until_ns, const struct deleg_client *client)
{
    const uint64_t end_ns = delegations_end_ns(client);
    return end_ns > until_ns ? end_ns : until_ns;
}

static bool has_expired(const struct deleg_client *client, uint64_t now_ns)
{
    return now_ns >= delegations_end_ns(client);
}

/* ---- delegations -------------------------------------------------------- */

static void free_way(struct table_link *link)
{
    free(table_item(link, struct deleg_way, by_ino));
}

void delegations_ways_forget(struct delegations *delegations)
{
    table_clear(&delegations->ways, free_way);
}

static void drop(struct delegations *delegations, struct delegation *delegation, bool by_silence)
{
    table_remove(&delegations->by_ino, &delegation->by_ino);
    list_remove(&delegation->link);
    delegation->client->count--;
    if (delegation->holds) {
        delegations->holds--;
        delegations_given_up(delegations, delegation->by_ino.key, by_silence);
    }
    free(delegation);
    delegations->let_go = true;
    if (delegations->by_ino.count == 0)
        delegations_ways_forget(delegations);
}

static void drop_all(struct delegations *delegations, struct list *list, bool by_silence)
{
    while (!list_empty(list))
        drop(delegations, list_item(list_first(list), struct delegation, link), by_silence);
}

void delegations_acknowledge(struct delegations *delegations, struct deleg_client *client, uint32_t recalls)
{
    if (client->recall_all && recalls >= client->recall_all) {
        client->recall_all = 0;
        drop_all(delegations, &client->held, false);
    }
    list_each(&client->recalled, link, after)
    {
        struct delegation *delegation = list_item(link, struct delegation, link);
        if (delegation->recall > recalls)
            break;
        drop(delegations, delegation, false);
    }
}

void delegations_client_drop(struct service *service, struct deleg_client *client, bool by_silence)
{
    struct delegations *delegations = &service->delegations;
    struct request *told = client->told;
    drop_all(delegations, &client->held, by_silence);
    drop_all(delegations, &client->recalled, by_silence);
    table_remove(&delegations->clients_by_id, &client->by_id);
    list_remove(&client->parked_link);
    list_remove(&client->link);
    free(client);
    if (told)
        turn_submit(&service->turn, &told->job); /* it finds that there is nothing left */
}

struct delegation *delegations_find(const struct delegations *delegations, const struct deleg_client *client,
                                    uint64_t ino)
{
    for (struct table_link *link = table_find(&delegations->by_ino, ino); link; link = link->next) {
        struct delegation *delegation = table_item(link, struct delegation, by_ino);
        if (link->key == ino && delegation->client == client)
            return delegation;
    }
    return NULL;
}

void delegations_recall(struct service *service, struct delegation *delegation)
{
    struct delegations *delegations = &service->delegations;
    struct deleg_client *client = delegation->client;
    if (delegation->holds)
        delegations_contended(delegations, delegation->by_ino.key, service_now(service));
    if (delegation->recall || client->recall_all)
        return;
    delegation->recall = ++client->recalls;
    list_remove(&delegation->link);
    list_push_back(&client->recalled, &delegation->link);
    delegations->recalls = true;
    delegations_count(delegations, DELEG_RECALLED);
    if (delegation->holds)
        delegations_count(delegations, DELEG_HOLDS_RECALLED);
}

static void recall_all(struct delegations *delegations, struct deleg_client *client)
{
    if (client->recall_all)
        return;
    client->recall_all = ++client->recalls;
    delegations->recalls = true;
    delegations_count(delegations, DELEG_RECALLED_ALL);
}

/* ---- changes ------------------------------------------------------------ */

static bool is_part(const char *path, const struct delegation *delegation)
{
    if (*path != '/')
        return false;
    const struct path_parts parts = path_parts(path);
    return path_parts_have(&parts, delegation->name, delegation->by_ino.key);
}

/* Whether the client that asks for this has forgotten what it knew by that delegation: it forgets what it
 * names, and the folders of the paths that it names (path_parts()). */
static bool is_forgotten(const struct request *request, const struct delegation *delegation)
{
    const uint64_t ino = delegation->by_ino.key;
    switch (request->operation->number) {
    case WIRE_OP_open:
        return is_part(request->body.open.path, delegation);
    case WIRE_OP_mkdir:
        return is_part(request->body.mkdir.path, delegation);
    case WIRE_OP_mknod:
        return is_part(request->body.mknod.path, delegation);
    case WIRE_OP_rmdir:
        return is_part(request->body.rmdir.path, delegation);
    case WIRE_OP_unlink:
        return is_part(request->body.unlink.path, delegation);
    case WIRE_OP_symlink:
        return is_part(request->body.symlink.path, delegation);
    case WIRE_OP_rename:
        return is_part(request->body.rename.from, delegation) || is_part(request->body.rename.to, delegation);
    case WIRE_OP_link:
        return is_part(request->body.link.from, delegation) || is_part(request->body.link.to, delegation);
    case WIRE_OP_layout_set:
        return is_part(request->body.layout_set.path, delegation);
    case WIRE_OP_hints_set:
        return is_part(request->body.hints_set.path, delegation);
    case WIRE_OP_setattr:
        return *request->body.setattr.path ? is_part(request->body.setattr.path, delegation)
                                           : request->body.setattr.ino == ino;
    case WIRE_OP_truncate:
        return *request->body.truncate.path ? is_part(request->body.truncate.path, delegation)
                                            : request->body.truncate.capability.ino == ino;
    case WIRE_OP_xattr_set:
        return *request->body.xattr_set.path ? is_part(request->body.xattr_set.path, delegation)
                                             : request->body.xattr_set.capability.ino == ino;
    case WIRE_OP_xattr_remove:
        return *request->body.xattr_remove.path ? is_part(request->body.xattr_remove.path, delegation)
                                                : request->body.xattr_remove.capability.ino == ino;
    case WIRE_OP_small_write:
        return request->body.small_write.capability.ino == ino;
    case WIRE_OP_spill:
        return request->body.spill.capability.ino == ino;
    case WIRE_OP_names: /* of the files: of the directory it has more than that */
        return true;
    default:
        return false;
    }
}

bool delegations_is_own(const struct request *request, const struct delegation *delegation)
{
    return request &&
           memcmp(delegation->client->id, request->from->client, sizeof delegation->client->id) == 0;
}

int delegations_has_to_wait(struct deleg_change *change, uint64_t ino, bool way, uint64_t until_ns)
{
    struct deleg_waiter *waiter = change->waiter;
    waiter->needed = true;
    waiter->way = way;
    waiter->ino = ino;
    waiter->until_ns = until_ns;
    return err_set(-EAGAIN, "inode %" PRIu64 " waits for clients that rely on it", ino);
}

void delegations_drop_expired(struct service *service, uint64_t now_ns)
{
    struct delegations *delegations = &service->delegations;
    list_each(&delegations->clients, link, after)
    {
        struct deleg_client *client = list_item(link, struct deleg_client, link);
        if (!has_expired(client, now_ns))
            continue;
        delegations_count(delegations, DELEG_EXPIRED);
        delegations_client_drop(service, client, true);
    }
}

static bool any_expired(const struct delegations *delegations, uint64_t ino, uint64_t now_ns)
{
    for (struct table_link *link = table_find(&delegations->by_ino, ino); link; link = link->next) {
        if (link->key == ino && has_expired(table_item(link, struct delegation, by_ino)->client, now_ns))
            return true;
    }
    return false;
}

static int changing(void *arg, uint64_t ino)
{
    struct deleg_change *change = arg;
    struct delegations *delegations = &change->service->delegations;
    const uint64_t now_ns = service_now(change->service);
    uint64_t until_ns = 0;
    if (now_ns < delegations->trusted_ns && !delegations_is_holders(delegations, change->request, ino))
        return delegations_has_to_wait(change, ino, false, delegations->trusted_ns);
    if (any_expired(delegations, ino, now_ns))
        delegations_drop_expired(change->service, now_ns);
    int error = delegations_be_sure(change, ino);
    if (error || delegations->by_ino.count == 0)
        return error;
    for (struct table_link *link = table_find(&delegations->by_ino, ino), *next; link; link = next) {
        struct delegation *delegation = table_item(link, struct delegation, by_ino);
        next = link->next;
        if (link->key != ino)
            continue;
        if (delegations_is_told(change->request, delegation))
            continue;
        if (delegations_is_own(change->request, delegation) &&
            (!delegation->name || is_forgotten(change->request, delegation))) {
            change->request->kept =
                change->request->operation->number == WIRE_OP_small_write && !delegation->recall;
            if (!change->request->kept)
                drop(delegations, delegation, false);
            continue;
        }
        delegations_recall(change->service, delegation);
        until_ns = later_of(until_ns, delegation->client);
    }
    return until_ns ? delegations_has_to_wait(change, ino, false, until_ns) : 0;
}

static int way_changing(void *arg, uint64_t ino)
{
    struct deleg_change *change = arg;
    struct delegations *delegations = &change->service->delegations;
    const uint64_t now_ns = service_now(change->service);
    uint64_t until_ns = 0;
    if (now_ns < delegations->trusted_ns)
        return delegations_has_to_wait(change, ino, true, delegations->trusted_ns);
    if (!table_find(&delegations->ways, ino))
        return 0;
    delegations_drop_expired(change->service, now_ns);
    list_each(&delegations->clients, link, after)
    {
        struct deleg_client *client = list_item(link, struct deleg_client, link);
        if (client->count == 0)
            continue;
        recall_all(delegations, client);
        until_ns = later_of(until_ns, client);
    }
    return until_ns ? delegations_has_to_wait(change, ino, true, until_ns) : 0;
}

void delegations_watch(struct deleg_change *change, struct store_txn *txn)
{
    change->watch = (struct records_watch){.changing = changing,
                                           .way_changing = way_changing,
                                           .looking = delegations_looking,
                                           .attr_looking = delegations_attr_looking,
                                           .arg = change};
    records_watch(txn, &change->watch);
}

bool delegations_in_the_way(const struct delegations *delegations, const struct deleg_waiter *waiter)
{
    if (waiter->way)
        return table_find(&delegations->ways, waiter->ino) != NULL;
    for (struct table_link *link = table_find(&delegations->by_ino, waiter->ino); link; link = link->next) {
        const struct delegation *delegation = table_item(link, struct delegation, by_ino);
        if (link->key == waiter->ino && (delegation->recall || delegation->client->recall_all))
            return true;
    }
    return false;
}

/* ---- giving ------------------------------------------------------------- */

static bool note_writes(struct job *job)
{
    (void)job;
    return true;
}

static int note_run(struct job *job, struct ns *ns)
{
    (void)job;
    return records_setting_put(ns->txn, SETTING_DELEGATED, 1);
}

static void note_done(struct job *job, int status)
{
    struct delegations *delegations = list_item(job, struct delegations, note);
    if (status < 0)
        log_error("noting that clients are promised something: %s", err_text());
    delegations->noted = status < 0 ? DELEG_NOT_NOTED : DELEG_NOTED;
}

bool delegations_is_noted(struct service *service)
{
    struct delegations *delegations = &service->delegations;
    if (delegations->noted == DELEG_NOT_NOTED) {
        delegations->noted = DELEG_BEING_NOTED;
        delegations->note = (struct job){.writes = note_writes, .run = note_run, .done = note_done};
        turn_submit(&service->turn, &delegations->note);
    }
    return delegations->noted == DELEG_NOTED;
}

bool delegations_is_settled(const struct service *service, const struct inode *inode)
{
    const struct delegations *delegations = &service->delegations;
    const struct opens_file *file = opens_file_find(service->opens, inode->ino);
    return inode->nlink > 0 && !(inode->flags & INODE_SIZE_OPEN) &&
           !(file && (file->spilling || file->truncations)) && delegations->way_waiters == 0 &&
           !table_find(&delegations->waiters_by_ino, inode->ino);
}

static int note_ways(struct delegations *delegations, const struct ns_ways *ways)
{
    for (uint32_t i = 0; i < ways->count; i++) {
        if (table_find(&delegations->ways, ways->inos[i]))
            continue;
        struct deleg_way *way = calloc(1, sizeof *way);
        if (!way || table_add(&delegations->ways, &way->by_ino, ways->inos[i])) {
            free(way);
            return -ENOMEM;
        }
    }
    return 0;
}

static bool add(struct delegations *delegations, struct deleg_client *client, uint64_t ino, uint64_t name)
{
    struct delegation *delegation = calloc(1, sizeof *delegation);
    if (!delegation || table_add(&delegations->by_ino, &delegation->by_ino, ino)) {
        free(delegation);
        return false;
    }
    delegation->client = client;
    delegation->name = name;
    list_push_back(&client->held, &delegation->link);
    client->count++;
    return true;
}

int delegations_hold_restored(struct delegations *delegations, uint64_t ino, const uint8_t id[16],
                              uint64_t heard_ns)
{
    struct deleg_client *client = delegations_client_find(delegations, id);
    if (!client)
        client = client_add(delegations, id, heard_ns);
    if (!client || !add(delegations, client, ino, 0))
        return err_set(-ENOMEM, "no memory for directories that clients hold");
    if (!client->recall_all)
        client->recall_all = ++client->recalls;
    delegations_find(delegations, client, ino)->holds = true;
    delegations->holds++;
    return 0;
}

bool delegations_add(struct service *service, struct deleg_client *client, const struct ns_ways *ways,
                     uint64_t ino, uint64_t name)
{
    struct delegations *delegations = &service->delegations;
    struct delegation *own = delegations_find(delegations, client, ino);
    if (client->recall_all)
        return false;
    if (own)
        return own->name == name && !own->recall;
    if (client->count >= CLIENT_MAX) {
        recall_all(delegations, client);
        return false;
    }
    if (delegations->by_ino.count >= ALL_MAX || note_ways(delegations, ways) ||
        !add(delegations, client, ino, name))
        return false;
    delegations_count(delegations, DELEG_GIVEN);
    return true;
}

void delegations_give(struct request *request, const struct ns *ns, const struct inode *inode, uint64_t name,
                      struct wire_delegation *out)
{
    struct service *service = request->service;
    struct delegations *delegations = &service->delegations;
    struct deleg_client *client = delegations_client_find(delegations, request->from->client);
    const uint64_t now_ns = service_now(service);
    *out = (struct wire_delegation){0};
    if (name && ns->ways && ns->ways->plain && now_ns >= delegations->trusted_ns &&
        delegations_is_settled(service, inode) && delegations_is_noted(service)) {
        if (!client)
            client = client_add(delegations, request->from->client, now_ns);
        out->given = client && delegations_add(service, client, ns->ways, inode->ino, name);
    } else if (!name && client) {
        out->given = request->kept && delegations_is_settled(service, inode);
    }
    if (!client)
        return;
    out->generation = client->generation;
    out->recalls = client->recalls;
}

int delegations_give_absent(struct request *request, const struct ns *ns, const struct inode *folder,
                            const char *path, struct wire_delegation *out)
{
    const int64_t changed_ns = folder->ctime_ns > folder->mtime_ns ? folder->ctime_ns : folder->mtime_ns;
    const struct path_parts parts = path_parts(path);
    *out = (struct wire_delegation){0};
    if (ns->now_ns - changed_ns >= CALM_NS)
        delegations_give(request, ns, folder, parts.names[1], out);
    return out->given ? 0 : -ENOENT;
}
