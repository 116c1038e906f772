/* SPDX-License-Identifier: Apache-2.0 */
#include "library.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "next.h"
#include "px.h"
#include "table.h"

struct px_library px_library;
_Atomic(weft_session_t *) px_session;
atomic_uint px_busy;
_Thread_local unsigned px_inside __attribute__((tls_model("initial-exec")));

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_loaded;
static atomic_uint generation;

/* Of the library's interface, as libtool names the file. */
#define LIBRARY_FILE "libweft.so.0"
#define HOOKS        "UCX_MEM_EVENTS"

unsigned px_library_generation(void)
{
    return atomic_load(&generation);
}

static bool load(void)
{
    static const char *const names[] = {
#define NAME(name) "weft_" #name,
        PX_LIBRARY(NAME)
#undef NAME
    };
    void **pointers = (void **)&px_library;
    /* UCX, when it is to see memory go, overwrites the beginning of munmap(), which is ours. It remembers
     * registered memory then, which is worth having with RDMA: who wants that sets the variable. */
    bool has_choice = getenv(HOOKS) != NULL;
    if (!has_choice)
        setenv(HOOKS, "n", 1);
    void *library = dlopen(LIBRARY_FILE, RTLD_NOW | RTLD_LOCAL);
    if (!has_choice)
        unsetenv(HOOKS);
    if (!library) {
        px_say_once("load", dlerror());
        return false;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        pointers[i] = dlsym(library, names[i]);
        if (!pointers[i]) {
            px_say_once("load", "libweft is of another version: all of Weft must be from one");
            return false;
        }
    }
    /* Before the handlers of the libraries that were loaded now. */
    atexit(px_process_exit);
    return true;
}

/* Of the mount by which the process has come to its cluster, when it has no configuration. Sessions that are
 * made later need it too, here and in programs that are started. */
static struct weft_mounted mounts;
static atomic_bool has_mounts_conf, is_mount_given_up;

const char *px_library_mounts_conf(void)
{
    return atomic_load(&has_mounts_conf) ? mounts.conf : NULL;
}

bool px_library_has_given_up(void)
{
    return atomic_load(&is_mount_given_up);
}

/* The thread that keeps attributes is libweft's, whatever it calls. */
static void keeper_begins(void)
{
    px_inside++;
}

/* (locked) */
static int connect_by(const struct weft_mounted *mounted, weft_session_t **session)
{
    int result = px_library.connect_(NULL, session);
    if (result != -ENOENT || (!mounted && !has_mounts_conf))
        return result;
    if (!has_mounts_conf)
        mounts = *mounted;
    result = px_library.mounted_connect_(&mounts, session);
    if (result == 0)
        atomic_store(&has_mounts_conf, true);
    return result;
}

/* `mounted` may be NULL; it is by a mount's path that the session is needed otherwise. */
static int connect_session(const struct weft_mounted *mounted)
{
    weft_session_t *session = NULL;
    pthread_mutex_lock(&lock);
    int result = 0;
    if (!px_session) {
        if (!is_loaded)
            is_loaded = load();
        result = is_loaded ? connect_by(mounted, &session) : -ENOENT;
        if (result == 0) {
            (void)px_library.keep_attributes_(session, keeper_begins); /* else each is asked for */
            atomic_fetch_add(&generation, 1);
            px_session = session;
        } else if (is_loaded && !mounted) {
            px_say_once("connect", px_library.error_());
        }
    }
    pthread_mutex_unlock(&lock);
    /* The call's own errors are about files: ENOENT would say that one is not there. */
    return result < 0 ? -EIO : 0;
}

static int enter(const struct weft_mounted *mounted)
{
    px_inside++;
    atomic_fetch_add_explicit(&px_busy, 1, memory_order_acquire);
    if (__builtin_expect(px_session != NULL, 1))
        return 0;
    int result = connect_session(mounted);
    if (result < 0)
        px_leave();
    return result;
}

int px_enter(void)
{
    return enter(NULL);
}

int px_library_reach(const struct weft_mounted *mounted, int flags)
{
    int saved = errno;
    if (atomic_load(&is_mount_given_up))
        return -EIO;
    int result = enter(mounted);
    if (result == 0) {
        result = px_library.mounted_reach_(px_session, mounted, flags);
        px_leave();
    }
    /* That it can't be reached is found out once, not for each file. */
    if (result < 0 && result != -EXDEV && result != -EROFS)
        atomic_store(&is_mount_given_up, true);
    errno = saved;
    return result;
}

void px_library_end(void)
{
    px_inside++;
    pthread_mutex_lock(&lock);
    weft_session_t *session = px_session;
    px_session = NULL;
    atomic_fetch_add(&generation, 1);
    if (session)
        px_library.disconnect_(session);
    pthread_mutex_unlock(&lock);
    px_inside--;
}

/* As long as the child held the sockets, the servers would not see the parent's end. But UCX keeps what
 * its one thread waits for under the numbers, also in the child, which does not have that
 * thread: a number must not come back as something else. So each gets something of the child's own. */
static void part_marked(int fd, struct px_desc *desc, void *arg)
{
    enum px_mark mark = desc ? PX_MARK_NONE : px_table_is_marked(fd);
    int other = -1;
    (void)arg;
    if (mark == PX_MARK_NONE)
        return;
    if (mark == PX_MARK_EPOLL)
        other = PX_NEXT(epoll_create1)(EPOLL_CLOEXEC);
    else if (mark == PX_MARK_EVENT)
        other = PX_NEXT(eventfd)(0, EFD_CLOEXEC | EFD_NONBLOCK);
    else if (mark == PX_MARK_PIPE)
        other = PX_NEXT(open)("/dev/null", O_RDWR | O_CLOEXEC);
    if (other >= 0) {
        PX_NEXT(dup3)(other, fd, O_CLOEXEC);
        PX_NEXT(close)(other);
    } else {
        px_table_unmark(fd);
        PX_NEXT(close)(fd);
    }
}

void px_library_forget(void)
{
    px_inside = 0;
    px_busy = 0;
    pthread_mutex_init(&lock, NULL);
    if (!px_session)
        return;
    px_table_each(part_marked, NULL);
    px_session = NULL;
    atomic_fetch_add(&generation, 1);
}

void px_say_once(const char *what, const char *text)
{
    static const char *said[64];
    static atomic_uint count;
    char line[600];
    unsigned known = atomic_load(&count);
    for (unsigned i = 0; i < known && i < 64; i++)
        if (said[i] && strcmp(said[i], what) == 0)
            return;
    unsigned mine = atomic_fetch_add(&count, 1);
    if (mine >= 64)
        return;
    said[mine] = what;
    int length = snprintf(line, sizeof line, "weft: %s[%d]: %s\n", program_invocation_short_name,
                          (int)getpid(), text ? text : "");
    if (length > (int)sizeof line - 1)
        length = (int)sizeof line - 1;
    int saved = errno;
    if (PX_NEXT(write)(px_table_has(2) ? -1 : 2, line, (size_t)length) < 0)
        errno = saved;
    errno = saved;
}
