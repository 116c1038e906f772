/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume.h: a disk that is a target by itself, without a file system: whose it is (a text), and which part of
 * it belongs to which file of which shard. Each shard's store then sees four files (cs_io.h).
 *
 * What it promises
 *  - What grow() gave a file is durable when it returns; a crash in the middle leaves a part of it, or
 *    nothing.
 *  - Label and table are there twice, far apart; each is believed only where its checksum is right, and
 *    one good copy of each entry is enough. A segment whose owner nobody knows any more is given to nobody;
 *    the file that lacks it ends before, so that its store can only be read.
 *  - The text is the new or the old one, whenever the host dies.
 *
 * Threads: the functions here from any; the shards' disks as cs_io.h says.
 */
#ifndef VOLUME_H
#define VOLUME_H

#include "cs_io.h"

struct volume;

/* Begins a new one on the disk, which loses what it had: from then on it has no label, until the first
 * volume_text_set(). `segment_bytes` 0: chosen by the size. -ENOSPC: the disk is too small. The disk is taken
 * over, also when it fails, as by volume_open(). */
int volume_make(struct cs_io *raw, uint64_t segment_bytes, struct volume **volume);
/* -ENOENT: there is no label. -EINVAL: one of another version, or of a larger disk. Writes nothing. */
int volume_open(struct cs_io *raw, struct volume **volume);
/* Shards that are still open have it until they end. */
void volume_close(struct volume *volume);

/* The target's description. */
const char *volume_text(const struct volume *volume);
/* Durable when it returns. -ENAMETOOLONG. */
int volume_text_set(struct volume *volume, const char *text);
/* Writes anew what one of the two copies lacks, if anything. */
int volume_heal(struct volume *volume);

uint64_t volume_bytes(const struct volume *volume);
/* In segments that are nobody's. */
uint64_t volume_free_bytes(struct volume *volume);

/* The files of a shard. `raw` is the same disk, for this shard alone, and is taken over, also
 * when it fails. */
int volume_shard_open(struct volume *volume, uint32_t shard, struct cs_io *raw, struct cs_io **io);

/* For tests: where a byte of such a file is on the disk; UINT64_MAX: the file has none there. */
uint64_t volume_place(struct cs_io *io, enum cs_file file, uint64_t offset);

/* The checksums that a label's page and an entry should have. */
uint32_t volume_label_crc(const void *page);
struct volume_entry;
uint32_t volume_entry_crc(const uint8_t id[16], uint32_t segment, const struct volume_entry *entry);

#endif
