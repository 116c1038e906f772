/* SPDX-License-Identifier: Apache-2.0 */
/* boot.h: which start of the host this is: what was in its page cache at an earlier one is gone. */
#ifndef STORAGE_BOOT_H
#define STORAGE_BOOT_H

#include <stdint.h>

enum { BOOT_ID_BYTES = 16 };

/* Another one after each start of the kernel, never all zeros. */
int boot_id(uint8_t id[BOOT_ID_BYTES]);

#endif
