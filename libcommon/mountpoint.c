/* SPDX-License-Identifier: Apache-2.0 */
/* The table of mounts: its lines, and what a Weft mount's source says. */
#include "mountpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIND "fuse.weft"

/* ---- the source ------------------------------------------------------------------- */

/* Bytes that stand for themselves: no comma or backslash, which libfuse takes for its own, and no blank. */
static bool is_plain(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           (byte && strchr("/._-~+@:", byte));
}

/* False when there is no room; `*used` is then as it was. */
static bool put(char out[MOUNTPOINT_SOURCE_BYTES], size_t *used, const char *name, const char *text)
{
    static const char digits[] = "0123456789abcdef";
    size_t at = *used + strlen(name);
    if (at >= MOUNTPOINT_SOURCE_BYTES)
        return false;
    memcpy(out + *used, name, strlen(name));
    for (; *text; text++) {
        if (at + 4 > MOUNTPOINT_SOURCE_BYTES) {
            out[*used] = '\0';
            return false;
        }
        if (is_plain(*text)) {
            out[at++] = *text;
        } else {
            out[at++] = '%';
            out[at++] = digits[(unsigned char)*text >> 4];
            out[at++] = digits[(unsigned char)*text & 15];
        }
    }
    out[at] = '\0';
    *used = at;
    return true;
}

void mountpoint_source_write(const struct mountpoint_source *source, char out[MOUNTPOINT_SOURCE_BYTES])
{
    char rest[128];
    size_t used = 0;
    /* What must stand there always has room behind the path. */
    snprintf(rest, sizeof rest, "?cluster=%s&root=%" PRIu64 "%s", source->cluster, source->root,
             source->is_cached ? "&cache" : "");
    out[0] = '\0';
    if (!put(out, &used, WEFT_PATH_PREFIX, source->path) || used + strlen(rest) >= MOUNTPOINT_SOURCE_BYTES)
        used = (size_t)snprintf(out, MOUNTPOINT_SOURCE_BYTES, WEFT_PATH_PREFIX);
    memcpy(out + used, rest, strlen(rest) + 1);
    used += strlen(rest);
    if (source->conf[0])
        (void)put(out, &used, "&conf=", source->conf);
}

static int digit(char byte)
{
    return byte >= '0' && byte <= '9' ? byte - '0' : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* False when it has no room, or is badly written. */
static bool take_text(const char *text, size_t length, char *out, size_t room)
{
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        char byte = text[i];
        if (byte == '%') {
            int high = i + 2 < length ? digit(text[i + 1]) : -1, low = high < 0 ? -1 : digit(text[i + 2]);
            if (low < 0 || high * 16 + low == 0)
                return false;
            byte = (char)(high * 16 + low);
            i += 2;
        }
        if (used + 1 >= room)
            return false;
        out[used++] = byte;
    }
    out[used] = '\0';
    return true;
}

static bool is_named(const char *word, size_t length, const char *name)
{
    return length >= strlen(name) && strncmp(word, name, strlen(name)) == 0;
}

/* The word behind its name. */
static bool take_number(const char *text, size_t length, uint64_t *number)
{
    *number = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9' || *number > (UINT64_MAX - 9) / 10)
            return false;
        *number = *number * 10 + (uint64_t)(text[i] - '0');
    }
    return length > 0;
}

static bool take_cluster(const char *text, size_t length, char out[WEFT_CLUSTER_BYTES])
{
    if (length != WEFT_CLUSTER_BYTES - 1)
        return false;
    for (size_t i = 0; i < length; i++)
        if (digit(text[i]) < 0)
            return false;
    memcpy(out, text, length);
    out[length] = '\0';
    return true;
}

static bool take_word(const char *word, size_t length, struct mountpoint_source *source)
{
    if (is_named(word, length, "cluster="))
        return take_cluster(word + 8, length - 8, source->cluster);
    if (is_named(word, length, "root="))
        return take_number(word + 5, length - 5, &source->root);
    if (is_named(word, length, "conf="))
        return take_text(word + 5, length - 5, source->conf, sizeof source->conf);
    if (length == 5 && strncmp(word, "cache", 5) == 0)
        source->is_cached = true;
    return true;
}

bool mountpoint_source_read(const char *text, struct mountpoint_source *source)
{
    memset(source, 0, sizeof *source);
    if (strncmp(text, WEFT_PATH_PREFIX, strlen(WEFT_PATH_PREFIX)) != 0)
        return false;
    text += strlen(WEFT_PATH_PREFIX);
    size_t length = strcspn(text, "?");
    if (!take_text(text, length, source->path, sizeof source->path))
        return false;
    text += length;
    while (*text) {
        text++; /* what stands in front of the word */
        length = strcspn(text, "&");
        if (!take_word(text, length, source))
            return false;
        text += length;
    }
    return source->cluster[0] && source->root;
}

/* ---- the table ---------------------------------------------------------------------- */

/* A field of a line, up to the next blank; *at goes behind it. */
struct field {
    const char *text;
    size_t length;
};

static bool next_field(const char **at, struct field *field)
{
    *at += strspn(*at, " ");
    field->text = *at;
    field->length = strcspn(*at, " \n");
    *at += field->length;
    return field->length > 0;
}

static bool is_field(const struct field *field, const char *text)
{
    return field->length == strlen(text) && memcmp(field->text, text, field->length) == 0;
}

/* The kernel writes blanks, line ends and backslashes by three octal digits. */
static bool decode(const struct field *field, char *out, size_t room)
{
    size_t used = 0;
    for (size_t i = 0; i < field->length; i++) {
        const char *at = field->text + i;
        char byte = *at;
        if (byte == '\\' && i + 3 < field->length && at[1] >= '0' && at[1] <= '3' && at[2] >= '0' &&
            at[2] <= '7' && at[3] >= '0' && at[3] <= '7') {
            byte = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0'));
            i += 3;
        }
        if (used + 1 >= room || !byte)
            return false;
        out[used++] = byte;
    }
    out[used] = '\0';
    return true;
}

static bool number(const char *text, size_t length, uint64_t most, uint64_t *out)
{
    return take_number(text, length, out) && *out <= most;
}

static bool take_device(const struct field *field, struct mountpoint *mount)
{
    const char *colon = memchr(field->text, ':', field->length);
    uint64_t major, minor;
    if (!colon || !number(field->text, (size_t)(colon - field->text), UINT_MAX, &major) ||
        !number(colon + 1, field->length - (size_t)(colon - field->text) - 1, UINT_MAX, &minor))
        return false;
    mount->major = (unsigned)major;
    mount->minor = (unsigned)minor;
    return true;
}

/* Of a list with commas. */
static void take_options(const struct field *field, struct mountpoint *mount)
{
    const char *end = field->text + field->length, *word = field->text;
    while (word < end) {
        const char *comma = memchr(word, ',', (size_t)(end - word));
        size_t length = (size_t)((comma ? comma : end) - word);
        uint64_t user;
        if (length == 2 && memcmp(word, "ro", 2) == 0)
            mount->is_read_only = true;
        if (length > 8 && memcmp(word, "user_id=", 8) == 0 && number(word + 8, length - 8, UINT_MAX, &user))
            mount->user = (unsigned)user;
        word += length + 1;
    }
}

/* "36 35 98:0 /root /dir options, optional fields ... - type source options" */
bool mountpoint_parse(const char *line, struct mountpoint *mount)
{
    struct field id, parent, device, root, dir, options, field, kind, source;
    *mount = (struct mountpoint){.user = UINT_MAX};
    if (!next_field(&line, &id) || !next_field(&line, &parent) || !next_field(&line, &device) ||
        !next_field(&line, &root) || !next_field(&line, &dir) || !next_field(&line, &options))
        return false;
    do {
        if (!next_field(&line, &field))
            return false;
    } while (!is_field(&field, "-"));
    if (!next_field(&line, &kind) || !is_field(&kind, KIND) || !next_field(&line, &source))
        return false;
    if (!number(id.text, id.length, UINT64_MAX, &mount->id) || !take_device(&device, mount) ||
        !decode(&dir, mount->dir, sizeof mount->dir) || !decode(&source, mount->source, sizeof mount->source))
        return false;
    take_options(&options, mount);
    if (next_field(&line, &field))
        take_options(&field, mount);
    return true;
}

bool mountpoint_each(const char *file, mountpoint_fn *each, void *arg)
{
    struct mountpoint mount;
    char *line = NULL;
    size_t size = 0;
    FILE *table = fopen(file, "re");
    if (!table)
        return false;
    while (getline(&line, &size, table) > 0)
        if (strstr(line, " - " KIND " ") && mountpoint_parse(line, &mount) && !each(arg, &mount))
            break;
    free(line);
    fclose(table);
    return true;
}
