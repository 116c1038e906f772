/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program.h: how the MPI benchmarks tell what went wrong, and how their ranks agree on it.
 *
 * A benchmark that meets an error has nothing more to say: it ends on all ranks. Only what a run is
 * to find out, wrong bytes and servers that do not answer, is passed on, so that the file is removed.
 */
#ifndef BENCHMARK_PROGRAM_H
#define BENCHMARK_PROGRAM_H

/* Each program defines its own. */
extern const char *const program_name;

/* program_tell(): a line to standard error, after the program's name and the rank. */
void program_tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* program_die(): the same, and all ranks end with exit code 1. */
_Noreturn void program_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* program_all_well(): 0 when all ranks say so, else the least that one says. Collective. */
int program_all_well(int result);

#endif
