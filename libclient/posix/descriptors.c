/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors as numbers: copies of ours, and those that libweft has for itself. */
#include "px.h"

#include <stdarg.h>
#include <sys/resource.h>

/* ---- libweft's own ------------------------------------------------------------------------ */

/* Above what programs choose for themselves, and within what the process may have. */
static int first_hidden(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > 4096)
        return 2048;
    return (int)(limit.rlim_cur / 2);
}

int px_descriptors_hide(int fd, enum px_mark mark)
{
    if (fd < 0)
        return fd;
    int saved = errno, low = first_hidden();
    if (fd < low) {
        int high = PX_NEXT(fcntl)(fd, F_DUPFD_CLOEXEC, low);
        if (high >= 0) {
            PX_NEXT(close)(fd);
            fd = high;
        }
    }
    px_table_mark(fd, mark);
    errno = saved;
    return fd;
}

#define MAKES(name, mark, parameters, arguments)                    \
    PX_EXPORT int name parameters                                   \
    {                                                               \
        int fd = PX_NEXT(name) arguments;                           \
        return px_is_inside() ? px_descriptors_hide(fd, mark) : fd; \
    }
MAKES(socket, PX_MARK_EVENT, (int domain, int type, int protocol), (domain, type, protocol))
MAKES(accept, PX_MARK_EVENT, (int listener, __SOCKADDR_ARG address, socklen_t *length),
      (listener, address, length))
MAKES(accept4, PX_MARK_EVENT, (int listener, __SOCKADDR_ARG address, socklen_t *length, int flags),
      (listener, address, length, flags))
MAKES(epoll_create, PX_MARK_EPOLL, (int size), (size))
MAKES(epoll_create1, PX_MARK_EPOLL, (int flags), (flags))
MAKES(eventfd, PX_MARK_EVENT, (unsigned count, int flags), (count, flags))
MAKES(timerfd_create, PX_MARK_EVENT, (clockid_t clock, int flags), (clock, flags))
MAKES(inotify_init1, PX_MARK_EVENT, (int flags), (flags))
MAKES(signalfd, PX_MARK_EVENT, (int before, const sigset_t *signals, int flags), (before, signals, flags))

static int pair_kept(int result, int fds[2])
{
    if (result == 0 && px_is_inside()) {
        fds[0] = px_descriptors_hide(fds[0], PX_MARK_PIPE);
        fds[1] = px_descriptors_hide(fds[1], PX_MARK_PIPE);
    }
    return result;
}

#define MAKES_TWO(name, parameters, arguments)          \
    PX_EXPORT int name parameters                       \
    {                                                   \
        return pair_kept(PX_NEXT(name) arguments, fds); \
    }
MAKES_TWO(socketpair, (int domain, int type, int protocol, int fds[2]), (domain, type, protocol, fds))
MAKES_TWO(pipe, (int fds[2]), (fds))
MAKES_TWO(pipe2, (int fds[2], int flags), (fds, flags))

/* ---- copies --------------------------------------------------------------------------------- */

/* `fd` is a copy of `from` now, in the kernel: in the table, too. */
static int copied(int from, int fd)
{
    if (fd < 0 || px_is_inside())
        return px_descriptors_kept(fd);
    bool was_ours = px_table_has(fd);
    struct px_desc *desc = px_desc_get(from);
    if (desc && !px_table_set(fd, desc)) {
        px_desc_put(desc);
        PX_NEXT(close)(fd);
        errno = EMFILE;
        return -1;
    }
    if (!desc)
        px_table_set(fd, NULL);
    px_desc_put(desc);
    if (fd <= 2 && (desc || was_ours))
        px_streams_follow(fd);
    return fd;
}

/* Locks of the process end when any descriptor of the file is closed, as this does with `fd`. */
static bool may_replace(int from, int fd)
{
    if (px_is_inside() || from == fd)
        return true;
    if (px_table_is_marked(fd)) {
        px_say_once("dup2", "a descriptor was asked for by a number that libweft uses (EBUSY)");
        errno = EBUSY;
        return false;
    }
    struct px_desc *desc = px_desc_get(fd);
    if (desc && px_table_has(from))
        px_locks_closed(desc);
    px_desc_put(desc);
    if (fd >= 0 && fd <= 2 && px_table_has(fd))
        px_streams_leave(fd);
    return true;
}

PX_EXPORT int dup(int fd)
{
    return copied(fd, PX_NEXT(dup)(fd));
}

PX_EXPORT int dup2(int from, int fd)
{
    if (!may_replace(from, fd))
        return -1;
    int result = PX_NEXT(dup2)(from, fd);
    return from == fd ? result : copied(from, result);
}

PX_EXPORT int dup3(int from, int fd, int flags)
{
    if (!may_replace(from, fd))
        return -1;
    return copied(from, PX_NEXT(dup3)(from, fd, flags));
}

/* ---- fcntl ------------------------------------------------------------------------------------ */

/* What F_SETFL may change. */
#define FLAGS_CHANGED (O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME)

static int set_flags(struct px_desc *desc, int flags)
{
    desc->flags = (desc->flags & ~FLAGS_CHANGED) | (flags & FLAGS_CHANGED);
    return 0;
}

static int control(struct px_desc *desc, int fd, int command, void *argument)
{
    switch (command) {
    case F_GETFL:
        return desc->flags & ~(O_NOFOLLOW & ~O_PATH);
    case F_SETFL:
        return set_flags(desc, (int)(intptr_t)argument);
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return px_locks_fcntl(desc, fd, command, argument);
    case F_GETFD:
    case F_SETFD: {
        int result = PX_NEXT(fcntl)(fd, command, argument);
        return result < 0 ? -errno : result;
    }
    case F_GETLEASE:
        return F_UNLCK;
    default:
        px_say_once("fcntl", "fcntl() knows this command not for files on Weft (EINVAL)");
        return -EINVAL;
    }
}

#define FCNTL(name)                                                        \
    PX_EXPORT int name(int fd, int command, ...)                           \
    {                                                                      \
        va_list arguments;                                                 \
        va_start(arguments, command);                                      \
        void *argument = va_arg(arguments, void *);                        \
        va_end(arguments);                                                 \
        if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)              \
            return copied(fd, PX_NEXT(name)(fd, command, argument));       \
        struct px_desc *desc = px_is_inside() ? NULL : px_desc_get(fd);    \
        if (!desc)                                                         \
            return PX_NEXT(name)(fd, command, argument);                   \
        PX_COUNT(name);                                                    \
        int result = (int)px_return(control(desc, fd, command, argument)); \
        px_desc_put(desc);                                                 \
        return result;                                                     \
    }
FCNTL(fcntl)
FCNTL(fcntl64)
