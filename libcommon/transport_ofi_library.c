/* SPDX-License-Identifier: Apache-2.0 */
#include "transport_ofi_library.h"

#include <assert.h>
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
static_assert(SIGNALS_TAKEN == sizeof((struct ofi_signals *)0)->actions / sizeof(struct sigaction),
              "room for each");

void ofi_signals_keep(struct ofi_signals *signals)
{
    for (int i = 0; i < SIGNALS_TAKEN; i++)
        sigaction(signals_taken[i], NULL, &signals->actions[i]);
}

void ofi_signals_restore(const struct ofi_signals *signals)
{
    for (int i = 0; i < SIGNALS_TAKEN; i++)
        sigaction(signals_taken[i], &signals->actions[i], NULL);
}

static int load(void)
{
    struct ofi_signals before;
    ofi_signals_keep(&before);
    void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    ofi_signals_restore(&before);
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
    struct ofi_signals before;
    ofi_signals_keep(&before);
    int status = library.getinfo(FI_VERSION(1, 15), NULL, NULL, 0, hints, infos);
    ofi_signals_restore(&before);
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
