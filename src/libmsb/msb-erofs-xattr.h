/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Extended attributes in EROFS form.  Attributes of up to 256 bytes are kept
 * once for the whole image, in the shared area, which is written at its end;
 * larger ones, and what no longer fits into the area (4 MiB), go with the
 * inode.  Names outside user., trusted., security. and the two POSIX ACLs have
 * no form in EROFS and are left out.  Internal to libmsb.
 */
#ifndef MSB_EROFS_XATTR_H
#define MSB_EROFS_XATTR_H

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
    const char *name;     /* full, with its prefix */
    const void *value;
    gsize size;
} MsbErofsXattr;

typedef struct {
    GByteArray *area;     /* the shared area */
    GTree *offsets;       /* encoded entry → offset in it (a tree: names made to collide do no harm) */
} MsbErofsXattrPool;

void msb_erofs_xattr_pool_init(MsbErofsXattrPool *pool);
void msb_erofs_xattr_pool_clear(MsbErofsXattrPool *pool);

/* Encode what follows an inode into out (emptied first; stays empty without attributes).
 * all_shared: whatever the size. CORRUPT if one is too large or all together are. */
gboolean msb_erofs_xattr_encode(MsbErofsXattrPool *pool, const MsbErofsXattr *xattrs, guint n,
                                gboolean all_shared, GByteArray *out, GError **error);
/* Add one more to an encoded set. */
gboolean msb_erofs_xattr_append(MsbErofsXattrPool *pool, const MsbErofsXattr *xattr, GByteArray *set,
                                GError **error);

G_END_DECLS

#endif
