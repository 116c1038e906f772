/* SPDX-License-Identifier: Apache-2.0 */
/* What UCX can use on this host, as its lower layer (UCT) tells, and keeping it to some of that. */
#include "transport_ucx_inbox.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uct/api/uct.h>

#include "err.h"
#include "log.h"
#include "transport.h"

struct found {
    struct transport_device *devices;
    unsigned count;
};

/* UCP wants another one for the messages. */
static bool is_aid(const char *name)
{
    static const char *const names[] = {"cma",      "knem",     "rdmacm",    "sockcm",   "cuda_copy",
                                        "cuda_ipc", "gdr_copy", "rocm_copy", "rocm_ipc", NULL};
    for (size_t i = 0; names[i]; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

static int found_add(struct found *found, const uct_tl_resource_desc_t *resource)
{
    if (resource->dev_type == UCT_DEVICE_TYPE_SELF)
        return 0;
    struct transport_device *grown = realloc(found->devices, (found->count + 1) * sizeof found->devices[0]);
    if (!grown)
        return err_set(-ENOMEM, "out of memory for UCX's devices");
    found->devices = grown;
    struct transport_device *device = &grown[found->count++];
    *device = (struct transport_device){
        .is_local = resource->dev_type != UCT_DEVICE_TYPE_NET || !strcmp(resource->dev_name, "lo"),
        .is_aid = is_aid(resource->tl_name),
    };
    snprintf(device->text, sizeof device->text, "ucx:%s", resource->tl_name);
    snprintf(device->name, sizeof device->name, "%s", resource->dev_name);
    snprintf(device->why, sizeof device->why, "%s; UCX chooses among its own",
             device->is_aid     ? "for the data of others"
             : device->is_local ? "between processes of this host"
                                : "to other hosts");
    return 0;
}

static int domain_ask(uct_component_h component, const char *name, struct found *found)
{
    uct_md_config_t *config;
    uct_md_h md;
    uct_tl_resource_desc_t *resources;
    unsigned count;
    int error = 0;
    if (uct_md_config_read(component, NULL, NULL, &config) != UCS_OK)
        return 0;
    ucs_status_t status = uct_md_open(component, name, config, &md);
    uct_config_release(config);
    if (status != UCS_OK) /* it is not for this host */
        return 0;
    if (uct_md_query_tl_resources(md, &resources, &count) == UCS_OK) {
        for (unsigned i = 0; i < count && !error; i++)
            error = found_add(found, &resources[i]);
        uct_release_tl_resource_list(resources);
    }
    uct_md_close(md);
    return error;
}

static int component_ask(uct_component_h component, struct found *found)
{
    uct_component_attr_t attr = {.field_mask = UCT_COMPONENT_ATTR_FIELD_MD_RESOURCE_COUNT};
    int error = 0;
    if (uct_component_query(component, &attr) != UCS_OK || !attr.md_resource_count)
        return 0;
    attr.md_resources = calloc(attr.md_resource_count, sizeof *attr.md_resources);
    if (!attr.md_resources)
        return err_set(-ENOMEM, "out of memory for UCX's devices");
    attr.field_mask = UCT_COMPONENT_ATTR_FIELD_MD_RESOURCES;
    if (uct_component_query(component, &attr) == UCS_OK)
        for (unsigned i = 0; i < attr.md_resource_count && !error; i++)
            error = domain_ask(component, attr.md_resources[i].md_name, found);
    free(attr.md_resources);
    return error;
}

int ucx_devices(struct transport_device **devices, unsigned *count)
{
    uct_component_h *components;
    unsigned component_count;
    struct found found = {0};
    int error = 0;
    ucs_status_t status = uct_query_components(&components, &component_count);
    if (status != UCS_OK)
        return ucx_fail(status, "looking for devices");
    for (unsigned i = 0; i < component_count && !error; i++)
        error = component_ask(components[i], &found);
    uct_release_component_list(components);
    if (error) {
        free(found.devices);
        return error;
    }
    *devices = found.devices;
    *count = found.count;
    return 0;
}

/* ---- keeping to some of them ---------------------------------------------------- */

/* Somebody has set NET_DEVICES, by the environment or by UCX's own file. */
static bool devices_are_set(const ucp_config_t *config)
{
    char *text = NULL;
    size_t length;
    FILE *stream = open_memstream(&text, &length);
    if (!stream)
        return true;
    ucp_config_print(config, stream, NULL, UCS_CONFIG_PRINT_CONFIG);
    fclose(stream);
    bool is_default = text && strstr(text, "NET_DEVICES=all\n");
    free(text);
    return !is_default;
}

/* Only network devices: shared memory, and what a process sends to itself, have settings of their own. */
int ucx_devices_choose(ucp_config_t *config, const char *devices)
{
    if (devices_are_set(config)) {
        log_info("the network devices %s are not chosen, since UCX_NET_DEVICES is set", devices);
        return 0;
    }
    ucs_status_t status = ucp_config_modify(config, "NET_DEVICES", devices);
    if (status != UCS_OK)
        return ucx_fail(status, "choosing network devices");
    /* An interface without an address is in the list too, and is no reason for a warning. */
    ucp_config_modify(config, "WARN_INVALID_CONFIG", "n");
    return 0;
}
