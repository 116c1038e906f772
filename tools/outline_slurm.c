/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slurm's topology.conf, of the plugin topology/tree: lines of SwitchName= with
 * Nodes= or Switches=, names in any case, # for comments. A switch that has nodes
 * is taken for a rack; what is above it is only checked.
 */
#include "outline.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "err.h"

struct reader {
    const char *path;
    struct outline *outline;
    struct outline_names switches; /* that are defined */
    struct outline_names children; /* that must be */
    unsigned line;
};

static int refuse(const struct reader *reader, const char *what)
{
    return err_set(-EINVAL, "%s:%u: %s", reader->path, reader->line, what);
}

/* Puts the place in front of the text that is there. */
static int refuse_as(const struct reader *reader, int error)
{
    char place[4200];
    snprintf(place, sizeof place, "%.4095s:%u", reader->path, reader->line);
    return err_prefix(error, place);
}

static int add_nodes(struct reader *reader, const char *rack, const char *list)
{
    struct outline_names nodes = {0};
    int error = outline_names_expand(list, &nodes);
    for (uint32_t i = 0; i < nodes.count && !error; i++) {
        uint32_t index, before = reader->outline->host_count;
        error = outline_host_add(reader->outline, nodes.items[i], "", rack, &index);
        if (!error && index < before)
            error = err_set(-EEXIST, "the node %s was named before", nodes.items[i]);
    }
    outline_names_free(&nodes);
    return error ? refuse_as(reader, error) : 0;
}

static int add_children(struct reader *reader, const char *list)
{
    struct outline_names names = {0};
    int error = outline_names_expand(list, &names);
    for (uint32_t i = 0; i < names.count && !error; i++)
        error = outline_names_add(&reader->children, names.items[i], NULL);
    outline_names_free(&names);
    return error ? refuse_as(reader, error) : 0;
}

static int take_line(struct reader *reader, char *line)
{
    const char *name = NULL, *nodes = NULL, *switches = NULL;
    char *rest = NULL;
    line[strcspn(line, "#")] = 0;
    for (char *word = strtok_r(line, " \t\r\n", &rest); word; word = strtok_r(NULL, " \t\r\n", &rest)) {
        char *value = strchr(word, '=');
        if (!value || !value[1])
            return refuse(reader,
                          "a word without \"=VALUE\"; possible are SwitchName, Nodes, Switches, LinkSpeed");
        *value++ = 0;
        if (strcasecmp(word, "SwitchName") == 0)
            name = value;
        else if (strcasecmp(word, "Nodes") == 0)
            nodes = value;
        else if (strcasecmp(word, "Switches") == 0)
            switches = value;
        else if (strcasecmp(word, "LinkSpeed") != 0)
            return refuse(reader,
                          "only SwitchName, Nodes, Switches and LinkSpeed are known, that is topology/tree");
    }
    if (!name)
        return nodes || switches ? refuse(reader, "a line without SwitchName=") : 0;
    if (!nodes == !switches)
        return refuse(reader, "a switch has either Nodes= or Switches=");
    if (outline_names_find(&reader->switches, name) != UINT32_MAX)
        return refuse(reader, "this switch was defined before");
    int error = outline_names_add(&reader->switches, name, NULL);
    if (error)
        return error;
    return nodes ? add_nodes(reader, name, nodes) : add_children(reader, switches);
}

/* A line that ends with a backslash goes on in the next one. */
static bool goes_on(char *line, ssize_t length)
{
    while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
        length--;
    if (length == 0 || line[length - 1] != '\\')
        return false;
    line[length - 1] = ' ';
    line[length] = 0;
    return true;
}

static int take_lines(struct reader *reader, FILE *file)
{
    char *line = NULL, *whole = NULL;
    size_t size = 0, used = 0;
    ssize_t length;
    int error = 0;
    while (!error && (length = getline(&line, &size, file)) >= 0) {
        reader->line++;
        if (memchr(line, 0, (size_t)length)) {
            error = refuse(reader, "this is no text");
            break;
        }
        bool more = goes_on(line, length);
        char *longer = realloc(whole, used + (size_t)length + 1);
        if (!longer) {
            error = err_set(-ENOMEM, "%s: out of memory", reader->path);
            break;
        }
        whole = longer;
        memcpy(whole + used, line, (size_t)length + 1);
        used = more ? strlen(whole) : 0;
        if (!more)
            error = take_line(reader, whole);
    }
    free(line);
    free(whole);
    return error;
}

int outline_read_slurm(const char *path, struct outline *outline)
{
    struct reader reader = {.path = path, .outline = outline};
    FILE *file = fopen(path, "re");
    if (!file)
        return err_sys("%s: cannot be opened", path);
    int error = take_lines(&reader, file);
    for (uint32_t i = 0; i < reader.children.count && !error; i++) {
        if (outline_names_find(&reader.switches, reader.children.items[i]) == UINT32_MAX)
            error = err_set(-EINVAL, "%s: the switch %s is a child, but has no line of its own", path,
                            reader.children.items[i]);
    }
    if (!error && outline->host_count == 0)
        error = err_set(-EINVAL, "%s: no switch has nodes", path);
    outline->knows_racks = true;
    outline_names_free(&reader.switches);
    outline_names_free(&reader.children);
    fclose(file);
    return error;
}
