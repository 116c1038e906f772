/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weft run: a program with what brings its files to Weft, without a change to it. It sets the environment
 * and becomes the program.
 */
#include "tool.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf.h"

/* What the user asks for. */
struct run {
    bool posix; /* --posix */
    const char *mount;
    const char *report;
    bool driver;      /* --hdf5 */
    bool mpio;        /* --hdf5-vfd */
    bool shown;       /* --print */
    const char *dir;  /* --hdf5-dir */
    const char *text; /* --hdf5-config */
};

static bool set(const struct run *run, const char *name, const char *value)
{
    if (run->shown)
        printf("%s=%s\n", name, value);
    return setenv(name, value, 1) == 0;
}

/* The colon list with this in front. */
static bool set_in_front(const struct run *run, const char *name, const char *value)
{
    const char *before = getenv(name);
    char *list = NULL;
    if (!before || !*before)
        return set(run, name, value);
    bool is_set = asprintf(&list, "%s:%s", value, before) >= 0 && set(run, name, list);
    free(list);
    return is_set;
}

/* Where the driver was built for the HDF5 of this name: in a build tree or where it was installed. */
static const char *driver_folder(const struct run *run, char folder[PATH_MAX])
{
    const char *built = getenv("WEFT_HDF5"), *name = run->mpio ? "openmpi" : "serial";
    if (run->dir)
        return run->dir;
    snprintf(folder, PATH_MAX, built ? "%s/%s" : "%s/hdf5-%s", built ? built : WEFT_LIBDIR "/weft", name);
    return folder;
}

static int find_file(struct tool *tool, const struct run *run, const char *name, char path[PATH_MAX])
{
    char folder[PATH_MAX];
    const char *where = driver_folder(run, folder);
    if ((size_t)snprintf(path, PATH_MAX, "%s/%s", where, name) >= PATH_MAX) {
        tool_complain(tool, "the folder's name is too long");
        return TOOL_FAILED;
    }
    if (access(path, R_OK) == 0)
        return TOOL_DONE;
    tool_complain(tool,
                  "%s is missing: Weft's driver was not built for an HDF5 of 1.14 or later%s; "
                  "hdf5-vfd/build-vfd builds it for yours, and --hdf5-dir names its folder",
                  path, run->mpio ? " with MPI" : "");
    return TOOL_FAILED;
}

/* Every file that the program opens without a word about drivers is on Weft. */
static int prepare_driver(struct tool *tool, const struct run *run)
{
    char path[PATH_MAX];
    int status = find_file(tool, run, "plugin", path);
    if (status)
        return status;
    bool done = set_in_front(run, "HDF5_PLUGIN_PATH", path);
    if (run->driver)
        done = done && set(run, "HDF5_DRIVER", "weft") &&
               (!run->text || set(run, "HDF5_DRIVER_CONFIG", run->text));
    if (!done)
        tool_complain(tool, "no memory for the environment");
    return done ? TOOL_DONE : TOOL_FAILED;
}

/* The driver takes the place of HDF5's own for MPI-IO. */
static int prepare_mpio(struct tool *tool, const struct run *run)
{
    char path[PATH_MAX];
    int status = find_file(tool, run, "libweft-hdf5-mpio.so", path);
    if (status)
        return status;
    if (set_in_front(run, "LD_PRELOAD", path) && (!run->text || set(run, "WEFT_HDF5_CONFIG", run->text)))
        return TOOL_DONE;
    tool_complain(tool, "no memory for the environment");
    return TOOL_FAILED;
}

/* Where the preload library is: in a build tree, or where it was installed. */
static const char *preload_file(void)
{
    const char *built = getenv("WEFT_PRELOAD");
    return built && *built ? built : WEFT_LIBDIR "/weft/libweft_preload.so";
}

/* The folder under which the cluster appears: of the command line, else of the environment, else of the
 * configuration file, which need not be there: the program may never ask for it. */
static bool set_mount(struct tool *tool, const struct run *run)
{
    const char *given = getenv("WEFT_MOUNT");
    struct conf *conf = NULL;
    bool is_set = true;
    if (run->mount)
        return set(run, "WEFT_MOUNT", run->mount);
    if (!(given && *given) && conf_load(tool->conf, &conf) == 0) {
        is_set = !conf->mount || set(run, "WEFT_MOUNT", conf->mount);
        conf_free(conf);
    }
    return is_set;
}

/* Paths below the mount point are on Weft, whatever calls of libc the program uses. */
static int prepare_posix(struct tool *tool, const struct run *run)
{
    const char *path = preload_file();
    char report[PATH_MAX];
    if (run->mount && (run->mount[0] != '/' || !run->mount[strspn(run->mount, "/")]))
        return tool_usage_error(tool, "--mount wants an absolute path below /, not \"%s\"", run->mount);
    if (access(path, R_OK) != 0) {
        tool_complain(tool, "%s is missing: Weft was built without its preload library", path);
        return TOOL_FAILED;
    }
    /* The program may have another working folder when it comes to its end. */
    if (run->report && strcmp(run->report, "-") != 0 && run->report[0] != '/') {
        char folder[PATH_MAX];
        if (!getcwd(folder, sizeof folder) ||
            (size_t)snprintf(report, sizeof report, "%s/%s", folder, run->report) >= sizeof report) {
            tool_complain(tool, "the path of the report is too long");
            return TOOL_FAILED;
        }
    } else if (run->report) {
        snprintf(report, sizeof report, "%s", run->report);
    }
    if (set_in_front(run, "LD_PRELOAD", path) && set_mount(tool, run) &&
        (!run->report || set(run, "WEFT_REPORT", report)))
        return TOOL_DONE;
    tool_complain(tool, "no memory for the environment");
    return TOOL_FAILED;
}

static int prepare(struct tool *tool, const struct run *run)
{
    int status = TOOL_DONE;
    if (tool->conf && !set(run, "WEFT_CONF", tool->conf)) {
        tool_complain(tool, "no memory for the environment");
        return TOOL_FAILED;
    }
    bool is_hdf5 = run->driver || run->mpio;
    if (!is_hdf5 || run->posix || run->mount || run->report)
        status = prepare_posix(tool, run);
    if (!status && is_hdf5)
        status = prepare_driver(tool, run);
    if (!status && run->mpio)
        status = prepare_mpio(tool, run);
    return status;
}

/* The options end at the first word that is none, so that the program's own are left alone. */
static int own_words(int argc, char **argv)
{
    static const char *const with_value[] = {"--conf", "--mount", "--hdf5-dir", "--hdf5-config"};
    int i = 1;
    while (i < argc && argv[i][0] == '-' && strcmp(argv[i], "--") != 0) {
        for (size_t k = 0; k < sizeof with_value / sizeof *with_value; k++)
            if (strcmp(argv[i], with_value[k]) == 0)
                i++;
        i++;
    }
    return i < argc ? i : argc;
}

int cmd_run(struct tool *tool, int argc, char **argv)
{
    struct run run = {0};
    const struct option_spec options[] = {
        {"mount", 0, OPTION_TEXT, "DIR", &run.mount, "the cluster appears there, and not at /weft"},
        {"report", 0, OPTION_MAYBE, "[=FILE]", &run.report,
         "each process tells at its end what was intercepted,\non stderr or in the file"},
        {"posix", 0, OPTION_FLAG, NULL, &run.posix,
         "with --hdf5 or --hdf5-vfd: paths below the mount point, too"},
        {"hdf5", 0, OPTION_FLAG, NULL, &run.driver,
         "HDF5 files of which the program says nothing else are on Weft"},
        {"hdf5-vfd", 0, OPTION_FLAG, NULL, &run.mpio,
         "HDF5 files that the program opens by MPI-IO are on Weft,\nby its own driver in the place of "
         "MPI-IO's"},
        {"hdf5-config", 0, OPTION_TEXT, "TEXT", &run.text,
         "the driver's configuration, such as\n\"chunk_size=4M;folder=/run7\": see weft-hdf5(7)"},
        {"hdf5-dir", 0, OPTION_TEXT, "DIR", &run.dir,
         "where hdf5-vfd/build-vfd made the driver for the program's HDF5"},
        {"print", 0, OPTION_FLAG, NULL, &run.shown, "print what is added to the environment, then run"},
        OPTION_CONF(tool),
        {0},
    };
    int first, words = own_words(argc, argv);
    int status = options_parse(
        tool, words, argv, options,
        "Runs a program that finds the cluster's files below /weft, and at \"weft:\" paths, by the calls\n"
        "that it makes anyhow. With --hdf5 or --hdf5-vfd it is its HDF5 files instead, for HDF5\n"
        "1.14 and later.\n"
        "Under an MPI it stands in front of the program: mpirun -n 4 weft run -- PROGRAM.",
        &first);
    if (status >= 0)
        return status;
    if (words < argc && strcmp(argv[words], "--") == 0)
        words++;
    if (words >= argc)
        return tool_usage_error(tool, "which program?");
    status = prepare(tool, &run);
    if (status)
        return status;
    tool_finish_output(tool);
    signal(SIGPIPE, SIG_DFL); /* only this command wants to know of it otherwise */
    execvp(argv[words], argv + words);
    tool_complain_local(tool, argv[words], errno);
    return TOOL_FAILED;
}
