/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a distribution's kernel image to the ELF file QEMU boots by PVH.
 *
 * A bzImage is a real-mode part, a decompressor, and the compressed ELF kernel
 * (the payload), whose place the setup header tells since boot protocol 2.08.
 * Every compressor's payload ends with the uncompressed size as a little-endian
 * 32-bit word: gzip has it in its own format, the build appends it for the rest.
 *
 * The direct boot needs the ELF note XEN_ELFNOTE_PHYS32_ENTRY (CONFIG_PVH); an
 * image without it would only fail later, silently, inside QEMU.
 */
#include <config.h>

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-endian.h"
#include "mb-io.h"
#include "msb-error.h"
#include "msb-kernel-private.h"

/* Linux boot protocol, offsets in the first sectors. */
#define SETUP_SECTS 0x1f1
#define BOOT_FLAG 0x1fe        /* u16 0xaa55 */
#define HEADER_MAGIC 0x202     /* "HdrS" */
#define PROTOCOL_VERSION 0x206 /* u16 */
#define PAYLOAD_OFFSET 0x248   /* u32, from the end of the setup sectors */
#define PAYLOAD_LENGTH 0x24c   /* u32 */
#define HEADER_END 0x250
#define SECTOR 512

#define NOTE_PHYS32_ENTRY 18 /* XEN_ELFNOTE_PHYS32_ENTRY, name "Xen" */
#define MAX_RELEASE 64       /* utsname.release is 65 bytes */

static gboolean
corrupt(GError **error, const char *what, const char *why)
{
    g_set_error(error, MSB_ERROR, MSB_ERROR_CORRUPT, "'%s' is not a usable kernel: %s", what, why);
    return FALSE;
}

gboolean
msb_bzimage_find_payload(const guint8 *image, gsize n, const char *what, gsize *offset, gsize *length,
                         GError **error)
{
    gsize start, size, setup;

    if (n < HEADER_END || mb_get_le16(image + BOOT_FLAG) != 0xaa55 ||
        memcmp(image + HEADER_MAGIC, "HdrS", 4) != 0)
        return corrupt(error, what, "it is neither an x86 bzImage nor an ELF file");
    if (mb_get_le16(image + PROTOCOL_VERSION) < 0x208)
        return corrupt(error, what,
                       "its boot protocol is older than 2.08 and does not tell where the kernel is");
    setup = image[SETUP_SECTS] ? image[SETUP_SECTS] : 4;
    start = (setup + 1) * SECTOR + mb_get_le32(image + PAYLOAD_OFFSET);
    size = mb_get_le32(image + PAYLOAD_LENGTH);
    if (size < 8 || start > n || size > n - start)
        return corrupt(error, what, "it is shorter than its header says (truncated?)");
    *offset = start;
    *length = size;
    return TRUE;
}

/* Unpack the payload of image to fd and compare its length with the one the payload ends with. */
static gboolean
unpack_payload(const guint8 *image, gsize n, const char *what, int fd, GError **error)
{
    gsize offset, length;
    guint64 written = 0;
    guint32 expected;
    const guint8 *payload;

    if (!msb_bzimage_find_payload(image, n, what, &offset, &length, error))
        return FALSE;
    payload = image + offset;
    expected = mb_get_le32(payload + length - 4);
    if (!(payload[0] == 0x1f && payload[1] == 0x8b))
        length -= 4; /* the appended size is no part of the compressed stream */
    if (!msb_archive_unpack_bytes(payload, length, what, fd, MSB_KERNEL_MAX_VMLINUX, &written, error))
        return FALSE;
    if (written != expected)
        return corrupt(error, what, "it unpacks to another length than it says (truncated or damaged)");
    return TRUE;
}

gboolean
msb_kernel_unpack_vmlinux(const char *image, const char *out_path, GError **error)
{
    mb_autofree char *contents = NULL;
    mb_autofd int out = -1;
    const guint8 *bytes;
    size_t n;
    int r;

    r = mb_read_file_at(AT_FDCWD, image, MSB_KERNEL_MAX_VMLINUX, &contents, &n);
    if (r < 0)
        return msb_error_set_errno(error, -r, "cannot read the kernel '%s'", image);
    bytes = (const guint8 *)contents;
    out = open(out_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (out < 0)
        return msb_error_set_errno(error, errno, "cannot create '%s'", out_path);
    if (n >= SELFMAG && memcmp(bytes, ELFMAG, SELFMAG) == 0)
        return msb_archive_write_all(out, bytes, n, out_path, error);
    if (n > MSB_KERNEL_MAX_IMAGE)
        return corrupt(error, image, "it is far too large for a bzImage");
    return unpack_payload(bytes, n, image, out, error);
}

/* Whether the notes in [p, p + n) have the PVH entry. Names and descriptors are padded to 4 bytes. */
static gboolean
notes_have_pvh(const guint8 *p, gsize n)
{
    while (n >= sizeof(Elf64_Nhdr)) {
        guint64 name_size = mb_get_le32(p), desc_size = mb_get_le32(p + 4);
        guint32 type = mb_get_le32(p + 8);
        guint64 whole = sizeof(Elf64_Nhdr) + ((name_size + 3) & ~G_GUINT64_CONSTANT(3)) +
                        ((desc_size + 3) & ~G_GUINT64_CONSTANT(3));

        if (sizeof(Elf64_Nhdr) + name_size > n)
            return FALSE;
        if (type == NOTE_PHYS32_ENTRY && name_size == 4 && memcmp(p + sizeof(Elf64_Nhdr), "Xen", 4) == 0)
            return TRUE;
        if (whole > n)
            return FALSE;
        p += whole;
        n -= (gsize)whole;
    }
    return FALSE;
}

gboolean
msb_vmlinux_check_pvh(const guint8 *elf, gsize n, const char *what, GError **error)
{
    Elf64_Ehdr header;

    if (n < sizeof(header) || memcmp(elf, ELFMAG, SELFMAG) != 0)
        return corrupt(error, what, "what it unpacks to is not an ELF file");
    memcpy(&header, elf, sizeof(header));
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
        header.e_machine != EM_X86_64)
        return corrupt(error, what, "it is not for x86-64");
    for (guint i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;

        if (header.e_phoff > n || (guint64)(i + 1) * sizeof(segment) > n - header.e_phoff)
            return corrupt(error, what, "its ELF program headers are cut off");
        memcpy(&segment, elf + header.e_phoff + (guint64)i * sizeof(segment), sizeof(segment));
        if (segment.p_type != PT_NOTE)
            continue;
        if (segment.p_offset > n || segment.p_filesz > n - segment.p_offset)
            return corrupt(error, what, "its ELF notes are cut off");
        if (notes_have_pvh(elf + segment.p_offset, segment.p_filesz))
            return TRUE;
    }
    g_set_error(error, MSB_ERROR, MSB_ERROR_UNSUPPORTED,
                "the kernel '%s' has no PVH entry point and cannot be booted directly; "
                "use one that was built with CONFIG_PVH=y, as Debian's linux-image-cloud-amd64 is",
                what);
    return FALSE;
}

char *
msb_vmlinux_dup_release(const guint8 *elf, gsize n)
{
    static const char banner[] = "Linux version ";
    const guint8 *p = elf;
    const guint8 *end = elf + n;

    while ((p = memmem(p, (gsize)(end - p), banner, sizeof(banner) - 1))) {
        gsize length = 0;

        p += sizeof(banner) - 1;
        while (p + length < end && length < MAX_RELEASE && p[length] > ' ' && p[length] < 0x7f)
            length++;
        if (length > 0 && g_ascii_isdigit(p[0]))
            return g_strndup((const char *)p, length);
    }
    return NULL;
}
