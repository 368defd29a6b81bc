/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Platforms as images name them: OS/ARCHITECTURE[/VARIANT] (OCI image index
 * specification, "platform").  Internal to libmsb.
 */
#ifndef MSB_PLATFORM_H
#define MSB_PLATFORM_H

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
    char *os, *architecture;
    char *variant;              /* NULL = any that the architecture's oldest usual machine runs */
} MsbPlatform;

/* From text, NULL = this host's. Other names of architectures (x86_64, aarch64) become the usual ones. INVALID. */
MsbPlatform *msb_platform_parse(const char *text, GError **error);
void msb_platform_free(MsbPlatform *platform);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbPlatform, msb_platform_free)
char *msb_platform_to_string(const MsbPlatform *platform);

#define MSB_PLATFORM_NO_MATCH G_MAXUINT
/* How well an image for os/architecture/variant (any may be NULL) suits: 0 best, more worse, or NO_MATCH. An image for
 * an older variant suits, one for a newer does not. */
guint msb_platform_rank(const MsbPlatform *platform, const char *os, const char *architecture, const char *variant);

G_END_DECLS

#endif
