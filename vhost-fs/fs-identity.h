/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stat virtualization: owner, mode, type and device number of a file as the
 * guest sees them, kept in an extended attribute of the host file so that a
 * process without privileges can serve any of them.
 *
 * Attribute "user.msb.override_stat", 20 bytes, little-endian:
 *
 *     0  u8   version, 1
 *     1  3    zero
 *     4  u32  uid
 *     8  u32  gid
 *    12  u32  mode, type bits included
 *    16  u32  rdev, as the guest's mknod() gave it
 *
 * strict    every object gets one; symbolic links, devices, FIFOs and sockets
 *           are regular files of the host with the type in the attribute
 * relaxed   likewise, but symbolic links are real ones, and a filesystem
 *           without extended attributes may be shared as it is
 * off       none of this: the host's owner, mode and type, as they are
 *
 * A file without the attribute shows the host's mode and a mapped owner (see
 * fs_ident_default()).  The attribute itself is invisible to the guest.
 *
 * The attribute is read again when the file's ctime changed, which every change
 * of an attribute does; a ctime too young to tell two changes apart is never
 * trusted.
 */
#ifndef FS_IDENTITY_H
#define FS_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "mb-macros.h"

struct fs;
struct fs_fd;
struct fs_node;

enum fs_stat_virt { FS_STAT_STRICT, FS_STAT_RELAXED, FS_STAT_OFF };

/* Whether a guest's chmod reaches the permission bits of the host file. */
enum fs_host_perms { FS_PERMS_PRIVATE, FS_PERMS_MIRROR };

#define FS_IDENT_XATTR "user.msb.override_stat"
#define FS_IDENT_PROBE "user.msb._probe"
#define FS_IDENT_SIZE 20
#define FS_IDENT_VERSION 1
#define FS_NOBODY 65534u

struct fs_ident {
    uint32_t uid, gid;
    uint32_t mode;              /* with type */
    uint32_t rdev;
    bool acl;                   /* of a new object: its permissions follow its directory's default ACL */
};

/* In a node, under its lock. */
struct fs_ident_cache {
    struct fs_ident id;
    int64_t ctime_sec;
    uint32_t ctime_nsec;
    bool valid;
    uint32_t seen_s;            /* when (CLOCK_MONOTONIC), for fs_ident_recent() */
};

/* The attribute's value; -EIO for another length or version, or a mode without a known type. */
int fs_ident_parse(const uint8_t *value, size_t len, struct fs_ident *id) MB_MUST_CHECK;
void fs_ident_format(const struct fs_ident *id, uint8_t value[FS_IDENT_SIZE]);

/* What a host file without the attribute shows. */
void fs_ident_default(const struct fs *fs, const struct statx *stx, struct fs_ident *id);

/* The identity of node whose attributes are stx, if that needs no system call. */
bool fs_ident_peek(struct fs *fs, struct fs_node *node, const struct statx *stx, struct fs_ident *id);

/* True if files with those attributes can have the xattr at all. */
bool fs_ident_possible(const struct fs *fs, const struct statx *stx);

/* The identity of node, read through fd. 0, or -EIO (logged with the file's name), -errno. */
int fs_ident_load(struct fs *fs, struct fs_node *node, const struct fs_fd *fd, const struct statx *stx,
                  struct fs_ident *id) MB_MUST_CHECK;

/* The identity of a directory as known for at most a second; for what new files inherit. */
int fs_ident_recent(struct fs *fs, struct fs_node *node, const struct fs_fd *fd, struct fs_ident *id)
    MB_MUST_CHECK;

/* Write the identity of the file behind fd; node (may be NULL) forgets what it had cached. 0 or -errno. */
int fs_ident_store(struct fs *fs, struct fs_node *node, const struct fs_fd *fd, const struct fs_ident *id)
    MB_MUST_CHECK;

/* Mirror mode's permission bits of the host file: 0 or -errno; nothing to do in private mode. */
int fs_ident_mirror(struct fs *fs, const struct fs_fd *fd, uint32_t mode) MB_MUST_CHECK;

/* Identity of an object that uid:gid creates in the directory dir (through dfd): mode with
 * type, umask applied, group and set-group-ID inherited. */
int fs_ident_of_new(struct fs *fs, struct fs_node *dir, const struct fs_fd *dfd, uint32_t uid, uint32_t gid,
                    uint32_t mode, uint32_t umask, struct fs_ident *id) MB_MUST_CHECK;

/* Clear set-user-ID and set-group-ID, as a write by a user of the group gid does: the latter stays if it
 * does not mean execution and the file is of that group. 0 or -errno. */
int fs_ident_kill_suid(struct fs *fs, struct fs_node *node, const struct fs_fd *fd, uint32_t gid) MB_MUST_CHECK;

/* At start: can the root carry the attribute?  Never writes when the share is read-only. 0 or -errno. */
int fs_ident_probe(struct fs *fs, const struct fs_fd *fd) MB_MUST_CHECK;

/* True if this attribute name is not the guest's to see. */
bool fs_ident_is_private(const char *xattr);

#endif
