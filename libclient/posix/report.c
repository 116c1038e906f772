/* SPDX-License-Identifier: Apache-2.0 */
/* What was taken over, told at the end of a process that was run with `weft run --report`. */
#include "px.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

atomic_ulong px_counts[PX_CALL_END];
atomic_ulong px_bytes_read, px_bytes_written;

static const char *const names[] = {
#define NAME(name) #name,
    PX_CALLS(NAME)
#undef NAME
};

#define TEXT_ROOM 8192

/* One write, so that the lines of processes that end together stay apart. */
void px_report(void)
{
    const char *wanted = getenv("WEFT_REPORT");
    char text[TEXT_ROOM];
    size_t used = 0;
    if (!wanted || !*wanted)
        return;
    used += (size_t)snprintf(text, sizeof text, "weft: %s[%d]: read %lu bytes, wrote %lu;",
                             program_invocation_short_name, (int)getpid(), px_bytes_read, px_bytes_written);
    for (size_t i = 0; i < PX_CALL_END && used < sizeof text - 64; i++)
        if (px_counts[i])
            used += (size_t)snprintf(text + used, sizeof text - used, " %s %lu", names[i], px_counts[i]);
    if (px_mounted_opens)
        used += (size_t)snprintf(text + used, sizeof text - used, "; past a mount %lu", px_mounted_opens);
    text[used++] = '\n';
    px_inside++;
    bool is_file = strcmp(wanted, "-") != 0;
    int fd = is_file ? PX_NEXT(open)(wanted, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666) : 2;
    if (fd >= 0 && PX_NEXT(write)(fd, text, used) >= 0 && is_file)
        PX_NEXT(close)(fd);
    px_inside--;
}
