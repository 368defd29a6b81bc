/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Nodes: the files that the guest knows, by identity and by number.
 *
 * A node is a host file: device, inode number, mount and time of birth, so
 * that a number used again by the host is another node.  It remembers where it
 * was seen last (parent node and name) and may hold an O_PATH descriptor.
 * Most nodes hold none: a look-up needs none, and of the others the least used
 * are closed when the limit is reached.  When a descriptor is needed, it is
 * found in this order: the node's own, that of an open handle of the node, or
 * by walking from the nearest ancestor that has one, component by component,
 * with the identity compared at each step.  If something else lives there by
 * now the answer is ESTALE, upon which the guest looks the name up again.
 *
 * References: a running request, a child (whose parent it is), an open handle,
 * and the guest's look-ups together hold one each.  The root is never freed.
 *
 * Locks: the shard of a node guards its membership in the identity table; one
 * of an array of node locks guards location, handles, lock owners, and the
 * cached identity.  The descriptor is a word of its own, changed atomically.
 * No lock is held over a system call that may block.
 */
#ifndef FS_INODE_H
#define FS_INODE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "fs-identity.h"
#include "fs-slab.h"
#include "mb-macros.h"

struct fs;
struct fs_handle;
struct fs_lock_owner;

#define FS_NODE_SHARDS 64
#define FS_NODE_LOCKS 64
#define FS_NODE_MAX_WALK 1024   /* ancestors without descriptor that a walk goes through */

struct fs_key {
    uint64_t ino;
    int64_t btime_sec;
    uint32_t btime_nsec;
    uint32_t dev;
    uint32_t mnt;
};

struct fs_node {
    struct fs_slot slot;
    _Atomic uint64_t fd_state;  /* (descriptor + 1) << 32 | users; 0: none */
    _Atomic uint64_t nlookup;
    atomic_ushort shard;        /* FS_NODE_NO_SHARD: not in the table */
    atomic_bool recent;         /* second chance before the descriptor is closed */
    atomic_bool orphan;         /* no name any more: the descriptor must stay */
    uint16_t type;              /* S_IFMT bits on the host */
    uint32_t next;              /* in the bucket */
    uint32_t fd_slot;           /* position + 1 among the nodes with descriptors */
    struct fs_key key;

    /* Under the node lock. */
    struct fs_node *parent;     /* referenced */
    char *name;
    struct fs_handle *handles;
    struct fs_lock_owner *lock_owners;
    struct fs_ident_cache ident;

    struct fs_quota_charge *charge; /* fs-quota-limbo.c: for the file, which has no name, until the node is freed */
};
#define FS_NODE_NO_SHARD 0xffffu

struct fs_node_shard {
    pthread_mutex_t lock;
    uint32_t *buckets;          /* slot numbers */
    uint32_t n_buckets, n_nodes;
} __attribute__((aligned(64)));

struct fs_nodes {
    struct fs_slab slab;
    struct fs_node_shard shards[FS_NODE_SHARDS];
    pthread_mutex_t locks[FS_NODE_LOCKS];
    pthread_mutex_t fd_lock;    /* guards the rest */
    uint32_t *fd_nodes;         /* slot numbers of nodes with a descriptor */
    uint32_t n_fds, max_fds, hand;
    atomic_uint n_orphans;
};

/* A descriptor of a node while a request uses it; the node is referenced as long. */
struct fs_fd {
    int fd;
    bool real;                  /* not O_PATH: the f* calls work on it */
    struct fs_node *node;       /* whose user count is held, or */
    struct fs_handle *handle;   /* whose reference is held */
};
#define FS_FD_NONE \
    { \
        .fd = -1 \
    }

int fs_nodes_init(struct fs_nodes *nodes, uint32_t max_nodes, uint32_t max_fds) MB_MUST_CHECK;
void fs_nodes_destroy(struct fs *fs);

/* The node of a guest's node number with a reference, or NULL. */
struct fs_node *fs_node_get(struct fs *fs, uint64_t nodeid);
void fs_node_put(struct fs *fs, struct fs_node *node);
struct fs_node *fs_node_ref(struct fs_node *node);

static inline uint64_t
fs_node_id(struct fs_node *node)
{
    return fs_slab_id(&node->slot);
}

/* The node with that identity if there is one, with a reference; or NULL. */
struct fs_node *fs_node_find(struct fs *fs, const struct statx *stx);

/* The node of a single-file share's file: the same one whichever file has the name, because the guest may
 * have bound it somewhere, where nothing is ever looked up again. NULL with errno. */
struct fs_node *fs_node_make_single(struct fs *fs);

/* Find or make it, and note that it was seen as name in parent (both may be NULL: a file
 * without a name). NULL with errno ENOMEM, or ENFILE when the table is full. */
struct fs_node *fs_node_make(struct fs *fs, const struct statx *stx, struct fs_node *parent, const char *name);

/* The guest's type of a file as it was found last: S_IFMT bits, or 0 if nobody looked. */
uint32_t fs_node_guest_type(struct fs *fs, struct fs_node *node);

/* True if both the host and the guest hold it for a regular file. */
static inline bool
fs_node_is_file(struct fs *fs, struct fs_node *node)
{
    uint32_t type = fs_node_guest_type(fs, node);

    return node->type == S_IFREG && (type == 0 || type == S_IFREG);
}

bool fs_node_matches(const struct fs_node *node, const struct statx *stx);

/* Note a new place of a node; errors are harmless (a later walk fails with ESTALE). */
void fs_node_moved(struct fs *fs, struct fs_node *node, struct fs_node *parent, const char *name);

/* The node's name is about to vanish: make sure it stays usable, within limits. */
void fs_node_keep(struct fs *fs, struct fs_node *node, bool last_link);

/* The guest's look-up count. */
void fs_node_looked_up(struct fs_node *node);
void fs_node_forget(struct fs *fs, struct fs_node *node, uint64_t n);
void fs_node_forget_all(struct fs *fs);

/* A descriptor of the node. 0, or -ESTALE, -ENOENT, -ENFILE... */
int fs_node_fd(struct fs *fs, struct fs_node *node, struct fs_fd *fd) MB_MUST_CHECK;
/* Only if it needs no system call. */
bool fs_node_fd_ready(struct fs *fs, struct fs_node *node, struct fs_fd *fd);
void fs_fd_put(struct fs_fd *fd);

/* Give the node the O_PATH descriptor fd (owned from here on, closed if not wanted), and use it. */
void fs_node_adopt_fd(struct fs *fs, struct fs_node *node, int path_fd, struct fs_fd *fd);

/* Where the node was seen last, for messages: name in buf. */
void fs_node_name(struct fs *fs, struct fs_node *node, char *buf, size_t size);

pthread_mutex_t *fs_node_lock(struct fs *fs, struct fs_node *node);

/* Scope clean-up. */
struct fs_node_ref {
    struct fs *fs;
    struct fs_node *node;
};
static inline void
fs_node_ref_clear(struct fs_node_ref *ref)
{
    if (ref->node)
        fs_node_put(ref->fs, ref->node);
    ref->node = NULL;
}
#define fs_auto_node MB_CLEANUP(fs_node_ref_clear)
#define fs_auto_fd MB_CLEANUP(fs_fd_put)

#endif
