/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process in front waits for the one in the background on a pipe, over which comes a code and a text. And
 * a process that has mounted has a name that weft umount can ask the kernel for: an abstract socket, named
 * after the mount's device number, which is gone when the process is.
 */
#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "err.h"
#include "log.h"
#include "mounted.h"

static int front = -1; /* the pipe's end in the background */

/* What came, and how this process ends. */
static int wait_in_front(int pipe_end)
{
    char text[1024];
    size_t used = 0;
    ssize_t count;
    while ((count = read(pipe_end, text + used, sizeof text - 1 - used)) != 0) {
        if (count > 0)
            used += (size_t)count;
        else if (errno != EINTR)
            break;
    }
    text[used] = 0;
    if (used > 0 && text[0] == '0')
        return 0;
    fprintf(stderr, "weft-mount: %s\n", used > 1 ? text + 1 : "the process in the background ended at once");
    return 1;
}

int ready_begin(bool foreground)
{
    int ends[2];
    if (foreground)
        return 0;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_sys("a pipe");
    pid_t pid = fork();
    if (pid < 0)
        return err_sys("a process in the background");
    if (pid > 0) {
        close(ends[1]);
        _exit(wait_in_front(ends[0]));
    }
    close(ends[0]);
    front = ends[1];
    (void)setsid();
    return 0;
}

void ready_done(int error, const char *text)
{
    if (front < 0) {
        if (error)
            fprintf(stderr, "weft-mount: %s\n", text);
        return;
    }
    /* Whoever waited may be gone; the mount is there all the same. */
    dprintf(front, "%d%s", error ? 1 : 0, error ? text : "");
    close(front);
    front = -1;
}

void ready_name(const char *dir)
{
    struct mounted mounted;
    struct sockaddr_un address;
    socklen_t length;
    int name = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (name < 0 || mounted_find(dir, &mounted) <= 0) {
        log_warn("weft umount will not be able to wait for this process");
        return;
    }
    mounted_address(&mounted, &address, &length);
    /* Nobody is ever accepted: that the connection ends is all that it is for. */
    if (bind(name, (struct sockaddr *)&address, length) != 0 || listen(name, 64) != 0)
        log_warn("weft umount will not be able to wait for this process (%s)", err_name(-errno));
}
