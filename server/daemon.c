/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "err.h"
#include "log.h"
#include "rpc.h"

enum { EXIT_USAGE = 2 };
enum { OPTION_READY_FD = 256, OPTION_DIE_WITH_PARENT, OPTION_REPLACE, OPTION_VERSION };

/* A signal handler can be told nothing, so what it needs is global. */
static atomic_bool stop_asked;
static _Atomic(struct rpc *) wake_rpc;

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"name", required_argument, NULL, 'n'},
    {"log-level", required_argument, NULL, 'l'},
    {"ready-fd", required_argument, NULL, OPTION_READY_FD},
    {"die-with-parent", no_argument, NULL, OPTION_DIE_WITH_PARENT},
    {"replace", required_argument, NULL, OPTION_REPLACE},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

static void print_help(const struct daemon_program *program)
{
    printf("Usage: %s %s[OPTION]...\n%s\n\n", program->name, program->named ? "--name NAME " : "",
           program->summary);
    fputs("  -c, --config FILE      the cluster's configuration (default: $WEFT_CONF, else\n"
          "                         " WEFT_CONF_DEFAULT ")\n",
          stdout);
    if (program->named)
        fputs("  -n, --name NAME        serve the storage section of this name\n"
              "      --replace ID       the target is new and empty, in the place of one that was lost:\n"
              "                         it gets what that had from other replicas\n",
              stdout);
    fputs("  -l, --log-level LEVEL  error, warn, info or debug (default: the configuration's)\n"
          "      --ready-fd N       write \"ready ADDRESS\" to descriptor N once it serves\n"
          "      --die-with-parent  end when the parent process ends\n"
          "  -h, --help             show this help\n"
          "      --version          show the version\n\n",
          stdout);
    printf("It stays in the foreground, logs to standard error, and ends cleanly on SIGTERM.\n"
           "See %s(8).\n",
           program->name);
}

__attribute__((format(printf, 2, 3), noreturn)) static void usage_error(const struct daemon_program *program,
                                                                        const char *format, ...)
{
    va_list list;
    fprintf(stderr, "%s: ", program->name);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fprintf(stderr, "\nTry %s --help.\n", program->name);
    exit(EXIT_USAGE);
}

/* ---- signals ------------------------------------------------------------ */

void daemon_stop(void)
{
    int saved = errno;
    atomic_store(&stop_asked, true);
    struct rpc *rpc = atomic_load(&wake_rpc);
    if (rpc)
        rpc_wake(rpc);
    errno = saved;
}

bool daemon_stopping(void)
{
    return atomic_load_explicit(&stop_asked, memory_order_relaxed);
}

void daemon_wake_set(struct rpc *rpc)
{
    atomic_store(&wake_rpc, rpc);
    /* The signal may have come while nobody could be woken. */
    if (rpc && daemon_stopping())
        rpc_wake(rpc);
}

static void on_signal(int number)
{
    (void)number;
    daemon_stop();
}

/* UCX takes SIGHUP when it is loaded, to show where a program is. What it was before is seen only by what
 * runs before the libraries' constructors; no sanitizer is ready there. */
static bool hangup_was_ignored;

__attribute__((no_sanitize("address", "undefined"))) static void hangup_look(void)
{
    static struct sigaction inherited;
    hangup_was_ignored = !sigaction(SIGHUP, NULL, &inherited) && inherited.sa_handler == SIG_IGN;
}

__attribute__((section(".preinit_array"), used)) static void (*const hangup_look_first)(void) = hangup_look;

static void signals_open(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    /* Whoever started us with SIGHUP ignored, as nohup and weft up do, means us to go on. */
    if (hangup_was_ignored)
        signal(SIGHUP, SIG_IGN);
    else
        sigaction(SIGHUP, &action, NULL);
    /* Whoever presses Ctrl-C twice does not want to wait. */
    action.sa_flags |= (int)SA_RESETHAND;
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* ---- options ------------------------------------------------------------ */

static int parse_descriptor(const struct daemon_program *program, const char *text)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno || end == text || *end || number < 0 || number > 1 << 20)
        usage_error(program, "--ready-fd wants the number of a descriptor, not \"%s\"", text);
    if (fcntl((int)number, F_GETFD) < 0)
        usage_error(program, "--ready-fd %ld: that descriptor is not open", number);
    return (int)number;
}

static void parse_replaced(struct daemon *daemon, const struct daemon_program *program, const char *text)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (errno || *text < '0' || *text > '9' || *end || number > UINT32_MAX)
        usage_error(program, "--replace wants the id of a target, not \"%s\"", text);
    if (daemon->replaced_count == DAEMON_REPLACED_MAX)
        usage_error(program, "--replace can be given %d times", DAEMON_REPLACED_MAX);
    daemon->replaced[daemon->replaced_count++] = (uint32_t)number;
}

struct parsed {
    const char *conf_path;
    const char *name;
    bool log_level_given;
    enum log_level log_level;
};

static void parse(struct daemon *daemon, const struct daemon_program *program, int argc, char **argv,
                  struct parsed *parsed)
{
    int option;
    while ((option = getopt_long(argc, argv, "c:n:l:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            parsed->conf_path = optarg;
            break;
        case 'n':
            if (!program->named)
                usage_error(program, "there is only one metadata server, so --name is not taken");
            parsed->name = optarg;
            break;
        case 'l':
            if (log_level_parse(optarg, &parsed->log_level))
                usage_error(program, "--log-level is one of error, warn, info, debug, not \"%s\"", optarg);
            parsed->log_level_given = true;
            break;
        case OPTION_READY_FD:
            daemon->ready_fd = parse_descriptor(program, optarg);
            break;
        case OPTION_DIE_WITH_PARENT:
            daemon->die_with_parent = true;
            break;
        case OPTION_REPLACE:
            if (!program->named)
                usage_error(program, "the metadata server has no targets, so --replace is not taken");
            parse_replaced(daemon, program, optarg);
            break;
        case 'h':
            print_help(program);
            exit(0);
        case OPTION_VERSION:
            printf("%s (Weft) %s\n", program->name, WEFT_VERSION);
            exit(0);
        default:
            fprintf(stderr, "Try %s --help.\n", program->name);
            exit(EXIT_USAGE);
        }
    }
    if (optind < argc)
        usage_error(program, "\"%s\" is not an option", argv[optind]);
    if (program->named && !parsed->name)
        usage_error(program, "--name is needed: which of the configuration's storage sections to serve");
}

static void complain_about_name(const struct daemon *daemon, const char *name)
{
    char known[512] = "";
    size_t length = 0;
    for (uint32_t i = 0; i < daemon->conf->storage_count && length < sizeof known; i++)
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "",
                                   daemon->conf->storage[i].name);
    log_error("%s has no storage section named \"%s\"; it has: %s", daemon->conf->file, name,
              *known ? known : "none");
}

void daemon_open(struct daemon *daemon, const struct daemon_program *program, int argc, char **argv)
{
    struct parsed parsed = {0};
    *daemon = (struct daemon){.ready_fd = -1};
    parse(daemon, program, argc, argv, &parsed);
    if (daemon->die_with_parent)
        prctl(PR_SET_PDEATHSIG, SIGTERM);
    /* A clean end can be asked for as soon as there is anything to end. */
    signals_open();

    snprintf(daemon->who, sizeof daemon->who, "%s%s%s", program->name, parsed.name ? " " : "",
             parsed.name ? parsed.name : "");
    log_init(daemon->who, parsed.log_level_given ? parsed.log_level : LOG_LEVEL_INFO);
    if (conf_load(parsed.conf_path, &daemon->conf)) {
        log_error("%s", err_text());
        exit(EXIT_FAILURE);
    }
    if (!parsed.log_level_given)
        log_init(daemon->who, daemon->conf->log_level);
    if (program->named) {
        daemon->storage = conf_storage_by_name(daemon->conf, parsed.name);
        if (!daemon->storage) {
            complain_about_name(daemon, parsed.name);
            exit(EXIT_FAILURE);
        }
    }

    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

void daemon_close(struct daemon *daemon)
{
    if (daemon->ready_fd >= 0)
        close(daemon->ready_fd);
    conf_free(daemon->conf);
    *daemon = (struct daemon){.ready_fd = -1};
}

/* ---- telling others ----------------------------------------------------- */

/* The datagram of sd_notify(3), so that no library is needed for it. */
static void notify_systemd(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = path ? strlen(path) : 0;
    if (length < 2 || length >= sizeof address.sun_path || (*path != '/' && *path != '@'))
        return;
    memcpy(address.sun_path, path, length);
    if (*path == '@')
        address.sun_path[0] = 0; /* the abstract name space */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    if (sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address, size) < 0)
        log_warn("could not tell systemd \"%s\": %s", text, err_name(-errno));
    close(fd);
}

void daemon_ready(struct daemon *daemon, const char *address)
{
    log_info("ready at %s", address);
    notify_systemd("READY=1");
    if (daemon->ready_fd < 0)
        return;
    char line[LIMITS_ADDRESS_MAX + 16];
    int length = snprintf(line, sizeof line, "ready %s\n", address);
    bool lost = write(daemon->ready_fd, line, (size_t)length) != length;
    close(daemon->ready_fd);
    daemon->ready_fd = -1;
    /* A parent that ended before prctl() was called sends no signal. */
    if (lost && daemon->die_with_parent) {
        log_warn("whoever started this server is gone");
        daemon_stop();
    }
}

void daemon_leaving(void)
{
    notify_systemd("STOPPING=1");
}
