/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The image store: images/{index.json,blobs/sha256/,layers/}.  Blobs are
 * content-addressed and verified; every layer is converted once to an EROFS
 * image named by its diff_id and shared by all images and sandboxes.
 */
#ifndef MSB_IMAGE_H
#define MSB_IMAGE_H

#include <gio/gio.h>

#include "msb-paths.h"

G_BEGIN_DECLS

typedef struct _MsbImage MsbImage;

MsbImage *msb_image_ref(MsbImage *image);
void msb_image_unref(MsbImage *image);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbImage, msb_image_unref)

/* An image is immutable once loaded; all strings are owned by it. */
/* Normalised, e.g. "docker.io/library/python:latest". */
const char *msb_image_get_reference(const MsbImage *image);
const char *msb_image_get_digest(const MsbImage *image);      /* of the manifest, "sha256:..." */
const char *msb_image_get_architecture(const MsbImage *image);
const char *msb_image_get_os(const MsbImage *image);
gint64 msb_image_get_created(const MsbImage *image);          /* when it entered the store, microseconds */
guint64 msb_image_get_size(const MsbImage *image);            /* bytes of its layers in the store */
guint msb_image_get_n_layers(const MsbImage *image);
const char *msb_image_get_diff_id(const MsbImage *image, guint layer);
const char *msb_image_get_layer_path(const MsbImage *image, guint layer); /* EROFS file, lowest layer first */
const char *const *msb_image_get_env(const MsbImage *image);
const char *const *msb_image_get_entrypoint(const MsbImage *image); /* may be NULL */
const char *const *msb_image_get_cmd(const MsbImage *image);        /* may be NULL */
const char *msb_image_get_workdir(const MsbImage *image);           /* may be NULL */
const char *msb_image_get_user(const MsbImage *image);              /* may be NULL */
char *msb_image_dup_json(const MsbImage *image);                    /* for image inspect */

/* Progress: what = a blob's digest, a layer's diff_id or a word for a step; total 0 = not known, done == total: it is
 * there. Several may be under way at once; a pull and a push tell all of theirs at the beginning. Called on the calling
 * thread. */
typedef void (*MsbProgressFunc)(const char *what, guint64 done, guint64 total, gpointer data);

/* A local image by reference, digest or unambiguous digest prefix. NOT_FOUND names it and the
 * command that would get it. */
MsbImage *msb_image_lookup(MsbHome *home, const char *reference, GError **error);
/* Newest first (element-type MsbImage). */
GPtrArray *msb_image_list(MsbHome *home, GError **error);
/* Remove a name, and with the last one the image and what nothing else needs; a digest stands for all names. Unless
 * force, IN_USE names the sandboxes and snapshots that the last name is kept for, or the names that a digest has. */
gboolean msb_image_remove(MsbHome *home, const char *reference, gboolean force, GError **error);

/* Let name (a reference without a digest) mean the same image as reference. What it meant before, it does no more. */
gboolean msb_image_tag(MsbHome *home, const char *reference, const char *name, GError **error);

/* A step of the making of an image (OCI image configuration, "history"). */
typedef struct {
    gint64 created;         /* microseconds, 0 = not known */
    char *created_by;       /* the command; may be NULL, as may comment */
    char *comment;
    char *diff_id;          /* of the layer that it made, NULL = none */
    guint64 size;           /* of that layer in the store */
} MsbImageHistory;
void msb_image_history_free(MsbImageHistory *step);
/* First step first (element-type MsbImageHistory); a step per layer at least. */
GPtrArray *msb_image_dup_history(const MsbImage *image, GError **error);

typedef struct {
    char **references;      /* those that were removed */
    guint layers, blobs;    /* files that nothing leads to any more */
    guint64 bytes;          /* that they take on disk */
} MsbImagePrune;
void msb_image_prune_free(MsbImagePrune *prune);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbImagePrune, msb_image_prune_free)
/* Remove every image that no sandbox, running or stopped, and no snapshot was made from, with what nothing else needs;
 * with dry_run only say which. The disk space comes back when no other process works on the store. */
MsbImagePrune *msb_image_prune(MsbHome *home, gboolean dry_run, GError **error);

/* What the state directory takes on disk, by kind. */
typedef struct {
    const char *kind;       /* "images", "sandboxes", "volumes", "snapshots", "kernels" */
    guint count;            /* how many there are */
    guint active;           /* images: made use of; sandboxes: running; volumes: named by a sandbox; others: all */
    guint64 bytes;          /* on disk */
    guint64 reclaimable;    /* of those, by the ones that are not active */
} MsbDiskUsage;
/* One per kind (element-type MsbDiskUsage). */
GPtrArray *msb_home_disk_usage(MsbHome *home, GError **error);

/* How msb_image_save() writes images. */
typedef enum {
    MSB_IMAGE_OCI_ARCHIVE,      /* a tar of an OCI image layout */
    MSB_IMAGE_OCI_DIR,          /* the layout as a directory */
    MSB_IMAGE_DOCKER_ARCHIVE,   /* as docker save writes it: layers without compression, named by their diff_ids */
    MSB_IMAGE_DOCKER_DIR,       /* the same as a directory */
} MsbImageFormat;
/* Write images (NULL-terminated references) to path: a file that is replaced when all is written (a device or pipe is
 * written to), "-" = standard output, for the DIR formats a directory that is missing or empty. An OCI layout has the
 * manifest, the configuration and the layers byte for byte as they came, so digests stay what they were. A failure
 * leaves path as it was. */
gboolean msb_image_save(MsbHome *home, const char *const *references, const char *path, MsbImageFormat format,
                        MsbProgressFunc progress, gpointer data, GCancellable *cancellable, GError **error);

/* Load an OCI layout or docker-archive: path of a tar (any compression libarchive reads) or a
 * directory; "-" = the stream on standard input. tag (may be NULL) names the first image. Returns
 * the images loaded (element-type MsbImage). A failure leaves the store as it was. */
GPtrArray *msb_image_load(MsbHome *home, const char *path, const char *tag,
                          MsbProgressFunc progress, gpointer data, GCancellable *cancellable, GError **error);

typedef struct {
    const char *const *env;         /* all may be NULL */
    const char *const *entrypoint;
    const char *const *cmd;
    const char *workdir;
    const char *user;
} MsbImageImportOptions;
/* Make a one-layer image from a root filesystem: a tar file, "-" or a directory. */
MsbImage *msb_image_import(MsbHome *home, const char *path, const char *tag,
                           const MsbImageImportOptions *options, MsbProgressFunc progress, gpointer data,
                           GCancellable *cancellable, GError **error);

/* Reference as docker users write it to its full form: registry, repository, tag and/or digest.
 * INVALID with a message on a bad one. */
char *msb_reference_normalize(const char *reference, GError **error);

G_END_DECLS

#endif
