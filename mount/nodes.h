/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nodes.h: the inodes that the kernel knows by number: how often it has been told of each, under which name
 * it was seen last, and which open files there are of it.
 *
 * What it promises
 *  - A node stays as long as the kernel may ask for it (it has not forgotten all that it was told), or a
 *    file of it is open.
 *  - What is copied out is consistent; it may be old, since other clients rename without a word. Whoever
 *    uses the name compares the number afterwards.
 *
 * Threads: any.
 */
#ifndef MOUNT_NODES_H
#define MOUNT_NODES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "list.h"
#include "table.h"

#define NODE_NAME_BYTES 256u

struct nodes {
    pthread_mutex_t lock;
    struct table table;
};

/* What a lookup found. */
struct node_seen {
    uint64_t ino;
    uint64_t parent;
    const char *name;
    uint32_t uid;  /* the owner */
    uint32_t mode; /* as in st_mode */
};

struct node_place {
    uint64_t parent;
    uint32_t uid;
    uint32_t mode;
    char name[NODE_NAME_BYTES];
};

void nodes_init(struct nodes *nodes);
void nodes_free(struct nodes *nodes);

/* The kernel is told of it once more. -ENOMEM. */
int nodes_enter(struct nodes *nodes, const struct node_seen *seen);
/* It has got this name, if it is known at all. */
void nodes_rename(struct nodes *nodes, uint64_t ino, uint64_t parent, const char *name);
void nodes_forget(struct nodes *nodes, uint64_t ino, uint64_t count);
/* False when it is not known. */
bool nodes_place(struct nodes *nodes, uint64_t ino, struct node_place *place);

/* Its mode as it was seen last; 0 when it is not known. */
uint32_t nodes_mode(struct nodes *nodes, uint64_t ino);
void nodes_set_mode(struct nodes *nodes, uint64_t ino, uint32_t mode);

/* A file of it is open; the link is the table's until nodes_detach(). -ENOMEM. */
int nodes_attach(struct nodes *nodes, uint64_t ino, struct list_link *open);
void nodes_detach(struct nodes *nodes, uint64_t ino, struct list_link *open);
/* Calls `hold`, which must not call back, with an open file of it; false when there is none. */
bool nodes_borrow(struct nodes *nodes, uint64_t ino, void (*hold)(void *arg, struct list_link *open),
                  void *arg);

/* What the contents of a file were known by when it was opened last: true when they are the same again. */
bool nodes_unchanged(struct nodes *nodes, uint64_t ino, uint64_t size, int64_t mtime_ns);

size_t nodes_count(struct nodes *nodes);

#endif
