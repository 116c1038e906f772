/* SPDX-License-Identifier: Apache-2.0 */
/*
 * versions.h: HDF5's headers, and all that differs between its versions and builds.
 *
 *   1.10, 1.12     a driver is linked; it has scalar calls only, and can't be MPI-aware
 *   1.14 and on    it may be a plug-in, and has vector and selection calls; where the
 *                  library itself was built for MPI, it may be MPI-aware
 */
#ifndef VFD_VERSIONS_H
#define VFD_VERSIONS_H

#include <hdf5.h>

#if H5_VERSION_GE(1, 13, 0)
#include <H5FDdevelop.h>
#include <H5PLextern.h>
#endif

/* Drivers have a version of their interface since they may be plug-ins. */
#ifdef H5FD_CLASS_VERSION
#define VFD_IS_PLUGIN 1
#define VFD_HAS_LISTS 1
#else
#define VFD_IS_PLUGIN 0
#define VFD_HAS_LISTS 0
#endif

#if defined(H5_HAVE_PARALLEL) && VFD_IS_PLUGIN
#define VFD_HAS_MPI 1
#include <mpi.h>
#else
#define VFD_HAS_MPI 0
#endif

#endif
