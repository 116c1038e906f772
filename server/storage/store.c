/* SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

#include <string.h>

static const struct store_type *const types[] = {&store_files, &store_chunks};

const struct store_type *store_type_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(name, types[i]->name) == 0)
            return types[i];
    return NULL;
}
