/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The node table, see fs-inode.h.  References and places of nodes are in
 * fs-inode-ref.c, their descriptors in fs-inode-fd.c.
 */
#include <config.h>

#include "fs-inode.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs-core.h"
#include "fs-inode-priv.h"
#include "fs-lock.h"

#define FIRST_BUCKETS 64u

int
fs_nodes_init(struct fs_nodes *nodes, uint32_t max_nodes, uint32_t max_fds)
{
    unsigned i;
    int r;

    for (i = 0; i < FS_NODE_SHARDS; i++) {
        pthread_mutex_init(&nodes->shards[i].lock, NULL);
        nodes->shards[i].buckets = calloc(FIRST_BUCKETS, sizeof(uint32_t));
        nodes->shards[i].n_buckets = FIRST_BUCKETS;
        if (!nodes->shards[i].buckets)
            return -ENOMEM;
    }
    for (i = 0; i < FS_NODE_LOCKS; i++)
        pthread_mutex_init(&nodes->locks[i], NULL);
    pthread_mutex_init(&nodes->fd_lock, NULL);
    nodes->fd_nodes = calloc(max_fds, sizeof(uint32_t));
    nodes->max_fds = max_fds;
    r = fs_slab_init(&nodes->slab, sizeof(struct fs_node), max_nodes);
    return nodes->fd_nodes ? r : -ENOMEM;
}

void
fs_node_release_owned(struct fs_node *node)
{
    free(node->name);
    node->name = NULL;
    fs_lock_owners_free(node->lock_owners);
    node->lock_owners = NULL;
    free(node->charge);
    node->charge = NULL;
}

void
fs_nodes_destroy(struct fs *fs)
{
    struct fs_nodes *nodes = &fs->nodes;
    uint32_t i;

    for (i = 1; nodes->slab.chunks && fs_slab_at(&nodes->slab, i); i++) {
        struct fs_node *node = fs_slab_at(&nodes->slab, i);
        uint64_t state = atomic_load(&node->fd_state);

        if (state)
            close(fs_fd_state_fd(state));
        fs_node_release_owned(node);
    }
    fs_slab_destroy(&nodes->slab);
    for (i = 0; i < FS_NODE_SHARDS; i++) {
        free(nodes->shards[i].buckets);
        pthread_mutex_destroy(&nodes->shards[i].lock);
    }
    for (i = 0; i < FS_NODE_LOCKS; i++)
        pthread_mutex_destroy(&nodes->locks[i]);
    pthread_mutex_destroy(&nodes->fd_lock);
    free(nodes->fd_nodes);
}

pthread_mutex_t *
fs_node_lock(struct fs *fs, struct fs_node *node)
{
    return &fs->nodes.locks[node->slot.idx % FS_NODE_LOCKS];
}

/* ---- identity -------------------------------------------------------------------- */

static struct fs_key
key_of(const struct statx *stx)
{
    struct fs_key key = {
        .ino = stx->stx_ino,
        .dev = stx->stx_dev_major << 20 | stx->stx_dev_minor,
        .mnt = fs_statx_mnt(stx),
    };

    if (stx->stx_mask & STATX_BTIME) {
        key.btime_sec = stx->stx_btime.tv_sec;
        key.btime_nsec = stx->stx_btime.tv_nsec;
    }
    return key;
}

static bool
key_equal(const struct fs_key *a, const struct fs_key *b)
{
    return a->ino == b->ino && a->dev == b->dev && a->mnt == b->mnt && a->btime_sec == b->btime_sec &&
           a->btime_nsec == b->btime_nsec;
}

static uint64_t
key_hash(const struct fs_key *key)
{
    uint64_t h = key->ino * UINT64_C(0x9e3779b97f4a7c15);

    h ^= (uint64_t)key->dev << 17 ^ key->mnt;
    h *= UINT64_C(0xbf58476d1ce4e5b9);
    return h ^ h >> 31;
}

bool
fs_node_matches(const struct fs_node *node, const struct statx *stx)
{
    struct fs_key key = key_of(stx);

    return key_equal(&node->key, &key) && node->type == (stx->stx_mode & S_IFMT);
}

uint32_t
fs_node_guest_type(struct fs *fs, struct fs_node *node)
{
    uint32_t mode;

    pthread_mutex_lock(fs_node_lock(fs, node));
    mode = node->ident.id.mode;
    pthread_mutex_unlock(fs_node_lock(fs, node));
    return mode & S_IFMT;
}

/* ---- the table ------------------------------------------------------------------- */

static struct fs_node_shard *
shard_of(struct fs_nodes *nodes, uint64_t hash)
{
    return &nodes->shards[hash % FS_NODE_SHARDS];
}

static uint32_t *
bucket_of(struct fs_node_shard *shard, uint64_t hash)
{
    return &shard->buckets[(hash / FS_NODE_SHARDS) & (shard->n_buckets - 1)];
}

/* Twice as many buckets, if there is memory; shard locked. */
static void
shard_grow(struct fs_nodes *nodes, struct fs_node_shard *shard)
{
    uint32_t n = shard->n_buckets * 2, i;
    uint32_t *buckets = calloc(n, sizeof(*buckets));
    uint32_t *old = shard->buckets;
    uint32_t n_old = shard->n_buckets;

    if (!buckets)
        return;
    shard->buckets = buckets;
    shard->n_buckets = n;
    for (i = 0; i < n_old; i++) {
        uint32_t idx = old[i];

        while (idx) {
            struct fs_node *node = fs_slab_at(&nodes->slab, idx);
            uint32_t *bucket = bucket_of(shard, key_hash(&node->key));

            idx = node->next;
            node->next = *bucket;
            *bucket = node->slot.idx;
        }
    }
    free(old);
}

/* Shard locked: what is found gets a reference, also if it had none left. */
static struct fs_node *
shard_find(struct fs_nodes *nodes, struct fs_node_shard *shard, uint64_t hash, const struct fs_key *key,
           uint16_t type)
{
    uint32_t idx = *bucket_of(shard, hash);

    while (idx) {
        struct fs_node *node = fs_slab_at(&nodes->slab, idx);

        if (key_equal(&node->key, key) && node->type == type) {
            atomic_fetch_add_explicit(&node->slot.refs, 1, memory_order_acquire);
            return node;
        }
        idx = node->next;
    }
    return NULL;
}

static void
shard_insert(struct fs_nodes *nodes, struct fs_node_shard *shard, uint64_t hash, struct fs_node *node)
{
    uint32_t *bucket;

    if (shard->n_nodes >= shard->n_buckets)
        shard_grow(nodes, shard);
    bucket = bucket_of(shard, hash);
    node->next = *bucket;
    *bucket = node->slot.idx;
    shard->n_nodes++;
    atomic_store(&node->shard, (unsigned short)(shard - nodes->shards));
}

static void
shard_remove(struct fs_nodes *nodes, struct fs_node_shard *shard, struct fs_node *node)
{
    uint32_t *link = bucket_of(shard, key_hash(&node->key));

    while (*link != node->slot.idx)
        link = &((struct fs_node *)fs_slab_at(&nodes->slab, *link))->next;
    *link = node->next;
    shard->n_nodes--;
    atomic_store(&node->shard, FS_NODE_NO_SHARD);
}

struct fs_node *
fs_node_find(struct fs *fs, const struct statx *stx)
{
    struct fs_key key = key_of(stx);
    uint64_t hash = key_hash(&key);
    struct fs_node_shard *shard = shard_of(&fs->nodes, hash);
    struct fs_node *node;

    pthread_mutex_lock(&shard->lock);
    node = shard_find(&fs->nodes, shard, hash, &key, stx->stx_mode & S_IFMT);
    pthread_mutex_unlock(&shard->lock);
    return node;
}

struct fs_node *
fs_node_make(struct fs *fs, const struct statx *stx, struct fs_node *parent, const char *name)
{
    struct fs_key key = key_of(stx);
    uint64_t hash = key_hash(&key);
    struct fs_node_shard *shard = shard_of(&fs->nodes, hash);
    struct fs_node *node;

    pthread_mutex_lock(&shard->lock);
    node = shard_find(&fs->nodes, shard, hash, &key, stx->stx_mode & S_IFMT);
    if (!node) {
        node = fs_slab_alloc(&fs->nodes.slab);
        if (node) {
            node->key = key;
            node->type = stx->stx_mode & S_IFMT;
            shard_insert(&fs->nodes, shard, hash, node);
            fs_slab_publish(&node->slot);
        }
    }
    pthread_mutex_unlock(&shard->lock);
    if (node && parent)
        fs_node_moved(fs, node, parent, name);
    return node;
}

struct fs_node *
fs_node_make_single(struct fs *fs)
{
    /* No file is like that. */
    const struct statx stx = {.stx_ino = UINT64_MAX, .stx_mode = S_IFREG};

    return fs_node_make(fs, &stx, NULL, NULL);
}

bool
fs_node_take_out(struct fs *fs, struct fs_node *node, unsigned shard_no)
{
    struct fs_node_shard *shard;
    bool unused;

    if (shard_no >= FS_NODE_SHARDS)
        return false;
    shard = &fs->nodes.shards[shard_no];
    pthread_mutex_lock(&shard->lock);
    unused = atomic_load(&node->shard) == shard_no && atomic_load(&node->slot.refs) == 0;
    if (unused)
        shard_remove(&fs->nodes, shard, node);
    pthread_mutex_unlock(&shard->lock);
    return unused;
}
