/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hint_set.h: the values of all hints for one file, and how they come about.
 *
 * What it promises
 *  - Text from outside (an MPI_Info, the environment, a directory's hints) may
 *    hold anything: what is not understood is told to the caller and changes
 *    nothing.
 *  - Of several sources the later one in `enum hint_source` counts, in whatever
 *    order they arrive; within one source, the value that came last.
 *
 * It knows neither MPI nor a session. Threads: pure functions over the caller's
 * memory. No memory is allocated.
 */
#ifndef COMMON_HINT_SET_H
#define COMMON_HINT_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HINT_TEXT_BYTES_MAX 1023u /* of one value */

#include "hint_table.h"

enum hint_id {
#define HINT_ID(name, ...) HINT_##name,
    HINT_TABLE(HINT_ID)
#undef HINT_ID
        HINT_COUNT
};

enum hint_type { HINT_INTEGER, HINT_BYTES, HINT_OCTAL, HINT_BOOLEAN, HINT_CHOICE, HINT_TEXT,
                 HINT_PLACEMENT, HINT_TOLD };
enum hint_when { HINT_AT_CREATION, HINT_AT_OPEN, HINT_AT_VIEW };
enum hint_place { HINT_IN_NOWHERE, HINT_IN_TEXT, HINT_IN_LAYOUT };

/* In rising order. HINT_FROM_FILE is what an open file is, whoever asked for what. */
enum hint_source {
    HINT_FROM_TABLE,
    HINT_FROM_DIRECTORY,
    HINT_FROM_ENVIRONMENT,
    HINT_FROM_INFO,
    HINT_FROM_FILE,
};

struct hint_row {
    const char *name;
    enum hint_type type;
    uint64_t low;
    uint64_t high;
    const char *choices;
    const char *preset;
    enum hint_when when;
    enum hint_place place;
    const char *text;
};

extern const struct hint_row hint_rows[HINT_COUNT];

/* A hint of MPI or ROMIO without a meaning here, and why. */
struct hint_other {
    const char *name;
    const char *text;
};

enum {
#define HINT_ONE(name, text) HINT_OTHER_##name,
    HINT_TABLE_WITHOUT_MEANING(HINT_ONE)
#undef HINT_ONE
        HINT_OTHER_COUNT
};

extern const struct hint_other hint_others[HINT_OTHER_COUNT];

struct hint_value {
    enum hint_source source;
    bool is_set;                        /* false: no source has a value, the preset neither */
    uint64_t number;                    /* of all types but text */
    char text[HINT_TEXT_BYTES_MAX + 1]; /* as MPI_File_get_info tells it */
};

struct hint_set {
    struct hint_value values[HINT_COUNT];
};

enum hint_verdict {
    HINT_TAKEN,
    HINT_FOREIGN, /* no hint of Weft's: somebody else's business */
    HINT_UNKNOWN, /* its name begins with weft_, but there is none such */
    HINT_REFUSED, /* the value is none that it can have */
};

#define HINT_COMPLAINT_BYTES 512

/* hint_set_init(): the values of the table. */
void hint_set_init(struct hint_set *set);

/* hint_find(): HINT_COUNT when there is none of this name. */
enum hint_id hint_find(const char *name);
/* hint_why_meaningless(): the text of one of hint_others; NULL: it is none of them. */
const char *hint_why_meaningless(const char *name);
/* hint_nearest(): the hint's name that is most like this one; NULL: none is like it. */
const char *hint_nearest(const char *name);

/*
 * hint_set_put(): takes one hint from `source`, unless a later source has set it.
 * For HINT_UNKNOWN and HINT_REFUSED, `complaint` gets one sentence for the user, in
 * which nothing but printable ASCII stands. `set` may be NULL: only the verdict is wanted.
 */
enum hint_verdict hint_set_put(struct hint_set *set, enum hint_source source, const char *name,
                               const char *value, char complaint[HINT_COMPLAINT_BYTES]);

/*
 * hint_each(): calls `each` for every part of "name=value;name=value", in order, with
 * blanks around names and values taken off; empty parts are passed over. `value` is NULL
 * for a part without '='. Names and values longer than a value may be are cut off one
 * byte behind that.
 */
typedef void hint_each_fn(void *argument, const char *name, const char *value);
void hint_each(const char *text, hint_each_fn *each, void *argument);

/*
 * hint_set_parse(): hint_set_put() for every part of such a text; `complain` is called
 * with each complaint. With `source` HINT_FROM_DIRECTORY, hints that a directory can't
 * keep as text are complained of as well.
 */
typedef void hint_complain_fn(void *argument, const char *complaint);
void hint_set_parse(struct hint_set *set, enum hint_source source, const char *text,
                    hint_complain_fn *complain, void *argument);

/* hint_set_number(), hint_set_text(): for values that come from the open file itself. */
void hint_set_number(struct hint_set *set, enum hint_id id, enum hint_source source, uint64_t number);
void hint_set_text(struct hint_set *set, enum hint_id id, enum hint_source source, const char *text);

/* How the ranks of a collective call share its work, in the order of the hint's values. */
enum strategy { STRATEGY_AUTO, STRATEGY_TWO_PHASE, STRATEGY_DIRECT, STRATEGY_COUNT };

/* hint_set_collective(): what weft_collective, romio_cb_read or _write and
 * collective_buffering come to together for reads or writes. */
enum strategy hint_set_collective(const struct hint_set *set, bool is_write);
/* hint_set_collective_source(): from where that is. */
enum hint_source hint_set_collective_source(const struct hint_set *set, bool is_write);
/* hint_set_layout(): the chunk size and stripe count asked for; 0: the directory's. */
uint64_t hint_set_chunk_size(const struct hint_set *set);
uint32_t hint_set_stripe_count(const struct hint_set *set);

/* hint_source_name(): for people: "default", "directory", "WEFT_HINTS", "info", "file". */
const char *hint_source_name(enum hint_source source);
/* hint_accepted(): what values a hint can have, for people: "a number of 1 to 10". */
void hint_accepted(enum hint_id id, char *text, size_t size);
/* hint_form(): what stands for a value of it: "auto|two_phase|direct", "N", "SIZE"; "" when
 * it has none to give. */
const char *hint_form(enum hint_id id);
/* hint_when_name(): "at open, and with a view". */
const char *hint_when_name(enum hint_when when);

#endif
