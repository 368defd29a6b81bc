/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the supervisor tells its clients on the control socket: CTL_WELCOME and
 * CTL_SESSION_LIST.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mp-msg.h"

/* The least a session takes on the wire: 2 x u32, 2 x u8, u64 and an empty list. */
#define SESSION_MIN_SIZE (4 + 1 + 1 + 4 + 8 + 4)

int
mp_ctl_status_encode(struct mp_enc *e, const struct mp_ctl_status *m)
{
    mp_enc_begin(e, MP_CTL_WELCOME, 0, 0);
    mp_put_u32(e, m->version);
    mp_put_u8(e, m->state);
    mp_put_u32(e, m->supervisor_pid);
    mp_put_u64(e, m->started_ns);
    mp_put_str(e, m->message);
    mp_put_strv(e, (const char *const *)m->timings);
    return mp_enc_end(e);
}

int
mp_ctl_status_decode(struct mp_ctl_status *m, const uint8_t *p, size_t n)
{
    struct mp_dec d;
    int r;

    mp_dec_init(&d, p, n);
    m->version = mp_get_u32(&d);
    m->state = mp_get_u8(&d);
    m->supervisor_pid = mp_get_u32(&d);
    m->started_ns = mp_get_u64(&d);
    m->message = mp_get_str(&d);
    m->timings = mp_get_strv(&d, MP_STRV_MAX);
    r = mp_dec_end(&d);
    if (r < 0)
        mp_ctl_status_clear(m);
    return r;
}

void
mp_ctl_status_clear(struct mp_ctl_status *m)
{
    free(m->message);
    mp_strv_free(m->timings);
    memset(m, 0, sizeof(*m));
}

int
mp_ctl_session_list_encode(struct mp_enc *e, const struct mp_ctl_session *list, unsigned count)
{
    mp_enc_begin(e, MP_CTL_SESSION_LIST, 0, 0);
    mp_put_u32(e, count);
    for (unsigned i = 0; i < count; i++) {
        mp_put_u32(e, list[i].id);
        mp_put_u8(e, list[i].attached);
        mp_put_u8(e, list[i].tty);
        mp_put_u32(e, list[i].pid);
        mp_put_u64(e, list[i].started_ns);
        mp_put_strv(e, (const char *const *)list[i].argv);
    }
    return mp_enc_end(e);
}

static void
session_get(struct mp_dec *d, struct mp_ctl_session *s)
{
    s->id = mp_get_u32(d);
    s->attached = mp_get_u8(d);
    s->tty = mp_get_u8(d);
    s->pid = mp_get_u32(d);
    s->started_ns = mp_get_u64(d);
    s->argv = mp_get_strv(d, MP_STRV_MAX);
}

int
mp_ctl_session_list_decode(struct mp_ctl_session **list, unsigned *count, const uint8_t *p, size_t n)
{
    struct mp_ctl_session *v;
    struct mp_dec d;
    uint32_t k;
    int r;

    *list = NULL;
    *count = 0;
    mp_dec_init(&d, p, n);
    k = mp_get_u32(&d);
    if (k > MP_SESSIONS_MAX || k > d.left / SESSION_MIN_SIZE)
        return -EPROTO;
    v = calloc((size_t)k + 1, sizeof(*v));
    if (!v)
        return -ENOMEM;
    for (uint32_t i = 0; i < k; i++)
        session_get(&d, &v[i]);
    r = mp_dec_end(&d);
    if (r < 0) {
        mp_ctl_session_list_free(v, k);
        return r;
    }
    *list = v;
    *count = k;
    return 0;
}

void
mp_ctl_session_list_free(struct mp_ctl_session *list, unsigned count)
{
    for (unsigned i = 0; list && i < count; i++)
        mp_strv_free(list[i].argv);
    free(list);
}
