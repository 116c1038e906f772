/* SPDX-License-Identifier: Apache-2.0 */
#include "hint_set.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "hostname.h"

const struct hint_row hint_rows[HINT_COUNT] = {
#define HINT_ROW(name_, type_, low_, high_, choices_, preset_, when_, place_, text_) \
    [HINT_##name_] = {.name = #name_,                                                \
                      .type = HINT_##type_,                                          \
                      .low = low_,                                                   \
                      .high = high_,                                                 \
                      .choices = choices_,                                           \
                      .preset = preset_,                                             \
                      .when = HINT_AT_##when_,                                       \
                      .place = HINT_IN_##place_,                                     \
                      .text = text_},
    HINT_TABLE(HINT_ROW)
#undef HINT_ROW
};

const struct hint_other hint_others[HINT_OTHER_COUNT] = {
#define HINT_OTHER(name_, text_) [HINT_OTHER_##name_] = {.name = #name_, .text = text_},
    HINT_TABLE_WITHOUT_MEANING(HINT_OTHER)
#undef HINT_OTHER
};

#define OWN_PREFIX     "weft_"
#define DISTANCE_BYTES 64u /* longer names and values are like nothing */

/* ---- names ------------------------------------------------------------ */

enum hint_id hint_find(const char *name)
{
    for (enum hint_id id = 0; id < HINT_COUNT; id++)
        if (strcmp(hint_rows[id].name, name) == 0)
            return id;
    return HINT_COUNT;
}

const char *hint_why_meaningless(const char *name)
{
    for (size_t i = 0; i < HINT_OTHER_COUNT; i++)
        if (strcmp(hint_others[i].name, name) == 0)
            return hint_others[i].text;
    return NULL;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* How many bytes must be put in, taken out, changed or swapped with their
 * neighbour to make one word of the other, whatever the case of letters. */
static unsigned distance(const char *a, const char *b)
{
    unsigned rows[3][DISTANCE_BYTES + 1];
    size_t length_a = strnlen(a, DISTANCE_BYTES), length_b = strnlen(b, DISTANCE_BYTES);
    if (length_a == DISTANCE_BYTES || length_b == DISTANCE_BYTES)
        return DISTANCE_BYTES;
    for (unsigned j = 0; j <= length_b; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= length_a; i++) {
        unsigned *row = rows[i % 3], *before = rows[(i + 2) % 3], *before_that = rows[(i + 1) % 3];
        row[0] = i;
        for (unsigned j = 1; j <= length_b; j++) {
            unsigned change = lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1;
            row[j] = least(before[j - 1] + change, least(before[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]))
                row[j] = least(row[j], before_that[j - 2] + 1);
        }
    }
    return rows[length_a % 3][length_b];
}

/* More than a third of a word changed is another word. */
static bool is_like(unsigned how_far, const char *word)
{
    return how_far <= strlen(word) / 3;
}

const char *hint_nearest(const char *name)
{
    const char *nearest = NULL;
    unsigned closest = DISTANCE_BYTES;
    for (enum hint_id id = 0; id < HINT_COUNT; id++) {
        unsigned far = distance(name, hint_rows[id].name);
        if (far < closest && is_like(far, hint_rows[id].name)) {
            closest = far;
            nearest = hint_rows[id].name;
        }
    }
    return nearest;
}

const char *hint_source_name(enum hint_source source)
{
    static const char *const names[] = {
        [HINT_FROM_TABLE] = "default",
        [HINT_FROM_DIRECTORY] = "directory",
        [HINT_FROM_ENVIRONMENT] = "WEFT_HINTS",
        [HINT_FROM_INFO] = "info",
        [HINT_FROM_FILE] = "file",
    };
    return names[source];
}

/* ---- choices ---------------------------------------------------------- */

/* choice_at(): the choice of this number, of `choices` as "one|two|three"; false
 * when there are fewer. */
static bool choice_at(const char *choices, unsigned number, char choice[DISTANCE_BYTES])
{
    for (; number > 0; number--) {
        choices = strchr(choices, '|');
        if (choices == NULL)
            return false;
        choices++;
    }
    snprintf(choice, DISTANCE_BYTES, "%.*s", (int)strcspn(choices, "|"), choices);
    return true;
}

static bool choice_find(const char *choices, const char *value, uint64_t *number)
{
    char choice[DISTANCE_BYTES];
    for (unsigned i = 0; choice_at(choices, i, choice); i++) {
        if (strcasecmp(choice, value) == 0) {
            *number = i;
            return true;
        }
    }
    return false;
}

static bool choice_nearest(const char *choices, const char *value, char nearest[DISTANCE_BYTES])
{
    char choice[DISTANCE_BYTES];
    unsigned closest = DISTANCE_BYTES;
    for (unsigned i = 0; choice_at(choices, i, choice); i++) {
        unsigned far = distance(value, choice);
        if (far < closest && is_like(far, choice)) {
            closest = far;
            snprintf(nearest, DISTANCE_BYTES, "%s", choice);
        }
    }
    return closest < DISTANCE_BYTES;
}

/* ---- values ----------------------------------------------------------- */

static const char *choices_of(const struct hint_row *row)
{
    return row->type == HINT_BOOLEAN ? "false|true" : row->choices;
}

static bool parse_number(const char *text, unsigned base, bool has_unit, uint64_t *number)
{
    uint64_t value = 0;
    const char *at = text;
    for (; *at >= '0' && *at < (char)('0' + base); at++)
        if (__builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return false;
    if (at == text)
        return false;
    unsigned shift = 0;
    if (has_unit && *at != '\0') {
        static const char units[] = "kmg";
        const char *unit = strchr(units, lower(*at));
        if (unit == NULL)
            return false;
        shift = 10 * (unsigned)(unit - units + 1);
        at++;
    }
    if (*at != '\0' || value > UINT64_MAX >> shift)
        return false;
    *number = value << shift;
    return true;
}

static bool in_range(const struct hint_row *row, uint64_t number)
{
    return (number >= row->low && number <= row->high) || (number == 0 && row->place == HINT_IN_LAYOUT);
}

/* parse(): the value's number; false when the hint can't have this value. */
static bool parse(const struct hint_row *row, const char *value, uint64_t *number)
{
    uint8_t kind;
    const char *host;
    *number = 0;
    switch (row->type) {
    case HINT_INTEGER:
        return parse_number(value, 10, false, number) && in_range(row, *number);
    case HINT_BYTES:
        return parse_number(value, 10, true, number) && in_range(row, *number);
    case HINT_OCTAL:
        return parse_number(value, 8, false, number) && in_range(row, *number);
    case HINT_BOOLEAN:
    case HINT_CHOICE:
        return choice_find(choices_of(row), value, number);
    case HINT_TEXT:
        return value[0] != '\0' && strlen(value) <= row->high;
    case HINT_PLACEMENT:
        return strlen(value) <= row->high && hostname_placement_parse(value, &kind, &host);
    case HINT_TOLD:
        break;
    }
    return true;
}

static void size_text(uint64_t bytes, char text[32])
{
    static const char units[] = "GMK";
    for (unsigned i = 0; i < 3; i++) {
        unsigned shift = 30 - 10 * i;
        if (bytes != 0 && bytes % (UINT64_C(1) << shift) == 0) {
            snprintf(text, 32, "%" PRIu64 "%c", bytes >> shift, units[i]);
            return;
        }
    }
    snprintf(text, 32, "%" PRIu64, bytes);
}

void hint_accepted(enum hint_id id, char *text, size_t size)
{
    const struct hint_row *row = &hint_rows[id];
    char low[32], high[32];
    switch (row->type) {
    case HINT_INTEGER:
        snprintf(text, size, "%sa number from %" PRIu64 " to %" PRIu64,
                 row->place == HINT_IN_LAYOUT ? "0, or " : "", row->low, row->high);
        break;
    case HINT_BYTES:
        size_text(row->low, low);
        size_text(row->high, high);
        snprintf(text, size, "%s%s to %s bytes, with K, M or G if you like",
                 row->place == HINT_IN_LAYOUT ? "0, or " : "", low, high);
        break;
    case HINT_OCTAL:
        snprintf(text, size, "an octal number from %" PRIo64 " to %" PRIo64, row->low, row->high);
        break;
    case HINT_BOOLEAN:
    case HINT_CHOICE: {
        char choice[DISTANCE_BYTES];
        size_t used = 0;
        text[0] = '\0';
        for (unsigned i = 0; choice_at(choices_of(row), i, choice) && used < size; i++)
            used += (size_t)snprintf(text + used, size - used, "%s%s", i > 0 ? ", " : "", choice);
        break;
    }
    case HINT_TEXT:
        snprintf(text, size, "a text of 1 to %" PRIu64 " bytes", row->high);
        break;
    case HINT_PLACEMENT:
        snprintf(text, size, "spread, local or host:NAME");
        break;
    case HINT_TOLD:
        snprintf(text, size, "none, it is only told");
        break;
    }
}

const char *hint_form(enum hint_id id)
{
    static const char *const forms[] = {
        [HINT_INTEGER] = "N",
        [HINT_BYTES] = "SIZE",
        [HINT_OCTAL] = "MODE",
        [HINT_TEXT] = "TEXT",
        [HINT_PLACEMENT] = "spread|local|host:NAME",
        [HINT_TOLD] = "",
    };
    enum hint_type type = hint_rows[id].type;
    return type == HINT_BOOLEAN || type == HINT_CHOICE ? choices_of(&hint_rows[id]) : forms[type];
}

const char *hint_when_name(enum hint_when when)
{
    static const char *const names[] = {
        [HINT_AT_CREATION] = "when the file is made",
        [HINT_AT_OPEN] = "at open",
        [HINT_AT_VIEW] = "at open, and with a view",
    };
    return names[when];
}

/* ---- the set ---------------------------------------------------------- */

/* render(): a number as MPI_File_get_info tells it. */
static void render(const struct hint_row *row, uint64_t number, char text[HINT_TEXT_BYTES_MAX + 1])
{
    char choice[DISTANCE_BYTES];
    switch (row->type) {
    case HINT_BOOLEAN:
    case HINT_CHOICE:
        if (choice_at(choices_of(row), (unsigned)number, choice))
            snprintf(text, HINT_TEXT_BYTES_MAX + 1, "%s", choice);
        break;
    case HINT_OCTAL:
        snprintf(text, HINT_TEXT_BYTES_MAX + 1, "%04" PRIo64, number);
        break;
    default:
        snprintf(text, HINT_TEXT_BYTES_MAX + 1, "%" PRIu64, number);
        break;
    }
}

void hint_set_number(struct hint_set *set, enum hint_id id, enum hint_source source, uint64_t number)
{
    struct hint_value *value = &set->values[id];
    value->source = source;
    value->number = number;
    value->is_set = true;
    render(&hint_rows[id], number, value->text);
}

void hint_set_text(struct hint_set *set, enum hint_id id, enum hint_source source, const char *text)
{
    struct hint_value *value = &set->values[id];
    value->source = source;
    value->number = 0;
    value->is_set = true;
    snprintf(value->text, sizeof value->text, "%s", text);
}

void hint_set_init(struct hint_set *set)
{
    memset(set, 0, sizeof *set);
    for (enum hint_id id = 0; id < HINT_COUNT; id++)
        if (hint_rows[id].preset[0] != '\0')
            hint_set_put(set, HINT_FROM_TABLE, hint_rows[id].name, hint_rows[id].preset, NULL);
}

/* plain(): text from outside as it may be shown on a terminal, cut to fit. */
static void plain(const char *text, char shown[DISTANCE_BYTES])
{
    size_t i = 0;
    for (; text[i] != '\0' && i < DISTANCE_BYTES - 1; i++)
        shown[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    if (text[i] != '\0')
        memcpy(shown + DISTANCE_BYTES - 4, "...", 3);
    shown[i] = '\0';
}

static void complain_unknown(const char *name, enum hint_source source, char complaint[HINT_COMPLAINT_BYTES])
{
    char shown[DISTANCE_BYTES];
    const char *nearest = hint_nearest(name);
    plain(name, shown);
    snprintf(complaint, HINT_COMPLAINT_BYTES, "hint %s (%s) is unknown and has no effect; %s%s%s", shown,
             hint_source_name(source), nearest != NULL ? "did you mean " : "see man weft-hints",
             nearest != NULL ? nearest : "", nearest != NULL ? "?" : "");
}

static void complain_value(enum hint_id id, const char *value, enum hint_source source,
                           char complaint[HINT_COMPLAINT_BYTES])
{
    const struct hint_row *row = &hint_rows[id];
    char shown[DISTANCE_BYTES], accepted[256], nearest[DISTANCE_BYTES];
    bool is_near = (row->type == HINT_CHOICE || row->type == HINT_BOOLEAN) &&
                   choice_nearest(choices_of(row), value, nearest);
    plain(value, shown);
    hint_accepted(id, accepted, sizeof accepted);
    snprintf(complaint, HINT_COMPLAINT_BYTES, "hint %s=%s (%s) has no effect; accepted: %s%s%s%s", row->name,
             shown, hint_source_name(source), accepted, is_near ? "; did you mean " : "",
             is_near ? nearest : "", is_near ? "?" : "");
}

enum hint_verdict hint_set_put(struct hint_set *set, enum hint_source source, const char *name,
                               const char *value, char complaint[HINT_COMPLAINT_BYTES])
{
    enum hint_id id = hint_find(name);
    uint64_t number;
    if (id == HINT_COUNT) {
        if (strncasecmp(name, OWN_PREFIX, strlen(OWN_PREFIX)) != 0)
            return HINT_FOREIGN;
        if (complaint != NULL)
            complain_unknown(name, source, complaint);
        return HINT_UNKNOWN;
    }
    const struct hint_row *row = &hint_rows[id];
    if (row->type == HINT_TOLD)
        return HINT_TAKEN;
    if (!parse(row, value, &number)) {
        if (complaint != NULL)
            complain_value(id, value, source, complaint);
        return HINT_REFUSED;
    }
    if (set == NULL || set->values[id].source > source)
        return HINT_TAKEN;
    if (row->type == HINT_TEXT || row->type == HINT_PLACEMENT)
        hint_set_text(set, id, source, value);
    else
        hint_set_number(set, id, source, number);
    return HINT_TAKEN;
}

/* ---- texts ------------------------------------------------------------ */

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Takes the blanks off both ends, and cuts off what is too long for any value. */
static void trim(const char *start, const char *end, char text[HINT_TEXT_BYTES_MAX + 2])
{
    while (start < end && is_blank(*start))
        start++;
    while (end > start && is_blank(end[-1]))
        end--;
    size_t length = (size_t)(end - start);
    if (length > HINT_TEXT_BYTES_MAX + 1)
        length = HINT_TEXT_BYTES_MAX + 1;
    memcpy(text, start, length);
    text[length] = '\0';
}

void hint_each(const char *text, hint_each_fn *each, void *argument)
{
    char name[HINT_TEXT_BYTES_MAX + 2], value[HINT_TEXT_BYTES_MAX + 2];
    while (*text != '\0') {
        const char *end = text + strcspn(text, ";");
        const char *equals = memchr(text, '=', (size_t)(end - text));
        trim(text, equals != NULL ? equals : end, name);
        if (equals != NULL)
            trim(equals + 1, end, value);
        if (name[0] != '\0' || equals != NULL)
            each(argument, name, equals != NULL ? value : NULL);
        text = *end == ';' ? end + 1 : end;
    }
}

struct parsing {
    struct hint_set *set;
    enum hint_source source;
    hint_complain_fn *complain;
    void *argument;
};

static void parse_one(void *argument, const char *name, const char *value)
{
    struct parsing *parsing = argument;
    char complaint[HINT_COMPLAINT_BYTES], shown[DISTANCE_BYTES];
    enum hint_id id = hint_find(name);
    plain(name, shown);
    if (value == NULL || name[0] == '\0')
        snprintf(complaint, sizeof complaint, "\"%s\" (%s) has no effect: it is no name=value", shown,
                 hint_source_name(parsing->source));
    else if (parsing->source == HINT_FROM_DIRECTORY && id < HINT_COUNT && hint_rows[id].place != HINT_IN_TEXT)
        snprintf(complaint, sizeof complaint, "hint %s (%s) has no effect: a directory's hints can't have it",
                 shown, hint_source_name(parsing->source));
    else if (hint_set_put(parsing->set, parsing->source, name, value, complaint) < HINT_UNKNOWN)
        return;
    parsing->complain(parsing->argument, complaint);
}

void hint_set_parse(struct hint_set *set, enum hint_source source, const char *text,
                    hint_complain_fn *complain, void *argument)
{
    struct parsing parsing = {set, source, complain, argument};
    hint_each(text, parse_one, &parsing);
}

/* ---- what several hints come to together ------------------------------ */

/* The hint by which reads or writes go. The standard's says something only with false. */
static enum hint_id deciding(const struct hint_set *set, bool is_write)
{
    enum hint_id romio = is_write ? HINT_romio_cb_write : HINT_romio_cb_read;
    enum hint_source by_own = set->values[HINT_weft_collective].source;
    enum hint_source by_romio = set->values[romio].source;
    enum hint_source by_standard = set->values[HINT_collective_buffering].number == 0
                                       ? set->values[HINT_collective_buffering].source
                                       : HINT_FROM_TABLE;
    if (by_own != HINT_FROM_TABLE && by_own >= by_romio && by_own >= by_standard)
        return HINT_weft_collective;
    if (by_romio != HINT_FROM_TABLE && by_romio >= by_standard)
        return romio;
    return by_standard != HINT_FROM_TABLE ? HINT_collective_buffering : HINT_weft_collective;
}

enum strategy hint_set_collective(const struct hint_set *set, bool is_write)
{
    enum hint_id id = deciding(set, is_write);
    /* automatic, enable, disable stand in the order of auto, two_phase, direct. */
    return id == HINT_collective_buffering ? STRATEGY_DIRECT : (enum strategy)set->values[id].number;
}

enum hint_source hint_set_collective_source(const struct hint_set *set, bool is_write)
{
    return set->values[deciding(set, is_write)].source;
}

/* Of two names for one thing, the later source's, or Weft's own. */
static uint64_t either(const struct hint_set *set, enum hint_id own, enum hint_id standard)
{
    const struct hint_value *a = &set->values[own], *b = &set->values[standard];
    if (a->is_set && (!b->is_set || a->source >= b->source))
        return a->number;
    return b->is_set ? b->number : 0;
}

uint64_t hint_set_chunk_size(const struct hint_set *set)
{
    return either(set, HINT_weft_chunk_size, HINT_striping_unit);
}

uint32_t hint_set_stripe_count(const struct hint_set *set)
{
    return (uint32_t)either(set, HINT_weft_stripe_count, HINT_striping_factor);
}
