/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hints_page.c: makes the manual page weft-hints(7), when Weft is built, out of a
 * template on standard input and the table of hints. A line "@hints" becomes the
 * list of all hints, "@others" that of the hints without a meaning here.
 */
#include <stdio.h>
#include <string.h>

#include "hint_set.h"

enum { COLUMNS = 80 };

/* Text of the table as mdoc text: each sentence begins a line, no word begins a
 * macro, and a backslash is one. */
static void print_text(const char *text)
{
    size_t column = 0;
    while (*text) {
        size_t length = strcspn(text, " ");
        bool ends_sentence = length > 0 && text[length - 1] == '.' && text[length] != '\0';
        if (column > 0 && column + 1 + length > COLUMNS) {
            putchar('\n');
            column = 0;
        }
        if (column > 0)
            putchar(' ');
        else if (*text == '.' || *text == '\'')
            fputs("\\&", stdout);
        for (size_t i = 0; i < length; i++)
            fputs(text[i] == '\\' ? "\\e" : (char[]){text[i], '\0'}, stdout);
        column += length + 1;
        if (ends_sentence) {
            putchar('\n');
            column = 0;
        }
        text += length + (text[length] == ' ');
    }
    if (column > 0)
        putchar('\n');
}

/* "auto|two_phase" as alternatives, a word in capitals as an argument. */
static void print_form(const char *form)
{
    bool is_word = strchr(form, '|') == NULL && form[0] >= 'A' && form[0] <= 'Z';
    if (*form == '\0')
        return;
    printf(" Ns = Ns %s ", is_word ? "Ar" : "Li");
    for (; *form; form++)
        fputs(*form == '|' ? " | " : (char[]){*form, '\0'}, stdout);
}

static void print_hint(enum hint_id id)
{
    const struct hint_row *row = &hint_rows[id];
    char accepted[256];
    hint_accepted(id, accepted, sizeof accepted);
    printf(".It Li %s", row->name);
    print_form(hint_form(id));
    putchar('\n');
    print_text(row->text);
    if (row->type == HINT_TOLD)
        return;
    puts(".Pp");
    if (row->type != HINT_CHOICE && row->type != HINT_BOOLEAN)
        printf("Value: %s.\n", accepted);
    if (*row->preset)
        printf("Default:\n.Li %s .\n", row->preset);
    else
        puts("Default: none.");
    printf("Takes effect %s.\n", hint_when_name(row->when));
    if (row->place == HINT_IN_LAYOUT)
        puts("A directory keeps it as its layout.");
    else if (row->place == HINT_IN_NOWHERE)
        puts("A directory can't keep it.");
}

static void print_hints(void)
{
    puts(".Bl -tag -width Ds");
    for (enum hint_id id = 0; id < HINT_COUNT; id++)
        print_hint(id);
    puts(".El");
}

static void print_others(void)
{
    puts(".Bl -tag -width romio_min_fdomain_size -compact");
    for (size_t i = 0; i < HINT_OTHER_COUNT; i++) {
        printf(".It Li %s\n", hint_others[i].name);
        print_text(hint_others[i].text);
    }
    puts(".El");
}

int main(void)
{
    char line[512];
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (strcmp(line, "@hints\n") == 0)
            print_hints();
        else if (strcmp(line, "@others\n") == 0)
            print_others();
        else
            fputs(line, stdout);
    }
    return ferror(stdin) || fflush(stdout) || ferror(stdout) ? 1 : 0;
}
