/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names.h: what was done to a few names, and whether it can be explained: is there one order of all calls,
 * in which none comes before another that had ended when it began, and in which each has the result that it
 * had? A call whose result nobody learned may stand anywhere after its beginning, or nowhere, and once.
 */
#ifndef TEST_SIM_NAMES_H
#define TEST_SIM_NAMES_H

#include <stdbool.h>
#include <stdint.h>

/* The last ones lie in a directory that comes and goes. */
enum { NAMES_COUNT = 4, NAMES_OUTSIDE = 2, NAMES_THREADS = 8, NAMES_CALLS_MAX = 64 };

enum names_kind {
    NAMES_CREATE, /* with O_EXCL */
    NAMES_OPEN,   /* with O_CREAT */
    NAMES_UNLINK,
    NAMES_RENAME,
    NAMES_LINK,
    NAMES_LOOK,
    NAMES_MARK,   /* an extended attribute, which must not be there */
    NAMES_UNMARK, /* it goes */
    NAMES_MKDIR,
    NAMES_RMDIR,
    NAMES_KINDS
};

struct names_call {
    enum names_kind kind;
    unsigned name, to;
    int result;          /* 0 or a negative errno */
    bool sure;           /* the result is known */
    uint64_t ino, nlink; /* of the file that was made or seen; 0: not told */
    int marked;          /* likewise, whether it has that attribute; negative: not told */
    uint64_t began_ns, ended_ns;
};

extern const char *const names_paths[NAMES_COUNT];
extern const char *const names_directory;

void names_begin(void);
/* NULL: there is no room for more. Until names_end() its result is not known. */
struct names_call *names_call(unsigned thread, enum names_kind kind, unsigned name, unsigned to);
void names_end(struct names_call *call, int result, uint64_t ino, uint64_t nlink, int marked);
/* Something was done later than its caller was told, by a client that was silent, or not at all: it can't be
 * looked at any more. */
void names_late(void);
/* Files that this thread made or removed since then may be lost, and it may have seen that which is lost: its
 * process, which holds folders, was killed. */
void names_forget(unsigned thread, uint64_t since_ns);
/* Fails the test when they can't be explained. Returns false where there are too many to be looked at. */
bool names_check(void);

#endif
