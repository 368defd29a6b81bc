/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The name space of an EROFS image under construction: see the header.
 *
 * Nodes live in chunks that never move, so node pointers stay valid; they link
 * to each other by 32-bit ids.  One hash table, chained through the nodes, maps
 * (directory, name) to a node.  Children of a directory are a list, newest
 * first; a name that is replaced keeps its node, so nothing is ever unlinked
 * from that list: a node that lost its content stays there as UNKNOWN.
 */
#include <config.h>

#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "msb-erofs-format.h"
#include "msb-erofs-tree.h"
#include "msb-error.h"

#define NODE_CHUNK_BITS 12
#define NODE_CHUNK (1u << NODE_CHUNK_BITS)
#define ARENA_CHUNK (64 * 1024)
#define FIRST_HASH_SIZE 1024
#define MAX_NODES (1u << 30)

struct _MsbErofsTree {
    GPtrArray *node_chunks;   /* of MsbErofsNode[NODE_CHUNK] */
    guint32 n_nodes;
    guint32 *hash;            /* heads of chains */
    guint32 hash_size;        /* a power of two */
    guint64 key[2];
    GPtrArray *arena;         /* of memory blocks */
    guint8 *arena_next, *arena_end;
    guint64 memory, max_memory;
    MsbErofsNameGone gone;
    gpointer gone_data;
};

static guint64
rotate_left(guint64 x, guint n)
{
    return x << n | x >> (64 - n);
}

static void
sip_round(guint64 v[4])
{
    v[0] += v[1];
    v[1] = rotate_left(v[1], 13) ^ v[0];
    v[0] = rotate_left(v[0], 32);
    v[2] += v[3];
    v[3] = rotate_left(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate_left(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate_left(v[1], 17) ^ v[2];
    v[2] = rotate_left(v[2], 32);
}

static void
sip_word(guint64 v[4], guint64 word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

/* SipHash-1-3 of the directory's number followed by the name. */
static guint32
hash_name(const MsbErofsTree *tree, guint32 parent, const char *name, gsize length)
{
    guint64 v[4] = {tree->key[0] ^ 0x736f6d6570736575u, tree->key[1] ^ 0x646f72616e646f6du,
                    tree->key[0] ^ 0x6c7967656e657261u, tree->key[1] ^ 0x7465646279746573u};
    guint64 word;

    sip_word(v, parent);
    for (; length >= sizeof word; name += sizeof word, length -= sizeof word) {
        memcpy(&word, name, sizeof word);
        sip_word(v, word);
    }
    word = (guint64)length << 56;
    memcpy(&word, name, length);
    sip_word(v, word);
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return (guint32)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

static gboolean
charge(MsbErofsTree *tree, guint64 size)
{
    if (size > tree->max_memory - tree->memory)
        return FALSE;
    tree->memory += size;
    return TRUE;
}

gpointer
msb_erofs_tree_alloc(MsbErofsTree *tree, gsize size)
{
    gpointer result;

    size = (size + 7) & ~(gsize)7;
    if (size > (gsize)(tree->arena_end - tree->arena_next)) {
        gsize chunk = MAX(size, (gsize)ARENA_CHUNK);
        guint8 *memory = charge(tree, chunk) ? g_try_malloc(chunk) : NULL;

        if (!memory)
            return NULL;
        g_ptr_array_add(tree->arena, memory);
        if (size > ARENA_CHUNK / 4)
            return memory; /* of its own: the current chunk is not given up for it */
        tree->arena_next = memory;
        tree->arena_end = memory + chunk;
    }
    result = tree->arena_next;
    tree->arena_next += size;
    return result;
}

char *
msb_erofs_tree_copy(MsbErofsTree *tree, const char *bytes, gsize length)
{
    char *copy = msb_erofs_tree_alloc(tree, length + 1);

    if (copy) {
        memcpy(copy, bytes, length);
        copy[length] = '\0';
    }
    return copy;
}

MsbErofsNode *
msb_erofs_tree_node(MsbErofsTree *tree, guint32 id)
{
    MsbErofsNode *chunk = g_ptr_array_index(tree->node_chunks, id >> NODE_CHUNK_BITS);

    return chunk + (id & (NODE_CHUNK - 1));
}

static gboolean
grow_hash(MsbErofsTree *tree)
{
    guint32 size = tree->hash ? tree->hash_size * 2 : FIRST_HASH_SIZE;
    guint32 *hash = charge(tree, (guint64)size * sizeof *hash) ? g_try_new(guint32, size) : NULL;

    if (!hash)
        return FALSE;
    memset(hash, 0xff, (gsize)size * sizeof *hash);
    for (guint32 i = 0; i < tree->hash_size; i++) {
        for (guint32 id = tree->hash[i], next; id != MSB_EROFS_NO_NODE; id = next) {
            MsbErofsNode *node = msb_erofs_tree_node(tree, id);
            guint32 *head = &hash[hash_name(tree, node->parent, node->name, node->name_length) & (size - 1)];

            next = node->hash_next;
            node->hash_next = *head;
            *head = id;
        }
    }
    tree->memory -= (guint64)tree->hash_size * sizeof *hash;
    g_free(tree->hash);
    tree->hash = hash;
    tree->hash_size = size;
    return TRUE;
}

static guint32
new_node(MsbErofsTree *tree, guint32 parent, const char *name, gsize length)
{
    guint32 id = tree->n_nodes;
    MsbErofsNode *node;

    if (id == MAX_NODES)
        return MSB_EROFS_NO_NODE;
    if (id >> NODE_CHUNK_BITS == tree->node_chunks->len) {
        gsize size = NODE_CHUNK * sizeof(MsbErofsNode);
        gpointer chunk = charge(tree, size) ? g_try_malloc0(size) : NULL;

        if (!chunk)
            return MSB_EROFS_NO_NODE;
        g_ptr_array_add(tree->node_chunks, chunk);
    }
    node = msb_erofs_tree_node(tree, id);
    node->name = msb_erofs_tree_copy(tree, name, length);
    if (!node->name)
        return MSB_EROFS_NO_NODE;
    node->name_length = (guint8)length;
    node->parent = parent;
    node->next = node->hash_next = MSB_EROFS_NO_NODE;
    tree->n_nodes++;
    return id;
}

MsbErofsTree *
msb_erofs_tree_new(guint64 max_bytes, MsbErofsNameGone gone, gpointer data)
{
    MsbErofsTree *tree = g_new0(MsbErofsTree, 1);

    tree->node_chunks = g_ptr_array_new_with_free_func(g_free);
    tree->arena = g_ptr_array_new_with_free_func(g_free);
    tree->max_memory = max_bytes;
    tree->gone = gone;
    tree->gone_data = data;
    if (getrandom(tree->key, sizeof tree->key, 0) != sizeof tree->key) {
        tree->key[0] = (guint64)g_get_monotonic_time();
        tree->key[1] = (guintptr)tree;
    }
    if (!grow_hash(tree) || new_node(tree, MSB_EROFS_NO_NODE, "", 0) == MSB_EROFS_NO_NODE ||
        !msb_erofs_tree_make_dir(tree, MSB_EROFS_ROOT_NODE))
        g_clear_pointer(&tree, msb_erofs_tree_free);
    return tree;
}

void
msb_erofs_tree_free(MsbErofsTree *tree)
{
    if (!tree)
        return;
    g_ptr_array_unref(tree->node_chunks);
    g_ptr_array_unref(tree->arena);
    g_free(tree->hash);
    g_free(tree);
}

guint32
msb_erofs_tree_find(MsbErofsTree *tree, guint32 parent, const char *name, gsize length)
{
    guint32 id = tree->hash[hash_name(tree, parent, name, length) & (tree->hash_size - 1)];

    while (id != MSB_EROFS_NO_NODE) {
        const MsbErofsNode *node = msb_erofs_tree_node(tree, id);

        if (node->parent == parent && node->name_length == length && memcmp(node->name, name, length) == 0)
            break;
        id = node->hash_next;
    }
    return id;
}

guint32
msb_erofs_tree_add(MsbErofsTree *tree, guint32 parent, const char *name, gsize length)
{
    MsbErofsDir *dir = msb_erofs_tree_node(tree, parent)->u.dir;
    MsbErofsNode *node;
    guint32 id, *head;

    if (tree->n_nodes >= tree->hash_size && !grow_hash(tree))
        return MSB_EROFS_NO_NODE;
    id = new_node(tree, parent, name, length);
    if (id == MSB_EROFS_NO_NODE)
        return id;
    node = msb_erofs_tree_node(tree, id);
    head = &tree->hash[hash_name(tree, parent, name, length) & (tree->hash_size - 1)];
    node->hash_next = *head;
    *head = id;
    node->next = dir->first_child;
    dir->first_child = id;
    return id;
}

static void
unhash(MsbErofsTree *tree, guint32 id)
{
    MsbErofsNode *node = msb_erofs_tree_node(tree, id);
    guint32 slot = hash_name(tree, node->parent, node->name, node->name_length) & (tree->hash_size - 1);
    guint32 *link = &tree->hash[slot];

    while (*link != id)
        link = &msb_erofs_tree_node(tree, *link)->hash_next;
    *link = node->hash_next;
}

/* Depth first without recursion: a directory's list is eaten from its head. */
static void
drop_children(MsbErofsTree *tree, guint32 top)
{
    guint32 at = top;

    for (;;) {
        MsbErofsNode *node = msb_erofs_tree_node(tree, at);

        if (node->type == MSB_EROFS_FT_DIR && node->u.dir->first_child != MSB_EROFS_NO_NODE) {
            guint32 child = node->u.dir->first_child;

            node->u.dir->first_child = msb_erofs_tree_node(tree, child)->next;
            at = child;
            continue;
        }
        if (at == top)
            return;
        if (node->type != MSB_EROFS_FT_DIR && node->type != MSB_EROFS_FT_UNKNOWN)
            tree->gone(node->nid, tree->gone_data);
        unhash(tree, at);
        at = node->parent;
    }
}

void
msb_erofs_tree_reset(MsbErofsTree *tree, guint32 id)
{
    MsbErofsNode *node = msb_erofs_tree_node(tree, id);

    if (node->type == MSB_EROFS_FT_DIR)
        drop_children(tree, id);
    else if (node->type != MSB_EROFS_FT_UNKNOWN)
        tree->gone(node->nid, tree->gone_data);
    node->type = MSB_EROFS_FT_UNKNOWN;
    node->whiteout = FALSE;
}

gboolean
msb_erofs_tree_make_dir(MsbErofsTree *tree, guint32 id)
{
    MsbErofsNode *node = msb_erofs_tree_node(tree, id);
    MsbErofsDir *dir = msb_erofs_tree_alloc(tree, sizeof *dir);

    if (!dir)
        return FALSE;
    *dir = (MsbErofsDir){.attr.mode = S_IFDIR | 0755, .first_child = MSB_EROFS_NO_NODE, .implicit = TRUE};
    /* What a lower layer has under a name that was taken away must not show through. */
    dir->opaque = node->whiteout;
    msb_erofs_tree_reset(tree, id);
    node->type = MSB_EROFS_FT_DIR;
    node->u.dir = dir;
    return TRUE;
}

static gint
compare_names(gconstpointer a, gconstpointer b, gpointer data)
{
    MsbErofsTree *tree = data;
    const MsbErofsNode *x = msb_erofs_tree_node(tree, *(const guint32 *)a);
    const MsbErofsNode *y = msb_erofs_tree_node(tree, *(const guint32 *)b);
    int order = memcmp(x->name, y->name, MIN(x->name_length, y->name_length));

    return order ? order : (gint)x->name_length - (gint)y->name_length;
}

void
msb_erofs_tree_sort(MsbErofsTree *tree, MsbErofsDir *dir, GArray *scratch)
{
    g_array_set_size(scratch, 0);
    for (guint32 id = dir->first_child; id != MSB_EROFS_NO_NODE; id = msb_erofs_tree_node(tree, id)->next) {
        if (msb_erofs_tree_node(tree, id)->type != MSB_EROFS_FT_UNKNOWN)
            g_array_append_val(scratch, id);
    }
    g_array_sort_with_data(scratch, compare_names, tree);

    dir->first_child = MSB_EROFS_NO_NODE;
    dir->n_children = scratch->len;
    dir->n_subdirs = 0;
    for (guint i = scratch->len; i-- > 0;) {
        guint32 id = g_array_index(scratch, guint32, i);
        MsbErofsNode *node = msb_erofs_tree_node(tree, id);

        node->next = dir->first_child;
        dir->first_child = id;
        dir->n_subdirs += node->type == MSB_EROFS_FT_DIR;
    }
}

/* ---- walking ---------------------------------------------------------------- */

/* Where a walk is: the directory, how deep it is, and the text still to go. */
typedef struct {
    guint32 at;
    guint depth;
    guint symlinks;
    gboolean create;
    char rest[MSB_EROFS_PATH_MAX];  /* terminated */
    const char *p;
} Walk;

static gboolean
walk_error(GError **error, MsbError code, const char *reason)
{
    g_set_error_literal(error, MSB_ERROR, code, reason);
    return FALSE;
}

/* Put a symlink's target before what is left of the path. */
static gboolean
walk_symlink(Walk *walk, const char *target, GError **error)
{
    gsize target_length = strlen(target), rest_length = strlen(walk->p);

    if (++walk->symlinks > MSB_EROFS_SYMLINKS_MAX)
        return walk_error(error, MSB_ERROR_CORRUPT, "its path goes through too many symbolic links");
    if (target_length + 1 + rest_length >= sizeof walk->rest)
        return walk_error(error, MSB_ERROR_CORRUPT, "its path is too long with its symbolic links resolved");
    memmove(walk->rest + target_length + 1, walk->p, rest_length + 1);
    memcpy(walk->rest, target, target_length);
    walk->rest[target_length] = '/';
    walk->p = walk->rest;
    if (target[0] == '/') {
        walk->at = MSB_EROFS_ROOT_NODE;
        walk->depth = 0;
    }
    return TRUE;
}

static gboolean
walk_into(MsbErofsTree *tree, Walk *walk, const char *name, gsize length, GError **error)
{
    guint32 id = msb_erofs_tree_find(tree, walk->at, name, length);
    MsbErofsNode *node = id == MSB_EROFS_NO_NODE ? NULL : msb_erofs_tree_node(tree, id);

    if (node && node->type == MSB_EROFS_FT_SYMLINK)
        return walk_symlink(walk, node->u.target, error);
    if (!node || node->type == MSB_EROFS_FT_UNKNOWN || node->whiteout) {
        if (!walk->create)
            return walk_error(error, MSB_ERROR_NOT_FOUND, "no such directory");
        if (!node)
            id = msb_erofs_tree_add(tree, walk->at, name, length);
        if (id == MSB_EROFS_NO_NODE || !msb_erofs_tree_make_dir(tree, id))
            return walk_error(error, MSB_ERROR_FAILED, "out of memory for names");
        node = msb_erofs_tree_node(tree, id);
    }
    if (node->type != MSB_EROFS_FT_DIR)
        return walk_error(error, MSB_ERROR_CORRUPT, "a component of its path is not a directory");
    if (++walk->depth > MSB_EROFS_DEPTH_MAX)
        return walk_error(error, MSB_ERROR_CORRUPT, "its path is too deep");
    walk->at = id;
    return TRUE;
}

static gboolean
walk_step(MsbErofsTree *tree, Walk *walk, GError **error)
{
    const char *name = walk->p;
    gsize length = strcspn(name, "/");

    walk->p += length;
    walk->p += strspn(walk->p, "/");
    if (length == 0 || (length == 1 && name[0] == '.'))
        return TRUE;
    if (length == 2 && memcmp(name, "..", 2) == 0) {
        if (walk->at != MSB_EROFS_ROOT_NODE) {
            walk->at = msb_erofs_tree_node(tree, walk->at)->parent;
            walk->depth--;
        }
        return TRUE;
    }
    if (length > MSB_EROFS_NAME_MAX)
        return walk_error(error, MSB_ERROR_CORRUPT, "a component of its path is longer than 255 bytes");
    return walk_into(tree, walk, name, length, error);
}

gboolean
msb_erofs_tree_walk(MsbErofsTree *tree, const char *path, gboolean create, guint32 *parent, const char **name,
                    gsize *length, GError **error)
{
    gsize end = strlen(path), start;
    Walk walk = {.at = MSB_EROFS_ROOT_NODE, .create = create};

    while (end > 0 && (path[end - 1] == '/' || (path[end - 1] == '.' && (end == 1 || path[end - 2] == '/'))))
        end--;
    for (start = end; start > 0 && path[start - 1] != '/';)
        start--;
    if (end >= MSB_EROFS_PATH_MAX)
        return walk_error(error, MSB_ERROR_CORRUPT, "its path is longer than 4095 bytes");
    if (end - start > MSB_EROFS_NAME_MAX)
        return walk_error(error, MSB_ERROR_CORRUPT, "its name is longer than 255 bytes");
    memcpy(walk.rest, path, start);
    walk.rest[start] = '\0';
    walk.p = walk.rest;
    while (*walk.p) {
        if (!walk_step(tree, &walk, error))
            return FALSE;
    }
    *parent = walk.at;
    *name = path + start;
    *length = end - start;
    return TRUE;
}
