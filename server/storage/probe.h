/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe.h: what a disk holds already, before it is formatted: known by libblkid, where the build has it; and
 * whatever it is, its first and last MiB are zeros on a disk that holds nothing.
 */
#ifndef STORAGE_PROBE_H
#define STORAGE_PROBE_H

#include <stddef.h>
#include <stdint.h>

/* 0: nothing. 1: what `text` says ("a file system of type ext4"). A negative errno, with a text. */
int probe_disk(int fd, uint64_t size, char *text, size_t text_size);

#endif
