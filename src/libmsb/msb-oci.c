/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The JSON documents of images: see the header. */
#include <config.h>

#include <string.h>
#include <sys/utsname.h>

#include "msb-digest.h"
#include "msb-error.h"
#include "msb-json.h"
#include "msb-oci.h"

#define MAX_STRINGS 4096         /* of Env, Cmd, ... each */

void
msb_oci_descriptor_free(MsbOciDescriptor *descriptor)
{
    if (!descriptor)
        return;
    g_free(descriptor->media_type);
    g_free(descriptor->digest);
    g_free(descriptor->os);
    g_free(descriptor->architecture);
    g_free(descriptor->variant);
    g_free(descriptor->name);
    g_free(descriptor);
}

void
msb_oci_manifest_free(MsbOciManifest *manifest)
{
    if (!manifest)
        return;
    g_clear_pointer(&manifest->manifests, g_ptr_array_unref);
    g_clear_pointer(&manifest->layers, g_ptr_array_unref);
    msb_oci_descriptor_free(manifest->config);
    g_free(manifest->media_type);
    g_free(manifest);
}

void
msb_oci_config_free(MsbOciConfig *config)
{
    if (!config)
        return;
    g_free(config->os);
    g_free(config->architecture);
    g_strfreev(config->diff_ids);
    g_strfreev(config->env);
    g_strfreev(config->entrypoint);
    g_strfreev(config->cmd);
    g_free(config->workdir);
    g_free(config->user);
    g_free(config);
}

void
msb_docker_image_free(MsbDockerImage *image)
{
    if (!image)
        return;
    g_free(image->config);
    g_strfreev(image->layers);
    g_strfreev(image->tags);
    g_free(image);
}

/* ---- reading ------------------------------------------------------------------- */

/* json-glib tells null and missing apart; images do not. */
static JsonNode *
without_nulls(JsonNode *node)
{
    JsonObject *object;
    g_autoptr(GList) members = NULL;

    if (!JSON_NODE_HOLDS_OBJECT(node))
        return node;
    object = json_node_get_object(node);
    members = json_object_get_members(object);
    for (GList *l = members; l; l = l->next) {
        if (JSON_NODE_HOLDS_NULL(json_object_get_member(object, l->data)))
            json_object_remove_member(object, l->data);
    }
    return node;
}

static void
begin(MsbJsonReader *reader, JsonNode *node, const char *where)
{
    msb_json_reader_begin(reader, without_nulls(node), where);
    msb_json_reader_allow_unknown(reader);
}

/* What comes from outside is corrupt, not invalid. */
static gboolean
end(MsbJsonReader *reader, GError **error)
{
    GError *local = NULL;

    if (msb_json_reader_end(reader, &local))
        return TRUE;
    if (local->domain == MSB_ERROR && local->code == MSB_ERROR_INVALID)
        local->code = MSB_ERROR_CORRUPT;
    g_propagate_error(error, local);
    return FALSE;
}

static gboolean
read_platform(MsbOciDescriptor *descriptor, JsonObject *object, const char *what, GError **error)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    MsbJsonReader reader;

    json_node_set_object(node, object);
    begin(&reader, node, what);
    descriptor->os = g_strdup(msb_json_get_string(&reader, "os"));
    descriptor->architecture = g_strdup(msb_json_get_string(&reader, "architecture"));
    descriptor->variant = g_strdup(msb_json_get_string(&reader, "variant"));
    return end(&reader, error);
}

static gboolean
read_annotations(MsbOciDescriptor *descriptor, JsonObject *object, const char *what, GError **error)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    MsbJsonReader reader;
    const char *name, *full;

    json_node_set_object(node, object);
    begin(&reader, node, what);
    full = msb_json_get_string(&reader, "io.containerd.image.name");
    name = msb_json_get_string(&reader, "org.opencontainers.image.ref.name");
    descriptor->name = g_strdup(full ? full : name);
    descriptor->attestation = msb_json_get_string(&reader, "vnd.docker.reference.type") != NULL;
    return end(&reader, error);
}

static MsbOciDescriptor *
read_descriptor(JsonNode *node, const char *what, GError **error)
{
    g_autoptr(MsbOciDescriptor) descriptor = g_new0(MsbOciDescriptor, 1);
    MsbJsonReader reader;
    const char *type, *digest;
    JsonObject *platform, *annotations;

    begin(&reader, node, what);
    type = msb_json_get_string(&reader, "mediaType");
    digest = msb_json_get_string(&reader, "digest");
    descriptor->size = (guint64)msb_json_get_int(&reader, "size", 0, 0, G_MAXINT64);
    platform = msb_json_get_object(&reader, "platform");
    annotations = msb_json_get_object(&reader, "annotations");
    if (digest && !msb_digest_is_valid(digest))
        msb_json_reader_fail(&reader, "\"%s\" is not a sha256 digest", digest);
    else if (!digest)
        msb_json_reader_fail(&reader, "a descriptor has no digest");
    descriptor->media_type = g_strdup(type ? type : "");
    descriptor->digest = g_strdup(digest);
    if (!end(&reader, error) || (platform && !read_platform(descriptor, platform, what, error)) ||
        (annotations && !read_annotations(descriptor, annotations, what, error)))
        return NULL;
    return g_steal_pointer(&descriptor);
}

static GPtrArray *
read_descriptors(JsonArray *array, guint max, const char *what, GError **error)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)msb_oci_descriptor_free);
    guint n = json_array_get_length(array);

    if (n > max) {
        msb_error_set(error, MSB_ERROR_UNSUPPORTED, "%s: %u entries, more than %u", what, n, max);
        return NULL;
    }
    for (guint i = 0; i < n; i++) {
        MsbOciDescriptor *descriptor = read_descriptor(json_array_get_element(array, i), what, error);

        if (!descriptor)
            return NULL;
        g_ptr_array_add(list, descriptor);
    }
    return g_steal_pointer(&list);
}

static gboolean
is_config_type(const char *type)
{
    return type[0] == '\0' || strcmp(type, MSB_OCI_TYPE_CONFIG) == 0 ||
           strcmp(type, "application/vnd.docker.container.image.v1+json") == 0;
}

static MsbOciManifest *
not_an_image(const char *what, GError **error)
{
    msb_error_set(
        error, MSB_ERROR_UNSUPPORTED,
        "%s is not a container image: it is neither an index nor a manifest with a configuration and layers",
        what);
    return NULL;
}

MsbOciManifest *
msb_oci_manifest_parse(const char *what, const char *text, gsize length, GError **error)
{
    g_autoptr(MsbOciManifest) manifest = g_new0(MsbOciManifest, 1);
    g_autoptr(JsonNode) root = msb_json_parse(what, text, length, error);
    MsbJsonReader reader;
    JsonArray *manifests, *layers;
    JsonNode *config = NULL;
    const char *media_type;

    if (!root)
        return NULL;
    begin(&reader, root, what);
    media_type = msb_json_get_string(&reader, "mediaType");
    manifest->media_type = g_strdup(media_type && media_type[0] ? media_type : MSB_OCI_TYPE_MANIFEST);
    msb_json_get_int(&reader, "schemaVersion", 2, 2, 2);
    manifests = msb_json_get_array(&reader, "manifests");
    layers = msb_json_get_array(&reader, "layers");
    if (msb_json_get_object(&reader, "config"))
        config = json_object_get_member(json_node_get_object(root), "config");
    if (!end(&reader, error))
        return NULL;
    if (manifests && !layers) {
        manifest->manifests = read_descriptors(manifests, MSB_OCI_MAX_MANIFESTS, what, error);
        return manifest->manifests ? g_steal_pointer(&manifest) : NULL;
    }
    if (!config || !layers)
        return not_an_image(what, error);
    manifest->config = read_descriptor(config, what, error);
    if (!manifest->config)
        return NULL;
    if (!is_config_type(manifest->config->media_type))
        return not_an_image(what, error);
    manifest->layers = read_descriptors(layers, MSB_OCI_MAX_LAYERS, what, error);
    return manifest->layers ? g_steal_pointer(&manifest) : NULL;
}

static gboolean
read_process(MsbOciConfig *config, JsonObject *object, const char *what, GError **error)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    MsbJsonReader reader;
    const char *workdir, *user;

    json_node_set_object(node, object);
    begin(&reader, node, what);
    config->env = msb_json_dup_strv(&reader, "Env");
    config->entrypoint = msb_json_dup_strv(&reader, "Entrypoint");
    config->cmd = msb_json_dup_strv(&reader, "Cmd");
    workdir = msb_json_get_string(&reader, "WorkingDir");
    user = msb_json_get_string(&reader, "User");
    config->workdir = workdir && workdir[0] ? g_strdup(workdir) : NULL;
    config->user = user && user[0] ? g_strdup(user) : NULL;
    if ((config->env && g_strv_length(config->env) > MAX_STRINGS) ||
        (config->entrypoint && g_strv_length(config->entrypoint) > MAX_STRINGS) ||
        (config->cmd && g_strv_length(config->cmd) > MAX_STRINGS))
        msb_json_reader_fail(&reader, "more than %u strings in a list", MAX_STRINGS);
    return end(&reader, error);
}

static gboolean
read_rootfs(MsbOciConfig *config, JsonObject *object, const char *what, GError **error)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    MsbJsonReader reader;

    json_node_set_object(node, object);
    begin(&reader, node, what);
    config->diff_ids = msb_json_dup_strv(&reader, "diff_ids");
    if (!end(&reader, error))
        return FALSE;
    for (char **id = config->diff_ids; id && *id; id++) {
        if (!msb_digest_is_valid(*id))
            return msb_error_set(error, MSB_ERROR_CORRUPT, "%s: diff_id \"%s\" is not a sha256 digest", what,
                                 *id);
    }
    return TRUE;
}

MsbOciConfig *
msb_oci_config_parse(const char *what, const char *text, gsize length, GError **error)
{
    g_autoptr(MsbOciConfig) config = g_new0(MsbOciConfig, 1);
    g_autoptr(JsonNode) root = msb_json_parse(what, text, length, error);
    MsbJsonReader reader;
    JsonObject *process, *rootfs;
    const char *os, *architecture;

    if (!root)
        return NULL;
    begin(&reader, root, what);
    os = msb_json_get_string(&reader, "os");
    architecture = msb_json_get_string(&reader, "architecture");
    process = msb_json_get_object(&reader, "config");
    rootfs = msb_json_get_object(&reader, "rootfs");
    config->os = g_strdup(os ? os : "");
    config->architecture = g_strdup(architecture ? architecture : "");
    if (!end(&reader, error) || (process && !read_process(config, process, what, error)) ||
        (rootfs && !read_rootfs(config, rootfs, what, error)))
        return NULL;
    if (!config->diff_ids) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "%s has no list of diff_ids", what);
        return NULL;
    }
    return g_steal_pointer(&config);
}

static MsbDockerImage *
read_docker_image(JsonNode *node, GError **error)
{
    MsbDockerImage *image = g_new0(MsbDockerImage, 1);
    MsbJsonReader reader;

    begin(&reader, node, "manifest.json");
    image->config = g_strdup(msb_json_get_string(&reader, "Config"));
    image->layers = msb_json_dup_strv(&reader, "Layers");
    image->tags = msb_json_dup_strv(&reader, "RepoTags");
    if (!image->config || !image->layers)
        msb_json_reader_fail(&reader, "an image has no Config or no Layers");
    else if (g_strv_length(image->layers) > MSB_OCI_MAX_LAYERS)
        msb_json_reader_fail(&reader, "an image has more than %d layers", MSB_OCI_MAX_LAYERS);
    if (end(&reader, error)) {
        if (!image->tags)
            image->tags = g_new0(char *, 1);
        return image;
    }
    msb_docker_image_free(image);
    return NULL;
}

GPtrArray *
msb_docker_manifest_parse(const char *text, gsize length, GError **error)
{
    g_autoptr(GPtrArray) images = g_ptr_array_new_with_free_func((GDestroyNotify)msb_docker_image_free);
    g_autoptr(JsonNode) root = msb_json_parse("manifest.json", text, length, error);
    JsonArray *array;

    if (!root)
        return NULL;
    array = JSON_NODE_HOLDS_ARRAY(root) ? json_node_get_array(root) : NULL;
    if (!array || json_array_get_length(array) == 0 || json_array_get_length(array) > MSB_OCI_MAX_MANIFESTS) {
        msb_error_set(error, MSB_ERROR_CORRUPT, "manifest.json is not a list of images");
        return NULL;
    }
    for (guint i = 0; i < json_array_get_length(array); i++) {
        MsbDockerImage *image = read_docker_image(json_array_get_element(array, i), error);

        if (!image)
            return NULL;
        g_ptr_array_add(images, image);
    }
    return g_steal_pointer(&images);
}

/* ---- writing --------------------------------------------------------------------- */

static void
add_descriptor(JsonBuilder *builder, const MsbOciDescriptor *descriptor)
{
    json_builder_begin_object(builder);
    json_builder_set_member_name(builder, "mediaType");
    json_builder_add_string_value(builder, descriptor->media_type);
    json_builder_set_member_name(builder, "digest");
    json_builder_add_string_value(builder, descriptor->digest);
    json_builder_set_member_name(builder, "size");
    json_builder_add_int_value(builder, (gint64)descriptor->size);
    json_builder_end_object(builder);
}

char *
msb_oci_manifest_format(const MsbOciDescriptor *config, const GPtrArray *layers)
{
    g_autoptr(JsonBuilder) builder = json_builder_new();
    g_autoptr(JsonNode) root = NULL;

    json_builder_begin_object(builder);
    json_builder_set_member_name(builder, "schemaVersion");
    json_builder_add_int_value(builder, 2);
    json_builder_set_member_name(builder, "mediaType");
    json_builder_add_string_value(builder, MSB_OCI_TYPE_MANIFEST);
    json_builder_set_member_name(builder, "config");
    add_descriptor(builder, config);
    json_builder_set_member_name(builder, "layers");
    json_builder_begin_array(builder);
    for (guint i = 0; i < layers->len; i++)
        add_descriptor(builder, g_ptr_array_index(layers, i));
    json_builder_end_array(builder);
    json_builder_end_object(builder);
    root = json_builder_get_root(builder);
    return msb_json_to_string(root, FALSE);
}

/* ---- platform --------------------------------------------------------------------- */

const char *
msb_oci_host_architecture(void)
{
    static const char *const names[][2] = {
        {"x86_64", "amd64"},   {"aarch64", "arm64"}, {"i686", "386"},      {"armv7l", "arm"},
        {"ppc64le", "ppc64le"}, {"s390x", "s390x"},  {"riscv64", "riscv64"},
    };
    static char machine[sizeof ((struct utsname *)0)->machine];
    static gsize done;

    if (g_once_init_enter(&done)) {
        struct utsname host;

        if (uname(&host) == 0)
            g_strlcpy(machine, host.machine, sizeof machine);
        g_once_init_leave(&done, 1);
    }
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(machine, names[i][0]) == 0)
            return names[i][1];
    }
    return machine;
}

gboolean
msb_oci_platform_matches(const char *os, const char *architecture)
{
    return (!os || !os[0] || strcmp(os, "linux") == 0) &&
           (!architecture || !architecture[0] || strcmp(architecture, msb_oci_host_architecture()) == 0);
}
