/* SPDX-License-Identifier: Apache-2.0 */
#include "transport.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "err.h"

/* One "NAME[:OPTIONS]". */
static int part_read(const char *part, struct transport_wish *wish)
{
    const char *colon = strchr(part, ':');
    char name[TRANSPORT_NAME_MAX + 1];
    size_t length = colon ? (size_t)(colon - part) : strlen(part);
    snprintf(name, sizeof name, "%.*s", length < sizeof name ? (int)length : 0, part);
    wish->transport = transport_by_name(name);
    if (!wish->transport)
        return err_set(-EINVAL, "this build has no transport '%.*s'; it has: %s", (int)length, part,
                       transport_names());
    snprintf(wish->options, sizeof wish->options, "%s", colon ? colon + 1 : "");
    return 0;
}

int transport_text_read(const char *text, struct transport_wish wishes[TRANSPORTS_MAX])
{
    char copy[TRANSPORT_TEXT_MAX + 1], *rest = NULL;
    int count = 0;
    if (!strcmp(text, "auto"))
        text = transport_preferred();
    if (strlen(text) > TRANSPORT_TEXT_MAX)
        return err_set(-EINVAL, "transport '%s' is longer than %u bytes", text, TRANSPORT_TEXT_MAX);
    snprintf(copy, sizeof copy, "%s", text);
    for (char *part = strtok_r(copy, "+", &rest); part; part = strtok_r(NULL, "+", &rest)) {
        struct transport_wish wish;
        int error = part_read(part, &wish);
        if (error)
            return error;
        for (int i = 0; i < count; i++)
            if (wishes[i].transport == wish.transport)
                return err_set(-EINVAL, "transport '%s' names %s twice", text, wish.transport->name);
        wishes[count++] = wish; /* no more than there are, since each is named once */
    }
    return count ? count : err_set(-EINVAL, "transport '%s' names none", text);
}
