/* SPDX-License-Identifier: Apache-2.0 */
#include "domains.h"

void domains_init(struct domains *domains, int aggregators, int64_t chunk_size, int64_t stripes,
                  int64_t buffer_bytes)
{
    if (buffer_bytes > DOMAINS_BUFFER_MAX)
        buffer_bytes = DOMAINS_BUFFER_MAX;
    if (aggregators > stripes)
        aggregators -= (int)(aggregators % stripes); /* as many at each group */
    domains->aggregators = aggregators;
    domains->chunk_size = chunk_size;
    domains->stripes = stripes;
    domains->unit = chunk_size < buffer_bytes ? chunk_size : buffer_bytes;
    domains->window = buffer_bytes / domains->unit * domains->unit * aggregators;
}

int domains_owner(const struct domains *domains, int64_t offset, int64_t *end)
{
    int64_t chunk = offset / domains->chunk_size, inside = offset % domains->chunk_size;
    int64_t part = inside / domains->unit, part_end = (part + 1) * domains->unit;
    int64_t turn = domains->aggregators > domains->stripes ? chunk : chunk % domains->stripes;
    if (part_end > domains->chunk_size)
        part_end = domains->chunk_size;
    *end = offset - inside + part_end;
    return (int)((turn + part) % domains->aggregators);
}

int64_t domains_start(const struct domains *domains, int64_t offset)
{
    int64_t inside = offset % domains->chunk_size;
    return offset - inside % domains->unit;
}
