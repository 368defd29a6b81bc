/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The image store on disk:
 *
 *   images/index.json          references → manifest digests
 *   images/blobs/sha256/<hex>  manifests, configurations, layers as they came
 *   images/layers/<hex>.erofs  layers converted, by diff_id
 *   images/layers/<hex>.chained.erofs
 *                              the same by chain id (OCI image specification,
 *                              "Layer ChainID"), for layers that say nothing
 *                              of directories they put something into: these
 *                              have the attributes that layers below give them
 *   images/tmp/                what is being made; nothing in it is ever used
 *   images/lock                shared: somebody adds content, or relies on
 *                              content that no reference protects yet;
 *                              exclusive: unreferenced content is removed
 *   images/index.lock          exclusive: index.json changes
 *
 * Content appears by rename of a complete, fsynced file, named by a digest
 * that was computed from its bytes. What neither the index nor a sandbox's
 * configuration leads to is garbage: it goes with the next collection, which
 * every MsbStore tries when it is closed and no other process holds the lock.
 * That is also how a failed or killed load leaves nothing behind.
 *
 * Layer blobs are kept in the form they came in, although nothing that runs
 * needs them: only with them can an image be saved or pushed under its
 * original digests.  Internal to libmsb.
 */
#ifndef MSB_STORE_H
#define MSB_STORE_H

#include "msb-image.h"
#include "msb-oci.h"
#include "msb-settings.h"
#include "msb-state.h"

G_BEGIN_DECLS

typedef struct {
    char *reference;        /* full form */
    char *digest;           /* of the manifest */
    gint64 created;         /* microseconds */
} MsbStoreEntry;

typedef struct {
    MsbHome *home;
    MsbLock *lock;          /* images/lock, shared */
    char *tmp;              /* a directory of our own in images/tmp */
    MsbLimits limits;       /* of what is added */
} MsbStore;

/* Take part in the store. Nothing that is in it goes away until this is closed. */
MsbStore *msb_store_open(MsbHome *home, GError **error);
void msb_store_close(MsbStore *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbStore, msb_store_close)

/* The same without adding anything: what is looked up stays until the lock is released. For whoever makes
 * something that protects it from then on. */
MsbLock *msb_store_hold(MsbHome *home, GError **error);

char *msb_store_blob_path(const MsbHome *home, const char *digest);
/* Where layer number i of these is or will be. chained: its attributes depend on the layers below. */
char *msb_store_layer_path(const MsbHome *home, const char *const *diff_ids, guint i, gboolean chained);
/* Where it is (transfer full); NULL if it is not in the store. */
char *msb_store_find_layer(const MsbHome *home, const char *const *diff_ids, guint i);

/* The bytes of a blob, at most MSB_OCI_MAX_DOCUMENT, verified. what: for messages. */
GBytes *msb_store_read_blob(MsbHome *home, const char *what, const char *digest, GError **error);
/* Add a blob of these bytes. */
gboolean msb_store_add_blob(MsbStore *store, const void *bytes, gsize n, const char *digest, GError **error);
/* Move a finished file of store->tmp to its place: fsync, rename. */
gboolean msb_store_publish(const char *file, const char *path, GError **error);

/* Element-type MsbStoreEntry; empty for a new store. */
GPtrArray *msb_store_read_index(MsbHome *home, GError **error);
void msb_store_entry_free(MsbStoreEntry *entry);
/* Let references[i] (full form) name the manifest digests[i], which is in the store. All or none. */
gboolean msb_store_tag(MsbStore *store, const char *const *references, const char *const *digests,
                       GError **error);
/* Says which references go: adds them (strings, transfer full) to references. FALSE: none do. entries are those of the
 * index, which does not change meanwhile. */
typedef gboolean (*MsbStoreChoose)(const GPtrArray *entries, gpointer data, GPtrArray *references, GError **error);
/* Forget the references that choose() says. All or none. */
gboolean msb_store_untag(MsbStore *store, MsbStoreChoose choose, gpointer data, GError **error);
/* Forget every reference to an image that nothing was made from. *entries (transfer full) are those that stay; the
 * references that go are added to removed (of strings), which with only_look is all that happens. */
gboolean msb_store_untag_unused(MsbStore *store, gboolean only_look, GPtrArray **entries, GPtrArray *removed,
                                GError **error);
/* What was made from a manifest, as "sandbox NAME" and "snapshot NAME" (transfer full, may be empty). */
char **msb_store_users_of(MsbHome *home, const char *digest, GError **error);

/* ---- msb-store-collect.c ---- */
/* Remove what nothing leads to, if no other process takes part in the store. */
gboolean msb_store_collect(MsbHome *home, GError **error);
/* Who needs which image, stopped or not: "sandbox NAME" or "snapshot NAME" → digest of the manifest. NULL if any of
 * their descriptions cannot be read. */
GHashTable *msb_store_read_users(MsbHome *home, GError **error);

/* Bytes on disk of what these entries (element-type MsbStoreEntry) and the users of images lead to, and of the rest,
 * with the number of its files. */
typedef struct {
    guint64 used, unused;
    guint unused_blobs, unused_layers;
} MsbStoreUse;
gboolean msb_store_measure(MsbHome *home, const GPtrArray *entries, MsbStoreUse *use, GError **error);

G_END_DECLS

#endif
