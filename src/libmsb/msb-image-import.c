/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A root filesystem becomes an image of one layer: a tar as it is, a directory
 * by way of a tar that is made here, so that the image can be saved and pushed
 * like any other.  Imported by an ordinary user, a directory's files belong to
 * root in the image, as they will have been meant.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mb-cleanup.h"
#include "msb-digest.h"
#include "msb-error.h"
#include "msb-image-private.h"
#include "msb-json.h"
#include "msb-reference.h"

static void
add_strings(JsonBuilder *builder, const char *member, const char *const *strings)
{
    if (!strings)
        return;
    json_builder_set_member_name(builder, member);
    json_builder_begin_array(builder);
    for (; *strings; strings++)
        json_builder_add_string_value(builder, *strings);
    json_builder_end_array(builder);
}

static void
add_string(JsonBuilder *builder, const char *member, const char *string)
{
    if (!string)
        return;
    json_builder_set_member_name(builder, member);
    json_builder_add_string_value(builder, string);
}

static char *
format_config(const MsbImageImportOptions *options, const char *diff_id)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();
    g_autoptr(JsonNode) root = NULL;
    const char *const ids[] = {diff_id, NULL};

    json_builder_begin_object(builder);
    add_string(builder, "architecture", msb_oci_host_architecture());
    add_string(builder, "os", "linux");
    json_builder_set_member_name(builder, "config");
    json_builder_begin_object(builder);
    add_strings(builder, "Env", options->env);
    add_strings(builder, "Entrypoint", options->entrypoint);
    add_strings(builder, "Cmd", options->cmd);
    add_string(builder, "WorkingDir", options->workdir);
    add_string(builder, "User", options->user);
    json_builder_end_object(builder);
    json_builder_set_member_name(builder, "rootfs");
    json_builder_begin_object(builder);
    add_string(builder, "type", "layers");
    add_strings(builder, "diff_ids", ids);
    json_builder_end_object(builder);
    json_builder_end_object(builder);
    root = json_builder_get_root(builder);
    return msb_json_to_string(root, FALSE);
}

static MsbImage *
store_image(MsbStore *store, const char *reference, const MsbImageImportOptions *options,
            MsbOciDescriptor *layer, const char *diff_id, GError **error)
{
    g_autofree char *config = format_config(options, diff_id);
    g_autoptr(MsbOciDescriptor) descriptor = g_new0(MsbOciDescriptor, 1);
    g_autoptr(GPtrArray) layers = g_ptr_array_new();
    g_autofree char *manifest = NULL;
    g_autofree char *digest = NULL;
    g_autoptr(MsbImage) image = NULL;

    descriptor->media_type = g_strdup(MSB_OCI_TYPE_CONFIG);
    descriptor->size = strlen(config);
    descriptor->digest = msb_digest_of_bytes(config, strlen(config));
    g_ptr_array_add(layers, layer);
    manifest = msb_oci_manifest_format(descriptor, layers);
    digest = msb_digest_of_bytes(manifest, strlen(manifest));
    if (!msb_store_add_blob(store, config, strlen(config), descriptor->digest, error) ||
        !msb_store_add_blob(store, manifest, strlen(manifest), digest, error))
        return NULL;
    image = msb_image_read(store->home, reference, digest, g_get_real_time(), error);
    if (image) {
        const char *const references[] = {reference, NULL}, *const digests[] = {digest, NULL};

        if (!msb_store_tag(store, references, digests, error))
            return NULL;
    }
    return g_steal_pointer(&image);
}

/* The tar to read; *spool (transfer full) is where it is if it was made here. */
static int
open_source(MsbStore *store, const char *path, char **spool, GCancellable *cancellable, GError **error)
{
    mb_autofd int fd = -1;
    struct stat st;

    if (strcmp(path, "-") == 0)
        fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    else
        fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        msb_error_set_errno(error, errno, "open '%s'", path);
        return -1;
    }
    if (!S_ISDIR(st.st_mode))
        return mb_steal_fd(&fd);
    mb_close(mb_steal_fd(&fd));
    *spool = g_build_filename(store->tmp, "rootfs.tar", NULL);
    fd = open(*spool, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        msb_error_set_errno(error, errno, "create '%s'", *spool);
        return -1;
    }
    if (!msb_tar_from_directory(path, fd, geteuid() != 0, cancellable, error))
        return -1;
    if (lseek(fd, 0, SEEK_SET) < 0) {
        msb_error_set_errno(error, errno, "rewind '%s'", *spool);
        return -1;
    }
    return mb_steal_fd(&fd);
}

MsbImage *
msb_image_import(MsbHome *home, const char *path, const char *tag, const MsbImageImportOptions *options,
                 MsbProgressFunc progress, gpointer data, GCancellable *cancellable, GError **error)
{
    static const MsbImageImportOptions defaults;
    g_autofree char *reference = NULL, *spool = NULL, *diff_id = NULL;
    g_autoptr(MsbStore) store = NULL;
    g_autoptr(MsbOciDescriptor) layer = NULL;
    MsbLayerSource source = {
        .read = msb_layer_read_fd,
        .what = "root filesystem",
        .progress = progress,
        .progress_data = data,
        .cancellable = cancellable,
    };
    mb_autofd int fd = -1;
    struct stat st;

    if (!tag) {
        msb_error_set(error, MSB_ERROR_INVALID, "an imported image needs a name: give it one with --tag");
        return NULL;
    }
    reference = msb_reference_normalize(tag, error);
    store = reference ? msb_store_open(home, error) : NULL;
    if (!store)
        return NULL;
    fd = open_source(store, path, &spool, cancellable, error);
    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        source.size = (guint64)st.st_size;
    source.reader = GINT_TO_POINTER(fd);
    source.spool = spool;
    layer = msb_store_add_layer(store, &source, &diff_id, error);
    return layer ? store_image(store, reference, options ? options : &defaults, layer, diff_id, error) : NULL;
}
