/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.h: memory to write from and read into.
 *
 * Fresh pages are the kernel's affair, and not to be found in what is timed: here all were written by the
 * program and by the kernel.
 */
#ifndef BENCHMARK_MEMORY_H
#define BENCHMARK_MEMORY_H

#include <stddef.h>

/* memory_make(): so many bytes, which may be none, at the start of a page; the caller frees them by free().
 * They are neither zeros nor what a file has. Without memory the program ends. */
void *memory_make(size_t bytes);

#endif
