/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The messages of a session: EXEC, EXEC_FAILED, EXITED, CREDIT, and frames whose
 * payload is bytes as they are.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mp-msg.h"

int
mp_exec_encode(struct mp_enc *e, uint32_t session, const struct mp_exec *m)
{
    mp_enc_begin(e, MP_EXEC, session, 0);
    mp_put_strv(e, (const char *const *)m->argv);
    mp_put_strv(e, (const char *const *)m->env);
    mp_put_str(e, m->cwd);
    mp_put_str(e, m->user);
    mp_put_u8(e, m->tty);
    mp_put_u16(e, m->rows);
    mp_put_u16(e, m->cols);
    mp_put_u8(e, m->no_stdin);
    return mp_enc_end(e);
}

int
mp_exec_decode(struct mp_exec *m, const uint8_t *p, size_t n)
{
    struct mp_dec d;
    int r;

    mp_dec_init(&d, p, n);
    m->argv = mp_get_strv(&d, MP_STRV_MAX);
    m->env = mp_get_strv(&d, MP_STRV_MAX);
    m->cwd = mp_get_str(&d);
    m->user = mp_get_str(&d);
    m->tty = mp_get_u8(&d);
    m->rows = mp_get_u16(&d);
    m->cols = mp_get_u16(&d);
    m->no_stdin = mp_get_u8(&d);
    r = mp_dec_end(&d);
    if (r < 0)
        mp_exec_clear(m);
    return r;
}

void
mp_exec_clear(struct mp_exec *m)
{
    mp_strv_free(m->argv);
    mp_strv_free(m->env);
    free(m->cwd);
    free(m->user);
    memset(m, 0, sizeof(*m));
}

int
mp_exec_failed_encode(struct mp_enc *e, uint32_t session, const struct mp_exec_failed *m)
{
    mp_enc_begin(e, MP_EXEC_FAILED, session, 0);
    mp_put_u8(e, m->kind);
    mp_put_u32(e, m->error);
    mp_put_str(e, m->object);
    return mp_enc_end(e);
}

int
mp_exec_failed_decode(struct mp_exec_failed *m, const uint8_t *p, size_t n)
{
    struct mp_dec d;
    int r;

    mp_dec_init(&d, p, n);
    m->kind = mp_get_u8(&d);
    m->error = mp_get_u32(&d);
    m->object = mp_get_str(&d);
    r = mp_dec_end(&d);
    if (r < 0)
        mp_exec_failed_clear(m);
    return r;
}

void
mp_exec_failed_clear(struct mp_exec_failed *m)
{
    free(m->object);
    memset(m, 0, sizeof(*m));
}

int
mp_raw_encode(struct mp_enc *e, uint16_t type, uint32_t session, const void *p, size_t n)
{
    mp_enc_begin(e, type, session, 0);
    mp_put_raw(e, p, n);
    return mp_enc_end(e);
}

/* EXITED and CREDIT are both a byte and a number. */
static int
pair_encode(struct mp_enc *e, uint16_t type, uint32_t session, uint8_t byte, uint32_t number)
{
    mp_enc_begin(e, type, session, 0);
    mp_put_u8(e, byte);
    mp_put_u32(e, number);
    return mp_enc_end(e);
}

static int
pair_decode(const uint8_t *p, size_t n, uint8_t *byte, uint32_t *number)
{
    struct mp_dec d;

    mp_dec_init(&d, p, n);
    *byte = mp_get_u8(&d);
    *number = mp_get_u32(&d);
    return mp_dec_end(&d);
}

int
mp_exited_encode(struct mp_enc *e, uint32_t session, bool signalled, uint32_t code)
{
    return pair_encode(e, MP_EXITED, session, signalled, code);
}

int
mp_exited_decode(const uint8_t *p, size_t n, bool *signalled, uint32_t *code)
{
    uint8_t byte;
    int r = pair_decode(p, n, &byte, code);

    *signalled = byte != 0;
    return r;
}

int
mp_credit_encode(struct mp_enc *e, uint32_t session, uint8_t stream, uint32_t bytes)
{
    return pair_encode(e, MP_CREDIT, session, stream, bytes);
}

int
mp_credit_decode(const uint8_t *p, size_t n, uint8_t *stream, uint32_t *bytes)
{
    return pair_decode(p, n, stream, bytes);
}
