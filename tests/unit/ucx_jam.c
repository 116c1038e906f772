/* SPDX-License-Identifier: Apache-2.0 */
#include "ucx_jam.h"

#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sodium.h>
#include <ucp/api/ucp.h>

static void die(int number)
{
    (void)number;
    kill(getpid(), SIGKILL);
}

int ucx_jam(const char *address_hex)
{
    static uint8_t address[65536];
    size_t length;
    ucp_context_h context;
    ucp_worker_h worker;
    ucp_ep_h ep;
    if (sodium_hex2bin(address, sizeof address, address_hex, strlen(address_hex), NULL, &length, NULL))
        return 2;
    ucp_params_t params = {.field_mask = UCP_PARAM_FIELD_FEATURES,
                           .features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP};
    ucp_worker_params_t worker_params = {0};
    ucp_ep_params_t ep_params = {
        .field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS,
        .address = (const ucp_address_t *)address,
    };
    ucp_request_param_t send = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS, .flags = UCP_AM_SEND_FLAG_EAGER};
    if (ucp_init(&params, NULL, &context) != UCS_OK ||
        ucp_worker_create(context, &worker_params, &worker) != UCS_OK ||
        ucp_ep_create(worker, &ep_params, &ep) != UCS_OK)
        return 3;
    /* UCX copies the payload when it has its place in the queue: here that is the end. */
    void *unreadable = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    signal(SIGSEGV, die);
    signal(SIGBUS, die);
    for (int i = 0; i < 1000; i++) { /* as often as it takes until UCX is connected */
        ucp_am_send_nbx(ep, 1, "jam", 3, unreadable, 4096, &send);
        ucp_worker_progress(worker);
        usleep(1000);
    }
    return 4;
}
