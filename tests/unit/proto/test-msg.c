/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every message: what is encoded comes back, encoding it again gives the same
 * bytes, and every shortened payload is refused without a leak (which the
 * sanitizer build sees).
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mp-msg.h"
#include "tap.h"

static char *hosts[] = { (char *)"10.0.0.1 a", NULL };
static char *env[] = { (char *)"A=1", (char *)"B=two words", NULL };
static char *argv_[] = { (char *)"sh", (char *)"-c", (char *)"exit 3", NULL };

static int
header_is(const struct mp_enc *e, uint16_t type, uint32_t session)
{
    struct mp_header h;

    return mp_header_decode(&h, e->buf) == 0 && h.type == type && h.session == session &&
           h.length == e->len - MP_FRAME_HEADER_SIZE;
}

/* All frames that are checked below, as FNV-1a. */
static uint64_t layout = UINT64_C(0xcbf29ce484222325);

static void
add_to_layout(const struct mp_enc *e)
{
    for (size_t i = 0; i < e->len; i++)
        layout = (layout ^ e->buf[i]) * UINT64_C(0x100000001b3);
}

/* The same test for each structure: decode, encode again, compare; then every prefix. */
#define CHECK(TYPE, NUMBER, SESSION, ENCODE, CLEAR, DECODE)                                             \
    do {                                                                                               \
        struct mp_enc again_ = { 0 };                                                                  \
        struct TYPE back_ = { 0 };                                                                     \
        size_t n_ = e.len - MP_FRAME_HEADER_SIZE, refused_ = 0;                                        \
        const uint8_t *p_ = e.buf + MP_FRAME_HEADER_SIZE;                                              \
                                                                                                       \
        add_to_layout(&e);                                                                             \
        ok(header_is(&e, NUMBER, SESSION), #TYPE " has its number and session");                       \
        eq_int(DECODE(&back_, p_, n_), 0, #TYPE " decodes");                                           \
        eq_int(ENCODE, 0, #TYPE " encodes again");                                                     \
        ok(again_.len == e.len && memcmp(again_.buf, e.buf, e.len) == 0, #TYPE " comes back the same"); \
        CLEAR(&back_);                                                                                 \
        for (size_t i_ = 0; i_ < n_; i_++)                                                             \
            refused_ += DECODE(&back_, p_, i_) == -EPROTO;                                             \
        eq_int(refused_, n_, #TYPE " is refused when cut short");                                      \
        mp_enc_clear(&again_);                                                                         \
        mp_enc_clear(&e);                                                                              \
    } while (0)

static void
test_boot(void)
{
    struct mp_mount mounts[] = {
        { .kind = MP_MOUNT_VIRTIOFS, .flags = MP_MOUNT_RO, .source = (char *)"m0", .target = (char *)"/data" },
        { .kind = MP_MOUNT_TMPFS, .target = (char *)"/scratch", .size = UINT64_C(1) << 40, .mode = 0700 },
        { .kind = MP_MOUNT_DISK, .source = (char *)"m2", .target = (char *)"/disk", .partition = 7 },
    };
    struct mp_boot m = {
        .root_kind = MP_ROOT_OVERLAY, .n_layers = 3, .modules_source = (char *)"layers",
        .modules_partition = 4, .kernel_version = (char *)"6.1.0", .hostname = (char *)"box",
        .root_partition = 3, .mounts = mounts, .n_mounts = 3, .hosts = hosts, .env = env, .user = (char *)"u:g",
        .workdir = (char *)"/w", .shell = (char *)"/bin/sh", .realtime_ns = 1, .flags = MP_BOOT_RESTRICTED,
    };
    struct mp_boot back = { 0 };
    struct mp_enc e = { 0 };

    eq_int(mp_boot_encode(&e, &m), 0, "boot encodes");
    eq_int(mp_boot_decode(&back, e.buf + MP_FRAME_HEADER_SIZE, e.len - MP_FRAME_HEADER_SIZE), 0, "and decodes");
    eq_int(back.n_mounts, 3, "mounts");
    eq_str(back.mounts[1].target, "/scratch", "their order");
    ok(back.mounts[1].size == UINT64_C(1) << 40, "sizes");
    eq_int(back.mounts[2].partition, 7, "partitions");
    eq_int(back.root_partition, 3, "also the root's");
    eq_str(back.env[1], "B=two words", "environment");
    eq_str(back.root_source, "", "what was NULL is empty");
    mp_boot_clear(&back);
    CHECK(mp_boot, MP_BOOT, 0, mp_boot_encode(&again_, &back_), mp_boot_clear, mp_boot_decode);
}

static void
test_others(void)
{
    struct mp_boot_failed failed = { MP_STAGE_ROOT, 5, (char *)"vda3", (char *)"Cannot mount it." };
    struct mp_ready ready = { 1, 2, 3, 4, UINT64_C(1) << 63, (char *)"0.1" };
    struct mp_exec exec = { argv_, env, (char *)"/", (char *)"1000:100", 1, 24, 80, 1 };
    struct mp_exec_failed efailed = { MP_EXEC_NOT_FOUND, 2, (char *)"nope" };
    struct mp_ctl_status status = { 1, MP_CTL_RUNNING, 77, 88, (char *)"m", env };
    struct mp_enc e = { 0 };

    mp_boot_failed_encode(&e, &failed);
    CHECK(mp_boot_failed, MP_BOOT_FAILED, 0, mp_boot_failed_encode(&again_, &back_), mp_boot_failed_clear,
          mp_boot_failed_decode);
    mp_ready_encode(&e, &ready);
    CHECK(mp_ready, MP_READY, 0, mp_ready_encode(&again_, &back_), mp_ready_clear, mp_ready_decode);
    mp_exec_encode(&e, 9, &exec);
    CHECK(mp_exec, MP_EXEC, 9, mp_exec_encode(&again_, 9, &back_), mp_exec_clear, mp_exec_decode);
    mp_exec_failed_encode(&e, 9, &efailed);
    CHECK(mp_exec_failed, MP_EXEC_FAILED, 9, mp_exec_failed_encode(&again_, 9, &back_), mp_exec_failed_clear,
          mp_exec_failed_decode);
    mp_ctl_status_encode(&e, &status);
    CHECK(mp_ctl_status, MP_CTL_WELCOME, 0, mp_ctl_status_encode(&again_, &back_), mp_ctl_status_clear,
          mp_ctl_status_decode);
}

static void
test_session_list(void)
{
    struct mp_ctl_session list[2] = {
        { .id = 4, .attached = 1, .tty = 1, .pid = 9, .started_ns = 5, .argv = argv_ },
        { .id = 6, .argv = env },
    };
    struct mp_ctl_session *back;
    struct mp_enc e = { 0 };
    unsigned count;
    size_t n, refused = 0;

    eq_int(mp_ctl_session_list_encode(&e, list, 2), 0, "session list encodes");
    n = e.len - MP_FRAME_HEADER_SIZE;
    eq_int(mp_ctl_session_list_decode(&back, &count, e.buf + MP_FRAME_HEADER_SIZE, n), 0, "and decodes");
    ok(count == 2 && back[0].id == 4 && back[0].tty && back[1].id == 6 && !strcmp(back[1].argv[0], "A=1"),
       "and comes back");
    mp_ctl_session_list_free(back, count);
    for (size_t i = 0; i < n; i++)
        refused += mp_ctl_session_list_decode(&back, &count, e.buf + MP_FRAME_HEADER_SIZE, i) == -EPROTO;
    eq_int(refused, n, "and is refused when cut short");
    memset(e.buf + MP_FRAME_HEADER_SIZE, 0xff, 4);
    eq_int(mp_ctl_session_list_decode(&back, &count, e.buf + MP_FRAME_HEADER_SIZE, n), -EPROTO,
           "a count without sessions is refused");
    mp_enc_clear(&e);
}

static void
test_small(void)
{
    struct mp_enc e = { 0 };
    const uint8_t *p;
    bool signalled;
    uint32_t code, bytes;
    uint8_t stream;

    mp_exited_encode(&e, 3, true, 9);
    p = e.buf + MP_FRAME_HEADER_SIZE;
    ok(header_is(&e, MP_EXITED, 3), "exited has its number");
    eq_int(mp_exited_decode(p, 5, &signalled, &code), 0, "exited decodes");
    ok(signalled && code == 9, "exited comes back");
    eq_int(mp_exited_decode(p, 4, &signalled, &code), -EPROTO, "exited cut short");
    mp_enc_clear(&e);
    mp_credit_encode(&e, 3, 2, 70000);
    p = e.buf + MP_FRAME_HEADER_SIZE;
    eq_int(mp_credit_decode(p, 5, &stream, &bytes), 0, "credit decodes");
    ok(stream == 2 && bytes == 70000, "credit comes back");
    mp_enc_clear(&e);
    mp_raw_encode(&e, MP_STDOUT, 5, "xyz", 3);
    ok(header_is(&e, MP_STDOUT, 5) && e.len == 15 && !memcmp(e.buf + 12, "xyz", 3), "raw bytes as they are");
    mp_enc_clear(&e);
    eq_str(mp_stage_name(MP_STAGE_PIVOT), "pivot", "stage name");
    eq_str(mp_stage_name(0), "unknown", "stage 0");
    eq_str(mp_stage_name(255), "unknown", "stage 255");
}

int
main(void)
{
    test_boot();
    test_others();
    test_session_list();
    test_small();
    /* Others decode these bytes.  Whoever changes a message here raises MP_VERSION, and then this number. */
    if (!ok(MP_VERSION == 2 && layout == UINT64_C(0x6c8e694227c99fee), "the messages of version 2 have their layout"))
        tap_diag("version %d, 0x%016llx", MP_VERSION, (unsigned long long)layout);
    return tap_done();
}
