/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_faults.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "err.h"
#include "layout.h"
#include "log.h"
#include "monotonic.h"
#include "signals.h"
#include "weft_limits.h"

enum { LOOK_MS = 1000 };

/* When all of this is the same, the file is; but times of files are coarse, see look(). */
struct identity {
    bool exists;
    dev_t device;
    ino_t number;
    off_t size;
    struct timespec changed; /* ctime, since it also tells of a chmod */
};

struct cs_faults {
    char *file;
    pthread_t thread;
    atomic_bool any; /* there are rules: who asks looks no further without */

    /* The thread's. */
    struct identity seen;
    int64_t seen_ns;                           /* the time of day when it was read; 0: never */
    char complaint[LIMITS_ERROR_TEXT_MAX + 1]; /* the latest; empty: the file was right */

    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t changed;
    bool stop;
    uint64_t number; /* of changes of the rules */
    struct cs_fault_rules rules;
    struct {
        uint64_t asked;
        uint32_t made;
    } drawn[CS_FAULT_RULES_MAX];
};

/* ---- the rules ---------------------------------------------------------- */

static bool fits(const struct cs_faults *faults, uint32_t i, const struct cs_fault_place *place)
{
    const struct cs_fault_rule *rule = &faults->rules.list[i];
    return rule->on == place->on && rule->files >> place->file & 1 &&
           (!rule->of_target || rule->target == place->target) &&
           (!rule->of_shard || rule->shard == place->shard) &&
           (!rule->times || faults->drawn[i].made < rule->times);
}

bool cs_faults_may_wait(struct cs_faults *faults, const struct cs_fault_place *place)
{
    bool may = false;
    if (!atomic_load_explicit(&faults->any, memory_order_relaxed))
        return false;
    pthread_mutex_lock(&faults->lock);
    for (uint32_t i = 0; i < faults->rules.count && !may; i++)
        may = faults->rules.list[i].fault == CS_FAULT_DELAY && fits(faults, i, place);
    pthread_mutex_unlock(&faults->lock);
    return may;
}

/* Its numbers come from the seed and from how often it was asked, and from nothing else. */
static bool is_due(struct cs_faults *faults, uint32_t i, uint64_t *random)
{
    const struct cs_fault_rule *rule = &faults->rules.list[i];
    const uint64_t number = layout_hash(layout_hash(rule->seed) + faults->drawn[i].asked++);
    *random = layout_hash(number);
    return number % rule->one_in == 0;
}

struct cs_fault_draw cs_faults_draw(struct cs_faults *faults, const struct cs_fault_place *place)
{
    struct cs_fault_draw draw = {0};
    if (!atomic_load_explicit(&faults->any, memory_order_relaxed))
        return draw;
    pthread_mutex_lock(&faults->lock);
    for (uint32_t i = 0; i < faults->rules.count; i++) {
        const struct cs_fault_rule *rule = &faults->rules.list[i];
        uint64_t random;
        /* One operation fails in one way: the first rule wins. */
        if (!fits(faults, i, place) || (draw.fault && rule->fault != CS_FAULT_DELAY) ||
            !is_due(faults, i, &random))
            continue;
        faults->drawn[i].made++;
        draw.made++;
        if (rule->fault == CS_FAULT_DELAY) {
            draw.ms += rule->ms;
        } else {
            draw.fault = rule->fault;
            draw.random = random;
        }
    }
    pthread_mutex_unlock(&faults->lock);
    return draw;
}

void cs_faults_sleep(struct cs_faults *faults, uint32_t ms)
{
    const struct timespec until = monotonic_in(ms);
    pthread_mutex_lock(&faults->lock);
    const uint64_t number = faults->number;
    while (faults->number == number &&
           pthread_cond_timedwait(&faults->changed, &faults->lock, &until) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&faults->lock);
}

/* ---- the file ----------------------------------------------------------- */

static void take(struct cs_faults *faults, const struct cs_fault_rules *rules)
{
    char text[CS_FAULT_RULE_TEXT];
    const bool none = rules->count == 0 && faults->rules.count == 0;
    pthread_mutex_lock(&faults->lock);
    memcpy(&faults->rules, rules, sizeof *rules);
    memset(faults->drawn, 0, sizeof faults->drawn);
    faults->number++;
    atomic_store(&faults->any, rules->count > 0);
    pthread_cond_broadcast(&faults->changed);
    pthread_mutex_unlock(&faults->lock);
    if (none)
        return;
    log_warn("faults on purpose: %" PRIu32 " rule%s from now on, by %s", rules->count,
             rules->count == 1 ? "" : "s", faults->file);
    for (uint32_t i = 0; i < rules->count; i++) {
        cs_fault_rule_text(&rules->list[i], text);
        log_warn("faults on purpose: rule %" PRIu32 ": %s", i + 1, text);
    }
}

/* Logs err_text(), if that is news. */
static void complain(struct cs_faults *faults)
{
    if (strcmp(faults->complaint, err_text()) == 0)
        return;
    snprintf(faults->complaint, sizeof faults->complaint, "%s", err_text());
    log_error("faults on purpose: the rules stay as they are: %s", faults->complaint);
}

static int identify(const char *file, struct identity *identity)
{
    struct stat stat_of;
    memset(identity, 0, sizeof *identity);
    if (stat(file, &stat_of))
        return errno == ENOENT ? 0 : err_sys("%s", file);
    identity->exists = true;
    identity->device = stat_of.st_dev;
    identity->number = stat_of.st_ino;
    identity->size = stat_of.st_size;
    identity->changed = stat_of.st_ctim;
    return 0;
}

/* Reads the file if it may have changed. One that changed just before it was read last is read again:
 * another change within a tick of the clock would leave no trace. */
static void look(struct cs_faults *faults)
{
    struct identity now;
    struct timespec clock;
    struct cs_fault_rules *rules = NULL;
    int error = identify(faults->file, &now);
    const bool same = !error && faults->seen_ns && memcmp(&now, &faults->seen, sizeof now) == 0;
    const int64_t changed_ns = (int64_t)now.changed.tv_sec * 1000000000 + now.changed.tv_nsec;
    if (same && !faults->complaint[0] && (!now.exists || faults->seen_ns - changed_ns > 1000000000))
        return;
    clock_gettime(CLOCK_REALTIME, &clock);
    if (!error) {
        rules = calloc(1, sizeof *rules);
        error = rules ? 0 : err_set(-ENOMEM, "no memory for rules");
    }
    if (!error && now.exists)
        error = cs_fault_rules_read(faults->file, rules);
    if (!error) {
        if (!same || memcmp(rules, &faults->rules, sizeof *rules) != 0)
            take(faults, rules);
        memcpy(&faults->seen, &now, sizeof now);
        faults->seen_ns = (int64_t)clock.tv_sec * 1000000000 + clock.tv_nsec;
        faults->complaint[0] = '\0';
    } else if (error != -ENOENT) { /* it went just now: the next look says so */
        complain(faults);
    }
    free(rules);
}

static void *run(void *arg)
{
    struct cs_faults *faults = arg;
    pthread_mutex_lock(&faults->lock);
    while (!faults->stop) {
        const struct timespec until = monotonic_in(LOOK_MS);
        while (!faults->stop && pthread_cond_timedwait(&faults->changed, &faults->lock, &until) != ETIMEDOUT)
            ;
        pthread_mutex_unlock(&faults->lock);
        look(faults);
        pthread_mutex_lock(&faults->lock);
    }
    pthread_mutex_unlock(&faults->lock);
    return NULL;
}

/* ---- life --------------------------------------------------------------- */

static void destroy(struct cs_faults *faults)
{
    pthread_cond_destroy(&faults->changed);
    pthread_mutex_destroy(&faults->lock);
    free(faults->file);
    free(faults);
}

/* Signals are the main thread's. */
static int create_thread(struct cs_faults *faults)
{
    sigset_t before;
    signals_hold(&before);
    errno = pthread_create(&faults->thread, NULL, run, faults);
    int error = errno ? err_sys("start the thread that looks at %s", faults->file) : 0;
    signals_release(&before);
    return error;
}

int cs_faults_open(const char *file, struct cs_faults **result)
{
    struct cs_faults *faults = calloc(1, sizeof *faults);
    char *copy = strdup(file);
    if (!faults || !copy) {
        free(faults);
        free(copy);
        return err_set(-ENOMEM, "no memory for faults");
    }
    faults->file = copy;
    pthread_mutex_init(&faults->lock, NULL);
    monotonic_cond_init(&faults->changed);
    log_warn("faults are made on purpose: the rules are those of %s, whenever it is there", file);
    look(faults);
    int error = create_thread(faults);
    if (error) {
        destroy(faults);
        return error;
    }
    *result = faults;
    return 0;
}

void cs_faults_close(struct cs_faults *faults)
{
    if (!faults)
        return;
    pthread_mutex_lock(&faults->lock);
    faults->stop = true;
    pthread_cond_broadcast(&faults->changed);
    pthread_mutex_unlock(&faults->lock);
    pthread_join(faults->thread, NULL);
    destroy(faults);
}
