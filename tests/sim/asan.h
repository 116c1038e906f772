/* SPDX-License-Identifier: Apache-2.0 */
/* asan.h: SIM_ASAN says that the address sanitizer is there, which has to be told of fibers. */
#ifndef TEST_SIM_ASAN_H
#define TEST_SIM_ASAN_H

#if defined(__SANITIZE_ADDRESS__)
#define SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_ASAN 1
#endif
#endif

#ifdef SIM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#endif
