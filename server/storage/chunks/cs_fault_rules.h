/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_fault_rules.h: the file that says which faults a disk makes on purpose (docs/chunk-store.md, "Faults on
 * purpose"): a list of rules, read whole or refused with file and line.
 */
#ifndef CS_FAULT_RULES_H
#define CS_FAULT_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "cs_io.h"

/* The operations of cs_io.h. */
enum cs_fault_on { CS_ON_READ, CS_ON_WRITE, CS_ON_FLUSH, CS_ON_GROW, CS_ONS };

enum cs_fault {
    CS_FAULT_NONE,
    CS_FAULT_EIO,         /* any operation: nothing is done, and it fails */
    CS_FAULT_ENOSPC,      /* grow */
    CS_FAULT_SHORT,       /* write: half of it, then it fails with -EIO */
    CS_FAULT_LOST,        /* write: nothing is done, but it is told as done; as the next two */
    CS_FAULT_TORN,        /* write: the first half */
    CS_FAULT_MISDIRECTED, /* write: to the block beside */
    CS_FAULT_FLIP,        /* read: one bit of what is given */
    CS_FAULT_DELAY,       /* any operation: it waits first */
    CS_FAULTS,
};

enum { CS_FAULT_RULES_MAX = 64, CS_FAULT_RULE_TEXT = 160, CS_FAULT_MS_MAX = 60000 };

struct cs_fault_rule {
    enum cs_fault_on on;
    enum cs_fault fault;
    uint32_t files;  /* a bit for each enum cs_file */
    uint32_t one_in; /* of the operations that it fits; 1: of all */
    uint32_t times;  /* it is made, then no more; 0: for ever */
    uint32_t seed;
    uint32_t ms; /* a delay's */
    uint32_t target, shard;
    bool of_target, of_shard; /* false: of all */
};

struct cs_fault_rules {
    uint32_t count;
    struct cs_fault_rule list[CS_FAULT_RULES_MAX]; /* zeros behind the last */
};

/* -ENOENT, -EINVAL, ... with a text that names file and line; *rules is as it was then. */
int cs_fault_rules_read(const char *file, struct cs_fault_rules *rules);
/* For the log: "read of data, shard 0: eio, one in 100, seed 7". */
void cs_fault_rule_text(const struct cs_fault_rule *rule, char text[CS_FAULT_RULE_TEXT]);
/* "eio", as it stands in the file. */
const char *cs_fault_name(enum cs_fault fault);

#endif
