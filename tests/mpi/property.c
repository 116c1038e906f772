/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property.c: what holds for any sequence of calls, tried with thousands of them.
 *
 *   mpirun -n 6 property.mpi FOLDER [--seed N] [--cases N] [--case K] [CASE...]
 *
 * The same seed makes the same cases, and each case can be run alone with --case, by as
 * many ranks in all as before: a case is run by some of them, while others run the next.
 */
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "property.h"

enum { case_seconds_max = 120, reports_max = 5, slots_count = 7 };

static struct {
    unsigned long long seed;
    long long cases; /* 0: as many as the list of cases says */
    long long only;  /* -1: all */
} options = {.seed = 20260, .only = -1};

/* ---- failures --------------------------------------------------------- */

void property_fail(struct property *property, const char *format, ...)
{
    if (property->has_failed)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(property->failure, sizeof property->failure, format, arguments);
    va_end(arguments);
    property->has_failed = true;
}

bool property_check(struct property *property, int code, const char *call)
{
    if (code != MPI_SUCCESS)
        property_fail(property, "%s: %s", call, test_error_text(code));
    return code == MPI_SUCCESS;
}

bool property_agree(struct property *property)
{
    int mine = property->has_failed, any;
    MPI_Allreduce(&mine, &any, 1, MPI_INT, MPI_MAX, property->comm);
    return any != 0;
}

static void print_case(const struct property *property, FILE *stream)
{
    fprintf(stream, "# case %lld of seed %llu, rank %d of %d, weft_collective=%s\n", property->number,
            (unsigned long long)property->seed, property->rank, property->ranks, property->strategy);
    fwrite(property->history_text, 1, property->history_length, stream);
    fprintf(stream, "# to run it alone: mpirun -n %d property.mpi FOLDER --seed %llu --case %lld %s\n",
            property->test->ranks, (unsigned long long)property->seed, property->number,
            property->test->case_name);
    fflush(stream);
}

/* Collective. The first rank that failed tells of it. */
static bool report(struct property *property)
{
    int mine = property->has_failed ? property->rank : property->ranks, first;
    MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, property->comm);
    if (first == property->rank && property->test->failures < reports_max) {
        fflush(property->history);
        print_case(property, stdout);
        test_fail(property->test, __FILE__, __LINE__, "the case", "%lld: %s", property->number,
                  property->failure);
    } else if (first == property->rank) {
        property->test->failures++;
    }
    return first != property->ranks;
}

static struct property *running;
static int running_count;

static const int fatal_signals[] = {SIGALRM, SIGABRT, SIGSEGV, SIGBUS, SIGFPE};
enum { fatal_count = sizeof fatal_signals / sizeof fatal_signals[0] };
static struct sigaction earlier[fatal_count];

/* A case that crashes, or does not end: what it was is worth more than a tidy end. */
static void on_signal(int number)
{
    for (int i = 0; i < fatal_count; i++)
        sigaction(fatal_signals[i], &earlier[i], NULL);
    if (running != NULL) {
        fprintf(stderr, "# signal %d%s in\n", number, number == SIGALRM ? " (the case does not end)" : "");
        print_case(running, stderr);
    }
    raise(number == SIGALRM ? SIGABRT : number);
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_NODEFER};
    for (int i = 0; i < fatal_count; i++)
        sigaction(fatal_signals[i], &action, &earlier[i]);
}

/* ---- cases ------------------------------------------------------------ */

typedef void case_fn(struct property *property);

static void run(struct test *test, MPI_Comm comm, long long number, const char *strategy, case_fn *body,
                bool *has_failed)
{
    struct property property = {
        .test = test, .seed = options.seed, .number = number, .comm = comm, .strategy = strategy};
    char name[64];
    MPI_Comm_rank(comm, &property.rank);
    MPI_Comm_size(comm, &property.ranks);
    snprintf(name, sizeof name, "%lld", number);
    snprintf(property.path, sizeof property.path, "%s", test_path(test, name));
    property.history = open_memstream(&property.history_text, &property.history_length);
    running = &property;
    alarm(case_seconds_max);
    body(&property);
    alarm(0);
    *has_failed = report(&property);
    running = NULL;
    fclose(property.history);
    free(property.history_text);
}

/*
 * The ranks of the world take cases in slots, 7 to a round: all of them take slot 0; then two
 * groups of them slots 1 and 2, at the same time; and so on. Slots without a rank are left out.
 */
static void make_slots(struct test *test, MPI_Comm *comms)
{
    int all = test->ranks;
    int first[slots_count] = {all, (2 * all + 2) / 3, 0, (all + 1) / 2, 0, all > 1 ? all - 1 : 1, 0};
    for (int slot = 0; slot < slots_count; slot++) {
        bool is_second = slot > 0 && slot % 2 == 0;
        int border = is_second ? first[slot - 1] : first[slot];
        bool is_in = is_second ? test->rank >= border : test->rank < border;
        MPI_Comm_split(MPI_COMM_WORLD, is_in ? 0 : MPI_UNDEFINED, test->rank, &comms[slot]);
        if (comms[slot] != MPI_COMM_NULL)
            MPI_Comm_set_errhandler(comms[slot], MPI_ERRORS_RETURN);
    }
}

static void run_cases(struct test *test, long long cases, const char *const *strategies, case_fn *body)
{
    MPI_Comm comms[slots_count];
    make_slots(test, comms);
    if (running_count++ == 0)
        catch_signals();
    if (options.cases > 0)
        cases = options.cases;
    if (test->rank == 0)
        printf("# %s: seed %llu, %lld cases\n", test->case_name, options.seed, cases);
    long long start = options.only >= 0 ? options.only : 0;
    long long end = options.only >= 0 ? options.only + 1 : cases;
    for (long long number = start; number < end; number++) {
        MPI_Comm comm = comms[number % slots_count];
        bool has_failed = false;
        for (int i = 0; strategies[i] != NULL && comm != MPI_COMM_NULL && !has_failed; i++)
            run(test, comm, number, strategies[i], body, &has_failed);
    }
    for (int slot = 0; slot < slots_count; slot++)
        if (comms[slot] != MPI_COMM_NULL)
            MPI_Comm_free(&comms[slot]);
}

static const char *const one_strategy[] = {"auto", NULL};
static const char *const all_strategies[] = {"two_phase", "direct", "auto", NULL};

static void sequences(struct test *test)
{
    run_cases(test, 500, test->is_weft ? all_strategies : one_strategy, case_run);
}

static void writers(struct test *test)
{
    run_cases(test, 500, one_strategy, case_run_writers);
}

static const struct test_case cases[] = {
    {"sequences", sequences},
    {"writers", writers},
};

/* Takes the options out of the arguments. */
static int take_options(int argc, char **argv)
{
    int left = 1;
    for (int i = 1; i < argc; i++) {
        char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value != NULL && strcmp(argv[i], "--seed") == 0)
            options.seed = strtoull(argv[++i], NULL, 10);
        else if (value != NULL && strcmp(argv[i], "--cases") == 0)
            options.cases = strtoll(argv[++i], NULL, 10);
        else if (value != NULL && strcmp(argv[i], "--case") == 0)
            options.only = strtoll(argv[++i], NULL, 10);
        else
            argv[left++] = argv[i];
    }
    argv[left] = NULL;
    return left;
}

int main(int argc, char **argv)
{
    mallopt(M_PERTURB, 0x5A); /* memory that nobody has set is no zeros by chance */
    argc = take_options(argc, argv);
    return test_main(argc, argv, "property", cases, sizeof cases / sizeof cases[0]);
}
