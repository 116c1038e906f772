/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ranks.c: all ranks of a job, one HDF5 file on Weft through its driver: what they write together, in
 * pieces of any size, each reads together with the others, its own and everybody else's. For HDF5 1.14 and
 * later.
 *
 * usage: ranks NAME [ROUNDS [SEED]]
 * WEFT_HDF5_CONFIG is the driver's configuration. Prints how many extents the storage servers have been asked
 * for since they started. Exit status: 0 all is well; else the first check that failed is on standard error.
 */
#include <hdf5.h>
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft/hdf5.h"
#include "weft/weft.h"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: rank %d: not so: %s\n", __FILE__, __LINE__, rank, #condition); \
            H5Eprint2(H5E_DEFAULT, stderr);                                                        \
            MPI_Abort(MPI_COMM_WORLD, 1);                                                          \
        }                                                                                          \
    } while (0)

#define DEALS_MAX 400u /* groups that are dealt out in a data set, to each rank as many, or none */

static int rank, ranks;
static const char *name;
static unsigned random_state;

/* The same on all ranks. */
static unsigned below(unsigned bound)
{
    return (unsigned)rand_r(&random_state) % bound;
}

/* One data set: bytes, dealt out in groups. */
struct deal {
    hsize_t group, turns;
    unsigned first; /* who gets the first group of a turn */
    unsigned idle;  /* who gets none; `ranks`: all get some */
    hsize_t chunk;  /* 0: contiguous */
    unsigned salt;
};

static uint8_t value_of(const struct deal *deal, hsize_t at)
{
    uint64_t mixed = (at + 1 + deal->salt * UINT64_C(1000003)) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint8_t)(mixed >> 40);
}

static hsize_t size_of(const struct deal *deal)
{
    return deal->group * deal->turns * (hsize_t)ranks;
}

/* Where the group of that turn begins that this player gets. */
static hsize_t start_of(const struct deal *deal, hsize_t turn, unsigned player)
{
    return deal->group * (turn * (hsize_t)ranks + (player + deal->first) % (unsigned)ranks);
}

/* ---- HDF5's objects ----------------------------------------------------- */

static hid_t access_list(void)
{
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);
    CHECK(fapl >= 0);
    CHECK(H5Pset_mpi_params(fapl, MPI_COMM_WORLD, MPI_INFO_NULL) >= 0);
    CHECK(H5Pset_fapl_weft(fapl, getenv("WEFT_HDF5_CONFIG")) >= 0);
    return fapl;
}

static hid_t transfer_list(int is_collective)
{
    hid_t dxpl = H5Pcreate(H5P_DATASET_XFER);
    CHECK(dxpl >= 0);
    CHECK(H5Pset_dxpl_mpio(dxpl, is_collective ? H5FD_MPIO_COLLECTIVE : H5FD_MPIO_INDEPENDENT) >= 0);
    return dxpl;
}

static hid_t create_set(hid_t file, const struct deal *deal)
{
    const hsize_t size = size_of(deal);
    char text[32];
    snprintf(text, sizeof text, "set-%u", deal->salt);
    hid_t space = H5Screate_simple(1, &size, NULL), properties = H5Pcreate(H5P_DATASET_CREATE);
    CHECK(space >= 0 && properties >= 0);
    CHECK(H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER) >= 0);
    if (deal->chunk)
        CHECK(H5Pset_chunk(properties, 1, &deal->chunk) >= 0);
    hid_t set = H5Dcreate2(file, text, H5T_NATIVE_UINT8, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    CHECK(set >= 0);
    CHECK(H5Pclose(properties) >= 0);
    CHECK(H5Sclose(space) >= 0);
    return set;
}

/* The file's space with the player's groups selected. */
static hid_t space_of(const struct deal *deal, unsigned player)
{
    const hsize_t size = size_of(deal), start = start_of(deal, 0, player),
                  stride = deal->group * (hsize_t)ranks;
    hid_t space = H5Screate_simple(1, &size, NULL);
    CHECK(space >= 0);
    if (player == deal->idle)
        CHECK(H5Sselect_none(space) >= 0);
    else
        CHECK(H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, &stride, &deal->turns, &deal->group) >= 0);
    return space;
}

/* Memory in which two bytes lie between any two that are meant. */
static hid_t memory_of(const struct deal *deal, unsigned player)
{
    const hsize_t count = deal->group * deal->turns, size = 3 * count, start = 0, stride = 3;
    hid_t space = H5Screate_simple(1, &size, NULL);
    CHECK(space >= 0);
    if (player == deal->idle)
        CHECK(H5Sselect_none(space) >= 0);
    else
        CHECK(H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, &stride, &count, NULL) >= 0);
    return space;
}

/* ---- writing and reading ------------------------------------------------ */

static void write_deal(hid_t set, const struct deal *deal, hid_t dxpl)
{
    const hsize_t count = deal->group * deal->turns;
    uint8_t *memory = malloc(3 * count);
    CHECK(memory);
    for (hsize_t i = 0; i < count; i++) {
        memory[3 * i] = value_of(deal, start_of(deal, i / deal->group, (unsigned)rank) + i % deal->group);
        memory[3 * i + 1] = memory[3 * i + 2] = 0xaa;
    }
    hid_t space = space_of(deal, (unsigned)rank), memory_space = memory_of(deal, (unsigned)rank);
    CHECK(H5Dwrite(set, H5T_NATIVE_UINT8, memory_space, space, dxpl, memory) >= 0);
    CHECK(H5Sclose(memory_space) >= 0);
    CHECK(H5Sclose(space) >= 0);
    free(memory);
}

/* What a player wrote; nothing between the bytes in memory is touched. */
static void read_deal(hid_t set, const struct deal *deal, hid_t dxpl, unsigned player)
{
    const hsize_t count = deal->group * deal->turns;
    uint8_t *memory = malloc(3 * count);
    CHECK(memory);
    memset(memory, 0x55, 3 * count);
    hid_t space = space_of(deal, player), memory_space = memory_of(deal, player);
    CHECK(H5Dread(set, H5T_NATIVE_UINT8, memory_space, space, dxpl, memory) >= 0);
    for (hsize_t i = 0; i < count; i++) {
        const uint8_t wanted =
            player == deal->idle ? 0x55
                                 : value_of(deal, start_of(deal, i / deal->group, player) + i % deal->group);
        CHECK(memory[3 * i] == wanted);
        CHECK(memory[3 * i + 1] == 0x55 && memory[3 * i + 2] == 0x55);
    }
    CHECK(H5Sclose(memory_space) >= 0);
    CHECK(H5Sclose(space) >= 0);
    free(memory);
}

/* All ranks read the whole of it. What nobody wrote is not looked at. */
static void read_whole(hid_t set, const struct deal *deal, hid_t dxpl)
{
    const hsize_t size = size_of(deal);
    uint8_t *memory = malloc(size);
    CHECK(memory);
    CHECK(H5Dread(set, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, dxpl, memory) >= 0);
    for (hsize_t at = 0; at < size; at++) {
        const unsigned place = (unsigned)(at / deal->group % (hsize_t)ranks);
        const unsigned player = (place + (unsigned)ranks - deal->first % (unsigned)ranks) % (unsigned)ranks;
        CHECK(player == deal->idle || memory[at] == value_of(deal, at));
    }
    free(memory);
}

/* ---- courses ------------------------------------------------------------ */

static struct deal draw(unsigned salt)
{
    static const hsize_t groups[] = {1, 3, 8, 56, 300, 900, 5000, 20000};
    struct deal deal = {
        .group = groups[below(sizeof groups / sizeof groups[0])],
        .turns = 1 + below(DEALS_MAX),
        .first = below((unsigned)ranks),
        .idle = below(3) ? (unsigned)ranks : below((unsigned)ranks),
        .salt = salt,
    };
    while (size_of(&deal) > 8u << 20)
        deal.turns = deal.turns / 2 + 1;
    if (below(3) == 0)
        deal.chunk = 1 + below((unsigned)size_of(&deal));
    if (deal.chunk && size_of(&deal) / deal.chunk > 50)
        deal.chunk = size_of(&deal) / 50 + 1;
    return deal;
}

static void one_round(unsigned round)
{
    enum { SETS = 6 };
    struct deal deals[SETS];
    hid_t sets[SETS], fapl = access_list(), collective = transfer_list(1), alone = transfer_list(0);
    hid_t file = H5Fcreate(name, H5F_ACC_TRUNC, H5P_DEFAULT, fapl);
    CHECK(file >= 0);
    for (unsigned i = 0; i < SETS; i++) {
        deals[i] = draw(round * SETS + i);
        sets[i] = create_set(file, &deals[i]);
        write_deal(sets[i], &deals[i], below(8) ? collective : alone);
        if (below(2)) {
            MPI_Barrier(MPI_COMM_WORLD);
            read_deal(sets[i], &deals[i], collective, ((unsigned)rank + 1) % (unsigned)ranks);
        }
    }
    MPI_Barrier(MPI_COMM_WORLD);
    for (unsigned i = 0; i < SETS; i++) {
        read_deal(sets[i], &deals[i], below(8) ? collective : alone, ((unsigned)rank + 1) % (unsigned)ranks);
        CHECK(H5Dclose(sets[i]) >= 0);
    }
    CHECK(H5Fclose(file) >= 0);

    file = H5Fopen(name, below(2) ? H5F_ACC_RDONLY : H5F_ACC_RDWR, fapl);
    CHECK(file >= 0);
    for (unsigned i = 0; i < SETS; i++) {
        char text[32];
        snprintf(text, sizeof text, "set-%u", deals[i].salt);
        hid_t set = H5Dopen2(file, text, H5P_DEFAULT);
        CHECK(set >= 0);
        read_deal(set, &deals[i], collective, ((unsigned)rank + 2) % (unsigned)ranks);
        if (below(3) == 0)
            read_whole(set, &deals[i], collective);
        CHECK(H5Dclose(set) >= 0);
    }
    CHECK(H5Fclose(file) >= 0);
    CHECK(H5Pclose(alone) >= 0);
    CHECK(H5Pclose(collective) >= 0);
    CHECK(H5Pclose(fapl) >= 0);
}

/* What lies behind the end of the file is zeros: space was given to the set, but nobody wrote there. */
static void test_unwritten(void)
{
    struct deal deal = {.group = 8, .turns = 300, .idle = (unsigned)ranks, .salt = 1u << 30};
    const hsize_t count = deal.group * deal.turns;
    uint8_t memory[8 * 300];
    hid_t fapl = access_list(), dxpl = transfer_list(1);
    hid_t file = H5Fcreate(name, H5F_ACC_TRUNC, H5P_DEFAULT, fapl);
    CHECK(file >= 0);
    hid_t set = create_set(file, &deal);
    for (int again = 0; again < 2; again++) {
        memset(memory, 0x55, sizeof memory);
        hid_t space = space_of(&deal, (unsigned)rank), memory_space = H5Screate_simple(1, &count, NULL);
        CHECK(H5Dread(set, H5T_NATIVE_UINT8, memory_space, space, dxpl, memory) >= 0);
        for (hsize_t i = 0; i < count; i++)
            CHECK(memory[i] == 0);
        CHECK(H5Sclose(memory_space) >= 0);
        CHECK(H5Sclose(space) >= 0);
    }
    CHECK(H5Dclose(set) >= 0);
    CHECK(H5Fclose(file) >= 0);
    CHECK(H5Pclose(dxpl) >= 0);
    CHECK(H5Pclose(fapl) >= 0);
}

static void test_tiny(void)
{
    const struct deal deal = {.group = 8, .turns = DEALS_MAX, .idle = (unsigned)ranks, .salt = 1u << 29};
    hid_t fapl = access_list(), dxpl = transfer_list(1);
    hid_t file = H5Fcreate(name, H5F_ACC_TRUNC, H5P_DEFAULT, fapl);
    CHECK(file >= 0);
    hid_t set = create_set(file, &deal);
    for (int again = 0; again < 3; again++) {
        write_deal(set, &deal, dxpl);
        MPI_Barrier(MPI_COMM_WORLD);
        read_deal(set, &deal, dxpl, ((unsigned)rank + 1) % (unsigned)ranks);
    }
    CHECK(H5Dclose(set) >= 0);
    CHECK(H5Fclose(file) >= 0);
    CHECK(H5Pclose(dxpl) >= 0);
    CHECK(H5Pclose(fapl) >= 0);
}

static void add_extents(void *sum, const char *server, const char *counter, uint64_t value)
{
    (void)server;
    if (strncmp(counter, "extents_", 8) == 0)
        *(uint64_t *)sum += value;
}

static void print_extents(void)
{
    weft_session_t *session;
    uint64_t sum = 0;
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank != 0)
        return;
    CHECK(weft_connect(NULL, &session) == 0);
    CHECK(weft_server_counters(session, add_extents, &sum) == 0);
    weft_disconnect(session);
    printf("extents %llu\n", (unsigned long long)sum);
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (argc < 2) {
        fprintf(stderr, "usage: ranks NAME [ROUNDS [SEED]]\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    name = argv[1];
    const unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : 10;
    random_state = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 0) : 1;
    test_unwritten();
    test_tiny();
    for (unsigned round = 0; round < rounds; round++)
        one_round(round);
    print_extents();
    MPI_Finalize();
    return 0;
}
