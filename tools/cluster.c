/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of a local cluster: opening, checking, locking. */
#include "cluster.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"
#include "err.h"

/* What weft up makes before the configuration; it may be found without one
 * when an earlier weft up was stopped in the middle. */
static const char *const own_names[] = {"run", "log", "cluster.key", "weft.conf.new"};

static char *path_of(const char *dir, const char *sub, const char *name, const char *suffix)
{
    char *path;
    return asprintf(&path, "%s/%s%s%s", dir, sub, name, suffix) < 0 ? NULL : path;
}

/* ---- opening -------------------------------------------------------------- */

static bool fill_server(struct cluster *cluster, struct cluster_server *server,
                        const struct conf_storage *storage)
{
    server->name = storage ? storage->name : CLUSTER_METADATA_NAME;
    server->storage = storage;
    server->listen = storage ? storage->listen : cluster->conf->metadata_listen;
    server->log_path = path_of(cluster->dir, "log/", server->name, ".log");
    server->pid_path = path_of(cluster->dir, "run/", server->name, ".pid");
    server->pidfd = server->ready_fd = -1;
    return server->log_path && server->pid_path;
}

/* `dir` is absolute and becomes the cluster's. */
static int load(struct tool *tool, char *dir, struct cluster **result)
{
    struct cluster *cluster = calloc(1, sizeof *cluster);
    if (!cluster)
        goto no_memory;
    cluster->dir = dir;
    cluster->lock_fd = -1;
    cluster->conf_path = path_of(dir, "", "weft.conf", "");
    if (!cluster->conf_path)
        goto no_memory;
    if (conf_load(cluster->conf_path, &cluster->conf)) {
        cluster->conf = NULL;
        tool_complain(tool, "%s", err_text());
        cluster_close(cluster);
        return TOOL_FAILED;
    }
    cluster->server_count = 1 + cluster->conf->storage_count;
    cluster->servers = calloc(cluster->server_count, sizeof *cluster->servers);
    if (!cluster->servers)
        goto no_memory;
    bool filled = true;
    for (uint32_t i = 0; i < cluster->server_count; i++)
        filled &= fill_server(cluster, &cluster->servers[i], i ? &cluster->conf->storage[i - 1] : NULL);
    if (!filled)
        goto no_memory;
    process_find(cluster);
    *result = cluster;
    return 0;

no_memory:
    tool_complain(tool, "no memory");
    if (cluster)
        cluster_close(cluster);
    else
        free(dir);
    return TOOL_FAILED;
}

void cluster_close(struct cluster *cluster)
{
    if (!cluster)
        return;
    for (uint32_t i = 0; cluster->servers && i < cluster->server_count; i++) {
        struct cluster_server *server = &cluster->servers[i];
        free(server->log_path);
        free(server->pid_path);
        if (server->pidfd >= 0)
            close(server->pidfd);
        if (server->ready_fd >= 0)
            close(server->ready_fd);
    }
    cluster_unlock(cluster);
    free(cluster->servers);
    conf_free(cluster->conf);
    free(cluster->conf_path);
    free(cluster->dir);
    free(cluster);
}

int cluster_open(struct tool *tool, const char *dir, struct cluster **cluster)
{
    char *absolute = realpath(dir, NULL);
    if (!absolute) {
        tool_complain(tool, "%s: %s: weft up --dir %s makes a cluster there", dir, err_name(-errno), dir);
        return TOOL_FAILED;
    }
    char *conf_path = path_of(absolute, "", "weft.conf", "");
    if (conf_path && access(conf_path, F_OK) && errno == ENOENT) {
        tool_complain(tool, "%s: holds no weft.conf, so it is not the directory of a cluster", absolute);
        free(conf_path);
        free(absolute);
        return TOOL_FAILED;
    }
    free(conf_path);
    return load(tool, absolute, cluster);
}

/* ---- locking -------------------------------------------------------------- */

/* Takes the directory's lock; a descriptor that holds it, or -1 after a complaint. */
static int lock_directory(struct tool *tool, const char *dir)
{
    char *run = path_of(dir, "run", "", ""), *path = path_of(dir, "run/", "lock", "");
    int fd = -1;
    if (!run || !path)
        goto free_paths;
    if (mkdir(run, 0777) && errno != EEXIST) {
        tool_complain_local(tool, run, errno);
        goto free_paths;
    }
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) {
        tool_complain_local(tool, path, errno);
    } else if (flock(fd, LOCK_EX | LOCK_NB)) {
        tool_complain(tool, "%s: another weft up or weft down is at work there: wait for it, or stop it",
                      dir);
        close(fd);
        fd = -1;
    }
free_paths:
    free(run);
    free(path);
    return fd;
}

int cluster_lock(struct tool *tool, struct cluster *cluster)
{
    cluster->lock_fd = lock_directory(tool, cluster->dir);
    if (cluster->lock_fd < 0)
        return TOOL_FAILED;
    /* What was found before may have changed until the lock was there. */
    process_find(cluster);
    return 0;
}

void cluster_unlock(struct cluster *cluster)
{
    if (cluster->lock_fd >= 0)
        close(cluster->lock_fd);
    cluster->lock_fd = -1;
}

/* ---- making --------------------------------------------------------------- */

static bool is_own_name(const char *name)
{
    for (size_t i = 0; i < sizeof own_names / sizeof own_names[0]; i++)
        if (strcmp(name, own_names[i]) == 0)
            return true;
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Whose directory it is: 1 a cluster's, 0 nobody's yet, -1 after a complaint. */
static int inspect(struct tool *tool, const char *dir)
{
    char foreign[256] = "";
    bool has_conf = false;
    DIR *list = opendir(dir);
    if (!list) {
        tool_complain_local(tool, dir, errno);
        return -1;
    }
    for (const struct dirent *entry; (entry = readdir(list));) {
        if (strcmp(entry->d_name, "weft.conf") == 0)
            has_conf = true;
        else if (!is_own_name(entry->d_name))
            snprintf(foreign, sizeof foreign, "%s", entry->d_name);
    }
    closedir(list);
    if (has_conf || !*foreign)
        return has_conf;
    tool_complain(tool, "%s: holds something else (%s) and no weft.conf: choose an empty or new directory",
                  dir, foreign);
    return -1;
}

static int make_directory(struct tool *tool, const char *dir)
{
    if (mkdir(dir, 0777) == 0 || errno == EEXIST)
        return 0;
    int error = errno;
    tool_complain(tool, "%s: %s%s", dir, err_name(-error),
                  error == ENOENT ? ": its parent directory is missing" : "");
    return -1;
}

static int check_same(struct tool *tool, const char *dir, const char *option, uint64_t wished, uint64_t there)
{
    if (wished == 0 || wished == there)
        return 0;
    tool_complain(tool,
                  "%s holds a cluster with --%s %llu, which stays: leave the option out, or choose another "
                  "directory",
                  dir, option, (unsigned long long)there);
    return TOOL_FAILED;
}

static int check_wish(struct tool *tool, const struct cluster *cluster, const struct cluster_wish *wish)
{
    const struct conf *conf = cluster->conf;
    const char *colon = strrchr(conf->metadata_listen, ':');
    if (check_same(tool, cluster->dir, "servers", wish->servers, conf->storage_count) ||
        check_same(tool, cluster->dir, "chunk-size", wish->chunk_size, conf->chunk_size) ||
        check_same(tool, cluster->dir, "replicas", wish->replicas, conf->replicas) ||
        check_same(tool, cluster->dir, "port", wish->port, colon ? strtoul(colon + 1, NULL, 10) : 0))
        return TOOL_FAILED;
    for (uint32_t i = 0; i < conf->storage_count; i++)
        if (check_same(tool, cluster->dir, "targets", wish->targets, conf->storage[i].target_count) ||
            check_same(tool, cluster->dir, "shards", wish->shards, conf->storage[i].shards))
            return TOOL_FAILED;
    if (!wish->transport || strcmp(wish->transport, conf->transport) == 0)
        return 0;
    tool_complain(tool,
                  "%s holds a cluster with --transport %s: change it in %s while the cluster is stopped",
                  cluster->dir, conf->transport, cluster->conf_path);
    return TOOL_FAILED;
}

/* `absolute` becomes the cluster's. The caller holds the lock. */
static int open_or_make(struct tool *tool, char *absolute, const struct cluster_wish *wish, bool *made,
                        struct cluster **cluster)
{
    /* Looked at again: somebody else may have made it before we had the lock. */
    int there = inspect(tool, absolute);
    if (there < 0 || (there == 0 && cluster_make_files(tool, absolute, wish))) {
        free(absolute);
        return TOOL_FAILED;
    }
    *made = there == 0;
    return load(tool, absolute, cluster);
}

int cluster_open_or_make(struct tool *tool, const char *dir, const struct cluster_wish *wish, bool *made,
                         struct cluster **cluster)
{
    if (make_directory(tool, dir))
        return TOOL_FAILED;
    char *absolute = realpath(dir, NULL);
    if (!absolute) {
        tool_complain_local(tool, dir, errno);
        return TOOL_FAILED;
    }
    int lock_fd = inspect(tool, absolute) < 0 ? -1 : lock_directory(tool, absolute);
    if (lock_fd < 0) {
        free(absolute);
        return TOOL_FAILED;
    }
    int status = open_or_make(tool, absolute, wish, made, cluster);
    if (status) {
        close(lock_fd);
        return status;
    }
    (*cluster)->lock_fd = lock_fd;
    if (*made || check_wish(tool, *cluster, wish) == 0)
        return 0;
    cluster_close(*cluster);
    return TOOL_FAILED;
}

/* ---- for people ----------------------------------------------------------- */

char *cluster_shell_word(const char *text)
{
    if (*text && strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./+=:,@%") ==
                     strlen(text))
        return strdup(text);
    char *word = malloc(4 * strlen(text) + 3), *end = word;
    if (!word)
        return NULL;
    *end++ = '\'';
    for (; *text; text++) {
        if (*text == '\'') {
            memcpy(end, "'\\''", 4);
            end += 4;
        } else {
            *end++ = *text;
        }
    }
    memcpy(end, "'", 2);
    return word;
}

void cluster_print_use(const struct cluster *cluster)
{
    char *word = cluster_shell_word(cluster->dir);
    if (!word)
        return;
    printf("\nTo use it in this shell:\n"
           "  eval \"$(weft env --dir %s)\"\n"
           "then for instance:\n"
           "  weft status\n"
           "  weft cp FILE weft:/ && weft layout weft:/FILE\n"
           "To stop it, and keep its data:\n"
           "  weft down --dir %s\n",
           word, word);
    free(word);
}
