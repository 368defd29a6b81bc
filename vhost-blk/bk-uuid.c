/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * UUIDs of version 5 and the SHA-1 they are made with.  It runs a few times at
 * start-up over some kilobytes of names, so clarity comes before speed.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "bk-uuid.h"

static uint32_t
rotl(uint32_t v, unsigned n)
{
    return v << n | v >> (32 - n);
}

static void
sha1_block(uint32_t h[5], const uint8_t *p)
{
    uint32_t w[80];
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];

    for (unsigned i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (unsigned i = 16; i < 80; i++)
        w[i] = rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (unsigned i = 0; i < 80; i++) {
        uint32_t f, k, t;

        if (i < 20) {
            f = (b & c) | (~b & d);
            k = 0x5a827999;
        } else if (i < 40) {
            f = b ^ c ^ d;
            k = 0x6ed9eba1;
        } else if (i < 60) {
            f = (b & c) | (b & d) | (c & d);
            k = 0x8f1bbcdc;
        } else {
            f = b ^ c ^ d;
            k = 0xca62c1d6;
        }
        t = rotl(a, 5) + f + e + k + w[i];
        e = d;
        d = c;
        c = rotl(b, 30);
        b = a;
        a = t;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

void
bk_sha1_init(struct bk_sha1 *ctx)
{
    static const uint32_t start[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};

    memset(ctx, 0, sizeof(*ctx));
    memcpy(ctx->h, start, sizeof(start));
}

void
bk_sha1_add(struct bk_sha1 *ctx, const void *data, size_t len)
{
    const uint8_t *p = data;

    while (len > 0) {
        size_t used = ctx->len % 64;
        size_t n = MB_MIN(len, 64 - used);

        memcpy(ctx->block + used, p, n);
        ctx->len += n;
        p += n;
        len -= n;
        if (used + n == 64)
            sha1_block(ctx->h, ctx->block);
    }
}

void
bk_sha1_end(struct bk_sha1 *ctx, uint8_t digest[20])
{
    static const uint8_t pad[64] = {0x80};
    uint64_t bits = ctx->len * 8;
    uint8_t tail[8];

    for (unsigned i = 0; i < 8; i++)
        tail[i] = (uint8_t)(bits >> (56 - 8 * i));
    bk_sha1_add(ctx, pad, 1 + (119 - ctx->len % 64) % 64);
    bk_sha1_add(ctx, tail, sizeof(tail));
    for (unsigned i = 0; i < 20; i++)
        digest[i] = (uint8_t)(ctx->h[i / 4] >> (24 - 8 * (i % 4)));
}

struct bk_uuid
bk_uuid_v5(const struct bk_uuid *ns, const void *name, size_t len)
{
    struct bk_uuid u;
    struct bk_sha1 ctx;
    uint8_t digest[20];

    bk_sha1_init(&ctx);
    bk_sha1_add(&ctx, ns->b, sizeof(ns->b));
    bk_sha1_add(&ctx, name, len);
    bk_sha1_end(&ctx, digest);
    memcpy(u.b, digest, sizeof(u.b));
    u.b[6] = (uint8_t)((u.b[6] & 0x0f) | 0x50);
    u.b[8] = (uint8_t)((u.b[8] & 0x3f) | 0x80);
    return u;
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int
bk_uuid_parse(const char *text, struct bk_uuid *uuid)
{
    struct bk_uuid u;
    unsigned n = 0;

    if (strlen(text) != BK_UUID_STR_LEN)
        return -EINVAL;
    for (unsigned i = 0; i < BK_UUID_STR_LEN;) {
        int hi, lo;

        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i++] != '-')
                return -EINVAL;
            continue;
        }
        hi = hex_digit(text[i]);
        lo = hex_digit(text[i + 1]);
        if (hi < 0 || lo < 0)
            return -EINVAL;
        u.b[n++] = (uint8_t)(hi << 4 | lo);
        i += 2;
    }
    *uuid = u;
    return 0;
}

void
bk_uuid_format(const struct bk_uuid *uuid, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = digits[uuid->b[i] >> 4];
        *out++ = digits[uuid->b[i] & 15];
    }
    *out = '\0';
}

void
bk_uuid_to_guid(const struct bk_uuid *uuid, uint8_t guid[16])
{
    static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

    for (unsigned i = 0; i < 16; i++)
        guid[i] = uuid->b[order[i]];
}
