/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request_gone.c: tells storage servers which inodes there will never be again. They remove what they have of
 * these, so that a wrong yes would be somebody's data; a wrong no is asked again in an hour.
 *
 * Numbers are used once, and it is durable that one was taken before anybody is told it. So what has no inode
 * and is below the next number stays that way, whatever crashes. Files that are open keep their inode, also
 * across a restart (ns_drop()); that is not relied on alone.
 *
 * The exception: a file of a held directory that was told, removed by others while its holder was not heard,
 * and is told again since that one was not answered (docs/protocol.md, "Held folders"). No objects of its
 * number are there before it has spilled, which takes a request of its own after that.
 */
#include <errno.h>

#include "err.h"
#include "log.h"
#include "service_internal.h"

/* Objects of files on the list of removals are asked for anyhow, and go there in an order that the members of
 * a group agree on. */
static bool is_gone(const struct service *service, struct ns *ns, uint64_t ino, uint64_t bound)
{
    struct inode inode;
    return ino < bound && !opens_file_find(service->opens, ino) &&
           records_inode_get(ns->txn, ino, &inode) == -ENOENT &&
           records_removal_find(ns->txn, ino) == -ENOENT;
}

int request_inodes_gone(struct request *request, struct ns *ns)
{
    struct service *service = request->service;
    const struct wire_inodes_gone *body = &request->body.inodes_gone;
    struct wire_reader reader = wire_list_reader(&body->inos);
    uint8_t list[4 * LIMITS_SWEEP_INODES_MAX];
    struct wire_writer writer = wire_writer_on(list, sizeof list);
    uint32_t count = 0;
    uint64_t bound = 0;
    const struct map_server *server;
    int error = members_find_up(service_map(service), body->name, &server);
    if (!error)
        error = records_ino_bound(ns->txn, ns->inos, &bound);
    if (error)
        return error;
    for (uint32_t i = 0; i < body->inos.count; i++) {
        struct wire_inode_number number;
        wire_get_inode_number(&reader, &number);
        if (reader.bad)
            break;
        /* Just after a start there may be clients that are yet to come back. */
        if (ns->may_be_held || !is_gone(service, ns, number.ino, bound))
            continue;
        wire_put_number(&writer, &(struct wire_number){.value = i});
        count++;
    }
    error = wire_read_all(&reader, "list of inodes");
    if (error)
        return error;
    struct wire_inodes_gone_reply reply = {.gone = wire_list_of(&writer, count)};
    return request_answer(request, service->scratch,
                          wire_encode_inodes_gone_reply(service->scratch, LIMITS_BODY_MAX, &reply));
}
