/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "err.h"
#include "rpc_internal.h"

enum operation_index {
#define OPERATION_INDEX(number, name) INDEX_##name,
    WIRE_OPERATIONS(OPERATION_INDEX)
#undef OPERATION_INDEX
    OPERATION_COUNT
};

static const char *const names[] = {
    [COUNT_BYTES_WIRE_SENT] = "bytes_wire_sent",
    [COUNT_BYTES_WIRE_RECEIVED] = "bytes_wire_received",
    [COUNT_BYTES_PAYLOAD_SENT] = "bytes_payload_sent",
    [COUNT_BYTES_PAYLOAD_RECEIVED] = "bytes_payload_received",
    [COUNT_REQUESTS_SENT] = "requests_sent",
    [COUNT_REQUESTS_RESENT] = "requests_resent",
    [COUNT_REQUESTS_RECEIVED] = "requests_received",
    [COUNT_REPLIES_SENT] = "replies_sent",
    [COUNT_REPLIES_RECEIVED] = "replies_received",
    [COUNT_CONNECTIONS_MADE] = "connections_made",
    [COUNT_CONNECTIONS_LOST] = "connections_lost",
    [COUNT_CONNECTIONS_REFUSED] = "connections_refused",
    [COUNT_MESSAGES_REFUSED] = "messages_refused",
    [COUNT_MESSAGES_DAMAGED] = "messages_damaged",
    [COUNT_DEADLINES_MISSED] = "deadlines_missed",
    [COUNT_RENEWALS] = "transport_renewals",
    [COUNT_SLEEPS] = "sleeps",
    [COUNT_WAKEUPS] = "wakeups",
#define NAME_SENT(number, name) [COUNT_BASE + INDEX_##name] = "sent_" #name,
    WIRE_OPERATIONS(NAME_SENT)
#define NAME_SERVED(number, name) [COUNT_BASE + OPERATION_COUNT + INDEX_##name] = "served_" #name,
    WIRE_OPERATIONS(NAME_SERVED)
};

#define COUNTER_COUNT (sizeof names / sizeof names[0])

static int index_of(unsigned operation)
{
    switch (operation) {
#define CASE(number, name) \
    case number:           \
        return INDEX_##name;
        WIRE_OPERATIONS(CASE)
#undef CASE
    }
    return -1;
}

int rpc_counters_make(struct rpc *rpc)
{
    rpc->counters = calloc(COUNTER_COUNT, sizeof *rpc->counters);
    if (!rpc->counters)
        return err_set(-ENOMEM, "out of memory for counters");
    for (size_t i = 0; i < COUNTER_COUNT; i++)
        rpc->counters[i].name = names[i];
    return 0;
}

void rpc_count(struct rpc *rpc, enum rpc_count which, uint64_t amount)
{
    counter_add(&rpc->counters[which], amount);
}

void rpc_count_sent(struct rpc *rpc, unsigned operation)
{
    int index = index_of(operation);
    rpc_count(rpc, COUNT_REQUESTS_SENT, 1);
    if (index >= 0)
        counter_add(&rpc->counters[COUNT_BASE + index], 1);
}

void rpc_count_served(struct rpc *rpc, unsigned operation)
{
    int index = index_of(operation);
    rpc_count(rpc, COUNT_REQUESTS_RECEIVED, 1);
    if (index >= 0)
        counter_add(&rpc->counters[COUNT_BASE + OPERATION_COUNT + index], 1);
}

size_t rpc_counters(const struct rpc *rpc, const struct counter **counters)
{
    *counters = rpc->counters;
    return COUNTER_COUNT;
}
