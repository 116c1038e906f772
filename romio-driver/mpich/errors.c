/* SPDX-License-Identifier: Apache-2.0 */
/*
 * errors.c: ROMIO's errors, and the error handlers of files.
 *
 * ROMIO's own version for use outside of an MPI knows no error handlers but the
 * predefined ones. Here a handler of the user's is noted when it is
 * made, since MPICH has no call that tells its function; that of a file is kept
 * beside the file.
 *
 * Lock: handlers_lock guards both lists; it is not held during a user's function.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "driver.h"
#include "mpioimpl.h"

/* A handler that was made, with `file` NULL, or that of a file. */
struct handler {
    MPI_File file;
    MPI_Errhandler handle;
    MPI_File_errhandler_function *function;
    struct handler *next;
};

static struct handler *handlers;
static pthread_mutex_t handlers_lock = PTHREAD_MUTEX_INITIALIZER;

/* (locked) */
static struct handler **find(MPI_File file, MPI_Errhandler handle)
{
    struct handler **link = &handlers;
    while (*link != NULL && ((*link)->file != file || (file == MPI_FILE_NULL && (*link)->handle != handle)))
        link = &(*link)->next;
    return link;
}

/* One entry for each file, and one for each handle: handles are used again. */
static void note(MPI_File file, MPI_Errhandler handle, MPI_File_errhandler_function *function)
{
    pthread_mutex_lock(&handlers_lock);
    struct handler **link = find(file, handle);
    if (*link == NULL)
        *link = ADIOI_Calloc(1, sizeof **link);
    (*link)->file = file;
    (*link)->handle = handle;
    (*link)->function = function;
    pthread_mutex_unlock(&handlers_lock);
}

static void forget_file(MPI_File file)
{
    pthread_mutex_lock(&handlers_lock);
    struct handler **link = find(file, MPI_ERRHANDLER_NULL);
    struct handler *gone = *link;
    if (gone != NULL)
        *link = gone->next;
    pthread_mutex_unlock(&handlers_lock);
    if (gone != NULL)
        ADIOI_Free(gone);
}

static MPI_File_errhandler_function *function_of(MPI_File file, MPI_Errhandler handle)
{
    pthread_mutex_lock(&handlers_lock);
    const struct handler *handler = file != MPI_FILE_NULL ? *find(file, handle) : NULL;
    if (handler == NULL)
        handler = *find(MPI_FILE_NULL, handle);
    MPI_File_errhandler_function *function = handler != NULL ? handler->function : NULL;
    pthread_mutex_unlock(&handlers_lock);
    return function;
}

static MPI_Errhandler *handler_of(MPI_File file)
{
    return file == MPI_FILE_NULL ? &ADIOI_DFLT_ERR_HANDLER : &MPIO_File_resolve(file)->err_handler;
}

void __real_MPIO_File_free(MPI_File *file);
void __wrap_MPIO_File_free(MPI_File *file);

void __wrap_MPIO_File_free(MPI_File *file)
{
    forget_file(*file);
    __real_MPIO_File_free(file);
}

/* ---- what ROMIO calls ------------------------------------------------- */

/* See codes.c. */
int MPIR_Err_create_code(int last, int kind, const char function[], int line, int class, const char generic[],
                         const char specific[], ...) __attribute__((weak));

int MPIO_Err_create_code(int last, int kind, const char function[], int line, int class, const char generic[],
                         const char specific[], ...)
{
    (void)specific; /* its arguments can't be passed on */
    if (last != MPI_SUCCESS)
        return last;
    if (MPIR_Err_create_code == NULL)
        return class;
    return MPIR_Err_create_code(MPI_SUCCESS, kind, function, line, class, generic, NULL);
}

static void end_program(MPI_File file, int code)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    PMPI_Error_string(code, text, &length);
    fprintf(stderr, "I/O error: %s\n", text);
    PMPI_Abort(file == MPI_FILE_NULL ? MPI_COMM_WORLD : MPIO_File_resolve(file)->comm, code);
}

int MPIO_Err_return_file(MPI_File file, int code)
{
    MPI_Errhandler handle = *handler_of(file);
    MPI_File_errhandler_function *function;
    if (handle == MPI_ERRORS_RETURN)
        return code;
    function = function_of(file, handle);
    if (function != NULL)
        function(&file, &code);
    else
        end_program(file, code);
    return code;
}

int MPIO_Err_return_comm(MPI_Comm comm, int code)
{
    PMPI_Comm_call_errhandler(comm, code);
    return code;
}

/* ---- MPI's calls ------------------------------------------------------ */

#pragma weak MPI_File_create_errhandler = PMPI_File_create_errhandler
#pragma weak MPI_File_set_errhandler = PMPI_File_set_errhandler
#pragma weak MPI_File_get_errhandler = PMPI_File_get_errhandler
#pragma weak MPI_File_call_errhandler = PMPI_File_call_errhandler

typedef int create_fn(MPI_File_errhandler_function *function, MPI_Errhandler *handle);

/* MPICH makes the object; this library comes before MPICH's. */
int PMPI_File_create_errhandler(MPI_File_errhandler_function *function, MPI_Errhandler *handle)
{
    create_fn *create = (create_fn *)dlsym(RTLD_NEXT, "PMPI_File_create_errhandler");
    if (create == NULL)
        return MPI_ERR_INTERN;
    int code = create(function, handle);
    if (code == MPI_SUCCESS)
        note(MPI_FILE_NULL, *handle, function);
    return code;
}

static int refuse_file(void)
{
    struct failure failure;
    failure_say(&failure, MPI_ERR_FILE, "this is no file");
    return MPIO_Err_return_file(MPI_FILE_NULL, failure_code(&failure));
}

static bool is_file(MPI_File file)
{
    return file == MPI_FILE_NULL || MPIO_File_resolve(file)->cookie == ADIOI_FILE_COOKIE;
}

int PMPI_File_set_errhandler(MPI_File file, MPI_Errhandler handle)
{
    if (!is_file(file))
        return refuse_file();
    MPI_File_errhandler_function *function = function_of(MPI_FILE_NULL, handle);
    if (file != MPI_FILE_NULL && function != NULL)
        note(file, handle, function);
    else if (file != MPI_FILE_NULL)
        forget_file(file);
    *handler_of(file) = handle;
    return MPI_SUCCESS;
}

int PMPI_File_get_errhandler(MPI_File file, MPI_Errhandler *handle)
{
    if (!is_file(file))
        return refuse_file();
    *handle = *handler_of(file);
    return MPI_SUCCESS;
}

int PMPI_File_call_errhandler(MPI_File file, int code)
{
    if (!is_file(file))
        return refuse_file();
    MPIO_Err_return_file(file, code);
    return MPI_SUCCESS;
}
