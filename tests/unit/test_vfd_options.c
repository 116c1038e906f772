/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of the HDF5 driver. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "options.h"
#include "weft/weft.h"

static struct vfd_options options;
static char complaint[VFD_COMPLAINT_BYTES];

static int setup(void **state)
{
    (void)state;
    return unsetenv("WEFT_HINTS");
}

static void taken(const char *text)
{
    int error = vfd_options_parse(&options, text, complaint);
    assert_string_equal(complaint, "");
    assert_int_equal(error, 0);
}

static void refused(const char *text, const char *word)
{
    assert_int_equal(vfd_options_parse(&options, text, complaint), -EINVAL);
    if (!strstr(complaint, word))
        fail_msg("\"%s\" is complained of by: %s", text, complaint);
}

static void test_taken(void **state)
{
    (void)state;
    taken(NULL);
    assert_int_equal(options.cache_bytes, 16 << 20);
    assert_false(options.has_collective_metadata);
    assert_string_equal(options.folder, "/");
    assert_int_equal(hint_set_chunk_size(&options.hints), 0);
    taken("");
    taken("chunk_size=1M; weft_stripe_count=3 ;cache_size=64K;folder=/run 7;pool=fast;");
    assert_int_equal(hint_set_chunk_size(&options.hints), 1 << 20);
    assert_int_equal(hint_set_stripe_count(&options.hints), 3);
    assert_int_equal(options.cache_bytes, 65536);
    assert_string_equal(options.folder, "/run 7");
    assert_string_equal(options.hints.values[HINT_weft_pool].text, "fast");
    taken("collective_metadata=false;collective_metadata=true");
    assert_true(options.has_collective_metadata);
    taken("cache_size=0;striping_unit=8192;durability=close");
    assert_int_equal(options.cache_bytes, 0);
    assert_int_equal(hint_set_chunk_size(&options.hints), 8192);
    assert_int_equal(options.hints.values[HINT_weft_durability].number, 1);
    taken("ind_rd_buffer_size=5"); /* a hint of ROMIO without a meaning here */
}

static void test_refused(void **state)
{
    char long_text[VFD_CONFIG_BYTES_MAX + 20];
    (void)state;
    refused("chunk_sise=1M", "chunk_size");
    refused("chunk_size=much", "chunk_size");
    refused("chunk_size", "no value");
    refused("cache_size=-1", "cache_size");
    refused("cache_size=1X", "cache_size");
    refused("cache_size=99999999999999999999", "cache_size");
    refused("cache_size", "cache_size");
    refused("folder=here", "folder");
    refused("collective_metadata=1", "true or false");
    refused("some_nonsense=1", "some_nonsense");
    memset(long_text, 'a', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    refused(long_text, "bytes");
}

static void test_environment(void **state)
{
    (void)state;
    setenv("WEFT_HINTS", "weft_chunk_size=64K;weft_stripe_count=2;weft_nonsense=1", 1);
    taken("chunk_size=128K");
    assert_int_equal(hint_set_chunk_size(&options.hints), 128 << 10);
    assert_int_equal(hint_set_stripe_count(&options.hints), 2);
    /* Of an MPI_Info: where the text says nothing. */
    vfd_options_put(&options, "striping_factor", "4");
    vfd_options_put(&options, "weft_chunk_size", "256K");
    vfd_options_put(&options, "unknown", "1");
    assert_int_equal(hint_set_chunk_size(&options.hints), 128 << 10);
}

static void test_paths(void **state)
{
    char path[64];
    (void)state;
    static const struct {
        const char *config, *name, *path;
    } cases[] = {
        {"", "weft:/a/b.h5", "/a/b.h5"},
        {"", "/a/b.h5", "/a/b.h5"},
        {"", "b.h5", "/b.h5"},
        {"folder=/x", "b.h5", "/x/b.h5"},
        {"folder=/x/", "b.h5", "/x/b.h5"},
        {"folder=.", "b.h5", "/usr/b.h5"},
        {"folder=.", "/b.h5", "/b.h5"},
        {"folder=/x", "weft:c/b.h5", "/x/c/b.h5"},
        {"folder=/x", "weft:/c/b.h5", "/c/b.h5"},
    };
    assert_int_equal(chdir("/usr"), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        taken(cases[i].config);
        assert_int_equal(vfd_options_path(&options, cases[i].name, path, sizeof path), 0);
        assert_string_equal(path, cases[i].path);
    }
    assert_int_equal(vfd_options_path(&options, "weft:/1234567", path, 8), -ENAMETOOLONG);
    assert_int_equal(vfd_options_path(&options, "weft:/123456", path, 8), 0);
}

/* Names that may be paths on a mount. */
static void test_local_names(void **state)
{
    (void)state;
    static const struct {
        const char *config, *name;
        bool is_local;
    } cases[] = {
        {"", "/a/b.h5", true},        {"", "b.h5", true},
        {"", "weft:/a/b.h5", false},  {"folder=.", "b.h5", true},
        {"folder=/", "b.h5", false},  {"folder=/x", "b.h5", false},
        {"folder=/x", "/b.h5", true}, {"folder=.", "weft:b.h5", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        taken(cases[i].config);
        const char *local = vfd_options_local(&options, cases[i].name);
        assert_ptr_equal(local, cases[i].is_local ? cases[i].name : NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_taken, setup),       cmocka_unit_test_setup(test_refused, setup),
        cmocka_unit_test_setup(test_environment, setup), cmocka_unit_test_setup(test_paths, setup),
        cmocka_unit_test_setup(test_local_names, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
