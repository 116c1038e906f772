/* SPDX-License-Identifier: Apache-2.0 */
#include "scrub.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cs_scrub.h"
#include "err.h"
#include "log.h"
#include "monotonic.h"

enum { LINES_A_PASS = 10, FOUND_MAX = 1024 };

/* Small objects have small strips, and a thread that sleeps after each wakes up hundreds of times a second:
 * it sleeps at most that often, after a quarter of a second's bytes. */
enum { WAKES_A_SECOND = 4 };

/* A server that has just started has better things to do. */
#define FIRST_MS UINT64_C(60000)
#define PAUSE_MS (UINT64_C(24) * 60 * 60 * 1000)

struct found {
    struct cs_name name;
    uint64_t offset;
};

struct scrub {
    pthread_t thread;
    pthread_mutex_t lock; /* of `stop` and what was found */
    pthread_cond_t wake;
    bool stop;
    struct cs_store *store;
    pthread_mutex_t *core;
    struct store_scrub config;
    uint64_t damaged; /* in this pass */
    int tell_fd;
    unsigned found_count; /* blocks, that nobody was told of yet; others are found again by the next pass */
    struct found found[FOUND_MAX];
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* False when it is to end. */
static bool sleep_until(struct scrub *scrub, uint64_t ms)
{
    const struct timespec until = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    pthread_mutex_lock(&scrub->lock);
    while (!scrub->stop && now_ms() < ms)
        pthread_cond_timedwait(&scrub->wake, &scrub->lock, &until);
    const bool goes_on = !scrub->stop;
    pthread_mutex_unlock(&scrub->lock);
    return goes_on;
}

static void count(struct counter *counter, uint64_t amount)
{
    /* The stores of a shard have these counters in common. */
    if (counter)
        counter_add_shared(counter, amount);
}

static void report(struct scrub *scrub, const char *text)
{
    count(scrub->config.damaged, 1);
    if (++scrub->damaged <= LINES_A_PASS)
        log_error("found by the scrubber: %s", text);
}

static void report_block(void *arg, struct cs_name name, uint64_t offset, const char *text)
{
    struct scrub *scrub = arg;
    const uint64_t one = 1;
    report(scrub, text);
    pthread_mutex_lock(&scrub->lock);
    if (scrub->config.found && scrub->found_count < FOUND_MAX)
        scrub->found[scrub->found_count++] = (struct found){name, offset};
    pthread_mutex_unlock(&scrub->lock);
    while (scrub->config.found && write(scrub->tell_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

void scrub_tell(struct scrub *scrub)
{
    pthread_mutex_lock(&scrub->lock);
    for (unsigned i = 0; i < scrub->found_count; i++) {
        const struct found *found = &scrub->found[i];
        scrub->config.found(scrub->config.arg, found->name.ino, found->name.position, found->offset,
                            CS_BLOCK);
    }
    scrub->found_count = 0;
    pthread_mutex_unlock(&scrub->lock);
}

static void confirm(struct scrub *scrub, const struct cs_scrub *at, uint64_t bad)
{
    pthread_mutex_lock(scrub->core);
    cs_scrub_confirm(scrub->store, at, bad, report_block, scrub);
    pthread_mutex_unlock(scrub->core);
}

/* Sleeps for the bytes that were read since it slept; false when it is to end. Time that the reads took is
 * not made up for: a disk that was busy for an hour is not read without pause then. */
static bool keep_pace(struct scrub *scrub, uint64_t *owed)
{
    if (*owed < scrub->config.rate / WAKES_A_SECOND)
        return sleep_until(scrub, 0);
    const uint64_t ms = *owed * 1000 / scrub->config.rate;
    *owed = 0;
    return sleep_until(scrub, now_ms() + ms);
}

/* All strips once; false when it is to end before. */
static bool pass(struct scrub *scrub)
{
    struct cs_scrub at = {0};
    uint64_t owed = 0, bad;
    scrub->damaged = 0;
    for (;;) {
        pthread_mutex_lock(scrub->core);
        const int result = cs_scrub_next(scrub->store, &at);
        pthread_mutex_unlock(scrub->core);
        if (result < 0) {
            if (result != -ENOENT)
                report(scrub, err_text());
            break;
        }
        if (result > 0) { /* the record itself is damaged */
            report(scrub, err_text());
            if (!sleep_until(scrub, 0))
                return false;
            continue;
        }
        const uint64_t read = cs_scrub_read(scrub->store->io, &at, &bad);
        if (bad)
            confirm(scrub, &at, bad);
        count(scrub->config.bytes, read);
        owed += read;
        if (!keep_pace(scrub, &owed))
            return false;
    }
    count(scrub->config.passes, 1);
    if (scrub->damaged > LINES_A_PASS)
        log_error("%s: the scrubber found %" PRIu64 " damaged blocks in all", scrub->store->config.name,
                  scrub->damaged);
    return true;
}

static void *run(void *arg)
{
    struct scrub *scrub = arg;
    const uint64_t pause_ms = scrub->config.pause_ms ? scrub->config.pause_ms : PAUSE_MS;
    const uint64_t first_ms = pause_ms < FIRST_MS ? pause_ms : FIRST_MS;
    bool goes_on = sleep_until(scrub, now_ms() + first_ms);
    while (goes_on)
        goes_on = pass(scrub) && sleep_until(scrub, now_ms() + pause_ms);
    return NULL;
}

int scrub_start(struct cs_store *store, pthread_mutex_t *core, const struct store_scrub *config, int tell_fd,
                struct scrub **out)
{
    struct scrub *scrub = calloc(1, sizeof *scrub);
    if (!scrub)
        return err_set(-ENOMEM, "no memory for a scrubber");
    scrub->store = store;
    scrub->core = core;
    scrub->config = *config;
    scrub->tell_fd = tell_fd;
    pthread_mutex_init(&scrub->lock, NULL);
    monotonic_cond_init(&scrub->wake);
    errno = pthread_create(&scrub->thread, NULL, run, scrub);
    if (errno) {
        int error = err_sys("%s: start the scrubber's thread", store->config.name);
        pthread_cond_destroy(&scrub->wake);
        pthread_mutex_destroy(&scrub->lock);
        free(scrub);
        return error;
    }
    *out = scrub;
    return 0;
}

void scrub_stop(struct scrub *scrub)
{
    pthread_mutex_lock(&scrub->lock);
    scrub->stop = true;
    pthread_cond_signal(&scrub->wake);
    pthread_mutex_unlock(&scrub->lock);
    pthread_join(scrub->thread, NULL);
    pthread_cond_destroy(&scrub->wake);
    pthread_mutex_destroy(&scrub->lock);
    free(scrub);
}
