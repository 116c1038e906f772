/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "err.h"

enum { END_BYTES = 1 << 20 };

#ifdef HAVE_BLKID
#include <blkid.h>

static const char *value_of(blkid_probe probe, const char *name)
{
    const char *value;
    return blkid_probe_lookup_value(probe, name, &value, NULL) == 0 ? value : NULL;
}

static bool is_known(int fd, char *text, size_t size)
{
    blkid_probe probe = blkid_new_probe();
    const char *type = NULL, *partitions = NULL, *label = NULL;
    if (!probe)
        return false;
    if (blkid_probe_set_device(probe, fd, 0, 0) == 0) {
        blkid_probe_enable_superblocks(probe, 1);
        blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL);
        blkid_probe_enable_partitions(probe, 1);
        if (blkid_do_fullprobe(probe) == 0) {
            type = value_of(probe, "TYPE");
            partitions = value_of(probe, "PTTYPE");
            label = value_of(probe, "LABEL");
        }
    }
    if (type)
        snprintf(text, size, "contents of type %s%s%s%s", type, label ? ", named \"" : "", label ? label : "",
                 label ? "\"" : "");
    else if (partitions)
        snprintf(text, size, "a partition table of type %s", partitions);
    blkid_free_probe(probe);
    return type || partitions;
}
#else
static bool is_known(int fd, char *text, size_t size)
{
    (void)fd, (void)text, (void)size;
    return false;
}
#endif

/* 1: it is not all zeros. */
static int look(int fd, uint64_t offset, size_t length, uint8_t *bytes)
{
    for (size_t done = 0; done < length;) {
        const ssize_t count = pread(fd, bytes + done, length - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return count ? err_sys("read what the disk holds") : err_set(-EIO, "the disk ends too early");
        done += (size_t)count;
    }
    for (size_t i = 0; i < length; i++)
        if (bytes[i])
            return 1;
    return 0;
}

int probe_disk(int fd, uint64_t size, char *text, size_t text_size)
{
    const size_t length = size < END_BYTES ? (size_t)size : END_BYTES;
    if (is_known(fd, text, text_size))
        return 1;
    uint8_t *bytes = malloc(END_BYTES);
    if (!bytes)
        return err_set(-ENOMEM, "no memory to look at a disk");
    int result = look(fd, 0, length, bytes);
    if (result == 0)
        result = look(fd, size - length, length, bytes);
    free(bytes);
    if (result > 0)
        snprintf(text, text_size, "data of an unknown kind");
    return result;
}
