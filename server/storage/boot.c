/* SPDX-License-Identifier: Apache-2.0 */
#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "err.h"

static const char path[] = "/proc/sys/kernel/random/boot_id";

/* A UUID as text: hex digits, and dashes between some of them. */
static int parse(const char *text, uint8_t id[BOOT_ID_BYTES])
{
    unsigned any = 0;
    for (unsigned i = 0; i < BOOT_ID_BYTES; i++) {
        unsigned value;
        text += *text == '-';
        if (sscanf(text, "%2x", &value) != 1)
            return err_set(-EBADMSG, "%s has no UUID", path);
        id[i] = (uint8_t)value;
        any |= value;
        text += 2;
    }
    return any ? 0 : err_set(-EBADMSG, "%s has zeros only", path);
}

int boot_id(uint8_t id[BOOT_ID_BYTES])
{
    char text[64];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    int error = length < 0 ? err_sys("read %s", path) : 0;
    if (fd >= 0)
        close(fd);
    if (error)
        return error;
    text[length] = 0;
    return parse(text, id);
}
