/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h: the one logger. Lines go to stderr; under systemd they carry the
 * journal's priority prefix, else a time stamp. A message is one line and is
 * written by one call, so lines of threads do not mix. A process that has gone
 * to the background gives them to the system's log.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

/* NONE is for programs that make errors by the thousand. */
enum log_level { LOG_LEVEL_NONE = -1, LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* `who` stands in each line ("weft-storaged s0"); it is copied. Call once, before
 * threads start. Without it, level is WARN. */
void log_init(const char *who, enum log_level level);

/* From now on to syslog(3), not to stderr. */
void log_to_system(void);

/* "error", "warn", "info" or "debug"; -EINVAL for another word. */
int log_level_parse(const char *word, enum log_level *level);

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
