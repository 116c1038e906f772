/* SPDX-License-Identifier: Apache-2.0 */
/*
 * namespace.h: files, directories and links by their paths, with the meaning
 * that POSIX gives the calls of the same names. It knows transactions and who
 * has what open, and nothing of requests and networks.
 *
 * What it promises
 *  - Every call looks at everything first and changes the store only when
 *    nothing can refuse any more, so a call that fails has changed nothing (a
 *    failing store aside: then the transaction is broken, see store.h).
 *  - Permissions are checked for the caller's uid, gid and supplementary groups; uid 0 may do
 *    everything.
 *  - Every error has a text that begins with the path.
 *
 * Access times are set by creation and by setattr only. `mode` of what is made
 * is taken as it comes: the caller has applied its umask.
 *
 * Threads: belongs to the store's thread.
 */
#ifndef METADATA_NAMESPACE_H
#define METADATA_NAMESPACE_H

#include "inode.h"
#include "map.h"
#include "opens.h"
#include "store.h"
#include "wire.h"

/* The directories that the latest path went through. */
struct ns_ways {
    bool plain; /* it depends on nothing else: no symbolic links, nor "." or "..", nor a slash too many */
    uint32_t count;
    uint64_t inos[32];
};

/* One operation's surroundings. */
struct ns {
    struct store_txn *txn;
    struct opens *opens;
    struct ino_range *inos; /* numbers for new inodes; NULL: each is asked for from the store */
    uint32_t uid, gid;      /* of the caller */
    uint32_t caller_group_count;
    const uint32_t *caller_groups; /* its supplementary ones */
    int64_t now_ns;         /* CLOCK_REALTIME */
    /* the configuration's default layout, and the groups that there are */
    uint64_t chunk_size;
    uint32_t stripe_count;
    uint32_t group_count;
    const struct map *map; /* the hosts; NULL: none is known */
    struct ns_ways *ways;  /* is filled in, where it is wanted; else NULL */
    bool may_be_held;      /* this server was just started again: clients may have files open that it knows
                            * nothing of */
    /* what the calls tell back */
    uint32_t removals; /* added to the queue of objects to be removed */
};

/* Deeper than any tree that paths of 4095 bytes can build by hand; reached only when the store's parents form
 * a ring. */
enum { NS_DEPTH_MAX = 1 << 20 };

enum { NS_MAY_EXECUTE = 1, NS_MAY_WRITE = 2, NS_MAY_READ = 4 }; /* as in access(2) */

/* ---- path.c: from a path to an inode ------------------------------------ */

/* What the last component of a path is. */
enum path_last { PATH_NAME, PATH_ROOT, PATH_DOT, PATH_DOT_DOT, PATH_INODE };

struct path {
    struct inode parent; /* the directory that holds the last component; of PATH_ROOT the root, of PATH_INODE
                          * the directory itself, or of something else the root */
    char name[WEFT_NAME_BYTES_MAX + 1]; /* of PATH_NAME */
    enum path_last last;
    bool slash;  /* slashes stood behind the last component */
    bool exists; /* then: */
    struct inode inode;
};

/* A symbolic link as the last component: by default it is followed when a slash stands behind it. */
enum {
    PATH_FOLLOW = 1, /* always */
    PATH_AS_IS = 2,  /* never: for calls that make or remove the name itself */
    /* Not about links: a name with a slash behind it is -EISDIR, whatever is there, as with O_CREAT. */
    PATH_OF_FILE = 4,
};

/* 0 also when only the last component does not exist. -ENOENT, -ENOTDIR, -ELOOP, -ENAMETOOLONG, -EACCES. */
int path_resolve(struct ns *ns, const char *text, unsigned flags, struct path *path);
/* As path_resolve(), and -ENOENT when the last component does not exist, -ENOTDIR when a
 * slash stands behind something else than a directory. */
int path_resolve_existing(struct ns *ns, const char *text, unsigned flags, struct path *path);

/*
 * path_inode.c: paths that begin with an inode's number, WEFT_INODE_PREFIX "17/name". They are for
 * interfaces that keep a directory open while its names change (a mount, openat()); Lustre's ".lustre/fid" is
 * the model. A number opens no door: the caller needs search permission for every directory
 * above, and only root and the owner may name something else than a directory so, as its names are not known.
 */

/* Begins the walk of `rest` in path->parent, or ends it there: then path->exists. -ESTALE: no such inode. */
int path_inode_begin(struct ns *ns, const char *text, uint64_t ino, const char *rest, struct path *path);

/* Whether the caller may search all directories above this one. */
int path_may_reach(struct ns *ns, const struct inode *dir, const char *text);

/* The path goes through this directory. */
void path_through(struct ns *ns, uint64_t ino);
bool path_may(const struct ns *ns, const struct inode *inode, unsigned wanted); /* NS_MAY_* */
/* By its own group or a supplementary one. */
bool path_in_group(const struct ns *ns, uint32_t gid);
/* 0, or -EACCES naming `text`. */
int path_require(const struct ns *ns, const struct inode *inode, unsigned wanted, const char *text);
bool path_owns(const struct ns *ns, const struct inode *inode);

/* ---- ns_format.c: a new store, and what an old one says ------------------ */

struct ns_identity {
    uint8_t cluster[16];
    uint64_t epoch; /* how often the store was opened by a server, this time included */
};
/* Makes the root directory and the settings in an empty store, or checks them, and counts the start. */
int ns_format(struct store_txn *txn, int64_t now_ns, struct ns_identity *identity);

/* ---- ns_lookup.c -------------------------------------------------------- */

/* `path` "": the inode `ino`. */
int ns_stat(struct ns *ns, const char *path, uint64_t ino, bool nofollow, struct inode *inode);
/* 0 when the path names nothing, since its folder, which is told, has no such name; -ENOENT when there is no
 * such folder, -EEXIST when there is something. */
int ns_stat_folder(struct ns *ns, const char *path, bool nofollow, struct inode *folder);
int ns_access(struct ns *ns, const char *path, unsigned wanted);
/* `target` has room for LIMITS_SYMLINK_MAX + 1 bytes. */
int ns_readlink(struct ns *ns, const char *path, char *target);
/* Calls `each` for the entries after `after`, until it returns something else than 0, which
 * is returned when it is negative. Without search permission for the directory the inodes have a number and a
 * type, and nothing else. */
typedef int ns_readdir_fn(void *arg, const char *name, const struct inode *inode);
int ns_readdir(struct ns *ns, const char *path, const char *after, ns_readdir_fn *each, void *arg);

/* ---- ns_create.c -------------------------------------------------------- */

int ns_mkdir(struct ns *ns, const char *path, uint32_t mode);
int ns_symlink(struct ns *ns, const char *target, const char *path);
/* A FIFO, a socket or a device; or an empty regular file (a type of 0 is one too), with the directory's
 * layout. Devices are root's to make. */
int ns_mknod(struct ns *ns, const char *path, uint32_t mode, uint64_t rdev);
int ns_link(struct ns *ns, const char *from, const char *to);

/* Where files are to be. */
struct ns_placement {
    uint8_t kind; /* WIRE_PLACEMENT_* */
    const char
        *host; /* with WIRE_PLACEMENT_HOST the one that is meant, else the caller's; NULL, "": unknown */
};

struct ns_open {
    const char *path;
    uint32_t flags; /* WIRE_OPEN_* */
    uint32_t mode;
    struct layout layout; /* zero fields: the directory's default */
    const char *pool;     /* "": the directory's default */
    struct ns_placement placement;
    bool size_open; /* a file that is made is as after ns_size_open(), unless it is a small one */
    bool small;     /* it may be a small file, where no layout is asked for and the directory wants none */
    uint64_t dir;   /* ns_open() tells: the directory that holds the file */
};
/* Finds the file, or makes it, and checks the caller's permissions. Opening for writing and
 * truncating are left to the caller. */
int ns_open(struct ns *ns, struct ns_open *open, struct inode *inode, bool *created);
/* What a new file in this directory gets; fills in and checks `layout`. */
int ns_layout_choose(const struct ns *ns, const struct inode *dir, const struct ns_placement *placement,
                     struct layout *layout, const char **pool);
/* What is made in this directory is the caller's, or (set-group-ID) its group the directory's. */
void ns_inode_init(const struct ns *ns, const struct inode *dir, uint32_t mode, struct inode *inode);
/* A new file, which has its number, lies there. */
void ns_inode_place(struct inode *inode, const struct layout *layout, const char *pool);
/* -EOPNOTSUPP where files can't be on one host (WIRE_PLACEMENT_*). */
int ns_host_allowed(const struct ns *ns, uint8_t placement);
/* The host of that name, as layouts name it: -EADDRNOTAVAIL when it is not known or has no groups. */
int ns_host_find(const struct ns *ns, const char *name, uint32_t *host);

/* ---- ns_remove.c -------------------------------------------------------- */

int ns_unlink(struct ns *ns, const char *path);
int ns_rmdir(struct ns *ns, const char *path);
/* Takes a name in `dir` away from an inode that is no directory: the last one ends it, unless it is in
 * use. */
int ns_drop(struct ns *ns, struct inode *inode, uint64_t dir);
/* Ends an inode without names and users: its records go, its objects are put in line to be removed. */
int ns_destroy(struct ns *ns, const struct inode *inode);
int ns_destroy_dir(struct ns *ns, const struct inode *dir);
/* Whether the caller may take this entry out of this directory: write permission and the sticky bit. */
int ns_may_delete(const struct ns *ns, const struct inode *dir, const struct inode *inode, const char *path);

/* ---- ns_held.c: names that the client who holds their directory has made and removed ------------------ */

struct ns_making {
    const char *name;
    uint64_t ino; /* one that was given to the client */
    uint32_t mode;
    int64_t made_ns, changed_ns; /* by the client's clock */
    const uint8_t *data;         /* all that is in it */
    size_t size;
};
/* The caller may write to the directory and search it, by whatever way it got there. */
int ns_held_may_change(struct ns *ns, const struct inode *dir);
/* Makes a small file. 1: it is there, made before under this number; -EEXIST: the name or the number is taken
 * by something else. `refused`: nothing was changed, and other names may go on; else the transaction is to be
 * undone. The directory's record is left to ns_held_put(). */
int ns_held_make(struct ns *ns, const struct inode *dir, const struct ns_making *making, struct inode *inode,
                 bool *refused);
/* 1: it is gone already; -ESTALE: what has this name is something else. As above. */
int ns_held_remove(struct ns *ns, const struct inode *dir, const char *name, uint64_t ino, bool *refused);
/* Whoever relies on a file that is to lose this name is told; to be asked for all before any changes. */
int ns_held_removing(struct ns *ns, const struct inode *dir, const char *name, uint64_t ino);
/* What a client's clock says, within reason. */
int64_t ns_held_time(const struct ns *ns, int64_t told_ns);
/* The directory has changed, at `changed_ns` the latest. */
int ns_held_put(struct ns *ns, struct inode *dir, int64_t changed_ns);

/* ---- ns_rename.c -------------------------------------------------------- */

int ns_rename(struct ns *ns, const char *from, const char *to);

/* ---- ns_attr.c ---------------------------------------------------------- */

int ns_setattr(struct ns *ns, const struct wire_setattr *request);
int ns_layout_set(struct ns *ns, const char *path, const struct layout *layout,
                  const struct ns_placement *placement, const char *pool);
/* `hints` "" takes them away. Reading them needs what stat needs; `hints` has room for
 * WEFT_HINTS_BYTES_MAX + 1 bytes. */
int ns_hints_set(struct ns *ns, const char *path, const char *hints);
int ns_hints_get(struct ns *ns, const char *path, char *hints);
/* A directory's default layout as it works now: the configuration's values filled in. */
void ns_layout_effective(const struct ns *ns, const struct inode *dir, struct layout *layout);

/*
 * ns_xattr.c: extended attributes, with the names, permissions and errors of xattr(7). `text` names the inode
 * in messages.
 *   user.     of files and directories, with permission to read or write them; in a directory with the sticky
 *             bit only the owner writes
 *   trusted.  root's; nobody else sees them
 * Other names are -EOPNOTSUPP.
 */

/* `flags`: WEFT_XATTR_CREATE, _REPLACE. -EEXIST, -ENODATA by these, -ENOSPC when the inode has too many, or
 * too much in them. */
int ns_xattr_set(struct ns *ns, struct inode *inode, const char *text, const char *name,
                 struct store_bytes value, unsigned flags);
/* -ENODATA. The value is valid until the transaction's next change. */
int ns_xattr_get(struct ns *ns, const struct inode *inode, const char *text, const char *name,
                 struct store_bytes *value);
int ns_xattr_remove(struct ns *ns, struct inode *inode, const char *text, const char *name);
/* Places the names, each with a NUL behind it, in `names` (WEFT_XATTR_BYTES_MAX bytes). */
int ns_xattr_list(struct ns *ns, const struct inode *inode, char *names, size_t *length);

/* ---- ns_size.c: files that are written ---------------------------------- */

/* A writer or a truncation begins: from now on the storage servers know the size. */
int ns_size_open(struct ns *ns, struct inode *inode);
/* No one writes any more, and nothing was written: the size is known. */
int ns_size_close(struct ns *ns, struct inode *inode);
/* No one writes any more, but the storage servers must be asked for the size. */
int ns_size_unsettle(struct ns *ns, const struct inode *inode);
/* What the storage servers said. */
struct ns_size {
    uint64_t end;
    uint64_t bytes;
    int64_t mtime_ns; /* 0: never written */
    bool bounded;     /* nothing was ever written behind `end` */
};
int ns_size_settle(struct ns *ns, struct inode *inode, const struct ns_size *size);
/* A truncation has ended. `exact`: no one else wrote meanwhile, so the file is `size` long and takes
 * `bytes` of space. `closed`: no one has it open for writing either. */
int ns_size_truncated(struct ns *ns, struct inode *inode, uint64_t size, uint64_t bytes, bool exact,
                      bool closed);
/* From now on the store knows a handle that writes, so that a restart does. Of a small file it does not,
 * until that spills, has lost its last name, or the handle's shared pointer is used. */
int ns_writer_note(struct ns *ns, struct opens_handle *handle);
/* All handles of the file that are open. */
int ns_writers_note(struct ns *ns, uint64_t ino);

#endif
