/* SPDX-License-Identifier: Apache-2.0 */
#include "mains.h"

#define main metad_main
#include "metadata/main.c" // NOLINT(bugprone-suspicious-include)
