/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A reader of EROFS images for the tests.  It knows the format from its
 * documentation and shares nothing with the writer; whatever it does not
 * expect ends the test.
 */
#ifndef EROFS_READ_H
#define EROFS_READ_H

#include <glib.h>

typedef struct {
    char *path;              /* "" is the root */
    guint32 mode, uid, gid, nlink;
    gint64 mtime;
    guint32 mtime_nsec;
    guint64 size, nid;
    guint32 rdev;            /* as the format has it */
    char *target;            /* of a symbolic link */
    char *sha256;            /* of a file's content */
    GTree *xattrs;           /* name → GBytes */
    gboolean chunked, compact, inlined;
} ErofsEntry;

void erofs_entry_free(ErofsEntry *entry);

/* Path → ErofsEntry of everything in an image. */
GTree *erofs_read(const char *path);
/* Apply a layer to a tree made so far, as overlayfs would. Takes the layer. */
void erofs_apply(GTree *tree, GTree *layer);
/* The same of a directory of the host. */
GTree *erofs_read_directory(const char *dir);
/* One line per entry that says all that the user of a file system can see of it. times: with mtimes. */
void erofs_print(GTree *tree, gboolean times);
/* Octal device number → "major:minor". */
void erofs_split_device(guint32 rdev, guint *major, guint *minor);

#endif
