/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mpio.c: for programs that choose HDF5's driver for MPI-IO by themselves. Preloaded, it makes
 * H5Pset_fapl_mpio() choose Weft's driver, with the same communicator and info. It is for HDF5 1.14
 * and later; where the library is older or not parallel, the program's call does what it always did.
 *
 * WEFT_HDF5_CONFIG is the driver's configuration, as HDF5_DRIVER_CONFIG would be.
 */
#include "versions.h"

#include <dlfcn.h>
#include <stdlib.h>

#if VFD_HAS_MPI

/* Open MPI's constants are addresses. It is preloaded into programs without MPI as well: there they are
 * 0, and nobody calls what is here. */
#ifdef OPEN_MPI
#pragma weak ompi_mpi_comm_null
#pragma weak ompi_mpi_info_null
#endif

#pragma GCC visibility push(default)
herr_t H5Pset_fapl_mpio(hid_t fapl, MPI_Comm comm, MPI_Info info);
herr_t H5Pget_fapl_mpio(hid_t fapl, MPI_Comm *comm, MPI_Info *info);
#pragma GCC visibility pop

herr_t H5Pset_fapl_mpio(hid_t fapl, MPI_Comm comm, MPI_Info info)
{
    const char *config = getenv("WEFT_HDF5_CONFIG");
    if (H5Pset_mpi_params(fapl, comm, info) < 0)
        return -1;
    return H5Pset_driver_by_name(fapl, "weft", config);
}

herr_t H5Pget_fapl_mpio(hid_t fapl, MPI_Comm *comm, MPI_Info *info)
{
    MPI_Comm own_comm = MPI_COMM_NULL;
    MPI_Info own_info = MPI_INFO_NULL;
    if (H5Pget_mpi_params(fapl, &own_comm, &own_info) < 0)
        return -1;
    if (comm)
        *comm = own_comm;
    else if (own_comm != MPI_COMM_NULL)
        MPI_Comm_free(&own_comm);
    if (info)
        *info = own_info;
    else if (own_info != MPI_INFO_NULL)
        MPI_Info_free(&own_info);
    return 0;
}

#endif
