/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * msb-vhost-blk as a driver meets it, confined, with each engine: every type
 * of request, in every layout, right and wrong; crashes under load.
 */
#include <config.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include "blk-test.h"
#include "vh-msg.h"
#include "vu-blk.h"

#define DISK (4u << 20)

static const char *engine;
static char program[PATH_MAX];

/* The back-end on file with up to three more options; its own descriptor is added by vuclient. */
static int
open_disk(struct vu_blk *b, const char *file, const char *opt1, const char *opt2, unsigned queues)
{
    static char blk_file[200], engine_opt[40];
    /* Needed again for a reconnect. */
    static const char *argv[7];
    struct vu_options o = {.argv = argv, .queues = queues, .regions = 2, .max_segments = 200};

    snprintf(blk_file, sizeof(blk_file), "--blk-file=%s", file);
    snprintf(engine_opt, sizeof(engine_opt), "--engine=%s", engine);
    memcpy(argv, ((const char *[]){program, blk_file, engine_opt, "--log-level=warn", opt1, opt2, NULL}),
           sizeof(argv));
    return vu_blk_open(b, &o);
}

/* One request out of arbitrary segments: the status byte, or -errno. */
static int
request(struct vu_blk *b, const struct iovec *out, unsigned n_out, const struct iovec *in, unsigned n_in,
        const uint8_t *status, uint32_t *len)
{
    int r = vu_submit(b->vu, 0, out, n_out, in, n_in, VU_KICK | (b->indirect ? VU_INDIRECT : 0), NULL);

    if (r == 0)
        r = vu_wait(b->vu, 0, VU_TIMEOUT_MS, NULL, len);
    return r < 0 ? r : *status;
}

/* A request of a header, data and a status in a segment of their own. */
static int
simple(struct vu_blk *b, uint32_t type, uint64_t sector, void *data, size_t len, bool to_device)
{
    size_t mark = vu_mark(b->vu);
    struct virtio_blk_outhdr *hdr = vu_alloc(b->vu, sizeof(*hdr), 8);
    uint8_t *status = vu_alloc(b->vu, 1, 1);
    void *buf = len ? vu_alloc(b->vu, len, 8) : NULL;
    struct iovec out[2] = {{hdr, sizeof(*hdr)}, {buf, len}};
    struct iovec in[2] = {{buf, len}, {status, 1}};
    int r;

    *status = 0xee;
    hdr->type = type;
    hdr->sector = sector;
    if (to_device && len)
        memcpy(buf, data, len);
    r = request(b, out, to_device && len ? 2 : 1, to_device || !len ? in + 1 : in, to_device || !len ? 1 : 2, status,
                NULL);
    if (!to_device && len)
        memcpy(data, buf, len);
    vu_release(b->vu, mark);
    return r;
}

static void
fill(uint8_t *p, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = bt_byte(seed, i);
}

/* ---- right ----------------------------------------------------------------------------- */

static void
test_config(struct vu_blk *b)
{
    const struct virtio_blk_config *c = &b->config;
    char id[VIRTIO_BLK_ID_BYTES + 1];

    eq_int(vu_blk_size(b), DISK, "capacity");
    eq_int(c->blk_size, 512, "block size");
    eq_int(c->seg_max, 126, "segments");
    ok(c->physical_block_exp >= 3 && c->min_io_size >= 8, "topology");
    eq_int(c->num_queues, 2, "queues");
    ok(c->max_discard_sectors > 0 && c->max_discard_seg > 0 && c->discard_sector_alignment >= 8, "discard limits");
    ok(c->max_write_zeroes_sectors > 0 && c->max_write_zeroes_seg > 0 && c->write_zeroes_may_unmap == 1,
       "write-zeroes limits");
    for (unsigned bit = 0; bit < 64; bit++) {
        if (bit == VIRTIO_BLK_F_RO)
            ok(!vu_has_feature(b->vu, bit), "not read-only");
        else if (bit == VIRTIO_BLK_F_FLUSH || bit == VIRTIO_BLK_F_MQ || bit == VIRTIO_BLK_F_DISCARD ||
                 bit == VIRTIO_BLK_F_WRITE_ZEROES || bit == VIRTIO_BLK_F_CONFIG_WCE || bit == VIRTIO_F_VERSION_1)
            ok(vu_has_feature(b->vu, bit), "feature %u", bit);
    }
    eq_int(vu_blk_get_id(b, id), 0, "the serial number");
    eq_str(id, "a serial number of20", "all 20 bytes of it");
}

static void
test_contents(struct vu_blk *b, const char *path)
{
    static uint8_t out[1u << 20], in[1u << 20];
    mb_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);

    fill(out, sizeof(out), 42);
    eq_int(vu_blk_write(b, 65536, out, sizeof(out)), 0, "write 1 MiB");
    eq_int(vu_blk_read(b, 65536, in, sizeof(in)), 0, "read it");
    ok(memcmp(in, out, sizeof(in)) == 0, "as it was written");
    ok(pread(fd, in, sizeof(in), 65536) == sizeof(in) && memcmp(in, out, sizeof(in)) == 0, "also in the file");
    eq_int(vu_blk_flush(b), 0, "flush");
    eq_int(vu_blk_flush(b), 0, "flush what is clean");
    eq_int(vu_blk_read(b, DISK - 512, in, 512), 0, "the last sector");
    eq_int(in[511], bt_byte(7, DISK - 1), "has what it should");
    eq_int(simple(b, VIRTIO_BLK_T_IN, 0, NULL, 0, false), VIRTIO_BLK_S_OK, "a read of nothing");
}

/* Header, data and status in one piece, in crumbs, and in between. */
static void
test_layouts(struct vu_blk *b)
{
    size_t mark = vu_mark(b->vu);
    uint8_t *out = vu_alloc(b->vu, 16 + 4096, 16);
    uint8_t *in = vu_alloc(b->vu, 4096 + 1, 16);
    struct virtio_blk_outhdr hdr = {.type = VIRTIO_BLK_T_OUT, .sector = 16};
    struct iovec o[160], i[160];
    unsigned n = 0;
    uint32_t len;

    memcpy(out, &hdr, 16);
    fill(out + 16, 4096, 77);
    o[0] = (struct iovec){out, 16 + 4096};
    i[0] = (struct iovec){in, 1};
    eq_int(request(b, o, 1, i, 1, in, &len), VIRTIO_BLK_S_OK, "header and data in one segment");
    eq_int(len, 1, "only the status was written");

    for (unsigned at = 0; at < 16; at++)
        o[n++] = (struct iovec){out + at, 1};
    hdr.type = VIRTIO_BLK_T_IN;
    memcpy(out, &hdr, 16);
    i[0] = (struct iovec){in, 4097};
    eq_int(request(b, o, n, i, 1, in + 4096, &len), VIRTIO_BLK_S_OK, "header byte by byte, data and status in one");
    eq_int(len, 4097, "all of it was written");
    ok(memcmp(in, out + 16, 4096) == 0, "and is right");

    memset(in, 0, 4097);
    i[0] = (struct iovec){in, 1};
    n = 1;
    for (unsigned at = 1; at < 4096; at += 35)
        i[n++] = (struct iovec){in + at, MB_MIN(35, 4096 - at)};
    i[n++] = (struct iovec){in + 4096, 1};
    o[0] = (struct iovec){out, 7};
    o[1] = (struct iovec){out + 7, 9};
    eq_int(request(b, o, 2, i, n, in + 4096, &len), VIRTIO_BLK_S_OK, "data in crumbs");
    ok(memcmp(in, out + 16, 4096) == 0, "and it is right");
    vu_release(b->vu, mark);
}

static long
blocks_of(const char *path)
{
    struct stat st;

    return stat(path, &st) < 0 ? -1 : (long)st.st_blocks;
}

static void
test_ranges(struct vu_blk *b, const char *path)
{
    static uint8_t buf[1u << 20];
    long before;

    memset(buf, 0x5a, sizeof(buf));
    eq_int(vu_blk_write(b, 2u << 20, buf, sizeof(buf)), 0, "fill");
    eq_int(vu_blk_flush(b), 0, "flush");
    before = blocks_of(path);
    eq_int(vu_blk_discard(b, 2u << 20, 512 * 1024), 0, "discard");
    ok(blocks_of(path) <= before - 1000, "frees blocks on the host");
    eq_int(vu_blk_write_zeroes(b, (2u << 20) + 600 * 1024, 65536, false), 0, "write zeroes");
    before = blocks_of(path);
    eq_int(vu_blk_write_zeroes(b, (2u << 20) + 700 * 1024, 65536, true), 0, "write zeroes and unmap");
    ok(blocks_of(path) <= before - 120, "frees blocks on the host");
    eq_int(vu_blk_read(b, 2u << 20, buf, sizeof(buf)), 0, "read");
    for (size_t i = 0; i < sizeof(buf); i++) {
        bool zero = i < 512 * 1024 || (i >= 600 * 1024 && i < 664 * 1024) || (i >= 700 * 1024 && i < 764 * 1024);

        if (buf[i] != (zero ? 0 : 0x5a)) {
            ok(false, "byte %zu", i);
            return;
        }
    }
    ok(true, "zeros exactly where they belong");
}

/* Two ranges in one request. */
static void
test_many_ranges(struct vu_blk *b)
{
    struct virtio_blk_discard_write_zeroes r[17] = {{.sector = 0, .num_sectors = 1}, {.sector = 2, .num_sectors = 1}};
    uint8_t buf[1536];

    memset(buf, 0x11, sizeof(buf));
    eq_int(vu_blk_write(b, 0, buf, sizeof(buf)), 0, "fill");
    eq_int(simple(b, VIRTIO_BLK_T_WRITE_ZEROES, 0, r, 2 * sizeof(r[0]), true), VIRTIO_BLK_S_OK, "two ranges");
    eq_int(vu_blk_read(b, 0, buf, sizeof(buf)), 0, "read");
    ok(buf[0] == 0 && buf[511] == 0 && buf[512] == 0x11 && buf[1023] == 0x11 && buf[1024] == 0, "both were zeroed");
    for (unsigned i = 0; i < 17; i++)
        r[i] = (struct virtio_blk_discard_write_zeroes){.sector = 100 + i, .num_sectors = 1};
    eq_int(simple(b, VIRTIO_BLK_T_DISCARD, 0, r, 16 * sizeof(r[0]), true), VIRTIO_BLK_S_OK, "as many as allowed");
    eq_int(simple(b, VIRTIO_BLK_T_DISCARD, 0, r, sizeof(r), true), VIRTIO_BLK_S_IOERR, "one more");
}

static void
test_cache_mode(struct vu_blk *b)
{
    const uint32_t wce = offsetof(struct virtio_blk_config, wce);
    uint8_t buf[4096] = {1}, mode = 0, bad = 2;

    eq_int(b->config.wce, 1, "write-back at first");
    eq_int(vu_set_config(b->vu, wce, &mode, 1), 0, "the driver wants write-through");
    eq_int(vu_get_config(b->vu, wce, &bad, 1), 0, "asks");
    eq_int(bad, 0, "and sees it");
    eq_int(vu_blk_write(b, 8192, buf, sizeof(buf)), 0, "write through");
    eq_int(vu_blk_write_zeroes(b, 8192, 4096, false), 0, "zeroes through");
    mode = 1;
    eq_int(vu_set_config(b->vu, wce, &mode, 1), 0, "and back");
    bad = 2;
    ok(vu_set_config(b->vu, wce, &bad, 1) < 0, "there is no third mode");
    ok(vu_set_config(b->vu, 0, buf, 8) < 0, "the capacity is not the driver's to set");
}

#define SAYS_MS 20000

/* Wait for a message of the back-end's: its number, or -errno. */
static int
back_end_says(int channel)
{
    struct pollfd p = {.fd = channel, .events = POLLIN};
    struct vh_msg_reader reader = {0};
    int r;

    do {
        r = poll(&p, 1, SAYS_MS);
        if (r != 1)
            return r < 0 ? -errno : -ETIMEDOUT;
        r = vh_msg_read(&reader, channel);
    } while (r == 0);
    r = r < 0 ? r : (int)reader.msg.request;
    vh_msg_clear(&reader.msg);
    return r;
}

/* The host makes the file larger, tells the back-end, and the driver hears of it; smaller is not taken. */
static void
test_resize(const char *path)
{
    uint8_t buf[4096], back[4096];
    int pair[2];
    struct vu_blk b;
    uint64_t sectors;

    if (!eq_int(open_disk(&b, path, NULL, NULL, 1), 0, "open"))
        return;
    eq_int(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0, "a channel for the back-end");
    eq_int(vu_request(b.vu, VH_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0, "it takes it");
    fill(buf, sizeof(buf), 3);
    eq_int(vu_blk_write(&b, DISK, buf, sizeof(buf)), -EIO, "a write behind the end");
    eq_int(truncate(path, DISK + 8192 + 100), 0, "the file grows");
    eq_int(kill(b.vu->pid, SIGHUP), 0, "SIGHUP");
    eq_int(back_end_says(pair[0]), VH_BACKEND_CONFIG_CHANGE, "the configuration changed");
    eq_int(vu_get_config(b.vu, offsetof(struct virtio_blk_config, capacity), &sectors, 8), 0, "ask");
    eq_int(sectors, DISK / 512 + 17, "the new size, whole sectors");
    eq_int(vu_blk_write(&b, DISK, buf, sizeof(buf)), 0, "the new part is written");
    eq_int(vu_blk_read(&b, DISK, back, sizeof(back)), 0, "and read");
    ok(memcmp(buf, back, sizeof(back)) == 0, "right");
    eq_int(vu_blk_read(&b, DISK + 8192, back, 512), 0, "also the sector that the file ends in");
    eq_int(vu_blk_read(&b, DISK + 8192 + 512, back, 512), -EIO, "but none behind it");
    eq_int(truncate(path, DISK), 0, "the file shrinks");
    eq_int(kill(b.vu->pid, SIGHUP), 0, "SIGHUP");
    eq_int(truncate(path, DISK + 65536), 0, "and grows");
    eq_int(kill(b.vu->pid, SIGHUP), 0, "SIGHUP");
    eq_int(back_end_says(pair[0]), VH_BACKEND_CONFIG_CHANGE, "the configuration changed");
    eq_int(vu_get_config(b.vu, offsetof(struct virtio_blk_config, capacity), &sectors, 8), 0, "ask");
    eq_int(sectors, DISK / 512 + 128, "to the larger size alone");
    close(pair[0]);
    close(pair[1]);
    eq_int(vu_blk_close(&b), 0, "close");
    eq_int(truncate(path, DISK), 0, "as before");
}

/* It is told to look, and dies before it could tell the front-end; nobody asks its successor for the size. */
static void
test_resize_and_die(const char *path)
{
    int pair[2];
    struct vu_blk b;
    uint64_t sectors;

    if (!eq_int(open_disk(&b, path, NULL, NULL, 1), 0, "open"))
        return;
    eq_int(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0, "a channel for the back-end");
    eq_int(kill(b.vu->pid, SIGSTOP), 0, "it hangs");
    eq_int(truncate(path, DISK + 8192), 0, "the file grows");
    eq_int(kill(b.vu->pid, SIGHUP), 0, "SIGHUP");
    vu_kill(b.vu);
    b.vu->o.channel = pair[1];
    eq_int(vu_reconnect(b.vu, 0), 0, "killed and started again");
    eq_int(back_end_says(pair[0]), VH_BACKEND_CONFIG_CHANGE, "the configuration may be another one");
    eq_int(vu_get_config(b.vu, offsetof(struct virtio_blk_config, capacity), &sectors, 8), 0, "ask");
    eq_int(sectors, DISK / 512 + 16, "it is");
    eq_int(vu_blk_close(&b), 0, "close");
    close(pair[0]);
    close(pair[1]);
    eq_int(truncate(path, DISK), 0, "as before");
}

/* What it answers to a request for the size: its first byte. */
static int
ask_for(const struct vu_blk *b, int fd, const char *size)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char answer[600] = "";

    if (send(fd, size, strlen(size), 0) < 0 || kill(b->vu->pid, SIGHUP) < 0 || poll(&p, 1, SAYS_MS) != 1 ||
        recv(fd, answer, sizeof(answer) - 1, 0) < 0)
        return -errno;
    if (answer[0] == '-')
        tap_diag("%s", answer);
    return answer[0];
}

/* It makes the disk larger itself while the driver uses it; killed afterwards, its successor has that size. */
static void
test_grow(const char *path, const char *format)
{
    uint8_t buf[4096], back[4096];
    int pair[2], news[2];
    char option[40];
    struct vu_blk b;
    uint64_t sectors;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, news) < 0)
        return;
    snprintf(option, sizeof(option), "--resize-fd=%d", pair[1]);
    if (!eq_int(open_disk(&b, path, option, format, 1), 0, format))
        return;
    eq_int(vu_request(b.vu, VH_SET_BACKEND_REQ_FD, NULL, 0, &news[1], 1), 0, "a channel for the back-end");
    fill(buf, sizeof(buf), 5);
    eq_int(vu_blk_write(&b, DISK - 4096, buf, sizeof(buf)), 0, "a write at the end");
    eq_int(vu_blk_write(&b, DISK, buf, sizeof(buf)), -EIO, "and one behind it");
    eq_int(ask_for(&b, pair[0], "+4194304"), '+', "it shall be larger");
    eq_int(back_end_says(news[0]), VH_BACKEND_CONFIG_CHANGE, "the driver hears of it");
    eq_int(vu_blk_write(&b, 2 * DISK - 4096, buf, sizeof(buf)), 0, "a write at the new end");
    eq_int(ask_for(&b, pair[0], "4096"), '-', "smaller is refused");
    eq_int(ask_for(&b, pair[0], "1k"), '-', "and what is no size");
    eq_int(ask_for(&b, pair[0], "8388608"), '+', "the size it has is not");
    eq_int(vu_blk_flush(&b), 0, "flush");
    vu_kill(b.vu);
    eq_int(vu_reconnect(b.vu, 0), 0, "killed and started again");
    eq_int(vu_get_config(b.vu, offsetof(struct virtio_blk_config, capacity), &sectors, 8), 0, "ask");
    eq_int(sectors, 2 * DISK / 512, "it is as large");
    eq_int(vu_blk_read(&b, 2 * DISK - 4096, back, sizeof(back)), 0, "read what was written there");
    ok(memcmp(buf, back, sizeof(back)) == 0, "it is right");
    eq_int(vu_blk_read(&b, DISK - 4096, back, sizeof(back)), 0, "and before");
    ok(memcmp(buf, back, sizeof(back)) == 0, "it is right");
    eq_int(vu_blk_close(&b), 0, "close");
    for (unsigned i = 0; i < 2; i++) {
        close(pair[i]);
        close(news[i]);
    }
}

static void
test_grow_formats(void)
{
    char path[100], line[300];

    test_grow(bt_file("grow.raw", DISK, 3), "--format=raw");
    snprintf(path, sizeof(path), "%s/grow.qcow2", bt_dir);
    snprintf(line, sizeof(line), "qemu-img create -q -f qcow2 -o cluster_size=512 %s 4M 2>/dev/null", path);
    if (system(line) != 0)
        return;
    test_grow(path, "--format=qcow2");
    snprintf(line, sizeof(line), "qemu-img check -q -f qcow2 %s; r=$?; test $r = 0 || test $r = 3", path);
    eq_int(system(line), 0, "qemu-img is content");
}

/* With detect-zeroes: what the file takes after 1 MiB of zeros was written over data, as 512-byte blocks. */
static blkcnt_t
blocks_after_zeros(const char *path, const char *option, const char *other)
{
    static uint8_t data[1u << 20], zeros[1u << 20], in[1u << 20];
    struct vu_blk b;
    struct stat st;

    if (!eq_int(open_disk(&b, path, option, other, 1), 0, option))
        return -1;
    fill(data, sizeof(data), 9);
    eq_int(vu_blk_write(&b, 1u << 20, data, sizeof(data)), 0, "data");
    eq_int(vu_blk_write(&b, 1u << 20, zeros, sizeof(zeros)), 0, "zeros over it");
    eq_int(vu_blk_read(&b, 1u << 20, in, sizeof(in)), 0, "read");
    ok(memcmp(in, zeros, sizeof(in)) == 0, "they are zeros");
    zeros[sizeof(zeros) - 1] = 1;
    eq_int(vu_blk_write(&b, 2u << 20, zeros, sizeof(zeros)), 0, "zeros but for the last byte");
    eq_int(vu_blk_read(&b, 2u << 20, in, sizeof(in)), 0, "read");
    ok(memcmp(in, zeros, sizeof(in)) == 0, "that is there");
    zeros[sizeof(zeros) - 1] = 0;
    eq_int(vu_blk_flush(&b), 0, "flush");
    eq_int(vu_blk_close(&b), 0, "close");
    return stat(path, &st) == 0 ? st.st_blocks : -1;
}

static void
test_detect_zeroes(void)
{
    const char *path = bt_file("zeros", DISK, 7);
    const blkcnt_t mib = (1u << 20) / 512;
    blkcnt_t whole = blocks_after_zeros(path, "--detect-zeroes=off", NULL);

    ok(whole >= 4 * mib, "off: nothing is freed");
    ok(blocks_after_zeros(path, "--detect-zeroes=on", NULL) >= 4 * mib, "on: nothing is freed either");
    ok(blocks_after_zeros(path, "--detect-zeroes=unmap", "--discard=off") >= 4 * mib, "unmap without discard: the same");
    ok(blocks_after_zeros(path, "--detect-zeroes=unmap", NULL) <= whole - mib, "unmap: the zeros take no room");
}

/* The driver says once that it wants write-through; who comes back for it does not say so again. */
static void
test_kept_cache_mode(const char *path)
{
    const uint32_t wce = offsetof(struct virtio_blk_config, wce);
    uint8_t mode = 0;
    struct vu_blk b;

    if (!eq_int(open_disk(&b, path, NULL, NULL, 1), 0, "open"))
        return;
    eq_int(vu_set_config(b.vu, wce, &mode, 1), 0, "the driver wants write-through");
    vu_kill(b.vu);
    eq_int(vu_reconnect(b.vu, 0), 0, "killed and started again");
    mode = 2;
    eq_int(vu_get_config(b.vu, wce, &mode, 1), 0, "asks");
    eq_int(mode, 0, "it is write-through still");
    mode = 1;
    eq_int(vu_set_config(b.vu, wce, &mode, 1), 0, "the driver wants write-back");
    vu_kill(b.vu);
    eq_int(vu_reconnect(b.vu, 0), 0, "killed and started again");
    eq_int(vu_get_config(b.vu, wce, &mode, 1), 0, "asks");
    eq_int(mode, 1, "it is write-back");
    eq_int(vu_blk_close(&b), 0, "close");
}

/* ---- wrong ------------------------------------------------------------------------------ */

static void
test_bad_requests(struct vu_blk *b)
{
    static const struct {
        const char *what;
        uint64_t sector;
        size_t len;
    } bad[] = {
        {"behind the end", DISK / 512, 512},
        {"across the end", DISK / 512 - 1, 1024},
        {"a sector that overflows", UINT64_MAX / 512 + 1, 512},
        {"the last sector there is", UINT64_MAX, 512},
        {"part of a sector", 0, 511},
        {"a sector and a bit", 0, 513},
    };
    uint8_t buf[1024] = {0}, before[512], after[512];

    eq_int(vu_blk_read(b, DISK - 512, before, 512), 0, "read");
    for (unsigned i = 0; i < MB_ARRAY_SIZE(bad); i++) {
        eq_int(simple(b, VIRTIO_BLK_T_IN, bad[i].sector, buf, bad[i].len, false), VIRTIO_BLK_S_IOERR, bad[i].what);
        eq_int(simple(b, VIRTIO_BLK_T_OUT, bad[i].sector, buf, bad[i].len, true), VIRTIO_BLK_S_IOERR, bad[i].what);
    }
    eq_int(vu_blk_read(b, DISK - 512, after, 512), 0, "read again");
    ok(memcmp(before, after, 512) == 0, "nothing was written");
    eq_int(simple(b, 2, 0, buf, 512, false), VIRTIO_BLK_S_UNSUPP, "SCSI");
    eq_int(simple(b, VIRTIO_BLK_T_BARRIER, 0, NULL, 0, false), VIRTIO_BLK_S_UNSUPP, "a barrier");
    eq_int(simple(b, 0xffffffff, 0, NULL, 0, false), VIRTIO_BLK_S_UNSUPP, "a type that does not exist");
}

static int
range(struct vu_blk *b, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
    struct virtio_blk_discard_write_zeroes r = {sector, sectors, flags};

    return simple(b, type, 0, &r, sizeof(r), true);
}

static void
test_bad_ranges(struct vu_blk *b)
{
    uint8_t buf[64] = {0};

    eq_int(range(b, VIRTIO_BLK_T_DISCARD, 0, 8, 1), VIRTIO_BLK_S_UNSUPP, "a discard with unmap");
    eq_int(range(b, VIRTIO_BLK_T_DISCARD, 0, 8, 2), VIRTIO_BLK_S_UNSUPP, "a discard with an unknown flag");
    eq_int(range(b, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0x80000001), VIRTIO_BLK_S_UNSUPP, "zeroes with an unknown flag");
    eq_int(range(b, VIRTIO_BLK_T_DISCARD, DISK / 512, 1, 0), VIRTIO_BLK_S_IOERR, "behind the end");
    eq_int(range(b, VIRTIO_BLK_T_WRITE_ZEROES, DISK / 512 - 1, 2, 0), VIRTIO_BLK_S_IOERR, "across the end");
    eq_int(range(b, VIRTIO_BLK_T_DISCARD, UINT64_MAX - 3, 8, 0), VIRTIO_BLK_S_IOERR, "overflow");
    eq_int(range(b, VIRTIO_BLK_T_DISCARD, 0, 0xffffffff, 0), VIRTIO_BLK_S_IOERR, "more than the limit");
    eq_int(range(b, VIRTIO_BLK_T_WRITE_ZEROES, 0, 0, 0), VIRTIO_BLK_S_IOERR, "nothing");
    eq_int(simple(b, VIRTIO_BLK_T_DISCARD, 0, NULL, 0, true), VIRTIO_BLK_S_IOERR, "no range");
    eq_int(simple(b, VIRTIO_BLK_T_DISCARD, 0, buf, 15, true), VIRTIO_BLK_S_IOERR, "part of a range");
    eq_int(simple(b, VIRTIO_BLK_T_WRITE_ZEROES, 0, buf, 17, true), VIRTIO_BLK_S_IOERR, "a range and a bit");
}

static void
test_malformed(const char *path)
{
    struct vu_blk b;
    struct virtio_blk_outhdr *hdr;
    uint8_t *status;
    struct iovec out, in;

    if (!eq_int(open_disk(&b, path, NULL, NULL, 1), 0, "open"))
        return;
    hdr = vu_alloc(b.vu, 64, 8);
    status = vu_alloc(b.vu, 1, 1);
    out = (struct iovec){hdr, 15};
    in = (struct iovec){status, 1};
    eq_int(request(&b, &out, 1, &in, 1, status, NULL), VIRTIO_BLK_S_IOERR, "15 bytes of a header");
    eq_int(request(&b, NULL, 0, &in, 1, status, NULL), VIRTIO_BLK_S_IOERR, "no header");
    eq_int(vu_blk_read(&b, 0, hdr, 64), -EIO, "the disk still answers");
    out.iov_len = 16;
    eq_int(vu_submit(b.vu, 0, &out, 1, NULL, 0, VU_KICK, NULL), 0, "no room for a status");
    eq_int(vu_wait_err(b.vu, 0, VU_TIMEOUT_MS), 1, "breaks the queue");
    eq_int(vu_blk_close(&b), 0, "and not the process");
}

static void
test_read_only(const char *path)
{
    uint8_t buf[512] = {0}, before[512], after[512];
    struct vu_blk b;

    if (!eq_int(open_disk(&b, path, "--read-only", NULL, 1), 0, "open read-only"))
        return;
    ok(vu_has_feature(b.vu, VIRTIO_BLK_F_RO), "told so");
    ok(!vu_has_feature(b.vu, VIRTIO_BLK_F_DISCARD) && !vu_has_feature(b.vu, VIRTIO_BLK_F_WRITE_ZEROES),
       "nothing that changes");
    eq_int(vu_blk_read(&b, 0, before, 512), 0, "read");
    eq_int(simple(&b, VIRTIO_BLK_T_OUT, 0, buf, 512, true), VIRTIO_BLK_S_IOERR, "write");
    eq_int(range(&b, VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_IOERR, "discard");
    eq_int(range(&b, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_IOERR, "write zeroes");
    eq_int(vu_blk_read(&b, 0, after, 512), 0, "read again");
    ok(memcmp(before, after, 512) == 0, "nothing changed");
    eq_int(vu_blk_close(&b), 0, "close");
}

/* The cache is off for a driver that takes the choice of it, but no flushes. */
static void
test_no_flush(const char *path)
{
    static char file[200];
    const char *argv[] = {program, file, NULL};
    struct vu_options o = {.argv = argv, .features_off = UINT64_C(1) << VIRTIO_BLK_F_FLUSH};
    struct vu_blk b;

    snprintf(file, sizeof(file), "--blk-file=%s", path);
    if (!eq_int(vu_blk_open(&b, &o), 0, "a driver without flushes"))
        return;
    ok(vu_has_feature(b.vu, VIRTIO_BLK_F_CONFIG_WCE), "but with the choice of the cache mode");
    eq_int(b.config.wce, 0, "finds the cache off");
    eq_int(vu_blk_close(&b), 0, "close");
}

/* A driver that knows no flushes gets stable writes; one that knows nothing at all is served too. */
static void
test_old_driver(const char *path)
{
    static char file[200];
    const char *argv[] = {program, file, NULL};
    struct vu_options o = {.argv = argv, .features_off = ~(UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << 30)};
    uint8_t out[4096], in[4096];
    struct vu_blk b;

    snprintf(file, sizeof(file), "--blk-file=%s", path);
    /* Bit 30 is the front-end's own: it needs the configuration space. */
    if (!eq_int(vu_blk_open(&b, &o), 0, "a driver without features"))
        return;
    ok(!b.indirect, "not even indirect descriptors");
    fill(out, sizeof(out), 5);
    eq_int(vu_blk_write(&b, 0, out, sizeof(out)), 0, "write");
    eq_int(vu_blk_read(&b, 0, in, sizeof(in)), 0, "read");
    ok(memcmp(in, out, sizeof(in)) == 0, "right");
    eq_int(vu_blk_close(&b), 0, "close");
}

/* ---- crashes -------------------------------------------------------------------------------- */

#define SLOTS 32

/* Writes in all slots, the back-end killed amid them, again and again. Each write carries its
 * generation; at the end every slot has the last one that was acknowledged. */
static void
test_kill(const char *path)
{
    struct vu_blk_io *ios[SLOTS], *io;
    uint64_t generation[SLOTS] = {0};
    unsigned reaped = 0, bad = 0, replayed = 0;
    struct vu_blk b;
    int r = open_disk(&b, path, NULL, NULL, 1);

    if (!eq_int(r, 0, "open"))
        return;
    for (unsigned i = 0; i < SLOTS; i++) {
        ios[i] = vu_blk_io_new(&b, 8192);
        ios[i]->type = VIRTIO_BLK_T_OUT;
        ios[i]->offset = i * 65536;
        ios[i]->length = 8192;
        ios[i]->user = (void *)(uintptr_t)i;
    }
    for (unsigned round = 0; round < 20 && r == 0; round++) {
        for (unsigned i = 0; i < SLOTS; i++) {
            uint64_t *p = ios[i]->data;

            generation[i]++;
            for (unsigned k = 0; k < 1024; k++)
                p[k] = generation[i] << 16 | i;
            r |= vu_blk_submit(&b, 0, ios[i], i % 7 == 0 ? VU_KICK : 0);
        }
        vu_kick(b.vu, 0, true);
        for (unsigned n = 0; n < round && r == 0; n++)
            reaped += vu_blk_reap(&b, 0, VU_TIMEOUT_MS, &io) == 1;
        vu_kill(b.vu);
        replayed += vu_in_flight(b.vu, 0);
        r |= vu_reconnect(b.vu, 0);
        while (r == 0 && vu_in_flight(b.vu, 0) > 0) {
            if (vu_blk_reap(&b, 0, VU_TIMEOUT_MS, &io) != 1 || vu_blk_result(io) != 0) {
                bad++;
                break;
            }
            reaped++;
        }
    }
    eq_int(r, 0, "killed and started again 20 times");
    eq_int(reaped, 20 * SLOTS, "every request was answered once");
    ok(replayed > 0, "some of them after a crash: %u", replayed);
    for (unsigned i = 0; i < SLOTS; i++) {
        uint64_t p[1024];

        r |= vu_blk_read(&b, i * 65536, p, sizeof(p));
        for (unsigned k = 0; k < 1024; k++)
            bad += p[k] != (generation[i] << 16 | i);
    }
    eq_int(bad + (r < 0), 0, "and did what it said");
    eq_int(vu_blk_close(&b), 0, "close");
}

/* The back-end serves two queues at once. */
static void
test_two_queues(struct vu_blk *b)
{
    struct vu_blk_io *ios[16], *io;
    unsigned bad = 0;

    for (unsigned i = 0; i < 16; i++) {
        ios[i] = vu_blk_io_new(b, 65536);
        ios[i]->type = VIRTIO_BLK_T_OUT;
        ios[i]->offset = i * 65536;
        ios[i]->length = 65536;
        fill(ios[i]->data, 65536, i);
        bad += vu_blk_submit(b, i % 2, ios[i], VU_KICK) != 0;
    }
    for (unsigned i = 0; i < 16; i++)
        bad += vu_blk_reap(b, i % 2, VU_TIMEOUT_MS, &io) != 1 || vu_blk_result(io) != 0;
    for (unsigned i = 0; i < 16; i++) {
        static uint8_t buf[65536];

        bad += vu_blk_read(b, i * 65536, buf, sizeof(buf)) != 0 || memcmp(buf, ios[i]->data, sizeof(buf)) != 0;
    }
    eq_int(bad, 0, "two queues");
}

static void
test_engine(void)
{
    const char *path = bt_file("disk", DISK, 7);
    struct vu_blk b;
    int r = open_disk(&b, path, "--serial=a serial number of20", "--num-queues=2", 2);

    if (!ok(r == 0, "the back-end with engine %s", engine))
        return;
    test_config(&b);
    test_contents(&b, path);
    for (unsigned i = 0; i < 2; i++) {
        test_layouts(&b);
        b.indirect = !b.indirect;
    }
    test_ranges(&b, path);
    test_many_ranges(&b);
    test_cache_mode(&b);
    test_bad_requests(&b);
    test_bad_ranges(&b);
    test_two_queues(&b);
    eq_int(vu_blk_close(&b), 0, "close");
    test_malformed(path);
    test_read_only(path);
    test_resize(path);
    test_resize_and_die(path);
    test_grow_formats();
    test_detect_zeroes();
    test_kept_cache_mode(path);
    test_kill(path);
}

int
main(void)
{
    const char *top = getenv("abs_top_builddir");

    snprintf(program, sizeof(program), "%s/vhost-blk/msb-vhost-blk", top ? top : ".");
    bt_make_dir();
    engine = "threads";
    test_engine();
    engine = "auto";
    test_engine();
    test_old_driver(bt_file("old", DISK, 1));
    test_no_flush(bt_file("no-flush", DISK, 1));
    return tap_done();
}
