/* SPDX-License-Identifier: Apache-2.0 */
#include "held_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "err.h"
#include "layout.h"

/* One takes some 200 bytes. A folder that has come to so many is held no more. */
enum { NAMES_MAX = 1 << 16 };
/* Who makes files faster than the metadata server takes them waits. */
enum { CHANGES_MAX = 8 * HELD_BATCH };

/* ---- folders and names (locked) --------------------------------------------- */

static struct held_folder *find_folder(const struct held *held, const char *path, size_t length)
{
    const uint64_t key = path_name(path, length);
    for (struct table_link *link = table_find(&held->folders, key); link; link = link->next) {
        struct held_folder *folder = table_item(link, struct held_folder, by_path);
        if (link->key == key && strncmp(folder->path, path, length) == 0 && folder->path[length] == 0)
            return folder;
    }
    return NULL;
}

static struct held_folder *find_folder_ino(const struct held *held, uint64_t ino)
{
    list_each(&held->all, link, after)
    {
        struct held_folder *folder = list_item(link, struct held_folder, link);
        if (folder->ino == ino)
            return folder;
    }
    return NULL;
}

static struct held_name *find_name(const struct held *held, const char *path)
{
    const uint64_t key = path_name(path, strlen(path));
    for (struct table_link *link = table_find(&held->names, key); link; link = link->next) {
        struct held_name *name = table_item(link, struct held_name, by_path);
        if (link->key == key && strcmp(name->path, path) == 0)
            return name;
    }
    return NULL;
}

static struct held_name *find_ino(const struct held *held, uint64_t ino)
{
    struct table_link *link = table_find(&held->inos, ino);
    return link ? table_item(link, struct held_name, by_ino) : NULL;
}

/* Where the last part of a path begins; the folder's path has `*length` bytes. */
static const char *last_part(const char *path, size_t *length)
{
    *length = path_folder_length(path);
    return path + *length + (*length > 1);
}

const char *held_name_text(const struct held_name *name)
{
    size_t length;
    return last_part(name->path, &length);
}

/* The folder that holds the path, where it is held, and the path ends with a name. */
static struct held_folder *folder_of(weft_session_t *session, const char *path)
{
    struct held *held = session->held;
    size_t length;
    if (!held || list_empty(&held->all))
        return NULL;
    const char *text = last_part(path, &length);
    struct held_folder *folder =
        path_is_name(text) && strlen(text) <= WEFT_NAME_BYTES_MAX ? find_folder(held, path, length) : NULL;
    return folder && !folder->leaves && attr_cache_holds(session, folder->generation) ? folder : NULL;
}

static struct held_name *name_new(struct held_folder *folder, const char *path, uint64_t ino)
{
    struct held *held = folder->session->held;
    const size_t length = strlen(path);
    struct held_name *name = calloc(1, sizeof *name + length + 1);
    if (!name)
        return NULL;
    memcpy(name->path, path, length + 1);
    if (table_add(&held->names, &name->by_path, path_name(path, length))) {
        free(name);
        return NULL;
    }
    if (table_add(&held->inos, &name->by_ino, ino)) {
        table_remove(&held->names, &name->by_path);
        free(name);
        return NULL;
    }
    name->folder = folder;
    name->ino = ino;
    list_link_init(&name->change);
    list_push_back(&folder->names, &name->link);
    return name;
}

void held_name_drop(struct held_name *name)
{
    struct held *held = name->folder->session->held;
    if (name->file) {
        atomic_store_explicit(&name->file->lost, true, memory_order_relaxed);
        atomic_store_explicit(&name->file->held, NULL, memory_order_release);
    }
    table_remove(&held->names, &name->by_path);
    table_remove(&held->inos, &name->by_ino);
    list_remove(&name->link);
    list_remove(&name->change);
    free(name->data);
    free(name);
}

void held_folder_drop(struct held_folder *folder)
{
    struct held *held = folder->session->held;
    while (!list_empty(&folder->names))
        held_name_drop(list_item(list_first(&folder->names), struct held_name, link));
    held->leaving -= folder->leaves;
    table_remove(&held->folders, &folder->by_path);
    list_remove(&folder->link);
    free(folder->hints);
    free(folder->body);
    free(folder);
}

void held_changed(struct held_name *name)
{
    struct held_folder *folder = name->folder;
    struct held *held = folder->session->held;
    list_push_back(&folder->changes, &name->change);
    folder->change_count++;
    if (held->changed_ns == 0) {
        held->changed_ns = rpc_now_ns();
        attr_cache_hurry(folder->session);
    }
}

void held_attr(const struct held_name *name, struct weft_attr *attr)
{
    *attr = name->folder->pattern;
    attr->ino = name->ino;
    attr->mode = S_IFREG | name->mode;
    attr->nlink = 1;
    attr->size = name->size;
    attr->bytes = layout_small_space(name->size);
    attr->atime_ns = name->made_ns;
    attr->mtime_ns = attr->ctime_ns = name->changed_ns;
    attr->layout.seed = layout_seed(name->ino);
    attr->small = true;
}

/* ---- coming to be held ---------------------------------------------------------- */

static struct held_folder *folder_new(weft_session_t *session, const char *path, size_t length,
                                      const struct wire_open_reply *reply)
{
    struct held *held = session->held;
    struct held_folder *folder = calloc(1, sizeof *folder + length + 1);
    if (!folder)
        return NULL;
    memcpy(folder->path, path, length);
    folder->hints = strdup(reply->hints);
    if (!folder->hints || table_add(&held->folders, &folder->by_path, path_name(path, length))) {
        free(folder->hints);
        free(folder);
        return NULL;
    }
    folder->session = session;
    folder->ino = reply->holding.folder;
    folder->generation = reply->delegation.generation;
    folder->small_max = reply->holding.small_max;
    folder->range.given = reply->holding.range;
    attr_from_wire(&reply->attr, &folder->pattern);
    folder->pattern.gid = reply->holding.gid;
    list_init(&folder->names);
    list_init(&folder->changes);
    list_init(&folder->sent);
    list_push_back(&held->all, &folder->link);
    return folder;
}

/* False: there is no memory for all. */
static bool add_there(struct held_folder *folder, const char *path, uint64_t ino, bool is_file,
                      bool is_foreign)
{
    struct held_name *name = name_new(folder, path, ino);
    if (!name)
        return false;
    name->state = HELD_THERE;
    name->is_other = !is_file;
    name->is_foreign = is_foreign;
    return true;
}

static bool add_others(struct held_folder *folder, const struct wire_list *others)
{
    struct wire_reader reader = wire_list_reader(others);
    char path[WEFT_PATH_BYTES_MAX + WEFT_NAME_BYTES_MAX + 2];
    for (uint32_t i = 0; i < others->count; i++) {
        struct wire_held_entry entry;
        wire_get_held_entry(&reader, &entry);
        if (reader.bad)
            return false;
        snprintf(path, sizeof path, "%s/%s", strcmp(folder->path, "/") == 0 ? "" : folder->path, entry.name);
        if (!add_there(folder, path, entry.ino, entry.is_file, true))
            return false;
    }
    return true;
}

void held_learn(weft_session_t *session, const struct attr_ticket *ticket, const struct attr_change *own,
                const char *path, const struct wire_open_reply *reply)
{
    size_t length;
    if (!reply->created || !session->held)
        return;
    held_leave(session, path); /* it may have been taken for what exists, or have come by a symbolic link */
    if (!reply->holding.folder)
        return;
    (void)last_part(path, &length);
    session_lock(session);
    if (!find_folder(session->held, path, length) &&
        attr_cache_may_hold(session, ticket, own, &reply->delegation)) {
        struct held_folder *folder = folder_new(session, path, length, reply);
        if (folder && (!add_there(folder, path, reply->attr.ino, true, false) ||
                       !add_others(folder, &reply->holding.others)))
            held_folder_drop(folder);
    }
    session_unlock(session);
}

/* ---- making ----------------------------------------------------------------------- */

/* 0: there is none. */
static uint64_t next_ino(struct held_folder *folder)
{
    struct held_range *range = &folder->range;
    /* What a request tells of has numbers of one range. */
    if (range->used == range->given.count && folder->spare.given.count && held_is_idle(folder)) {
        *range = folder->spare;
        folder->spare = (struct held_range){0};
    }
    return range->used < range->given.count ? range->given.first + range->used++ : 0;
}

static weft_file_t *file_of(struct held_name *name, const struct wire_open *open)
{
    const struct held_folder *folder = name->folder;
    const struct weft_layout *layout = &folder->pattern.layout;
    const struct wire_capability capability = {
        .ino = name->ino,
        .layout = {.chunk_size = layout->chunk_size,
                   .seed = layout_seed(name->ino),
                   .stripe_count = layout->stripe_count,
                   .group_count = layout->group_count},
    };
    weft_file_t *file = file_make(folder->session, name->path, &capability, layout->pool, folder->hints);
    if (!file)
        return NULL;
    file->access = open->flags & (WIRE_OPEN_READ | WIRE_OPEN_WRITE);
    atomic_store_explicit(&file->held, name, memory_order_relaxed);
    name->file = file;
    return file;
}

/* What can't be done here, and what is then to be done. */
enum {
    AGAIN = 2, /* when all is told */
    WAIT,      /* likewise, since others wait for that, and must not do so for ever */
    THERE      /* it exists: the folder does not change */
};

/* Whether the attempt is to be made, the first time or, when all has been told, anew: twice at most, and as
 * often as it was only to let others go first. */
static bool is_to_be_tried(weft_session_t *session, int result, unsigned *attempts)
{
    if (*attempts == 0) {
        *attempts = 1;
        return true;
    }
    if ((result != AGAIN && result != WAIT) || held_flush(session) < 0)
        return false;
    *attempts += result == AGAIN;
    return *attempts <= 2;
}

/* (locked) As held_create(), or one of these. */
static int create(weft_session_t *session, const struct wire_open *open, weft_file_t **file)
{
    struct held_folder *folder = folder_of(session, open->path);
    if (!folder || folder->session->held->retry_ns > rpc_now_ns())
        return 0;
    struct held_name *name = find_name(session->held, open->path);
    if (!list_empty(&session->held->waiters))
        return WAIT;
    if (name && name->is_other)
        return 0; /* a symbolic link may lead anywhere */
    if (name && name->state == HELD_REMOVED)
        return AGAIN;
    if (name && (open->flags & WIRE_OPEN_EXCLUSIVE))
        return err_set(-EEXIST, "%s: exists already", open->path);
    if (name)
        return THERE;
    if (session->held->names.count >= NAMES_MAX)
        return 0;
    if (folder->change_count >= CHANGES_MAX)
        return AGAIN;
    const uint64_t ino = next_ino(folder);
    if (!ino)
        return held_is_idle(folder) ? 0 : AGAIN;
    name = name_new(folder, open->path, ino);
    if (!name)
        return err_set(-ENOMEM, "out of memory for a new file");
    name->state = HELD_MADE;
    name->is_known = true;
    name->seen = session->held->attr_changes;
    name->mode = open->mode;
    name->made_ns = name->changed_ns = held_now_ns();
    *file = file_of(name, open);
    if (!*file) {
        held_name_drop(name);
        return -ENOMEM; /* file_make() has told */
    }
    attr_cache_changed(session, open->path, folder->ino);
    held_changed(name);
    session_count(session, CLIENT_COUNT_held_changes, 1);
    return 1;
}

int held_create(weft_session_t *session, const struct wire_open *open, weft_file_t **file)
{
    if (session_check(session) < 0 || !session->held)
        return 0;
    int result = AGAIN;
    for (unsigned attempts = 0; is_to_be_tried(session, result, &attempts);) {
        session_lock(session);
        result = create(session, open, file);
        session_unlock(session);
    }
    if (result == 0 || result == AGAIN || result == WAIT)
        held_leave(session, open->path);
    return result < 0 || result == 1 ? result : 0;
}

/* ---- removing --------------------------------------------------------------------- */

/* (locked) As create(). */
static int remove_name(weft_session_t *session, const char *path)
{
    struct held_folder *folder = folder_of(session, path);
    if (!folder || session->held->retry_ns > rpc_now_ns())
        return 0;
    struct held_name *name = find_name(session->held, path);
    if (!name || name->state == HELD_REMOVED)
        return err_set(-ENOENT, "%s: no such file or directory", path);
    if (!list_empty(&session->held->waiters))
        return WAIT;
    if (name->is_sent || folder->change_count >= CHANGES_MAX)
        return AGAIN;
    if (name->file || name->is_foreign)
        return 0;
    attr_cache_changed(session, path, folder->ino);
    attr_cache_gone(session, name->ino);
    session_count(session, CLIENT_COUNT_held_changes, 1);
    if (name->state == HELD_MADE && name->was_sent) {
        name->state = HELD_REMOVED; /* it is told of anyway, and who does not have it has removed it */
        name->changed_ns = held_now_ns();
        return 1;
    }
    if (name->state == HELD_MADE) {
        folder->change_count--;
        held_name_drop(name);
        return 1;
    }
    name->state = HELD_REMOVED;
    name->changed_ns = held_now_ns();
    held_changed(name);
    if (folder->change_count >= HELD_BATCH)
        held_send(folder, false);
    return 1;
}

int held_remove(weft_session_t *session, const char *path)
{
    if (session_check(session) < 0 || !session->held)
        return 0;
    int result = AGAIN;
    for (unsigned attempts = 0; is_to_be_tried(session, result, &attempts);) {
        session_lock(session);
        result = remove_name(session, path);
        session_unlock(session);
    }
    return result < 0 || result == 1 ? result : 0;
}

/* ---- looking (locked) ---------------------------------------------------------------- */

enum attr_known held_find(weft_session_t *session, const char *path, struct weft_attr *attr)
{
    if (!folder_of(session, path))
        return ATTR_UNKNOWN;
    const struct held_name *name = find_name(session->held, path);
    if (!name || name->state == HELD_REMOVED)
        return ATTR_ABSENT;
    if (!name->is_known || name->seen != session->held->attr_changes)
        return ATTR_UNKNOWN;
    held_attr(name, attr);
    return ATTR_KNOWN;
}

static void leave(struct held_folder *folder)
{
    if (!folder || folder->leaves)
        return;
    folder->leaves = true;
    folder->session->held->leaving++;
}

void held_forget(weft_session_t *session, const char *path, uint64_t ino)
{
    struct held *held = session->held;
    if (!held || list_empty(&held->all))
        return;
    struct held_name *name = *path ? find_name(held, path) : find_ino(held, ino);
    if (name)
        name->is_known = false;
    held->attr_changes += *path != 0; /* by which one of another name may be meant */
}

/* ---- leaving ------------------------------------------------------------------------- */

/* (locked) */
static void drop_told(weft_session_t *session)
{
    struct held *held = session->held;
    list_each(&held->all, link, after)
    {
        struct held_folder *folder = list_item(link, struct held_folder, link);
        if (folder->leaves && held_is_idle(folder))
            held_folder_drop(folder);
    }
    if (held->leaving == 0)
        attr_cache_left(session);
}

static void leave_one(weft_session_t *session, const char *path, size_t length, uint64_t ino)
{
    if (session_check(session) < 0 || !session->held)
        return;
    session_lock(session);
    struct held *held = session->held;
    struct held_folder *folder = NULL;
    if (!list_empty(&held->all))
        folder = length ? find_folder(held, path, length) : find_folder_ino(held, ino);
    leave(folder);
    session_unlock(session);
    if (!folder)
        return;
    (void)held_flush(session); /* a failure was logged, and is the lost names' */
    session_lock(session);
    drop_told(session);
    session_unlock(session);
}

void held_leave(weft_session_t *session, const char *path)
{
    leave_one(session, path, path_folder_length(path), 0);
}

void held_leave_itself(weft_session_t *session, const char *path, uint64_t ino)
{
    leave_one(session, path, strlen(path), ino);
}

void held_recalled(weft_session_t *session, uint64_t ino)
{
    struct held *held = session->held;
    if (!held || list_empty(&held->all))
        return;
    list_each(&held->all, link, after)
    {
        struct held_folder *folder = list_item(link, struct held_folder, link);
        if (ino && folder->ino != ino)
            continue;
        leave(folder);
        held_send(folder, true);
    }
    drop_told(session);
}

bool held_is_leaving(const weft_session_t *session)
{
    return session->held && session->held->leaving > 0;
}

/* ---- the session's ----------------------------------------------------------------- */

int held_open(weft_session_t *session)
{
    if (!session->conf->hold_folders)
        return 0;
    struct held *held = calloc(1, sizeof *held);
    if (!held)
        return err_set(-ENOMEM, "out of memory for folders that are held");
    list_init(&held->all);
    list_init(&held->waiters);
    session->held = held;
    return 0;
}

void held_free(weft_session_t *session)
{
    struct held *held = session->held;
    if (!held)
        return;
    while (!list_empty(&held->all)) {
        struct held_folder *folder = list_item(list_first(&held->all), struct held_folder, link);
        held_lose_all(folder);
        held_folder_drop(folder);
    }
    table_clear(&held->folders, NULL);
    table_clear(&held->names, NULL);
    table_clear(&held->inos, NULL);
    free(held);
    session->held = NULL;
}
