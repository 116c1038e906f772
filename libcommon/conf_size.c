/* SPDX-License-Identifier: Apache-2.0 */
#include "conf.h"

#include <errno.h>
#include <string.h>

#include "err.h"

int conf_parse_size(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    const char *at = text;
    uint64_t value = 0;
    unsigned shift = 0;

    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return err_set(-EINVAL, "\"%s\" is too large for a size", text);
    }
    if (at == text)
        goto refuse;
    if (*at) {
        char upper = *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at;
        const char *unit = strchr(units, upper);
        if (!unit || at[1])
            goto refuse;
        shift = 10 * (unsigned)(unit - units + 1);
    }
    if (value > UINT64_MAX >> shift)
        return err_set(-EINVAL, "\"%s\" is too large for a size", text);
    *bytes = value << shift;
    return 0;

refuse:
    return err_set(-EINVAL, "\"%s\" is no size; write a number of bytes, or a number with K, M, G or T",
                   text);
}
