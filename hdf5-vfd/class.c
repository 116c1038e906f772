/* SPDX-License-Identifier: Apache-2.0 */
/*
 * class.c: the table of functions that HDF5 knows the driver by, and the two ways to it: it is registered
 * by a program that is linked with it, or loaded by HDF5 as a plug-in.
 */
#include "driver.h"
#include "weft/hdf5.h"

static hid_t driver_id = H5I_INVALID_HID;

static herr_t end_driver(void)
{
    driver_id = H5I_INVALID_HID;
    vfd_errors_end();
    vfd_session_end();
    cache_memory_end();
    return 0;
}

/* `base` is NULL when HDF5 asks about the driver and not about a file. */
static herr_t query(const H5FD_t *base, unsigned long *flags)
{
    const struct vfd_file *file = (const struct vfd_file *)base;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_AGGREGATE_SMALLDATA;
#ifdef H5FD_FEAT_DEFAULT_VFD_COMPATIBLE
    *flags |= H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
#endif
    if (file && vfd_is_parallel(file))
        *flags |= H5FD_FEAT_HAS_MPI;
    else
        *flags |= H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE | H5FD_FEAT_SUPPORTS_SWMR_IO;
    return 0;
}

static herr_t get_handle(H5FD_t *file, hid_t fapl, void **handle)
{
    (void)fapl;
    *handle = &vfd_file(file)->file;
    return 0;
}

static const H5FD_class_t driver_class = {
#if VFD_IS_PLUGIN
    .version = H5FD_CLASS_VERSION,
    .value = VFD_VALUE,
    .del = vfd_delete,
    .read_vector = vfd_read_vector,
    .write_vector = vfd_write_vector,
    .read_selection = vfd_read_selection,
    .write_selection = vfd_write_selection,
#endif
#if VFD_HAS_MPI
    .ctl = vfd_control,
#endif
    .name = VFD_NAME,
    .maxaddr = VFD_ADDRESS_MAX,
    .fc_degree = H5F_CLOSE_WEAK,
    .terminate = end_driver,
    .fapl_size = sizeof(struct vfd_fapl),
    .fapl_get = vfd_fapl_get,
    .fapl_copy = vfd_fapl_copy,
    .fapl_free = vfd_fapl_free,
    .open = vfd_open,
    .close = vfd_close,
    .cmp = vfd_compare,
    .query = query,
    .get_eoa = vfd_get_eoa,
    .set_eoa = vfd_set_eoa,
    .get_eof = vfd_get_eof,
    .get_handle = get_handle,
    .read = vfd_read,
    .write = vfd_write,
    .flush = vfd_flush,
    .truncate = vfd_truncate,
    .lock = vfd_lock,
    .unlock = vfd_unlock,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

hid_t H5FD_weft_init(void)
{
    if (H5Iget_type(driver_id) == H5I_VFL)
        return driver_id;
    driver_id = H5FDregister(&driver_class);
    return driver_id;
}

#if VFD_IS_PLUGIN

/* What HDF5 asks of a plug-in. */
H5PL_type_t H5PLget_plugin_type(void)
{
    return H5PL_TYPE_VFD;
}

const void *H5PLget_plugin_info(void)
{
    return &driver_class;
}

#endif
