/* SPDX-License-Identifier: Apache-2.0 */
#include "transfer.h"

#include <errno.h>

#include "err.h"

/* Rounds are started until so many bytes are under way for each storage shard: one request of
 * the largest size at the server while the next one is on its way. */
#define SHARD_BYTES_MIN  (2u * LIMITS_IO_BYTES_MAX)
/* A memory piece from this size on has a request of its own, and travels without a copy;
 * smaller ones are packed together. On shared memory several pieces in one message were two to
 * three times slower than either, at every size that was measured (64 to 1,024 KiB). */
#define PIECE_ALONE_MIN  (256u << 10)
/* Memory pieces of one round: a MiB of bookkeeping at most. */
#define ROUND_PIECES_MAX 65536u

const struct planner_limits *transfer_limits(const struct transfer *transfer)
{
    static const struct planner_limits usual = {
        .bytes_max = LIMITS_IO_BYTES_MAX,
        .extents_max = LIMITS_EXTENTS_MAX,
        .pieces_max = ROUND_PIECES_MAX,
        .alone_min = PIECE_ALONE_MIN,
    };
    /* A chunk's pieces are to come together. */
    static const struct planner_limits gathered = {
        .bytes_max = LIMITS_IO_BYTES_MAX,
        .extents_max = LIMITS_EXTENTS_MAX,
        .pieces_max = ROUND_PIECES_MAX,
    };
    static const struct planner_limits reading = {
        .bytes_max = LIMITS_IO_BYTES_MAX,
        .extents_max = LIMITS_EXTENTS_MAX,
        .pieces_max = ROUND_PIECES_MAX,
        .alone_min = PIECE_ALONE_MIN,
        .member = PLANNER_NEAREST,
    };
    return !transfer->write ? &reading : transfer->gather.chunk_count > 0 ? &gathered : &usual;
}

int transfer_table_update(struct transfer *transfer)
{
    struct planner_table *table;
    int result = file_table(transfer->file, &table);
    if (result < 0 || table == transfer->table)
        return result;
    result = planner_table_set(&transfer->planner, table);
    if (result < 0)
        return result;
    planner_table_unref(transfer->table);
    transfer->table = planner_table_ref(table);
    return 0;
}

/* ---- rounds -------------------------------------------------------------------- */

/* Plans the next round by the newest map, and starts it. */
static int round_start(struct transfer *transfer)
{
    struct planner_request *requests;
    int result = transfer_table_update(transfer);
    if (result < 0)
        return result;
    result = planner_round(&transfer->planner, &requests);
    if (result < 0)
        return result;
    if (!requests) {
        transfer->planned = true;
        return 0;
    }
    unsigned round = 0;
    while (transfer->requests[round] > 0)
        round++;
    transfer->rounds++;
    session_count(transfer->op.session, CLIENT_COUNT_rounds, 1);
    uint64_t cut_before = transfer->chunk_cut;
    transfer->chunk_cut = UINT64_MAX;
    if (transfer->gather.chunk_count > 0) {
        transfer->chunk_cut = planner_chunk_cut(&transfer->planner, requests);
        for (struct planner_request *at = requests; at; at = at->next) {
            ((struct request *)at)->chunks_cut[0] = cut_before;
            ((struct request *)at)->chunks_cut[1] = transfer->chunk_cut;
        }
    }
    request_start_all(transfer, requests, round, NULL);
    return 0;
}

static void transfer_end(struct transfer *transfer, uint64_t count)
{
    planner_close(&transfer->planner);
    planner_table_unref(transfer->table);
    transfer->table = NULL;
    op_complete(&transfer->op, (ssize_t)count);
}

static void size_asked(struct fan *fan, int status)
{
    struct transfer *transfer = fan->arg;
    if (status < 0) {
        client_about(status, transfer->file->path);
        op_fail(&transfer->op, status);
    }
    transfer_end(transfer, planner_count_before(transfer->extents, transfer->extent_count, fan->end));
}

/* All rounds are over. Bytes that were not there are a hole when something lies behind them; else
 * only the exact size tells a hole from the end of the file. */
static void transfer_conclude(struct transfer *transfer)
{
    if (transfer->op.result < 0 || transfer->missing_end <= transfer->present_end) {
        transfer_end(transfer, transfer->total);
        return;
    }
    transfer->fan = (struct fan){
        .session = transfer->op.session,
        .layout = transfer->file->layout,
        .capability = transfer->file->capability,
        .operation = WIRE_OP_object_stat,
        .done = size_asked,
        .arg = transfer,
    };
    session_count(transfer->op.session, CLIENT_COUNT_sizes_asked, 1);
    int result = fan_start(&transfer->fan);
    if (result < 0) {
        op_fail(&transfer->op, client_about(result, transfer->file->path));
        transfer_end(transfer, 0);
    }
}

void transfer_advance(struct transfer *transfer)
{
    if (transfer->planning) /* a request ended before its round was fully started */
        return;
    transfer->planning = true;
    while (!transfer->planned && transfer->op.result == 0 && transfer->rounds < TRANSFER_ROUNDS_MAX &&
           (transfer->rounds == 0 || transfer->bytes < transfer->table->shard_count * SHARD_BYTES_MIN)) {
        int result = round_start(transfer);
        if (result < 0)
            op_fail(&transfer->op, client_about(result, transfer->file->path));
    }
    transfer->planning = false;
    if (transfer->rounds == 0)
        transfer_conclude(transfer);
}

int transfer_go(struct transfer *transfer)
{
    weft_file_t *file = transfer->file;
    struct planner_table *table;
    int result = file_table(file, &table);
    if (result == 0)
        result =
            planner_open(&transfer->planner, table, transfer->iov, transfer->iov_count, transfer->extents,
                         transfer->extent_count, transfer_limits(transfer), sizeof(struct request));
    if (result < 0)
        return result;
    transfer->table = planner_table_ref(table);
    if (transfer->write && transfer->total > 0)
        file->wrote = true;
    transfer_advance(transfer);
    return 0;
}

int transfer_start(struct transfer *transfer, weft_file_t *file, bool write,
                   void (*release)(struct weft_op *op))
{
    weft_session_t *session = file->session;
    op_init(&transfer->op, session, release);
    transfer->file = file;
    transfer->write = write;
    transfer->chunk_cut = UINT64_MAX;
    int result = file_allows(file, write ? WIRE_ACCESS_WRITE : WIRE_ACCESS_READ);
    if (result == 0)
        result = planner_check(transfer->iov, transfer->iov_count, transfer->extents, transfer->extent_count,
                               &transfer->total);
    if (result < 0)
        return client_about(result, file->path);

    session_lock(session);
    result = file_small_transfer(transfer);
    if (result == 0)
        result = transfer_go(transfer);
    if (result >= 0) {
        session_count(session, CLIENT_COUNT_transfers, 1);
        session_count(session, write ? CLIENT_COUNT_bytes_written : CLIENT_COUNT_bytes_read, transfer->total);
    }
    session_unlock(session);
    return client_about(result < 0 ? result : 0, file->path);
}
