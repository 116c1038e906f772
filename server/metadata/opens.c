/* SPDX-License-Identifier: Apache-2.0 */
#include "opens.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "err.h"
#include "wire.h"

int opens_new(uint64_t epoch, struct opens **out)
{
    struct opens *opens = calloc(1, sizeof *opens);
    if (!opens)
        return err_set(-ENOMEM, "no memory for the table of open files");
    list_init(&opens->clients);
    list_init(&opens->journal);
    list_init(&opens->file_journal);
    opens->handle_first = (epoch << OPENS_EPOCH_SHIFT) + 1;
    opens->handle_next = opens->handle_first;
    *out = opens;
    return 0;
}

static void handle_clear(struct table_link *link)
{
    free(table_item(link, struct opens_handle, by_number));
}
static void file_clear(struct table_link *link)
{
    free(table_item(link, struct opens_file, by_ino));
}
static void client_clear(struct table_link *link)
{
    free(table_item(link, struct opens_client, by_id));
}

void opens_free(struct opens *opens)
{
    if (!opens)
        return;
    table_clear(&opens->handles, handle_clear);
    table_clear(&opens->files, file_clear);
    table_clear(&opens->clients_by_id, client_clear);
    free(opens);
}

/* ---- clients ------------------------------------------------------------ */

struct opens_client *opens_client_find(struct opens *opens, const uint8_t id[16])
{
    uint64_t key = table_id_key(id);
    for (struct table_link *link = table_find(&opens->clients_by_id, key); link; link = link->next) {
        struct opens_client *client = table_item(link, struct opens_client, by_id);
        if (link->key == key && memcmp(client->id, id, sizeof client->id) == 0)
            return client;
    }
    return NULL;
}

struct opens_client *opens_client_get(struct opens *opens, const uint8_t id[16])
{
    struct opens_client *client = opens_client_find(opens, id);
    if (client)
        return client;
    client = calloc(1, sizeof *client);
    if (!client || table_add(&opens->clients_by_id, &client->by_id, table_id_key(id))) {
        free(client);
        err_set(-ENOMEM, "no memory for another client");
        return NULL;
    }
    memcpy(client->id, id, sizeof client->id);
    list_init(&client->handles);
    list_push_back(&opens->clients, &client->link);
    return client;
}

void opens_client_up(struct opens_client *client)
{
    if (client->seen || !list_empty(&client->handles))
        client->reconnected = true;
    client->seen = true;
    client->connections++;
    client->met++;
}

void opens_client_down(struct opens_client *client, uint64_t now_ns)
{
    assert(client->connections > 0);
    client->connections--;
    client->lost_ns = now_ns;
}

void opens_client_drop(struct opens *opens, struct opens_client *client)
{
    assert(client->connections == 0 && list_empty(&client->handles));
    table_remove(&opens->clients_by_id, &client->by_id);
    list_remove(&client->link);
    free(client);
}

/* ---- files -------------------------------------------------------------- */

struct opens_file *opens_file_find(struct opens *opens, uint64_t ino)
{
    struct table_link *link = table_find(&opens->files, ino);
    return link ? table_item(link, struct opens_file, by_ino) : NULL;
}

static struct opens_file *file_get(struct opens *opens, uint64_t ino)
{
    struct opens_file *file = opens_file_find(opens, ino);
    if (file)
        return file;
    file = calloc(1, sizeof *file);
    if (!file || table_add(&opens->files, &file->by_ino, ino)) {
        free(file);
        err_set(-ENOMEM, "no memory for another open file");
        return NULL;
    }
    list_init(&file->works);
    list_init(&file->openings);
    return file;
}

static void file_drop_unused(struct opens *opens, struct opens_file *file)
{
    if (file->handles || file->pins)
        return;
    table_remove(&opens->files, &file->by_ino);
    free(file);
}

struct opens_file *opens_file_pin(struct opens *opens, uint64_t ino)
{
    struct opens_file *file = file_get(opens, ino);
    if (file)
        file->pins++;
    return file;
}

void opens_file_unpin(struct opens *opens, struct opens_file *file)
{
    assert(file->pins > 0);
    file->pins--;
    file_drop_unused(opens, file);
}

/* ---- handles ------------------------------------------------------------ */

static void count_handle(struct opens_handle *handle, bool open)
{
    struct opens_file *file = handle->file;
    bool writer = handle->access & WIRE_ACCESS_WRITE;
    if (open) {
        file->handles++;
        file->writers += writer;
    } else {
        file->handles--;
        file->writers -= writer;
    }
}

static struct opens_handle *add(struct opens *opens, struct opens_client *client, uint64_t ino,
                                uint32_t access, uint64_t number)
{
    struct opens_file *file = opens_file_pin(opens, ino);
    if (!file)
        return NULL;
    struct opens_handle *handle = calloc(1, sizeof *handle);
    if (!handle || table_add(&opens->handles, &handle->by_number, number)) {
        free(handle);
        opens_file_unpin(opens, file);
        err_set(-ENOMEM, "no memory for another open file");
        return NULL;
    }
    handle->file = file;
    handle->client = client;
    handle->access = access;
    list_push_back(&client->handles, &handle->link);
    list_push_back(&file->openings, &handle->file_link);
    list_link_init(&handle->journal_link);
    count_handle(handle, true);
    file->generation += (access & WIRE_ACCESS_WRITE) != 0;
    opens_file_unpin(opens, file);
    return handle;
}

/* To be called before it is marked as changed in the present transaction. */
static void journal(struct opens *opens, struct opens_handle *handle)
{
    if (!handle->added && !handle->closed && !handle->noted)
        list_push_back(&opens->journal, &handle->journal_link);
}

struct opens_handle *opens_add(struct opens *opens, struct opens_client *client, uint64_t ino,
                               uint32_t access, uint64_t request_id)
{
    struct opens_handle *handle = add(opens, client, ino, access, opens->handle_next);
    if (!handle)
        return NULL;
    opens->handle_next++;
    handle->request_id = request_id;
    journal(opens, handle);
    handle->added = true;
    return handle;
}

int opens_restore(struct opens *opens, struct opens_client *client, uint64_t ino, uint32_t access,
                  uint64_t number)
{
    struct opens_handle *handle = add(opens, client, ino, access, number);
    if (!handle)
        return -ENOMEM;
    handle->recorded = access & WIRE_ACCESS_WRITE;
    if (access & WIRE_ACCESS_WRITE)
        handle->file->dirty = true;
    return 0;
}

struct opens_handle *opens_adopt(struct opens *opens, struct opens_client *client, uint64_t ino,
                                 uint32_t access, uint64_t number)
{
    struct opens_handle *handle = add(opens, client, ino, access, number);
    if (!handle)
        return NULL;
    journal(opens, handle);
    handle->added = true;
    if (access & WIRE_ACCESS_WRITE)
        handle->file->dirty = true;
    return handle;
}

void opens_record(struct opens *opens, struct opens_handle *handle)
{
    assert(!handle->recorded && !handle->closed);
    journal(opens, handle);
    handle->recorded = handle->noted = true;
}

/* One that was closed in the present transaction may have been adopted since, under the same number. */
struct opens_handle *opens_find(struct opens *opens, uint64_t number)
{
    for (struct table_link *link = table_find(&opens->handles, number); link; link = link->next) {
        struct opens_handle *handle = table_item(link, struct opens_handle, by_number);
        if (link->key == number && !handle->closed)
            return handle;
    }
    return NULL;
}

struct opens_handle *opens_find_request(struct opens_client *client, uint64_t request_id)
{
    list_each(&client->handles, link, after)
    {
        struct opens_handle *handle = list_item(link, struct opens_handle, link);
        if (handle->request_id == request_id && !handle->closed)
            return handle;
    }
    return NULL;
}

bool opens_known(const struct opens *opens, uint64_t number)
{
    return number != 0 && number < opens->handle_next;
}

bool opens_is_earlier(const struct opens *opens, uint64_t number)
{
    return number != 0 && number < opens->handle_first;
}

void opens_close(struct opens *opens, struct opens_handle *handle)
{
    assert(!handle->closed);
    journal(opens, handle);
    handle->closed = true;
    handle->file->pins++; /* until the handle is freed, or open again */
    count_handle(handle, false);
}

static void free_closed(struct opens *opens, struct opens_handle *handle)
{
    table_remove(&opens->handles, &handle->by_number);
    list_remove(&handle->link);
    list_remove(&handle->file_link);
    opens_file_unpin(opens, handle->file);
    free(handle);
}

static void change_file(struct opens *opens, struct opens_file *file)
{
    if (file->changed)
        return;
    file->changed = true;
    file->was_dirty = file->dirty;
    file->was_orphan = file->orphan;
    file->pins++; /* until the transaction ends */
    list_push_back(&opens->file_journal, &file->journal_link);
}

void opens_file_orphan(struct opens *opens, struct opens_file *file)
{
    change_file(opens, file);
    file->orphan = true;
}

void opens_file_clean(struct opens *opens, struct opens_file *file)
{
    change_file(opens, file);
    file->dirty = false;
}

static void end_files(struct opens *opens, bool back)
{
    for (struct list_link *link = list_pop(&opens->file_journal); link;
         link = list_pop(&opens->file_journal)) {
        struct opens_file *file = list_item(link, struct opens_file, journal_link);
        file->changed = false;
        if (back) {
            file->dirty = file->dirty || file->was_dirty;
            file->orphan = file->was_orphan;
        }
        opens_file_unpin(opens, file);
    }
}

void opens_commit(struct opens *opens)
{
    for (struct list_link *link = list_pop(&opens->journal); link; link = list_pop(&opens->journal)) {
        struct opens_handle *handle = list_item(link, struct opens_handle, journal_link);
        handle->added = handle->noted = false;
        if (handle->closed)
            free_closed(opens, handle);
    }
    end_files(opens, false);
}

static void take_back(struct opens *opens, struct opens_handle *handle)
{
    if (handle->added) {
        if (!handle->closed)
            opens_close(opens, handle);
        free_closed(opens, handle);
        return;
    }
    if (handle->noted)
        handle->recorded = handle->noted = false;
    if (handle->closed) {
        handle->closed = false;
        count_handle(handle, true);
        opens_file_unpin(opens, handle->file);
    }
}

void opens_rollback(struct opens *opens)
{
    for (struct list_link *link = list_pop(&opens->journal); link; link = list_pop(&opens->journal))
        take_back(opens, list_item(link, struct opens_handle, journal_link));
    end_files(opens, true);
}
