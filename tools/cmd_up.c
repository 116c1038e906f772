/* SPDX-License-Identifier: Apache-2.0 */
/* weft up: starts the servers of a local cluster and waits until they serve. */
#include "cluster.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conf.h"
#include "err.h"
#include "weft_limits.h"
#include "transport.h"

enum {
    SERVERS_MAX = 1024,
    TARGETS_MAX = 256,
    TIMEOUT_S_DEFAULT = 60,
    STOP_PATIENCE_S = 15, /* for what was started in vain */
    TELL_EVERY_S = 5,
    CHECK_EVERY_MS = 50,
};

struct start {
    struct tool *tool;
    struct cluster *cluster;
    char *metadata_program, *storage_program;
    bool foreground;
    int signal_fd;
    double deadline_s; /* of CLOCK_MONOTONIC */
    double told_s;     /* when something was last said of those waited for */
};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Signals that end a start become readable, so that none is lost between two steps. */
static int catch_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* A signal came; it is taken, so that the next one hurries the stopping. */
static bool signalled(int signal_fd)
{
    struct signalfd_siginfo info;
    return read(signal_fd, &info, sizeof info) == sizeof info;
}

/* ---- waiting for servers -------------------------------------------------- */

/* The server ended before it served: why, as far as its log knows. */
static void complain_of_end(struct start *start, struct cluster_server *server)
{
    int status = 0;
    /* The pipe may be closed a little before the process is gone. */
    for (int i = 0; i < 100 && !process_gone(server, &status); i++)
        poll(NULL, 0, 20);
    if (WIFSIGNALED(status))
        tool_complain(start->tool, "%s did not start: it was killed by signal %d", server->name,
                      WTERMSIG(status));
    else
        tool_complain(start->tool, "%s did not start: it ended with status %d", server->name,
                      WEXITSTATUS(status));
    process_show_log(server);
    process_forget(server);
}

/* Something came from the server: 0, or -1 when it ended. */
static int take_ready(struct start *start, struct cluster_server *server)
{
    char text[LIMITS_ADDRESS_MAX + 16];
    ssize_t count = read(server->ready_fd, text, sizeof text);
    if (count < 0 && errno == EINTR)
        return 0;
    close(server->ready_fd);
    server->ready_fd = -1;
    if (count <= 0) {
        complain_of_end(start, server);
        return -1;
    }
    server->ready = true;
    start->told_s = now_s();
    printf("  %-10s ready at %s (pid %d)\n", server->name, server->listen, (int)server->pid);
    fflush(stdout);
    return 0;
}

static void tell_who_is_awaited(struct start *start)
{
    start->told_s = now_s();
    for (uint32_t i = 0; i < start->cluster->server_count; i++) {
        const struct cluster_server *server = &start->cluster->servers[i];
        if (server->ready_fd >= 0)
            printf("  %-10s not ready yet; its log: %s\n", server->name, server->log_path);
    }
    fflush(stdout);
}

/* Waits until every started server is ready; -1 after a complaint. */
static int wait_ready(struct start *start)
{
    struct cluster *cluster = start->cluster;
    struct pollfd *polls = calloc(cluster->server_count + 1, sizeof *polls);
    if (!polls) {
        tool_complain(start->tool, "no memory");
        return -1;
    }
    int status = 0;
    start->told_s = now_s();
    for (unsigned waiting = 1; waiting && status == 0;) {
        waiting = 0;
        polls[0] = (struct pollfd){.fd = start->signal_fd, .events = POLLIN};
        for (uint32_t i = 0; i < cluster->server_count; i++) {
            polls[1 + i] = (struct pollfd){.fd = cluster->servers[i].ready_fd, .events = POLLIN};
            waiting += cluster->servers[i].ready_fd >= 0;
        }
        if (!waiting)
            break;
        poll(polls, cluster->server_count + 1, 1000);
        if (polls[0].revents && signalled(start->signal_fd)) {
            tool_complain(start->tool, "interrupted: stopping what was started");
            status = -1;
        }
        for (uint32_t i = 0; i < cluster->server_count && status == 0; i++)
            if (polls[1 + i].revents)
                status = take_ready(start, &cluster->servers[i]);
        if (status == 0 && now_s() > start->deadline_s) {
            tell_who_is_awaited(start);
            tool_complain(start->tool, "not all servers became ready in time: --timeout gives them more");
            status = -1;
        } else if (now_s() - start->told_s > TELL_EVERY_S) {
            tell_who_is_awaited(start);
        }
    }
    free(polls);
    return status;
}

/* ---- the cluster as a client sees it -------------------------------------- */

static void count_up(void *arg, const struct weft_server *server)
{
    uint32_t *up = arg;
    *up += server->is_up;
}

/* Every server is up in the cluster map: only then do all targets take files. */
static int wait_members(struct start *start)
{
    weft_session_t *session = NULL;
    uint32_t up = 0;
    int error, result = -1;
    for (;;) {
        up = 0;
        error = session ? 0 : weft_connect(start->cluster->conf_path, &session);
        if (!error)
            error = weft_servers(session, count_up, &up);
        if (!error && up >= start->cluster->server_count) {
            result = 0;
            break;
        }
        struct pollfd interrupted = {.fd = start->signal_fd, .events = POLLIN};
        if (poll(&interrupted, 1, CHECK_EVERY_MS) > 0 && signalled(start->signal_fd)) {
            tool_complain(start->tool, "interrupted: stopping what was started");
            break;
        }
        if (now_s() < start->deadline_s)
            continue;
        if (error)
            tool_complain(start->tool, "the cluster does not answer: %s", tool_library_text(error));
        else
            tool_complain(
                start->tool, "%u of %u servers have not joined the cluster: see their logs in %s/log",
                start->cluster->server_count - up, start->cluster->server_count, start->cluster->dir);
        break;
    }
    weft_disconnect(session);
    return result;
}

/* ---- starting ------------------------------------------------------------- */

static int check_addresses(struct start *start)
{
    int status = 0;
    for (uint32_t i = 0; i < start->cluster->server_count; i++) {
        const struct cluster_server *server = &start->cluster->servers[i];
        int error = server->pid ? 0 : process_probe_address(server->listen);
        if (error == 0)
            continue;
        tool_complain(start->tool,
                      "%s cannot listen at %s: %s: stop what uses it, or change the address in %s",
                      server->name, server->listen, err_name(error), start->cluster->conf_path);
        status = -1;
    }
    return status;
}

/* Starts the metadata server, then all others at once. */
static int start_servers(struct start *start)
{
    struct cluster *cluster = start->cluster;
    start->metadata_program = process_program(start->tool, CLUSTER_METADATA_PROGRAM);
    start->storage_program = process_program(start->tool, CLUSTER_STORAGE_PROGRAM);
    if (!start->metadata_program || !start->storage_program || check_addresses(start))
        return -1;
    if (!cluster->servers[0].pid &&
        process_start(start->tool, cluster, &cluster->servers[0], start->metadata_program, start->foreground))
        return -1;
    if (wait_ready(start))
        return -1;
    for (uint32_t i = 1; i < cluster->server_count; i++)
        if (!cluster->servers[i].pid && process_start(start->tool, cluster, &cluster->servers[i],
                                                      start->storage_program, start->foreground))
            return -1;
    return wait_ready(start) || wait_members(start) ? -1 : 0;
}

static uint32_t running_count(const struct cluster *cluster)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < cluster->server_count; i++)
        count += cluster->servers[i].pid != 0;
    return count;
}

/* ---- staying in the foreground -------------------------------------------- */

/* Until a signal asks for the end, or a server ends. Returns the exit status. */
static int supervise(struct start *start)
{
    struct cluster *cluster = start->cluster;
    puts("Stays in the foreground; Ctrl-C stops the cluster.");
    fflush(stdout);
    for (;;) {
        struct pollfd asked = {.fd = start->signal_fd, .events = POLLIN};
        if (poll(&asked, 1, 500) > 0 && signalled(start->signal_fd))
            return TOOL_DONE;
        for (uint32_t i = 0; i < cluster->server_count; i++) {
            struct cluster_server *server = &cluster->servers[i];
            int status = 0;
            if (!server->pid || !process_gone(server, &status))
                continue;
            if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
                printf("%s was stopped from elsewhere.\n", server->name);
                process_forget(server);
                return TOOL_DONE;
            }
            tool_complain(start->tool, "%s died (%s %d): stopping the others", server->name,
                          WIFSIGNALED(status) ? "signal" : "status",
                          WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
            process_show_log(server);
            process_forget(server);
            return TOOL_FAILED;
        }
    }
}

/* ---- the command ---------------------------------------------------------- */

static void announce(const struct cluster *cluster, bool made, uint32_t running)
{
    uint32_t storage = cluster->conf->storage_count;
    printf("%s cluster %s in %s: 1 metadata server, %u storage server%s",
           made ? "Starting the new" : "Starting", cluster->conf->cluster_name, cluster->dir, storage,
           storage == 1 ? "" : "s");
    if (running)
        printf("; %u of them run already", running);
    putchar('\n');
    fflush(stdout);
}

static int run(struct start *start, bool made)
{
    struct cluster *cluster = start->cluster;
    uint32_t running = running_count(cluster);
    if (made && running) {
        tool_complain(
            start->tool,
            "%u servers of an earlier cluster in %s still run, though its files are gone: weft down "
            "--dir %s ends them, then try again",
            running, cluster->dir, cluster->dir);
        return TOOL_FAILED;
    }
    if (running == cluster->server_count && start->foreground) {
        tool_complain(start->tool, "the cluster in %s runs already, in the background: weft down stops it",
                      cluster->dir);
        return TOOL_FAILED;
    }
    if (running == cluster->server_count) {
        printf("The cluster in %s runs already.\n", cluster->dir);
        cluster_print_use(cluster);
        return TOOL_DONE;
    }
    start->signal_fd = catch_signals();
    announce(cluster, made, running);
    if (start_servers(start)) {
        /* The point of this command is all or nothing. */
        bool any = false;
        for (uint32_t i = 0; i < cluster->server_count; i++)
            any |= cluster->servers[i].started;
        if (process_stop(start->tool, cluster, true, STOP_PATIENCE_S, start->signal_fd, false) == 0 && any)
            fputs("weft up: nothing of what was started is left running.\n", stderr);
        return TOOL_FAILED;
    }
    printf("The cluster runs; its logs are in %s/log.\n", cluster->dir);
    cluster_print_use(cluster);
    if (!start->foreground)
        return TOOL_DONE;
    cluster_unlock(cluster);
    int status = supervise(start);
    return process_stop(start->tool, cluster, true, STOP_PATIENCE_S, start->signal_fd, false) ? TOOL_FAILED
                                                                                              : status;
}

/* The server whose target is new, in the place of one that was lost, is told so. */
static int mark_replaced(struct tool *tool, struct cluster *cluster, const char *text)
{
    char *end;
    const unsigned long id = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end)
        return tool_usage_error(tool, "--replace wants the id of a target, not \"%s\"", text);
    for (uint32_t s = 1; s < cluster->server_count; s++) {
        struct cluster_server *server = &cluster->servers[s];
        for (uint32_t i = 0; i < server->storage->target_count; i++) {
            if (server->storage->targets[i].id != id)
                continue;
            server->replace = text;
            if (!server->pid)
                return TOOL_DONE;
            tool_complain(tool, "%s runs, with the target that is to be replaced: stop it first (kill %d)",
                          server->name, (int)server->pid);
            return TOOL_FAILED;
        }
    }
    tool_complain(tool, "%s has no target %s", cluster->conf_path, text);
    return TOOL_FAILED;
}

static int check_numbers(struct tool *tool, const struct cluster_wish *wish)
{
    const struct {
        const char *name;
        uint64_t value, most;
    } bounds[] = {
        {"servers", wish->servers, SERVERS_MAX},
        {"targets", wish->targets, TARGETS_MAX},
        {"shards", wish->shards, LIMITS_SHARDS_MAX},
        {"replicas", wish->replicas, LIMITS_GROUP_MEMBERS_MAX},
        {"port", wish->port, 65535},
    };
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++)
        if (bounds[i].value > bounds[i].most)
            return tool_usage_error(tool, "--%s is at most %llu", bounds[i].name,
                                    (unsigned long long)bounds[i].most);
    struct transport_wish wishes[TRANSPORTS_MAX];
    if (wish->transport && transport_text_read(wish->transport, wishes) < 0)
        return tool_usage_error(tool, "%s", err_text());
    return TOOL_DONE;
}

int cmd_up(struct tool *tool, int argc, char **argv)
{
    struct cluster_wish wish = {0};
    struct start start = {.tool = tool, .signal_fd = -1};
    const char *dir = NULL, *replace = NULL;
    uint32_t timeout_s = TIMEOUT_S_DEFAULT;
    const struct option_spec options[] = {
        {"dir", 0, OPTION_TEXT, "DIR", &dir, "the cluster's directory"},
        {"servers", 0, OPTION_COUNT, "N", &wish.servers, "storage servers (default 4)"},
        {"targets", 0, OPTION_COUNT, "M", &wish.targets, "targets of each of them (default 1)"},
        {"shards", 0, OPTION_COUNT, "K", &wish.shards, "shards of each of them (default 1)"},
        {"chunk-size", 0, OPTION_CHUNK, "SIZE", &wish.chunk_size, "chunk size of new files (default 1M)"},
        {"replicas", 0, OPTION_COUNT, "R", &wish.replicas, "servers that have each chunk (default 1)"},
        {"replace", 0, OPTION_TEXT, "ID", &replace,
         "that target is new and empty, and gets what the lost one had from other replicas"},
        {"transport", 0, OPTION_TEXT, "NAME", &wish.transport,
         "the transport: auto, ucx, ofi, or both joined by + (default auto)"},
        {"port", 0, OPTION_COUNT, "P", &wish.port, "first port (default: free ones)"},
        {"timeout", 0, OPTION_COUNT, "SECONDS", &timeout_s, "how long to wait for the servers (default 60)"},
        {"foreground", 0, OPTION_FLAG, NULL, &start.foreground, "stay, and stop the cluster at Ctrl-C"},
        {0},
    };
    int first;
    int status =
        options_parse(tool, argc, argv, options,
                      "Starts a cluster on this machine, all of it in one directory: a new one, or a\n"
                      "stopped one with its data. Returns when every server serves; the servers go on in\n"
                      "the background. When one of them can't start, none stays.",
                      &first);
    if (status >= 0)
        return status;
    if (first < argc)
        return tool_usage_error(tool, "%s: what is it for? The directory is given by --dir", argv[first]);
    if (!dir || !*dir)
        return tool_usage_error(tool, "--dir is needed: the directory for the cluster");
    if (check_numbers(tool, &wish))
        return TOOL_USAGE;
    bool made;
    status = cluster_open_or_make(tool, dir, &wish, &made, &start.cluster);
    if (status)
        return status;
    start.deadline_s = now_s() + timeout_s;
    status = replace ? mark_replaced(tool, start.cluster, replace) : TOOL_DONE;
    if (status == TOOL_DONE)
        status = run(&start, made);
    free(start.metadata_program);
    free(start.storage_program);
    if (start.signal_fd >= 0)
        close(start.signal_fd);
    cluster_close(start.cluster);
    return status;
}
