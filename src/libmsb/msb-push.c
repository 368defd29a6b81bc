/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pushing an image: its layers and its configuration, each by a worker, then
 * the manifest, so that nobody ever finds one whose blobs are not there.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-digest.h"
#include "msb-error.h"
#include "msb-image-private.h"
#include "msb-pull.h"
#include "msb-reference.h"
#include "msb-registry.h"
#include "msb-transfer.h"

#define MAX_MOUNTS 4 /* repositories that are asked for a blob before it is sent */

typedef struct {
    MsbHome *home;
    MsbRegistry *registry;
    MsbReference *destination;
    GPtrArray *others; /* repositories of the same registry with blobs of this image, NULL-terminated */
} Push;

/* One blob. */
typedef struct {
    Push *push;
    const MsbOciDescriptor *descriptor;
    MsbTransfer *transfer;
    gint64 told;
} Job;

static void
push_clear(Push *push)
{
    g_clear_pointer(&push->registry, msb_registry_free);
    g_clear_pointer(&push->destination, msb_reference_free);
    g_clear_pointer(&push->others, g_ptr_array_unref);
}

/* Where the same registry has images that share blobs with this one, as far as the store knows. */
static gboolean
find_others(Push *push, const MsbOciManifest *manifest, GError **error)
{
    g_autoptr(GPtrArray) entries = msb_store_read_index(push->home, error);
    g_autoptr(GHashTable) blobs = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    if (!entries)
        return FALSE;
    push->others = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < manifest->layers->len; i++)
        g_hash_table_add(blobs, ((MsbOciDescriptor *)g_ptr_array_index(manifest->layers, i))->digest);
    for (guint i = 0; i < entries->len && push->others->len < MAX_MOUNTS; i++) {
        const MsbStoreEntry *entry = g_ptr_array_index(entries, i);
        g_autoptr(MsbReference) reference = msb_reference_parse(entry->reference, NULL);
        g_autoptr(MsbOciManifest) other = NULL;
        gboolean shares = FALSE;

        if (!reference || strcmp(reference->registry, push->destination->registry) != 0 ||
            strcmp(reference->repository, push->destination->repository) == 0 ||
            g_hash_table_contains(seen, reference->repository))
            continue;
        other = msb_image_read_manifest(push->home, entry->digest, NULL, NULL);
        for (guint j = 0; other && j < other->layers->len && !shares; j++)
            shares = g_hash_table_contains(blobs,
                                           ((MsbOciDescriptor *)g_ptr_array_index(other->layers, j))->digest);
        if (!shares)
            continue;
        g_hash_table_add(seen, g_strdup(reference->repository));
        g_ptr_array_add(push->others, g_strdup(reference->repository));
    }
    g_ptr_array_add(push->others, NULL);
    return TRUE;
}

static void
blob_progress(guint64 sent, gpointer data)
{
    Job *job = data;

    msb_transfer_tell(job->transfer, job->descriptor->digest, sent, job->descriptor->size, &job->told);
}

static gboolean
push_blob(MsbTransfer *transfer, gpointer data, GCancellable *cancellable, GError **error)
{
    Job *job = data;
    Push *push = job->push;
    const MsbOciDescriptor *descriptor = job->descriptor;
    g_autofree char *path = msb_store_blob_path(push->home, descriptor->digest);
    mb_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    MsbBlobFate fate;
    off_t size;

    job->transfer = transfer;
    if (g_cancellable_set_error_if_cancelled(cancellable, error))
        return FALSE;
    size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    if (size < 0)
        return msb_error_set_errno(error, errno, "blob '%s'", path);
    if ((guint64)size != descriptor->size)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "blob '%s' has not the size that its manifest says",
                             path);
    if (!msb_registry_put_blob(push->registry, push->destination->repository, descriptor->digest, fd,
                               descriptor->size, (const char *const *)push->others->pdata, blob_progress, job,
                               &fate, cancellable, error))
        return FALSE;
    msb_transfer_tell(transfer, descriptor->digest, descriptor->size, descriptor->size, &job->told);
    return TRUE;
}

static void
add_job(GPtrArray *jobs, GHashTable *seen, Push *push, const MsbOciDescriptor *descriptor)
{
    Job *job;

    if (!g_hash_table_add(seen, descriptor->digest))
        return;
    job = g_new0(Job, 1);
    job->push = push;
    job->descriptor = descriptor;
    g_ptr_array_add(jobs, job);
}

static gboolean
push_blobs(Push *push, const MsbOciManifest *manifest, const MsbPushOptions *options,
           GCancellable *cancellable, GError **error)
{
    g_autoptr(GPtrArray) jobs = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(MsbSettings) settings = msb_settings_load(push->home, error);

    if (!settings)
        return FALSE;
    for (guint i = 0; i < manifest->layers->len; i++)
        add_job(jobs, seen, push, g_ptr_array_index(manifest->layers, i));
    add_job(jobs, seen, push, manifest->config);
    for (guint i = 0; i < jobs->len && options->progress; i++) {
        const MsbOciDescriptor *descriptor = ((Job *)g_ptr_array_index(jobs, i))->descriptor;

        options->progress(descriptor->digest, 0, descriptor->size, options->progress_data);
    }
    return msb_transfer_run(jobs, options->parallel ? options->parallel : settings->parallel, push_blob,
                            options->progress, options->progress_data, cancellable, error);
}

static gboolean
open_destination(Push *push, const MsbImage *image, const char *text, const MsbPushOptions *options,
                 GError **error)
{
    MsbRegistryOptions registry = {.plain_http = options->plain_http,
                                   .ca_file = options->ca_file,
                                   .username = options->username,
                                   .password = options->password};

    push->destination = msb_reference_parse(text, error);
    if (!push->destination)
        return FALSE;
    if (push->destination->digest && strcmp(push->destination->digest, msb_image_get_digest(image)) != 0)
        return msb_error_set(error, MSB_ERROR_INVALID, "'%s' cannot be pushed as '%s': its digest is %s",
                             msb_image_get_reference(image), text, msb_image_get_digest(image));
    push->registry = msb_registry_new(push->home, push->destination->registry, &registry, error);
    return push->registry != NULL;
}

char *
msb_image_push(MsbHome *home, const char *reference, const char *destination, const MsbPushOptions *options,
               GCancellable *cancellable, GError **error)
{
    static const MsbPushOptions defaults;
    __attribute__((cleanup(push_clear))) Push push = {.home = home};
    g_autoptr(MsbLock) lock = msb_store_hold(home, error); /* until the last blob has been read */
    g_autoptr(MsbImage) image = lock ? msb_image_lookup(home, reference, error) : NULL;
    g_autoptr(MsbOciManifest) manifest = NULL;
    g_autoptr(GBytes) bytes = NULL;
    const char *digest;

    options = options ? options : &defaults;
    if (!image || !open_destination(&push, image, destination ? destination : msb_image_get_reference(image),
                                    options, error))
        return NULL;
    digest = msb_image_get_digest(image);
    manifest = msb_image_read_manifest(home, digest, &bytes, error);
    if (!manifest || !find_others(&push, manifest, error) ||
        !push_blobs(&push, manifest, options, cancellable, error) ||
        !msb_registry_put_manifest(push.registry, push.destination->repository,
                                   push.destination->tag ? push.destination->tag : digest,
                                   manifest->media_type, bytes, digest, cancellable, error))
        return NULL;
    return g_strdup_printf("%s/%s%s%s@%s", push.destination->registry, push.destination->repository,
                           push.destination->tag ? ":" : "",
                           push.destination->tag ? push.destination->tag : "", digest);
}
