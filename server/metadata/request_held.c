/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operation `names`: what a client has made and removed in a directory that it holds
 * (delegations_hold.c), or has held: then what is told late waits for others as any change does, and what
 * they have done meanwhile stays.
 *
 * Each name fails or not by itself, for there is nobody whose call could fail any more. One that is told
 * again is done: it is there under the same number, or gone.
 */
#include <errno.h>
#include <string.h>

#include "err.h"
#include "inode_range.h"
#include "log.h"
#include "records.h"
#include "service_internal.h"

struct telling {
    struct request *request;
    struct ns *ns;
    struct inode dir;
    int dir_refuses;   /* all names, with this */
    int range_refuses; /* all that are made */
    int64_t changed_ns;
    bool changes;
    struct wire_writer writer; /* of wire_named */
    uint32_t count;
};

/* Calls `each` for all namings, until it returns something else than 0, which is returned. */
static int each_naming(const struct wire_list *list,
                       int (*each)(struct telling *telling, uint32_t place, const struct wire_naming *naming),
                       struct telling *telling)
{
    struct wire_reader reader = wire_list_reader(list);
    for (uint32_t i = 0; i < list->count; i++) {
        struct wire_naming naming;
        wire_get_naming(&reader, &naming);
        if (reader.bad)
            break;
        int result = each(telling, i, &naming);
        if (result)
            return result;
    }
    return wire_read_all(&reader, "list of names");
}

/* ---- before anything changes ------------------------------------------------- */

static int ask(struct telling *telling, uint32_t place, const struct wire_naming *naming)
{
    (void)place;
    return naming->kind == WIRE_NAMING_REMOVE
               ? ns_held_removing(telling->ns, &telling->dir, naming->name, naming->ino)
               : 0;
}

static int find_dir(struct telling *telling, uint64_t ino)
{
    struct ns *ns = telling->ns;
    int error = records_inode_get(ns->txn, ino, &telling->dir);
    if (error == -ENOENT || (!error && !inode_is_dir(&telling->dir)))
        return err_set(-ESTALE, "the directory whose names are told does not exist any more");
    return error;
}

static int prepare(struct telling *telling)
{
    const struct request *request = telling->request;
    const struct wire_names *names = &request->body.names;
    int error = find_dir(telling, names->folder);
    if (error)
        return error;
    telling->dir_refuses = ns_held_may_change(telling->ns, &telling->dir);
    telling->range_refuses =
        inode_range_check(request->service->conf->key, request->from->client, &names->range);
    if (!telling->dir_refuses)
        error = records_inode_changing(telling->ns->txn, names->folder);
    return telling->dir_refuses || error ? error : each_naming(&names->namings, ask, telling);
}

/* ---- one name ---------------------------------------------------------------- */

static void tell(struct telling *telling, uint32_t place, int refusal, const struct inode *inode,
                 const struct opens_handle *handle)
{
    struct wire_named named = {.place = place, .status = (uint32_t)-refusal};
    if (refusal)
        log_debug("names: %s", err_text());
    if (handle) {
        named.handle = opens_number(handle);
        request_capability(telling->request->service, inode, handle->access, &named.capability);
    }
    wire_put_named(&telling->writer, &named);
    telling->count++;
}

/* An earlier telling, whose answer was lost, has opened it. */
static struct opens_handle *find_handle(const struct telling *telling, const struct inode *inode,
                                        uint32_t access)
{
    const struct opens_file *file = opens_file_find(telling->ns->opens, inode->ino);
    if (!file)
        return NULL;
    list_each(&file->openings, link, after)
    {
        struct opens_handle *handle = list_item(link, struct opens_handle, file_link);
        if (!handle->closed && !handle->closing && handle->access == access &&
            memcmp(handle->client->id, telling->request->from->client, sizeof handle->client->id) == 0)
            return handle;
    }
    return NULL;
}

/* 1: it is not to be opened any more. */
static int open_made(struct telling *telling, struct inode *inode, uint32_t access, bool created,
                     struct opens_handle **handle)
{
    *handle = created ? NULL : find_handle(telling, inode, access);
    if (*handle)
        return 0;
    /* Who makes a file may open it whatever its mode is; later others may have set that. */
    const unsigned wanted = (access & WIRE_ACCESS_READ ? NS_MAY_READ : 0) |
                            (access & WIRE_ACCESS_WRITE ? NS_MAY_WRITE : 0);
    if (!created && !path_may(telling->ns, inode, wanted))
        return 1;
    return request_open_new(telling->request, telling->ns, inode, access, created, handle);
}

static int may_make(const struct telling *telling, const struct wire_naming *naming)
{
    const struct inode empty = {0};
    const uint32_t max = small_max(telling->request->service, &empty);
    if (telling->range_refuses || !inode_range_has(&telling->request->body.names.range, naming->ino))
        return err_set(-EACCES, "%s: its number was not given to this client", naming->name);
    if (naming->data.length > max)
        return err_set(-EFBIG, "%s: %u bytes are too many for a small file", naming->name,
                       naming->data.length);
    return 0;
}

static int make(struct telling *telling, uint32_t place, const struct wire_naming *naming)
{
    const struct ns_making making = {.name = naming->name,
                                     .ino = naming->ino,
                                     .mode = naming->mode,
                                     .made_ns = naming->made_ns,
                                     .changed_ns = naming->changed_ns,
                                     .data = naming->data.data,
                                     .size = naming->data.length};
    struct inode inode;
    struct opens_handle *handle = NULL;
    bool refused = true;
    int result = may_make(telling, naming);
    if (!result)
        result = ns_held_make(telling->ns, &telling->dir, &making, &inode, &refused);
    if (result < 0 && !refused)
        return result;
    if (result == 0) {
        telling->changes = true;
        delegations_count(&telling->request->service->delegations, DELEG_NAMES_MADE);
    }
    if (result >= 0 && naming->access) {
        int error = open_made(telling, &inode, naming->access, result == 0, &handle);
        if (error < 0)
            return error;
        if (error)
            result = err_set(-EACCES, "%s: its mode is another one by now", naming->name);
    }
    if (result < 0 || handle)
        tell(telling, place, result < 0 ? result : 0, &inode, handle);
    return 0;
}

static int drop(struct telling *telling, uint32_t place, const struct wire_naming *naming)
{
    bool refused;
    int result = ns_held_remove(telling->ns, &telling->dir, naming->name, naming->ino, &refused);
    if (result < 0 && !refused)
        return result;
    if (result < 0)
        tell(telling, place, result, NULL, NULL);
    if (result == 0) {
        telling->changes = true;
        delegations_count(&telling->request->service->delegations, DELEG_NAMES_REMOVED);
    }
    return 0;
}

static int change(struct telling *telling, uint32_t place, const struct wire_naming *naming)
{
    /* A file that is written to changes its directory no more. */
    const bool makes = naming->kind == WIRE_NAMING_MAKE;
    const int64_t changed_ns = ns_held_time(telling->ns, makes ? naming->made_ns : naming->changed_ns);
    if (telling->dir_refuses) {
        tell(telling, place, -EACCES, NULL, NULL);
        return 0;
    }
    telling->changes = false;
    int error = makes ? make(telling, place, naming) : drop(telling, place, naming);
    if (telling->changes && telling->changed_ns < changed_ns)
        telling->changed_ns = changed_ns;
    return error;
}

/* ---- all of them ---------------------------------------------------------------- */

static int answer(struct telling *telling)
{
    struct request *request = telling->request;
    struct service *service = request->service;
    const struct wire_names *names = &request->body.names;
    struct wire_names_reply reply = {.named = wire_list_of(&telling->writer, telling->count)};
    uint8_t *room = service->scratch + LIMITS_BODY_MAX / 2;
    delegations_held(request, names->folder, &reply.delegation);
    reply.late = delegations_is_late(request, names->folder);
    int error = names->wants_range && reply.delegation.given
                    ? delegations_numbers(request, telling->ns, &reply.range)
                    : 0;
    return error ? error
                 : request_answer(request, room, wire_encode_names_reply(room, LIMITS_BODY_MAX / 2, &reply));
}

int request_names(struct request *request, struct ns *ns)
{
    struct service *service = request->service;
    struct telling telling = {.request = request,
                              .ns = ns,
                              .writer = wire_writer_on(service->scratch, LIMITS_BODY_MAX / 2),
                              .changed_ns = -1};
    int error = prepare(&telling);
    if (!error)
        error = each_naming(&request->body.names.namings, change, &telling);
    if (!error && telling.changed_ns >= 0)
        error = ns_held_put(ns, &telling.dir, telling.changed_ns);
    if (error)
        return error;
    delegations_count(&service->delegations, DELEG_NAMES_REQUESTS);
    if (ns->removals)
        removals_want(&service->removals);
    return answer(&telling);
}
