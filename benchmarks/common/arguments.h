/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arguments.h: what the command lines of the MPI benchmarks have in common: numbers, lists with commas,
 * and names of what is to be done.
 *
 * All ranks read the command line, and one of them talks. Nothing here needs MPI, so that --help
 * needs no mpirun.
 */
#ifndef BENCHMARK_ARGUMENTS_H
#define BENCHMARK_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* argument_number(): of "64m" and the like, with k, m and g as powers of 1024. 0 when it is none from 1
 * on that an int64_t holds. */
int64_t argument_number(const char *text);
/* argument_part(): takes the text up to the next comma, and that comma, from the front of `text`. `room`
 * counts the final 0. False when there is none, or too long a one. */
bool argument_part(const char **text, char *into, size_t room);

enum { CHOSEN_MAX = 32 };

/* What was chosen from a list, in that order. */
struct chosen {
    unsigned indices[CHOSEN_MAX];
    unsigned count;
};

/* The name of an entry of the list; NULL behind the last. */
typedef const char *argument_name_fn(unsigned index);

/* arguments_choose(): what `names`, which end with NULL, are in the list; "all" is every entry. False when
 * nothing was chosen, and after telling which `kind` of thing there is not. */
bool arguments_choose(char **names, argument_name_fn *name_at, const char *kind, bool talks,
                      struct chosen *chosen);

/* arguments_wrong(): tells what is wrong, and returns the exit code for that. */
int arguments_wrong(bool talks, const char *what);

#endif
