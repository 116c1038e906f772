/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "attr_cache.h"
#include "err.h"
#include "held.h"

#define BODY_PATH  (WEFT_PATH_BYTES_MAX + CLOSES_BYTES_MAX + 256u)
#define BODY_PATHS (2 * WEFT_PATH_BYTES_MAX + CLOSES_BYTES_MAX + 256u)

/* Names in these folders are about to change. */
static void leave_held(weft_session_t *session, const char *path, const char *other)
{
    held_leave(session, path);
    if (other)
        held_leave(session, other);
}

/* A request whose answer is only that it was done. `other` is another path that it may change; NULL: there
 * is none. */
static int tell(weft_session_t *session, uint16_t operation, const char *path, const char *other,
                const void *body, ssize_t length)
{
    struct op_call call;
    struct attr_change change;
    leave_held(session, path, other);
    attr_change_begin(session, &change, path, other, 0);
    int result = op_call_metadata(&call, session, operation, body, length);
    attr_change_end(session, &change);
    op_call_free(&call);
    return client_about(result, path);
}

/* The same, with closed handles that ride. */
static int tell_riding(weft_session_t *session, struct closes_ride *ride, uint16_t operation,
                       const char *path, const char *other, const void *body, ssize_t length)
{
    struct op_call call;
    struct attr_change change;
    leave_held(session, path, other);
    attr_change_begin(session, &change, path, other, 0);
    int result = closes_call(&call, session, ride, operation, body, length);
    attr_change_end(session, &change);
    op_call_free(&call);
    return client_about(result, path);
}

static int access_path(weft_session_t *session, const char *path, int mode)
{
    struct wire_access access = {.mode = (uint32_t)mode};
    uint8_t body[BODY_PATH];
    int result = client_path(path, &access.path);
    if (result < 0)
        return result;
    if (mode & ~(R_OK | W_OK | X_OK))
        return err_set(-EINVAL, "the mode 0x%x is none of R_OK, W_OK, X_OK and F_OK", mode);
    result = attr_access(session, access.path, mode);
    if (result <= 0)
        return client_about(result, access.path);
    struct op_call call;
    result = op_call_metadata(&call, session, WIRE_OP_access, body,
                              wire_encode_access(body, sizeof body, &access));
    op_call_free(&call);
    return client_about(result, access.path);
}

int weft_access(weft_session_t *session, const char *path, int mode)
{
    return (int)client_result(__func__, access_path(session, path, mode));
}

static int make_dir(weft_session_t *session, const char *path, mode_t mode)
{
    struct wire_mkdir mkdir = {.mode = mode & 07777};
    uint8_t body[BODY_PATH];
    int result = client_path(path, &mkdir.path);
    if (result < 0)
        return result;
    return tell(session, WIRE_OP_mkdir, mkdir.path, NULL, body, wire_encode_mkdir(body, sizeof body, &mkdir));
}

int weft_mkdir(weft_session_t *session, const char *path, mode_t mode)
{
    return (int)client_result(__func__, make_dir(session, path, mode));
}

static int make_node(weft_session_t *session, const char *path, mode_t mode, dev_t rdev)
{
    struct wire_mknod mknod = {.mode = mode & (S_IFMT | 07777), .rdev = rdev};
    uint8_t body[BODY_PATH];
    int result = client_path(path, &mknod.path);
    if (result < 0)
        return result;
    return tell(session, WIRE_OP_mknod, mknod.path, NULL, body, wire_encode_mknod(body, sizeof body, &mknod));
}

int weft_mknod(weft_session_t *session, const char *path, mode_t mode, dev_t rdev)
{
    return (int)client_result(__func__, make_node(session, path, mode, rdev));
}

static int remove_dir(weft_session_t *session, const char *path)
{
    struct wire_rmdir rmdir;
    uint8_t body[BODY_PATH];
    int result = client_path(path, &rmdir.path);
    if (result < 0)
        return result;
    return tell(session, WIRE_OP_rmdir, rmdir.path, NULL, body, wire_encode_rmdir(body, sizeof body, &rmdir));
}

int weft_rmdir(weft_session_t *session, const char *path)
{
    return (int)client_result(__func__, remove_dir(session, path));
}

static int remove_name(weft_session_t *session, const char *path)
{
    struct wire_unlink unlink;
    uint8_t body[BODY_PATH];
    struct closes_ride ride;
    int result = client_path(path, &unlink.path);
    if (result < 0)
        return result;
    result = held_remove(session, unlink.path);
    if (result)
        return result < 0 ? client_about(result, unlink.path) : 0;
    closes_board(session, &ride);
    unlink.closes = ride.list;
    return tell_riding(session, &ride, WIRE_OP_unlink, unlink.path, NULL, body,
                       wire_encode_unlink(body, sizeof body, &unlink));
}

int weft_unlink(weft_session_t *session, const char *path)
{
    return (int)client_result(__func__, remove_name(session, path));
}

static int rename_path(weft_session_t *session, const char *from, const char *to)
{
    struct wire_rename rename;
    uint8_t body[BODY_PATHS];
    struct closes_ride ride;
    int result = client_path(from, &rename.from);
    if (result == 0)
        result = client_path(to, &rename.to);
    if (result < 0)
        return result;
    closes_board(session, &ride);
    rename.closes = ride.list;
    return tell_riding(session, &ride, WIRE_OP_rename, rename.from, rename.to, body,
                       wire_encode_rename(body, sizeof body, &rename));
}

int weft_rename(weft_session_t *session, const char *from, const char *to)
{
    return (int)client_result(__func__, rename_path(session, from, to));
}

static int symlink_path(weft_session_t *session, const char *target, const char *path)
{
    struct wire_symlink symlink = {.target = target};
    uint8_t body[BODY_PATHS];
    int result = client_path(path, &symlink.path);
    if (result < 0)
        return result;
    if (!target || target[0] == '\0')
        return err_set(-ENOENT, "%.300s: the target of a symbolic link must not be empty", path);
    if (strlen(target) > LIMITS_SYMLINK_MAX)
        return err_set(-ENAMETOOLONG, "%.300s: the target of a symbolic link has at most %u bytes", path,
                       LIMITS_SYMLINK_MAX);
    return tell(session, WIRE_OP_symlink, symlink.path, NULL, body,
                wire_encode_symlink(body, sizeof body, &symlink));
}

int weft_symlink(weft_session_t *session, const char *target, const char *path)
{
    return (int)client_result(__func__, symlink_path(session, target, path));
}

static int link_path(weft_session_t *session, const char *from, const char *to)
{
    struct wire_link link;
    uint8_t body[BODY_PATHS];
    int result = client_path(from, &link.from);
    if (result == 0)
        result = client_path(to, &link.to);
    if (result < 0)
        return result;
    return tell(session, WIRE_OP_link, link.from, link.to, body, wire_encode_link(body, sizeof body, &link));
}

int weft_link(weft_session_t *session, const char *from, const char *to)
{
    return (int)client_result(__func__, link_path(session, from, to));
}

static ssize_t readlink_path(weft_session_t *session, const char *path, char *buffer, size_t size)
{
    struct wire_readlink readlink;
    struct wire_readlink_reply reply;
    uint8_t body[BODY_PATH];
    struct op_call call;
    ssize_t result = client_path(path, &readlink.path);
    if (result < 0)
        return result;
    if (size > 0 && !buffer)
        return err_set(-EINVAL, "there is no place for the target (NULL)");
    result = op_call_metadata(&call, session, WIRE_OP_readlink, body,
                              wire_encode_readlink(body, sizeof body, &readlink));
    if (result == 0)
        result = wire_decode_readlink_reply(call.reply, call.reply_length, &reply);
    if (result == 0) {
        size_t length = strlen(reply.target);
        result = (ssize_t)(length < size ? length : size);
        if (result > 0)
            memcpy(buffer, reply.target, (size_t)result);
    }
    op_call_free(&call);
    return result < 0 ? client_about((int)result, readlink.path) : result;
}

ssize_t weft_readlink(weft_session_t *session, const char *path, char *buffer, size_t size)
{
    return client_result(__func__, readlink_path(session, path, buffer, size));
}

static int statfs_ask(weft_session_t *session, struct weft_statfs *out)
{
    struct wire_statfs_reply reply;
    struct op_call call;
    if (!out)
        return err_set(-EINVAL, "there is no place for the answer (NULL)");
    int result = op_call_metadata(&call, session, WIRE_OP_statfs, NULL, 0);
    if (result == 0)
        result = wire_decode_statfs_reply(call.reply, call.reply_length, &reply);
    op_call_free(&call);
    if (result < 0)
        return result;
    *out = (struct weft_statfs){
        .bytes_total = reply.bytes_total,
        .bytes_free = reply.bytes_free,
        .files = reply.files,
        .targets = reply.targets,
        .targets_up = reply.targets_up,
        .groups = reply.groups,
        .groups_syncing = reply.groups_syncing,
        .groups_lacking = reply.groups_lacking,
        .replicas = reply.replicas,
        .servers = reply.servers,
        .servers_up = reply.servers_up,
        .map_version = reply.map_version,
    };
    return 0;
}

int weft_statfs(weft_session_t *session, struct weft_statfs *out)
{
    return (int)client_result(__func__, statfs_ask(session, out));
}

static int set_layout(weft_session_t *session, const char *path, const struct weft_layout *layout)
{
    struct wire_layout_set set;
    struct attr_layout wanted;
    uint8_t body[BODY_PATH];
    int result = client_path(path, &set.path);
    if (result < 0)
        return result;
    if (!layout)
        return err_set(-EINVAL, "the layout is NULL");
    result = attr_layout_to_wire(layout, &wanted);
    if (result < 0)
        return client_about(result, set.path);
    set.layout = wanted.layout;
    set.pool = wanted.pool;
    set.placement = wanted.placement;
    set.host = wanted.host;
    return tell(session, WIRE_OP_layout_set, set.path, NULL, body,
                wire_encode_layout_set(body, sizeof body, &set));
}

int weft_layout_set(weft_session_t *session, const char *path, const struct weft_layout *layout)
{
    return (int)client_result(__func__, set_layout(session, path, layout));
}

/* ---- hints of a directory ------------------------------------------------------- */

static int set_hints(weft_session_t *session, const char *path, const char *text)
{
    struct wire_hints_set set = {.hints = text};
    uint8_t body[BODY_PATH + WEFT_HINTS_BYTES_MAX];
    int result = client_path(path, &set.path);
    if (result < 0)
        return result;
    if (!text)
        return err_set(-EINVAL, "there are no hints (NULL); \"\" takes them away");
    size_t length = strlen(text);
    if (length > WEFT_HINTS_BYTES_MAX)
        return err_set(-EINVAL, "hints of %zu bytes are too long; a directory keeps at most %u", length,
                       WEFT_HINTS_BYTES_MAX);
    return tell(session, WIRE_OP_hints_set, set.path, NULL, body,
                wire_encode_hints_set(body, sizeof body, &set));
}

int weft_hints_set(weft_session_t *session, const char *path, const char *text)
{
    return (int)client_result(__func__, set_hints(session, path, text));
}

static ssize_t get_hints(weft_session_t *session, const char *path, char *text, size_t size)
{
    struct wire_hints_get get;
    struct wire_hints_get_reply reply;
    uint8_t body[BODY_PATH];
    struct op_call call;
    ssize_t result = client_path(path, &get.path);
    if (result < 0)
        return result;
    if (size > 0 && !text)
        return err_set(-EINVAL, "there is no place for the hints (NULL)");
    result = op_call_metadata(&call, session, WIRE_OP_hints_get, body,
                              wire_encode_hints_get(body, sizeof body, &get));
    if (result == 0)
        result = wire_decode_hints_get_reply(call.reply, call.reply_length, &reply);
    if (result == 0) {
        result = (ssize_t)strlen(reply.hints);
        if ((size_t)result < size)
            memcpy(text, reply.hints, (size_t)result + 1);
        else
            result = err_set(-ERANGE, "hints of %zd bytes do not fit %zu", result, size);
    }
    op_call_free(&call);
    return result < 0 ? client_about((int)result, get.path) : result;
}

ssize_t weft_hints_get(weft_session_t *session, const char *path, char *text, size_t size)
{
    return client_result(__func__, get_hints(session, path, text, size));
}
