/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The mount grammar: what each flag takes, what it refuses, and what it says then. */
#include <config.h>

#include <unistd.h>

#include "msb-config.h"
#include "test-util.h"

static MsbMount *
parse_good(MsbMountFlag flag, const char *spec)
{
    g_autoptr(GError) error = NULL;
    MsbMount *m = msb_mount_parse(flag, spec, &error);

    g_assert_no_error(error);
    g_assert_nonnull(m);
    return m;
}

typedef struct {
    MsbMountFlag flag;
    const char *spec;
    const char *message;
} Bad;

static const Bad bad[] = {
    { MSB_MOUNT_FLAG_VOLUME, "data", "not SOURCE:DEST" },
    { MSB_MOUNT_FLAG_VOLUME, "", "not SOURCE:DEST" },
    { MSB_MOUNT_FLAG_VOLUME, ":", "not SOURCE:DEST" },
    { MSB_MOUNT_FLAG_VOLUME, "data:dest", "'dest', is not absolute" },
    { MSB_MOUNT_FLAG_VOLUME, ":/dest", "source before the colon is empty" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/", "root of the guest" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/.", "root of the guest" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/a/../b", "'..'" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/a;b", "one of : ; ," },
    { MSB_MOUNT_FLAG_VOLUME, "data:/dest,ro", "did you mean 'data:/dest:ro'?" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/dest,ro,nosuid", "did you mean 'data:/dest:ro,nosuid'?" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d,ro:noexec", "did you mean 'data:/d:ro:noexec'?" },
    { MSB_MOUNT_FLAG_VOLUME, "data/x:/dest", "a path on the host begins with" },
    { MSB_MOUNT_FLAG_VOLUME, "-x:/dest", "does not begin with a letter or digit" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:ro:nosuid", "separated by commas" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:ro,ro", "'ro' or 'rw' is given more than once" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:ro,rw", "'ro' or 'rw' is given more than once" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:noexec,noexec", "'noexec' is given more than once" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:exec", "'noexec' takes it away" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:suid", "is the default" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:dev", "is the default" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:readonly", "unknown option 'readonly'; known here: ro, rw" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:size=1G", "'size' is not valid here" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:kind=disk", "'kind' is not valid here" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:stat-virt", "needs a value" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:stat-virt=maybe", "strict, relaxed, off" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:host-perms=public", "private, mirror" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:ro=1", "takes no value" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:uid=5", "go together" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:uid=-5,gid=5", "not a numeric id" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:uid=4294967295,gid=5", "not a numeric id" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:quota=0", "quota is zero" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:inodes=0", "'inodes=0' is not a number above 0" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:inodes=1k", "'inodes=1k' is not a number above 0" },
    { MSB_MOUNT_FLAG_FILE, "/etc/passwd:/d:inodes=5", "'inodes' is not valid here" },
    { MSB_MOUNT_FLAG_DIR, "/etc:/d:cache=some", "'cache=some' is not one of auto, none, always" },
    { MSB_MOUNT_FLAG_TMPFS, "/d:cache=none", "'cache' is not valid here" },
    { MSB_MOUNT_FLAG_DIR, "/etc:/d:xattr=no", "'xattr=no' is not one of on, off" },
    { MSB_MOUNT_FLAG_DIR, "/etc:/d:xattr", "option 'xattr' needs a value" },
    { MSB_MOUNT_FLAG_DISK, "/etc/passwd:/d:xattr=off", "'xattr' is not valid here" },
    { MSB_MOUNT_FLAG_VOLUME, "data:/d:quota=12X", "unit 'X' is not known" },
    { MSB_MOUNT_FLAG_NAMED, "./data:/d", "does not begin" },
    { MSB_MOUNT_FLAG_NAMED, "data:/d:kind=box", "dir, directory, disk" },
    { MSB_MOUNT_FLAG_DIR, "/nowhere/at/all:/d", "No such file" },
    { MSB_MOUNT_FLAG_DIR, "/etc/passwd:/d", "for a file use --mount-file" },
    { MSB_MOUNT_FLAG_FILE, "/etc:/d", "for a directory use --mount-dir" },
    { MSB_MOUNT_FLAG_FILE, "/etc/passwd:/d:quota=5", "'quota' is not valid here" },
    { MSB_MOUNT_FLAG_DISK, "/etc:/d", "not a disk image" },
    { MSB_MOUNT_FLAG_DISK, "/etc/passwd:/d:format=vdi", "raw, qcow, qcow2, vmdk" },
    { MSB_MOUNT_FLAG_DISK, "/etc/passwd:/d:fstype=", "not the name of a filesystem" },
    { MSB_MOUNT_FLAG_DISK, "/etc/passwd:/d:stat-virt=off", "not valid here" },
    { MSB_MOUNT_FLAG_DISK, "/etc/passwd:/d:detect-zeroes=yes", "'detect-zeroes=yes' is not one of off, on, unmap" },
    { MSB_MOUNT_FLAG_DIR, "/etc:/d:detect-zeroes=on", "option 'detect-zeroes' is not valid here" },
    { MSB_MOUNT_FLAG_DISK, "/etc/passwd:/d:partition=0", "'partition=0' is not a number from 1 to 255" },
    { MSB_MOUNT_FLAG_DISK, "/etc/passwd:/d:partition=256", "not a number from 1 to 255" },
    { MSB_MOUNT_FLAG_DISK, "/etc/passwd:/d:partition=root", "not a number from 1 to 255" },
    { MSB_MOUNT_FLAG_DISK, "/etc/passwd:/d:secret-file=", "names no file" },
    { MSB_MOUNT_FLAG_DIR, "/etc:/d:partition=1", "'partition' is not valid here" },
    { MSB_MOUNT_FLAG_TMPFS, "", "path is empty" },
    { MSB_MOUNT_FLAG_TMPFS, "tmp", "not an absolute path" },
    { MSB_MOUNT_FLAG_TMPFS, "/t:64M:size=1G", "'size' is given more than once" },
    { MSB_MOUNT_FLAG_TMPFS, "/t:0", "size is zero" },
    { MSB_MOUNT_FLAG_TMPFS, "/t:64M:ro:rw", "not PATH[:SIZE][:OPTIONS]" },
    { MSB_MOUNT_FLAG_TMPFS, "/t:ro:64M", "separated by commas" },
    { MSB_MOUNT_FLAG_TMPFS, "/t:suid", "is the default" },
    { MSB_MOUNT_FLAG_TMPFS, "/t:lots", "is not a size" },
};

static void
test_bad(void)
{
    gsize i;

    for (i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(MsbMount) m = msb_mount_parse(bad[i].flag, bad[i].spec, &error);
        g_autofree char *quoted = g_strdup_printf("'%s'", bad[i].spec);

        g_test_message("%s", bad[i].spec);
        g_assert_null(m);
        g_assert_nonnull(strstr(error->message, quoted));
        assert_failed_with(error, MSB_ERROR_INVALID, bad[i].message);
    }
}

static void
test_separator(void)
{
    g_autoptr(MsbMount) a = parse_good(MSB_MOUNT_FLAG_VOLUME, "/a:b:c:/dest:ro");
    g_autoptr(MsbMount) b = parse_good(MSB_MOUNT_FLAG_VOLUME, "/srv:/x//y/./z/");

    g_assert_cmpstr(a->source, ==, "/a:b:c");
    g_assert_cmpstr(a->target, ==, "/dest");
    g_assert_true(a->readonly);
    g_assert_cmpstr(b->target, ==, "/x/y/z");
    g_assert_false(b->readonly);
}

static void
test_volume(void)
{
    g_autofree char *cwd = g_get_current_dir();
    g_autofree char *parent = g_path_get_dirname(cwd);
    g_autoptr(MsbMount) named = parse_good(MSB_MOUNT_FLAG_VOLUME, "data.1:/d: ro , ,nosuid,");
    g_autoptr(MsbMount) here = parse_good(MSB_MOUNT_FLAG_VOLUME, ".:/d");
    g_autoptr(MsbMount) up = parse_good(MSB_MOUNT_FLAG_VOLUME, "..:/d");
    g_autoptr(MsbMount) file = parse_good(MSB_MOUNT_FLAG_VOLUME, "/etc/passwd:/d");
    g_autoptr(MsbMount) missing = parse_good(MSB_MOUNT_FLAG_VOLUME, "/nowhere/at/all:/d");

    g_assert_cmpint(named->kind, ==, MSB_MOUNT_NAMED);
    g_assert_cmpstr(named->source, ==, "data.1");
    g_assert_true(named->readonly && named->nosuid && !named->noexec && !named->nodev);
    g_assert_cmpint(named->uid, ==, -1);
    g_assert_cmpint(here->kind, ==, MSB_MOUNT_DIR);
    g_assert_cmpstr(here->source, ==, cwd);
    g_assert_cmpstr(up->source, ==, parent);
    g_assert_cmpint(file->kind, ==, MSB_MOUNT_FILE);
    g_assert_cmpint(missing->kind, ==, MSB_MOUNT_DIR);
}

static void
test_options(void)
{
    g_autoptr(MsbMount) m = parse_good(MSB_MOUNT_FLAG_DIR,
        "/etc:/d:stat-virt=relaxed,host-perms=mirror,uid=1000,gid=0,quota=1.5G,inodes=1000,cache=none,xattr=off,"
        "noexec,nodev");
    g_autoptr(MsbMount) n = parse_good(MSB_MOUNT_FLAG_NAMED, "v:/d:kind=disk,size=20G");
    g_autoptr(MsbMount) x = parse_good(MSB_MOUNT_FLAG_FILE, "/etc/passwd:/d:xattr=on");
    g_autoptr(MsbMount) d = parse_good(MSB_MOUNT_FLAG_DISK, "/etc/passwd:/d:format=raw,fstype=ext4,ro,partition=12,secret-file=/etc/../etc/group");

    g_assert_cmpint(m->stat_virt, ==, MSB_STAT_VIRT_RELAXED);
    g_assert_cmpint(m->host_perms, ==, MSB_HOST_PERMS_MIRROR);
    g_assert_cmpint(m->uid, ==, 1000);
    g_assert_cmpint(m->gid, ==, 0);
    g_assert_cmpuint(m->quota.inodes, ==, 1000);
    g_assert_cmpint(m->cache, ==, MSB_CACHE_NONE);
    g_assert_true(m->no_xattr && !n->no_xattr && !x->no_xattr);
    g_assert_cmpuint(m->quota.bytes, ==, 1536 * G_GUINT64_CONSTANT(1048576));
    g_assert_true(m->noexec && m->nodev && !m->nosuid);
    g_assert_true(n->volume_is_disk && n->volume_kind_given);
    g_assert_cmpuint(n->size, ==, G_GUINT64_CONSTANT(20) << 30);
    g_assert_cmpint(d->kind, ==, MSB_MOUNT_DISK);
    g_assert_cmpstr(d->format, ==, "raw");
    g_assert_cmpstr(d->fstype, ==, "ext4");
    g_assert_cmpuint(d->partition, ==, 12);
    g_assert_cmpstr(d->secret_file, ==, "/etc/group");
}

static void
test_tmpfs(void)
{
    g_autoptr(MsbMount) plain = parse_good(MSB_MOUNT_FLAG_TMPFS, "/tmp");
    g_autoptr(MsbMount) sized = parse_good(MSB_MOUNT_FLAG_TMPFS, "/tmp:64");
    g_autoptr(MsbMount) both = parse_good(MSB_MOUNT_FLAG_TMPFS, "/tmp:64M:noexec,nosuid");
    g_autoptr(MsbMount) opts = parse_good(MSB_MOUNT_FLAG_TMPFS, "/tmp:size=1G,ro");
    g_autoptr(MsbMount) flag = parse_good(MSB_MOUNT_FLAG_TMPFS, "/tmp:noexec");

    g_assert_cmpint(plain->kind, ==, MSB_MOUNT_TMPFS);
    g_assert_cmpuint(plain->size, ==, 0);
    g_assert_cmpuint(sized->size, ==, 64 << 20);
    g_assert_cmpuint(both->size, ==, 64 << 20);
    g_assert_true(both->noexec && both->nosuid);
    g_assert_cmpuint(opts->size, ==, 1 << 30);
    g_assert_true(opts->readonly);
    g_assert_true(flag->noexec);
    g_assert_cmpuint(flag->size, ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/mount/bad", test_bad);
    g_test_add_func("/mount/separator", test_separator);
    g_test_add_func("/mount/volume", test_volume);
    g_test_add_func("/mount/options", test_options);
    g_test_add_func("/mount/tmpfs", test_tmpfs);
    return g_test_run();
}
