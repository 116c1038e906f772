/* SPDX-License-Identifier: Apache-2.0 */
/* What goes to stderr, and what is needed before anything can go wrong. */
#include "tool.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"

static volatile sig_atomic_t interrupted;

/* Until end_line() nobody else writes to stderr. */
static void begin_line(struct tool *tool)
{
    flockfile(stderr);
    progress_hide(tool->progress);
    fflush(stdout);
    fprintf(stderr, "weft %s: ", tool->command->name);
}

static void end_line(struct tool *tool, int status)
{
    if (tool->status < status)
        tool->status = status;
    funlockfile(stderr);
}

void tool_complain(struct tool *tool, const char *format, ...)
{
    va_list list;
    begin_line(tool);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    end_line(tool, TOOL_FAILED);
}

int tool_usage_error(struct tool *tool, const char *format, ...)
{
    va_list list;
    begin_line(tool);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fprintf(stderr, "\nTry weft %s --help.\n", tool->command->name);
    end_line(tool, TOOL_USAGE);
    return TOOL_USAGE;
}

/* What can be done about an error, where that does not depend on the command. */
static const char *remedy_of(int error)
{
    switch (-error) {
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ECONNRESET:
        return "is the cluster running? weft status tells";
    case ETIMEDOUT:
        return "a server does not answer; weft status tells which";
    case ENOSPC:
        return "weft df tells what is in use";
    case ENOTEMPTY:
        return "weft rm -r removes a directory with all in it";
    default:
        return NULL;
    }
}

/* The library's text without the name of its call, which the user never made. */
const char *tool_library_text(int error)
{
    const char *text = weft_error();
    if (strncmp(text, "weft_", 5) == 0) {
        const char *colon = strchr(text, ':');
        if (colon && colon[1] == ' ' && strcspn(text, " ") > (size_t)(colon - text))
            text = colon + 2;
    }
    return *text ? text : err_name(error);
}

void tool_failed(struct tool *tool)
{
    flockfile(stderr);
    end_line(tool, TOOL_FAILED);
}

void tool_complain_weft(struct tool *tool, const char *path, int error)
{
    const char *text = tool_library_text(error);
    const char *remedy = remedy_of(error);
    /* The text may begin with the path, or with that of another file that is to blame. */
    bool names_path = text[0] == '/';
    bool shows_path = path && !names_path;
    if (strchr(text, ';') || strchr(text, '?'))
        remedy = NULL; /* the library said already what to do */
    tool_complain(tool, "%s%s%s%s%s%s", shows_path || names_path ? WEFT_PATH_PREFIX : "",
                  shows_path ? path : "", shows_path ? ": " : "", text, remedy ? ": " : "",
                  remedy ? remedy : "");
}

void tool_complain_local(struct tool *tool, const char *path, int error)
{
    tool_complain(tool, "%s: %s", path, err_name(-error));
}

weft_session_t *tool_session(struct tool *tool)
{
    if (tool->session)
        return tool->session;
    int error = weft_connect(tool->conf, &tool->session);
    if (error == 0)
        return tool->session;
    tool->session = NULL;
    const char *remedy = "";
    if (error == -ENOENT && !tool->conf && !getenv("WEFT_CONF"))
        remedy = "\nWEFT_CONF is not set. After weft up --dir DIR: eval \"$(weft env --dir DIR)\"";
    tool_complain(tool, "%s%s", tool_library_text(error), remedy);
    return NULL;
}

void tool_finish_output(struct tool *tool)
{
    errno = 0;
    if (fflush(stdout) || ferror(stdout)) {
        /* Whoever closed a pipe (head, less) has seen enough. */
        if (errno != EPIPE)
            tool_complain(tool, "standard output: %s", err_name(errno ? -errno : -EIO));
        else if (tool->status == TOOL_DONE)
            tool->status = TOOL_FAILED;
        clearerr(stdout);
    }
}

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

void tool_catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction old;
        /* What nohup or a shell script ignores stays ignored. */
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
    }
}

bool tool_interrupted(void)
{
    return interrupted;
}
