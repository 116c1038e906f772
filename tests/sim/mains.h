/* SPDX-License-Identifier: Apache-2.0 */
/* mains.h: main() of the servers, by other names: main_metad.c and main_storaged.c are their sources. */
#ifndef TEST_SIM_MAINS_H
#define TEST_SIM_MAINS_H

int metad_main(int argc, char **argv);
int storaged_main(int argc, char **argv);

#endif
