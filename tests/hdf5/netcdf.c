/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netcdf.c: a netCDF-4 file that all ranks of a job write, extend and read, as a model of the weather
 * has them: records along an unlimited dimension, a fixed field, attributes.
 *
 * usage: mpirun -n RANKS netcdf write|read PATH
 * `read` looks at the finished file alone. Exit status: 0 all is well; 1 the first check that failed is on
 * standard error.
 */
#include <mpi.h>
#include <netcdf.h>
#include <netcdf_par.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                          \
    do {                                          \
        if (!(condition))                         \
            stop(__LINE__, "not so", #condition); \
    } while (0)

/* A call of netCDF that has to succeed. */
#define NC(call)                                              \
    do {                                                      \
        int code_of_call = (call);                            \
        if (code_of_call != NC_NOERR)                         \
            stop(__LINE__, nc_strerror(code_of_call), #call); \
    } while (0)

/* No multiples of each other, of the ranks or of a chunk. */
enum { Y = 45, X = 77, FIRST_RECORDS = 6, RECORDS = 11 };

static int rank, ranks;
static const char *path;

static void stop(int line, const char *why, const char *what)
{
    fprintf(stderr, "%s:%d: rank %d: %s: %s\n", __FILE__, line, rank, why, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

/* A file that is open, and what is in it. */
struct file {
    int id;
    int wind, depth, when;
};

/* The rows of this rank, or of another. */
struct rows {
    size_t first, count;
};

static struct rows rows_of(int owner)
{
    size_t first = (size_t)(Y * owner / ranks), last = (size_t)(Y * (owner + 1) / ranks);
    return (struct rows){first, last - first};
}

static float wind_at(size_t record, size_t y, size_t x, int turn)
{
    return (float)(record * 10000 + y * 100 + x) + 0.25f * (float)turn;
}

static int depth_at(size_t y, size_t x)
{
    return (int)(y * 1000 + x) - 7000;
}

static void set_access(const struct file *file, int access)
{
    NC(nc_var_par_access(file->id, file->wind, access));
    NC(nc_var_par_access(file->id, file->depth, access));
}

static void define(struct file *file)
{
    int y, x, time;
    size_t chunks[] = {2, 16, 30};
    float fill = -1;
    NC(nc_def_dim(file->id, "time", NC_UNLIMITED, &time));
    NC(nc_def_dim(file->id, "y", Y, &y));
    NC(nc_def_dim(file->id, "x", X, &x));
    NC(nc_def_var(file->id, "wind", NC_FLOAT, 3, (int[]){time, y, x}, &file->wind));
    NC(nc_def_var_chunking(file->id, file->wind, NC_CHUNKED, chunks));
    NC(nc_def_var_fill(file->id, file->wind, NC_FILL, &fill));
    NC(nc_def_var(file->id, "depth", NC_INT, 2, (int[]){y, x}, &file->depth));
    NC(nc_def_var(file->id, "when", NC_DOUBLE, 1, &time, &file->when));
    NC(nc_put_att_text(file->id, file->wind, "units", 5, "m s-1"));
    NC(nc_put_att_int(file->id, NC_GLOBAL, "ranks", NC_INT, 1, &ranks));
    NC(nc_enddef(file->id));
}

static void find(struct file *file)
{
    NC(nc_inq_varid(file->id, "wind", &file->wind));
    NC(nc_inq_varid(file->id, "depth", &file->depth));
    NC(nc_inq_varid(file->id, "when", &file->when));
    /* A variable that grows is written by all together. */
    NC(nc_var_par_access(file->id, file->when, NC_COLLECTIVE));
}

/* ---- writing ------------------------------------------------------------------ */

static void write_wind(const struct file *file, size_t record, struct rows rows, int turn)
{
    static float values[Y][X];
    size_t start[] = {record, rows.first, 0}, count[] = {1, rows.count, X};
    for (size_t y = 0; y < rows.count; y++)
        for (size_t x = 0; x < X; x++)
            values[y][x] = wind_at(record, rows.first + y, x, turn);
    NC(nc_put_vara_float(file->id, file->wind, start, count, &values[0][0]));
}

/* Grows the file by records. Collective, as everything is that makes an unlimited dimension longer. */
static void append(const struct file *file, size_t first, size_t last)
{
    for (size_t record = first; record < last; record++) {
        size_t one = 1, none = 0;
        double when = 0.5 * (double)record;
        write_wind(file, record, rows_of(rank), 0);
        /* One rank has the value; the others take part with nothing. */
        NC(nc_put_vara_double(file->id, file->when, &record, rank == 0 ? &one : &none, &when));
    }
}

static void write_depth(const struct file *file)
{
    /* Column by column, and so in as many calls on each rank as it has columns. */
    for (size_t x = (size_t)rank; x < X; x += (size_t)ranks) {
        int column[Y];
        for (size_t y = 0; y < Y; y++)
            column[y] = depth_at(y, x);
        NC(nc_put_vara_int(file->id, file->depth, (size_t[]){0, x}, (size_t[]){Y, 1}, column));
    }
}

/* ---- reading ------------------------------------------------------------------ */

static void check_wind(const struct file *file, size_t record, struct rows rows, int turn)
{
    static float values[Y][X];
    size_t start[] = {record, rows.first, 0}, count[] = {1, rows.count, X};
    NC(nc_get_vara_float(file->id, file->wind, start, count, &values[0][0]));
    for (size_t y = 0; y < rows.count; y++)
        for (size_t x = 0; x < X; x++)
            CHECK(values[y][x] == wind_at(record, rows.first + y, x, turn));
}

static size_t record_count(const struct file *file)
{
    int time;
    size_t count;
    NC(nc_inq_dimid(file->id, "time", &time));
    NC(nc_inq_dimlen(file->id, time, &count));
    return count;
}

/* Every value of the finished file; the even records were overwritten once. */
static void check_all(const struct file *file, struct rows rows)
{
    static int depth[Y][X];
    double when[RECORDS];
    char units[6] = "";
    int was;
    CHECK(record_count(file) == RECORDS);
    for (size_t record = 0; record < RECORDS; record++)
        check_wind(file, record, rows, record % 2 == 0);
    NC(nc_get_var_int(file->id, file->depth, &depth[0][0]));
    for (size_t y = 0; y < Y; y++)
        for (size_t x = 0; x < X; x++)
            CHECK(depth[y][x] == depth_at(y, x));
    NC(nc_get_var_double(file->id, file->when, when));
    for (size_t record = 0; record < RECORDS; record++)
        CHECK(when[record] == 0.5 * (double)record);
    NC(nc_get_att_text(file->id, file->wind, "units", units));
    CHECK(strcmp(units, "m s-1") == 0);
    NC(nc_get_att_int(file->id, NC_GLOBAL, "ranks", &was));
    CHECK(was == ranks);
}

/* ---- the parts ---------------------------------------------------------------- */

static void create(void)
{
    struct file file;
    NC(nc_create_par(path, NC_NETCDF4 | NC_CLOBBER, MPI_COMM_WORLD, MPI_INFO_NULL, &file.id));
    define(&file);
    find(&file);
    set_access(&file, NC_COLLECTIVE);
    append(&file, 0, FIRST_RECORDS);
    NC(nc_var_par_access(file.id, file.depth, NC_INDEPENDENT));
    write_depth(&file);
    NC(nc_sync(file.id));
    /* What the next rank wrote is to be seen while all have the file open. */
    MPI_Barrier(MPI_COMM_WORLD);
    for (size_t record = 0; record < FIRST_RECORDS; record++)
        check_wind(&file, record, rows_of((rank + 1) % ranks), 0);
    NC(nc_close(file.id));
}

/* Opened again: longer, and every second record anew, each rank by itself. */
static void extend(void)
{
    struct file file;
    NC(nc_open_par(path, NC_WRITE, MPI_COMM_WORLD, MPI_INFO_NULL, &file.id));
    find(&file);
    CHECK(record_count(&file) == FIRST_RECORDS);
    set_access(&file, NC_COLLECTIVE);
    append(&file, FIRST_RECORDS, RECORDS);
    set_access(&file, NC_INDEPENDENT);
    for (size_t record = 0; record < RECORDS; record += 2)
        write_wind(&file, record, rows_of((rank + 1) % ranks), 1);
    NC(nc_close(file.id));
}

static void read_all(void)
{
    struct file file;
    static const int ways[] = {NC_COLLECTIVE, NC_INDEPENDENT};
    for (int i = 0; i < 2; i++) {
        NC(nc_open_par(path, NC_NOWRITE, MPI_COMM_WORLD, MPI_INFO_NULL, &file.id));
        find(&file);
        set_access(&file, ways[i]);
        check_all(&file, i == 0 ? rows_of((rank + 2) % ranks) : (struct rows){0, Y});
        NC(nc_close(file.id));
    }
}

/* Errors are told, and told on all ranks. */
static void refuse(void)
{
    int id;
    char none[300];
    snprintf(none, sizeof none, "%s.none", path);
    CHECK(nc_open_par(none, NC_NOWRITE, MPI_COMM_WORLD, MPI_INFO_NULL, &id) != NC_NOERR);
    CHECK(nc_create_par(path, NC_NETCDF4 | NC_NOCLOBBER, MPI_COMM_WORLD, MPI_INFO_NULL, &id) != NC_NOERR);
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    CHECK(argc == 3 && ranks <= Y);
    path = argv[2];
    if (strcmp(argv[1], "write") == 0) {
        create();
        extend();
        refuse();
    }
    read_all();
    if (rank == 0)
        printf("netCDF %s: %d ranks, %s is right\n", nc_inq_libvers(), ranks, path);
    MPI_Finalize();
    return 0;
}
