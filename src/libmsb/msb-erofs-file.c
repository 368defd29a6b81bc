/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Regular files of an EROFS image.  A file's whole blocks have their place as
 * soon as its size is known; what is left after them waits in memory for the
 * inode.  A file with holes is chunk-based: a chunk gets its place when the
 * first byte of it comes, and what is never written of it stays a hole of the
 * image file.
 */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "msb-erofs-private.h"

#define MAX_CHUNKS 65536
#define MAX_CHUNK_BITS (MSB_EROFS_BLOCK_BITS + MSB_EROFS_CHUNK_BITS_MASK)
#define MAX_FILE_SIZE ((guint64)16 << 40)

static gboolean
begin_chunks(MsbErofsFile *file, GError **error)
{
    file->chunk_bits = MSB_EROFS_BLOCK_BITS;
    while (file->chunk_bits < MAX_CHUNK_BITS && (file->size - 1) >> file->chunk_bits >= MAX_CHUNKS)
        file->chunk_bits++;
    file->n_chunks = (guint32)((file->size + ((guint64)1 << file->chunk_bits) - 1) >> file->chunk_bits);
    file->chunks = g_try_new(guint32, file->n_chunks);
    if (!file->chunks)
        return msb_error_set_errno(error, ENOMEM, "map of a sparse file");
    memset(file->chunks, 0xff, file->n_chunks * sizeof *file->chunks);
    return TRUE;
}

/* Where the whole blocks go; without room for the rest beside the inode, the rest goes there too. */
static gboolean
begin_plain(MsbErofsWriter *writer, MsbErofsFile *file, GError **error)
{
    guint64 rest = file->size % MSB_EROFS_BLOCK;

    file->whole = file->size;
    if (msb_erofs_fits_inline(writer->xattr->len, rest))
        file->whole -= rest;
    memset(file->tail, 0, rest);
    return file->whole == 0 || msb_erofs_take_space(writer, file->whole, &file->base, error);
}

gboolean
msb_erofs_writer_begin_file(MsbErofsWriter *writer, const MsbErofsEntry *entry, guint64 size, gboolean sparse,
                            GError **error)
{
    MsbErofsFile *file = &writer->file;
    gboolean done;

    g_assert(!file->open);
    if (size > MAX_FILE_SIZE)
        return msb_erofs_entry_error(error, MSB_ERROR_CORRUPT, entry->path, "larger than 16 TiB");
    file->node = msb_erofs_enter(writer, entry->path, MSB_EROFS_FT_REG, error);
    if (!file->node || !msb_erofs_begin_entry(writer, entry, FALSE, error))
        return FALSE;
    g_free(file->path);
    file->path = g_strdup(entry->path);
    file->attr = entry->attr;
    file->attr.mode = (entry->attr.mode & 07777) | S_IFREG;
    file->size = size;
    file->next = file->base = file->whole = 0;
    done = sparse && size > 0 ? begin_chunks(file, error) : begin_plain(writer, file, error);
    if (!done)
        return msb_erofs_prefix_error(error, file->path);
    file->open = TRUE;
    return TRUE;
}

static gboolean
write_chunks(MsbErofsWriter *writer, guint64 offset, const guint8 *bytes, gsize n, GError **error)
{
    MsbErofsFile *file = &writer->file;

    while (n > 0) {
        guint64 chunk_size = (guint64)1 << file->chunk_bits;
        guint32 i = (guint32)(offset >> file->chunk_bits);
        guint64 within = offset & (chunk_size - 1);
        gsize part = (gsize)MIN(n, chunk_size - within);
        guint64 position;

        if (file->chunks[i] == MSB_EROFS_NULL_BLOCK) {
            guint64 room = MIN(chunk_size, file->size - ((guint64)i << file->chunk_bits));

            if (!msb_erofs_take_space(writer, room, &position, error))
                return FALSE;
            file->chunks[i] = GUINT32_TO_LE((guint32)(position >> MSB_EROFS_BLOCK_BITS));
        }
        position = ((guint64)GUINT32_FROM_LE(file->chunks[i]) << MSB_EROFS_BLOCK_BITS) + within;
        if (!msb_erofs_out_write(&writer->data, position, bytes, part, error))
            return FALSE;
        offset += part;
        bytes += part;
        n -= part;
    }
    return TRUE;
}

static gboolean
write_plain(MsbErofsWriter *writer, guint64 offset, const guint8 *bytes, gsize n, GError **error)
{
    MsbErofsFile *file = &writer->file;

    if (offset < file->whole) {
        gsize part = (gsize)MIN(n, file->whole - offset);

        if (!msb_erofs_out_write(&writer->data, file->base + offset, bytes, part, error))
            return FALSE;
        offset += part;
        bytes += part;
        n -= part;
    }
    if (n > 0)
        memcpy(file->tail + (offset - file->whole), bytes, n);
    return TRUE;
}

gboolean
msb_erofs_writer_write(MsbErofsWriter *writer, guint64 offset, const void *bytes, gsize n, GError **error)
{
    MsbErofsFile *file = &writer->file;
    gboolean done;

    g_assert(file->open);
    if (offset < file->next || offset > file->size || n > file->size - offset)
        return msb_erofs_entry_error(error, MSB_ERROR_CORRUPT, file->path, "its data does not fit its size");
    file->next = offset + n;
    done = file->chunks ? write_chunks(writer, offset, bytes, n, error)
                        : write_plain(writer, offset, bytes, n, error);
    return done || msb_erofs_prefix_error(error, file->path);
}

gboolean
msb_erofs_writer_end_file(MsbErofsWriter *writer, GError **error)
{
    MsbErofsFile *file = &writer->file;
    MsbErofsInode inode = {
        .attr = &file->attr, .layout = MSB_EROFS_FLAT_PLAIN, .size = file->size, .nlink = 1};
    gsize tail = (gsize)(file->size - file->whole);
    gboolean done;

    g_assert(file->open);
    file->open = FALSE;
    if (file->chunks) {
        inode.layout = MSB_EROFS_CHUNK_BASED;
        inode.u = file->chunk_bits - MSB_EROFS_BLOCK_BITS;
        writer->chunked = TRUE;
        done = msb_erofs_put_inode(writer, &inode, file->chunks, file->n_chunks * sizeof *file->chunks, FALSE,
                                   &file->node->nid, error);
        g_clear_pointer(&file->chunks, g_free);
    } else {
        if (tail > 0)
            inode.layout = MSB_EROFS_FLAT_INLINE;
        inode.u = (guint32)(file->base >> MSB_EROFS_BLOCK_BITS);
        done = msb_erofs_put_inode(writer, &inode, file->tail, tail, tail > 0, &file->node->nid, error);
    }
    if (!done)
        return msb_erofs_prefix_error(error, file->path);
    file->node->type = MSB_EROFS_FT_REG;
    return TRUE;
}
