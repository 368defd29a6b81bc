/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What libFuzzer changes in an input of fuzz-fs: whole requests of the right form are
 * put in, taken away, moved and changed, and sometimes the bytes as they are.  Bytes alone
 * seldom make a second request that has anything to do with the first.
 */
#include <config.h>

#include <linux/fuse.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "mb-macros.h"

#define MAX_RECORDS 200
#define MAX_RECORD 512

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed);

/* Arguments: a structure, then names, then data. */
static const struct {
    uint8_t opcode, fixed, names, data;
} shapes[] = {
    {FUSE_LOOKUP, 0, 1, 0},
    {FUSE_FORGET, sizeof(struct fuse_forget_in), 0, 0},
    {FUSE_GETATTR, sizeof(struct fuse_getattr_in), 0, 0},
    {FUSE_SETATTR, sizeof(struct fuse_setattr_in), 0, 0},
    {FUSE_READLINK, 0, 0, 0},
    {FUSE_SYMLINK, 0, 2, 0},
    {FUSE_MKNOD, sizeof(struct fuse_mknod_in), 1, 0},
    {FUSE_MKDIR, sizeof(struct fuse_mkdir_in), 1, 0},
    {FUSE_UNLINK, 0, 1, 0},
    {FUSE_RMDIR, 0, 1, 0},
    {FUSE_RENAME, sizeof(struct fuse_rename_in), 2, 0},
    {FUSE_LINK, sizeof(struct fuse_link_in), 1, 0},
    {FUSE_OPEN, sizeof(struct fuse_open_in), 0, 0},
    {FUSE_READ, sizeof(struct fuse_read_in), 0, 0},
    {FUSE_WRITE, sizeof(struct fuse_write_in), 0, 1},
    {FUSE_STATFS, 0, 0, 0},
    {FUSE_RELEASE, sizeof(struct fuse_release_in), 0, 0},
    {FUSE_SETXATTR, sizeof(struct fuse_setxattr_in), 1, 1},
    {FUSE_GETXATTR, sizeof(struct fuse_getxattr_in), 1, 0},
    {FUSE_LISTXATTR, sizeof(struct fuse_getxattr_in), 0, 0},
    {FUSE_REMOVEXATTR, 0, 1, 0},
    {FUSE_FLUSH, sizeof(struct fuse_flush_in), 0, 0},
    {FUSE_INIT, sizeof(struct fuse_init_in), 0, 0},
    {FUSE_OPENDIR, sizeof(struct fuse_open_in), 0, 0},
    {FUSE_READDIR, sizeof(struct fuse_read_in), 0, 0},
    {FUSE_RELEASEDIR, sizeof(struct fuse_release_in), 0, 0},
    {FUSE_GETLK, sizeof(struct fuse_lk_in), 0, 0},
    {FUSE_SETLK, sizeof(struct fuse_lk_in), 0, 0},
    {FUSE_SETLKW, sizeof(struct fuse_lk_in), 0, 0},
    {FUSE_ACCESS, sizeof(struct fuse_access_in), 0, 0},
    {FUSE_CREATE, sizeof(struct fuse_create_in), 1, 0},
    {FUSE_INTERRUPT, sizeof(struct fuse_interrupt_in), 0, 0},
    {FUSE_DESTROY, 0, 0, 0},
    {FUSE_BATCH_FORGET, sizeof(struct fuse_batch_forget_in) + 4 * sizeof(struct fuse_forget_one), 0, 1},
    {FUSE_FALLOCATE, sizeof(struct fuse_fallocate_in), 0, 0},
    {FUSE_READDIRPLUS, sizeof(struct fuse_read_in), 0, 0},
    {FUSE_RENAME2, sizeof(struct fuse_rename2_in), 2, 0},
    {FUSE_LSEEK, sizeof(struct fuse_lseek_in), 0, 0},
    {FUSE_COPY_FILE_RANGE, sizeof(struct fuse_copy_file_range_in), 0, 0},
    {FUSE_TMPFILE, sizeof(struct fuse_create_in), 1, 0},
    {64, 0, 1, 1}, /* the host's doings */
    {65, 0, 1, 0},
    {66, 0, 2, 0},
    {67, 0, 1, 1},
    {68, 0, 1, 0},
    {69, 0, 1, 1},
    {70, 0, 1, 1},
    {71, 0, 1, 0},
    {72, 0, 1, 1},
};

static const char *const names[] = {
    "a", "b", "c", "a", "b", "a/b", "b/a", "..", ".", "", "user.a", "user.b", "user.msb.override_stat",
    "security.capability", "trusted.t", "system.posix_acl_access", "system.posix_acl_default",
    "../secret", "hard",
};

static unsigned state;

static uint32_t
number(uint32_t below)
{
    return (uint32_t)rand_r(&state) % below;
}

/* ---- one record ------------------------------------------------------------------------ */

/* Structures of small numbers, flags, and seldom large ones. */
static void
fill_structure(uint8_t *at, size_t n)
{
    memset(at, 0, n);
    for (unsigned i = number(4); n >= 4 && i > 0; i--) {
        uint32_t place = number((uint32_t)n / 4) * 4;
        uint32_t value = number(4) ? number(9) : number(2) ? 1u << number(32) : number(2) ? 4096u * number(32) : ~0u;

        memcpy(at + place, &value, 4);
    }
}

static uint8_t *
put_name(uint8_t *at, const char *name)
{
    size_t n = strlen(name) + 1;

    memcpy(at, name, n);
    return at + n;
}

/* All before the body; the length, its last two bytes, is not known yet. */
static uint8_t *
put_head(uint8_t *at, unsigned opcode)
{
    bool wide = opcode < 64 && number(4) != 0;

    *at++ = (uint8_t)(opcode | (wide ? 128 : 0));
    *at++ = (uint8_t)number(number(2) ? 3 : 12);
    *at++ = (uint8_t)((number(8) ? 1 : 0) | (number(16) ? 0 : 4) | (number(4) ? 0 : number(32) << 3));
    if (wide) {
        uint16_t room = number(3) ? UINT16_MAX : (uint16_t)(16 + number(number(2) ? 16 : 4096));

        *at++ = (uint8_t)number(3);
        memcpy(at, &room, 2);
        at += 2;
        *at++ = (uint8_t)(number(2) ? 0 : number(256));
    }
    return at + 2;
}

/* The length of the body that ends at end. */
static size_t
end_record(const uint8_t *out, uint8_t *body, const uint8_t *end)
{
    uint16_t len = (uint16_t)(end - body);

    if (len < 255 && number(12) == 0)
        len = (uint16_t)(0xf000 | number(16) << 8 | len);
    memcpy(body - 2, &len, 2);
    return (size_t)(end - out);
}

static uint8_t *
put_acl_entry(uint8_t *at, uint16_t tag, uint32_t id)
{
    const struct posix_acl_xattr_entry entry = {tag, (uint16_t)number(8), id};

    memcpy(at, &entry, sizeof(entry));
    return at + sizeof(entry);
}

/* Mostly one that the kernel takes: sorted, with a mask if anybody is named. */
static uint8_t *
put_acl(uint8_t *acl)
{
    uint32_t version = number(16) ? POSIX_ACL_XATTR_VERSION : number(4), users = number(3), groups = number(3);
    uint8_t *at = acl + sizeof(version);

    memcpy(acl, &version, sizeof(version));
    at = put_acl_entry(at, ACL_USER_OBJ, ACL_UNDEFINED_ID);
    for (uint32_t i = 0; i < users; i++)
        at = put_acl_entry(at, ACL_USER, i * 1000);
    at = put_acl_entry(at, ACL_GROUP_OBJ, ACL_UNDEFINED_ID);
    for (uint32_t i = 0; i < groups; i++)
        at = put_acl_entry(at, ACL_GROUP, i);
    if (users + groups > 0 ? number(16) : number(4) == 0)
        at = put_acl_entry(at, ACL_MASK, ACL_UNDEFINED_ID);
    at = put_acl_entry(at, ACL_OTHER, ACL_UNDEFINED_ID);
    if (number(4) == 0) /* one number of one entry */
        acl[number((uint32_t)(at - acl))] = (uint8_t)number(number(2) ? 64 : 256);
    if (number(8))
        return at;
    memset(at, 0, sizeof(struct posix_acl_xattr_entry)); /* cut off, or too long */
    return acl + number((uint32_t)(at - acl) + sizeof(struct posix_acl_xattr_entry));
}

/* One is set, by the guest or by the host. */
static size_t
make_acl_record(uint8_t *out)
{
    bool host = number(8) == 0;
    uint8_t *body = put_head(out, host ? 72 : FUSE_SETXATTR), *value, *end;
    struct fuse_setxattr_in in = {.flags = number(4) ? 0 : number(4), .setxattr_flags = number(3)};

    if (host) {
        value = put_name(body, names[number(5)]);
        *value++ = (uint8_t)number(2);
        return end_record(out, body, put_acl(value));
    }
    value = put_name(body + sizeof(in), number(2) ? "system.posix_acl_access" : "system.posix_acl_default");
    end = put_acl(value);
    in.size = (uint32_t)(end - value) + (number(16) ? 0 : number(40));
    memcpy(body, &in, sizeof(in));
    return end_record(out, body, end);
}

static size_t
make_record(uint8_t *out)
{
    unsigned k = number(MB_ARRAY_SIZE(shapes) + 2); /* ACLs as often as two of them */
    uint8_t *body, *at;

    if (k >= MB_ARRAY_SIZE(shapes))
        return make_acl_record(out);
    at = body = put_head(out, shapes[k].opcode);
    fill_structure(at, shapes[k].fixed);
    at += shapes[k].fixed;
    for (unsigned i = 0; i < shapes[k].names; i++)
        at = put_name(at, names[number(number(4) ? 5 : MB_ARRAY_SIZE(names))]);
    if (shapes[k].data) {
        size_t n = number(40);

        for (size_t i = 0; i < n; i++)
            at[i] = (uint8_t)(number(2) ? 1 : number(256));
        at += n;
    }
    return end_record(out, body, at);
}

/* ---- the list of them -------------------------------------------------------------------- */

/* Where records begin, and the end; fuzz-fs.c reads them alike. */
static unsigned
find_records(const uint8_t *data, size_t size, size_t begin[MAX_RECORDS + 1])
{
    size_t at = 1;
    unsigned n = 0;

    while (at + 5 <= size && n < MAX_RECORDS) {
        size_t head = data[at] >= 128 ? 7 : 3, len;
        uint16_t given;

        begin[n++] = at;
        if (at + head + 2 > size)
            break;
        memcpy(&given, data + at + head, 2);
        len = given < 0xf000 ? given : (given & 255) == 255 ? 0 : given & 255;
        at += head + 2 + len + (data[at + 1] == 255 && (data[at] & 192) != 64 ? 8 : 0);
    }
    begin[n] = size;
    return n;
}

static size_t
insert(uint8_t *data, size_t size, size_t max, size_t at, const uint8_t *what, size_t n)
{
    if (size + n > max)
        return size;
    memmove(data + at + n, data + at, size - at);
    memcpy(data + at, what, n);
    return size + n;
}

static size_t
cut(uint8_t *data, size_t size, size_t at, size_t n)
{
    memmove(data + at, data + at + n, size - at - n);
    return size - n;
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed)
{
    size_t begin[MAX_RECORDS + 1], len;
    uint8_t record[MAX_RECORD];
    unsigned n, i;

    state = seed;
    if (size == 0 && max > 0)
        data[size++] = 0;
    if (number(5) == 0)
        return LLVMFuzzerMutate(data, size, max);
    n = find_records(data, size, begin);
    if (n == 0 || number(2))
        return insert(data, size, max, begin[n ? number(n + 1) : 0], record, make_record(record));
    i = number(n);
    len = begin[i + 1] - begin[i];
    switch (number(5)) {
    case 0:
        return cut(data, size, begin[i], len);
    case 1: /* once more, elsewhere */
        if (len > sizeof(record))
            return size;
        memcpy(record, data + begin[i], len);
        return insert(data, size, max, begin[number(n + 1)], record, len);
    case 2: /* the mode, a node, flags */
        data[number(2) ? 0 : begin[i] + 1 + number(2)] = (uint8_t)number(number(2) ? 8 : 256);
        return size;
    default: /* in the middle of one, without changing its length */
        LLVMFuzzerMutate(data + begin[i], len, len);
        return size;
    }
}
