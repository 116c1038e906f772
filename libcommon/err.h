/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err.h: the one error idiom.
 *
 * Functions return a negative errno. Where an error is first known, err_set()
 * records a text for it (what failed, where, what to do); callers pass the
 * number on silently. A server logs and sends the text with its answer; the
 * client library shows it through weft_error(). The text is the calling
 * thread's.
 */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

/* Records the text and returns `error`, which must be negative:
 *     return err_set(-ENOENT, "no server named %s in %s", name, file);
 * When the cause is an errno of a system call, end the text with its strerror
 * by err_sys(). */
int err_set(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As err_set(-errno, ...), with ": " and the errno's meaning added. */
int err_sys(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Puts "`prefix`: " in front of the recorded text and returns `error`. For the
 * borders of an API, where the call's name is to stand first. */
int err_prefix(int error, const char *prefix);

/* The thread's latest text; never NULL. */
const char *err_text(void);
void err_clear(void);

/* The meaning of a negative errno, thread-safe, static storage. */
const char *err_name(int error);

/*
 * The wire numbers errors as Linux on x86-64 and arm64 do. err_from_wire()
 * turns what a peer sent into a negative errno of ours; what no errno can be
 * becomes -EPROTO.
 */
int err_from_wire(int status);

#endif
