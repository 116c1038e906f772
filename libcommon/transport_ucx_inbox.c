/* SPDX-License-Identifier: Apache-2.0 */
#include "transport_ucx_inbox.h"

#include <errno.h>
#include <stdlib.h>

#include "err.h"
#include "weft_limits.h"

#define PROBE_AM_ID 2u

int ucx_error_of(ucs_status_t status)
{
    switch (status) {
    case UCS_OK:
        return 0;
    case UCS_ERR_NO_MEMORY:
        return -ENOMEM;
    case UCS_ERR_TIMED_OUT:
    case UCS_ERR_ENDPOINT_TIMEOUT:
        return -ETIMEDOUT;
    case UCS_ERR_UNREACHABLE:
        return -EHOSTUNREACH;
    case UCS_ERR_CONNECTION_RESET:
    case UCS_ERR_CANCELED:
    case UCS_ERR_NOT_CONNECTED:
        return -ECONNRESET;
    case UCS_ERR_MESSAGE_TRUNCATED:
        return -EMSGSIZE;
    default:
        return -EIO;
    }
}

int ucx_fail(ucs_status_t status, const char *what)
{
    return err_set(ucx_error_of(status), "UCX: %s: %s", what, ucs_status_string(status));
}

static ucs_status_t worker_create(ucp_context_h context, ucp_worker_h *worker)
{
    ucp_worker_params_t params = {
        .field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE | UCP_WORKER_PARAM_FIELD_FLAGS,
        /* One thread at a time; who that is may change under the owner's lock. */
        .thread_mode = UCS_THREAD_MODE_SERIALIZED,
        .flags = UCP_WORKER_FLAG_IGNORE_REQUEST_LEAK,
    };
    sigset_t before;
    signals_hold(&before);
    ucs_status_t status = ucp_worker_create(context, &params, worker);
    signals_release(&before);
    return status;
}

static ucs_status_t handler_set(ucp_worker_h worker, unsigned id, ucp_am_recv_callback_t came, void *arg)
{
    ucp_am_handler_param_t handler = {
        .field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS |
                      UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG,
        .id = id,
        .flags = UCP_AM_FLAG_WHOLE_MSG | UCP_AM_FLAG_PERSISTENT_DATA,
        .cb = came,
        .arg = arg,
    };
    return ucp_worker_set_am_recv_handler(worker, &handler);
}

static int headers_fit(ucp_worker_h worker)
{
    ucp_worker_attr_t attr = {.field_mask = UCP_WORKER_ATTR_FIELD_MAX_AM_HEADER};
    ucs_status_t status = ucp_worker_query(worker, &attr);
    if (status != UCS_OK)
        return ucx_fail(status, "asking a worker");
    if (attr.max_am_header < LIMITS_HEADER_MAX)
        return err_set(
            -ENOTSUP,
            "UCX: headers of %zu bytes at most, Weft needs %u; choose other transports with UCX_TLS",
            attr.max_am_header, LIMITS_HEADER_MAX);
    return 0;
}

int inbox_open(ucp_context_h context, unsigned am_id, ucp_am_recv_callback_t came, void *arg,
               struct ucx_inbox **out)
{
    struct ucx_inbox *inbox = calloc(1, sizeof *inbox);
    if (!inbox)
        return err_set(-ENOMEM, "out of memory for a transport worker");
    list_link_init(&inbox->link);
    ucs_status_t status = worker_create(context, &inbox->worker);
    if (status != UCS_OK) {
        free(inbox);
        return ucx_fail(status, "making a worker");
    }
    int error = headers_fit(inbox->worker);
    if (error)
        goto err_worker;
    status = handler_set(inbox->worker, am_id, came, arg);
    if (status == UCS_OK)
        status = ucp_worker_get_efd(inbox->worker, &inbox->fd);
    if (status == UCS_OK)
        status = ucp_worker_get_address(inbox->worker, &inbox->address, &inbox->address_length);
    if (status != UCS_OK) {
        error = ucx_fail(status, "preparing a worker");
        goto err_worker;
    }
    *out = inbox;
    return 0;

err_worker:
    ucp_worker_destroy(inbox->worker);
    free(inbox);
    return error;
}

void inbox_close(struct ucx_inbox *inbox)
{
    list_remove(&inbox->link);
    ucp_worker_release_address(inbox->worker, inbox->address);
    ucp_worker_destroy(inbox->worker);
    free(inbox);
}

/* ---- the check -------------------------------------------------------------------- */

static ucs_status_t probe_came(void *arg, const void *header, size_t header_length, void *data, size_t length,
                               const ucp_am_recv_param_t *param)
{
    struct ucx_probe *probe = arg;
    (void)header, (void)header_length, (void)data, (void)length, (void)param;
    probe->has_come = true;
    return UCS_OK;
}

static void probe_sent(void *request, ucs_status_t status, void *arg)
{
    (void)status, (void)arg;
    ucp_request_free(request);
}

/* From a worker of its own, which reaches the inbox by the way that other processes of the host do. */
static int probe_start(struct ucx_probe *probe, ucp_context_h context, struct ucx_inbox *inbox)
{
    static const char header[] = "weft";
    ucp_ep_h ep;
    ucp_ep_params_t params = {
        .field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE,
        .address = inbox->address,
        .err_mode = UCP_ERR_HANDLING_MODE_NONE,
    };
    ucp_request_param_t send = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_FLAGS,
        .cb.send = probe_sent,
        .flags = UCP_AM_SEND_FLAG_EAGER,
    };
    probe->has_come = false;
    ucs_status_t status = handler_set(inbox->worker, PROBE_AM_ID, probe_came, probe);
    if (status == UCS_OK)
        status = worker_create(context, &probe->worker);
    if (status == UCS_OK)
        status = ucp_ep_create(probe->worker, &params, &ep);
    if (status == UCS_OK) {
        ucs_status_ptr_t request = ucp_am_send_nbx(ep, PROBE_AM_ID, header, sizeof header, NULL, 0, &send);
        status = UCS_PTR_IS_ERR(request) ? UCS_PTR_STATUS(request) : UCS_OK;
    }
    if (status == UCS_OK)
        return -EAGAIN;
    inbox_probe_end(probe);
    return ucx_fail(status, "checking a worker");
}

int inbox_probe(struct ucx_probe *probe, ucp_context_h context, struct ucx_inbox *inbox)
{
    if (!probe->worker)
        return probe_start(probe, context, inbox);
    ucp_worker_progress(probe->worker);
    if (!probe->has_come)
        return -EAGAIN;
    inbox_probe_end(probe);
    return 0;
}

void inbox_probe_end(struct ucx_probe *probe)
{
    if (probe->worker)
        ucp_worker_destroy(probe->worker);
    probe->worker = NULL;
}
