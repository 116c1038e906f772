/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared pointer of an opening, which the metadata server keeps.
 */
#include "client.h"

#include <errno.h>

#include "err.h"

static int pointer_move(weft_file_t *file, bool set, int64_t value, int64_t *before)
{
    uint8_t body[256];
    struct op_call call;
    struct wire_pointer_reply reply;
    int result = file_check(file);
    if (result < 0)
        return result;
    struct wire_pointer pointer = {
        .handle = file->handle,
        .capability = file->capability,
        .set = set,
        .value = value,
    };
    result = op_call_metadata(&call, file->session, WIRE_OP_pointer, body,
                              wire_encode_pointer(body, sizeof body, &pointer));
    if (result == 0)
        result = wire_decode_pointer_reply(call.reply, call.reply_length, &reply);
    op_call_free(&call);
    if (result < 0)
        return client_about(result, file->path);
    if (before)
        *before = reply.before;
    return 0;
}

int weft_file_pointer_add(weft_file_t *file, int64_t add, int64_t *before)
{
    return (int)client_result(__func__, pointer_move(file, false, add, before));
}

int weft_file_pointer_set(weft_file_t *file, int64_t value)
{
    return (int)client_result(__func__, pointer_move(file, true, value, NULL));
}
