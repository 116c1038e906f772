/* SPDX-License-Identifier: Apache-2.0 */
/* Servers as processes: finding and stopping them. */
#include "cluster.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conf.h"
#include "err.h"

enum { CMDLINE_BYTES_MAX = 1 << 16, EXE_BYTES_MAX = 4096, POLL_EVERY_MS = 20, KILL_PATIENCE_S = 10 };

/* ---- finding -------------------------------------------------------------- */

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* libtool's wrappers run a program under the name lt-PROGRAM. */
static bool is_program(const char *path, const char *program)
{
    const char *base = base_of(path);
    if (strncmp(base, "lt-", 3) == 0)
        base += 3;
    size_t length = strlen(program);
    /* The kernel adds " (deleted)" when the file was replaced since. */
    return strncmp(base, program, length) == 0 && (base[length] == 0 || base[length] == ' ');
}

static ssize_t read_proc(pid_t pid, const char *what, char *buffer, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t used = 0;
    ssize_t count;
    while (used < size - 1 && (count = read(fd, buffer + used, size - 1 - used)) > 0)
        used += (size_t)count;
    close(fd);
    buffer[used] = 0;
    return (ssize_t)used;
}

/* Whether "option value" stands in the arguments, each ended by a NUL. */
static bool has_option(const char *arguments, size_t length, const char *option, const char *value)
{
    for (const char *word = arguments; word < arguments + length; word += strlen(word) + 1) {
        const char *next = word + strlen(word) + 1;
        if (strcmp(word, option) == 0 && next < arguments + length && strcmp(next, value) == 0)
            return true;
    }
    return false;
}

static bool has_program(const char *arguments, size_t length, const char *program)
{
    for (const char *word = arguments; word < arguments + length; word += strlen(word) + 1)
        if (is_program(word, program))
            return true;
    return false;
}

static pid_t recorded_pid(const struct cluster_server *server)
{
    FILE *file = fopen(server->pid_path, "re");
    long pid = 0;
    if (!file)
        return 0;
    if (fscanf(file, "%ld", &pid) != 1 || pid <= 0 || pid > INT32_MAX)
        pid = 0;
    fclose(file);
    return (pid_t)pid;
}

enum match { MATCH_NONE, MATCH_AROUND, MATCH_ITSELF };

/*
 * Whether the process is this server. The command line names program,
 * configuration and server. Usually the program that runs is the server itself;
 * it may run inside another one (valgrind, or a wrapper of weft up), which is
 * taken when weft up started it so, or when we noted the pid. A debugger's
 * command line alone makes no server.
 */
static enum match match_server(const struct cluster *cluster, const struct cluster_server *server, pid_t pid,
                               const char *arguments, size_t length)
{
    const char *program = server->storage ? CLUSTER_STORAGE_PROGRAM : CLUSTER_METADATA_PROGRAM;
    if (!has_program(arguments, length, program) ||
        !has_option(arguments, length, "--config", cluster->conf_path) ||
        (server->storage && !has_option(arguments, length, "--name", server->storage->name)))
        return MATCH_NONE;
    char link[64], exe[EXE_BYTES_MAX];
    snprintf(link, sizeof link, "/proc/%d/exe", (int)pid);
    ssize_t count = readlink(link, exe, sizeof exe - 1);
    exe[count < 0 ? 0 : count] = 0;
    /* Of another user's process the link can't be read. */
    if (is_program(count < 0 ? arguments : exe, program))
        return MATCH_ITSELF;
    bool ours = has_option(arguments, length, "--ready-fd", CLUSTER_READY_FD) || recorded_pid(server) == pid;
    return ours ? MATCH_AROUND : MATCH_NONE;
}

int process_open_pidfd(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd >= 0)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

/* Takes the process for the server, unless it has become another one. */
static void adopt(struct cluster *cluster, struct cluster_server *server, pid_t pid, enum match match,
                  char *arguments)
{
    int pidfd = process_open_pidfd(pid);
    /* From now on the pid can't become another's; before, it may have. */
    ssize_t length = read_proc(pid, "cmdline", arguments, CMDLINE_BYTES_MAX);
    if (length <= 0 || match_server(cluster, server, pid, arguments, (size_t)length) != match) {
        if (pidfd >= 0)
            close(pidfd);
        return;
    }
    if (server->pidfd >= 0)
        close(server->pidfd);
    server->pid = pid;
    server->pidfd = pidfd;
    server->is_around = match == MATCH_AROUND;
}

static void find_in(struct cluster *cluster, pid_t pid, char *arguments)
{
    ssize_t length = read_proc(pid, "cmdline", arguments, CMDLINE_BYTES_MAX);
    if (length <= 0)
        return; /* gone, a zombie, or a kernel thread */
    for (uint32_t i = 0; i < cluster->server_count; i++) {
        struct cluster_server *server = &cluster->servers[i];
        enum match match = match_server(cluster, server, pid, arguments, (size_t)length);
        /* The server itself is preferred to what runs around it. */
        bool better = !server->pid || (server->is_around && match == MATCH_ITSELF);
        if (match == MATCH_NONE)
            continue;
        if (better)
            adopt(cluster, server, pid, match, arguments);
        return;
    }
}

void process_find(struct cluster *cluster)
{
    char *arguments = malloc(CMDLINE_BYTES_MAX);
    DIR *processes = arguments ? opendir("/proc") : NULL;
    for (uint32_t i = 0; i < cluster->server_count; i++) {
        struct cluster_server *server = &cluster->servers[i];
        if (server->pidfd >= 0)
            close(server->pidfd);
        server->pidfd = -1;
        server->pid = 0;
    }
    for (const struct dirent *entry; processes && (entry = readdir(processes));)
        if (isdigit((unsigned char)entry->d_name[0]))
            find_in(cluster, (pid_t)strtol(entry->d_name, NULL, 10), arguments);
    if (processes)
        closedir(processes);
    free(arguments);
}

int process_probe_address(const char *address)
{
    char host[256];
    const char *colon = strrchr(address, ':');
    if (!colon || (size_t)(colon - address) >= sizeof host)
        return -EINVAL;
    memcpy(host, address, (size_t)(colon - address));
    host[colon - address] = 0;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE},
                    *found;
    if (getaddrinfo(host, colon + 1, &hints, &found))
        return 0; /* the server will say what is wrong with the name */
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, result = 0;
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, found->ai_addr, found->ai_addrlen) || listen(fd, 1))
            result = -errno;
        close(fd);
    }
    freeaddrinfo(found);
    return result;
}

/* ---- stopping ------------------------------------------------------------- */

/* State letter of the process; 0 when there is none. */
static char state_of(pid_t pid)
{
    char text[512];
    if (read_proc(pid, "stat", text, sizeof text) <= 0)
        return 0;
    /* The name in parentheses may hold anything. */
    const char *end = strrchr(text, ')');
    return end && end[1] == ' ' ? end[2] : 0;
}

bool process_gone(struct cluster_server *server, int *wait_status)
{
    int status = 0;
    if (!server->pid)
        return true;
    if (server->started) {
        if (waitpid(server->pid, &status, WNOHANG) == 0)
            return false;
        if (wait_status)
            *wait_status = status;
        return true;
    }
    if (server->pidfd >= 0) {
        struct pollfd ended = {.fd = server->pidfd, .events = POLLIN};
        return poll(&ended, 1, 0) > 0;
    }
    char state = state_of(server->pid);
    return state == 0 || state == 'Z' || state == 'X';
}

int process_signal(struct cluster_server *server, int number)
{
    int status = server->pidfd >= 0 ? (int)syscall(SYS_pidfd_send_signal, server->pidfd, number, NULL, 0)
                                    : kill(server->pid, number);
    return status && errno != ESRCH ? -errno : 0;
}

void process_forget(struct cluster_server *server)
{
    if (server->pidfd >= 0)
        close(server->pidfd);
    if (server->ready_fd >= 0)
        close(server->ready_fd);
    server->pidfd = server->ready_fd = -1;
    if (server->pid && recorded_pid(server) == server->pid)
        unlink(server->pid_path);
    server->pid = 0;
    server->started = server->ready = false;
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static bool concerns(const struct cluster_server *server, bool metadata, bool only_started)
{
    return server->pid && !server->storage == metadata && (server->started || !only_started);
}

/* Waits until those servers are gone, so long; how many are still there. */
static unsigned wait_gone(struct cluster *cluster, bool metadata, bool only_started, double patience_s,
                          int signal_fd, bool quiet)
{
    double until = now_s() + patience_s;
    for (;;) {
        unsigned left = 0;
        for (uint32_t i = 0; i < cluster->server_count; i++) {
            struct cluster_server *server = &cluster->servers[i];
            if (!concerns(server, metadata, only_started))
                continue;
            if (!process_gone(server, NULL)) {
                left++;
                continue;
            }
            if (!quiet)
                printf("  %-10s stopped\n", server->name);
            process_forget(server);
        }
        struct pollfd hurry = {.fd = signal_fd, .events = POLLIN};
        if (left == 0 || now_s() > until || poll(&hurry, 1, POLL_EVERY_MS) > 0)
            return left;
        fflush(stdout);
    }
}

/* Sends the signal to all of them; -1 when that is not allowed. */
static int signal_all(struct tool *tool, struct cluster *cluster, bool metadata, bool only_started,
                      int number)
{
    int status = 0;
    for (uint32_t i = 0; i < cluster->server_count; i++) {
        struct cluster_server *server = &cluster->servers[i];
        int error = concerns(server, metadata, only_started) ? process_signal(server, number) : 0;
        if (error) {
            tool_complain(tool, "%s (pid %d) cannot be stopped: %s: it belongs to another user", server->name,
                          (int)server->pid, err_name(error));
            status = -1;
        }
    }
    return status;
}

static int stop_some(struct tool *tool, struct cluster *cluster, bool metadata, bool only_started,
                     unsigned patience_s, int signal_fd, bool quiet)
{
    if (signal_all(tool, cluster, metadata, only_started, SIGTERM))
        return -1;
    if (wait_gone(cluster, metadata, only_started, patience_s, signal_fd, quiet) == 0)
        return 0;
    for (uint32_t i = 0; i < cluster->server_count; i++)
        if (concerns(&cluster->servers[i], metadata, only_started))
            tool_complain(tool, "%s (pid %d) does not end: killing it", cluster->servers[i].name,
                          (int)cluster->servers[i].pid);
    if (signal_all(tool, cluster, metadata, only_started, SIGKILL))
        return -1;
    if (wait_gone(cluster, metadata, only_started, KILL_PATIENCE_S, -1, quiet) == 0)
        return 0;
    tool_complain(tool,
                  "a server is still there after SIGKILL: it hangs in the kernel, on a disk for instance");
    return -1;
}

int process_stop(struct tool *tool, struct cluster *cluster, bool only_started, unsigned patience_s,
                 int signal_fd, bool quiet)
{
    /* Storage servers may have to say good-bye to the metadata server. */
    int storage = stop_some(tool, cluster, false, only_started, patience_s, signal_fd, quiet);
    int metadata = stop_some(tool, cluster, true, only_started, patience_s, signal_fd, quiet);
    return storage || metadata ? -1 : 0;
}
