/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.h: binds the metadata service to rpc: peers and their requests on one
 * side, connections to the storage shards on the other.
 *
 * Threads: belongs to one thread.
 */
#ifndef METADATA_NET_H
#define METADATA_NET_H

#include "conf.h"
#include "weft_limits.h"
#include "store.h"

struct net;
struct rpc;

/* Listens at the configuration's address and makes the service. `bound` gets the real address. */
int net_open(const struct conf *conf, const char *who, struct store *store, struct net **net,
             char bound[LIMITS_ADDRESS_MAX + 1]);
/* Lets what waits for storage servers end, for some seconds; leaves what did not end
 * unanswered, so that clients ask the next server, and closes. NULL is allowed. */
void net_close(struct net *net);
struct rpc *net_rpc(struct net *net);
/* Waits for something to happen and handles it; a negative errno when the service can't go on. */
int net_turn(struct net *net);

#endif
