/* SPDX-License-Identifier: Apache-2.0 */
/* Hints: every row of the table against its own rules, names, sources, and text from outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hint_set.h"

static struct hint_set set;
static char complaint[HINT_COMPLAINT_BYTES];

static int fresh(void **state)
{
    (void)state;
    hint_set_init(&set);
    return 0;
}

static enum hint_verdict put(enum hint_source source, const char *name, const char *value)
{
    complaint[0] = '\0';
    return hint_set_put(&set, source, name, value, complaint);
}

/* Taken, and told as `told`. */
static void takes(const char *name, const char *value, const char *told)
{
    assert_int_equal(put(HINT_FROM_INFO, name, value), HINT_TAKEN);
    assert_string_equal(complaint, "");
    assert_true(set.values[hint_find(name)].is_set);
    assert_string_equal(set.values[hint_find(name)].text, told);
}

/* Refused, with a complaint that names the hint and says this; nothing changes. */
static void refuses(const char *name, const char *value, const char *said)
{
    struct hint_set before = set;
    assert_int_equal(put(HINT_FROM_INFO, name, value), HINT_REFUSED);
    assert_non_null(strstr(complaint, name));
    assert_non_null(strstr(complaint, "(info) has no effect; accepted: "));
    if (!strstr(complaint, said))
        fail_msg("\"%s\" is not in: %s", said, complaint);
    assert_memory_equal(&before, &set, sizeof set);
}

/* ---- the table -------------------------------------------------------- */

static void rows_make_sense(void **state)
{
    (void)state;
    for (enum hint_id id = 0; id < HINT_COUNT; id++) {
        const struct hint_row *row = &hint_rows[id];
        bool has_choices = row->type == HINT_CHOICE;
        unsigned bars = 0;
        for (const char *at = row->choices; *at; at++)
            bars += *at == '|';
        assert_int_equal(hint_find(row->name), id);
        assert_null(hint_why_meaningless(row->name));
        assert_true(row->low <= row->high);
        assert_int_equal(has_choices, row->choices[0] != '\0');
        if (has_choices)
            assert_int_equal(row->high, bars);
        if (row->place == HINT_IN_LAYOUT)
            assert_int_equal(row->when, HINT_AT_CREATION);
        if (row->type == HINT_TOLD)
            assert_int_equal(row->place, HINT_IN_NOWHERE);
        assert_true(strlen(row->text) > 10 && row->text[strlen(row->text) - 1] == '.');
    }
}

/* Every preset is a value that the hint takes, and is told as it is written. */
static void presets(void **state)
{
    (void)state;
    for (enum hint_id id = 0; id < HINT_COUNT; id++) {
        const struct hint_value *value = &set.values[id];
        assert_int_equal(value->source, HINT_FROM_TABLE);
        assert_int_equal(value->is_set, hint_rows[id].preset[0] != '\0');
        assert_string_equal(value->text, hint_rows[id].preset);
    }
}

/* Both bounds are values, what is beyond them is none; in every number of the table. */
static void bounds(void **state)
{
    (void)state;
    for (enum hint_id id = 0; id < HINT_COUNT; id++) {
        const struct hint_row *row = &hint_rows[id];
        const char *format = row->type == HINT_OCTAL ? "%llo" : "%llu";
        char text[64];
        if (row->type != HINT_INTEGER && row->type != HINT_BYTES && row->type != HINT_OCTAL)
            continue;
        snprintf(text, sizeof text, format, (unsigned long long)row->low);
        assert_int_equal(put(HINT_FROM_INFO, row->name, text), HINT_TAKEN);
        assert_int_equal(set.values[id].number, row->low);
        snprintf(text, sizeof text, format, (unsigned long long)row->high);
        assert_int_equal(put(HINT_FROM_INFO, row->name, text), HINT_TAKEN);
        assert_int_equal(set.values[id].number, row->high);
        snprintf(text, sizeof text, format, (unsigned long long)row->high + 1);
        refuses(row->name, text, "");
        if (row->low > 1) {
            snprintf(text, sizeof text, format, (unsigned long long)row->low - 1);
            refuses(row->name, text, "");
        }
        if (row->low > 0) {
            enum hint_verdict zero = put(HINT_FROM_INFO, row->name, "0");
            assert_int_equal(zero, row->place == HINT_IN_LAYOUT ? HINT_TAKEN : HINT_REFUSED);
        }
        static const char *const nonsense[] = {
            "",    "-1", "+1",  "one", "1 2", "0x10", "1.5", "99999999999999999999", "18446744073709551616",
            "1e3", "K",  "1KK", "1Ki"};
        for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++)
            refuses(row->name, nonsense[i], "");
    }
}

/* ---- each type -------------------------------------------------------- */

static void integers(void **state)
{
    (void)state;
    takes("cb_nodes", "007", "7");
    refuses("cb_nodes", "2147483648", "a number from 1 to 2147483647");
    refuses("cb_nodes", "4K", "a number");
    takes("weft_stripe_count", "0", "0");
    refuses("weft_stripe_count", "4294967296", "0, or a number from 1 to 4294967295");
}

static void bytes(void **state)
{
    (void)state;
    takes("cb_buffer_size", "4k", "4096");
    takes("cb_buffer_size", "3M", "3145728");
    takes("cb_buffer_size", "1G", "1073741824");
    refuses("cb_buffer_size", "2G", "bytes, with K, M or G");
    refuses("cb_buffer_size", "17179869185G", "");
    refuses("cb_buffer_size", "18446744073709551615G", "");
    refuses("cb_buffer_size", "1T", "");
    takes("weft_chunk_size", "470080", "470080");
    takes("striping_unit", "4K", "4096");
    refuses("striping_unit", "4095", "0, or 4K to 1G bytes");
}

static void octal(void **state)
{
    (void)state;
    takes("file_perm", "640", "0640");
    takes("file_perm", "0", "0000");
    assert_int_equal(set.values[HINT_file_perm].number, 0);
    takes("file_perm", "07777", "7777");
    refuses("file_perm", "648", "an octal number from 0 to 7777");
    refuses("file_perm", "10000", "");
}

static void booleans(void **state)
{
    (void)state;
    takes("weft_explain", "TRUE", "true");
    assert_int_equal(set.values[HINT_weft_explain].number, 1);
    takes("weft_explain", "false", "false");
    refuses("weft_explain", "yes", "accepted: false, true");
    refuses("weft_explain", "1", "");
    refuses("weft_explain", "ture", "did you mean true?");
}

static void choices(void **state)
{
    (void)state;
    for (enum hint_id id = 0; id < HINT_COUNT; id++) {
        const struct hint_row *row = &hint_rows[id];
        if (row->type != HINT_CHOICE)
            continue;
        char all[256], *rest = all, *choice;
        uint64_t number = 0;
        snprintf(all, sizeof all, "%s", row->choices);
        while ((choice = strtok_r(rest, "|", &rest)) != NULL) {
            takes(row->name, choice, choice);
            assert_int_equal(set.values[id].number, number++);
        }
        refuses(row->name, row->choices[0] ? "|" : "", "");
        refuses(row->name, "", "");
    }
    takes("romio_cb_read", "Enable", "enable");
    refuses("romio_ds_write", "enable", "accepted: disable");
    refuses("weft_collective", "two-phase", "did you mean two_phase?");
    refuses("weft_collective", "twophase", "did you mean two_phase?");
    refuses("weft_collective", "something", "accepted: auto, two_phase, direct");
    assert_null(strstr(complaint, "did you mean"));
}

static void texts(void **state)
{
    (void)state;
    char longest[HINT_TEXT_BYTES_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[HINT_TEXT_BYTES_MAX + 1] = '\0';
    refuses("cb_config_list", longest, "a text of 1 to 1023 bytes");
    longest[HINT_TEXT_BYTES_MAX] = '\0';
    takes("cb_config_list", longest, longest);
    refuses("cb_config_list", "", "");
    longest[WEFT_POOL_BYTES_MAX + 1] = '\0';
    refuses("weft_pool", longest, "a text of 1 to 31 bytes");
    longest[WEFT_POOL_BYTES_MAX] = '\0';
    takes("weft_pool", longest, longest);
}

static void placements(void **state)
{
    (void)state;
    char longest[5 + WEFT_HOST_BYTES_MAX + 2];
    static const char *const wrong[] = {
        "", "here", "host", "host:", "host:a b", "host:a/b", "spread ", "local:x"};
    takes("weft_placement", "spread", "spread");
    takes("weft_placement", "Local", "Local"); /* libweft knows what is meant */
    takes("weft_placement", "host:node-7.cluster_1", "host:node-7.cluster_1");
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        refuses("weft_placement", wrong[i], "spread, local or host:NAME");
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "host:", 5);
    longest[5 + WEFT_HOST_BYTES_MAX + 1] = 0;
    refuses("weft_placement", longest, "spread, local or host:NAME");
    longest[5 + WEFT_HOST_BYTES_MAX] = 0;
    takes("weft_placement", longest, longest);
}

static void told_only(void **state)
{
    (void)state;
    assert_int_equal(put(HINT_FROM_INFO, "romio_aggregator_list", "0 1"), HINT_TAKEN);
    assert_false(set.values[HINT_romio_aggregator_list].is_set);
}

/* ---- names ------------------------------------------------------------ */

static void is_nearest(const char *name, const char *expected)
{
    const char *nearest = hint_nearest(name);
    if (expected == NULL) {
        assert_null(nearest);
        return;
    }
    assert_non_null(nearest);
    assert_string_equal(nearest, expected);
}

static void nearest_names(void **state)
{
    (void)state;
    is_nearest("weft_colective", "weft_collective");
    is_nearest("weft_collectvie", "weft_collective");
    is_nearest("WEFT_CHUNKSIZE", "weft_chunk_size");
    is_nearest("weft_durable", "weft_durability");
    is_nearest("cb_node", "cb_nodes");
    is_nearest("stripping_unit", "striping_unit");
    is_nearest("weft_strip_count", "weft_stripe_count");
    is_nearest("", NULL);
    is_nearest("weft_zzzzzzzzzzzzzzz", NULL);
    is_nearest("nothing_of_the_kind_at_all", NULL);
    char longest[300];
    memset(longest, 'w', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    is_nearest(longest, NULL);
    for (enum hint_id id = 0; id < HINT_COUNT; id++)
        is_nearest(hint_rows[id].name, hint_rows[id].name);
}

static void unknown_names(void **state)
{
    (void)state;
    struct hint_set before = set;
    assert_int_equal(put(HINT_FROM_ENVIRONMENT, "weft_colective", "auto"), HINT_UNKNOWN);
    assert_string_equal(complaint, "hint weft_colective (WEFT_HINTS) is unknown and has no effect; "
                                   "did you mean weft_collective?");
    assert_int_equal(put(HINT_FROM_INFO, "Weft_zzzzzzzzzzzzzzzz", "1"), HINT_UNKNOWN);
    assert_string_equal(complaint,
                        "hint Weft_zzzzzzzzzzzzzzzz (info) is unknown and has no effect; see man weft-hints");
    /* Of others' names nothing is said. */
    assert_int_equal(put(HINT_FROM_INFO, "cb_nodse", "1"), HINT_FOREIGN);
    assert_int_equal(put(HINT_FROM_INFO, "ind_rd_buffer_size", "1"), HINT_FOREIGN);
    assert_int_equal(put(HINT_FROM_INFO, "", "1"), HINT_FOREIGN);
    assert_string_equal(complaint, "");
    assert_memory_equal(&before, &set, sizeof set);
    assert_string_equal(hint_why_meaningless("ind_rd_buffer_size"), "there is no data sieving");
    assert_null(hint_why_meaningless("cb_nodse"));
}

/* What a terminal would take for a command is not passed on to it. */
static void complaints_are_plain(void **state)
{
    (void)state;
    char odd[400];
    memset(odd, 'x', sizeof odd);
    memcpy(odd, "weft_\x1b[2J\n\xc3\xa4", 11);
    odd[sizeof odd - 1] = '\0';
    assert_int_equal(put(HINT_FROM_INFO, odd, odd), HINT_UNKNOWN);
    for (const char *at = complaint; *at; at++)
        assert_true(*at >= ' ' && *at <= '~');
    assert_int_equal(put(HINT_FROM_INFO, "weft_collective", odd), HINT_REFUSED);
    for (const char *at = complaint; *at; at++)
        assert_true(*at >= ' ' && *at <= '~');
    assert_true(strlen(complaint) < sizeof complaint - 1);
}

/* ---- sources ---------------------------------------------------------- */

/* All orders of three sources: the same one counts. */
static void sources(void **state)
{
    (void)state;
    static const enum hint_source orders[6][3] = {{1, 2, 3}, {1, 3, 2}, {2, 1, 3},
                                                  {2, 3, 1}, {3, 1, 2}, {3, 2, 1}};
    static const char *const values[] = {"", "1", "2", "3"};
    assert_int_equal(HINT_FROM_DIRECTORY, 1);
    assert_int_equal(HINT_FROM_ENVIRONMENT, 2);
    assert_int_equal(HINT_FROM_INFO, 3);
    for (int i = 0; i < 6; i++) {
        enum hint_source highest = HINT_FROM_TABLE;
        hint_set_init(&set);
        for (int k = 0; k < 3; k++) {
            enum hint_source source = orders[i][k];
            highest = source > highest ? source : highest;
            assert_int_equal(put(source, "cb_nodes", values[source]), HINT_TAKEN);
            assert_int_equal(set.values[HINT_cb_nodes].source, highest);
            assert_string_equal(set.values[HINT_cb_nodes].text, values[highest]);
        }
    }
    /* In one source the last one. */
    takes("cb_nodes", "4", "4");
    takes("cb_nodes", "5", "5");
    /* A bad value of a high source leaves the low one's. */
    hint_set_init(&set);
    assert_int_equal(put(HINT_FROM_DIRECTORY, "cb_nodes", "6"), HINT_TAKEN);
    assert_int_equal(put(HINT_FROM_INFO, "cb_nodes", "x"), HINT_REFUSED);
    assert_string_equal(set.values[HINT_cb_nodes].text, "6");
}

static void collective_of(const char *text, enum strategy read, enum strategy write)
{
    assert_int_equal(hint_set_collective(&set, false), read);
    if (hint_set_collective(&set, true) != write)
        fail_msg("%s: writes are %d", text, hint_set_collective(&set, true));
}

/* The hints of strategies: a later source counts before a more exact name. */
static void collective(void **state)
{
    (void)state;
    collective_of("nothing", STRATEGY_AUTO, STRATEGY_AUTO);
    put(HINT_FROM_DIRECTORY, "collective_buffering", "false");
    collective_of("the standard's", STRATEGY_DIRECT, STRATEGY_DIRECT);
    put(HINT_FROM_DIRECTORY, "romio_cb_write", "enable");
    collective_of("ROMIO's", STRATEGY_DIRECT, STRATEGY_TWO_PHASE);
    put(HINT_FROM_DIRECTORY, "weft_collective", "auto");
    collective_of("Weft's", STRATEGY_AUTO, STRATEGY_AUTO);
    put(HINT_FROM_ENVIRONMENT, "romio_cb_read", "disable");
    collective_of("ROMIO's, later", STRATEGY_DIRECT, STRATEGY_AUTO);
    put(HINT_FROM_ENVIRONMENT, "weft_collective", "two_phase");
    collective_of("Weft's, later", STRATEGY_TWO_PHASE, STRATEGY_TWO_PHASE);
    put(HINT_FROM_INFO, "collective_buffering", "true");
    collective_of("the standard's true says nothing", STRATEGY_TWO_PHASE, STRATEGY_TWO_PHASE);
    put(HINT_FROM_INFO, "collective_buffering", "false");
    collective_of("the standard's false, last", STRATEGY_DIRECT, STRATEGY_DIRECT);
    /* The standard's true is no strategy of its own: what others say holds. */
    hint_set_init(&set);
    put(HINT_FROM_ENVIRONMENT, "romio_cb_write", "disable");
    put(HINT_FROM_INFO, "collective_buffering", "true");
    collective_of("true behind ROMIO's", STRATEGY_AUTO, STRATEGY_DIRECT);
    assert_int_equal(hint_set_collective_source(&set, true), HINT_FROM_ENVIRONMENT);
    assert_int_equal(hint_set_collective_source(&set, false), HINT_FROM_TABLE);
}

static void layout(void **state)
{
    (void)state;
    assert_int_equal(hint_set_chunk_size(&set), 0);
    assert_int_equal(hint_set_stripe_count(&set), 0);
    put(HINT_FROM_ENVIRONMENT, "striping_unit", "8192");
    put(HINT_FROM_ENVIRONMENT, "striping_factor", "3");
    assert_int_equal(hint_set_chunk_size(&set), 8192);
    assert_int_equal(hint_set_stripe_count(&set), 3);
    put(HINT_FROM_ENVIRONMENT, "weft_chunk_size", "16K");
    put(HINT_FROM_ENVIRONMENT, "weft_stripe_count", "2");
    assert_int_equal(hint_set_chunk_size(&set), 16384);
    assert_int_equal(hint_set_stripe_count(&set), 2);
    put(HINT_FROM_INFO, "striping_unit", "32K");
    put(HINT_FROM_INFO, "striping_factor", "0");
    assert_int_equal(hint_set_chunk_size(&set), 32768);
    assert_int_equal(hint_set_stripe_count(&set), 0);
}

/* ---- texts ------------------------------------------------------------ */

static char seen[4096];

static void note(void *argument, const char *name, const char *value)
{
    size_t used = strlen(seen);
    (void)argument;
    snprintf(seen + used, sizeof seen - used, "[%s|%s]", name, value != NULL ? value : "NULL");
}

static void splits(const char *text, const char *expected)
{
    seen[0] = '\0';
    hint_each(text, note, NULL);
    assert_string_equal(seen, expected);
}

static void parts(void **state)
{
    (void)state;
    splits("", "");
    splits(" ; ;;\t;\n", "");
    splits("a=1", "[a|1]");
    splits(" a = 1 ; b=2;", "[a|1][b|2]");
    splits("a=1=2;b==", "[a|1=2][b|=]");
    splits("a;=1;b=", "[a|NULL][|1][b|]");
    splits("list=host one:2,*:1", "[list|host one:2,*:1]");
    char longest[HINT_TEXT_BYTES_MAX + 200];
    memset(longest, 'v', sizeof longest);
    memcpy(longest, "n=", 2);
    longest[sizeof longest - 1] = '\0';
    seen[0] = '\0';
    hint_each(longest, note, NULL);
    assert_int_equal(strlen(seen), strlen("[n|]") + HINT_TEXT_BYTES_MAX + 1);
}

static unsigned complaint_count;
static char last_complaint[HINT_COMPLAINT_BYTES];

static void count_complaint(void *argument, const char *text)
{
    assert_ptr_equal(argument, &set);
    complaint_count++;
    snprintf(last_complaint, sizeof last_complaint, "%s", text);
}

static void parses(enum hint_source source, const char *text, unsigned complaints, const char *last)
{
    complaint_count = 0;
    hint_set_parse(&set, source, text, count_complaint, &set);
    assert_int_equal(complaint_count, complaints);
    if (complaints > 0 && !strstr(last_complaint, last))
        fail_msg("\"%s\" is not in: %s", last, last_complaint);
}

static void parsing(void **state)
{
    (void)state;
    parses(HINT_FROM_ENVIRONMENT, "cb_nodes=2; weft_chunk_size = 8K;other=1;file_perm=600", 0, "");
    assert_string_equal(set.values[HINT_cb_nodes].text, "2");
    assert_string_equal(set.values[HINT_weft_chunk_size].text, "8192");
    assert_string_equal(set.values[HINT_file_perm].text, "0600");
    parses(HINT_FROM_ENVIRONMENT, "weft_explain", 1, "\"weft_explain\" (WEFT_HINTS) has no effect: it is no");
    parses(HINT_FROM_ENVIRONMENT, "=1", 1, "it is no name=value");
    parses(HINT_FROM_ENVIRONMENT, "weft_x=1;cb_nodes=0;cb_nodes=3", 2, "cb_nodes=0");
    assert_string_equal(set.values[HINT_cb_nodes].text, "3");
    /* A directory keeps hints of the layout as its layout, and permissions not at all. */
    parses(HINT_FROM_DIRECTORY, "striping_unit=8192", 1, "a directory's hints can't have it");
    parses(HINT_FROM_DIRECTORY, "file_perm=0600;weft_explain=true", 1, "file_perm");
    assert_string_equal(set.values[HINT_weft_explain].text, "true");
}

/* ---- anything --------------------------------------------------------- */

static uint64_t random_state;

static uint32_t random_below(uint32_t bound)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % bound;
}

static void any_complaint(void *argument, const char *text)
{
    (void)argument;
    assert_true(strlen(text) > 0 && strlen(text) < HINT_COMPLAINT_BYTES);
    for (; *text; text++)
        assert_true(*text >= ' ' && *text <= '~');
}

/* Pieces that mean something, in any order and mixed with any bytes: whatever is taken keeps
 * the promises of the table. */
static void garbage(void **state)
{
    (void)state;
    static const char *const pieces[] = {"weft_",
                                         "collective",
                                         "=",
                                         ";",
                                         " ",
                                         "auto",
                                         "K",
                                         "0",
                                         "9",
                                         "cb_nodes=",
                                         "weft_chunk_size=",
                                         "18446744073709551615",
                                         "|",
                                         "\n",
                                         "striping_unit=4096",
                                         "weft_pool=",
                                         "cb_config_list=",
                                         "true",
                                         "-",
                                         "weft_explain=true;"};
    const char *given = getenv("WEFT_TEST_SEED");
    random_state = given != NULL ? strtoull(given, NULL, 10) : 1;
    print_message("WEFT_TEST_SEED=%llu\n", (unsigned long long)random_state);
    for (int run = 0; run < 20000; run++) {
        char text[1500];
        size_t length = 0, parts = random_below(40);
        for (size_t i = 0; i < parts; i++) {
            const char *piece = pieces[random_below(sizeof pieces / sizeof pieces[0])];
            if (random_below(4) == 0)
                text[length++] = (char)(1 + random_below(255));
            else
                length += (size_t)snprintf(text + length, sizeof text - length, "%s", piece);
        }
        text[length] = '\0';
        hint_set_init(&set);
        hint_set_parse(&set, 1 + random_below(3), text, any_complaint, NULL);
        for (enum hint_id id = 0; id < HINT_COUNT; id++) {
            const struct hint_row *row = &hint_rows[id];
            const struct hint_value *value = &set.values[id];
            if (!value->is_set || row->type == HINT_TEXT)
                continue;
            assert_true((value->number >= row->low && value->number <= row->high) ||
                        (value->number == 0 && row->place == HINT_IN_LAYOUT));
            /* What is told is understood, and means the same. */
            struct hint_set again;
            hint_set_init(&again);
            assert_int_equal(hint_set_put(&again, HINT_FROM_INFO, row->name, value->text, NULL), HINT_TAKEN);
            assert_int_equal(again.values[id].number, value->number);
        }
        hint_nearest(text);
    }
}

#define T(test) cmocka_unit_test_setup(test, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(rows_make_sense),
        T(presets),
        T(bounds),
        T(integers),
        T(bytes),
        T(octal),
        T(booleans),
        T(choices),
        T(texts),
        T(placements),
        T(told_only),
        T(nearest_names),
        T(unknown_names),
        T(sources),
        T(collective),
        T(layout),
        T(parts),
        T(parsing),
        T(complaints_are_plain),
        T(garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
