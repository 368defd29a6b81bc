/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The configuration's two languages.  The first byte chooses: '0' to '5' a
 * mount argument for the flag of that number, anything else the JSON form.
 * What is accepted must survive its own way out and in again unchanged.
 */
#include <config.h>

#include "fuzz.h"
#include "msb-config.h"
#include "msb-json.h"

static void
check_round_trip(MsbConfig *config)
{
    g_autoptr(JsonNode) out = msb_config_to_json(config), again = NULL;
    g_autofree char *first = msb_json_to_string(out, TRUE), *second = NULL;
    g_autoptr(MsbConfig) read = NULL;
    g_autoptr(GError) error = NULL;

    read = msb_config_from_json(out, &error);
    g_assert_no_error(error);
    again = msb_config_to_json(read);
    second = msb_json_to_string(again, TRUE);
    g_assert_cmpstr(first, ==, second);
    g_assert_cmpint(msb_config_validate(config, NULL), ==, msb_config_validate(read, NULL));
}

static void
try_mount(MsbMountFlag flag, const char *text)
{
    g_autoptr(GError) error = NULL;
    MsbMount *mount = msb_mount_parse(flag, text, &error);
    g_autoptr(MsbConfig) config = NULL;

    g_assert_true((mount == NULL) == (error != NULL));
    if (!mount)
        return;
    config = msb_config_new();
    msb_config_set_name(config, "fuzz");
    msb_config_set_image(config, "fuzz");
    msb_config_add_mount(config, mount);
    /* paths on the command line are bytes, JSON is text */
    if (g_utf8_validate(text, -1, NULL))
        check_round_trip(config);
}

static void
try_json(const char *text, size_t len)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonNode) node = msb_json_parse("input", text, len, &error);
    g_autoptr(MsbConfig) config = NULL;

    g_assert_true((node == NULL) == (error != NULL));
    if (!node)
        return;
    config = msb_config_from_json(node, &error);
    g_assert_true((config == NULL) == (error != NULL));
    if (config)
        check_round_trip(config);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = NULL;

    if (size == 0)
        return 0;
    text = g_strndup((const char *)data + 1, size - 1);
    if (data[0] >= '0' && data[0] <= '0' + MSB_MOUNT_FLAG_TMPFS)
        try_mount((MsbMountFlag)(data[0] - '0'), text);
    else
        try_json(text, size - 1);
    return 0;
}
