/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wraps.h: what of libc, and a little of Weft, the simulation takes the place of. The linker gives each
 * call of NAME, in the programs and here, to __wrap_NAME, and what that calls __real_NAME is libc's own.
 * The names are the linker's, not ours. The list for it is sim_wraps in tests/sim/Makemodule.am.
 */
#ifndef TEST_SIM_WRAPS_H
#define TEST_SIM_WRAPS_H

#include <dirent.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <time.h>

/* X(result, name, parameters) */
#define WRAPS(X)                                                                                            \
    X(void *, malloc, (size_t length))                                                                      \
    X(void *, calloc, (size_t count, size_t length))                                                        \
    X(void *, realloc, (void *start, size_t length))                                                        \
    X(void, free, (void *start))                                                                            \
    X(int, posix_memalign, (void **start, size_t alignment, size_t length))                                 \
    X(char *, strdup, (const char *text))                                                                   \
    X(char *, strndup, (const char *text, size_t length))                                                   \
    X(int, vasprintf, (char **text, const char *format, va_list arguments))                                 \
    X(int, asprintf, (char **text, const char *format, ...))                                                \
    X(char *, realpath, (const char *path, char *resolved))                                                 \
    X(void *, mmap, (void *start, size_t length, int protection, int flags, int fd, off_t offset))          \
    X(int, munmap, (void *start, size_t length))                                                            \
    X(int, clock_gettime, (clockid_t clock, struct timespec * time))                                        \
    X(time_t, time, (time_t * out))                                                                         \
    X(int, sched_yield, (void))                                                                             \
    X(int, usleep, (useconds_t us))                                                                         \
    X(ssize_t, getrandom, (void *buffer, size_t length, unsigned flags))                                    \
    X(void, randombytes_buf, (void *const buffer, const size_t length))                                     \
    X(int, pthread_mutex_init, (pthread_mutex_t * mutex, const pthread_mutexattr_t *attributes))            \
    X(int, pthread_mutex_destroy, (pthread_mutex_t * mutex))                                                \
    X(int, pthread_mutex_trylock, (pthread_mutex_t * mutex))                                                \
    X(int, pthread_mutex_lock, (pthread_mutex_t * mutex))                                                   \
    X(int, pthread_mutex_unlock, (pthread_mutex_t * mutex))                                                 \
    X(int, pthread_condattr_init, (pthread_condattr_t * attributes))                                        \
    X(int, pthread_condattr_setclock, (pthread_condattr_t * attributes, clockid_t clock))                   \
    X(int, pthread_condattr_destroy, (pthread_condattr_t * attributes))                                     \
    X(int, pthread_cond_init, (pthread_cond_t * condition, const pthread_condattr_t *attributes))           \
    X(int, pthread_cond_destroy, (pthread_cond_t * condition))                                              \
    X(int, pthread_cond_signal, (pthread_cond_t * condition))                                               \
    X(int, pthread_cond_broadcast, (pthread_cond_t * condition))                                            \
    X(int, pthread_cond_wait, (pthread_cond_t * condition, pthread_mutex_t * mutex))                        \
    X(int, pthread_cond_timedwait,                                                                          \
      (pthread_cond_t * condition, pthread_mutex_t * mutex, const struct timespec *until))                  \
    X(int, pthread_create,                                                                                  \
      (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *arg), void *arg))           \
    X(int, pthread_join, (pthread_t thread, void **result))                                                 \
    X(pthread_t, pthread_self, (void))                                                                      \
    X(int, pthread_setname_np, (pthread_t thread, const char *name))                                        \
    X(int, pthread_sigmask, (int how, const sigset_t *set, sigset_t *before))                               \
    X(int, sem_init, (sem_t * semaphore, int shared, unsigned value))                                       \
    X(int, sem_destroy, (sem_t * semaphore))                                                                \
    X(int, sem_wait, (sem_t * semaphore))                                                                   \
    X(int, sem_post, (sem_t * semaphore))                                                                   \
    X(int, epoll_create1, (int flags))                                                                      \
    X(int, epoll_ctl, (int epoll, int operation, int fd, struct epoll_event *event))                        \
    X(int, epoll_wait, (int epoll, struct epoll_event *events, int count, int timeout_ms))                  \
    X(int, poll, (struct pollfd * fds, nfds_t count, int timeout_ms))                                       \
    X(int, eventfd, (unsigned value, int flags))                                                            \
    X(int, timerfd_create, (int clock, int flags))                                                          \
    X(int, timerfd_settime, (int fd, int flags, const struct itimerspec *value, struct itimerspec *before)) \
    X(int, signalfd, (int fd, const sigset_t *set, int flags))                                              \
    X(ssize_t, read, (int fd, void *buffer, size_t length))                                                 \
    X(ssize_t, write, (int fd, const void *buffer, size_t length))                                          \
    X(int, close, (int fd))                                                                                 \
    X(int, closedir, (DIR * dir))                                                                           \
    X(int, open, (const char *path, int flags, ...))                                                        \
    X(int, openat, (int directory, const char *path, int flags, ...))                                       \
    X(int, fallocate, (int fd, int mode, off_t offset, off_t length))                                       \
    X(int, fstatvfs, (int fd, struct statvfs *fs))                                                          \
    X(int, socket, (int domain, int type, int protocol))                                                    \
    X(int, bind, (int fd, const struct sockaddr *address, socklen_t length))                                \
    X(int, listen, (int fd, int backlog))                                                                   \
    X(int, accept4, (int fd, struct sockaddr *address, socklen_t *length, int flags))                       \
    X(int, connect, (int fd, const struct sockaddr *address, socklen_t length))                             \
    X(ssize_t, send, (int fd, const void *buffer, size_t length, int flags))                                \
    X(ssize_t, recv, (int fd, void *buffer, size_t length, int flags))                                      \
    X(int, getsockopt, (int fd, int level, int option, void *value, socklen_t *length))                     \
    X(int, setsockopt, (int fd, int level, int option, const void *value, socklen_t length))                \
    X(int, getsockname, (int fd, struct sockaddr *address, socklen_t *length))                              \
    X(int, getpeername, (int fd, struct sockaddr *address, socklen_t *length))                              \
    X(int, getaddrinfo,                                                                                     \
      (const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **info))           \
    X(void, freeaddrinfo, (struct addrinfo * info))                                                         \
    X(pid_t, getpid, (void))                                                                                \
    X(int, gethostname, (char *name, size_t size))                                                          \
    X(void, exit, (int status))                                                                             \
    X(int, control_host_identity, (uint8_t host[16]))                                                       \
    X(int, boot_id, (uint8_t id[16]))

#define WRAP_DECLARE(result, name, parameters) \
    result __wrap_##name parameters;           \
    result __real_##name parameters;
WRAPS(WRAP_DECLARE)
#undef WRAP_DECLARE

#endif
