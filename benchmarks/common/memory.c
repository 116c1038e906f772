/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.c: memory whose pages are there.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/memory.h"
#include "common/program.h"

/* Lets the kernel write the memory. In some virtual machines its first access to a page costs microseconds,
 * even to one that the program has written before. */
static void touch_by_kernel(char *memory, size_t bytes)
{
    int zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    for (ssize_t got = 1; zeros >= 0 && bytes > 0 && got > 0; memory += got, bytes -= (size_t)got)
        got = read(zeros, memory, bytes);
    if (zeros >= 0)
        close(zeros);
}

void *memory_make(size_t bytes)
{
    void *memory = NULL;
    size_t room = bytes + 1; /* none is an address as well */
    if (posix_memalign(&memory, 4096, room))
        program_die("out of memory for %zu bytes", bytes);
    touch_by_kernel(memory, room);
    memset(memory, 0xee, room);
    return memory;
}
