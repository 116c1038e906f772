/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostname.h: what this host is called, and how users say on which host a file is to be. By a host's name
 * clients know which storage servers are on their own, so both ends must come to the same one.
 *
 * Threads: from any, as long as none changes the environment.
 */
#ifndef COMMON_HOSTNAME_H
#define COMMON_HOSTNAME_H

#include <stdbool.h>
#include <stdint.h>

#include "weft_limits.h"

/* $WEFT_HOST, else the system's name up to its first dot. Bytes that no host's name has become '-'; without
 * any name it is "localhost". */
void hostname_get(char name[LIMITS_HOST_NAME_MAX + 1]);

/* What may name a server, a host, a chassis or a rack: letters, digits, '.', '_' and '-', at least one. */
bool hostname_valid(const char *text);

/* "spread", "local" or "host:NAME", in letters of any case but for NAME, to WIRE_PLACEMENT_*; *host points to
 * the name in `text`, or to "". False for any other text. */
bool hostname_placement_parse(const char *text, uint8_t *kind, const char **host);

#endif
