/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hdf5.h: HDF5 files on Weft, through HDF5's virtual file driver for it.
 *
 * A program that is linked with libweft-hdf5 chooses the driver for a file by
 * H5Pset_fapl_weft(). With HDF5 1.14 and later it needs neither this header nor
 * the library: HDF5_DRIVER=weft, with HDF5_PLUGIN_PATH naming the library's folder,
 * or H5Pset_driver_by_name(fapl, "weft", config) do the same.
 *
 * Parallel programs: with HDF5 1.14 and later, H5Pset_mpi_params() before it makes the file one of
 * all ranks of the communicator. With older ones they use H5Pset_fapl_mpio() and a path that
 * begins with "weft:", which works with every version.
 */
#ifndef WEFT_HDF5_H
#define WEFT_HDF5_H

#include <hdf5.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* The driver's identifier, for H5Pset_driver() and to compare with H5Pget_driver(). */
#define H5FD_WEFT (H5FD_weft_init())

/*
 * H5Pset_fapl_weft(): files opened with this access list are on Weft. `config` is
 * "name=value;name=value" with the hints of weft-hints(7) (such as chunk_size, stripe_count, pool), and
 *   cache_size  bytes of the cache for small pieces of one file, such as 16M (the default); 0: none
 *   folder      where files are whose name does not begin with '/' (default: "/")
 * NULL: the defaults. The text is copied. Negative, and a message on HDF5's error stack, when it is wrong.
 * Threads: as HDF5's own calls.
 */
herr_t H5Pset_fapl_weft(hid_t fapl, const char *config);

/* H5FD_weft_init(): registers the driver, if it is not yet; negative on failure. */
hid_t H5FD_weft_init(void);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif
#endif
