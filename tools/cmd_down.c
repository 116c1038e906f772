/* SPDX-License-Identifier: Apache-2.0 */
/* weft down and weft env: the other ends of weft up. */
#include "cluster.h"

#include <stdlib.h>
#include <string.h>

enum { PATIENCE_S_DEFAULT = 30 };

int cmd_down(struct tool *tool, int argc, char **argv)
{
    const char *dir = NULL;
    uint32_t timeout_s = PATIENCE_S_DEFAULT;
    bool quiet = false;
    const struct option_spec options[] = {
        {"dir", 0, OPTION_TEXT, "DIR", &dir, "the cluster's directory"},
        {"timeout", 0, OPTION_COUNT, "SECONDS", &timeout_s,
         "how long a server may take to end (default 30);\nthen it is killed"},
        {"quiet", 'q', OPTION_FLAG, NULL, &quiet, "say nothing when all goes well"},
        {0},
    };
    int first;
    int status =
        options_parse(tool, argc, argv, options,
                      "Stops the servers of a cluster that weft up started. The data stay; weft up starts\n"
                      "it again.",
                      &first);
    if (status >= 0)
        return status;
    if (first < argc)
        return tool_usage_error(tool, "%s: what is it for? The directory is given by --dir", argv[first]);
    if (!dir || !*dir)
        return tool_usage_error(tool, "--dir is needed: the directory of the cluster");
    struct cluster *cluster;
    status = cluster_open(tool, dir, &cluster);
    if (status)
        return status;
    status = cluster_lock(tool, cluster);
    if (status)
        goto close_cluster;
    bool any = false;
    for (uint32_t i = 0; i < cluster->server_count; i++)
        any |= cluster->servers[i].pid != 0;
    if (!any && !quiet)
        printf("No server of %s runs.\n", cluster->dir);
    else if (process_stop(tool, cluster, false, timeout_s, -1, quiet))
        status = TOOL_FAILED;
    else if (any && !quiet)
        printf("The cluster in %s is stopped.\n", cluster->dir);
close_cluster:
    cluster_close(cluster);
    return status;
}

/* ---- env ------------------------------------------------------------------ */

/* Single quotes keep everything as it is, but for the quote itself and what
 * each shell adds to it. */
static void print_quoted(const char *text, const char *escaped, const char *with)
{
    putchar('\'');
    for (; *text; text++) {
        if (strchr(escaped, *text))
            fputs(with, stdout);
        putchar(*text);
        if (*text == '\'' && with[0] == '\'')
            putchar('\'');
    }
    putchar('\'');
}

static void print_setting(const char *language, const char *name, const char *value)
{
    if (strcmp(language, "fish") == 0) {
        printf("set -gx %s ", name);
        print_quoted(value, "\\'", "\\");
        puts(";");
    } else if (strcmp(language, "csh") == 0) {
        printf("setenv %s '", name);
        for (; *value; value++)
            printf(*value == '\'' ? "'\\'%c" : *value == '!' ? "\\%c" : "%c", *value);
        puts("';");
    } else {
        printf("export %s=", name);
        print_quoted(value, "'", "'\\");
        putchar('\n');
    }
}

int cmd_env(struct tool *tool, int argc, char **argv)
{
    const char *dir = NULL;
    bool csh = false, fish = false;
    const struct option_spec options[] = {
        {"dir", 0, OPTION_TEXT, "DIR", &dir, "the cluster's directory"},
        {"csh", 0, OPTION_FLAG, NULL, &csh, "for csh and tcsh"},
        {"fish", 0, OPTION_FLAG, NULL, &fish, "for fish"},
        {0},
    };
    int first;
    int status =
        options_parse(tool, argc, argv, options,
                      "Prints the shell settings that make a cluster the one that weft and all other\n"
                      "clients use: eval \"$(weft env --dir DIR)\" in sh, bash, dash and zsh.",
                      &first);
    if (status >= 0)
        return status;
    if (first < argc)
        return tool_usage_error(tool, "%s: what is it for? The directory is given by --dir", argv[first]);
    if (!dir || !*dir)
        return tool_usage_error(tool, "--dir is needed: the directory of the cluster");
    if (csh && fish)
        return tool_usage_error(tool, "either --csh or --fish");
    struct cluster *cluster;
    status = cluster_open(tool, dir, &cluster);
    if (status)
        return status;
    print_setting(csh ? "csh" : fish ? "fish" : "sh", "WEFT_CONF", cluster->conf_path);
    if (!cluster->servers[0].pid)
        fprintf(stderr, "weft env: the cluster does not run at the moment: weft up --dir %s starts it\n",
                cluster->dir);
    cluster_close(cluster);
    return TOOL_DONE;
}
