/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

/* Entries of one request; the server sends fewer when they are long. */
#define BATCH_MAX 1024u

struct weft_dir {
    weft_session_t *session;
    char *path;
    struct op_call call;      /* holds the current batch */
    struct wire_reader batch; /* what is left of it */
    uint32_t left;
    bool end;                           /* it is the last one */
    char name[WEFT_NAME_BYTES_MAX + 1]; /* of the latest entry: where the next batch begins */
    uint64_t ino;                       /* its number; 0: weft_dir_next() told none */
    uint32_t type;                      /* S_IFMT of its mode */
};

static void dir_free(weft_dir_t *dir)
{
    op_call_free(&dir->call);
    free(dir->path);
    free(dir);
}

static int next_batch(weft_dir_t *dir)
{
    struct wire_readdir readdir = {.path = dir->path, .after = dir->name, .count_max = BATCH_MAX};
    struct wire_readdir_reply reply;
    uint8_t body[WEFT_PATH_BYTES_MAX + WEFT_NAME_BYTES_MAX + 64];
    op_call_free(&dir->call);
    int result = op_call_metadata(&dir->call, dir->session, WIRE_OP_readdir, body,
                                  wire_encode_readdir(body, sizeof body, &readdir));
    if (result == 0)
        result = wire_decode_readdir_reply(dir->call.reply, dir->call.reply_length, &reply);
    if (result < 0)
        return client_about(result, dir->path);
    dir->batch = wire_list_reader(&reply.entries);
    dir->left = reply.entries.count;
    dir->end = reply.end;
    if (dir->left == 0 && !dir->end)
        return err_set(-EPROTO, "%.400s: the metadata server sent an empty part of a directory", dir->path);
    return 0;
}

/* The first batch is asked for here, so that an error of the path shows at the right call. */
static int dir_open(weft_session_t *session, const char *path, weft_dir_t **out)
{
    const char *inside;
    int result = client_path(path, &inside);
    if (result < 0)
        return result;
    if (!out)
        return err_set(-EINVAL, "there is no place for the directory (NULL)");
    weft_dir_t *dir = calloc(1, sizeof *dir);
    if (!dir)
        return err_set(-ENOMEM, "out of memory for a directory");
    dir->session = session;
    dir->path = strdup(inside);
    result = dir->path ? next_batch(dir) : err_set(-ENOMEM, "out of memory for a directory");
    if (result < 0) {
        dir_free(dir);
        return result;
    }
    *out = dir;
    return 0;
}

int weft_dir_open(weft_session_t *session, const char *path, weft_dir_t **dir)
{
    return (int)client_result(__func__, dir_open(session, path, dir));
}

/* The batch has only what the metadata server knows. A file that is open for writing
 * may have grown, so it is asked for by itself, by its number: the name may be another's by now. */
static int entry_attr(weft_dir_t *dir, const struct wire_attr *wire, struct weft_attr *attr)
{
    attr_from_wire(wire, attr);
    if (!wire->size_open)
        return 0;
    int result = attr_ask(dir->session, "", wire->ino, 0, attr);
    return result == -ENOENT || result == -ESTALE ? 0 : result; /* removed meanwhile: as it was */
}

static int dir_next(weft_dir_t *dir, const char **name, struct weft_attr *attr)
{
    struct wire_dirent entry;
    if (!dir || !name)
        return err_set(-EINVAL, "the directory, or the place for the name, is NULL");
    int result = session_check(dir->session);
    if (result < 0)
        return result;
    dir->ino = 0;
    if (dir->left == 0 && dir->end)
        return 0;
    if (dir->left == 0) {
        result = next_batch(dir);
        if (result < 0)
            return result;
        if (dir->left == 0)
            return 0;
    }
    wire_get_dirent(&dir->batch, &entry);
    if (dir->batch.bad || entry.name[0] == '\0') {
        dir->left = 0;
        dir->end = true;
        return err_set(-EPROTO, "%.400s: the metadata server sent an entry that makes no sense", dir->path);
    }
    dir->left--;
    snprintf(dir->name, sizeof dir->name, "%s", entry.name);
    if (attr) {
        result = entry_attr(dir, &entry.attr, attr);
        if (result < 0)
            return client_about(result, dir->path);
    }
    dir->ino = entry.attr.ino;
    dir->type = entry.attr.mode & S_IFMT;
    *name = dir->name;
    return 1;
}

int weft_dir_next(weft_dir_t *dir, const char **name, struct weft_attr *attr)
{
    return (int)client_result(__func__, dir_next(dir, name, attr));
}

static int dir_entry(weft_dir_t *dir, uint64_t *ino, mode_t *type)
{
    if (!dir || dir->ino == 0)
        return err_set(-EINVAL, "there is no directory, or no entry of it was told last");
    if (ino)
        *ino = dir->ino;
    if (type)
        *type = dir->type;
    return 0;
}

int weft_dir_entry(weft_dir_t *dir, uint64_t *ino, mode_t *type)
{
    return (int)client_result(__func__, dir_entry(dir, ino, type));
}

static int dir_seek(weft_dir_t *dir, const char *after)
{
    if (!dir || !after)
        return err_set(-EINVAL, "the directory, or the name, is NULL");
    if (strlen(after) > WEFT_NAME_BYTES_MAX)
        return err_set(-ENAMETOOLONG, "a name has at most %u bytes", WEFT_NAME_BYTES_MAX);
    snprintf(dir->name, sizeof dir->name, "%s", after);
    dir->left = 0;
    dir->end = false;
    dir->ino = 0;
    return 0;
}

int weft_dir_seek(weft_dir_t *dir, const char *after)
{
    return (int)client_result(__func__, dir_seek(dir, after));
}

void weft_dir_close(weft_dir_t *dir)
{
    if (dir)
        dir_free(dir);
}
