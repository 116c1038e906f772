/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.h: the driver's configuration, which HDF5 carries as one text:
 * "chunk_size=1M;pool=fast;cache_size=64M".
 *
 * A name is that of a hint (weft-hints(7)), with or without "weft_" in front, or one of the
 * driver's own:
 *   cache_size  bytes of the cache for small pieces of one file; K, M and G are powers of 1024;
 *               0: none. Default: 16M
 *   folder      where files are whose name does not begin with '/'. Default: "/", but where the working
 *               folder is on a mount of Weft, that. "." is the working folder of the process, looked at for
 *               each name: for a cluster that has its path, or a mount
 *   collective_metadata  true or false: the ranks of a file write its metadata together, each its part
 *               as one list, and not each entry by itself. Default: false, as that of
 *               H5Pset_coll_metadata_write()
 * The environment's WEFT_HINTS count where the text says nothing.
 */
#ifndef VFD_OPTIONS_H
#define VFD_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "hint_set.h"

#define VFD_CONFIG_BYTES_MAX 2047u
#define VFD_FOLDER_BYTES_MAX 1023u

struct vfd_options {
    struct hint_set hints;
    char text[VFD_CONFIG_BYTES_MAX + 1]; /* as it was given */
    char folder[VFD_FOLDER_BYTES_MAX + 1];
    bool has_folder; /* it was set */
    size_t cache_bytes;
    bool has_collective_metadata;
};

#define VFD_COMPLAINT_BYTES HINT_COMPLAINT_BYTES

/*
 * vfd_options_parse(): of `text`, which may be NULL, and the environment. What is wrong in the
 * environment is passed over; what is wrong in `text` is -EINVAL, and `complaint` one sentence about it.
 */
int vfd_options_parse(struct vfd_options *options, const char *text, char complaint[VFD_COMPLAINT_BYTES]);

/* vfd_options_put(): one more hint, where nobody has said anything yet; unknown ones are passed over. */
void vfd_options_put(struct vfd_options *options, const char *name, const char *value);

/* vfd_options_path(): the path in the cluster of a file's name; -ENAMETOOLONG, or getcwd()'s error. */
int vfd_options_path(const struct vfd_options *options, const char *name, char *path, size_t size);

/* vfd_options_local(): the name, when it may be the path of a file on a mount of Weft; else NULL. */
const char *vfd_options_local(const struct vfd_options *options, const char *name);

#endif
