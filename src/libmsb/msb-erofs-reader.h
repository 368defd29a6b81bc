/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading EROFS images that the writer made: what a layer says about a path,
 * and what a stack of layers does.  Every offset is checked:
 * a damaged file is an error, not a crash.  Internal to libmsb.
 */
#ifndef MSB_EROFS_READER_H
#define MSB_EROFS_READER_H

#include "msb-erofs-writer.h"

G_BEGIN_DECLS

typedef struct _MsbErofsStack MsbErofsStack;

/* paths: images, lowest first; opened when they are needed. */
MsbErofsStack *msb_erofs_stack_new(const char *const *paths);
void msb_erofs_stack_free(MsbErofsStack *stack);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbErofsStack, msb_erofs_stack_free)

/* The directory that path (relative, without "." and "..") is in the stack, as overlayfs sees it; symbolic
 * links are not followed. *found FALSE: it is none. entry: attributes and extended attributes of it (path
 * untouched), owned by the stack until the next call. CORRUPT if an image is damaged. */
gboolean msb_erofs_stack_find_directory(MsbErofsStack *stack, const char *path, MsbErofsEntry *entry,
                                        gboolean *found, GError **error);

/* The same for what is no directory: a file, a symbolic link, a device. */
gboolean msb_erofs_stack_find_file(MsbErofsStack *stack, const char *path, MsbErofsEntry *entry, gboolean *found,
                                   GError **error);
/* Of the file that was found last, until the next call of a find: its size (a link's: of its target); its content
 * from offset on, as much as lies in one piece (*bytes NULL: *n zeros; FALSE: the image is damaged); and the numbers
 * of a device. */
guint64 msb_erofs_stack_get_size(const MsbErofsStack *stack);
gboolean msb_erofs_stack_map(const MsbErofsStack *stack, guint64 offset, const guint8 **bytes, guint64 *n);
void msb_erofs_stack_get_device(const MsbErofsStack *stack, guint64 *major, guint64 *minor);

G_END_DECLS

#endif
