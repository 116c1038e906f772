/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport_ofi_choice.h: which of libfabric's providers and devices are used, and why.
 *
 * A choice is one device that reaches other hosts, and possibly one before it that only
 * reaches this host. The user may name providers, "tcp;ofi_rxm" or "shm,tcp;ofi_rxm", and
 * behind "@" a device (libfabric's domain). Otherwise the table in the .c file decides.
 */
#ifndef COMMON_TRANSPORT_OFI_CHOICE_H
#define COMMON_TRANSPORT_OFI_CHOICE_H

#include <stdbool.h>
#include <rdma/fabric.h>

#define OFI_CHOICE_MAX     2u
#define OFI_CHOICE_WHY_MAX 160u

struct ofi_choice {
    struct fi_info *infos[OFI_CHOICE_MAX]; /* owned; a lane for each */
    unsigned count;
};

/* One usable device of this host. */
struct ofi_device {
    const char *provider, *domain; /* of `info` */
    struct fi_info *info;
    bool is_local;                /* reaches this host only */
    bool can_sleep;               /* judged by its kind: see the table */
    int rank;                     /* the smaller, the better; negative: only when it is named */
    char why[OFI_CHOICE_WHY_MAX]; /* the rank's reason */
};

/* All that can be used, best first, possibly none; ofi_devices_free() when done. */
int ofi_devices(struct ofi_device **devices, unsigned *count);
void ofi_devices_free(struct ofi_device *devices, unsigned count);

/* The same for transport.h, one for each provider and device. */
struct transport_device;
int ofi_transport_devices(struct transport_device **devices, unsigned *count);

/* `options` is NULL, "", or "PROVIDER[,PROVIDER][@DOMAIN]". -ENODEV with a text when there is none. */
int ofi_choose(const char *options, struct ofi_choice *choice);
void ofi_choice_free(struct ofi_choice *choice);
/* Whether this host has a network that libfabric drives and UCX doesn't. Asks the kernel only, which is
 * quick; libfabric takes most of a second for its first answer. */
bool ofi_is_preferred(void);
bool ofi_is_local(const struct fi_info *info);
/* Whether it is the provider of shared memory, whose names are chosen by transport_ofi_shm.c. */
bool ofi_is_shm(const struct fi_info *info);

#endif
