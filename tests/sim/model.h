/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.h: what the bytes and the size of a file may be, by all changes that were asked for: what a read
 * gives must be of a change that had begun before the read ended, and that no other one, which began after
 * its end and ended before the read began, has replaced. Until it has returned a change may take effect
 * several times, since it may have been sent again; one that failed, or whose client died, at any time, or
 * never. What a crash of a host may have lost is no longer sure to have replaced anything.
 *
 * Bytes tell which change wrote them: all is written in units of 16 bytes, which have its number, the
 * file's, and their offset.
 *
 * Not seen: a value that comes and goes among changes that all overlap in time.
 */
#ifndef TEST_SIM_MODEL_H
#define TEST_SIM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODEL_UNIT = 16 };

struct model_file;

void model_begin(void);
/* That of an inode; made when it is asked for first. */
struct model_file *model_file(uint64_t ino);

/* A write is about to be asked for: fills its bytes, and returns its number. */
uint32_t model_write(struct model_file *file, void *bytes, uint64_t offset, uint64_t length);
/* A truncation. */
uint32_t model_cut(struct model_file *file, uint64_t size);
/* A hole is to be punched. */
uint32_t model_punch(struct model_file *file, uint64_t offset, uint64_t length);
/* It returned, with success. */
void model_done(struct model_file *file, uint32_t number);

/* All that follow fail the test when what they are told can't be. `began_ns` is when the call began. */

/* `asked` bytes were asked for, `got` came. */
void model_read(struct model_file *file, const void *bytes, uint64_t offset, uint64_t asked, uint64_t got,
                uint64_t began_ns);
/* All of it was said to be a hole. */
void model_hole(const struct model_file *file, uint64_t begin, uint64_t end, uint64_t began_ns);
void model_size(const struct model_file *file, uint64_t size, uint64_t began_ns);
/* A sync that began then has succeeded, by a handle that was opened, or told of losses last, at `since_ns`:
 * all that was begun from then on and had ended when it began is there, and durable, whoever did it and
 * whatever crashed. */
void model_synced(struct model_file *file, uint64_t began_ns, uint64_t since_ns);
/* A host with a storage server has crashed. */
void model_crash(void);
/* As the metadata server tells it. It need not know what a client writes that is cut off for longer than
 * its lease, until that one is back (README.md). */
void model_size_of_name(const struct model_file *file, uint64_t size, uint64_t began_ns);
void model_size_loosen(struct model_file *file);  /* such a client uses it */
void model_size_tighten(struct model_file *file); /* it is back */

#endif
