/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport_ofi_library.h: libfabric, loaded when it is first used.
 *
 * It is not linked. Libraries that Debian's depends on (those of PSM) take over SIGTERM, SIGINT and others
 * as soon as they are loaded, so every program with libweft in it would end otherwise than it was made
 * to, whether or not it ever uses this transport. So it is loaded for who wants it, and what the program
 * does about signals is put back.
 *
 * Threads: from any.
 */
#ifndef COMMON_TRANSPORT_OFI_LIBRARY_H
#define COMMON_TRANSPORT_OFI_LIBRARY_H

#include <rdma/fabric.h>
#include <rdma/fi_errno.h>

/* What the program does about signals, around whatever may make a provider take them over. Of threads that
 * are there at the same time, the first keeps it and the last puts it back: one between them would
 * take a provider's for the program's. */
void ofi_signals_keep(void);
void ofi_signals_restore(void);

/* Loads it. -ENOENT with a text that tells what to install. Until it has returned 0, nothing of libfabric
 * may be called. */
int ofi_library_open(void);

/* fi_getinfo() for any providers. It may load some that take over signals: these are put back. */
int ofi_library_ask(const struct fi_info *hints, struct fi_info **infos);

/* libfabric's own functions by these names; what its headers define in themselves is called as it is. */
struct fi_info *ofi_library_dup(const struct fi_info *info); /* of NULL: an empty one */
void ofi_library_free(struct fi_info *info);
int ofi_library_fabric(struct fi_fabric_attr *attr, struct fid_fabric **fabric);
const char *ofi_library_error(int error);

#endif
