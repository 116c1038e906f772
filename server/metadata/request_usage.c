/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operation on sums of usage (usage.h): who may see which, and how they are told.
 */
#include <errno.h>
#include <inttypes.h>

#include "err.h"
#include "service_internal.h"
#include "usage.h"

/* The list is encoded into the first half of the scratch memory, the answer around it into the second. */
#define LIST_BYTES_MAX (LIMITS_BODY_MAX / 2 - 64)
static_assert(LIMITS_USAGES_MAX * 40u <= LIST_BYTES_MAX, "a full list fits");

/* The list of an answer. */
struct batch {
    struct wire_writer writer;
    uint32_t count;
    bool full;
};

static uint64_t at_most_64_bits(usage_wide value)
{
    return value > UINT64_MAX ? UINT64_MAX : (uint64_t)value;
}

static int add(void *arg, uint64_t id, const struct usage *usage)
{
    struct batch *batch = arg;
    if (batch->count == LIMITS_USAGES_MAX) {
        batch->full = true;
        return 1;
    }
    wire_put_usage_sums(&batch->writer, &(struct wire_usage_sums){
                                            .id = id,
                                            .files = usage->files,
                                            .directories = usage->dirs,
                                            .bytes = at_most_64_bits(usage->bytes),
                                            .size = at_most_64_bits(usage->size),
                                        });
    batch->count++;
    return 0;
}

static int may_see(const struct ns *ns, const struct wire_usage *body)
{
    const uint32_t id = (uint32_t)body->id;
    if (ns->uid == 0 || body->kind == WIRE_USAGE_PATH)
        return 0;
    if (body->kind == WIRE_USAGE_USER)
        return id == ns->uid ? 0
                             : err_set(-EPERM, "how much user %u has is for that user and root to see", id);
    if (body->kind == WIRE_USAGE_GROUP)
        return path_in_group(ns, id)
                   ? 0
                   : err_set(-EPERM, "how much group %u has is for those in it and root to see", id);
    return err_set(-EPERM, "how much all %s have is for root to see",
                   body->kind == WIRE_USAGE_USERS ? "users" : "groups");
}

/* What is below a directory; of anything else what it is itself. */
static int of_inode(struct ns *ns, const struct inode *inode, struct usage *usage)
{
    if (inode_is_dir(inode))
        return usage_record_get(ns->txn, USAGE_DIR, inode->ino, usage);
    *usage = usage_of_inode(inode);
    return 0;
}

/* What earlier jobs of this transaction have added is to be seen, and whether the sums are right. */
static int make_ready(struct ns *ns)
{
    int error = usage_flush(ns->txn);
    int known = error ? error : usage_is_known(ns->txn);
    if (known)
        return known < 0 ? known : 0;
    return err_set(-EUCLEAN,
                   "how much there is is not known: a sum was found to be wrong, and all are counted "
                   "anew when the metadata server starts again");
}

static int gather(struct ns *ns, const struct wire_usage *body, struct batch *batch)
{
    struct usage usage;
    struct inode inode;
    int error = may_see(ns, body);
    if (!error && body->kind == WIRE_USAGE_PATH)
        error = ns_stat(ns, body->path, 0, body->flags & WEFT_STAT_NOFOLLOW, &inode);
    if (!error)
        error = make_ready(ns);
    if (error)
        return error;
    switch (body->kind) {
    case WIRE_USAGE_PATH:
        error = of_inode(ns, &inode, &usage);
        return error ? error : add(batch, inode.ino, &usage);
    case WIRE_USAGE_USER:
    case WIRE_USAGE_GROUP:
        error = usage_record_get(ns->txn, body->kind == WIRE_USAGE_USER ? USAGE_USER : USAGE_GROUP, body->id,
                                 &usage);
        return error ? error : add(batch, body->id, &usage);
    default:
        return usage_record_each(ns->txn, body->kind == WIRE_USAGE_USERS ? USAGE_USER : USAGE_GROUP, body->id,
                                 add, batch);
    }
}

int request_usage(struct request *request, struct ns *ns)
{
    const struct wire_usage *body = &request->body.usage;
    uint8_t *scratch = request->service->scratch, *answer = scratch + LIMITS_BODY_MAX / 2;
    struct batch batch = {.writer = wire_writer_on(scratch, LIST_BYTES_MAX)};
    if (body->kind == 0 || (body->kind == WIRE_USAGE_PATH) != (*body->path != 0) ||
        (body->id > UINT32_MAX && body->kind <= WIRE_USAGE_GROUP))
        return err_set(-EBADMSG, "a question about usage makes no sense");
    int error = gather(ns, body, &batch);
    if (error < 0)
        return error;
    const struct wire_usage_reply reply = {.end = !batch.full,
                                           .sums = wire_list_of(&batch.writer, batch.count)};
    return request_answer(request, answer, wire_encode_usage_reply(answer, LIMITS_BODY_MAX / 2, &reply));
}
