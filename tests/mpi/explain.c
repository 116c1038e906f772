/* SPDX-License-Identifier: Apache-2.0 */
/*
 * explain.c: what weft_explain=true prints at close is what was done: as this program
 * counts its calls, and as the servers count the requests. Nobody else may use the
 * cluster meanwhile.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

#include "mpi_test.h"

static weft_session_t *session; /* of rank 0 */

static int connect_session(void)
{
    return session == NULL ? weft_connect(NULL, &session) : 0;
}

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

static const char *const explained[][2] = {{"weft_explain", "true"}};

/* Closes, and returns what rank 0 says; "" on other ranks. */
static const char *close_explained(struct test *test, MPI_File *file)
{
    test_capture();
    int code = MPI_File_close(file);
    const char *text = test_capture_end();
    if (code != MPI_SUCCESS)
        test_fail(test, __FILE__, __LINE__, "MPI_File_close", "%s", test_error_text(code));
    return text;
}

/* What the line of a class says. */
struct line {
    long long calls, bytes, requests, metadata, wire;
    double seconds;
};

static bool find_line(const char *text, const char *class, struct line *line)
{
    char start[64];
    memset(line, 0, sizeof *line);
    int length = snprintf(start, sizeof start, "\n    %s  ", class); /* no name is the beginning of another */
    const char *at = strstr(text, start);
    return at != NULL && sscanf(at + length, "%lld %lld %lld %lld %lld %lf", &line->calls, &line->bytes,
                                &line->requests, &line->metadata, &line->wire, &line->seconds) == 6;
}

#define EXPECT_LINE(text, class, calls_, bytes_)                                                        \
    do {                                                                                                \
        struct line line_;                                                                              \
        EXPECT(find_line(text, class, &line_), "no line \"%s\" in: %s", class, text);                   \
        EXPECT(line_.calls == (calls_) && line_.bytes == (bytes_), "%s: %lld calls, %lld bytes", class, \
               line_.calls, line_.bytes);                                                               \
    } while (0)

/* Adds up a column of all classes. */
static struct line sum_of(const char *text)
{
    struct line sum = {0};
    const char *at = strstr(text, "\n  done, by ");
    while (at != NULL && (at = strchr(at + 1, '\n')) != NULL && strncmp(at, "\n    ", 5) == 0) {
        struct line line;
        if (sscanf(at + 5 + 42, "%lld %lld %lld %lld %lld %lf", &line.calls, &line.bytes, &line.requests,
                   &line.metadata, &line.wire, &line.seconds) != 6)
            break;
        sum.calls += line.calls;
        sum.requests += line.requests;
        sum.metadata += line.metadata;
        sum.wire += line.wire;
    }
    return sum;
}

/* ---- what the servers count ------------------------------------------- */

struct served {
    long long storage, metadata;
};

static void add_served(void *argument, const char *server, const char *name, uint64_t value)
{
    static const char *const others[] = {
        "served_heartbeat",     "served_server_register", "served_counters",   "served_map_get",
        "served_object_remove", "served_object_truncate", "served_inodes_gone"};
    struct served *served = argument;
    if (strncmp(name, "served_", 7) != 0)
        return;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strcmp(name, others[i]) == 0)
            return;
    if (strcmp(server, "metadata") == 0)
        served->metadata += (long long)value;
    else
        served->storage += (long long)value;
}

/* On rank 0, when all are here. */
static int ask(struct test *test, struct served *served)
{
    int result = 0;
    memset(served, 0, sizeof *served);
    MPI_Barrier(MPI_COMM_WORLD);
    if (test->rank == 0) {
        result = connect_session();
        if (result == 0)
            result = weft_server_counters(session, add_served, served);
    }
    MPI_Bcast(&result, 1, MPI_INT, 0, MPI_COMM_WORLD);
    return result;
}

/* ---- cases ------------------------------------------------------------ */

/* Nothing is said where nobody asks for it. */
static void silence(struct test *test)
{
    MPI_File file;
    MPI(open_with(test, "file", &file, NULL, 0));
    MPI(MPI_File_write_at(file, test->rank, "x", 1, MPI_BYTE, MPI_STATUS_IGNORE));
    const char *text = close_explained(test, &file);
    EXPECT(text[0] == '\0', "%s", text);
}

/* Calls of each kind, each kind in another number. */
static void classes(struct test *test)
{
    enum { length = 1000, pieces = 10 };
    unsigned char bytes[length * pieces];
    long long ranks = test->ranks;
    struct served before, after;
    MPI_Request requests[3];
    MPI_Datatype tile, view, gaps;
    MPI_Offset size;
    MPI_File file;
    if (!test->is_weft)
        SKIP("explanations are Weft's");
    test_fill(bytes, sizeof bytes, 0, 1);
    MPI_Type_vector(pieces, length / pieces, length, MPI_BYTE, &gaps);
    MPI_Type_commit(&gaps);
    MPI_Type_contiguous(length, MPI_BYTE, &tile);
    MPI_Type_create_resized(tile, 0, (MPI_Aint)length * test->ranks, &view);
    MPI_Type_commit(&view);
    MPI_Offset mine = (MPI_Offset)test->rank * length;

    MPI(open_with(test, "file", &file, explained, 1));
    EXPECT_EQUAL(0, ask(test, &before));
    for (int i = 0; i < 2; i++)
        MPI(MPI_File_write_at(file, mine, bytes, length, MPI_BYTE, MPI_STATUS_IGNORE));
    for (int i = 0; i < 3; i++)
        MPI(MPI_File_read_at(file, mine, bytes, length, MPI_BYTE, MPI_STATUS_IGNORE));
    for (int i = 0; i < 4; i++)
        MPI(MPI_File_write_at(file, mine, bytes, 1, gaps, MPI_STATUS_IGNORE));
    for (int i = 0; i < 5; i++)
        MPI(MPI_File_write_at_all(file, mine, bytes, length, MPI_BYTE, MPI_STATUS_IGNORE));
    for (int i = 0; i < 3; i++)
        MPI(MPI_File_iwrite_at(file, mine, bytes, length, MPI_BYTE, &requests[i]));
    MPI(MPI_Waitall(3, requests, MPI_STATUSES_IGNORE));
    MPI(MPI_File_iread_at_all(file, mine, bytes, length, MPI_BYTE, &requests[0]));
    MPI(MPI_Wait(requests, MPI_STATUS_IGNORE));
    for (int i = 0; i < 2; i++)
        MPI(MPI_File_write_shared(file, bytes, 10, MPI_BYTE, MPI_STATUS_IGNORE));
    MPI(MPI_File_get_size(file, &size));
    MPI(MPI_File_sync(file));
    MPI(MPI_File_set_view(file, mine, MPI_BYTE, view, "native", MPI_INFO_NULL));
    for (int i = 0; i < 3; i++)
        MPI(MPI_File_read_at(file, 0, bytes, 2 * length, MPI_BYTE, MPI_STATUS_IGNORE));
    for (int i = 0; i < 4; i++)
        MPI(MPI_File_write_at_all(file, 0, bytes, pieces * length, MPI_BYTE, MPI_STATUS_IGNORE));
    for (int i = 0; i < 6; i++)
        MPI(MPI_File_read_all(file, bytes, length, MPI_BYTE, MPI_STATUS_IGNORE));
    EXPECT_EQUAL(0, ask(test, &after));
    MPI_Type_free(&gaps);
    MPI_Type_free(&tile);
    MPI_Type_free(&view);
    const char *text = close_explained(test, &file);
    if (test->rank != 0) {
        EXPECT(text[0] == '\0', "%s", text);
        return;
    }
    EXPECT(strstr(text, "weft: explained: weft:/") == text, "%s", text);
    EXPECT_LINE(text, "write independent contiguous", (2 + 2) * ranks, (2 * length + 2 * 10) * ranks);
    EXPECT_LINE(text, "read independent contiguous", 3 * ranks, 3 * length * ranks);
    EXPECT_LINE(text, "write independent strided", 4 * ranks, 4 * length * ranks);
    EXPECT_LINE(text, "write collective contiguous", 5 * ranks, 5 * length * ranks);
    EXPECT_LINE(text, "write independent contiguous nonblocking", 3 * ranks, 3 * length * ranks);
    EXPECT_LINE(text, "read collective contiguous nonblocking", ranks, length * ranks);
    EXPECT_LINE(text, "shared file pointer", 2 * ranks, 0LL);
    EXPECT_LINE(text, "size", ranks, 0LL);
    EXPECT_LINE(text, "sync", ranks, 0LL);
    EXPECT_LINE(text, "read independent strided", 3 * ranks, 3 * 2 * length * ranks);
    EXPECT_LINE(text, "write collective strided", 4 * ranks, 4 * pieces * length * ranks);
    EXPECT_LINE(text, "read collective strided", 6 * ranks, 6 * length * ranks);
    struct line line, sum = sum_of(text);
    /* What is all in one chunk is one request. */
    EXPECT(find_line(text, "read independent contiguous", &line) && line.requests == 3 * ranks, "%s", text);
    EXPECT(find_line(text, "write independent strided", &line) && line.requests == 4 * ranks, "%s", text);
    EXPECT(find_line(text, "write independent contiguous nonblocking", &line) && line.seconds > 0, "%s",
           text);
    EXPECT(find_line(text, "shared file pointer", &line) && line.metadata == 2 * ranks, "%s", text);
    EXPECT(find_line(text, "write independent contiguous", &line) && line.metadata == 0 &&
               line.wire > line.bytes,
           "%s", text);
    /* The servers were asked as often as that, by all calls together. */
    EXPECT_EQUAL(after.storage - before.storage, sum.requests);
    EXPECT_EQUAL(after.metadata - before.metadata, sum.metadata);
}

/* The number of collective calls by a strategy, whatever the reasons. */
static long long calls_by(const char *text, const char *strategy)
{
    long long sum = 0, calls;
    for (const char *at = text; (at = strstr(at, strategy)) != NULL; at += strlen(strategy))
        if (sscanf(at + strlen(strategy), " %lld of each rank: ", &calls) == 1)
            sum += calls;
    return sum;
}

static void strategies(struct test *test)
{
    static const char *const two_phase[][2] = {{"weft_explain", "true"}, {"weft_collective", "two_phase"}};
    static const char *const direct[][2] = {{"weft_explain", "true"}, {"weft_collective", "direct"}};
    char byte = 0;
    MPI_File file;
    if (!test->is_weft)
        SKIP("explanations are Weft's");
    for (int is_direct = 0; is_direct < 2; is_direct++) {
        MPI(open_with(test, "file", &file, is_direct ? direct : two_phase, 2));
        for (int i = 0; i < 3; i++)
            MPI(MPI_File_write_at_all(file, test->rank, &byte, 1, MPI_BYTE, MPI_STATUS_IGNORE));
        for (int i = 0; i < 2; i++)
            MPI(MPI_File_read_at_all(file, test->rank, &byte, 1, MPI_BYTE, MPI_STATUS_IGNORE));
        const char *text = close_explained(test, &file);
        if (test->rank == 0) {
            /* Of neighbours' single bytes nothing interleaves. */
            EXPECT_EQUAL(3, calls_by(text, is_direct ? "write separate" : "write two_phase"));
            EXPECT_EQUAL(2, calls_by(text, is_direct ? "read  separate" : "read  two_phase"));
            EXPECT_EQUAL(0, calls_by(text, is_direct ? "two_phase" : "separate"));
            EXPECT(strstr(text, " of each rank: asked for\n") != NULL, "%s", text);
        }
    }
}

static bool shows_hint(const char *text, const char *name, const char *value, const char *source)
{
    char found_value[64], found_source[64], start[64];
    int length = snprintf(start, sizeof start, "\n    %s ", name);
    const char *at = strstr(text, start);
    return at != NULL && sscanf(at + length, "%63s %63s", found_value, found_source) == 2 &&
           strcmp(found_value, value) == 0 && strcmp(found_source, source) == 0;
}

#define EXPECT_SHOWN(text, name, value, source) \
    EXPECT(shows_hint(text, name, value, source), "not so: %s %s %s in: %s", name, value, source, text)

/* Each hint with the source that it is from; the layout as the file has it. */
static void sources(struct test *test)
{
    static const char *const asked[][2] = {{"romio_cb_write", "enable"}, {"striping_unit", "65536"}};
    MPI_File file;
    int result = 0;
    if (!test->is_weft)
        SKIP("explanations are Weft's");
    if (test->rank == 0) {
        result = connect_session();
        if (result == 0)
            result = weft_mkdir(session, test_path(test, "d"), 0755);
        if (result == 0)
            result = weft_hints_set(session, test_path(test, "d"),
                                    "weft_explain=true;cb_nodes=1;cb_buffer_size=1M");
    }
    MPI_Bcast(&result, 1, MPI_INT, 0, MPI_COMM_WORLD);
    EXPECT_EQUAL(0, result);
    setenv("WEFT_HINTS", "cb_buffer_size=2M;weft_durability=close", 1);
    MPI(open_with(test, "d/file", &file, asked, 2));
    unsetenv("WEFT_HINTS");
    const char *text = close_explained(test, &file);
    if (test->rank != 0)
        return;
    EXPECT_SHOWN(text, "weft_explain", "true", "directory");
    EXPECT_SHOWN(text, "cb_nodes", "1", "directory");
    EXPECT_SHOWN(text, "cb_buffer_size", "2097152", "WEFT_HINTS");
    EXPECT_SHOWN(text, "weft_durability", "close", "WEFT_HINTS");
    EXPECT_SHOWN(text, "romio_cb_write", "enable", "info");
    EXPECT_SHOWN(text, "romio_cb_read", "automatic", "default");
    EXPECT_SHOWN(text, "weft_chunk_size", "65536", "file");
    EXPECT_SHOWN(text, "weft_progress", "thread", "default");
    EXPECT(strstr(text, "\n  layout: chunks of 65536 bytes, over ") != NULL, "%s", text);
    EXPECT(strstr(text, "\n  aggregators: rank 0\n") != NULL, "%s", text);
    EXPECT_LINE(text, "sync", (long long)test->ranks, 0LL); /* the one at close */
}

/* With a view it begins, and with a view it ends. */
static void with_a_view(struct test *test)
{
    MPI_Info on, off;
    MPI_File file;
    char byte = 1;
    if (!test->is_weft)
        SKIP("explanations are Weft's");
    MPI_Info_create(&on);
    MPI_Info_create(&off);
    MPI_Info_set(on, "weft_explain", "true");
    MPI_Info_set(off, "weft_explain", "false");
    for (int is_taken_back = 0; is_taken_back < 2; is_taken_back++) {
        MPI(open_with(test, "file", &file, NULL, 0));
        MPI(MPI_File_write_at(file, test->rank, &byte, 1, MPI_BYTE, MPI_STATUS_IGNORE));
        MPI(MPI_File_set_view(file, 0, MPI_BYTE, MPI_BYTE, "native", on));
        MPI(MPI_File_write_at(file, test->rank, &byte, 1, MPI_BYTE, MPI_STATUS_IGNORE));
        if (is_taken_back)
            MPI(MPI_File_set_view(file, 0, MPI_BYTE, MPI_BYTE, "native", off));
        const char *text = close_explained(test, &file);
        if (test->rank == 0 && !is_taken_back)
            EXPECT_LINE(text, "write independent contiguous", (long long)test->ranks, (long long)test->ranks);
        else
            EXPECT(text[0] == '\0', "%s", text);
    }
    MPI_Info_free(&on);
    MPI_Info_free(&off);
}

/* Large nonblocking operations of two files at once, in atomic mode: many steps each, moved on
 * by whoever comes by. Whatever overlaps, no request is counted twice, and none is lost. */
static void overlapping(struct test *test)
{
    enum { length = 6 << 20, count = 3 };
    unsigned char *bytes = test_alloc(length * count);
    struct served before, after;
    MPI_Request requests[2 * count];
    MPI_File one, other;
    if (!test->is_weft)
        SKIP("explanations are Weft's");
    test_fill(bytes, length * count, 0, 2);
    MPI(open_with(test, "one", &one, explained, 1));
    MPI(open_with(test, "other", &other, explained, 1));
    MPI(MPI_File_set_atomicity(one, 1));
    EXPECT_EQUAL(0, ask(test, &before));
    for (int i = 0; i < count; i++) {
        MPI_Offset offset = (MPI_Offset)(i * test->ranks + test->rank) * length / 2; /* they overlap */
        MPI(MPI_File_iwrite_at(one, offset, bytes + i * length, length, MPI_BYTE, &requests[2 * i]));
        MPI(MPI_File_iwrite_at(other, 2 * offset, bytes + i * length, length, MPI_BYTE,
                               &requests[2 * i + 1]));
        MPI(MPI_File_write_at(other, (MPI_Offset)test->rank, bytes, 1, MPI_BYTE, MPI_STATUS_IGNORE));
    }
    MPI(MPI_Waitall(2 * count, requests, MPI_STATUSES_IGNORE));
    EXPECT_EQUAL(0, ask(test, &after));
    char both[2][32768];
    snprintf(both[0], sizeof both[0], "%s", close_explained(test, &one));
    snprintf(both[1], sizeof both[1], "%s", close_explained(test, &other));
    free(bytes);
    if (test->rank != 0)
        return;
    for (int i = 0; i < 2; i++)
        EXPECT_LINE(both[i], "write independent contiguous nonblocking", (long long)count * test->ranks,
                    (long long)count * length * test->ranks);
    EXPECT_EQUAL(after.storage - before.storage, sum_of(both[0]).requests + sum_of(both[1]).requests);
}

static const struct test_case cases[] = {
    {"silence", silence}, {"classes", classes},         {"strategies", strategies},
    {"sources", sources}, {"with-a-view", with_a_view}, {"overlapping", overlapping},
};

int main(int argc, char **argv)
{
    int status = test_main(argc, argv, "explain", cases, sizeof cases / sizeof cases[0]);
    weft_disconnect(session);
    return status;
}
