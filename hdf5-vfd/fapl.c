/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fapl.c: the driver in a file access property list. What HDF5 carries there is the
 * configuration's text: of H5Pset_fapl_weft(), of H5Pset_driver_by_name(), or of HDF5_DRIVER_CONFIG.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "weft/hdf5.h"

herr_t H5Pset_fapl_weft(hid_t fapl, const char *config)
{
    struct vfd_options *options = malloc(sizeof *options);
    struct vfd_fapl info = {.config = ""};
    char complaint[VFD_COMPLAINT_BYTES];
    if (!options) {
        VFD_FAIL(H5E_CANTALLOC, -ENOMEM, "no memory for the driver's options");
        return -1;
    }
    int error = vfd_options_parse(options, config, complaint);
    free(options);
    if (error < 0) {
        VFD_FAIL(H5E_BADVALUE, 0, "%s", complaint);
        return -1;
    }
    if (config)
        snprintf(info.config, sizeof info.config, "%s", config);
    hid_t driver = H5FD_weft_init();
    return driver < 0 ? -1 : H5Pset_driver(fapl, driver, &info);
}

/* As it came: HDF5 keeps the text of a list itself, and two lists are equal when both parts are. */
void *vfd_fapl_get(H5FD_t *file)
{
    if (!vfd_file(file)->has_fapl_info)
        return NULL;
    struct vfd_fapl *fapl = calloc(1, sizeof *fapl);
    if (fapl)
        snprintf(fapl->config, sizeof fapl->config, "%s", vfd_file(file)->options.text);
    else
        VFD_FAIL(H5E_CANTALLOC, -ENOMEM, "no memory for an access list");
    return fapl;
}

void *vfd_fapl_copy(const void *fapl)
{
    struct vfd_fapl *copy = malloc(sizeof *copy);
    if (copy)
        memcpy(copy, fapl, sizeof *copy);
    else
        VFD_FAIL(H5E_CANTALLOC, -ENOMEM, "no memory for an access list");
    return copy;
}

herr_t vfd_fapl_free(void *fapl)
{
    free(fapl);
    return 0;
}

/* NULL in a list whose driver was chosen by its name. */
static const struct vfd_fapl *info_of(hid_t fapl)
{
    const struct vfd_fapl *info;
    H5E_BEGIN_TRY
    {
        info = H5Pget_driver_info(fapl);
    }
    H5E_END_TRY
    return info;
}

/* The text, from whichever of its two places has it. */
static const char *config_of(hid_t fapl, char text[VFD_CONFIG_BYTES_MAX + 2])
{
#if VFD_IS_PLUGIN
    /* One byte more than there may be, so that a longer text is seen to be too long. */
    if (H5Pget_driver_config_str(fapl, text, VFD_CONFIG_BYTES_MAX + 2) > 0)
        return text;
#else
    (void)text;
#endif
    const struct vfd_fapl *info = info_of(fapl);
    return info ? info->config : NULL;
}

bool vfd_fapl_has_info(hid_t fapl)
{
    return info_of(fapl) != NULL;
}

int vfd_fapl_options(hid_t fapl, struct vfd_options *options)
{
    char text[VFD_CONFIG_BYTES_MAX + 2] = "", complaint[VFD_COMPLAINT_BYTES];
    int error = vfd_options_parse(options, config_of(fapl, text), complaint);
    if (error < 0)
        VFD_FAIL(H5E_BADVALUE, 0, "%s", complaint);
    return error;
}
