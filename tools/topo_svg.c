/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The drawing of weft topo: a column for each package with its NUMA nodes, their cores, and the devices that
 * hang on it; below them what hangs on the whole machine, targets on no known disk, and the other hosts.
 * Boxes are written as they are placed, into memory, since the size of the picture stands in front.
 */
#include "topo.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    GAP = 10,
    LINE = 15,
    CELL_WIDTH = 120,
    CELL_HEIGHT = 3 * LINE + 8,
    CELLS_A_ROW = 4,
    NODE_WIDTH = CELLS_A_ROW * (CELL_WIDTH + GAP) + GAP,
    COLUMN_WIDTH = NODE_WIDTH + 2 * GAP,
    DEVICE_WIDTH = 2 * CELL_WIDTH + GAP,
    TEXT_BYTES = 256,
};

struct drawing {
    const struct topo *topo;
    FILE *out;
    int width; /* of the picture, so far */
};

/* ---- pieces --------------------------------------------------------------- */

static void box(struct drawing *drawing, int x, int y, int width, int height, const char *style)
{
    fprintf(drawing->out, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"4\"/>\n",
            style, x, y, width, height);
    if (x + width + GAP > drawing->width)
        drawing->width = x + width + GAP;
}

/* Names and paths are the configuration's; what XML does not take becomes a question mark. */
static void escape(FILE *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc((unsigned char)*text < ' ' || (unsigned char)*text > '~' ? '?' : *text, out);
        }
    }
}

/* About, in the fonts of the styles. */
static unsigned letter_width(const char *style)
{
    return strcmp(style, "small") == 0 ? 6 : strcmp(style, "title") == 0 ? 9 : 7;
}

/* A line of text, cut where it does not fit; the whole of it is shown by the pointer then. */
__attribute__((format(printf, 6, 7))) static void line(struct drawing *drawing, int x, int y, int width,
                                                       const char *style, const char *format, ...)
{
    char text[TEXT_BYTES], shown[TEXT_BYTES];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    size_t room = (size_t)(width > 0 ? width : 1) / letter_width(style);
    snprintf(shown, sizeof shown, "%s", text);
    bool is_cut = strlen(text) > room && room > 2 && room < sizeof shown;
    if (is_cut)
        snprintf(shown + room - 2, sizeof shown - (room - 2), "..");
    fprintf(drawing->out, "<text class=\"%s\" x=\"%d\" y=\"%d\">", style, x, y);
    if (is_cut) {
        fputs("<title>", drawing->out);
        escape(drawing->out, text);
        fputs("</title>", drawing->out);
    }
    escape(drawing->out, shown);
    fputs("</text>\n", drawing->out);
}

/* ---- cores ------------------------------------------------------------------ */

static uint32_t shards_on(const struct binding *binding, hwloc_const_bitmap_t cpus, char text[TEXT_BYTES],
                          const struct binding_shard **first)
{
    uint32_t count = 0;
    size_t length = 0;
    text[0] = 0;
    for (uint32_t i = 0; binding && i < binding->shard_count && length < TEXT_BYTES; i++) {
        const struct binding_shard *shard = &binding->shards[i];
        if (!shard->cpus || !hwloc_bitmap_intersects(shard->cpus, cpus))
            continue;
        *first = count++ ? *first : shard;
        length += (size_t)snprintf(text + length, TEXT_BYTES - length, "%s%s/%" PRIu32, length ? " " : "",
                                   shard->storage->name, shard->index);
    }
    return count;
}

static void draw_core(struct drawing *drawing, hwloc_obj_t core, int x, int y)
{
    const struct binding *binding = drawing->topo->binding;
    const struct binding_shard *shard = NULL;
    char cpus[TOPO_TEXT], shards[TEXT_BYTES];
    bool is_usable = hwloc_bitmap_intersects(core->cpuset, drawing->topo->topology->usable);
    uint32_t count = shards_on(binding, core->cpuset, shards, &shard);
    bool is_metadata =
        binding && binding->metadata_cpus && hwloc_bitmap_intersects(binding->metadata_cpus, core->cpuset);
    box(drawing, x, y, CELL_WIDTH, CELL_HEIGHT,
        count         ? "shard"
        : is_metadata ? "metadata"
        : is_usable   ? "core"
                      : "unusable");
    x += 6;
    line(drawing, x, y + LINE, CELL_WIDTH - 8, "small", "core %u, CPU %s", core->logical_index,
         topo_cpus(cpus, core->cpuset));
    if (count) {
        line(drawing, x, y + 2 * LINE, CELL_WIDTH - 8, "strong", "%s", shards);
        if (shard->nic)
            line(drawing, x, y + 3 * LINE, CELL_WIDTH - 8, "small", "by %s", shard->nic->name);
    } else if (is_metadata) {
        line(drawing, x, y + 2 * LINE, CELL_WIDTH - 8, "strong", "metadata");
    } else if (!is_usable) {
        line(drawing, x, y + 2 * LINE, CELL_WIDTH - 8, "small", "not usable");
    }
}

/* Cores, or CPUs where hwloc knows no cores. Returns the y below them. */
static int draw_cores(struct drawing *drawing, hwloc_const_bitmap_t inside, int x, int y)
{
    hwloc_topology_t hwloc = drawing->topo->topology->hwloc;
    hwloc_obj_type_t type =
        hwloc_get_nbobjs_by_type(hwloc, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    int count = 0;
    for (hwloc_obj_t core = NULL; (core = hwloc_get_next_obj_by_type(hwloc, type, core)) != NULL;) {
        if (!hwloc_bitmap_isincluded(core->cpuset, inside))
            continue;
        draw_core(drawing, core, x + count % CELLS_A_ROW * (CELL_WIDTH + GAP),
                  y + count / CELLS_A_ROW * (CELL_HEIGHT + GAP));
        count++;
    }
    return y + (count + CELLS_A_ROW - 1) / CELLS_A_ROW * (CELL_HEIGHT + GAP);
}

/* ---- NUMA nodes ------------------------------------------------------------------- */

/* "NUMA node 0 (64.0 GiB), 4 MCDRAM (16.0 GiB)": all that have these cores. */
static void nodes_text(const struct topo *topo, hwloc_const_bitmap_t cpuset, char text[TEXT_BYTES])
{
    size_t length = (size_t)snprintf(text, TEXT_BYTES, "NUMA node");
    hwloc_obj_t node = NULL;
    bool is_first = true;
    while ((node = hwloc_get_next_obj_by_type(topo->topology->hwloc, HWLOC_OBJ_NUMANODE, node)) != NULL) {
        char bytes[FORMAT_BYTES];
        if (!hwloc_bitmap_isequal(node->cpuset, cpuset) || length >= TEXT_BYTES)
            continue;
        uint64_t memory = node->attr->numanode.local_memory; /* 0: not told */
        length += (size_t)snprintf(text + length, TEXT_BYTES - length, "%s %u", is_first ? "" : ",",
                                   node->os_index);
        if (node->subtype && length < TEXT_BYTES)
            length += (size_t)snprintf(text + length, TEXT_BYTES - length, " %s", node->subtype);
        if (memory && length < TEXT_BYTES)
            length +=
                (size_t)snprintf(text + length, TEXT_BYTES - length, " (%s)", format_bytes(bytes, memory));
        is_first = false;
    }
}

/* The node is the first of those with its cores, and these are of the column. */
static bool begins_node(hwloc_topology_t hwloc, hwloc_obj_t node, hwloc_const_bitmap_t column)
{
    if (!hwloc_bitmap_intersects(node->cpuset, column))
        return false;
    for (hwloc_obj_t other = NULL;
         (other = hwloc_get_next_obj_by_type(hwloc, HWLOC_OBJ_NUMANODE, other)) != NULL && other != node;)
        if (hwloc_bitmap_isequal(other->cpuset, node->cpuset))
            return false;
    return true;
}

/* Returns the y below them. */
static int draw_nodes(struct drawing *drawing, hwloc_obj_t column, int x, int y)
{
    hwloc_topology_t hwloc = drawing->topo->topology->hwloc;
    hwloc_bitmap_t inside = hwloc_bitmap_alloc();
    char text[TEXT_BYTES];
    for (hwloc_obj_t node = NULL;
         inside && (node = hwloc_get_next_obj_by_type(hwloc, HWLOC_OBJ_NUMANODE, node)) != NULL;) {
        if (!begins_node(hwloc, node, column->cpuset))
            continue;
        hwloc_bitmap_and(inside, node->cpuset, column->cpuset);
        /* The box lies behind its cores, so it comes first, and their number must be known. */
        int count = hwloc_get_nbobjs_inside_cpuset_by_type(hwloc, inside, HWLOC_OBJ_CORE);
        if (count <= 0)
            count = hwloc_bitmap_weight(inside);
        int height = LINE + GAP + (count + CELLS_A_ROW - 1) / CELLS_A_ROW * (CELL_HEIGHT + GAP);
        box(drawing, x, y, NODE_WIDTH, height, "node");
        nodes_text(drawing->topo, node->cpuset, text);
        line(drawing, x + GAP, y + LINE, NODE_WIDTH - GAP, "label", "%s", text);
        draw_cores(drawing, inside, x + GAP, y + LINE + GAP);
        y += height + GAP;
    }
    hwloc_bitmap_free(inside);
    return y;
}

/* ---- devices and targets ------------------------------------------------------------ */

static int draw_target(struct drawing *drawing, const struct binding_target *target, int x, int y)
{
    line(drawing, x, y, DEVICE_WIDTH - 12, "small", "target %" PRIu32 " of %s: %s", target->target->id,
         target->storage->name, target->target->dir);
    return y + LINE;
}

/* Returns its height. */
static int draw_device(struct drawing *drawing, const struct topology_device *device, int x, int y)
{
    const struct binding *binding = drawing->topo->binding;
    char place[TOPO_TEXT];
    int lines = 1;
    for (uint32_t i = 0; binding && i < binding->target_count; i++)
        lines += binding->targets[i].device == device;
    int height = lines * LINE + 10, at = y + LINE;
    box(drawing, x, y, DEVICE_WIDTH, height, device->kind == TOPOLOGY_DISK ? "disk" : "nic");
    bool is_near_one = hwloc_bitmap_weight(device->beside->nodeset) == 1 && device->beside->depth > 1;
    snprintf(place, sizeof place, ", NUMA node %d", hwloc_bitmap_first(device->beside->nodeset));
    line(drawing, x + 6, at, DEVICE_WIDTH - 8, "strong", "%s (%s%s%s)", device->name, topo_kind(device),
         is_near_one ? place : "", device->is_down ? ", no link" : "");
    at += LINE;
    for (uint32_t i = 0; binding && i < binding->target_count; i++)
        if (binding->targets[i].device == device)
            at = draw_target(drawing, &binding->targets[i], x + 6, at);
    return height;
}

/* Whether the device is drawn in that column; NULL stands for the whole machine. */
static bool belongs(const struct topology_device *device, hwloc_obj_t column, bool is_only_column)
{
    bool is_everywhere = device->beside->depth == 0 && !is_only_column;
    if (!column)
        return is_everywhere;
    return !is_everywhere && hwloc_bitmap_intersects(device->beside->cpuset, column->cpuset);
}

/* Two beside each other in a column. Returns the y below them. */
static int draw_devices(struct drawing *drawing, hwloc_obj_t column, bool is_only_column, int x, int y)
{
    const struct topology *topology = drawing->topo->topology;
    int count = 0, height = 0;
    for (uint32_t i = 0; i < topology->device_count; i++) {
        if (!belongs(&topology->devices[i], column, is_only_column))
            continue;
        int drawn = draw_device(drawing, &topology->devices[i], x + count % 2 * (DEVICE_WIDTH + GAP), y);
        height = drawn > height ? drawn : height;
        if (++count % 2 == 0) {
            y += height + GAP;
            height = 0;
        }
    }
    return height ? y + height + GAP : y;
}

/* On no disk that hwloc knows. */
static int draw_other_targets(struct drawing *drawing, int x, int y)
{
    const struct binding *binding = drawing->topo->binding;
    uint32_t count = 0;
    for (uint32_t i = 0; binding && i < binding->target_count; i++)
        count += !binding->targets[i].device;
    if (!count)
        return y;
    int height = ((int)count + 1) * LINE + 10, at = y + LINE;
    box(drawing, x, y, DEVICE_WIDTH, height, "disk");
    line(drawing, x + 6, at, DEVICE_WIDTH - 8, "strong", "on no disk that is known");
    at += LINE;
    for (uint32_t i = 0; i < binding->target_count; i++)
        if (!binding->targets[i].device)
            at = draw_target(drawing, &binding->targets[i], x + 6, at);
    return y + height + GAP;
}

/* ---- the host, and others ------------------------------------------------------------ */

static int draw_column(struct drawing *drawing, hwloc_obj_t column, bool is_only_column, int x, int y)
{
    int top = y;
    y = draw_nodes(drawing, column, x + GAP, y + LINE + GAP);
    y = draw_devices(drawing, column, is_only_column, x + GAP, y);
    if (column->type == HWLOC_OBJ_PACKAGE)
        line(drawing, x + GAP, top + LINE, COLUMN_WIDTH - GAP, "label", "package %u", column->logical_index);
    fprintf(drawing->out, "<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"6\"/>\n",
            x, top, COLUMN_WIDTH, y - top);
    return y + GAP;
}

/* Virtual machines often have a package for each core, and one NUMA node: then one column is better. */
static bool packages_hold_nodes(hwloc_topology_t hwloc)
{
    hwloc_obj_t node = NULL;
    while ((node = hwloc_get_next_obj_by_type(hwloc, HWLOC_OBJ_NUMANODE, node)) != NULL)
        if (hwloc_get_nbobjs_inside_cpuset_by_type(hwloc, node->cpuset, HWLOC_OBJ_PACKAGE) > 1)
            return false;
    return hwloc_get_nbobjs_by_type(hwloc, HWLOC_OBJ_PACKAGE) > 0;
}

static int draw_host(struct drawing *drawing, int y)
{
    const struct topo *topo = drawing->topo;
    hwloc_topology_t hwloc = topo->topology->hwloc;
    char host[LIMITS_ADDRESS_MAX + 1];
    int columns = hwloc_get_nbobjs_by_type(hwloc, HWLOC_OBJ_PACKAGE), bottom = y + 2 * LINE;
    bool has_packages = packages_hold_nodes(hwloc);
    columns = has_packages ? columns : 1;
    int width = columns * (COLUMN_WIDTH + GAP) + GAP, lowest = bottom;
    line(drawing, 2 * GAP, y + LINE, width, "title", "%s%s%s",
         topo->of ? topo_host(host, topo->of->listen) : "", topo->of ? ", as seen on " : "",
         topo->topology->source);
    for (int i = 0; i < columns; i++) {
        hwloc_obj_t column = has_packages ? hwloc_get_obj_by_type(hwloc, HWLOC_OBJ_PACKAGE, (unsigned)i)
                                          : hwloc_get_root_obj(hwloc);
        int end = draw_column(drawing, column, columns == 1, 2 * GAP + i * (COLUMN_WIDTH + GAP), bottom);
        lowest = end > lowest ? end : lowest;
    }
    lowest = draw_devices(drawing, NULL, columns == 1, 2 * GAP, lowest);
    lowest = draw_other_targets(drawing, 2 * GAP, lowest);
    fprintf(drawing->out, "<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"8\"/>\n",
            GAP, y, width + GAP, lowest - y);
    if (drawing->width < width + 3 * GAP)
        drawing->width = width + 3 * GAP;
    return lowest + GAP;
}

/* What the configuration tells of the servers on other hosts. */
static int draw_others(struct drawing *drawing, int y)
{
    const struct topo *topo = drawing->topo;
    int x = GAP, height = 0;
    for (uint32_t i = 0; i < topo->conf->storage_count; i++) {
        const struct conf_storage *server = &topo->conf->storage[i];
        char text[TEXT_BYTES] = "";
        size_t length = 0;
        if (topo->of && binding_same_host(server->listen, topo->of->listen))
            continue;
        if (x > GAP && x + DEVICE_WIDTH + GAP > drawing->width) {
            x = GAP;
            y += height + GAP;
        }
        height = 3 * LINE + 10;
        box(drawing, x, y, DEVICE_WIDTH, height, "node");
        line(drawing, x + 6, y + LINE, DEVICE_WIDTH - 8, "strong", "%s at %s", server->name, server->listen);
        line(drawing, x + 6, y + 2 * LINE, DEVICE_WIDTH - 8, "small", "%" PRIu32 " shard%s", server->shards,
             server->shards == 1 ? "" : "s");
        for (uint32_t t = 0; t < server->target_count && length < sizeof text; t++)
            length += (size_t)snprintf(text + length, sizeof text - length, "%s%" PRIu32, t ? ", " : "",
                                       server->targets[t].id);
        line(drawing, x + 6, y + 3 * LINE, DEVICE_WIDTH - 8, "small", "targets %s", text);
        x += DEVICE_WIDTH + GAP;
    }
    return height ? y + height + GAP : y;
}

static const char style[] = "<style>\n"
                            "text { font-family: sans-serif; font-size: 12px; fill: #1d2733; }\n"
                            ".title { font-size: 14px; font-weight: bold; }\n"
                            ".label { fill: #46566a; }\n"
                            ".small { font-size: 11px; }\n"
                            ".strong { font-weight: bold; }\n"
                            "rect { stroke: #8796a8; stroke-width: 1; }\n"
                            ".frame { fill: none; stroke: #46566a; }\n"
                            ".node { fill: #eef2f6; }\n"
                            ".core { fill: #ffffff; }\n"
                            ".unusable { fill: #d9dde2; stroke-dasharray: 3 3; }\n"
                            ".shard { fill: #a9d6a2; }\n"
                            ".metadata { fill: #f2d79b; }\n"
                            ".nic { fill: #a8cdf0; }\n"
                            ".disk { fill: #e3c4e8; }\n"
                            "</style>\n";

void topo_draw(const struct topo *topo, FILE *stream)
{
    char *body = NULL;
    size_t length;
    struct drawing drawing = {.topo = topo, .out = open_memstream(&body, &length), .width = 400};
    if (!drawing.out) {
        tool_complain(topo->tool, "no memory for the drawing");
        return;
    }
    int height = draw_others(&drawing, draw_host(&drawing, GAP));
    if (fclose(drawing.out) == 0) {
        fprintf(
            stream,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n"
            "<rect x=\"0\" y=\"0\" width=\"%d\" height=\"%d\" fill=\"#ffffff\" stroke=\"none\"/>\n%s",
            drawing.width, height, drawing.width, height, drawing.width, height, style);
        fputs(body, stream);
        fputs("</svg>\n", stream);
    } else {
        tool_complain(topo->tool, "no memory for the drawing");
    }
    free(body);
}
