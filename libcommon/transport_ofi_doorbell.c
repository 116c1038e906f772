/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libfabric's shared-memory provider has no descriptor to sleep on. So a worker that uses it has a word in
 * its memory that says whether it sleeps, and a socket that wakes it. Whoever has sent to it reads the
 * word, by process_vm_readv(), and writes to the socket if need be.
 *
 * Order: the sleeper sets the word, then looks for messages once more; the sender sends, then reads the
 * word. So one of them sees what the other did.
 */
#include "transport_ofi.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <sodium.h>

#include "err.h"

#define NAME_BYTES 32u

struct ofi_doorbell {
    _Atomic uint32_t sleeps;
    int fd;
    char name[NAME_BYTES];
};

struct ofi_bell {
    pid_t pid;
    uint64_t word_address;
    int fd;
    struct sockaddr_un to;
    socklen_t to_length;
};

/* A name that is in no file system: Linux's abstract sockets. */
static socklen_t address_make(struct sockaddr_un *address, const char *name)
{
    size_t length = strlen(name);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path + 1, name, length);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

static int socket_make(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? err_sys("making a socket") : fd;
}

/* ---- one's own ------------------------------------------------------------------------ */

int ofi_doorbell_open(struct ofi_doorbell **out)
{
    struct sockaddr_un address;
    struct ofi_doorbell *doorbell = calloc(1, sizeof *doorbell);
    if (!doorbell)
        return err_set(-ENOMEM, "out of memory for a transport worker");
    uint64_t random;
    randombytes_buf(&random, sizeof random);
    snprintf(doorbell->name, sizeof doorbell->name, "weft-%016llx", (unsigned long long)random);
    doorbell->fd = socket_make();
    int error = doorbell->fd < 0 ? doorbell->fd : 0;
    socklen_t length = address_make(&address, doorbell->name);
    if (!error && bind(doorbell->fd, (struct sockaddr *)&address, length))
        error = err_sys("binding a socket to @%s", doorbell->name);
    if (error) {
        ofi_doorbell_close(doorbell);
        return error;
    }
    *out = doorbell;
    return 0;
}

void ofi_doorbell_close(struct ofi_doorbell *doorbell)
{
    if (doorbell->fd >= 0)
        close(doorbell->fd);
    free(doorbell);
}

int ofi_doorbell_fd(const struct ofi_doorbell *doorbell)
{
    return doorbell->fd;
}

void ofi_doorbell_describe(const struct ofi_doorbell *doorbell, struct wire_ofi_address *address)
{
    address->awake_address = (uint64_t)(uintptr_t)&doorbell->sleeps;
    address->doorbell = doorbell->name;
}

void ofi_doorbell_listen(struct ofi_doorbell *doorbell)
{
    atomic_store(&doorbell->sleeps, 1);
    atomic_thread_fence(memory_order_seq_cst);
}

void ofi_doorbell_answer(struct ofi_doorbell *doorbell)
{
    char bytes[16];
    if (!atomic_exchange(&doorbell->sleeps, 0))
        return;
    while (recv(doorbell->fd, bytes, sizeof bytes, 0) > 0)
        ;
}

/* ---- another's ---------------------------------------------------------------------------- */

int ofi_bell_open(const struct wire_ofi_address *address, struct ofi_bell **out)
{
    if (strlen(address->doorbell) >= NAME_BYTES)
        return err_set(-EPROTO, "the peer's socket to wake it has too long a name");
    struct ofi_bell *bell = calloc(1, sizeof *bell);
    if (!bell)
        return err_set(-ENOMEM, "out of memory for a peer");
    bell->pid = (pid_t)address->pid;
    bell->word_address = address->awake_address;
    bell->to_length = address_make(&bell->to, address->doorbell);
    bell->fd = socket_make();
    if (bell->fd < 0) {
        int error = bell->fd;
        free(bell);
        return error;
    }
    *out = bell;
    return 0;
}

void ofi_bell_close(struct ofi_bell *bell)
{
    close(bell->fd);
    free(bell);
}

void ofi_bell_ring(struct ofi_bell *bell)
{
    uint32_t sleeps = 1;
    struct iovec to = {&sleeps, sizeof sleeps};
    struct iovec from = {(void *)(uintptr_t)bell->word_address, sizeof sleeps};
    atomic_thread_fence(memory_order_seq_cst);
    if (process_vm_readv(bell->pid, &to, 1, &from, 1, 0) == sizeof sleeps && !sleeps)
        return;
    /* When the socket is full, it is awake soon enough; when nobody is there, the control socket tells. */
    sendto(bell->fd, "", 1, MSG_NOSIGNAL, (struct sockaddr *)&bell->to, bell->to_length);
}
