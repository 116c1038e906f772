/* SPDX-License-Identifier: Apache-2.0 */
/* The bar that a long copy shows on a terminal. */
#include "tool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { BAR_COLUMNS = 24, LABEL_COLUMNS_MAX = 30, LINE_COLUMNS_MAX = 240 };
#define DRAW_EVERY_S  0.1
#define STEPS_AFTER_S 1.0
#define RATE_OVER_S   2.0 /* the shown rate forgets what is older than about this */

struct progress {
    struct tool *tool;
    uint64_t total;
    uint64_t done;
    double start_s, drawn_s;
    uint64_t drawn_done;
    double rate; /* bytes per second, smoothed; 0 until known */
    unsigned files;
    bool on_terminal;
    bool visible;
    bool shown_once;
    bool steps; /* not bytes */
    char label[256];
};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

struct progress *progress_new(struct tool *tool, uint64_t total, bool quiet)
{
    if (quiet || !isatty(STDERR_FILENO))
        return NULL;
    struct progress *progress = calloc(1, sizeof *progress);
    if (!progress)
        return NULL;
    progress->tool = tool;
    progress->total = total;
    progress->on_terminal = true;
    progress->start_s = progress->drawn_s = now_s();
    tool->progress = progress;
    return progress;
}

struct progress *progress_new_steps(struct tool *tool, uint64_t total, bool quiet)
{
    struct progress *progress = progress_new(tool, total, quiet);
    if (progress)
        progress->steps = true;
    return progress;
}

void progress_label(struct progress *progress, const char *label)
{
    if (!progress)
        return;
    flockfile(stderr);
    progress->files++;
    size_t length = 0;
    for (; label[length] && length < sizeof progress->label - 1; length++)
        progress->label[length] = (unsigned char)label[length] < 0x20 ? '?' : label[length];
    progress->label[length] = 0;
    funlockfile(stderr);
}

static unsigned terminal_columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col == 0)
        return 80;
    return size.ws_col < LINE_COLUMNS_MAX ? size.ws_col : LINE_COLUMNS_MAX;
}

static void update_rate(struct progress *progress, double now)
{
    double span = now - progress->drawn_s;
    if (span <= 0)
        return;
    double latest = (double)(progress->done - progress->drawn_done) / span;
    double weight = span / (span + RATE_OVER_S);
    /* The first seconds count from the start: a smoothed rate would begin at 0. */
    if (now - progress->start_s < RATE_OVER_S)
        progress->rate = (double)progress->done / (now - progress->start_s);
    else
        progress->rate += (latest - progress->rate) * weight;
    progress->drawn_s = now;
    progress->drawn_done = progress->done;
}

/* "[####----]  45%  1.2 GiB of 2.6 GiB  512 MiB/s  ETA 0:03" */
static void put_known(const struct progress *progress, char *line, size_t size)
{
    char done[FORMAT_BYTES], total[FORMAT_BYTES], rate[FORMAT_BYTES], eta[FORMAT_BYTES];
    double part = progress->total ? (double)progress->done / (double)progress->total : 1;
    if (part > 1)
        part = 1;
    char bar[BAR_COLUMNS + 1];
    int full = (int)(part * BAR_COLUMNS);
    memset(bar, '#', (size_t)full);
    memset(bar + full, '-', (size_t)(BAR_COLUMNS - full));
    bar[BAR_COLUMNS] = 0;
    uint64_t left = progress->total > progress->done ? progress->total - progress->done : 0;
    if (progress->steps)
        snprintf(line, size, "[%s] %3d%%", bar, (int)(part * 100));
    else
        snprintf(line, size, "[%s] %3d%%  %s of %s  %s/s  ETA %s", bar, (int)(part * 100),
                 format_bytes(done, progress->done), format_bytes(total, progress->total),
                 format_bytes(rate, (uint64_t)progress->rate),
                 format_duration(eta, progress->rate > 0 ? (double)left / progress->rate : 1e9));
}

static void draw(struct progress *progress)
{
    char line[2 * LINE_COLUMNS_MAX + sizeof progress->label], text[LINE_COLUMNS_MAX + 1];
    char done[FORMAT_BYTES], rate[FORMAT_BYTES];
    if (progress->total != UINT64_MAX)
        put_known(progress, text, sizeof text);
    else
        snprintf(text, sizeof text, "%s  %s/s", format_bytes(done, progress->done),
                 format_bytes(rate, (uint64_t)progress->rate));
    /* One column stays free: a full line would wrap. */
    size_t columns = terminal_columns() - 1, used = strlen(text) + 2;
    size_t room = columns > used ? columns - used : 0;
    if (room > LABEL_COLUMNS_MAX)
        room = LABEL_COLUMNS_MAX;
    size_t length = strlen(progress->label);
    const char *label = progress->label + (length > room ? length - room : 0);
    while ((*label & 0xc0) == 0x80)
        label++; /* not in the middle of a character */
    int columns_int = (int)columns;
    snprintf(line, sizeof line, "%s%s%s", label, *label ? "  " : "", text);
    fprintf(stderr, "\r%.*s\033[K", columns_int, line);
    fflush(stderr);
    progress->visible = progress->shown_once = true;
}

void progress_add(struct progress *progress, uint64_t bytes)
{
    if (!progress)
        return;
    flockfile(stderr);
    progress->done += bytes;
    double now = now_s();
    bool due = !progress->steps || now - progress->start_s >= STEPS_AFTER_S;
    if (due && now - progress->drawn_s >= DRAW_EVERY_S) {
        update_rate(progress, now);
        draw(progress);
    }
    funlockfile(stderr);
}

void progress_hide(struct progress *progress)
{
    if (!progress)
        return;
    flockfile(stderr);
    if (progress->visible) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        progress->visible = false;
    }
    funlockfile(stderr);
}

void progress_free(struct progress *progress)
{
    if (!progress)
        return;
    progress_hide(progress);
    if (progress->shown_once && !progress->steps) {
        char done[FORMAT_BYTES], rate[FORMAT_BYTES];
        double span = now_s() - progress->start_s;
        fprintf(stderr, "%s in %.1f s, %s/s", format_bytes(done, progress->done), span,
                format_bytes(rate, span > 0 ? (uint64_t)((double)progress->done / span) : 0));
        if (progress->files > 1)
            fprintf(stderr, ", %u files", progress->files);
        fputc('\n', stderr);
    }
    progress->tool->progress = NULL;
    free(progress);
}
