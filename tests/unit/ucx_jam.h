/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ucx_jam.h: a process that dies in the middle of sending to a UCX worker over shared
 * memory, after it took a place in the worker's queue and before the place was filled.
 */
#ifndef TEST_UCX_JAM_H
#define TEST_UCX_JAM_H

/* For a process of its own, which it ends: sends to the worker whose address stands there in
 * hexadecimal digits. Returns only when UCX refuses something. */
int ucx_jam(const char *address_hex);

#endif
