/* SPDX-License-Identifier: Apache-2.0 */
/* weft touch, truncate, chmod and chown: what a file says of itself. */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* ---- touch ---------------------------------------------------------------- */

static int make_empty(weft_session_t *session, const char *path)
{
    weft_file_t *file;
    int error = weft_file_open(session, path, O_WRONLY | O_CREAT, 0666, NULL, &file);
    return error ? error : weft_file_close(file);
}

int cmd_touch(struct tool *tool, int argc, char **argv)
{
    bool no_create = false;
    const struct option_spec options[] = {
        {"no-create", 'c', OPTION_FLAG, NULL, &no_create, "make no files"},
        OPTION_CONF(tool),
        {0},
    };
    int first;
    int status = options_parse(
        tool, argc, argv, options,
        "Sets access and modification time to now. Files that are missing are made, empty.", &first);
    if (status >= 0)
        return status;
    if (first == argc)
        return tool_usage_error(tool, "which file?");
    const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
    for (int i = first; i < argc; i++) {
        const char *path = place_cluster_path(tool, argv[i]);
        if (!path || !tool_session(tool))
            break;
        int error = weft_utimens(tool->session, path, now);
        if (error == -ENOENT)
            error = no_create ? 0 : make_empty(tool->session, path);
        if (error)
            tool_complain_weft(tool, path, error);
    }
    return tool->status;
}

/* ---- truncate ------------------------------------------------------------- */

int cmd_truncate(struct tool *tool, int argc, char **argv)
{
    bool no_create = false;
    uint64_t size = UINT64_MAX;
    const struct option_spec options[] = {
        {"size", 's', OPTION_SIZE, "SIZE", &size, "the new size: 0, 4096, 64K, 1M, 2G"},
        {"no-create", 'c', OPTION_FLAG, NULL, &no_create, "make no files"},
        OPTION_CONF(tool),
        {0},
    };
    int first;
    int status =
        options_parse(tool, argc, argv, options,
                      "Sets the size of files. What is cut off is lost; what is added reads as zeros.\n"
                      "Files that are missing are made.",
                      &first);
    if (status >= 0)
        return status;
    if (size == UINT64_MAX)
        return tool_usage_error(tool, "--size is needed");
    if (size > INT64_MAX)
        return tool_usage_error(tool, "--size is more than a file can have");
    if (first == argc)
        return tool_usage_error(tool, "which file?");
    for (int i = first; i < argc; i++) {
        const char *path = place_cluster_path(tool, argv[i]);
        if (!path || !tool_session(tool))
            break;
        int error = weft_truncate(tool->session, path, size);
        if (error == -ENOENT && no_create)
            continue;
        if (error == -ENOENT) {
            error = make_empty(tool->session, path);
            if (!error)
                error = weft_truncate(tool->session, path, size);
        }
        if (error)
            tool_complain_weft(tool, path, error);
    }
    return tool->status;
}

/* ---- chmod ---------------------------------------------------------------- */

/* Three bits to the places of user, group and others that `who` names. */
static uint32_t spread(uint32_t who, uint32_t bits)
{
    return (who & 4 ? bits << 6 : 0) | (who & 2 ? bits << 3 : 0) | (who & 1 ? bits : 0);
}

/* One clause of a symbolic mode, as "go-w" or "a+X"; NULL when it is none. */
static const char *apply_clause(const char *text, uint32_t *mode)
{
    uint32_t who = 0;
    for (; *text && strchr("ugoa", *text); text++)
        who |= *text == 'u' ? 4 : *text == 'g' ? 2 : *text == 'o' ? 1 : 7;
    if (who == 0)
        who = 7;
    if (!*text || !strchr("+-=", *text))
        return NULL;
    while (*text && strchr("+-=", *text)) {
        char operation = *text++;
        uint32_t bits = 0, special = 0;
        for (; *text && strchr("rwxXst", *text); text++) {
            if (*text == 's')
                special |= (who & 4 ? S_ISUID : 0) | (who & 2 ? S_ISGID : 0);
            else if (*text == 't')
                special |= S_ISVTX;
            else if (*text == 'X')
                bits |= S_ISDIR(*mode) || *mode & 0111 ? 1 : 0;
            else
                bits |= *text == 'r' ? 4 : *text == 'w' ? 2 : 1;
        }
        if (operation == '=')
            *mode &= ~spread(who, 7);
        uint32_t change = spread(who, bits) | special;
        *mode = operation == '-' ? *mode & ~change : *mode | change;
    }
    return *text == ',' && text[1] ? text + 1 : *text ? NULL : text;
}

/* `mode` holds type and old permissions. */
static bool apply_mode(const char *text, uint32_t *mode)
{
    char *end;
    if (*text >= '0' && *text <= '7') {
        unsigned long number = strtoul(text, &end, 8);
        *mode = (uint32_t)number;
        return *end == 0 && number <= 07777;
    }
    while (text && *text)
        text = apply_clause(text, mode);
    return text != NULL;
}

int cmd_chmod(struct tool *tool, int argc, char **argv)
{
    const struct option_spec options[] = {OPTION_CONF(tool), {0}};
    int first;
    int status =
        options_parse(tool, argc, argv, options,
                      "Changes permissions. MODE is an octal number as 640, or clauses as u+x,go-w.\n"
                      "A MODE that begins with - stands behind --",
                      &first);
    if (status >= 0)
        return status;
    uint32_t probe = S_IFREG;
    if (argc - first < 2)
        return tool_usage_error(tool, "a mode and a path are needed");
    if (!argv[first][0] || !apply_mode(argv[first], &probe))
        return tool_usage_error(tool, "\"%s\" is no mode: write 640, or u+x,go-w", argv[first]);
    for (int i = first + 1; i < argc; i++) {
        struct weft_attr attr;
        const char *path = place_cluster_path(tool, argv[i]);
        if (!path || !tool_session(tool))
            break;
        int error = weft_stat(tool->session, path, 0, &attr);
        if (!error) {
            apply_mode(argv[first], &attr.mode);
            error = weft_chmod(tool->session, path, attr.mode & 07777);
        }
        if (error)
            tool_complain_weft(tool, path, error);
    }
    return tool->status;
}

/* ---- chown ---------------------------------------------------------------- */

int cmd_chown(struct tool *tool, int argc, char **argv)
{
    const struct option_spec options[] = {OPTION_CONF(tool), {0}};
    int first;
    int status =
        options_parse(tool, argc, argv, options,
                      "Changes owner and group: USER, USER:GROUP or :GROUP, as names or numbers.", &first);
    if (status >= 0)
        return status;
    if (argc - first < 2)
        return tool_usage_error(tool, "an owner and a path are needed");
    uint32_t uid = UINT32_MAX, gid = UINT32_MAX; /* as it is */
    char *user = argv[first], *group = strchr(user, ':');
    if (group)
        *group++ = 0;
    if (*user && !options_parse_id(user, false, &uid))
        return tool_usage_error(tool, "there is no user \"%s\" here", user);
    if (group && *group && !options_parse_id(group, true, &gid))
        return tool_usage_error(tool, "there is no group \"%s\" here", group);
    for (int i = first + 1; i < argc; i++) {
        const char *path = place_cluster_path(tool, argv[i]);
        if (!path || !tool_session(tool))
            break;
        int error = weft_chown(tool->session, path, (uid_t)uid, (gid_t)gid);
        if (error)
            tool_complain_weft(tool, path, error);
    }
    return tool->status;
}
