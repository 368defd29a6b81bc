/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What clients say of disks: one has another size, or is to have. */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "mb-cleanup.h"
#include "msb-error.h"
#include "sv-relay-private.h"

gboolean
sv_client_disk_changed(SvClient *client, const guint8 *p, gsize n, GError **error)
{
    const SvRelay *relay = client->relay;
    mb_autofree char *id = NULL;
    struct mp_dec d;

    mp_dec_init(&d, p, n);
    id = mp_get_str(&d);
    if (mp_dec_end(&d) < 0)
        return msb_error_set(error, MSB_ERROR_CORRUPT, "the name of a disk that cannot be decoded");
    if (relay->state != MP_CTL_RUNNING)
        sv_client_send_error(client, 0, ESHUTDOWN, "it is not running");
    else if (!relay->funcs->disk_changed || !relay->funcs->disk_changed(id, relay->data))
        sv_client_send_error(client, 0, ENODEV, "it has no disk '%s'", id);
    else
        sv_client_send_ok(client, 0, 0, FALSE);
    return TRUE;
}

static gboolean
is_size(const char *size)
{
    const char *digits = size ? size + (*size == '+') : "";

    return digits[0] && digits[strspn(digits, "0123456789")] == '\0' && strlen(digits) <= 20;
}

gboolean
sv_client_disk_grow(SvClient *client, const guint8 *p, gsize n, GError **error)
{
    const SvRelay *relay = client->relay;
    mb_autofree char *id = NULL, *size = NULL;
    struct mp_dec d;
    int r;

    mp_dec_init(&d, p, n);
    id = mp_get_str(&d);
    size = mp_get_str(&d);
    if (mp_dec_end(&d) < 0 || !is_size(size))
        return msb_error_set(error, MSB_ERROR_CORRUPT, "the size of a disk that cannot be decoded");
    if (relay->state != MP_CTL_RUNNING) {
        sv_client_send_error(client, 0, ESHUTDOWN, "it is not running");
        return TRUE;
    }
    r = client->growing ? -EBUSY : relay->funcs->disk_grow ? relay->funcs->disk_grow(id, size, relay->data) : -ENODEV;
    if (r == 0)
        client->growing = g_strdup(id);
    else if (r == -EBUSY)
        sv_client_send_error(client, 0, EBUSY,
                             "the disk is being made larger already, or its back-end started: ask again");
    else
        sv_client_send_error(client, 0, -r, "it has no disk '%s' that it writes", id);
    return TRUE;
}

void
sv_relay_disk_resized(SvRelay *relay, const char *id, const char *reason)
{
    for (guint i = 0; i < relay->clients->len; i++) {
        SvClient *client = g_ptr_array_index(relay->clients, i);

        if (g_strcmp0(client->growing, id) != 0)
            continue;
        g_clear_pointer(&client->growing, g_free);
        if (reason)
            sv_client_send_error(client, 0, EINVAL, "%s", reason);
        else
            sv_client_send_ok(client, 0, 0, FALSE);
    }
}
