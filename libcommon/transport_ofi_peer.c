/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other workers, and the connections to them.
 *
 * A disconnect must leave nothing that touches the memory of what was under way. Removing the remote's
 * address ends that with providers that keep a connection for each (FI_AV_REMOVE_CLEANUP, see
 * transport_ofi_choice.c). Where the provider still has not given back a read into our memory, the
 * endpoint is closed, which is the last resort of libfabric, and all connections are made anew.
 *
 * What remains: in a process where another library used libfabric first, without that setting, a living
 * but slow peer over tcp may still be sent what it had asked for of a payload that lay open, from memory
 * that is the program's again. What it gets is wrong, and it has been told that the connection is over;
 * but memory that was unmapped meanwhile would be an error inside libfabric.
 */
#include "transport_ofi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "err.h"
#include "log.h"

/* How often the provider is looked at before it is taken to keep what it has. */
#define END_TURNS 1000u

/* ---- addresses -------------------------------------------------------------------------- */

int ofi_address_make(struct transport_worker *worker)
{
    uint8_t encoded[OFI_LANES_MAX * 320u], whole[sizeof encoded + 256];
    struct wire_writer writer = wire_writer_on(encoded, sizeof encoded);
    for (unsigned i = 0; i < worker->lane_count; i++) {
        struct wire_ofi_lane lane = {
            .provider = worker->lanes[i]->info->fabric_attr->prov_name,
            .address = {worker->lanes[i]->address, (uint32_t)worker->lanes[i]->address_length},
        };
        wire_put_ofi_lane(&writer, &lane);
    }
    struct wire_ofi_address address = {
        .id = worker->id,
        .id_address = (uint64_t)(uintptr_t)&worker->id,
        .pid = (uint32_t)getpid(),
        .doorbell = "",
        .lanes = wire_list_of(&writer, worker->lane_count),
    };
    if (worker->doorbell)
        ofi_doorbell_describe(worker->doorbell, &address);
    ssize_t length = wire_encode_ofi_address(whole, sizeof whole, &address);
    if (length < 0)
        return err_set((int)length, "libfabric: an address is too long");
    uint8_t *copy = realloc(worker->address, (size_t)length);
    if (!copy)
        return err_set(-ENOMEM, "out of memory for an address");
    memcpy(copy, whole, (size_t)length);
    worker->address = copy;
    worker->address_length = (size_t)length;
    return 0;
}

/* ---- the memory of a process on this host ------------------------------------------------ */

int ofi_remote_read(struct ofi_remote *remote, void *buffer, const struct wire_ofi_piece *pieces,
                    size_t count)
{
    uint64_t id = 0;
    size_t length = 0;
    struct iovec from[OFI_PIECES_MAX + 1];
    /* The id goes along: a number of a process that ended may be another's by now. */
    from[0] = (struct iovec){(void *)(uintptr_t)remote->id_address, sizeof id};
    for (size_t i = 0; i < count; i++) {
        from[i + 1] = (struct iovec){(void *)(uintptr_t)pieces[i].address, pieces[i].length};
        length += pieces[i].length;
    }
    struct iovec to[] = {{&id, sizeof id}, {buffer, length}};
    ssize_t got = process_vm_readv(remote->pid, to, length ? 2 : 1, from, count + 1, 0);
    if (got < 0)
        return errno == EPERM ? -EPERM : -ECONNRESET;
    return (size_t)got == sizeof id + length && id == remote->by_id.key ? 0 : -ECONNRESET;
}

/* ---- remotes --------------------------------------------------------------------------- */

struct ofi_remote *ofi_remote_by_id(struct transport_worker *worker, uint64_t id)
{
    struct table_link *link = table_find(&worker->remotes, id);
    return link ? table_item(link, struct ofi_remote, by_id) : NULL;
}

static void remote_free(struct ofi_remote *remote)
{
    if (remote->bell)
        ofi_bell_close(remote->bell);
    ofi_guard_close(remote->guard);
    list_remove(&remote->link);
    free(remote);
}

void ofi_remote_drop(struct ofi_remote *remote)
{
    if (remote->holds == 1)
        ofi_remote_end(remote, -ECONNRESET); /* if it has not ended already */
    if (--remote->holds)
        return;
    remote_free(remote);
}

static void peer_fail(struct transport_peer *peer, int error)
{
    ofi_sends_end(peer);
    peer->error = error;
    list_push_back(&peer->remote->worker->failed, &peer->failed_link);
}

/*
 * libfabric 1.17's shared memory: an address stands in a place that takes another one afterwards, with
 * what was known of this one. If that is that it was asked to connect, and had not, the next one is never
 * asked. So such a place is not given back. And a request to connect that came from an address that is
 * removed would be answered in memory that may be gone: so those that came are answered before.
 */
static void address_forget(struct ofi_remote *remote)
{
    struct ofi_lane *lane = remote->lane;
    if (ofi_is_shm(lane->info)) {
        if ((remote->was_tried && !remote->was_reached) || ofi_guard_take(lane->guard))
            return;
        fi_cq_read(lane->cq, NULL, 0);
        ofi_guard_leave(lane->guard);
    }
    fi_av_remove(lane->av, &remote->address, 1, 0);
}

void ofi_remote_end(struct ofi_remote *remote, int error)
{
    if (remote->is_gone)
        return;
    remote->is_gone = true;
    table_remove(&remote->worker->remotes, &remote->by_id);
    list_each(&remote->peers, each, after) peer_fail(list_item(each, struct transport_peer, link), error);
    ofi_stalls_fail(remote, error);
    if (!remote->lane->broken)
        address_forget(remote);
}

static int guard_reach(struct ofi_remote *remote, const struct wire_bytes *address)
{
    if (!memchr(address->data, 0, address->length))
        return err_set(-EPROTO, "libfabric: an address over shared memory has no end");
    return ofi_guard_open((const char *)address->data, &remote->guard);
}

/* The lane that reaches it; what is shared with it. */
static int remote_reach(struct ofi_remote *remote, const struct wire_ofi_address *address, bool same_host)
{
    struct transport_worker *worker = remote->worker;
    remote->pid = (pid_t)address->pid;
    remote->id_address = address->id_address;
    remote->reads_memory = same_host && !ofi_remote_read(remote, NULL, NULL, 0);
    for (unsigned i = 0; i < worker->lane_count; i++) {
        struct ofi_lane *lane = worker->lanes[i];
        struct wire_reader reader = wire_list_reader(&address->lanes);
        /* Over shared memory Weft reads the payloads itself, and so it must be able to. Both sides must find
         * the same: libfabric 1.17 crashes when one that may open its memory connects to it, and it may
         * not open the other's, as when root talks to somebody else. */
        if (lane->broken || (lane->is_local && !(remote->reads_memory && ofi_shm_is_mutual(remote->pid))))
            continue;
        for (unsigned k = 0; k < address->lanes.count; k++) {
            struct wire_ofi_lane other;
            wire_get_ofi_lane(&reader, &other);
            if (reader.bad || strcmp(other.provider, lane->info->fabric_attr->prov_name) != 0)
                continue;
            if (fi_av_insert(lane->av, other.address.data, 1, &remote->address, 0, NULL) != 1)
                return err_set(-EHOSTUNREACH, "libfabric: %s takes no such address", other.provider);
            remote->lane = lane;
            if (ofi_is_shm(lane->info)) {
                int error = guard_reach(remote, &other.address);
                if (error)
                    return error;
            }
            return lane->is_local && lane->fd < 0 && address->awake_address
                       ? ofi_bell_open(address, &remote->bell)
                       : 0;
        }
    }
    return err_set(-EHOSTUNREACH,
                   "libfabric: no provider that both sides use reaches the peer: this side has %s%s%s",
                   worker->lanes[0]->info->fabric_attr->prov_name, worker->lane_count > 1 ? ", " : "",
                   worker->lane_count > 1 ? worker->lanes[1]->info->fabric_attr->prov_name : "");
}

static int remote_make(struct transport_worker *worker, const struct wire_ofi_address *address,
                       bool same_host, struct ofi_remote **out)
{
    struct ofi_remote *remote = calloc(1, sizeof *remote);
    if (!remote)
        return err_set(-ENOMEM, "out of memory for a peer");
    remote->worker = worker;
    remote->by_id.key = address->id;
    list_init(&remote->peers);
    list_init(&remote->fetching);
    list_init(&remote->stalled);
    list_link_init(&remote->stalled_link);
    list_link_init(&remote->link);
    int error = remote_reach(remote, address, same_host);
    if (!error && table_add(&worker->remotes, &remote->by_id, address->id))
        error = err_set(-ENOMEM, "out of memory for a peer");
    if (error) {
        remote_free(remote);
        return error;
    }
    list_push_back(&remote->lane->remotes, &remote->link);
    *out = remote;
    return 0;
}

/* ---- peers -------------------------------------------------------------------------------- */

int ofi_connect(struct transport_worker *worker, const void *data, size_t length, bool same_host,
                void *peer_arg, struct transport_peer **out)
{
    struct wire_ofi_address address;
    int error = wire_decode_ofi_address(data, length, &address);
    if (error)
        return error;
    struct transport_peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        return err_set(-ENOMEM, "out of memory for a peer");
    struct ofi_remote *remote = ofi_remote_by_id(worker, address.id);
    if (!remote) {
        error = remote_make(worker, &address, same_host, &remote);
        if (error) {
            free(peer);
            return error;
        }
    }
    remote->holds++;
    peer->remote = remote;
    peer->arg = peer_arg;
    list_init(&peer->sends);
    list_link_init(&peer->failed_link);
    list_push_back(&remote->peers, &peer->link);
    *out = peer;
    return 0;
}

void *ofi_peer_arg(struct transport_peer *peer)
{
    return peer->arg;
}

/* The provider gives back the reads, or loses its endpoint. */
static void fetches_end(struct ofi_remote *remote)
{
    struct ofi_lane *lane = remote->lane;
    for (unsigned turn = 0; turn < END_TURNS && !list_empty(&remote->fetching); turn++)
        ofi_lane_drain(lane, false);
    if (list_empty(&remote->fetching))
        return;
    ofi_lane_break(lane, err_set(-ECONNRESET, "what was under way with a peer could not be taken back"));
}

void ofi_disconnect(struct transport_peer *peer)
{
    struct ofi_remote *remote = peer->remote;
    bool ends = ofi_sends_lie_open(peer) || !list_empty(&remote->fetching);
    ofi_sends_end(peer);
    list_remove(&peer->link);
    list_remove(&peer->failed_link);
    if (ends || list_empty(&remote->peers))
        ofi_remote_end(remote, -ECONNRESET);
    if (remote->lane && !list_empty(&remote->fetching))
        fetches_end(remote);
    ofi_remote_drop(remote);
    free(peer);
}
