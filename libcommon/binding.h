/* SPDX-License-Identifier: Apache-2.0 */
/*
 * binding.h: where on a host the shards of its storage servers run: the CPUs of each, the NUMA
 * node of its memory, and the network devices that it uses. A pure function of the host's topology
 * and the configuration, so that every server of the host, and `weft topo`, come to the same result.
 *
 * The rules
 *  - A shard is bound when this host has a core for every server thread that the configuration puts
 *    on it, and others than this host can reach the server. Otherwise clients share the cores, and
 *    the kernel's scheduler knows better than we do; likewise where a cgroup has a share of the CPUs' time.
 *  - The metadata server's thread is left the first core. Then shards choose in the order of the file: a
 *    network device in turns, and of the free cores the fastest kind, then the one nearest to that device,
 *    to the server's disks, on the NUMA node with the fewest shards, and the first.
 *  - Memory comes from the core's own NUMA node, of several the ordinary one, not HBM.
 *  - UCX is kept to the chosen device where the host has others that reach the same peers, ports with the
 *    same InfiniBand subnet prefix, and each of these is some shard's. All devices of other kinds stay.
 *  - The configuration overrides each of these; what it names and the host lacks is refused by
 *    binding_check(), and passed over here.
 *
 * docs/topology.md has the reasons.
 */
#ifndef COMMON_BINDING_H
#define COMMON_BINDING_H

#include "conf.h"
#include "topology.h"

struct binding_shard {
    const struct conf_storage *storage;
    uint32_t index;
    hwloc_bitmap_t cpus;               /* NULL: not bound */
    hwloc_bitmap_t around;             /* where its helper threads run: free CPUs near it; NULL: anywhere */
    char reason[128];                  /* why it is bound, or is not */
    hwloc_obj_t node;                  /* of its memory; NULL: the kernel's choice */
    const struct topology_device *nic; /* that it is near to, or was told to use; NULL: none is known */
    char *devices; /* what its transport is kept to, with commas between; NULL: all there are */
};

struct binding_target {
    const struct conf_storage *storage;
    const struct conf_target *target;
    char disk[TOPOLOGY_NAME_MAX + 1];     /* "": not known, or none */
    const struct topology_device *device; /* NULL: hwloc does not know that disk */
};

struct binding {
    const struct topology *topology; /* must outlive it, as must the configuration */
    const struct conf *conf;
    bool has_metadata;            /* the metadata server is on this host, */
    hwloc_bitmap_t metadata_cpus; /* and these are left to it; NULL: nothing is bound */
    uint32_t threads;             /* of all servers on the host, */
    uint32_t cores;               /* and the cores that they may use */
    struct binding_shard *shards; /* of all its servers, in the order of the file */
    uint32_t shard_count;
    struct binding_target *targets; /* likewise */
    uint32_t target_count;
    char **hints; /* sentences for people */
    uint32_t hint_count;
};

/* What is looked up on the host itself; NULL, or a member NULL: nothing is. */
struct binding_lookup {
    /* The disk that a directory is on, into `name`. */
    bool (*disk)(const char *dir, char *name, size_t size);
    /* The network interface that has the address "host:port", into `name`. */
    bool (*interface)(const char *listen, char *name, size_t size);
    /* All network interfaces, with commas between, into `names`. hwloc tells of real devices only, but an
     * address may be that of a bond or a bridge. */
    void (*interfaces)(char *names, size_t size);
};

/* binding.c */

/* binding_make(): the plan for the host that `of`, one of the configuration's, is on. -ENOMEM. */
int binding_make(const struct topology *topology, const struct conf *conf, const struct conf_storage *of,
                 const struct binding_lookup *lookup, struct binding **out);
void binding_free(struct binding *binding); /* NULL is allowed */
const struct binding_shard *binding_shard(const struct binding *binding, const struct conf_storage *storage,
                                          uint32_t index);

/* binding_check.c */

/* binding_check(): whether this host has what the server's section names. -EINVAL: the text names file, line
 * and setting. */
int binding_check(const struct topology *topology, const struct conf_storage *storage);

/* binding_host.c */

/* binding_same_host(): two addresses "host:port" name one host, by the letter. */
bool binding_same_host(const char *a, const char *b);
/* binding_is_loopback(): only its own host can reach the address. */
bool binding_is_loopback(const char *address);
/* binding_is_here(): the address is one of this machine's. Asks the resolver. */
bool binding_is_here(const char *address);
/* For what this machine knows of itself. */
extern const struct binding_lookup binding_lookup_here;

#endif
