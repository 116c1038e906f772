/* SPDX-License-Identifier: Apache-2.0 */
/*
 * show.h: programs that call and print what they get. They are run in a local folder and in one of the
 * cluster; what they print must be the same, so the local file system says what is right.
 */
#ifndef POSIX_SHOW_H
#define POSIX_SHOW_H

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The call, its result, and the error when that is -1. */
#define SHOW(call)                                                                               \
    do {                                                                                         \
        errno = 0;                                                                               \
        long long show_result_ = (long long)(call);                                              \
        printf("%s:%d %s = %lld%s%s\n", __func__, __LINE__, #call, show_result_,                 \
               show_result_ == -1 ? " " : "", show_result_ == -1 ? strerrorname_np(errno) : ""); \
    } while (0)

/* A text that is told as it is. */
#define TELL(...) (printf("%s:%d ", __func__, __LINE__), printf(__VA_ARGS__), putchar('\n'))

#endif
