/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One layer into the store.  Two readers of libarchive stand behind each
 * other: the first ("blob") sees the bytes as they came and undoes the
 * compression, the second ("tar") gets what the first delivers.  Between them
 * pass the bytes that the diff_id is the digest of, and there is where an
 * archive that becomes too large in unpacking is stopped.
 */
#include <config.h>

#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "mb-io.h"
#include "msb-digest.h"
#include "msb-erofs-reader.h"
#include "msb-error.h"
#include "msb-layer.h"
#include "msb-store-layer.h"

#define READ_SIZE (256u << 10)
#define LOCK_WAIT_MS 200

static void
close_archive(struct archive **archive)
{
    if (*archive)
        archive_read_free(*archive);
    *archive = NULL;
}

typedef struct {
    const MsbLayerSource *source;
    MsbStore *store;
    MsbErofsStack *below;        /* the layers below, when they were needed */
    gboolean chained;            /* something depends on them */
    MsbDigest *blob_digest, *diff_digest;
    struct archive *blob;
    gboolean blob_ended;
    int copy_fd;                 /* where the blob is copied to, or -1 */
    guint64 counted;             /* bytes added to source->total */
    guint8 *buffer;
    GError *error;               /* of a callback, which cannot return one */
} Pass;

static void
clear_pass(Pass *pass)
{
    close_archive(&pass->blob);
    g_clear_pointer(&pass->below, msb_erofs_stack_free);
    g_clear_pointer(&pass->blob_digest, msb_digest_free);
    g_clear_pointer(&pass->diff_digest, msb_digest_free);
    mb_close(pass->copy_fd);
    g_clear_pointer(&pass->buffer, g_free);
    g_clear_error(&pass->error);
}

/* ---- the bytes as they came ----------------------------------------------------------- */

gssize
msb_layer_read_fd(gpointer reader, void *buffer, gsize n, GCancellable *cancellable, GError **error)
{
    gssize done = mb_read_full(GPOINTER_TO_INT(reader), buffer, n);

    if (g_cancellable_set_error_if_cancelled(cancellable, error))
        return -1;
    if (done < 0)
        msb_error_set_errno(error, (int)-done, "read");
    return done < 0 ? -1 : done;
}

/* Read the next piece of the blob; -1 with pass->error. */
static gssize
read_blob(Pass *pass)
{
    const MsbLayerSource *source = pass->source;
    gssize n = source->read(source->reader, pass->buffer, READ_SIZE, source->cancellable, &pass->error);
    int r;

    if (n < 0) {
        g_prefix_error(&pass->error, "%s: ", source->what);
        return -1;
    }
    msb_digest_update(pass->blob_digest, pass->buffer, (gsize)n);
    r = pass->copy_fd < 0 ? 0 : mb_write_full(pass->copy_fd, pass->buffer, (gsize)n);
    if (r < 0) {
        msb_error_set_errno(&pass->error, -r, "store %s", source->what);
        return -1;
    }
    if (source->progress && n > 0)
        source->progress(source->diff_ids ? source->diff_ids[source->index] : source->what,
                         msb_digest_get_length(pass->blob_digest), source->size, source->progress_data);
    return n;
}

static la_ssize_t
blob_read(struct archive *archive, void *data, const void **bytes)
{
    Pass *pass = data;
    gssize n = read_blob(pass);

    if (n < 0)
        archive_set_error(archive, EIO, "%s", pass->error->message);
    *bytes = pass->buffer;
    return n;
}

/* ---- the bytes without compression ------------------------------------------------------ */

static gboolean
refuse_size(Pass *pass, const char *limit, guint64 value, const char *unit)
{
    return msb_error_set(&pass->error, MSB_ERROR_CORRUPT,
                         "%s: unpacks to more than %" G_GUINT64_FORMAT " %s: if it is to be trusted, raise limits.%s "
                         "in $MSB_HOME/config.json", pass->source->what, value, unit, limit);
}

/* n more bytes came out. */
static gboolean
check_size(Pass *pass, gsize n)
{
    const MsbLimits *limits = &pass->store->limits;
    guint64 in = msb_digest_get_length(pass->blob_digest), out = msb_digest_get_length(pass->diff_digest);
    guint64 *total = pass->source->total;

    if (out > limits->layer_bytes)
        return refuse_size(pass, "layer_bytes", limits->layer_bytes, "bytes");
    if (out > limits->layer_ratio_after && out / limits->layer_ratio > in)
        return refuse_size(pass, "layer_ratio", limits->layer_ratio, "times its size");
    pass->counted += total ? (guint64)n : 0;
    if (total && __atomic_add_fetch(total, n, __ATOMIC_RELAXED) > limits->image_bytes)
        return refuse_size(pass, "image_bytes", limits->image_bytes, "bytes, with the other layers of the image");
    return TRUE;
}

static la_ssize_t
tar_read(struct archive *archive, void *data, const void **bytes)
{
    Pass *pass = data;
    size_t n = 0;
    la_int64_t offset;
    int r;

    if (pass->blob_ended)
        return 0;
    do {
        r = archive_read_data_block(pass->blob, bytes, &n, &offset);
    } while (r == ARCHIVE_RETRY || (r == ARCHIVE_OK && n == 0));
    if (r == ARCHIVE_EOF) {
        pass->blob_ended = TRUE;
        return 0;
    }
    if (r < ARCHIVE_WARN) {
        if (!pass->error)
            msb_error_set(&pass->error, MSB_ERROR_CORRUPT, "%s: %s", pass->source->what,
                          archive_error_string(pass->blob) ? archive_error_string(pass->blob) : "broken");
    } else {
        msb_digest_update(pass->diff_digest, *bytes, n);
        check_size(pass, n);
    }
    if (pass->error) {
        archive_set_error(archive, EIO, "%s", pass->error->message);
        return -1;
    }
    return (la_ssize_t)n;
}

static gboolean
archive_failed(Pass *pass, struct archive *archive, GError **error)
{
    if (pass->error)
        g_propagate_error(error, g_steal_pointer(&pass->error));
    else
        msb_error_set(error, MSB_ERROR_CORRUPT, "%s: %s", pass->source->what,
                      archive_error_string(archive) ? archive_error_string(archive) : "broken archive");
    return FALSE;
}

static gboolean
open_blob(Pass *pass, GError **error)
{
    struct archive_entry *entry;
    int r;

    pass->blob = archive_read_new();
    if (!pass->blob)
        return msb_error_set_errno(error, ENOMEM, "read %s", pass->source->what);
    archive_read_support_filter_gzip(pass->blob);
    archive_read_support_filter_zstd(pass->blob);
    archive_read_support_filter_xz(pass->blob);
    archive_read_support_filter_bzip2(pass->blob);
    archive_read_support_format_raw(pass->blob);
    archive_read_support_format_empty(pass->blob);
    if (archive_read_open(pass->blob, pass, NULL, blob_read, NULL) != ARCHIVE_OK)
        return archive_failed(pass, pass->blob, error);
    r = archive_read_next_header(pass->blob, &entry);
    pass->blob_ended = r == ARCHIVE_EOF;
    return r == ARCHIVE_OK || r == ARCHIVE_EOF || archive_failed(pass, pass->blob, error);
}

/* What is left after the end of the archive counts for both digests. */
static gboolean
drain(Pass *pass, struct archive *reporter, GError **error)
{
    const void *bytes;
    gssize n;

    while ((n = tar_read(reporter, pass, &bytes)) > 0)
        continue;
    if (n < 0)
        return archive_failed(pass, reporter, error);
    while ((n = read_blob(pass)) > 0)
        continue;
    return n == 0 || archive_failed(pass, reporter, error);
}

/* ---- directories that only lower layers describe --------------------------------------- */

static gboolean
open_below(Pass *pass, GError **error)
{
    const MsbLayerSource *source = pass->source;
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);

    if (source->ready && !source->ready(source->ready_data, error))
        return FALSE;
    for (guint i = 0; source->diff_ids && i < source->index; i++) {
        char *path = msb_store_find_layer(pass->store->home, source->diff_ids, i);

        if (!path)
            return msb_error_set(error, MSB_ERROR_FAILED, "%s: layer %u below it is not in the store",
                                 source->what, i + 1);
        g_ptr_array_add(paths, path);
    }
    g_ptr_array_add(paths, NULL);
    pass->below = msb_erofs_stack_new((const char *const *)paths->pdata);
    return TRUE;
}

static MsbErofsStack *
get_below(gpointer data, GError **error)
{
    Pass *pass = data;

    pass->chained = TRUE;
    return pass->below || open_below(pass, error) ? pass->below : NULL;
}

static gboolean
ask_below(MsbErofsEntry *entry, gpointer data, GError **error)
{
    Pass *pass = data;
    gboolean found;

    return get_below(pass, error) &&
           msb_erofs_stack_find_directory(pass->below, entry->path, entry, &found, error);
}

/* Everything once: out_fd gets the EROFS image, or -1 = only the digests are wanted. */
static gboolean
run_pass(Pass *pass, int out_fd, GError **error)
{
    __attribute__((cleanup(close_archive))) struct archive *tar = archive_read_new();
    MsbLayerOptions options = {.whiteouts = TRUE,
                               .max_bytes = pass->store->limits.layer_bytes,
                               .max_entries = pass->store->limits.layer_entries,
                               .implicit = ask_below,
                               .implicit_data = pass,
                               .below = get_below};

    if (!tar)
        return msb_error_set_errno(error, ENOMEM, "read %s", pass->source->what);
    archive_read_support_format_tar(tar);
    archive_read_support_format_empty(tar);
    archive_read_set_options(tar, "hdrcharset=BINARY");
    if (!open_blob(pass, error))
        return FALSE;
    if (out_fd >= 0) {
        GError *local = NULL;

        if (archive_read_open(tar, pass, NULL, tar_read, NULL) != ARCHIVE_OK)
            return archive_failed(pass, tar, error);
        if (!msb_layer_from_archive(tar, out_fd, &options, pass->source->cancellable, &local)) {
            if (pass->error) {
                g_clear_error(&local);
                return archive_failed(pass, tar, error);
            }
            g_propagate_prefixed_error(error, local, "%s: ", pass->source->what);
            return FALSE;
        }
    }
    return drain(pass, tar, error);
}

static const char *
layer_type(struct archive *blob)
{
    switch (archive_filter_code(blob, 0)) {
    case ARCHIVE_FILTER_GZIP:
        return MSB_OCI_TYPE_LAYER "+gzip";
    case ARCHIVE_FILTER_ZSTD:
        return MSB_OCI_TYPE_LAYER "+zstd";
    default:
        return MSB_OCI_TYPE_LAYER;
    }
}

/* ---- into the store ------------------------------------------------------------------------ */

static MsbLock *
lock_layer(const MsbLayerSource *source, const char *path, GError **error)
{
    for (;;) {
        g_autoptr(GError) local = NULL;
        MsbLock *lock = msb_lock_acquire(path, MSB_LOCK_EXCLUSIVE, LOCK_WAIT_MS, &local);

        if (lock || !g_error_matches(local, MSB_ERROR, MSB_ERROR_TIMEOUT)) {
            if (local)
                g_propagate_error(error, g_steal_pointer(&local));
            return lock;
        }
        if (g_cancellable_set_error_if_cancelled(source->cancellable, error))
            return NULL;
    }
}

static int
create_file(const char *path, GError **error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        msb_error_set_errno(error, errno, "create '%s'", path);
    return fd;
}

/* The temporary files of one layer. */
typedef struct {
    char *blob, *erofs;
} Made;

static void
clear_made(Made *made)
{
    if (made->blob)
        unlink(made->blob);
    if (made->erofs)
        unlink(made->erofs);
    g_free(made->blob);
    g_free(made->erofs);
}

static gboolean
verify(Pass *pass, const char *digest, const char *diff_id, GError **error)
{
    const MsbLayerSource *source = pass->source;
    g_autofree char *uncompressed = g_strconcat(source->what, " without its compression", NULL);

    if (source->digest && !msb_digest_check(source->what, source->digest, digest, error))
        return FALSE;
    return !source->diff_ids ||
           msb_digest_check(uncompressed, source->diff_ids[source->index], diff_id, error);
}

/* The blob has another digest than is expected: tell who asked, and do not count what came out of it. */
static void
tell_wrong_blob(Pass *pass, const char *digest)
{
    const MsbLayerSource *source = pass->source;

    if (!source->wrong_digest || !source->digest || strcmp(source->digest, digest) == 0)
        return;
    *source->wrong_digest = g_strdup(digest);
    if (source->total)
        __atomic_sub_fetch(source->total, pass->counted, __ATOMIC_RELAXED);
}

/* After a failure: was it the blob's, which is not what it should be? */
static void
look_at_blob(Pass *pass, GError **error)
{
    const MsbLayerSource *source = pass->source;
    g_autofree char *digest = NULL;
    gssize n;

    if (!source->wrong_digest || !source->digest || !error || !g_error_matches(*error, MSB_ERROR, MSB_ERROR_CORRUPT))
        return;
    g_clear_error(&pass->error);
    while ((n = read_blob(pass)) > 0)
        continue;
    digest = n == 0 ? msb_digest_finish(pass->blob_digest) : NULL;
    if (!digest || strcmp(digest, source->digest) == 0)
        return;
    g_clear_error(error);
    msb_digest_check(source->what, source->digest, digest, error);
    tell_wrong_blob(pass, digest);
}

/* A spooled file may be the blob of several layers, so it gets one more name and keeps its own. */
static gboolean
publish_blob(const MsbLayerSource *source, const Made *made, const char *path, GError **error)
{
    g_autofree char *name = NULL;

    if (g_file_test(path, G_FILE_TEST_EXISTS))
        return TRUE;
    if (!source->spool)
        return msb_store_publish(made->blob, path, error);
    name = g_strconcat(source->spool, ".blob", NULL);
    if (link(source->spool, name) < 0)
        return msb_error_set_errno(error, errno, "link '%s'", name);
    return msb_store_publish(name, path, error);
}

static gboolean
publish(Pass *pass, const Made *made, const char *digest, const char *diff_id, GError **error)
{
    const MsbLayerSource *source = pass->source;
    const char *const own_id[] = {diff_id, NULL};
    const char *const *diff_ids = source->diff_ids ? source->diff_ids : own_id;
    g_autofree char *blob_path = msb_store_blob_path(pass->store->home, digest);
    g_autofree char *layer_path =
        msb_store_layer_path(pass->store->home, diff_ids, source->index, pass->chained);

    if (!publish_blob(source, made, blob_path, error))
        return FALSE;
    return !made->erofs || g_file_test(layer_path, G_FILE_TEST_EXISTS) ||
           msb_store_publish(made->erofs, layer_path, error);
}

/* A name in store->tmp that nothing else has. */
static char *
new_name(MsbStore *store, const char *kind)
{
    static guint count;

    return g_strdup_printf("%s/%s-%d", store->tmp, kind, g_atomic_int_add(&count, 1));
}

static MsbOciDescriptor *
convert(MsbStore *store, const MsbLayerSource *source, gboolean have_blob, gboolean have_layer,
        char **diff_id, GError **error)
{
    __attribute__((cleanup(clear_pass))) Pass pass = {.source = source, .store = store, .copy_fd = -1};
    __attribute__((cleanup(clear_made))) Made made = {NULL, NULL};
    g_autoptr(MsbOciDescriptor) result = g_new0(MsbOciDescriptor, 1);
    mb_autofd int out_fd = -1;

    pass.blob_digest = msb_digest_new();
    pass.diff_digest = msb_digest_new();
    pass.buffer = g_malloc(READ_SIZE);
    if (!have_blob && !source->spool) {
        made.blob = new_name(store, "blob");
        pass.copy_fd = create_file(made.blob, error);
        if (pass.copy_fd < 0)
            return NULL;
    }
    if (!have_layer) {
        made.erofs = new_name(store, "layer");
        out_fd = create_file(made.erofs, error);
        if (out_fd < 0)
            return NULL;
    }
    if (!run_pass(&pass, out_fd, error)) {
        look_at_blob(&pass, error);
        return NULL;
    }
    result->media_type = g_strdup(layer_type(pass.blob));
    result->size = msb_digest_get_length(pass.blob_digest);
    result->digest = msb_digest_finish(pass.blob_digest);
    *diff_id = msb_digest_finish(pass.diff_digest);
    tell_wrong_blob(&pass, result->digest);
    if (!verify(&pass, result->digest, *diff_id, error) ||
        !publish(&pass, &made, result->digest, *diff_id, error))
        return NULL;
    return g_steal_pointer(&result);
}

static gboolean
has_blob(MsbStore *store, const char *digest, guint64 *size)
{
    g_autofree char *path = digest ? msb_store_blob_path(store->home, digest) : NULL;
    mb_autofd int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;

    if (fd < 0)
        return FALSE;
    *size = (guint64)lseek(fd, 0, SEEK_END);
    return TRUE;
}

static gboolean
has_layer(MsbStore *store, const MsbLayerSource *source)
{
    g_autofree char *path =
        source->diff_ids ? msb_store_find_layer(store->home, source->diff_ids, source->index) : NULL;

    return path != NULL;
}

/* Only one process converts a layer; the others wait and find it done. The lock is the chain's, not the
 * layer's: a conversion may wait for layers below, and those of another image may be in another order. */
static char *
lock_path_of(MsbStore *store, const MsbLayerSource *source)
{
    g_autofree char *path = msb_store_layer_path(store->home, source->diff_ids, source->index, TRUE);
    g_autofree char *base = g_path_get_basename(path);
    g_autofree char *name = g_strconcat(base, ".lock", NULL);

    return msb_home_build_path(store->home, "images", "tmp", name, NULL);
}

MsbOciDescriptor *
msb_store_add_layer(MsbStore *store, const MsbLayerSource *source, char **diff_id, GError **error)
{
    g_autofree char *own_id = NULL;
    g_autofree char *lock_path = source->diff_ids ? lock_path_of(store, source) : NULL;
    g_autoptr(MsbLock) lock = NULL;
    gboolean blob, layer;
    MsbOciDescriptor *result;
    guint64 size = 0;

    if (lock_path) {
        lock = lock_layer(source, lock_path, error);
        if (!lock)
            return NULL;
    }
    blob = has_blob(store, source->digest, &size);
    layer = has_layer(store, source);
    if (blob && layer) {
        result = g_new0(MsbOciDescriptor, 1);
        result->media_type = g_strdup("");
        result->digest = g_strdup(source->digest);
        result->size = size;
        own_id = g_strdup(source->diff_ids[source->index]);
    } else {
        result = convert(store, source, blob, layer, &own_id, error);
    }
    if (lock)
        unlink(lock_path);
    if (result && diff_id)
        *diff_id = g_steal_pointer(&own_id);
    return result;
}

G_STATIC_ASSERT(sizeof(la_ssize_t) == sizeof(gssize));
