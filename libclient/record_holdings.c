/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the owners of records have, as far as it matters here: whether there is anything to be given back,
 * whether anybody might wait for an owner, and since which epoch of the server's.
 *
 * An answer tells what was left when it was made. Answers to requests that overlapped may come in another
 * order, so that none of these is believed that nothing is left.
 */
#include <errno.h>
#include <stdlib.h>

#include "err.h"
#include "record.h"

/* All holdings of one owner. */
struct record_owner {
    struct table_link by_number;
    struct list holdings;
};

static struct record_owner *owner_find(const weft_session_t *session, uint64_t number)
{
    struct table_link *link = table_find(&session->record_owners, number);
    return link ? table_item(link, struct record_owner, by_number) : NULL;
}

struct record_holding *record_holding_find(const weft_session_t *session, uint64_t number, uint64_t ino)
{
    struct record_owner *owner = owner_find(session, number);
    if (!owner)
        return NULL;
    list_each(&owner->holdings, link, after)
    {
        struct record_holding *holding = list_item(link, struct record_holding, link);
        if (holding->ino == ino)
            return holding;
    }
    return NULL;
}

static void holding_drop_unused(weft_session_t *session, struct record_holding *holding)
{
    struct record_owner *owner = holding->owner;
    if (holding->epoch || holding->pending)
        return;
    list_remove(&holding->link);
    free(holding);
    if (!list_empty(&owner->holdings))
        return;
    table_remove(&session->record_owners, &owner->by_number);
    free(owner);
}

static int holding_new(weft_session_t *session, uint64_t number, uint64_t ino, struct record_holding **out)
{
    struct record_owner *owner = owner_find(session, number);
    struct record_holding *holding = calloc(1, sizeof *holding);
    if (holding && !owner && (owner = calloc(1, sizeof *owner))) {
        list_init(&owner->holdings);
        if (table_add(&session->record_owners, &owner->by_number, number)) {
            free(owner);
            owner = NULL;
        }
    }
    if (!holding || !owner) {
        free(holding);
        return err_set(-ENOMEM, "out of memory for a lock");
    }
    holding->owner = owner;
    holding->ino = ino;
    list_init(&holding->parked);
    list_push_back(&owner->holdings, &holding->link);
    *out = holding;
    return 0;
}

int record_holding_begin(weft_session_t *session, uint64_t number, uint64_t ino, struct record_holding **out)
{
    struct record_holding *holding = record_holding_find(session, number, ino);
    int result = holding ? 0 : holding_new(session, number, ino, &holding);
    if (result < 0)
        return result;
    if (holding->pending++)
        holding->overlaps = true;
    *out = holding;
    return 0;
}

void record_holding_told(struct record_holding *holding, bool holds, uint64_t epoch)
{
    if (holds)
        holding->epoch = epoch;
    else if (!holding->overlaps)
        holding->epoch = 0;
}

void record_holding_lost(struct record_holding *holding)
{
    holding->epoch = 0;
}

void record_holding_end(weft_session_t *session, struct record_holding *holding)
{
    if (--holding->pending == 0)
        holding->overlaps = false;
    holding_drop_unused(session, holding);
}

bool record_owner_holds(const weft_session_t *session, uint64_t number)
{
    const struct record_owner *owner = owner_find(session, number);
    if (!owner)
        return false;
    list_each(&owner->holdings, link, after)
    {
        if (list_item(link, struct record_holding, link)->epoch)
            return true;
    }
    return false;
}

static void owner_clear(struct table_link *link)
{
    struct record_owner *owner = table_item(link, struct record_owner, by_number);
    struct list_link *at;
    while ((at = list_pop(&owner->holdings)))
        free(list_item(at, struct record_holding, link));
    free(owner);
}

void record_holdings_free(weft_session_t *session)
{
    table_clear(&session->record_owners, owner_clear);
}
