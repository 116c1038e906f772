/* SPDX-License-Identifier: Apache-2.0 */
#include "mount.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "err.h"
#include "log.h"

enum { KINDS_MAX = 128 };

/* Errors that tell of the service, not of the file or of who asks. */
static bool is_trouble(int error)
{
    static const int troubles[] = {EIO,    ETIMEDOUT, ECONNREFUSED, ECONNRESET, EPROTO,
                                   ENOSPC, ENOMEM,    EUCLEAN,      ENOLCK,     EHOSTUNREACH,
                                   ENODEV, ECANCELED, ENOTCONN,     EBADMSG,    ENETUNREACH};
    for (size_t i = 0; i < sizeof troubles / sizeof troubles[0]; i++)
        if (error == -troubles[i])
            return true;
    return false;
}

/* True for the first of a kind: an operation, named by a text that stays, and an errno. */
static bool is_first(const char *what, int error)
{
    static _Atomic uint64_t kinds[KINDS_MAX];
    uint64_t kind = ((uint64_t)(uintptr_t)what << 8) ^ (uint64_t)-error;
    for (size_t i = 0; i < KINDS_MAX; i++) {
        uint64_t before = 0;
        if (atomic_compare_exchange_strong(&kinds[i], &before, kind))
            return true;
        if (before == kind)
            return false;
    }
    return false;
}

void answer_error(fuse_req_t req, const char *what, int error)
{
    if (is_trouble(error) && is_first(what, error))
        log_warn("%s: %s (%s); said once", what, weft_error(), err_name(error));
    fuse_reply_err(req, -error);
}

void answer(fuse_req_t req, const char *what, int error)
{
    if (error)
        answer_error(req, what, error);
    else
        fuse_reply_err(req, 0);
}
