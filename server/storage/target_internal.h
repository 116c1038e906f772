/* SPDX-License-Identifier: Apache-2.0 */
/* target_internal.h: what the files of target.h share. */
#ifndef STORAGE_TARGET_INTERNAL_H
#define STORAGE_TARGET_INTERNAL_H

#include "target.h"

/* target_text.c: the description */

enum { TARGET_TEXT_MAX = 1024 };

/* Returns its length. */
int target_describe(const struct target *target, char text[TARGET_TEXT_MAX]);
/* Takes what the text says of the target into it, when that is what was asked for. -EBADMSG, -EINVAL. */
int target_text_take(struct target *target, const char *text);
/* -EBADMSG, with advice. */
int target_damaged(const struct target *target, const char *why);
/* The id that a text tells of, whoever's it is. */
bool target_text_id(const char *text, uint32_t *id);

/* target_disk.c */

int target_disk_open(struct target *target);
void target_disk_close(struct target *target);
/* Writes the description to the label, durably. */
int target_disk_describe(struct target *target);

#endif
