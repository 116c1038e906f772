/* SPDX-License-Identifier: Apache-2.0 */
/* weft net: the ways to other processes that this host has, what they give, and which one Weft takes. */
#include "tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "net_measure.h"
#include "transport.h"

struct net {
    struct tool *tool;
    double seconds; /* for each; 0: nothing is measured */
    struct table *table;
    json_t *rows;                          /* NULL: a table */
    char measured[TRANSPORT_TEXT_MAX + 1]; /* the latest; devices of one kind stand together */
    struct net_result result;
};

static void row_add(struct net *net, const struct transport_device *device)
{
    char latency[32] = "-", rate[32] = "-";
    bool was_measured = net->seconds > 0 && !device->is_aid;
    bool has_figures = was_measured && !net->result.error;
    if (has_figures) {
        snprintf(latency, sizeof latency, "%.1f", net->result.latency_us);
        snprintf(rate, sizeof rate, "%.0f", net->result.mib_per_s);
    }
    const char *remark = was_measured && net->result.error ? net->result.text : device->why;
    const char *reach = device->is_local ? "this host" : "others";
    if (!net->rows) {
        table_row(net->table, device->text, device->name, reach, latency, rate, remark, NULL);
        return;
    }
    json_t *row = json_pack("{s:o, s:o, s:b, s:b, s:o}", "transport", format_json_text(device->text),
                            "device", format_json_text(device->name), "local", device->is_local,
                            "by_name_only", device->is_by_name_only, "remark", format_json_text(remark));
    if (has_figures) {
        json_object_set_new(row, "latency_us", json_real(net->result.latency_us));
        json_object_set_new(row, "mib_per_s", json_real(net->result.mib_per_s));
    }
    json_array_append_new(net->rows, row);
}

static void device_show(struct net *net, const struct transport_device *device)
{
    if (net->seconds > 0 && !device->is_aid && strcmp(net->measured, device->text) != 0) {
        snprintf(net->measured, sizeof net->measured, "%s", device->text);
        net_measure(device->text, net->seconds, &net->result);
    }
    row_add(net, device);
}

static void transport_show(struct net *net, const struct transport *transport)
{
    struct transport_device *devices = NULL;
    unsigned count = 0;
    if (transport->devices(&devices, &count)) {
        tool_complain(net->tool, "%s: %s", transport->name, err_text());
        return;
    }
    for (unsigned i = 0; i < count && !tool_interrupted(); i++)
        device_show(net, &devices[i]);
    free(devices);
}

/* What `transport` in the configuration comes to on this host. */
static void choice_describe(const struct transport_wish *wishes, int count, const char *text, char *line,
                            size_t size)
{
    size_t used = 0;
    line[0] = '\0';
    for (int i = 0; i < count && used < size; i++) {
        struct transport_device *devices = NULL;
        unsigned device_count = 0;
        const struct transport *transport = wishes[i].transport;
        used += (size_t)snprintf(line + used, size - used, "%s%s", i ? "; then " : "", transport->name);
        if (*wishes[i].options && used < size)
            used += (size_t)snprintf(line + used, size - used, " as it is told (%s)", wishes[i].options);
        else if (!transport->chooses_itself && !transport->devices(&devices, &device_count) && device_count &&
                 !devices[0].is_by_name_only && used < size)
            used += (size_t)snprintf(line + used, size - used, " on %s (%s: %s)", devices[0].name,
                                     devices[0].text, devices[0].why);
        free(devices);
    }
    if (!strcmp(text, "auto") && used < size)
        snprintf(line + used, size - used, "%s", transport_preferred_why());
}

static int net_run(struct net *net, const char *text)
{
    struct transport_wish wishes[TRANSPORTS_MAX], all[TRANSPORTS_MAX];
    char line[1024];
    int count = transport_text_read(text, wishes);
    int all_count = transport_text_read("auto", all);
    if (count < 0)
        return tool_usage_error(net->tool, "%s", err_text());
    for (int i = 0; i < all_count; i++)
        transport_show(net, all[i].transport);
    choice_describe(wishes, count, text, line, sizeof line);
    if (net->rows) {
        format_json_print(json_pack("{s:o, s:o, s:o}", "devices", net->rows, "transport",
                                    format_json_text(text), "choice", format_json_text(line)));
        return TOOL_DONE;
    }
    table_print(net->table, stdout);
    printf("\nWith transport = \"%s\" Weft takes %s.\n", text, line);
    if (net->seconds > 0)
        puts("Measured between two processes of this host; other hosts are reached at most as fast.");
    return TOOL_DONE;
}

int cmd_net(struct tool *tool, int argc, char **argv)
{
    const char *transport = "auto", *seconds = "1";
    bool list = false, as_json = false;
    int first;
    const struct option_spec options[] = {
        {"list", 0, OPTION_FLAG, NULL, &list, "measure nothing"},
        {"seconds", 0, OPTION_TEXT, "S", &seconds, "how long each is measured (default 1)"},
        {"transport", 0, OPTION_TEXT, "NAME", &transport,
         "say what this setting of weft.conf comes to (default auto)"},
        {"json", 0, OPTION_FLAG, NULL, &as_json, "as a JSON object"},
        {0},
    };
    int status =
        options_parse(tool, argc, argv, options,
                      "Lists the transports and devices that Weft can use on this host, with the latency "
                      "and bandwidth\nof each between two processes, and tells which one Weft chooses.",
                      &first);
    if (status >= 0)
        return status;
    if (first < argc)
        return tool_usage_error(tool, "takes no argument");
    char *end;
    struct net net = {.tool = tool, .seconds = list ? 0 : strtod(seconds, &end)};
    if (!list && (*end || !(net.seconds > 0 && net.seconds <= 60)))
        return tool_usage_error(tool, "--seconds: a number up to 60, not \"%s\"", seconds);
    tool_catch_interrupts();
    if (as_json) {
        net.rows = json_array();
    } else {
        net.table = table_new("lllrrl");
        table_row(net.table, "TRANSPORT", "DEVICE", "REACHES", "LATENCY us", "MiB/s", "REMARK", NULL);
    }
    return net_run(&net, transport);
}
