/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the user says in $MSB_HOME/config.json about images and registries
 * (msb(1), CONFIGURATION).  Internal to libmsb.
 */
#ifndef MSB_SETTINGS_H
#define MSB_SETTINGS_H

#include "msb-paths.h"

G_BEGIN_DECLS

/* Where an archive stops being taken for an honest one. */
typedef struct {
    guint64 layer_bytes;        /* of one layer without its compression, and converted */
    guint64 image_bytes;        /* of all layers of an image together */
    guint64 layer_entries;
    guint layer_ratio;          /* bytes out per byte in, from a GiB on (layer_ratio_after) */
    guint64 layer_ratio_after;  /* bytes out */
} MsbLimits;

/* One registry. */
typedef struct {
    char **mirrors;             /* addresses, asked in this order before the registry itself; never NULL */
    char *ca_certs;             /* PEM file, NULL = what all registries have */
    gboolean insecure;          /* plain HTTP */
} MsbHostSettings;

typedef struct {
    MsbLimits limits;
    guint stall_seconds;        /* a transfer slower than 1 KiB/s for that long has failed */
    guint connect_seconds;
    guint retries;              /* tries after the first */
    guint parallel;             /* blobs at a time */
    char *ca_certs;             /* of all registries, NULL = the system's */
    GHashTable *hosts;          /* name as in references to MsbHostSettings */
} MsbSettings;

/* The settings, defaults for what is not said. INVALID names the file and the member that is wrong. */
MsbSettings *msb_settings_load(MsbHome *home, GError **error);
void msb_settings_free(MsbSettings *settings);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbSettings, msb_settings_free)

/* Of one registry; its defaults if nothing is said. Owned by the settings. */
const MsbHostSettings *msb_settings_get_host(const MsbSettings *settings, const char *host);

G_END_DECLS

#endif
