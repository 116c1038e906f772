/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weft/weft.h"

#define CACHE_BYTES_PRESET (16u << 20)
#define CACHE_BYTES_MAX    (UINT64_C(1) << 40)

struct parse {
    struct vfd_options *options;
    char *complaint; /* "" as long as all is well; of several errors the first is told */
};

/* As hint_set has them: a number, perhaps with one of K, M and G behind it. */
static bool size_of(const char *value, uint64_t *bytes)
{
    char *end;
    if (value[0] < '0' || value[0] > '9')
        return false;
    errno = 0;
    uint64_t number = strtoull(value, &end, 10);
    unsigned shift = *end == 'K' || *end == 'k'   ? 10
                     : *end == 'M' || *end == 'm' ? 20
                     : *end == 'G' || *end == 'g' ? 30
                                                  : 0;
    end += shift ? 1 : 0;
    if (errno || *end != '\0' || number > CACHE_BYTES_MAX >> shift)
        return false;
    *bytes = number << shift;
    return true;
}

/* True when the name is one of the driver's own. */
static bool take_own(const struct parse *parse, const char *name, const char *value)
{
    struct vfd_options *options = parse->options;
    uint64_t bytes;
    if (strcmp(name, "cache_size") == 0) {
        if (!value || !size_of(value, &bytes))
            snprintf(parse->complaint, VFD_COMPLAINT_BYTES,
                     "cache_size wants a number of bytes such as 16M, or 0 for no cache");
        else
            options->cache_bytes = (size_t)bytes;
        return true;
    }
    if (strcmp(name, "folder") == 0) {
        if (!value || (value[0] != '/' && strcmp(value, ".") != 0) || strlen(value) > VFD_FOLDER_BYTES_MAX)
            snprintf(parse->complaint, VFD_COMPLAINT_BYTES,
                     "folder wants a path in the cluster that begins with '/', of at most %u bytes, or \".\"",
                     VFD_FOLDER_BYTES_MAX);
        else
            options->has_folder = snprintf(options->folder, sizeof options->folder, "%s", value) > 0;
        return true;
    }
    if (strcmp(name, "collective_metadata") == 0) {
        options->has_collective_metadata = value && strcmp(value, "true") == 0;
        if (!value || (strcmp(value, "true") != 0 && strcmp(value, "false") != 0))
            snprintf(parse->complaint, VFD_COMPLAINT_BYTES, "collective_metadata is true or false");
        return true;
    }
    return false;
}

static void take_part(void *argument, const char *name, const char *value)
{
    const struct parse *parse = argument;
    char with_prefix[HINT_TEXT_BYTES_MAX + 8], complaint[HINT_COMPLAINT_BYTES] = "";
    if (parse->complaint[0] != '\0' || take_own(parse, name, value))
        return;
    snprintf(with_prefix, sizeof with_prefix, "weft_%s", name);
    bool is_short =
        hint_find(name) == HINT_COUNT && !hint_why_meaningless(name) && strncmp(name, "weft_", 5) != 0;
    const char *hint = is_short ? with_prefix : name;
    if (!value) {
        snprintf(parse->complaint, VFD_COMPLAINT_BYTES,
                 "\"%.200s\" has no value: write name=value;name=value", name);
        return;
    }
    switch (hint_set_put(&parse->options->hints, HINT_FROM_INFO, hint, value, complaint)) {
    case HINT_TAKEN:
        break;
    case HINT_FOREIGN:
        if (!hint_why_meaningless(hint))
            snprintf(parse->complaint, VFD_COMPLAINT_BYTES, "there is no option or hint %.200s", name);
        break;
    default:
        snprintf(parse->complaint, VFD_COMPLAINT_BYTES, "%s", complaint);
        break;
    }
}

static void pass_over(void *argument, const char *complaint)
{
    (void)argument;
    (void)complaint;
}

int vfd_options_parse(struct vfd_options *options, const char *text, char complaint[VFD_COMPLAINT_BYTES])
{
    struct parse parse = {.options = options, .complaint = complaint};
    complaint[0] = '\0';
    *options = (struct vfd_options){.cache_bytes = CACHE_BYTES_PRESET, .folder = "/"};
    hint_set_init(&options->hints);
    if (getenv("WEFT_HINTS"))
        hint_set_parse(&options->hints, HINT_FROM_ENVIRONMENT, getenv("WEFT_HINTS"), pass_over, NULL);
    if (!text)
        return 0;
    if (strlen(text) > VFD_CONFIG_BYTES_MAX) {
        snprintf(complaint, VFD_COMPLAINT_BYTES, "the configuration has more than %u bytes",
                 VFD_CONFIG_BYTES_MAX);
        return -EINVAL;
    }
    snprintf(options->text, sizeof options->text, "%s", text);
    hint_each(text, take_part, &parse);
    return complaint[0] == '\0' ? 0 : -EINVAL;
}

void vfd_options_put(struct vfd_options *options, const char *name, const char *value)
{
    char complaint[HINT_COMPLAINT_BYTES];
    enum hint_id id = hint_find(name);
    if (id != HINT_COUNT && options->hints.values[id].source < HINT_FROM_INFO)
        (void)hint_set_put(&options->hints, HINT_FROM_INFO, name, value, complaint);
}

int vfd_options_path(const struct vfd_options *options, const char *name, char *path, size_t size)
{
    size_t prefix = weft_path_match(name) ? strlen(WEFT_PATH_PREFIX) : 0;
    const char *rest = name + prefix;
    const char *folder = rest[0] == '/' ? "" : options->folder;
    char working[VFD_FOLDER_BYTES_MAX + 1];
    if (strcmp(folder, ".") == 0)
        folder = getcwd(working, sizeof working);
    if (!folder)
        return -errno;
    const char *slash = folder[0] && folder[strlen(folder) - 1] != '/' ? "/" : "";
    int length = snprintf(path, size, "%s%s%s", folder, slash, rest);
    return length < 0 || (size_t)length >= size ? -ENAMETOOLONG : 0;
}

const char *vfd_options_local(const struct vfd_options *options, const char *name)
{
    bool is_elsewhere = options->has_folder && strcmp(options->folder, ".") != 0;
    return weft_path_match(name) || (name[0] != '/' && is_elsewhere) ? NULL : name;
}
