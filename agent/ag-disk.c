/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The file system on a user's disk: the whole disk or a partition, by its
 * signature or as told, with the modules it needs and the options that suit it.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ag-sys.h"
#include "ag.h"
#include "mb-cleanup.h"

#define PARTS_MAX 256
#define OPTS_MAX 4

/* What is particular to a file system. */
static const struct fs_kind {
    const char *name;
    const char *no_replay;      /* read-only: leave a journal alone that wants to be replayed */
    const char *always;         /* an option, or NULL */
    bool discard;               /* knows the option of that name */
    const char *modules[4];     /* what it asks modprobe for by itself */
} kinds[] = {
    { "ext4", "noload", NULL, true, { NULL } },
    { "ext3", "noload", NULL, true, { NULL } },
    { "xfs", "norecovery", NULL, true, { NULL } },
    { "btrfs", "rescue=nologreplay", NULL, true, { NULL } },
    { "vfat", NULL, "utf8", false, { "nls_cp437", "nls_ascii", "nls_utf8", "nls_iso8859_1" } },
    { "exfat", NULL, NULL, false, { "nls_utf8" } },
    { "iso9660", NULL, NULL, false, { "nls_utf8" } },
};

static const struct fs_kind *
find_kind(const char *name)
{
    static const struct fs_kind plain = { .name = "" };

    for (size_t i = 0; i < MB_ARRAY_SIZE(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    }
    return &plain;
}

/* ---- finding ------------------------------------------------------------------------ */

/* "1 (vfat, 100 MiB), 2 (ext4, 3 GiB)": what a user may choose from. */
static void
list_partitions(const struct ag_part *parts, unsigned n, char *text, size_t size)
{
    static const char units[] = "KMGTPE";
    size_t at = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < n && at + 48 < size; i++) {
        uint64_t amount = parts[i].size / 2;
        unsigned unit = 0;

        while (amount >= 10240) {
            amount /= 1024;
            unit++;
        }
        at += (size_t)snprintf(text + at, size - at, "%s%u (%s, %llu %ciB)", i ? ", " : "", parts[i].number,
                               parts[i].fstype ? parts[i].fstype : "no known file system", (unsigned long long)amount,
                               units[unit]);
        if (i + 1 < n && at + 48 >= size)
            snprintf(text + at, size - at, ", ...");
    }
}

/* What there is instead of a file system, for the message. */
static int
nothing_found(const struct ag_disk_want *want, const char *path, const char *list, struct ag_error *e)
{
    mb_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    const char *other = fd < 0 ? NULL : ag_probe_other(fd);

    if (!list[0] && other)
        return ag_fail(e, 0, want->serial, "The disk has no file system; it looks like %s", other);
    if (!list[0])
        return ag_fail(e, 0, want->serial, "The disk has no known file system and no partitions");
    return ag_fail(e, 0, want->serial, "No partition of the disk has %s%s file system%s: %s",
                   want->fstype[0] ? "a " : "a known", want->fstype, want->root ? " for a root" : "", list);
}

/* The partition that was asked for. */
static int
given_partition(const struct ag_disk_want *want, const struct ag_part *parts, unsigned n, const char *list,
                struct ag_error *e)
{
    for (unsigned i = 0; i < n; i++) {
        if (parts[i].number != want->partition)
            continue;
        if (!parts[i].fstype && !want->fstype[0])
            return ag_fail(e, 0, want->serial, "Partition %u has no known file system; the disk has %s",
                           want->partition, list);
        return (int)i;
    }
    return ag_fail(e, 0, want->serial, "The disk has no partition %u; it has %s", want->partition,
                   n > 0 ? list : "none at all");
}

/* The one that must be meant. */
static int
guess_partition(const struct ag_disk_want *want, struct ag_part *parts, unsigned n, const char *path, const char *list,
                struct ag_error *e)
{
    int best;

    for (unsigned i = 0; i < n; i++) {
        if (want->fstype[0] && parts[i].fstype && strcmp(parts[i].fstype, want->fstype) != 0)
            parts[i].fstype = NULL;
    }
    best = ag_probe_choose(parts, n, want->root);
    if (best == -ENOTUNIQ)
        return ag_fail(e, 0, want->serial,
                       "Several partitions of the disk have a file system; say which with partition=N: %s", list);
    return best < 0 ? nothing_found(want, path, list, e) : best;
}

/* Replace path, a whole disk that was opened before (so the kernel knows its partitions), by the partition to use. */
static int
pick_partition(const struct ag_disk_want *want, char path[64], char fstype[16], struct ag_error *e)
{
    struct ag_part parts[PARTS_MAX];
    unsigned n = (unsigned)MB_MAX(ag_dev_partitions(path, parts, PARTS_MAX), 0);
    char list[400];
    int i;

    list_partitions(parts, n, list, sizeof(list));
    if (n == 0 && want->fstype[0] && !want->partition) {
        /* One that has no signature we know: the kernel may. */
        snprintf(fstype, 16, "%s", want->fstype);
        return 0;
    }
    i = want->partition ? given_partition(want, parts, n, list, e) : guess_partition(want, parts, n, path, list, e);
    if (i < 0)
        return i;
    snprintf(fstype, 16, "%s", want->fstype[0] ? want->fstype : parts[i].fstype);
    return ag_dev_wait_disk(-1, want->serial, parts[i].number, path, e);
}

int
ag_disk_find_fs(int events, const struct ag_disk_want *want, char path[64], char fstype[16], struct ag_error *e)
{
    mb_autofd int fd = -1;
    const char *found;
    int r = ag_dev_wait_disk(events, want->serial, 0, path, e);

    if (r < 0)
        return r;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ag_fail(e, errno, want->serial, "The disk cannot be read");
    found = want->partition ? NULL : ag_probe_fs(fd);
    if (found && (want->fstype[0] == '\0' || strcmp(found, want->fstype) == 0)) {
        snprintf(fstype, 16, "%s", found);
        return 0;
    }
    return pick_partition(want, path, fstype, e);
}

/* ---- mounting ------------------------------------------------------------------------- */

/* Whether a line of the disk's directory in sysfs says 0. A partition's directory is in its disk's. */
static bool
sysfs_is_zero(const char *device, const char *file)
{
    char path[160], text[32];
    const char *name = device + strlen("/dev/");

    snprintf(path, sizeof(path), "/sys/class/block/%.32s/%s", name, file);
    if (ag_read_line(AT_FDCWD, path, text, sizeof(text)) < 0) {
        snprintf(path, sizeof(path), "/sys/class/block/%.32s/../%s", name, file);
        if (ag_read_line(AT_FDCWD, path, text, sizeof(text)) < 0)
            return true;
    }
    return strcmp(text, "0") == 0;
}

bool
ag_disk_can_discard(const char *device)
{
    return !sysfs_is_zero(device, "queue/discard_max_bytes");
}

static bool
is_read_only(const char *device)
{
    return !sysfs_is_zero(device, "ro");
}

static int
load_modules(const char *fstype, const struct fs_kind *kind, int modules_fd, struct ag_error *e)
{
    mb_autofd int known = ag_sys_fsopen(fstype, FSOPEN_CLOEXEC);
    int r;

    if (modules_fd < 0)
        return 0;
    if (known < 0) {
        r = ag_module_probe(modules_fd, fstype);
        if (r == -ENOENT)
            return ag_fail(e, 0, fstype, "The kernel has no file system \"%s\", neither built in nor as a module",
                           fstype);
        if (r < 0)
            return ag_fail(e, -r, fstype, "The file system's kernel module cannot be loaded");
    }
    for (size_t i = 0; i < MB_ARRAY_SIZE(kind->modules) && kind->modules[i]; i++)
        (void)!ag_module_probe(modules_fd, kind->modules[i]);
    return 0;
}

/* Where another file system was asked for than the one that is there, the kernel has no more to say than EINVAL. */
static void
tell_what_is_there(const char *device, const char *fstype, struct ag_error *e)
{
    mb_autofd int fd = open(device, O_RDONLY | O_CLOEXEC);
    const char *found = fd < 0 ? NULL : ag_probe_fs(fd);
    size_t n = strlen(e->message);

    if (found && strcmp(found, fstype) != 0)
        snprintf(e->message + n, sizeof(e->message) - n, "; what is there is %s", found);
}

int
ag_disk_mount(const char *device, const char *fstype, bool ro, uint64_t attrs, int modules_fd, struct ag_error *e)
{
    const struct fs_kind *kind = find_kind(fstype);
    const char *opts[OPTS_MAX] = { kind->always };
    unsigned n = kind->always ? 1 : 0;
    struct ag_error first = *e;
    int r = load_modules(fstype, kind, modules_fd, e);

    if (r < 0)
        return r;
    ro = ro || is_read_only(device);
    if (!ro && kind->discard && ag_disk_can_discard(device))
        opts[n++] = "discard";
    r = ag_mount_new(fstype, device, opts, ro, attrs, &first);
    if (r < 0 && ro && kind->no_replay) {
        opts[n++] = kind->no_replay;
        r = ag_mount_new(fstype, device, opts, ro, attrs, e);
    }
    if (r < 0) {
        *e = first;
        tell_what_is_there(device, fstype, e);
    }
    return r;
}
