/* SPDX-License-Identifier: Apache-2.0 */
/* Options: one table of a command gives the parser, --help and the completion. */
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"
#include "err.h"

enum { OPTION_COUNT_MAX = 32, CODE_HELP = 1000, CODE_LIST, CODE_FIRST = 1002 };

static size_t count_of(const struct option_spec *options)
{
    size_t count = 0;
    while (options[count].name)
        count++;
    return count;
}

static void print_option(char letter, const char *name, const char *argument, const char *help)
{
    char left[64];
    snprintf(left, sizeof left, "  %c%c%c --%s%s%s", letter ? '-' : ' ', letter ? letter : ' ',
             letter ? ',' : ' ', name, argument && *argument != '[' ? " " : "", argument ? argument : "");
    printf("%-28s", left);
    if (strlen(left) > 26)
        printf("\n%28s", "");
    for (const char *line = help; *line;) {
        size_t length = strcspn(line, "\n");
        printf("%.*s\n", (int)length, line);
        line += length;
        if (*line)
            printf("%28s", ++line ? "" : "");
    }
}

static void print_help(const struct tool_command *command, const struct option_spec *options,
                       const char *about)
{
    printf("Usage: weft %s%s%s\n\n%s\n\nOptions:\n", command->name, *command->arguments ? " " : "",
           command->arguments, about);
    for (size_t i = 0; options[i].name; i++)
        print_option(options[i].letter, options[i].name, options[i].argument, options[i].help);
    print_option(0, "help", NULL, "show this text");
}

/* Hidden; what the shell's completion offers. */
static void print_list(const struct option_spec *options)
{
    for (size_t i = 0; options[i].name; i++) {
        if (options[i].letter)
            printf("-%c\n", options[i].letter);
        printf("--%s%s\n", options[i].name, options[i].argument ? "=" : "");
    }
    puts("--help");
}

static int take_count(const char *text, uint32_t *value)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (errno || end == text || *end || *text < '0' || *text > '9' || number == 0 || number > UINT32_MAX)
        return -EINVAL;
    *value = (uint32_t)number;
    return 0;
}

static int check_chunk(struct tool *tool, const struct option_spec *option)
{
    uint64_t size = *(const uint64_t *)option->value;
    if (size >= WEFT_CHUNK_BYTES_MIN && size <= WEFT_CHUNK_BYTES_MAX)
        return 0;
    return tool_usage_error(tool, "--%s is at least %u and at most %u bytes", option->name,
                            WEFT_CHUNK_BYTES_MIN, WEFT_CHUNK_BYTES_MAX);
}

/* Where the option's value goes. */
static int take(struct tool *tool, const struct option_spec *option, const char *text)
{
    switch (option->kind) {
    case OPTION_FLAG:
        *(bool *)option->value = true;
        return 0;
    case OPTION_TEXT:
        *(const char **)option->value = text;
        return 0;
    case OPTION_MAYBE:
        *(const char **)option->value = text ? text : "-";
        return 0;
    case OPTION_SIZE:
    case OPTION_CHUNK:
        if (conf_parse_size(text, option->value) == 0)
            return option->kind == OPTION_CHUNK ? check_chunk(tool, option) : 0;
        return tool_usage_error(tool, "--%s wants a size as 65536, 64K, 1M or 2G, not \"%s\"", option->name,
                                text);
    case OPTION_COUNT:
        if (take_count(text, option->value) == 0)
            return 0;
        return tool_usage_error(tool, "--%s wants a number of at least 1, not \"%s\"", option->name, text);
    }
    return 0;
}

static const struct option_spec *spec_of(const struct option_spec *options, int code)
{
    if (code >= CODE_FIRST)
        return &options[code - CODE_FIRST];
    for (size_t i = 0; options[i].name; i++)
        if (options[i].letter && options[i].letter == code)
            return &options[i];
    return NULL;
}

/* What was wrong with argv, in getopt's own case by case. */
static int complain_about(struct tool *tool, int code, char **argv, const struct option_spec *options)
{
    const char *word = argv[optind - 1];
    if (code == ':') {
        const struct option_spec *option = spec_of(options, optopt);
        return tool_usage_error(tool, "--%s wants an argument: %s", option ? option->name : "?",
                                option ? option->argument : "?");
    }
    if (optopt >= CODE_FIRST)
        return tool_usage_error(tool, "--%s takes no argument", options[optopt - CODE_FIRST].name);
    if (optopt && optopt < CODE_HELP)
        return tool_usage_error(tool, "there is no option -%c", optopt);
    return tool_usage_error(tool, "there is no option %s", word);
}

int options_parse(struct tool *tool, int argc, char **argv, const struct option_spec *options,
                  const char *about, int *first)
{
    struct option longs[OPTION_COUNT_MAX + 3] = {{NULL, 0, NULL, 0}};
    char shorts[2 * OPTION_COUNT_MAX + 2] = ":";
    size_t count = count_of(options), used = 1;

    for (size_t i = 0; i < count && i < OPTION_COUNT_MAX; i++) {
        int takes = options[i].kind == OPTION_MAYBE ? optional_argument
                    : options[i].argument           ? required_argument
                                                    : no_argument;
        longs[i] = (struct option){options[i].name, takes, NULL, CODE_FIRST + (int)i};
        if (options[i].letter) {
            shorts[used++] = options[i].letter;
            if (options[i].argument)
                shorts[used++] = ':';
        }
    }
    shorts[used] = 0;
    longs[count] = (struct option){"help", no_argument, NULL, CODE_HELP};
    longs[count + 1] = (struct option){"list-options", no_argument, NULL, CODE_LIST};

    int code;
    optind = 1;
    while ((code = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        if (code == CODE_HELP || code == CODE_LIST) {
            if (code == CODE_HELP)
                print_help(tool->command, options, about);
            else
                print_list(options);
            return TOOL_DONE;
        }
        if (code == '?' || code == ':')
            return complain_about(tool, code, argv, options);
        const struct option_spec *option = spec_of(options, code);
        if (option && take(tool, option, optarg))
            return TOOL_USAGE;
    }
    *first = optind;
    return -1;
}

bool options_parse_id(const char *text, bool is_group, uint32_t *id)
{
    const struct passwd *user = is_group ? NULL : getpwnam(text);
    const struct group *group = is_group ? getgrnam(text) : NULL;
    if (user || group) {
        *id = user ? user->pw_uid : group->gr_gid;
        return true;
    }
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    *id = (uint32_t)number;
    return errno == 0 && *text >= '0' && *text <= '9' && *end == 0 && number < UINT32_MAX;
}
