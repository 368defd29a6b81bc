/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames and messages from a hostile peer.  The input is a byte stream: the
 * reader cuts it, each frame is decoded as what its type says, and what decodes
 * must encode to the same bytes.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "mp-msg.h"

static void
same(const struct mp_enc *e, const uint8_t *p, size_t n)
{
    if (e->len != n + MP_FRAME_HEADER_SIZE || memcmp(e->buf + MP_FRAME_HEADER_SIZE, p, n) != 0)
        abort();
}

#define ROUND_TRIP(TYPE, ENCODE)                             \
    do {                                                     \
        struct TYPE m_ = { 0 };                              \
                                                             \
        if (TYPE##_decode(&m_, p, h->length) == 0) {         \
            if ((ENCODE) < 0)                                \
                abort();                                     \
            same(&e, p, h->length);                          \
            TYPE##_clear(&m_);                               \
        }                                                    \
    } while (0)

static void
frame(const struct mp_header *h, const uint8_t *p)
{
    struct mp_enc e = { 0 };
    struct mp_ctl_session *list;
    unsigned count;
    bool signalled;
    uint32_t value;
    uint8_t stream;

    switch (h->type) {
    case MP_BOOT:
        ROUND_TRIP(mp_boot, mp_boot_encode(&e, &m_));
        break;
    case MP_BOOT_FAILED:
        ROUND_TRIP(mp_boot_failed, mp_boot_failed_encode(&e, &m_));
        break;
    case MP_READY:
        ROUND_TRIP(mp_ready, mp_ready_encode(&e, &m_));
        break;
    case MP_EXEC:
        ROUND_TRIP(mp_exec, mp_exec_encode(&e, h->session, &m_));
        break;
    case MP_EXEC_FAILED:
        ROUND_TRIP(mp_exec_failed, mp_exec_failed_encode(&e, h->session, &m_));
        break;
    case MP_CTL_WELCOME:
        ROUND_TRIP(mp_ctl_status, mp_ctl_status_encode(&e, &m_));
        break;
    case MP_CTL_SESSION_LIST:
        if (mp_ctl_session_list_decode(&list, &count, p, h->length) == 0) {
            if (mp_ctl_session_list_encode(&e, list, count) < 0)
                abort();
            same(&e, p, h->length);
            mp_ctl_session_list_free(list, count);
        }
        break;
    case MP_EXITED:
        if (mp_exited_decode(p, h->length, &signalled, &value) == 0 && h->length != 5)
            abort();
        break;
    case MP_CREDIT:
        if (mp_credit_decode(p, h->length, &stream, &value) == 0 && h->length != 5)
            abort();
        break;
    }
    mp_enc_clear(&e);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mp_reader r = { 0 };
    struct mp_header h;
    const uint8_t *payload;
    int more = 1;

    while (size > 0 && more >= 0) {
        size_t space;
        uint8_t *to = mp_reader_space(&r, &space);

        if (!to)
            abort();
        space = MB_MIN(space, size);
        memcpy(to, data, space);
        mp_reader_added(&r, space);
        data += space;
        size -= space;
        while ((more = mp_reader_next(&r, &h, &payload)) == 1)
            frame(&h, payload);
    }
    mp_reader_clear(&r);
    return 0;
}
