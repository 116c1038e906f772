/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registered memory. What its owner registered for good (the buffer pools) is found by its address, and
 * costs a transfer nothing. Any other memory is registered for one transfer: a longer life would have to
 * end when the program gives the memory back, of which Weft is not told; a card that still knew the old
 * pages would move the wrong bytes. Providers where registering is dear watch the program's memory, and
 * keep registrations themselves (fi_mr(3), FI_MR_CACHE_MONITOR).
 */
#include "transport_ofi.h"

#include <errno.h>
#include <stdlib.h>

#include "err.h"

#define OWNER_ACCESS (FI_READ | FI_WRITE | FI_REMOTE_READ | FI_SEND | FI_RECV)

int ofi_mr_open(struct ofi_lane *lane, void *start, size_t length, uint64_t access, struct fid_mr **mr)
{
    /* Where keys are not the provider's, each must be another one. */
    uint64_t key = lane->keys_are_providers ? 0 : ++lane->next_key;
    int status = fi_mr_reg(lane->domain, start, length, access, 0, key, 0, mr, NULL);
    if (!status && lane->binds_memory && access & FI_REMOTE_READ) {
        status = fi_mr_bind(*mr, &lane->ep->fid, 0);
        if (!status)
            status = fi_mr_enable(*mr);
        if (status)
            fi_close(&(*mr)->fid);
    }
    if (!status)
        return 0;
    *mr = NULL;
    return ofi_fail(status, "registering memory");
}

static unsigned lane_index(const struct ofi_lane *lane)
{
    unsigned index = 0;
    while (lane->worker->lanes[index] != lane)
        index++;
    return index;
}

static struct fid_mr *owner_mr(const struct ofi_lane *lane, const void *start, size_t length,
                               const uint8_t **base)
{
    list_each(&lane->worker->memories, each, after)
    {
        const struct transport_memory *memory = list_item(each, struct transport_memory, link);
        const uint8_t *from = start;
        if (from < memory->start || from + length > memory->start + memory->length)
            continue;
        *base = memory->start;
        return memory->mrs[lane_index(lane)];
    }
    return NULL;
}

int ofi_register(struct ofi_lane *lane, void *start, size_t length, uint64_t access,
                 struct ofi_registration *registration)
{
    const uint8_t *base = start;
    struct fid_mr *mr = owner_mr(lane, start, length, &base);
    *registration = (struct ofi_registration){.mr = NULL};
    if (!mr) {
        int error = ofi_mr_open(lane, start, length, access, &registration->mr);
        if (error)
            return error;
        mr = registration->mr;
    }
    registration->local = fi_mr_desc(mr);
    registration->key = fi_mr_key(mr);
    registration->offset = (uint64_t)((const uint8_t *)start - base);
    return 0;
}

void ofi_unregister(struct ofi_registration *registration)
{
    if (registration->mr)
        fi_close(&registration->mr->fid);
    registration->mr = NULL;
}

/* ---- for good ------------------------------------------------------------------------------ */

int ofi_memories_open(struct ofi_lane *lane)
{
    list_each(&lane->worker->memories, each, after)
    {
        struct transport_memory *memory = list_item(each, struct transport_memory, link);
        int error =
            ofi_mr_open(lane, memory->start, memory->length, OWNER_ACCESS, &memory->mrs[lane_index(lane)]);
        if (error)
            return error;
    }
    return 0;
}

void ofi_memories_close(struct ofi_lane *lane)
{
    list_each(&lane->worker->memories, each, after)
    {
        struct transport_memory *memory = list_item(each, struct transport_memory, link);
        struct fid_mr **mr = &memory->mrs[lane_index(lane)];
        if (*mr)
            fi_close(&(*mr)->fid);
        *mr = NULL;
    }
}

int ofi_memory_register(struct transport_worker *worker, void *start, size_t length,
                        struct transport_memory **out)
{
    struct transport_memory *memory = calloc(1, sizeof *memory);
    if (!memory)
        return err_set(-ENOMEM, "out of memory for a registration");
    memory->worker = worker;
    memory->start = start;
    memory->length = length;
    list_push_back(&worker->memories, &memory->link);
    for (unsigned i = 0; i < worker->lane_count; i++) {
        if (worker->lanes[i]->broken)
            continue;
        int error = ofi_mr_open(worker->lanes[i], start, length, OWNER_ACCESS, &memory->mrs[i]);
        if (error) {
            ofi_memory_release(memory);
            return error;
        }
    }
    *out = memory;
    return 0;
}

void ofi_memory_release(struct transport_memory *memory)
{
    for (unsigned i = 0; i < OFI_LANES_MAX; i++)
        if (memory->mrs[i])
            fi_close(&memory->mrs[i]->fid);
    list_remove(&memory->link);
    free(memory);
}
