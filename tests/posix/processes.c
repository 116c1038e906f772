/* SPDX-License-Identifier: Apache-2.0 */
/* Several processes: shared offsets, inherited descriptors, appending, locks. See show.h. */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "show.h"

static const char *self;

static int status_of(pid_t child)
{
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

static void tell_file(const char *name)
{
    char buffer[256] = "";
    int fd = open(name, O_RDONLY);
    ssize_t length = fd < 0 ? -1 : read(fd, buffer, sizeof buffer - 1);
    TELL("%s has %zd bytes: %s", name, length, buffer);
    close(fd);
}

static void shared_offset(void)
{
    char buffer[8] = "";
    int fd = open("shared", O_RDWR | O_CREAT | O_TRUNC, 0600);
    SHOW(write(fd, "0123456789", 10));
    SHOW(lseek(fd, 2, SEEK_SET));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int length = (int)read(fd, buffer, 3);
        _exit(length == 3 && memcmp(buffer, "234", 3) == 0 && lseek(fd, 0, SEEK_CUR) == 5 ? 3 : 4);
    }
    SHOW(status_of(child));
    SHOW(lseek(fd, 0, SEEK_CUR));
    SHOW(read(fd, buffer, 2));
    TELL("%.2s", buffer);
    fflush(stdout);
    child = fork();
    if (child == 0) {
        lseek(fd, 0, SEEK_END);
        _exit(write(fd, "child", 5) == 5 ? 0 : 1);
    }
    SHOW(status_of(child));
    SHOW(write(fd, "parent", 6));
    SHOW(close(fd));
    tell_file("shared");
    unlink("shared");
}

/* What is opened in the child is the child's alone; what is closed there stays open here. */
static void apart(void)
{
    int fd = open("apart", O_RDWR | O_CREAT | O_TRUNC, 0600);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        close(fd);
        int own = open("apart", O_WRONLY);
        _exit(own >= 0 && write(own, "from child", 10) == 10 && close(own) == 0 ? 0 : 1);
    }
    SHOW(status_of(child));
    SHOW(pwrite(fd, "FROM", 4, 0));
    SHOW(close(fd));
    tell_file("apart");
    unlink("apart");
}

/* The program that is started writes to 5, and tells where 6 stands. */
static int inheritor(void)
{
    char buffer[8] = "";
    int length = (int)write(5, "inherited ", 10);
    if (length != 10 || read(6, buffer, 2) != 2)
        return 1;
    return fcntl(7, F_GETFD) == -1 ? buffer[0] - '0' : 2;
}

static void programs(void)
{
    int out = open("out", O_WRONLY | O_CREAT | O_TRUNC, 0600),
        in = open("in", O_RDWR | O_CREAT | O_TRUNC, 0600);
    SHOW(write(in, "01234567", 8));
    SHOW(lseek(in, 3, SEEK_SET));
    SHOW(write(out, "begin ", 6));
    SHOW(dup2(out, 5));
    SHOW(dup2(in, 6));
    SHOW(dup3(in, 7, O_CLOEXEC));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        execl(self, self, "inherit", NULL);
        _exit(98);
    }
    SHOW(status_of(child));
    SHOW(lseek(in, 0, SEEK_CUR));
    extern char **environ;
    char *const arguments[] = {(char *)self, "inherit", NULL};
    SHOW(posix_spawn(&child, self, NULL, NULL, arguments, environ));
    SHOW(status_of(child));
    SHOW(write(out, "end", 3));
    close(5);
    close(6);
    close(7);
    close(in);
    close(out);
    tell_file("out");
    SHOW(system("echo from a shell >> out"));
    tell_file("out");
    unlink("in");
    unlink("out");
}

enum { WRITERS = 3, RECORDS = 40, RECORD = 32 };

static void appending(void)
{
    char record[RECORD + 1];
    pid_t children[WRITERS];
    int seen[WRITERS] = {0}, torn = 0, failed = 0;
    close(open("log", O_CREAT | O_TRUNC | O_WRONLY, 0600));
    fflush(stdout);
    for (int i = 0; i < WRITERS; i++) {
        children[i] = fork();
        if (children[i] != 0)
            continue;
        int fd = open("log", O_WRONLY | O_APPEND);
        for (int k = 0; k < RECORDS; k++) {
            snprintf(record, sizeof record, "%d %-28d|\n", i, k);
            if (write(fd, record, RECORD) != RECORD)
                _exit(1);
        }
        _exit(close(fd));
    }
    for (int i = 0; i < WRITERS; i++)
        failed += status_of(children[i]) != 0;
    SHOW(failed);
    int fd = open("log", O_RDONLY);
    SHOW(lseek(fd, 0, SEEK_END));
    lseek(fd, 0, SEEK_SET);
    while (read(fd, record, RECORD) == RECORD) {
        int writer = record[0] - '0';
        if (writer < 0 || writer >= WRITERS || record[RECORD - 2] != '|' ||
            atoi(record + 2) != seen[writer]++)
            torn++;
    }
    SHOW(torn);
    close(fd);
    unlink("log");
}

/* ---- locks: another process says what it could get ------------------------------------------------ */

static int try(int fd, int command, int type, off_t start, off_t length)
{
    struct flock lock = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(fd, command, &lock);
}

/* 0, or the error, of a process that tries it and ends. */
static int other_tries(int type, off_t start, off_t length)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int fd = open("locked", O_RDWR);
        int result = try(fd, F_SETLK, type, start, length);
        _exit(result == 0 ? 0 : errno == EACCES || errno == EAGAIN ? 1 : 2);
    }
    return status_of(child);
}

/* What kind of lock another process sees in its way. */
static int other_sees(int type, off_t start, off_t length)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int fd = open("locked", O_RDWR);
        struct flock lock = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
        int result = fcntl(fd, F_GETLK, &lock);
        _exit(result < 0 ? 90 : lock.l_type == F_UNLCK ? 0 : lock.l_type == F_RDLCK ? 1 : 2);
    }
    return status_of(child);
}

static void locks(void)
{
    int fd = open("locked", O_RDWR | O_CREAT | O_TRUNC, 0600);
    SHOW(try(fd, F_SETLK, F_WRLCK, 10, 20));
    SHOW(other_tries(F_WRLCK, 0, 10));
    SHOW(other_tries(F_RDLCK, 29, 5));
    SHOW(other_tries(F_RDLCK, 30, 5));
    SHOW(other_sees(F_WRLCK, 0, 0));
    SHOW(other_sees(F_RDLCK, 0, 10));
    SHOW(try(fd, F_SETLK, F_UNLCK, 15, 5));
    SHOW(other_tries(F_WRLCK, 15, 5));
    SHOW(other_tries(F_WRLCK, 14, 1));
    SHOW(other_tries(F_WRLCK, 20, 1));
    SHOW(try(fd, F_SETLK, F_RDLCK, 0, 100));
    SHOW(other_tries(F_RDLCK, 0, 0));
    SHOW(other_tries(F_WRLCK, 99, 1));
    SHOW(other_sees(F_WRLCK, 50, 1));
    SHOW(try(fd, F_SETLK, F_WRLCK, 40, 0));
    SHOW(other_tries(F_RDLCK, 1000000, 1));
    SHOW(other_tries(F_RDLCK, 39, 1));
    int again = open("locked", O_RDONLY);
    SHOW(close(again));
    SHOW(other_tries(F_WRLCK, 0, 0));
    SHOW(try(fd, F_SETLK, F_WRLCK, -5, 3));
    int reader = open("locked", O_RDONLY);
    SHOW(try(reader, F_SETLK, F_WRLCK, 0, 1));
    close(reader);
    SHOW(lockf(fd, F_TLOCK, 0));
    SHOW(other_tries(F_RDLCK, 5, 1));
    SHOW(lockf(fd, F_ULOCK, 0));
    SHOW(other_tries(F_RDLCK, 5, 1));
    close(fd);
}

/* Who waits gets it when the other one gives it back, and finds what that wrote. */
static void waiting(void)
{
    int fd = open("locked", O_RDWR), pipes[2];
    char byte = 0;
    SHOW(pipe(pipes));
    SHOW(try(fd, F_SETLKW, F_WRLCK, 0, 0));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int own = open("locked", O_RDWR);
        write(pipes[1], "x", 1);
        if (try(own, F_SETLKW, F_WRLCK, 0, 0) != 0 || pread(own, &byte, 1, 0) != 1)
            _exit(99);
        _exit(byte);
    }
    SHOW(read(pipes[0], &byte, 1));
    usleep(50000);
    SHOW(pwrite(fd, "A", 1, 0));
    SHOW(try(fd, F_SETLK, F_UNLCK, 0, 0));
    SHOW(status_of(child));
    close(fd);
    close(pipes[0]);
    close(pipes[1]);
}

static int other_flocks(int operation)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int fd = open("locked", O_RDONLY);
        int result = flock(fd, operation | LOCK_NB);
        _exit(result == 0 ? 0 : errno == EWOULDBLOCK ? 1 : 2);
    }
    return status_of(child);
}

static void whole_files(void)
{
    int fd = open("locked", O_RDONLY), other = open("locked", O_RDONLY);
    SHOW(flock(fd, LOCK_SH));
    SHOW(other_flocks(LOCK_SH));
    SHOW(other_flocks(LOCK_EX));
    SHOW(flock(fd, LOCK_EX | LOCK_NB));
    SHOW(flock(other, LOCK_SH | LOCK_NB));
    SHOW(other_flocks(LOCK_SH));
    SHOW(other_tries(F_WRLCK, 0, 0));
    SHOW(flock(fd, LOCK_UN));
    SHOW(other_flocks(LOCK_EX));
    SHOW(flock(other, LOCK_EX));
    SHOW(close(other));
    SHOW(other_flocks(LOCK_EX));
    close(fd);
    unlink("locked");
}

/* ---- locks: what one process may do with its own, and what it says of others' --------------------- */

static short sees(int fd, int command, int type, struct flock *lock)
{
    *lock = (struct flock){.l_type = (short)type, .l_whence = SEEK_SET};
    return fcntl(fd, command, lock) < 0 ? (short)-errno : lock->l_type;
}

/* A split in the middle, an upgrade that fails and loses nothing, and whose lock it is. */
static void parts(void)
{
    int fd = open("parts", O_RDWR | O_CREAT | O_TRUNC, 0600), pipes[2], result;
    char byte;
    SHOW(try(fd, F_SETLK, F_WRLCK, 0, 100));
    SHOW(try(fd, F_SETLK, F_UNLCK, 40, 20));
    SHOW(try(fd, F_SETLK, F_RDLCK, 10, 10));
    SHOW(pipe(pipes));
    fflush(stdout);
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        int own = open("parts", O_RDWR);
        struct flock lock;
        result = sees(own, F_GETLK, F_WRLCK, &lock) != F_WRLCK || lock.l_pid != parent || lock.l_start != 0 ||
                 lock.l_len != 10;
        result |= try(own, F_SETLK, F_WRLCK, 40, 20) != 0 ? 2 : 0;
        result |= try(own, F_SETLK, F_RDLCK, 12, 4) != 0 ? 4 : 0;
        result |= try(own, F_SETLK, F_RDLCK, 39, 1) == 0 ? 8 : 0;
        result |= write(pipes[1], &result, 1) == 1 ? 0 : 16;
        pause();
    }
    SHOW(read(pipes[0], &byte, 1));
    SHOW(byte);
    /* The child shares a part of it. */
    SHOW(try(fd, F_SETLK, F_WRLCK, 0, 40));
    kill(child, SIGKILL);
    waitpid(child, &result, 0);
    SHOW(try(fd, F_SETLKW, F_WRLCK, 0, 40));
    close(fd);
    unlink("parts");
}

static void on_alarm(int number)
{
    (void)number;
}

static void interrupted(void)
{
    int fd = open("parts", O_RDWR | O_CREAT | O_TRUNC, 0600), pipes[2];
    char byte;
    SHOW(pipe(pipes));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int own = open("parts", O_RDWR);
        byte = try(own, F_SETLK, F_WRLCK, 0, 1) == 0;
        (void)!write(pipes[1], &byte, 1);
        pause();
    }
    SHOW(read(pipes[0], &byte, 1));
    struct sigaction action = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &action, NULL);
    for (int i = 0; i < 3; i++) {
        ualarm(50000, 0);
        SHOW(try(fd, F_SETLKW, F_RDLCK, 0, 1));
    }
    /* The process that has it ends, and with it the lock. */
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, NULL);
    ualarm(50000, 0);
    fflush(stdout);
    pid_t killer = fork();
    if (killer == 0) {
        usleep(200000);
        kill(child, SIGKILL);
        _exit(0);
    }
    SHOW(try(fd, F_SETLKW, F_RDLCK, 0, 1));
    waitpid(child, NULL, 0);
    waitpid(killer, NULL, 0);
    close(fd);
    unlink("parts");
}

/* Two processes, each with a lock that the other one waits for: one is told. */
static void deadlock(void)
{
    int fd = open("parts", O_RDWR | O_CREAT | O_TRUNC, 0600), pipes[2], status = 0;
    char byte;
    SHOW(pipe(pipes));
    SHOW(try(fd, F_SETLK, F_WRLCK, 0, 1));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int own = open("parts", O_RDWR);
        byte = try(own, F_SETLK, F_WRLCK, 1, 1) == 0;
        (void)!write(pipes[1], &byte, 1);
        int result = try(own, F_SETLKW, F_WRLCK, 0, 1);
        _exit(result == 0 ? 0 : errno == EDEADLK ? 1 : 2);
    }
    SHOW(read(pipes[0], &byte, 1));
    int result = try(fd, F_SETLKW, F_WRLCK, 1, 1), error = errno;
    if (result < 0)
        try(fd, F_SETLK, F_UNLCK, 0, 0);
    waitpid(child, &status, 0);
    SHOW((result < 0) + WEXITSTATUS(status));
    SHOW(result < 0 ? error == EDEADLK : 1);
    close(fd);
    unlink("parts");
}

/* Those of an open file description: apart from those of the process, and of other descriptions. */
static void descriptions(void)
{
    int fd = open("parts", O_RDWR | O_CREAT | O_TRUNC, 0600), other = open("parts", O_RDWR), copy = dup(fd);
    struct flock lock;
    SHOW(try(fd, F_OFD_SETLK, F_WRLCK, 0, 10));
    SHOW(try(copy, F_OFD_SETLK, F_RDLCK, 5, 5));
    SHOW(try(other, F_OFD_SETLK, F_RDLCK, 5, 5));
    SHOW(try(other, F_OFD_SETLK, F_RDLCK, 4, 1));
    SHOW(try(fd, F_SETLK, F_RDLCK, 0, 1));
    SHOW(sees(other, F_OFD_GETLK, F_WRLCK, &lock));
    SHOW(lock.l_pid);
    SHOW(lock.l_start);
    close(copy);
    SHOW(try(other, F_OFD_SETLK, F_RDLCK, 4, 1));
    close(fd);
    SHOW(try(other, F_OFD_SETLKW, F_WRLCK, 0, 10));
    close(other);
    unlink("parts");
}

static void *wait_for_lock(void *arg)
{
    int fd = *(int *)arg;
    try(fd, F_SETLKW, F_WRLCK, 0, 0);
    return NULL;
}

/* A process ends while one of its threads waits for a lock that nobody gives back. */
static void ending_while_waiting(void)
{
    int fd = open("held", O_RDWR | O_CREAT | O_TRUNC, 0600);
    SHOW(try(fd, F_SETLK, F_WRLCK, 0, 0));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        int own = open("held", O_RDWR);
        pthread_create(&thread, NULL, wait_for_lock, &own);
        usleep(200000);
        exit(7);
    }
    SHOW(status_of(child));
    SHOW(try(fd, F_SETLK, F_UNLCK, 0, 0));
    close(fd);
    unlink("held");
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc > 1 && strcmp(argv[1], "inherit") == 0)
        return inheritor();
    if (argc < 2 || chdir(argv[1]) < 0)
        return 99;
    shared_offset();
    apart();
    programs();
    appending();
    locks();
    waiting();
    whole_files();
    parts();
    interrupted();
    deadlock();
    descriptions();
    ending_while_waiting();
    return 0;
}
