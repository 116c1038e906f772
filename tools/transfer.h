/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer.h: copying files and trees, for weft cp and weft cat.
 *
 *   cmd_cp.c        the commands: which sources go where
 *   transfer_tree.c directories and links, and handing files to the workers
 *   transfer.c      one file: opening, moving its bytes, checking, clearing away
 */
#ifndef TOOLS_TRANSFER_H
#define TOOLS_TRANSFER_H

#include <sys/types.h>

#include "tool.h"

/* What all files of one command have in common. */
struct copy {
    struct tool *tool;
    bool recursive, preserve, sync, verbose, quiet;
    uint32_t in_flight; /* pieces of one file */
    uint32_t files;     /* files of a tree */
    struct workers *workers;
    struct made_directory *made; /* the latest first, so what is inside comes before its parent */
    struct weft_layout layout;   /* for files that are made in the cluster; zero fields: default */
    mode_t mask;                 /* umask */
    /* The top directory that is being made in the cluster: never a source. */
    uint64_t made_ino;
};

/* ---- transfer.c ------------------------------------------------------------ */

/* In the place of a source or a destination. */
extern const struct place transfer_stdin, transfer_stdout;

/* Copies one file; what fails is complained of, and what is incomplete is
 * removed, or said to be left. */
void transfer_file(struct copy *copy, const struct place *from, const struct place *to,
                   const struct weft_attr *attr);
/* Sets permissions and times as `attr` has them. */
void transfer_preserve(struct copy *copy, const struct place *to, const struct weft_attr *attr);
/* "FROM -> TO", when that was asked for. */
void transfer_say(const struct copy *copy, const struct place *from, const struct place *to);

/* ---- transfer_tree.c ------------------------------------------------------- */

/* Copies whatever it is. `top` is set for an argument of the command, not for
 * what is inside one. With workers it may not be done when this returns. */
void transfer_entry(struct copy *copy, const struct place *from, const struct place *to, bool top);
/* After the workers are done: what directories get at the end. */
void transfer_finish(struct copy *copy);
/* Bytes of all regular files there; what can't be read is told of later. */
uint64_t transfer_bytes(struct tool *tool, const struct place *place, bool recursive);

#endif
