/* SPDX-License-Identifier: Apache-2.0 */
#include "transport.h"

#include <string.h>
#ifdef WEFT_LIBFABRIC
#include "transport_ofi_choice.h"
#endif

static const struct transport *const transports[] = {
    &transport_ucx,
#ifdef WEFT_LIBFABRIC
    &transport_ofi,
#endif
};

const struct transport *transport_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof transports / sizeof transports[0]; i++)
        if (strcmp(transports[i]->name, name) == 0)
            return transports[i];
    return NULL;
}

const char *transport_preferred(void)
{
#ifdef WEFT_LIBFABRIC
    return ofi_is_preferred() ? "ofi+ucx" : "ucx+ofi";
#else
    return "ucx";
#endif
}

const char *transport_preferred_why(void)
{
#ifdef WEFT_LIBFABRIC
    return ofi_is_preferred() ? ", since this host has a network that libfabric drives best"
                              : "; libfabric comes first only where there is Slingshot, Omni-Path or EFA";
#else
    return "; this build has no libfabric";
#endif
}

const char *transport_names(void)
{
#ifdef WEFT_LIBFABRIC
    return "ucx, ofi";
#else
    return "ucx (it was built without libfabric)";
#endif
}
