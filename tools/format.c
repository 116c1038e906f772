/* SPDX-License-Identifier: Apache-2.0 */
/* How numbers, names and tables are written for people, and text for JSON. */
#include "tool.h"

#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { TABLE_COLUMNS_MAX = 16 };

struct table {
    char alignment[TABLE_COLUMNS_MAX + 1];
    size_t columns;
    size_t rows, room;
    char **cells; /* rows * columns */
};

const char *format_bytes(char text[FORMAT_BYTES], uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    /* What would be rounded to 1024 is the next unit's 1. */
    while (value >= 1023.95 && unit < sizeof units / sizeof units[0] - 1) {
        value /= 1024;
        unit++;
    }
    /* Whole values need no fraction. */
    int digits = unit == 0 || value >= 99.95 || value == (double)(uint64_t)value ? 0 : 1;
    snprintf(text, FORMAT_BYTES, "%.*f %s", digits, value, units[unit]);
    return text;
}

const char *format_mode(char text[FORMAT_MODE], uint32_t mode)
{
    static const char letters[] = "rwxrwxrwx";
    text[0] = S_ISDIR(mode)    ? 'd'
              : S_ISLNK(mode)  ? 'l'
              : S_ISREG(mode)  ? '-'
              : S_ISFIFO(mode) ? 'p'
              : S_ISCHR(mode)  ? 'c'
              : S_ISBLK(mode)  ? 'b'
              : S_ISSOCK(mode) ? 's'
                               : '?';
    for (unsigned i = 0; i < 9; i++)
        text[1 + i] = mode & (0400u >> i) ? letters[i] : '-';
    if (mode & S_ISUID)
        text[3] = mode & S_IXUSR ? 's' : 'S';
    if (mode & S_ISGID)
        text[6] = mode & S_IXGRP ? 's' : 'S';
    if (mode & S_ISVTX)
        text[9] = mode & S_IXOTH ? 't' : 'T';
    text[10] = 0;
    return text;
}

const char *format_time(char text[FORMAT_TIME], int64_t ns, bool long_form)
{
    time_t seconds = (time_t)(ns / 1000000000);
    long rest = (long)(ns % 1000000000);
    struct tm parts;
    if (rest < 0) {
        rest += 1000000000;
        seconds--;
    }
    size_t length = 0;
    if (localtime_r(&seconds, &parts))
        length = strftime(text, FORMAT_TIME, "%Y-%m-%d %H:%M:%S", &parts);
    if (length == 0) {
        snprintf(text, FORMAT_TIME, "%lld", (long long)seconds);
    } else if (long_form) {
        length += (size_t)snprintf(text + length, FORMAT_TIME - length, ".%09ld", rest);
        strftime(text + length, FORMAT_TIME - length, " %z", &parts);
    }
    return text;
}

const char *format_duration(char text[FORMAT_BYTES], double seconds)
{
    if (!(seconds < 359999)) {
        snprintf(text, FORMAT_BYTES, "--:--");
        return text;
    }
    unsigned whole = (unsigned)(seconds + 0.5);
    if (whole >= 3600)
        snprintf(text, FORMAT_BYTES, "%u:%02u:%02u", whole / 3600, whole / 60 % 60, whole % 60);
    else
        snprintf(text, FORMAT_BYTES, "%u:%02u", whole / 60, whole % 60);
    return text;
}

void format_name(FILE *stream, const char *name)
{
    bool terminal = isatty(fileno(stream));
    for (const unsigned char *byte = (const unsigned char *)name; *byte; byte++)
        fputc(terminal && (*byte < 0x20 || *byte == 0x7f) ? '?' : *byte, stream);
}

const char *format_user(char text[FORMAT_BYTES], uint32_t uid)
{
    const struct passwd *entry = getpwuid(uid);
    if (entry)
        snprintf(text, FORMAT_BYTES, "%s", entry->pw_name);
    else
        snprintf(text, FORMAT_BYTES, "%u", uid);
    return text;
}

const char *format_group(char text[FORMAT_BYTES], uint32_t gid)
{
    const struct group *entry = getgrgid(gid);
    if (entry)
        snprintf(text, FORMAT_BYTES, "%s", entry->gr_name);
    else
        snprintf(text, FORMAT_BYTES, "%u", gid);
    return text;
}

void format_layout_print(const struct weft_layout *layout)
{
    char chunk[FORMAT_BYTES];
    printf("chunks of %llu bytes (%s), ", (unsigned long long)layout->chunk_size,
           format_bytes(chunk, layout->chunk_size));
    if (layout->stripe_count == 0)
        printf("over all groups");
    else if (layout->group_count)
        printf("over %u of %u groups", layout->stripe_count, layout->group_count);
    else
        printf("over %u group%s", layout->stripe_count, layout->stripe_count == 1 ? "" : "s");
    if (strcmp(layout->placement, "local") == 0)
        printf(" of the host of who makes them");
    else if (strncmp(layout->placement, "host:", 5) == 0)
        printf(" of host %s", layout->placement + 5);
    printf("%s%s\n", layout->pool[0] ? ", pool " : "", layout->pool);
}

/* ---- JSON ----------------------------------------------------------------- */

/* Length of the UTF-8 sequence at `text`, as jansson accepts it; 0 when there is none. */
static size_t utf8_length(const char *text)
{
    for (size_t length = 1; length <= 4; length++) {
        json_t *one = strnlen(text, length) == length ? json_stringn(text, length) : NULL;
        if (one) {
            json_decref(one);
            return length;
        }
    }
    return 0;
}

json_t *format_json_text(const char *text)
{
    json_t *json = json_string(text);
    if (json)
        return json;
    char *mended = malloc(3 * strlen(text) + 1);
    if (!mended)
        return NULL;
    size_t used = 0;
    while (*text) {
        size_t length = utf8_length(text);
        if (length) {
            memcpy(mended + used, text, length);
            used += length;
            text += length;
        } else {
            memcpy(mended + used, "\xef\xbf\xbd", 3);
            used += 3;
            text++;
        }
    }
    json = json_stringn(mended, used);
    free(mended);
    return json;
}

json_t *format_layout_json(const struct weft_layout *layout)
{
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o}", "chunk_size", (json_int_t)layout->chunk_size,
                     "stripe_count", (json_int_t)layout->stripe_count, "group_count",
                     (json_int_t)layout->group_count, "seed",
                     json_sprintf("0x%016llx", (unsigned long long)layout->seed), "pool",
                     format_json_text(layout->pool), "placement", format_json_text(layout->placement));
}

void format_json_print(json_t *json)
{
    json_dumpf(json, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(json);
}

/* ---- tables --------------------------------------------------------------- */

struct table *table_new(const char *alignment)
{
    struct table *table = calloc(1, sizeof *table);
    if (!table)
        return NULL;
    table->columns = strnlen(alignment, TABLE_COLUMNS_MAX);
    memcpy(table->alignment, alignment, table->columns);
    return table;
}

static bool table_grow(struct table *table)
{
    if (table->rows < table->room)
        return true;
    size_t room = table->room ? 2 * table->room : 16;
    char **cells = realloc(table->cells, room * table->columns * sizeof *cells);
    if (!cells)
        return false;
    table->cells = cells;
    table->room = room;
    return true;
}

void table_row(struct table *table, ...)
{
    if (!table || !table_grow(table))
        return;
    va_list list;
    va_start(list, table);
    char **row = table->cells + table->rows++ * table->columns;
    bool ended = false;
    for (size_t i = 0; i < table->columns; i++) {
        const char *cell = ended ? NULL : va_arg(list, const char *);
        ended = !cell;
        row[i] = strdup(cell ? cell : "");
    }
    va_end(list);
}

/* Columns that a text takes on a terminal: its characters, not its bytes. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void print_cell(FILE *stream, const char *cell, size_t width, bool to_the_right, bool last)
{
    int padding = (int)(width - width_of(cell));
    if (to_the_right)
        fprintf(stream, "%*s%s", padding, "", cell);
    else
        fprintf(stream, "%s%*s", cell, last ? 0 : padding, "");
    fputs(last ? "\n" : "  ", stream);
}

void table_free(struct table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->rows * table->columns; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table);
}

void table_print(struct table *table, FILE *stream)
{
    if (!table)
        return;
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < table->rows * table->columns; i++) {
        size_t width = table->cells[i] ? width_of(table->cells[i]) : 0;
        if (widths[i % table->columns] < width)
            widths[i % table->columns] = width;
    }
    for (size_t i = 0; i < table->rows * table->columns; i++) {
        size_t column = i % table->columns;
        print_cell(stream, table->cells[i] ? table->cells[i] : "", widths[column],
                   table->alignment[column] == 'r', column == table->columns - 1);
    }
    table_free(table);
}
