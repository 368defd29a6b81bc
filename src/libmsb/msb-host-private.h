/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the msb-host-*.c files share. */
#ifndef MSB_HOST_PRIVATE_H
#define MSB_HOST_PRIVATE_H

#include "msb-host.h"

G_BEGIN_DECLS

/* What confines the back-ends here, as each of them found out by confining itself: one check per program. */
void msb_host_check_confinement(GPtrArray *list, const MsbHome *home);

/* One line from a back-end's --print-confinement (transfer full): what applies and what does not. *complete tells
 * whether everything does. NULL with CORRUPT. */
char *msb_host_describe_confinement(const char *json, gboolean *complete, GError **error);

/* Takes found. */
void msb_check_add(GPtrArray *list, const char *name, MsbCheckResult result, char *found, const char *hint);

G_END_DECLS

#endif
