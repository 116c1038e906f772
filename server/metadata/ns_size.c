/* SPDX-License-Identifier: Apache-2.0 */
#include "namespace.h"

#include <string.h>

#include "records.h"

int ns_size_open(struct ns *ns, struct inode *inode)
{
    if (inode->flags & INODE_SIZE_OPEN)
        return 0;
    inode->flags |= INODE_SIZE_OPEN;
    inode->flags &= ~(uint32_t)INODE_BOUNDED;
    return records_inode_put(ns->txn, inode);
}

int ns_size_close(struct ns *ns, struct inode *inode)
{
    inode->flags &= ~(uint32_t)INODE_SIZE_OPEN;
    int error = records_unmark(ns->txn, STORE_UNSETTLED, inode->ino);
    return error ? error : records_inode_put(ns->txn, inode);
}

int ns_size_unsettle(struct ns *ns, const struct inode *inode)
{
    return records_mark(ns->txn, STORE_UNSETTLED, inode->ino);
}

int ns_size_settle(struct ns *ns, struct inode *inode, const struct ns_size *size)
{
    inode->size = size->end;
    inode->bytes = size->bytes;
    inode->flags |= INODE_WRITTEN;
    if (size->bounded)
        inode->flags |= INODE_BOUNDED;
    if (size->mtime_ns > inode->mtime_base_ns) {
        inode->mtime_ns = inode->mtime_base_ns = size->mtime_ns;
        if (inode->ctime_ns < size->mtime_ns)
            inode->ctime_ns = size->mtime_ns;
    }
    return ns_size_close(ns, inode);
}

int ns_size_truncated(struct ns *ns, struct inode *inode, uint64_t size, uint64_t bytes, bool exact,
                      bool closed)
{
    inode->mtime_ns = inode->ctime_ns = inode->mtime_base_ns = ns->now_ns;
    inode->flags |= INODE_WRITTEN;
    if (exact) {
        inode->size = size;
        inode->bytes = bytes;
    }
    return exact && closed ? ns_size_close(ns, inode) : records_inode_put(ns->txn, inode);
}

int ns_writer_note(struct ns *ns, struct opens_handle *handle)
{
    struct writer writer = {
        .handle = opens_number(handle), .ino = opens_ino(handle->file), .access = handle->access};
    if (handle->recorded || !(handle->access & WIRE_ACCESS_WRITE))
        return 0;
    memcpy(writer.client, handle->client->id, sizeof writer.client);
    opens_record(ns->opens, handle);
    return records_writer_put(ns->txn, &writer);
}

int ns_writers_note(struct ns *ns, uint64_t ino)
{
    const struct opens_file *file = opens_file_find(ns->opens, ino);
    int error = 0;
    if (!file)
        return 0;
    list_each(&file->openings, link, after)
    {
        struct opens_handle *handle = list_item(link, struct opens_handle, file_link);
        if (!error && !handle->closed)
            error = ns_writer_note(ns, handle);
    }
    return error;
}
