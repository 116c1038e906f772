/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hints.c: from where hints come, and what comes of them.
 *
 * libcommon/hint_set.c knows what each hint means; here rank 0's environment and
 * the MPI_Info of the call are brought to all ranks before the open, and the
 * directory's hints come with it; ROMIO gets what it needs, and the info that
 * MPI_File_get_info copies is filled with what is in effect. No hint that a user
 * gives reaches ROMIO's own parser: it waits for ever where ranks give different ones.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"

#define ENVIRONMENT "WEFT_HINTS"

/* ---- reports ---------------------------------------------------------- */

#define REPORTS_MAX 64u

void hints_say_once(const char *complaint)
{
    static char *reported[REPORTS_MAX];
    static unsigned count;
    if (count == REPORTS_MAX)
        return;
    for (unsigned i = 0; i < count; i++)
        if (strcmp(reported[i], complaint) == 0)
            return;
    reported[count++] = ADIOI_Strdup(complaint);
    fprintf(stderr, "weft: %s\n", complaint);
    if (count == REPORTS_MAX)
        fprintf(stderr, "weft: no more is said of hints\n");
}

void hints_report(ADIO_File fd, const char *complaint)
{
    int rank;
    MPI_Comm_rank(fd->comm, &rank);
    if (rank == 0)
        hints_say_once(complaint);
}

static void report(void *fd, const char *complaint)
{
    hints_report(fd, complaint);
}

/* ---- the sources, on their way to all ranks --------------------------- */

/* What ranks may have, as they tell each other in one word. */
enum { HAS_HINTS = 1, HAS_LOCALITY = 2 };

/* Rank 0's environment as one text, then name and value of each hint of the
 * info that is Weft's business; each ends with a NUL. */
struct block {
    char *bytes;
    size_t length;
    size_t info_at; /* where the info's part begins */
};

static void block_add(struct block *block, const char *text)
{
    size_t length = strlen(text) + 1;
    block->bytes = ADIOI_Realloc(block->bytes, block->length + length);
    memcpy(block->bytes + block->length, text, length);
    block->length += length;
}

static bool is_ours(const char *name)
{
    return hint_set_put(NULL, HINT_FROM_INFO, name, "", NULL) != HINT_FOREIGN;
}

static void block_add_info(struct block *block, MPI_Info info)
{
    int count = 0;
    if (info != MPI_INFO_NULL)
        MPI_Info_get_nkeys(info, &count);
    for (int i = 0; i < count; i++) {
        char name[MPI_MAX_INFO_KEY + 1], value[MPI_MAX_INFO_VAL + 1];
        int found;
        MPI_Info_get_nthkey(info, i, name);
        ADIOI_Info_get(info, name, MPI_MAX_INFO_VAL, value, &found);
        if (found && is_ours(name)) {
            block_add(block, name);
            block_add(block, value);
        }
    }
}

/* block_next(): walks through the info's part; `at` starts as info_at. */
static bool block_next(const struct block *block, size_t *at, const char **name, const char **value)
{
    if (*at >= block->length)
        return false;
    *name = block->bytes + *at;
    *value = *name + strlen(*name) + 1;
    *at += strlen(*name) + strlen(*value) + 2;
    return true;
}

static const char *block_value(const struct block *block, const char *wanted)
{
    const char *name, *value;
    for (size_t at = block->info_at; block_next(block, &at, &name, &value);)
        if (strcmp(name, wanted) == 0)
            return value;
    return NULL;
}

/* The first hint that the one has and the other has not, or not so; HINT_COUNT
 * stands for names that are none. INT_MAX: there is no difference. */
static int difference(const struct block *one, const struct block *other)
{
    const char *name, *value;
    for (size_t at = one->info_at; block_next(one, &at, &name, &value);) {
        const char *others = block_value(other, name);
        if (others == NULL || strcmp(value, others) != 0)
            return (int)hint_find(name);
    }
    return INT_MAX;
}

/* Collective: tells of it when some rank's hints are not rank 0's. */
static void report_difference(ADIO_File fd, const struct block *mine, const struct block *ranks_0)
{
    struct {
        int hint;
        int rank;
    } first, own;
    MPI_Comm_rank(fd->comm, &own.rank);
    own.hint = difference(mine, ranks_0);
    if (own.hint == INT_MAX)
        own.hint = difference(ranks_0, mine);
    MPI_Reduce(&own, &first, 1, MPI_2INT, MPI_MINLOC, 0, fd->comm);
    if (own.rank != 0 || first.hint == INT_MAX)
        return;
    char complaint[HINT_COMPLAINT_BYTES];
    snprintf(complaint, sizeof complaint,
             "hint %s (info) is not the same on rank %d as on rank 0, whose hints count",
             first.hint == HINT_COUNT ? "weft_..." : hint_rows[first.hint].name, first.rank);
    hints_report(fd, complaint);
}

/*
 * Collective: rank 0's block on all ranks. Empty, by one small exchange, when no
 * rank has any hint; `environment` matters on rank 0 only.
 */
static struct block block_share(ADIO_File fd, const char *environment, MPI_Info info)
{
    struct block mine = {0}, shared = {0};
    struct locality here;
    int rank, has, any;
    uint64_t lengths[2];
    MPI_Comm_rank(fd->comm, &rank);
    if (rank == 0)
        block_add(&mine, environment);
    mine.info_at = mine.length;
    block_add_info(&mine, info);
    has = mine.length > mine.info_at || (rank == 0 && environment[0] != '\0') ? HAS_HINTS : 0;
    has |= locality_here(&here) ? HAS_LOCALITY : 0;
    MPI_Allreduce(&has, &any, 1, MPI_INT, MPI_BOR, fd->comm);
    driver_file(fd)->hints.has_locality = any & HAS_LOCALITY;
    if (any & HAS_HINTS) {
        lengths[0] = mine.length;
        lengths[1] = mine.info_at;
        MPI_Bcast(lengths, sizeof lengths, MPI_BYTE, 0, fd->comm);
        shared.length = lengths[0];
        shared.info_at = lengths[1];
        shared.bytes = ADIOI_Malloc(shared.length);
        if (rank == 0)
            memcpy(shared.bytes, mine.bytes, mine.length);
        MPI_Bcast(shared.bytes, (int)shared.length, MPI_BYTE, 0, fd->comm);
        report_difference(fd, &mine, &shared);
    }
    if (mine.bytes != NULL)
        ADIOI_Free(mine.bytes);
    return shared;
}

/* What has been fixed by the open is passed over later. */
static void take_info(ADIO_File fd, const struct block *block, bool is_first)
{
    const char *name, *value;
    char complaint[HINT_COMPLAINT_BYTES];
    for (size_t at = block->info_at; block_next(block, &at, &name, &value);) {
        enum hint_id id = hint_find(name);
        if (!is_first && id < HINT_COUNT && hint_rows[id].when != HINT_AT_VIEW)
            continue;
        if (hint_set_put(&driver_file(fd)->hints.asked, HINT_FROM_INFO, name, value, complaint) >=
            HINT_UNKNOWN)
            hints_report(fd, complaint);
    }
}

/* ---- what ROMIO is to know -------------------------------------------- */

/* In the order of enum strategy. */
static const int romio_choices[] = {ADIOI_HINT_AUTO, ADIOI_HINT_ENABLE, ADIOI_HINT_DISABLE};

/* ROMIO looks at the hint at each call, but makes the buffer at open. */
static void fit_collective_buffer(ADIO_File fd, int bytes)
{
    bool has_changed = bytes != fd->hints->cb_buffer_size;
    fd->hints->cb_buffer_size = bytes;
    if (fd->io_buf != NULL && has_changed) {
        ADIOI_Free(fd->io_buf);
        fd->io_buf = ADIOI_Malloc((size_t)bytes);
    }
}

void hints_interpret(ADIO_File fd)
{
    struct driver_hints *hints = &driver_file(fd)->hints;
    const struct hint_value *values = hints->asked.values;
    hints->collective_read = hint_set_collective(&hints->asked, false);
    hints->collective_write = hint_set_collective(&hints->asked, true);
    hints->has_cb_nodes = values[HINT_cb_nodes].is_set;
    hints->has_cb_config_list = values[HINT_cb_config_list].is_set;
    hints->has_progress_thread = values[HINT_weft_progress].number != 0;
    hints->is_durable_at_close = values[HINT_weft_durability].number != 0;
    hints->is_explained = values[HINT_weft_explain].number != 0;

    fd->hints->cb_read = romio_choices[hints->collective_read];
    fd->hints->cb_write = romio_choices[hints->collective_write];
    fd->hints->ds_read = ADIOI_HINT_DISABLE;
    fd->hints->ds_write = ADIOI_HINT_DISABLE;
    fd->hints->deferred_open = 0; /* an open file is open on all ranks */
    fit_collective_buffer(fd, (int)values[HINT_cb_buffer_size].number);
}

/* ---- what MPI_File_get_info tells ------------------------------------- */

static void tell_number(struct driver_hints *hints, enum hint_id id, uint64_t number)
{
    hint_set_number(&hints->told, id, hints->asked.values[id].source, number);
}

static void tell_layout(struct driver_file *file)
{
    struct hint_set *told = &file->hints.told;
    struct weft_layout layout;
    weft_file_layout(file->file, &layout);
    hint_set_number(told, HINT_weft_chunk_size, HINT_FROM_FILE, layout.chunk_size);
    hint_set_number(told, HINT_striping_unit, HINT_FROM_FILE, layout.chunk_size);
    hint_set_number(told, HINT_weft_stripe_count, HINT_FROM_FILE, layout.stripe_count);
    hint_set_number(told, HINT_striping_factor, HINT_FROM_FILE, layout.stripe_count);
    hint_set_text(told, HINT_weft_pool, HINT_FROM_FILE, layout.pool);
    hint_set_text(told, HINT_weft_placement, HINT_FROM_FILE, layout.placement);
}

/* All names of a strategy tell the same, and from where it is. */
static void tell_collective(struct driver_hints *hints)
{
    enum hint_source read = hint_set_collective_source(&hints->asked, false);
    enum hint_source write = hint_set_collective_source(&hints->asked, true);
    bool is_same = hints->collective_read == hints->collective_write;
    hint_set_number(&hints->told, HINT_romio_cb_read, read, hints->collective_read);
    hint_set_number(&hints->told, HINT_romio_cb_write, write, hints->collective_write);
    hint_set_number(&hints->told, HINT_weft_collective, read > write ? read : write,
                    is_same ? hints->collective_read : STRATEGY_AUTO);
}

/* Of a path with more bytes than an info holds, the beginning. */
static void tell_mount(struct driver_file *file)
{
    char path[MPI_MAX_INFO_VAL];
    snprintf(path, sizeof path, "%s", file->mounted);
    hint_set_text(&file->hints.told, HINT_weft_past_mount, HINT_FROM_FILE, path);
}

/* What ROMIO says by itself and what means nothing here goes away. */
static void forget_meaningless(MPI_Info info)
{
    for (size_t i = 0; i < HINT_OTHER_COUNT; i++) {
        int length, found;
        ADIOI_Info_get_valuelen(info, hint_others[i].name, &length, &found);
        if (found)
            ADIOI_Info_delete(info, hint_others[i].name);
    }
}

void hints_publish(ADIO_File fd)
{
    struct driver_file *file = driver_file(fd);
    struct driver_hints *hints = &file->hints;
    if (file->file != NULL)
        aggregators_bound(fd);
    hints->told = hints->asked;
    tell_collective(hints);
    tell_number(hints, HINT_cb_nodes, (uint64_t)fd->hints->cb_nodes);
    hint_set_text(&hints->told, HINT_cb_config_list, hints->asked.values[HINT_cb_config_list].source,
                  fd->hints->cb_config_list);
    if (file->file != NULL)
        tell_layout(file);
    if (file->mounted != NULL)
        tell_mount(file);
    for (enum hint_id id = 0; id < HINT_COUNT; id++)
        if (hints->told.values[id].is_set)
            ADIOI_Info_set(fd->info, hint_rows[id].name, hints->told.values[id].text);
    forget_meaningless(fd->info);
}

/* ---- at open, and with a view ----------------------------------------- */

void driver_set_info(ADIO_File fd, MPI_Info users_info, int *error_code)
{
    bool is_first = fd->fs_ptr == NULL;
    *error_code = MPI_SUCCESS;
    if (is_first) {
        fd->fs_ptr = ADIOI_Calloc(1, sizeof(struct driver_file));
        hint_set_init(&driver_file(fd)->hints.asked);
        ADIOI_GEN_SetInfo(fd, MPI_INFO_NULL, error_code); /* makes fd->info, and fills fd->hints */
    } else {
        view_forget(driver_file(fd)); /* a new view comes with this call */
    }

    const char *environment = is_first ? getenv(ENVIRONMENT) : NULL;
    struct block block = block_share(fd, environment != NULL ? environment : "", users_info);
    if (block.length > 0) {
        if (block.info_at > 0)
            hint_set_parse(&driver_file(fd)->hints.asked, HINT_FROM_ENVIRONMENT, block.bytes, report, fd);
        take_info(fd, &block, is_first);
        ADIOI_Free(block.bytes);
    } else if (!is_first) {
        return;
    }
    hints_interpret(fd);
    if (is_first) {
        aggregators_choose(fd);
        if (driver_file(fd)->hints.has_locality)
            aggregators_gather(fd);
    }
    hints_publish(fd);
    if (driver_file(fd)->hints.is_explained)
        explain_start(fd);
}

/* ---- from the directory ----------------------------------------------- */

/* They came to rank 0 with the answer to its request, and to the others with the handle. */
void hints_take_directory(ADIO_File fd)
{
    struct driver_file *file = driver_file(fd);
    const struct hint_value *values = file->hints.asked.values;
    const char *text = weft_file_hints(file->file);
    if (text[0] == '\0')
        return;
    hint_set_parse(&file->hints.asked, HINT_FROM_DIRECTORY, text, report, fd);
    hints_interpret(fd);
    if (values[HINT_cb_nodes].source == HINT_FROM_DIRECTORY ||
        values[HINT_cb_config_list].source == HINT_FROM_DIRECTORY)
        aggregators_find(fd);
}

/* ---- for the open ----------------------------------------------------- */

void hints_layout(ADIO_File fd, struct weft_layout *layout)
{
    const struct hint_set *asked = &driver_file(fd)->hints.asked;
    *layout = (struct weft_layout){0};
    layout->chunk_size = hint_set_chunk_size(asked);
    layout->stripe_count = hint_set_stripe_count(asked);
    /* The parser lets no longer texts pass. */
    memcpy(layout->pool, asked->values[HINT_weft_pool].text, WEFT_POOL_BYTES_MAX);
    memcpy(layout->placement, asked->values[HINT_weft_placement].text, WEFT_PLACEMENT_BYTES_MAX);
}

void hints_refuse(ADIO_File fd, enum hint_id id, const char *why)
{
    struct hint_value *value = &driver_file(fd)->hints.asked.values[id];
    char complaint[HINT_COMPLAINT_BYTES];
    snprintf(complaint, sizeof complaint, "hint %s=%.68s (%s) has no effect; %s", hint_rows[id].name,
             value->text, hint_source_name(value->source), why);
    hints_report(fd, complaint);
    *value = (struct hint_value){0};
}

/* The process's mask, without the moment of another mask that umask(2) takes. */
static mode_t mask(void)
{
    unsigned mask = 022;
    char line[128];
    FILE *status = fopen("/proc/self/status", "re");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "Umask: %o", &mask) == 1)
            break;
    if (status != NULL)
        fclose(status);
    return mask;
}

mode_t hints_file_mode(ADIO_File fd)
{
    const struct hint_value *perm = &driver_file(fd)->hints.asked.values[HINT_file_perm];
    return perm->is_set ? (mode_t)perm->number : 0666 & ~mask();
}
