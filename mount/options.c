/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of weft-mount, in the two forms in which they come: as --name VALUE, and as mount(8) and fstab
 * give them, "-o name=value,name". One table serves both.
 */
#include "mount.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USAGE = 2, CODE_FIRST = 1000, TABLE_MAX = 16 };

struct option_row {
    const char *name; /* with - for a space; in -o with _ or - */
    const char *argument;
    const char *help;
    int (*take)(struct mount_options *options, const char *value);
};

static int wrong(const char *format, const char *word)
{
    fputs("weft-mount: ", stderr);
    fprintf(stderr, format, word);
    fputs("\nTry weft-mount --help.\n", stderr);
    return USAGE;
}

static int take_conf(struct mount_options *options, const char *value)
{
    options->conf = value;
    return 0;
}

static int take_path(struct mount_options *options, const char *value)
{
    if (strncmp(value, WEFT_PATH_PREFIX, strlen(WEFT_PATH_PREFIX)) == 0)
        value += strlen(WEFT_PATH_PREFIX);
    options->path = value;
    return *value == '/' ? 0 : wrong("the path in the cluster begins with /, unlike \"%s\"", value);
}

static int take_log(struct mount_options *options, const char *value)
{
    options->log = value;
    return 0;
}

static int take_threads(struct mount_options *options, const char *value)
{
    char *end;
    unsigned long number = strtoul(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || number < 1 || number > 1024)
        return wrong("--threads wants a number from 1 to 1024, not \"%s\"", value);
    options->threads = (unsigned)number;
    return 0;
}

static int take_cache(struct mount_options *options, const char *value)
{
    options->cache = !value || strcmp(value, "auto") == 0;
    return options->cache || strcmp(value, "none") == 0 ? 0
                                                        : wrong("cache is auto or none, not \"%s\"", value);
}

static int take_foreground(struct mount_options *options, const char *value)
{
    (void)value;
    options->foreground = true;
    return 0;
}

static int take_allow_other(struct mount_options *options, const char *value)
{
    (void)value;
    options->allow_other = true;
    return 0;
}

static int take_read_only(struct mount_options *options, const char *value)
{
    (void)value;
    options->read_only = true;
    return 0;
}

static int take_no_xattrs(struct mount_options *options, const char *value)
{
    (void)value;
    options->no_xattrs = true;
    return 0;
}

static const struct option_row table[] = {
    {"conf", "FILE", "the cluster's configuration file", take_conf},
    {"path", "PATH", "the directory of the cluster to mount (default: /)", take_path},
    {"foreground", NULL, "stay in the foreground, messages to standard error", take_foreground},
    {"allow-other", NULL, "let all users in, by the files' permissions; for root only", take_allow_other},
    {"read-only", NULL, "nothing can be changed through the mount", take_read_only},
    {"cache", NULL,
     "let the kernel keep names, attributes and bytes: faster, but others'\nchanges are seen "
     "late (-o cache=none: not)",
     take_cache},
    {"no-xattrs", NULL,
     "no extended attributes: with --cache the kernel then does not ask for\n"
     "one before each write",
     take_no_xattrs},
    {"threads", "N", "how many requests are worked at a time (default: 16)", take_threads},
    {"log", "FILE", "where messages go (default: the system's log)", take_log},
};
enum { TABLE_COUNT = sizeof table / sizeof table[0] };

static void print_help(void)
{
    puts("Usage: weft-mount [OPTION...] [SOURCE] DIR\n"
         "\n"
         "Shows a directory of a Weft cluster at DIR until it is unmounted. SOURCE, as mount(8) gives\n"
         "it, is weft:/PATH, or any other word for weft:/.\n"
         "\n"
         "Options:");
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        char left[40];
        const char *help = table[i].help, *line = strchr(help, '\n');
        snprintf(left, sizeof left, "  --%s%s%s", table[i].name, table[i].argument ? " " : "",
                 table[i].argument ? table[i].argument : "");
        printf("%-22s%.*s\n", left, line ? (int)(line - help) : (int)strlen(help), help);
        if (line)
            printf("%22s%s\n", "", line + 1);
    }
    puts("  -o NAME[=VALUE],...   the same, or the kernel's: ro, nosuid, nodev, noexec, noatime\n"
         "  --help                show this text\n"
         "  --version             show the version");
}

/* ---- -o ---------------------------------------------------------------------- */

static bool same_name(const char *name, const char *word)
{
    for (; *name && *word; name++, word++)
        if (*name != *word && !(*name == '-' && *word == '_'))
            return false;
    return *name == *word;
}

/* Words of mount(8) and fstab that are no business of ours, or of the kernel's. */
static int take_foreign(struct mount_options *options, const char *word)
{
    static const char *const ignored[] = {"rw",     "defaults", "auto",     "noauto",     "user",
                                          "nouser", "users",    "nofail",   "_netdev",    "owner",
                                          "atime",  "diratime", "relatime", "strictatime"};
    static const char *const kernels[] = {"suid",       "nosuid",     "dev",          "nodev",   "exec",
                                          "noexec",     "sync",       "async",        "dirsync", "noatime",
                                          "nodiratime", "norelatime", "nostrictatime"};
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        if (strcmp(word, ignored[i]) == 0)
            return 0;
    if (strncmp(word, "x-", 2) == 0 || strncmp(word, "comment=", 8) == 0)
        return 0;
    if (strcmp(word, "ro") == 0)
        return take_read_only(options, NULL);
    for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
        size_t used = strlen(options->kernel);
        if (strcmp(word, kernels[i]) != 0)
            continue;
        int length = snprintf(options->kernel + used, sizeof options->kernel - used, ",%s", word);
        return (size_t)length < sizeof options->kernel - used ? 0 : wrong("too many options: %s", word);
    }
    return wrong("there is no option \"%s\" for -o", word);
}

static int take_word(struct mount_options *options, char *word)
{
    char *value = strchr(word, '=');
    if (value)
        *value++ = 0;
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (!same_name(table[i].name, word))
            continue;
        if (table[i].argument && !value)
            return wrong("-o %s wants a value", word);
        if (value && !table[i].argument && table[i].take != take_cache)
            return wrong("-o %s takes no value", word);
        return table[i].take(options, value);
    }
    if (value)
        value[-1] = '=';
    return take_foreign(options, word);
}

/* The words stay where they are: options point into them. */
static int take_list(struct mount_options *options, char *list)
{
    int status = 0;
    for (char *word = list, *next; word && !status; word = next) {
        next = strchr(word, ',');
        if (next)
            *next++ = 0;
        if (*word)
            status = take_word(options, word);
    }
    return status;
}

/* ---- the command line ----------------------------------------------------------- */

static int take_arguments(struct mount_options *options, int argc, char **argv)
{
    if (argc < 1 || argc > 2)
        return wrong("%s", argc < 1 ? "where shall it be mounted?" : "one directory, please");
    if (argc == 2 && strncmp(argv[0], WEFT_PATH_PREFIX, strlen(WEFT_PATH_PREFIX)) == 0 &&
        argv[0][strlen(WEFT_PATH_PREFIX)]) {
        int status = take_path(options, argv[0]);
        if (status)
            return status;
    }
    options->dir = argv[argc - 1];
    return -1;
}

static int take_code(struct mount_options *options, int code, char **argv)
{
    switch (code) {
    case 'o':
        return take_list(options, optarg);
    case 'n': /* mount(8)'s: no mtab, sloppy, verbose */
    case 's':
    case 'v':
        return 0;
    case 'r':
        return take_read_only(options, NULL);
    case 'h':
        print_help();
        exit(0);
    case 'V':
        puts("weft-mount (Weft) " WEFT_VERSION);
        exit(0);
    default:
        break;
    }
    if (code >= CODE_FIRST)
        return table[code - CODE_FIRST].take(options, optarg);
    return wrong(code == ':' ? "%s wants an argument" : "there is no option %s", argv[optind - 1]);
}

int options_take(int argc, char **argv, struct mount_options *options)
{
    struct option longs[TABLE_MAX + 3] = {{NULL, 0, NULL, 0}};
    int code;
    *options = (struct mount_options){.path = "/", .threads = 16};
    for (size_t i = 0; i < TABLE_COUNT; i++)
        longs[i] = (struct option){table[i].name, table[i].argument ? required_argument : no_argument, NULL,
                                   CODE_FIRST + (int)i};
    longs[TABLE_COUNT] = (struct option){"help", no_argument, NULL, 'h'};
    longs[TABLE_COUNT + 1] = (struct option){"version", no_argument, NULL, 'V'};
    while ((code = getopt_long(argc, argv, ":o:nsvrhV", longs, NULL)) != -1) {
        int status = take_code(options, code, argv);
        if (status)
            return status;
    }
    return take_arguments(options, argc - optind, argv + optind);
}
