/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Archives made in memory, converted, and read back by a reader that shares nothing with the writer. */
#ifndef LAYER_TAR_H
#define LAYER_TAR_H

#include <archive_entry.h>
#include <string.h>
#include <sys/stat.h>

#include "../libmsb/test-util.h"
#include "erofs-read.h"
#include "msb-layer.h"

typedef struct {
    struct archive *tar;
    struct archive_entry *entry;
    char *bytes;
    size_t used;
} Tar;

extern const MsbLayerOptions layer_oci;     /* as layers of images are converted */

Tar *tar_new(void);
/* The entry to describe further; tar_end() writes it. */
struct archive_entry *tar_begin(Tar *tar, const char *path, guint mode);
void tar_end(Tar *tar, const void *content, gsize size);
void tar_file(Tar *tar, const char *path, const char *content);
void tar_dir(Tar *tar, const char *path, guint mode);
void tar_symlink(Tar *tar, const char *path, const char *target);
void tar_link(Tar *tar, const char *path, const char *target);
/* The finished bytes; frees tar. */
GBytes *tar_finish(Tar *tar);
/* Into an image at path. */
gboolean convert_to(GBytes *bytes, const char *path, const MsbLayerOptions *options, GError **error);
/* Convert (the tar is freed) and read back. */
GTree *convert(Tar *tar);
/* It is refused as CORRUPT, with needle in the message. */
void refuse_with(Tar *tar, const MsbLayerOptions *options, const char *needle);
void refuse(Tar *tar, const char *needle);
const ErofsEntry *get(GTree *tree, const char *path);
void assert_content(GTree *tree, const char *path, const void *content, gsize size);
void assert_text(GTree *tree, const char *path, const char *content);
void assert_xattr(GTree *tree, const char *path, const char *name, const void *value, gsize size);

#endif
