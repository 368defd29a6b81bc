/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a reference to the manifest and the configuration of an image, through
 * indexes, by platform.  Internal to libmsb.
 */
#ifndef MSB_RESOLVE_H
#define MSB_RESOLVE_H

#include "msb-mirrors.h"
#include "msb-oci.h"
#include "msb-platform.h"
#include "msb-reference.h"

G_BEGIN_DECLS

typedef struct {
    GBytes *manifest_bytes;
    char *manifest_digest;
    MsbOciManifest *manifest;
    GBytes *config_bytes;
    MsbOciConfig *config;
} MsbResolved;

/* Of an index, the entry that suits the platform best; entries that do not say their platform are looked into, those
 * of nested indexes too. Every document is verified against its digest. UNSUPPORTED says what there is instead. What is
 * in resolved is the caller's, also after a failure. */
gboolean msb_resolve(MsbMirrors *mirrors, const MsbReference *reference, const MsbPlatform *platform,
                     MsbResolved *resolved, GCancellable *cancellable, GError **error);
void msb_resolved_clear(MsbResolved *resolved);

G_END_DECLS

#endif
