/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations on extended attributes.
 */
#include <errno.h>
#include <inttypes.h>

#include "err.h"
#include "service_internal.h"

/* The inode that a request is about, and how messages name it. An open file's is judged by its mode of now,
 * as Linux does, so what it was opened for does not matter. */
struct subject {
    const char *text;
    struct inode inode;
};

static int find(const struct request *request, struct ns *ns, const char *path,
                const struct wire_capability *capability, uint32_t flags, struct subject *subject)
{
    subject->text = *path ? path : "the open file";
    if (*path)
        return ns_stat(ns, path, 0, flags & WEFT_STAT_NOFOLLOW, &subject->inode);
    /* One without access may have come by a look at the number alone: nobody has reached the file by it. */
    if (!capability->access)
        return err_set(-EACCES, "the capability for inode %" PRIu64 " is not of an open file",
                       capability->ino);
    return request_find(request, ns, capability, 0, &subject->inode);
}

int request_xattr_set(struct request *request, struct ns *ns)
{
    const struct wire_xattr_set *set = &request->body.xattr_set;
    const struct store_bytes value = {set->value.data, set->value.length};
    struct subject subject;
    int error = find(request, ns, set->path, &set->capability, set->flags, &subject);
    return error ? error : ns_xattr_set(ns, &subject.inode, subject.text, set->name, value, set->flags);
}

int request_xattr_remove(struct request *request, struct ns *ns)
{
    const struct wire_xattr_remove *remove = &request->body.xattr_remove;
    struct subject subject;
    int error = find(request, ns, remove->path, &remove->capability, remove->flags, &subject);
    return error ? error : ns_xattr_remove(ns, &subject.inode, subject.text, remove->name);
}

int request_xattr_get(struct request *request, struct ns *ns)
{
    const struct wire_xattr_get *get = &request->body.xattr_get;
    uint8_t *scratch = request->service->scratch;
    struct store_bytes value;
    struct subject subject;
    int error = find(request, ns, get->path, &get->capability, get->flags, &subject);
    if (!error)
        error = ns_xattr_get(ns, &subject.inode, subject.text, get->name, &value);
    if (error)
        return error;
    const struct wire_xattr_get_reply reply = {.value = {value.data, (uint32_t)value.length}};
    return request_answer(request, scratch, wire_encode_xattr_get_reply(scratch, LIMITS_BODY_MAX, &reply));
}

int request_xattr_list(struct request *request, struct ns *ns)
{
    const struct wire_xattr_list *list = &request->body.xattr_list;
    uint8_t *scratch = request->service->scratch, *answer = scratch + LIMITS_BODY_MAX / 2;
    struct subject subject;
    size_t length;
    int error = find(request, ns, list->path, &list->capability, list->flags, &subject);
    if (!error)
        error = ns_xattr_list(ns, &subject.inode, (char *)scratch, &length);
    if (error)
        return error;
    const struct wire_xattr_list_reply reply = {.names = {scratch, (uint32_t)length}};
    return request_answer(request, answer, wire_encode_xattr_list_reply(answer, LIMITS_BODY_MAX / 2, &reply));
}
