/* SPDX-License-Identifier: Apache-2.0 */
#include "mounted.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

/* The kernel writes blanks and such as \040. */
static void decode(char *text)
{
    char *to = text;
    for (const char *at = text; *at; at++) {
        if (at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] && at[3]) {
            *to++ = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0'));
            at += 3;
        } else {
            *to++ = *at;
        }
    }
    *to = 0;
}

/* "36 35 98:0 /root /dir options - type source options" */
static int take_line(char *line, const char *dir, struct mounted *mounted)
{
    struct mounted found;
    int at = 0;
    char *kind = strstr(line, " - ");
    if (!kind || strncmp(kind, " - fuse.weft ", 13) != 0)
        return 0;
    if (sscanf(line, "%*u %*u %u:%u %*s %4095s%n", &found.major, &found.minor, found.dir, &at) < 3 || !at)
        return 0;
    decode(found.dir);
    if (strcmp(found.dir, dir) != 0)
        return 0;
    *mounted = found;
    return 1;
}

int mounted_find(const char *dir, struct mounted *mounted)
{
    char *line = NULL;
    size_t size = 0;
    int result = 0;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    if (!file)
        return err_sys("/proc/self/mountinfo");
    while (getline(&line, &size, file) > 0)
        result |= take_line(line, dir, mounted); /* the last one is the uppermost */
    free(line);
    fclose(file);
    return result;
}

void mounted_address(const struct mounted *mounted, struct sockaddr_un *address, socklen_t *length)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int used = snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "weft-mount-%u:%u",
                        mounted->major, mounted->minor);
    *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)used);
}
