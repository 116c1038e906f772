/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property_types.c: datatypes at random: how they are constructed, and what they select.
 */
#include <stdlib.h>
#include <string.h>

#include "property.h"

/* `second` bytes of `second_length`: the pairs of MPI have a gap, and one behind them. */
static const struct {
    const char *name;
    int64_t length, second, second_length, align;
} basics[] = {
    {"byte", 1, 0, 0, 1},   {"short", 2, 0, 0, 2},     {"int", 4, 0, 0, 4},
    {"double", 8, 0, 0, 8}, {"short_int", 2, 4, 4, 4}, {"double_int", 8, 8, 4, 8},
};
enum { basics_count = sizeof basics / sizeof basics[0] };

static MPI_Datatype basic_handle(int basic)
{
    MPI_Datatype handles[basics_count] = {MPI_BYTE,   MPI_SHORT,     MPI_INT,
                                          MPI_DOUBLE, MPI_SHORT_INT, MPI_DOUBLE_INT};
    return handles[basic];
}

static struct type *type_new(enum kind kind)
{
    struct type *type = test_alloc(sizeof *type);
    *type = (struct type){.kind = kind, .references = 1};
    return type;
}

struct type *type_basic(int basic)
{
    struct type *type = type_new(kind_basic);
    type->basic = basic;
    map_basic(&type->map, basics[basic].length, basics[basic].second, basics[basic].second_length,
              basics[basic].align);
    return type;
}

struct type *type_byte(void)
{
    return type_basic(0);
}

struct type *type_keep(struct type *type)
{
    type->references++;
    return type;
}

void type_drop(struct type *type)
{
    if (type == NULL || --type->references > 0)
        return;
    for (int i = 0; i < blocks_max; i++)
        type_drop(type->children[i]);
    map_free(&type->map);
    free(type);
}

/* ---- what it selects -------------------------------------------------- */

static void map_blocks(struct type *type)
{
    for (int i = 0; i < type->count; i++) {
        const struct type *child = type->children[type->kind == kind_struct ? i : 0];
        bool in_elements = type->kind == kind_indexed || type->kind == kind_indexed_block;
        map_add(&type->map, &child->map, type->at[i] * (in_elements ? map_extent(&child->map) : 1),
                type->lengths[i]);
    }
}

static void map_vector(struct type *type)
{
    const struct map *child = &type->children[0]->map;
    int64_t stride = type->at[0] * (type->kind == kind_vector ? map_extent(child) : 1);
    for (int i = 0; i < type->count; i++)
        map_add(&type->map, child, i * stride, type->lengths[0]);
}

/* True when index `index` of dimension `dim` belongs to the process. */
static bool is_chosen(const struct type *type, int dim, int index)
{
    if (type->kind == kind_subarray)
        return index >= type->starts[dim] && index < type->starts[dim] + type->parts[dim];
    int place = type->rank; /* processes are in row-major order, whatever the array's is */
    for (int i = type->count - 1; i > dim; i--)
        place /= type->grid[i];
    place %= type->grid[dim];
    int block = type->arguments[dim], processes = type->grid[dim];
    switch (type->distributions[dim]) {
    case MPI_DISTRIBUTE_BLOCK:
        if (block == MPI_DISTRIBUTE_DFLT_DARG)
            block = (type->lengths[dim] + processes - 1) / processes;
        return index / block == place;
    case MPI_DISTRIBUTE_CYCLIC:
        if (block == MPI_DISTRIBUTE_DFLT_DARG)
            block = 1;
        return index / block % processes == place;
    default:
        return true;
    }
}

/* All elements of the array in their order in memory, of which the chosen ones are taken. */
static void map_array(struct type *type)
{
    const struct map *child = &type->children[0]->map;
    int64_t elements = 1, extent = map_extent(child);
    for (int dim = 0; dim < type->count; dim++)
        elements *= type->lengths[dim];
    for (int64_t at = 0; at < elements; at++) {
        bool is_taken = true;
        int64_t rest = at;
        for (int i = 0; i < type->count && is_taken; i++) { /* the fastest dimension first */
            int dim = type->order == MPI_ORDER_C ? type->count - 1 - i : i;
            is_taken = is_chosen(type, dim, (int)(rest % type->lengths[dim]));
            rest /= type->lengths[dim];
        }
        if (is_taken)
            map_add(&type->map, child, at * extent, 1);
    }
    map_set_bounds(&type->map, 0, elements * extent);
}

static void map_make(struct type *type)
{
    const struct map *child = &type->children[0]->map;
    switch (type->kind) {
    case kind_contiguous:
        map_add(&type->map, child, 0, type->count);
        break;
    case kind_vector:
    case kind_hvector:
        map_vector(type);
        break;
    case kind_subarray:
    case kind_darray:
        map_array(type);
        break;
    case kind_resized:
        map_add(&type->map, child, 0, 1);
        map_set_bounds(&type->map, type->at[0], type->extent);
        break;
    case kind_dup:
        map_add(&type->map, child, 0, 1);
        break;
    default:
        map_blocks(type);
        break;
    }
    map_end(&type->map);
}

struct type *type_spread(struct type *type, int64_t lower, int64_t extent)
{
    struct type *outer = type_new(kind_resized);
    outer->children[0] = type;
    outer->at[0] = lower;
    outer->extent = extent;
    map_make(outer);
    return outer;
}

/* ---- drawn at random -------------------------------------------------- */

/* Where blocks of at most `span` go, in units: in order for a view; for memory in any order, and
 * before the origin too. */
static void places(struct random *random, struct type *type, int64_t span, int64_t unit, bool is_view)
{
    int64_t next = pick(random, 3) * span;
    if (!is_view)
        next -= pick(random, 4) * span;
    for (int i = 0; i < type->count; i++) {
        type->at[i] = next;
        next += span + pick(random, 3) * (chance(random, 50) ? span : unit);
    }
    for (int i = type->count - 1; i > 0 && !is_view; i--) {
        int64_t other = pick(random, i + 1), swap = type->at[i];
        type->at[i] = type->at[other];
        type->at[other] = swap;
    }
}

static void draw_blocks(struct random *random, struct type *type, const struct type_rules *rules,
                        int64_t unit)
{
    bool is_equal = type->kind == kind_indexed_block || type->kind == kind_hindexed_block;
    bool in_elements = type->kind == kind_indexed || type->kind == kind_indexed_block;
    int64_t span = 0;
    type->count = 1 + (int)pick(random, blocks_max);
    int length = 1 + (int)pick(random, 4);
    for (int i = 0; i < type->count; i++) {
        struct type *child = type->children[0];
        type->lengths[i] = is_equal ? length : (int)pick(random, 5); /* 0 is a length too */
        if (type->kind == kind_struct && i > 0) {
            child = chance(random, 50) ? child : rules->leaf != NULL ? rules->leaf : NULL;
            type->children[i] =
                child != NULL ? type_keep(child) : type_basic((int)pick(random, basics_count));
        }
        const struct map *map = &type->children[type->kind == kind_struct ? i : 0]->map;
        int64_t reach = map_extent(map);
        if (map->true_upper - map->true_lower > reach)
            reach = map->true_upper - map->true_lower;
        if (in_elements ? span < 5 : span < 5 * reach)
            span = in_elements ? 5 : (5 * reach + unit - 1) / unit * unit;
    }
    places(random, type, span, in_elements ? 1 : unit, rules->is_view);
}

/* A grid of the processes, as even or uneven as it comes. */
static void draw_grid(struct random *random, struct type *type)
{
    int left = type->ranks;
    for (int dim = 0; dim < type->count; dim++) {
        type->grid[dim] = dim == type->count - 1 ? left : 1 + (int)pick(random, left);
        while (left % type->grid[dim] != 0)
            type->grid[dim]--;
        left /= type->grid[dim];
    }
}

static void draw_array(struct random *random, struct type *type, const struct type_rules *rules)
{
    static const int distributions[] = {MPI_DISTRIBUTE_BLOCK, MPI_DISTRIBUTE_CYCLIC, MPI_DISTRIBUTE_NONE};
    type->count = 1 + (int)pick(random, dims_max);
    type->order = chance(random, 50) ? MPI_ORDER_C : MPI_ORDER_FORTRAN;
    type->rank = rules->rank;
    type->ranks = rules->ranks;
    if (type->kind == kind_darray)
        draw_grid(random, type);
    for (int dim = 0; dim < type->count; dim++) {
        int length = type->lengths[dim] = 1 + (int)pick(random, 12);
        type->parts[dim] = 1 + (int)pick(random, length);
        type->starts[dim] = (int)pick(random, length - type->parts[dim] + 1);
        type->arguments[dim] = MPI_DISTRIBUTE_DFLT_DARG;
        type->distributions[dim] = type->kind == kind_darray ? distributions[pick(random, 3)] : 0;
        if (type->distributions[dim] == MPI_DISTRIBUTE_NONE && type->grid[dim] != 1)
            type->distributions[dim] = MPI_DISTRIBUTE_BLOCK;
        int least = 1;
        if (type->distributions[dim] == MPI_DISTRIBUTE_BLOCK && type->kind == kind_darray)
            least = (length + type->grid[dim] - 1) / type->grid[dim];
        if (type->distributions[dim] != MPI_DISTRIBUTE_NONE && chance(random, 50))
            type->arguments[dim] = least + (int)pick(random, 4);
    }
}

/* For a view the bounds hold all of it; in memory copies may also lie within each other. */
static void draw_bounds(struct random *random, struct type *type, int64_t unit, bool is_view)
{
    const struct map *child = &type->children[0]->map;
    int64_t span = (child->true_upper - child->true_lower + unit - 1) / unit * unit;
    if (is_view) {
        int64_t upper = (child->true_upper + unit - 1) / unit * unit;
        type->at[0] = 0;
        type->extent = upper + unit * pick(random, 20);
        return;
    }
    type->at[0] = child->true_lower - pick(random, 20) + pick(random, 20);
    type->extent = chance(random, 20) ? map_extent(child) / 3 + 1 : span + pick(random, 30);
}

struct type *type_runs(int64_t length, int64_t extent)
{
    struct type *run = type_new(kind_contiguous);
    run->children[0] = type_byte();
    run->count = (int)length;
    map_make(run);
    return type_spread(run, 0, extent);
}

/* The standard (MPI 4.0, 5.1.7) lets bounds that were set count alone; for MPICH all parts count. */
#ifdef MPICH_VERSION
static const bool set_bounds_count_alone = false;
#else
static const bool set_bounds_count_alone = true;
#endif

/* How an MPI rounds the bounds of what is not aligned is its own affair: there the bounds are set. */
static struct type *with_bounds(struct type *type)
{
    bool is_mixed = type->kind == kind_struct && type->map.has_bounds && !set_bounds_count_alone;
    bool is_aligned = true;
    bool in_bytes = type->kind == kind_hvector || type->kind == kind_hindexed ||
                    type->kind == kind_hindexed_block || type->kind == kind_struct;
    if (type->map.size == 0)
        return type;
    for (int i = 0; i < (type->kind == kind_hvector ? 1 : type->count); i++)
        is_aligned = is_aligned && type->at[i] % type->map.align == 0;
    for (int i = 1; i < blocks_max && type->children[i] != NULL; i++)
        is_aligned = is_aligned && type->children[i] == type->children[0];
    if (!is_mixed && (!in_bytes || is_aligned || type->map.has_bounds))
        return type;
    return type_spread(type, type->map.lower, map_extent(&type->map));
}

/* The numbers of one constructor over `child`. */
static struct type *draw(struct random *random, enum kind kind, struct type *child,
                         const struct type_rules *rules)
{
    struct type *type = type_new(kind);
    int64_t unit = rules->leaf != NULL ? map_extent(&rules->leaf->map) : 1;
    if (rules->leaf == NULL && chance(random, 70)) /* so that most of memory is aligned as C wants it */
        unit = child->map.align;
    int64_t extent = map_extent(&child->map);
    type->children[0] = child;
    type->count = 1 + (int)pick(random, 5);
    type->lengths[0] = 1 + (int)pick(random, 4);
    switch (kind) {
    case kind_vector:
        if (chance(random, 10))
            type->count *= 30;
        type->at[0] = type->lengths[0] + pick(random, 4);
        break;
    case kind_hvector:
        type->at[0] = type->lengths[0] * extent + unit * pick(random, 9);
        if (!rules->is_view && chance(random, 20))
            type->at[0] = -type->at[0] - unit; /* Open MPI 4.1 gets the bounds of adjacent ones wrong */
        break;
    case kind_subarray:
    case kind_darray:
        draw_array(random, type, rules);
        break;
    case kind_resized:
        draw_bounds(random, type, unit, rules->is_view);
        break;
    case kind_contiguous:
        if (chance(random, 5))
            type->count *= 20;
        break;
    case kind_dup:
        break;
    default:
        draw_blocks(random, type, rules, unit);
        break;
    }
    map_make(type);
    return with_bounds(type);
}

static bool is_allowed(const struct type *type, const struct type_rules *rules)
{
    const struct map *map = &type->map;
    return map->size <= rules->size_max && map->count <= 3000 && map->true_lower > -rules->span_max &&
           map->true_upper <= rules->span_max && map_extent(map) <= rules->span_max && map_extent(map) >= 0 &&
           (map->size > 0 || map_extent(map) == 0 || type->kind == kind_darray) &&
           (rules->is_view ? map->lower >= 0 && map_is_ordered(map) : map_is_disjoint(map, 1));
}

struct type *type_make(struct random *random, const struct type_rules *rules, int depth)
{
    struct type *type =
        rules->leaf != NULL ? type_keep(rules->leaf) : type_basic((int)pick(random, basics_count));
    for (int level = 0; level < depth; level++) {
        enum kind kind = kind_contiguous + (enum kind)pick(random, kind_count - 1);
        if (type->map.size == 0) /* Open MPI 4.1 crashes where an empty type is within some others */
            break;
        struct type *outer = draw(random, kind, type_keep(type), rules);
        if (is_allowed(outer, rules)) {
            type_drop(type);
            type = outer;
        } else {
            type_drop(outer);
        }
    }
    return type;
}

/* ---- for MPI ---------------------------------------------------------- */

static int blocks_handle(const struct type *type, MPI_Datatype *children, MPI_Datatype *handle)
{
    int positions[blocks_max];
    MPI_Aint at[blocks_max];
    for (int i = 0; i < type->count; i++) {
        positions[i] = (int)type->at[i];
        at[i] = type->at[i];
    }
    switch (type->kind) {
    case kind_indexed:
        return MPI_Type_indexed(type->count, type->lengths, positions, children[0], handle);
    case kind_hindexed:
        return MPI_Type_create_hindexed(type->count, type->lengths, at, children[0], handle);
    case kind_indexed_block:
        return MPI_Type_create_indexed_block(type->count, type->lengths[0], positions, children[0], handle);
    case kind_hindexed_block:
        return MPI_Type_create_hindexed_block(type->count, type->lengths[0], at, children[0], handle);
    default:
        return MPI_Type_create_struct(type->count, type->lengths, at, children, handle);
    }
}

static int construct(const struct type *type, MPI_Datatype *children, MPI_Datatype *handle)
{
    switch (type->kind) {
    case kind_contiguous:
        return MPI_Type_contiguous(type->count, children[0], handle);
    case kind_vector:
        return MPI_Type_vector(type->count, type->lengths[0], (int)type->at[0], children[0], handle);
    case kind_hvector:
        return MPI_Type_create_hvector(type->count, type->lengths[0], type->at[0], children[0], handle);
    case kind_subarray:
        return MPI_Type_create_subarray(type->count, type->lengths, type->parts, type->starts, type->order,
                                        children[0], handle);
    case kind_darray:
        return MPI_Type_create_darray(type->ranks, type->rank, type->count, type->lengths,
                                      type->distributions, type->arguments, type->grid, type->order,
                                      children[0], handle);
    case kind_resized:
        return MPI_Type_create_resized(children[0], type->at[0], type->extent, handle);
    case kind_dup:
        return MPI_Type_dup(children[0], handle);
    default:
        return blocks_handle(type, children, handle);
    }
}

static int make_handle(const struct type *type, MPI_Datatype *handle)
{
    MPI_Datatype children[blocks_max];
    int code = MPI_SUCCESS, made = 0;
    if (type->kind == kind_basic) {
        *handle = basic_handle(type->basic);
        return MPI_SUCCESS;
    }
    while (made < blocks_max && type->children[made] != NULL && code == MPI_SUCCESS) {
        code = make_handle(type->children[made], &children[made]);
        made++;
    }
    if (code == MPI_SUCCESS)
        code = construct(type, children, handle);
    for (int i = 0; i < made; i++)
        type_forget(type->children[i], &children[i]);
    return code;
}

int type_handle(const struct type *type, MPI_Datatype *handle)
{
    int code = make_handle(type, handle);
    return code == MPI_SUCCESS && type->kind != kind_basic ? MPI_Type_commit(handle) : code;
}

void type_forget(const struct type *type, MPI_Datatype *handle)
{
    if (type->kind != kind_basic)
        MPI_Type_free(handle);
}

/* ---- for people ------------------------------------------------------- */

static void print_ints(FILE *stream, const int *values, int count)
{
    for (int i = 0; i < count; i++)
        fprintf(stream, "%s%d", i == 0 ? "[" : ",", values[i]);
    fprintf(stream, "],");
}

static void print_places(FILE *stream, const struct type *type)
{
    for (int i = 0; i < type->count; i++)
        fprintf(stream, "%s%lld", i == 0 ? "[" : ",", (long long)type->at[i]);
    fprintf(stream, "],");
}

static void print_array(FILE *stream, const struct type *type)
{
    fprintf(stream, "%s,", type->order == MPI_ORDER_C ? "C" : "Fortran");
    print_ints(stream, type->lengths, type->count);
    if (type->kind == kind_subarray) {
        print_ints(stream, type->parts, type->count);
        print_ints(stream, type->starts, type->count);
        return;
    }
    fprintf(stream, "rank %d of %d,", type->rank, type->ranks);
    print_ints(stream, type->grid, type->count);
    for (int dim = 0; dim < type->count; dim++) {
        int distribution = type->distributions[dim];
        fprintf(stream, distribution == MPI_DISTRIBUTE_BLOCK    ? "block"
                        : distribution == MPI_DISTRIBUTE_CYCLIC ? "cyclic"
                                                                : "none");
        if (type->arguments[dim] == MPI_DISTRIBUTE_DFLT_DARG)
            fprintf(stream, ",");
        else
            fprintf(stream, "(%d),", type->arguments[dim]);
    }
}

void type_print(const struct type *type, FILE *stream)
{
    static const char *const names[kind_count] = {
        "",       "contiguous", "vector", "hvector", "indexed", "hindexed", "indexed_block", "hindexed_block",
        "struct", "subarray",   "darray", "resized", "dup"};
    if (type->kind == kind_basic) {
        fprintf(stream, "%s", basics[type->basic].name);
        return;
    }
    fprintf(stream, "%s(", names[type->kind]);
    switch (type->kind) {
    case kind_contiguous:
        fprintf(stream, "%d,", type->count);
        break;
    case kind_vector:
    case kind_hvector:
        fprintf(stream, "%d,%d,%lld,", type->count, type->lengths[0], (long long)type->at[0]);
        break;
    case kind_subarray:
    case kind_darray:
        print_array(stream, type);
        break;
    case kind_resized:
        fprintf(stream, "%lld,%lld,", (long long)type->at[0], (long long)type->extent);
        break;
    case kind_dup:
        break;
    case kind_indexed_block:
    case kind_hindexed_block:
        fprintf(stream, "%d,", type->lengths[0]);
        print_places(stream, type);
        break;
    default:
        print_ints(stream, type->lengths, type->count);
        print_places(stream, type);
        break;
    }
    for (int i = 0; i < blocks_max && type->children[i] != NULL; i++) {
        if (i > 0)
            fprintf(stream, ";");
        type_print(type->children[i], stream);
    }
    fprintf(stream, ")");
}
