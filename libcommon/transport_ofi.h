/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport_ofi.h: what the files of the libfabric transport share.
 *
 *   transport_ofi.c          the table; the worker: opening, progress, sleeping
 *   transport_ofi_choice.c   which providers and devices are used
 *   transport_ofi_lane.c     a lane: one provider's endpoint, and the buffers that messages come into
 *   transport_ofi_library.c  libfabric itself, loaded when it is wanted
 *   transport_ofi_memory.c   registered memory
 *   transport_ofi_peer.c     addresses, connecting, disconnecting
 *   transport_ofi_shm.c      what the shared-memory provider leaves in /dev/shm
 *   transport_ofi_send.c     messages that go
 *   transport_ofi_receive.c  messages that came, and fetching their payloads
 *   transport_ofi_doorbell.c waking a peer on this host whose provider has nothing to sleep on
 *   transport_ofi_guard.c    who may touch an endpoint in shared memory, and who died there
 *
 * How a message travels: a frame (ofi_frame in wire_messages.h), the header, and the payload when all that
 * fits the lane's `message_bytes_max`. The payload of a longer one stays where it is: the frame names its
 * pieces (address, key, length), the receiver fetches them by fi_read() when it is told where to, and
 * answers with a frame that names the sender's cookie. Between two processes of one host, and
 * where the kernel lets one read the other's memory, process_vm_readv() takes the place of fi_read().
 *
 * Who owns what: a worker has one lane or two, a lane its remotes (other workers), a remote its
 * peers (connections to it). Whatever the provider holds, an operation begins with struct ofi_op, and
 * its memory stays until the provider has given it back or the lane's endpoint is closed.
 */
#ifndef COMMON_TRANSPORT_OFI_H
#define COMMON_TRANSPORT_OFI_H

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>

#include "list.h"
#include "table.h"
#include "transport.h"
#include "transport_ofi_choice.h"
#include "transport_ofi_library.h"
#include "wire.h"

#define OFI_LANES_MAX       2u
/* Pieces of a payload that are named one by one; more are put together first. */
#define OFI_PIECES_MAX      LIMITS_OFI_PIECES_MAX
/* Room for a frame that names them all, and what follows up to the payload's alignment. */
#define OFI_FRAME_BYTES_MAX (64u + OFI_PIECES_MAX * 32u)
#define OFI_DATA_ALIGN      16u

enum { OFI_FRAME_WHOLE = 1, OFI_FRAME_FETCH = 2, OFI_FRAME_FETCHED = 3 };

enum ofi_op_kind { OFI_OP_BUFFER, OFI_OP_SEND, OFI_OP_READ };

/* What the provider holds while it works. */
struct ofi_op {
    struct fi_context2 context; /* the provider's */
    enum ofi_op_kind kind;
    bool submitted; /* and not given back yet */
};

/* A buffer that a message comes into. */
struct ofi_buffer {
    struct ofi_op op;
    struct list_link link;  /* in the lane's buffers, or the worker's orphans */
    struct list_link queue; /* in its `unposted`, or the worker's arrivals */
    struct ofi_lane *lane;  /* NULL: closed; the buffer goes when nobody holds it */
    struct fid_mr *mr;
    unsigned holds;
    size_t length; /* of what came */
    _Alignas(64) uint8_t bytes[];
};

struct ofi_lane {
    struct transport_worker *worker;
    struct fi_info *info;
    struct fid_fabric *fabric;
    struct fid_domain *domain;
    struct fid_cq *cq;
    struct fid_av *av;
    struct fid_ep *ep;
    struct ofi_guard *guard; /* NULL: nobody else touches its endpoint */
    int fd;        /* to sleep on; -1: the provider has none */
    bool unseen;   /* it could not be looked at, as another has the guard */
    bool broken;   /* closed on the way; only renew() helps */
    bool is_local; /* reaches this host only */
    bool registers_local, addresses_are_virtual, keys_are_providers, binds_memory;
    size_t message_bytes_max;
    uint64_t next_key;
    uint8_t address[256];
    size_t address_length;
    struct list buffers;
    struct list unposted; /* buffers that the provider had no room for */
    unsigned buffers_posted, buffers_made;
    struct list remotes;
    struct list stalled;      /* remotes with operations that the provider had no room for */
    struct list sends;        /* all that were made */
    struct list sends_free;   /* those for use again */
    unsigned sends_under_way; /* that the provider holds */
};

struct transport_worker {
    const struct transport_events *events;
    void *arg;
    struct ofi_choice choice;
    uint64_t id; /* of this worker since it was opened or renewed; random */
    struct ofi_lane *lanes[OFI_LANES_MAX];
    unsigned lane_count;
    int epoll_fd; /* around the lanes' descriptors, when there are several */
    struct ofi_doorbell *doorbell;
    uint8_t *address;
    size_t address_length;
    struct table remotes;
    struct table fetches; /* sends whose payload is to be fetched, by cookie */
    uint64_t next_cookie;
    struct list memories;
    struct list held;          /* messages whose payload is still with the sender */
    struct list orphans;       /* buffers of lanes that were closed, which somebody still has */
    struct list arrivals; /* buffers that were filled while none could be delivered */
    struct list failed;   /* peers whose failure is to be told */
    struct list ready;    /* struct ofi_done: callbacks that are due */
    int failure;          /* of the worker itself, to be told */
    bool failure_told;
};

/* Another worker, as this one sees it. */
struct ofi_remote {
    struct table_link by_id;
    struct list_link link; /* in the lane's */
    struct transport_worker *worker;
    struct ofi_lane *lane; /* NULL: it was closed */
    fi_addr_t address;
    bool is_gone;   /* nothing reaches it by this any more */
    unsigned holds; /* peers, messages, fetches */
    struct list peers;
    struct list fetching; /* struct ofi_fetch, under way */
    struct list stalled;  /* struct ofi_stall */
    struct list_link stalled_link;
    bool reads_memory; /* by process_vm_readv() */
    pid_t pid;
    uint64_t id_address;   /* where its id stands in its memory */
    struct ofi_bell *bell; /* NULL: it needs none */
    struct ofi_guard *guard;  /* likewise */
    /* Something was to be sent there; something was. */
    bool was_tried, was_reached;
};

struct transport_peer {
    struct list_link link;        /* in the remote's */
    struct list_link failed_link; /* in the worker's */
    struct ofi_remote *remote;
    void *arg;
    int error;
    struct list sends;
};

/* A callback that is due, from the next progress(). */
struct ofi_done {
    struct list_link link;
    transport_done_fn *done;
    void *arg;
    int status;
    void (*after)(struct ofi_done *done); /* frees what it stands in */
};

/* Something that is submitted to the provider, and again while that has no room for it. */
struct ofi_stall {
    struct list_link link;
    bool waits;
    /* Submits it: 0, or what the provider said. */
    ssize_t (*submit)(struct ofi_stall *stall);
    /* It was not, for another reason than room, or never will be. */
    void (*failed)(struct ofi_stall *stall, int error);
};

/* ---- transport_ofi_lane.c ---------------------------------------------------------- */

int ofi_lane_open(struct transport_worker *worker, const struct fi_info *info, struct ofi_lane **out);
/* Closes the endpoint and all with it: the provider holds nothing of it any more. What was under way ends
 * with -ECONNRESET. The lane itself stays, broken. */
void ofi_lane_break(struct ofi_lane *lane, int error);
void ofi_lane_close(struct ofi_lane *lane);
/* Reads what the provider has done. Messages are delivered, or kept in `arrivals`. */
unsigned ofi_lane_drain(struct ofi_lane *lane, bool deliver);
/* Tries again what found no room. */
unsigned ofi_lane_push(struct ofi_lane *lane);
/* Whether nothing stands in line for the provider. */
bool ofi_lane_is_calm(const struct ofi_lane *lane);
void ofi_buffer_release(struct ofi_buffer *buffer);
void ofi_orphans_drop(struct transport_worker *worker);
/* Submits it now, or later when there is no room. 0, or another error; then failed() does not run. */
int ofi_submit(struct ofi_remote *remote, struct ofi_stall *stall);
/* All that stands in line for the remote fails. */
void ofi_stalls_fail(struct ofi_remote *remote, int error);

/* A negative errno of libfabric's return value, and with a text. */
int ofi_error_of(ssize_t status);
int ofi_fail(ssize_t status, const char *what);

/* ---- transport_ofi_memory.c -------------------------------------------------------- */

struct transport_memory {
    struct list_link link;
    struct transport_worker *worker;
    uint8_t *start;
    size_t length;
    struct fid_mr *mrs[OFI_LANES_MAX];
};

/* Memory of one transfer. Taken from what the owner registered for good, when it lies in it. */
struct ofi_registration {
    struct fid_mr *mr; /* to be closed; NULL: it is another's, or none was needed */
    void *local;       /* for the provider's calls */
    uint64_t key;
    uint64_t offset; /* in the memory that is registered */
};

int ofi_register(struct ofi_lane *lane, void *start, size_t length, uint64_t access,
                 struct ofi_registration *registration);
void ofi_unregister(struct ofi_registration *registration);
int ofi_memory_register(struct transport_worker *worker, void *start, size_t length,
                        struct transport_memory **out);
void ofi_memory_release(struct transport_memory *memory);
int ofi_memories_open(struct ofi_lane *lane);
void ofi_memories_close(struct ofi_lane *lane);
/* One registration by itself; *mr stays NULL where the provider needs none for local use. */
int ofi_mr_open(struct ofi_lane *lane, void *start, size_t length, uint64_t access, struct fid_mr **mr);

/* ---- transport_ofi_peer.c ---------------------------------------------------------- */

int ofi_address_make(struct transport_worker *worker);
int ofi_connect(struct transport_worker *worker, const void *address, size_t length, bool same_host,
                void *peer_arg, struct transport_peer **out);
void *ofi_peer_arg(struct transport_peer *peer);
void ofi_disconnect(struct transport_peer *peer);
struct ofi_remote *ofi_remote_by_id(struct transport_worker *worker, uint64_t id);
void ofi_remote_drop(struct ofi_remote *remote);
/* Nothing more goes to it or comes from it; its peers are told. */
void ofi_remote_end(struct ofi_remote *remote, int error);
/* Whether process_vm_readv() reads that remote's memory. Reads into `buffer`; 0 or a negative errno. */
int ofi_remote_read(struct ofi_remote *remote, void *buffer, const struct wire_ofi_piece *pieces,
                    size_t count);

/* ---- transport_ofi_send.c ---------------------------------------------------------- */

struct ofi_send;
int ofi_send(struct transport_peer *peer, const void *header, size_t header_length,
             const struct iovec *payload, size_t payload_count, transport_done_fn *done, void *arg);
/* Tells the sender of a payload that it was fetched, or given up. */
void ofi_send_fetched(struct ofi_remote *remote, uint64_t cookie, int status);
/* The sender's end of that. `from` is who says so. */
void ofi_fetched_came(struct ofi_remote *from, uint64_t cookie, int status);
void ofi_send_returned(struct ofi_op *op, int status);
/* Ends what is under way on behalf of the peer. */
void ofi_sends_end(struct transport_peer *peer);
/* Whether the remote may be reading memory for the peer. */
bool ofi_sends_lie_open(const struct transport_peer *peer);
/* The provider will not give back what it holds of the lane. */
void ofi_sends_drop(struct ofi_lane *lane);
/* A callback that is due. */
void ofi_done_due(struct transport_worker *worker, struct ofi_done *done, int status);

/* ---- transport_ofi_receive.c --------------------------------------------------------- */

/* A message of `length` bytes lies in the buffer, whose hold it takes over. */
void ofi_message_came(struct ofi_lane *lane, struct ofi_buffer *buffer, size_t length);
int ofi_receive(const struct transport_message *message, void *memory, transport_done_fn *done, void *arg);
void ofi_release(const struct transport_message *message);
/* What was never received or released ends with the worker. */
void ofi_messages_drop(struct transport_worker *worker);
void ofi_read_returned(struct ofi_op *op, int status);
/* Ends what the provider will not give back. */
void ofi_fetches_drop(struct ofi_remote *remote, int status);

/* ---- transport_ofi_shm.c -------------------------------------------------------------- */

#define OFI_SHM_PREFIX "fi_shm://" /* of an address over shared memory; the name of its file follows */

/* Names an endpoint that is not enabled yet, and removes from /dev/shm what killed processes have left.
 * 0, or libfabric's status. */
int ofi_shm_name(struct fid_ep *endpoint);
/* Whether that process may do to this one's memory and files what this one may do to its. */
bool ofi_shm_is_mutual(pid_t pid);

/* ---- transport_ofi_doorbell.c --------------------------------------------------------- */

/* A worker's own, and what is known of another's. See there. */
int ofi_doorbell_open(struct ofi_doorbell **out);
void ofi_doorbell_close(struct ofi_doorbell *doorbell);
int ofi_doorbell_fd(const struct ofi_doorbell *doorbell);
void ofi_doorbell_describe(const struct ofi_doorbell *doorbell, struct wire_ofi_address *address);
/* Before the last look for work that precedes a sleep; and after it. */
void ofi_doorbell_listen(struct ofi_doorbell *doorbell);
void ofi_doorbell_answer(struct ofi_doorbell *doorbell);
int ofi_bell_open(const struct wire_ofi_address *address, struct ofi_bell **out);
void ofi_bell_close(struct ofi_bell *bell);
/* Wakes the other if it sleeps or is about to. */
void ofi_bell_ring(struct ofi_bell *bell);

/* ---- transport_ofi_guard.c ------------------------------------------------------------ */

/* Of the endpoint in shared memory with that address, a text: one's own, and another's. */
int ofi_guard_make(const char *address, struct ofi_guard **out);
int ofi_guard_open(const char *address, struct ofi_guard **out);
void ofi_guard_close(struct ofi_guard *guard);
/* To be had around each call of libfabric that may touch that endpoint's memory. 0; -FI_EAGAIN: not now;
 * -FI_ECONNABORTED: somebody died who had it, and nobody may touch that endpoint any more. With NULL: 0. */
ssize_t ofi_guard_take(struct ofi_guard *guard);
void ofi_guard_leave(struct ofi_guard *guard);

#endif
