/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * FUSE requests against the core of vhost-fs, on a share in a temporary
 * directory that is made anew for every input.
 *
 * Input: mode (u8: 0 strict, 1 relaxed, 2 off, 3 read-only; 4 without
 * openat2(), 8 a quota, 16 host-perms=mirror, 32 cache=always and writeback, 64
 * a share of one file, 128 two threads that do all of it at the same time), then records: kind (u8), node (u8: an index into the
 * node numbers that replies gave so far; 255: eight bytes of input), flags (u8),
 * length of the body (u16), the body.
 *
 * Kinds below 64 are opcodes; flags: 1 put a file handle from a reply into the
 * first eight bytes of the body, 2 a header that lies about the length, 4 a reply
 * of 20 bytes only, and in the upper bits where the request is split.  From 128
 * on they are opcodes, too, whose body follows user (u8), room for the reply (u16)
 * and where that is split (u8); flag 1 means a handle with its own node then, and 4
 * that the thread may not wait: what would have, is sent again, another request by then.
 * Kinds from 64 to 127 are what the host does, see fuzz-fs-host.h.
 *
 * Lengths from 0xf000 on are long: long_bodies[] says how long the body is, and the
 * low byte how much of it is in the input (255: nothing).
 *
 * Replies must be well formed and within their room, nothing outside the share may
 * be read or changed, and nothing may be held when the guest starts again.
 */
#include <config.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs-core.h"
#include "fs-req.h"
#include "fuzz-fs-host.h"
#include "fuzz-fs-share.h"
#include "fuzz.h"
#include "mb-cleanup.h"
#include "mb-log.h"

#define MAX_REQUESTS 200
#define MAX_NODES 32
#define HUGE_BODY (1u << 20)

static const uint32_t long_bodies[16] = {
    256, 1024, 1025, 1100, 4095, 4096, 5200, 65535, 65536, 65537, FS_MAX_BODY - 40, FS_MAX_BODY - 16,
    FS_MAX_BODY, FS_MAX_BODY + 1, HUGE_BODY, HUGE_BODY,
};

static bool acls;               /* the guest may have some */
static atomic_bool host_acls;   /* the host has set some */

/* Of each thread, like what it was told. */
static _Thread_local struct fs_worker *worker;
static _Thread_local uint64_t nodes[MAX_NODES];
static _Thread_local struct {
    uint64_t fh, node;
} handles[MAX_NODES];
static _Thread_local unsigned n_nodes, n_handles;

/* ---- requests ---------------------------------------------------------------------------- */

struct sent {
    struct fuse_in_header in;
    uint8_t *msg;               /* with room for the header in front of the body */
    size_t len, room;           /* of the message, for the reply */
    size_t split_out, split_in;
    bool may_wait;
};

static void
note_handle(uint64_t node, const uint8_t *open_out)
{
    unsigned i = n_handles < MAX_NODES ? n_handles++ : open_out[0] % MAX_NODES;

    memcpy(&handles[i].fh, open_out, 8);
    handles[i].node = node;
}

/* Node numbers and handles that the guest was told. */
static void
note_reply(const struct fuse_in_header *in, const uint8_t *payload, size_t len)
{
    uint64_t node = in->nodeid;

    switch (in->opcode) {
    case FUSE_CREATE:
    case FUSE_TMPFILE:
    case FUSE_LOOKUP:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_SYMLINK:
    case FUSE_LINK:
        memcpy(&node, payload, 8);
        if (node)
            nodes[n_nodes < MAX_NODES ? n_nodes++ : 1 + node % (MAX_NODES - 1)] = node;
        if (len > sizeof(struct fuse_entry_out))
            note_handle(node, payload + sizeof(struct fuse_entry_out));
        break;
    case FUSE_OPEN:
    case FUSE_OPENDIR:
        note_handle(node, payload);
        break;
    default:
        break;
    }
}

/* Attributes that the guest is not to know of. */
static void
check_list(const uint8_t *list, size_t len)
{
    if (len > 0 && list[len - 1] != 0)
        abort();
    for (size_t at = 0; at < len; at += strnlen((const char *)list + at, len - at) + 1) {
        if (fs_ident_is_private((const char *)list + at))
            abort();
        if (!acls && len - at > 7 && memcmp(list + at, "system.", 7) == 0)
            abort();
    }
}

static void
check_reply(const struct sent *s, const uint8_t *reply, size_t written)
{
    struct fuse_out_header out;

    if (written < sizeof(out) || written > s->room)
        abort();
    memcpy(&out, reply, sizeof(out));
    if (out.len != written || out.unique != s->in.unique || out.error > 0)
        abort();
    fuzz_fs_no_secret(reply + sizeof(out), written - sizeof(out));
    if (!out.error && s->in.opcode == FUSE_LISTXATTR)
        check_list(reply + sizeof(out), written - sizeof(out));
    if (!out.error)
        note_reply(&s->in, reply + sizeof(out), written - sizeof(out));
}

static void
finished(struct fs_req *req)
{
    *(atomic_bool *)req->opaque = true;
}

/* A lock that another owner has is waited for, until the device stops. */
static void
give_up_waiting(struct fs *fs, atomic_bool *done)
{
    fs_req_cancel_all(fs);
    if (!atomic_load(done))
        abort();
}

static void
send_request(struct fs *fs, struct sent *s)
{
    /* Of their own size, so that a byte more is seen. */
    mb_autofree uint8_t *msg = malloc(s->len), *reply = malloc(s->room ? s->room : 1);
    size_t at_out = MB_MIN(s->split_out, s->len), at_in = MB_MIN(s->split_in, s->room);
    struct iovec out[2] = {{msg, at_out}, {msg + at_out, s->len - at_out}};
    struct iovec in[2] = {{reply, at_in}, {reply + at_in, s->room - at_in}};
    atomic_bool done = false;
    struct fs_req req = {.fs = fs, .out = out, .n_out = 2, .in = in, .n_in = 2, .may_wait = s->may_wait,
                         .others_wait = !s->may_wait, .done = finished, .opaque = &done};
    enum fs_req_state state;

    if (!msg || !reply)
        abort();
    memcpy(s->msg, &s->in, sizeof(s->in));
    memcpy(msg, s->msg, s->len);
    state = fs_req_run(&req, worker);
    if (state == FS_REQ_WAITS && !s->may_wait) {
        /* These two wait for the host's disks. */
        if (s->in.opcode == FUSE_SYNCFS || s->in.opcode == FUSE_FSYNC || s->in.opcode == FUSE_FSYNCDIR)
            return;
        if (s->len > sizeof(s->in))
            msg[sizeof(s->in) + s->in.uid % (s->len - sizeof(s->in))] ^= (uint8_t)s->room;
        req.may_wait = true;
        state = fs_req_run(&req, worker);
    }
    if (state == FS_REQ_PENDING)
        give_up_waiting(fs, &done);
    else if (state != FS_REQ_DONE)
        abort();
    if (req.written)
        check_reply(s, reply, req.written);
}

/* ---- records -------------------------------------------------------------------------------- */

static size_t
take_body(struct fuzz_input *input, uint8_t *body)
{
    uint16_t given = fuzz_u16(input);
    size_t len = given < 0xf000 ? given : long_bodies[given >> 8 & 15];
    size_t from_input = given < 0xf000 ? given : (given & 255) == 255 ? 0 : given & 255;

    memset(body, 0, len);
    fuzz_take(input, body, MB_MIN(MB_MIN(from_input, len), input->left));
    return len;
}

static void
one_record(struct fs *fs, struct fuzz_input *input)
{
    static _Thread_local uint8_t msg[sizeof(struct fuse_in_header) + HUGE_BODY];
    uint8_t *body = msg + sizeof(struct fuse_in_header), kind = fuzz_u8(input), node = fuzz_u8(input);
    uint8_t flags = fuzz_u8(input);
    bool wide = kind >= 128;
    struct sent s = {.msg = msg, .room = FS_MAX_REPLY, .split_out = flags >> 3, .may_wait = true};
    size_t len;

    s.in = (struct fuse_in_header){.opcode = kind & 63, .unique = 9, .nodeid = nodes[node % n_nodes]};
    if (wide) {
        s.in.uid = fuzz_u8(input);
        s.in.gid = s.in.uid & 3;
        s.room = fuzz_u16(input);
        s.split_in = fuzz_u8(input);
        s.may_wait = !(flags & 4);
        s.room = s.room == UINT16_MAX ? FS_MAX_REPLY + sizeof(struct fuse_out_header) : s.room;
    } else if (flags & 4) {
        s.room = 20;
    }
    len = take_body(input, body);
    if (kind >= 64 && kind < 128) {
        if (kind % 16 == 8)
            atomic_store(&host_acls, true);
        fuzz_fs_host(fuzz_fs_paths.share, fuzz_fs_paths.secret, kind, body, len);
        return;
    }
    if (node == 255)
        fuzz_take(input, &s.in.nodeid, sizeof(s.in.nodeid));
    if (flags & 1 && len >= 8 && n_handles) {
        memcpy(body, &handles[node % n_handles].fh, 8);
        if (wide)
            s.in.nodeid = handles[node % n_handles].node;
    }
    s.len = sizeof(s.in) + len;
    s.in.len = flags & 2 ? flags * 77u : (uint32_t)s.len;
    if (s.may_wait && (s.in.opcode == FUSE_SYNCFS || s.in.opcode == FUSE_FSYNC || s.in.opcode == FUSE_FSYNCDIR))
        return;
    send_request(fs, &s);
}

static void
know_the_root(void)
{
    n_nodes = 1;
    nodes[0] = 1;
    n_handles = 0;
}

static void
begin(struct fs *fs)
{
    struct fuse_init_in init = {.major = 7, .minor = 38, .flags = UINT32_MAX, .flags2 = UINT32_MAX};
    uint8_t msg[sizeof(struct fuse_in_header) + sizeof(init)];
    struct sent s = {.msg = msg, .len = sizeof(msg), .room = 256, .split_out = 40, .may_wait = true};

    know_the_root();
    s.in = (struct fuse_in_header){.len = sizeof(msg), .opcode = FUSE_INIT, .unique = 9};
    memcpy(msg + sizeof(s.in), &init, sizeof(init));
    send_request(fs, &s);
}

/* When the guest begins anew, nothing is left of what it had. */
static void
check_nothing_held(struct fs *fs)
{
    struct fs_node *node;

    fs_reset(fs);
    if (atomic_load(&fs->nodes.slab.live) != (fs->single ? 2 : 1) || atomic_load(&fs->handles.slab.live) != 0 ||
        atomic_load(&fs->handles.n_dir_buffers) != 0 || fs->locks.n_owners != 0 || fs->nodes.n_fds != 1)
        abort();
    for (uint32_t i = 1; (node = fs_slab_at(&fs->nodes.slab, i)); i++) {
        if (node != fs->root && atomic_load(&node->fd_state) != 0)
            abort();
    }
}

static int
lowest_free_fd(void)
{
    mb_autofd int fd = open("/", O_PATH | O_CLOEXEC);

    return fd;
}

static void
all_records(struct fs *fs, struct fuzz_input input)
{
    for (unsigned i = 0; i < MAX_REQUESTS && input.left > 0; i++)
        one_record(fs, &input);
}

struct second {
    struct fs *fs;
    struct fuzz_input input;
};

static void *
second_thread(void *data)
{
    const struct second *s = data;

    worker = fs_worker_new();
    if (!worker)
        abort();
    know_the_root();
    all_records(s->fs, s->input);
    fs_worker_free(worker);
    return NULL;
}

static void
twice_at_once(struct fs *fs, struct fuzz_input input)
{
    struct second second = {fs, input};
    pthread_t thread;

    if (pthread_create(&thread, NULL, second_thread, &second) != 0)
        abort();
    all_records(fs, input);
    pthread_join(thread, NULL);
}

static void
run(uint8_t mode, struct fuzz_input *input)
{
    struct fs_config config = {.shared_dir = fuzz_fs_paths.share, .max_nodes = 64, .max_fds = 16};
    int first_fd = lowest_free_fd();
    char err[FS_ERR_MAX];
    struct fs *fs;

    config.read_only = mode % 4 == 3;
    config.stat_virt = mode % 4 == 3 ? FS_STAT_RELAXED : (enum fs_stat_virt)(mode % 4);
    acls = config.stat_virt == FS_STAT_OFF;
    atomic_store(&host_acls, false);
    config.no_openat2 = mode & 4;
    if (mode & 8)
        config.quota = (struct fs_quota_config){.dir = fuzz_fs_paths.accounts, .bytes = 128u << 10, .inodes = 8};
    config.host_perms = mode & 16 ? FS_PERMS_MIRROR : FS_PERMS_PRIVATE;
    config.cache = mode & 32 ? FS_CACHE_ALWAYS : FS_CACHE_AUTO;
    config.writeback = mode & 32;
    if (mode & 64) {
        fuzz_fs_put_file(fuzz_fs_paths.file, "one", 3);
        config.shared_dir = NULL;
        config.shared_file = fuzz_fs_paths.file;
    }
    /* Without user attributes there is no strict mode. */
    if (fs_new(&config, &fs, err) < 0)
        return;
    begin(fs);
    if (mode & 128)
        twice_at_once(fs, *input);
    else
        all_records(fs, *input);
    check_nothing_held(fs);
    if (!acls && !atomic_load(&host_acls))
        fuzz_fs_no_acls(fuzz_fs_paths.share);
    fs_free(fs);
    if (lowest_free_fd() != first_fd)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    uint8_t mode = fuzz_u8(&input);

    if (!worker) {
        fuzz_fs_set_up();
        worker = fs_worker_new();
        mb_log_set_fd(-1);
    }
    fuzz_fs_make_share(mode & 8);
    run(mode, &input);
    fuzz_fs_remove_share();
    return 0;
}
