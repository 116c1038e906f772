/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a new cluster: its key, its ports, its configuration. */
#include "cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"
#include "err.h"

/* Below the range from which the system takes ports for outgoing connections. */
enum { PORT_FIRST = 20000, PORT_BEHIND = 32000, PORT_TRIES = 200 };

static int make_subdirectory(struct tool *tool, const char *dir, const char *name, mode_t mode)
{
    char *path;
    if (asprintf(&path, "%s/%s", dir, name) < 0)
        return -1;
    int status = mkdir(path, mode) && errno != EEXIST ? -1 : 0;
    if (status)
        tool_complain_local(tool, path, errno);
    free(path);
    return status;
}

/* Makes a file that is complete on the disk when this returns 0. */
static int write_file(struct tool *tool, const char *path, mode_t mode, const char *text, size_t length)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    bool written =
        fd >= 0 && fchmod(fd, mode) == 0 && write(fd, text, length) == (ssize_t)length && fsync(fd) == 0;
    int error = errno;
    if (fd >= 0 && close(fd) && written) {
        written = false;
        error = errno;
    }
    if (written)
        return 0;
    tool_complain_local(tool, path, error ? error : EIO);
    return -1;
}

/* ---- the key -------------------------------------------------------------- */

static int write_key(struct tool *tool, const char *dir)
{
    uint8_t key[CONF_KEY_BYTES];
    char text[2 * CONF_KEY_BYTES + 2], *path;
    if (getrandom(key, sizeof key, 0) != sizeof key) {
        tool_complain(tool, "no random bytes from the system for the cluster key: %s", err_name(-errno));
        return -1;
    }
    for (size_t i = 0; i < sizeof key; i++)
        snprintf(text + 2 * i, 3, "%02x", key[i]);
    text[sizeof text - 2] = '\n';
    if (asprintf(&path, "%s/cluster.key", dir) < 0)
        return -1;
    int status = write_file(tool, path, 0600, text, sizeof text - 1);
    explicit_bzero(key, sizeof key);
    explicit_bzero(text, sizeof text);
    free(path);
    return status;
}

/* ---- ports ---------------------------------------------------------------- */

static bool range_is_free(uint32_t first, uint32_t count)
{
    for (uint32_t port = first; port < first + count; port++) {
        char address[32];
        snprintf(address, sizeof address, "127.0.0.1:%u", port);
        if (process_probe_address(address))
            return false;
    }
    return true;
}

/* A run of free ports; 0 after a complaint. They are free now, and are kept
 * by the configuration from now on. */
static uint32_t choose_ports(struct tool *tool, uint32_t wished, uint32_t count)
{
    if (wished) {
        if (wished + count > 65536) {
            tool_complain(tool, "%u ports from %u on are more than there are: choose a lower --port", count,
                          wished);
            return 0;
        }
        if (range_is_free(wished, count))
            return wished;
        tool_complain(tool,
                      "not all of the ports %u to %u of 127.0.0.1 are free: choose another --port, or none",
                      wished, wished + count - 1);
        return 0;
    }
    uint32_t span = PORT_BEHIND - PORT_FIRST;
    for (int i = 0; i < PORT_TRIES && count < span; i++) {
        uint32_t random = 0;
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            random = (uint32_t)getpid() * 2654435761u + (uint32_t)i * 40503u;
        uint32_t first = PORT_FIRST + random % (span - count);
        if (range_is_free(first, count))
            return first;
    }
    tool_complain(tool, "found no %u free ports in a row on 127.0.0.1: name the first one by --port", count);
    return 0;
}

/* ---- the configuration ---------------------------------------------------- */

/* The directory's own name where that is a plain word. */
static const char *cluster_name(const char *dir)
{
    const char *name = strrchr(dir, '/') + 1;
    size_t length = strlen(name);
    bool plain = length > 0 && length <= 32 &&
                 strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == length;
    return plain ? name : "local";
}

static void print_storage(FILE *stream, uint32_t index, const struct cluster_wish *wish, uint32_t port)
{
    fprintf(stream, "    { name = \"s%u\"; listen = \"127.0.0.1:%u\"; shards = %u;\n      targets = (", index,
            port, wish->shards);
    for (uint32_t i = 0; i < wish->targets; i++)
        fprintf(stream, "%s { id = %u; dir = \"s%u/t%u\"; }", i ? ",\n                 " : "",
                index * wish->targets + i, index, i);
    fputs(" ); }", stream);
}

static void print_conf(FILE *stream, const char *dir, const struct cluster_wish *wish, uint32_t port)
{
    fprintf(stream,
            "# The configuration of a Weft cluster, made by weft up. See weft.conf(5).\n"
            "# Paths are relative to this file. Change nothing of the storage list or of the\n"
            "# targets once there are data; the rest may be changed while the cluster is down.\n"
            "\n"
            "cluster = { name = \"%s\"; key_file = \"cluster.key\"; };\n"
            "transport = \"%s\";\n"
            "\n"
            "metadata = { listen = \"127.0.0.1:%u\"; dir = \"metadata\"; };\n"
            "\n"
            "storage = (\n",
            cluster_name(dir), wish->transport, port);
    for (uint32_t i = 0; i < wish->servers; i++) {
        print_storage(stream, i, wish, port + 1 + i * wish->shards);
        fputs(i + 1 < wish->servers ? ",\n" : "\n", stream);
    }
    fprintf(stream,
            ");\n"
            "\n"
            "# The layout of new files where nothing else is said; stripe_count 0 is all groups.\n"
            "layout = { chunk_size = %llu; stripe_count = 0; };\n"
            "\n"
            "log = { level = \"info\"; };\n",
            (unsigned long long)wish->chunk_size);
    if (wish->replicas > 1)
        fprintf(stream, "redundancy = { replicas = %u; failure_domain = \"server\"; };\n", wish->replicas);
}

static int write_conf(struct tool *tool, const char *dir, const struct cluster_wish *wish)
{
    uint32_t port = choose_ports(tool, wish->port, 1 + wish->servers * wish->shards);
    if (port == 0)
        return -1;
    char *text = NULL, *new_path = NULL, *path = NULL;
    size_t length = 0;
    int status = -1;
    FILE *stream = open_memstream(&text, &length);
    if (!stream || asprintf(&new_path, "%s/weft.conf.new", dir) < 0 ||
        asprintf(&path, "%s/weft.conf", dir) < 0) {
        tool_complain(tool, "no memory");
        goto free_all;
    }
    print_conf(stream, dir, wish, port);
    if (fclose(stream)) {
        stream = NULL;
        goto free_all;
    }
    stream = NULL;
    if (write_file(tool, new_path, 0644, text, length))
        goto free_all;
    if (rename(new_path, path))
        tool_complain_local(tool, path, errno);
    else
        status = 0;
free_all:
    if (stream)
        fclose(stream);
    free(text);
    free(new_path);
    free(path);
    return status;
}

static int make_data_directories(struct tool *tool, const char *dir, const struct cluster_wish *wish)
{
    if (make_subdirectory(tool, dir, "metadata", 0700))
        return -1;
    for (uint32_t i = 0; i < wish->servers; i++) {
        char name[32];
        snprintf(name, sizeof name, "s%u", i);
        if (make_subdirectory(tool, dir, name, 0700))
            return -1;
        for (uint32_t k = 0; k < wish->targets; k++) {
            snprintf(name, sizeof name, "s%u/t%u", i, k);
            if (make_subdirectory(tool, dir, name, 0700))
                return -1;
        }
    }
    return 0;
}

int cluster_make_files(struct tool *tool, const char *dir, const struct cluster_wish *given)
{
    const struct cluster_wish all = {
        .servers = given->servers ? given->servers : 4,
        .targets = given->targets ? given->targets : 1,
        .shards = given->shards ? given->shards : 1,
        .chunk_size = given->chunk_size ? given->chunk_size : 1u << 20,
        .replicas = given->replicas ? given->replicas : 1,
        .transport = given->transport ? given->transport : "auto",
        .port = given->port,
    };
    const struct cluster_wish *wish = &all;
    if (make_subdirectory(tool, dir, "run", 0777) || make_subdirectory(tool, dir, "log", 0777) ||
        write_key(tool, dir) || write_conf(tool, dir, wish) || make_data_directories(tool, dir, wish))
        return -1;
    return 0;
}
