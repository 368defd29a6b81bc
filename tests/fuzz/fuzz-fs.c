/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * FUSE requests against the core of vhost-fs, on a share in a temporary
 * directory that is made anew for every input.
 *
 * Input: first byte 0 strict, 1 relaxed, 2 off, 3 read-only; then requests:
 * opcode (u8), node (u8: an index into the node numbers that replies gave so
 * far; 255: eight bytes of input), flags (u8: 1 put a file handle from a reply
 * into the first eight bytes of the body, 2 a header that lies about the
 * length, 4 a reply of 20 bytes only), length of the body (u16; 65535: 1 MiB of
 * zeros), the body.
 *
 * Replies must be well formed, and nothing outside the share may change.
 */
#include <config.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs-core.h"
#include "fs-req.h"
#include "fuzz.h"
#include "mb-log.h"

#define MAX_REQUESTS 200
#define MAX_NODES 32
#define HUGE_BODY (1u << 20)

static char top[64], share[80];
static struct fs_worker *worker;
static uint64_t nodes[MAX_NODES], handles[MAX_NODES];
static unsigned n_nodes, n_handles;

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void
remove_top(void)
{
    nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
set_up(void)
{
    struct rlimit limit = {16u << 20, 16u << 20};
    const char *base = getenv("TMPDIR");

    /* A guest may ask for files of any size. */
    setrlimit(RLIMIT_FSIZE, &limit);
    signal(SIGXFSZ, SIG_IGN);
    snprintf(top, sizeof(top), "%.40s/fuzz-fs.XXXXXX", base && *base == '/' ? base : "/tmp");
    if (!mkdtemp(top))
        abort();
    atexit(remove_top);
    snprintf(share, sizeof(share), "%s/share", top);
    worker = fs_worker_new();
    mb_log_set_fd(-1);
}

/* The directory above the share has the share in it and nothing else. */
static void
check_outside(void)
{
    DIR *d = opendir(top);
    struct dirent *e;

    if (!d)
        abort();
    while ((e = readdir(d))) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && strcmp(e->d_name, "share") != 0)
            abort();
    }
    closedir(d);
}

static void
send_request(struct fs *fs, struct fuse_in_header *in, uint8_t *msg, size_t len, size_t room, size_t split)
{
    static uint8_t reply[FS_MAX_REPLY + 64];
    struct fuse_out_header out;
    struct iovec out_iov[2], in_iov = {reply, room};
    struct fs_req req = {.fs = fs, .out = out_iov, .n_out = 2, .in = &in_iov, .n_in = 1, .may_wait = true};

    memcpy(msg, in, sizeof(*in));
    split = split > len ? len : split;
    out_iov[0] = (struct iovec){msg, split};
    out_iov[1] = (struct iovec){msg + split, len - split};
    if (fs_req_run(&req, worker) != FS_REQ_DONE)
        abort();
    if (req.written == 0)
        return;
    memcpy(&out, reply, sizeof(out));
    if (req.written > room || out.len != req.written || out.unique != in->unique || out.error > 0)
        abort();
    if (out.error)
        return;
    if (out.len >= sizeof(out) + sizeof(struct fuse_entry_out) && n_nodes < MAX_NODES)
        memcpy(&nodes[n_nodes++], reply + sizeof(out), 8);
    if (out.len == sizeof(out) + sizeof(struct fuse_open_out) && n_handles < MAX_NODES)
        memcpy(&handles[n_handles++], reply + sizeof(out), 8);
    if (out.len == sizeof(out) + sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out) && n_handles < MAX_NODES)
        memcpy(&handles[n_handles++], reply + sizeof(out) + sizeof(struct fuse_entry_out), 8);
}

static void
one_request(struct fs *fs, struct fuzz_input *input)
{
    static uint8_t msg[sizeof(struct fuse_in_header) + HUGE_BODY];
    uint8_t opcode = fuzz_u8(input), node = fuzz_u8(input), flags = fuzz_u8(input);
    uint16_t given = fuzz_u16(input);
    size_t body = given == UINT16_MAX ? HUGE_BODY : given;
    size_t len = sizeof(struct fuse_in_header) + body;
    struct fuse_in_header in = {.len = (uint32_t)len, .opcode = opcode, .unique = 9};

    if (node == 255)
        fuzz_take(input, &in.nodeid, sizeof(in.nodeid));
    else
        in.nodeid = n_nodes ? nodes[node % n_nodes] : 1;
    if (body == HUGE_BODY)
        memset(msg + sizeof(in), 0, body);
    else
        fuzz_take(input, msg + sizeof(in), body);
    if (flags & 1 && body >= 8 && n_handles)
        memcpy(msg + sizeof(in), &handles[node % n_handles], 8);
    if (flags & 2)
        in.len = flags * 77u;
    /* These two wait for the host's disks. */
    if (opcode == FUSE_SYNCFS || opcode == FUSE_FSYNC)
        return;
    send_request(fs, &in, msg, len, flags & 4 ? 20 : FS_MAX_REPLY, flags >> 3);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct fs_config config = {.shared_dir = share, .max_nodes = 64, .max_fds = 16};
    struct fuse_init_in init = {.major = 7, .minor = 38, .flags = UINT32_MAX, .flags2 = UINT32_MAX};
    struct fuse_in_header in = {.len = sizeof(in) + sizeof(init), .opcode = FUSE_INIT, .unique = 9};
    uint8_t msg[sizeof(in) + sizeof(init)];
    uint8_t mode = fuzz_u8(&input) % 4;
    char err[FS_ERR_MAX];
    struct fs *fs;
    unsigned i;

    if (!worker)
        set_up();
    if (mkdir(share, 0700) < 0)
        abort();
    config.stat_virt = mode == 3 ? FS_STAT_RELAXED : (enum fs_stat_virt)mode;
    config.read_only = mode == 3;
    /* Without user attributes there is no strict mode. */
    if (fs_new(&config, &fs, err) == 0) {
        n_nodes = 1;
        nodes[0] = 1;
        n_handles = 0;
        memcpy(msg + sizeof(in), &init, sizeof(init));
        send_request(fs, &in, msg, sizeof(msg), 256, 40);
        for (i = 0; i < MAX_REQUESTS && input.left > 0; i++)
            one_request(fs, &input);
        fs_free(fs);
    }
    nftw(share, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    check_outside();
    return 0;
}
