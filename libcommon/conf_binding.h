/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_binding.h: the settings of a storage section that say where its shards run: binding,
 * cores, numa, devices. For conf.c.
 *
 * Only their form is checked here: whether the machine has these CPUs and devices is known on
 * that machine alone.
 */
#ifndef COMMON_CONF_BINDING_H
#define COMMON_CONF_BINDING_H

#include "conf.h"
#include "conf_read.h"

/* Reads them from the section; server->shards must be read already. */
int conf_binding_read(const struct conf_source *source, const config_setting_t *group,
                      struct conf_storage *server);
void conf_binding_free(struct conf_storage *server);

#endif
