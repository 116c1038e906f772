/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hint_table.h: the one description of every hint that has a meaning on Weft.
 * From it come the parser (hint_set.c), what MPI_File_get_info tells (hints.c),
 * the rules of `weft hints`, and the manual page weft-hints(7).
 *
 * X(name, type, low, high, choices, preset, when, place, text)
 *
 *   type     INTEGER  number of low to high
 *            BYTES    the same, in bytes; K, M and G are powers of 1024
 *            OCTAL    the same, written in octal
 *            BOOLEAN  true or false
 *            CHOICE   one of `choices`; its number is its place there
 *            TEXT     up to HINT_TEXT_BYTES_MAX bytes
 *            PLACEMENT  spread, local or host:NAME
 *            TOLD     what the user gives is passed over; MPI_File_get_info tells it
 *   preset   its value where no source has one; "": none, `text` says what holds then
 *   low      for a layout hint 0 is a value too: the directory's default
 *   when     it takes effect: CREATION of the file, OPEN, or VIEW: at open, and again
 *            with the hints of MPI_File_set_view and MPI_File_set_info
 *   place    how a directory keeps it for the files in it: TEXT, as part of its
 *            hints; LAYOUT, as its default layout; NOWHERE
 *   text     a paragraph for the manual page, plain text
 */
#ifndef COMMON_HINT_TABLE_H
#define COMMON_HINT_TABLE_H

#include <stdint.h>

#include "weft/weft.h"

#define HINT_TABLE(X)                                                                                     \
    X(weft_collective, CHOICE, 0, 2, "auto|two_phase|direct", "auto", VIEW, TEXT,                         \
      "How collective reads and writes move their data. With two_phase the ranks exchange it first, and " \
      "a few of them, the aggregators, talk to the storage servers in large requests. With direct every " \
      "rank sends its own pieces, and the servers put them together. With auto each call chooses by its " \
      "access pattern. Where this hint and romio_cb_read, romio_cb_write or collective_buffering come "   \
      "from the same source, this one counts.")                                                           \
    X(weft_chunk_size, BYTES, WEFT_CHUNK_BYTES_MIN, WEFT_CHUNK_BYTES_MAX, "", "", CREATION, LAYOUT,       \
      "Size of the chunks that a new file is cut into: any number of bytes from 4096 to 1G, also one "    \
      "that is no power of two. A multiple of the program's record is best. 0, or no such hint: the "     \
      "default of the directory. Of a file that exists already, and after the open, the value is the "    \
      "file's own. It goes before striping_unit from the same source.")                                   \
    X(weft_stripe_count, INTEGER, 1, UINT32_MAX, "", "", CREATION, LAYOUT,                                \
      "Number of groups that a new file is spread over; more than the pool has means all of them. 0, or " \
      "no such hint: the default of the directory. Of a file that exists already, and after the open, "   \
      "the value is the file's own. It goes before striping_factor from the same source.")                \
    X(weft_pool, TEXT, 0, WEFT_POOL_BYTES_MAX, "", "", CREATION, LAYOUT,                                  \
      "The pool that a new file's groups come from. Without it, the default of the directory. A pool "    \
      "that does not exist is reported, and the default taken.")                                          \
    X(weft_placement, PLACEMENT, 0, WEFT_PLACEMENT_BYTES_MAX, "", "", CREATION, LAYOUT,                   \
      "Which groups of the pool a new file takes. With spread all of them, in an order that the file's "  \
      "seed chooses, so that files load all targets alike. With local only those on the host of the "     \
      "process that makes the file (rank 0 of a collective open): what a file for each rank wants on "    \
      "compute nodes with storage of their own. Where that host has none, local is spread. With "         \
      "host:NAME those of that host; one without storage is reported, and the default taken. Without "    \
      "this hint, the default of the directory. Of a file that exists already, and after the open, the "  \
      "value is the file's own.")                                                                         \
    X(weft_redundancy, CHOICE, 0, 0, "none", "none", CREATION, TEXT,                                      \
      "How a new file survives the loss of a target. Pools offer none today: one copy of every byte.")    \
    X(weft_durability, CHOICE, 0, 1, "sync|close", "sync", VIEW, TEXT,                                    \
      "When what was written survives a crash of everything. With sync, after MPI_File_sync. With "       \
      "close, also after MPI_File_close of a file that was open for writing: the close then contains "    \
      "one sync for all ranks, and fails when that fails.")                                               \
    X(weft_readahead, CHOICE, 0, 0, "off", "off", VIEW, TEXT,                                             \
      "Reading before the program asks. The client keeps no cache, so off is the only value.")            \
    X(weft_progress, CHOICE, 0, 1, "calls|thread", "thread", OPEN, TEXT,                                  \
      "Who moves nonblocking operations on while the program computes. With thread, a thread of the "     \
      "library does while no MPI call makes progress; it sleeps when there is nothing to do. With "       \
      "calls, only MPI calls do.")                                                                        \
    X(weft_explain, BOOLEAN, 0, 1, "", "false", VIEW, TEXT,                                               \
      "With true, rank 0 prints to standard error at MPI_File_close what was in effect and why, and "     \
      "what it cost: the layout, each hint with its source, and for each class of calls their number, "   \
      "bytes, strategy, requests and time, summed over the ranks.")                                       \
    X(weft_past_mount, TOLD, 0, 0, "", "", OPEN, NOWHERE,                                                 \
      "Told only: the path on a mount of Weft by which the file was opened, when its bytes go past the "  \
      "mount, straight to the servers. Not there with a weft: path, and where the kernel has the file.")  \
    X(striping_factor, INTEGER, 1, UINT32_MAX, "", "", CREATION, LAYOUT,                                  \
      "As weft_stripe_count, by MPI's name.")                                                             \
    X(striping_unit, BYTES, WEFT_CHUNK_BYTES_MIN, WEFT_CHUNK_BYTES_MAX, "", "", CREATION, LAYOUT,         \
      "As weft_chunk_size, by MPI's name.")                                                               \
    X(file_perm, OCTAL, 0, 07777, "", "", CREATION, NOWHERE,                                              \
      "Permission bits of a new file, in octal, such as 0640; the process's mask is not applied to "      \
      "them. Without it, 0666 less the bits of the mask.")                                                \
    X(collective_buffering, BOOLEAN, 0, 1, "", "true", VIEW, TEXT,                                        \
      "MPI's own switch. With false, every rank sends its own pieces, as with weft_collective=direct. "   \
      "With true the other hints decide.")                                                                \
    X(romio_cb_read, CHOICE, 0, 2, "automatic|enable|disable", "automatic", VIEW, TEXT,                   \
      "The strategy of collective reads by ROMIO's name: enable is two_phase, disable is direct, "        \
      "automatic is auto. What is told back is what holds for reads, whichever hint it came from.")       \
    X(romio_cb_write, CHOICE, 0, 2, "automatic|enable|disable", "automatic", VIEW, TEXT,                  \
      "The same for collective writes.")                                                                  \
    X(cb_nodes, INTEGER, 1, INT32_MAX, "", "", OPEN, TEXT,                                                \
      "Number of aggregators of two-phase I/O; at most all ranks. Without it, as many as "                \
      "cb_config_list allows, or, without that too, as the file has groups. Where cb_config_list is not " \
      "given, they are spread over the hosts.")                                                           \
    X(cb_config_list, TEXT, 0, HINT_TEXT_BYTES_MAX, "", "", OPEN, TEXT,                                   \
      "Which hosts give how many aggregators: HOST:N,HOST:N,..., where a host may be * for all others "   \
      "and N may be * for all its ranks. A list that allows no rank at all is reported and passed over. " \
      "Without it, *:*.")                                                                                 \
    X(cb_buffer_size, BYTES, 1, INT32_MAX, "", "1048576", VIEW, TEXT,                                     \
      "About how many bytes an aggregator moves in each round of two-phase I/O; at most 256M are taken. " \
      "Buffers that fit into the processor's caches are the fastest.")                                    \
    X(romio_ds_read, CHOICE, 0, 0, "disable", "disable", VIEW, TEXT,                                      \
      "Data sieving, which reads or writes more than was asked for. Weft sends lists of pieces instead, " \
      "so disable is what holds; automatic and enable are reported.")                                     \
    X(romio_ds_write, CHOICE, 0, 0, "disable", "disable", VIEW, TEXT, "The same for writes.")             \
    X(romio_filesystem_type, TOLD, 0, 0, "", "", OPEN, NOWHERE,                                           \
      "Told only: \"WEFT:\" and more. A program sees by it that the file is on Weft.")                    \
    X(romio_aggregator_list, TOLD, 0, 0, "", "", OPEN, NOWHERE,                                           \
      "Told only: the ranks that are aggregators, in their order.")

/* X(name, text): hints of MPI or ROMIO without a meaning here. They are passed over in
 * silence, and not told back. */
#define HINT_TABLE_WITHOUT_MEANING(X)                                               \
    X(ind_rd_buffer_size, "there is no data sieving")                               \
    X(ind_wr_buffer_size, "there is no data sieving")                               \
    X(romio_cb_ds_threshold, "there is no data sieving")                            \
    X(romio_no_indep_rw, "an open handle costs the ranks that do no I/O nothing")   \
    X(romio_cb_pfr, "file domains follow the chunks of the file")                   \
    X(romio_cb_fr_types, "file domains follow the chunks of the file")              \
    X(romio_cb_fr_type, "file domains follow the chunks of the file")               \
    X(romio_cb_fr_alignment, "file domains follow the chunks of the file")          \
    X(romio_min_fdomain_size, "file domains follow the chunks of the file")         \
    X(romio_cb_alltoall, "it chooses between two forms of a code that is not used") \
    X(cb_block_size, "aggregators write whole chunks where they can")               \
    X(access_style, "the strategy of a call follows from the call")                 \
    X(nb_proc, "nothing depends on how many processes will use the file")           \
    X(num_io_nodes, "the layout of a file decides; see weft_stripe_count")          \
    X(io_node_list, "the layout of a file decides; see weft_pool")                  \
    X(chunked, "files are runs of bytes")                                           \
    X(chunked_item, "files are runs of bytes")                                      \
    X(chunked_size, "files are runs of bytes")                                      \
    X(filename, "a file is named by its path")

#endif
