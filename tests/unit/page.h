/* SPDX-License-Identifier: Apache-2.0 */
/* page.h: a page of the documentation, for tests that hold it against the code. After cmocka.h. */
#ifndef TEST_PAGE_H
#define TEST_PAGE_H

#include <stdio.h>
#include <stdlib.h>

/* The text, to be freed; NULL when the page is not there. `name` is from the top folder. */
static inline char *page_read(const char *name)
{
    char path[4096];
    const char *top = getenv("WEFT_TOP_SRCDIR");
    snprintf(path, sizeof path, "%s/%s", top ? top : ".", name);
    FILE *file = fopen(path, "r");
    if (!file)
        return NULL;
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    size_t length = fread(text, 1, (1 << 20) - 1, file);
    assert_true(length > 0 && length < (1 << 20) - 1);
    fclose(file);
    return text;
}

#endif
