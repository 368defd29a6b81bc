/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reserving, and the operations that do; see fs-quota.h.
 */
#include <config.h>

#include "fs-quota.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fs-core.h"
#include "fs-path.h"
#include "fs-quota-priv.h"
#include "mb-cleanup.h"

/* What writes to one file may leave unsettled, and how close the limit may be for that. */
#define SETTLE_BYTES (INT64_C(1) << 20)
#define TIGHT_BYTES (INT64_C(64) << 20)

/* ---- reservations ----------------------------------------------------------------------------- */

/* Add n to the counter unless that takes it beyond limit. */
static bool
add_within(_Atomic int64_t *counter, uint64_t n, uint64_t limit)
{
    int64_t now;

    if (n == 0)
        return true;
    if (limit == UINT64_MAX) {
        atomic_fetch_add(counter, (int64_t)n);
        return true;
    }
    now = atomic_load(counter);
    do {
        if (now > 0 && ((uint64_t)now > limit || n > limit - (uint64_t)now))
            return false;
        if (now <= 0 && n > limit)
            return false;
    } while (!atomic_compare_exchange_weak(counter, &now, now + (int64_t)n));
    return true;
}

static bool
reserve(struct fs_quota *q, uint64_t bytes, uint64_t inodes)
{
    if (!add_within(&q->map->used, bytes, q->bytes))
        return false;
    if (add_within(&q->map->inodes, inodes, q->inodes))
        return true;
    atomic_fetch_sub(&q->map->used, (int64_t)bytes);
    return false;
}

static uint64_t
left_of(uint64_t limit, int64_t used)
{
    return limit - MB_MIN(limit, (uint64_t)MB_MAX(used, INT64_C(0)));
}

static bool
is_tight(const struct fs_quota *q)
{
    return q->bytes != UINT64_MAX && left_of(q->bytes, atomic_load(&q->map->used)) < TIGHT_BYTES;
}

void
fs_quota_stat(struct fs_quota *q, struct fs_quota_stat *stat)
{
    stat->have_bytes = q->bytes != UINT64_MAX;
    stat->bytes = q->bytes;
    stat->bytes_free = left_of(q->bytes, atomic_load(&q->map->used));
    stat->have_inodes = q->inodes != UINT64_MAX;
    stat->inodes = q->inodes;
    stat->inodes_free = left_of(q->inodes, atomic_load(&q->map->inodes));
}

/* ---- making room ------------------------------------------------------------------------------------ */

static uint32_t
valid_pin(const struct fs_quota *q, const struct fs_handle *handle)
{
    uint64_t pin = atomic_load(&handle->quota_pin);

    return pin >> 32 == atomic_load(&q->map->epoch) ? (uint32_t)pin : 0;
}

/* Settle all that our open files have left. */
static void
settle_own(struct fs_quota *q)
{
    struct fs_handle *handle;
    uint32_t i;

    for (i = 1; (handle = fs_slab_at(&q->fs->handles.slab, i)); i++) {
        uint32_t entry;

        if (!fs_slot_ref(&handle->slot))
            continue;
        entry = valid_pin(q, handle);
        if (entry && fs_quota_entry_add(q, entry, 0))
            fs_quota_entry_settle(q, entry, handle->fd, false);
        fs_handle_put(handle);
    }
}

/* The last resort of a reservation that failed; between enter and leave. */
static bool
reserve_hard(struct fs_quota *q, uint64_t bytes, uint64_t inodes)
{
    bool counted;

    fs_quota_limbo_look(q);
    settle_own(q);
    if (reserve(q, bytes, inodes))
        return true;
    fs_quota_leave(q);
    counted = fs_quota_count_again(q);
    fs_quota_enter(q);
    return counted && reserve(q, bytes, inodes);
}

/* ---- operations on names and whole files --------------------------------------------------------------- */

int
fs_quota_begin(struct fs_quota_op *op, struct fs_quota *q, uint64_t bytes, uint64_t inodes)
{
    *op = (struct fs_quota_op){.q = NULL};
    if (!q)
        return 0;
    fs_quota_enter(q);
    if (!reserve(q, bytes, inodes) && !reserve_hard(q, bytes, inodes)) {
        fs_quota_leave(q);
        return -ENOSPC;
    }
    op->q = q;
    op->bytes = bytes;
    op->inodes = inodes;
    return 0;
}

static struct fs_quota_stripe *
stripe_of_name(struct fs_quota *q, uint64_t dir, const char *name)
{
    uint64_t h = dir * UINT64_C(0x9e3779b97f4a7c15);

    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
    return &q->map->names[(h ^ h >> 32) % FS_QUOTA_STRIPES];
}

void
fs_quota_names(struct fs_quota_op *op, uint64_t dir, const char *name, uint64_t other_dir, const char *other)
{
    struct fs_quota_stripe *a, *b;
    unsigned i;

    if (!op->q)
        return;
    a = stripe_of_name(op->q, dir, name);
    b = other ? stripe_of_name(op->q, other_dir, other) : a;
    op->names[0] = MB_MIN(a, b);
    op->names[1] = a == b ? NULL : MB_MAX(a, b);
    for (i = 0; i < FS_QUOTA_NAMES && op->names[i]; i++)
        fs_quota_lock(op->q, op->names[i]);
}

void
fs_quota_touch(struct fs_quota_op *op, int fd)
{
    uint32_t entry;

    if (!op->q || op->n == FS_QUOTA_TOUCH)
        return;
    entry = fs_quota_entry_get(op->q, fd);
    if (!entry)
        return;
    op->touched[op->n++] = (struct fs_quota_touched){fd, entry};
}

/* Which of those that were touched; op->n: none. */
static unsigned
find_touched(const struct fs_quota_op *op, int fd)
{
    unsigned i = 0;

    while (i < op->n && op->touched[i].fd != fd)
        i++;
    return i;
}

static void
settle_touched(struct fs_quota_op *op, unsigned i, bool gone)
{
    fs_quota_entry_settle(op->q, op->touched[i].entry, op->touched[i].fd, gone);
    fs_quota_entry_put(op->q, op->touched[i].entry);
    op->touched[i] = op->touched[--op->n];
}

void
fs_quota_new(struct fs_quota_op *op, int fd, bool unnamed)
{
    struct fs_quota *q = op->q;
    struct statx stx;
    uint32_t entry;
    int64_t bytes;

    if (!q || fs_quota_statx(fd, &stx) < 0 || !fs_quota_is_at(&q->place, &stx))
        return;
    entry = fs_quota_entry_get(q, fd);
    bytes = entry ? fs_quota_entry_born(q, entry, fd) : fs_quota_allocated(&stx);
    if (!entry)
        atomic_fetch_add(&q->map->used, bytes);
    if (op->inodes)
        op->inodes--;
    else
        atomic_fetch_add(&q->map->inodes, 1);
    if (unnamed)
        fs_quota_limbo_add(q, fd, &stx, bytes, 1);
    if (entry)
        fs_quota_entry_put(q, entry);
}

void
fs_quota_gone(struct fs_quota_op *op, int fd)
{
    unsigned i = find_touched(op, fd);

    if (i < op->n)
        settle_touched(op, i, true);
}

void
fs_quota_linked(struct fs_quota_op *op, int fd)
{
    unsigned i = find_touched(op, fd);

    if (i < op->n)
        fs_quota_entry_revive(op->q, op->touched[i].entry, fd);
}

void
fs_quota_end(struct fs_quota_op *op)
{
    struct fs_quota *q = op->q;
    int saved = errno;

    if (!q)
        return;
    while (op->n)
        settle_touched(op, op->n - 1, false);
    if (op->bytes)
        atomic_fetch_sub(&q->map->used, (int64_t)op->bytes);
    if (op->inodes)
        atomic_fetch_sub(&q->map->inodes, (int64_t)op->inodes);
    for (unsigned i = 0; i < FS_QUOTA_NAMES && op->names[i]; i++)
        pthread_mutex_unlock(&op->names[i]->lock);
    op->q = NULL;
    fs_quota_leave(q);
    errno = saved;
}

/* ---- writing to open files --------------------------------------------------------------------------------- */

/* The handle's entry, with what the file had before this; 0: none. */
static uint32_t
pin(struct fs_quota *q, struct fs_handle *handle)
{
    uint64_t old = atomic_load(&handle->quota_pin), epoch = atomic_load(&q->map->epoch);
    uint32_t entry;

    if (MB_LIKELY(old >> 32 == epoch && (uint32_t)old))
        return (uint32_t)old;
    entry = fs_quota_entry_get(q, handle->fd);
    if (entry && !atomic_compare_exchange_strong(&handle->quota_pin, &old, epoch << 32 | entry)) {
        fs_quota_entry_put(q, entry);
        return (uint32_t)old;
    }
    return entry;
}

/* Whole blocks that [offset, offset + len) lies in. */
static uint64_t
span(const struct fs_quota *q, uint64_t offset, size_t len)
{
    uint64_t first = offset / q->block, end = (offset + len + q->block - 1) / q->block;

    return len ? (end - first) * q->block : 0;
}

/*
 * Writing there takes no new blocks: all of the range is data, or, while all is within the limit,
 * everything up to the file's end is allocated (which fallocate() did).
 */
static bool
is_allocated(struct fs_quota *q, struct fs_handle *handle, uint64_t offset, size_t len)
{
    struct statx stx;
    uint64_t end;
    off_t hole;

    if (fs_quota_statx(handle->fd, &stx) < 0)
        return false;
    end = (stx.stx_size + q->block - 1) / q->block * q->block;
    if (offset + len > end)
        return false;
    hole = lseek(handle->fd, (off_t)offset, SEEK_HOLE);
    if (hole >= 0 && ((uint64_t)hole >= offset + len || (uint64_t)hole >= stx.stx_size))
        return true;
    return atomic_load(&q->map->used) <= (int64_t)q->bytes && fs_quota_allocated(&stx) >= (int64_t)end;
}

/* Reserve for as much as there is room, which makes *len less; head: bytes of the first block before it. */
static uint64_t
reserve_some(struct fs_quota *q, uint64_t head, size_t *len)
{
    uint64_t blocks = left_of(q->bytes, atomic_load(&q->map->used)) / q->block;
    uint64_t fits = blocks * q->block;

    if (fits <= head || fits - head >= *len || !reserve(q, fits, 0))
        return 0;
    *len = (size_t)(fits - head);
    return fits;
}

/* Little is left: the write needs none of it, or is made shorter. */
static int64_t
reserve_last(struct fs_quota *q, struct fs_handle *handle, uint64_t offset, size_t *len)
{
    uint64_t n;

    if (!handle->append && is_allocated(q, handle, offset, *len))
        return 0;
    n = reserve_some(q, handle->append ? q->block - 1 : offset % q->block, len);
    return n ? (int64_t)n : -ENOSPC;
}

int64_t
fs_quota_write_begin(struct fs_quota *q, struct fs_handle *handle, uint64_t offset, size_t *len)
{
    int64_t n = (int64_t)span(q, offset, *len);

    fs_quota_enter(q);
    /* Appended at an end that the guest may not know. */
    if (handle->append && n)
        n += q->block;
    if (MB_UNLIKELY(!reserve(q, (uint64_t)n, 0)) && !reserve_hard(q, (uint64_t)n, 0)) {
        n = reserve_last(q, handle, offset, len);
        if (n < 0) {
            fs_quota_leave(q);
            return n;
        }
    }
    pin(q, handle);
    return n;
}

void
fs_quota_write_end(struct fs_quota *q, struct fs_handle *handle, int64_t reserved)
{
    uint32_t entry = valid_pin(q, handle);

    if (MB_LIKELY(entry)) {
        if (fs_quota_entry_add(q, entry, reserved) >= SETTLE_BYTES || is_tight(q))
            fs_quota_entry_settle(q, entry, handle->fd, false);
    } else if (reserved) {
        /* The table is full: it stays charged until somebody counts. */
        atomic_store(&q->map->doubtful, 1);
    }
    fs_quota_leave(q);
}

void
fs_quota_close_file(struct fs_quota *q, struct fs_handle *handle)
{
    uint32_t entry;
    int other;

    if (!atomic_load(&handle->quota_pin)) {
        mb_close(handle->fd);
        return;
    }
    fs_quota_enter(q);
    entry = valid_pin(q, handle);
    if (entry)
        fs_quota_entry_settle(q, entry, handle->fd, false);
    /* XFS gives back then what it allocated behind the end. */
    other = entry ? fs_path_reopen(q->fs, handle->fd, O_PATH) : -1;
    mb_close(handle->fd);
    if (other >= 0) {
        fs_quota_entry_credit(q, entry, other);
        close(other);
    }
    if (entry)
        fs_quota_entry_put(q, entry);
    fs_quota_leave(q);
}
