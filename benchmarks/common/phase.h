/* SPDX-License-Identifier: Apache-2.0 */
/*
 * phase.h: how long a part of a run takes, in seconds: from a barrier to the last rank's end.
 *
 * All of it is collective.
 */
#ifndef BENCHMARK_PHASE_H
#define BENCHMARK_PHASE_H

/* phase_begin(): for phase_end(), which returns the same on all ranks. */
double phase_begin(void);
double phase_end(double start);
/* phase_cpu_begin(): for phase_cpu_end(), which returns the processor time of all ranks' processes since, of
 * the user and the system. */
double phase_cpu_begin(void);
double phase_cpu_end(double start);

#endif
