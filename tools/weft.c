/* SPDX-License-Identifier: Apache-2.0 */
/* The `weft` command: one table of commands, from which all else comes. */
#include "tool.h"

#include <signal.h>
#include <string.h>

static const struct tool_command commands[] = {
    {"up", cmd_up, "--dir DIR [OPTION...]", "start a cluster on this machine, or start it again", false},
    {"down", cmd_down, "--dir DIR [OPTION...]", "stop a cluster that weft up started", false},
    {"env", cmd_env, "--dir DIR [OPTION...]", "print the shell settings that choose a cluster", false},
    {"status", cmd_status, "[OPTION...]", "show the servers, their states and counters", false},
    {"topo", cmd_topo, "[OPTION...]", "show where on this host the servers' shards run, and why", false},
    {"df", cmd_df, "[OPTION...]", "show the space of the cluster", false},
    {"plan", cmd_plan, "[OPTION...]", "compute the groups of a cluster that need not exist yet", false},
    {"net", cmd_net, "[OPTION...]", "show, and measure, how this host reaches others", false},
    {"run", cmd_run, "[OPTION...] [--] PROGRAM [ARGUMENT...]", "run a program with its HDF5 files on Weft",
     false},
    {"mount", cmd_mount, "[OPTION...] DIR", "show a directory of the cluster at DIR, by FUSE", false},
    {"umount", cmd_umount, "[OPTION...] DIR...", "take it away again", false},
    {"ls", cmd_ls, "[OPTION...] [weft:PATH...]", "list files and directories", true},
    {"stat", cmd_stat, "[OPTION...] weft:PATH...", "show all that is known of a file", true},
    {"cat", cmd_cat, "[OPTION...] weft:FILE...", "write files to standard output", true},
    {"cp", cmd_cp, "[OPTION...] SOURCE... DESTINATION", "copy files to, from and inside the cluster", true},
    {"mv", cmd_mv, "[OPTION...] weft:SOURCE... weft:DESTINATION", "rename or move files", true},
    {"rm", cmd_rm, "[OPTION...] weft:PATH...", "remove files and directories", true},
    {"mkdir", cmd_mkdir, "[OPTION...] weft:DIR...", "make directories", true},
    {"ln", cmd_ln, "[OPTION...] TARGET weft:LINK", "make a hard or a symbolic link", true},
    {"touch", cmd_touch, "[OPTION...] weft:FILE...", "make empty files, or set their times to now", true},
    {"truncate", cmd_truncate, "--size SIZE [OPTION...] weft:FILE...", "set the size of files", true},
    {"chmod", cmd_chmod, "[OPTION...] MODE weft:PATH...", "change permissions", true},
    {"chown", cmd_chown, "[OPTION...] USER[:GROUP] weft:PATH...", "change owner and group", true},
    {"layout", cmd_layout, "[OPTION...] weft:PATH...", "show on which servers the bytes are, or choose it",
     true},
    {"hints", cmd_hints, "[OPTION...] weft:DIR [NAME=VALUE...]",
     "show or set what MPI-IO takes for its files", true},
    {"usage", cmd_usage, "[OPTION...] [weft:PATH...]",
     "show how much there is below directories, and of whom", true},
    {"verify", cmd_verify, "[OPTION...] weft:PATH...", "read all bytes, and tell of damage", true},
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static const struct tool_command *command_by_name(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static void print_commands(bool on_files)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (commands[i].on_files == on_files)
            printf("  %-10s %s\n", commands[i].name, commands[i].summary);
}

static void print_help(void)
{
    puts("Usage: weft COMMAND [OPTION...] [ARGUMENT...]\n"
         "       weft --version\n"
         "\n"
         "Starts and watches clusters of the Weft parallel storage service, and works\n"
         "on their files. Paths in the cluster begin with weft: as in weft:/run7/state.\n"
         "\n"
         "Clusters:");
    print_commands(false);
    puts("\nFiles:");
    print_commands(true);
    puts("\n"
         "weft COMMAND --help tells more. The cluster is the one that --conf FILE or\n"
         "WEFT_CONF names, else that of " WEFT_CONF_DEFAULT ".\n"
         "\n"
         "To begin:\n"
         "  weft up --dir /tmp/weft --servers 4\n"
         "  eval \"$(weft env --dir /tmp/weft)\"\n"
         "  weft cp FILE weft:/ && weft layout weft:/FILE\n"
         "  weft down --dir /tmp/weft");
}

static void print_version(void)
{
    printf("weft (Weft) %s\n", WEFT_VERSION);
    if (strcmp(weft_version(), WEFT_VERSION) != 0)
        printf("with the library of version %s\n", weft_version());
    puts("Licence: Apache-2.0");
}

/* The command whose name is nearest to the word, when it is near at all. */
static const char *nearest_command(const char *word)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strncmp(commands[i].name, word, 2) == 0 || (*word && strstr(commands[i].name, word)))
            return commands[i].name;
    return NULL;
}

static int unknown_command(const char *word)
{
    const char *nearest = nearest_command(word);
    fprintf(stderr, "weft: there is no command \"%s\"", word);
    if (nearest)
        fprintf(stderr, "; did you mean weft %s?", nearest);
    fputs("\nTry weft --help.\n", stderr);
    return TOOL_USAGE;
}

/* Options that stand in front of a command; -1 when the word is none of them. */
static int run_option(const char *word)
{
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        print_help();
    } else if (strcmp(word, "--version") == 0) {
        print_version();
    } else if (strcmp(word, "--list-commands") == 0) {
        for (size_t i = 0; i < COMMAND_COUNT; i++)
            puts(commands[i].name);
    } else if (word[0] == '-') {
        fprintf(stderr, "weft: there is no option %s\nTry weft --help.\n", word);
        return TOOL_USAGE;
    } else {
        return -1;
    }
    return TOOL_DONE;
}

static int run_command(const struct tool_command *command, int argc, char **argv)
{
    struct tool tool = {.command = command};
    int status = command->run(&tool, argc, argv);
    tool_finish_output(&tool);
    weft_disconnect(tool.session);
    return status > tool.status ? status : tool.status;
}

int main(int argc, char **argv)
{
    /* A closed pipe shows as a failed write, so that cleaning up still happens. */
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        fputs("weft: which command?\nTry weft --help.\n", stderr);
        return TOOL_USAGE;
    }
    int status = run_option(argv[1]);
    if (status >= 0)
        return fflush(stdout) ? TOOL_FAILED : status;

    /* "weft help cp" is "weft cp --help". */
    if (strcmp(argv[1], "help") == 0) {
        const struct tool_command *command = argc > 2 ? command_by_name(argv[2]) : NULL;
        char *help_argv[] = {argv[1], (char[]){"--help"}, NULL};
        if (command)
            return run_command(command, 2, help_argv);
        if (argc > 2)
            return unknown_command(argv[2]);
        print_help();
        return TOOL_DONE;
    }
    const struct tool_command *command = command_by_name(argv[1]);
    return command ? run_command(command, argc - 1, argv + 1) : unknown_command(argv[1]);
}
