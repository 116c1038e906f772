/* SPDX-License-Identifier: Apache-2.0 */
#include "marks.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

void marks_free(struct marks *marks)
{
    for (uint64_t i = 0; marks->near && i < MARKS_NEAR; i++)
        free(marks->near[i]);
    for (uint64_t i = 0; i < marks->far_room; i++)
        free(marks->far[i]);
    free(marks->near);
    free(marks->far);
    *marks = (struct marks){0};
}

static int no_memory(void)
{
    return err_set(-ENOMEM, "out of memory for the position in a directory");
}

static int set(char **slot, const char *name)
{
    char *copy = strdup(name);
    if (!copy)
        return no_memory();
    free(*slot);
    *slot = copy;
    return 0;
}

static int add_far(struct marks *marks, uint64_t index, const char *name)
{
    if (index >= marks->far_room) {
        uint64_t room = marks->far_room ? 2 * marks->far_room : 64;
        char **far = realloc(marks->far, room * sizeof *far);
        if (!far)
            return no_memory();
        memset(far + marks->far_room, 0, (room - marks->far_room) * sizeof *far);
        marks->far = far;
        marks->far_room = room;
    }
    return set(&marks->far[index], name);
}

int marks_add(struct marks *marks, const char *name)
{
    uint64_t position = marks->count + 1;
    if (!marks->near)
        marks->near = calloc(MARKS_NEAR, sizeof *marks->near);
    int error = marks->near ? set(&marks->near[position % MARKS_NEAR], name) : no_memory();
    if (!error && position % MARKS_STEP == 0)
        error = add_far(marks, position / MARKS_STEP, name);
    if (error)
        return error;
    marks->count = position;
    if (marks->near_from == 0)
        marks->near_from = 1;
    if (position >= marks->near_from + MARKS_NEAR)
        marks->near_from = position - MARKS_NEAR + 1;
    return 0;
}

uint64_t marks_find(const struct marks *marks, uint64_t position, const char **name)
{
    uint64_t found = position < marks->count ? position : marks->count;
    bool is_near = marks->near_from > 0 && found >= marks->near_from;
    *name = "";
    if (!is_near)
        found -= found % MARKS_STEP;
    if (found > 0)
        *name = is_near ? marks->near[found % MARKS_NEAR] : marks->far[found / MARKS_STEP];
    return found;
}

void marks_cut(struct marks *marks, uint64_t position)
{
    if (position < marks->count)
        marks->count = position;
    if (marks->near_from > marks->count)
        marks->near_from = marks->count + 1;
}
