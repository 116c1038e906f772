/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gather.h: collective writes without an exchange between ranks, whose pieces the storage
 * shards put together chunk by chunk (weft_file_write_gather_async()).
 */
#ifndef ROMIO_GATHER_H
#define ROMIO_GATHER_H

#include "driver.h"
#include "strategy.h"

/* gather_write(): collective, in that all ranks add up how much they have of each chunk. `reaches` is
 * what they told each other. Returns the bytes written; -1 with the failure in *failure. */
int64_t gather_write(ADIO_File fd, struct access *access, const struct reach *reaches,
                     struct failure *failure);

#endif
