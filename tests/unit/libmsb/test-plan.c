/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Plans: devices and their back-ends, the boot frame, limits, and what is decided about the host. */
#include <config.h>

#include <sys/stat.h>

#include "msb-config-private.h"
#include "plan-util.h"

typedef struct {
    char *dir;
    MsbHome *home;
    MsbConfig *config;
    MsbPlanInput in;
} Fixture;

static void
set_up(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    f->dir = test_make_dir();
    f->home = msb_home_open(f->dir, &error);
    g_assert_no_error(error);
    f->config = msb_config_new();
    msb_config_set_name(f->config, "box");
    msb_config_set_image(f->config, "busybox");
    f->in = plan_input(f->home, f->config);
}

static void
tear_down(Fixture *f, gconstpointer data)
{
    msb_config_unref(f->config);
    msb_home_unref(f->home);
    test_remove_dir(f->dir);
}

static MsbPlan *
build(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    MsbPlan *plan = msb_plan_build(&f->in, &error);

    g_assert_no_error(error);
    return plan;
}

static const MsbDevice *
device(const MsbPlan *plan, guint index)
{
    g_assert_cmpuint(index, <, plan->devices->len);
    return g_ptr_array_index(plan->devices, index);
}

/* The arguments of a device, the run directory as RUN and the home as HOME. */
static void
assert_argv(const Fixture *f, const MsbPlan *plan, guint index, const char *expected)
{
    g_autofree char *line = g_strjoinv(" ", device(plan, index)->argv);
    g_autoptr(GString) text = g_string_new(line);

    g_string_replace(text, plan->run_dir, "RUN", 0);
    g_string_replace(text, f->dir, "HOME", 0);
    g_string_replace(text, plan->uuid, "UUID", 0);
    g_assert_cmpstr(text->str, ==, expected);
}

static void
test_image(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbPlan) plan = build(f);

    g_assert_cmpstr(plan->domain_name, ==, "msb-box");
    g_assert_cmpuint(plan->devices->len, ==, 2);
    assert_argv(f, plan, 0,
                "/libexec/msb-vhost-blk --socket-path=RUN/layers.sock --serial=layers --num-queues=1 --concat "
                "--disk-id=UUID --file=/store/layers/aa.erofs,name=layer0 --file=/store/layers/bb.erofs,name=layer1 "
                "--file=/store/kernel/6.1.0-test/modules.erofs,name=modules");
    g_assert_true(device(plan, 0)->readonly);
    assert_argv(f, plan, 1,
                "/libexec/msb-vhost-blk --socket-path=RUN/upper.sock --serial=upper --num-queues=1 "
                "--blk-file=HOME/sandboxes/box/upper.raw --format=raw --discard=on");
    g_assert_false(device(plan, 1)->readonly);
    g_assert_cmpint(plan->boot.root_kind, ==, MP_ROOT_OVERLAY);
    g_assert_cmpuint(plan->boot.n_layers, ==, 2);
    g_assert_cmpuint(plan->boot.modules_partition, ==, 3);
    g_assert_cmpstr(plan->boot.modules_source, ==, "layers");
    g_assert_cmpstr(plan->boot.kernel_version, ==, "6.1.0-test");
    g_assert_cmpstr(plan->boot.hostname, ==, "box");
    g_assert_cmpstr(plan->boot.shell, ==, "/bin/sh");
}

static void
test_bind_root(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbPlan) plan = NULL;

    msb_config_set_image(f->config, "/usr");
    f->in.n_layers = 0;
    f->in.layers = NULL;
    plan = build(f);
    g_assert_cmpuint(plan->devices->len, ==, 2);
    assert_argv(f, plan, 1, "/libexec/msb-vhost-fs --socket-path=RUN/root.sock --tag=root --shared-dir=/usr "
                            "--stat-virt=strict --quota-dir=HOME/volumes/.quota");
    g_assert_cmpint(plan->boot.root_kind, ==, MP_ROOT_VIRTIOFS);
    g_assert_cmpstr(plan->boot.root_source, ==, "root");
    g_assert_cmpuint(plan->boot.modules_partition, ==, 1);
}

static void
test_disk_root(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbPlan) plan = NULL, other = NULL;
    g_autoptr(GError) error = NULL;

    f->in.n_layers = 0;
    f->in.layers = NULL;
    g_assert_true(msb_config_parse_image(f->config, "/etc/passwd:fstype=xfs,partition=4,detect-zeroes=unmap", &error));
    plan = build(f);
    assert_argv(f, plan, 1, "/libexec/msb-vhost-blk --socket-path=RUN/root.sock --serial=root --num-queues=1 "
                            "--blk-file=/etc/passwd --format=raw --discard=on --detect-zeroes=unmap");
    g_assert_cmpint(plan->boot.root_kind, ==, MP_ROOT_DISK);
    g_assert_cmpstr(plan->boot.root_source, ==, "root");
    g_assert_cmpstr(plan->boot.root_fstype, ==, "xfs");
    g_assert_cmpuint(plan->boot.root_partition, ==, 4);

    g_assert_true(msb_config_parse_image(f->config, "/etc/passwd:ro,format=qcow2,secret-file=/etc/group", &error));
    other = build(f);
    assert_argv(f, other, 1, "/libexec/msb-vhost-blk --socket-path=RUN/root.sock --serial=root --num-queues=1 "
                             "--blk-file=/etc/passwd --format=qcow2 --secret-file=/etc/group --read-only");
    g_assert_true(device(other, 1)->readonly);
    g_assert_cmpstr(other->boot.root_fstype, ==, "");
    g_assert_cmpuint(other->boot.root_partition, ==, 0);
    g_assert_false(device(other, 1)->journal);
    msb_plan_free(other);

    g_assert_true(msb_config_parse_image(f->config, "/etc/passwd:format=qcow2", &error));
    other = build(f);
    g_assert_true(device(other, 1)->journal);
}

static void
test_queues(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbPlan) two = NULL, many = NULL;

    msb_config_set_cpus(f->config, 2);
    two = build(f);
    g_assert_cmpuint(device(two, 0)->queues, ==, 2);
    msb_config_set_cpus(f->config, 64);
    many = build(f);
    g_assert_cmpuint(device(many, 1)->queues, ==, 4);
}

static void
test_mounts(Fixture *f, gconstpointer data)
{
    static const char *const targets[] = { "/a", "/b", "/tmp", "/a/b/c", "/a/b/c/d", "/z/z/z/z/z" };
    g_autoptr(MsbPlan) plan = NULL;
    const struct mp_boot *boot;
    guint i;

    msb_config_set_user(f->config, "1000:100");
    plan_add_mount(f->config, MSB_MOUNT_FLAG_FILE, "/etc/passwd:/a/b/c/d:ro,noexec");
    plan_add_mount(f->config, MSB_MOUNT_FLAG_VOLUME, "data:/a/b/c:host-perms=mirror,uid=5,gid=6,quota=1G,xattr=off");
    plan_add_mount(f->config, MSB_MOUNT_FLAG_TMPFS, "/tmp:64M");
    plan_add_mount(f->config, MSB_MOUNT_FLAG_DIR, "/etc:/a:stat-virt=off,nosuid,nodev,quota=500,inodes=7,cache=always");
    plan_add_mount(f->config, MSB_MOUNT_FLAG_DISK, "/etc/passwd:/b:fstype=ext4,partition=2");
    plan_add_mount(f->config, MSB_MOUNT_FLAG_NAMED, "big:/z/z/z/z/z:kind=disk,size=1G,ro");
    plan = build(f);
    boot = &plan->boot;

    g_assert_cmpuint(boot->n_mounts, ==, 6);
    for (i = 0; i < boot->n_mounts; i++)
        g_assert_cmpstr(boot->mounts[i].target, ==, targets[i]);
    g_assert_cmpstr(boot->mounts[0].source, ==, "m3");
    g_assert_cmpuint(boot->mounts[0].flags, ==, MP_MOUNT_NOSUID | MP_MOUNT_NODEV);
    g_assert_cmpstr(boot->mounts[1].source, ==, "m4");
    g_assert_cmpstr(boot->mounts[1].fstype, ==, "ext4");
    g_assert_cmpuint(boot->mounts[1].partition, ==, 2);
    g_assert_cmpint(boot->mounts[1].kind, ==, MP_MOUNT_DISK);
    g_assert_cmpint(boot->mounts[2].kind, ==, MP_MOUNT_TMPFS);
    g_assert_cmpuint(boot->mounts[2].size, ==, 64 << 20);
    g_assert_cmpuint(boot->mounts[2].mode, ==, 01777);
    g_assert_cmpstr(boot->mounts[3].source, ==, "m1");
    g_assert_cmpuint(boot->mounts[4].flags, ==, MP_MOUNT_RO | MP_MOUNT_NOEXEC | MP_MOUNT_FILE);
    g_assert_cmpstr(boot->mounts[4].name, ==, "passwd");

    g_assert_cmpint(boot->mounts[5].kind, ==, MP_MOUNT_DISK);
    g_assert_cmpuint(boot->mounts[5].flags, ==, MP_MOUNT_RO);

    g_assert_cmpuint(plan->devices->len, ==, 7);
    assert_argv(f, plan, 6, "/libexec/msb-vhost-blk --socket-path=RUN/m5.sock --serial=m5 --num-queues=1 "
                            "--blk-file=HOME/volumes/big/disk.raw --format=raw --read-only");
    assert_argv(f, plan, 2, "/libexec/msb-vhost-fs --socket-path=RUN/m0.sock --tag=m0 --shared-file=/etc/passwd "
                            "--read-only --stat-virt=strict --map-owner=1000:100");
    g_assert_cmpstr(device(plan, 2)->target, ==, boot->mounts[4].target);
    g_assert_null(device(plan, 1)->target);
    assert_argv(f, plan, 3, "/libexec/msb-vhost-fs --socket-path=RUN/m1.sock --tag=m1 "
                            "--shared-dir=HOME/volumes/data --stat-virt=strict --host-perms=mirror --uid=5 --gid=6 "
                            "--no-xattr --quota-dir=HOME/volumes/.quota --quota=1073741824");
    assert_argv(f, plan, 4, "/libexec/msb-vhost-fs --socket-path=RUN/m3.sock --tag=m3 --shared-dir=/etc "
                            "--stat-virt=off --cache=always --quota-dir=HOME/volumes/.quota --quota=524288000 "
                            "--quota-inodes=7 --quota-recount");
    assert_argv(f, plan, 5, "/libexec/msb-vhost-blk --socket-path=RUN/m4.sock --serial=m4 --num-queues=1 "
                            "--blk-file=/etc/passwd --format=raw --discard=on");
}

/* Our own disks have file systems as large as they are, images of the user's only what they get while they are mounted. */
static void
test_grow(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbPlan) plan = NULL;

    plan_add_mount(f->config, MSB_MOUNT_FLAG_NAMED, "big:/a:kind=disk,size=1G");
    plan_add_mount(f->config, MSB_MOUNT_FLAG_DISK, "/etc/passwd:/b");
    plan_add_mount(f->config, MSB_MOUNT_FLAG_VOLUME, "data:/c");
    plan = build(f);
    g_assert_cmpuint(plan->boot.mounts[0].flags, ==, MP_MOUNT_GROW);
    g_assert_cmpuint(plan->boot.mounts[1].flags, ==, MP_MOUNT_FOLLOW);
    g_assert_cmpuint(plan->boot.mounts[2].flags, ==, 0);
}

static void
test_environment(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbPlan) plan = NULL, bare = NULL;
    g_autofree char *line = NULL;

    msb_config_add_env(f->config, "LANG=de_DE.UTF-8", NULL);
    msb_config_add_env(f->config, "X=1", NULL);
    f->in.image_user = "www";
    f->in.image_workdir = "/srv";
    plan = build(f);
    line = g_strjoinv(" ", plan->boot.env);
    g_assert_cmpstr(line, ==, "PATH=/opt/bin:/bin LANG=de_DE.UTF-8 X=1");
    g_assert_cmpstr(plan->boot.user, ==, "www");
    g_assert_cmpstr(plan->boot.workdir, ==, "/srv");

    msb_config_set_user(f->config, "app");
    msb_config_set_workdir(f->config, "/w");
    f->in.image_env = NULL;
    bare = build(f);
    g_assert_true(g_str_has_prefix(bare->boot.env[0], "PATH=/usr/local/sbin:"));
    g_assert_cmpstr(bare->boot.user, ==, "app");
    g_assert_cmpstr(bare->boot.workdir, ==, "/w");
}

static void
test_cmdline(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbPlan) tcg = build(f), kvm = NULL;

    g_assert_nonnull(strstr(tcg->cmdline, " tsc=reliable tsc_early_khz=2500000"));
    g_assert_nonnull(strstr(tcg->cmdline, "rdinit=/init"));
    f->in.accel = "kvm";
    kvm = build(f);
    g_assert_null(strstr(kvm->cmdline, "tsc"));
}

static void
test_uuid(Fixture *f, gconstpointer data)
{
    g_autoptr(TestDir) other_dir = test_make_dir();
    g_autoptr(MsbHome) other = msb_home_open(other_dir, NULL);
    g_autofree char *a = msb_plan_uuid(f->home, "box"), *b = msb_plan_uuid(f->home, "box");
    g_autofree char *c = msb_plan_uuid(f->home, "boy"), *d = msb_plan_uuid(other, "box");

    g_assert_cmpstr(a, ==, b);
    g_assert_cmpstr(a, !=, c);
    g_assert_cmpstr(a, !=, d);
    g_assert_true(g_uuid_string_is_valid(a));
}

static void
test_too_many(Fixture *f, gconstpointer data)
{
    g_autoptr(MsbPlan) plan = NULL, none = NULL;
    g_autoptr(GError) error = NULL;
    guint i;

    for (i = 0; i < 20; i++) {
        g_autofree char *spec = g_strdup_printf("/etc:/m%u", i);

        plan_add_mount(f->config, MSB_MOUNT_FLAG_DIR, spec);
    }
    plan = build(f);
    plan_add_mount(f->config, MSB_MOUNT_FLAG_TMPFS, "/t");
    plan_add_mount(f->config, MSB_MOUNT_FLAG_DIR, "/etc:/last");
    none = msb_plan_build(&f->in, &error);
    g_assert_null(none);
    assert_failed_with(error, MSB_ERROR_INVALID, "23 devices");
}

static void
test_long_paths(Fixture *f, gconstpointer data)
{
    g_autofree char *longname = g_strnfill(60, 'h'), *deep = g_build_filename(f->dir, longname, NULL);
    g_autoptr(MsbHome) home = msb_home_open(deep, NULL);
    g_autofree char *name = g_strnfill(128, 'n');
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbPlan) hashed = NULL;

    msb_config_set_name(f->config, name);
    hashed = build(f);
    g_assert_cmpuint(strlen(hashed->agent_socket), <, 108);
    f->in.home = home;
    g_assert_null(msb_plan_build(&f->in, &error));
    assert_failed_with(error, MSB_ERROR_INVALID, "set MSB_HOME to a shorter directory");
}

/* ---- the host ------------------------------------------------------------------------------ */

static void
test_accel(void)
{
    g_autofree char *tcg = NULL, *by_env = NULL, *found = NULL, *why = NULL;
    g_autoptr(GError) error = NULL;

    g_unsetenv("MSB_ACCEL");
    tcg = msb_plan_choose_accel("tcg", &why, &error);
    g_assert_cmpstr(tcg, ==, "tcg");
    g_assert_null(why);
    g_assert_null(msb_plan_choose_accel("hvf", NULL, &error));
    assert_failed_with(error, MSB_ERROR_INVALID, "'hvf'");
    found = msb_plan_choose_accel(NULL, &why, &error);
    g_assert_no_error(error);
    g_assert_cmpint(g_str_equal(found, "kvm"), ==, why == NULL);
    if (g_str_equal(found, "tcg")) {
        g_assert_true(g_str_has_prefix(why, "no KVM: "));
        g_assert_null(msb_plan_choose_accel("kvm", NULL, &error));
        assert_failed_with(error, MSB_ERROR_HYPERVISOR, "KVM was asked for");
    }
    g_setenv("MSB_ACCEL", "tcg", TRUE);
    by_env = msb_plan_choose_accel(NULL, NULL, &error);
    g_assert_cmpstr(by_env, ==, "tcg");
    g_unsetenv("MSB_ACCEL");
}

static void
test_tsc(Fixture *f, gconstpointer data)
{
    g_autofree char *path = g_build_filename(f->dir, "run", ".tsc.json", NULL), *text = NULL, *edited = NULL;
    guint first = msb_host_tsc_khz(f->home), again = msb_host_tsc_khz(f->home);
    g_autoptr(GRegex) number = g_regex_new("\"khz\" : [0-9]+", 0, 0, NULL), id = g_regex_new("-", 0, 0, NULL);

    if (first == 0) {
        g_test_skip("no time stamp counter");
        return;
    }
    g_assert_cmpuint(first, ==, again);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    /* the stored number is used ... */
    edited = g_regex_replace_literal(number, text, -1, 0, "\"khz\" : 1234567", 0, NULL);
    g_assert_true(g_file_set_contents(path, edited, -1, NULL));
    g_assert_cmpuint(msb_host_tsc_khz(f->home), ==, 1234567);
    /* ... unless it is of another boot, absurd or broken */
    g_free(edited);
    edited = g_regex_replace_literal(id, text, -1, 0, "x", 0, NULL);
    g_assert_true(g_file_set_contents(path, edited, -1, NULL));
    g_assert_cmpuint(ABS((int)msb_host_tsc_khz(f->home) - (int)first), <, first / 1000);
    g_assert_true(g_file_set_contents(path, "{", -1, NULL));
    g_assert_cmpuint(ABS((int)msb_host_tsc_khz(f->home) - (int)first), <, first / 1000);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func) g_test_add(path, Fixture, NULL, set_up, func, tear_down)
    ADD("/plan/image", test_image);
    ADD("/plan/bind-root", test_bind_root);
    ADD("/plan/disk-root", test_disk_root);
    ADD("/plan/queues", test_queues);
    ADD("/plan/mounts", test_mounts);
    ADD("/plan/grow", test_grow);
    ADD("/plan/environment", test_environment);
    ADD("/plan/cmdline", test_cmdline);
    ADD("/plan/uuid", test_uuid);
    ADD("/plan/too-many", test_too_many);
    ADD("/plan/long-paths", test_long_paths);
    g_test_add_func("/host/accel", test_accel);
    ADD("/host/tsc", test_tsc);
#undef ADD
    return g_test_run();
}
