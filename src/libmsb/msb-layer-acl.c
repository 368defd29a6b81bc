/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * POSIX.1e access control lists: archives that carry them as text (GNU tar
 * --acls, star, bsdtar) rather than as attributes arrive as libarchive's list.
 * The kernel's form is a version and entries of tag, permissions and id, in
 * the order user_obj, user by id, group_obj, group by id, mask, other.
 */
#include <config.h>

#include <archive_entry.h>

#include "msb-layer-private.h"

#define ACL_VERSION 2u
#define ACL_MAX_ENTRIES 1024

typedef struct {
    guint16 tag;
    guint16 perm;
    guint32 id;
} AclEntry;

static const struct {
    int tag;
    guint16 kernel;
} acl_tags[] = {
    {ARCHIVE_ENTRY_ACL_USER_OBJ, 0x01}, {ARCHIVE_ENTRY_ACL_USER, 0x02}, {ARCHIVE_ENTRY_ACL_GROUP_OBJ, 0x04},
    {ARCHIVE_ENTRY_ACL_GROUP, 0x08},    {ARCHIVE_ENTRY_ACL_MASK, 0x10}, {ARCHIVE_ENTRY_ACL_OTHER, 0x20},
};

static gint
compare_entries(gconstpointer a, gconstpointer b)
{
    const AclEntry *x = a, *y = b;

    if (x->tag != y->tag)
        return (gint)x->tag - (gint)y->tag;
    return x->id < y->id ? -1 : x->id > y->id;
}

static gboolean
translate(int tag, int perms, int id, AclEntry *entry)
{
    for (guint i = 0; i < G_N_ELEMENTS(acl_tags); i++) {
        if (acl_tags[i].tag != tag)
            continue;
        entry->tag = acl_tags[i].kernel;
        entry->perm = (guint16)(perms & 7);
        entry->id =
            tag == ARCHIVE_ENTRY_ACL_USER || tag == ARCHIVE_ENTRY_ACL_GROUP ? (guint32)id : G_MAXUINT32;
        return TRUE;
    }
    return FALSE;
}

GByteArray *
msb_layer_encode_acl(struct archive_entry *entry, gboolean is_default)
{
    int want = is_default ? ARCHIVE_ENTRY_ACL_TYPE_DEFAULT : ARCHIVE_ENTRY_ACL_TYPE_ACCESS;
    g_autoptr(GArray) list = NULL;
    int type, perms, tag, id;
    const char *name;
    GByteArray *bytes;
    guint32 version = GUINT32_TO_LE(ACL_VERSION);

    if (!(archive_entry_acl_types(entry) & want) || archive_entry_acl_reset(entry, want) == 0)
        return NULL;
    list = g_array_new(FALSE, FALSE, sizeof(AclEntry));
    while (archive_entry_acl_next(entry, want, &type, &perms, &tag, &id, &name) == ARCHIVE_OK) {
        AclEntry one;

        if (type == want && list->len < ACL_MAX_ENTRIES && translate(tag, perms, id, &one))
            g_array_append_val(list, one);
    }
    if (list->len == 0)
        return NULL;
    g_array_sort(list, compare_entries);
    bytes = g_byte_array_new();
    g_byte_array_append(bytes, (const guint8 *)&version, sizeof version);
    for (guint i = 0; i < list->len; i++) {
        const AclEntry *one = &g_array_index(list, AclEntry, i);
        AclEntry le = {GUINT16_TO_LE(one->tag), GUINT16_TO_LE(one->perm), GUINT32_TO_LE(one->id)};

        g_byte_array_append(bytes, (const guint8 *)&le, sizeof le);
    }
    return bytes;
}
