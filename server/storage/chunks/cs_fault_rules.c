/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_fault_rules.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf_read.h"
#include "err.h"

enum { WORD_MAX = 31 };

static const char *const on_names[CS_ONS] = {
    [CS_ON_READ] = "read", [CS_ON_WRITE] = "write", [CS_ON_FLUSH] = "flush", [CS_ON_GROW] = "grow"};

enum { READ = 1 << CS_ON_READ, WRITE = 1 << CS_ON_WRITE, FLUSH = 1 << CS_ON_FLUSH, GROW = 1 << CS_ON_GROW };

static const struct {
    const char *name;
    unsigned on; /* the operations that it is a fault of */
} faults[CS_FAULTS] = {
    [CS_FAULT_NONE] = {"none", 0},
    [CS_FAULT_EIO] = {"eio", READ | WRITE | FLUSH | GROW},
    [CS_FAULT_ENOSPC] = {"enospc", GROW},
    [CS_FAULT_SHORT] = {"short", WRITE},
    [CS_FAULT_LOST] = {"lost", WRITE},
    [CS_FAULT_TORN] = {"torn", WRITE},
    [CS_FAULT_MISDIRECTED] = {"misdirected", WRITE},
    [CS_FAULT_FLIP] = {"flip", READ},
    [CS_FAULT_DELAY] = {"delay", READ | WRITE | FLUSH | GROW},
};

/* The two logs take turns, so nobody wants one of them. */
static const struct {
    const char *name;
    uint32_t files;
} file_names[] = {
    {"data", 1u << CS_DATA},
    {"meta", 1u << CS_META},
    {"log", 1u << CS_LOG | 1u << CS_LOG_OTHER},
};
enum { FILE_NAMES = sizeof file_names / sizeof file_names[0], ALL_FILES = (1 << CS_FILES) - 1 };

const char *cs_fault_name(enum cs_fault fault)
{
    return faults[fault].name;
}

/* ---- reading ------------------------------------------------------------ */

static const config_setting_t *member(const config_setting_t *group, const char *name)
{
    return config_setting_get_member(group, name);
}

static int read_on(const struct conf_source *source, const config_setting_t *group,
                   struct cs_fault_rule *rule)
{
    char *word = NULL;
    unsigned i = 0;
    int error = conf_get_string(source, group, "on", CONF_REQUIRED, WORD_MAX, &word);
    if (error)
        return error;
    while (i < CS_ONS && strcmp(word, on_names[i]) != 0)
        i++;
    if (i == CS_ONS)
        error = conf_refuse(source, member(group, "on"),
                            "\"%s\" is no operation; write \"read\", \"write\", \"flush\" or \"grow\"", word);
    else
        rule->on = (enum cs_fault_on)i;
    free(word);
    return error;
}

/* rule->on has been read. */
static int read_fault(const struct conf_source *source, const config_setting_t *group,
                      struct cs_fault_rule *rule)
{
    char *word = NULL;
    unsigned i = CS_FAULT_NONE + 1;
    int error = conf_get_string(source, group, "fault", CONF_REQUIRED, WORD_MAX, &word);
    if (error)
        return error;
    while (i < CS_FAULTS && strcmp(word, faults[i].name) != 0)
        i++;
    if (i == CS_FAULTS)
        error = conf_refuse(source, member(group, "fault"),
                            "\"%s\" is no fault; write \"eio\", \"enospc\", \"short\", \"lost\", \"torn\", "
                            "\"misdirected\", \"flip\" or \"delay\"",
                            word);
    else if (!(faults[i].on & 1u << rule->on))
        error = conf_refuse(source, member(group, "fault"), "\"%s\" is no fault of a %s", word,
                            on_names[rule->on]);
    else
        rule->fault = (enum cs_fault)i;
    free(word);
    return error;
}

static int read_file(const struct conf_source *source, const config_setting_t *group,
                     struct cs_fault_rule *rule)
{
    char *word = NULL;
    unsigned i = 0;
    int error = conf_get_string(source, group, "file", CONF_OPTIONAL, WORD_MAX, &word);
    rule->files = ALL_FILES;
    if (error || !word)
        return error;
    while (i < FILE_NAMES && strcmp(word, file_names[i].name) != 0)
        i++;
    if (i == FILE_NAMES)
        error = conf_refuse(source, member(group, "file"),
                            "\"%s\" is no file of a store; write \"data\", \"meta\" or \"log\"", word);
    else
        rule->files = file_names[i].files;
    free(word);
    return error;
}

static int read_numbers(const struct conf_source *source, const config_setting_t *group,
                        struct cs_fault_rule *rule)
{
    const bool delay = rule->fault == CS_FAULT_DELAY;
    const struct {
        const char *name;
        enum conf_need need;
        uint32_t min, max;
        uint32_t *value;
    } numbers[] = {
        {"one_in", CONF_OPTIONAL, 1, UINT32_MAX, &rule->one_in},
        {"times", CONF_OPTIONAL, 1, UINT32_MAX, &rule->times},
        {"seed", CONF_OPTIONAL, 0, UINT32_MAX, &rule->seed},
        {"target", CONF_OPTIONAL, 0, UINT32_MAX, &rule->target},
        {"shard", CONF_OPTIONAL, 0, UINT32_MAX, &rule->shard},
        {"ms", delay ? CONF_REQUIRED : CONF_OPTIONAL, 1, CS_FAULT_MS_MAX, &rule->ms},
    };
    int error = 0;
    rule->one_in = 1;
    rule->of_target = member(group, "target") != NULL;
    rule->of_shard = member(group, "shard") != NULL;
    for (size_t i = 0; !error && i < sizeof numbers / sizeof numbers[0]; i++)
        error = conf_get_u32(source, group, numbers[i].name, numbers[i].need, numbers[i].min, numbers[i].max,
                             numbers[i].value);
    if (!error && !delay && member(group, "ms"))
        error = conf_refuse(source, member(group, "ms"), "only a \"delay\" takes time");
    return error;
}

static int read_rule(const struct conf_source *source, const config_setting_t *group,
                     struct cs_fault_rule *rule)
{
    static const char *const known[] = {"on",   "fault",  "file",  "one_in", "times",
                                        "seed", "target", "shard", "ms",     NULL};
    int error = conf_group_check(source, group, known);
    if (!error)
        error = read_on(source, group, rule);
    if (!error)
        error = read_fault(source, group, rule);
    if (!error)
        error = read_file(source, group, rule);
    return error ? error : read_numbers(source, group, rule);
}

static int read_all(const struct conf_source *source, struct cs_fault_rules *rules)
{
    static const char *const known[] = {"faults", NULL};
    const config_setting_t *root = config_root_setting(&source->tree), *list = NULL;
    int error = conf_group_check(source, root, known);
    if (!error)
        error = conf_get_group(source, root, "faults", CONF_REQUIRED, &list);
    if (error)
        return error;
    if (!config_setting_is_list(list))
        return conf_refuse(source, list, "must be a list of groups: ( { ... }, { ... } )");
    const int count = config_setting_length(list);
    if (count > CS_FAULT_RULES_MAX)
        return conf_refuse(source, list, "has %d rules; the most is %d", count, CS_FAULT_RULES_MAX);
    for (rules->count = 0; !error && rules->count < (uint32_t)count; rules->count++)
        error = read_rule(source, config_setting_get_elem(list, rules->count), &rules->list[rules->count]);
    return error;
}

int cs_fault_rules_read(const char *file, struct cs_fault_rules *rules)
{
    struct conf_source source;
    int error = conf_source_open(file, &source);
    if (error)
        return error;
    /* Of zeros, so that two lists can be compared as memory. */
    struct cs_fault_rules *found = calloc(1, sizeof *found);
    error = found ? read_all(&source, found) : err_set(-ENOMEM, "%s: out of memory", file);
    if (!error)
        memcpy(rules, found, sizeof *rules);
    free(found);
    conf_source_close(&source);
    return error;
}

/* ---- writing ------------------------------------------------------------ */

void cs_fault_rule_text(const struct cs_fault_rule *rule, char text[CS_FAULT_RULE_TEXT])
{
    const char *file = "any file";
    char target[24] = "", shard[24] = "", more[64] = "", times[32] = "";
    for (unsigned i = 0; i < FILE_NAMES; i++)
        if (rule->files == file_names[i].files)
            file = file_names[i].name;
    if (rule->of_target)
        snprintf(target, sizeof target, ", target %" PRIu32, rule->target);
    if (rule->of_shard)
        snprintf(shard, sizeof shard, ", shard %" PRIu32, rule->shard);
    if (rule->one_in > 1)
        snprintf(more, sizeof more, ", one in %" PRIu32 ", seed %" PRIu32, rule->one_in, rule->seed);
    if (rule->times)
        snprintf(times, sizeof times, ", %" PRIu32 " time%s", rule->times, rule->times == 1 ? "" : "s");
    int length = snprintf(text, CS_FAULT_RULE_TEXT, "%s of %s%s%s: %s", on_names[rule->on], file, target,
                          shard, faults[rule->fault].name);
    if (rule->fault == CS_FAULT_DELAY)
        length +=
            snprintf(text + length, CS_FAULT_RULE_TEXT - (size_t)length, " of %" PRIu32 " ms", rule->ms);
    snprintf(text + length, CS_FAULT_RULE_TEXT - (size_t)length, "%s%s", more, times);
}
