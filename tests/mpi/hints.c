/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hints.c: hints from every source take effect, MPI_File_get_info tells what is in
 * effect, and what has no effect is complained of once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

#include "mpi_test.h"

#define EXPECT_HINT(file, key, expected)                                                 \
    EXPECT(strcmp(test_hint(file, key), expected) == 0, "%s is \"%s\", not \"%s\"", key, \
           test_hint(file, key), expected)

static int open_with(struct test *test, const char *name, MPI_File *file, const char *const hints[][2],
                     int count)
{
    MPI_Info info;
    MPI_Info_create(&info);
    for (int i = 0; i < count; i++)
        MPI_Info_set(info, hints[i][0], hints[i][1]);
    int code =
        MPI_File_open(MPI_COMM_WORLD, test_path(test, name), MPI_MODE_CREATE | MPI_MODE_RDWR, info, file);
    MPI_Info_free(&info);
    return code;
}

static int listed_aggregators(MPI_File file)
{
    int listed = 0;
    char *rest = (char *)test_hint(file, "romio_aggregator_list");
    while (strtok_r(rest, " ", &rest) != NULL)
        listed++;
    return listed;
}

static void striping(struct test *test)
{
    static const char *const wanted[][2] = {{"striping_factor", "2"}, {"striping_unit", "470080"}};
    static const char *const others[][2] = {{"striping_factor", "1"}, {"striping_unit", "65536"}};
    MPI_File file;
    MPI(open_with(test, "file", &file, wanted, 2));
    EXPECT_HINT(file, "striping_factor", "2");
    EXPECT_HINT(file, "striping_unit", "470080");
    MPI(MPI_File_close(&file));
    /* A file has its layout for life, and that is what is told. */
    MPI(open_with(test, "file", &file, others, 2));
    EXPECT_HINT(file, "striping_factor", "2");
    EXPECT_HINT(file, "striping_unit", "470080");
    MPI(MPI_File_close(&file));
}

/* What no layout can have is passed over: a hint never makes an open fail. */
static void striping_nonsense(struct test *test)
{
    static const char *const wanted[][2] = {{"striping_factor", "100000"}, {"striping_unit", "12"}};
    static const char *const worse[][2] = {{"striping_factor", "-3"}, {"striping_unit", "many"}};
    MPI_File file;
    MPI(open_with(test, "file", &file, wanted, 2));
    EXPECT(strtol(test_hint(file, "striping_factor"), NULL, 10) > 0);
    EXPECT(strtol(test_hint(file, "striping_unit"), NULL, 10) >= 4096);
    MPI(MPI_File_close(&file));
    MPI(open_with(test, "file2", &file, worse, 2));
    EXPECT(strtol(test_hint(file, "striping_factor"), NULL, 10) > 0);
    EXPECT(strtol(test_hint(file, "striping_unit"), NULL, 10) >= 4096);
    MPI(MPI_File_close(&file));
}

/* On one host too, the user has as many aggregators as were asked for. */
static void cb_nodes(struct test *test)
{
    for (int nodes = 1; nodes <= test->ranks; nodes++) {
        char text[16];
        const char *const wanted[][2] = {{"cb_nodes", text}};
        MPI_File file;
        snprintf(text, sizeof text, "%d", nodes);
        MPI(open_with(test, "file", &file, wanted, 1));
        EXPECT_HINT(file, "cb_nodes", text);
        EXPECT_EQUAL(nodes, listed_aggregators(file));
        MPI(MPI_File_close(&file));
    }
}

/* A list of the user's own goes before cb_nodes. */
static void cb_config_list(struct test *test)
{
    static const char *const wanted[][2] = {{"cb_nodes", "4"}, {"cb_config_list", "*:2"}};
    MPI_File file;
    MPI(open_with(test, "file", &file, wanted, 2));
    EXPECT_HINT(file, "cb_nodes", test->ranks < 2 ? "1" : "2"); /* the test runs on one host */
    EXPECT_HINT(file, "cb_config_list", "*:2");
    MPI(MPI_File_close(&file));
}

static void others(struct test *test)
{
    static const char *const wanted[][2] = {
        {"cb_buffer_size", "65536"}, {"romio_cb_write", "enable"}, {"romio_cb_read", "disable"}};
    MPI_File file;
    MPI(open_with(test, "file", &file, wanted, 3));
    EXPECT_HINT(file, "cb_buffer_size", "65536");
    EXPECT_HINT(file, "romio_cb_write", "enable");
    EXPECT_HINT(file, "romio_cb_read", "disable");
    EXPECT_HINT(file, "romio_ds_read", "disable");
    EXPECT_HINT(file, "romio_ds_write", "disable");
    EXPECT(strncmp(test_hint(file, "romio_filesystem_type"), "WEFT:", 5) == 0);
    MPI(MPI_File_close(&file));
}

static void none(struct test *test)
{
    MPI_File file;
    MPI(MPI_File_open(MPI_COMM_WORLD, test_path(test, "file"), MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL,
                      &file));
    EXPECT(strtol(test_hint(file, "striping_unit"), NULL, 10) >= 4096);
    EXPECT(strtol(test_hint(file, "cb_buffer_size"), NULL, 10) > 0);
    MPI(MPI_File_close(&file));
}

/* Hints that come with a view: those that can change do, those of the layout
 * don't; and the buffer is as large as its hint says. */
static void with_a_view(struct test *test)
{
    enum { record = 1000, count = 3000 };
    static const char *const small[][2] = {{"cb_buffer_size", "4096"}, {"romio_cb_write", "enable"}};
    unsigned char *bytes = test_alloc(record * count);
    MPI_File file;
    MPI_Info info;
    MPI_Datatype tile, view;
    char unit[64];
    MPI(open_with(test, "file", &file, small, 2));
    snprintf(unit, sizeof unit, "%s", test_hint(file, "striping_unit"));
    MPI_Info_create(&info);
    MPI_Info_set(info, "cb_buffer_size", "8388608");
    MPI_Info_set(info, "striping_unit", "5000");
    MPI_Type_contiguous(record, MPI_BYTE, &tile);
    MPI_Type_create_resized(tile, 0, (MPI_Aint)record * test->ranks, &view);
    MPI_Type_commit(&view);
    MPI(MPI_File_set_view(file, (MPI_Offset)record * test->rank, MPI_BYTE, view, "native", info));
    EXPECT_HINT(file, "cb_buffer_size", "8388608");
    EXPECT_HINT(file, "striping_unit", unit);
    test_fill(bytes, record * count, 0, (unsigned)test->rank);
    MPI(MPI_File_write_at_all(file, 0, bytes, record * count, MPI_BYTE, MPI_STATUS_IGNORE));
    memset(bytes, 0, record * count);
    MPI(MPI_File_read_at_all(file, 0, bytes, record * count, MPI_BYTE, MPI_STATUS_IGNORE));
    EXPECT_EQUAL(-1, test_first_wrong(bytes, record * count, 0, (unsigned)test->rank));
    MPI(MPI_File_close(&file));
    MPI_Info_free(&info);
    MPI_Type_free(&tile);
    MPI_Type_free(&view);
    free(bytes);
}

/* ---- directories ------------------------------------------------------ */

static weft_session_t *session; /* of rank 0 */

/* A directory of the case that runs, with these hints; collective. */
static int make_directory(struct test *test, const char *name, const char *hints)
{
    int result = 0;
    if (test->rank == 0) {
        const char *path = test_path(test, name);
        if (session == NULL)
            result = weft_connect(NULL, &session);
        if (result == 0)
            result = weft_mkdir(session, path, 0755);
        if (result == 0)
            result = weft_hints_set(session, path, hints);
        if (result < 0)
            fprintf(stderr, "hints: %s\n", weft_error());
    }
    MPI_Bcast(&result, 1, MPI_INT, 0, MPI_COMM_WORLD);
    return result;
}

/* Writes and reads records of all ranks in turn; false when a byte is not what was written. */
static bool interleave(struct test *test, MPI_File file)
{
    enum { record = 1000, count = 2000 };
    unsigned char *bytes = test_alloc(record * count);
    MPI_Datatype tile, view;
    MPI_Type_contiguous(record, MPI_BYTE, &tile);
    MPI_Type_create_resized(tile, 0, (MPI_Aint)record * test->ranks, &view);
    MPI_Type_commit(&view);
    MPI_File_set_view(file, (MPI_Offset)record * test->rank, MPI_BYTE, view, "native", MPI_INFO_NULL);
    test_fill(bytes, record * count, 0, (unsigned)test->rank);
    int code = MPI_File_write_at_all(file, 0, bytes, record * count, MPI_BYTE, MPI_STATUS_IGNORE);
    memset(bytes, 0, record * count);
    if (code == MPI_SUCCESS)
        code = MPI_File_read_at_all(file, 0, bytes, record * count, MPI_BYTE, MPI_STATUS_IGNORE);
    bool is_right =
        code == MPI_SUCCESS && test_first_wrong(bytes, record * count, 0, (unsigned)test->rank) == -1;
    MPI_Type_free(&tile);
    MPI_Type_free(&view);
    free(bytes);
    return is_right;
}

/* What a directory has takes effect on every rank, aggregators included. */
static void directory(struct test *test)
{
    MPI_File file;
    if (!test->is_weft)
        SKIP("directories with hints are Weft's");
    EXPECT_EQUAL(0, make_directory(test, "d",
                                   "cb_buffer_size=65536; cb_nodes=3; weft_collective=two_phase; "
                                   "weft_progress=calls; weft_durability=close"));
    for (int is_again = 0; is_again < 2; is_again++) { /* the file is made, then it is there */
        MPI(open_with(test, "d/file", &file, NULL, 0));
        EXPECT_HINT(file, "cb_buffer_size", "65536");
        EXPECT_HINT(file, "weft_collective", "two_phase");
        EXPECT_HINT(file, "romio_cb_read", "enable");
        EXPECT_HINT(file, "romio_cb_write", "enable");
        EXPECT_HINT(file, "weft_progress", "calls");
        EXPECT_HINT(file, "weft_durability", "close");
        int nodes = test->ranks < 3 ? test->ranks : 3;
        EXPECT_EQUAL(nodes, strtol(test_hint(file, "cb_nodes"), NULL, 10));
        EXPECT_EQUAL(nodes, listed_aggregators(file));
        EXPECT(interleave(test, file));
        MPI(MPI_File_close(&file));
    }
}

static void directory_list(struct test *test)
{
    static const char *const nodes[][2] = {{"cb_nodes", "1"}};
    MPI_File file;
    if (!test->is_weft)
        SKIP("directories with hints are Weft's");
    EXPECT_EQUAL(0, make_directory(test, "d", "cb_config_list=*:2"));
    MPI(open_with(test, "d/file", &file, NULL, 0));
    EXPECT_HINT(file, "cb_config_list", "*:2");
    EXPECT_EQUAL(test->ranks < 2 ? 1 : 2, listed_aggregators(file)); /* the test runs on one host */
    EXPECT(interleave(test, file));
    MPI(MPI_File_close(&file));
    /* One of the two from elsewhere. */
    MPI(open_with(test, "d/file", &file, nodes, 1));
    EXPECT_HINT(file, "cb_config_list", "*:2");
    EXPECT_EQUAL(1, listed_aggregators(file));
    EXPECT(interleave(test, file));
    MPI(MPI_File_close(&file));
}

/* ---- which source counts ---------------------------------------------- */

static void set_environment(const char *hints)
{
    if (hints != NULL)
        setenv("WEFT_HINTS", hints, 1);
    else
        unsetenv("WEFT_HINTS");
}

/* A directory's hints < WEFT_HINTS < the info of the call. */
static void precedence(struct test *test)
{
    static const char *const asked[][2] = {{"cb_buffer_size", "4194304"}};
    static const struct {
        const char *environment;
        int info_count;
        const char *buffer, *durability;
    } runs[] = {
        {NULL, 0, "1048576", "close"},
        {"cb_buffer_size=2M", 0, "2097152", "close"},
        {"cb_buffer_size = 2M ; weft_durability=sync", 0, "2097152", "sync"},
        {"cb_buffer_size=2M", 1, "4194304", "close"},
        {NULL, 1, "4194304", "close"},
    };
    MPI_File file;
    if (!test->is_weft)
        SKIP("directories with hints are Weft's");
    EXPECT_EQUAL(0, make_directory(test, "d", "cb_buffer_size=1M;weft_durability=close"));
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        set_environment(runs[i].environment);
        MPI(open_with(test, "d/file", &file, asked, runs[i].info_count));
        set_environment(NULL);
        EXPECT_HINT(file, "cb_buffer_size", runs[i].buffer);
        EXPECT_HINT(file, "weft_durability", runs[i].durability);
        MPI(MPI_File_close(&file));
    }
    /* With a view too, and what the view says of other hints leaves it as it was. */
    MPI_Info info;
    MPI_Info_create(&info);
    MPI_Info_set(info, "cb_buffer_size", "8388608");
    MPI(open_with(test, "d/file", &file, NULL, 0));
    MPI(MPI_File_set_view(file, 0, MPI_BYTE, MPI_BYTE, "native", info));
    EXPECT_HINT(file, "cb_buffer_size", "8388608");
    EXPECT_HINT(file, "weft_durability", "close");
    MPI(MPI_File_close(&file));
    MPI_Info_free(&info);
}

/* One thing has several names: here too the source counts before the name. */
static void precedence_of_names(struct test *test)
{
    static const char *const romio[][2] = {{"romio_cb_write", "enable"}};
    static const char *const both[][2] = {{"romio_cb_write", "enable"}, {"weft_collective", "direct"}};
    static const char *const size[][2] = {{"striping_unit", "8192"}};
    MPI_File file;
    if (!test->is_weft)
        SKIP("weft_ hints are Weft's");
    EXPECT_EQUAL(0, make_directory(test, "d", "weft_collective=direct"));
    MPI(open_with(test, "d/file", &file, romio, 1));
    EXPECT_HINT(file, "romio_cb_read", "disable");
    EXPECT_HINT(file, "romio_cb_write", "enable");
    MPI(MPI_File_close(&file));
    MPI(open_with(test, "d/file", &file, both, 2));
    EXPECT_HINT(file, "romio_cb_write", "disable");
    EXPECT_HINT(file, "weft_collective", "direct");
    MPI(MPI_File_close(&file));
    set_environment("weft_chunk_size=20000;weft_stripe_count=1");
    MPI(open_with(test, "env", &file, NULL, 0));
    EXPECT_HINT(file, "weft_chunk_size", "20000");
    EXPECT_HINT(file, "striping_unit", "20000");
    EXPECT_HINT(file, "striping_factor", "1");
    MPI(MPI_File_close(&file));
    MPI(open_with(test, "env-and-info", &file, size, 1));
    set_environment(NULL);
    EXPECT_HINT(file, "weft_chunk_size", "8192");
    EXPECT_HINT(file, "striping_unit", "8192");
    EXPECT_HINT(file, "weft_stripe_count", "1");
    MPI(MPI_File_close(&file));
}

/* ---- complaints ------------------------------------------------------- */

static int count_of(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part))
        count++;
    return count;
}

#define EXPECT_ONCE(text, part) \
    EXPECT(count_of(text, part) == 1, "\"%s\" is there %d times in: %s", part, count_of(text, part), text)

/* Whatever the source: rank 0 says it once, however often the file is opened. */
static void complaints(struct test *test)
{
    static const char *const asked[][2] = {{"weft_colective", "direct"},
                                           {"weft_collective", "two_fase"},
                                           {"weft_nothing_like_it", "1"},
                                           {"somebody_elses", "1"},
                                           {"romio_cb_pfr", "enable"}};
    MPI_File file;
    if (!test->is_weft)
        SKIP("complaints are Weft's");
    EXPECT_EQUAL(0, make_directory(test, "d", "weft_durabilty=close; striping_unit=8192; nonsense"));
    set_environment("cb_buffer_size=lots;weft_explain=treu");
    test_capture();
    for (int i = 0; i < 3; i++) {
        MPI(open_with(test, "d/file", &file, asked, 5));
        EXPECT_HINT(file, "weft_collective", "auto");
        EXPECT_HINT(file, "weft_durability", "sync");
        EXPECT_HINT(file, "romio_cb_pfr", "");
        MPI(MPI_File_close(&file));
    }
    const char *text = test_capture_end();
    set_environment(NULL);
    if (test->rank != 0) {
        EXPECT(strstr(text, "hint") == NULL, "rank %d says: %s", test->rank, text);
        return;
    }
    EXPECT_ONCE(text,
                "hint weft_colective (info) is unknown and has no effect; did you mean weft_collective?");
    EXPECT_ONCE(text, "hint weft_collective=two_fase (info) has no effect");
    EXPECT_ONCE(text, "did you mean two_phase?");
    EXPECT_ONCE(text, "hint weft_nothing_like_it (info) is unknown and has no effect; see man weft-hints");
    EXPECT_ONCE(text, "hint cb_buffer_size=lots (WEFT_HINTS) has no effect");
    EXPECT_ONCE(text, "did you mean true?");
    EXPECT_ONCE(
        text, "hint weft_durabilty (directory) is unknown and has no effect; did you mean weft_durability?");
    EXPECT_ONCE(text, "hint striping_unit (directory) has no effect: a directory's hints can't have it");
    EXPECT_ONCE(text, "\"nonsense\" (directory) has no effect");
    EXPECT_EQUAL(8, count_of(text, "\n"));
}

/* A file is where it was asked to be, or where its directory's files are; told is where that is. */
static void placement(struct test *test)
{
    static const char *const local[][2] = {{"weft_placement", "LOCAL"}};
    static const char *const nowhere[][2] = {{"weft_placement", "host:no-such-host"}};
    static const char *const nonsense[][2] = {{"weft_placement", "remote"}};
    MPI_File file;
    if (!test->is_weft)
        SKIP("placement is Weft's");
    MPI(open_with(test, "local", &file, local, 1));
    EXPECT(strncmp(test_hint(file, "weft_placement"), "host:", 5) == 0, "it is on \"%s\"",
           test_hint(file, "weft_placement"));
    EXPECT(interleave(test, file));
    MPI(MPI_File_close(&file));
    test_capture();
    int code = open_with(test, "nowhere", &file, nowhere, 1);
    if (code == MPI_SUCCESS) {
        EXPECT_HINT(file, "weft_placement", "spread");
        MPI_File_close(&file);
    }
    int second = open_with(test, "nonsense", &file, nonsense, 1);
    const char *text = test_capture_end();
    MPI(code);
    MPI(second);
    EXPECT_HINT(file, "weft_placement", "spread");
    MPI(MPI_File_close(&file));
    if (test->rank == 0) {
        EXPECT_ONCE(text, "hint weft_placement=host:no-such-host (info) has no effect");
        EXPECT_ONCE(text, "hint weft_placement=remote (info) has no effect");
    }
}

/* A list of a directory's that leaves nobody never makes an open fail either. */
static void directory_list_of_nobody(struct test *test)
{
    MPI_File file;
    if (!test->is_weft)
        SKIP("directories with hints are Weft's");
    EXPECT_EQUAL(0, make_directory(test, "d", "cb_config_list=no-such-host:1;weft_collective=two_phase"));
    test_capture();
    int code = open_with(test, "d/file", &file, NULL, 0);
    const char *text = test_capture_end();
    MPI(code);
    EXPECT_HINT(file, "cb_config_list", "*:*");
    EXPECT_EQUAL(test->ranks < 4 ? test->ranks : 4, listed_aggregators(file)); /* as many as groups */
    EXPECT(interleave(test, file));
    MPI(MPI_File_close(&file));
    if (test->rank == 0)
        EXPECT_ONCE(text, "cb_config_list");
}

/* Rank 0's hints count for all, and it is said who differs. */
static void ranks_differ(struct test *test)
{
    char value[32];
    const char *const asked[][2] = {{"cb_buffer_size", value}};
    MPI_File file;
    if (!test->is_weft)
        SKIP("complaints are Weft's");
    if (test->ranks < 2)
        SKIP("for two ranks or more");
    snprintf(value, sizeof value, "%d", test->rank < 1 ? 100000 : 200000);
    test_capture();
    int code = open_with(test, "file", &file, asked, 1);
    const char *text = test_capture_end();
    MPI(code);
    EXPECT_HINT(file, "cb_buffer_size", "100000");
    EXPECT(interleave(test, file));
    MPI(MPI_File_close(&file));
    if (test->rank == 0)
        EXPECT_ONCE(text, "hint cb_buffer_size (info) is not the same on rank 1 as on rank 0");
    else
        EXPECT_EQUAL(0, count_of(text, "hint"));
    /* Some give one and others none. */
    MPI(open_with(test, "file", &file, asked, test->rank == 0 ? 0 : 1));
    EXPECT_HINT(file, "cb_buffer_size", "1048576");
    MPI(MPI_File_close(&file));
}

static const struct test_case cases[] = {
    {"striping", striping},
    {"striping-nonsense", striping_nonsense},
    {"cb-nodes", cb_nodes},
    {"cb-config-list", cb_config_list},
    {"others", others},
    {"none", none},
    {"with-a-view", with_a_view},
    {"directory", directory},
    {"directory-list", directory_list},
    {"directory-list-of-nobody", directory_list_of_nobody},
    {"precedence", precedence},
    {"precedence-of-names", precedence_of_names},
    {"complaints", complaints},
    {"placement", placement},
    {"ranks-differ", ranks_differ},
};

int main(int argc, char **argv)
{
    int status = test_main(argc, argv, "hints", cases, sizeof cases / sizeof cases[0]);
    weft_disconnect(session);
    return status;
}
