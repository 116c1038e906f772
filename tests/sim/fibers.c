/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time is a heap of events: calls, and fibers to be woken. Whoever is due first comes next; of those that
 * are due at the same moment the one that was asked for first. All chance is in the delays, and comes from
 * one seed.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "asan.h"
#include "err.h"
#include "sim.h"
#include "weft/weft.h"
#include "weft_limits.h"

#ifdef SIM_ASAN
enum { STACK_BYTES = 1 << 20 };
#else
enum { STACK_BYTES = 256 << 10 };
#endif
enum { GUARD_BYTES = 4096, STACKS_KEPT = 64 };

enum fiber_state { FIBER_READY, FIBER_RUNNING, FIBER_WAITING, FIBER_ENDED };

/* Where a fiber, or core_run(), goes on. swapcontext() makes two system calls for the signals of a thread,
 * which are the same everywhere here: it is used for the first entry only, and where the sanitizer wants
 * it. */
struct place {
    ucontext_t context;
    jmp_buf jump;
    bool is_entered;
};

struct fiber {
    struct list_link link;
    struct place place;
    struct process *process;
    char name[FIBER_NAME_BYTES];
    unsigned id;
    void *(*run)(void *arg);
    void *arg, *result;
    uint8_t *stack;
    enum fiber_state state;
    const void *key;
    const char *what;
    uint64_t serial; /* of its latest wait; wakes for earlier ones are void */
    bool timed_out;
    /* What a thread has for itself. */
    int error;
    char err[LIMITS_ERROR_TEXT_MAX + 1], weft_err[LIMITS_ERROR_TEXT_MAX + 1];
#ifdef SIM_ASAN
    void *fake_stack;
#endif
};

struct event {
    uint64_t ns, order;
    void (*fn)(void *arg);
    void *arg;
    struct fiber *fiber; /* to be woken, when fn is NULL */
    uint64_t serial;
    bool is_timeout;
};

bool sim_traced;

static struct {
    uint64_t now, random, digest, order;
    struct event *events;
    size_t event_count, event_room;
    struct list fibers;
    unsigned fiber_id;
    struct fiber *current;
    struct place place; /* of core_run() */
    void (*fail_hook)(void);
    uint8_t *stacks[STACKS_KEPT];
    unsigned stack_count;
#ifdef SIM_ASAN
    const void *stack;
    size_t stack_bytes;
    void *fake_stack;
#endif
} core;

#ifdef SIM_ASAN
/* A fiber that was killed never returns, so what the sanitizer keeps for its frames would be lost. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_stack_use_after_return=0";
}
#endif

/* ---- numbers -------------------------------------------------------------- */

uint64_t sim_random(void)
{
    uint64_t z = core.random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t sim_below(uint64_t bound)
{
    return bound ? sim_random() % bound : 0;
}

uint64_t sim_between(uint64_t low, uint64_t high)
{
    return high > low ? low + sim_below(high - low + 1) : low;
}

bool sim_chance(unsigned per_million)
{
    return per_million && sim_below(1000000) < per_million;
}

uint64_t sim_now(void)
{
    return core.now;
}

void sim_tick(void)
{
    core.now += 100;
}

void sim_note(uint64_t what)
{
    core.digest = (core.digest ^ what) * UINT64_C(0x100000001b3);
}

uint64_t sim_digest(void)
{
    return core.digest;
}

/* ---- telling -------------------------------------------------------------- */

static void put_line(FILE *to, const char *format, va_list arguments)
{
    fprintf(to, "%4" PRIu64 ".%06" PRIu64 " %-12s ", core.now / SIM_S, core.now % SIM_S / 1000,
            core.current ? core.current->name : "-");
    vfprintf(to, format, arguments);
    fputc('\n', to);
}

void sim_trace(const char *format, ...)
{
    va_list arguments;
    if (!sim_traced)
        return;
    struct process *process = world_enter();
    va_start(arguments, format);
    put_line(stdout, format, arguments);
    va_end(arguments);
    world_leave(process);
}

void sim_fail_hook(void (*hook)(void))
{
    core.fail_hook = hook;
}

void sim_fail(const char *format, ...)
{
    va_list arguments;
    process_current = NULL;
    fflush(stdout);
    fputs("FAILED: ", stderr);
    va_start(arguments, format);
    put_line(stderr, format, arguments);
    va_end(arguments);
    if (core.fail_hook)
        core.fail_hook();
    fflush(NULL);
    _exit(1);
}

void core_report(void)
{
    static const char *const states[] = {"ready", "running", "waiting for", "ended"};
    list_each(&core.fibers, each, after)
    {
        const struct fiber *fiber = list_item(each, struct fiber, link);
        fprintf(stderr, "  %s: %s %s\n", fiber->name, states[fiber->state],
                fiber->state == FIBER_WAITING ? fiber->what : "");
    }
}

/* ---- events --------------------------------------------------------------- */

static bool is_before(const struct event *a, const struct event *b)
{
    return a->ns != b->ns ? a->ns < b->ns : a->order < b->order;
}

static void event_add(struct event event)
{
    if (core.event_count == core.event_room) {
        core.event_room = core.event_room ? 2 * core.event_room : 1024;
        core.events = realloc(core.events, core.event_room * sizeof *core.events);
        if (!core.events)
            abort();
    }
    event.order = core.order++;
    size_t at = core.event_count++;
    for (; at && is_before(&event, &core.events[(at - 1) / 2]); at = (at - 1) / 2)
        core.events[at] = core.events[(at - 1) / 2];
    core.events[at] = event;
}

static struct event event_take(void)
{
    struct event first = core.events[0], last = core.events[--core.event_count];
    size_t at = 0, child;
    for (; (child = 2 * at + 1) < core.event_count; at = child) {
        if (child + 1 < core.event_count && is_before(&core.events[child + 1], &core.events[child]))
            child++;
        if (!is_before(&core.events[child], &last))
            break;
        core.events[at] = core.events[child];
    }
    core.events[at] = last;
    return first;
}

void sim_at(uint64_t ns, void (*fn)(void *arg), void *arg)
{
    struct process *process = world_enter();
    event_add((struct event){.ns = ns > core.now ? ns : core.now, .fn = fn, .arg = arg});
    world_leave(process);
}

/* ---- switching ------------------------------------------------------------ */

static uint8_t *stack_new(void)
{
    if (core.stack_count)
        return core.stacks[--core.stack_count];
    uint8_t *stack = mmap(NULL, STACK_BYTES + GUARD_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack, GUARD_BYTES, PROT_NONE))
        abort();
    return stack;
}

static void stack_free(uint8_t *stack)
{
#ifdef SIM_ASAN
    __asan_unpoison_memory_region(stack + GUARD_BYTES, STACK_BYTES);
#endif
    if (core.stack_count < STACKS_KEPT)
        core.stacks[core.stack_count++] = stack;
    else
        munmap(stack, STACK_BYTES + GUARD_BYTES);
}

static void text_keep(char kept[LIMITS_ERROR_TEXT_MAX + 1], const char *text)
{
    memcpy(kept, text, strlen(text) + 1);
}

/* These are one for each thread, which all fibers share. */
static void leave(struct fiber *fiber)
{
    fiber->error = errno;
    text_keep(fiber->err, err_text());
    text_keep(fiber->weft_err, weft_error());
}

static void enter(const struct fiber *fiber)
{
    text_keep((char *)(uintptr_t)err_text(), fiber->err);
    text_keep((char *)(uintptr_t)weft_error(), fiber->weft_err);
    errno = fiber->error;
}

static void go(struct place *from, struct place *to)
{
#ifdef SIM_ASAN
    swapcontext(&from->context, &to->context);
#else
    from->is_entered = true;
    if (_setjmp(from->jump))
        return;
    if (to->is_entered)
        _longjmp(to->jump, 1);
    setcontext(&to->context);
#endif
}

/* To core_run(). */
static void fiber_leave(struct fiber *fiber)
{
    leave(fiber);
#ifdef SIM_ASAN
    __sanitizer_start_switch_fiber(fiber->state == FIBER_ENDED ? NULL : &fiber->fake_stack, core.stack,
                                   core.stack_bytes);
#endif
    go(&fiber->place, &core.place);
#ifdef SIM_ASAN
    __sanitizer_finish_switch_fiber(fiber->fake_stack, &core.stack, &core.stack_bytes);
#endif
    enter(fiber);
}

static void fiber_main(void)
{
    struct fiber *fiber = core.current;
#ifdef SIM_ASAN
    __sanitizer_finish_switch_fiber(NULL, &core.stack, &core.stack_bytes);
#endif
    enter(fiber);
    fiber->result = fiber->run(fiber->arg);
    fiber->state = FIBER_ENDED;
    fiber_wake_all(fiber);
    fiber_leave(fiber);
    abort();
}

static void fiber_run(struct fiber *fiber)
{
    sim_note(core.now ^ (uint64_t)fiber->id << 48);
    core.current = fiber;
    process_current = fiber->process;
    fiber->state = FIBER_RUNNING;
#ifdef SIM_ASAN
    __sanitizer_start_switch_fiber(&core.fake_stack, fiber->stack + GUARD_BYTES, STACK_BYTES);
#endif
    go(&core.place, &fiber->place);
#ifdef SIM_ASAN
    __sanitizer_finish_switch_fiber(core.fake_stack, NULL, NULL);
#endif
    core.current = NULL;
    process_current = NULL;
    if (fiber->state == FIBER_ENDED && fiber->stack) {
        stack_free(fiber->stack);
        fiber->stack = NULL;
    }
}

/* ---- fibers --------------------------------------------------------------- */

struct fiber *fiber_start(struct process *process, const char *name, void *(*run)(void *arg), void *arg)
{
    struct process *before = world_enter();
    struct fiber *fiber = calloc(1, sizeof *fiber);
    if (!fiber)
        abort();
    fiber->process = process;
    snprintf(fiber->name, sizeof fiber->name, "%s", name);
    fiber->id = ++core.fiber_id;
    fiber->run = run;
    fiber->arg = arg;
    fiber->stack = stack_new();
    getcontext(&fiber->place.context);
    fiber->place.context.uc_stack.ss_sp = fiber->stack + GUARD_BYTES;
    fiber->place.context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&fiber->place.context, fiber_main, 0);
    list_push_back(&core.fibers, &fiber->link);
    event_add((struct event){.ns = core.now + sim_between(1, 20 * SIM_US), .fiber = fiber});
    world_leave(before);
    return fiber;
}

struct fiber *fiber_current(void)
{
    return core.current;
}

bool fiber_wait(const void *key, uint64_t deadline_ns, const char *what)
{
    struct fiber *fiber = core.current;
    struct process *process = world_enter();
    fiber->key = key;
    fiber->what = what;
    fiber->serial++;
    fiber->timed_out = false;
    fiber->state = FIBER_WAITING;
    if (deadline_ns != UINT64_MAX)
        event_add((struct event){.ns = deadline_ns > core.now ? deadline_ns : core.now,
                                 .fiber = fiber,
                                 .serial = fiber->serial,
                                 .is_timeout = true});
    fiber_leave(fiber);
    world_leave(process);
    return !fiber->timed_out;
}

static void fiber_wake(struct fiber *fiber)
{
    struct process *process = world_enter();
    fiber->state = FIBER_READY;
    fiber->serial++;
    event_add((struct event){
        .ns = core.now + sim_between(1, sim_chance(20000) ? SIM_MS : 10 * SIM_US),
        .fiber = fiber,
        .serial = fiber->serial,
    });
    world_leave(process);
}

void fiber_wake_all(const void *key)
{
    list_each(&core.fibers, each, after)
    {
        struct fiber *fiber = list_item(each, struct fiber, link);
        if (fiber->state == FIBER_WAITING && fiber->key == key)
            fiber_wake(fiber);
    }
}

void fiber_wake_one(const void *key)
{
    unsigned count = 0;
    list_each(&core.fibers, each, after)
    {
        const struct fiber *fiber = list_item(each, struct fiber, link);
        count += fiber->state == FIBER_WAITING && fiber->key == key;
    }
    unsigned chosen = count > 1 ? (unsigned)sim_below(count) : 0;
    list_each(&core.fibers, each, after)
    {
        struct fiber *fiber = list_item(each, struct fiber, link);
        if (fiber->state == FIBER_WAITING && fiber->key == key && chosen-- == 0) {
            fiber_wake(fiber);
            return;
        }
    }
}

void fiber_sleep(uint64_t ns)
{
    if (core.current)
        fiber_wait(core.current, core.now + ns, "time");
    else
        core.now += ns;
}

void fiber_pause(void)
{
    struct fiber *fiber = core.current;
    if (fiber && fiber->process == process_current && !(fiber->process && fiber->process->keeps_still) &&
        sim_chance(3000))
        fiber_sleep(sim_between(1, sim_chance(50000) ? 20 * SIM_MS : 200 * SIM_US));
}

bool fiber_ended(const struct fiber *fiber, void **result)
{
    if (fiber->state != FIBER_ENDED)
        return false;
    *result = fiber->result;
    return true;
}

void fiber_free(struct fiber *fiber)
{
    struct process *process = world_enter();
    /* An event may still name it. */
    for (size_t i = 0; i < core.event_count; i++)
        if (core.events[i].fiber == fiber)
            core.events[i].fiber = NULL;
    if (fiber->stack)
        stack_free(fiber->stack);
    list_remove(&fiber->link);
    free(fiber);
    world_leave(process);
}

void fibers_kill(struct process *process)
{
    list_each(&core.fibers, each, after)
    {
        struct fiber *fiber = list_item(each, struct fiber, link);
        if (fiber->process == process)
            fiber_free(fiber);
    }
}

/* ---- the world ------------------------------------------------------------ */

void core_begin(uint64_t seed)
{
    core.now = SIM_S;
    core.random = seed * UINT64_C(0xd1342543de82ef95) + 1;
    core.digest = UINT64_C(0xcbf29ce484222325);
    core.order = 0;
    core.event_count = 0;
    core.fiber_id = 0;
    list_init(&core.fibers);
}

/* Threads of the world itself may still be there. */
void core_end(void)
{
    fibers_kill(NULL);
    core.event_count = 0;
}

bool core_run(bool (*stop)(void), uint64_t end_ns)
{
    while (!stop()) {
        if (!core.event_count || core.events[0].ns > end_ns)
            return false;
        struct event event = event_take();
        if (event.ns > core.now)
            core.now = event.ns;
        if (event.fn) {
            sim_note(core.now);
            event.fn(event.arg);
        } else if (event.fiber && event.fiber->serial == event.serial && event.fiber->state != FIBER_ENDED) {
            event.fiber->timed_out = event.is_timeout;
            event.fiber->serial++;
            fiber_run(event.fiber);
        }
    }
    return true;
}
