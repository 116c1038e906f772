/* SPDX-License-Identifier: Apache-2.0 */
/* topo.h: what the files of weft topo share. */
#ifndef TOOLS_TOPO_H
#define TOOLS_TOPO_H

#include <stdio.h>

#include "binding.h"
#include "tool.h"

struct topo {
    struct tool *tool;
    struct conf *conf;
    struct topology *topology;
    const struct conf_storage *of; /* a server of the host that is shown; NULL: none is on it */
    struct binding *binding;       /* NULL without */
};

enum { TOPO_TEXT = 64 };

/* topo_text.c */

void topo_print(const struct topo *topo);
/* "0-3,8"; "-" for NULL and for no CPU. */
const char *topo_cpus(char text[TOPO_TEXT], hwloc_const_bitmap_t cpus);
/* The host of an address, without the port. */
const char *topo_host(char text[LIMITS_ADDRESS_MAX + 1], const char *listen);
/* "InfiniBand", "Ethernet", "disk" */
const char *topo_kind(const struct topology_device *device);

/* topo_svg.c */

/* Draws the host. A failed write is seen by the stream's owner. */
void topo_draw(const struct topo *topo, FILE *stream);

#endif
