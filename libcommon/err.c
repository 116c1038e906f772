/* SPDX-License-Identifier: Apache-2.0 */
#include "err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "weft_limits.h"

/* err_from_wire() passes numbers through, which is right only where they mean the same. */
static_assert(EPERM == 1 && EAGAIN == 11 && ENAMETOOLONG == 36 && ENOSYS == 38 && ENOTEMPTY == 39 &&
                  EPROTO == 71 && EMSGSIZE == 90 && ETIMEDOUT == 110 && ESTALE == 116 && EDQUOT == 122,
              "errors are numbered as on Linux x86-64; another system needs a table in err_from_wire()");

static _Thread_local char latest[LIMITS_ERROR_TEXT_MAX + 1];

/* Arguments may be (parts of) the latest text itself, so it is replaced only
 * when the new one is complete. */
static void record(const char *format, va_list arguments, const char *suffix)
{
    char text[sizeof latest];
    int length = vsnprintf(text, sizeof text, format, arguments);
    if (length < 0)
        length = 0;
    if ((size_t)length >= sizeof text)
        length = sizeof text - 1;
    text[length] = '\0';
    if (suffix)
        snprintf(text + length, sizeof text - (size_t)length, ": %s", suffix);
    memcpy(latest, text, sizeof latest);
}

int err_set(int error, const char *format, ...)
{
    va_list arguments;
    assert(error < 0);
    va_start(arguments, format);
    record(format, arguments, NULL);
    va_end(arguments);
    return error;
}

int err_sys(const char *format, ...)
{
    int error = errno > 0 ? -errno : -EIO;
    va_list arguments;
    va_start(arguments, format);
    record(format, arguments, err_name(error));
    va_end(arguments);
    return error;
}

int err_prefix(int error, const char *prefix)
{
    char text[sizeof latest];
    size_t length = strnlen(prefix, sizeof text - 1);
    memcpy(text, prefix, length);
    snprintf(text + length, sizeof text - length, ": %s", latest);
    memcpy(latest, text, sizeof latest);
    return error;
}

const char *err_text(void)
{
    return latest;
}

void err_clear(void)
{
    latest[0] = '\0';
}

const char *err_name(int error)
{
    const char *text = error <= 0 && error > INT32_MIN ? strerrordesc_np(-error) : NULL;
    return text ? text : "unknown error";
}

int err_from_wire(int status)
{
    if (status == 0)
        return 0;
    return status > 0 && strerrordesc_np(status) ? -status : -EPROTO;
}
