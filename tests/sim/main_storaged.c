/* SPDX-License-Identifier: Apache-2.0 */
#include "mains.h"

#define main storaged_main
#include "storage/main.c" // NOLINT(bugprone-suspicious-include)
