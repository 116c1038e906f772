/* SPDX-License-Identifier: Apache-2.0 */
/* Locks of two mounts on one file, which is two inodes for this kernel: only the cluster can keep the one
 * from what the other holds. Usage: locks FILE-ON-ONE FILE-ON-TWO */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int one, two;
static int failures;

static void check(int line, const char *what, int got, int wanted)
{
    if (got == wanted)
        return;
    fprintf(stderr, "line %d: %s: %s, not %s\n", line, what, strerror(got), strerror(wanted));
    failures++;
}

#define CHECK(call, wanted) check(__LINE__, #call, (call), wanted)

/* 0 or an errno. */
static int set_by(int fd, int command, short type, off_t start, off_t length)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(fd, command, &lock) == 0 ? 0 : errno;
}

static int set(int fd, short type, off_t start, off_t length)
{
    return set_by(fd, F_SETLK, type, start, length);
}

static int whole(int fd, int operation)
{
    return flock(fd, operation) == 0 ? 0 : errno;
}

/* The kernel tells of a last close after close() has returned. */
static int whole_soon(int fd, int operation)
{
    int error = EAGAIN;
    for (int i = 0; i < 200 && error == EAGAIN; i++) {
        error = whole(fd, operation | LOCK_NB);
        if (error)
            nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    return error;
}

static short found(int fd, short type, off_t start, off_t length)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(fd, F_GETLK, &lock) == 0 ? lock.l_type : (short)-1;
}

static void ranges(const char *path)
{
    CHECK(set(one, F_WRLCK, 0, 10), 0);
    CHECK(set(two, F_WRLCK, 5, 10), EAGAIN);
    CHECK(set(two, F_RDLCK, 9, 1), EAGAIN);
    CHECK(set(two, F_WRLCK, 10, 10), 0);
    if (found(two, F_RDLCK, 3, 1) != F_WRLCK || found(two, F_RDLCK, 30, 0) != F_UNLCK)
        CHECK(0, EINVAL);
    CHECK(set(one, F_UNLCK, 0, 10), 0);
    CHECK(set(two, F_WRLCK, 0, 10), 0);
    CHECK(set(two, F_UNLCK, 0, 0), 0);

    /* Shared by both, then exclusive in the middle of it. */
    CHECK(set(one, F_RDLCK, 0, 0), 0);
    CHECK(set(two, F_RDLCK, 0, 10), 0);
    CHECK(set(one, F_WRLCK, 50, 10), 0);
    CHECK(set(two, F_RDLCK, 55, 1), EAGAIN);
    CHECK(set(two, F_WRLCK, 0, 10), EAGAIN);
    CHECK(set(one, F_WRLCK, 0, 0), EAGAIN);
    CHECK(set(two, F_WRLCK, 200, 10), EAGAIN); /* what one had before is not lost by the refusal */
    /* Any descriptor that is closed takes all of the process's locks along. */
    close(open(path, O_RDONLY));
    CHECK(set(two, F_WRLCK, 0, 0), 0);
    CHECK(set(one, F_RDLCK, 12345, 1), EAGAIN);
    CHECK(set(two, F_UNLCK, 0, 0), 0);
}

/* Whose lock it is, a split in the middle, and an upgrade that nobody gets into. */
static void parts(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 15, .l_len = 100};
    CHECK(set(one, F_WRLCK, 0, 30), 0);
    CHECK(set(one, F_UNLCK, 10, 10), 0);
    CHECK(fcntl(two, F_GETLK, &lock) == 0 ? 0 : errno, 0);
    if (lock.l_type != F_WRLCK || lock.l_start != 20 || lock.l_len != 10 || lock.l_pid != getpid())
        CHECK(EINVAL, 0);
    CHECK(set(two, F_WRLCK, 10, 10), 0);
    CHECK(set(two, F_RDLCK, 9, 1), EAGAIN);
    CHECK(set(one, F_RDLCK, 0, 10), 0);
    CHECK(set(two, F_RDLCK, 9, 1), 0);
    CHECK(set(one, F_WRLCK, 0, 9), 0);
    CHECK(set(one, F_WRLCK, 0, 10), EAGAIN);
    CHECK(set(two, F_RDLCK, 8, 1), EAGAIN);
    CHECK(set(one, F_UNLCK, 0, 0), 0);
    CHECK(set(two, F_UNLCK, 0, 0), 0);
}

/* Two processes on two mounts, each with a lock that the other one waits for: one is told. */
static void deadlock(void)
{
    int pipes[2], status = 0;
    char byte;
    if (pipe(pipes) < 0)
        CHECK(errno, 0);
    CHECK(set(one, F_WRLCK, 0, 1), 0);
    pid_t child = fork();
    if (child == 0) {
        byte = (char)set(two, F_WRLCK, 1, 1);
        if (write(pipes[1], &byte, 1) != 1)
            _exit(9);
        int result = set_by(two, F_SETLKW, F_WRLCK, 0, 1);
        _exit(result == 0 ? 0 : result == EDEADLK ? 1 : 2);
    }
    CHECK(read(pipes[0], &byte, 1) == 1 ? byte : EINVAL, 0);
    int result = set_by(one, F_SETLKW, F_WRLCK, 1, 1);
    if (result)
        CHECK(set(one, F_UNLCK, 0, 0), 0);
    CHECK(waitpid(child, &status, 0) == child ? 0 : errno, 0);
    if (!(result == 0 && status == 1 << 8) && !(result == EDEADLK && status == 0)) {
        fprintf(stderr, "deadlock: %s here, status %#x there\n", strerror(result), status);
        failures++;
    }
    CHECK(set(one, F_UNLCK, 0, 0), 0);
}

/* Locks of an open file go with it, not with the process. */
static void open_files(const char *path)
{
    int file = open(path, O_RDWR), error = EAGAIN;
    CHECK(set_by(file, F_OFD_SETLK, F_WRLCK, 0, 10), 0);
    close(open(path, O_RDONLY));
    CHECK(set(two, F_RDLCK, 0, 10), EAGAIN);
    close(file);
    for (int i = 0; i < 200 && error == EAGAIN; i++) {
        error = set(two, F_WRLCK, 0, 10);
        if (error)
            nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    CHECK(error, 0);
    CHECK(set(two, F_UNLCK, 0, 10), 0);
}

static void whole_files(const char *path)
{
    int reader = open(path, O_RDONLY);
    CHECK(whole(reader, LOCK_EX | LOCK_NB), 0);
    CHECK(whole(two, LOCK_SH | LOCK_NB), EAGAIN);
    CHECK(set(two, F_WRLCK, 0, 0), 0); /* the two kinds don't know each other */
    CHECK(set(two, F_UNLCK, 0, 0), 0);
    CHECK(whole(reader, LOCK_SH | LOCK_NB), 0);
    CHECK(whole(two, LOCK_SH | LOCK_NB), 0);
    CHECK(whole(one, LOCK_EX | LOCK_NB), EAGAIN);
    close(reader);
    CHECK(whole_soon(two, LOCK_EX), 0);
    CHECK(whole(one, LOCK_SH | LOCK_NB), EAGAIN);
    CHECK(whole(two, LOCK_UN), 0);
    CHECK(whole(one, LOCK_SH | LOCK_NB), 0);
    CHECK(whole(one, LOCK_UN), 0);
}

static void on_alarm(int number)
{
    (void)number;
}

static void waiting(void)
{
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval soon = {.it_value.tv_usec = 300000};
    int status;
    sigaction(SIGALRM, &action, NULL);
    CHECK(set(one, F_WRLCK, 0, 1), 0);
    setitimer(ITIMER_REAL, &soon, NULL);
    CHECK(set_by(two, F_SETLKW, F_WRLCK, 0, 1), EINTR);
    CHECK(set(one, F_UNLCK, 0, 1), 0);
    CHECK(set(two, F_WRLCK, 0, 1), 0); /* who was interrupted is out of the line */
    pid_t child = fork();
    if (child == 0)
        _exit(set_by(one, F_SETLKW, F_WRLCK, 0, 1) == 0 ? 0 : 1);
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    CHECK(waitpid(child, &status, WNOHANG) == 0 ? 0 : EINVAL, 0);
    CHECK(set(two, F_UNLCK, 0, 1), 0);
    CHECK(waitpid(child, &status, 0) == child && status == 0 ? 0 : EINVAL, 0);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    one = open(argv[1], O_RDWR | O_CREAT, 0644);
    two = open(argv[2], O_RDWR);
    if (one < 0 || two < 0) {
        perror(argv[1]);
        return 1;
    }
    ranges(argv[1]);
    parts();
    open_files(argv[1]);
    whole_files(argv[1]);
    waiting();
    deadlock();
    return failures > 0;
}
