/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Platforms: see the header. */
#include <config.h>

#include <string.h>

#include "msb-error.h"
#include "msb-oci.h"
#include "msb-platform.h"

#define MAX_VARIANT 999

static const struct {
    const char *name, *usual;
} aliases[] = {
    {"x86_64", "amd64"}, {"x86-64", "amd64"}, {"aarch64", "arm64"}, {"armhf", "arm"}, {"i386", "386"},
};

/* What an image without a variant runs on. */
static const struct {
    const char *architecture, *variant;
} usual_variants[] = {
    {"amd64", "v1"}, {"arm64", "v8"}, {"arm", "v7"},
};

static const char *
usual_name(const char *architecture)
{
    for (guint i = 0; i < G_N_ELEMENTS(aliases); i++) {
        if (strcmp(aliases[i].name, architecture) == 0)
            return aliases[i].usual;
    }
    return architecture;
}

static const char *
usual_variant(const char *architecture, const char *variant)
{
    for (guint i = 0; !variant && i < G_N_ELEMENTS(usual_variants); i++) {
        if (strcmp(usual_variants[i].architecture, architecture) == 0)
            return usual_variants[i].variant;
    }
    return variant ? variant : "";
}

MsbPlatform *
msb_platform_parse(const char *text, GError **error)
{
    g_autoptr(MsbPlatform) platform = g_new0(MsbPlatform, 1);
    g_auto(GStrv) parts = g_strsplit(text ? text : "linux", "/", 4);
    guint n = g_strv_length(parts);

    if (!text) {
        platform->os = g_strdup("linux");
        platform->architecture = g_strdup(msb_oci_host_architecture());
        return g_steal_pointer(&platform);
    }
    if (n < 2 || n > 3 || !*parts[0] || !*parts[1] || (n == 3 && !*parts[2])) {
        msb_error_set(error, MSB_ERROR_INVALID, "platform '%s' is not OS/ARCHITECTURE[/VARIANT], as in linux/arm64",
                      text);
        return NULL;
    }
    platform->os = g_strdup(parts[0]);
    platform->architecture = g_strdup(usual_name(parts[1]));
    platform->variant = g_strdup(parts[2]);
    return g_steal_pointer(&platform);
}

void
msb_platform_free(MsbPlatform *platform)
{
    g_free(platform->os);
    g_free(platform->architecture);
    g_free(platform->variant);
    g_free(platform);
}

char *
msb_platform_to_string(const MsbPlatform *platform)
{
    return g_strconcat(platform->os, "/", platform->architecture, platform->variant ? "/" : NULL, platform->variant,
                       NULL);
}

/* "v7" is 7, 0 = no number. */
static guint
variant_number(const char *variant)
{
    guint64 number = 0;

    return *variant == 'v' && g_ascii_string_to_unsigned(variant + 1, 10, 1, MAX_VARIANT, &number, NULL) ? (guint)number
                                                                                                         : 0;
}

guint
msb_platform_rank(const MsbPlatform *platform, const char *os, const char *architecture, const char *variant)
{
    const char *wanted, *offered;
    guint most, has;

    if (g_strcmp0(os, platform->os) != 0 || !architecture ||
        strcmp(usual_name(architecture), platform->architecture) != 0)
        return MSB_PLATFORM_NO_MATCH;
    wanted = usual_variant(platform->architecture, platform->variant);
    offered = usual_variant(platform->architecture, variant && *variant ? variant : NULL);
    if (strcmp(wanted, offered) == 0)
        return 0;
    most = variant_number(wanted);
    has = variant_number(offered);
    return most && has && has < most ? most - has : MSB_PLATFORM_NO_MATCH;
}
