/* SPDX-License-Identifier: Apache-2.0 */
#include "transport_ofi_library.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

#include "err.h"

/* The name belongs to the interface, which libfabric has kept since its first release. */
#define LIBRARY "libfabric.so.1"

static struct {
    __typeof__(&fi_getinfo) getinfo;
    __typeof__(&fi_freeinfo) freeinfo;
    __typeof__(&fi_dupinfo) dupinfo;
    __typeof__(&fi_fabric) fabric;
    __typeof__(&fi_strerror) strerror;
} library;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_loaded;

/* What PSM and the providers of shared memory take. */
static const int signals_taken[] = {SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGABRT,
                                    SIGBUS, SIGFPE, SIGSEGV, SIGTERM};
enum { SIGNALS_TAKEN = sizeof signals_taken / sizeof signals_taken[0] };

/* What the program does about them, while `keepers` threads may be where a provider takes them over. */
static struct sigaction kept[SIGNALS_TAKEN];
static unsigned keepers;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

void ofi_signals_keep(void)
{
    pthread_mutex_lock(&kept_lock);
    for (int i = 0; i < SIGNALS_TAKEN && !keepers; i++)
        sigaction(signals_taken[i], NULL, &kept[i]);
    keepers++;
    pthread_mutex_unlock(&kept_lock);
}

void ofi_signals_restore(void)
{
    pthread_mutex_lock(&kept_lock);
    keepers--;
    for (int i = 0; i < SIGNALS_TAKEN && !keepers; i++)
        sigaction(signals_taken[i], &kept[i], NULL);
    pthread_mutex_unlock(&kept_lock);
}

static int load(void)
{
    ofi_signals_keep();
    void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    ofi_signals_restore();
    if (!handle)
        return err_set(
            -ENOENT,
            "libfabric can't be loaded: %s; install libfabric1, or let transport in weft.conf be ucx",
            dlerror());
    library.getinfo = (__typeof__(library.getinfo))dlsym(handle, "fi_getinfo");
    library.freeinfo = (__typeof__(library.freeinfo))dlsym(handle, "fi_freeinfo");
    library.dupinfo = (__typeof__(library.dupinfo))dlsym(handle, "fi_dupinfo");
    library.fabric = (__typeof__(library.fabric))dlsym(handle, "fi_fabric");
    library.strerror = (__typeof__(library.strerror))dlsym(handle, "fi_strerror");
    if (!library.getinfo || !library.freeinfo || !library.dupinfo || !library.fabric || !library.strerror)
        return err_set(-ENOENT, "%s lacks a function of libfabric's", LIBRARY);
    return 0;
}

int ofi_library_open(void)
{
    pthread_mutex_lock(&lock);
    int error = is_loaded ? 0 : load();
    is_loaded = error == 0;
    pthread_mutex_unlock(&lock);
    return error;
}

int ofi_library_ask(const struct fi_info *hints, struct fi_info **infos)
{
    ofi_signals_keep();
    int status = library.getinfo(FI_VERSION(1, 15), NULL, NULL, 0, hints, infos);
    ofi_signals_restore();
    return status;
}

struct fi_info *ofi_library_dup(const struct fi_info *info)
{
    return library.dupinfo(info);
}

void ofi_library_free(struct fi_info *info)
{
    library.freeinfo(info);
}

int ofi_library_fabric(struct fi_fabric_attr *attr, struct fid_fabric **fabric)
{
    return library.fabric(attr, fabric, NULL);
}

const char *ofi_library_error(int error)
{
    return library.strerror(error);
}
