/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mpi_test.h: what the MPI test programs share.
 *
 * A program is a list of cases that all ranks run together:
 *
 *   mpirun -n 4 PROGRAM FOLDER [CASE...]
 *
 * FOLDER is a weft: path or a local one (what only Weft has is then left out).
 * Rank 0 prints one line for each case: "ok PROGRAM: CASE", "skip PROGRAM: CASE
 * (why)", or "not ok PROGRAM: CASE" after the reasons, which name file, line
 * and rank. The exit status is 1 when a case failed.
 *
 * A case ends on its rank at the first EXPECT that does not hold, so an EXPECT
 * between collective calls can leave the other ranks waiting: each program runs
 * with a time limit.
 */
#ifndef MPI_TEST_H
#define MPI_TEST_H

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct test {
    int rank;
    int ranks;
    const char *folder;
    bool is_weft; /* FOLDER is on Weft */
    const char *case_name;
    int failures; /* of this rank in this case */
    const char *skipped;
};

struct test_case {
    const char *name;
    void (*run)(struct test *test);
};

int test_main(int argc, char **argv, const char *program, const struct test_case *cases, size_t count);
#define TEST_MAIN(program, cases)                                                         \
    int main(int argc, char **argv)                                                       \
    {                                                                                     \
        return test_main(argc, argv, program, cases, sizeof(cases) / sizeof((cases)[0])); \
    }

/* test_path(): a path in the folder, for the case that runs. In one of a few
 * static buffers. */
const char *test_path(struct test *test, const char *name);
/* test_fail(): notes a failure. `what` did not hold; the rest says more. */
void test_fail(struct test *test, const char *file, int line, const char *what, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#define EXPECT(condition, ...)                                                \
    do {                                                                      \
        if (!(condition)) {                                                   \
            test_fail(test, __FILE__, __LINE__, #condition, " " __VA_ARGS__); \
            return;                                                           \
        }                                                                     \
    } while (0)

#define EXPECT_EQUAL(expected, actual)                                                                   \
    do {                                                                                                 \
        long long expected_ = (expected), actual_ = (actual);                                            \
        if (expected_ != actual_) {                                                                      \
            test_fail(test, __FILE__, __LINE__, #expected " == " #actual, "%lld is not %lld", expected_, \
                      actual_);                                                                          \
            return;                                                                                      \
        }                                                                                                \
    } while (0)

/* A call of MPI that must succeed. */
#define MPI(call)                                                                     \
    do {                                                                              \
        int code_ = (call);                                                           \
        if (code_ != MPI_SUCCESS) {                                                   \
            test_fail(test, __FILE__, __LINE__, #call, "%s", test_error_text(code_)); \
            return;                                                                   \
        }                                                                             \
    } while (0)

#define SKIP(why)              \
    do {                       \
        test->skipped = (why); \
        return;                \
    } while (0)

const char *test_error_text(int code);
int test_error_class(int code);

/* The byte that belongs at a place of a file; `salt` tells writers apart. */
unsigned char test_byte(uint64_t offset, unsigned salt);
void test_fill(void *buffer, size_t length, uint64_t offset, unsigned salt);
/* test_first_wrong(): index of the first byte that is wrong, or -1. */
long long test_first_wrong(const void *buffer, size_t length, uint64_t offset, unsigned salt);

/* A hint in effect, as text ("" when there is none). In a static buffer. */
const char *test_hint(MPI_File file, const char *key);
/* test_capture(): from here on the process's standard error goes into a file, up to
 * test_capture_end(), which returns what was said. In a static buffer. */
void test_capture(void);
const char *test_capture_end(void);
/* Memory, or the end of the program. */
void *test_alloc(size_t bytes);
/* The bytes that a status tells of. */
long long test_status_bytes(MPI_Status *status);

#endif
