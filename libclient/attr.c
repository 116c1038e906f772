/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "attr_cache.h"
#include "err.h"
#include "hostname.h"

/* ---- to and from the wire ------------------------------------------------------ */

void attr_placement_text(uint8_t placement, const char *host, char *text)
{
    static const char *const names[] = {"", "spread", "local"};
    if (placement == WIRE_PLACEMENT_HOST)
        snprintf(text, WEFT_PLACEMENT_BYTES_MAX + 1, "host:%.*s", (int)WEFT_HOST_BYTES_MAX, host);
    else
        snprintf(text, WEFT_PLACEMENT_BYTES_MAX + 1, "%s", names[placement]);
}

static int placement_to_wire(const struct weft_layout *layout, struct attr_layout *wire)
{
    const char *host;
    if (memchr(layout->placement, 0, sizeof layout->placement) == NULL)
        return err_set(-EINVAL, "a placement has at most %u bytes", WEFT_PLACEMENT_BYTES_MAX);
    if (!*layout->placement)
        return 0;
    if (!hostname_placement_parse(layout->placement, &wire->placement, &host))
        return err_set(-EINVAL, "\"%s\" is no placement; there are spread, local and host:NAME",
                       layout->placement);
    if (wire->placement == WIRE_PLACEMENT_HOST)
        memcpy(wire->host, host, strlen(host) + 1);
    return 0;
}

int attr_layout_to_wire(const struct weft_layout *layout, struct attr_layout *wire)
{
    *wire = (struct attr_layout){.pool = ""};
    if (!layout)
        return 0;
    if (layout->chunk_size != 0 &&
        (layout->chunk_size < WEFT_CHUNK_BYTES_MIN || layout->chunk_size > WEFT_CHUNK_BYTES_MAX))
        return err_set(-EINVAL, "a chunk size of %" PRIu64 " bytes is not possible; choose one from %u to %u",
                       layout->chunk_size, WEFT_CHUNK_BYTES_MIN, WEFT_CHUNK_BYTES_MAX);
    if (memchr(layout->pool, 0, sizeof layout->pool) == NULL)
        return err_set(-EINVAL, "the name of a pool has at most %u bytes", WEFT_POOL_BYTES_MAX);
    wire->layout.chunk_size = layout->chunk_size;
    /* More than there are means all of them; the metadata server cuts it to size. */
    wire->layout.stripe_count =
        layout->stripe_count < LIMITS_GROUPS_MAX ? layout->stripe_count : LIMITS_GROUPS_MAX;
    wire->pool = layout->pool;
    return placement_to_wire(layout, wire);
}

static void layout_from_wire(const struct wire_attr *wire, struct weft_layout *layout)
{
    *layout = (struct weft_layout){
        .chunk_size = wire->layout.chunk_size,
        .stripe_count = wire->layout.stripe_count,
        .group_count = wire->layout.group_count,
        .seed = wire->layout.seed,
    };
    snprintf(layout->pool, sizeof layout->pool, "%s", wire->pool);
    attr_placement_text(wire->placement, wire->host, layout->placement);
}

void attr_from_wire(const struct wire_attr *wire, struct weft_attr *attr)
{
    *attr = (struct weft_attr){
        .ino = wire->ino,
        .size = wire->size,
        .bytes = wire->bytes,
        .mode = wire->mode,
        .nlink = wire->nlink,
        .uid = wire->uid,
        .gid = wire->gid,
        .atime_ns = wire->atime_ns,
        .mtime_ns = wire->mtime_ns,
        .ctime_ns = wire->ctime_ns,
        .rdev = wire->rdev,
        .small = wire->small,
        .xattrs = wire->xattrs,
    };
    layout_from_wire(wire, &attr->layout);
}

/* ---- asking --------------------------------------------------------------------- */

static int absent(const char *path)
{
    return err_set(-ENOENT, "%s: no such file or directory", path);
}

/* What an answer tells; `sized`: with the size of a file that is written, for which storage servers are
 * asked. */
static int take(weft_session_t *session, const struct op_call *call, const struct wire_stat *stat,
                const struct attr_ticket *ticket, bool sized, struct weft_attr *attr)
{
    struct wire_stat_reply reply;
    int result = wire_decode_stat_reply(call->reply, call->reply_length, &reply);
    if (result == 0 && sized)
        result = size_complete(session, &reply.attr, &reply.capability);
    if (result)
        return result;
    attr_from_wire(&reply.attr, attr);
    if (reply.absent)
        attr_cache_learn_absent(session, ticket, stat->path, &reply.delegation, attr);
    else
        attr_cache_learn(session, ticket, stat->path, NULL, &reply.delegation, attr);
    return reply.absent ? absent(stat->path) : 0;
}

static int ask(weft_session_t *session, struct wire_stat *stat, const struct attr_ticket *ticket, bool sized,
               struct weft_attr *attr)
{
    uint8_t body[WEFT_PATH_BYTES_MAX + 64 + CLOSES_BYTES_MAX];
    struct op_call call;
    struct closes_ride ride;
    closes_board(session, &ride);
    stat->closes = ride.list;
    int result =
        closes_call(&call, session, &ride, WIRE_OP_stat, body, wire_encode_stat(body, sizeof body, stat));
    if (result == 0)
        result = take(session, &call, stat, ticket, sized, attr);
    op_call_free(&call);
    return result;
}

int attr_ask(weft_session_t *session, const char *path, uint64_t ino, unsigned flags, struct weft_attr *attr)
{
    struct wire_stat stat = {.path = path, .ino = ino, .flags = flags};
    struct attr_ticket ticket;
    switch (attr_cache_find(session, path, ino, flags, attr)) {
    case ATTR_KNOWN:
        return 0;
    case ATTR_ABSENT:
        return absent(path);
    case ATTR_UNKNOWN:
        break;
    }
    if (attr_cache_ask(session, path, &ticket))
        stat.flags |= WIRE_STAT_DELEGATE;
    return ask(session, &stat, &ticket, true, attr);
}

/* ---- permissions ---------------------------------------------------------------- */

static int allowed(weft_session_t *session, const char *path, int mode, const struct weft_attr *attr)
{
    if (attr_cache_allows(session, attr, (unsigned)mode))
        return 0;
    return err_set(-EACCES, "%s: permission denied: its owner is %u:%u, and its mode %04o", path, attr->uid,
                   attr->gid, attr->mode & 07777);
}

int attr_access(weft_session_t *session, const char *path, int mode)
{
    struct wire_stat stat = {.path = path, .flags = WIRE_STAT_DELEGATE};
    struct attr_ticket ticket;
    struct weft_attr attr;
    const enum attr_known known = attr_cache_find(session, path, 0, 0, &attr);
    if (known == ATTR_ABSENT)
        return absent(path);
    if (known == ATTR_UNKNOWN && !attr_cache_ask(session, path, &ticket))
        return 1;
    int result = known == ATTR_KNOWN ? 0 : ask(session, &stat, &ticket, false, &attr);
    return result ? result : allowed(session, path, mode, &attr);
}

static int stat_path(weft_session_t *session, const char *path, unsigned flags, struct weft_attr *attr)
{
    const char *inside;
    int result = client_path(path, &inside);
    if (result < 0)
        return result;
    if (!attr)
        return err_set(-EINVAL, "there is no place for the attributes (NULL)");
    if (flags & ~WEFT_STAT_NOFOLLOW)
        return err_set(-EINVAL, "the flags 0x%x are not known; WEFT_STAT_NOFOLLOW is", flags);
    return client_about(attr_ask(session, inside, 0, flags, attr), inside);
}

int weft_stat(weft_session_t *session, const char *path, unsigned flags, struct weft_attr *attr)
{
    return (int)client_result(__func__, stat_path(session, path, flags, attr));
}

static struct timespec time_of(int64_t ns)
{
    struct timespec time = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    if (time.tv_nsec < 0) {
        time.tv_sec--;
        time.tv_nsec += 1000000000;
    }
    return time;
}

void weft_attr_stat(const struct weft_attr *attr, struct stat *stat)
{
    *stat = (struct stat){
        .st_ino = attr->ino,
        .st_mode = attr->mode,
        .st_nlink = attr->nlink,
        .st_uid = attr->uid,
        .st_gid = attr->gid,
        .st_rdev = (dev_t)attr->rdev,
        .st_size = (off_t)attr->size,
        .st_blocks = (blkcnt_t)((attr->bytes + 511) / 512),
        .st_blksize = 1 << 20,
        .st_atim = time_of(attr->atime_ns),
        .st_mtim = time_of(attr->mtime_ns),
        .st_ctim = time_of(attr->ctime_ns),
    };
}

/* ---- changing --------------------------------------------------------------------- */

static int set(weft_session_t *session, struct wire_setattr *change)
{
    uint8_t body[WEFT_PATH_BYTES_MAX + 128 + CLOSES_BYTES_MAX];
    struct op_call call;
    struct closes_ride ride;
    struct attr_change known;
    attr_change_begin(session, &known, change->path, NULL, change->ino);
    closes_board(session, &ride);
    change->closes = ride.list;
    int result = closes_call(&call, session, &ride, WIRE_OP_setattr, body,
                             wire_encode_setattr(body, sizeof body, change));
    attr_change_end(session, &known);
    op_call_free(&call);
    return result;
}

static int set_path(weft_session_t *session, const char *path, unsigned flags, struct wire_setattr *change)
{
    int result = client_path(path, &change->path);
    if (result < 0)
        return result;
    change->flags = flags;
    return client_about(set(session, change), change->path);
}

static int set_file(weft_file_t *file, struct wire_setattr *change)
{
    int result = file_check(file);
    if (result < 0)
        return result;
    change->path = "";
    change->ino = file->capability.ino;
    return client_about(set(file->session, change), file->path);
}

int weft_chmod(weft_session_t *session, const char *path, mode_t mode)
{
    struct wire_setattr change = {.mask = WIRE_SETATTR_MODE, .mode = mode & 07777};
    return (int)client_result(__func__, set_path(session, path, 0, &change));
}

int weft_file_chmod(weft_file_t *file, mode_t mode)
{
    struct wire_setattr change = {.mask = WIRE_SETATTR_MODE, .mode = mode & 07777};
    return (int)client_result(__func__, set_file(file, &change));
}

static struct wire_setattr owner_change(uid_t uid, gid_t gid)
{
    struct wire_setattr change = {0};
    if (uid != (uid_t)-1) {
        change.mask |= WIRE_SETATTR_UID;
        change.uid = uid;
    }
    if (gid != (gid_t)-1) {
        change.mask |= WIRE_SETATTR_GID;
        change.gid = gid;
    }
    return change;
}

int weft_chown(weft_session_t *session, const char *path, uid_t uid, gid_t gid)
{
    struct wire_setattr change = owner_change(uid, gid);
    return (int)client_result(__func__, set_path(session, path, 0, &change));
}

int weft_lchown(weft_session_t *session, const char *path, uid_t uid, gid_t gid)
{
    struct wire_setattr change = owner_change(uid, gid);
    return (int)client_result(__func__, set_path(session, path, WEFT_STAT_NOFOLLOW, &change));
}

int weft_file_chown(weft_file_t *file, uid_t uid, gid_t gid)
{
    struct wire_setattr change = owner_change(uid, gid);
    return (int)client_result(__func__, set_file(file, &change));
}

static int time_to_ns(const struct timespec *time, int64_t *ns)
{
    struct timespec now;
    if (time->tv_nsec == UTIME_NOW) {
        clock_gettime(CLOCK_REALTIME, &now);
        time = &now;
    }
    if (time->tv_nsec < 0 || time->tv_nsec >= 1000000000)
        return err_set(-EINVAL, "a time has %ld nanoseconds; 0 to 999999999 are possible", time->tv_nsec);
    if (__builtin_mul_overflow((int64_t)time->tv_sec, INT64_C(1000000000), ns) ||
        __builtin_add_overflow(*ns, (int64_t)time->tv_nsec, ns))
        return err_set(-EINVAL, "a time of %lld s is out of range", (long long)time->tv_sec);
    return 0;
}

static int times_change(const struct timespec times[2], struct wire_setattr *change)
{
    bool set_access = !times || times[0].tv_nsec != UTIME_OMIT;
    bool set_change = !times || times[1].tv_nsec != UTIME_OMIT;
    bool given = times && ((set_access && times[0].tv_nsec != UTIME_NOW) ||
                           (set_change && times[1].tv_nsec != UTIME_NOW));
    int result = 0;

    if (set_access)
        change->mask |= WIRE_SETATTR_ATIME;
    if (set_change)
        change->mask |= WIRE_SETATTR_MTIME;
    /* One request sets either the server's now or given times. When the two are mixed, now
     * is this machine's. */
    if (!given)
        change->mask |= WIRE_SETATTR_NOW;
    if (given && set_access)
        result = time_to_ns(&times[0], &change->atime_ns);
    if (result == 0 && given && set_change)
        result = time_to_ns(&times[1], &change->mtime_ns);
    return result;
}

int weft_utimens(weft_session_t *session, const char *path, const struct timespec times[2])
{
    struct wire_setattr change = {0};
    int result = times_change(times, &change);
    return (int)client_result(__func__, result < 0 ? result : set_path(session, path, 0, &change));
}

int weft_lutimens(weft_session_t *session, const char *path, const struct timespec times[2])
{
    struct wire_setattr change = {0};
    int result = times_change(times, &change);
    return (int)client_result(__func__,
                              result < 0 ? result : set_path(session, path, WEFT_STAT_NOFOLLOW, &change));
}

int weft_file_utimens(weft_file_t *file, const struct timespec times[2])
{
    struct wire_setattr change = {0};
    int result = times_change(times, &change);
    return (int)client_result(__func__, result < 0 ? result : set_file(file, &change));
}
