/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.h: the inside of libweft, and its table of contents: what the files of this
 * folder give each other, under the name of the file that defines it.
 *
 * One request, from top to bottom: weft_file_write() (io.c) begins a transfer (transfer.c),
 * which is an operation (op.c); it plans a round of requests (planner.c), packs their bytes
 * (request.c, pieces.c), and gives each to its storage shard (shard.c). The caller waits
 * (op.c): one waiting thread drives the session's rpc, which runs the callbacks.
 *
 * Lock: session->lock guards the rpc and everything that its callbacks touch: the
 * operations under way, the map, the connections, the tables of files. Callbacks of the
 * rpc run with it held. It is the only lock here. Functions marked (locked) want it held.
 *
 * Errors: negative errno with the text recorded by err_set(). A callback runs in
 * whichever thread drives, so an operation keeps a copy of its error's text, and the
 * thread that waits for it records that again.
 */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bufpool.h"
#include "conf.h"
#include "counters.h"
#include "list.h"
#include "map.h"
#include "planner.h"
#include "rpc.h"
#include "table.h"
#include "weft/weft.h"
#include "wire.h"

/* ---- counters.c ----------------------------------------------------------- */

/* X(name): what a session counts beside what its rpc does. */
#define CLIENT_COUNTERS(X)                                                                             \
    X(metadata_requests) /* to the metadata server */                                                  \
    X(storage_requests)  /* to storage shards */                                                       \
    X(transfers)         /* reads and writes by the caller */                                          \
    X(rounds)            /* of requests that these took */                                             \
    X(bytes_read)        /* as asked by the caller */                                                  \
    X(bytes_written)                                                                                   \
    X(bytes_copied)      /* between the caller's memory and packed buffers */                          \
    X(small_hits)        /* reads answered by what an open or a read has told before */                \
    X(attr_hits)         /* attributes that were known, by a promise of the metadata server */           \
    X(ahead_hits)        /* reads answered by what was read ahead */                                   \
    X(reads_ahead)                                                                                     \
    X(sizes_asked)       /* by reads that met bytes that were not there */                             \
    X(retries)           /* requests made again, with a newer cluster map */                           \
    X(reads_elsewhere)   /* reads made again, of another member of a group */                          \
    X(maps_adopted)                                                                                    \
    X(held_changes)      /* names made or removed in folders that are held, with no request of their own */ \
    X(held_late)         /* of these: told of when others may have looked before */                       \
    X(held_lost)         /* likewise: what the metadata server did not do in the end */                   \
    X(locks)             /* asked for */                                                               \
    X(lock_waits)        /* answers that a lock is not granted yet */                                  \
    X(locks_lost)        /* noticed when they were to be given back */                                 \
    X(records)           /* requests by lock_set, lock_drop and lock_test, each once */              \
    X(record_reports)    /* of waits for them, to the metadata server */

enum client_counter {
#define CLIENT_COUNTER_ENUM(name) CLIENT_COUNT_##name,
    CLIENT_COUNTERS(CLIENT_COUNTER_ENUM)
#undef CLIENT_COUNTER_ENUM
    CLIENT_COUNT_END
};

void client_counters_init(struct counter counters[CLIENT_COUNT_END]);
/* One line to stderr; for WEFT_COUNTERS=1. */
void client_counters_print(weft_session_t *session);

/* ---- reopen.c -------------------------------------------------------------- */

/* A handle of this session that the metadata server may have to be told of. */
struct reopen_item {
    uint64_t number;
    struct wire_capability capability;
    uint64_t round; /* of the latest connection that it was known over, or named */
};

/* Of a session: over each new connection to the metadata server, its handles are named first. */
struct reopen {
    bool met;       /* there was a connection */
    uint64_t round; /* grows with each after the first */
    bool is_sending;
    struct rpc_call call;
    uint64_t numbers[LIMITS_REOPENS_MAX]; /* that it names */
    uint32_t count;
    uint8_t body[LIMITS_BODY_INLINE_MAX];
};

/* ---- closes.c -------------------------------------------------------------- */

/* An encoded list of as many as one request carries, and what stands around it in a close. */
#define CLOSES_BYTES_MAX (LIMITS_CLOSES_MAX * 40u + 16u)

/* A handle that was closed. */
struct closes_item {
    struct wire_closing closing;
    struct reopen_item reopen; /* for the metadata server to ask for its size, it has to be open there */
};

/* Closed handles on their way with one request. */
struct closes_ride {
    struct list_link link; /* in closes->rides, when there are any */
    struct closes_item items[LIMITS_CLOSES_MAX];
    uint32_t count;
    struct wire_list list; /* for the request's `closes`; lies in: */
    uint8_t encoded[CLOSES_BYTES_MAX];
};

/* Of a session: closed handles that the metadata server has not heard of yet. */
struct closes {
    struct closes_item *waiting; /* the oldest first */
    uint32_t count, room;
    uint64_t since_ns; /* when it was empty last */
    struct list rides; /* closes_ride: those that were not answered yet */
    bool is_sending;   /* a request of closes_look() is under way: */
    struct rpc_call call;
    struct closes_ride sent;
    uint8_t body[CLOSES_BYTES_MAX];
};

/* ---- session.c ------------------------------------------------------------ */

#define SESSION_LINK_BUCKETS 256u

struct weft_session {
    char name[LIMITS_SERVER_NAME_MAX + 1]; /* in peers' logs; the rpc keeps a pointer to it */
    char host[LIMITS_HOST_NAME_MAX + 1];   /* where this process runs */
    struct conf *conf;
    uint8_t *process_mark; /* a page that reads 0 in a child process */
    bool counters_wanted;
    atomic_int mounted_error; /* mounted.c: why the cluster of a mount could not be reached; 0: no reason */

    pthread_mutex_t lock;
    atomic_uint contenders; /* threads that wait for the lock */

    struct rpc *rpc;
    struct bufpool *buffers; /* made when first needed */
    struct map *map;         /* NULL until the first greeting or import */
    struct rpc_connection *metadata;
    struct list links[SESSION_LINK_BUCKETS]; /* shard_link: storage shards by address */
    struct list shard_calls;  /* under way, the longest so first */
    struct list map_waiters;  /* shard calls that wait for a newer map */
    struct list locks_in_line; /* lock_turn: to be asked for when others were answered */
    uint32_t locks_asked;     /* requests for locks under way */
    uint64_t lock_id;         /* the latest one given to a lock */
    struct table record_owners; /* record_holdings.c */
    struct rpc_call map_call; /* the one map_get that may be under way */
    struct list files;        /* weft_file: those that it has opened itself */
    struct closes closes;
    struct reopen reopen;
    struct list small_files;  /* weft_file: those that are or were small ones */
    uint64_t small_writes;    /* grows whenever this session begins or has ended to write to one */
    bool map_asked;
    uint64_t looked_ns; /* when slow calls were last a reason to ask */
    bool map_changed; /* connections to servers that moved are still to be dropped */
    bool closing;

    bool led;              /* a thread drives the rpc (op.c) */
    bool asleep;           /* that thread sleeps */
    struct list followers; /* threads that wait for it */
    uint64_t ended;        /* operations that have ended so far */
    struct op_waiter *driver; /* the thread in weft_drive(), when another one leads */
    uint64_t driven_ns;       /* when a thread has led last */

    struct attr_cache *attr_cache; /* NULL: attributes are not kept */
    struct held *held;             /* NULL: likewise, and where the configuration does not want it */

    struct counter counters[CLIENT_COUNT_END];
};

/* -EINVAL for NULL, and in a child of the process that connected. */
int session_check(weft_session_t *session);
void session_lock(weft_session_t *session);
/* Also lets a sleeping leader know that there may be something to do. */
void session_unlock(weft_session_t *session);

/* The connection to the metadata server (locked). */
int session_metadata(weft_session_t *session, struct rpc_connection **connection);
/* The session's map, asked from the metadata server when there is none yet. The
 * reference is the caller's. */
int session_map(weft_session_t *session, struct map **map);
/* 0: the session's deadline. */
int session_map_within(weft_session_t *session, struct map **map, uint32_t deadline_ms);
/* The newest map that the metadata server has becomes the session's. */
int session_map_refresh(weft_session_t *session);
/* A newer map of the same cluster becomes the session's; an older one is passed
 * over. -EXDEV when it is of another cluster (locked). */
int session_map_adopt(weft_session_t *session, const void *data, size_t length);
/* Brings a file's table, NULL at first, to the session's present map (locked). */
int session_table(weft_session_t *session, const struct layout *layout, struct planner_table **table);
/* Begins asking the metadata server for its map, unless that is under way (locked). */
void session_map_ask(weft_session_t *session);
/* What follows from a new map but can't be done inside a callback (locked). */
void session_settle(weft_session_t *session);
/* A buffer pool for packed bytes (locked). */
int session_buffers(weft_session_t *session, struct bufpool **buffers);

static inline void session_count(weft_session_t *session, enum client_counter which, uint64_t amount)
{
    counter_add(&session->counters[which], amount);
}

/* What stands at every border of the API: records the failure of call `name` for
 * weft_error(), and returns `result`. */
ssize_t client_result(const char *name, ssize_t result);
/* "weft:/a" and "/a" to "/a". -EINVAL, -ENAMETOOLONG. */
int client_path(const char *path, const char **clean);
/* Puts "`path`: " in front of the error's text when it does not name it yet. */
int client_about(int error, const char *path);

/* ---- op.c ----------------------------------------------------------------- */

/* An operation: submitted, driven by callbacks, completed once, waited for once. */
struct weft_op {
    weft_session_t *session;
    atomic_bool done; /* set with the lock held, may be read without it */
    ssize_t result;
    char *text;               /* of the error; NULL when there was no memory for it */
    struct op_waiter *waiter; /* the thread that sleeps for it */
    void (*release)(struct weft_op *op); /* frees what is around it; NULL: nothing */
};

void op_init(struct weft_op *op, weft_session_t *session, void (*release)(struct weft_op *op));
/* The first failure is kept, with the thread's error text (locked). */
void op_fail(struct weft_op *op, int error);
/* `result` counts unless op_fail() was called (locked). */
void op_complete(struct weft_op *op, ssize_t result);
/* Waits, releases, and returns the result with its text recorded. */
ssize_t op_wait(struct weft_op *op);
/* The same; when the thread handles a signal meanwhile, `give_up` is called (locked), which may
 * complete the operation sooner. Not for handlers that want calls to be restarted (SA_RESTART). */
ssize_t op_wait_signals(struct weft_op *op, void (*give_up)(struct weft_op *op));

/* ---- op_signals.c: signals that come while a thread waits ------------------- */

/* The thread's signals are held back meanwhile, but for those of faults. */
struct op_signals {
    sigset_t before;
    int fd; /* readable when one is there */
};

/* Negative: there are no descriptors; the signals come as always. */
int op_signals_begin(struct op_signals *signals);
void op_signals_end(struct op_signals *signals);
/* Lets those that are there run their handlers: whether one of these ends what the thread waits for. */
bool op_signals_deliver(const struct op_signals *signals);

/* ---- op.c, again -------------------------------------------------------------- */

/* One call to one server, with its reply kept. */
struct op_call {
    struct weft_op op;
    struct rpc_call rpc;
    uint8_t *reply;
    uint32_t reply_length;
    bool answered; /* by the server, if only with an error */
};

/* (locked) The body stays until op_wait() returned. */
int op_call_start(struct op_call *call, weft_session_t *session, struct rpc_connection *connection,
                  uint16_t operation, const void *body, size_t body_length, uint32_t deadline_ms);
void op_call_free(struct op_call *call);
/* Asks the metadata server and waits. `body_length` may be what an encoder returned; a
 * negative one is passed on. op_call_free() in any case. */
int op_call_metadata(struct op_call *call, weft_session_t *session, uint16_t operation, const void *body,
                     ssize_t body_length);
/* With another deadline than the configuration's. */
int op_call_metadata_within(struct op_call *call, weft_session_t *session, uint16_t operation,
                            const void *body, ssize_t body_length, uint32_t deadline_ms);

/* ---- closes.c, again -------------------------------------------------------- */

/* Gives a file's handle back: at once, or with the next request that takes such along. A failure to tell the
 * metadata server is told, and tried again with later requests. */
int closes_give(weft_file_t *file);
/* Fills the ride with what waits. closes_call() has to follow, with a request that has ride->list as its
 * `closes`; what it could not deliver waits again. */
void closes_board(weft_session_t *session, struct closes_ride *ride);
/* As op_call_metadata(). */
int closes_call(struct op_call *call, weft_session_t *session, struct closes_ride *ride, uint16_t operation,
                const void *body, ssize_t body_length);
/* Sends what has been waiting for long; from the session's timer (locked). */
void closes_look(void *session);
/* Delivers what waits, if it can be done within seconds. */
void closes_end(weft_session_t *session);
/* Calls `each` for all whose files may have been written, and that the metadata server need not have heard of
 * (locked). */
void closes_each(weft_session_t *session, bool (*each)(void *arg, struct reopen_item *item), void *arg);

/* ---- reopen.c, again (locked) ---------------------------------------------------- */

/* The file was opened, by a request that began in this round. */
void reopen_begin(weft_file_t *file, uint64_t round);
void reopen_end(weft_file_t *file);
/* There is a connection to the metadata server, maybe not the first. */
void reopen_all(weft_session_t *session);

/* ---- shard.c -------------------------------------------------------------- */

/* A storage shard that the session knows a connection to. Only so much is under way with it;
 * calls beyond that wait here, and their deadlines have not begun: many large transfers at
 * once may take longer than a deadline together. */
struct shard_link {
    struct list_link link;
    struct rpc_connection *connection;
    uint64_t map_version; /* of the newest map by which it was chosen */
    bool wanted;         /* the current map has it */
    bool dropped;        /* no call may start any more */
    struct list waiting; /* shard_call */
    uint64_t bytes_under_way;
    uint32_t calls_under_way;
    uint64_t answered_ns; /* when the latest answer came */
    char address[LIMITS_ADDRESS_MAX + 1];
};

/* The call has to be planned again with the session's map, which is newer now. */
#define SHARD_REDO 1

/* A call to a storage shard. */
struct shard_call {
    struct rpc_call rpc; /* the caller fills operation, body, payload and place */
    struct list_link link;
    weft_session_t *session;
    struct shard_link *shard;
    uint64_t begun_ns;   /* since when the deadline runs; set by the caller: 0, or of an earlier attempt */
    uint64_t started_ns; /* this attempt */
    uint64_t bytes;      /* of both directions */
    uint64_t map_version;
    unsigned attempts;   /* set by the caller: earlier ones */
    char *text;          /* of the error, while waiting for a map */
    void (*done)(struct shard_call *call, int status); /* 0, SHARD_REDO or negative errno */
};

/* Its next start is a first attempt, with a whole deadline. */
static inline void shard_call_fresh(struct shard_call *call)
{
    call->begun_ns = 0;
    call->attempts = 0;
}

/* (locked) 0: `done` will run, once, never from inside. `shard` is an index into the table. */
int shard_call_start(weft_session_t *session, struct shard_call *call, const struct planner_table *table,
                     uint32_t shard);
/* What is known of a shard of the map's server (locked). */
int shard_connect(weft_session_t *session, const struct map *map, uint32_t server, uint32_t shard,
                  struct shard_link **link);
/* (locked) The map came, or did not. */
void shard_map_answered(weft_session_t *session);
/* Drops the connections to shards that the map does not have (locked, outside callbacks). */
void shard_links_sweep(weft_session_t *session);
void shard_links_free(weft_session_t *session);
/* Looks whether calls take so long that a newer map might help (locked). */
void shard_calls_look(void *session);

/* ---- fan.c ---------------------------------------------------------------- */

/* The same small request to every storage shard of a file; object_punch only to those that have some of the
 * range. */
struct fan {
    weft_session_t *session;
    struct layout layout;
    struct wire_capability capability;
    uint16_t operation; /* WIRE_OP_sync, object_stat, object_punch or object_seek */
    uint64_t offset;    /* of the last two */
    uint64_t length;    /* object_punch */
    bool hole;          /* object_seek */
    void (*done)(struct fan *fan, int status);
    void *arg;

    /* the sum of the answers to object_stat; the first is of object_seek, too */
    uint64_t end;
    int64_t mtime_ns;
    uint64_t bytes;
    /* the least of the answers to object_seek */
    uint64_t place;
    bool found;

    /* its own */
    struct planner_table *table; /* in a `done` without an error: by which all have answered */
    struct fan_call *calls;
    uint32_t pending;
    unsigned attempts;
    bool redo;
    int status;
    char *text;
    uint64_t begun_ns;
    uint32_t body_length;
    uint8_t body[256];
};

/* (locked) The first part is filled. 0: `done` will run, once, never from inside. */
int fan_start(struct fan *fan);

/* One that a call waits for. */
struct fan_op {
    struct weft_op op;
    struct fan fan;    /* the caller fills what the operation has of its own */
    weft_file_t *file; /* named in errors, and what `judge` is about; NULL: none is open */
    uint64_t synced;   /* file->synced when it began */
    int (*judge)(const struct fan_op *of); /* (locked) the last word, when all have answered; NULL: none */
};

/* `release` as of op_init(). */
int fan_op_start(struct fan_op *of, weft_session_t *session, uint16_t operation,
                 const struct wire_capability *capability, void (*release)(struct weft_op *op));

/* ---- file.c --------------------------------------------------------------- */

enum { FILE_TOLD_SHARDS = 4 };

/* What the storage shards told, with their answers to writes, of a file that was empty when it was opened. */
struct file_told {
    bool whole;        /* no write is missing, and none came from elsewhere */
    uint32_t requests; /* that were asked to tell */
    uint64_t map_version;
    uint64_t end;
    int64_t mtime_ns;
    uint32_t shard_count;
    struct {
        uint32_t shard; /* index into the planner's table */
        uint64_t bytes;
    } shards[FILE_TOLD_SHARDS];
};

/* A small file, whose bytes lie with the metadata server; guarded by the session's lock. */
struct file_small {
    /* Spilled: the metadata server has to know that we write. */
    enum { SMALL_NOT, SMALL_IS, SMALL_SPILLED } state;
    uint32_t max;          /* so far it may grow as one */
    struct list_link link; /* in session->small_files */
    uint64_t until_ns;     /* what stands here is the file; 0: it is not known to be */
    uint32_t length, room;
    uint8_t *data;
};

/* Bytes of a file that were read before anyone asked for them (file_ahead.c); guarded by the session's
 * lock. */
struct file_ahead {
    /* how it was read lately: the latest read, and how many before it were alike */
    uint64_t latest, length, distance;
    unsigned run;
    bool busy; /* a thread is reading ahead */
    /* what is there: pieces of the same length, each `stride` bytes from the next */
    uint8_t *data; /* NULL: nothing */
    uint64_t held; /* by which promise it is the file (attr_cache_held()) */
    uint64_t start, stride, piece;
    uint32_t count;
    bool ends; /* the file does, behind them */
};

struct weft_file {
    weft_session_t *session;
    char *path;
    uint64_t handle;
    struct list_link link;     /* in session->files, unless it is imported; guarded by the session's lock */
    struct reopen_item reopen; /* likewise */
    atomic_bool lost; /* the metadata server has closed it, and can't open it again */
    _Atomic(struct held_name *) held; /* it is open here alone (held.h); set with the session's lock held */
    bool imported;
    bool exported; /* guarded by the session's lock */
    uint32_t access; /* WIRE_ACCESS_*: what it was opened for */
    struct wire_capability capability;
    struct layout layout;
    char pool[WEFT_POOL_BYTES_MAX + 1];
    char *hints; /* of its directory */
    struct planner_table *table; /* guarded by the session's lock */
    bool wrote;                  /* likewise: something may have been written through it */
    /* Likewise. Version of the cluster map; losses that later ones tell of are the next sync's to tell. */
    uint64_t synced;
    struct file_told told;       /* likewise */
    struct file_small small;     /* likewise */
    struct file_ahead ahead;     /* likewise */
};

/* One without a handle. */
weft_file_t *file_make(weft_session_t *session, const char *path, const struct wire_capability *capability,
                      const char *pool, const char *hints);
/* The file's table for the session's current map; the reference is the file's, which
 * lets go of it when the map changes (locked). */
int file_table(weft_file_t *file, struct planner_table **table);
/* -EINVAL for NULL, and as session_check(); -ESTALE when it is lost. Whatever is done with the file behind it
 * finds one that the metadata server knows to be open. */
int file_check(const weft_file_t *file);
/* -EBADF when the file was not opened for `access` (WIRE_ACCESS_*). */
int file_allows(const weft_file_t *file, uint32_t access);

/* ---- told.c (locked) -------------------------------------------------------- */

/* The file was opened, with these attributes. */
void told_begin(weft_file_t *file, const struct wire_attr *attr);
/* Whether a request that writes is to ask for the objects' state. */
bool told_wanted(weft_file_t *file);
/* A request that asked for it has been answered. */
void told_take(weft_file_t *file, uint32_t shard, uint64_t map_version, const void *reply, size_t length);
/* Something was or may have been written that the answers do not tell of. */
void told_lose(weft_file_t *file);
/* Puts what is known into the close. */
void told_close(const weft_file_t *file, struct wire_closing *closing);

/* ---- file_small.c ------------------------------------------------------------ */

struct transfer;

void file_small_init(weft_file_t *file);
/* (locked) It was opened, and `max` is how far it may grow as a small file; 0: it is none. */
void file_small_begin(weft_file_t *file, uint32_t max);
/* (locked) The metadata server says that it has spilled. */
void file_small_over(weft_file_t *file);
void file_small_end(weft_file_t *file); /* (locked) */
/* (locked) What the metadata server told, asked at `sent_ns` when session->small_writes was `writes`. */
void file_small_learn(weft_file_t *file, const struct wire_small *small, uint64_t sent_ns, uint64_t writes);
/* (locked) Whether what is in it is known for now; *size of it. */
bool file_small_known(const weft_file_t *file, uint64_t *size);
/* (locked) 1: the transfer is under way, or ended; 0: it is to go on by the layout. */
int file_small_transfer(struct transfer *transfer);
/* Makes it one of the storage servers', and waits. */
int file_small_spill(weft_file_t *file);

/* ---- file_ahead.c ------------------------------------------------------------ */

/* Whether the read was answered by what was read ahead, *result. */
bool file_ahead_read(weft_file_t *file, void *buffer, size_t length, uint64_t offset, ssize_t *result);
void file_ahead_end(weft_file_t *file); /* (locked) */

/* ---- size.c --------------------------------------------------------------- */

/* Completes what the metadata server said by what the storage servers know. */
int size_complete(weft_session_t *session, struct wire_attr *attr, const struct wire_capability *capability);
/* True when the file is a small one; then *size, or a negative *result. */
bool size_of_small(weft_file_t *file, uint64_t *size, int *result);

/* ---- attr.c --------------------------------------------------------------- */

void attr_from_wire(const struct wire_attr *wire, struct weft_attr *attr);
/* How a layout is asked for. It points into the weft_layout. */
struct attr_layout {
    struct wire_layout layout;
    const char *pool;
    uint8_t placement;
    char host[LIMITS_HOST_NAME_MAX + 1]; /* with WIRE_PLACEMENT_HOST; else "" */
};
/* -EINVAL when a field is out of range. `layout` NULL: nothing is asked for. */
int attr_layout_to_wire(const struct weft_layout *layout, struct attr_layout *wire);
/* The text of a WIRE_PLACEMENT_*, of at most WEFT_PLACEMENT_BYTES_MAX bytes. */
void attr_placement_text(uint8_t placement, const char *host, char *text);
/* Asks by path, or by inode when `path` is "", sizes included. */
int attr_ask(weft_session_t *session, const char *path, uint64_t ino, unsigned flags, struct weft_attr *attr);
/* As weft_access(), for a session that keeps attributes; 1: it does not, so the metadata server is to say. */
int attr_access(weft_session_t *session, const char *path, int mode);

#endif
