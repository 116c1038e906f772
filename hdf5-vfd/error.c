/* SPDX-License-Identifier: Apache-2.0 */
/*
 * error.c: from Weft's errors to HDF5's stack of errors. A driver from outside may not use the library's
 * own class of errors, so it has one.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "driver.h"
#include "err.h"

#define TEXT_BYTES 1024

static hid_t error_class = H5I_INVALID_HID;
static char others_text[VFD_TEXT_BYTES]; /* of another rank's error; "" when there is none */

/* What the library knows of an error; it has not seen the lack of memory in the driver itself. */
static const char *meaning_of(int error)
{
    const char *text = others_text[0] ? others_text : weft_error();
    return error == -ENOMEM || text[0] == '\0' ? err_name(error) : text;
}

void vfd_fail(const char *source, const char *function, unsigned line, hid_t minor, int error,
              const char *format, ...)
{
    char text[TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    /* Copied before HDF5 is called, which might call Weft again. */
    if (error < 0)
        snprintf(text + strlen(text), sizeof text - strlen(text), ": %s", meaning_of(error));
    others_text[0] = '\0';
    if (error_class < 0)
        error_class = H5Eregister_class("Weft virtual file driver", VFD_NAME, weft_version());
    if (error_class >= 0)
        H5Epush2(H5E_DEFAULT, source, function, line, error_class, H5E_VFL, minor, "%s", text);
}

void vfd_fail_elsewhere(const char *text)
{
    snprintf(others_text, sizeof others_text, "%s", text);
}

void vfd_errors_end(void)
{
    if (error_class >= 0)
        H5Eunregister_class(error_class);
    error_class = H5I_INVALID_HID;
}
