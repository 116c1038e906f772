/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are open in a folder that is held, and of which the metadata server does not know yet.
 */
#include "held_internal.h"

#include <stdlib.h>
#include <string.h>

#include "pieces.h"

int held_settle(weft_file_t *file)
{
    while (atomic_load_explicit(&file->held, memory_order_acquire)) {
        int result = session_check(file->session);
        if (result == 0)
            result = held_flush(file->session);
        /* It may be another file's failure. */
        if (result < 0 && atomic_load_explicit(&file->held, memory_order_acquire))
            return client_about(result, file->path);
    }
    return 0;
}

/* (locked) Room for so many bytes; what is new is zeros. */
static bool make_room(struct held_name *name, uint64_t size)
{
    if (size <= name->size)
        return true;
    uint8_t *bigger = realloc(name->data, size);
    if (!bigger)
        return false;
    memset(bigger + name->size, 0, size - name->size);
    name->data = bigger;
    name->size = (uint32_t)size;
    return true;
}

int held_write(weft_file_t *file, const struct iovec *iov, size_t iov_count, uint64_t offset, ssize_t *result)
{
    weft_session_t *session = file->session;
    size_t length = 0;
    int done = 0;
    if (!atomic_load_explicit(&file->held, memory_order_relaxed) || session_check(session) < 0)
        return 0;
    for (size_t i = 0; i < iov_count; i++) {
        if (!iov || iov[i].iov_len > LIMITS_SMALL_BYTES_MAX || length > LIMITS_SMALL_BYTES_MAX)
            return 0;
        length += iov[i].iov_len;
    }
    session_lock(session);
    struct held_name *name = atomic_load_explicit(&file->held, memory_order_relaxed);
    if (name && !name->is_sent && !name->was_sent && length > 0 && (file->access & WIRE_ACCESS_WRITE) &&
        offset < LIMITS_SMALL_BYTES_MAX && offset + length <= name->folder->small_max &&
        make_room(name, offset + length)) {
        pieces_pack(iov, iov_count, name->data + offset);
        name->changed_ns = held_now_ns();
        session_count(session, CLIENT_COUNT_transfers, 1);
        session_count(session, CLIENT_COUNT_bytes_written, length);
        *result = (ssize_t)length;
        done = 1;
    }
    session_unlock(session);
    return done;
}

int held_stat(weft_file_t *file, struct weft_attr *attr)
{
    if (!atomic_load_explicit(&file->held, memory_order_relaxed) || session_check(file->session) < 0)
        return 0;
    session_lock(file->session);
    const struct held_name *name = atomic_load_explicit(&file->held, memory_order_relaxed);
    if (name)
        held_attr(name, attr);
    session_unlock(file->session);
    return name != NULL;
}

/* 1: closed; 0: the metadata server knows it to be open; -1: it is just being told. */
static int close_here(weft_file_t *file)
{
    weft_session_t *session = file->session;
    session_lock(session);
    struct held_name *name = atomic_load_explicit(&file->held, memory_order_relaxed);
    int result = !name ? 0 : name->is_sent ? -1 : 1;
    if (result == 1) {
        struct held_folder *folder = name->folder;
        atomic_store_explicit(&file->held, NULL, memory_order_relaxed);
        name->file = NULL;
        if (folder->change_count >= HELD_BATCH)
            held_send(folder, false);
    }
    session_unlock(session);
    return result;
}

bool held_close(weft_file_t *file)
{
    int result;
    if (!atomic_load_explicit(&file->held, memory_order_relaxed))
        return false;
    while ((result = close_here(file)) < 0)
        (void)held_settle(file); /* when it fails it is to be told again */
    return result == 1;
}
