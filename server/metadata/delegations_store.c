/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's part of held directories: who holds which. A server that is started after this one lets nobody
 * look there before the holder has come back and told everything, or his lease is over. The record is put
 * with the hold, and goes with it soon after.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "delegations_internal.h"
#include "err.h"
#include "log.h"
#include "records.h"
#include "service_internal.h"

/* After the store has failed. */
#define RETRY_NS UINT64_C(1000000000)

/* ---- given up ------------------------------------------------------------- */

void delegations_given_up(struct delegations *delegations, uint64_t ino, bool by_silence)
{
    struct deleg_given_up *given_up = &delegations->given_up;
    if (given_up->count == given_up->room) {
        const uint32_t room = 2 * given_up->room + 16;
        struct deleg_gone *bigger = realloc(given_up->all, room * sizeof *bigger);
        if (!bigger)
            return; /* the record stays: after a start somebody waits for nothing */
        given_up->all = bigger;
        given_up->room = room;
    }
    given_up->all[given_up->count++] = (struct deleg_gone){.ino = ino, .by_silence = by_silence};
}

/* What is being taken out of the store is so before anything that runs now is answered: earlier in the same
 * transaction, or with both undone. */
int delegations_be_sure(struct deleg_change *change, uint64_t ino)
{
    const struct deleg_given_up *given_up = &change->service->delegations.given_up;
    const uint64_t now_ns = service_now(change->service);
    for (uint32_t i = given_up->running; i < given_up->count; i++) {
        if (given_up->all[i].ino == ino && given_up->all[i].by_silence)
            return delegations_has_to_wait(change, ino, false,
                                           given_up->retry_ns > now_ns ? given_up->retry_ns : now_ns);
    }
    return 0;
}

static bool writes(struct job *job)
{
    (void)job;
    return true;
}

/* All that stand in the list by now, more than at its submission perhaps. */
static int run(struct job *job, struct ns *ns)
{
    struct delegations *delegations = list_item(job, struct delegations, give_up);
    struct deleg_given_up *given_up = &delegations->given_up;
    given_up->running = given_up->count;
    for (uint32_t i = 0; i < given_up->running; i++) {
        if (delegations_is_held(delegations, given_up->all[i].ino))
            continue; /* anew */
        int error = records_hold_delete(ns->txn, given_up->all[i].ino);
        if (error && error != -ENOENT)
            return error;
    }
    return 0;
}

static void done(struct job *job, int status)
{
    struct delegations *delegations = list_item(job, struct delegations, give_up);
    struct deleg_given_up *given_up = &delegations->given_up;
    given_up->is_submitted = false;
    if (status < 0) {
        log_error("noting which directories nobody holds any more: %s", err_text());
        given_up->retry_ns = service_now(list_item(delegations, struct service, delegations)) + RETRY_NS;
        given_up->running = 0;
        return;
    }
    given_up->count -= given_up->running;
    memmove(given_up->all, given_up->all + given_up->running, given_up->count * sizeof *given_up->all);
    given_up->running = 0;
}

void delegations_give_up(struct service *service)
{
    struct delegations *delegations = &service->delegations;
    if (delegations->given_up.count == 0 || delegations->given_up.is_submitted ||
        service_now(service) < delegations->given_up.retry_ns)
        return;
    delegations->given_up.is_submitted = true;
    delegations->give_up = (struct job){.writes = writes, .run = run, .done = done};
    turn_submit(&service->turn, &delegations->give_up);
}

/* ---- after a start ---------------------------------------------------------- */

struct restoring {
    struct delegations *delegations;
    uint64_t heard_ns;
};

/* All that it had is recalled: it comes back, hears that, tells what it has done, and acknowledges. */
static int restore(void *arg, uint64_t ino, const uint8_t client[16])
{
    const struct restoring *restoring = arg;
    return delegations_hold_restored(restoring->delegations, ino, client, restoring->heard_ns);
}

int delegations_restore(struct delegations *delegations, struct store_txn *txn, uint64_t now_ns,
                        uint64_t lease_ns)
{
    const uint64_t more_ns = lease_ns > DELEG_TERM_NS ? lease_ns - DELEG_TERM_NS : 0;
    struct restoring restoring = {.delegations = delegations, .heard_ns = now_ns + more_ns};
    return records_hold_each(txn, restore, &restoring);
}
