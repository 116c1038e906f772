/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include <cmocka.h>

#include "client_pair.h"

struct cluster cluster;
weft_session_t *session, *other, *clients[CLIENTS];

int pair_setup(void **state)
{
    (void)state;
    cluster_open(&cluster, &(struct cluster_options){
                               .servers = SERVERS, .shards = SHARDS, .targets = 2, .chunk_size = CHUNK});
    ok(weft_connect(NULL, &session));
    ok(weft_connect(cluster.conf, &other));
    return 0;
}

int pair_teardown(void **state)
{
    (void)state;
    weft_disconnect(session);
    weft_disconnect(other);
    cluster_close(&cluster);
    return 0;
}

int crowd_setup(void **state)
{
    struct statfs memory;
    if (statfs("/dev/shm", &memory) == 0 && memory.f_type == TMPFS_MAGIC && access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
    pair_setup(state);
    connect_all(clients, CLIENTS);
    return 0;
}

int crowd_teardown(void **state)
{
    disconnect_all(clients, CLIENTS);
    return pair_teardown(state);
}

weft_file_t *open_file(weft_session_t *of, const char *path, int flags)
{
    static const struct weft_layout striped = {0};
    weft_file_t *file;
    ok(weft_file_open(of, path, flags, 0644, &striped, &file));
    return file;
}
