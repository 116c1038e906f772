/* SPDX-License-Identifier: Apache-2.0 */
/*
 * component.c: the component `weft` of Open MPI's framework `io`.
 *
 * Open MPI asks each component for each file whether it wants it; this one
 * wants those whose path is Weft's or leads to a mount of Weft, with a priority
 * above all others, and no other file. Behind it is a ROMIO of its own, by way of the glue that Open MPI
 * has for its ROMIO; only the component's description is written anew here.
 */
#include "ompi_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mpi.h"
#include "opal/datatype/opal_convertor.h"
#include "opal/mca/base/base.h"
#include "opal/runtime/opal_progress.h"
#include "opal/util/info_subscriber.h"
#include "ompi/datatype/ompi_datatype.h"
#include "ompi/file/file.h"
#include "ompi/info/info.h"
#include "ompi/mca/io/io.h"

#include "host.h"
#include "versions.h"

/* The glue's names carry the version of ROMIO, which component.mk knows: mca_io_romio321_... */
#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)
#define GLUE(name)  JOIN(JOIN(mca_io_, WEFT_GLUE), name)

#include WEFT_GLUE_HEADER

#include "hint_set.h"

/* Of driver.h, which wants the headers as ROMIO sees them. */
bool driver_path_match(const char *path);
bool mounts_agree(MPI_Comm comm, const char *path);
const char *mounts_inside(const char *given);
int nonblocking_progress(void);

#define PRIORITY 90 /* ompio has 30, Open MPI's own ROMIO 10 */

typedef struct GLUE(_data_t) glue_data_t;

/* ROMIO may be entered by one thread at a time; the glue takes this. */
opal_mutex_t GLUE(_mutex);

static mca_io_base_module_2_0_0_t module;
static bool is_called_on_progress;

/* ---- hints ------------------------------------------------------------ */

/* What the user gave and what has no effect must not be told as if it had; Open MPI
 * also keeps it under another name. */
static void forget_others(opal_info_t *told, MPI_Info hints)
{
    int count = 0;
    opal_info_get_nkeys(told, &count);
    for (int i = count - 1; i >= 0; i--) {
        char key[MPI_MAX_INFO_KEY + 1];
        int length, is_found;
        if (!info_nth_key(told, i, key))
            continue;
        PMPI_Info_get_valuelen(hints, key, &length, &is_found);
        if (!is_found)
            opal_info_delete(told, key);
    }
}

/*
 * MPI_File_get_info of this Open MPI never asks a component: it tells what is
 * in the file handle. So the hints in effect are copied there.
 */
static void publish_hints(ompi_file_t *file)
{
    glue_data_t *data = (glue_data_t *)file->f_io_selected_data;
    MPI_Info hints;
    int count;
    if (file->super.s_info == NULL || ROMIO_PREFIX(MPI_File_get_info)(data->romio_fh, &hints) != MPI_SUCCESS)
        return;
    forget_others(file->super.s_info, hints);
    PMPI_Info_get_nkeys(hints, &count);
    for (int i = 0; i < count; i++) {
        char key[MPI_MAX_INFO_KEY + 1], value[MPI_MAX_INFO_VAL + 1];
        int found;
        PMPI_Info_get_nthkey(hints, i, key);
        PMPI_Info_get(hints, key, MPI_MAX_INFO_VAL, value, &found);
        if (found)
            opal_info_set(file->super.s_info, key, value);
    }
    PMPI_Info_free(&hints);
}

/*
 * Nor does MPI_File_set_info reach a component. It tells those who asked to hear of
 * a hint, puts their answer into the handle, and takes hints away that nobody asked
 * for. To let the value take effect would need all ranks at once, and this is called
 * on those only that gave the hint; so it is reported, and the answer is what is in
 * effect. (MPI_File_get_info still shows what the user gave, until the next view.)
 */
static info_text_t *hear_of_hint(opal_infosubscriber_t *object, info_text_t *key, info_text_t *value)
{
    static char told[MPI_MAX_INFO_VAL + 1];
    static bool is_reported;
    ompi_file_t *file = (ompi_file_t *)object;
    glue_data_t *data = (glue_data_t *)file->f_io_selected_data;
    enum hint_id id = hint_find(key);
    MPI_Info hints;
    int is_found, rank;
    if (ROMIO_PREFIX(MPI_File_get_info)(data->romio_fh, &hints) != MPI_SUCCESS)
        return NULL;
    PMPI_Info_get(hints, key, MPI_MAX_INFO_VAL, told, &is_found);
    PMPI_Info_free(&hints);
    if (!is_found)
        return NULL;
    PMPI_Comm_rank(file->f_comm, &rank);
    if (rank == 0 && !is_reported && id < HINT_COUNT && hint_rows[id].when == HINT_AT_VIEW &&
        strcmp(value, told) != 0) {
        fprintf(stderr,
                "weft: hint %s (MPI_File_set_info) has no effect: Open MPI does not pass it on; give it to "
                "MPI_File_open or MPI_File_set_view\n",
                key);
        is_reported = true;
    }
    return told;
}

static void ask_to_hear(ompi_file_t *file)
{
    for (enum hint_id id = 0; id < HINT_COUNT; id++) {
        char key[MPI_MAX_INFO_KEY + 1], value[MPI_MAX_INFO_VAL + 1];
        snprintf(key, sizeof key, "%s", hint_rows[id].name);
        if (info_value(file->super.s_info, key, value))
            opal_infosubscribe_subscribe(&file->super, key, value, hear_of_hint);
    }
}

static int open_file(struct ompi_communicator_t *comm, const char *path, int amode, struct opal_info_t *info,
                     ompi_file_t *file)
{
    int result = GLUE(_file_open)(comm, mounts_inside(path), amode, info, file);
    if (result == MPI_SUCCESS && file->super.s_info != NULL) {
        publish_hints(file);
        ask_to_hear(file);
    }
    return result;
}

static int set_view(ompi_file_t *file, MPI_Offset displacement, struct ompi_datatype_t *etype,
                    struct ompi_datatype_t *filetype, const char *representation, struct opal_info_t *info)
{
    int result = GLUE(_file_set_view)(file, displacement, etype, filetype, representation, info);
    if (result == MPI_SUCCESS)
        publish_hints(file);
    return result;
}

/* ---- progress --------------------------------------------------------- */

int host_request_start(MPI_Grequest_query_function *query, MPI_Grequest_free_function *forget,
                       MPI_Grequest_cancel_function *cancel, void *state, MPI_Request *request)
{
    if (!is_called_on_progress)
        opal_progress_register(nonblocking_progress);
    is_called_on_progress = true;
    return MPI_Grequest_start(query, forget, cancel, state, request);
}

/* ---- datatypes -------------------------------------------------------- */

void host_walk(MPI_Datatype datatype, host_add_fn *add, void *argument)
{
    struct iovec runs[64];
    opal_convertor_t convertor;
    int is_done;
    OBJ_CONSTRUCT(&convertor, opal_convertor_t);
    /* Of a buffer at address 0 the addresses are offsets. */
    opal_convertor_copy_and_prepare_for_send(ompi_mpi_local_convertor, &datatype->super, 1, NULL, 0,
                                             &convertor);
    do {
        uint32_t count = sizeof runs / sizeof runs[0];
        size_t bytes = 0;
        is_done = opal_convertor_raw(&convertor, runs, &count, &bytes);
        for (uint32_t i = 0; i < count; i++)
            if (runs[i].iov_len > 0)
                add(argument, (int64_t)(intptr_t)runs[i].iov_base, (int64_t)runs[i].iov_len);
    } while (!is_done);
    OBJ_DESTRUCT(&convertor);
}

/*
 * Open MPI's answer is "contiguous" also for a type whose bytes begin before
 * its origin; ROMIO would then take the bytes at the origin.
 */
void __real_ADIOI_Datatype_iscontig(MPI_Datatype datatype, int *is_contiguous);
void __wrap_ADIOI_Datatype_iscontig(MPI_Datatype datatype, int *is_contiguous);

void __wrap_ADIOI_Datatype_iscontig(MPI_Datatype datatype, int *is_contiguous)
{
    __real_ADIOI_Datatype_iscontig(datatype, is_contiguous);
    if (*is_contiguous) {
        MPI_Aint lower_bound, extent;
        MPI_Type_get_true_extent(datatype, &lower_bound, &extent);
        *is_contiguous = lower_bound == 0;
    }
}

/* ---- selection -------------------------------------------------------- */

static int init_query(bool enable_progress_threads, bool enable_mpi_threads)
{
    (void)enable_progress_threads;
    (void)enable_mpi_threads;
    return OMPI_SUCCESS;
}

static const struct mca_io_base_module_2_0_0_t *file_query(struct ompi_file_t *file,
                                                           struct mca_io_base_file_t **private_data,
                                                           int *priority)
{
    /* All ranks are here, and ask the components in the same order. */
    if (!driver_path_match(file->f_filename) && !mounts_agree(file->f_comm, file->f_filename))
        return NULL;
    *private_data = calloc(1, sizeof(glue_data_t));
    if (*private_data == NULL)
        return NULL;
    *priority = PRIORITY;
    return &module;
}

static int file_unquery(struct ompi_file_t *file, struct mca_io_base_file_t *private_data)
{
    (void)file;
    free(private_data);
    return OMPI_SUCCESS;
}

static int delete_query(const char *path, struct opal_info_t *info,
                        struct mca_io_base_delete_t **private_data, bool *usable, int *priority)
{
    (void)info;
    *private_data = NULL;
    *usable = driver_path_match(path);
    *priority = *usable ? PRIORITY : 0;
    return OMPI_SUCCESS;
}

static int delete_select(const char *path, struct opal_info_t *info,
                         struct mca_io_base_delete_t *private_data)
{
    (void)info; /* no hint has to do with deleting */
    (void)private_data;
    OPAL_THREAD_LOCK(&GLUE(_mutex));
    int result = ROMIO_PREFIX(MPI_File_delete)((char *)path, MPI_INFO_NULL);
    OPAL_THREAD_UNLOCK(&GLUE(_mutex));
    return result;
}

static int register_datarep(const char *name, MPI_Datarep_conversion_function *read_fn,
                            MPI_Datarep_conversion_function *write_fn, MPI_Datarep_extent_function *extent_fn,
                            void *state)
{
    OPAL_THREAD_LOCK(&GLUE(_mutex));
    int result = ROMIO_PREFIX(MPI_Register_datarep)((char *)name, read_fn, write_fn, extent_fn, state);
    OPAL_THREAD_UNLOCK(&GLUE(_mutex));
    return result;
}

/* ---- the component ---------------------------------------------------- */

static int open_component(void)
{
    OBJ_CONSTRUCT(&GLUE(_mutex), opal_mutex_t);
    module = GLUE(_module);
    module.io_module_file_open = open_file;
    module.io_module_file_set_view = set_view;
    return OMPI_SUCCESS;
}

static int close_component(void)
{
    if (is_called_on_progress)
        opal_progress_unregister(nonblocking_progress);
    is_called_on_progress = false;
    OBJ_DESTRUCT(&GLUE(_mutex));
    return OMPI_SUCCESS;
}

extern mca_io_base_component_2_0_0_t mca_io_weft_component;

mca_io_base_component_2_0_0_t mca_io_weft_component = {
    .io_version =
        {
            MCA_IO_BASE_VERSION_2_0_0,
            .mca_component_name = "weft",
            MCA_BASE_MAKE_VERSION(component, OMPI_MAJOR_VERSION, OMPI_MINOR_VERSION, OMPI_RELEASE_VERSION),
            .mca_open_component = open_component,
            .mca_close_component = close_component,
        },
    .io_data = {.param_field = MCA_BASE_METADATA_PARAM_CHECKPOINT},
    .io_init_query = init_query,
    .io_file_query = file_query,
    .io_file_unquery = file_unquery,
    .io_delete_query = delete_query,
    .io_delete_select = delete_select,
    .io_register_datarep = register_datarep,
};
