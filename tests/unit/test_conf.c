/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: what is read, and that every error tells file, line and
 * setting. Each test writes its files into a folder of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"
#include "err.h"

#define KEY_TEXT "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F\n"

/* Sections that are right; a test takes them and puts one wrong thing beside. */
#define CLUSTER  "cluster = { name = \"local\"; key_file = \"cluster.key\"; };\n"
#define METADATA "metadata = { listen = \"127.0.0.1:7470\"; dir = \"metadata\"; };\n"
#define STORAGE                                                                                              \
    "storage = ( { name = \"s0\"; listen = \"127.0.0.1:7471\"; targets = ( { id = 0; dir = \"s0/t0\"; } ); " \
    "} );\n"

static char dir[512], path[600];

static void path_to(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", dir, name);
}

static void write_file(const char *name, const void *text, size_t length, mode_t mode)
{
    path_to(name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, length), length);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static int make_dir(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    char template[256];
    snprintf(template, sizeof template, "%s/weft-conf-XXXXXX", tmp ? tmp : "/tmp");
    /* The real one: messages show it without links. */
    if (!mkdtemp(template) || !realpath(template, dir))
        return -1;
    unsetenv("WEFT_CONF");
    write_file("cluster.key", KEY_TEXT, strlen(KEY_TEXT), 0600);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    static const char *const names[] = {"weft.conf",     "cluster.key", "link.conf",
                                        "sub/weft.conf", "sub",         "fifo"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        path_to(names[i]);
        if (unlink(path) != 0)
            rmdir(path);
    }
    return rmdir(dir);
}

static int load(const char *text, struct conf **conf)
{
    write_file("weft.conf", text, strlen(text), 0644);
    return conf_load(path, conf);
}

/* Loading fails with `error`, and the text has "FILE:LINE: " and `why`. */
static void expect_error(const char *text, int error, unsigned line, const char *why)
{
    char place[640];
    struct conf *conf = NULL;
    assert_int_equal(load(text, &conf), error);
    assert_null(conf);
    snprintf(place, sizeof place, "%s/weft.conf:%u: ", dir, line);
    if (strncmp(err_text(), place, strlen(place)) != 0)
        fail_msg("\"%s\" does not begin with \"%s\"", err_text(), place);
    if (!strstr(err_text(), why))
        fail_msg("\"%s\" does not say \"%s\"", err_text(), why);
}

static void expect_refused(const char *text, unsigned line, const char *why)
{
    expect_error(text, -EINVAL, line, why);
}

/* A whole file with `limits = { <limit> };` on line 3. */
static void expect_limit_refused(const char *limit, const char *why)
{
    char text[1024];
    snprintf(text, sizeof text, CLUSTER METADATA "limits = { %s };\n", limit);
    expect_refused(text, 3, why);
}

/* ---- what is read --------------------------------------------------------- */

static void the_documented_example_is_read(void **state)
{
    (void)state;
    struct conf *conf = NULL;
    char expected[600];
    const char *text =
        "# a comment\n" CLUSTER METADATA
        "storage = ( { name = \"s0\"; listen = \"127.0.0.1:7471\"; shards = 2;\n"
        "              targets = ( { id = 0; dir = \"s0/t0\"; store = \"files\"; },\n"
        "                          { id = 7; dir = \"/data/t7\"; } ); faults = \"bad/disk.conf\";\n"
        "                 host = \"n-1.a\"; chassis = \"c_1\"; rack = \"r1\"; },\n"
        "            { name = \"s1\"; listen = \"[::1]:0\";\n"
        "              targets = ( { id = 4294967295; dir = \"s0/t0\"; }, { id = 1; disk = \"/dev/sdx\"; } "
        "); } );\n"
        "layout = { chunk_size = \"64K\"; stripe_count = 3; };\n"
        "redundancy = { replicas = 3; failure_domain = \"rack\"; groups_per_target = 9; };\n"
        "limits = { deadline_ms = 500; heartbeat_ms = 50; lease_ms = 100; gather_ms = 7;\n"
        "           memory_bytes = \"32M\"; credit_bytes = 1048576; credit_requests = 2;\n"
        "           connections_max = 9; metadata_bytes_max = \"2G\"; };\n"
        "log = { level = \"debug\"; };\n"
        "mount = \"/scratch/weft\";\n"
        "discard_rate = \"2M\";\n"
        "sweep_interval_s = 77;\n"
        "direct_io = \"on\";\n"
        "store = \"chunks\";\n"
        "transport = \"ucx:tcp\";\n";
    assert_int_equal(load(text, &conf), 0);
    path_to("weft.conf");
    assert_string_equal(conf->file, path);
    assert_string_equal(conf->cluster_name, "local");
    for (unsigned i = 0; i < CONF_KEY_BYTES; i++)
        assert_int_equal(conf->key[i], i);
    assert_string_equal(conf->metadata_listen, "127.0.0.1:7470");
    snprintf(expected, sizeof expected, "%s/metadata", dir);
    assert_string_equal(conf->metadata_dir, expected);
    assert_int_equal(conf->storage_count, 2);
    assert_string_equal(conf->storage[0].name, "s0");
    assert_string_equal(conf->storage[0].listen, "127.0.0.1:7471");
    assert_int_equal(conf->storage[0].shards, 2);
    assert_int_equal(conf->storage[0].target_count, 2);
    snprintf(expected, sizeof expected, "%s/s0/t0", dir);
    assert_string_equal(conf->storage[0].targets[0].dir, expected);
    assert_int_equal(conf->storage[0].targets[1].id, 7);
    assert_string_equal(conf->storage[0].targets[1].dir, "/data/t7");
    snprintf(expected, sizeof expected, "%s/bad/disk.conf", dir);
    assert_string_equal(conf->storage[0].faults, expected);
    assert_null(conf->storage[1].faults);
    assert_string_equal(conf->storage[0].host, "n-1.a");
    assert_string_equal(conf->storage[0].chassis, "c_1");
    assert_string_equal(conf->storage[0].rack, "r1");
    assert_null(conf->storage[1].host);
    assert_null(conf->storage[1].rack);
    assert_string_equal(conf->storage[1].listen, "[::1]:0");
    assert_int_equal(conf->storage[1].shards, 1);
    assert_int_equal(conf->storage[1].targets[0].id, UINT32_MAX);
    assert_false(conf->storage[1].targets[0].is_disk);
    assert_true(conf->storage[1].targets[1].is_disk);
    assert_string_equal(conf->storage[1].targets[1].dir, "/dev/sdx");
    assert_int_equal(conf->chunk_size, 64 << 10);
    assert_int_equal(conf->discard_rate, 2 << 20);
    assert_int_equal(conf->sweep_interval_s, 77);
    assert_int_equal(conf->direct_io, CONF_DIRECT_ON);
    assert_int_equal(conf->stripe_count, 3);
    assert_int_equal(conf->replicas, 3);
    assert_int_equal(conf->failure_domain, PLACEMENT_RACK);
    assert_int_equal(conf->groups_per_target, 9);
    assert_int_equal(conf->deadline_ms, 500);
    assert_int_equal(conf->heartbeat_ms, 50);
    assert_int_equal(conf->lease_ms, 100);
    assert_int_equal(conf->gather_ms, 7);
    assert_int_equal(conf->memory_bytes, 32 << 20);
    assert_int_equal(conf->credit_bytes, 1 << 20);
    assert_int_equal(conf->credit_requests, 2);
    assert_int_equal(conf->connections_max, 9);
    assert_int_equal(conf->metadata_bytes_max, UINT64_C(2) << 30);
    assert_int_equal(conf->log_level, LOG_LEVEL_DEBUG);
    assert_string_equal(conf->transport, "ucx:tcp");
    assert_string_equal(conf->mount, "/scratch/weft");
    assert_string_equal(conf->store, "chunks");
    assert_string_equal(conf->storage[0].targets[0].store, "files");
    assert_null(conf->storage[0].targets[1].store);
    assert_ptr_equal(conf_storage_by_name(conf, "s1"), &conf->storage[1]);
    assert_null(conf_storage_by_name(conf, "s2"));
    conf_free(conf);
    conf_free(NULL);
}

static void what_is_not_said_has_its_default(void **state)
{
    (void)state;
    struct conf *conf = NULL;
    assert_int_equal(load(CLUSTER METADATA, &conf), 0);
    assert_int_equal(conf->storage_count, 0);
    assert_int_equal(conf->chunk_size, 1 << 20);
    assert_int_equal(conf->stripe_count, 0);
    assert_int_equal(conf->deadline_ms, 30000);
    assert_int_equal(conf->heartbeat_ms, 1000);
    assert_int_equal(conf->sweep_interval_s, 3600);
    assert_int_equal(conf->lease_ms, 10000);
    assert_int_equal(conf->gather_ms, 100);
    assert_int_equal(conf->memory_bytes, 64 << 20);
    assert_int_equal(conf->credit_bytes, 8 << 20);
    assert_int_equal(conf->credit_requests, 64);
    assert_int_equal(conf->connections_max, 4096);
    assert_int_equal(conf->metadata_bytes_max, UINT64_C(16) << 30);
    assert_int_equal(conf->log_level, LOG_LEVEL_INFO);
    assert_string_equal(conf->transport, "auto");
    assert_null(conf->mount);
    conf_free(conf);
}

/* libconfig 1.5 alone would make 0 of the first and -1294967296 of the second. */
static void large_numbers_are_not_cut_to_32_bits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t value;
    } cases[] = {
        {"17179869184", UINT64_C(17179869184)},
        {"3000000000", UINT64_C(3000000000)},
        {"17179869184L", UINT64_C(17179869184)},
        {"0x400000000", UINT64_C(0x400000000)},
        {"0x7fffffff", 0x7fffffff},
        {"2000000", 2000000},
        {"/* 1 */ 5000000000 # 2\n", UINT64_C(5000000000)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[1024];
        struct conf *conf = NULL;
        snprintf(text, sizeof text, CLUSTER METADATA "limits = { metadata_bytes_max = %s; };\n",
                 cases[i].text);
        assert_int_equal(load(text, &conf), 0);
        assert_int_equal(conf->metadata_bytes_max, cases[i].value);
        conf_free(conf);
    }
    expect_limit_refused("deadline_ms = 4294967297;", "limits.deadline_ms: 4294967297 is not from");
    expect_limit_refused("memory_bytes = -17179869184;", "limits.memory_bytes: -17179869184 is negative");
    expect_limit_refused("memory_bytes = 99999999999999999999999;", "limits.memory_bytes");
}

static void numbers_in_texts_and_comments_are_left_alone(void **state)
{
    (void)state;
    struct conf *conf = NULL;
    const char *text = "# 12345678901 @include \" (((((((((((((((((((\n"
                       "// 12345678901 @include \"\n"
                       "/* 12345678901 @include \" \n */\n"
                       "cluster = { name = \"a12345678901\"; key_file = \"cluster.key\"; };\n"
                       "metadata = { listen = \"127.0.0.1:7470\"; dir = \"@include \\\"12345678901\"; };\n";
    assert_int_equal(load(text, &conf), 0);
    assert_string_equal(conf->cluster_name, "a12345678901");
    assert_non_null(strstr(conf->metadata_dir, "/@include \"12345678901"));
    conf_free(conf);
}

static void the_file_is_found(void **state)
{
    (void)state;
    struct conf *conf = NULL;
    write_file("weft.conf", CLUSTER METADATA, strlen(CLUSTER METADATA), 0644);
    setenv("WEFT_CONF", path, 1);
    assert_int_equal(conf_load(NULL, &conf), 0);
    assert_string_equal(conf->file, path);
    conf_free(conf);
    setenv("WEFT_CONF", "/nowhere/weft.conf", 1);
    assert_int_equal(conf_load(NULL, &conf), -ENOENT);
    assert_non_null(strstr(err_text(), "/nowhere/weft.conf"));
    assert_int_equal(conf_load(path, &conf), 0); /* the argument comes first */
    conf_free(conf);
    unsetenv("WEFT_CONF");
}

static void paths_are_relative_to_the_real_file(void **state)
{
    (void)state;
    struct conf *conf = NULL;
    char expected[600], real[600], back[512];
    write_file("weft.conf", CLUSTER METADATA, strlen(CLUSTER METADATA), 0644);
    memcpy(real, path, sizeof real);
    snprintf(expected, sizeof expected, "%s/metadata", dir);

    path_to("link.conf");
    assert_int_equal(symlink(real, path), 0);
    assert_int_equal(conf_load(path, &conf), 0);
    assert_string_equal(conf->file, real);
    assert_string_equal(conf->metadata_dir, expected);
    conf_free(conf);

    assert_non_null(getcwd(back, sizeof back));
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(conf_load("weft.conf", &conf), 0);
    assert_int_equal(chdir(back), 0);
    assert_string_equal(conf->file, real);
    assert_string_equal(conf->metadata_dir, expected);
    conf_free(conf);
}

/* ---- what is refused ------------------------------------------------------ */

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    struct conf *conf = NULL;
    path_to("missing.conf");
    assert_int_equal(conf_load(path, &conf), -ENOENT);
    assert_non_null(strstr(err_text(), "weft up"));
    assert_int_equal(conf_load(dir, &conf), -EINVAL);
    assert_int_equal(conf_load("/dev/zero", &conf), -EINVAL);
    path_to("fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(conf_load(path, &conf), -EINVAL);
    write_file("weft.conf", "a = 1;\0b = 2;", 13, 0600);
    assert_int_equal(conf_load(path, &conf), -EINVAL);
    assert_non_null(strstr(err_text(), "NUL"));
    assert_int_equal(truncate(path, 17 << 20), 0);
    assert_int_equal(conf_load(path, &conf), -EINVAL);
    assert_null(conf);
}

static void what_may_not_be_read_is_told(void **state)
{
    (void)state;
    struct conf *conf = NULL;
    if (geteuid() == 0)
        skip(); /* root may read everything */
    write_file("weft.conf", CLUSTER METADATA, strlen(CLUSTER METADATA), 0000);
    assert_int_equal(conf_load(path, &conf), -EACCES);
    assert_non_null(strstr(err_text(), "weft.conf"));
}

static void errors_of_the_syntax_have_a_line(void **state)
{
    (void)state;
    expect_refused(CLUSTER "metadata = { listen = ; };\n", 2, "syntax error");
    expect_refused(CLUSTER CLUSTER METADATA, 2, "duplicate");
    expect_refused(CLUSTER "metadata = { dir = \"never ended; };\n", 2, "does not end");
    expect_refused(CLUSTER "metadata = { dir = \"never ended\\", 2, "does not end");
    expect_refused(CLUSTER METADATA "/* never ended\n\n", 3, "does not end");
    expect_refused("\n\n@include \"other.conf\"\n", 3, "@include");
    expect_refused("\na = ((((((((((((((((((((1))))))))))))))))))));\n", 2, "nested");
}

static void unknown_settings_are_refused_with_the_nearest(void **state)
{
    (void)state;
    expect_refused(CLUSTER METADATA "limit = { deadline_ms = 1; };\n", 3,
                   "limit: unknown setting; the nearest known "
                   "one is \"limits\"");
    expect_refused("cluster = { name = \"a\";\n keyfile = \"k\"; };\n" METADATA, 2,
                   "cluster.keyfile: unknown setting; the nearest known one is \"key_file\"");
    expect_refused(CLUSTER "metadata = { listen = \"h:1\"; directory = \"d\"; };\n", 2,
                   "metadata.directory: unknown setting; the nearest known one is \"dir\"");
    expect_limit_refused("dedline_ms = 1;", "limits.dedline_ms: unknown setting; the nearest known one is "
                                            "\"deadline_ms\"");
    expect_refused(CLUSTER METADATA
                   "storage = ( { name = \"s0\"; listen = \"h:1\"; shard = 1; targets = (); } );\n",
                   3, "storage[0].shard: unknown setting; the nearest known one is \"shards\"");
    expect_refused(CLUSTER METADATA
                   "storage = ( { name = \"s0\"; listen = \"h:1\";\n"
                   "targets = ( { id = 1; dir = \"a\"; },\n { id = 2; dirs = \"b\"; } ); } );\n",
                   5, "storage[0].targets[1].dirs: unknown setting; the nearest known one is \"dir\"");
}

static void missing_settings_are_named(void **state)
{
    (void)state;
    expect_refused(METADATA, 1, "\"cluster\" is missing");
    expect_refused("cluster = { key_file = \"k\"; };\n" METADATA, 1,
                   "cluster: the setting \"name\" is missing");
    expect_refused("cluster = { name = \"n\"; };\n" METADATA, 1,
                   "cluster: the setting \"key_file\" is missing");
    expect_refused(CLUSTER, 1, "\"metadata\" is missing");
    expect_refused(CLUSTER "metadata = { dir = \"d\"; };\n", 2,
                   "metadata: the setting \"listen\" is missing");
    expect_refused(CLUSTER "metadata = { listen = \"h:1\"; };\n", 2,
                   "metadata: the setting \"dir\" is missing");
    expect_refused(CLUSTER METADATA "storage = (\n { name = \"s0\"; listen = \"h:1\"; } );\n", 4,
                   "storage[0]: the setting \"targets\" is missing");
    expect_refused(CLUSTER METADATA
                   "storage = ( { name = \"s0\"; listen = \"h:1\"; targets = ( { id = 1; } ); } );\n",
                   3, "storage[0].targets[0]: the setting \"dir\" is missing");
}

static void wrong_types_are_refused(void **state)
{
    (void)state;
    expect_refused(CLUSTER METADATA "limits = 7;\n", 3, "limits: must be a group");
    expect_refused(CLUSTER METADATA "storage = { };\n", 3, "storage: must be a list of groups");
    expect_refused(CLUSTER METADATA "storage = ( { name = \"s0\"; listen = \"h:1\"; rack = \"a b\";\n"
                                    "  targets = ( { id = 0; dir = \"a\"; } ); } );\n",
                   3, "\"a b\" is no name");
    expect_refused(CLUSTER METADATA "storage = ( { name = \"s0\"; listen = \"h:1\"; host = \"\";\n"
                                    "  targets = ( { id = 0; dir = \"a\"; } ); } );\n",
                   3, "storage[0].host");
    expect_refused(CLUSTER METADATA "storage = ( { name = \"s0\"; listen = \"h:1\"; faults = 5;\n"
                                    "targets = ( { id = 1; dir = \"d\"; } ); } );\n",
                   3, "storage[0].faults: must be a string");
    expect_refused(CLUSTER METADATA "storage = ( 5 );\n", 3, "storage[0]: must be a group");
    expect_refused(CLUSTER METADATA "mount = \"weft\";\n", 3, "mount: must be an absolute path");
    expect_refused(CLUSTER METADATA "mount = \"//\";\n", 3, "mount: must be an absolute path");
    expect_refused(CLUSTER METADATA "transport = 5;\n", 3, "transport: must be a string");
    expect_refused(CLUSTER METADATA "direct_io = \"yes\";\n", 3,
                   "direct_io: \"yes\": write \"auto\", \"on\"");
    expect_refused(CLUSTER METADATA "sweep_interval_s = -1;\n", 3, "sweep_interval_s: -1 is not from 0 to");
    expect_refused(CLUSTER METADATA "discard_rate = 1000;\n", 3,
                   "discard_rate: must be 0, or 1M at the least");
    expect_refused(CLUSTER METADATA "store = \"blocks\";\n", 3, "write \"files\" or \"chunks\"");
    expect_refused(CLUSTER METADATA "storage = ( { name = \"s0\"; listen = \"h:1\";\n"
                                    "targets = ( { id = 0; dir = \"x\";\n disk = \"y\"; } ); } );\n",
                   5, "targets[0].disk: a target has a dir or a disk, not both");
    expect_refused(CLUSTER METADATA "storage = ( { name = \"s0\"; listen = \"h:1\";\n"
                                    "targets = ( { id = 0; disk = \"x\";\n store = \"files\"; } ); } );\n",
                   5, "targets[0].store: a disk has the store \"chunks\"");
    expect_refused(CLUSTER METADATA
                   "storage = ( { name = \"s0\"; listen = \"h:1\";\n"
                   "targets = ( { id = 0; disk = \"x\"; },\n { id = 1; dir = \"x\"; } ); } );\n",
                   5, "targets[1].dir: another target of this server has ");
    expect_refused(CLUSTER METADATA "transport = \"\";\n", 3, "transport: must not be empty");
    expect_refused(CLUSTER METADATA "transport = \"pigeons\";\n", 3, "no transport 'pigeons'");
    expect_refused(CLUSTER METADATA "transport = \"ucx+ucx:tcp\";\n", 3, "names ucx twice");
    expect_refused(CLUSTER "metadata = { listen = \"h:1\"; dir = \"a\\nb\"; };\n", 2,
                   "metadata.dir: contains a control character");
    expect_limit_refused("deadline_ms = 1.5;", "limits.deadline_ms: must be a whole number");
    expect_limit_refused("deadline_ms = \"1000\";", "limits.deadline_ms: must be a whole number");
    expect_limit_refused("memory_bytes = 1e9;", "limits.memory_bytes: must be a string");
    expect_limit_refused("memory_bytes = \"64X\";", "limits.memory_bytes: \"64X\" is no size");
}

static void values_out_of_bounds_are_refused(void **state)
{
    (void)state;
    expect_limit_refused("deadline_ms = 0;", "limits.deadline_ms: 0 is not from");
    expect_limit_refused("deadline_ms = -1;", "limits.deadline_ms: -1 is not from");
    expect_limit_refused("memory_bytes = \"1M\";", "limits.memory_bytes: 1048576 bytes are not from 8388608");
    expect_limit_refused("credit_requests = 0;", "limits.credit_requests");
    expect_limit_refused("heartbeat_ms = 6000;",
                         "lease_ms (10000) must be at least twice heartbeat_ms (6000)");
    expect_refused(CLUSTER METADATA "layout = { chunk_size = 4095; };\n", 3, "layout.chunk_size: 4095 bytes");
    expect_refused(CLUSTER METADATA "layout = { stripe_count = 65537; };\n", 3,
                   "layout.stripe_count: 65537 is not");
    expect_refused(CLUSTER METADATA "redundancy = { replicas = 0; };\n", 3, "redundancy.replicas: 0 is not");
    expect_refused(CLUSTER METADATA "redundancy = { failure_domain = \"target\"; };\n", 3,
                   "\"target\" is none of server, host, chassis and rack");
    expect_refused(CLUSTER METADATA "log = { level = \"loud\"; };\n", 3,
                   "log.level: \"loud\" is no log level");
}

static void addresses_and_names_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {"7470",    "host",       ":7470",      "host:",     "host:x",
                                      "host:-1", "host:65536", "host:7470x", "host: 7470"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, CLUSTER "metadata = { listen = \"%s\"; dir = \"d\"; };\n", bad[i]);
        expect_refused(text, 2, "metadata.listen: \"");
    }
    expect_refused(CLUSTER METADATA "storage = ( { name = \"s0\"; listen = \"h:65535\"; shards = 2;\n"
                                    "targets = ( { id = 1; dir = \"d\"; } ); } );\n",
                   3, "storage[0].listen: 2 shards need ports up to 65536");
    expect_refused("cluster = { name = \"a b\"; key_file = \"cluster.key\"; };\n" METADATA, 1,
                   "cluster.name: \"a b\" is no name");
}

/* What says where shards run, on line 4 of a server with two of them. */
#define TWO_SHARDS(setting)                                                                 \
    CLUSTER METADATA "storage = ( { name = \"s0\"; listen = \"h:1\"; shards = 2;\n" setting \
                     " targets = ( { id = 1; dir = \"d\"; capacity = \"8T\"; device = \"nvme0n1\"; }"    \
                     " ); } );\n"

static void where_shards_run_is_read(void **state)
{
    (void)state;
    struct conf *conf = NULL;
    char expected[640];
    assert_int_equal(load(TWO_SHARDS(""), &conf), 0);
    assert_int_equal(conf->storage[0].binding.mode, CONF_BINDING_AUTO);
    assert_null(conf->storage[0].binding.cores.items);
    assert_null(conf->storage[0].binding.numa.items);
    assert_null(conf->storage[0].binding.devices.items);
    assert_string_equal(conf->storage[0].targets[0].device, "nvme0n1");
    assert_int_equal(conf->storage[0].targets[0].capacity, UINT64_C(8) << 40);
    conf_free(conf);
    assert_int_equal(load(TWO_SHARDS("binding = \"always\"; cores = (3, \"0-1,8\"); numa = 1;\n"
                                     "devices = [\"mlx5_0\", \"eth0\"];\n"),
                          &conf),
                     0);
    const struct conf_binding *told = &conf->storage[0].binding;
    assert_int_equal(told->mode, CONF_BINDING_ALWAYS);
    assert_string_equal(told->cores.items[0], "3");
    assert_string_equal(told->cores.items[1], "0-1,8");
    snprintf(expected, sizeof expected, "%s/weft.conf:4: storage[0].cores", dir);
    assert_string_equal(told->cores.where, expected);
    assert_string_equal(told->numa.items[0], "1");
    assert_string_equal(told->numa.items[1], "1");
    assert_string_equal(told->devices.items[0], "mlx5_0,eth0");
    assert_string_equal(told->devices.items[1], "mlx5_0,eth0");
    conf_free(conf);
    assert_int_equal(load(TWO_SHARDS("binding = \"none\"; numa = [0, 1];\n"
                                     "devices = ([\"mlx5_0:1\"], [\"mlx5_1\", \"lo\"]);\n"),
                          &conf),
                     0);
    assert_int_equal(conf->storage[0].binding.mode, CONF_BINDING_NONE);
    assert_string_equal(conf->storage[0].binding.numa.items[1], "1");
    assert_string_equal(conf->storage[0].binding.devices.items[0], "mlx5_0:1");
    assert_string_equal(conf->storage[0].binding.devices.items[1], "mlx5_1,lo");
    conf_free(conf);
}

static void where_shards_run_is_checked(void **state)
{
    (void)state;
    expect_refused(TWO_SHARDS("binding = \"tight\";\n"), 4,
                   "storage[0].binding: \"tight\" is no way to bind");
    expect_refused(TWO_SHARDS("cores = 3;\n"), 4, "storage[0].cores: must have one entry for each shard");
    expect_refused(TWO_SHARDS("cores = [3];\n"), 4, "storage[0].cores: has 1 entries for 2 shards");
    expect_refused(TWO_SHARDS("cores = [3, -1];\n"), 4, "storage[0].cores[1]: -1 is not from 0 to 65535");
    static const char *const bad[] = {"", "a", "1,", ",1", "3-1", "1-", "0-65536", "1 2"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[1024];
        snprintf(text, sizeof text, TWO_SHARDS("cores = [\"0\", \"%s\"];\n"), bad[i]);
        expect_refused(text, 4, "storage[0].cores[1]: must be the number of a CPU, or CPUs as \"0-3,8\"");
    }
    expect_refused(TWO_SHARDS("binding = \"none\";\ncores = [0, 1];\n"), 5,
                   "storage[0].cores: says where shards run, but binding is \"none\"");
    expect_refused(TWO_SHARDS("numa = \"0\";\n"), 4, "storage[0].numa: must be the number of a NUMA node");
    expect_refused(TWO_SHARDS("numa = [0, 1, 2];\n"), 4, "storage[0].numa: has 3 entries for 2 shards");
    expect_refused(TWO_SHARDS("numa = [0.5, 1.5];\n"), 4, "storage[0].numa[0]: must be the number");
    expect_refused(TWO_SHARDS("devices = \"eth0\";\n"), 4, "storage[0].devices: must be names");
    expect_refused(TWO_SHARDS("devices = [];\n"), 4, "storage[0].devices: must be names");
    expect_refused(TWO_SHARDS("devices = [\"eth0,eth1\"];\n"), 4, "storage[0].devices[0]: must be the name");
    expect_refused(TWO_SHARDS("devices = ([\"eth0\"]);\n"), 4,
                   "storage[0].devices: has 1 entries for 2 shards");
    expect_refused(TWO_SHARDS("devices = ([\"eth0\"], 5);\n"), 4, "storage[0].devices[1]: must be names");
}

static void what_must_differ_is_checked(void **state)
{
    (void)state;
#define TWO_SERVERS(name, id, dir_)                                                                    \
    CLUSTER METADATA "storage = (\n"                                                                   \
                     "{ name = \"s0\"; listen = \"a:1\"; targets = ( { id = 3; dir = \"x\"; } ); },\n" \
                     "{ name = \"" name "\"; listen = \"b:1\"; targets = (\n"                          \
                     "{ id = 4; dir = \"x\"; },\n"                                                     \
                     "{ id = " id "; dir = \"" dir_ "\"; } ); } );\n"
    struct conf *conf = NULL;
    assert_int_equal(load(TWO_SERVERS("s1", "5", "y"), &conf), 0);
    conf_free(conf);
    expect_refused(TWO_SERVERS("s0", "5", "y"), 5, "another storage server is named \"s0\" too");
    expect_refused(TWO_SERVERS("s1", "3", "y"), 7,
                   "storage[1].targets[1].id: another target has the id 3 too");
    expect_refused(TWO_SERVERS("s1", "5", "x"), 7,
                   "storage[1].targets[1].dir: another target of this server");
}

/* ---- the key -------------------------------------------------------------- */

static void a_key_that_others_may_read_is_refused(void **state)
{
    (void)state;
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0644, 0666, 0610};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        write_file("cluster.key", KEY_TEXT, strlen(KEY_TEXT), modes[i]);
        expect_error(CLUSTER METADATA, -EACCES, 1, "chmod 600 ");
        assert_non_null(strstr(err_text(), "/cluster.key\""));
    }
    struct conf *conf = NULL;
    write_file("cluster.key", KEY_TEXT, strlen(KEY_TEXT), 0400);
    assert_int_equal(load(CLUSTER METADATA, &conf), 0);
    conf_free(conf);
}

static void what_is_no_key_is_refused(void **state)
{
    (void)state;
    char text[] = KEY_TEXT "\n";
    size_t length = strlen(KEY_TEXT);
    struct conf *conf = NULL;

    write_file("cluster.key", text, length - 1, 0600); /* the newline may be missing */
    assert_int_equal(load(CLUSTER METADATA, &conf), 0);
    conf_free(conf);
    static const size_t wrong[] = {0, 1, 63};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        write_file("cluster.key", text, wrong[i], 0600);
        expect_refused(CLUSTER METADATA, 1, "is no cluster key");
    }
    write_file("cluster.key", text, length + 1, 0600);
    expect_refused(CLUSTER METADATA, 1, "is no cluster key");
    text[64] = 'f';
    write_file("cluster.key", text, length, 0600);
    expect_refused(CLUSTER METADATA, 1, "is no cluster key");
    text[64] = '\n';
    text[10] = 'g';
    write_file("cluster.key", text, length, 0600);
    expect_refused(CLUSTER METADATA, 1, "is no cluster key");
    text[10] = '\0';
    write_file("cluster.key", text, length, 0600);
    expect_refused(CLUSTER METADATA, 1, "is no cluster key");
    path_to("cluster.key");
    unlink(path);
    expect_error(CLUSTER METADATA, -ENOENT, 1, "cluster.key: ");
}

/* ---- sizes ---------------------------------------------------------------- */

static void sizes_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"470080", 470080},
        {"64K", 65536},
        {"64k", 65536},
        {"1M", 1 << 20},
        {"3G", UINT64_C(3) << 30},
        {"2T", UINT64_C(2) << 40},
        {"18446744073709551615", UINT64_MAX},
        {"16777215T", UINT64_C(16777215) << 40},
    };
    static const char *const bad[] = {"",          "K",
                                      "-1",        "+1",
                                      " 1",        "1 ",
                                      "1KB",       "1.5M",
                                      "0x10",      "1P",
                                      "1e6",       "18446744073709551616",
                                      "16777216T", "99999999999999999999999K"};
    uint64_t bytes;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        bytes = 1;
        assert_int_equal(conf_parse_size(good[i].text, &bytes), 0);
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        bytes = 12345;
        assert_int_equal(conf_parse_size(bad[i], &bytes), -EINVAL);
        assert_int_equal(bytes, 12345);
    }
}

#define IN_A_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_DIR(the_documented_example_is_read),
        IN_A_DIR(what_is_not_said_has_its_default),
        IN_A_DIR(large_numbers_are_not_cut_to_32_bits),
        IN_A_DIR(numbers_in_texts_and_comments_are_left_alone),
        IN_A_DIR(the_file_is_found),
        IN_A_DIR(paths_are_relative_to_the_real_file),
        IN_A_DIR(what_is_no_file_is_refused),
        IN_A_DIR(what_may_not_be_read_is_told),
        IN_A_DIR(errors_of_the_syntax_have_a_line),
        IN_A_DIR(unknown_settings_are_refused_with_the_nearest),
        IN_A_DIR(missing_settings_are_named),
        IN_A_DIR(wrong_types_are_refused),
        IN_A_DIR(values_out_of_bounds_are_refused),
        IN_A_DIR(addresses_and_names_are_checked),
        IN_A_DIR(where_shards_run_is_read),
        IN_A_DIR(where_shards_run_is_checked),
        IN_A_DIR(what_must_differ_is_checked),
        IN_A_DIR(a_key_that_others_may_read_is_refused),
        IN_A_DIR(what_is_no_key_is_refused),
        cmocka_unit_test(sizes_are_read),
    };
    return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
