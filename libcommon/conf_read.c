/* SPDX-License-Identifier: Apache-2.0 */
#include "conf_read.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"
#include "err.h"
#include "hostname.h"
#include "weft_limits.h"

#define FILE_BYTES_MAX (16u << 20)
#define NESTING_MAX    16u /* of brackets; ours need 6 */

/* ---- the file ------------------------------------------------------------- */

/* The whole file and a NUL, or -EINVAL when it is no text of a bearable size. */
static int slurp(const char *file, char **text)
{
    struct stat stat;
    char *bytes = NULL;
    size_t length = 0;
    int error;

    /* O_NONBLOCK: a FIFO of that name must not hang us. */
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_sys("%s: cannot be opened", file);
    if (fstat(fd, &stat) != 0) {
        error = err_sys("%s", file);
        goto close;
    }
    if (!S_ISREG(stat.st_mode) || stat.st_size > (off_t)FILE_BYTES_MAX) {
        error = err_set(-EINVAL, "%s: is no plain file of at most %u MiB", file, FILE_BYTES_MAX >> 20);
        goto close;
    }
    size_t size = (size_t)stat.st_size;
    bytes = malloc(size + 1);
    if (!bytes) {
        error = err_set(-ENOMEM, "%s: out of memory", file);
        goto close;
    }
    while (length < size) {
        ssize_t got = read(fd, bytes + length, size - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            error = err_sys("%s: cannot be read", file);
            goto free;
        }
        if (got == 0)
            break;
        length += (size_t)got;
    }
    bytes[length] = '\0';
    if (strlen(bytes) != length) {
        error = err_set(-EINVAL, "%s: is no text (it contains a NUL byte)", file);
        goto free;
    }
    *text = bytes;
    close(fd);
    return 0;

free:
    free(bytes);
close:
    close(fd);
    return error;
}

/* libconfig 1.5 reads an integer by atoi() unless it ends with an L, and so
 * makes 17179869184 a 0. This copies the text and gives long ones their L. It
 * refuses including, which would read other files than the one that was asked
 * for, and nesting that would grow the parser's stack. */
struct preparation {
    const char *file;
    const char *in;
    char *out;
    unsigned line;
    unsigned depth;
};

static void copy(struct preparation *p, size_t length)
{
    for (; length > 0 && *p->in; length--) {
        if (*p->in == '\n')
            p->line++;
        *p->out++ = *p->in++;
    }
}

/* libconfig would name the last line, and lose memory, for a string that does not end. */
static int copy_string(struct preparation *p)
{
    size_t length = 1;
    while (p->in[length] && p->in[length] != '"')
        length += p->in[length] == '\\' && p->in[length + 1] ? 2 : 1;
    if (!p->in[length])
        return err_set(-EINVAL, "%s:%u: the string that begins here does not end", p->file, p->line);
    copy(p, length + 1);
    return 0;
}

/* libconfig takes the rest of the file for a comment that does not end, and says nothing. */
static int copy_block_comment(struct preparation *p)
{
    const char *end = strstr(p->in + 2, "*/");
    if (!end)
        return err_set(-EINVAL, "%s:%u: the comment that begins here does not end", p->file, p->line);
    copy(p, (size_t)(end + 2 - p->in));
    return 0;
}

static bool is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '*';
}

static void copy_number(struct preparation *p)
{
    bool hex = p->in[0] == '0' && (p->in[1] == 'x' || p->in[1] == 'X');
    size_t length = hex ? 2 : 0;
    while (hex ? isxdigit((unsigned char)p->in[length]) : isdigit((unsigned char)p->in[length]))
        length++;
    char next = p->in[length];
    bool integer = !is_name(next) && next != '.';
    copy(p, length);
    if (integer && length >= 10)
        *p->out++ = 'L';
    else
        copy(p, strspn(p->in, "0123456789.eELxX+-"));
}

static int copy_sign(struct preparation *p)
{
    if (*p->in == '@')
        return err_set(-EINVAL, "%s:%u: @include is not supported; write all settings into this file",
                       p->file, p->line);
    if (strchr("({[", *p->in) && ++p->depth > NESTING_MAX)
        return err_set(-EINVAL, "%s:%u: brackets are nested too deeply", p->file, p->line);
    if (strchr(")}]", *p->in) && p->depth > 0)
        p->depth--;
    copy(p, 1);
    return 0;
}

static int prepare(struct preparation *p)
{
    int error = 0;
    while (!error && *p->in) {
        if (*p->in == '"')
            error = copy_string(p);
        else if (*p->in == '#' || (p->in[0] == '/' && p->in[1] == '/'))
            copy(p, strcspn(p->in, "\n"));
        else if (p->in[0] == '/' && p->in[1] == '*')
            error = copy_block_comment(p);
        else if (isdigit((unsigned char)*p->in))
            copy_number(p);
        else if (isalpha((unsigned char)*p->in))
            while (is_name(*p->in))
                copy(p, 1);
        else
            error = copy_sign(p);
    }
    *p->out = '\0';
    return error;
}

static int parse(struct conf_source *source)
{
    char *text = NULL, *prepared;
    int error = slurp(source->file, &text);
    if (error)
        return error;
    /* An L for every ten bytes at most. */
    size_t length = strlen(text);
    prepared = malloc(length + length / 10 + 2);
    if (!prepared) {
        error = err_set(-ENOMEM, "%s: out of memory", source->file);
        goto free_text;
    }
    error = prepare(&(struct preparation){.file = source->file, .in = text, .out = prepared, .line = 1});
    if (error)
        goto free_prepared;
    config_init(&source->tree);
    if (!config_read_string(&source->tree, prepared)) {
        error = err_set(-EINVAL, "%s:%d: %s", source->file, config_error_line(&source->tree),
                        config_error_text(&source->tree));
        config_destroy(&source->tree);
    }
free_prepared:
    free(prepared);
free_text:
    free(text);
    return error;
}

int conf_source_open(const char *path, struct conf_source *source)
{
    int error;
    /* Links are followed: relative paths are then relative to the real file. */
    source->file = realpath(path, NULL);
    if (!source->file && errno == ENOENT)
        return err_set(-ENOENT,
                       "%s: no such configuration file; name one in WEFT_CONF, or start a local "
                       "cluster with \"weft up\"",
                       path);
    if (!source->file)
        return err_sys("%s: the configuration file cannot be reached", path);
    char *slash = strrchr(source->file, '/');
    source->dir = strndup(source->file, slash == source->file ? 1 : (size_t)(slash - source->file));
    if (!source->dir) {
        error = err_set(-ENOMEM, "%s: out of memory", path);
        goto free_file;
    }
    error = parse(source);
    if (error)
        goto free_dir;
    return 0;

free_dir:
    free(source->dir);
free_file:
    free(source->file);
    return error;
}

void conf_source_close(struct conf_source *source)
{
    config_destroy(&source->tree);
    free(source->dir);
    free(source->file);
}

/* ---- refusing ------------------------------------------------------------- */

/* "storage[0].targets[1].id" into `text`. */
static void setting_path(const config_setting_t *setting, char *text, size_t size)
{
    const config_setting_t *parent = config_setting_parent(setting);
    const char *name = config_setting_name(setting);
    char above[256] = "";

    text[0] = '\0';
    if (!parent)
        return;
    setting_path(parent, above, sizeof above);
    if (name)
        snprintf(text, size, "%s%s%s", above, above[0] ? "." : "", name);
    else
        snprintf(text, size, "%s[%d]", above, config_setting_index(setting));
}

char *conf_where(const struct conf_source *source, const config_setting_t *setting)
{
    char path[256], *where;
    unsigned line = config_setting_source_line(setting);
    setting_path(setting, path, sizeof path);
    return asprintf(&where, "%s:%u: %s", source->file, line ? line : 1, path) < 0 ? NULL : where;
}

static int refuse(const struct conf_source *source, const config_setting_t *setting, int error,
                  const char *text)
{
    char path[256];
    unsigned line = config_setting_source_line(setting);
    setting_path(setting, path, sizeof path);
    return err_set(error, "%s:%u: %s%s%s", source->file, line ? line : 1, path, path[0] ? ": " : "", text);
}

int conf_refuse(const struct conf_source *source, const config_setting_t *setting, const char *format, ...)
{
    char text[LIMITS_ERROR_TEXT_MAX + 1];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return refuse(source, setting, -EINVAL, text);
}

int conf_refuse_as(const struct conf_source *source, const config_setting_t *setting, int error)
{
    return refuse(source, setting, error, err_text());
}

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* How many letters must be added, dropped or changed. */
static unsigned name_distance(const char *a, const char *b)
{
    enum { LENGTH_MAX = 32 };
    unsigned row[LENGTH_MAX + 1];
    size_t a_length = strlen(a), b_length = strlen(b);
    if (a_length > LENGTH_MAX || b_length > LENGTH_MAX)
        return UINT32_MAX;
    for (unsigned j = 0; j <= b_length; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a_length; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b_length; j++) {
            unsigned changed = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = smaller(changed, smaller(row[j], row[j - 1]) + 1);
        }
    }
    return row[b_length];
}

static int refuse_unknown(const struct conf_source *source, const config_setting_t *setting,
                          const char *const *known)
{
    const char *name = config_setting_name(setting), *nearest = known[0];
    unsigned nearest_distance = UINT32_MAX;
    for (size_t i = 0; known[i]; i++) {
        unsigned distance = name_distance(name, known[i]);
        if (distance < nearest_distance) {
            nearest_distance = distance;
            nearest = known[i];
        }
    }
    return conf_refuse(source, setting, "unknown setting; the nearest known one is \"%s\"", nearest);
}

int conf_group_check(const struct conf_source *source, const config_setting_t *group,
                     const char *const *known)
{
    if (!config_setting_is_group(group))
        return conf_refuse(source, group, "must be a group: { ... }");
    for (int i = 0; i < config_setting_length(group); i++) {
        const config_setting_t *member = config_setting_get_elem(group, (unsigned)i);
        const char *name = config_setting_name(member);
        size_t at = 0;
        while (known[at] && strcmp(known[at], name) != 0)
            at++;
        if (!known[at])
            return refuse_unknown(source, member, known);
    }
    return 0;
}

/* ---- typed values --------------------------------------------------------- */

static int find(const struct conf_source *source, const config_setting_t *group, const char *name,
                enum conf_need need, const config_setting_t **setting)
{
    *setting = config_setting_get_member(group, name);
    if (!*setting && need == CONF_REQUIRED)
        return conf_refuse(source, group, "the setting \"%s\" is missing", name);
    return 0;
}

int conf_get_group(const struct conf_source *source, const config_setting_t *group, const char *name,
                   enum conf_need need, const config_setting_t **value)
{
    const config_setting_t *setting;
    int error = find(source, group, name, need, &setting);
    if (setting)
        *value = setting;
    return error;
}

static int check_string(const struct conf_source *source, const config_setting_t *setting, size_t length_max,
                        const char **text)
{
    if (config_setting_type(setting) != CONFIG_TYPE_STRING)
        return conf_refuse(source, setting, "must be a string: \"...\"");
    *text = config_setting_get_string(setting);
    if (!(*text)[0])
        return conf_refuse(source, setting, "must not be empty");
    if (strlen(*text) > length_max)
        return conf_refuse(source, setting, "is longer than %zu bytes", length_max);
    for (const char *at = *text; *at; at++) {
        if (iscntrl((unsigned char)*at))
            return conf_refuse(source, setting, "contains a control character");
    }
    return 0;
}

static int replace(const struct conf_source *source, char **value, char *copy)
{
    if (!copy)
        return err_set(-ENOMEM, "%s: out of memory", source->file);
    free(*value);
    *value = copy;
    return 0;
}

int conf_get_string(const struct conf_source *source, const config_setting_t *group, const char *name,
                    enum conf_need need, size_t length_max, char **value)
{
    const config_setting_t *setting;
    const char *text;
    int error = find(source, group, name, need, &setting);
    if (!setting)
        return error;
    error = check_string(source, setting, length_max, &text);
    return error ? error : replace(source, value, strdup(text));
}

int conf_get_path(const struct conf_source *source, const config_setting_t *group, const char *name,
                  enum conf_need need, char **value)
{
    const config_setting_t *setting;
    const char *text;
    char *path = NULL;
    int error = find(source, group, name, need, &setting);
    if (!setting)
        return error;
    error = check_string(source, setting, WEFT_PATH_BYTES_MAX, &text);
    if (error)
        return error;
    const char *dir = strcmp(source->dir, "/") == 0 ? "" : source->dir;
    if (text[0] == '/')
        path = strdup(text);
    else if (asprintf(&path, "%s/%s", dir, text) < 0)
        path = NULL;
    return replace(source, value, path);
}

int conf_get_name(const struct conf_source *source, const config_setting_t *group, const char *name,
                  enum conf_need need, size_t length_max, char **value)
{
    int error = conf_get_string(source, group, name, need, length_max, value);
    if (!error && *value && !hostname_valid(*value))
        return conf_refuse(source, config_setting_get_member(group, name),
                           "\"%s\" is no name; use letters, digits, '.', '_' and '-' only", *value);
    return error;
}

static int check_address(const struct conf_source *source, const config_setting_t *setting, const char *text,
                         uint32_t ports)
{
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text)
        return conf_refuse(source, setting, "\"%s\" is no address; write \"host:port\"", text);
    char *end;
    errno = 0;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end || errno || port > 65535)
        return conf_refuse(source, setting, "\"%s\" is no port; write a number up to 65535", colon + 1);
    if (port > 0 && port + ports - 1 > 65535)
        return conf_refuse(source, setting, "%u shards need ports up to %lu, but there are 65535", ports,
                           port + ports - 1);
    return 0;
}

int conf_get_address(const struct conf_source *source, const config_setting_t *group, const char *name,
                     uint32_t ports, char **value)
{
    int error = conf_get_string(source, group, name, CONF_REQUIRED, LIMITS_ADDRESS_MAX, value);
    return error ? error : check_address(source, config_setting_get_member(group, name), *value, ports);
}

static bool is_integer(const config_setting_t *setting)
{
    int type = config_setting_type(setting);
    return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
}

int conf_get_u32(const struct conf_source *source, const config_setting_t *group, const char *name,
                 enum conf_need need, uint32_t min, uint32_t max, uint32_t *value)
{
    const config_setting_t *setting;
    int error = find(source, group, name, need, &setting);
    if (!setting)
        return error;
    if (!is_integer(setting))
        return conf_refuse(source, setting, "must be a whole number");
    long long number = config_setting_get_int64(setting);
    if (number < (long long)min || number > (long long)max)
        return conf_refuse(source, setting, "%lld is not from %" PRIu32 " to %" PRIu32, number, min, max);
    *value = (uint32_t)number;
    return 0;
}

int conf_get_bool(const struct conf_source *source, const config_setting_t *group, const char *name,
                  enum conf_need need, bool *value)
{
    const config_setting_t *setting;
    int error = find(source, group, name, need, &setting);
    if (!setting)
        return error;
    if (config_setting_type(setting) != CONFIG_TYPE_BOOL)
        return conf_refuse(source, setting, "must be true or false");
    *value = config_setting_get_bool(setting);
    return 0;
}

int conf_get_size(const struct conf_source *source, const config_setting_t *group, const char *name,
                  enum conf_need need, uint64_t min, uint64_t max, uint64_t *value)
{
    const config_setting_t *setting;
    const char *text;
    uint64_t bytes;
    int error = find(source, group, name, need, &setting);
    if (!setting)
        return error;
    if (is_integer(setting)) {
        long long number = config_setting_get_int64(setting);
        if (number < 0)
            return conf_refuse(source, setting, "%lld is negative", number);
        bytes = (uint64_t)number;
    } else {
        error = check_string(source, setting, 32, &text);
        if (error)
            return error;
        error = conf_parse_size(text, &bytes);
        if (error)
            return conf_refuse_as(source, setting, error);
    }
    if (bytes < min || bytes > max)
        return conf_refuse(source, setting, "%" PRIu64 " bytes are not from %" PRIu64 " to %" PRIu64, bytes,
                           min, max);
    *value = bytes;
    return 0;
}
