/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport_ucx_inbox.h: a UCX worker as the place where messages arrive, and a check that
 * they still do.
 *
 * With shared memory all peers of a host write into one queue of a UCX worker, in turn: a
 * peer takes the next place, fills it, and marks it as filled. One that is killed between
 * the first and the last step leaves a place that is never marked, and the reader stops
 * there for ever, whoever sends (UCX 1.13: uct/sm/mm/base/mm_ep.c and mm_iface.c). No call
 * of UCX tells of it or mends it. So after a peer's death a message is sent to the inbox
 * as such a peer would send it, and where that does not come, a new inbox takes the old
 * one's place.
 */
#ifndef COMMON_TRANSPORT_UCX_INBOX_H
#define COMMON_TRANSPORT_UCX_INBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucp/api/ucp.h>

#include "list.h"
#include "signals.h"

struct ucx_inbox {
    struct list_link link; /* among those that were replaced */
    ucp_worker_h worker;
    ucp_address_t *address;
    size_t address_length;
    int fd;
    /* Messages not yet taken or given up, and receives under way: until there are none,
     * a replaced inbox stays. */
    uint64_t holds;
};

/* transport_ucx_devices.c; see transport.h */
struct transport_device;
int ucx_devices(struct transport_device **devices, unsigned *count);
/* `config` keeps to these network devices, unless the user has named others to UCX. */
int ucx_devices_choose(ucp_config_t *config, const char *devices);

/* The error of a UCX status, with a text. */
int ucx_error_of(ucs_status_t status);
int ucx_fail(ucs_status_t status, const char *what);

/* inbox_open(): messages with the active-message number `am_id` go to `came`, with `arg`. */
int inbox_open(ucp_context_h context, unsigned am_id, ucp_am_recv_callback_t came, void *arg,
               struct ucx_inbox **out);
/* inbox_close(): UCX lets go of all memory; no callback of it runs any more. */
void inbox_close(struct ucx_inbox *inbox);

/* A check under way. Starts as all zeros. */
struct ucx_probe {
    ucp_worker_h worker; /* NULL: none is under way */
    bool has_come;
};

/* inbox_probe(): starts the check, or moves it on. 0: the message came, the check is over.
 * -EAGAIN: not yet. Other errors end the check. */
int inbox_probe(struct ucx_probe *probe, ucp_context_h context, struct ucx_inbox *inbox);
void inbox_probe_end(struct ucx_probe *probe);

#endif
