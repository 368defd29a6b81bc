/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Passwords for registries in the Secret Service (the freedesktop.org
 * specification of that name: GNOME Keyring, KWallet, KeePassXC), through
 * libsecret.  The library is loaded when it is first needed, so that programs
 * that never are pay nothing for it.  Without it, there is no Secret Service.
 *
 * An item has the attributes "registry" and "home" ($MSB_HOME, as two of them
 * may know different accounts); secret-tool and keyring managers show it.
 *
 * Every function waits for the service, which may ask its user to unlock a
 * keyring: for two minutes at most. Internal to libmsb; thread-safe.
 */
#ifndef MSB_SECRET_H
#define MSB_SECRET_H

#include "msb-paths.h"

G_BEGIN_DECLS

/* Whether a Secret Service answers on the session bus. */
gboolean msb_secret_is_available(GCancellable *cancellable);

gboolean msb_secret_store(MsbHome *home, const char *host, const char *username, const char *password,
                          GCancellable *cancellable, GError **error);
/* The password (transfer full; free it with msb_secret_free()). NOT_FOUND if the service has none. */
char *msb_secret_lookup(MsbHome *home, const char *host, GCancellable *cancellable, GError **error);
void msb_secret_free(char *password);
/* A success also when there is none. */
gboolean msb_secret_remove(MsbHome *home, const char *host, GCancellable *cancellable, GError **error);

G_END_DECLS

#endif
