/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Command line: a table for getopt_long, one case per option, and the checks
 * across options at the end.
 */
#include <config.h>

#include "fs-options.h"

#include <linux/virtio_fs.h>
#include <stdlib.h>
#include <string.h>

#include "fs-pool.h"
#include "mb-log.h"
#include "mb-parse.h"

enum {
    OPT_CACHE = VH_MAIN_OPT_FIRST,
    OPT_FOLLOW,
    OPT_GID,
    OPT_HOST_PERMS,
    OPT_MAP_OWNER,
    OPT_MAX_INODES,
    OPT_MOUNT,
    OPT_NO_OPENAT2,
    OPT_NO_XATTR,
    OPT_POLL_US,
    OPT_PRINT_CONFINEMENT,
    OPT_QUOTA,
    OPT_QUOTA_DIR,
    OPT_QUOTA_INODES,
    OPT_QUOTA_RECOUNT,
    OPT_READ_ONLY,
    OPT_SHARED_DIR,
    OPT_SHARED_FILE,
    OPT_STAT_VIRT,
    OPT_TAG,
    OPT_THREADS,
    OPT_UID,
    OPT_WRITEBACK,
};

static const struct option long_options[] = {
    {"cache", required_argument, NULL, OPT_CACHE},
    {"follow-root-symlinks", no_argument, NULL, OPT_FOLLOW},
    {"gid", required_argument, NULL, OPT_GID},
    {"host-perms", required_argument, NULL, OPT_HOST_PERMS},
    {"map-owner", required_argument, NULL, OPT_MAP_OWNER},
    {"max-inodes", required_argument, NULL, OPT_MAX_INODES},
    {"mount", required_argument, NULL, OPT_MOUNT},
    {"no-openat2", no_argument, NULL, OPT_NO_OPENAT2},
    {"no-xattr", no_argument, NULL, OPT_NO_XATTR},
    {"poll-us", required_argument, NULL, OPT_POLL_US},
    {"print-confinement", no_argument, NULL, OPT_PRINT_CONFINEMENT},
    {"quota", required_argument, NULL, OPT_QUOTA},
    {"quota-dir", required_argument, NULL, OPT_QUOTA_DIR},
    {"quota-inodes", required_argument, NULL, OPT_QUOTA_INODES},
    {"quota-recount", no_argument, NULL, OPT_QUOTA_RECOUNT},
    {"read-only", no_argument, NULL, OPT_READ_ONLY},
    {"shared-dir", required_argument, NULL, OPT_SHARED_DIR},
    {"shared-file", required_argument, NULL, OPT_SHARED_FILE},
    {"stat-virt", required_argument, NULL, OPT_STAT_VIRT},
    {"tag", required_argument, NULL, OPT_TAG},
    {"thread-pool-size", required_argument, NULL, OPT_THREADS},
    {"uid", required_argument, NULL, OPT_UID},
    {"writeback", no_argument, NULL, OPT_WRITEBACK},
    {NULL, 0, NULL, 0},
};

static const char *const help[] = {
    "  --shared-dir=PATH     serve this directory, or",
    "  --shared-file=PATH    a directory with this one file in it",
    "  --follow-root-symlinks  allow symbolic links in that path",
    "  --tag=NAME            the name that the guest mounts by, at most 36 bytes",
    "  --read-only           refuse every change",
    "  --stat-virt=strict|relaxed|off",
    "                        keep owner and mode in an extended attribute (default: strict)",
    "  --host-perms=private|mirror",
    "                        let chmod reach the host's permission bits, or not (default: private)",
    "  --map-owner=UID:GID   owner that files of this process's user show (default: 0:0)",
    "  --uid=N --gid=N       owner that all files without an identity of their own show",
    "  --cache=none|auto|always",
    "                        what the guest may keep: nothing; names and attributes for a",
    "                        second (default); everything",
    "  --writeback           let the guest keep what was written for a while",
    "  --no-xattr            give the guest no extended attributes, and save its requests for them",
    "  --thread-pool-size=N  threads for requests that block, 0 to 64 (default: 8)",
    "  --poll-us=N           look for the next request for up to N microseconds before sleeping,",
    "                        0 to 1000 (default: 50)",
    "  --max-inodes=N        files that the guest may know at a time (default: 1048576)",
    "  --quota=SIZE          let all files together have at most SIZE allocated (K, M, G, T)",
    "  --quota-inodes=N      let there be at most N files",
    "  --quota-dir=DIR       where the account is that all servers of the share have in common",
    "  --quota-recount       count what is there, though the account was left in order",
    "  --mount=DIR           serve this host instead of a guest: mount the share on DIR (root only)",
    "  --no-openat2          find files as on kernels without openat2()",
    "  --print-confinement   confine the process, print what was applied as JSON, exit",
    NULL,
};

static const char capabilities[] = "{\"type\": \"fs\"}";

/* The position of arg in names (which ends with NULL). */
static int
set_choice(const char *option, const char *arg, const char *const *names, const char *want, int *value)
{
    int i;

    for (i = 0; names[i]; i++) {
        if (strcmp(arg, names[i]) == 0) {
            *value = i;
            return 0;
        }
    }
    return vh_main_bad_value(option, arg, want);
}

static int
set_owner(const char *arg, struct fs_config *config)
{
    const char *colon = strchr(arg, ':');
    char uid[16];
    uint32_t u, g;

    if (!colon || (size_t)(colon - arg) >= sizeof(uid))
        return vh_main_bad_value("map-owner", arg, "UID:GID");
    memcpy(uid, arg, (size_t)(colon - arg));
    uid[colon - arg] = 0;
    if (mb_parse_u32(uid, &u) < 0 || mb_parse_u32(colon + 1, &g) < 0 || u == UINT32_MAX || g == UINT32_MAX)
        return vh_main_bad_value("map-owner", arg, "UID:GID");
    config->map_uid = u;
    config->map_gid = g;
    return 0;
}

static int
set_mode(struct fs_config *config, int val, const char *arg)
{
    static const char *const caches[] = {"none", "auto", "always", NULL};
    static const char *const perms[] = {"private", "mirror", NULL};
    static const char *const virts[] = {"strict", "relaxed", "off", NULL};
    int v = 0, r;

    switch (val) {
    case OPT_CACHE:
        r = set_choice("cache", arg, caches, "none, auto or always", &v);
        config->cache = (enum fs_cache)v;
        return r;
    case OPT_HOST_PERMS:
        r = set_choice("host-perms", arg, perms, "private or mirror", &v);
        config->host_perms = (enum fs_host_perms)v;
        return r;
    default:
        r = set_choice("stat-virt", arg, virts, "strict, relaxed or off", &v);
        config->stat_virt = (enum fs_stat_virt)v;
        return r;
    }
}

static int
set_quota(struct fs_quota_config *quota, int val, const char *arg)
{
    switch (val) {
    case OPT_QUOTA:
        return mb_parse_size(arg, &quota->bytes) == 0 && quota->bytes > 0 && quota->bytes <= INT64_MAX
                   ? 0 : vh_main_bad_value("quota", arg, "a size, such as 500M");
    case OPT_QUOTA_DIR:
        quota->dir = arg;
        return 0;
    case OPT_QUOTA_INODES:
        return mb_parse_u64(arg, &quota->inodes) == 0 && quota->inodes > 0 && quota->inodes <= INT64_MAX
                   ? 0 : vh_main_bad_value("quota-inodes", arg, "a number above 0");
    default:
        quota->recount = true;
        return 0;
    }
}

static int
set_option(void *opaque, int val, const char *arg)
{
    struct fs_options *o = opaque;

    switch (val) {
    case OPT_CACHE:
    case OPT_HOST_PERMS:
    case OPT_STAT_VIRT:
        return set_mode(&o->config, val, arg);
    case OPT_FOLLOW:
        o->config.follow_root_symlinks = true;
        return 0;
    case OPT_GID:
        o->have_gid = true;
        return vh_main_number("gid", arg, 0, UINT32_MAX - 1, &o->config.owner_gid);
    case OPT_MAP_OWNER:
        return set_owner(arg, &o->config);
    case OPT_MAX_INODES:
        return vh_main_number("max-inodes", arg, 1024, 64u << 20, &o->config.max_nodes);
    case OPT_MOUNT:
        return realpath(arg, o->mount_point) ? 0 : vh_main_bad_value("mount", arg, "a directory that exists");
    case OPT_NO_OPENAT2:
        o->config.no_openat2 = true;
        return 0;
    case OPT_NO_XATTR:
        o->config.no_xattr = true;
        return 0;
    case OPT_POLL_US:
        return vh_main_number("poll-us", arg, 0, 1000, &o->poll_us);
    case OPT_PRINT_CONFINEMENT:
        o->print_confinement = true;
        return 0;
    case OPT_QUOTA:
    case OPT_QUOTA_DIR:
    case OPT_QUOTA_INODES:
    case OPT_QUOTA_RECOUNT:
        return set_quota(&o->config.quota, val, arg);
    case OPT_READ_ONLY:
        o->config.read_only = true;
        return 0;
    case OPT_SHARED_DIR:
        o->config.shared_dir = arg;
        return 0;
    case OPT_SHARED_FILE:
        o->config.shared_file = arg;
        return 0;
    case OPT_TAG:
        o->tag = arg;
        return *arg && strlen(arg) <= sizeof(((struct virtio_fs_config *)0)->tag)
                   ? 0 : vh_main_bad_value("tag", arg, "1 to 36 bytes");
    case OPT_THREADS:
        return vh_main_number("thread-pool-size", arg, 0, FS_POOL_MAX_THREADS, &o->threads);
    case OPT_UID:
        o->have_uid = true;
        return vh_main_number("uid", arg, 0, UINT32_MAX - 1, &o->config.owner_uid);
    case OPT_WRITEBACK:
        o->config.writeback = true;
        return 0;
    }
    return -1;
}

static bool
without_socket(void *opaque)
{
    const struct fs_options *o = opaque;

    return o->print_confinement || o->mount_point[0];
}

static int
check(struct fs_options *o)
{
    if (o->common.print_capabilities)
        return 0;
    if (!o->config.shared_dir == !o->config.shared_file) {
        mb_error("one of --shared-dir and --shared-file is needed");
        return -1;
    }
    if (o->have_uid != o->have_gid) {
        mb_error("--uid and --gid belong together");
        return -1;
    }
    if (o->config.stat_virt == FS_STAT_OFF && (o->config.host_perms == FS_PERMS_MIRROR || o->have_uid)) {
        mb_error("--stat-virt=off shows what the host has: --host-perms=mirror, --uid and --gid do not go with it");
        return -1;
    }
    if (!o->config.quota.dir && (o->config.quota.bytes || o->config.quota.inodes || o->config.quota.recount)) {
        mb_error("--quota and --quota-inodes need --quota-dir, where the account is kept");
        return -1;
    }
    if (o->config.quota.dir && o->config.shared_file) {
        mb_error("a quota goes with --shared-dir");
        return -1;
    }
    if (o->config.writeback && o->config.cache == FS_CACHE_NONE) {
        mb_error("--writeback keeps data in the guest, --cache=none does not");
        return -1;
    }
    o->config.have_owner = o->have_uid;
    return 0;
}

int
fs_options_parse(int argc, char **argv, struct fs_options *opts)
{
    static const struct vh_main_program program = {
        .name = "msb-vhost-fs",
        .synopsis = "serve a host directory or file to a guest over virtio-fs",
        .help = help,
        .capabilities = capabilities,
        .options = long_options,
        .option = set_option,
        .without_socket = without_socket,
    };
    int r;

    memset(opts, 0, sizeof(*opts));
    opts->config.cache = FS_CACHE_AUTO;
    opts->threads = 8;
    opts->poll_us = 50;
    r = vh_main_parse(&program, opts, argc, argv, &opts->common);
    return r == 0 ? check(opts) : r;
}
