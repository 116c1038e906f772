/* SPDX-License-Identifier: Apache-2.0 */
#include "client_world.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/weft-test-XXXXXX";

int world_open(void)
{
    return mkdtemp(folder) ? 0 : -1;
}

int world_close(void)
{
    char path[sizeof folder + 300];
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(path);
    }
    if (dir)
        closedir(dir);
    return rmdir(folder);
}

unsigned world_free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    close(fd);
    return ntohs(address.sin_port);
}

void world_conf(const char *name, char key_digit, unsigned metadata_port, const char *limits,
                char path[WORLD_PATH_MAX])
{
    snprintf(path, WORLD_PATH_MAX, "%s/%s.key", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 64; i++)
        fputc(key_digit, file);
    fputc('\n', file);
    fclose(file);
    chmod(path, 0600);
    snprintf(path, WORLD_PATH_MAX, "%s/%s.conf", folder, name);
    file = fopen(path, "w");
    fprintf(file,
            "cluster = { name = \"test\"; key_file = \"%s.key\"; };\n"
            "metadata = { listen = \"127.0.0.1:%u\"; dir = \"metadata\"; };\n"
            "storage = ( { name = \"s0\"; listen = \"127.0.0.1:0\"; targets = ( { id = 0; dir = \"s0\"; } ); "
            "} );\n"
            "limits = { %s };\n",
            name, metadata_port, limits);
    fclose(file);
}

weft_session_t *world_connect(const char *conf_path)
{
    weft_session_t *session;
    if (weft_connect(conf_path, &session) < 0)
        fail_msg("%s", weft_error());
    return session;
}

struct map *world_map(uint8_t cluster, uint64_t version, unsigned server_count, const char *const *addresses,
                      unsigned target_count, const unsigned *owners)
{
    uint32_t shards[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    assert_true(server_count <= 8);
    struct map *map = map_new(0, server_count, shards, target_count, target_count);
    assert_non_null(map);
    map->version = version;
    memset(map->cluster, cluster, sizeof map->cluster);
    for (unsigned i = 0; i < server_count; i++) {
        struct map_server *server = &map->servers[i];
        server->id = i;
        server->state = MAP_STATE_UP;
        snprintf(server->name, sizeof server->name, "s%u", i);
        snprintf(server->addresses[0], sizeof server->addresses[0], "%s", addresses[i]);
    }
    for (unsigned t = 0; t < target_count; t++) {
        map->targets[t] = (struct map_target){.id = t, .server = owners[t], .state = MAP_STATE_UP};
        map->groups[t] = (struct map_group){.member_count = 1, .members = {t}};
    }
    return map;
}

void world_give_map(weft_session_t *session, struct map *map)
{
    uint8_t encoded[8192];
    ssize_t length = map_encode(map, encoded, sizeof encoded);
    assert_true(length > 0);
    session_lock(session);
    assert_int_equal(session_map_adopt(session, encoded, (size_t)length), 0);
    session_unlock(session);
}

weft_file_t *world_file(weft_session_t *session, uint32_t access, uint64_t chunk_size, uint32_t groups)
{
    weft_file_t *file = calloc(1, sizeof *file);
    file_small_init(file);
    file->session = session;
    file->path = strdup("/run7/state");
    file->hints = strdup("weft_collective=direct");
    file->handle = 77;
    file->access = access;
    file->layout =
        (struct layout){.chunk_size = chunk_size, .seed = 5, .stripe_count = groups, .group_count = groups};
    file->capability = (struct wire_capability){
        .ino = 1234,
        .access = 3,
        .layout = {.chunk_size = chunk_size, .seed = 5, .stripe_count = groups, .group_count = groups},
    };
    snprintf(file->pool, sizeof file->pool, "main");
    return file;
}

void world_file_drop(weft_file_t *file)
{
    file->imported = true; /* closes without a server */
    assert_int_equal(weft_file_close(file), 0);
}

struct wanted {
    const char *name;
    uint64_t value;
};

static void pick(void *arg, const char *server, const char *name, uint64_t value)
{
    struct wanted *wanted = arg;
    assert_string_equal(server, "client");
    if (strcmp(name, wanted->name) == 0)
        wanted->value = value;
}

uint64_t world_counter(weft_session_t *session, const char *name)
{
    struct wanted wanted = {.name = name, .value = UINT64_MAX};
    assert_int_equal(weft_counters(session, pick, &wanted), 0);
    assert_true(wanted.value != UINT64_MAX);
    return wanted.value;
}
