/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration: defaults, merging, rules, sizes, and the JSON form there and back. */
#include <config.h>

#include "msb-config.h"
#include "msb-json.h"
#include "test-util.h"

static MsbConfig *
config_good(void)
{
    MsbConfig *c = msb_config_new();

    msb_config_set_name(c, "box");
    msb_config_set_image(c, "busybox");
    return c;
}

static void
test_defaults(void)
{
    g_autoptr(MsbConfig) c = config_good();
    g_autoptr(GError) error = NULL;
    g_autofree char *hostname = msb_config_dup_hostname(c);

    g_assert_cmpuint(msb_config_get_cpus(c), ==, 1);
    g_assert_cmpuint(msb_config_get_memory_mib(c), ==, 512);
    g_assert_cmpuint(msb_config_get_root_disk_bytes(c), ==, G_GUINT64_CONSTANT(4) << 30);
    g_assert_cmpstr(msb_config_get_shell(c), ==, "/bin/sh");
    g_assert_cmpstr(hostname, ==, "box");
    g_assert_cmpint(msb_config_get_root_kind(c), ==, MSB_ROOT_IMAGE);
    msb_config_validate(c, &error);
    g_assert_no_error(error);
}

static void
test_env(void)
{
    g_autoptr(MsbConfig) c = config_good();
    g_autoptr(GError) error = NULL;
    const char *const *env;

    g_assert_true(msb_config_add_env(c, "A=1", &error));
    g_assert_true(msb_config_add_env(c, "AB=2", &error));
    g_assert_true(msb_config_add_env(c, "EMPTY=", &error));
    g_assert_true(msb_config_add_env(c, "A=3=4", &error));
    env = msb_config_get_env(c);
    g_assert_cmpstr(env[0], ==, "AB=2");
    g_assert_cmpstr(env[1], ==, "EMPTY=");
    g_assert_cmpstr(env[2], ==, "A=3=4");
    g_assert_null(env[3]);
    g_assert_false(msb_config_add_env(c, "NOVALUE", &error));
    assert_failed_with(error, MSB_ERROR_INVALID, "'NOVALUE' is not KEY=VALUE");
    g_assert_false(msb_config_add_env(c, "=x", &error));
    assert_failed_with(error, MSB_ERROR_INVALID, "no name");
    g_assert_false(msb_config_add_env(c, "MSB_HOME=x", &error));
    assert_failed_with(error, MSB_ERROR_INVALID, "reserved");
}

static void
test_labels(void)
{
    g_autoptr(MsbConfig) c = config_good();
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) keys = NULL;

    g_assert_true(msb_config_add_label(c, "tier=gold", &error));
    g_assert_true(msb_config_add_label(c, "app", &error));
    g_assert_true(msb_config_add_label(c, "tier=a=b", &error));
    keys = msb_config_dup_label_keys(c);
    g_assert_cmpuint(g_strv_length(keys), ==, 2);
    g_assert_cmpstr(keys[0], ==, "app");
    g_assert_cmpstr(msb_config_get_label(c, "tier"), ==, "a=b");
    g_assert_cmpstr(msb_config_get_label(c, "app"), ==, "");
    g_assert_null(msb_config_get_label(c, "other"));
    g_assert_false(msb_config_add_label(c, "sandbox.x=1", &error));
    assert_failed_with(error, MSB_ERROR_INVALID, "'sandbox.' are reserved");
    g_assert_false(msb_config_add_label(c, "=1", &error));
    assert_failed_with(error, MSB_ERROR_INVALID, "no key");
}

static void
test_names(void)
{
    static const char *const good[] = { "a", "0", "a.b_c-d", "A9" };
    static const char *const wrong[] = { "", "-a", ".a", "_a", "a b", "a/b", "a\n", "\xc3\xa4", ".." };
    g_autofree char *longest = g_strnfill(128, 'x'), *too_long = g_strnfill(129, 'x');
    gsize i;

    for (i = 0; i < G_N_ELEMENTS(good); i++)
        g_assert_true(msb_name_validate("sandbox", good[i], NULL));
    g_assert_true(msb_name_validate("sandbox", longest, NULL));
    g_assert_false(msb_name_validate("sandbox", too_long, NULL));
    g_assert_false(msb_name_validate("sandbox", NULL, NULL));
    for (i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(msb_name_validate("volume", wrong[i], &error));
        assert_failed_with(error, MSB_ERROR_INVALID, "volume name");
    }
}

static void
test_hostname(void)
{
    g_autoptr(MsbConfig) c = config_good();
    g_autofree char *name = g_strnfill(65, 'n');
    g_autofree char *derived = NULL, *given = NULL;

    msb_config_set_name(c, name);
    derived = msb_config_dup_hostname(c);
    g_assert_cmpuint(strlen(derived), ==, 64);
    g_assert_true(strncmp(derived, name, 55) == 0 && derived[55] == '-');
    msb_config_set_hostname(c, "web");
    given = msb_config_dup_hostname(c);
    g_assert_cmpstr(given, ==, "web");
}

static void
test_root_kind(void)
{
    g_autoptr(MsbConfig) c = config_good();

    msb_config_set_image(c, "/usr");
    g_assert_cmpint(msb_config_get_root_kind(c), ==, MSB_ROOT_BIND);
    msb_config_set_image(c, "/etc/passwd");
    g_assert_cmpint(msb_config_get_root_kind(c), ==, MSB_ROOT_DISK);
    msb_config_set_image(c, "./nowhere.qcow2");
    g_assert_cmpint(msb_config_get_root_kind(c), ==, MSB_ROOT_DISK);
    g_assert_true(g_path_is_absolute(msb_config_get_image(c)));
    msb_config_set_image(c, "nowhere/x.qcow2");
    g_assert_cmpint(msb_config_get_root_kind(c), ==, MSB_ROOT_IMAGE);
    g_assert_cmpstr(msb_config_get_image(c), ==, "nowhere/x.qcow2");
}

typedef struct {
    const char *text;
    guint64 value;          /* G_MAXUINT64 = refused */
} Scaled;

static void
test_sizes(void)
{
    static const Scaled sizes[] = {
        { "512", G_GUINT64_CONSTANT(512) << 20 }, { "512M", G_GUINT64_CONSTANT(512) << 20 }, { "1MiB", 1 << 20 },
        { "1.5G", G_GUINT64_CONSTANT(1536) << 20 }, { "0.000000001G", 1 }, { "64k", 65536 }, { "2KiB", 2048 },
        { "1T", G_GUINT64_CONSTANT(1) << 40 }, { "0.1t", G_GUINT64_CONSTANT(109951162777) }, { "0", 0 },
        { "1.2500000000g", G_GUINT64_CONSTANT(1280) << 20 },
        { "8388607T", G_GUINT64_CONSTANT(8388607) << 40 },
        { "8388608T", G_MAXUINT64 }, { "99999999999999999999", G_MAXUINT64 }, { "18446744073709551615", G_MAXUINT64 },
        { "", G_MAXUINT64 }, { "G", G_MAXUINT64 }, { "-1", G_MAXUINT64 }, { "+1", G_MAXUINT64 },
        { " 1", G_MAXUINT64 }, { "1 G", G_MAXUINT64 }, { "1.", G_MAXUINT64 }, { "1..5G", G_MAXUINT64 },
        { "1.0000000001G", G_MAXUINT64 }, { "1GB", G_MAXUINT64 }, { "0x10", G_MAXUINT64 }, { "1P", G_MAXUINT64 },
    };
    gsize i;

    for (i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(GError) error = NULL;
        guint64 value = 0;
        gboolean good = msb_parse_size(sizes[i].text, &value, &error);

        g_test_message("size '%s'", sizes[i].text);
        if (sizes[i].value == G_MAXUINT64) {
            g_assert_false(good);
            assert_failed_with(error, MSB_ERROR_INVALID, sizes[i].text);
        } else {
            g_assert_no_error(error);
            g_assert_cmpuint(value, ==, sizes[i].value);
        }
    }
}

static void
test_durations(void)
{
    static const Scaled durations[] = {
        { "30", 30000 }, { "500ms", 500 }, { "1.5s", 1500 }, { "5m", 300000 }, { "2h", 7200000 }, { "1d", 86400000 },
        { "0", 0 }, { "1w", G_MAXUINT64 }, { "s", G_MAXUINT64 }, { "9999999999999999d", G_MAXUINT64 },
    };
    gsize i;

    for (i = 0; i < G_N_ELEMENTS(durations); i++) {
        guint64 value = 0;
        gboolean good = msb_parse_duration(durations[i].text, &value, NULL);

        g_assert_cmpint(good, ==, durations[i].value != G_MAXUINT64);
        if (good)
            g_assert_cmpuint(value, ==, durations[i].value);
    }
}

/* ---- validation --------------------------------------------------------------------- */

static MsbMount *
mount_of(MsbMountFlag flag, const char *spec)
{
    g_autoptr(GError) error = NULL;
    MsbMount *m = msb_mount_parse(flag, spec, &error);

    g_assert_no_error(error);
    return m;
}

static void
assert_invalid(MsbConfig *c, MsbError code, const char *needle)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(msb_config_validate(c, &error));
    assert_failed_with(error, code, needle);
}

static void
test_rules(void)
{
#define BREAK(code, call, needle) \
    G_STMT_START { \
        g_autoptr(MsbConfig) c = config_good(); \
        call; \
        assert_invalid(c, code, needle); \
    } G_STMT_END
    const char *const no_word[] = { "", NULL };

    BREAK(MSB_ERROR_INVALID, msb_config_set_name(c, NULL), "name is empty");
    BREAK(MSB_ERROR_INVALID, msb_config_set_image(c, NULL), "has no image");
    BREAK(MSB_ERROR_INVALID, (void)msb_config_parse_image(c, "./nowhere:ro", NULL), "go with disk images");
    BREAK(MSB_ERROR_INVALID, msb_config_set_cpus(c, 0), "0 CPUs");
    BREAK(MSB_ERROR_INVALID, msb_config_set_cpus(c, 256), "256 CPUs");
    BREAK(MSB_ERROR_INVALID, msb_config_set_memory_mib(c, 0), "0 MiB of memory");
    BREAK(MSB_ERROR_INVALID, msb_config_set_memory_mib(c, G_MAXUINT64), "of memory");
    BREAK(MSB_ERROR_INVALID, msb_config_set_root_disk_bytes(c, 4096), "4096 bytes");
    BREAK(MSB_ERROR_INVALID, msb_config_set_accel(c, "hvf"), "'hvf'");
    BREAK(MSB_ERROR_INVALID, msb_config_set_workdir(c, "work"), "'work' is not an absolute path");
    BREAK(MSB_ERROR_INVALID, msb_config_set_shell(c, "/"), "shell '/'");
    BREAK(MSB_ERROR_INVALID, msb_config_set_shell(c, "/bin/sh -x"), "shell");
    BREAK(MSB_ERROR_INVALID, msb_config_set_user(c, ""), "user ''");
    BREAK(MSB_ERROR_INVALID, msb_config_set_user(c, "a:"), "USER:GROUP");
    BREAK(MSB_ERROR_INVALID, msb_config_set_user(c, "a:b:c"), "USER:GROUP");
    BREAK(MSB_ERROR_INVALID, msb_config_set_hostname(c, "a b"), "host name");
    BREAK(MSB_ERROR_INVALID, msb_config_set_hostname(c, ""), "host name");
    BREAK(MSB_ERROR_INVALID, msb_config_set_entrypoint(c, no_word), "entry point");
    BREAK(MSB_ERROR_INVALID, (msb_config_add_mount(c, mount_of(MSB_MOUNT_FLAG_NAMED, "v:/d:kind=disk,size=1G")),
                              msb_config_add_mount(c, mount_of(MSB_MOUNT_FLAG_NAMED, "v:/e:kind=disk"))),
          "mounted twice");
    BREAK(MSB_ERROR_INVALID, msb_config_add_mount(c, mount_of(MSB_MOUNT_FLAG_NAMED, "v:/d:size=1G")), "kind=disk");
    BREAK(MSB_ERROR_INVALID, msb_config_add_mount(c, mount_of(MSB_MOUNT_FLAG_NAMED, "v:/d:kind=disk,size=1G,uid=1,gid=1")),
          "shared directories");
    BREAK(MSB_ERROR_INVALID, msb_config_add_mount(c, mount_of(MSB_MOUNT_FLAG_VOLUME, "/etc/passwd:/d:quota=1G")),
          "a quota goes with directories");
    BREAK(MSB_ERROR_INVALID, msb_config_add_mount(c, mount_of(MSB_MOUNT_FLAG_DIR, "/etc:/d:stat-virt=off,uid=1,gid=1")),
          "no meaning");
    BREAK(MSB_ERROR_INVALID, msb_config_add_mount(c, mount_of(MSB_MOUNT_FLAG_TMPFS, "/.msb/x")), "belongs to msb");
    BREAK(MSB_ERROR_INVALID,
          msb_config_add_mount(c, mount_of(MSB_MOUNT_FLAG_DIR, "/etc:/d:stat-virt=off,host-perms=mirror")),
          "no meaning");
    BREAK(MSB_ERROR_INVALID, MsbMount *m = mount_of(MSB_MOUNT_FLAG_TMPFS, "/t"); m->no_xattr = TRUE;
          msb_config_add_mount(c, m), "xattr, uid and gid go with shared directories");
    BREAK(MSB_ERROR_INVALID, msb_config_add_mount(c, mount_of(MSB_MOUNT_FLAG_NAMED, "v:/d:size=1G")), "a size goes");
#undef BREAK
}

/* What goes with which format. */
static void
test_disks(void)
{
    static const struct {
        const char *options, *message;
    } bad[] = {
        { "format=qcow", "version 1 can only be read: add 'ro'" },
        { "format=qcow,secret-file=/etc/group", "an encrypted image can only be read" },
        { "format=qcow2,secret-file=/etc/group,rw", "an encrypted image can only be read" },
        { "detect-zeroes=on,ro", "detect-zeroes has no meaning with ro" },
        { "secret-file=/etc/group,ro", "goes with format=qcow or qcow2, not with raw" },
    };
    g_autoptr(MsbConfig) root = config_good();
    g_autoptr(GError) error = NULL;

    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(MsbConfig) c = config_good();
        g_autofree char *spec = g_strdup_printf("/etc/passwd:/d:%s", bad[i].options);

        msb_config_add_mount(c, mount_of(MSB_MOUNT_FLAG_DISK, spec));
        assert_invalid(c, MSB_ERROR_INVALID, bad[i].message);
    }
    msb_config_parse_image(root, "/etc/passwd:format=qcow,secret-file=/etc/group,ro", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(msb_config_get_root_secret_file(root), ==, "/etc/group");
    msb_config_validate(root, &error);
    g_assert_no_error(error);
    msb_config_parse_image(root, "/etc/passwd:detect-zeroes=on", &error);
    g_assert_no_error(error);
    g_assert_cmpint(msb_config_get_root_detect_zeroes(root), ==, MSB_DETECT_ZEROES_ON);
    msb_config_parse_image(root, "/etc/a:b/passwd", &error);
    g_assert_cmpstr(msb_config_get_image(root), ==, "/etc/a:b/passwd");
}

static void
test_mount_conflicts(void)
{
    g_autoptr(MsbConfig) same = config_good(), below = config_good(), nested = config_good(), disks = config_good();
    g_autoptr(GError) error = NULL;

    msb_config_add_mount(same, mount_of(MSB_MOUNT_FLAG_TMPFS, "/a/b"));
    msb_config_add_mount(same, mount_of(MSB_MOUNT_FLAG_VOLUME, "/etc:/a//b/"));
    assert_invalid(same, MSB_ERROR_INVALID, "two mounts on '/a/b'");

    msb_config_add_mount(below, mount_of(MSB_MOUNT_FLAG_TMPFS, "/f/x"));
    msb_config_add_mount(below, mount_of(MSB_MOUNT_FLAG_FILE, "/etc/passwd:/f"));
    assert_invalid(below, MSB_ERROR_INVALID, "'/f/x' is below '/f', which is a file");

    msb_config_add_mount(nested, mount_of(MSB_MOUNT_FLAG_TMPFS, "/f/x"));
    msb_config_add_mount(nested, mount_of(MSB_MOUNT_FLAG_VOLUME, "/etc:/f"));
    msb_config_add_mount(nested, mount_of(MSB_MOUNT_FLAG_FILE, "/etc/passwd:/fx"));
    msb_config_validate(nested, &error);
    g_assert_no_error(error);

    msb_config_add_mount(disks, mount_of(MSB_MOUNT_FLAG_DISK, "/etc/passwd:/d1"));
    msb_config_add_mount(disks, mount_of(MSB_MOUNT_FLAG_DISK, "/etc/../etc/passwd:/d2"));
    assert_invalid(disks, MSB_ERROR_INVALID, "mounted twice");
}

/* ---- JSON ----------------------------------------------------------------------------- */

static MsbConfig *
config_full(void)
{
    static const char *const entrypoint[] = { "/init", "--x y", NULL };
    static const char *const cmd[] = { "a", "", "\"quoted\"", NULL };
    MsbConfig *c = config_good();

    msb_config_set_image_digest(c, "sha256:abcd");
    msb_config_set_cpus(c, 3);
    msb_config_set_memory_mib(c, 2048);
    msb_config_set_root_disk_bytes(c, G_GUINT64_CONSTANT(7) << 30);
    msb_config_set_workdir(c, "/w d");
    msb_config_set_shell(c, "/bin/bash");
    msb_config_set_user(c, "app:staff");
    msb_config_set_hostname(c, "h");
    msb_config_set_entrypoint(c, entrypoint);
    msb_config_set_cmd(c, cmd);
    msb_config_set_accel(c, "tcg");
    msb_config_set_ephemeral(c, TRUE);
    msb_config_add_env(c, "A=\xc3\xa4=\n", NULL);
    msb_config_add_env(c, "B=", NULL);
    msb_config_add_label(c, "k=v", NULL);
    msb_config_add_label(c, "flag", NULL);
    msb_config_add_mount(c, mount_of(MSB_MOUNT_FLAG_VOLUME, "data:/d:ro,nosuid"));
    msb_config_add_mount(c, mount_of(MSB_MOUNT_FLAG_DIR, "/etc:/e:stat-virt=relaxed,uid=0,gid=7,xattr=off,noexec,nodev"));
    msb_config_add_mount(c, mount_of(MSB_MOUNT_FLAG_DISK, "/etc/passwd:/i:format=qcow2,ro,secret-file=/etc/group,"
                                                          "fstype=ext4,partition=3"));
    msb_config_add_mount(c, mount_of(MSB_MOUNT_FLAG_DISK, "/etc/hostname:/j:detect-zeroes=unmap"));
    msb_config_add_mount(c, mount_of(MSB_MOUNT_FLAG_TMPFS, "/t:size=64M"));
    return c;
}

static void
test_round_trip(void)
{
    g_autoptr(MsbConfig) before = config_full(), after = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonNode) node = msb_config_to_json(before), again = NULL;
    g_autofree char *first = msb_json_to_string(node, TRUE), *second = NULL;
    const MsbMount *m;

    after = msb_config_from_json(node, &error);
    g_assert_no_error(error);
    again = msb_config_to_json(after);
    second = msb_json_to_string(again, TRUE);
    g_assert_cmpstr(first, ==, second);
    g_assert_cmpstr(msb_config_get_cmd(after)[2], ==, "\"quoted\"");
    g_assert_cmpstr(msb_config_get_env(after)[0], ==, "A=\xc3\xa4=\n");
    g_assert_cmpuint(msb_config_get_mounts(after)->len, ==, 5);
    m = g_ptr_array_index(msb_config_get_mounts(after), 3);
    g_assert_cmpint(m->detect_zeroes, ==, MSB_DETECT_ZEROES_UNMAP);
    m = g_ptr_array_index(msb_config_get_mounts(after), 1);
    g_assert_cmpint(m->gid, ==, 7);
    g_assert_cmpint(m->stat_virt, ==, MSB_STAT_VIRT_RELAXED);
    g_assert_true(m->no_xattr);
    m = g_ptr_array_index(msb_config_get_mounts(after), 0);
    g_assert_false(m->no_xattr);
    g_assert_true(msb_config_get_ephemeral(after));
    msb_config_validate(after, &error);
    g_assert_no_error(error);
}

static void
test_bad_json(void)
{
    static const char *const texts[][2] = {
        { "[]", "not a JSON object" },
        { "{}", "'version' is missing" },
        { "{\"version\":2}", "'version'" },
        { "{\"version\":\"1\"}", "not a whole number" },
        { "{\"version\":1,\"nmae\":\"x\"}", "unknown member 'nmae'" },
        { "{\"version\":1,\"name\":7}", "'name' is not a string" },
        { "{\"version\":1,\"resources\":[]}", "'resources' is not an object" },
        { "{\"version\":1,\"resources\":{\"cpu\":1}}", "resources: unknown member 'cpu'" },
        { "{\"version\":1,\"resources\":{\"cpus\":-1}}", "'cpus' is -1" },
        { "{\"version\":1,\"resources\":{\"cpus\":1.5}}", "not a whole number" },
        { "{\"version\":1,\"runtime\":{\"cmd\":[\"a\",1]}}", "element 2 of 'cmd'" },
        { "{\"version\":1,\"env\":[{\"value\":\"x\"}]}", "env 1: 'key' is missing" },
        { "{\"version\":1,\"env\":[7]}", "env 1: not a JSON object" },
        { "{\"version\":1,\"env\":[{\"key\":\"MSB_X\"}]}", "reserved" },
        { "{\"version\":1,\"labels\":{\"a\":1}}", "label 'a' is not a string" },
        { "{\"version\":1,\"mounts\":[{}]}", "mount 1: 'kind' is missing" },
        { "{\"version\":1,\"mounts\":[{\"kind\":\"usb\"}]}", "'usb'" },
        { "{\"version\":1,\"mounts\":[{\"kind\":\"dir\"}]}", "'source' or 'target'" },
        { "{\"version\":1,\"created\":\"yesterday\"}", "'yesterday', which is not a time since 1970" },
        { "{\"version\":1,\"created\":\"1969-12-31T23:59:59.5Z\"}", "not a time since 1970" },
        { "{\"version\":1,\"lifecycle\":{\"ephemeral\":1}}", "neither true nor false" },
    };
    gsize i;

    for (i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(JsonNode) node = msb_json_parse("test", texts[i][0], strlen(texts[i][0]), &error);
        g_autoptr(MsbConfig) c = NULL;

        g_assert_no_error(error);
        c = msb_config_from_json(node, &error);
        g_test_message("%s", texts[i][0]);
        g_assert_null(c);
        assert_failed_with(error, MSB_ERROR_INVALID, texts[i][1]);
    }
}

static void
test_hostile_json(void)
{
    g_autofree char *deep = g_strnfill(1000000, '[');
    g_autoptr(GString) hidden = g_string_new("/*\"*/");
    static const char *const texts[] = {
        "", "{", "{\"a\":}", "{\"a\":\"\x01\"}", "'a'", "// x\n{}", "{\"a\":1}#", "\xff", "{\"a\":\"b",
        "{\"a\":1e999}}", "5", "5{}", "{}{}", "]",
    };
    gsize i;

    g_assert_null(msb_json_parse("test", deep, strlen(deep), NULL));
    g_string_append(hidden, deep);
    g_assert_null(msb_json_parse("test", hidden->str, hidden->len, NULL));
    g_assert_null(msb_json_parse("test", "{}\0{}", 5, NULL));
    for (i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(msb_json_parse("test", texts[i], strlen(texts[i]), &error));
        g_assert_error(error, MSB_ERROR, MSB_ERROR_CORRUPT);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/config/defaults", test_defaults);
    g_test_add_func("/config/env", test_env);
    g_test_add_func("/config/labels", test_labels);
    g_test_add_func("/config/names", test_names);
    g_test_add_func("/config/hostname", test_hostname);
    g_test_add_func("/config/root-kind", test_root_kind);
    g_test_add_func("/config/sizes", test_sizes);
    g_test_add_func("/config/durations", test_durations);
    g_test_add_func("/config/rules", test_rules);
    g_test_add_func("/config/mount-conflicts", test_mount_conflicts);
    g_test_add_func("/config/disks", test_disks);
    g_test_add_func("/config/json/round-trip", test_round_trip);
    g_test_add_func("/config/json/bad", test_bad_json);
    g_test_add_func("/config/json/hostile", test_hostile_json);
    return g_test_run();
}
