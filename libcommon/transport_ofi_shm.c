/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libfabric's shared-memory provider keeps each endpoint in a file of /dev/shm, 16 MiB of it, which stays
 * when its process is killed. libfabric names it by the process's number: once another process has that
 * number it finds the file in use, and gets no endpoint. So the names are ours,
 *
 *     weft-NAMESPACE-PID-START-NUMBER
 *
 * with the namespace that process numbers are of, and the process's start, which no two processes share
 * with it. And by them whoever comes next knows which files belong to nobody any more.
 */
#include "transport_ofi.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "log.h"

#define SHM_FOLDER  "/dev/shm"
#define FIELD_START 22 /* in /proc/PID/stat, see proc(5) */

/* In clock ticks since the machine started; 0: there is no such process. */
static uint64_t process_start(unsigned pid)
{
    char path[32], line[1024];
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    size_t length = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[length] = '\0';
    /* The second field is a name in parentheses, and may have anything in it. */
    const char *at = strrchr(line, ')');
    for (int field = 2; at && field < FIELD_START; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at, NULL, 10) : 0;
}

static uint64_t process_namespace(void)
{
    struct stat status;
    return stat("/proc/self/ns/pid", &status) ? 0 : status.st_ino;
}

/* Removes what processes of this namespace have left. Another user's stays: it may not be removed. */
static void sweep(uint64_t namespace)
{
    struct dirent *entry;
    DIR *folder = opendir(SHM_FOLDER);
    while (folder && (entry = readdir(folder))) {
        uint64_t of, start;
        unsigned pid;
        if (sscanf(entry->d_name, "weft-%" SCNx64 "-%u-%" SCNu64 "-", &of, &pid, &start) != 3 ||
            of != namespace || process_start(pid) == start)
            continue;
        if (!shm_unlink(entry->d_name))
            log_debug("libfabric: removed " SHM_FOLDER "/%s, whose process has ended", entry->d_name);
    }
    if (folder)
        closedir(folder);
}

int ofi_shm_name(struct fid_ep *endpoint)
{
    static atomic_uint number;
    char name[128];
    uint64_t namespace = process_namespace();
    unsigned pid = (unsigned)getpid();
    sweep(namespace);
    int length = snprintf(name, sizeof name, OFI_SHM_PREFIX "weft-%" PRIx64 "-%u-%" PRIu64 "-%u", namespace,
                          pid, process_start(pid), atomic_fetch_add(&number, 1));
    return fi_setname(&endpoint->fid, name, (size_t)length + 1);
}
