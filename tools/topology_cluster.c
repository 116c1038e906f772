/* SPDX-License-Identifier: Apache-2.0 */
/* The present cluster as a topology: its map knows servers, addresses and space, but no racks. */
#include "topology.h"

#include <errno.h>
#include <string.h>

#include "err.h"

struct asking {
    struct topology *topology;
    int error;
};

static void take_server(void *arg, const struct weft_server *server)
{
    struct asking *asking = arg;
    char host[256];
    uint32_t index;
    if (asking->error || server->is_metadata || server->targets == 0)
        return;
    const char *colon = strrchr(server->address, ':');
    size_t length = colon ? (size_t)(colon - server->address) : strlen(server->address);
    snprintf(host, sizeof host, "%.*s", (int)(length < sizeof host ? length : sizeof host - 1),
             server->address);
    asking->error = topology_host_add(asking->topology, host, "", "", &index);
    if (asking->error)
        return;
    struct topology_host *at = &asking->topology->hosts[index];
    uint64_t capacity = server->bytes_total / server->targets;
    /* Of servers that share a host, and so a file system perhaps, the least. */
    at->capacity = at->targets && at->capacity < capacity ? at->capacity : capacity;
    at->targets += server->targets;
}

int topology_ask(struct tool *tool, struct topology *topology)
{
    struct asking asking = {.topology = topology};
    if (!tool_session(tool))
        return -1;
    int error = weft_servers(tool->session, take_server, &asking);
    if (error) {
        tool_complain_weft(tool, NULL, error);
        return -1;
    }
    if (asking.error)
        tool_complain(tool, "%s", err_text());
    else if (topology->host_count == 0)
        tool_complain(tool, "the cluster has no storage servers yet");
    return asking.error || topology->host_count == 0 ? -1 : 0;
}
