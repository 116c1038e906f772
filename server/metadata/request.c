/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capability.h"
#include "err.h"
#include "log.h"
#include "records.h"
#include "service_internal.h"

/* Answers are dropped when so many more are settled. */
enum { PRUNE_STEP = 32 };
/* In a second. */
enum { REFUSALS_LOGGED_MAX = 5 };

/* ---- answers ------------------------------------------------------------ */

int request_answer(struct request *request, const void *body, ssize_t length)
{
    if (length < 0)
        return (int)length;
    uint8_t *reply = malloc(length ? (size_t)length : 1);
    if (!reply)
        return err_set(-ENOMEM, "no memory for an answer");
    if (length)
        memcpy(reply, body, (size_t)length);
    free(request->reply);
    request->reply = reply;
    request->reply_length = (size_t)length;
    return 0;
}

int request_keep(struct request *request, struct ns *ns)
{
    const struct service_request *from = request->from;
    return answers_put(ns->txn, from->client, from->id, from->operation, ns->now_ns,
                       (struct store_bytes){request->reply, request->reply_length});
}

void request_attr(const struct ns *ns, const struct inode *inode, struct wire_attr *attr)
{
    inode_attr(inode, attr);
    const struct map_host *host = ns->map ? map_host(ns->map, attr->layout.host) : NULL;
    if (host)
        attr->host = host->name;
    if (!inode_is_dir(inode)) {
        attr->placement = attr->layout.host ? WIRE_PLACEMENT_HOST : WIRE_PLACEMENT_SPREAD;
        return;
    }
    if (attr->placement == WIRE_PLACEMENT_DEFAULT)
        attr->placement = WIRE_PLACEMENT_SPREAD;
    struct layout layout;
    ns_layout_effective(ns, inode, &layout);
    attr->layout = (struct wire_layout){.chunk_size = layout.chunk_size,
                                        .stripe_count = layout.stripe_count,
                                        .group_count = layout.group_count,
                                        .host = layout.host};
    if (!*attr->pool)
        attr->pool = "main";
}

void request_capability(const struct service *service, const struct inode *inode, uint32_t access,
                        struct wire_capability *capability)
{
    *capability = capability_make(service->conf->key, inode->ino, &inode->layout, access);
}

int request_find(const struct request *request, struct ns *ns, const struct wire_capability *capability,
                 uint32_t access, struct inode *inode)
{
    int error = capability_check(request->service->conf->key, capability, access);
    if (error)
        return error;
    error = records_inode_get(ns->txn, capability->ino, inode);
    if (error == -ENOENT)
        return err_set(-ESTALE, "the open file (inode %" PRIu64 ") does not exist any more", capability->ino);
    return error;
}

/* ---- running ------------------------------------------------------------ */

static struct request *request_of(struct job *job)
{
    return (struct request *)job;
}

/* Gives back what an earlier run, whose transaction was aborted, has made. */
static void reset(struct request *request)
{
    free(request->reply);
    request->reply = NULL;
    request->reply_length = 0;
    request->twin_of = NULL;
    request->wait.kind = SMALL_WAIT_NOT;
    request->recalls.needed = request->kept = request->parks = false;
    members_forget(request->change);
    request->change = NULL;
    truncation_cancel(request);
}

static bool writes(struct job *job)
{
    struct request *request = request_of(job);
    return !request->refusal && request->operation->writes(request);
}

/* The same request came before, and waits for the storage servers. */
static struct request *find_twin(struct request *request)
{
    const struct service_request *from = request->from;
    list_each(&request->service->parked, link, after)
    {
        struct request *parked = list_item(link, struct request, link);
        if (parked != request && parked->from->id == from->id &&
            memcmp(parked->from->client, from->client, sizeof from->client) == 0)
            return parked;
    }
    return NULL;
}

/* 1 when the request was answered before, or is being worked on. */
static int find_answer(struct request *request, struct ns *ns)
{
    const struct service_request *from = request->from;
    struct opens_client *client = opens_client_find(ns->opens, from->client);
    struct store_bytes body;
    int found = answers_get(ns->txn, from->client, from->id, from->operation, &body);
    if (found < 0)
        return found;
    if (found) {
        int error = request_answer(request, body.data, (ssize_t)body.length);
        return error ? error : 1;
    }
    if (client && client->reconnected) {
        request->twin_of = find_twin(request);
        if (request->twin_of)
            return 1;
    }
    if (client && from->settled >= client->settled_pruned + PRUNE_STEP) {
        int error = answers_prune(ns->txn, from->client, from->settled);
        if (error)
            return error;
        client->settled_pruned = from->settled; /* when this is undone they go with the next ones */
    }
    return 0;
}

/* Runs it under watch: who relies on an inode that it is to change is told first. `changes`: those that the
 * transaction has made before. */
static int run_watched(struct request *request, struct ns *ns, uint64_t changes)
{
    struct deleg_change change = {
        .service = request->service, .waiter = &request->recalls, .request = request};
    delegations_watch(&change, ns->txn);
    int error = request->operation->run(request, ns);
    records_watch(ns->txn, NULL);
    if (!request->recalls.needed)
        return error;
    truncation_cancel(request);
    /* What it has changed already must be undone. */
    return error && store_changes(ns->txn) != changes ? error : 0;
}

static int run(struct job *job, struct ns *ns)
{
    struct request *request = request_of(job);
    const struct operation *operation = request->operation;
    if (request->refusal)
        return err_set(request->refusal, "%s", request->refusal_text ? request->refusal_text : "refused");
    reset(request);
    ns->uid = request->from->uid;
    ns->gid = request->from->gid;
    ns->caller_group_count = request->from->group_count;
    ns->caller_groups = request->from->groups;
    bool kept = operation->kept && operation->writes(request);
    if (kept) {
        int found = find_answer(request, ns);
        if (found)
            return found < 0 ? found : 0;
    }
    uint64_t changes = store_changes(ns->txn);
    int error = run_watched(request, ns, changes);
    if (!error && kept && !request->truncation && !request->wait.kind && !request->recalls.needed &&
        store_changes(ns->txn) != changes)
        error = request_keep(request, ns);
    return error;
}

static void undone(struct job *job)
{
    truncation_cancel(request_of(job));
}

/* ---- ending ------------------------------------------------------------- */

static void answer(struct request *request, int status)
{
    struct service_request *from = request->from;
    if (status < 0)
        from->reply(from, status, NULL, 0);
    else
        from->reply(from, 0, request->reply, request->reply_length);
}

static void free_request(struct request *request)
{
    list_remove(&request->link);
    reset(request);
    free(request->refusal_text);
    free(request);
}

void request_finish(struct request *request, int status)
{
    char text[LIMITS_ERROR_TEXT_MAX + 1] = "";
    if (status < 0)
        snprintf(text, sizeof text, "%s", err_text());
    for (struct list_link *link = list_pop(&request->twins); link; link = list_pop(&request->twins)) {
        struct request *twin = list_item(link, struct request, link);
        int error =
            status < 0 ? status : request_answer(twin, request->reply, (ssize_t)request->reply_length);
        if (status < 0)
            err_set(status, "%s", text);
        answer(twin, error);
        free_request(twin);
    }
    if (status < 0)
        err_set(status, "%s", text);
    answer(request, status);
    free_request(request);
}

static void done(struct job *job, int status)
{
    struct request *request = request_of(job);
    if (request->recalls.needed) {
        delegations_wait(request->service, &request->recalls);
        return;
    }
    if (status < 0) {
        log_debug("%s of %s: %s", wire_operation_name(request->from->operation), request->from->name,
                  err_text());
        request_finish(request, status);
        return;
    }
    if (request->twin_of) {
        list_push_back(&request->twin_of->twins, &request->link);
        return;
    }
    if (request->truncation) {
        truncation_start(request);
        return;
    }
    if (request->wait.kind) {
        small_wait(request);
        return;
    }
    if (request->parks) {
        delegations_park(request);
        return;
    }
    if (request->operation->committed)
        request->operation->committed(request);
    request_finish(request, 0);
}

/* ---- beginning ---------------------------------------------------------- */

static int check(const struct service_request *from, const struct operation *operation)
{
    if (!operation)
        return err_set(-EOPNOTSUPP, "a metadata server does not do the operation %s (%u)",
                       wire_operation_name(from->operation), from->operation);
    if (!(operation->roles & (1u << from->role)))
        return err_set(-EPERM, "%s is not for peers of this kind", wire_operation_name(from->operation));
    if (!operation->decode && from->body_length)
        return err_set(-EBADMSG, "a %s request has no body", wire_operation_name(from->operation));
    return 0;
}

/* The log tells the reason, but a peer that sends nothing else must not fill the disk. */
static void log_refusal(struct service *service, const char *name)
{
    uint64_t now_ns = service_now(service);
    if (now_ns - service->refusals_ns >= 1000000000) {
        if (service->refusals > REFUSALS_LOGGED_MAX)
            log_warn("refused %u more requests", service->refusals - REFUSALS_LOGGED_MAX);
        service->refusals_ns = now_ns;
        service->refusals = 0;
    }
    if (service->refusals++ < REFUSALS_LOGGED_MAX)
        log_warn("refused a request of %s: %s", name, err_text());
}

/* A refused request is a job as well, so that its answer comes in its turn. */
static void refuse(struct request *request, int error)
{
    log_refusal(request->service, request->from->name);
    counter_add(&request->service->requests_refused, 1);
    request->refusal = error;
    request->refusal_text = strdup(err_text());
}

void service_request(struct service *service, struct service_request *from)
{
    const struct operation *operation = operation_find(from->operation);
    struct request *request = calloc(1, sizeof *request);
    if (!request) {
        err_set(-ENOMEM, "no memory for a request");
        from->reply(from, -ENOMEM, NULL, 0);
        return;
    }
    request->service = service;
    request->from = from;
    request->operation = operation;
    request->asked_ns = service_now(service);
    request->job = (struct job){.writes = writes, .run = run, .undone = undone, .done = done};
    request->recalls.job = &request->job;
    list_link_init(&request->link);
    list_init(&request->twins);
    delegations_heard(&service->delegations, from->client, service_now(service));
    int error = check(from, operation);
    if (!error && operation->decode)
        error = operation->decode(from->body, from->body_length, &request->body);
    if (!error)
        error = request_closes_check(request);
    if (error) {
        refuse(request, error);
    } else {
        request->job.alone = operation->alone;
        request_closes(request);
    }
    turn_submit(&service->turn, &request->job);
}
