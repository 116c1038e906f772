/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool.h: what the parts of the `weft` command share, grouped under the file
 * that defines it.
 *
 * Conventions of the command
 *  - Paths that begin with "weft:" are in the cluster; all others are local.
 *  - Exit status: 0 done, 1 something failed, 2 wrong usage.
 *  - Threads: workers.c runs parts of a command. stderr's own lock is the one of
 *    everything that is shown there: complaints, progress, and the status.
 *  - Errors go to stderr as "weft COMMAND: PATH: what: what to do"; a command
 *    with several arguments goes on with the next one and exits with 1.
 */
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "weft/weft.h"

enum { TOOL_DONE = 0, TOOL_FAILED = 1, TOOL_USAGE = 2 };

struct progress;

/* One run of the command. */
struct tool {
    const struct tool_command *command;
    const char *conf;          /* --conf; NULL: $WEFT_CONF or the default path */
    weft_session_t *session;   /* made by tool_session() when first needed */
    struct progress *progress; /* what must be wiped before a line goes to stderr; or NULL */
    int status;                /* becomes TOOL_FAILED with the first complaint */
};

/* ---- weft.c: the table of commands -------------------------------------- */

typedef int tool_command_fn(struct tool *tool, int argc, char **argv);

struct tool_command {
    const char *name;
    tool_command_fn *run;
    const char *arguments; /* as in "Usage: weft NAME ARGUMENTS" */
    const char *summary;   /* one line, for the list of commands */
    bool on_files;         /* listed under files, not under clusters */
};

tool_command_fn cmd_up, cmd_down, cmd_env, cmd_status, cmd_topo, cmd_df, cmd_run, cmd_mount, cmd_umount;
tool_command_fn cmd_net;
tool_command_fn cmd_ls, cmd_stat, cmd_mkdir, cmd_rm, cmd_mv, cmd_ln, cmd_touch, cmd_truncate;
tool_command_fn cmd_chmod, cmd_chown, cmd_cp, cmd_cat, cmd_layout, cmd_hints, cmd_verify, cmd_plan, cmd_usage;

/* ---- report.c: complaints, and the session ------------------------------- */

/* "weft COMMAND: text"; the status becomes TOOL_FAILED. */
void tool_complain(struct tool *tool, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same without a text, for what was told already. */
void tool_failed(struct tool *tool);
/* "weft COMMAND: PATH: text" for a failed call of the library on the path in
 * the cluster; `error` is its return value. */
void tool_complain_weft(struct tool *tool, const char *path, int error);
/* What the library says of its latest failure, without the name of its call. */
const char *tool_library_text(int error);
/* As tool_complain_weft() for a failed system call on a local path; `error` is the errno. */
void tool_complain_local(struct tool *tool, const char *path, int error);
/* Complains and returns TOOL_USAGE. */
int tool_usage_error(struct tool *tool, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The session, connected when first asked for; NULL after a complaint. */
weft_session_t *tool_session(struct tool *tool);

/* Flushes stdout; a full disk or a closed pipe is a failure too. */
void tool_finish_output(struct tool *tool);

/* Asks to be told of SIGINT, SIGTERM and SIGHUP by tool_interrupted(), so that
 * unfinished things can be removed. The second signal kills. */
void tool_catch_interrupts(void);
bool tool_interrupted(void);

/* ---- options.c ----------------------------------------------------------- */

enum option_kind {
    OPTION_FLAG,  /* bool */
    OPTION_TEXT,  /* const char * */
    OPTION_MAYBE, /* const char *: "--name=TEXT", or "-" for "--name" alone; its argument is "[=TEXT]" */
    OPTION_SIZE,  /* uint64_t, with K, M, G, T */
    OPTION_CHUNK, /* uint64_t, a size that a chunk can have */
    OPTION_COUNT, /* uint32_t, at least 1 */
};

/* One option; the array ends with one whose name is NULL. */
struct option_spec {
    const char *name; /* without the dashes */
    char letter;      /* 0: only the long form */
    enum option_kind kind;
    const char *argument; /* its name in --help; NULL for a flag */
    void *value;          /* where it goes; untouched when the option is not given */
    const char *help;     /* lines */
};

/* What every command that talks to a cluster takes. */
#define OPTION_CONF(tool)                                                                 \
    {                                                                                     \
        "conf", 0, OPTION_TEXT, "FILE", &(tool)->conf, "the cluster's configuration file" \
    }

/*
 * Takes the options out of argv; *first is then the index of the first other
 * argument. Returns -1 to go on, or the status to exit with (--help, or wrong
 * usage). `about` is the text between usage and options in --help.
 */
int options_parse(struct tool *tool, int argc, char **argv, const struct option_spec *options,
                  const char *about, int *first);
/* A user, or a group: a name, or a number. */
bool options_parse_id(const char *text, bool is_group, uint32_t *id);

/* ---- format.c: how things are written ------------------------------------ */

enum { FORMAT_BYTES = 32, FORMAT_MODE = 11, FORMAT_TIME = 40 };

/* "1.5 GiB"; at most FORMAT_BYTES with the final NUL. Returns `text`. */
const char *format_bytes(char text[FORMAT_BYTES], uint64_t bytes);
/* "-rw-r--r--" */
const char *format_mode(char text[FORMAT_MODE], uint32_t mode);
/* "2025-01-31 12:00:00" local time; long_form adds nanoseconds and zone. */
const char *format_time(char text[FORMAT_TIME], int64_t ns, bool long_form);
/* "1:02:03", "0:05" */
const char *format_duration(char text[FORMAT_BYTES], double seconds);
/* A name as it is, or on a terminal with control characters made visible. */
void format_name(FILE *stream, const char *name);
/* Names of a user and of a group, or their numbers. */
const char *format_user(char text[FORMAT_BYTES], uint32_t uid);
const char *format_group(char text[FORMAT_BYTES], uint32_t gid);

/* "chunks of 1048576 bytes (1 MiB), over 4 of 4 groups, pool main", to stdout. */
void format_layout_print(const struct weft_layout *layout);

/* A JSON string; bytes that are not UTF-8 become U+FFFD. */
json_t *format_json_text(const char *text);
json_t *format_layout_json(const struct weft_layout *layout);
/* Writes it to stdout with a newline, and gives it up. */
void format_json_print(json_t *json);

/* A table with columns as wide as their longest cell. `alignment` has one
 * letter a column, 'l' or 'r'. Cells are copied. */
struct table;
struct table *table_new(const char *alignment);
void table_row(struct table *table, ...) __attribute__((sentinel));
void table_print(struct table *table, FILE *stream); /* and frees it */
void table_free(struct table *table);

/* ---- place.c: a path, here or in the cluster ------------------------------ */

struct place {
    bool in_cluster;
    char *path; /* without "weft:" */
};

struct place_list; /* a directory being read */

/* From an argument; -1 after a complaint. */
int place_from(struct tool *tool, struct place *place, const char *argument);
int place_join(const struct place *directory, const char *name, struct place *result);
void place_free(struct place *place);
/* The last component; "" for the root. Caller frees. */
char *place_base_name(const struct place *place);
/* As the user writes it, "weft:/a" or "a"; caller frees. */
char *place_text(const struct place *place);

/* All return 0 or a negative errno and complain about nothing. */
int place_stat(struct tool *tool, const struct place *place, bool follow, struct weft_attr *attr);
int place_mkdir(struct tool *tool, const struct place *place, mode_t mode);
int place_unlink(struct tool *tool, const struct place *place);
int place_symlink(struct tool *tool, const char *target, const struct place *place);
int place_chmod(struct tool *tool, const struct place *place, mode_t mode);
int place_set_times(struct tool *tool, const struct place *place, const struct weft_attr *attr);
/* The link's text; caller frees. */
int place_readlink(struct tool *tool, const struct place *place, char **target);
int place_list_open(struct tool *tool, const struct place *place, struct place_list **list);
int place_list_next(struct place_list *list, const char **name); /* 1, 0 at the end */
void place_list_close(struct place_list *list);
/* The complaint that fits the place. */
void place_complain(struct tool *tool, const struct place *place, int error);

/* The path of an argument that must be in the cluster; NULL after a complaint
 * (the status is then TOOL_USAGE). Not to be freed. */
const char *place_cluster_path(struct tool *tool, const char *argument);

/* ---- progress.c ----------------------------------------------------------- */

/* Shows nothing unless stderr is a terminal and `quiet` is not set. `total`
 * in bytes; UINT64_MAX when nobody knows. NULL when memory is out, which all
 * the others accept. */
struct progress *progress_new(struct tool *tool, uint64_t total, bool quiet);
/* For work that is counted in steps, not bytes: it shows after a second, and leaves no line. */
struct progress *progress_new_steps(struct tool *tool, uint64_t total, bool quiet);
void progress_label(struct progress *progress, const char *label);
void progress_add(struct progress *progress, uint64_t bytes);
void progress_hide(struct progress *progress); /* until the next progress_add() */
/* Wipes the bar; leaves one line with the sum when something was shown. */
void progress_free(struct progress *progress);

/* ---- workers.c: several things at a time ---------------------------------- */

/* Threads that run what is given to them, in any order. With NULL for the
 * workers (no memory, no threads) all of it is run by the caller. */
struct workers;
typedef void work_fn(void *arg);

struct workers *workers_new(unsigned count);
void workers_add(struct workers *workers, work_fn *run, void *arg); /* waits while the queue is full */
void workers_drain(struct workers *workers);                        /* until all of it is done */
void workers_free(struct workers *workers);                         /* does all that is queued first */

/* ---- copy.c: moving bytes ------------------------------------------------- */

#define COPY_SIZE_UNKNOWN UINT64_MAX

/* One side of a copy: a file of the cluster, or a descriptor that is read or
 * written from where it stands. */
struct copy_end {
    weft_file_t *file; /* NULL: the descriptor */
    int fd;
};

struct copy_job {
    struct copy_end from, to;
    uint64_t size;      /* bytes to copy, or COPY_SIZE_UNKNOWN: until the end */
    uint64_t piece;     /* bytes of one read or write; see copy_piece() */
    uint32_t in_flight; /* pieces under way at a time */
    bool keeps_holes;   /* the size is known, and the destination is a file that is empty */
    /* results */
    uint64_t copied;     /* bytes that arrived, from the beginning */
    bool failed_reading; /* which side the error belongs to */
};

/* How many bytes to move at a time, for a file with chunks of that size. */
uint64_t copy_piece(uint64_t chunk_size);
/* 0, or a negative errno; -EINTR after tool_interrupted(); -ENODATA when the
 * source ended before `size`. Everything that was under way has ended. */
int copy_run(struct tool *tool, struct copy_job *job);

#endif
