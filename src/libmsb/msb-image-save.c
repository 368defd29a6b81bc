/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Saving of images.  An OCI layout gets the documents and the layers as they
 * came, so that every digest stays; a docker archive gets layers without their
 * compression, which are what the diff_ids are the digests of.  Every blob is
 * verified on its way out: what left the store broken would be found by others
 * only.
 */
#include <config.h>

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "msb-digest.h"
#include "msb-error.h"
#include "msb-image-private.h"
#include "msb-json.h"
#include "msb-reference.h"
#include "msb-save-out.h"

#define READ_SIZE (256u << 10)

typedef struct {
    MsbHome *home;
    MsbSaveOut *out;
    MsbProgressFunc progress;
    gpointer data;
    GCancellable *cancellable;
    JsonBuilder *list; /* of the index, or of manifest.json */
} Save;

/* One image on its way out. */
typedef struct {
    MsbImage *image;
    char *name; /* that it is to have; NULL = none */
    char *pin;  /* the same with the digest, for references without a tag */
    GBytes *manifest_bytes;
    MsbOciManifest *manifest;
} Saved;

static void
saved_free(Saved *saved)
{
    g_clear_pointer(&saved->image, msb_image_unref);
    g_clear_pointer(&saved->manifest_bytes, g_bytes_unref);
    g_clear_pointer(&saved->manifest, msb_oci_manifest_free);
    g_free(saved->name);
    g_free(saved->pin);
    g_free(saved);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Saved, saved_free)

/* ---- blobs ------------------------------------------------------------------------------- */

/* The bytes of a layer, from its blob: as they are, or without compression. */
typedef struct {
    Save *save;
    const char *what;
    int fd;
    guint64 done, total;     /* of the blob */
    struct archive *archive; /* undoes the compression, or NULL */
    guint8 *buffer;
    int failure; /* errno of a read */
} Blob;

static la_ssize_t
read_blob(struct archive *archive, void *data, const void **bytes)
{
    Blob *blob = data;
    gssize n = mb_read_full(blob->fd, blob->buffer, READ_SIZE);

    if (n < 0) {
        blob->failure = (int)-n;
        archive_set_error(archive, blob->failure, "%s", g_strerror(blob->failure));
        return -1;
    }
    blob->done += (guint64)n;
    if (blob->save->progress && n > 0)
        blob->save->progress(blob->what, blob->done, blob->total, blob->save->data);
    *bytes = blob->buffer;
    return n;
}

static gboolean
open_blob(Blob *blob, Save *save, const char *digest, gboolean unpack, GError **error)
{
    g_autofree char *path = msb_store_blob_path(save->home, digest);
    struct archive_entry *entry;
    struct stat st;

    *blob = (Blob){.save = save, .what = digest, .fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
    if (blob->fd < 0 || fstat(blob->fd, &st) < 0)
        return msb_error_set_errno(error, errno, "blob '%s'", path);
    blob->total = (guint64)st.st_size;
    blob->buffer = g_malloc(READ_SIZE);
    if (!unpack)
        return TRUE;
    blob->archive = archive_read_new();
    if (!blob->archive)
        return msb_error_set_errno(error, ENOMEM, "read blob '%s'", path);
    archive_read_support_filter_all(blob->archive);
    archive_read_support_format_raw(blob->archive);
    archive_read_support_format_empty(blob->archive);
    if (archive_read_open(blob->archive, blob, NULL, read_blob, NULL) != ARCHIVE_OK ||
        archive_read_next_header(blob->archive, &entry) < ARCHIVE_WARN)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "blob '%s': %s", path,
                             archive_error_string(blob->archive));
    return TRUE;
}

static void
close_blob(Blob *blob)
{
    if (blob->archive)
        archive_read_free(blob->archive);
    mb_close(blob->fd);
    g_free(blob->buffer);
}

/* The next bytes; 0 at the end. */
static gssize
next_bytes(Blob *blob, const void **bytes, GError **error)
{
    la_int64_t offset;
    size_t n = 0;
    int r;

    if (g_cancellable_set_error_if_cancelled(blob->save->cancellable, error))
        return -1;
    if (!blob->archive) {
        gssize got = read_blob(NULL, blob, bytes);

        if (got < 0)
            msb_error_set_errno(error, blob->failure, "read blob %s", blob->what);
        return got;
    }
    do {
        r = archive_read_data_block(blob->archive, bytes, &n, &offset);
    } while (r == ARCHIVE_RETRY || (r == ARCHIVE_OK && n == 0));
    if (r == ARCHIVE_EOF)
        return 0;
    if (r < ARCHIVE_WARN) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "blob %s: %s", blob->what,
                      archive_error_string(blob->archive));
        return -1;
    }
    return (gssize)n;
}

/* Everything of blob: to out, or only counted (*length) where out is NULL. Its digest must be the expected
 * one. */
static gboolean
copy_blob(Blob *blob, MsbSaveOut *out, const char *expected, guint64 *length, GError **error)
{
    MsbDigest *digest = msb_digest_new();
    g_autofree char *got = NULL;
    gboolean good = TRUE;
    const void *bytes;
    gssize n = 0;

    while (good && (n = next_bytes(blob, &bytes, error)) > 0) {
        msb_digest_update(digest, bytes, (gsize)n);
        good = !out || msb_save_out_write(out, bytes, (gsize)n, error);
    }
    *length = msb_digest_get_length(digest);
    got = msb_digest_finish(digest);
    msb_digest_free(digest);
    return good && n == 0 && msb_digest_check(blob->what, expected, got, error);
}

static gboolean
save_blob(Save *save, const char *name, const char *digest, GError **error)
{
    Blob blob;
    gboolean wanted = FALSE;
    guint64 length;
    gboolean good = open_blob(&blob, save, digest, FALSE, error) &&
                    msb_save_out_begin(save->out, name, blob.total, &wanted, error) &&
                    (!wanted || copy_blob(&blob, save->out, digest, &length, error));

    close_blob(&blob);
    return good;
}

/* A tar wants to know the size beforehand, so compressed layers are read twice. */
static gboolean
save_unpacked(Save *save, const char *name, const char *digest, const char *diff_id, GError **error)
{
    guint64 length = 0, again;
    gboolean wanted = FALSE;
    Blob blob;
    gboolean good =
        open_blob(&blob, save, digest, TRUE, error) && copy_blob(&blob, NULL, diff_id, &length, error);

    close_blob(&blob);
    if (!good || !msb_save_out_begin(save->out, name, length, &wanted, error))
        return FALSE;
    if (!wanted)
        return TRUE;
    good = open_blob(&blob, save, digest, TRUE, error) && copy_blob(&blob, save->out, diff_id, &again, error);
    close_blob(&blob);
    return good;
}

/* ---- OCI layout ------------------------------------------------------------------------------- */

static void
add_member(JsonBuilder *builder, const char *member, const char *value)
{
    json_builder_set_member_name(builder, member);
    json_builder_add_string_value(builder, value);
}

static void
add_to_index(Save *save, const Saved *saved)
{
    const char *name = saved->name ? saved->name : saved->pin;
    JsonBuilder *builder = save->list;

    json_builder_begin_object(builder);
    add_member(builder, "mediaType", saved->manifest->media_type);
    add_member(builder, "digest", msb_image_get_digest(saved->image));
    json_builder_set_member_name(builder, "size");
    json_builder_add_int_value(builder, (gint64)g_bytes_get_size(saved->manifest_bytes));
    json_builder_set_member_name(builder, "platform");
    json_builder_begin_object(builder);
    add_member(builder, "architecture", msb_image_get_architecture(saved->image));
    add_member(builder, "os", msb_image_get_os(saved->image));
    json_builder_end_object(builder);
    if (name) {
        json_builder_set_member_name(builder, "annotations");
        json_builder_begin_object(builder);
        add_member(builder, "io.containerd.image.name", name);
        add_member(builder, "org.opencontainers.image.ref.name", name);
        json_builder_end_object(builder);
    }
    json_builder_end_object(builder);
}

static gboolean
save_oci_image(Save *save, const Saved *saved, GError **error)
{
    const char *digest = msb_image_get_digest(saved->image);
    GBytes *config = msb_image_get_config_bytes(saved->image);
    g_autofree char *manifest_name = g_strconcat("blobs/sha256/", msb_digest_hex(digest), NULL);
    g_autofree char *config_name =
        g_strconcat("blobs/sha256/", msb_digest_hex(saved->manifest->config->digest), NULL);

    for (guint i = 0; i < saved->manifest->layers->len; i++) {
        const MsbOciDescriptor *layer = g_ptr_array_index(saved->manifest->layers, i);
        g_autofree char *name = g_strconcat("blobs/sha256/", msb_digest_hex(layer->digest), NULL);

        if (!save_blob(save, name, layer->digest, error))
            return FALSE;
    }
    add_to_index(save, saved);
    return msb_save_out_add(save->out, config_name, g_bytes_get_data(config, NULL), g_bytes_get_size(config),
                            error) &&
           msb_save_out_add(save->out, manifest_name, g_bytes_get_data(saved->manifest_bytes, NULL),
                            g_bytes_get_size(saved->manifest_bytes), error);
}

static gboolean
finish_oci(Save *save, GError **error)
{
    static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
    g_autoptr(JsonNode) list = json_builder_get_root(save->list);
    g_autofree char *manifests = msb_json_to_string(list, FALSE);
    g_autofree char *index = g_strdup_printf("{\"schemaVersion\":2,\"mediaType\":\"%s\",\"manifests\":%s}",
                                             MSB_OCI_TYPE_INDEX, manifests);

    return msb_save_out_add(save->out, "oci-layout", layout, strlen(layout), error) &&
           msb_save_out_add(save->out, "index.json", index, strlen(index), error);
}

/* ---- docker archive ------------------------------------------------------------------------------ */

static gboolean
save_docker_image(Save *save, const Saved *saved, GError **error)
{
    GBytes *config = msb_image_get_config_bytes(saved->image);
    g_autofree char *config_name =
        g_strconcat(msb_digest_hex(saved->manifest->config->digest), ".json", NULL);
    JsonBuilder *builder = save->list;

    json_builder_begin_object(builder);
    add_member(builder, "Config", config_name);
    json_builder_set_member_name(builder, "RepoTags");
    json_builder_begin_array(builder);
    if (saved->name)
        json_builder_add_string_value(builder, saved->name);
    json_builder_end_array(builder);
    json_builder_set_member_name(builder, "Layers");
    json_builder_begin_array(builder);
    for (guint i = 0; i < saved->manifest->layers->len; i++) {
        const MsbOciDescriptor *layer = g_ptr_array_index(saved->manifest->layers, i);
        const char *diff_id = msb_image_get_diff_id(saved->image, i);
        g_autofree char *name = g_strconcat(msb_digest_hex(diff_id), ".tar", NULL);

        if (!save_unpacked(save, name, layer->digest, diff_id, error))
            return FALSE;
        json_builder_add_string_value(builder, name);
    }
    json_builder_end_array(builder);
    json_builder_end_object(builder);
    return msb_save_out_add(save->out, config_name, g_bytes_get_data(config, NULL), g_bytes_get_size(config),
                            error);
}

static gboolean
finish_docker(Save *save, GError **error)
{
    g_autoptr(JsonNode) list = json_builder_get_root(save->list);
    g_autofree char *text = msb_json_to_string(list, FALSE);

    return msb_save_out_add(save->out, "manifest.json", text, strlen(text), error);
}

/* ---- the whole --------------------------------------------------------------------------------------- */

static Saved *
find_image(MsbHome *home, const char *text, GError **error)
{
    g_autoptr(Saved) saved = g_new0(Saved, 1);
    g_autoptr(MsbReference) reference = NULL;

    saved->image = msb_image_lookup(home, text, error);
    if (!saved->image)
        return NULL;
    saved->manifest =
        msb_image_read_manifest(home, msb_image_get_digest(saved->image), &saved->manifest_bytes, error);
    if (!saved->manifest)
        return NULL;
    reference = msb_reference_parse(msb_image_get_reference(saved->image), NULL);
    if (reference && reference->tag)
        saved->name = msb_reference_dup_name(reference);
    else if (reference)
        saved->pin = g_strconcat(reference->registry, "/", reference->repository, "@",
                                 msb_image_get_digest(saved->image), NULL);
    return g_steal_pointer(&saved);
}

static gboolean
save_images(Save *save, const char *const *references, gboolean docker, GError **error)
{
    json_builder_begin_array(save->list);
    for (; *references; references++) {
        g_autoptr(Saved) saved = find_image(save->home, *references, error);

        if (!saved || !(docker ? save_docker_image(save, saved, error) : save_oci_image(save, saved, error)))
            return FALSE;
    }
    json_builder_end_array(save->list);
    return (docker ? finish_docker(save, error) : finish_oci(save, error)) &&
           msb_save_out_finish(save->out, error);
}

gboolean
msb_image_save(MsbHome *home, const char *const *references, const char *path, MsbImageFormat format,
               MsbProgressFunc progress, gpointer data, GCancellable *cancellable, GError **error)
{
    gboolean directory = format == MSB_IMAGE_OCI_DIR || format == MSB_IMAGE_DOCKER_DIR;
    gboolean docker = format == MSB_IMAGE_DOCKER_ARCHIVE || format == MSB_IMAGE_DOCKER_DIR;
    g_autoptr(MsbLock) lock = msb_store_hold(home, error);
    g_autoptr(MsbSaveOut) out = NULL;
    g_autoptr(JsonBuilder) list = json_builder_new();
    Save save = {home, NULL, progress, data, cancellable, list};

    if (!lock)
        return FALSE;
    for (guint i = 0; references[i]; i++) { /* before anything is written */
        g_autoptr(MsbImage) image = msb_image_lookup(home, references[i], error);

        if (!image)
            return FALSE;
    }
    save.out = out = msb_save_out_new(path, directory, error);
    return out && save_images(&save, references, docker, error);
}
