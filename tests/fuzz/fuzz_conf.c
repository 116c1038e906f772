/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_conf: any bytes as a configuration file, and as a size. What is taken
 * must keep its promises, so that nobody who uses it need check again.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "conf.h"
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
const char *__lsan_default_suppressions(void);

static char dir[] = "/tmp/weft-fuzz-conf-XXXXXX";
static char conf_path[64], key_path[64];

static void clean_up(void)
{
    unlink(conf_path);
    unlink(key_path);
    rmdir(dir);
}

static void write_file(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    require(fd >= 0);
    require(write(fd, data, size) == (ssize_t)size);
    close(fd);
}

/* libconfig 1.5 loses a string's few bytes when the syntax is wrong behind it. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig.so\n";
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    require(mkdtemp(dir) != NULL);
    snprintf(conf_path, sizeof conf_path, "%s/weft.conf", dir);
    snprintf(key_path, sizeof key_path, "%s/cluster.key", dir);
    atexit(clean_up);
    char key[65];
    memset(key, 'a', 64);
    key[64] = '\n';
    write_file(key_path, key, sizeof key);
    return 0;
}

static void check(const struct conf *conf)
{
    require(conf->file[0] == '/' && conf->metadata_dir[0] == '/' && conf->cluster_name[0] != '\0');
    require(strchr(conf->metadata_listen, ':') != NULL && conf->transport[0] != '\0');
    require(conf->chunk_size >= WEFT_CHUNK_BYTES_MIN && conf->chunk_size <= WEFT_CHUNK_BYTES_MAX);
    require(conf->lease_ms >= 2 * conf->heartbeat_ms && conf->deadline_ms > 0);
    require(conf->memory_bytes >= LIMITS_PAYLOAD_MAX && conf->credit_bytes > 0 && conf->credit_requests > 0);
    for (uint32_t i = 0; i < conf->storage_count; i++) {
        const struct conf_storage *server = &conf->storage[i];
        require(conf_storage_by_name(conf, server->name) == server);
        require(server->shards >= 1 && server->shards <= LIMITS_SHARDS_MAX && server->target_count >= 1);
        for (uint32_t k = 0; k < server->target_count; k++)
            require(server->targets[k].dir[0] == '/');
    }
}

static void check_size(const uint8_t *data, size_t size)
{
    char text[64];
    uint64_t bytes;
    if (size >= sizeof text)
        return;
    memcpy(text, data, size);
    text[size] = '\0';
    if (conf_parse_size(text, &bytes) == 0)
        require(text[0] >= '0' && text[0] <= '9' && bytes >= strtoull(text, NULL, 10));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf *conf;
    check_size(data, size);
    write_file(conf_path, data, size);
    if (conf_load(conf_path, &conf) == 0) {
        check(conf);
        conf_free(conf);
    }
    return 0;
}
