/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "err.h"

#define LINE_MAX_BYTES 2048u

/* Set before threads start, only read later. */
static struct {
    enum log_level level;
    bool journal;
    bool system;
    char who[64];
} logger = {.level = LOG_LEVEL_WARN, .who = "weft"};

static const struct {
    const char *word;
    int priority; /* syslog's */
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", 3},
    [LOG_LEVEL_WARN] = {"warn", 4},
    [LOG_LEVEL_INFO] = {"info", 6},
    [LOG_LEVEL_DEBUG] = {"debug", 7},
};

/* systemd names the journal's socket by device and inode; a process started
 * from a service with its stderr sent elsewhere inherits the variable too. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat stat;
    char *rest;
    if (!stream || fstat(STDERR_FILENO, &stat) != 0)
        return false;
    unsigned long long device = strtoull(stream, &rest, 10);
    if (*rest != ':')
        return false;
    unsigned long long inode = strtoull(rest + 1, &rest, 10);
    return *rest == '\0' && device == stat.st_dev && inode == stat.st_ino;
}

void log_init(const char *who, enum log_level level)
{
    snprintf(logger.who, sizeof logger.who, "%s", who);
    logger.level = level;
    logger.journal = stderr_is_journal();
}

void log_to_system(void)
{
    openlog(logger.who, LOG_PID, LOG_DAEMON);
    logger.system = true;
}

int log_level_parse(const char *word, enum log_level *level)
{
    for (unsigned i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(word, levels[i].word) == 0) {
            *level = (enum log_level)i;
            return 0;
        }
    }
    return err_set(-EINVAL, "\"%s\" is no log level; they are error, warn, info and debug", word);
}

static size_t put_head(char *line, size_t size, enum log_level level)
{
    int length;
    if (logger.journal) {
        length = snprintf(line, size, "<%d>%s: ", levels[level].priority, logger.who);
    } else {
        struct timespec now;
        struct tm utc;
        char stamp[32];
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &utc);
        strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
        length = snprintf(line, size, "%s.%03ldZ %s: %s: ", stamp, now.tv_nsec / 1000000, logger.who,
                          levels[level].word);
    }
    return length < 0 ? 0 : (size_t)length;
}

/* A message may quote what a peer sent: it must neither fake another line nor
 * steer a terminal. */
static void make_one_line(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = *text == '\n' || *text == '\t' ? ' ' : '?';
    }
}

void log_write(enum log_level level, const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    int saved_errno = errno;
    va_list arguments;

    if (level > logger.level)
        return;
    size_t head = put_head(line, sizeof line, level);
    size_t room = sizeof line - head - 1; /* the newline's place */
    va_start(arguments, format);
    int wanted = vsnprintf(line + head, room, format, arguments);
    va_end(arguments);
    if (wanted < 0)
        line[head] = '\0';
    make_one_line(line + head);
    if (logger.system) {
        syslog(levels[level].priority, "%s", line + head);
        errno = saved_errno;
        return;
    }
    size_t length = head + strlen(line + head);
    if (wanted >= 0 && (size_t)wanted >= room)
        memcpy(line + length - 3, "...", 3);
    line[length++] = '\n';
    /* Where stderr is broken there is nobody to tell. */
    for (const char *at = line; length > 0;) {
        ssize_t done = write(STDERR_FILENO, at, length);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            break;
        at += done;
        length -= (size_t)done;
    }
    errno = saved_errno;
}
