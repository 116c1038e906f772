/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes: by path, or of an open file.
 */
#include "client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attr_cache.h"
#include "err.h"

/* All of a request but path and value. */
#define BODY_REST (WEFT_XATTR_NAME_BYTES_MAX + 256u)

/* What a request is about. */
struct subject {
    weft_session_t *session;
    const char *path; /* "": the open file that this is of: */
    struct wire_capability capability;
    uint32_t flags;
    const char *text; /* for messages */
};

static int flags_check(unsigned flags, unsigned allowed)
{
    if (flags & ~allowed)
        return err_set(-EINVAL, "the flags 0x%x are not known; see weft.h", flags & ~allowed);
    return 0;
}

static int by_path(weft_session_t *session, const char *path, unsigned flags, unsigned allowed,
                   struct subject *subject)
{
    *subject = (struct subject){.session = session, .flags = flags};
    int result = client_path(path, &subject->path);
    if (result < 0)
        return result;
    subject->text = subject->path;
    return flags_check(flags, allowed);
}

static int by_file(weft_file_t *file, unsigned flags, unsigned allowed, struct subject *subject)
{
    int result = file_check(file);
    if (result == 0)
        result = flags_check(flags, allowed);
    if (result < 0)
        return result;
    *subject = (struct subject){.session = file->session,
                                .path = "",
                                .capability = file->capability,
                                .flags = flags,
                                .text = file->path};
    return 0;
}

/* Programs ask for labels and access lists of everything, so these cost no request. */
static int name_check(const char *name)
{
    size_t length = name ? strlen(name) : 0;
    if (length == 0 || length > WEFT_XATTR_NAME_BYTES_MAX)
        return err_set(-ERANGE, "the name of an extended attribute has 1 to %u bytes",
                       WEFT_XATTR_NAME_BYTES_MAX);
    if (strncmp(name, "user.", 5) != 0 && strncmp(name, "trusted.", 8) != 0)
        return err_set(-EOPNOTSUPP, "\"%s\": extended attributes begin with \"user.\" or \"trusted.\"", name);
    return 0;
}

/* It is known that there are none, and that nothing else would be said. `reads`: a value, which wants
 * permission. */
static bool has_surely_none(const struct subject *subject, bool reads)
{
    struct weft_attr attr;
    const uint64_t ino = *subject->path ? 0 : subject->capability.ino;
    return attr_cache_find(subject->session, subject->path, ino, subject->flags, &attr) == ATTR_KNOWN &&
           !attr.xattrs && (!reads || attr_cache_allows(subject->session, &attr, R_OK));
}

/* Takes what was asked for to the caller. */
static ssize_t take(const struct wire_bytes *bytes, void *out, size_t size)
{
    if (size == 0)
        return (ssize_t)bytes->length;
    if (bytes->length > size)
        return err_set(-ERANGE, "%u bytes do not fit %zu", bytes->length, size);
    if (bytes->length)
        memcpy(out, bytes->data, bytes->length);
    return (ssize_t)bytes->length;
}

/* ---- changing ------------------------------------------------------------ */

static int tell(const struct subject *subject, uint16_t operation, const void *body, ssize_t length)
{
    struct op_call call;
    struct attr_change change;
    attr_change_begin(subject->session, &change, subject->path, NULL, subject->capability.ino);
    int result = op_call_metadata(&call, subject->session, operation, body, length);
    attr_change_end(subject->session, &change);
    op_call_free(&call);
    return client_about(result, subject->text);
}

static int set(const struct subject *subject, const char *name, const void *value, size_t size)
{
    int result = name_check(name);
    if (result < 0)
        return result;
    if (size > WEFT_XATTR_VALUE_BYTES_MAX)
        return err_set(-E2BIG, "a value of %zu bytes is too long for an extended attribute; %u are possible",
                       size, WEFT_XATTR_VALUE_BYTES_MAX);
    if (size > 0 && !value)
        return err_set(-EINVAL, "there is no value (NULL)");
    const struct wire_xattr_set set = {.path = subject->path,
                                       .capability = subject->capability,
                                       .flags = subject->flags,
                                       .name = name,
                                       .value = {value, (uint32_t)size}};
    /* Too long for the stacks of some threads. */
    const size_t room = strlen(subject->path) + size + BODY_REST;
    uint8_t *body = malloc(room);
    if (!body)
        return err_set(-ENOMEM, "no memory for an extended attribute");
    result = tell(subject, WIRE_OP_xattr_set, body, wire_encode_xattr_set(body, room, &set));
    free(body);
    return result;
}

int weft_xattr_set(weft_session_t *session, const char *path, const char *name, const void *value,
                   size_t size, unsigned flags)
{
    struct subject subject;
    int result =
        by_path(session, path, flags, WEFT_STAT_NOFOLLOW | WEFT_XATTR_CREATE | WEFT_XATTR_REPLACE, &subject);
    return (int)client_result(__func__, result < 0 ? result : set(&subject, name, value, size));
}

int weft_file_xattr_set(weft_file_t *file, const char *name, const void *value, size_t size, unsigned flags)
{
    struct subject subject;
    int result = by_file(file, flags, WEFT_XATTR_CREATE | WEFT_XATTR_REPLACE, &subject);
    return (int)client_result(__func__, result < 0 ? result : set(&subject, name, value, size));
}

static int take_away(const struct subject *subject, const char *name)
{
    uint8_t body[WEFT_PATH_BYTES_MAX + BODY_REST];
    const struct wire_xattr_remove remove = {
        .path = subject->path, .capability = subject->capability, .flags = subject->flags, .name = name};
    int result = name_check(name);
    if (result < 0)
        return result;
    return tell(subject, WIRE_OP_xattr_remove, body, wire_encode_xattr_remove(body, sizeof body, &remove));
}

int weft_xattr_remove(weft_session_t *session, const char *path, const char *name, unsigned flags)
{
    struct subject subject;
    int result = by_path(session, path, flags, WEFT_STAT_NOFOLLOW, &subject);
    return (int)client_result(__func__, result < 0 ? result : take_away(&subject, name));
}

int weft_file_xattr_remove(weft_file_t *file, const char *name)
{
    struct subject subject;
    int result = by_file(file, 0, 0, &subject);
    return (int)client_result(__func__, result < 0 ? result : take_away(&subject, name));
}

/* ---- looking --------------------------------------------------------------- */

static ssize_t get(const struct subject *subject, const char *name, void *value, size_t size)
{
    uint8_t body[WEFT_PATH_BYTES_MAX + BODY_REST];
    const struct wire_xattr_get get = {
        .path = subject->path, .capability = subject->capability, .flags = subject->flags, .name = name};
    struct wire_xattr_get_reply reply;
    struct op_call call;
    ssize_t result = name_check(name);
    if (result < 0)
        return result;
    if (size > 0 && !value)
        return err_set(-EINVAL, "there is no place for the value (NULL)");
    if (has_surely_none(subject, true))
        return err_set(-ENODATA, "%s: there is no extended attribute \"%s\"", subject->text, name);
    result = op_call_metadata(&call, subject->session, WIRE_OP_xattr_get, body,
                              wire_encode_xattr_get(body, sizeof body, &get));
    if (result == 0)
        result = wire_decode_xattr_get_reply(call.reply, call.reply_length, &reply);
    if (result == 0)
        result = take(&reply.value, value, size);
    op_call_free(&call);
    return result < 0 ? client_about((int)result, subject->text) : result;
}

ssize_t weft_xattr_get(weft_session_t *session, const char *path, const char *name, void *value, size_t size,
                       unsigned flags)
{
    struct subject subject;
    ssize_t result = by_path(session, path, flags, WEFT_STAT_NOFOLLOW, &subject);
    return client_result(__func__, result < 0 ? result : get(&subject, name, value, size));
}

ssize_t weft_file_xattr_get(weft_file_t *file, const char *name, void *value, size_t size)
{
    struct subject subject;
    ssize_t result = by_file(file, 0, 0, &subject);
    return client_result(__func__, result < 0 ? result : get(&subject, name, value, size));
}

static ssize_t list(const struct subject *subject, char *names, size_t size)
{
    uint8_t body[WEFT_PATH_BYTES_MAX + BODY_REST];
    const struct wire_xattr_list list = {
        .path = subject->path, .capability = subject->capability, .flags = subject->flags};
    struct wire_xattr_list_reply reply;
    struct op_call call;
    if (size > 0 && !names)
        return err_set(-EINVAL, "there is no place for the names (NULL)");
    if (has_surely_none(subject, false))
        return 0;
    ssize_t result = op_call_metadata(&call, subject->session, WIRE_OP_xattr_list, body,
                                      wire_encode_xattr_list(body, sizeof body, &list));
    if (result == 0)
        result = wire_decode_xattr_list_reply(call.reply, call.reply_length, &reply);
    if (result == 0)
        result = take(&reply.names, names, size);
    op_call_free(&call);
    return result < 0 ? client_about((int)result, subject->text) : result;
}

ssize_t weft_xattr_list(weft_session_t *session, const char *path, char *names, size_t size, unsigned flags)
{
    struct subject subject;
    ssize_t result = by_path(session, path, flags, WEFT_STAT_NOFOLLOW, &subject);
    return client_result(__func__, result < 0 ? result : list(&subject, names, size));
}

ssize_t weft_file_xattr_list(weft_file_t *file, char *names, size_t size)
{
    struct subject subject;
    ssize_t result = by_file(file, 0, 0, &subject);
    return client_result(__func__, result < 0 ? result : list(&subject, names, size));
}
