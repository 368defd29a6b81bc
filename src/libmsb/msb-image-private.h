/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files behind msb-image.h share, by the file that implements it. */
#ifndef MSB_IMAGE_PRIVATE_H
#define MSB_IMAGE_PRIVATE_H

#include "msb-archive.h"
#include "msb-store-layer.h"

G_BEGIN_DECLS

/* ---- msb-image.c ---- */
/* The image of a manifest in the store. reference may be NULL: then it is shown by its digest. */
MsbImage *msb_image_read(MsbHome *home, const char *reference, const char *digest, gint64 created,
                         GError **error);

GBytes *msb_image_get_config_bytes(const MsbImage *image);   /* borrowed */
/* The manifest of an image in the store, as it came (*bytes: transfer full, may be NULL) and parsed. */
MsbOciManifest *msb_image_read_manifest(MsbHome *home, const char *digest, GBytes **bytes, GError **error);
/* The entry that text means, by name (*by_name) or by the beginning of its digest; *found NULL = there is none. FALSE:
 * the beginning of more than one. */
gboolean msb_image_find_entry(const GPtrArray *entries, const char *text, const MsbStoreEntry **found,
                              gboolean *by_name, GError **error);
/* Always FALSE. */
gboolean msb_image_set_not_found(const char *text, GError **error);

/* ---- msb-image-load.c ---- */
/* What one load does. */
typedef struct {
    MsbStore *store;
    MsbArchive *archive;
    MsbProgressFunc progress;
    gpointer progress_data;
    GCancellable *cancellable;
    guint64 unpacked;      /* of the image whose layers are loaded, see MsbLayerSource */
} MsbImageLoad;

/* An image whose content is in the store now, with the names it has in the archive. */
typedef struct {
    char *digest;          /* of the manifest */
    GPtrArray *names;      /* of strings, as the archive has them */
} MsbLoadedImage;

void msb_loaded_image_free(MsbLoadedImage *image);

/* A layer from a file of the archive. digest, diff_ids and index as in MsbLayerSource. */
MsbOciDescriptor *msb_image_load_layer(MsbImageLoad *load, const char *file, const char *what,
                                       const char *digest, const char *const *diff_ids, guint index,
                                       GError **error);
/* FALSE for a name that is only a tag, as layouts often have: it names nothing. */
gboolean msb_image_is_full_name(const char *name);
/* Refuse a configuration that does not fit the layers. */
gboolean msb_image_check_config(const MsbOciConfig *config, guint n_layers, const char *what, GError **error);
/* Refuse what this host cannot run. */
gboolean msb_image_check_platform(const char *os, const char *architecture, const char *what, GError **error);

/* ---- msb-image-load-oci.c, msb-image-load-docker.c ---- */
/* All images of the archive for this host (element-type MsbLoadedImage), their content in the store. */
GPtrArray *msb_image_load_oci(MsbImageLoad *load, GError **error);
GPtrArray *msb_image_load_docker(MsbImageLoad *load, GError **error);

/* ---- msb-tar-dir.c ---- */
/* A directory as a tar, written to fd. squash_owner: everything belongs to root. */
gboolean msb_tar_from_directory(const char *dir, int fd, gboolean squash_owner, GCancellable *cancellable,
                                GError **error);

G_END_DECLS

#endif
