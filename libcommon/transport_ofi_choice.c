/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libfabric's own order of providers is by what they can do, and puts the loopback device among the
 * others; it does not know that Weft's servers must outlive their clients. So the order is ours.
 */
#include "transport_ofi_choice.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>

#include "err.h"
#include "transport_ofi.h"
#include "weft_limits.h"

#define RANK_LOOPBACK 1000 /* added: other hosts can't be reached from there */
#define RANK_V6       10   /* added: where there is IPv4 too, it is what is set up more often */
#define OPTIONS_MAX   128u

static const struct provider {
    const char *name;
    int rank;
    bool is_local;
    bool can_sleep;
    const char *why;
} providers[] = {
    {"cxi", 0, false, true, "Slingshot: the network card moves the data"},
    {"opx", 100, false, false, "Omni-Path"},
    {"psm2", 150, false, true, "Omni-Path, the older software for it"},
    {"efa", 200, false, false, "Elastic Fabric Adapter"},
    {"verbs;ofi_rxm", 300, false, true, "InfiniBand or RoCE: the network card moves the data"},
    {"psm3", 350, false, true, "RoCE by Intel's software"},
    {"tcp;ofi_rxm", 400, false, true, "TCP: runs everywhere"},
    {"tcp", 500, false, true, "TCP, with connections that libfabric's tcp provider keeps itself"},
    {"net", -1, false, false,
     "TCP, in the form that libfabric 1.17 tries out, which never sleeps: only when it is named"},
    {"sockets", -1, false, true, "TCP, deprecated by libfabric: only when it is named"},
    {"shm", -1, true, false,
     "shared memory: only when it is named, since a process that is killed or stopped while it sends may "
     "leave "
     "a lock behind that all others then wait for"},
};

static const struct provider *provider_of(const struct fi_info *info)
{
    for (size_t i = 0; i < sizeof providers / sizeof providers[0]; i++)
        if (!strcmp(providers[i].name, info->fabric_attr->prov_name))
            return &providers[i];
    return NULL;
}

bool ofi_is_local(const struct fi_info *info)
{
    const struct provider *provider = provider_of(info);
    return provider && provider->is_local;
}

bool ofi_is_shm(const struct fi_info *info)
{
    return !strcmp(info->fabric_attr->prov_name, "shm");
}

/* Whether a device of the class has one of these drivers. */
static bool has_driver(const char *folder, const char *const drivers[])
{
    struct dirent *entry;
    bool found = false;
    DIR *class = opendir(folder);
    while (class && !found && (entry = readdir(class))) {
        char path[PATH_MAX], target[PATH_MAX];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s/device/driver", folder, entry->d_name);
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length < 0)
            continue;
        target[length] = '\0';
        const char *slash = strrchr(target, '/');
        for (size_t i = 0; drivers[i] && !found; i++)
            found = slash && !strcmp(slash + 1, drivers[i]);
    }
    if (class)
        closedir(class);
    return found;
}

bool ofi_is_preferred(void)
{
    static const char *const slingshot[] = {"cxi_ss1", "cxi_core", NULL};
    static const char *const others[] = {"hfi1", "efa", NULL};
    return has_driver("/sys/class/cxi", slingshot) || has_driver("/sys/class/infiniband", others);
}

/* What must be there, and what we can live with. */
static struct fi_info *hints_make(void)
{
    struct fi_info *hints = ofi_library_dup(NULL);
    if (!hints)
        return NULL;
    hints->caps = FI_MSG | FI_RMA;
    hints->mode = FI_CONTEXT | FI_CONTEXT2;
    hints->ep_attr->type = FI_EP_RDM;
    hints->domain_attr->mr_mode =
        FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY | FI_MR_ENDPOINT;
    hints->domain_attr->threading = FI_THREAD_DOMAIN;
    hints->domain_attr->resource_mgmt = FI_RM_ENABLED;
    return hints;
}

/* Addresses of IP devices, as far as they tell where one can get from there. */
static int address_rank(const struct fi_info *info, const char **why)
{
    const struct sockaddr *address = info->src_addr;
    if (!address)
        return 0;
    if (info->addr_format == FI_SOCKADDR_IN ||
        (info->addr_format == FI_SOCKADDR && address->sa_family == AF_INET)) {
        const struct sockaddr_in *in = info->src_addr;
        if ((ntohl(in->sin_addr.s_addr) >> 24) != 127)
            return 0;
        *why = "the loopback device: reaches this host only";
        return RANK_LOOPBACK;
    }
    if (info->addr_format == FI_SOCKADDR_IN6 ||
        (info->addr_format == FI_SOCKADDR && address->sa_family == AF_INET6)) {
        const struct sockaddr_in6 *in6 = info->src_addr;
        if (IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr)) {
            *why = "the loopback device: reaches this host only";
            return RANK_LOOPBACK + RANK_V6;
        }
        if (IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr)) {
            *why = "an address of this link only";
            return RANK_LOOPBACK + RANK_V6 + 1;
        }
        return RANK_V6;
    }
    return 0;
}

static bool is_usable(const struct fi_info *info)
{
    return provider_of(info) && info->ep_attr->max_msg_size >= LIMITS_PAYLOAD_MAX &&
           info->domain_attr->mr_key_size <= sizeof(uint64_t);
}

/* Some devices come several times, for what we don't ask for. */
static bool is_known(const struct ofi_device *devices, unsigned count, const struct fi_info *info, int rank)
{
    for (unsigned i = 0; i < count; i++)
        if (!strcmp(devices[i].provider, info->fabric_attr->prov_name) &&
            !strcmp(devices[i].domain, info->domain_attr->name) && devices[i].rank == rank)
            return true;
    return false;
}

static int compare(const void *left, const void *right)
{
    const struct ofi_device *a = left, *b = right;
    if ((a->rank < 0) != (b->rank < 0))
        return a->rank < 0 ? 1 : -1;
    return abs(a->rank) - abs(b->rank);
}

static int device_add(struct ofi_device *devices, unsigned *count, const struct fi_info *info)
{
    const struct provider *provider = provider_of(info);
    const char *why = NULL;
    int place = address_rank(info, &why);
    int rank = provider->rank < 0 ? -1 - place : provider->rank + place;
    if (is_known(devices, *count, info, rank))
        return 0;
    struct fi_info *copy = ofi_library_dup(info);
    if (!copy)
        return err_set(-ENOMEM, "out of memory for libfabric's devices");
    struct ofi_device *device = &devices[(*count)++];
    *device = (struct ofi_device){
        .provider = copy->fabric_attr->prov_name,
        .domain = copy->domain_attr->name,
        .info = copy,
        .is_local = provider->is_local,
        .can_sleep = provider->can_sleep,
        .rank = rank,
    };
    snprintf(device->why, sizeof device->why, "%s%s%s", provider->why, why ? "; " : "", why ? why : "");
    return 0;
}

int ofi_devices(struct ofi_device **out, unsigned *count)
{
    int error = ofi_library_open();
    if (error)
        return error;
    struct fi_info *infos = NULL, *hints = hints_make();
    if (!hints)
        return err_set(-ENOMEM, "out of memory for libfabric's devices");
    /* Removing an address is to end what is under way with it, and the connection behind it. libfabric
     * reads this once, when it is first used in the process. */
    setenv("FI_AV_REMOVE_CLEANUP", "1", 0);
    int status = ofi_library_ask(hints, &infos);
    ofi_library_free(hints);
    if (status && status != -FI_ENODATA)
        return ofi_fail(status, "looking for devices");
    size_t all = 0;
    for (struct fi_info *info = infos; info; info = info->next)
        all++;
    struct ofi_device *devices = calloc(all + 1, sizeof *devices);
    error = devices ? 0 : err_set(-ENOMEM, "out of memory for libfabric's devices");
    *count = 0;
    for (struct fi_info *info = infos; info && !error; info = info->next)
        if (is_usable(info))
            error = device_add(devices, count, info);
    ofi_library_free(infos);
    if (error) {
        ofi_devices_free(devices, *count);
        return error;
    }
    qsort(devices, *count, sizeof *devices, compare);
    *out = devices;
    return 0;
}

void ofi_devices_free(struct ofi_device *devices, unsigned count)
{
    for (unsigned i = 0; devices && i < count; i++)
        ofi_library_free(devices[i].info);
    free(devices);
}

static bool is_listed(const struct transport_device *list, unsigned count, const char *text)
{
    for (unsigned i = 0; i < count; i++)
        if (!strcmp(list[i].text, text))
            return true;
    return false;
}

int ofi_transport_devices(struct transport_device **out, unsigned *count)
{
    struct ofi_device *devices;
    unsigned device_count, listed = 0;
    int error = ofi_devices(&devices, &device_count);
    if (error)
        return error;
    struct transport_device *list = calloc(device_count + 1, sizeof *list);
    for (unsigned i = 0; list && i < device_count; i++) {
        const struct ofi_device *device = &devices[i];
        struct transport_device *row = &list[listed];
        snprintf(row->text, sizeof row->text, "ofi:%s%s%s", device->provider, device->is_local ? "" : "@",
                 device->is_local ? "" : device->domain);
        snprintf(row->name, sizeof row->name, "%s", device->domain);
        snprintf(row->why, sizeof row->why, "%s", device->why);
        row->is_local = device->is_local || abs(device->rank) >= RANK_LOOPBACK;
        row->is_by_name_only = device->rank < 0;
        if (!is_listed(list, listed, row->text))
            listed++;
    }
    ofi_devices_free(devices, device_count);
    *out = list;
    *count = listed;
    return list ? 0 : err_set(-ENOMEM, "out of memory for libfabric's devices");
}

/* ---- the choice ------------------------------------------------------------------------ */

static const struct ofi_device *device_find(const struct ofi_device *devices, unsigned count,
                                            const char *provider, const char *domain)
{
    for (unsigned i = 0; i < count; i++) {
        const struct ofi_device *device = &devices[i];
        if (provider ? strcmp(device->provider, provider) != 0 : device->rank < 0)
            continue;
        if (domain && !device->is_local && strcmp(device->domain, domain) != 0)
            continue;
        return device;
    }
    return NULL;
}

static int choice_add(struct ofi_choice *choice, const struct ofi_device *device)
{
    struct fi_info *info = ofi_library_dup(device->info);
    if (!info)
        return err_set(-ENOMEM, "out of memory for libfabric's devices");
    choice->infos[choice->count++] = info;
    return 0;
}

/* "PROVIDER[,PROVIDER][@DOMAIN]"; `text` is taken apart. */
static int choose_named(const struct ofi_device *devices, unsigned count, char *text,
                        struct ofi_choice *choice)
{
    char *rest = NULL, *domain = strchr(text, '@');
    if (domain)
        *domain++ = '\0';
    if (!*text) {
        const struct ofi_device *device = device_find(devices, count, NULL, domain);
        if (!device)
            return err_set(-ENODEV, "libfabric has no device %s that Weft can use; `weft net` lists them",
                           domain);
        return choice_add(choice, device);
    }
    for (char *name = strtok_r(text, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        const struct ofi_device *device = device_find(devices, count, name, domain);
        if (!device)
            return err_set(-ENODEV,
                           "libfabric has no provider %s%s%s here that Weft can use; `weft net` lists them",
                           name, domain ? " with the device " : "", domain ? domain : "");
        if (choice->count == OFI_CHOICE_MAX)
            return err_set(-EINVAL,
                           "more than %u providers for libfabric: name one that reaches other hosts, "
                           "and at most one for this host before it",
                           OFI_CHOICE_MAX);
        int error = choice_add(choice, device);
        if (error)
            return error;
    }
    return 0;
}

int ofi_choose(const char *options, struct ofi_choice *choice)
{
    struct ofi_device *devices;
    unsigned count;
    *choice = (struct ofi_choice){.count = 0};
    if (options && strlen(options) > OPTIONS_MAX)
        return err_set(-EINVAL, "the list of libfabric's providers is longer than %u bytes", OPTIONS_MAX);
    int error = ofi_devices(&devices, &count);
    if (error)
        return error;
    if (options && *options) {
        char text[OPTIONS_MAX + 1];
        snprintf(text, sizeof text, "%s", options);
        error = choose_named(devices, count, text, choice);
    } else {
        const struct ofi_device *device = device_find(devices, count, NULL, NULL);
        error = device ? choice_add(choice, device)
                       : err_set(-ENODEV,
                                 "libfabric has no device here that Weft can use; `weft net` tells more");
    }
    ofi_devices_free(devices, count);
    if (error)
        ofi_choice_free(choice);
    return error;
}

void ofi_choice_free(struct ofi_choice *choice)
{
    for (unsigned i = 0; i < choice->count; i++)
        ofi_library_free(choice->infos[i]);
    choice->count = 0;
}
