/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libfabric 1.17's shared-memory provider has a spin lock in the memory of each endpoint. Its owner takes it
 * to look for messages, everyone else to send some there. It tells nobody who holds it: when that one is
 * killed, all others spin in libfabric for ever.
 *
 * So nobody takes that lock without the endpoint's guard: a robust mutex in a file beside the endpoint's, of
 * which the kernel tells when its holder died (pthread_mutexattr_setrobust(3)). From then on it is never to
 * be had again, and so nobody touches the endpoint: those that send to it lose the connection, its owner
 * opens another one. It also lets those who wait for it sleep, and for so long only as they want.
 */
#include "transport_ofi.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "err.h"

#define SUFFIX  "-guard"
/* A holder that is stopped, or has no processor, is not waited for longer at once. */
#define WAIT_NS 2000000

struct ofi_guard {
    pthread_mutex_t *mutex;
    char name[128];
    bool is_own;
};

static int name_make(struct ofi_guard *guard, const char *address)
{
    const size_t prefix = strlen(OFI_SHM_PREFIX);
    if (strncmp(address, OFI_SHM_PREFIX, prefix) != 0 || strchr(address + prefix, '/'))
        return err_set(-EPROTO, "libfabric: an address over shared memory makes no sense");
    int length = snprintf(guard->name, sizeof guard->name, "/%s" SUFFIX, address + prefix);
    return length < (int)sizeof guard->name
               ? 0
               : err_set(-EPROTO, "libfabric: an address over shared memory is too long");
}

static int mutex_make(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attributes;
    int error = pthread_mutexattr_init(&attributes);
    if (error)
        return err_set(-error, "making a mutex: %s", err_name(-error));
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    error = pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return error ? err_set(-error, "making a mutex: %s", err_name(-error)) : 0;
}

static int map_file(struct ofi_guard *guard, int fd)
{
    struct stat status;
    if (guard->is_own && ftruncate(fd, sizeof *guard->mutex))
        return err_sys("making /dev/shm%s", guard->name);
    if (fstat(fd, &status))
        return err_sys("looking at /dev/shm%s", guard->name);
    if ((size_t)status.st_size < sizeof *guard->mutex)
        return err_set(-EPROTO, "/dev/shm%s is too short", guard->name);
    void *memory = mmap(NULL, sizeof *guard->mutex, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return err_sys("mapping /dev/shm%s", guard->name);
    guard->mutex = memory;
    return guard->is_own ? mutex_make(guard->mutex) : 0;
}

static int open_one(const char *address, bool is_own, struct ofi_guard **out)
{
    struct ofi_guard *guard = calloc(1, sizeof *guard);
    if (!guard)
        return err_set(-ENOMEM, "out of memory for a guard");
    int error = name_make(guard, address);
    if (error)
        goto free_guard;
    int fd = shm_open(guard->name, O_RDWR | O_CLOEXEC | (is_own ? O_CREAT | O_EXCL : 0), 0600);
    if (fd < 0) {
        error = err_sys("opening /dev/shm%s", guard->name);
        goto free_guard;
    }
    guard->is_own = is_own;
    error = map_file(guard, fd);
    close(fd);
    if (!error) {
        *out = guard;
        return 0;
    }
    if (is_own)
        shm_unlink(guard->name);
    if (guard->mutex)
        munmap(guard->mutex, sizeof *guard->mutex);
free_guard:
    free(guard);
    return error;
}

int ofi_guard_make(const char *address, struct ofi_guard **out)
{
    return open_one(address, true, out);
}

int ofi_guard_open(const char *address, struct ofi_guard **out)
{
    return open_one(address, false, out);
}

void ofi_guard_close(struct ofi_guard *guard)
{
    if (!guard)
        return;
    if (guard->is_own)
        shm_unlink(guard->name);
    munmap(guard->mutex, sizeof *guard->mutex);
    free(guard);
}

ssize_t ofi_guard_take(struct ofi_guard *guard)
{
    struct timespec until;
    if (!guard)
        return 0;
    int error = pthread_mutex_trylock(guard->mutex);
    if (error == EBUSY) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WAIT_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        error = pthread_mutex_timedlock(guard->mutex, &until);
    }
    switch (error) {
    case 0:
        return 0;
    case ETIMEDOUT:
        return -FI_EAGAIN;
    case EOWNERDEAD:
        /* Left as it is, it is nobody's any more: ENOTRECOVERABLE for all. */
        pthread_mutex_unlock(guard->mutex);
        return -FI_ECONNABORTED;
    default:
        return -FI_ECONNABORTED;
    }
}

void ofi_guard_leave(struct ofi_guard *guard)
{
    if (guard)
        pthread_mutex_unlock(guard->mutex);
}
