/* SPDX-License-Identifier: Apache-2.0 */
#include "hostname.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "wire.h"

/* Of names. */
static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

void hostname_get(char name[LIMITS_HOST_NAME_MAX + 1])
{
    const char *told = getenv("WEFT_HOST");
    char system[256] = "";
    if (!told || !*told) {
        if (gethostname(system, sizeof system - 1))
            *system = 0;
        system[strcspn(system, ".")] = 0;
        told = *system ? system : "localhost";
    }
    snprintf(name, LIMITS_HOST_NAME_MAX + 1, "%s", told);
    for (char *at = name + strspn(name, allowed); *at; at += strspn(at, allowed))
        *at = '-';
}

bool hostname_valid(const char *text)
{
    return *text && text[strspn(text, allowed)] == 0;
}

bool hostname_placement_parse(const char *text, uint8_t *kind, const char **host)
{
    *host = "";
    if (strcasecmp(text, "spread") == 0) {
        *kind = WIRE_PLACEMENT_SPREAD;
    } else if (strcasecmp(text, "local") == 0) {
        *kind = WIRE_PLACEMENT_LOCAL;
    } else if (strncasecmp(text, "host:", 5) == 0) {
        *kind = WIRE_PLACEMENT_HOST;
        *host = text + 5;
        return hostname_valid(*host) && strlen(*host) <= LIMITS_HOST_NAME_MAX;
    } else {
        return false;
    }
    return true;
}
