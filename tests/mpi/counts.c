/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counts.c: how many requests the driver's calls cost, as the servers count them.
 *
 * Times differ from machine to machine, counts don't. Nobody else may use the
 * cluster meanwhile.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

#include "mpi_test.h"

enum { servers_max = 64 };

/* What the servers have counted so far, or in between. */
struct counts {
    long long metadata;  /* requests of clients to the metadata server */
    long long data_most; /* reads and writes that came to one storage server, the most */
    long long data;      /* to all */
    long long wire;      /* bytes that came in at all storage servers */
    long long per_server[servers_max];
    int servers;
    char names[servers_max][64];
};

static weft_session_t *session;

static int index_of(struct counts *counts, const char *server)
{
    int i = 0;
    while (i < counts->servers && strcmp(counts->names[i], server) != 0)
        i++;
    if (i == counts->servers && i < servers_max)
        snprintf(counts->names[counts->servers++], sizeof counts->names[0], "%s", server);
    return i;
}

/* Requests of servers, and those of this test itself, are not the driver's. */
static bool is_others(const char *name)
{
    static const char *const names[] = {"served_heartbeat", "served_server_register", "served_counters",
                                        "served_inodes_gone"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static void add(void *argument, const char *server, const char *name, uint64_t value)
{
    struct counts *counts = argument;
    if (strcmp(server, "metadata") == 0) {
        if (strncmp(name, "served_", 7) == 0 && !is_others(name))
            counts->metadata += (long long)value;
        return;
    }
    int i = index_of(counts, server);
    if (strcmp(name, "served_read") == 0 || strcmp(name, "served_write") == 0 ||
        strcmp(name, "served_write_gather") == 0)
        counts->per_server[i] += (long long)value;
    else if (strcmp(name, "bytes_wire_received") == 0)
        counts->wire += (long long)value;
}

/* Rank 0 asks, when all ranks are done with what went before. */
static int ask(struct test *test, struct counts *counts)
{
    int result = 0;
    memset(counts, 0, sizeof *counts);
    MPI_Barrier(MPI_COMM_WORLD);
    if (test->rank == 0) {
        if (session == NULL)
            result = weft_connect(NULL, &session);
        if (result == 0)
            result = weft_server_counters(session, add, counts);
        if (result < 0)
            fprintf(stderr, "counts: %s\n", weft_error());
    }
    MPI_Bcast(counts, sizeof *counts, MPI_BYTE, 0, MPI_COMM_WORLD);
    MPI_Bcast(&result, 1, MPI_INT, 0, MPI_COMM_WORLD);
    return result;
}

static int ask_since(struct test *test, const struct counts *before, struct counts *counts)
{
    int result = ask(test, counts);
    counts->metadata -= before->metadata;
    counts->wire -= before->wire;
    for (int i = 0; i < counts->servers; i++) {
        counts->per_server[i] -= before->per_server[i];
        counts->data += counts->per_server[i];
        if (counts->per_server[i] > counts->data_most)
            counts->data_most = counts->per_server[i];
    }
    return result;
}

static int open_on(struct test *test, MPI_Comm comm, const char *name, MPI_File *file)
{
    return MPI_File_open(comm, test_path(test, name), MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, file);
}

/* One request opens a file for 1 rank, for 2 and for all. */
static void collective_open(struct test *test)
{
    MPI_File file;
    MPI_Comm comm;
    struct counts before, counts;
    for (int ranks = 1; ranks <= test->ranks; ranks++) {
        MPI_Comm_split(MPI_COMM_WORLD, test->rank < ranks ? 0 : MPI_UNDEFINED, test->rank, &comm);
        for (int again = 0; again < 3; again++) { /* the first may fetch the cluster map */
            EXPECT_EQUAL(0, ask(test, &before));
            if (comm != MPI_COMM_NULL)
                MPI(open_on(test, comm, "file", &file));
            EXPECT_EQUAL(0, ask_since(test, &before, &counts));
            if (comm != MPI_COMM_NULL)
                MPI(MPI_File_close(&file));
        }
        EXPECT_EQUAL(1, counts.metadata);
        if (comm != MPI_COMM_NULL)
            MPI_Comm_free(&comm);
    }
}

/* What a directory has for its files comes with the same request. */
static void directory_hints(struct test *test)
{
    struct counts before, counts;
    MPI_File file;
    EXPECT_EQUAL(0, ask(test, &before)); /* makes the session */
    if (test->rank == 0) {
        const char *path = test_path(test, "d");
        EXPECT_EQUAL(0, weft_mkdir(session, path, 0755));
        EXPECT_EQUAL(0, weft_hints_set(session, path, "cb_nodes=2;cb_buffer_size=65536"));
    }
    for (int again = 0; again < 2; again++) {
        EXPECT_EQUAL(0, ask(test, &before));
        MPI(open_on(test, MPI_COMM_WORLD, "d/file", &file));
        EXPECT(strcmp(test_hint(file, "cb_buffer_size"), "65536") == 0);
        EXPECT(strcmp(test_hint(file, "cb_nodes"), test->ranks < 2 ? "1" : "2") == 0);
        EXPECT_EQUAL(0, ask_since(test, &before, &counts));
        EXPECT_EQUAL(1, counts.metadata);
        MPI(MPI_File_close(&file));
    }
}

/* Reading, writing and asking for the size cost the metadata server nothing. */
static void metadata_during_io(struct test *test)
{
    enum { length = 3 << 20 };
    unsigned char *bytes = test_alloc(length);
    struct counts before, counts;
    MPI_Offset size;
    MPI_Request request;
    MPI_File file;
    memset(bytes, 1, length);
    MPI(open_on(test, MPI_COMM_WORLD, "file", &file));
    MPI(MPI_File_write_at_all(file, (MPI_Offset)test->rank * length, bytes, length, MPI_BYTE,
                              MPI_STATUS_IGNORE));
    EXPECT_EQUAL(0, ask(test, &before));
    for (int i = 0; i < 5; i++) {
        MPI_Offset offset = (MPI_Offset)(i * test->ranks + test->rank) * length;
        MPI(MPI_File_write_at(file, offset, bytes, length, MPI_BYTE, MPI_STATUS_IGNORE));
        MPI(MPI_File_write_at_all(file, offset, bytes, length, MPI_BYTE, MPI_STATUS_IGNORE));
        MPI(MPI_File_read_at(file, offset, bytes, length, MPI_BYTE, MPI_STATUS_IGNORE));
        MPI(MPI_File_iread_at(file, offset, bytes, length, MPI_BYTE, &request));
        MPI(MPI_Wait(&request, MPI_STATUS_IGNORE));
        MPI(MPI_File_get_size(file, &size));
    }
    EXPECT_EQUAL(0, ask_since(test, &before, &counts));
    EXPECT_EQUAL(0, counts.metadata);
    MPI(MPI_File_close(&file));
    free(bytes);
}

/* 1,024 small pieces in one call: at most one request for each storage server. */
static void small_pieces(struct test *test)
{
    enum { pieces = 1024, length = 100, stride = 8192 };
    unsigned char *bytes = test_alloc(pieces * length);
    struct counts before, counts;
    MPI_Datatype view;
    MPI_File file;
    memset(bytes, 2, pieces * length);
    MPI_Type_vector(pieces, length, stride, MPI_BYTE, &view);
    MPI_Type_commit(&view);
    MPI(open_on(test, MPI_COMM_WORLD, "file", &file));
    MPI(MPI_File_set_view(file, 0, MPI_BYTE, view, "native", MPI_INFO_NULL));
    for (int is_read = 0; is_read < 2; is_read++) {
        EXPECT_EQUAL(0, ask(test, &before));
        if (test->rank == 0 && !is_read)
            MPI(MPI_File_write_at(file, 0, bytes, pieces * length, MPI_BYTE, MPI_STATUS_IGNORE));
        else if (test->rank == 0)
            MPI(MPI_File_read_at(file, 0, bytes, pieces * length, MPI_BYTE, MPI_STATUS_IGNORE));
        EXPECT_EQUAL(0, ask_since(test, &before, &counts));
        EXPECT(counts.data_most == 1, "%lld requests to one server", counts.data_most);
        EXPECT_EQUAL(counts.servers, counts.data);
    }
    MPI(MPI_File_close(&file));
    MPI_Type_free(&view);
    free(bytes);
}

/* Little more goes over the wire than the data: at 1 MiB, 2% at the most. */
static void wire_bytes(struct test *test)
{
    enum { length = 1 << 20, count = 32 };
    unsigned char *bytes = test_alloc(length);
    struct counts before, counts;
    MPI_File file;
    memset(bytes, 3, length);
    MPI(open_on(test, MPI_COMM_WORLD, "file", &file));
    EXPECT_EQUAL(0, ask(test, &before));
    for (int i = 0; i < count; i++)
        MPI(MPI_File_write_at(file, (MPI_Offset)(i * test->ranks + test->rank) * length, bytes, length,
                              MPI_BYTE, MPI_STATUS_IGNORE));
    EXPECT_EQUAL(0, ask_since(test, &before, &counts));
    long long payload = (long long)length * count * test->ranks;
    EXPECT(counts.wire >= payload && counts.wire <= payload / 50 * 51, "%lld bytes for %lld", counts.wire,
           payload);
    MPI(MPI_File_close(&file));
    free(bytes);
}

static const struct test_case cases[] = {
    {"collective-open", collective_open},
    {"directory-hints", directory_hints},
    {"metadata-during-io", metadata_during_io},
    {"small-pieces", small_pieces},
    {"wire-bytes", wire_bytes},
};

int main(int argc, char **argv)
{
    int status = test_main(argc, argv, "counts", cases, sizeof cases / sizeof cases[0]);
    weft_disconnect(session);
    return status;
}
