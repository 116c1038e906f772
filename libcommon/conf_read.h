/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_read.h: typed reading of a libconfig file, for conf.c: every failure is
 * recorded as "FILE:LINE: SETTING: what is wrong".
 *
 * The file is taken for damaged or hostile: bounded in size, no including of
 * other files, and integers that libconfig 1.5 would wrap around to 32 bits
 * are read in full.
 */
#ifndef COMMON_CONF_READ_H
#define COMMON_CONF_READ_H

#include <libconfig.h>
#include <stdbool.h>
#include <stdint.h>

struct conf_source {
    char *file; /* absolute path */
    char *dir;  /* its folder, without a final slash but for "/" */
    config_t tree;
};

/* Opens and parses. -ENOENT, -EACCES, -EINVAL, ... conf_source_close() is due
 * only after success. */
int conf_source_open(const char *path, struct conf_source *source);
void conf_source_close(struct conf_source *source);

/* Records "FILE:LINE: SETTING: " and the text, and returns -EINVAL. */
int conf_refuse(const struct conf_source *source, const config_setting_t *setting, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "FILE:LINE: SETTING: " in front of the recorded text and returns `error`. */
int conf_refuse_as(const struct conf_source *source, const config_setting_t *setting, int error);

/* "FILE:LINE: SETTING", for what can be refused only later. The caller frees; NULL: no memory. */
char *conf_where(const struct conf_source *source, const config_setting_t *setting);

/* Refuses what is no group, and a group with a name that is not among `known`
 * (ended by NULL), telling the nearest known one. */
int conf_group_check(const struct conf_source *source, const config_setting_t *group,
                     const char *const *known);

/* The members of a group. What is absent leaves *value as it was, unless
 * `required`, which refuses it. */
enum conf_need { CONF_OPTIONAL, CONF_REQUIRED };
int conf_get_group(const struct conf_source *source, const config_setting_t *group, const char *name,
                   enum conf_need need, const config_setting_t **value);
/* A string of 1 to `length_max` bytes without control characters, copied; *value must be NULL or owned. */
int conf_get_string(const struct conf_source *source, const config_setting_t *group, const char *name,
                    enum conf_need need, size_t length_max, char **value);
/* A string as above that is a path; a relative one is made absolute. */
int conf_get_path(const struct conf_source *source, const config_setting_t *group, const char *name,
                  enum conf_need need, char **value);
/* A string as above that is a name: such stand in logs, file names and on the wire. */
int conf_get_name(const struct conf_source *source, const config_setting_t *group, const char *name,
                  enum conf_need need, size_t length_max, char **value);
/* A string as above that is "host:port" with room for `ports` ports; port 0 means any. Required. */
int conf_get_address(const struct conf_source *source, const config_setting_t *group, const char *name,
                     uint32_t ports, char **value);
int conf_get_bool(const struct conf_source *source, const config_setting_t *group, const char *name,
                  enum conf_need need, bool *value);
/* A number from min to max. A size is a number, or a string such as "64K". */
int conf_get_u32(const struct conf_source *source, const config_setting_t *group, const char *name,
                 enum conf_need need, uint32_t min, uint32_t max, uint32_t *value);
int conf_get_size(const struct conf_source *source, const config_setting_t *group, const char *name,
                  enum conf_need need, uint64_t min, uint64_t max, uint64_t *value);

#endif
