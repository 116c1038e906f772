/* SPDX-License-Identifier: Apache-2.0 */
/* binding_internal.h: what the files of binding.h share, under the file that defines it. */
#ifndef COMMON_BINDING_INTERNAL_H
#define COMMON_BINDING_INTERNAL_H

#include "binding.h"

/* ---- binding_network.c --------------------------------------------------- */

/* The next name of "mlx5_0:1,eth0", without its port, into `name`; NULL behind the last. */
const char *binding_device_next(const char *list, char *name, size_t size);

/* The network devices that a server's shard may choose from: those that the configuration names, else the
 * one with its address, else all of the best kind that have a link; none for a server on the loopback.
 * `chosen` has room for all devices of the topology. */
uint32_t binding_candidates(const struct binding *binding, const struct conf_storage *storage, uint32_t shard,
                            const struct binding_lookup *lookup, const struct topology_device **chosen);

/* Sets shard->devices, from the configuration or from shard->nic. -ENOMEM. */
int binding_narrow(const struct binding *binding, struct binding_shard *shard,
                   const struct binding_lookup *lookup);

/* ---- binding_hints.c ------------------------------------------------------- */

/* Fills binding->hints, when all the rest is there. -ENOMEM. */
int binding_hint(struct binding *binding);

#endif
