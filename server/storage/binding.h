/* SPDX-License-Identifier: Apache-2.0 */
/*
 * binding.h: which core a shard runs on.
 *
 * A shard gets a core of its own, and with it memory from that core's NUMA
 * node, when this host has a core for every server thread that the configuration
 * puts on it. With fewer cores than threads, or when only this host can reach
 * the server, so that its clients share the cores, nothing is bound: then
 * the kernel's scheduler knows better than we do.
 */
#ifndef STORAGE_BINDING_H
#define STORAGE_BINDING_H

#include "conf.h"

/* Binds the calling thread, which is shard `shard` of `storage`, or leaves it as it is.
 * Failure is logged only: the shard works all the same. */
void binding_apply(const struct conf *conf, const struct conf_storage *storage, uint32_t shard);

/* The core, counted over this host, of that shard; -1 when `core_count` cores are too few. For
 * binding_apply() and its test. */
int binding_choose(const struct conf *conf, const struct conf_storage *storage, uint32_t shard,
                   uint32_t core_count);

#endif
