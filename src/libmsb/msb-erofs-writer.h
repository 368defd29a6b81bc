/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writer of EROFS images: entries come in any order, as an archive has them,
 * and go into the image at once; nothing is read back and nothing spooled.
 *
 * Layout of the image, in blocks of 4 KiB:
 *
 *   block 0   superblock at 1024, the root directory's inode at 1152 (nid 36)
 *   then, in the order of the entries, mixed:
 *     runs of metadata (16 KiB, each one twice its predecessor, up to 1 MiB):
 *       inodes with their extended attributes and the ends of files smaller
 *       than a block (tail packing), those of directories last
 *     data: the whole blocks of files
 *   then the whole blocks of directories, the shared extended attributes
 *
 * A run's place is reserved when it begins, so that every inode has its number
 * as soon as it is written, and one run at most is in memory: tails need no
 * other bound. Files with holes are chunk-based, with at most 65536 chunks.
 * The bytes depend on the entries alone: no time, no random numbers, no UUID.
 *
 * Rules of names: leading "/" and "./" are nothing; missing directories are
 * made (0755, root:root, mtime 0, unless somebody knows better); symbolic links in the middle of a path are
 * resolved inside the image; a later entry of a name replaces an earlier one,
 * except that a directory keeps its children when it comes again.
 *
 * Every function returns FALSE with the error set; the writer is of no use
 * after that.  Messages name the path.  One thread.  Internal to libmsb.
 */
#ifndef MSB_EROFS_WRITER_H
#define MSB_EROFS_WRITER_H

#include "msb-erofs-tree.h"
#include "msb-erofs-xattr.h"
#include "msb-error.h"

G_BEGIN_DECLS

typedef struct _MsbErofsWriter MsbErofsWriter;

/* fd: an empty regular file, borrowed. max_size: of the image. max_memory: of names and directories. */
MsbErofsWriter *msb_erofs_writer_new(int fd, guint64 max_size, guint64 max_memory, GError **error);
void msb_erofs_writer_free(MsbErofsWriter *writer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbErofsWriter, msb_erofs_writer_free)

/* What every entry has. The mode's type bits are set by the function. */
typedef struct {
    const char *path;
    MsbErofsAttr attr;
    const MsbErofsXattr *xattrs;
    guint n_xattrs;
} MsbErofsEntry;

gboolean msb_erofs_writer_add_dir(MsbErofsWriter *writer, const MsbErofsEntry *entry, GError **error);
gboolean msb_erofs_writer_add_symlink(MsbErofsWriter *writer, const MsbErofsEntry *entry, const char *target,
                                      GError **error);
/* A device (mode S_IFCHR or S_IFBLK), FIFO or socket. */
gboolean msb_erofs_writer_add_special(MsbErofsWriter *writer, const MsbErofsEntry *entry, guint64 major,
                                      guint64 minor, GError **error);
/* target: a name that is in the image already and not a directory. */
gboolean msb_erofs_writer_add_hardlink(MsbErofsWriter *writer, const char *path, const char *target,
                                       GError **error);
/* What the image, as far as it is, says of path in a stack that it is the top of. Symbolic links in the middle of path
 * are not followed: nothing is there. */
typedef enum {
    MSB_EROFS_SAYS_NOTHING,     /* what lower layers have shows */
    MSB_EROFS_HAS_NONE,         /* it is taken away, or cannot be there */
    MSB_EROFS_HAS_DIR,          /* perhaps with what lower layers have in it */
    MSB_EROFS_HAS_SYMLINK,
    MSB_EROFS_HAS_FILE          /* or whatever else */
} MsbErofsSays;
/* *target (may be NULL): of a symbolic link, the writer's. */
MsbErofsSays msb_erofs_writer_ask(const MsbErofsWriter *writer, const char *path, const char **target);
/* An overlayfs whiteout of path in lower layers. If this image has path itself, before or later, only the
 * lower layers' is hidden: a directory becomes opaque, anything else hides it anyway. */
gboolean msb_erofs_writer_add_whiteout(MsbErofsWriter *writer, const char *path, GError **error);
/* Hide everything lower layers have below the directory path. */
gboolean msb_erofs_writer_set_opaque(MsbErofsWriter *writer, const char *path, GError **error);

/* A regular file: begin, writes with growing offsets (what is left out is zeros), end. */
gboolean msb_erofs_writer_begin_file(MsbErofsWriter *writer, const MsbErofsEntry *entry, guint64 size,
                                     gboolean sparse, GError **error);
gboolean msb_erofs_writer_write(MsbErofsWriter *writer, guint64 offset, const void *bytes, gsize n,
                                GError **error);
gboolean msb_erofs_writer_end_file(MsbErofsWriter *writer, GError **error);

/* Asked for every directory but the root that has no entry of its own, when the image is finished: what are
 * its attributes (of lower layers)? entry has the path and the defaults; what it points to is the function's
 * until the next call. */
typedef gboolean (*MsbErofsImplicit)(MsbErofsEntry *entry, gpointer data, GError **error);
void msb_erofs_writer_set_implicit(MsbErofsWriter *writer, MsbErofsImplicit implicit, gpointer data);

/* Directories, shared attributes and, last, the superblock. Does not fsync. */
gboolean msb_erofs_writer_finish(MsbErofsWriter *writer, GError **error);

/* Set error to "entry '<path>': <reason>", and return FALSE. */
gboolean msb_erofs_entry_error(GError **error, MsbError code, const char *path, const char *reason);

G_END_DECLS

#endif
