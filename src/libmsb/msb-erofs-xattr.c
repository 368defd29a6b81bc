/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Extended attributes in EROFS form: see the header. */
#include <config.h>

#include <string.h>

#include "msb-erofs-format.h"
#include "msb-erofs-xattr.h"
#include "msb-error.h"

#define SHARED_ENTRY_MAX 256
#define SHARED_AREA_MAX (4u << 20)
#define SHARED_PER_INODE_MAX 255
#define VALUE_MAX 65535
#define SET_MAX (128u << 10)     /* i_xattr_icount allows 256 KiB */

typedef struct {
    const char *prefix;
    guint8 index;
    gboolean exact;              /* the whole name, nothing follows */
} Prefix;

static const Prefix prefixes[] = {
    {"user.", MSB_EROFS_XATTR_USER, FALSE},
    {"security.", MSB_EROFS_XATTR_SECURITY, FALSE},
    {"trusted.", MSB_EROFS_XATTR_TRUSTED, FALSE},
    {"system.posix_acl_access", MSB_EROFS_XATTR_ACL_ACCESS, TRUE},
    {"system.posix_acl_default", MSB_EROFS_XATTR_ACL_DEFAULT, TRUE},
};

static gint
compare_entries(gconstpointer a, gconstpointer b, gpointer data)
{
    (void)data;
    return g_bytes_compare(a, b);
}

void
msb_erofs_xattr_pool_init(MsbErofsXattrPool *pool)
{
    pool->area = g_byte_array_new();
    pool->offsets = g_tree_new_full(compare_entries, NULL, (GDestroyNotify)g_bytes_unref, NULL);
}

void
msb_erofs_xattr_pool_clear(MsbErofsXattrPool *pool)
{
    g_clear_pointer(&pool->area, g_byte_array_unref);
    g_clear_pointer(&pool->offsets, g_tree_unref);
}

static const Prefix *
find_prefix(const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS(prefixes); i++) {
        const Prefix *prefix = &prefixes[i];

        if (prefix->exact ? strcmp(name, prefix->prefix) == 0
                          : g_str_has_prefix(name, prefix->prefix) && name[strlen(prefix->prefix)] != '\0')
            return prefix;
    }
    return NULL;
}

/* NULL without an error: a name that EROFS does not know. */
static GBytes *
encode_entry(const MsbErofsXattr *xattr, GError **error)
{
    const Prefix *prefix = find_prefix(xattr->name);
    const char *rest;
    MsbErofsXattrEntry entry;
    GByteArray *bytes;

    if (!prefix)
        return NULL;
    rest = xattr->name + strlen(prefix->prefix);
    if (strlen(rest) > MSB_EROFS_NAME_MAX || xattr->size > VALUE_MAX) {
        g_set_error_literal(error, MSB_ERROR, MSB_ERROR_CORRUPT, "an extended attribute is too large");
        return NULL;
    }
    entry = (MsbErofsXattrEntry){
        .e_name_len = (guint8)strlen(rest),
        .e_name_index = prefix->index,
        .e_value_size = GUINT16_TO_LE((guint16)xattr->size),
    };
    bytes = g_byte_array_new();
    g_byte_array_append(bytes, (const guint8 *)&entry, sizeof entry);
    g_byte_array_append(bytes, (const guint8 *)rest, entry.e_name_len);
    if (xattr->size > 0)
        g_byte_array_append(bytes, xattr->value, (guint)xattr->size);
    while (bytes->len % 4)
        g_byte_array_append(bytes, (const guint8 *)"", 1);
    return g_byte_array_free_to_bytes(bytes);
}

/* The entry's place in the shared area, entered there if need be; FALSE if it does not belong there. */
static gboolean
share(MsbErofsXattrPool *pool, GBytes *entry, gboolean whatever_size, guint32 *id)
{
    gsize size;
    const guint8 *bytes = g_bytes_get_data(entry, &size);
    gpointer offset;

    if (g_tree_lookup_extended(pool->offsets, entry, NULL, &offset)) {
        *id = GPOINTER_TO_UINT(offset) / 4;
        return TRUE;
    }
    if (size > SHARED_ENTRY_MAX && !whatever_size)
        return FALSE;
    if (pool->area->len > SHARED_AREA_MAX - size)
        return FALSE;
    *id = pool->area->len / 4;
    g_tree_insert(pool->offsets, g_bytes_ref(entry), GUINT_TO_POINTER(pool->area->len));
    g_byte_array_append(pool->area, bytes, (guint)size);
    return TRUE;
}

static gboolean
append_entry(MsbErofsXattrPool *pool, GBytes *entry, gboolean whatever_size, GByteArray *set, GError **error)
{
    MsbErofsXattrHeader *header;
    gsize size;
    const guint8 *bytes = g_bytes_get_data(entry, &size);
    guint32 id;

    if (set->len == 0) {
        g_byte_array_set_size(set, sizeof *header);
        memset(set->data, 0, sizeof *header);
    }
    header = (MsbErofsXattrHeader *)(void *)set->data;
    if (header->h_shared_count < SHARED_PER_INODE_MAX && share(pool, entry, whatever_size, &id)) {
        guint at = sizeof *header + 4u * header->h_shared_count;
        guint32 le_id = GUINT32_TO_LE(id);
        guint old = set->len;

        header->h_shared_count++;
        g_byte_array_set_size(set, old + 4);
        memmove(set->data + at + 4, set->data + at, old - at);
        memcpy(set->data + at, &le_id, 4);
    } else if (size <= SET_MAX && set->len <= SET_MAX - size) {
        g_byte_array_append(set, bytes, (guint)size);
    } else {
        g_set_error_literal(error, MSB_ERROR, MSB_ERROR_CORRUPT, "its extended attributes are too large");
        return FALSE;
    }
    return TRUE;
}

gboolean
msb_erofs_xattr_encode(MsbErofsXattrPool *pool, const MsbErofsXattr *xattrs, guint n, gboolean all_shared,
                       GByteArray *out, GError **error)
{
    g_byte_array_set_size(out, 0);
    for (guint i = 0; i < n; i++) {
        GError *local = NULL;
        g_autoptr(GBytes) entry = encode_entry(&xattrs[i], &local);

        if (local) {
            g_propagate_error(error, local);
            return FALSE;
        }
        if (entry && !append_entry(pool, entry, all_shared, out, error))
            return FALSE;
    }
    return TRUE;
}

gboolean
msb_erofs_xattr_append(MsbErofsXattrPool *pool, const MsbErofsXattr *xattr, GByteArray *set, GError **error)
{
    g_autoptr(GBytes) entry = encode_entry(xattr, error);

    return entry && append_entry(pool, entry, FALSE, set, error);
}
