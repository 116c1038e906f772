/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "weft/weft.h"

#define START_MS 20000
#define END_S    20.0

pid_t cluster_run_again(const char *const arguments[])
{
    /* Not /proc/self/exe, which is valgrind under valgrind. */
    char *all[8] = {program_invocation_name};
    for (unsigned i = 0; arguments[i]; i++) {
        assert_true(i + 2 < sizeof all / sizeof all[0]);
        all[i + 1] = (char *)(uintptr_t)arguments[i];
    }
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execv(program_invocation_name, all);
        _exit(127);
    }
    return child;
}

double cluster_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void cluster_pause(unsigned ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&time, NULL);
}

static pid_t *pid_of(struct cluster *cluster, int server)
{
    return server == CLUSTER_METADATA ? &cluster->metadata : &cluster->storage[server];
}

static const char *name_of(int server, char name[16])
{
    if (server == CLUSTER_METADATA)
        return "metadata";
    snprintf(name, 16, "s%d", server);
    return name;
}

static void log_path(const struct cluster *cluster, int server, char path[128])
{
    char name[16];
    snprintf(path, 128, "%s/%s.log", cluster->dir, name_of(server, name));
}

static void show_log(const struct cluster *cluster, int server)
{
    char path[128], command[192];
    log_path(cluster, server, path);
    snprintf(command, sizeof command, "tail -n 100 %s >&2", path);
    if (system(command) != 0)
        print_error("%s could not be shown\n", path);
}

/* ---- the folder, and its end ----------------------------------------------------- */

/* A process of its own removes the folder when the test closes its end of the pipe, be it
 * by dying. */
static void keeper_start(struct cluster *cluster)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    cluster->keeper = fork();
    assert_true(cluster->keeper >= 0);
    if (cluster->keeper == 0) {
        char byte;
        close(ends[1]);
        setpgid(0, 0); /* Ctrl-C is for the test */
        while (read(ends[0], &byte, 1) < 0 && errno == EINTR)
            ;
        execlp("rm", "rm", "-rf", cluster->dir, (char *)NULL);
        _exit(127);
    }
    close(ends[0]);
    cluster->keeper_fd = ends[1];
}

static bool is_free(unsigned port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error = bind(fd, (struct sockaddr *)&address, sizeof address);
    close(fd);
    return !error;
}

/* Servers come to listen on their ports later, and may be away for a while: so that no other test takes
 * them, a socket of a name without a file stands for each row until this process ends, or cluster_close().
 * -1: it does already. */
static int claim(unsigned row)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "weft-test-ports-%u", row);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0)
        return fd;
    close(fd);
    return -1;
}

/* The first of `count` ports in a row that are this cluster's alone. */
static unsigned claim_ports(struct cluster *cluster, unsigned count)
{
    enum { FIRST = 20000, ROW = 64, ROWS = 170 };
    assert_in_range(count, 1, ROW);
    for (unsigned try = 0; try < ROWS; try++) {
        unsigned row = ((unsigned)getpid() + try) % ROWS, first = FIRST + row * ROW, good = 0;
        cluster->ports_fd = claim(row);
        if (cluster->ports_fd < 0)
            continue;
        while (good < count && is_free(first + good))
            good++;
        if (good == count)
            return first;
        close(cluster->ports_fd);
    }
    fail_msg("no free ports");
    return 0;
}

static void key_write(const struct cluster *cluster)
{
    char path[96];
    snprintf(path, sizeof path, "%s/cluster.key", cluster->dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(dprintf(fd, "%064x\n", 0xabcdef), 65);
    close(fd);
}

static void conf_write(struct cluster *cluster)
{
    const struct cluster_options *options = &cluster->options;
    unsigned target = 0;
    snprintf(cluster->conf, sizeof cluster->conf, "%s/weft.conf", cluster->dir);
    FILE *file = fopen(cluster->conf, "w");
    assert_non_null(file);
    fprintf(file,
            "cluster = { name = \"test\"; key_file = \"cluster.key\"; };\n"
            "metadata = { listen = \"127.0.0.1:%u\"; dir = \"metadata\"; };\nstorage = (\n",
            cluster->metadata_port);
    for (unsigned i = 0; i < options->servers; i++) {
        fprintf(file, "  %s{ name = \"s%u\"; listen = \"127.0.0.1:%u\"; shards = %u; targets = (",
                i ? "," : "", i, options->moving ? 0 : cluster->storage_port + i * options->shards,
                options->shards);
        for (unsigned k = 0; k < options->targets; k++, target++)
            fprintf(file, "%s { id = %u; dir = \"s%u/t%u\"; }", k ? "," : "", target, i, k);
        fprintf(file, " ); }\n");
    }
    fprintf(file,
            ");\nlayout = { chunk_size = %u; };\nhold_folders = true;\n"
            "limits = { deadline_ms = %u; heartbeat_ms = 200; lease_ms = 3000;\n%s };\n",
            options->chunk_size, options->deadline_ms, options->limits ? options->limits : "");
    if (options->more)
        fprintf(file, "%s\n", options->more);
    if (getenv("WEFT_TEST_STORE"))
        fprintf(file, "store = \"%s\";\n", getenv("WEFT_TEST_STORE"));
    assert_int_equal(fclose(file), 0);
    setenv("WEFT_CONF", cluster->conf, 1);
}

/* ---- processes --------------------------------------------------------------------- */

static void exec_server(const struct cluster *cluster, int server, int ready_fd)
{
    const char *top = getenv("WEFT_TOP_BUILDDIR");
    char program[256], log[128], number[16], name[16];
    const char *arguments[16] = {"sh", "-c", "exec $WEFT_SERVER_WRAPPER \"$0\" \"$@\"", program};
    unsigned count = 4;
    snprintf(program, sizeof program, "%s/server/%s", top ? top : ".",
             server == CLUSTER_METADATA ? "metadata/weft-metad" : "storage/weft-storaged");
    snprintf(number, sizeof number, "%d", ready_fd);
    arguments[count++] = "--config";
    arguments[count++] = cluster->conf;
    if (server != CLUSTER_METADATA) {
        arguments[count++] = "--name";
        arguments[count++] = name_of(server, name);
    }
    arguments[count++] = "--die-with-parent";
    arguments[count++] = "--ready-fd";
    arguments[count++] = number;
    log_path(cluster, server, log);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    execvp(arguments[0], (char *const *)arguments);
    _exit(127);
}

/* "ready 127.0.0.1:7471\n" */
static void await_ready(struct cluster *cluster, int server, int fd)
{
    char line[64] = "", name[16];
    size_t length = 0;
    double end = cluster_now() + START_MS / 1e3;
    while (!memchr(line, '\n', length)) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        int left_ms = (int)((end - cluster_now()) * 1e3);
        ssize_t got = left_ms > 0 && poll(&readable, 1, left_ms) > 0
                          ? read(fd, line + length, sizeof line - 1 - length)
                          : 0;
        if (got <= 0) {
            show_log(cluster, server);
            fail_msg("%s did not start", name_of(server, name));
        }
        length += (size_t)got;
    }
    line[length - 1] = '\0';
    assert_memory_equal(line, "ready ", 6);
    if (server != CLUSTER_METADATA)
        snprintf(cluster->address[server], sizeof cluster->address[server], "%s", line + 6);
}

void cluster_start(struct cluster *cluster, int server)
{
    int ready[2];
    pid_t *pid = pid_of(cluster, server);
    assert_int_equal(*pid, 0);
    assert_int_equal(pipe(ready), 0);
    fcntl(ready[0], F_SETFD, FD_CLOEXEC);
    *pid = fork();
    assert_true(*pid >= 0);
    if (*pid == 0)
        exec_server(cluster, server, ready[1]);
    close(ready[1]);
    await_ready(cluster, server, ready[0]);
    close(ready[0]);
}

void cluster_signal(struct cluster *cluster, int server, int number)
{
    assert_true(*pid_of(cluster, server) > 0);
    assert_int_equal(kill(*pid_of(cluster, server), number), 0);
    if (number == SIGSTOP) { /* until it really stopped: it may be running on another core */
        int status;
        assert_int_equal(waitpid(*pid_of(cluster, server), &status, WUNTRACED), *pid_of(cluster, server));
        assert_true(WIFSTOPPED(status));
    }
}

void cluster_kill(struct cluster *cluster, int server)
{
    pid_t *pid = pid_of(cluster, server);
    cluster_signal(cluster, server, SIGKILL);
    assert_int_equal(waitpid(*pid, NULL, 0), *pid);
    *pid = 0;
}

void cluster_stop(struct cluster *cluster, int server)
{
    pid_t *pid = pid_of(cluster, server), ended;
    int status;
    char name[16];
    double end = cluster_now() + END_S;
    cluster_signal(cluster, server, SIGTERM);
    while ((ended = waitpid(*pid, &status, WNOHANG)) == 0 && cluster_now() < end)
        cluster_pause(5);
    if (ended == 0) {
        kill(*pid, SIGKILL);
        waitpid(*pid, NULL, 0);
        *pid = 0;
        fail_msg("%s did not end within %.0f s of SIGTERM", name_of(server, name), END_S);
    }
    *pid = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("%s ended with status 0x%x", name_of(server, name), (unsigned)status);
}

bool cluster_runs(struct cluster *cluster, int server)
{
    pid_t *pid = pid_of(cluster, server);
    if (*pid == 0)
        return false;
    if (waitpid(*pid, NULL, WNOHANG) == 0)
        return true;
    *pid = 0;
    return false;
}

bool cluster_logged(struct cluster *cluster, int server, const char *text)
{
    char path[128], *line = NULL;
    size_t room = 0;
    bool found = false;
    log_path(cluster, server, path);
    FILE *file = fopen(path, "r");
    while (file && !found && getline(&line, &room, file) > 0)
        found = strstr(line, text) != NULL;
    free(line);
    if (file)
        fclose(file);
    return found;
}

void cluster_wait_up(struct cluster *cluster, unsigned servers)
{
    weft_session_t *session;
    struct weft_statfs stat = {0};
    double end = cluster_now() + START_MS / 1e3;
    assert_int_equal(weft_connect(cluster->conf, &session), 0);
    while (weft_statfs(session, &stat) < 0 || stat.servers_up != servers) {
        if (cluster_now() > end)
            fail_msg("%u servers are up instead of %u", stat.servers_up, servers);
        cluster_pause(20);
    }
    weft_disconnect(session);
}

unsigned cluster_cut(const struct cluster *cluster, int server)
{
    const unsigned shards = cluster->options.shards;
    unsigned first = server == CLUSTER_METADATA ? cluster->metadata_port
                                                : cluster->storage_port + (unsigned)server * shards;
    unsigned last = first + (server == CLUSTER_METADATA ? 0 : shards - 1), count = 0;
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in address;
        socklen_t length = sizeof address;
        if (getpeername(fd, (struct sockaddr *)&address, &length) < 0 || address.sin_family != AF_INET)
            continue;
        unsigned port = ntohs(address.sin_port);
        if (port >= first && port <= last && shutdown(fd, SHUT_RDWR) == 0)
            count++;
    }
    return count;
}

/* ---- all of it ------------------------------------------------------------------------ */

void cluster_open(struct cluster *cluster, const struct cluster_options *options)
{
    *cluster = (struct cluster){.options = *options};
    struct cluster_options *own = &cluster->options;
    own->shards = own->shards ? own->shards : 1;
    own->targets = own->targets ? own->targets : 1;
    own->chunk_size = own->chunk_size ? own->chunk_size : 65536;
    own->deadline_ms = own->deadline_ms ? own->deadline_ms : 10000;
    const char *tmp = getenv("TMPDIR");
    snprintf(cluster->dir, sizeof cluster->dir, "%.40s/weft-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(cluster->dir));
    keeper_start(cluster);
    cluster->metadata_port = claim_ports(cluster, 1 + own->servers * own->shards);
    cluster->storage_port = cluster->metadata_port + 1;
    key_write(cluster);
    conf_write(cluster);
    cluster_start(cluster, CLUSTER_METADATA);
    for (unsigned i = 0; i < own->servers; i++)
        cluster_start(cluster, (int)i);
    cluster_wait_up(cluster, own->servers);
}

static void check_log(struct cluster *cluster, int server)
{
    static const char *const complaints[] = {"Sanitizer", "runtime error:", "== ERROR", "Assertion"};
    for (unsigned i = 0; i < sizeof complaints / sizeof complaints[0]; i++) {
        if (!cluster_logged(cluster, server, complaints[i]))
            continue;
        show_log(cluster, server);
        fail_msg("a server complained: %s", complaints[i]);
    }
}

void cluster_close(struct cluster *cluster)
{
    int last = (int)cluster->options.servers - 1;
    for (int i = last; i >= CLUSTER_METADATA; i--) {
        if (*pid_of(cluster, i) > 0)
            cluster_stop(cluster, i);
    }
    for (int i = last; i >= CLUSTER_METADATA; i--)
        check_log(cluster, i);
    close(cluster->keeper_fd);
    waitpid(cluster->keeper, NULL, 0);
    close(cluster->ports_fd);
}
