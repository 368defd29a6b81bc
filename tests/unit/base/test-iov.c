/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mb-iov.h, against the same done on one flat buffer. */
#include <config.h>

#include <errno.h>
#include <stdint.h>

#include "mb-iov.h"
#include "tap.h"

static char flat[26];
static char a[3], b[1], c[7], d[15];

static void
fill(struct iovec iov[5])
{
    const char *alphabet = "abcdefghijklmnopqrstuvwxyz";

    memcpy(flat, alphabet, 26);
    memcpy(a, alphabet, 3);
    memcpy(b, alphabet + 3, 1);
    memcpy(c, alphabet + 4, 7);
    memcpy(d, alphabet + 11, 15);
    iov[0] = (struct iovec){a, 3};
    iov[1] = (struct iovec){b, 1};
    iov[2] = (struct iovec){NULL, 0};
    iov[3] = (struct iovec){c, 7};
    iov[4] = (struct iovec){d, 15};
}

static void
test_copy(void)
{
    struct iovec iov[5];
    size_t offset, len, wrong = 0;
    char buf[32];

    fill(iov);
    eq_int(mb_iov_size(iov, 5), 26, "size");
    for (offset = 0; offset <= 27; offset++) {
        for (len = 0; len <= 30; len++) {
            size_t want = offset >= 26 ? 0 : len < 26 - offset ? len : 26 - offset;

            memset(buf, '.', sizeof(buf));
            wrong += mb_iov_to_buf(iov, 5, offset, buf, len) != want ||
                     memcmp(buf, flat + (want ? offset : 0), want) || buf[want] != '.';
        }
    }
    eq_int(wrong, 0, "copying out at every offset, every length");
    eq_int(mb_iov_from_buf(iov, 5, 2, "12345", 5), 5, "copying in");
    ok(a[2] == '1' && b[0] == '2' && memcmp(c, "345", 3) == 0 && c[3] == 'h', "over three segments");
    eq_int(mb_iov_memset(iov, 5, 24, 'z', 10), 2, "filling stops at the end");
    ok(d[12] == 'x' && d[13] == 'z' && d[14] == 'z', "and fills what is there");
}

static void
test_cut(void)
{
    struct iovec iov[5], *front;
    size_t n, wrong = 0;
    char buf[32];

    for (n = 0; n <= 30; n++) {
        size_t want = n < 26 ? n : 26;
        unsigned count = 5;

        fill(iov);
        front = iov;
        wrong += mb_iov_cut_front(&front, &count, n) != want || mb_iov_size(front, count) != 26 - want;
        wrong +=
            mb_iov_to_buf(front, count, 0, buf, 32) != 26 - want || memcmp(buf, flat + want, 26 - want) != 0;
        fill(iov);
        count = 5;
        wrong += mb_iov_cut_back(iov, &count, n) != want || mb_iov_size(iov, count) != 26 - want;
        wrong += mb_iov_to_buf(iov, count, 0, buf, 32) != 26 - want || memcmp(buf, flat, 26 - want) != 0;
    }
    eq_int(wrong, 0, "cutting front and back by every length");
}

static void
test_slice(void)
{
    struct iovec iov[5], out[5];
    size_t offset, len, wrong = 0;
    char buf[32];

    fill(iov);
    for (offset = 0; offset <= 26; offset++) {
        for (len = 0; len <= 26 - offset; len++) {
            int r = mb_iov_slice(out, 5, iov, 5, offset, len);

            wrong += r < 0 || mb_iov_size(out, (unsigned)r) != len;
            mb_iov_to_buf(out, (unsigned)r, 0, buf, len);
            wrong += memcmp(buf, flat + offset, len) != 0;
        }
    }
    eq_int(wrong, 0, "every slice");
    eq_int(mb_iov_slice(out, 5, iov, 5, 1, 26), -EINVAL, "a slice past the end");
    eq_int(mb_iov_slice(out, 1, iov, 5, 0, 4), -ENOBUFS, "a slice with too little room");
    iov[0].iov_len = SIZE_MAX;
    eq_int(mb_iov_size(iov, 5) == SIZE_MAX, 1, "a size that does not fit is the largest");
}

static void
test_zero(void)
{
    struct iovec iov[5];
    unsigned wrong = 0;
    char *const part[] = {a, b, c, d};
    const size_t len[] = {sizeof(a), sizeof(b), sizeof(c), sizeof(d)};

    fill(iov);
    ok(!mb_iov_is_zero(iov, 5), "letters are not zeros");
    for (unsigned i = 0; i < 4; i++)
        memset(part[i], 0, len[i]);
    ok(mb_iov_is_zero(iov, 5), "zeros are");
    ok(mb_iov_is_zero(iov, 0), "so is nothing");
    for (unsigned i = 0; i < 4; i++) {
        for (size_t k = 0; k < len[i]; k++) {
            part[i][k] = 1;
            wrong += mb_iov_is_zero(iov, 5);
            part[i][k] = 0;
        }
    }
    eq_int(wrong, 0, "one byte that is none, anywhere");
    memset(flat, 0, sizeof(flat));
    iov[0] = (struct iovec){flat, sizeof(flat)};
    for (size_t k = 0; k < sizeof(flat); k++) {
        flat[k] = 1;
        wrong += mb_iov_is_zero(iov, 1);
        flat[k] = 0;
    }
    ok(wrong == 0 && mb_iov_is_zero(iov, 1), "also in a longer one");
}

int
main(void)
{
    test_copy();
    test_cut();
    test_slice();
    test_zero();
    return tap_done();
}
