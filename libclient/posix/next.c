/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>

#include "next.h"

#include <dlfcn.h>
#include <errno.h>

struct px_next px_next_table;
bool px_next_ready;

static const char *const names[] = {
#define NAME(name) #name,
    PX_CALLS(NAME)
#undef NAME
};

/* An older libc does not have all of them: nothing in a program that runs with it can call those. */
void px_next_init(void)
{
    int saved = errno;
    void **pointers = (void **)&px_next_table;
    for (size_t i = 0; i < PX_CALL_END; i++)
        pointers[i] = dlsym(RTLD_NEXT, names[i]);
    __atomic_store_n(&px_next_ready, true, __ATOMIC_RELEASE);
    errno = saved;
}
