/* SPDX-License-Identifier: Apache-2.0 */
/* Which paths are Weft's, and what they are called inside the cluster. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "../../libclient/posix/path.h"

static void ours(const char *mount, const char *path, const char *inside)
{
    char out[PX_PATH_ROOM] = "";
    assert_int_equal(px_path_absolute(mount, path, out), PX_PATH_OURS);
    assert_string_equal(out, inside);
}

static void others(const char *mount, const char *path)
{
    char out[PX_PATH_ROOM] = "untouched";
    assert_int_equal(px_path_absolute(mount, path, out), PX_PATH_OTHER);
    assert_string_equal(out, "untouched");
}

static void below_the_mount_point(void **state)
{
    (void)state;
    ours("/weft", "/weft", "/");
    ours("/weft", "/weft/", "/");
    ours("/weft", "/weft/a/b", "/a/b");
    ours("/weft", "/weft/a/", "/a/");
    ours("/weft", "//weft//a", "//a");
    ours("/weft", "/./weft/./a", "/./a");
    ours("/mnt/deep", "/mnt/deep/a", "/a");
    ours("/mnt/deep", "/mnt/./deep", "/");
    ours("/weft", "weft:/a", "/a");
    ours("/weft", "weft:a", "/a");
    ours("/weft", "weft:", "/");
}

static void beside_it(void **state)
{
    (void)state;
    others("/weft", "/");
    others("/weft", "/wef");
    others("/weft", "/weft2/a");
    others("/weft", "/weftling");
    others("/weft", "/tmp/weft");
    others("/mnt/deep", "/mnt");
    others("/mnt/deep", "/mnt/deeper");
}

static void dots(void **state)
{
    char out[PX_PATH_ROOM];
    (void)state;
    /* What may be a symbolic link below the mount point is the server's to follow. */
    ours("/weft", "/weft/a/../b", "/a/../b");
    ours("/weft", "/tmp/../weft/a", "/a");
    ours("/weft", "/../weft/a", "/a");
    ours("/weft", "/weft/../weft/b", "/b");
    others("/weft", "/tmp/../etc");
    assert_int_equal(px_path_absolute("/weft", "/weft/../etc/passwd", out), PX_PATH_LEFT);
    assert_string_equal(out, "/etc/passwd");
    assert_int_equal(px_path_absolute("/weft", "/weft/a/../../etc", out), PX_PATH_LEFT);
    assert_string_equal(out, "/etc");
    assert_int_equal(px_path_absolute("/mnt/deep", "/mnt/deep/..", out), PX_PATH_LEFT);
    assert_string_equal(out, "/mnt");
}

static void relative(const char *base, const char *path, enum px_path kind, const char *wanted)
{
    char out[PX_PATH_ROOM] = "";
    assert_int_equal(px_path_relative("/weft", base, path, out), kind);
    assert_string_equal(out, wanted);
}

static void from_a_working_folder(void **state)
{
    (void)state;
    relative("/", "a", PX_PATH_OURS, "/a");
    relative("/", ".", PX_PATH_OURS, "/");
    relative("/a", ".", PX_PATH_OURS, "/a");
    relative("/a", "b/c", PX_PATH_OURS, "/a/b/c");
    relative("/a", "..", PX_PATH_OURS, "/a/..");
    relative("/a/b", "../../c", PX_PATH_OURS, "/a/b/../../c");
    relative("/", "..", PX_PATH_LEFT, "/");
    relative("/a", "../../etc/x", PX_PATH_LEFT, "/etc/x");
    relative("/a", "../../weft/x", PX_PATH_OURS, "/x");
}

static void long_ones(void **state)
{
    char path[2 * PX_PATH_ROOM] = "/weft/", out[PX_PATH_ROOM];
    (void)state;
    memset(path + 6, 'x', PX_PATH_ROOM);
    path[6 + PX_PATH_ROOM - 2] = '\0'; /* with its slash it fits to the byte */
    assert_int_equal(px_path_absolute("/weft", path, out), PX_PATH_OURS);
    assert_int_equal(strlen(out), PX_PATH_ROOM - 1);
    path[6 + PX_PATH_ROOM - 2] = 'x';
    path[6 + PX_PATH_ROOM - 1] = '\0';
    assert_int_equal(px_path_absolute("/weft", path, out), PX_PATH_TOO_LONG);
    assert_int_equal(px_path_relative("/weft", "/a", path + 6, out), PX_PATH_TOO_LONG);
}

static void mount_points(void **state)
{
    char out[32];
    (void)state;
    assert_true(px_path_mount("/weft", out, sizeof out));
    assert_string_equal(out, "/weft");
    assert_true(px_path_mount("//a/./b/../c/", out, sizeof out));
    assert_string_equal(out, "/a/c");
    assert_false(px_path_mount("/", out, sizeof out));
    assert_false(px_path_mount("/a/..", out, sizeof out));
    assert_false(px_path_mount("weft", out, sizeof out));
    assert_false(px_path_mount("", out, sizeof out));
    assert_false(px_path_mount(NULL, out, sizeof out));
    assert_false(px_path_mount("/a-mount-point-that-has-no-room-here", out, sizeof out));
}

static void target(const char *said, const char *kept)
{
    char in[PX_PATH_ROOM], out[PX_PATH_ROOM];
    assert_true(px_path_target_in("/weft", said, in, sizeof in));
    assert_string_equal(in, kept);
    assert_true(px_path_target_out("/weft", in, out, sizeof out));
    assert_string_equal(out, said);
}

static void targets_of_links(void **state)
{
    (void)state;
    target("a/b", "a/b");
    target("../a", "../a");
    target("/weft/a", "/a");
    target("/usr/bin/env", "/../usr/bin/env");
    target("/wefty", "/../wefty");
    target("/weft", "/");
    target("..", "..");
}

static void what_leads_outside_is_told(void **state)
{
    char kept[PX_PATH_ROOM];
    (void)state;
    assert_true(px_path_target_in("/weft", "/usr/bin/env", kept, sizeof kept));
    assert_string_equal(px_path_target_outside(kept), "/usr/bin/env");
    assert_true(px_path_target_in("/weft", "/weft/usr", kept, sizeof kept));
    assert_null(px_path_target_outside(kept));
    assert_null(px_path_target_outside("../usr"));
    assert_null(px_path_target_outside("/..usr"));
    assert_null(px_path_target_outside("/.."));
    assert_null(px_path_target_outside(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(below_the_mount_point), cmocka_unit_test(beside_it), cmocka_unit_test(dots),
        cmocka_unit_test(from_a_working_folder), cmocka_unit_test(long_ones), cmocka_unit_test(mount_points),
        cmocka_unit_test(targets_of_links),
        cmocka_unit_test(what_leads_outside_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
