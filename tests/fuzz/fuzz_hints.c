/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_hints: any text as WEFT_HINTS, and as the hints of a directory. What is
 * taken must be as the table of hints says, what is not must be told in plain text.
 */
#include "fuzz.h"
#include "hint_set.h"

static void complain(void *argument, const char *complaint)
{
    (void)argument;
    require(complaint[0] != '\0' && strlen(complaint) < HINT_COMPLAINT_BYTES);
    for (const char *at = complaint; *at; at++)
        require(*at >= ' ' && *at <= '~');
}

static void check_value(enum hint_id id, const struct hint_value *value, enum hint_source source)
{
    static struct hint_set again; /* its values are replaced before they are looked at */
    const struct hint_row *row = &hint_rows[id];
    require(value->source == HINT_FROM_TABLE || value->source == source);
    require(memchr(value->text, '\0', sizeof value->text) != NULL);
    if (value->source == HINT_FROM_TABLE)
        return;
    require(value->is_set && row->type != HINT_TOLD);
    require(source != HINT_FROM_DIRECTORY || row->place == HINT_IN_TEXT);
    if (row->type == HINT_TEXT)
        require(value->text[0] != '\0' && strlen(value->text) <= row->high);
    else
        require((value->number >= row->low && value->number <= row->high) ||
                (value->number == 0 && row->place == HINT_IN_LAYOUT));
    /* What is told is understood, and means the same. */
    require(hint_set_put(&again, HINT_FROM_INFO, row->name, value->text, NULL) == HINT_TAKEN);
    require(again.values[id].number == value->number && strcmp(again.values[id].text, value->text) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct hint_set set;
    char *text = fuzz_text(data, size);
    for (enum hint_source source = HINT_FROM_DIRECTORY; source <= HINT_FROM_ENVIRONMENT; source++) {
        hint_set_init(&set);
        hint_set_parse(&set, source, text, complain, NULL);
        for (enum hint_id id = 0; id < HINT_COUNT; id++)
            check_value(id, &set.values[id], source);
        require(hint_set_collective(&set, true) < STRATEGY_COUNT);
        require(hint_set_chunk_size(&set) <= WEFT_CHUNK_BYTES_MAX);
    }
    free(text);
    return 0;
}
