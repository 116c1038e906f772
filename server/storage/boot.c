/* SPDX-License-Identifier: Apache-2.0 */
#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <sodium.h>

#include "err.h"

static const char path[] = "/proc/sys/kernel/random/boot_id";

/* A UUID as text: hex digits, and dashes between some of them. */
static int parse(const char *text, size_t length, uint8_t id[BOOT_ID_BYTES])
{
    size_t bytes;
    if (sodium_hex2bin(id, BOOT_ID_BYTES, text, length, "-\n", &bytes, NULL) || bytes != BOOT_ID_BYTES)
        return err_set(-EBADMSG, "%s has no UUID", path);
    return sodium_is_zero(id, BOOT_ID_BYTES) ? err_set(-EBADMSG, "%s has zeros only", path) : 0;
}

int boot_id(uint8_t id[BOOT_ID_BYTES])
{
    char text[64];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text);
    int error = length < 0 ? err_sys("read %s", path) : 0;
    if (fd >= 0)
        close(fd);
    if (error)
        return error;
    return parse(text, (size_t)length, id);
}
