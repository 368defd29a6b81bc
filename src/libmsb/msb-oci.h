/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The JSON documents of images: OCI image index, manifest and configuration,
 * and Docker's counterparts (schema 2, manifest.json of docker-archive).  Pure:
 * text in, structures out, everything checked and bounded.  Unknown members
 * are ignored, as the specifications want.  Internal to libmsb.
 */
#ifndef MSB_OCI_H
#define MSB_OCI_H

#include <glib.h>

G_BEGIN_DECLS

#define MSB_OCI_MAX_DOCUMENT (8u << 20)
#define MSB_OCI_MAX_LAYERS 127          /* partitions of the layers device beside the modules */
#define MSB_OCI_MAX_MANIFESTS 1024

#define MSB_OCI_TYPE_INDEX "application/vnd.oci.image.index.v1+json"
#define MSB_OCI_TYPE_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MSB_OCI_TYPE_CONFIG "application/vnd.oci.image.config.v1+json"
#define MSB_OCI_TYPE_LAYER "application/vnd.oci.image.layer.v1.tar"

typedef struct {
    char *media_type;      /* "" if the document has none */
    char *digest;          /* valid */
    guint64 size;
    char *os, *architecture, *variant; /* of an index entry, may be NULL */
    char *name; /* of an index entry, from its annotations: a reference or a bare tag, may be NULL */
    gboolean attestation;  /* of an index entry: not an image */
} MsbOciDescriptor;

void msb_oci_descriptor_free(MsbOciDescriptor *descriptor);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbOciDescriptor, msb_oci_descriptor_free)

/* Either an index (manifests) or a manifest (config, layers). */
typedef struct {
    char *media_type;      /* of a manifest never "": that of the specification if it has none */
    GPtrArray *manifests;  /* of MsbOciDescriptor, or NULL */
    MsbOciDescriptor *config;
    GPtrArray *layers;     /* of MsbOciDescriptor, lowest first, or NULL */
} MsbOciManifest;

/* what: for messages. CORRUPT, or UNSUPPORTED for what is no image (an artifact, schema 1). */
MsbOciManifest *msb_oci_manifest_parse(const char *what, const char *text, gsize length, GError **error);
void msb_oci_manifest_free(MsbOciManifest *manifest);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbOciManifest, msb_oci_manifest_free)

typedef struct {
    char *os, *architecture;   /* "" if missing */
    char **diff_ids;           /* valid digests, lowest first */
    char **env, **entrypoint, **cmd;  /* NULL if missing */
    char *workdir, *user;      /* NULL if missing or empty */
} MsbOciConfig;

MsbOciConfig *msb_oci_config_parse(const char *what, const char *text, gsize length, GError **error);
void msb_oci_config_free(MsbOciConfig *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbOciConfig, msb_oci_config_free)

/* One image of docker-archive's manifest.json. */
typedef struct {
    char *config;              /* name in the archive */
    char **layers;             /* names in the archive, lowest first */
    char **tags;               /* may be empty */
} MsbDockerImage;

/* Element-type MsbDockerImage, at least one. */
GPtrArray *msb_docker_manifest_parse(const char *text, gsize length, GError **error);
void msb_docker_image_free(MsbDockerImage *image);

/* An OCI manifest of these (transfer full); always the same bytes for the same image. */
char *msb_oci_manifest_format(const MsbOciDescriptor *config, const GPtrArray *layers);

/* The machine this runs on, as OCI names it: "amd64", "arm64", ... */
const char *msb_oci_host_architecture(void);
gboolean msb_oci_platform_matches(const char *os, const char *architecture);

G_END_DECLS

#endif
