/* SPDX-License-Identifier: Apache-2.0 */
/* conf_storage.h: the section `storage`, which has the storage servers and their targets. For conf.c. */
#ifndef COMMON_CONF_STORAGE_H
#define COMMON_CONF_STORAGE_H

#include "conf.h"
#include "conf_read.h"

int conf_storage_read(const struct conf_source *source, const config_setting_t *root, struct conf *conf);
/* Refuses two servers of a name, and two targets of an id or, on one server, a folder. */
int conf_storage_check(const struct conf_source *source, const config_setting_t *root,
                       const struct conf *conf);
void conf_storage_free(struct conf *conf);

/* The member `store` of a group: of a target's, or of the whole file. */
int conf_storage_read_store(const struct conf_source *source, const config_setting_t *group, char **store);

#endif
