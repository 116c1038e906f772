/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pieces.c: from MPI datatypes to lists of memory and file pieces.
 *
 * ROMIO flattens a datatype to the pieces of one copy of it. For the file view
 * they are kept with sums, so that an access finds its first piece without
 * walking over those before it; for memory they are used as they are. The lists
 * that go to the library are made a part at a time: their size is bounded,
 * whatever the size of the access.
 */
#include <string.h>

#include "driver.h"

#define PIECES_PER_BATCH_MIN 64u /* a power of two times this is the other */
#define PIECES_PER_BATCH_MAX 65536u
#define LOCK_EXTENTS_MAX     4096u

/* The pieces of the file view, the empty ones left out and neighbours joined. */
struct view {
    size_t count;
    int64_t size;   /* bytes of data in one copy of the file type */
    int64_t extent; /* bytes of the file that one copy covers */
    int64_t end;    /* end of the piece that ends last */
    bool rises;     /* each piece lies behind all before it, also those of copies before */
    ADIO_Offset *offsets;
    ADIO_Offset *lengths;
    int64_t *positions; /* data bytes of the copy before each piece */
};

static const ADIO_Offset unbroken_offset = 0;
static const ADIO_Offset unbroken_length = INT64_MAX;

/* ---- the file view ---------------------------------------------------- */

void view_forget(struct driver_file *file)
{
    if (file->view == NULL)
        return;
    ADIOI_Free(file->view->offsets);
    ADIOI_Free(file->view->lengths);
    ADIOI_Free(file->view->positions);
    ADIOI_Free(file->view);
    file->view = NULL;
}

static void view_add(struct view *view, int64_t offset, int64_t length)
{
    if (length == 0)
        return;
    size_t last = view->count - 1;
    if (view->count > 0 && view->offsets[last] + view->lengths[last] == offset) {
        view->lengths[last] += length;
    } else {
        if (offset < view->end)
            view->rises = false;
        view->offsets[view->count] = offset;
        view->lengths[view->count] = length;
        view->positions[view->count] = view->size;
        view->count++;
    }
    view->size += length;
    if (offset + length > view->end)
        view->end = offset + length;
}

static struct view *view_make(MPI_Datatype filetype)
{
    const ADIOI_Flatlist_node *flat = ADIOI_Flatten_and_find(filetype);
    struct view *view = ADIOI_Calloc(1, sizeof *view);
    size_t room = flat->count > 0 ? (size_t)flat->count : 1;
    view->offsets = ADIOI_Malloc(room * sizeof *view->offsets);
    view->lengths = ADIOI_Malloc(room * sizeof *view->lengths);
    view->positions = ADIOI_Malloc(room * sizeof *view->positions);
    MPI_Aint lower_bound, extent;
    MPI_Type_get_extent(filetype, &lower_bound, &extent);
    view->extent = extent;
    view->end = INT64_MIN;
    view->rises = true;
    for (MPI_Count i = 0; i < flat->count; i++)
        view_add(view, flat->indices[i], flat->blocklens[i]);
    if (view->count > 0 && view->end - view->offsets[0] > extent)
        view->rises = false;
    return view;
}

/* Sets the cursor to the data byte `position` of the view. */
static void view_seek(const struct view *view, int64_t displacement, int64_t position, struct pieces *pieces)
{
    int64_t copy = position / view->size;
    int64_t rest = position % view->size;
    size_t low = 0;
    for (size_t high = view->count; high - low > 1;) {
        size_t middle = low + (high - low) / 2;
        if (view->positions[middle] <= rest)
            low = middle;
        else
            high = middle;
    }
    *pieces = (struct pieces){
        .offsets = view->offsets,
        .lengths = view->lengths,
        .count = view->count,
        .extent = view->extent,
        .origin = displacement + copy * view->extent,
        .index = low,
        .inside = rest - view->positions[low],
    };
}

/* The file view's pieces; NULL when it is contiguous. */
static const struct view *view_of(ADIO_File fd)
{
    struct driver_file *file = driver_file(fd);
    int is_contiguous;
    ADIOI_Datatype_iscontig(fd->filetype, &is_contiguous);
    if (is_contiguous)
        return NULL;
    if (file->view == NULL)
        file->view = view_make(fd->filetype);
    return file->view;
}

int64_t view_grain(ADIO_File fd)
{
    const struct view *view = view_of(fd);
    return view != NULL && view->count > 0 ? view->size / (int64_t)view->count : INT64_MAX;
}

/*
 * The position of the first data byte of the view at or after `offset`, an
 * offset in the file. ROMIO keeps the individual file pointer as such.
 */
static int64_t view_position(const struct view *view, int64_t displacement, int64_t offset)
{
    int64_t from = offset - displacement;
    int64_t copy = 0; /* the first copy that ends after `from` */
    if (view->extent > 0 && from >= view->end)
        copy = (from - view->end) / view->extent + 1;
    from -= copy * view->extent;

    size_t low = 0; /* the first of its pieces that does; the last when none is before */
    for (size_t high = view->count - 1; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (view->offsets[middle] + view->lengths[middle] > from)
            high = middle;
        else
            low = middle + 1;
    }
    int64_t inside = from - view->offsets[low];
    if (inside < 0)
        inside = 0;
    return copy * view->size + view->positions[low] + inside;
}

/* ---- the cursor ------------------------------------------------------- */

/* Moves over empty pieces and says how many bytes there are in one run. */
static int64_t pieces_run(struct pieces *pieces)
{
    while (pieces->inside == pieces->lengths[pieces->index]) {
        pieces->inside = 0;
        if (++pieces->index == pieces->count) {
            pieces->index = 0;
            pieces->origin += pieces->extent;
        }
    }
    return pieces->lengths[pieces->index] - pieces->inside;
}

static int64_t pieces_at(const struct pieces *pieces)
{
    return pieces->origin + pieces->offsets[pieces->index] + pieces->inside;
}

/* ---- an access -------------------------------------------------------- */

static bool begin_file(struct access *access, ADIO_File fd, int file_ptr_type, ADIO_Offset offset)
{
    bool is_individual = file_ptr_type == ADIO_INDIVIDUAL;

    access->displacement = fd->disp;
    access->view = view_of(fd);
    if (access->view == NULL) {
        access->file_start = is_individual ? fd->fp_ind - fd->disp : offset * fd->etype_size;
        access->file = (struct pieces){
            .offsets = &unbroken_offset,
            .lengths = &unbroken_length,
            .count = 1,
            .origin = fd->disp + access->file_start,
        };
    } else {
        if (access->view->size == 0) { /* a view that shows nothing of the file */
            access->left = access->bytes = 0;
            return true;
        }
        access->file_start =
            is_individual ? view_position(access->view, fd->disp, fd->fp_ind) : offset * fd->etype_size;
        view_seek(access->view, fd->disp, access->file_start, &access->file);
    }
    return pieces_at(&access->file) >= 0;
}

static void begin_memory(struct access *access, const void *buffer, MPI_Datatype datatype)
{
    int is_contiguous;
    ADIOI_Datatype_iscontig(datatype, &is_contiguous);
    access->memory = (struct pieces){.count = 1, .origin = (int64_t)(intptr_t)buffer};
    if (is_contiguous) {
        access->memory_piece[1] = access->bytes;
        access->memory.offsets = &access->memory_piece[0];
        access->memory.lengths = &access->memory_piece[1];
        return;
    }
    const ADIOI_Flatlist_node *flat = ADIOI_Flatten_and_find(datatype);
    MPI_Aint lower_bound, extent;
    MPI_Type_get_extent(datatype, &lower_bound, &extent);
    access->memory.offsets = flat->indices;
    access->memory.lengths = flat->blocklens;
    access->memory.count = (size_t)flat->count;
    access->memory.extent = extent;
    access->flattened = datatype;
}

bool access_begin(struct access *access, ADIO_File fd, const void *buffer, romio_count_t count,
                  MPI_Datatype datatype, int file_ptr_type, ADIO_Offset offset)
{
    MPI_Count size;
    MPI_Type_size_x(datatype, &size);
    *access = (struct access){.flattened = MPI_DATATYPE_NULL};
    access->left = access->bytes = (int64_t)size * count;
    if (access->bytes == 0)
        return true;
    begin_memory(access, buffer, datatype);
    return begin_file(access, fd, file_ptr_type, offset);
}

void access_reach(const struct access *access, int64_t *start, int64_t *end)
{
    struct pieces file = access->file;
    pieces_run(&file);
    *start = pieces_at(&file);
    *end = access_offset_after(access, access->bytes - 1);
}

int64_t access_pieces(const struct access *access)
{
    if (access->view == NULL)
        return 1;
    const struct view *view = access->view;
    return (int64_t)((double)access->bytes / (double)view->size * (double)view->count) + 1;
}

bool access_rises(const struct access *access)
{
    return access->view == NULL || access->view->rises;
}

static void forget_flattened(struct access *access)
{
    if (access->flattened != MPI_DATATYPE_NULL)
        compat_flat_forget(access->flattened);
    access->flattened = MPI_DATATYPE_NULL;
}

void access_keep(struct access *access)
{
    if (access->flattened == MPI_DATATYPE_NULL)
        return;
    struct pieces *memory = &access->memory;
    access->memory_owned = ADIOI_Malloc(2 * memory->count * sizeof *access->memory_owned);
    ADIO_Offset *lengths = access->memory_owned + memory->count;
    memcpy(access->memory_owned, memory->offsets, memory->count * sizeof *memory->offsets);
    memcpy(lengths, memory->lengths, memory->count * sizeof *memory->lengths);
    memory->offsets = access->memory_owned;
    memory->lengths = lengths;
    forget_flattened(access);
}

void access_end(struct access *access)
{
    forget_flattened(access);
    if (access->memory_owned != NULL)
        ADIOI_Free(access->memory_owned);
    access->memory_owned = NULL;
}

int64_t access_offset_after(const struct access *access, int64_t bytes)
{
    int64_t position = access->file_start + bytes;
    if (access->view == NULL)
        return access->displacement + position;
    struct pieces pieces;
    view_seek(access->view, access->displacement, position, &pieces);
    return pieces_at(&pieces);
}

/* Makes one of each two neighbours. Views are sorted, but reads may go back. */
static size_t halve(struct weft_extent *extents, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        struct weft_extent a = extents[2 * i], b = extents[2 * i + 1];
        uint64_t a_end = a.offset + a.length, b_end = b.offset + b.length;
        uint64_t start = a.offset < b.offset ? a.offset : b.offset;
        extents[i] = (struct weft_extent){.offset = start, .length = (a_end > b_end ? a_end : b_end) - start};
    }
    if (count % 2 != 0)
        extents[count / 2] = extents[count - 1];
    return (count + 1) / 2;
}

struct weft_extent *access_extents(const struct access *access, size_t *count)
{
    struct weft_extent *extents = ADIOI_Malloc(LOCK_EXTENTS_MAX * sizeof *extents);
    struct pieces file = access->file;
    *count = 0;
    for (int64_t left = access->left; left > 0;) {
        int64_t length = pieces_run(&file);
        if (length > left)
            length = left;
        uint64_t offset = (uint64_t)pieces_at(&file);
        struct weft_extent *last = *count > 0 ? &extents[*count - 1] : NULL;
        if (last != NULL && last->offset + last->length == offset) {
            last->length += (uint64_t)length;
        } else {
            if (*count == LOCK_EXTENTS_MAX)
                *count = halve(extents, *count);
            extents[(*count)++] = (struct weft_extent){.offset = offset, .length = (uint64_t)length};
        }
        file.inside += length;
        left -= length;
    }
    return extents;
}

/* ---- lists for the library -------------------------------------------- */

/* Makes room for one more entry; false when the list may not grow any more. */
static bool make_room(void **list, size_t *room, size_t count, size_t entry_bytes)
{
    if (count < *room)
        return true;
    if (*room >= PIECES_PER_BATCH_MAX)
        return false;
    *room = *room == 0 ? PIECES_PER_BATCH_MIN : 2 * *room;
    *list = *list == NULL ? ADIOI_Malloc(*room * entry_bytes) : ADIOI_Realloc(*list, *room * entry_bytes);
    return true;
}

/* Neighbours are joined, so contiguous memory or a contiguous file is one entry. */
static void add_run(struct batch *batch, const struct piece *piece)
{
    struct iovec *iov = batch->iov_count > 0 ? &batch->iov[batch->iov_count - 1] : NULL;
    if (iov != NULL && (char *)iov->iov_base + iov->iov_len == piece->memory)
        iov->iov_len += (size_t)piece->length;
    else
        batch->iov[batch->iov_count++] =
            (struct iovec){.iov_base = piece->memory, .iov_len = (size_t)piece->length};

    struct weft_extent *extent = batch->extent_count > 0 ? &batch->extents[batch->extent_count - 1] : NULL;
    if (extent != NULL && extent->offset + extent->length == (uint64_t)piece->offset)
        extent->length += (uint64_t)piece->length;
    else
        batch->extents[batch->extent_count++] =
            (struct weft_extent){.offset = (uint64_t)piece->offset, .length = (uint64_t)piece->length};
    batch->bytes += piece->length;
}

bool access_next(struct access *access, int64_t file_end, struct piece *piece)
{
    if (access->left == 0)
        return false;
    int64_t length = access->left;
    int64_t memory_run = pieces_run(&access->memory);
    int64_t file_run = pieces_run(&access->file);
    if (length > memory_run)
        length = memory_run;
    if (length > file_run)
        length = file_run;
    piece->offset = pieces_at(&access->file);
    if (length > file_end - piece->offset)
        length = file_end - piece->offset;
    if (length <= 0)
        return false;
    piece->memory = (char *)(intptr_t)pieces_at(&access->memory);
    piece->length = length;
    access->memory.inside += length;
    access->file.inside += length;
    access->left -= length;
    return true;
}

int64_t access_offset(struct access *access)
{
    if (access->left == 0)
        return INT64_MAX;
    pieces_run(&access->file);
    return pieces_at(&access->file);
}

bool batch_fill(struct batch *batch, struct access *access)
{
    struct piece piece;
    batch->iov_count = batch->extent_count = 0;
    batch->bytes = 0;
    while (make_room((void **)&batch->iov, &batch->iov_room, batch->iov_count, sizeof *batch->iov) &&
           make_room((void **)&batch->extents, &batch->extent_room, batch->extent_count,
                     sizeof *batch->extents) &&
           access_next(access, INT64_MAX, &piece))
        add_run(batch, &piece);
    return batch->bytes > 0;
}

void batch_free(struct batch *batch)
{
    if (batch->iov != NULL)
        ADIOI_Free(batch->iov);
    if (batch->extents != NULL)
        ADIOI_Free(batch->extents);
}
