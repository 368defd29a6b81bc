/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a mount argument that was begun may go on; see msb_mount_parse() for what
 * such arguments are.
 */
#include <config.h>

#include <string.h>

#include "msb-config-private.h"

/* Where the options of text begin; NULL if it has none. */
static const char *
find_options(MsbMountFlag flag, const char *text)
{
    const char *colon, *target = text;

    if (flag == MSB_MOUNT_FLAG_TMPFS) {
        /* Behind the path or the size. */
        colon = strrchr(text, ':');
    } else {
        target = strstr(text, ":/");
        colon = target ? strchr(target + 1, ':') : NULL;
    }
    return colon ? colon + 1 : NULL;
}

/* Is the option, or one that it cannot stand beside, among the first n of items? */
static gboolean
is_given(MsbMountFlag flag, const MsbMountOption *option, char **items, guint n)
{
    MsbMountOption other;
    guint i, k;

    for (i = 0; i < n; i++) {
        gsize len = strcspn(items[i], "=");

        for (k = 0; msb_mount_nth_option(flag, k, &other); k++) {
            if (other.group == option->group && strlen(other.name) == len && strncmp(other.name, items[i], len) == 0)
                return TRUE;
        }
    }
    return FALSE;
}

/* Add head and what item, the beginning of option, can become. */
static void
add_candidates(GStrvBuilder *builder, const char *head, const MsbMountOption *option, const char *item)
{
    const char *equals = strchr(item, '=');
    guint i;

    if (!equals) {
        if (g_str_has_prefix(option->name, item)) {
            g_autofree char *whole = g_strconcat(head, option->name, option->has_value ? "=" : "", NULL);

            g_strv_builder_add(builder, whole);
        }
        return;
    }
    if (strlen(option->name) != (gsize)(equals - item) || strncmp(option->name, item, (gsize)(equals - item)) != 0)
        return;
    for (i = 0; option->words && option->words[i]; i++) {
        g_autofree char *whole = g_strconcat(head, option->name, "=", option->words[i], NULL);

        if (g_str_has_prefix(option->words[i], equals + 1))
            g_strv_builder_add(builder, whole);
    }
}

GStrv
msb_mount_complete(MsbMountFlag flag, const char *text)
{
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    const char *begin = find_options(flag, text), *comma;
    g_autofree char *head = NULL;
    g_auto(GStrv) items = NULL;
    MsbMountOption option;
    guint i, n;

    if (!begin)
        return NULL;
    comma = strrchr(begin, ',');
    head = g_strndup(text, (gsize)((comma ? comma + 1 : begin) - text));
    items = g_strsplit(begin, ",", -1);
    n = g_strv_length(items);
    for (i = 0; msb_mount_nth_option(flag, i, &option); i++) {
        if (!is_given(flag, &option, items, n > 0 ? n - 1 : 0))
            add_candidates(builder, head, &option, n > 0 ? items[n - 1] : "");
    }
    return g_strv_builder_end(builder);
}
