/* SPDX-License-Identifier: Apache-2.0 */
/* weft-metad: the metadata server of a Weft cluster. */
#include <errno.h>
#include <stdlib.h>

#include "daemon.h"
#include "err.h"
#include "log.h"
#include "net.h"
#include "store.h"

static const struct daemon_program program = {
    .name = "weft-metad",
    .summary = "Serves the names, the layouts and the map of a Weft cluster.",
};

static int serve(struct daemon *daemon, struct store *store)
{
    struct net *net;
    char bound[LIMITS_ADDRESS_MAX + 1];
    int error = net_open(daemon->conf, daemon->who, store, &net, bound);
    if (error)
        return error;
    daemon_wake_set(net_rpc(net));
    daemon_ready(daemon, bound);
    while (!daemon_stopping() && !error)
        error = net_turn(net);
    if (!error)
        log_info("ending");
    daemon_leaving();
    daemon_wake_set(NULL);
    net_close(net);
    return error;
}

int main(int argc, char **argv)
{
    struct daemon daemon;
    struct store *store;
    daemon_open(&daemon, &program, argc, argv);
    int error = store_open(daemon.conf->metadata_dir, daemon.conf->metadata_bytes_max, &store);
    if (!error) {
        error = serve(&daemon, store);
        if (error)
            log_error("%s", err_text());
        store_close(store);
    } else {
        log_error("%s", err_text());
    }
    daemon_close(&daemon);
    return error ? EXIT_FAILURE : EXIT_SUCCESS;
}
