/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of the kernel's table of mounts, sources of Weft's mounts, and paths that are on none. Paths that are
 * on one: tests/mount/test_past.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mountpoint.h"

#define CLUSTER "00112233445566778899aabbccddeeff"
#define SOURCE  "weft:/run7?cluster=" CLUSTER "&root=17&conf=/etc/weft.conf"

/* ---- the table ------------------------------------------------------------------------ */

static struct mountpoint mount;

static void reads(const char *line, uint64_t id, unsigned major, unsigned minor, const char *dir,
                  const char *source, bool is_read_only, unsigned user)
{
    if (!mountpoint_parse(line, &mount))
        fail_msg("not read: %s", line);
    assert_int_equal(mount.id, id);
    assert_int_equal(mount.major, major);
    assert_int_equal(mount.minor, minor);
    assert_string_equal(mount.dir, dir);
    assert_string_equal(mount.source, source);
    assert_int_equal(mount.is_read_only, is_read_only);
    assert_int_equal(mount.user, user);
}

static void lines_of_mounts(void **state)
{
    (void)state;
    reads("43 27 0:39 / /mnt/weft rw,nosuid,nodev,relatime - fuse.weft " SOURCE
          " rw,user_id=0,group_id=0,max_read=1048576\n",
          43, 0, 39, "/mnt/weft", SOURCE, false, 0);
    /* Optional fields, any number of them, without a line's end. */
    reads("1 2 0:1 / /m rw shared:3 - fuse.weft s rw,user_id=1000", 1, 0, 1, "/m", "s", false, 1000);
    reads("1 2 0:1 / /m rw shared:3 master:4 propagate_from:5 unbindable - fuse.weft s rw,user_id=1\n", 1, 0,
          1, "/m", "s", false, 1);
    /* A bind of a subfolder, a name with all that the kernel writes otherwise, one of its words as a name. */
    reads("1844674407370955160 2 4294967295:4294967295 /sub\\040dir /a\\040b\\011c\\012d\\134e - - "
          "fuse.weft s "
          "rw,user_id=4294967294\n",
          UINT64_MAX / 10 - 1, UINT32_MAX, UINT32_MAX, "/a b\tc\nd\\e", "s", false, 4294967294u);
    reads("1 2 0:1 / - rw - fuse.weft s rw,user_id=1\n", 1, 0, 1, "-", "s", false, 1);
    /* What is no escape stays. */
    reads("1 2 0:1 / /m\\04 rw - fuse.weft s\\999\\400 rw,user_id=1\n", 1, 0, 1, "/m\\04", "s\\999\\400",
          false, 1);
    /* Nobody writes through the mount, or to the file system at all. */
    reads("1 2 0:1 / /m nosuid,ro - fuse.weft s rw,user_id=1\n", 1, 0, 1, "/m", "s", true, 1);
    reads("1 2 0:1 / /m rw - fuse.weft s ro,user_id=1\n", 1, 0, 1, "/m", "s", true, 1);
    reads("1 2 0:1 / /ro rw,rox - fuse.weft ro rw,user_id=1\n", 1, 0, 1, "/ro", "ro", false, 1);
    /* Without a user it is nobody's. */
    reads("1 2 0:1 / /m rw - fuse.weft s\n", 1, 0, 1, "/m", "s", false, UINT_MAX);
    reads("1 2 0:1 / /m rw - fuse.weft s user_id=,user_id=x,user_id=99999999999\n", 1, 0, 1, "/m", "s", false,
          UINT_MAX);
}

static void lines_of_others(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",
        "\n",
        "43",
        "43 27 0:39 / /mnt rw",
        "43 27 0:39 / /mnt rw -",
        "43 27 0:39 / /mnt rw - fuse.weft",
        "43 27 0:39 / /mnt rw - fuse.weft\n",
        "43 27 0:39 / /mnt rw fuse.weft " SOURCE " rw\n",
        "22 27 0:21 / /proc rw,relatime - proc proc rw\n",
        "43 27 0:39 / /mnt rw - fuse.weftx " SOURCE " rw,user_id=0\n",
        "43 27 0:39 / /mnt rw - fuse " SOURCE " rw,user_id=0\n",
        "43 27 0:39 / /mnt rw - ext4 fuse.weft rw\n",
        /* A name of somebody's that looks like the end of a line. */
        "43 27 0:39 / /mnt\\040-\\040fuse.weft\\040s rw - tmpfs none rw\n",
        "x 27 0:39 / /mnt rw - fuse.weft s rw,user_id=0\n",
        "-1 27 0:39 / /mnt rw - fuse.weft s rw,user_id=0\n",
        "18446744073709551616 27 0:39 / /mnt rw - fuse.weft s rw,user_id=0\n",
        "43 27 039 / /mnt rw - fuse.weft s rw,user_id=0\n",
        "43 27 0: / /mnt rw - fuse.weft s rw,user_id=0\n",
        "43 27 :39 / /mnt rw - fuse.weft s rw,user_id=0\n",
        "43 27 0:4294967296 / /mnt rw - fuse.weft s rw,user_id=0\n",
        "43 27 0:39 / /m\\000nt rw - fuse.weft s rw,user_id=0\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (mountpoint_parse(lines[i], &mount))
            fail_msg("read: %s", lines[i]);
}

static void names_that_are_too_long(void **state)
{
    (void)state;
    char line[2 * PATH_MAX];
    for (int length = PATH_MAX - 1; length <= PATH_MAX; length++) {
        snprintf(line, sizeof line, "1 2 0:1 / /%0*d rw - fuse.weft s rw,user_id=0\n", length - 1, 0);
        assert_int_equal(mountpoint_parse(line, &mount), length < PATH_MAX);
        snprintf(line, sizeof line, "1 2 0:1 / /m rw - fuse.weft %0*d rw,user_id=0\n", length, 0);
        assert_int_equal(mountpoint_parse(line, &mount), length < PATH_MAX);
    }
}

struct seen {
    unsigned count, most;
    char dirs[64];
};

static bool see(void *arg, const struct mountpoint *found)
{
    struct seen *seen = arg;
    size_t used = strlen(seen->dirs);
    snprintf(seen->dirs + used, sizeof seen->dirs - used, "%s ", found->dir);
    return ++seen->count < seen->most;
}

static void a_table(void **state)
{
    (void)state;
    char file[] = "/tmp/weft-test-mountinfo-XXXXXX";
    struct seen all = {.most = 9}, one = {.most = 1}, none = {.most = 9};
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    assert_true(dprintf(fd, "22 27 0:21 / /proc rw - proc proc rw\n"
                            "43 27 0:39 / /a rw - fuse.weft s rw,user_id=0\n"
                            "44 27 0:40 / /x\\040-\\040fuse.weft\\040s rw - tmpfs none rw\n"
                            "\n"
                            "45 27 0:39 /sub /b rw shared:1 - fuse.weft s rw,user_id=0") > 0);
    close(fd);
    assert_true(mountpoint_each(file, see, &all));
    assert_string_equal(all.dirs, "/a /b ");
    assert_true(mountpoint_each(file, see, &one));
    assert_string_equal(one.dirs, "/a ");
    unlink(file);
    assert_false(mountpoint_each(file, see, &none));
    assert_int_equal(none.count, 0);
}

/* ---- sources ---------------------------------------------------------------------------- */

static struct mountpoint_source source, again;
static char text[MOUNTPOINT_SOURCE_BYTES];

/* What is written is read as it was, and has nothing in it that libfuse or the kernel takes for theirs. */
static void keeps(const char *path, const char *conf, bool is_cached)
{
    memset(&source, 0, sizeof source);
    snprintf(source.path, sizeof source.path, "%s", path);
    snprintf(source.conf, sizeof source.conf, "%s", conf);
    snprintf(source.cluster, sizeof source.cluster, "%s", CLUSTER);
    source.root = UINT64_MAX / 100;
    source.is_cached = is_cached;
    mountpoint_source_write(&source, text);
    assert_null(strpbrk(text, ", \\\n\t#"));
    if (!mountpoint_source_read(text, &again))
        fail_msg("not read: %s", text);
    assert_string_equal(again.cluster, CLUSTER);
    assert_int_equal(again.root, source.root);
    assert_int_equal(again.is_cached, is_cached);
}

static void sources_that_are_written(void **state)
{
    (void)state;
    char every[256], longest[WEFT_PATH_BYTES_MAX + 1];
    keeps("/", "/etc/weft/weft.conf", false);
    assert_string_equal(text, "weft:/?cluster=" CLUSTER "&root=184467440737095516&conf=/etc/weft/weft.conf");
    keeps("/run7", "", true);
    assert_string_equal(text, "weft:/run7?cluster=" CLUSTER "&root=184467440737095516&cache");
    for (int i = 0; i < 255; i++)
        every[i] = (char)(i + 1);
    every[255] = '\0';
    keeps(every, every, true);
    assert_string_equal(again.path, every);
    assert_string_equal(again.conf, every);
    /* What has no room is left out, the path last. */
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    keeps("/run7", longest, true);
    assert_string_equal(again.path, "/run7");
    assert_string_equal(again.conf, "");
    keeps(longest, "/etc/weft.conf", false);
    assert_string_equal(again.path, "");
    assert_string_equal(again.conf, "/etc/weft.conf");
    for (size_t length = MOUNTPOINT_SOURCE_BYTES - 200; length <= MOUNTPOINT_SOURCE_BYTES; length++) {
        longest[length] = '\0';
        keeps(longest, longest, true);
        assert_true(strcmp(again.path, longest) == 0 || again.path[0] == '\0');
        assert_true(strcmp(again.conf, longest) == 0 || again.conf[0] == '\0');
        longest[length] = 'x';
    }
}

static void sources_of_others(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "weft",
        "weft:/",
        "weft:/run7",
        "weft:/?",
        "server:/?cluster=" CLUSTER "&root=1",
        "weft:/?cluster=" CLUSTER,
        "weft:/?root=1",
        "weft:/?cluster=" CLUSTER "&root=0",
        "weft:/?cluster=" CLUSTER "&root=",
        "weft:/?cluster=" CLUSTER "&root=1x",
        "weft:/?cluster=" CLUSTER "&root=99999999999999999999",
        "weft:/?cluster=" CLUSTER "0&root=1",
        "weft:/?cluster=0011&root=1",
        "weft:/?cluster=zz112233445566778899aabbccddeeff&root=1",
        "weft:/%?cluster=" CLUSTER "&root=1",
        "weft:/%2?cluster=" CLUSTER "&root=1",
        "weft:/%zz?cluster=" CLUSTER "&root=1",
        "weft:/%00?cluster=" CLUSTER "&root=1",
        "weft:/?cluster=" CLUSTER "&root=1&conf=%0",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (mountpoint_source_read(texts[i], &again))
            fail_msg("read: %s", texts[i]);
    /* Of a later version, perhaps. */
    assert_true(
        mountpoint_source_read("weft:/?new&cluster=" CLUSTER "&newer=1&root=7&&cached&conf=", &again));
    assert_int_equal(again.root, 7);
    assert_false(again.is_cached);
}

/* ---- paths on no mount -------------------------------------------------------------------- */

static void paths_of_others(void **state)
{
    (void)state;
    static const char *const paths[] = {"/etc/passwd", "/etc",  "/proc/self/status", ".",  "..",     "/", "",
                                        "none",        "a/b/c", "/dev/null",         "x/", "weft:/a"};
    struct weft_mounted found;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        errno = EXDEV;
        assert_false(mountpoint_find(AT_FDCWD, paths[i], 0, &found));
        assert_int_equal(errno, EXDEV);
    }
    assert_false(mountpoint_find(-1, "name", 0, &found));
    assert_false(mountpoint_find(AT_FDCWD, NULL, 0, &found));
    assert_false(mountpoint_of(CLUSTER, &found));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_mounts),          cmocka_unit_test(lines_of_others),
        cmocka_unit_test(names_that_are_too_long),  cmocka_unit_test(a_table),
        cmocka_unit_test(sources_that_are_written), cmocka_unit_test(sources_of_others),
        cmocka_unit_test(paths_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
