/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_locks.h: locks and appends of clients. Of two who hold what conflicts, one must have been told, at
 * the end, that he lost it. What was appended stands where the call said, once, unless one whose call
 * failed wrote over it.
 */
#ifndef TEST_SIM_CLIENT_LOCKS_H
#define TEST_SIM_CLIENT_LOCKS_H

#include <stdint.h>

#include "weft/weft.h"

void locks_begin(void);
/* What was appended and not synced may be lost. */
void locks_crashed(void);

/* These return what failed, or 0. */
int64_t locks_append(weft_file_t *file, unsigned *number);
/* Others may have been told another end. */
void locks_append_unsure(unsigned number);
int64_t locks_exclude(weft_file_t *file, unsigned thread);
int64_t locks_record(weft_file_t *file, unsigned thread);

/* In the end, when all is well: nobody holds a lock any more, and all that was appended is there. */
void locks_check(weft_file_t *file);

#endif
