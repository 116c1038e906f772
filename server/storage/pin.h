/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pin.h: puts the placement of binding.h into effect: binds a shard's thread to its CPUs, its
 * memory to its NUMA node, and tells its network devices.
 *
 * A shard begins threads while it opens: of its stores, of UCX. They inherit what it is bound to, and
 * would fight with it for its core. So it runs on the free CPUs near its core while it opens, and is bound
 * to the core itself after that; what those threads do stays near.
 *
 * What can't be bound is logged: the shard works all the same. `pins` may be NULL in all functions but
 * pin_open(): nothing is bound then.
 *
 * Threads: pin_open() and pin_close() belong to the main thread, the others to the shard's.
 */
#ifndef STORAGE_PIN_H
#define STORAGE_PIN_H

#include <stdint.h>

#include "bufpool.h"
#include "conf.h"

struct pins;

/* Reads the host's topology, unless nothing is to be bound whatever it is: *pins is NULL then. -EINVAL: the
 * configuration names what the host does not have. */
int pin_open(const struct conf *conf, const struct conf_storage *storage, struct pins **pins);
void pin_close(struct pins *pins);

/* The calling thread is that shard, and is about to open what it needs. */
void pin_begin(const struct pins *pins, uint32_t shard);
/* It has. */
void pin_end(const struct pins *pins, uint32_t shard);
/* The pool's pages are to come from the shard's NUMA node, whoever touches them first. */
void pin_memory(const struct pins *pins, uint32_t shard, const struct bufpool *pool);
/* What its transport is kept to; NULL: all devices. Lives as long as `pins`. */
const char *pin_devices(const struct pins *pins, uint32_t shard);

#endif
