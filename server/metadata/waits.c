/* SPDX-License-Identifier: Apache-2.0 */
#include "waits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "list.h"
#include "table.h"

struct edge {
    struct waits_edge told;
    uint64_t first; /* it was there before this token was given, and still after `last` was */
    uint64_t last;
};

struct owner {
    struct waits_owner name;
    struct table_link by_name;
    struct list waits;
    struct list_link queue; /* of a search */
    uint64_t search;        /* the latest one that came here */
};

struct wait {
    struct list_link in_owner;
    struct list_link in_age; /* the one told longest ago first */
    struct owner *owner;
    uint64_t id;
    uint64_t told_ns;
    uint32_t edge_count;
    struct edge edges[];
};

struct waits {
    struct table owners;
    struct list ages;
    uint32_t count;
    uint64_t token_first, token;
    uint64_t search;
};

int waits_new(uint64_t token, struct waits **out)
{
    struct waits *waits = calloc(1, sizeof *waits);
    if (!waits)
        return err_set(-ENOMEM, "no memory for those who wait for locks");
    waits->token = waits->token_first = token + 1;
    list_init(&waits->ages);
    *out = waits;
    return 0;
}

/* ---- owners and their waits ------------------------------------------------ */

static uint64_t owner_key(const struct waits_owner *name)
{
    uint64_t words[2];
    memcpy(words, name->client, sizeof words);
    return layout_hash(words[0] ^ layout_hash(words[1] ^ layout_hash(name->number)));
}

static struct owner *owner_find(const struct waits *waits, const struct waits_owner *name)
{
    uint64_t key = owner_key(name);
    for (struct table_link *link = table_find(&waits->owners, key); link; link = link->next) {
        struct owner *owner = table_item(link, struct owner, by_name);
        if (link->key == key && owner->name.number == name->number &&
            memcmp(owner->name.client, name->client, sizeof name->client) == 0)
            return owner;
    }
    return NULL;
}

static struct owner *owner_get(struct waits *waits, const struct waits_owner *name)
{
    struct owner *owner = owner_find(waits, name);
    if (owner || !(owner = calloc(1, sizeof *owner)))
        return owner;
    if (table_add(&waits->owners, &owner->by_name, owner_key(name))) {
        free(owner);
        return NULL;
    }
    owner->name = *name;
    list_init(&owner->waits);
    return owner;
}

static void wait_free(struct waits *waits, struct wait *wait)
{
    struct owner *owner = wait->owner;
    list_remove(&wait->in_owner);
    list_remove(&wait->in_age);
    free(wait);
    waits->count--;
    if (!list_empty(&owner->waits))
        return;
    table_remove(&waits->owners, &owner->by_name);
    free(owner);
}

void waits_free(struct waits *waits)
{
    struct list_link *link;
    if (!waits)
        return;
    while ((link = list_first(&waits->ages)))
        wait_free(waits, list_item(link, struct wait, in_age));
    free(waits->owners.slots);
    free(waits);
}

static struct wait *wait_find(const struct owner *owner, uint64_t id)
{
    list_each(&owner->waits, link, after)
    {
        struct wait *wait = list_item(link, struct wait, in_owner);
        if (wait->id == id)
            return wait;
    }
    return NULL;
}

/* One client's owners are not counted apart: the oldest wait of any of them gives way. */
static void make_room(struct waits *waits, const uint8_t client[16])
{
    struct wait *oldest = NULL;
    uint32_t count = 0;
    if (waits->count < WAITS_CLIENT_MAX)
        return;
    list_each(&waits->ages, link, after)
    {
        struct wait *wait = list_item(link, struct wait, in_age);
        if (memcmp(wait->owner->name.client, client, sizeof wait->owner->name.client) != 0)
            continue;
        oldest = oldest ? oldest : wait;
        count++;
    }
    if (count >= WAITS_CLIENT_MAX)
        wait_free(waits, oldest);
}

/* The wait as it is told now; edges that were told before keep since when. */
static struct wait *wait_renew(struct waits *waits, const struct waits_owner *name, uint64_t id,
                               uint64_t token, const struct waits_edge *edges, uint32_t count)
{
    make_room(waits, name->client);
    struct owner *owner = owner_get(waits, name);
    struct wait *wait = owner ? calloc(1, sizeof *wait + count * sizeof wait->edges[0]) : NULL;
    if (!wait) {
        if (owner && list_empty(&owner->waits)) {
            table_remove(&waits->owners, &owner->by_name);
            free(owner);
        }
        return NULL;
    }
    struct wait *before = wait_find(owner, id);
    wait->owner = owner;
    wait->id = id;
    wait->edge_count = count;
    for (uint32_t i = 0; i < count; i++) {
        wait->edges[i] = (struct edge){.told = edges[i], .first = waits->token};
        for (uint32_t k = 0; before && k < before->edge_count; k++) {
            const struct edge *old = &before->edges[k];
            if (old->told.serial == edges[i].serial && old->told.direct == edges[i].direct &&
                old->told.holder.number == edges[i].holder.number &&
                memcmp(old->told.holder.client, edges[i].holder.client, sizeof name->client) == 0) {
                wait->edges[i].first = old->first;
                wait->edges[i].last = token > old->last ? token : old->last;
            }
        }
    }
    list_push_back(&owner->waits, &wait->in_owner);
    list_push_back(&waits->ages, &wait->in_age);
    waits->count++;
    if (before)
        wait_free(waits, before);
    return wait;
}

/* ---- circles ----------------------------------------------------------------- */

static bool counts(const struct edge *edge, uint64_t at, bool any)
{
    return any || (edge->told.direct && edge->first <= at && at <= edge->last);
}

static void reach(struct waits *waits, struct list *queue, const struct edge *edge)
{
    struct owner *owner = owner_find(waits, &edge->told.holder);
    if (!owner || owner->search == waits->search)
        return;
    owner->search = waits->search;
    list_push_back(queue, &owner->queue);
}

/* Whether the wait leads back to its owner by direct edges that were there at `at`; or by `any`, the first
 * of which is not direct. */
static bool leads_back(struct waits *waits, const struct wait *from, uint64_t at, bool any)
{
    struct list queue;
    struct list_link *link;
    bool found = false;
    list_init(&queue);
    waits->search++;
    for (uint32_t i = 0; i < from->edge_count; i++) {
        if (any ? !from->edges[i].told.direct : counts(&from->edges[i], at, false))
            reach(waits, &queue, &from->edges[i]);
    }
    while ((link = list_pop(&queue))) {
        const struct owner *owner = list_item(link, struct owner, queue);
        found = found || owner == from->owner;
        if (found)
            continue; /* empties the queue */
        list_each(&owner->waits, at_wait, after)
        {
            const struct wait *wait = list_item(at_wait, struct wait, in_owner);
            for (uint32_t i = 0; i < wait->edge_count; i++) {
                if (counts(&wait->edges[i], at, any))
                    reach(waits, &queue, &wait->edges[i]);
            }
        }
    }
    return found;
}

static enum waits_verdict judge(struct waits *waits, const struct wait *wait)
{
    /* The edge that was there last closed the circle: its beginning is the moment to look at. */
    for (uint32_t i = 0; i < wait->edge_count; i++) {
        const struct edge *edge = &wait->edges[i];
        bool is_new = edge->told.direct && edge->first <= edge->last;
        for (uint32_t k = 0; k < i && is_new; k++)
            is_new = wait->edges[k].first != edge->first || !wait->edges[k].told.direct;
        if (is_new && leads_back(waits, wait, edge->first, false))
            return WAITS_DEADLOCK;
    }
    return leads_back(waits, wait, 0, true) ? WAITS_PASS : WAITS_GOES_ON;
}

int waits_report(struct waits *waits, const struct waits_owner *owner, uint64_t id, uint64_t token,
                 const struct waits_edge *edges, uint32_t count, uint64_t now_ns, uint64_t *new_token,
                 enum waits_verdict *verdict)
{
    count = count < WAITS_EDGES_MAX ? count : WAITS_EDGES_MAX;
    /* One of an earlier start of this server says nothing about this one. */
    if (token < waits->token_first || token > waits->token)
        token = 0;
    waits->token++;
    struct wait *wait = wait_renew(waits, owner, id, token, edges, count);
    if (!wait)
        return err_set(-ENOMEM, "no memory for those who wait for locks");
    wait->told_ns = now_ns;
    *new_token = waits->token;
    *verdict = judge(waits, wait);
    if (*verdict == WAITS_DEADLOCK)
        wait_free(waits, wait);
    return 0;
}

/* ---- age ----------------------------------------------------------------------- */

void waits_expire(struct waits *waits, uint64_t before_ns)
{
    struct list_link *link;
    while ((link = list_first(&waits->ages))) {
        struct wait *wait = list_item(link, struct wait, in_age);
        if (wait->told_ns >= before_ns)
            return;
        wait_free(waits, wait);
    }
}

uint32_t waits_count(const struct waits *waits)
{
    return waits->count;
}
