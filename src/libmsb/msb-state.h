/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * State files and locks: JSON objects with a "version" member, written to a
 * temporary name, fsynced and renamed; a lock around changes.
 *
 * Locks are open file description locks (fcntl F_OFD_SETLK) on the whole file:
 * like flock() they belong to the descriptor, go with its last close or with
 * the process, and survive fork; unlike flock() they can be looked at without
 * being taken, so that looking never disturbs who wants it.
 */
#ifndef MSB_STATE_H
#define MSB_STATE_H

#include <json-glib/json-glib.h>

G_BEGIN_DECLS

/* Read a JSON object of at most 16 MiB. Missing file: NOT_FOUND; not JSON, not an object
 * or "version" above max_version: CORRUPT / UNSUPPORTED. */
JsonObject *msb_state_load(const char *path, gint64 max_version, GError **error);
/* Atomically replace path (mode 0600). The caller has set "version". */
gboolean msb_state_save(const char *path, JsonObject *object, GError **error);

typedef struct _MsbLock MsbLock;
typedef enum { MSB_LOCK_SHARED, MSB_LOCK_EXCLUSIVE } MsbLockMode;

/* Lock path (created 0600 if missing). timeout_ms: 0 = try once, -1 = wait for ever.
 * NULL with IN_USE (or TIMEOUT) if somebody else holds it. */
MsbLock *msb_lock_acquire(const char *path, MsbLockMode mode, gint timeout_ms, GError **error);
/* TRUE if somebody holds path exclusively right now (FALSE also when it is missing). */
gboolean msb_lock_is_held(const char *path);
int msb_lock_get_fd(const MsbLock *lock);
void msb_lock_release(MsbLock *lock);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsbLock, msb_lock_release)

G_END_DECLS

#endif
