/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property_sequence.h: what the files of one sequence of calls share.
 */
#ifndef PROPERTY_SEQUENCE_H
#define PROPERTY_SEQUENCE_H

#include "property.h"

struct sequence {
    struct property *property;
    struct random random;
    struct model model;
    MPI_File file;
    MPI_File reader; /* of reader_rank alone: sees the file as any other program does */
    int reader_rank;
    int mode;
    unsigned salt;         /* of the call */
    bool has_changed;      /* the last call changed the file */
    bool has_moved_shared; /* and perhaps the shared pointer */
};

/* What one rank does in a call. */
struct part {
    struct type *type;
    int count;
    int64_t offset; /* in etypes */
    int64_t position;
    int64_t bytes;
    bool is_idle;
};

/* ---- property_case.c -------------------------------------------------- */

void sequence_transfer(struct sequence *sequence, bool is_write);
/* sequence_check(): collective: false when something was wrong. */
bool sequence_check(struct sequence *sequence);

/* ---- property_control.c ----------------------------------------------- */

bool sequence_open(struct sequence *sequence, int mode);
bool sequence_open_reader(struct sequence *sequence);
void sequence_reopen(struct sequence *sequence);
void sequence_set_view(struct sequence *sequence);
void sequence_seek(struct sequence *sequence);
void sequence_resize(struct sequence *sequence);
void sequence_mode(struct sequence *sequence);

#endif
