/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list.h: a doubly linked list whose links stand inside the items. An item is
 * in at most one list by one link; a link that is in none may be removed again.
 */
#ifndef COMMON_LIST_H
#define COMMON_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_link {
    struct list_link *next, *previous;
};

struct list {
    struct list_link head;
};

#define list_item(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))
/* Walks the links; the current one may be removed meanwhile. */
#define list_each(list, link, after)                                                       \
    for (struct list_link *link = (list)->head.next, *after = link->next; link != &(list)->head; \
         link = after, after = link->next)

static inline void list_link_init(struct list_link *link)
{
    link->next = link->previous = link;
}
static inline void list_init(struct list *list)
{
    list_link_init(&list->head);
}
static inline bool list_empty(const struct list *list)
{
    return list->head.next == &list->head;
}
static inline struct list_link *list_first(const struct list *list)
{
    return list_empty(list) ? NULL : list->head.next;
}
static inline void list_insert_before(struct list_link *place, struct list_link *link)
{
    link->next = place;
    link->previous = place->previous;
    place->previous->next = link;
    place->previous = link;
}
static inline void list_push_back(struct list *list, struct list_link *link)
{
    list_insert_before(&list->head, link);
}
static inline void list_push_front(struct list *list, struct list_link *link)
{
    list_insert_before(list->head.next, link);
}
static inline void list_remove(struct list_link *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    list_link_init(link);
}
static inline struct list_link *list_pop(struct list *list)
{
    struct list_link *link = list_first(list);
    if (link)
        list_remove(link);
    return link;
}

#endif
