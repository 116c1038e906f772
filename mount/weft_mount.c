/* SPDX-License-Identifier: Apache-2.0 */
/* weft-mount: from its start to its end. */
#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "locks.h"
#include "log.h"
#include "mountpoint.h"

enum { BACKGROUND_MAX = 64 };

/* How long the kernel may keep names and attributes, where that was asked for. */
#define CACHE_TIMEOUT_S 1.0

/* ---- what is agreed with the kernel ------------------------------------------------ */

static void init(void *data, struct fuse_conn_info *conn)
{
    const struct mount *mount = data;
    /* Requests are read into memory at once: from a pipe they would have to be copied out of it again. */
    conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
    /* Nobody takes the set-user-id bit away when a file is written, but the kernel. */
    conn->want &= ~(unsigned)FUSE_CAP_HANDLE_KILLPRIV;
    /* Attributes that may not be kept are not worth to be sent along. */
    if (!mount->options.cache)
        conn->want &= ~(unsigned)(FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
    conn->want |= conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS |
                                   FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS);
    conn->max_write = MOUNT_IO_BYTES;
    conn->max_read = MOUNT_IO_BYTES;
    conn->max_background = BACKGROUND_MAX;
    conn->congestion_threshold = BACKGROUND_MAX * 3 / 4;
}

/* What is not here is ENOSYS, after which the kernel does not ask again: ioctl, poll, bmap. */
static const struct fuse_lowlevel_ops operations = {
    .init = init,
    .lookup = names_lookup,
    .forget = names_forget,
    .forget_multi = names_forget_multi,
    .getattr = attrs_getattr,
    .setattr = attrs_setattr,
    .access = attrs_access,
    .setxattr = xattrs_set,
    .getxattr = xattrs_get,
    .listxattr = xattrs_list,
    .removexattr = xattrs_remove,
    .statfs = attrs_statfs,
    .readlink = names_readlink,
    .mknod = names_mknod,
    .mkdir = names_mkdir,
    .unlink = names_unlink,
    .rmdir = names_rmdir,
    .symlink = names_symlink,
    .rename = names_rename,
    .link = names_link,
    .open = files_open,
    .create = files_create,
    .flush = files_flush,
    .release = files_release,
    .read = transfer_read,
    .write = transfer_write,
    .fsync = transfer_fsync,
    .fallocate = transfer_fallocate,
    .lseek = transfer_lseek,
    .copy_file_range = transfer_copy,
    .opendir = dirs_open,
    .readdir = dirs_read,
    .readdirplus = dirs_readplus,
    .releasedir = dirs_release,
    .fsyncdir = dirs_fsync,
    .getlk = locks_get,
    .setlk = locks_set,
    .flock = locks_flock,
};

/* ---- the steps of the start ------------------------------------------------------------ */

static int failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int failed(const char *format, ...)
{
    char text[900];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    ready_done(-1, text);
    return 1;
}

/* Messages go where nobody reads a terminal any more. */
static int begin_log(const struct mount_options *options)
{
    log_init("weft-mount", LOG_LEVEL_WARN);
    if (options->log) {
        int file = open(options->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (file < 0)
            return failed("%s: %s", options->log, err_name(-errno));
        dup2(file, STDERR_FILENO);
        close(file);
    }
    return 0;
}

static int connect_cluster(struct mount *mount)
{
    struct weft_attr attr;
    int error = weft_connect(mount->options.conf, &mount->session);
    if (!error)
        error = weft_keep_attributes(mount->session, NULL);
    if (error)
        return failed("%s", weft_error());
    mount->uid = geteuid();
    mount->gid = getegid();
    error = weft_stat(mount->session, mount->options.path, 0, &attr);
    if (error)
        return failed("%s", weft_error());
    if (!S_ISDIR(attr.mode))
        return failed("weft:%s is not a directory", mount->options.path);
    mount->root = attr.ino;
    return 0;
}

/* By it interfaces that are given a path on the mount find the cluster; see mountpoint.h. */
static int name_source(struct mount *mount, char text[MOUNTPOINT_SOURCE_BYTES])
{
    const struct mount_options *options = &mount->options;
    struct mountpoint_source *source = calloc(1, sizeof *source);
    int error = source ? weft_session_cluster(mount->session, source->cluster) : -ENOMEM;
    if (!error) {
        source->root = mount->root;
        source->is_cached = options->cache;
        snprintf(source->path, sizeof source->path, "%s", options->path);
        snprintf(source->conf, sizeof source->conf, "%s", weft_session_conf(mount->session));
        mountpoint_source_write(source, text);
    }
    free(source);
    return error ? failed("%s", error == -ENOMEM ? "out of memory" : weft_error()) : 0;
}

static int make_session(struct mount *mount, struct fuse_session **session)
{
    const struct mount_options *options = &mount->options;
    struct fuse_lowlevel_ops wanted = operations;
    if (options->no_xattrs) {
        wanted.setxattr = NULL;
        wanted.getxattr = NULL;
        wanted.listxattr = NULL;
        wanted.removexattr = NULL;
    }
    char text[MOUNTPOINT_SOURCE_BYTES + 1024], source[MOUNTPOINT_SOURCE_BYTES];
    int status = name_source(mount, source);
    if (status)
        return status;
    snprintf(text, sizeof text, "fsname=%s,subtype=weft,max_read=%zu%s%s%s", source, MOUNT_IO_BYTES,
             options->allow_other ? ",allow_other,default_permissions" : "",
             options->read_only ? ",ro" : "", options->kernel);
    char *argv[] = {(char[]){"weft-mount"}, (char[]){"-o"}, text, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, argv);
    *session = fuse_session_new(&args, &wanted, sizeof wanted, mount);
    fuse_opt_free_args(&args);
    return *session ? 0 : failed("FUSE does not take the options %s", text);
}

/* What libfuse says of a failure it says on stderr, which ends up in the answer to whoever waits. */
static int attach(struct fuse_session *session, const char *dir)
{
    char text[512];
    FILE *said = tmpfile();
    int saved = dup(STDERR_FILENO);
    if (said)
        dup2(fileno(said), STDERR_FILENO);
    int error = fuse_session_mount(session, dir);
    if (saved >= 0) {
        dup2(saved, STDERR_FILENO);
        close(saved);
    }
    size_t length = 0;
    if (said) {
        rewind(said);
        length = fread(text, 1, sizeof text - 1, said);
        fclose(said);
    }
    while (length > 0 && text[length - 1] == '\n')
        length--;
    text[length] = 0;
    return error ? failed("%s: %s", dir, length ? text : "it can't be mounted here") : 0;
}

/* Messages go to the system's log, or to the file that stderr is already. */
static void go_quiet(const struct mount_options *options)
{
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nowhere < 0 || chdir("/") != 0)
        return;
    dup2(nowhere, STDIN_FILENO);
    dup2(nowhere, STDOUT_FILENO);
    if (!options->log) {
        dup2(nowhere, STDERR_FILENO);
        log_to_system();
    }
    close(nowhere);
}

/* ---- from the mount to its end ----------------------------------------------------------- */

static int serve(struct mount *mount, struct fuse_session *session)
{
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    int status = config ? 0 : failed("out of memory");
    if (!status) {
        fuse_loop_cfg_set_clone_fd(config, 0);
        fuse_loop_cfg_set_max_threads(config, mount->options.threads);
        fuse_loop_cfg_set_idle_threads(config, mount->options.threads);
        ready_name(mount->options.dir);
        ready_done(0, NULL);
        if (!mount->options.foreground)
            go_quiet(&mount->options);
        int result = fuse_session_loop_mt(session, config);
        status = result < 0;
        fuse_loop_cfg_destroy(config);
    }
    fuse_session_unmount(session);
    return status;
}

static int run(struct mount *mount)
{
    struct fuse_session *session = NULL;
    int status = begin_log(&mount->options);
    if (!status)
        status = connect_cluster(mount);
    if (!status)
        status = make_session(mount, &session);
    if (status)
        return status;
    nodes_init(&mount->nodes);
    mount->timeout_s = mount->options.cache ? CACHE_TIMEOUT_S : 0;
    status = lock_line_new(mount->session, &mount->lock_line) ? failed("out of memory") : 0;
    if (!status && fuse_set_signal_handlers(session) != 0)
        status = failed("signals can't be handled");
    if (!status)
        status = attach(session, mount->options.dir);
    if (!status)
        status = serve(mount, session);
    fuse_remove_signal_handlers(session);
    lock_line_free(mount->lock_line);
    fuse_session_destroy(session);
    return status;
}

int main(int argc, char **argv)
{
    static struct mount mount;
    char dir[PATH_MAX];
    int status = options_take(argc, argv, &mount.options);
    if (status >= 0)
        return status;
    if (!realpath(mount.options.dir, dir)) {
        fprintf(stderr, "weft-mount: %s: %s\n", mount.options.dir, err_name(-errno));
        return 1;
    }
    mount.options.dir = dir;
    if (mount.options.allow_other && geteuid() != 0) {
        fputs("weft-mount: only root may let others in: the cluster would take them all for you\n", stderr);
        return 1;
    }
    if (ready_begin(mount.options.foreground)) {
        fprintf(stderr, "weft-mount: %s\n", err_text());
        return 1;
    }
    status = run(&mount);
    weft_disconnect(mount.session);
    return status;
}
