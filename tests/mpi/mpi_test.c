/* SPDX-License-Identifier: Apache-2.0 */
#include "mpi_test.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *program_name;

const char *test_path(struct test *test, const char *name)
{
    static char paths[8][1024];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s-%s-%s", test->folder, program_name, test->case_name, name);
    return path;
}

void test_fail(struct test *test, const char *file, int line, const char *what, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    test->failures++;
    printf("# %s:%d: rank %d: %s: %s\n", file, line, test->rank, what, text);
    fflush(stdout);
}

const char *test_error_text(int code)
{
    static char text[MPI_MAX_ERROR_STRING];
    int length;
    MPI_Error_string(code, text, &length);
    return text;
}

int test_error_class(int code)
{
    int class;
    MPI_Error_class(code, &class);
    return class;
}

static uint64_t word_at(uint64_t index, unsigned salt)
{
    uint64_t word = (index + 1) * 0x9e3779b97f4a7c15u + (uint64_t)salt * 0xd1342543de82ef95u;
    word = (word ^ (word >> 32)) * 0xff51afd7ed558ccdu;
    return word ^ (word >> 29);
}

unsigned char test_byte(uint64_t offset, unsigned salt)
{
    return (unsigned char)(word_at(offset / 8, salt) >> 8 * (offset % 8));
}

/* The bytes are those of little-endian words; the buffer may begin within one. */
void test_fill(void *buffer, size_t length, uint64_t offset, unsigned salt)
{
    unsigned char *bytes = buffer;
    size_t i = 0;
    while (i < length) {
        uint64_t word = word_at((offset + i) / 8, salt) >> 8 * ((offset + i) % 8);
        if ((offset + i) % 8 == 0 && length - i >= 8) {
            memcpy(bytes + i, &word, 8);
            i += 8;
            continue;
        }
        do {
            bytes[i++] = (unsigned char)word;
            word >>= 8;
        } while (i < length && (offset + i) % 8 != 0);
    }
}

long long test_first_wrong(const void *buffer, size_t length, uint64_t offset, unsigned salt)
{
    const unsigned char *bytes = buffer;
    unsigned char right[4096];
    for (size_t done = 0; done < length;) {
        size_t part = length - done < sizeof right ? length - done : sizeof right;
        test_fill(right, part, offset + done, salt);
        if (memcmp(bytes + done, right, part) != 0)
            for (size_t i = 0;; i++)
                if (bytes[done + i] != right[i])
                    return (long long)(done + i);
        done += part;
    }
    return -1;
}

const char *test_hint(MPI_File file, const char *key)
{
    static char values[4][MPI_MAX_INFO_VAL + 1];
    static unsigned next;
    char *value = values[next++ % 4];
    MPI_Info info;
    int found = 0;
    if (MPI_File_get_info(file, &info) == MPI_SUCCESS) {
        MPI_Info_get(info, key, MPI_MAX_INFO_VAL, value, &found);
        MPI_Info_free(&info);
    }
    if (!found)
        value[0] = '\0';
    return value;
}

static FILE *captured;
static int real_stderr;

void test_capture(void)
{
    fflush(stderr);
    captured = tmpfile();
    if (captured == NULL) {
        fprintf(stderr, "%s: no temporary file for what is said\n", program_name);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    real_stderr = dup(STDERR_FILENO);
    dup2(fileno(captured), STDERR_FILENO);
}

const char *test_capture_end(void)
{
    static char text[32768];
    fflush(stderr);
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    rewind(captured);
    text[fread(text, 1, sizeof text - 1, captured)] = '\0';
    fclose(captured);
    return text;
}

void *test_alloc(size_t bytes)
{
    void *memory = malloc(bytes > 0 ? bytes : 1);
    if (memory == NULL) {
        fprintf(stderr, "%s: no memory for %zu bytes\n", program_name, bytes);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    return memory;
}

long long test_status_bytes(MPI_Status *status)
{
    MPI_Count count;
    MPI_Get_elements_x(status, MPI_BYTE, &count);
    return count;
}

static bool is_wanted(const char *name, int argc, char **argv)
{
    for (int i = 2; i < argc; i++)
        if (strcmp(name, argv[i]) == 0)
            return true;
    return argc <= 2;
}

/* Runs one case on all ranks; true when it failed on any. */
static bool run_case(struct test *test, const struct test_case *the_case)
{
    test->case_name = the_case->name;
    test->failures = 0;
    test->skipped = NULL;
    double start = MPI_Wtime();
    the_case->run(test);
    int failures;
    MPI_Allreduce(&test->failures, &failures, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (test->rank == 0) {
        if (failures == 0 && test->skipped != NULL)
            printf("skip %s: %s (%s)\n", program_name, the_case->name, test->skipped);
        else
            printf("%s %s: %s (%.1f s)\n", failures == 0 ? "ok" : "not ok", program_name, the_case->name,
                   MPI_Wtime() - start);
        fflush(stdout);
    }
    return failures != 0;
}

int test_main(int argc, char **argv, const char *program, const struct test_case *cases, size_t count)
{
    struct test test = {0};
    int failed = 0;
    program_name = program;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &test.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &test.ranks);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (argc < 2) {
        if (test.rank == 0)
            fprintf(stderr, "usage: mpirun -n 4 %s FOLDER [CASE...]\n", program);
        MPI_Finalize();
        return 2;
    }
    test.folder = argv[1];
    test.is_weft = strncmp(test.folder, "weft:", 5) == 0;
    for (size_t i = 0; i < count; i++)
        if (is_wanted(cases[i].name, argc, argv))
            failed += run_case(&test, &cases[i]);
    MPI_Finalize();
    return failed > 0;
}
