/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_mountpoint: any text as a line of the kernel's table of mounts, and as the source of a mount. What is
 * read must be texts with an end, and mean the same when it is written again.
 */
#include "fuzz.h"
#include "mountpoint.h"

static void check_source(const char *text)
{
    static struct mountpoint_source source, again;
    static char written[MOUNTPOINT_SOURCE_BYTES];
    if (!mountpoint_source_read(text, &source))
        return;
    require(memchr(source.path, '\0', sizeof source.path) != NULL);
    require(memchr(source.conf, '\0', sizeof source.conf) != NULL);
    require(strlen(source.cluster) == WEFT_CLUSTER_BYTES - 1 && source.root != 0);
    mountpoint_source_write(&source, written);
    require(strlen(written) < sizeof written && !strpbrk(written, ", \\\n"));
    require(mountpoint_source_read(written, &again));
    require(strcmp(again.cluster, source.cluster) == 0 && again.root == source.root);
    require(again.is_cached == source.is_cached);
    require(strcmp(again.path, source.path) == 0 || again.path[0] == '\0');
    require(strcmp(again.conf, source.conf) == 0 || again.conf[0] == '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mountpoint mount;
    char *text = fuzz_text(data, size);
    check_source(text);
    if (mountpoint_parse(text, &mount)) {
        require(mount.dir[0] != '\0' && memchr(mount.dir, '\0', sizeof mount.dir) != NULL);
        require(mount.source[0] != '\0' && memchr(mount.source, '\0', sizeof mount.source) != NULL);
        check_source(mount.source);
    }
    free(text);
    return 0;
}
