/* SPDX-License-Identifier: Apache-2.0 */
/* weft mount and weft umount: a directory of the cluster in the kernel's tree, by the program weft-mount, and
 * out of it again. */
#include "tool.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "err.h"
#include "mounted.h"

enum { WORDS_MAX = 32, TIMEOUT_S = 30 };

/* ---- weft mount --------------------------------------------------------------- */

/* Beside this program, in a build tree or where it was installed; else it is looked for in PATH. */
static const char *program(char path[PATH_MAX])
{
    static const char *const places[] = {"", "/../mount", "/../../mount"};
    char here[PATH_MAX / 2];
    ssize_t length = readlink("/proc/self/exe", here, sizeof here - 1);
    here[length > 0 ? length : 0] = 0;
    char *slash = strrchr(here, '/');
    if (slash)
        *slash = 0;
    for (size_t i = 0; slash && i < sizeof places / sizeof places[0]; i++) {
        snprintf(path, PATH_MAX, "%s%s/weft-mount", here, places[i]);
        if (access(path, X_OK) == 0)
            return path;
    }
    return "weft-mount";
}

/* The words for weft-mount. */
struct words {
    const char *list[WORDS_MAX];
    size_t count;
};

static void add_flag(struct words *words, bool given, const char *word)
{
    if (given)
        words->list[words->count++] = word;
}

static void add_text(struct words *words, const char *word, const char *value)
{
    if (!value)
        return;
    words->list[words->count++] = word;
    words->list[words->count++] = value;
}

int cmd_mount(struct tool *tool, int argc, char **argv)
{
    bool foreground = false, allow_other = false, read_only = false, cache = false, no_xattrs = false;
    const char *path = NULL, *threads = NULL, *log = NULL, *more = NULL;
    const struct option_spec options[] = {
        {"path", 0, OPTION_TEXT, "PATH", &path, "the directory of the cluster to mount (default: /)"},
        {"read-only", 0, OPTION_FLAG, NULL, &read_only, "nothing can be changed through the mount"},
        {"allow-other", 0, OPTION_FLAG, NULL, &allow_other,
         "let all users in, by the files' permissions; for root only"},
        {"cache", 0, OPTION_FLAG, NULL, &cache,
         "let the kernel keep names, attributes and bytes: faster,\nbut others' changes are seen late"},
        {"no-xattrs", 0, OPTION_FLAG, NULL, &no_xattrs,
         "no extended attributes: with --cache the kernel then\ndoes not ask for one before each write"},
        {"threads", 0, OPTION_TEXT, "N", &threads, "how many requests are worked at a time (default: 16)"},
        {"log", 0, OPTION_TEXT, "FILE", &log, "where messages go (default: the system's log)"},
        {"foreground", 0, OPTION_FLAG, NULL, &foreground, "stay in the foreground until it is unmounted"},
        {"options", 'o', OPTION_TEXT, "LIST", &more, "options as mount(8) has them: ro,nosuid,nodev,noexec"},
        OPTION_CONF(tool),
        {0},
    };
    char found[PATH_MAX];
    struct words words = {.list = {"weft-mount"}, .count = 1};
    int first;
    int status =
        options_parse(tool, argc, argv, options,
                      "Shows a directory of the cluster at DIR, for programs that know nothing of Weft,\n"
                      "and returns when it is there. weft umount DIR takes it away.",
                      &first);
    if (status >= 0)
        return status;
    if (argc - first != 1)
        return tool_usage_error(tool, "where shall it be mounted? One directory, please");
    add_text(&words, "--conf", tool->conf);
    add_text(&words, "--path", path);
    add_text(&words, "--threads", threads);
    add_text(&words, "--log", log);
    add_text(&words, "-o", more);
    add_flag(&words, read_only, "--read-only");
    add_flag(&words, allow_other, "--allow-other");
    add_flag(&words, cache, "--cache");
    add_flag(&words, no_xattrs, "--no-xattrs");
    add_flag(&words, foreground, "--foreground");
    add_flag(&words, true, "--");
    add_flag(&words, true, argv[first]);
    tool_finish_output(tool);
    execvp(program(found), (char **)(uintptr_t)words.list);
    tool_complain(tool, "weft-mount can't be started: %s%s", err_name(-errno),
                  errno == ENOENT ? "; Weft was built without libfuse3-dev" : "");
    return TOOL_FAILED;
}

/* ---- weft umount ---------------------------------------------------------------- */

/* The absolute path, without a look at the directory itself, which may not answer any more. */
static int absolute(const char *dir, char path[PATH_MAX])
{
    char parent[PATH_MAX], above[PATH_MAX];
    size_t length = strlen(dir);
    while (length > 1 && dir[length - 1] == '/')
        length--;
    snprintf(parent, sizeof parent, "%.*s", (int)length, dir);
    char *slash = strrchr(parent, '/');
    const char *name = slash ? slash + 1 : parent;
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return realpath(dir, path) ? 0 : -errno;
    if (!realpath(slash == parent ? "/" : slash ? (*slash = 0, parent) : ".", above))
        return -errno;
    snprintf(path, PATH_MAX, "%.2000s/%.2000s", strcmp(above, "/") == 0 ? "" : above, name);
    return 0;
}

/* By fusermount3, which may do it for the user who mounted. */
static int unmount_as_user(const char *dir)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        execlp("fusermount3", "fusermount3", "-u", "-q", "--", dir, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

static int unmount(const char *dir)
{
    if (umount2(dir, UMOUNT_NOFOLLOW) == 0)
        return 0;
    return errno == EPERM ? unmount_as_user(dir) : -errno;
}

/* A connection that ends with the process of the mount; -1 when there is none. */
static int watch(const struct mounted *mounted)
{
    struct sockaddr_un address;
    socklen_t length;
    int end = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mounted_address(mounted, &address, &length);
    if (end >= 0 && connect(end, (struct sockaddr *)&address, length) != 0) {
        close(end);
        end = -1;
    }
    return end;
}

static int wait_for_end(struct tool *tool, const char *dir, int end, uint32_t timeout_s)
{
    struct pollfd poll_end = {.fd = end, .events = POLLIN};
    int ready = end < 0 ? 1 : poll(&poll_end, 1, timeout_s > INT_MAX / 1000 ? -1 : (int)timeout_s * 1000);
    if (end >= 0)
        close(end);
    if (ready > 0)
        return TOOL_DONE;
    tool_complain(tool, "%s is unmounted, but its process has not ended after %u s", dir, timeout_s);
    return TOOL_FAILED;
}

static int umount_one(struct tool *tool, const char *argument, uint32_t timeout_s)
{
    struct mounted mounted;
    char dir[PATH_MAX];
    int found = absolute(argument, dir);
    if (found == 0)
        found = mounted_find(dir, &mounted);
    /* It may be named by a symbolic link. */
    if (found == 0 && realpath(argument, dir))
        found = mounted_find(dir, &mounted);
    if (found <= 0) {
        tool_complain(tool, "%s: %s", argument, found ? err_name(found) : "no Weft is mounted there");
        return TOOL_FAILED;
    }
    int end = watch(&mounted);
    int error = unmount(dir);
    if (!error)
        return wait_for_end(tool, dir, end, timeout_s);
    if (end >= 0)
        close(end);
    tool_complain(tool, "%s: %s%s%s", argument, err_name(error),
                  error == -EBUSY ? "; programs have files open in it, or work there: fuser -vm " : "",
                  error == -EBUSY ? dir : "");
    return TOOL_FAILED;
}

int cmd_umount(struct tool *tool, int argc, char **argv)
{
    uint32_t timeout_s = TIMEOUT_S;
    const struct option_spec options[] = {
        {"timeout", 0, OPTION_COUNT, "SECONDS", &timeout_s,
         "how long to wait for the end of its process (default: 30)"},
        {0},
    };
    int first,
        status = options_parse(tool, argc, argv, options,
                               "Takes away what weft mount has put at DIR, and returns when its process has "
                               "ended.",
                               &first);
    if (status >= 0)
        return status;
    if (first >= argc)
        return tool_usage_error(tool, "which directory?");
    status = TOOL_DONE;
    for (; first < argc; first++)
        if (umount_one(tool, argv[first], timeout_s))
            status = TOOL_FAILED;
    return status;
}
