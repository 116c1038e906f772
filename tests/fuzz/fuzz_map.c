/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_map: any bytes as a cluster map. What is taken for a map must encode to
 * the very same bytes, and every question to it must have an answer inside it.
 */
#include "fuzz.h"
#include "map.h"

static void ask(const struct map *map)
{
    for (uint32_t i = 0; i < map->target_count; i++)
        require(map_target_by_id(map, map->targets[i].id) == &map->targets[i]);
    for (uint32_t i = 0; i < map->server_count && i < 64; i++)
        require(map_server_by_name(map, map->servers[i].name) == &map->servers[i]);
    struct layout layout = {.chunk_size = 4096,
                            .seed = map->version,
                            .stripe_count = map->group_count,
                            .group_count = map->group_count};
    const struct map_target *lost = map->group_count ? map_lost_since(map, &layout, 0) : NULL;
    require(!lost || (lost >= map->targets && lost < map->targets + map->target_count && lost->lost_at));
    for (uint64_t offset = 0; offset < 64 * 4096 && map->group_count > 0; offset += 4096) {
        struct map_location location;
        require(map_locate(map, &layout, offset, &location) == 0);
        require(location.server < map->server_count);
        require(location.shard < map->servers[location.server].shard_count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct map *map;
    if (map_decode(data, size, &map) != 0)
        return 0;
    uint8_t *again = malloc(size + 1);
    require(again != NULL);
    require(map_encoded_size(map) == size);
    require(map_encode(map, again, size) == (ssize_t)size);
    require(memcmp(again, data, size) == 0);
    free(again);
    ask(map);
    map_unref(map);
    return 0;
}
