/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * BOOT, BOOT_FAILED and READY.  A decoder fills the caller's zeroed structure
 * field by field in wire order; on any error it clears what it had and leaves
 * the structure zeroed.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mp-msg.h"

/* The least a mount takes on the wire: u8, 3 x u32, u64 and four empty strings. */
#define MOUNT_MIN_SIZE (1 + 4 + 4 + 8 + 4 + 4 * 4)

static void
mount_put(struct mp_enc *e, const struct mp_mount *m)
{
    mp_put_u8(e, m->kind);
    mp_put_u32(e, m->flags);
    mp_put_str(e, m->source);
    mp_put_str(e, m->target);
    mp_put_str(e, m->fstype);
    mp_put_str(e, m->name);
    mp_put_u64(e, m->size);
    mp_put_u32(e, m->mode);
    mp_put_u32(e, m->partition);
}

static void
mount_get(struct mp_dec *d, struct mp_mount *m)
{
    m->kind = mp_get_u8(d);
    m->flags = mp_get_u32(d);
    m->source = mp_get_str(d);
    m->target = mp_get_str(d);
    m->fstype = mp_get_str(d);
    m->name = mp_get_str(d);
    m->size = mp_get_u64(d);
    m->mode = mp_get_u32(d);
    m->partition = mp_get_u32(d);
}

static void
mount_clear(struct mp_mount *m)
{
    free(m->source);
    free(m->target);
    free(m->fstype);
    free(m->name);
}

int
mp_boot_encode(struct mp_enc *e, const struct mp_boot *m)
{
    mp_enc_begin(e, MP_BOOT, 0, 0);
    mp_put_u8(e, m->root_kind);
    mp_put_u32(e, m->n_layers);
    mp_put_str(e, m->root_source);
    mp_put_str(e, m->root_fstype);
    mp_put_u32(e, m->root_partition);
    mp_put_str(e, m->modules_source);
    mp_put_u32(e, m->modules_partition);
    mp_put_str(e, m->kernel_version);
    mp_put_str(e, m->hostname);
    mp_put_u32(e, m->n_mounts);
    for (unsigned i = 0; i < m->n_mounts; i++)
        mount_put(e, &m->mounts[i]);
    mp_put_strv(e, (const char *const *)m->hosts);
    mp_put_strv(e, (const char *const *)m->env);
    mp_put_str(e, m->user);
    mp_put_str(e, m->workdir);
    mp_put_str(e, m->shell);
    mp_put_u64(e, m->realtime_ns);
    mp_put_u32(e, m->flags);
    return mp_enc_end(e);
}

static void
mounts_get(struct mp_dec *d, struct mp_boot *m)
{
    uint32_t n = mp_get_u32(d);

    if (d->error || n == 0)
        return;
    if (n > MP_MOUNTS_MAX || n > d->left / MOUNT_MIN_SIZE) {
        d->error = -EPROTO;
        return;
    }
    m->mounts = calloc(n, sizeof(*m->mounts));
    if (!m->mounts) {
        d->error = -ENOMEM;
        return;
    }
    m->n_mounts = n;
    for (uint32_t i = 0; i < n; i++)
        mount_get(d, &m->mounts[i]);
}

int
mp_boot_decode(struct mp_boot *m, const uint8_t *p, size_t n)
{
    struct mp_dec d;
    int r;

    mp_dec_init(&d, p, n);
    m->root_kind = mp_get_u8(&d);
    m->n_layers = mp_get_u32(&d);
    m->root_source = mp_get_str(&d);
    m->root_fstype = mp_get_str(&d);
    m->root_partition = mp_get_u32(&d);
    m->modules_source = mp_get_str(&d);
    m->modules_partition = mp_get_u32(&d);
    m->kernel_version = mp_get_str(&d);
    m->hostname = mp_get_str(&d);
    mounts_get(&d, m);
    m->hosts = mp_get_strv(&d, MP_STRV_MAX);
    m->env = mp_get_strv(&d, MP_STRV_MAX);
    m->user = mp_get_str(&d);
    m->workdir = mp_get_str(&d);
    m->shell = mp_get_str(&d);
    m->realtime_ns = mp_get_u64(&d);
    m->flags = mp_get_u32(&d);
    r = mp_dec_end(&d);
    if (r < 0)
        mp_boot_clear(m);
    return r;
}

void
mp_boot_clear(struct mp_boot *m)
{
    free(m->root_source);
    free(m->root_fstype);
    free(m->modules_source);
    free(m->kernel_version);
    free(m->hostname);
    for (unsigned i = 0; i < m->n_mounts; i++)
        mount_clear(&m->mounts[i]);
    free(m->mounts);
    mp_strv_free(m->hosts);
    mp_strv_free(m->env);
    free(m->user);
    free(m->workdir);
    free(m->shell);
    memset(m, 0, sizeof(*m));
}

int
mp_boot_failed_encode(struct mp_enc *e, const struct mp_boot_failed *m)
{
    mp_enc_begin(e, MP_BOOT_FAILED, 0, 0);
    mp_put_u8(e, m->stage);
    mp_put_u32(e, m->error);
    mp_put_str(e, m->object);
    mp_put_str(e, m->message);
    return mp_enc_end(e);
}

int
mp_boot_failed_decode(struct mp_boot_failed *m, const uint8_t *p, size_t n)
{
    struct mp_dec d;
    int r;

    mp_dec_init(&d, p, n);
    m->stage = mp_get_u8(&d);
    m->error = mp_get_u32(&d);
    m->object = mp_get_str(&d);
    m->message = mp_get_str(&d);
    r = mp_dec_end(&d);
    if (r < 0)
        mp_boot_failed_clear(m);
    return r;
}

void
mp_boot_failed_clear(struct mp_boot_failed *m)
{
    free(m->object);
    free(m->message);
    memset(m, 0, sizeof(*m));
}

int
mp_ready_encode(struct mp_enc *e, const struct mp_ready *m)
{
    mp_enc_begin(e, MP_READY, 0, 0);
    mp_put_u64(e, m->started_ns);
    mp_put_u64(e, m->port_ns);
    mp_put_u64(e, m->boot_ns);
    mp_put_u64(e, m->root_ns);
    mp_put_u64(e, m->ready_ns);
    mp_put_str(e, m->agent_version);
    return mp_enc_end(e);
}

int
mp_ready_decode(struct mp_ready *m, const uint8_t *p, size_t n)
{
    struct mp_dec d;
    int r;

    mp_dec_init(&d, p, n);
    m->started_ns = mp_get_u64(&d);
    m->port_ns = mp_get_u64(&d);
    m->boot_ns = mp_get_u64(&d);
    m->root_ns = mp_get_u64(&d);
    m->ready_ns = mp_get_u64(&d);
    m->agent_version = mp_get_str(&d);
    r = mp_dec_end(&d);
    if (r < 0)
        mp_ready_clear(m);
    return r;
}

void
mp_ready_clear(struct mp_ready *m)
{
    free(m->agent_version);
    memset(m, 0, sizeof(*m));
}

const char *
mp_stage_name(uint8_t stage)
{
    static const char *const names[] = {
        [MP_STAGE_MODULES] = "modules",   [MP_STAGE_DEVICES] = "devices",   [MP_STAGE_ROOT] = "root",
        [MP_STAGE_MOUNT] = "mount",       [MP_STAGE_PIVOT] = "pivot",       [MP_STAGE_SYSTEM] = "system",
        [MP_STAGE_PROTOCOL] = "protocol",
    };

    return stage < MB_ARRAY_SIZE(names) && names[stage] ? names[stage] : "unknown";
}
