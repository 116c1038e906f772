/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf.h: the one configuration file of a cluster, read by libconfig.
 *
 * The same file serves clients and servers; each takes the parts that concern
 * it. Every error names file, line and setting. Sizes are numbers or strings
 * with K, M, G, T (powers of 1024); relative paths are relative to the file.
 *
 *   cluster  = { name = "local"; key_file = "cluster.key"; };
 *   metadata = { listen = "127.0.0.1:7470"; dir = "metadata"; };
 *   storage  = ( { name = "s0"; listen = "127.0.0.1:7471"; shards = 1;
 *                  targets = ( { id = 0; dir = "s0/t0"; } ); }, ... );
 *   layout   = { chunk_size = "1M"; stripe_count = 0; };
 *   redundancy = { replicas = 2; failure_domain = "host"; };
 *   limits   = { deadline_ms = 30000; ... };
 *   log      = { level = "info"; };
 *   transport = "auto";
 *   store = "chunks";
 *   mount = "/weft";
 */
#ifndef COMMON_CONF_H
#define COMMON_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft_limits.h"
#include "log.h"
#include "placement.h"

#define CONF_KEY_BYTES 32u
/* Of layout.small_file: with what stands around it, so much fits one page of the metadata server's store. */
#define CONF_SMALL_FILE 4000u

struct conf_target {
    uint32_t id;
    char *dir;          /* the folder of its data; or the disk, or the file, that it is by itself */
    bool is_disk;       /* `disk` was set, not `dir` */
    uint64_t capacity;  /* bytes that it counts for when groups are made; 0: as many as it can hold */
    char *store;        /* how a new target is to keep its bytes; NULL: as conf->store says */
    char *device;       /* the disk that it is on, for choosing cores near it; NULL: to be found out */
    char *device_where; /* as in conf_each; NULL: `device` is not set */
};

/* A setting with a text for each shard; whoever uses it knows whether the text makes sense. */
struct conf_each {
    char *where;  /* "FILE:LINE: SETTING", for errors; NULL: not set, and then there are no items */
    char **items; /* one for each shard */
};

/* What the file says about where a server's shards run; see binding.h. */
struct conf_binding {
    enum { CONF_BINDING_AUTO, CONF_BINDING_ALWAYS, CONF_BINDING_NONE } mode;
    struct conf_each cores;   /* CPUs by the kernel's numbers: "0-3,8" */
    struct conf_each numa;    /* NUMA nodes by the kernel's numbers: "1" */
    struct conf_each devices; /* network devices, with commas between: "mlx5_0,eth0" */
};

struct conf_storage {
    char *name;
    char *listen; /* "host:port" of shard 0; shard k listens on port + k, or all on any port when 0 */
    uint32_t shards;
    struct conf_target *targets;
    uint32_t target_count;
    char *host;    /* where the server runs; NULL: the name of the host that it is started on */
    char *chassis; /* NULL: not said */
    char *rack;    /* NULL: not said */
    char *faults; /* file with the rules of faults on purpose; NULL: none are made */
    struct conf_binding binding;
};

/* Of discard_rate: disks do, at the storage server's own rate, and directories do not. */
#define CONF_DISCARD_RATE_BY_TARGET UINT64_MAX

struct conf {
    char *file; /* absolute path */
    char *cluster_name;
    uint8_t key[CONF_KEY_BYTES]; /* the cluster key, read from key_file (64 hex digits) */
    char *metadata_listen;
    char *metadata_dir;
    struct conf_storage *storage;
    uint32_t storage_count;
    uint64_t chunk_size;   /* default layout */
    uint32_t stripe_count; /* 0: all groups */
    uint32_t small_file;   /* bytes: files up to it may lie with the metadata server; 0: none do */
    /* How groups are made, by the metadata server. */
    uint32_t replicas;                   /* members of a group (1) */
    enum placement_level failure_domain; /* no two of them share one (PLACEMENT_HOST); _TARGET: a server */
    uint32_t groups_per_target;          /* about so many, where there are replicas (4) */
    char *transport;       /* "auto" or names with options, "ucx+ofi:tcp;ofi_rxm"; see weft.conf(5) */
    bool wire_checksums;   /* of payloads (default yes) */
    bool hold_folders;     /* clients make small files in batches, where they can (default no) */
    enum { CONF_DIRECT_AUTO, CONF_DIRECT_ON, CONF_DIRECT_OFF } direct_io; /* stores go past the page cache */
    uint64_t discard_rate; /* bytes a second that one store gives back; 0: none; by default as above */
    uint64_t scrub_rate;   /* bytes a second that one store looks at; 0: none (default 1M) */
    uint32_t scrub_pause_s; /* from when all was looked at to the next time (default a day) */
    uint32_t sweep_interval_s; /* between looks for objects whose file is gone; 0: none (default an hour) */
    char *store;           /* of new targets: "files" or "chunks" */
    char *mount;           /* where `weft run` shows the cluster's files; NULL: not said */

    /* limits */
    uint32_t deadline_ms;         /* of one client request, retries included (default 30000) */
    uint32_t heartbeat_ms;        /* storage server to metadata server (1000) */
    uint32_t lease_ms;            /* a server or client silent for so long is taken for gone (10000) */
    uint32_t gather_ms;           /* how long a piece of a collective write waits for the others (100) */
    uint64_t memory_bytes;        /* payload buffers of one storage shard (64M) */
    uint64_t credit_bytes;        /* in flight per connection and shard (8M) */
    uint32_t credit_requests;     /* likewise (64) */
    uint32_t connections_max;     /* of one shard or metadata server (4096) */
    uint64_t metadata_bytes_max;  /* size of the LMDB map (16G of address space) */
    enum log_level log_level;
};

/* Reads `path`; NULL means $WEFT_CONF, else the built-in default path.
 * *conf is the caller's until conf_free(). -ENOENT, -EACCES, -EINVAL. A key file that
 * others may read is refused with the chmod that mends it. */
int conf_load(const char *path, struct conf **conf);
void conf_free(struct conf *conf); /* NULL is allowed */

/* The storage section of that name; NULL when there is none. */
const struct conf_storage *conf_storage_by_name(const struct conf *conf, const char *name);

/* The target of that id; *shards: of its server. -ENOENT. */
int conf_target_by_id(const struct conf *conf, uint32_t id, uint32_t *shards,
                      const struct conf_target **target);
/* A target's id, as a user writes it. -EINVAL. */
int conf_target_id(const char *text, uint32_t *id);

/* "64K", "1M", "470080" to bytes; -EINVAL. Used for command-line options and hints too. */
int conf_parse_size(const char *text, uint64_t *bytes);

#endif
