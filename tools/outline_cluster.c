/* SPDX-License-Identifier: Apache-2.0 */
/* The present cluster as an outline: its map knows servers, where they run, and space. */
#include "outline.h"

#include "err.h"

struct asking {
    struct outline *outline;
    int error;
};

static void take_server(void *arg, const struct weft_server *server)
{
    struct asking *asking = arg;
    uint32_t index;
    if (asking->error || server->is_metadata || server->targets == 0)
        return;
    /* A server that has not said where it runs, since it is older than that question. */
    const char *host = *server->host ? server->host : server->name;
    asking->error = outline_host_add(asking->outline, host, server->chassis, server->rack, &index);
    asking->outline->knows_chassis |= *server->chassis != 0;
    asking->outline->knows_racks |= *server->rack != 0;
    if (asking->error)
        return;
    struct outline_host *at = &asking->outline->hosts[index];
    uint64_t capacity = server->bytes_total / server->targets;
    /* Of servers that share a host, and so a file system perhaps, the least. */
    at->capacity = at->targets && at->capacity < capacity ? at->capacity : capacity;
    at->targets += server->targets;
}

int outline_ask(struct tool *tool, struct outline *outline)
{
    struct asking asking = {.outline = outline};
    if (!tool_session(tool))
        return -1;
    int error = weft_servers(tool->session, take_server, &asking);
    if (error) {
        tool_complain_weft(tool, NULL, error);
        return -1;
    }
    if (asking.error)
        tool_complain(tool, "%s", err_text());
    else if (outline->host_count == 0)
        tool_complain(tool, "the cluster has no storage servers yet");
    return asking.error || outline->host_count == 0 ? -1 : 0;
}
