/* SPDX-License-Identifier: Apache-2.0 */
#include "nodes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

struct node {
    struct table_link by_ino;
    uint64_t lookups;
    uint64_t parent;
    uint32_t uid;
    uint32_t mode;
    char *name; /* NULL: never seen under one */
    struct list opens;
    bool opened_before; /* the two below are set */
    uint64_t size;
    int64_t mtime_ns;
};

void nodes_init(struct nodes *nodes)
{
    pthread_mutex_init(&nodes->lock, NULL);
    nodes->table = (struct table){0};
}

static void node_free(struct node *node)
{
    free(node->name);
    free(node);
}

static void node_clear(struct table_link *link)
{
    node_free(table_item(link, struct node, by_ino));
}

void nodes_free(struct nodes *nodes)
{
    table_clear(&nodes->table, node_clear);
    pthread_mutex_destroy(&nodes->lock);
}

/* All below with the lock held. */

static struct node *find(struct nodes *nodes, uint64_t ino)
{
    struct table_link *link = table_find(&nodes->table, ino);
    return link ? table_item(link, struct node, by_ino) : NULL;
}

static struct node *find_or_add(struct nodes *nodes, uint64_t ino)
{
    struct node *node = find(nodes, ino);
    if (node)
        return node;
    node = calloc(1, sizeof *node);
    if (!node || table_add(&nodes->table, &node->by_ino, ino) != 0) {
        free(node);
        err_set(-ENOMEM, "out of memory for an inode");
        return NULL;
    }
    list_init(&node->opens);
    return node;
}

static void drop_unused(struct nodes *nodes, struct node *node)
{
    if (node->lookups > 0 || !list_empty(&node->opens))
        return;
    table_remove(&nodes->table, &node->by_ino);
    node_free(node);
}

static int set_name(struct node *node, uint64_t parent, const char *name)
{
    if (!node->name || strcmp(node->name, name) != 0) {
        char *copy = strdup(name);
        if (!copy)
            return err_set(-ENOMEM, "out of memory for a name");
        free(node->name);
        node->name = copy;
    }
    node->parent = parent;
    return 0;
}

int nodes_enter(struct nodes *nodes, const struct node_seen *seen)
{
    pthread_mutex_lock(&nodes->lock);
    struct node *node = find_or_add(nodes, seen->ino);
    int error = node ? set_name(node, seen->parent, seen->name) : -ENOMEM;
    if (!error) {
        node->uid = seen->uid;
        node->mode = seen->mode;
        node->lookups++;
    } else if (node) {
        drop_unused(nodes, node);
    }
    pthread_mutex_unlock(&nodes->lock);
    return error;
}

void nodes_rename(struct nodes *nodes, uint64_t ino, uint64_t parent, const char *name)
{
    pthread_mutex_lock(&nodes->lock);
    struct node *node = find(nodes, ino);
    if (node)
        (void)set_name(node, parent, name); /* an old name is found out when it is used */
    pthread_mutex_unlock(&nodes->lock);
}

void nodes_forget(struct nodes *nodes, uint64_t ino, uint64_t count)
{
    pthread_mutex_lock(&nodes->lock);
    struct node *node = find(nodes, ino);
    if (node) {
        node->lookups -= count < node->lookups ? count : node->lookups;
        drop_unused(nodes, node);
    }
    pthread_mutex_unlock(&nodes->lock);
}

bool nodes_place(struct nodes *nodes, uint64_t ino, struct node_place *place)
{
    pthread_mutex_lock(&nodes->lock);
    const struct node *node = find(nodes, ino);
    bool known = node && node->name;
    if (known) {
        place->parent = node->parent;
        place->uid = node->uid;
        place->mode = node->mode;
        snprintf(place->name, sizeof place->name, "%s", node->name);
    }
    pthread_mutex_unlock(&nodes->lock);
    return known;
}

uint32_t nodes_mode(struct nodes *nodes, uint64_t ino)
{
    pthread_mutex_lock(&nodes->lock);
    const struct node *node = find(nodes, ino);
    uint32_t mode = node ? node->mode : 0;
    pthread_mutex_unlock(&nodes->lock);
    return mode;
}

void nodes_set_mode(struct nodes *nodes, uint64_t ino, uint32_t mode)
{
    pthread_mutex_lock(&nodes->lock);
    struct node *node = find(nodes, ino);
    if (node)
        node->mode = mode;
    pthread_mutex_unlock(&nodes->lock);
}

int nodes_attach(struct nodes *nodes, uint64_t ino, struct list_link *open)
{
    pthread_mutex_lock(&nodes->lock);
    struct node *node = find_or_add(nodes, ino);
    if (node)
        list_push_back(&node->opens, open);
    pthread_mutex_unlock(&nodes->lock);
    return node ? 0 : -ENOMEM;
}

void nodes_detach(struct nodes *nodes, uint64_t ino, struct list_link *open)
{
    pthread_mutex_lock(&nodes->lock);
    list_remove(open);
    struct node *node = find(nodes, ino);
    if (node)
        drop_unused(nodes, node);
    pthread_mutex_unlock(&nodes->lock);
}

bool nodes_borrow(struct nodes *nodes, uint64_t ino, void (*hold)(void *arg, struct list_link *open),
                  void *arg)
{
    pthread_mutex_lock(&nodes->lock);
    struct node *node = find(nodes, ino);
    struct list_link *open = node ? list_first(&node->opens) : NULL;
    if (open)
        hold(arg, open);
    pthread_mutex_unlock(&nodes->lock);
    return open != NULL;
}

bool nodes_unchanged(struct nodes *nodes, uint64_t ino, uint64_t size, int64_t mtime_ns)
{
    pthread_mutex_lock(&nodes->lock);
    struct node *node = find(nodes, ino);
    bool same = node && node->opened_before && node->size == size && node->mtime_ns == mtime_ns;
    if (node) {
        node->opened_before = true;
        node->size = size;
        node->mtime_ns = mtime_ns;
    }
    pthread_mutex_unlock(&nodes->lock);
    return same;
}

size_t nodes_count(struct nodes *nodes)
{
    pthread_mutex_lock(&nodes->lock);
    size_t count = nodes->table.count;
    pthread_mutex_unlock(&nodes->lock);
    return count;
}
