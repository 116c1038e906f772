/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much there is below a directory, and of whom.
 */
#include "client.h"

#include <errno.h>

#include "err.h"

/* A question and its answer, which stays until ask_end(). */
struct asking {
    struct op_call call;
    struct wire_usage_reply reply;
    struct wire_reader reader;
};

static int ask(struct asking *asking, weft_session_t *session, const struct wire_usage *usage)
{
    uint8_t body[WEFT_PATH_BYTES_MAX + 64];
    int result = op_call_metadata(&asking->call, session, WIRE_OP_usage, body,
                                  wire_encode_usage(body, sizeof body, usage));
    if (result == 0)
        result = wire_decode_usage_reply(asking->call.reply, asking->call.reply_length, &asking->reply);
    asking->reader = wire_list_reader(&asking->reply.sums);
    return result;
}

static void ask_end(struct asking *asking)
{
    op_call_free(&asking->call);
}

static int take(struct asking *asking, struct weft_usage *out)
{
    struct wire_usage_sums sums;
    wire_get_usage_sums(&asking->reader, &sums);
    if (asking->reader.bad)
        return err_set(-EPROTO, "the metadata server sent sums that make no sense");
    *out = (struct weft_usage){.id = sums.id,
                               .files = sums.files,
                               .directories = sums.directories,
                               .bytes = sums.bytes,
                               .size = sums.size};
    return 0;
}

static int ask_one(weft_session_t *session, const struct wire_usage *usage, struct weft_usage *out)
{
    struct asking asking = {0};
    if (!out)
        return err_set(-EINVAL, "there is no place for the answer (NULL)");
    int result = ask(&asking, session, usage);
    if (result == 0)
        result = take(&asking, out);
    ask_end(&asking);
    return result;
}

static int of_path(weft_session_t *session, const char *path, unsigned flags, struct weft_usage *out)
{
    struct wire_usage usage = {.kind = WIRE_USAGE_PATH, .flags = flags};
    int result = client_path(path, &usage.path);
    if (result < 0)
        return result;
    if (flags & ~(unsigned)WEFT_STAT_NOFOLLOW)
        return err_set(-EINVAL, "%s: the flags %#x are not known", usage.path, flags);
    result = ask_one(session, &usage, out);
    return result < 0 ? client_about(result, usage.path) : 0;
}

int weft_usage(weft_session_t *session, const char *path, unsigned flags, struct weft_usage *out)
{
    return (int)client_result(__func__, of_path(session, path, flags, out));
}

static int kind_check(unsigned kind)
{
    return kind == WEFT_USAGE_USER || kind == WEFT_USAGE_GROUP
               ? 0
               : err_set(-EINVAL, "sums are kept for users and for groups, and there is no kind %u", kind);
}

static int of_owner(weft_session_t *session, unsigned kind, uint32_t id, struct weft_usage *out)
{
    const struct wire_usage usage = {
        .kind = kind == WEFT_USAGE_USER ? WIRE_USAGE_USER : WIRE_USAGE_GROUP, .path = "", .id = id};
    int result = kind_check(kind);
    return result < 0 ? result : ask_one(session, &usage, out);
}

int weft_usage_of(weft_session_t *session, unsigned kind, uint32_t id, struct weft_usage *out)
{
    return (int)client_result(__func__, of_owner(session, kind, id, out));
}

/* One answer's; *next is where the one after it begins. */
static int each_of_batch(struct asking *asking, weft_usage_fn *each, void *arg, uint64_t *next)
{
    for (uint32_t i = 0; i < asking->reply.sums.count; i++) {
        struct weft_usage usage;
        int result = take(asking, &usage);
        if (result == 0 && usage.id < *next)
            result = err_set(-EPROTO, "the metadata server sent sums out of order");
        if (result < 0)
            return result;
        *next = usage.id + 1;
        each(arg, &usage);
    }
    return 0;
}

static int of_each(weft_session_t *session, unsigned kind, weft_usage_fn *each, void *arg)
{
    struct wire_usage usage = {.kind = kind == WEFT_USAGE_USER ? WIRE_USAGE_USERS : WIRE_USAGE_GROUPS,
                               .path = ""};
    bool end = false;
    int result = kind_check(kind);
    if (result == 0 && !each)
        result = err_set(-EINVAL, "there is nobody to tell (NULL)");
    while (result == 0 && !end) {
        struct asking asking = {0};
        result = ask(&asking, session, &usage);
        if (result == 0)
            result = each_of_batch(&asking, each, arg, &usage.id);
        end = asking.reply.end || asking.reply.sums.count == 0;
        ask_end(&asking);
    }
    return result;
}

int weft_usage_each(weft_session_t *session, unsigned kind, weft_usage_fn *each, void *arg)
{
    return (int)client_result(__func__, of_each(session, kind, each, arg));
}
