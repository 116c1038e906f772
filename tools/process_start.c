/* SPDX-License-Identifier: Apache-2.0 */
/* Starting servers: where their programs are, how they become processes, what they logged. */
#include "cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf.h"
#include "err.h"

#ifndef WEFT_SBINDIR
#define WEFT_SBINDIR "/usr/local/sbin"
#endif

enum {
    EXE_BYTES_MAX = 4096,
    READY_FD = 3,
    WRAPPER_WORDS_MAX = 16,
    LOG_TAIL_BYTES = 1 << 14,
    LOG_TAIL_LINES = 12
};

/* ---- the programs --------------------------------------------------------- */

struct search {
    const char *name;
    char *found;
    char tried[4096];
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void try_path(struct search *search, const char *format, ...)
{
    char *path;
    va_list list;
    if (search->found)
        return;
    va_start(list, format);
    if (vasprintf(&path, format, list) < 0)
        path = NULL;
    va_end(list);
    if (path && access(path, X_OK) == 0) {
        search->found = realpath(path, NULL);
    } else if (path && search->used < sizeof search->tried) {
        int count =
            snprintf(search->tried + search->used, sizeof search->tried - search->used, "\n  %s", path);
        search->used += count > 0 ? (size_t)count : 0;
    }
    free(path);
}

char *process_program(struct tool *tool, const char *name)
{
    struct search search = {.name = name};
    const char *chosen = getenv("WEFT_SBINDIR");
    char here[EXE_BYTES_MAX];
    ssize_t length = readlink("/proc/self/exe", here, sizeof here - 1);
    if (chosen && *chosen) {
        try_path(&search, "%s/%s", chosen, name);
    } else {
        if (length > 0) {
            here[length] = 0;
            *strrchr(here, '/') = 0;
            /* In a build tree the program itself lies in tools/.libs, and the servers beside tools. */
            const char *kind = strcmp(name, CLUSTER_METADATA_PROGRAM) == 0 ? "metadata" : "storage";
            bool in_libs = strrchr(here, '/') && strcmp(strrchr(here, '/') + 1, ".libs") == 0;
            try_path(&search, "%s/%s", here, name);
            try_path(&search, "%s/%s../server/%s/%s", here, in_libs ? "../" : "", kind, name);
            try_path(&search, "%s/../sbin/%s", here, name);
        }
        try_path(&search, "%s/%s", WEFT_SBINDIR, name);
    }
    if (!search.found)
        tool_complain(
            tool, "the program %s was not found: install it, or set WEFT_SBINDIR to its directory; tried:%s",
            name, search.tried);
    return search.found;
}

/* ---- starting ------------------------------------------------------------- */

/* Words of WEFT_SERVER_WRAPPER, to run servers under a debugger or valgrind. `text` is cut up. */
static size_t wrapper_words(char *text, char **words)
{
    size_t count = 0;
    char *rest = NULL;
    for (char *word = text ? strtok_r(text, " ", &rest) : NULL; word && count < WRAPPER_WORDS_MAX;
         word = strtok_r(NULL, " ", &rest))
        words[count++] = word;
    return count;
}

static void close_from(int first)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, ~0u, 0) == 0)
        return;
#endif
    long count = sysconf(_SC_OPEN_MAX);
    for (int fd = first; fd < (count > 0 && count < 65536 ? count : 65536); fd++)
        close(fd);
}

/* In the child: becomes the server, or tells `failed_fd` which errno it was. */
__attribute__((noreturn)) static void become(char *const *argv, const char *dir, int log_fd, int ready_fd,
                                             int failed_fd)
{
    sigset_t none;
    sigemptyset(&none);
    /*
     * A process group of its own: Ctrl-C does not reach the server, and neither does the terminal's
     * end, which goes to the shell and to what runs in front. A session of its own
     * would be a scheduling group of its own on Linux (autogroup), and then a program that
     * yields the processor while it waits would not yield it to the server: small requests
     * of programs that were started from the same shell took three to six times as long.
     */
    setpgid(0, 0);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* What failed_fd is moved to keeps O_CLOEXEC, so a successful exec closes it. */
    failed_fd = fcntl(failed_fd, F_DUPFD_CLOEXEC, 10);
    ready_fd = fcntl(ready_fd, F_DUPFD_CLOEXEC, 10);
    log_fd = fcntl(log_fd, F_DUPFD_CLOEXEC, 10);
    int null_fd = open("/dev/null", O_RDONLY);
    if (chdir(dir) || null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(log_fd, STDOUT_FILENO) < 0 ||
        dup2(log_fd, STDERR_FILENO) < 0 || dup2(ready_fd, READY_FD) < 0 || dup2(failed_fd, READY_FD + 1) < 0)
        goto fail;
    fcntl(READY_FD + 1, F_SETFD, FD_CLOEXEC);
    failed_fd = READY_FD + 1;
    close_from(READY_FD + 2);
    execvp(argv[0], argv);
fail:;
    int error = errno;
    if (write(failed_fd, &error, sizeof error) != sizeof error)
        _exit(126);
    _exit(127);
}

static void note_pid(struct tool *tool, const struct cluster_server *server)
{
    FILE *file = fopen(server->pid_path, "we");
    bool written = file && fprintf(file, "%d\n", (int)server->pid) > 0;
    if ((file && fclose(file)) || !written)
        tool_complain(tool, "%s: %s: the server runs, but its pid is not noted", server->pid_path,
                      err_name(-errno));
}

/* Forks; 0, or a negative errno also when the program could not be run. */
static int spawn(struct cluster *cluster, struct cluster_server *server, char *const *argv, int log_fd)
{
    int ready[2] = {-1, -1}, failed[2] = {-1, -1}, error = 0;
    if (pipe2(ready, O_CLOEXEC) || pipe2(failed, O_CLOEXEC)) {
        error = -errno;
        goto close_all;
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        error = -errno;
        goto close_all;
    }
    if (pid == 0)
        become(argv, cluster->dir, log_fd, ready[1], failed[1]);
    close(failed[1]);
    failed[1] = -1;
    int child_error = 0;
    ssize_t count;
    do
        count = read(failed[0], &child_error, sizeof child_error);
    while (count < 0 && errno == EINTR);
    if (count == sizeof child_error) {
        waitpid(pid, NULL, 0);
        error = -child_error;
        goto close_all;
    }
    server->pid = pid;
    server->pidfd = process_open_pidfd(pid);
    server->started = true;
    server->ready = false;
    server->ready_fd = ready[0];
    ready[0] = -1;
close_all:
    for (int i = 0; i < 2; i++) {
        if (ready[i] >= 0)
            close(ready[i]);
        if (failed[i] >= 0)
            close(failed[i]);
    }
    return error;
}

int process_start(struct tool *tool, struct cluster *cluster, struct cluster_server *server,
                  const char *program, bool die_with_us)
{
    char *argv[WRAPPER_WORDS_MAX + 14];
    char *wrapper = getenv("WEFT_SERVER_WRAPPER");
    wrapper = wrapper ? strdup(wrapper) : NULL;
    size_t count = wrapper_words(wrapper, argv);
    argv[count++] = (char *)program;
    argv[count++] = (char *)"--config";
    argv[count++] = cluster->conf_path;
    if (server->storage) {
        argv[count++] = (char *)"--name";
        argv[count++] = server->storage->name;
    }
    if (server->replace) {
        argv[count++] = (char *)"--replace";
        argv[count++] = (char *)server->replace;
    }
    argv[count++] = (char *)"--ready-fd";
    argv[count++] = (char *)CLUSTER_READY_FD;
    if (die_with_us)
        argv[count++] = (char *)"--die-with-parent";
    argv[count] = NULL;

    int status = -1;
    int log_fd = open(server->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (log_fd < 0) {
        tool_complain_local(tool, server->log_path, errno);
        goto free_wrapper;
    }
    server->log_start = lseek(log_fd, 0, SEEK_END);
    int error = spawn(cluster, server, argv, log_fd);
    close(log_fd);
    if (error) {
        tool_complain(tool, "%s cannot be started: %s", argv[0], err_name(error));
        goto free_wrapper;
    }
    note_pid(tool, server);
    status = 0;
free_wrapper:
    free(wrapper);
    return status;
}

/* ---- logs ----------------------------------------------------------------- */

void process_show_log(const struct cluster_server *server)
{
    char *text = malloc(LOG_TAIL_BYTES + 1);
    int fd = open(server->log_path, O_RDONLY | O_CLOEXEC);
    off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    off_t start = size - LOG_TAIL_BYTES > server->log_start ? size - LOG_TAIL_BYTES : server->log_start;
    ssize_t length = fd >= 0 && text ? pread(fd, text, LOG_TAIL_BYTES, start) : 0;
    if (length > 0) {
        text[length] = 0;
        char *line = text + length;
        for (unsigned lines = 0; line > text; line--)
            if (line[-1] == '\n' && line < text + length && ++lines == LOG_TAIL_LINES)
                break;
        fprintf(stderr, "  the end of %s:\n", server->log_path);
        char *rest = NULL;
        for (line = strtok_r(line, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
            fprintf(stderr, "    %s\n", line);
    } else {
        fprintf(stderr, "  %s holds nothing of this start\n", server->log_path);
    }
    if (fd >= 0)
        close(fd);
    free(text);
}
