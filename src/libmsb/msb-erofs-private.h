/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the EROFS writer share, by the file that implements it. */
#ifndef MSB_EROFS_PRIVATE_H
#define MSB_EROFS_PRIVATE_H

#include "msb-erofs-format.h"
#include "msb-erofs-inode.h"
#include "msb-erofs-out.h"
#include "msb-erofs-writer.h"
#include "msb-error.h"

G_BEGIN_DECLS

#define MSB_EROFS_ROOT_POSITION (MSB_EROFS_SUPER_OFFSET + sizeof(MsbErofsSuper))
#define MSB_EROFS_ROOT_SPACE (MSB_EROFS_BLOCK - MSB_EROFS_ROOT_POSITION)

/* The file that is being written. */
typedef struct {
    gboolean open;
    char *path;
    MsbErofsNode *node;
    MsbErofsAttr attr;
    guint64 size;
    guint64 next;          /* where the next write may begin at the earliest */
    guint64 base;          /* plain: position of its whole blocks */
    guint64 whole;         /* plain: bytes of it that go there */
    guint32 *chunks;       /* with holes: block numbers, little-endian */
    guint32 n_chunks;
    guint chunk_bits;
    guint8 tail[MSB_EROFS_BLOCK];
} MsbErofsFile;

struct _MsbErofsWriter {
    int fd;
    guint64 end;           /* first free position, a whole block */
    guint64 max_size;
    MsbErofsTree *tree;
    MsbErofsXattrPool pool;
    GByteArray *xattr;     /* encoded set of the current entry */
    MsbErofsOut data, meta;
    guint64 run_next, run_end;  /* of the current run of metadata */
    guint64 run_size;           /* of the next one */
    gboolean has_epoch;
    MsbErofsEpoch epoch;
    guint32 next_ino;
    guint64 inodes;             /* that have a name */
    gboolean chunked;           /* some file is chunk-based */
    GHashTable *links;          /* nid → Link, of inodes with several names */
    guint64 whiteout_nid;
    MsbErofsImplicit implicit;  /* may be NULL */
    gpointer implicit_data;
    MsbErofsFile file;
};

/* An inode whose link count is put right at the end. */
typedef struct {
    guint64 nid;           /* the key */
    guint32 nlink;
} MsbErofsLink;

/* ---- msb-erofs-writer.c ---- */

/* Put "entry '<path>': " before *error and return FALSE. */
gboolean msb_erofs_prefix_error(GError **error, const char *path);
/* The node that an entry of this type will be, its old content gone. */
MsbErofsNode *msb_erofs_enter(MsbErofsWriter *writer, const char *path, guint8 type, GError **error);
/* Give a directory the attributes of an entry. */
gboolean msb_erofs_set_directory(MsbErofsWriter *writer, MsbErofsDir *dir, const MsbErofsEntry *entry,
                                 gboolean all_shared, GError **error);
/* The extended attributes of an entry into writer->xattr; the first entry's time becomes that of compact
 * inodes. */
gboolean msb_erofs_begin_entry(MsbErofsWriter *writer, const MsbErofsEntry *entry, gboolean all_shared,
                               GError **error);
/* Whole blocks at the end of the image. */
gboolean msb_erofs_take_space(MsbErofsWriter *writer, guint64 size, guint64 *position, GError **error);
/* Room for an inode: head bytes, and tail bytes that must be in the same block as it (0 = none). */
gboolean msb_erofs_take_meta(MsbErofsWriter *writer, gsize head, gsize tail, guint64 *position,
                             GError **error);
/* Encode an inode of the current entry (attributes in writer->xattr) with what follows it, and put it into
 * the current run; counts it. tail_inline: the payload must be in one block with it. */
gboolean msb_erofs_put_inode(MsbErofsWriter *writer, MsbErofsInode *inode, const void *payload, gsize n,
                             gboolean tail_inline, guint64 *nid, GError **error);
/* TRUE if an inode with these extended attributes and n bytes of tail fits into one block. */
gboolean msb_erofs_fits_inline(gsize xattr_size, gsize n);
guint64 msb_erofs_round_up(guint64 n);     /* to whole blocks */

G_END_DECLS

#endif
