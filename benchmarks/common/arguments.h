/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arguments.h: the command line of the MPI benchmarks: targets that take turns, what is to be done on each of
 * them, and how much.
 *
 * All ranks read the command line, and one of them talks. Nothing here needs MPI, so that --help
 * needs no mpirun.
 */
#ifndef BENCHMARK_ARGUMENTS_H
#define BENCHMARK_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TARGETS_MAX = 16, CHOSEN_MAX = 32, NUMBERS = 2 };

/* What all benchmarks are told. */
struct arguments {
    unsigned target_count;
    unsigned first;              /* the target that begins */
    unsigned chosen[CHOSEN_MAX]; /* of what can be done, in that order */
    unsigned chosen_count;
    uint64_t seed;
    bool header;
};

/* An entry of the list of what can be done. */
struct argument_item {
    const char *name; /* NULL behind the last */
    const char *help;
};

/* An option with a number, such as 64m; `value` has the default until it is given. */
struct argument_number {
    const char *option;
    int64_t *value;
    int64_t least, most;
};

/* One benchmark's own part. */
struct arguments_form {
    const char *usage; /* but for the options of all, and the list of what can be done */
    const char *kind;  /* of that: "pattern" */
    struct argument_item (*item_at)(unsigned index);
    bool (*target_read)(const char *text, void *target); /* false: it is none */
    void *targets;                                       /* TARGETS_MAX of target_bytes */
    size_t target_bytes;
    const char *target_form;
    struct argument_number numbers[NUMBERS];
    const char *numbers_form; /* what they want */
};

/* arguments_read(): 0, or the exit code with which to end after telling why; `ends` also after --help and
 * --list. */
int arguments_read(int argc, char **argv, const struct arguments_form *form, bool talks,
                   struct arguments *arguments, bool *ends);

/* argument_part(): takes the text up to the next comma, and that comma, from the front of `text`. `room`
 * counts the final 0. False when there is none, or too long a one. */
bool argument_part(const char **text, char *into, size_t room);

#endif
