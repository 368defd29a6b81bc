/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The account as it is mapped, and what the fs-quota-*.c files share.
 *
 *   fs-quota-file.c    the file: joining and leaving
 *   fs-quota-slot.c    who is there, the pause for counting
 *   fs-quota-count.c   the walk through the share
 *   fs-quota-limbo.c   removed files that still take space
 *   fs-quota-table.c   files at hand: settling
 *   fs-quota.c         reserving, and the operations
 */
#ifndef FS_QUOTA_PRIV_H
#define FS_QUOTA_PRIV_H

#include <pthread.h>
#include <sys/stat.h>

#include "fs-quota.h"

#define FS_QUOTA_SLOTS 256u
#define FS_QUOTA_STRIPES 64u
#define FS_QUOTA_WAYS 8u
#define FS_QUOTA_BUCKETS 4096u

struct fs_quota_slot {
    _Atomic uint32_t active;    /* somebody has it, or had it and did not say good-bye */
    _Atomic uint32_t inflight;  /* operations; a futex for who waits until there are none */
    _Atomic int64_t limbo_bytes, limbo_inodes; /* charged for removed files that are still there */
} __attribute__((aligned(64)));

/* A file somebody has at hand, under its stripe's lock. */
struct fs_quota_entry {
    uint64_t tag;               /* of the file's identity; 0: free */
    int64_t bytes;              /* charged for it */
    int64_t first;              /* of these: what it had when the entry was made, which whoever made the file charges */
    _Atomic int64_t unsettled;  /* reserved by operations that are done since */
    uint32_t refs;
    uint32_t gone;              /* it has no name any more: its bytes are in somebody's limbo */
};

struct fs_quota_stripe {
    pthread_mutex_t lock;       /* robust, shared between processes */
} __attribute__((aligned(64)));

struct fs_quota_map {
    char magic[8];
    uint32_t version, size;     /* of all this: differs with the C library's locks */
    uint64_t ino, btime_sec, btime_nsec; /* the shared directory */
    _Atomic uint32_t clean;     /* left in order, nobody is there */
    _Atomic uint32_t doubtful;  /* something happened that only counting puts right */
    _Atomic uint32_t epoch;     /* of the table: what refers to an earlier one is void */
    _Atomic uint32_t pause;     /* slot + 1 of who is counting; a futex */
    _Atomic int64_t counted_ns, count_took_ns; /* CLOCK_BOOTTIME */
    _Atomic int64_t used __attribute__((aligned(64)));
    _Atomic int64_t inodes;
    struct fs_quota_slot slots[FS_QUOTA_SLOTS];
    struct fs_quota_stripe stripes[FS_QUOTA_STRIPES];
    struct fs_quota_stripe names[FS_QUOTA_STRIPES]; /* of names that come and go; taken before the others */
    struct fs_quota_entry table[FS_QUOTA_BUCKETS * FS_QUOTA_WAYS];
};

struct fs_quota_limbo;

/* Where the share is.  On overlayfs a file's device number may be the layer's that it is in, so that the
 * device of the shared directory does not tell what is below it: the mount does, on kernels that name it. */
struct fs_quota_place {
    uint64_t mount;             /* 0: not known */
    uint32_t dev_major, dev_minor;
};

struct fs_quota {
    struct fs *fs;
    struct fs_quota_map *map;
    struct fs_quota_slot *slot;
    uint32_t slot_no;
    int fd, root_fd;            /* the account; the shared directory, not O_PATH */
    struct fs_quota_place place;
    uint64_t bytes, inodes;     /* limits; UINT64_MAX: none */
    uint32_t block;
    struct fs_quota_limbo *limbo;
};

/* What settling needs to know of a file. */
#define FS_QUOTA_STATX (STATX_BLOCKS | STATX_INO | STATX_NLINK | STATX_BTIME | STATX_TYPE | STATX_SIZE | \
                         STATX_MNT_ID)
int fs_quota_statx(int fd, struct statx *stx) MB_MUST_CHECK; /* fs-quota-table.c */
static inline int64_t
fs_quota_allocated(const struct statx *stx)
{
    return (int64_t)(stx->stx_blocks * 512);
}

static inline struct fs_quota_place
fs_quota_place_of(const struct statx *stx)
{
    return (struct fs_quota_place){
        .mount = stx->stx_mask & STATX_MNT_ID ? stx->stx_mnt_id : 0,
        .dev_major = stx->stx_dev_major,
        .dev_minor = stx->stx_dev_minor,
    };
}

/* True when what stx tells of is in the same filesystem. */
static inline bool
fs_quota_is_at(const struct fs_quota_place *place, const struct statx *stx)
{
    struct fs_quota_place p = fs_quota_place_of(stx);

    return (p.mount && p.mount == place->mount) || (p.dev_major == place->dev_major && p.dev_minor == place->dev_minor);
}

/* fs-quota-slot.c */
/* Other servers that live; *killed: slots are left of some that do not. */
unsigned fs_quota_others(const struct fs_quota *q, bool *killed);
/* A slot for us. 0 or -EUSERS. */
int fs_quota_slot_take(struct fs_quota *q) MB_MUST_CHECK;
/* It is no longer active: somebody else may have it. */
void fs_quota_slot_give(struct fs_quota *q);
/* Around everything that changes the account; waits while somebody counts. */
void fs_quota_enter(struct fs_quota *q);
void fs_quota_leave(struct fs_quota *q);
/* Count if that could help: something is doubtful, a server was killed, or it is long ago. Not
 * between enter and leave. True if it was done. */
bool fs_quota_count_again(struct fs_quota *q);
/* Have all others wait, and count; or wait for who does. True if it was done. */
bool fs_quota_pause_and_count(struct fs_quota *q);
/* Count; nobody else is inside. 0 or -errno. */
int fs_quota_count(struct fs_quota *q) MB_MUST_CHECK;

/* fs-quota-table.c: lock, also when its owner was killed. */
void fs_quota_lock(struct fs_quota *q, struct fs_quota_stripe *stripe);

/* Entries are named by their index + 1, 0 is none. */
/* The entry of what is behind fd, with a reference; 0 when there is none to be had. */
uint32_t fs_quota_entry_get(struct fs_quota *q, int fd);
void fs_quota_entry_put(struct fs_quota *q, uint32_t entry);
/* The file behind fd is new and nothing is charged for it but what others did to it meanwhile: charge the rest. How
 * many bytes. */
int64_t fs_quota_entry_born(struct fs_quota *q, uint32_t entry, int fd);
/* Charge what the file behind fd has now; gone: its name was just removed. */
void fs_quota_entry_settle(struct fs_quota *q, uint32_t entry, int fd, bool gone);
/* That, if it is less than was charged.  More is not taken for true just after a file was closed: ext4 may be
 * writing it then, with blocks that are gone again when it has done so. */
void fs_quota_entry_credit(struct fs_quota *q, uint32_t entry, int fd);
/* It has a name again. */
void fs_quota_entry_revive(struct fs_quota *q, uint32_t entry, int fd);
/* Reserved by operations that are done, now n more: their sum. */
int64_t fs_quota_entry_add(struct fs_quota *q, uint32_t entry, int64_t n);

/* fs-quota-count.c: all files on the share's own filesystem. 0 or -errno. */
int fs_quota_walk(int root_fd, int64_t *bytes, int64_t *inodes) MB_MUST_CHECK;

/* fs-quota-limbo.c */
int fs_quota_limbo_new(struct fs_quota *q) MB_MUST_CHECK;
/* Charged for the file behind fd, which has no name any more; file: what FS_QUOTA_STATX says of it. */
void fs_quota_limbo_add(struct fs_quota *q, int fd, const struct statx *file, int64_t bytes, int64_t inodes);
/* Take notice of files that are gone by now; also for who needs room at once. */
void fs_quota_limbo_look(struct fs_quota *q);
/* It has a name again: what is charged for it is no longer in limbo. */
void fs_quota_limbo_forget(struct fs_quota *q, int fd, const struct statx *file);
/* Its descriptors. */
void fs_quota_limbo_fds(const struct fs_quota *q, int fds[2]);
/* True when nothing is left in limbo. */
bool fs_quota_limbo_free(struct fs_quota *q);

#endif
