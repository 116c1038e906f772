/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes: how they begin, split, become other programs, and end.
 *
 * A session belongs to one process. Before fork() every description becomes one that processes
 * share (sharing.c); the child forgets the session and opens its files again when it needs
 * them. Before exec the session is ended in an orderly way, since a server takes a connection that
 * breaks off for a death; the program that follows finds the descriptors by the environment.
 */
#include "px.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char working_variable[] = "WEFT_WORKING_FOLDER";

/* ---- the session's end -------------------------------------------------------------------------- */

static void close_file(int fd, struct px_desc *desc, void *arg)
{
    (void)fd;
    (void)arg;
    weft_file_t *file = desc ? atomic_exchange(&desc->file, NULL) : NULL;
    if (file)
        PX_CALL(file_close, file);
}

void px_process_quiet(void)
{
    /* Another thread may wait for a lock, or write: its session is not taken from it. The servers then
     * take the end of the connection for what it is. */
    if (!px_session || px_busy > 0)
        return;
    px_locks_end_all();
    px_table_each(close_file, NULL);
    px_library_end();
}

void px_process_finish(void)
{
    static atomic_bool is_reported;
    px_mappings_flush();
    px_process_quiet();
    if (!atomic_exchange(&is_reported, true))
        px_report();
}

/* exit() flushes streams after this, when libweft may be gone. */
void px_process_exit(void)
{
    fflush(NULL);
    px_process_finish();
}

#define EXITS(name)                        \
    PX_EXPORT void name(int status)        \
    {                                      \
        if (px_session && !px_is_inside()) \
            px_process_finish();           \
        PX_NEXT(name)(status);             \
        __builtin_unreachable();           \
    }
EXITS(_exit)
EXITS(_Exit)

/* ---- fork ------------------------------------------------------------------------------------------ */

static void before_fork(void)
{
    if (!px_is_inside())
        px_sharing_promote_all();
}

static void forget_file(int fd, struct px_desc *desc, void *arg)
{
    (void)fd;
    (void)arg;
    if (!desc)
        return;
    desc->file = NULL;
    desc->owner = 0;
    pthread_mutex_init(&desc->lock, NULL);
}

static void in_child(void)
{
    px_table_each(forget_file, NULL);
    px_locks_forget();
    px_streams_forget();
    px_library_forget();
    for (size_t i = 0; i < PX_CALL_END; i++)
        px_counts[i] = 0;
    px_bytes_read = px_bytes_written = px_mounted_opens = 0;
}

/* The child of vfork() runs in its parent's memory: closing and copying descriptors there would change
 * the parent's table. */
PX_EXPORT pid_t vfork(void)
{
    return fork();
}

__attribute__((constructor)) static void begin(void)
{
    px_umask_init();
    px_place_init();
    px_sharing_adopt_all();
    pthread_atfork(before_fork, NULL, in_child);
}

/* ---- another program -------------------------------------------------------------------------------- */

/* The environment with what the next program has to know, or the same one when that is nothing. */
static char **environment_with(char *const envp[])
{
    char working[PX_PATH_ROOM], *line = NULL;
    bool has_working = px_place_working(working), is_shared = px_sharing_is_needed(), has_conf = false;
    const char *conf = px_library_mounts_conf();
    size_t count = 0, used = 0;
    while (envp && envp[count])
        count++;
    char **made = calloc(count + 5, sizeof *made);
    if (!made)
        return (char **)envp;
    for (size_t i = 0; i < count; i++) {
        bool is_old = strncmp(envp[i], working_variable, sizeof working_variable - 1) == 0 ||
                      strncmp(envp[i], px_sharing_variable, strlen(px_sharing_variable)) == 0;
        has_conf |= strncmp(envp[i], "WEFT_CONF=", 10) == 0;
        is_old |= px_library_has_given_up() && strncmp(envp[i], "WEFT_BYPASS=", 12) == 0;
        if (!is_old)
            made[used++] = envp[i];
    }
    if (is_shared && conf && !has_conf && asprintf(&line, "WEFT_CONF=%s", conf) > 0)
        made[used++] = line;
    if (px_library_has_given_up() && (line = strdup("WEFT_BYPASS=no")))
        made[used++] = line;
    if (has_working && asprintf(&line, "%s=%s", working_variable, working) > 0)
        made[used++] = line;
    if (is_shared && asprintf(&line, "%s=1", px_sharing_variable) > 0)
        made[used++] = line;
    return made;
}

/* What the kernel is to start: the path itself, or `local`, where a link in the cluster leads to. Programs
 * can't be run from the cluster, which the kernel does not see: NULL and errno. */
static const char *runnable(const char *path, char local[PX_PATH_ROOM])
{
    struct px_place place;
    if (!px_find(AT_FDCWD, path, &place))
        return path;
    if (!place.error && px_place_leads_out(place.path, local))
        return local;
    px_say_once("exec", "programs can't be started from Weft (EACCES): copy them to a local folder");
    errno = EACCES;
    return NULL;
}

/* libc looks through PATH from inside, and does not see folders of the cluster. When one of them comes before
 * the local folder that has the program, and has a link of the name that leads out: where to. Otherwise
 * the name itself. */
static const char *found_in_path(const char *file, char found[PX_PATH_ROOM], char local[PX_PATH_ROOM])
{
    const char *path = getenv("PATH");
    struct px_place place;
    while (path && *path) {
        int length = (int)strcspn(path, ":");
        if ((size_t)snprintf(found, PX_PATH_ROOM, "%.*s/%s", length, path, file) < PX_PATH_ROOM && length) {
            bool is_ours = px_find(AT_FDCWD, found, &place);
            if (is_ours && !place.error && px_place_leads_out(place.path, local))
                return local;
            if (!is_ours && PX_NEXT(access)(found, X_OK) == 0)
                break;
        }
        path += length + (path[length] == ':');
    }
    return file;
}

static void before_exec(void)
{
    px_mappings_flush();
    px_sharing_promote_all();
    px_process_quiet();
}

PX_EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
    if (px_is_inside())
        return PX_NEXT(execve)(path, argv, envp);
    char local[PX_PATH_ROOM];
    const char *program = runnable(path, local);
    if (!program)
        return -1;
    before_exec();
    return PX_NEXT(execve)(program, argv, environment_with(envp));
}

PX_EXPORT int execv(const char *path, char *const argv[])
{
    return execve(path, argv, environ);
}

PX_EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
    if (px_is_inside())
        return PX_NEXT(execvpe)(file, argv, envp);
    char found[PX_PATH_ROOM], local[PX_PATH_ROOM];
    const char *program = strchr(file, '/') ? runnable(file, local) : found_in_path(file, found, local);
    if (!program)
        return -1;
    before_exec();
    return PX_NEXT(execvpe)(program, argv, environment_with(envp));
}

PX_EXPORT int execvp(const char *file, char *const argv[])
{
    return execvpe(file, argv, environ);
}

PX_EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
    before_exec();
    return PX_NEXT(fexecve)(fd, argv, environment_with(envp));
}

PX_EXPORT int execveat(int dirfd, const char *path, char *const argv[], char *const envp[], int flags)
{
    before_exec();
    return PX_NEXT(execveat)(dirfd, path, argv, environment_with(envp), flags);
}

/* The forms with the arguments one by one. libc's call its own execve() inside. */
#define ARGUMENTS(argv, first)          \
    size_t count = 1;                   \
    va_list list, again;                \
    va_start(list, first);              \
    va_copy(again, list);               \
    while (va_arg(again, char *))       \
        count++;                        \
    va_end(again);                      \
    char *argv[count + 1];              \
    argv[0] = (char *)first;            \
    for (size_t i = 1; i <= count; i++) \
        argv[i] = va_arg(list, char *);

PX_EXPORT int execl(const char *path, const char *first, ...)
{
    ARGUMENTS(argv, first)
    va_end(list);
    return execve(path, argv, environ);
}

PX_EXPORT int execlp(const char *file, const char *first, ...)
{
    ARGUMENTS(argv, first)
    va_end(list);
    return execvpe(file, argv, environ);
}

PX_EXPORT int execle(const char *path, const char *first, ...)
{
    ARGUMENTS(argv, first)
    char **envp = va_arg(list, char **);
    va_end(list);
    return execve(path, argv, envp);
}

/* ---- a child with another program ---------------------------------------------------------------------- */

#define SPAWN(name, searches)                                                                    \
    PX_EXPORT int name(pid_t *restrict pid, const char *restrict path,                           \
                       const posix_spawn_file_actions_t *restrict actions,                       \
                       const posix_spawnattr_t *restrict attributes, char *const argv[restrict], \
                       char *const envp[restrict])                                               \
    {                                                                                            \
        if (px_is_inside())                                                                      \
            return PX_NEXT(name)(pid, path, actions, attributes, argv, envp);                    \
        char found[PX_PATH_ROOM], local[PX_PATH_ROOM];                                           \
        const char *program =                                                                    \
            searches && !strchr(path, '/') ? found_in_path(path, found, local)                   \
                                           : runnable(path, local);                              \
        if (!program)                                                                            \
            return errno;                                                                        \
        px_sharing_promote_all();                                                                \
        char **environment = environment_with(envp);                                             \
        int result = PX_NEXT(name)(pid, program, actions, attributes, argv, environment);        \
        if (environment != envp)                                                                 \
            free(environment);                                                                   \
        return result;                                                                           \
    }
SPAWN(posix_spawn, false)
SPAWN(posix_spawnp, true)

/* These take the environment as it is. */
static void set_environment(void)
{
    char working[PX_PATH_ROOM];
    px_sharing_promote_all();
    if (px_place_working(working))
        setenv(working_variable, working, 1);
    else
        unsetenv(working_variable);
    if (px_library_has_given_up())
        setenv("WEFT_BYPASS", "no", 1);
    if (px_sharing_is_needed() && px_library_mounts_conf())
        setenv("WEFT_CONF", px_library_mounts_conf(), 0);
    if (px_sharing_is_needed())
        setenv(px_sharing_variable, "1", 1);
    else
        unsetenv(px_sharing_variable);
}

PX_EXPORT FILE *popen(const char *command, const char *mode)
{
    if (!px_is_inside())
        set_environment();
    return PX_NEXT(popen)(command, mode);
}

PX_EXPORT int system(const char *command)
{
    if (!px_is_inside())
        set_environment();
    return PX_NEXT(system)(command);
}
