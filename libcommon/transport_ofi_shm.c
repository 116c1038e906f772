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

#define RIGHTS_BYTES 512u

/* What decides who may read whose memory and open whose files, of /proc/PID/status; see ptrace(2). */
static bool rights_read(const char *process, char rights[RIGHTS_BYTES])
{
    static const char *const fields[] = {"Uid:", "Gid:", "CapPrm:"};
    char path[64], line[256];
    size_t used = 0;
    unsigned found = 0;
    snprintf(path, sizeof path, "/proc/%s/status", process);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
            size_t length = strlen(line);
            if (strncmp(line, fields[i], strlen(fields[i])) != 0 || used + length >= RIGHTS_BYTES)
                continue;
            memcpy(rights + used, line, length + 1);
            used += length;
            found++;
        }
    if (file)
        fclose(file);
    return found == sizeof fields / sizeof fields[0];
}

bool ofi_shm_is_mutual(pid_t pid)
{
    char number[16], ours[RIGHTS_BYTES], theirs[RIGHTS_BYTES];
    snprintf(number, sizeof number, "%d", (int)pid);
    return rights_read("self", ours) && rights_read(number, theirs) && !strcmp(ours, theirs);
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
