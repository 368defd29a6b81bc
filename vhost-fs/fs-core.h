/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One shared directory or file: its configuration, what was found out about
 * the host, and the tables.  The core knows nothing of how requests arrive: a
 * virtqueue, /dev/fuse and a test drive it alike (fs-req.h).
 *
 *   fs-req, fs-dispatch       a request, its decoding, the opcode table
 *   fs-init, fs-lookup, fs-attr, fs-file, fs-dir, fs-link, fs-xattr, fs-lock
 *                             the handlers by family (fs-ops.h lists them)
 *   fs-identity               owner, mode and type as the guest sees them
 *   fs-inode, fs-handle       the objects that a guest names by number
 *   fs-path                   names and descriptors, containment
 *
 * Threads: any number of them may run requests of one core at the same time.
 */
#ifndef FS_CORE_H
#define FS_CORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs-handle.h"
#include "fs-identity.h"
#include "fs-inode.h"
#include "fs-lock.h"
#include "fs-quota.h"
#include "mb-macros.h"

enum fs_cache {
    FS_CACHE_NONE,              /* nothing is cached by the guest */
    FS_CACHE_AUTO,              /* names and attributes for a second, data until it changed */
    FS_CACHE_ALWAYS,            /* the guest is told that nobody else changes anything */
};

struct fs_config {
    const char *shared_dir;     /* one of these two; borrowed for fs_new() */
    const char *shared_file;
    bool follow_root_symlinks;  /* in the path above; never below the share */
    bool read_only;
    enum fs_stat_virt stat_virt;
    enum fs_host_perms host_perms;
    bool have_owner;            /* owner is what every file without identity shows */
    uint32_t owner_uid, owner_gid;
    uint32_t map_uid, map_gid;  /* otherwise: what the process's own user shows as */
    enum fs_cache cache;
    bool no_xattr;              /* the guest has no extended attributes */
    bool writeback;             /* the guest may keep what was written for a while */
    struct fs_quota_config quota;
    uint32_t max_nodes;         /* 0: FS_MAX_NODES */
    uint32_t max_fds;           /* descriptors for nodes, as many again for open files; 0: from RLIMIT_NOFILE */

    /* For tests. */
    bool no_openat2;            /* take the path for kernels without openat2() */
    bool fail_identity;         /* writing an identity fails with ENOSPC */
};

/* In init_flags: a bit that the protocol does not use. */
#define FS_INITIALIZED (UINT64_C(1) << 63)

#define FS_MAX_NODES (1024u * 1024u)
#define FS_MAX_FDS 32768u       /* of each kind, even if RLIMIT_NOFILE would allow more */

struct fs {
    struct fs_config config;
    int proc_fd;                /* /proc/self/fd, also the working directory: see fs-path.h */
    int sync_fd;                /* a real descriptor of the shared directory, for syncfs() */
    bool openat2;               /* the kernel has it */
    bool ident_cache;           /* the host filesystem's ctime tells when an xattr changed */
    uint32_t euid;
    uint32_t root_mnt;          /* mount of the share; other ones below it are submounts */
    char *single;               /* single-file share: the one name in the root */
    struct fs_node *single_node; /* and the node of whatever file has that name */

    _Atomic uint64_t init_flags; /* what INIT agreed on, and FS_INITIALIZED; 0 before it */

    struct fs_nodes nodes;
    struct fs_handles handles;
    struct fs_locks locks;
    struct fs_quota *quota;     /* NULL: none */
    struct fs_node *root;
};

/*
 * Open the share and make a core.  On failure returns -errno and puts a
 * sentence that names the path and the cause in err (of FS_ERR_MAX bytes).
 * Makes /proc/self/fd the working directory of the process, sets its umask to
 * 0, and has it ignore SIGXFSZ.
 */
int fs_new(const struct fs_config *config, struct fs **fs, char *err) MB_MUST_CHECK;
#define FS_ERR_MAX 512

/* "<what>: <cause>" to err (FS_ERR_MAX bytes); returns error. */
int fs_fail(char *err, int error, const char *fmt, ...) MB_PRINTF(3, 4);

/* No request may be running. */
void fs_free(struct fs *fs);

/* All that the guest opened or looked up goes, as when it starts again; running requests end
 * well with what they hold.  Any thread. */
void fs_forget_guest(struct fs *fs);

/* That, and pending requests are given up.  No request may be running. */
void fs_reset(struct fs *fs);

#endif
