/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernels.c: what is written and read: which elements of a data set each rank has.
 */
#include "bench.h"

#define GROUP_PARTICLES 16 /* neighbours of one rank, where the ranks interleave */

/* 1-D, a slab for each rank. */
static void select_slab(uint64_t elements, int rank, int ranks, struct selection *selection)
{
    hsize_t mine = elements / (hsize_t)ranks;
    *selection = (struct selection){
        .dimensions = 1,
        .size = {1, mine * (hsize_t)ranks},
        .start = {0, mine * (hsize_t)rank},
        .stride = {1, mine},
        .count = {1, 1},
        .block = {1, mine},
    };
}

/* 1-D, dealt out in groups of so many. */
static void deal(uint64_t elements, int rank, int ranks, hsize_t group, struct selection *selection)
{
    hsize_t turn = group * (hsize_t)ranks, groups = elements / turn;
    *selection = (struct selection){
        .dimensions = 1,
        .size = {1, groups * turn},
        .start = {0, group * (hsize_t)rank},
        .stride = {1, turn},
        .count = {1, groups},
        .block = {1, group},
    };
}

static void select_groups(uint64_t elements, int rank, int ranks, struct selection *selection)
{
    deal(elements, rank, ranks, GROUP_PARTICLES, selection);
}

static void select_singles(uint64_t elements, int rank, int ranks, struct selection *selection)
{
    deal(elements, rank, ranks, 1, selection);
}

static hsize_t least(hsize_t one, hsize_t other)
{
    return one < other ? one : other;
}

/* 2-D, a block for each rank. No border of chunks is one of blocks, but for the data set's own. */
static void select_blocks(uint64_t elements, int rank, int ranks, struct selection *selection)
{
    int grid[2] = {0, 0};
    hsize_t side = 1;
    MPI_Dims_create(ranks, 2, grid);
    while ((side + 1) * (side + 1) * (hsize_t)ranks <= elements)
        side++;
    *selection = (struct selection){
        .dimensions = 2,
        .size = {side * (hsize_t)grid[0], side * (hsize_t)grid[1]},
        .chunk = {least(side * 3 / 5 + 1, 300), least(side * 3 / 7 + 1, 401)},
        .start = {side * (hsize_t)(rank / grid[1]), side * (hsize_t)(rank % grid[1])},
        .stride = {side, side},
        .count = {1, 1},
        .block = {side, side},
    };
}

const struct kernel kernels[] = {
    {"slab-1d", "doubles, 1-D, contiguous, a slab for each rank; 4 steps", &array_method, 1, 4, 1,
     select_slab},
    {"chunked-2d", "doubles, 2-D, blocks across chunks of 300 x 401; 2 steps", &array_method, 1, 2, 1,
     select_blocks},
    {"particles", "compounds of 56 bytes, 1-D, a slab for each rank; 2 steps", &array_method, 7, 2, 1,
     select_slab},
    {"particles-mixed", "the same, ranks interleaved in groups of 16; 2 steps", &array_method, 7, 2, 4,
     select_groups},
    {"particles-dealt", "the same, dealt out one by one; 2 steps", &array_method, 7, 2, 16, select_singles},
    {"small", "many data sets of 2 KiB in groups, with an attribute", &small_method, 1, 1, 1, NULL},
};
const unsigned kernel_count = sizeof kernels / sizeof kernels[0];

struct particle {
    double place[3];
    double momentum[3];
    int32_t id[2];
};

hid_t particle_type(void)
{
    static const char *const names[] = {"x", "y", "z", "px", "py", "pz"};
    hid_t type = H5Tcreate(H5T_COMPOUND, sizeof(struct particle));
    for (size_t i = 0; i < 6; i++)
        if (H5Tinsert(type, names[i], i * sizeof(double), H5T_NATIVE_DOUBLE) < 0)
            return H5I_INVALID_HID;
    size_t ids = offsetof(struct particle, id);
    if (H5Tinsert(type, "id_1", ids, H5T_NATIVE_INT32) < 0 ||
        H5Tinsert(type, "id_2", ids + sizeof(int32_t), H5T_NATIVE_INT32) < 0)
        return H5I_INVALID_HID;
    return type;
}
