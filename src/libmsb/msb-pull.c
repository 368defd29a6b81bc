/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pulling an image: the manifest and the configuration (msb-resolve.h), then the
 * layers, each by a worker of a pool that reads it from the registry straight into
 * the store (msb-store-layer.h).
 *
 * Memory: per worker the download's buffer (1 MiB), the decompressor's window and
 * the tree of the layer's entries.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "mb-cleanup.h"
#include "msb-digest.h"
#include "msb-error.h"
#include "msb-pull.h"
#include "msb-resolve.h"
#include "msb-store-layer.h"
#include "msb-transfer.h"

typedef struct {
    MsbHome *home;
    const MsbPullOptions *options;
    MsbReference *reference;
    MsbSettings *settings;
    MsbMirrors *mirrors;
    MsbStore *store;
    GCancellable *cancellable;
    MsbResolved image;
    GMutex lock;                    /* of done and failed */
    GCond changed;
    guint *first;                   /* per layer: the lowest one with the same digest */
    gboolean *done;                 /* per layer: its first one is in the store */
    gboolean failed;
    guint64 unpacked;               /* bytes of all layers, see MsbLayerSource */
} Pull;

/* One layer. */
typedef struct {
    Pull *pull;
    MsbTransfer *transfer;
    const MsbOciDescriptor *descriptor;
    guint index;
    MsbMirrorBlob *blob;
    gint64 told;
} Job;

static void
pull_clear(Pull *pull)
{
    g_clear_pointer(&pull->reference, msb_reference_free);
    g_clear_pointer(&pull->mirrors, msb_mirrors_free);
    g_clear_pointer(&pull->settings, msb_settings_free);
    g_clear_pointer(&pull->store, msb_store_close);
    msb_resolved_clear(&pull->image);
    g_clear_pointer(&pull->first, g_free);
    g_clear_pointer(&pull->done, g_free);
    g_mutex_clear(&pull->lock);
    g_cond_clear(&pull->changed);
}

/* ---- layers ------------------------------------------------------------------------------------ */

static gssize
read_layer(gpointer data, void *buf, gsize n, GCancellable *cancellable, GError **error)
{
    Job *job = data;

    return msb_mirror_blob_read(job->blob, buf, n, cancellable, error);
}

static void
layer_progress(const char *what G_GNUC_UNUSED, guint64 done, guint64 total, gpointer data)
{
    Job *job = data;

    msb_transfer_tell(job->transfer, job->descriptor->digest, done, total, &job->told);
}

/* On the worker, by the few layers that need those below them: wait until they are in the store. Jobs start from the
 * lowest layer up, so those are under way or done. */
static gboolean
wait_for_layers_below(gpointer data, GError **error)
{
    Job *job = data;
    Pull *pull = job->pull;
    gboolean good;
    guint i;

    g_mutex_lock(&pull->lock);
    for (i = 0; i < job->index; i++) {
        while (!pull->failed && !pull->done[pull->first[i]])
            g_cond_wait(&pull->changed, &pull->lock);
    }
    good = !pull->failed;
    g_mutex_unlock(&pull->lock);
    return good || msb_error_set(error, MSB_ERROR_FAILED, "a layer below could not be had");
}

static void
job_ended(Pull *pull, guint index, gboolean good)
{
    g_mutex_lock(&pull->lock);
    if (good)
        pull->done[index] = TRUE;
    else
        pull->failed = TRUE;
    g_cond_broadcast(&pull->changed);
    g_mutex_unlock(&pull->lock);
}

/* Once; *wrong_digest as MsbLayerSource says. */
static MsbOciDescriptor *
add_layer(Job *job, char **wrong_digest, GCancellable *cancellable, GError **error)
{
    Pull *pull = job->pull;
    g_autofree char *name = msb_reference_to_string(pull->reference);
    g_autofree char *what = g_strdup_printf("layer %s of image '%s'", job->descriptor->digest, name);
    MsbLayerSource source = {
        .read = read_layer,
        .reader = job,
        .size = job->descriptor->size,
        .digest = job->descriptor->digest,
        .wrong_digest = wrong_digest,
        .diff_ids = (const char *const *)pull->image.config->diff_ids,
        .index = job->index,
        .ready = wait_for_layers_below,
        .ready_data = job,
        .total = &pull->unpacked,
        .what = what,
        .progress = layer_progress,
        .progress_data = job,
        .cancellable = cancellable,
    };

    return msb_store_add_layer(pull->store, &source, NULL, error);
}

static gboolean
fetch_layer(MsbTransfer *transfer, gpointer data, GCancellable *cancellable, GError **error)
{
    Job *job = data;
    Pull *pull = job->pull;
    g_autoptr(MsbOciDescriptor) result = NULL;
    g_autoptr(GError) local = NULL;
    gboolean again;

    job->transfer = transfer;
    job->blob = msb_mirrors_open_blob(pull->mirrors, pull->reference->repository, job->descriptor->digest,
                                      job->descriptor->size);
    do {
        g_autofree char *wrong_digest = NULL;

        g_clear_error(&local);
        if (!g_cancellable_set_error_if_cancelled(cancellable, &local))
            result = add_layer(job, &wrong_digest, cancellable, &local);
        again = wrong_digest && msb_mirror_blob_begin_again(job->blob, wrong_digest);
    } while (again);
    msb_mirror_blob_add_failures(job->blob, local);
    job_ended(pull, job->index, result != NULL);
    g_clear_pointer(&job->blob, msb_mirror_blob_free);
    if (result)
        msb_transfer_tell(transfer, job->descriptor->digest, job->descriptor->size, job->descriptor->size, &job->told);
    else
        g_propagate_error(error, g_steal_pointer(&local));
    return result != NULL;
}

/* A job per distinct layer. */
static GPtrArray *
make_jobs(Pull *pull)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    GPtrArray *jobs = g_ptr_array_new_with_free_func(g_free);
    guint count = pull->image.manifest->layers->len;

    pull->first = g_new0(guint, count + 1);
    pull->done = g_new0(gboolean, count + 1);
    for (guint i = 0; i < count; i++) {
        const MsbOciDescriptor *descriptor = g_ptr_array_index(pull->image.manifest->layers, i);
        gpointer lower;
        Job *job;

        pull->first[i] = i;
        if (g_hash_table_lookup_extended(seen, descriptor->digest, NULL, &lower)) {
            pull->first[i] = GPOINTER_TO_UINT(lower);
            continue;
        }
        g_hash_table_insert(seen, descriptor->digest, GUINT_TO_POINTER(i));
        job = g_new0(Job, 1);
        job->pull = pull;
        job->descriptor = descriptor;
        job->index = i;
        g_ptr_array_add(jobs, job);
    }
    return jobs;
}

static void
pass_warnings_on(Pull *pull)
{
    const MsbPullOptions *options = pull->options;
    char *warning;

    while (pull->mirrors && (warning = msb_mirrors_take_warning(pull->mirrors))) {
        if (options->warning)
            options->warning(warning, options->warning_data);
        g_free(warning);
    }
}

/* On the calling thread. */
static void
transfer_progress(const char *what, guint64 done, guint64 total, gpointer data)
{
    Pull *pull = data;

    pass_warnings_on(pull);
    if (pull->options->progress)
        pull->options->progress(what, done, total, pull->options->progress_data);
}

static gboolean
fetch_layers(Pull *pull, GError **error)
{
    const MsbPullOptions *options = pull->options;
    guint threads = options->parallel ? options->parallel : pull->settings->parallel;
    g_autoptr(GPtrArray) jobs = make_jobs(pull);

    for (guint i = 0; i < jobs->len && options->progress; i++) {
        const MsbOciDescriptor *descriptor = ((Job *)g_ptr_array_index(jobs, i))->descriptor;

        options->progress(descriptor->digest, 0, descriptor->size, options->progress_data);
    }
    return msb_transfer_run(jobs, threads, fetch_layer, transfer_progress, pull, pull->cancellable, error);
}

/* A layer that occurs again has one more form if it depends on those below it: made of the blob that is here now. */
static gboolean
add_again(Pull *pull, guint index, GError **error)
{
    const MsbOciDescriptor *descriptor = g_ptr_array_index(pull->image.manifest->layers, index);
    const char *const *diff_ids = (const char *const *)pull->image.config->diff_ids;
    g_autofree char *path = msb_store_blob_path(pull->home, descriptor->digest);
    mb_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    g_autoptr(MsbOciDescriptor) result = NULL;
    MsbLayerSource source = {
        .read = msb_layer_read_fd,
        .reader = GINT_TO_POINTER(fd),
        .size = descriptor->size,
        .digest = descriptor->digest,
        .diff_ids = diff_ids,
        .index = index,
        .what = descriptor->digest,
        .cancellable = pull->cancellable,
    };

    if (fd < 0)
        return msb_error_set_errno(error, errno, "layer '%s'", path);
    result = msb_store_add_layer(pull->store, &source, NULL, error);
    return result != NULL;
}

static gboolean
add_repeated_layers(Pull *pull, GError **error)
{
    for (guint i = 0; i < pull->image.manifest->layers->len; i++) {
        const char *const *diff_ids = (const char *const *)pull->image.config->diff_ids;
        g_autofree char *path = msb_store_find_layer(pull->home, diff_ids, i);

        if (!path && !add_again(pull, i, error))
            return FALSE;
    }
    return TRUE;
}

/* ---- the whole ------------------------------------------------------------------------------------ */

static gboolean
finish(Pull *pull, GError **error)
{
    /* A digest pins: the image is filed under it, and no tag moves. */
    const MsbReference *reference = pull->reference;
    g_autofree char *name = reference->digest
        ? g_strconcat(reference->registry, "/", reference->repository, "@", reference->digest, NULL)
        : msb_reference_to_string(reference);
    const char *references[] = { name, NULL };
    const char *digests[] = { pull->image.manifest_digest, NULL };
    const MsbResolved *image = &pull->image;

    return msb_store_add_blob(pull->store, g_bytes_get_data(image->config_bytes, NULL),
                              g_bytes_get_size(image->config_bytes), image->manifest->config->digest, error) &&
           msb_store_add_blob(pull->store, g_bytes_get_data(image->manifest_bytes, NULL),
                              g_bytes_get_size(image->manifest_bytes), image->manifest_digest, error) &&
           msb_store_tag(pull->store, references, digests, error);
}

static gboolean
run_pull(Pull *pull, GError **error)
{
    const MsbPullOptions *options = pull->options;
    MsbRegistryOptions registry = { .plain_http = options->plain_http, .ca_file = options->ca_file,
                                    .username = options->username, .password = options->password };
    g_autoptr(MsbPlatform) platform = msb_platform_parse(options->platform, error);

    pull->settings = platform ? msb_settings_load(pull->home, error) : NULL;
    if (!pull->settings)
        return FALSE;
    pull->mirrors = msb_mirrors_new(pull->home, pull->settings, pull->reference->registry, &registry, error);
    if (!pull->mirrors ||
        !msb_resolve(pull->mirrors, pull->reference, platform, &pull->image, pull->cancellable, error))
        return FALSE;
    pull->store = msb_store_open(pull->home, error);
    return pull->store && fetch_layers(pull, error) && add_repeated_layers(pull, error) && finish(pull, error);
}

MsbImage *
msb_image_pull(MsbHome *home, const char *reference, const MsbPullOptions *options, GCancellable *cancellable,
               GError **error)
{
    static const MsbPullOptions defaults;
    __attribute__((cleanup(pull_clear))) Pull pull = { .home = home, .options = options ? options : &defaults,
                                                      .cancellable = cancellable };
    g_autoptr(GError) local = NULL;
    MsbImage *image;
    gboolean pulled;

    g_mutex_init(&pull.lock);
    g_cond_init(&pull.changed);
    if (pull.options->policy != MSB_PULL_ALWAYS) {
        image = msb_image_lookup(home, reference, &local);
        if (image || pull.options->policy == MSB_PULL_NEVER ||
            !g_error_matches(local, MSB_ERROR, MSB_ERROR_NOT_FOUND)) {
            if (local)
                g_propagate_error(error, g_steal_pointer(&local));
            return image;
        }
    }
    pull.reference = msb_reference_parse(reference, error);
    pulled = pull.reference && run_pull(&pull, error);
    pass_warnings_on(&pull);
    return pulled ? msb_image_lookup(home, reference, error) : NULL;
}
