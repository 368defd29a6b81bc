/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The documents of images, and references.  The first byte chooses: 'm'
 * manifest or index, 'c' configuration, 'd' docker-archive's manifest.json, 'r'
 * a reference, whose full form must be its own full form.
 */
#include <config.h>

#include "fuzz.h"
#include "msb-image.h"
#include "msb-oci.h"

static void
fuzz_reference(const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *full = msb_reference_normalize(text, &error);
    g_autofree char *again = NULL;

    g_assert_true((full != NULL) != (error != NULL));
    if (!full)
        return;
    again = msb_reference_normalize(full, &error);
    g_assert_cmpstr(full, ==, again);
}

static void
fuzz_manifest(const char *text, gsize size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(MsbOciManifest) manifest = msb_oci_manifest_parse("fuzz", text, size, &error);

    g_assert_true((manifest != NULL) != (error != NULL));
    g_assert_true(!manifest || manifest->manifests || (manifest->config && manifest->layers));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = size ? g_strndup((const char *)data + 1, size - 1) : g_strdup("");
    g_autoptr(GError) error = NULL;
    gsize length = size ? size - 1 : 0;

    switch (size ? data[0] : 0) {
    case 'm':
        fuzz_manifest((const char *)data + 1, length);
        break;
    case 'c': {
        g_autoptr(MsbOciConfig) config = msb_oci_config_parse("fuzz", (const char *)data + 1, length, &error);

        g_assert_true((config != NULL) != (error != NULL));
        break;
    }
    case 'd': {
        g_autoptr(GPtrArray) images = msb_docker_manifest_parse((const char *)data + 1, length, &error);

        g_assert_true((images != NULL) != (error != NULL));
        break;
    }
    case 'r':
        fuzz_reference(text);
        break;
    default:
        break;
    }
    return 0;
}
