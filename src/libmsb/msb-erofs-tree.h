/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The name space of an image that is being written: which name of which
 * directory is which inode.  Inodes of everything but directories are already
 * in the file when their name is entered here; a node only remembers the nid.
 *
 * Memory: 40 bytes per name, its bytes (and a symlink's target), 4 to 8 bytes
 * of hash table; about 90 bytes more per directory.  All of it lives in an
 * arena and goes with the tree.  The hash is keyed at random, so that names
 * made to collide do not; nothing of it shows in the image.  Internal to libmsb.
 */
#ifndef MSB_EROFS_TREE_H
#define MSB_EROFS_TREE_H

#include <glib.h>

G_BEGIN_DECLS

#define MSB_EROFS_NO_NODE G_MAXUINT32
#define MSB_EROFS_ROOT_NODE 0u
#define MSB_EROFS_PATH_MAX 4096
#define MSB_EROFS_DEPTH_MAX 256
#define MSB_EROFS_SYMLINKS_MAX 40

typedef struct {
    guint32 mode;            /* permissions and type */
    guint32 uid, gid;
    guint32 mtime_nsec;
    gint64 mtime;
} MsbErofsAttr;

typedef struct {
    MsbErofsAttr attr;
    guint8 *xattr;           /* encoded as it follows the inode, in the arena */
    guint32 xattr_size;
    guint32 first_child;
    guint32 n_children, n_subdirs;
    gboolean opaque;
    gboolean implicit;       /* no entry of its own */
    gboolean tail_inline;    /* with size */
    guint64 size;            /* of its directory data: known when the image is finished */
    guint64 data;            /* position of its whole blocks */
} MsbErofsDir;

typedef struct {
    guint64 nid;
    const char *name;        /* not terminated */
    union {
        MsbErofsDir *dir;    /* MSB_EROFS_FT_DIR */
        const char *target;  /* MSB_EROFS_FT_SYMLINK, terminated */
    } u;
    guint32 parent, next, hash_next;
    guint8 name_length;
    guint8 type;             /* MSB_EROFS_FT_*, UNKNOWN = made, but not yet what it becomes */
    guint8 whiteout;
    guint8 spare;
} MsbErofsNode;

typedef struct _MsbErofsTree MsbErofsTree;

/* Called for every inode that loses a name. */
typedef void (*MsbErofsNameGone)(guint64 nid, gpointer data);

/* A tree of the root alone (0755, root:root, mtime 0). max_bytes: of memory that the tree may take. */
MsbErofsTree *msb_erofs_tree_new(guint64 max_bytes, MsbErofsNameGone gone, gpointer data);
void msb_erofs_tree_free(MsbErofsTree *tree);

/* Valid until the tree is freed. */
MsbErofsNode *msb_erofs_tree_node(MsbErofsTree *tree, guint32 id);
guint32 msb_erofs_tree_find(MsbErofsTree *tree, guint32 parent, const char *name, gsize length);
/* Add a name to a directory; type UNKNOWN. MSB_EROFS_NO_NODE if memory or the bound is out. */
guint32 msb_erofs_tree_add(MsbErofsTree *tree, guint32 parent, const char *name, gsize length);
/* Make a node a directory (0755, root:root, mtime 0) instead of what it was; one instead of a whiteout
 * is opaque. FALSE if memory is out. */
gboolean msb_erofs_tree_make_dir(MsbErofsTree *tree, guint32 id);
/* Take a node's content away, a directory's with all below it: its type is UNKNOWN then. */
void msb_erofs_tree_reset(MsbErofsTree *tree, guint32 id);

/* Bytes that live as long as the tree; NULL if memory or the bound is out. */
gpointer msb_erofs_tree_alloc(MsbErofsTree *tree, gsize size);
char *msb_erofs_tree_copy(MsbErofsTree *tree, const char *bytes, gsize length);

/* Bring a directory's list of children into the order of their names' bytes, without UNKNOWN ones,
 * and count them; nothing may be added to it after that. scratch: an array of guint32. */
void msb_erofs_tree_sort(MsbErofsTree *tree, MsbErofsDir *dir, GArray *scratch);

/* Walk to the directory that holds path's last component, making missing directories; symlinks in
 * between are resolved inside the tree. *name, *length: the last component, pointing into path;
 * length 0 = path is the root itself. create FALSE: NOT_FOUND if a directory is missing. */
gboolean msb_erofs_tree_walk(MsbErofsTree *tree, const char *path, gboolean create, guint32 *parent,
                             const char **name, gsize *length, GError **error);

G_END_DECLS

#endif
