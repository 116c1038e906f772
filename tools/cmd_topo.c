/* SPDX-License-Identifier: Apache-2.0 */
/* weft topo: where on a host the shards of its servers run. Asks no server. */
#include "topo.h"

#include <errno.h>
#include <string.h>

#include "err.h"

struct options {
    const char *server, *svg, *topology;
};

static int complain_about_server(struct topo *topo, const char *name)
{
    char known[512] = "";
    size_t length = 0;
    for (uint32_t i = 0; i < topo->conf->storage_count && length < sizeof known; i++)
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "",
                                   topo->conf->storage[i].name);
    tool_complain(topo->tool, "%s has no storage server \"%s\"; it has: %s", topo->conf->file, name,
                  *known ? known : "none");
    return -1;
}

/* That of the named server; else this one; a description stands for the first server's. */
static int choose_host(struct topo *topo, const struct options *options)
{
    const struct conf *conf = topo->conf;
    if (options->server) {
        topo->of = conf_storage_by_name(conf, options->server);
        if (!topo->of)
            return complain_about_server(topo, options->server);
        if (options->topology || binding_is_here(topo->of->listen))
            return 0;
        tool_complain(
            topo->tool,
            "%s is at %s, on another host: run weft topo there, or give --topology FILE, which lstopo "
            "FILE.xml writes there",
            options->server, topo->of->listen);
        return -1;
    }
    for (uint32_t i = 0; !topo->of && i < conf->storage_count; i++)
        if (options->topology || binding_is_here(conf->storage[i].listen))
            topo->of = &conf->storage[i];
    return 0;
}

static int make(struct topo *topo, const struct options *options)
{
    int error = topology_open(options->topology, &topo->topology);
    if (error || !topo->of)
        return error;
    for (uint32_t i = 0; i < topo->conf->storage_count; i++) {
        const struct conf_storage *storage = &topo->conf->storage[i];
        if (binding_same_host(storage->listen, topo->of->listen) && binding_check(topo->topology, storage))
            tool_complain(topo->tool, "%s", err_text());
    }
    return binding_make(topo->topology, topo->conf, topo->of,
                        topo->topology->is_here ? &binding_lookup_here : NULL, &topo->binding);
}

static void draw_to(struct topo *topo, const char *path)
{
    FILE *stream = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
    if (!stream) {
        tool_complain_local(topo->tool, path, errno);
        return;
    }
    topo_draw(topo, stream);
    if (stream == stdout)
        return; /* checked when the command ends */
    bool is_written = !ferror(stream);
    if (fclose(stream) || !is_written)
        tool_complain_local(topo->tool, path, errno ? errno : EIO);
}

int cmd_topo(struct tool *tool, int argc, char **argv)
{
    struct options given = {0};
    const struct option_spec options[] = {
        {"server", 0, OPTION_TEXT, "NAME", &given.server, "the host of this storage server"},
        {"topology", 0, OPTION_TEXT, "FILE", &given.topology,
         "this machine in the place of the real one: a file\nof lstopo (FILE.xml), or a text (pack:2 core:4 "
         "pu:2)"},
        {"svg", 0, OPTION_TEXT, "FILE", &given.svg, "draw it into this file; -: to standard output"},
        OPTION_CONF(tool),
        {0},
    };
    int first;
    int status =
        options_parse(tool, argc, argv, options,
                      "Shows where on this host the shards of its storage servers run: their cores, memory,\n"
                      "network devices and disks, and why. It asks no server: it shows what a server that\n"
                      "is started now, with the CPUs that this command may use, would do.",
                      &first);
    if (status >= 0)
        return status;
    if (first < argc)
        return tool_usage_error(tool, "%s: it takes no other arguments", argv[first]);

    struct topo topo = {.tool = tool};
    int error = conf_load(tool->conf, &topo.conf);
    if (!error && choose_host(&topo, &given) == 0) {
        error = make(&topo, &given);
        if (!error && (!given.svg || strcmp(given.svg, "-") != 0))
            topo_print(&topo);
        if (!error && given.svg)
            draw_to(&topo, given.svg);
    }
    if (error)
        tool_complain(tool, "%s", err_text());
    binding_free(topo.binding);
    topology_close(topo.topology);
    conf_free(topo.conf);
    return tool->status;
}
