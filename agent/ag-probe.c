/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is on a disk: file systems by their magic numbers, partition types from
 * a GPT (UEFI specification 2.10, section 5.3).  The kernel has parsed the table
 * already; only what it does not tell is read here.  Every number on the disk is
 * the image maker's and bounded before use.
 */
#include <config.h>

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ag.h"

#define GPT_ENTRIES_MAX 1024u
#define GPT_ENTRY_MIN 128u
#define GPT_ENTRY_MAX 4096u

struct signature {
    const char *name;
    off_t offset;
    uint8_t n;
    char magic[9];
};

static const struct signature signatures[] = {
    { "xfs", 0, 4, "XFSB" },
    { "squashfs", 0, 4, "hsqs" },
    { "erofs", 1024, 4, "\xe2\xe1\xf5\xe0" },
    { "ext4", 1080, 2, "\x53\xef" },
    { "btrfs", 65600, 8, "_BHRfS_M" },
    { "iso9660", 32769, 5, "CD001" },
    { "vfat", 82, 5, "FAT32" },
    { "vfat", 54, 5, "FAT16" },
    { "vfat", 54, 5, "FAT12" },
    { "exfat", 3, 8, "EXFAT   " },
    { "ntfs3", 3, 8, "NTFS    " },
    { "f2fs", 1024, 4, "\x10\x20\xf5\xf2" },
};

/* What is no file system. Only to be named: nothing is ever opened because of it. */
static const struct signature others[] = {
    { "a qcow2 image; give format=qcow2", 0, 4, "QFI\xfb" },
    { "a VMDK image; give format=vmdk", 0, 4, "KDMV" },
    { "a VMDK descriptor; give format=vmdk", 0, 8, "# Disk D" },
    { "a VDI image; convert it with qemu-img", 64, 4, "\x7f\x10\xda\xbe" },
    { "a VHDX image; convert it with qemu-img", 0, 8, "vhdxfile" },
    { "a VHD image; convert it with qemu-img", 0, 8, "conectix" },
    { "a LUKS volume", 0, 6, "LUKS\xba\xbe" },
    { "an LVM physical volume", 536, 8, "LVM2 001" },
    { "swap space", 4086, 8, "SWAPSPAC" },
};

static bool
read_at(int fd, void *buf, size_t n, off_t offset)
{
    return pread(fd, buf, n, offset) == (ssize_t)n;
}

static const char *
probe(int fd, const struct signature *table, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char buf[8];

        if (read_at(fd, buf, table[i].n, table[i].offset) && memcmp(buf, table[i].magic, table[i].n) == 0)
            return table[i].name;
    }
    return NULL;
}

const char *
ag_probe_fs(int fd)
{
    return probe(fd, signatures, MB_ARRAY_SIZE(signatures));
}

const char *
ag_probe_other(int fd)
{
    return probe(fd, others, MB_ARRAY_SIZE(others));
}

static uint32_t
get32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return le32toh(v);
}

static uint64_t
get64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

int
ag_probe_gpt_type(int fd, unsigned sector_size, unsigned n, uint8_t guid[16])
{
    static const uint8_t none[16];
    uint8_t header[92];
    uint64_t table, where;
    uint32_t count, size;

    if (!read_at(fd, header, sizeof(header), (off_t)sector_size) || memcmp(header, "EFI PART", 8) != 0)
        return -ENOENT;
    table = get64(header + 72);
    count = get32(header + 80);
    size = get32(header + 84);
    if (count > GPT_ENTRIES_MAX || size < GPT_ENTRY_MIN || size > GPT_ENTRY_MAX)
        return -EPROTO;
    if (table > INT64_MAX / sector_size / 2)
        return -EPROTO;
    if (n < 1 || n > count)
        return -ENOENT;
    where = table * sector_size + (uint64_t)(n - 1) * size;
    if (!read_at(fd, guid, 16, (off_t)where))
        return -EPROTO;
    return memcmp(guid, none, 16) == 0 ? -ENOENT : 0;
}

enum ag_part_use
ag_probe_part_use(const uint8_t guid[16])
{
    /* The Discoverable Partitions Specification: root for x86-64 and arm64, extended boot loader; UEFI: its own. */
    static const struct {
        char guid[17];
        enum ag_part_use use;
    } uses[] = {
        { "\xe3\xbc\x68\x4f\xcd\xe8\xb1\x4d\x96\xe7\xfb\xca\xf9\x84\xb7\x09", AG_PART_ROOT },
        { "\x45\xb0\x21\xb9\xf0\x1d\xc3\x41\xaf\x44\x4c\x6f\x28\x0d\x3f\xae", AG_PART_ROOT },
        { "\xff\xc2\x13\xbc\xe6\x59\x62\x42\xa3\x52\xb2\x75\xfd\x6f\x71\x72", AG_PART_BOOT },
        { "\x28\x73\x2a\xc1\x1f\xf8\xd2\x11\xba\x4b\x00\xa0\xc9\x3e\xc9\x3b", AG_PART_BOOT },
    };

    for (size_t i = 0; i < MB_ARRAY_SIZE(uses); i++) {
        if (memcmp(uses[i].guid, guid, 16) == 0)
            return uses[i].use;
    }
    return AG_PART_ANY;
}

/* Something that a root can be on. */
static bool
is_linux_fs(const char *fstype)
{
    return fstype && strcmp(fstype, "vfat") != 0 && strcmp(fstype, "exfat") != 0 && strcmp(fstype, "ntfs3") != 0 &&
           strcmp(fstype, "iso9660") != 0;
}

static bool
is_typed_root(const struct ag_part *part)
{
    return is_linux_fs(part->fstype) && part->use == AG_PART_ROOT;
}

static bool
is_plain_linux(const struct ag_part *part)
{
    return is_linux_fs(part->fstype) && part->use != AG_PART_BOOT;
}

static bool
has_any_fs(const struct ag_part *part)
{
    return part->fstype != NULL;
}

int
ag_probe_choose(const struct ag_part *parts, unsigned n, bool root)
{
    static bool (*const rules[])(const struct ag_part *) = { is_typed_root, is_plain_linux, has_any_fs };
    size_t n_rules = MB_ARRAY_SIZE(rules) - (root ? 1 : 0);

    for (size_t r = 0; r < n_rules; r++) {
        int found = -ENOENT;

        for (unsigned i = 0; i < n; i++) {
            if (rules[r](&parts[i]))
                found = found == -ENOENT ? (int)i : -ENOTUNIQ;
        }
        if (found != -ENOENT)
            return found;
    }
    return -ENOENT;
}
